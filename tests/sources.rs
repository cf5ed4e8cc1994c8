//! Disks that shrink, vanish, have bad sectors, or sizes that nobody has thought of.
//!
//! Always true here:
//! - A source that is not there to its end gives no snapshot, and costs nothing that was stored.
//! - What could not be read is told by backup and restore alike, and comes back as zeros; every other byte comes back as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::Fixture;
use common::sources::{DiskFault, FaultyDisk, noise};
use sheaf::disk::{Extent, ReadError};
use sheaf::format::manifest::HoleKind;
use sheaf::names::ObjectKind;
use sheaf::ops::OpsError;
use sheaf::ops::check::Depth;
use sheaf::storage::sim::SimStorage;
use std::ops::Range;

const MIB: usize = 1 << 20;

#[test]
fn a_source_that_shrinks_or_vanishes_gives_no_snapshot_and_the_next_run_uses_what_was_stored() {
    // Three blocks of 4 MiB and a bit; each is one read.
    let disk = noise(5, 13 * MIB);
    let clean = {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.clone());
        machine.backup("stick", &disk).expect("a backup");
        machine.packs()
    };
    let end = disk.len() as u64;
    let faults = [
        DiskFault::Shrinks { read: 0, to: 0 },
        DiskFault::Shrinks { read: 0, to: 4 << 20 },
        DiskFault::Shrinks { read: 0, to: (9 << 20) + 77 },
        DiskFault::Shrinks { read: 0, to: end - 1 },
        DiskFault::Shrinks { read: 2, to: 1 },
        DiskFault::Shrinks { read: 3, to: end - 1 },
        DiskFault::Vanishes { read: 0 },
        DiskFault::Vanishes { read: 1 },
        DiskFault::Vanishes { read: 3 },
        DiskFault::VanishesSilently { read: 0 },
        DiskFault::VanishesSilently { read: 2 },
        DiskFault::MapVanishes { read: 0 },
        DiskFault::MapVanishes { read: 2 },
    ];
    for fault in faults {
        let when = format!("{fault:?}");
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.clone());
        let old = noise(6, 100_000);
        let before = machine.backup("old", &old).expect("a backup").snapshot;
        let packs_before = medium.names(ObjectKind::Pack).len();
        let error = machine.backup("stick", &FaultyDisk::new(disk.clone(), fault.clone())).expect_err(&when);
        let OpsError::Source { source_name, source } = error else { panic!("{when}: {error}") };
        assert_eq!(source_name, "stick.img");
        match fault {
            DiskFault::Shrinks { .. } => assert!(matches!(source, ReadError::BeyondEnd { .. }), "{when}: {source}"),
            _ => assert!(matches!(source, ReadError::Gone { .. }), "{when}: {source}"),
        }
        assert_eq!(machine.snapshots().len(), 1, "{when}");
        machine.assert_sound(&[(before, &old)], &when);
        // Stored and in the index: what was read before the failure.
        let stored = medium.names(ObjectKind::Pack).len() - packs_before;
        assert_eq!(machine.listed_packs().len(), stored + packs_before, "{when}");
        let is_late = matches!(
            fault,
            DiskFault::Shrinks { to: 4194304.., .. }
                | DiskFault::Shrinks { read: 2.., .. }
                | DiskFault::Vanishes { read: 1.. }
                | DiskFault::VanishesSilently { read: 2.. }
                | DiskFault::MapVanishes { read: 2.. }
        );
        assert!(!is_late || stored > 60, "{when}: {stored} packs");
        let next = machine.backup("stick", &disk).expect(&when);
        assert!(!is_late || next.counts.chunks_new < clean.chunks.len() as u64 * 3 / 4, "{when}: {:?}", next.counts);
        machine.assert_sound(&[(before, &old), (next.snapshot, &disk)], &when);
        assert_eq!(machine.packs().stored_twice(), 0, "{when}");
    }
}

/// The disk with zeros in these ranges.
fn without(disk: &[u8], ranges: &[Range<u64>]) -> Vec<u8> {
    let mut bytes = disk.to_vec();
    for range in ranges {
        bytes[range.start as usize..range.end as usize].fill(0);
    }
    bytes
}

#[test]
fn unreadable_sectors_are_told_kept_apart_from_zeros_and_come_back_as_zeros() {
    // At the start, across a border of blocks, side by side with zeros, and the last, which is a part of a sector.
    let mut disk = noise(7, 9 * MIB + 100);
    disk[2 * MIB..3 * MIB].fill(0);
    let end = disk.len() as u64;
    let border = 4 * MIB as u64;
    let bad = [0..512, 2 * MIB as u64 - 512..2 * MIB as u64 + 512, border - 1024..border + 512, end - 100..end];
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.clone());
    let source = FaultyDisk::new(disk.clone(), DiskFault::Unreadable(bad.to_vec()));
    let report = machine.backup("stick", &source).expect("done, with warnings");
    let lost: Vec<_> = report.unreadable.iter().map(|extent| extent.start.0..extent.end().unwrap().0).collect();
    assert_eq!(lost, bad);
    assert_eq!(report.counts.unreadable, bad.iter().map(|range| range.end - range.start).sum::<u64>());
    let expected = without(&disk, &bad);
    machine.assert_sound(&[(report.snapshot, &expected)], "bad sectors");
    let restored = machine.disk(report.snapshot).expect("a disk");
    let holes: Vec<Extent> = restored.map().holes(HoleKind::Unreadable).collect();
    assert_eq!(holes, report.unreadable);
    assert_eq!(machine.snapshots()[0].record.counts.unreadable, report.counts.unreadable);
    // Once the disk reads again, the next snapshot is whole, and most of it is known.
    let next = machine.backup("stick", &disk).expect("a backup");
    assert_eq!(next.counts.unreadable, 0);
    assert!(next.counts.bytes_new < MIB as u64 / 2, "{:?}", next.counts);
    machine.assert_sound(&[(report.snapshot, &expected), (next.snapshot, &disk)], "healed");
}

#[test]
fn a_disk_of_nothing_but_bad_sectors_is_backed_up_as_that() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium);
    let size = 300_000;
    let source = FaultyDisk::new(noise(8, size), DiskFault::Unreadable(std::iter::once(0..size as u64).collect()));
    let report = machine.backup("stick", &source).expect("done, with warnings");
    assert_eq!((report.counts.unreadable, report.counts.bytes_kept), (size as u64, 0));
    machine.assert_sound(&[(report.snapshot, &vec![0; size])], "all bad");
}

#[test]
fn a_disk_of_any_small_size_and_content_comes_back() {
    let machine = Fixture::make(SimStorage::new());
    let mut made = Vec::new();
    let sizes =
        [0, 1, 2, 3, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_537, 4 * MIB + 1];
    for size in sizes {
        let zeros = vec![0; size];
        let bytes = noise(size as u64 + 1, size);
        let text: Vec<u8> = b"the same words ".iter().copied().cycle().take(size).collect();
        let (mut first, mut last) = (zeros.clone(), zeros.clone());
        if size > 0 {
            (first[0], last[size - 1]) = (1, 1);
        }
        for disk in [zeros, bytes, text, first, last] {
            let report = machine.backup("stick", &disk).unwrap_or_else(|error| panic!("{size} bytes: {error}"));
            made.push((report.snapshot, disk));
        }
    }
    for (snapshot, disk) in &made {
        assert!(machine.restore(*snapshot).expect("a restore") == *disk, "{} bytes", disk.len());
    }
    assert!(machine.check(Depth::Data(100)).expect("a check").is_ok());
}

#[test]
fn data_and_zeros_in_any_arrangement_come_back() {
    let machine = Fixture::make(SimStorage::new());
    let mut made = Vec::new();
    // Runs of zeros below, at and above what counts as a hole, also across the borders of blocks.
    for zeros in [1, 511, 4095, 4096, 4097, 65_535, 65_536, 65_537, 3 * MIB] {
        let mut disk = noise(zeros as u64, 9 * MIB);
        for start in [0, 100_001, 4 * MIB - zeros / 2, 8 * MIB - zeros, 9 * MIB - zeros] {
            disk[start..start + zeros].fill(0);
        }
        made.push((machine.backup("stick", &disk).expect("a backup").snapshot, disk));
    }
    let expected: Vec<_> = made.iter().map(|(snapshot, disk)| (*snapshot, disk)).collect();
    machine.assert_sound(&expected, "zeros of many lengths");
}

#[cfg(target_os = "linux")]
mod with_the_program {
    use super::{Fixture, MIB, noise, without};
    use crate::common::binary::{Program, backup, can_trace};
    use crate::common::folder;
    use sheaf::disk::{DiskOffset, ReadAt, ReadError, file_write_all_at};
    use sheaf::image::RawDisk;
    use sheaf::ops::OpsError;
    use sheaf::storage::local::LocalStorage;
    use std::fs::File;
    use std::ops::Range;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tempfile::TempDir;

    /// A repository in a folder, and the program and a machine that use it.
    fn program() -> (Program, Fixture, TempDir) {
        let folder = folder();
        let program = Program { repo: folder.path().join("repo"), cache: folder.path().join("cache") };
        let machine = Fixture::make(LocalStorage::create(&program.repo).expect("a folder"));
        (program, machine, folder)
    }

    #[test]
    fn bad_sectors_are_told_with_status_3_by_backup_and_by_restore() {
        if !can_trace() {
            return;
        }
        let (program, machine, _folder) = program();
        let image = machine.path("stick.img");
        let disk = noise(9, 300_000);
        std::fs::write(&image, &disk).expect("an image");
        let path = image.to_str().expect("a path");
        // The whole is tried three times, then its first piece of 64 KiB, then each sector twice: 14 failures are five sectors.
        let inject = "inject=pread64:error=EIO:when=1..14";
        let options = ["-P", path, "-e", "trace=pread64", "-e", inject];
        let ended = program.traced(&options, &backup(&image, "stick")).expect(3, "bad sectors");
        let report = ended.json();
        let runs = report["unreadable_ranges"].as_array().expect("runs");
        let runs: Vec<_> = runs
            .iter()
            .map(|run| (run["start"].as_u64().expect("a start"), run["length"].as_u64().expect("a length")))
            .collect();
        assert_eq!(runs, [(0, 5 * 512)], "{ended:#?}");
        let ranges: Vec<_> = runs.iter().map(|(start, length)| *start..start + length).collect();
        assert_eq!(report["unreadable"], runs.iter().map(|(_, length)| length).sum::<u64>());
        let restored = machine.path("restored.img");
        let ended = program.restore("latest", &restored).expect(3, "what is lost");
        assert_eq!(ended.json()["unreadable_ranges"], report["unreadable_ranges"]);
        assert!(std::fs::read(&restored).expect("a file") == without(&disk, &ranges));
        program.check().expect(0, "what could not be read is no damage of the repository");
    }

    /// A file that someone cuts or removes at the read of a given number.
    struct Changed {
        disk: RawDisk,
        path: PathBuf,
        read: AtomicU64,
        at: u64,
        /// The size that it then has; none where it is removed.
        size: Option<u64>,
    }

    impl ReadAt for Changed {
        fn size(&self) -> u64 {
            self.disk.size()
        }

        fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            if self.read.fetch_add(1, Ordering::SeqCst) == self.at {
                match self.size {
                    Some(size) => File::options().write(true).open(&self.path).unwrap().set_len(size).unwrap(),
                    None => std::fs::remove_file(&self.path).unwrap(),
                }
            }
            self.disk.read_at(offset, buffer)
        }

        fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
            self.disk.next_data(from)
        }

        fn still_there(&self) -> Result<(), ReadError> {
            self.disk.still_there()
        }
    }

    #[test]
    fn a_file_that_is_cut_while_it_is_read_is_an_error_and_one_that_is_removed_is_read_to_its_end() {
        let (_, machine, folder) = program();
        let path = folder.path().join("stick.img");
        let bytes = noise(10, 9 * MIB);
        let sizes = [0, 1, 4 << 20, (9 << 20) - 1].map(Some).into_iter().chain([None]);
        for size in sizes {
            for at in 0..3 {
                std::fs::write(&path, &bytes).expect("an image");
                let disk = RawDisk::open(&path).expect("an image");
                let source = Changed { disk, path: path.clone(), read: AtomicU64::new(0), at, size };
                let made = machine.backup("stick", &source);
                match (size, made) {
                    (None, Ok(report)) => machine.assert_sound(&[(report.snapshot, &bytes)], "removed").is_ok(),
                    (Some(_), Err(OpsError::Source { source: ReadError::BeyondEnd { .. }, .. })) => {
                        machine.assert_sound(&[], "cut").is_ok()
                    }
                    (_, other) => panic!("{size:?} at read {at}: {other:?}"),
                };
            }
        }
        assert_eq!(machine.snapshots().len(), 3);
    }

    #[test]
    fn a_sparse_disk_of_4_tib_takes_seconds_and_comes_back_sparse() {
        const SIZE: u64 = 4 << 40;
        let (program, machine, _folder) = program();
        let image = machine.path("sparse.img");
        let file = File::create(&image).expect("a file");
        if file.set_len(SIZE).is_err() {
            eprintln!("left out: the file system has no files of 4 TiB");
            return;
        }
        let piece = noise(11, 300_000);
        let starts = [0, 5 << 30, (1 << 40) + 12_345, (3 << 40) - 150_000, SIZE - 300_000];
        for start in starts {
            file_write_all_at(&file, &piece, start).expect("a write");
        }
        let report = program.backup(&image, "sparse").expect(0, "a backup").json();
        assert_eq!(report["bytes_source"], SIZE);
        assert!(report["bytes_read"].as_u64() < Some(64 << 20), "{report:#}");
        program.check().expect(0, "a check");
        let restored = machine.path("restored.img");
        program.restore("latest", &restored).expect(0, "a restore");
        let disk = RawDisk::open(&restored).expect("the restored file");
        assert_eq!(disk.size(), SIZE);
        let (mut position, mut data) = (0, 0);
        while let Some(run) = disk.next_data(DiskOffset(position)).expect("a map") {
            data += run.end - run.start;
            position = run.end;
        }
        assert!(data < 64 << 20, "{data} bytes of data");
        // Every byte that either file holds.
        let original = RawDisk::open(&image).expect("the image");
        for (one, other) in [(&original, &disk), (&disk, &original)] {
            let mut position = 0;
            while let Some(run) = one.next_data(DiskOffset(position)).expect("a map") {
                let length = usize::try_from(run.end - run.start).expect("small");
                let (mut here, mut there) = (vec![0; length], vec![1; length]);
                one.read_at(DiskOffset(run.start), &mut here).expect("data");
                other.read_at(DiskOffset(run.start), &mut there).expect("data");
                assert!(here == there, "{run:?}");
                position = run.end;
            }
        }
    }
}
