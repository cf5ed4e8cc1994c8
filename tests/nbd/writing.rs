//! Writing through a server, to an overlay.

use crate::client::{Client, EINVAL, EIO, ENOSPC, ENOTSUP, FAST_ZERO, FUA, NO_HOLE, cmd};
use crate::support::{Dice, MIB, Running, TestDisk, spotted};
use sheaf::disk::ReadAt;
use sheaf::serve::nbd::{Export, Options, Overlay};
use std::sync::Arc;

#[test]
fn what_is_written_is_read_and_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let mut model = spotted().bytes;
    let size = model.len() as u64;
    let mut dice = Dice(9);
    for round in 0..4 {
        let server = Running::overlay(&path, spotted());
        let mut client = Client::enter(&server.socket(), round % 2 == 0);
        for _ in 0..60 {
            let start = dice.below(size);
            let most = [100, 5000, 100_000, MIB][usize::try_from(dice.below(4)).unwrap()];
            let length = dice.below((size - start).min(most) + 1);
            let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
            let short = u32::try_from(length).unwrap();
            let fua = if dice.below(10) == 0 { FUA } else { 0 };
            match dice.below(5) {
                0 | 1 => {
                    let byte = u8::try_from(dice.below(256)).unwrap();
                    model[range.clone()].fill(byte);
                    assert_eq!(client.act(fua, cmd::WRITE, start, short, &model[range]), 0);
                }
                2 => {
                    model[range].fill(0);
                    let hole = [0, NO_HOLE, FAST_ZERO][usize::try_from(dice.below(3)).unwrap()];
                    assert_eq!(client.act(fua | hole, cmd::ZEROES, start, short, &[]), 0);
                }
                3 => {
                    assert_eq!(client.act(fua, cmd::TRIM, start, short, &[]), 0);
                    // What is trimmed may be anything; here it is zeros, in whole blocks.
                    let first = range.start.div_ceil(4096) * 4096;
                    let last = if range.end == model.len() { range.end } else { range.end / 4096 * 4096 };
                    if first < last {
                        model[first..last].fill(0);
                    }
                }
                _ => assert!(client.read(start, short).unwrap() == model[range], "{start} {length}"),
            }
        }
        assert_eq!(client.act(0, cmd::FLUSH, 0, 0, &[]), 0);
        assert!(client.read(0, u32::try_from(size).unwrap()).unwrap() == model, "round {round}");
        server.stop().unwrap();
    }
}

#[test]
fn writes_beyond_the_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::overlay(&folder.path().join("o"), spotted());
    let size = 6 * MIB + 1234;
    for structured in [false, true] {
        let mut client = Client::enter(&server.socket(), structured);
        for offset in [size, size - 9, u64::MAX, u64::MAX - 9] {
            assert_eq!(client.write(offset, &[1; 10]), ENOSPC, "{offset}");
            assert_eq!(client.act(0, cmd::ZEROES, offset, 10, &[]), ENOSPC, "{offset}");
            assert_eq!(client.act(0, cmd::TRIM, offset, 10, &[]), EINVAL, "{offset}");
        }
        assert_eq!(client.write(size, &[]), 0, "nothing fits everywhere");
        assert_eq!(client.act(FUA, cmd::READ | 1 << 8, 0, 0, &[]), EINVAL);
        assert_eq!(client.act(4, cmd::WRITE, 0, 2, b"ab"), EINVAL);
        assert_eq!(client.act(FAST_ZERO | NO_HOLE, cmd::ZEROES, 0, 4096, &[]), ENOTSUP);
        assert!(client.read(size - 100, 100).unwrap() == spotted().bytes[(6 << 20) + 1134..]);
    }
}

#[test]
fn a_write_of_all_that_fits_works_and_one_of_more_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::overlay(&folder.path().join("o"), TestDisk::new(64 * MIB, &[]));
    let mut client = Client::enter(&server.socket(), false);
    assert_eq!(client.write(MIB, &vec![5; 32 << 20]), 0);
    assert!(client.read(MIB, 32 << 20).unwrap().iter().all(|byte| *byte == 5));
    client.request(0, cmd::WRITE, 0, (32 << 20) + 1);
    assert!(client.is_ended());
}

#[test]
fn a_part_of_a_block_that_is_damaged_below_cannot_be_written_but_the_whole_can() {
    let folder = tempfile::tempdir().unwrap();
    let disk = TestDisk::new(MIB, &[0..MIB]).damaged(&[8192..12_288]);
    let bytes = disk.bytes.clone();
    let server = Running::overlay(&folder.path().join("o"), disk);
    let mut client = Client::enter(&server.socket(), true);
    assert_eq!(client.write(8200, b"part"), EIO);
    assert_eq!(client.read(8192, 4096), Err(EIO));
    assert_eq!(client.write(8192, &[3; 4096]), 0);
    assert_eq!(client.write(8200, b"part"), 0);
    let found = client.read(0, 1 << 20).unwrap();
    assert!(found[..8192] == bytes[..8192] && found[12_288..] == bytes[12_288..]);
    assert_eq!(found[8190..8206], [&bytes[8190..8192], &[3; 8], b"part", &[3; 2]].concat()[..]);
}

#[test]
fn several_clients_write_to_one_overlay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let below = Arc::new(spotted());
    let overlay = Arc::new(Overlay::open(&path, Arc::clone(&below) as Arc<dyn ReadAt>, [1; 32]).unwrap());
    let server = Running::start(vec![Export::writable("disk", "", Arc::clone(&overlay))], Options::default());
    let socket = server.socket();
    // Each has bytes of its own, which share blocks with those of the others.
    std::thread::scope(|scope| {
        for own in 0..4_u64 {
            let socket = &socket;
            scope.spawn(move || {
                let mut client = Client::enter(socket, own % 2 == 0);
                for number in 0..500 {
                    assert_eq!(client.write((number * 4 + own) * 100, &[u8::try_from(own).unwrap() + 10; 100]), 0);
                }
                assert_eq!(client.act(0, cmd::FLUSH, 0, 0, &[]), 0);
            });
        }
    });
    let mut client = Client::enter(&socket, true);
    let found = client.read(0, 200_000).unwrap();
    for (index, part) in found.chunks_exact(100).enumerate() {
        assert!(part.iter().all(|byte| usize::from(*byte) == index % 4 + 10), "{index}");
    }
    assert!(client.read(200_000, 100_000).unwrap() == below.bytes[200_000..300_000]);
}
