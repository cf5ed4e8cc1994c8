//! Overlays by themselves: what they keep, for whom, and in which state a file may be.

use crate::support::{Dice, MIB, TestDisk, spotted};
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::serve::nbd::{Overlay, OverlayProblem, WriteError};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

fn open(path: &Path) -> Result<Overlay, OverlayProblem> {
    open_with(path, [7; 32], spotted())
}

fn open_with(path: &Path, identity: [u8; 32], disk: TestDisk) -> Result<Overlay, OverlayProblem> {
    Overlay::open(path, Arc::new(disk), identity).map_err(|error| error.problem)
}

fn all(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0xaa; usize::try_from(disk.size()).unwrap()];
    disk.read_at(DiskOffset(0), &mut bytes).unwrap();
    bytes
}

/// All that `next_data` leaves out is zeros, and what it names lies in order.
fn holds_its_holes(disk: &dyn ReadAt, bytes: &[u8]) {
    let mut at = 0;
    while let Some(data) = disk.next_data(DiskOffset(at)).unwrap() {
        assert!(data.start >= at && data.end > data.start && data.end <= disk.size());
        assert!(
            bytes[usize::try_from(at).unwrap()..usize::try_from(data.start).unwrap()].iter().all(|byte| *byte == 0)
        );
        at = data.end;
    }
    assert!(bytes[usize::try_from(at).unwrap()..].iter().all(|byte| *byte == 0));
}

#[test]
fn it_does_what_an_array_does_through_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        let path = folder.path().join(seed.to_string());
        let mut dice = Dice(seed);
        let size = [6 * MIB + 1234, 5 * 4096, 4097, 100, 70 * MIB, 3 * MIB][usize::try_from(seed).unwrap()];
        let disk = || TestDisk::new(size, &[0..size / 3, size / 2..size / 2 + size / 7]);
        let mut model = disk().bytes;
        for _ in 0..5 {
            let overlay = open_with(&path, [7; 32], disk()).unwrap();
            for _ in 0..40 {
                let start = dice.below(size + 1);
                let most = [10, 5000, 50_000, size][usize::try_from(dice.below(4)).unwrap()];
                let length = dice.below((size - start).min(most) + 1);
                let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
                match dice.below(4) {
                    0 | 1 => {
                        let byte = u8::try_from(dice.below(256)).unwrap();
                        model[range.clone()].fill(byte);
                        overlay.write_at(DiskOffset(start), &model[range]).unwrap();
                    }
                    2 => {
                        model[range].fill(0);
                        overlay.zero(DiskOffset(start), length).unwrap();
                    }
                    _ => {
                        let mut found = vec![0xaa; range.len()];
                        overlay.read_at(DiskOffset(start), &mut found).unwrap();
                        assert!(found == model[range], "seed {seed}: {start} {length}");
                    }
                }
            }
            assert!(all(&overlay) == model, "seed {seed}");
            holds_its_holes(&overlay, &model);
            overlay.flush().unwrap();
        }
    }
}

#[test]
fn what_lies_beyond_the_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = open(&folder.path().join("o")).unwrap();
    let size = overlay.size();
    for (offset, length) in [(size, 1), (size - 1, 2), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
        let short = usize::try_from(length.min(2)).unwrap();
        assert!(matches!(overlay.write_at(DiskOffset(offset), &[0; 2][..short]), Err(WriteError::Range(_))));
        assert!(matches!(overlay.zero(DiskOffset(offset), length), Err(WriteError::Range(_))));
        assert!(matches!(overlay.trim(DiskOffset(offset), length), Err(WriteError::Range(_))));
        assert!(overlay.read_at(DiskOffset(offset), &mut [0; 2][..short]).is_err());
    }
}

#[test]
fn it_belongs_to_one_disk_and_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let overlay = open(&path).unwrap();
    overlay.write_at(DiskOffset(5), b"mine").unwrap();
    assert!(matches!(open(&path), Err(OverlayProblem::Busy)));
    overlay.flush().unwrap();
    drop(overlay);
    assert!(matches!(open_with(&path, [8; 32], spotted()), Err(OverlayProblem::OtherDisk)));
    let larger = TestDisk::new(7 * MIB, &[]);
    assert!(
        matches!(open_with(&path, [7; 32], larger), Err(OverlayProblem::OtherSize { size, .. }) if size == 7 * MIB)
    );
    assert_eq!(all(&open(&path).unwrap())[5..9], *b"mine", "being refused changed nothing");
}

#[test]
fn what_was_not_flushed_is_as_if_it_was_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let overlay = open(&path).unwrap();
    overlay.write_at(DiskOffset(100_000), b"kept").unwrap();
    overlay.flush().unwrap();
    overlay.write_at(DiskOffset(200_000), b"lost").unwrap();
    // The process ends here. Its lock goes with it; the file is looked at through a copy, as this process is still there.
    let copy = folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    let found = all(&open(&copy).unwrap());
    assert_eq!(found[100_000..100_004], *b"kept");
    assert_eq!(found[200_000..200_004], spotted().bytes[200_000..200_004]);
}

#[test]
fn after_an_end_at_any_time_each_block_is_one_that_was_written_since_the_last_flush() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("o"), folder.path().join("copy"));
    let overlay = open(&path).unwrap();
    let mut model = spotted().bytes;
    let blocks = |bytes: &[u8]| bytes.chunks(4096).map(<[u8]>::to_vec).collect::<Vec<_>>();
    // For each block, all that it may hold.
    let mut possible: Vec<Vec<Vec<u8>>> = blocks(&model).into_iter().map(|block| vec![block]).collect();
    let mut dice = Dice(4);
    for step in 1..=60_u8 {
        let start = dice.below(model.len() as u64);
        let length = dice.below((model.len() as u64 - start).min(30_000)) + 1;
        let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
        if dice.below(3) == 0 {
            model[range].fill(0);
            overlay.zero(DiskOffset(start), length).unwrap();
        } else {
            model[range.clone()].fill(step);
            overlay.write_at(DiskOffset(start), &model[range]).unwrap();
        }
        let now = blocks(&model);
        for (all, block) in possible.iter_mut().zip(&now) {
            all.push(block.clone());
        }
        if dice.below(8) == 0 {
            overlay.flush().unwrap();
            possible = now.into_iter().map(|block| vec![block]).collect();
        }
        fs::copy(&path, &copy).unwrap();
        let found = blocks(&all(&open(&copy).unwrap()));
        for (number, (found, possible)) in found.iter().zip(&possible).enumerate() {
            assert!(possible.contains(found), "step {step}, block {number}");
        }
    }
}

#[test]
fn an_error_says_each_thing_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let _open = open(&path).unwrap();
    let error = Overlay::open(&path, Arc::new(spotted()), [7; 32]).unwrap_err();
    assert_eq!(error.to_string(), format!("the overlay {} cannot be used", path.display()));
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.to_string().contains("in use") && cause.source().is_none());
}

#[test]
fn nobody_else_reads_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn files_that_are_something_else_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    fs::write(&path, "a letter to my grandmother").unwrap();
    assert!(matches!(open(&path), Err(OverlayProblem::NotAnOverlay)));
    assert_eq!(fs::read(&path).unwrap(), b"a letter to my grandmother");
    fs::write(&path, vec![0; 100_000]).unwrap();
    assert!(matches!(open(&path), Err(OverlayProblem::NotAnOverlay)), "zeros may be somebody's");
    fs::write(&path, "").unwrap();
    drop(open(&path).expect("an empty file is nobody's"));
    assert!(matches!(open(folder.path()), Err(OverlayProblem::Io { .. })));
    assert!(matches!(open(&folder.path().join("no folder/o")), Err(OverlayProblem::Io { .. })));
}

#[test]
fn a_file_whose_making_was_cut_off_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    drop(open(&path).unwrap());
    let length = fs::metadata(&path).unwrap().len();
    // The length was durable, and the header was not.
    fs::write(&path, "").unwrap();
    File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
    assert!(all(&open(&path).unwrap()) == spotted().bytes);
    drop(open(&path).expect("it is one now"));
}

#[test]
fn damage_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let overlay = open(&path).unwrap();
    overlay.write_at(DiskOffset(0), &[1; 4096]).unwrap();
    overlay.flush().unwrap();
    drop(overlay);
    let length = fs::metadata(&path).unwrap().len();
    let change = |at: u64, bytes: &[u8]| {
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(bytes).unwrap();
    };
    change(8, &[2]);
    assert!(matches!(open(&path), Err(OverlayProblem::Version { version: 2 })));
    change(8, &[1]);
    change(30, &[0]);
    assert!(matches!(open(&path), Err(OverlayProblem::Damaged { .. })));
    change(30, &[7]);
    change(4096, &[3]);
    assert!(matches!(open(&path), Err(OverlayProblem::Damaged { .. })));
    change(4096, &[1]);
    drop(open(&path).expect("all is well again"));
    for other in [length - 1, length + 1, 10_000] {
        File::options().write(true).open(&path).unwrap().set_len(other).unwrap();
        assert!(open(&path).is_err(), "{other}");
    }
}

#[test]
fn space_is_taken_for_what_is_written_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let overlay = open_with(&path, [1; 32], TestDisk::new(64 * MIB, &[])).unwrap();
    let blocks = || fs::metadata(&path).unwrap().blocks() * 512;
    overlay.flush().unwrap();
    let empty = blocks();
    assert!(empty < MIB, "{empty}");
    overlay.write_at(DiskOffset(MIB), &vec![9; 8 << 20]).unwrap();
    overlay.flush().unwrap();
    assert!(blocks() >= 8 * MIB);
    overlay.trim(DiskOffset(MIB), 8 * MIB).unwrap();
    overlay.flush().unwrap();
    // Not every file system can; then it stays as it is.
    if blocks() < 8 * MIB {
        assert!(blocks() <= empty + 65_536);
    } else {
        eprintln!("skipped: this file system takes no space back");
    }
    assert!(all(&overlay).iter().all(|byte| *byte == 0));
}

#[test]
fn disks_without_a_byte_and_disks_that_are_too_large() {
    struct Size(u64);
    impl ReadAt for Size {
        fn size(&self) -> u64 {
            self.0
        }
        fn read_at(&self, _: DiskOffset, _: &mut [u8]) -> Result<(), sheaf::disk::ReadError> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let none = Overlay::open(&folder.path().join("none"), Arc::new(Size(0)), [0; 32]).unwrap();
    none.zero(DiskOffset(0), 0).unwrap();
    none.flush().unwrap();
    assert_eq!(none.next_data(DiskOffset(0)).unwrap(), None);
    for size in [u64::MAX, (64 << 40) + 1] {
        let path = folder.path().join("large");
        let refused = Overlay::open(&path, Arc::new(Size(size)), [0; 32]).map_err(|error| error.problem);
        assert!(matches!(refused, Err(OverlayProblem::TooLarge { .. })));
        assert!(!path.exists());
    }
}
