//! Reading, in both forms of replies.

use crate::client::{Client, DF, EINVAL, EIO, EOVERFLOW, EPERM, FUA, assemble, cmd};
use crate::support::{Dice, MIB, Running, TestDisk, spotted};
use std::collections::BTreeMap;

#[test]
fn every_byte_is_the_disks() {
    let disk = spotted();
    let bytes = disk.bytes.clone();
    let server = Running::disk(disk);
    let size = bytes.len() as u64;
    for structured in [false, true] {
        let mut client = Client::enter(&server.socket(), structured);
        assert_eq!(client.read(0, u32::try_from(size).unwrap()).unwrap(), bytes);
        let mut dice = Dice(5);
        for _ in 0..200 {
            let start = dice.below(size);
            let most = if dice.below(4) == 0 { size } else { 10_000 };
            let length = dice.below((size - start).min(most) + 1);
            let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
            assert!(client.read(start, u32::try_from(length).unwrap()).unwrap() == bytes[range], "{start} {length}");
        }
        assert!(client.read(size, 0).unwrap().is_empty());
    }
}

#[test]
fn holes_are_sent_as_holes() {
    let server = Running::disk(spotted());
    let mut client = Client::enter(&server.socket(), true);
    let cookie = client.request(0, cmd::READ, 0, u32::try_from(6 * MIB).unwrap());
    let chunks = client.chunks(cookie);
    let kinds: Vec<_> = chunks.iter().map(|(_, kind, payload)| (*kind, payload.len())).collect();
    // 0 to 12288 has a hole of 3 KiB in its middle, which is no whole block; the data of two megabytes comes in three pieces.
    let mib = MIB as usize;
    let expected =
        [(1, 8 + 12_288), (2, 12), (1, 8 + mib), (1, 8 + mib), (1, 8 + 4096), (2, 12), (1, 8 + 4096), (2, 12)];
    assert_eq!(kinds, expected);
    assert!(chunks.iter().rev().skip(1).all(|(last, ..)| !last));
}

#[test]
fn a_reply_that_must_not_be_cut_is_not() {
    let disk = spotted();
    let bytes = disk.bytes.clone();
    let server = Running::disk(disk);
    let mut client = Client::enter(&server.socket(), true);
    let length = u32::try_from(bytes.len()).unwrap();
    let cookie = client.request(DF, cmd::READ, 0, length);
    let chunks = client.chunks(cookie);
    assert_eq!((chunks.len(), chunks[0].1), (1, 1));
    assert!(assemble(&chunks, 0, length).unwrap() == bytes);
    let cookie = client.request(DF, cmd::READ, 4 * MIB, 4096);
    assert_eq!(client.chunks(cookie)[0].1, 2, "all of it is a hole");
    let cookie = client.request(DF, cmd::READ, 3 * MIB, u32::try_from(MIB).unwrap());
    assert_eq!(client.chunks(cookie)[0].1, 1, "it begins with data");
    let cookie = client.request(DF, cmd::READ, 4 * MIB, u32::try_from(2 * MIB).unwrap());
    assert_eq!(client.chunks(cookie)[0].1, 1, "it begins with a hole");
}

#[test]
fn what_lies_beyond_the_end_is_refused() {
    let server = Running::disk(spotted());
    let size = 6 * MIB + 1234;
    for structured in [false, true] {
        let mut client = Client::enter(&server.socket(), structured);
        for (offset, length) in
            [(size, 1), (size - 1, 2), (size + 1, 0), (u64::MAX, 1), (u64::MAX - 4, 5), (0, 1 << 24)]
        {
            assert_eq!(client.read(offset, length), Err(EINVAL), "{offset} {length}");
            assert_eq!(client.act(0, cmd::CACHE, offset, length, &[]), EINVAL, "{offset} {length}");
        }
        assert_eq!(client.read(size - 1, 1).unwrap().len(), 1, "the connection lives on");
        assert_eq!(client.act(0, cmd::CACHE, 0, u32::try_from(size).unwrap(), &[]), 0);
    }
}

#[test]
fn more_than_is_read_at_once_is_refused() {
    let server = Running::disk(TestDisk::new(40 * MIB, &[]));
    for (structured, error) in [(false, EINVAL), (true, EOVERFLOW)] {
        let mut client = Client::enter(&server.socket(), structured);
        assert_eq!(client.read(0, (32 << 20) + 1), Err(error));
        assert_eq!(client.read(0, 32 << 20).unwrap().len(), 32 << 20);
        assert_eq!(client.act(0, cmd::CACHE, 0, 33 << 20, &[]), EOVERFLOW);
    }
}

#[test]
fn damaged_bytes_are_an_error_of_their_request_alone() {
    let disk = TestDisk::new(4 * MIB, &[0..4 * MIB]).damaged(&[MIB + 8192..MIB + 8193, 3 * MIB..4 * MIB]);
    let bytes = disk.bytes.clone();
    let server = Running::disk(disk);
    for structured in [false, true] {
        let mut client = Client::enter(&server.socket(), structured);
        for (offset, length) in [(MIB + 8192, 1), (0, 4 << 20), (MIB, 1 << 20), (4 * MIB - 1, 1)] {
            assert_eq!(client.read(offset, length), Err(EIO), "{offset} {length}");
            assert_eq!(client.act(0, cmd::CACHE, offset, length, &[]), EIO, "{offset} {length}");
        }
        assert!(client.read(0, 1 << 20).unwrap() == bytes[..1 << 20]);
        assert!(client.read(MIB + 8193, 4096).unwrap() == bytes[(1 << 20) + 8193..(1 << 20) + 8193 + 4096]);
    }
    // The reply says where, and what came before is there.
    let mut client = Client::enter(&server.socket(), true);
    let cookie = client.request(0, cmd::READ, 512, 2 << 20);
    let chunks = client.chunks(cookie);
    let kinds: Vec<u16> = chunks.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(kinds, [1, (1 << 15) + 2]);
    let payload = &chunks[1].2;
    let length = usize::from(u16::from_be_bytes(payload[4..6].try_into().unwrap()));
    assert!(String::from_utf8_lossy(&payload[6..6 + length]).contains("the pack was eaten"));
    assert_eq!(payload[6 + length..], (512 + MIB).to_be_bytes());
    let cookie = client.request(DF, cmd::READ, MIB / 2, 2 << 20);
    assert_eq!(client.chunks(cookie).len(), 1);
}

#[test]
fn nothing_is_written_to_what_can_only_be_read() {
    let server = Running::disk(spotted());
    for structured in [false, true] {
        let mut client = Client::enter(&server.socket(), structured);
        assert_eq!(client.write(0, &[1; 10_000]), EPERM);
        assert_eq!(client.act(0, cmd::WRITE, u64::MAX, 5, b"beyond"[..5].as_ref()), EPERM);
        assert_eq!(client.act(0, cmd::ZEROES, 0, 4096, &[]), EPERM);
        assert_eq!(client.act(0, cmd::TRIM, 0, 4096, &[]), EPERM);
        assert_eq!(client.act(0, cmd::FLUSH, 0, 0, &[]), 0);
        assert_eq!(client.act(FUA, cmd::FLUSH, 0, 0, &[]), EINVAL, "nobody offered FUA");
        assert_eq!(client.read(0, 4096).unwrap(), spotted().bytes[..4096]);
    }
}

#[test]
fn requests_and_flags_that_mean_nothing_are_refused() {
    let server = Running::disk(spotted());
    for structured in [false, true] {
        let mut client = Client::enter(&server.socket(), structured);
        for command in [8, 9, 77, u16::MAX] {
            assert_eq!(client.act(0, command, 0, 4096, &[]), EINVAL, "{command}");
        }
        for (command, flags) in [(cmd::READ, 1), (cmd::READ, 2), (cmd::READ, 8), (cmd::CACHE, 4), (cmd::FLUSH, 1 << 15)]
        {
            assert_eq!(client.act(flags, command, 0, 0, &[]), EINVAL, "{command} {flags}");
        }
        if !structured {
            assert_eq!(client.act(DF, cmd::READ, 0, 10, &[]), EINVAL);
        }
        assert_eq!(client.act(0, cmd::FLUSH, 1, 0, &[]), EINVAL);
        assert_eq!(client.act(0, cmd::FLUSH, 0, 1, &[]), EINVAL);
        assert_eq!(client.act(0, cmd::STATUS, 0, 4096, &[]), EINVAL, "no context was agreed on");
    }
}

#[test]
fn many_requests_are_under_way_at_once() {
    let disk = spotted();
    let bytes = disk.bytes.clone();
    let server = Running::disk(disk);
    let mut client = Client::enter(&server.socket(), false);
    let mut dice = Dice(3);
    let mut open = BTreeMap::new();
    for _ in 0..100 {
        let start = dice.below(5 * MIB);
        let length = u32::try_from(dice.below(3000)).unwrap();
        open.insert(client.request(0, cmd::READ, start, length), (start, length));
    }
    client.request(0, cmd::DISC, 0, 0);
    // Each is answered, in whatever order, before the connection ends.
    while !open.is_empty() {
        let (error, cookie) = client.simple();
        let (start, length) = open.remove(&cookie).expect("a request that is open");
        assert_eq!(error, 0);
        let start = usize::try_from(start).unwrap();
        assert!(client.take(length as usize) == bytes[start..start + length as usize]);
    }
    assert!(client.is_ended());
}
