//! Where data is, as clients are told.

use crate::client::{Client, EINVAL, REQ_ONE, cmd};
use crate::support::{MIB, Running, TestDisk, spotted};

fn status(client: &mut Client, flags: u16, offset: u64, length: u32) -> Vec<(u32, u32)> {
    let cookie = client.request(flags, cmd::STATUS, offset, length);
    let chunks = client.chunks(cookie);
    assert_eq!((chunks.len(), chunks[0].1), (1, 5));
    let payload = &chunks[0].2;
    assert_eq!(payload[..4], 1_u32.to_be_bytes());
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    payload[4..].chunks_exact(8).map(|entry| (number(&entry[..4]), number(&entry[4..]))).collect()
}

const HOLE: u32 = 3;

#[test]
fn data_and_holes_take_turns() {
    let server = Running::disk(spotted());
    let mut client = Client::enter_with_status(&server.socket());
    let mib = 1 << 20;
    let all = [
        (12_288, 0),
        (mib - 12_288, HOLE),
        (2 * mib + 4096, 0),
        (2 * mib - 4096, HOLE),
        (4096, 0),
        (mib - 4096, HOLE),
        (1234, 0),
    ];
    assert_eq!(status(&mut client, 0, 0, 6 * mib + 1234), all);
    assert_eq!(status(&mut client, REQ_ONE, 0, 6 * mib), all[..1]);
    assert_eq!(status(&mut client, REQ_ONE, 20_000, 500), [(500, HOLE)]);
    assert_eq!(status(&mut client, 0, 1, 2), [(2, 0)]);
    assert_eq!(client.act(0, cmd::STATUS, 0, 0, &[]), EINVAL);
    assert_eq!(client.act(0, cmd::STATUS, 6 * MIB, 1235, &[]), EINVAL);
    assert_eq!(client.act(0, cmd::STATUS, u64::MAX, 1, &[]), EINVAL);
    assert_eq!(client.act(2, cmd::STATUS, 0, 1, &[]), EINVAL);
}

#[test]
fn an_answer_has_a_bounded_length_and_can_be_gone_on_from() {
    let runs: Vec<_> = (0..8000).map(|number| number * 8192..number * 8192 + 4096).collect();
    let server = Running::disk(TestDisk::new(8000 * 8192, &runs));
    let mut client = Client::enter_with_status(&server.socket());
    let (mut at, mut found, mut answers) = (0, 0, 0);
    while at < 8000 * 8192 {
        let part = status(&mut client, 0, at, u32::try_from(8000 * 8192 - at).unwrap());
        assert!(!part.is_empty() && part.len() <= 2048);
        assert!(part.iter().all(|(length, _)| *length == 4096));
        at += part.len() as u64 * 4096;
        found += part.len();
        answers += 1;
    }
    assert_eq!((found, answers), (16_000, 8));
}

#[test]
fn an_overlay_tells_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::overlay(&folder.path().join("o"), spotted());
    let mut client = Client::enter_with_status(&server.socket());
    assert_eq!(client.write(4 * MIB, &[0; 4096]), 0);
    assert_eq!(client.act(0, cmd::ZEROES, MIB, 1 << 20, &[]), 0);
    assert_eq!(client.act(2, cmd::ZEROES, MIB + 8192, 4096, &[]), 0);
    let mib = 1 << 20;
    let expected = [
        (12_288, 0),
        (mib - 12_288 + 8192, HOLE),
        (4096, 0),
        (mib - 12_288, HOLE),
        (mib + 4096, 0),
        (mib - 4096, HOLE),
        (4096, 0),
        (mib - 4096, HOLE),
        (4096, 0),
    ];
    assert_eq!(status(&mut client, 0, 0, 5 * mib + 4096), expected);
}
