//! Disks that are cut along their files: what comes back, what is left out, what is shared, and what contradictions cost.
//!
//! Always true here: volumes are made in memory by the builders of the readers' own tests; nothing needs a tool or root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub)]

#[path = "../vhdx/build.rs"]
#[allow(dead_code, reason = "shared with the tests of VHDX, which use all of it")]
mod build;
#[path = "../common/mod.rs"]
mod common;
#[path = "../vhdx/model.rs"]
#[allow(dead_code, reason = "shared with the tests of VHDX, which use all of it")]
mod model;
#[path = "../ntfs/build.rs"]
#[allow(dead_code, reason = "shared with the tests of NTFS, which use all of it")]
mod ntfs;

use common::Fixture;
use common::sources::noise;
use model::{MIB, Model};
use ntfs::{Build, ROOT};
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::layout::nested::NoInner;
use sheaf::layout::{Keep, Unkept, lay_out};
use sheaf::ops::backup::{BackupPlan, BackupReport};
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

const CLUSTER: u64 = 4096;
const ALL: Keep = Keep { free: true, scratch: true };

/// A file: its name and its bytes.
type File = (String, Vec<u8>);

fn files(seed: u64, count: u64) -> Vec<File> {
    let bytes = |index: u64| noise(seed * 1000 + index, 3000 + (seed + index * 7919) as usize % 90_000);
    (0..count).map(|index| (format!("file-{index}"), bytes(index))).collect()
}

/// A volume with these files in this order, a page file, and noise in its free clusters.
fn volume(files: &[File], garbage: u64) -> Vec<u8> {
    let mut volume = Build::new(CLUSTER, 1024, 2048);
    volume.take(garbage % 50);
    for (number, (name, bytes)) in (40..).zip(files) {
        volume.file(number, ROOT, name, bytes);
        volume.take(garbage % 3);
    }
    volume.file(39, ROOT, "pagefile.sys", &noise(garbage + 1, 100_000));
    let free = volume.take(200);
    volume.content.push((free.0 + 10, noise(garbage + 2, 100 * CLUSTER as usize)));
    volume.image()
}

/// A disk with a master boot record and one partition of this content at 1 MiB.
fn disk(partition: &[u8]) -> Vec<u8> {
    let sectors = (partition.len() as u64).div_ceil(512);
    let mut disk = vec![0; MIB as usize];
    disk[440..444].copy_from_slice(&[1, 2, 3, 4]);
    disk[446 + 4] = 7;
    disk[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    disk[446 + 12..446 + 16].copy_from_slice(&(sectors as u32).to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend_from_slice(partition);
    disk.resize((MIB + sectors * 512) as usize + 5000, 0x5a);
    disk
}

fn shared(disk: &[u8]) -> Arc<dyn ReadAt> {
    Arc::new(disk.to_vec())
}

fn back_up(fixture: &Fixture, disk: &Arc<dyn ReadAt>, keep: Keep) -> (BackupPlan, BackupReport) {
    let plan = BackupPlan::make(disk, keep).unwrap();
    let report = fixture.backup_planned("ana", &**disk, &plan).unwrap();
    (plan, report)
}

#[test]
fn all_but_free_and_scratch_comes_back_and_with_them_all_of_it() {
    let fixture = Fixture::make(SimStorage::new());
    let bytes = disk(&volume(&files(1, 12), 7));
    let source = shared(&bytes);
    let (plan, report) = back_up(&fixture, &source, Keep::default());
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    assert_eq!((plan.volumes.len(), plan.volumes[0].file_system.as_str()), (1, "NTFS"));
    assert!(plan.left_out(Unkept::Free) > 100 * CLUSTER && plan.left_out(Unkept::Scratch) >= 100_000);
    let counts = report.counts;
    let sum = counts.bytes_files + counts.bytes_records + counts.bytes_slack + counts.bytes_other;
    assert_eq!(sum, counts.bytes_kept);
    let left_out = counts.bytes_zero + counts.bytes_free + counts.bytes_scratch;
    assert_eq!(sum + left_out, bytes.len() as u64);

    let restored = fixture.restore(report.snapshot).unwrap();
    let layout = lay_out(&source, Keep::default(), &NoInner).unwrap();
    let mut expected = bytes.clone();
    for (_, hole) in layout.coverage.holes() {
        expected[hole.start.0 as usize..(hole.start.0 + hole.length) as usize].fill(0);
    }
    assert!(restored == expected, "holes are zeros, and nothing else differs");
    let (_, report) = back_up(&fixture, &source, ALL);
    assert!(fixture.restore(report.snapshot).unwrap() == bytes);
}

#[test]
fn the_same_files_in_other_places_cost_next_to_nothing() {
    let fixture = Fixture::make(SimStorage::new());
    let mut files = files(3, 15);
    let (_, first) = back_up(&fixture, &shared(&disk(&volume(&files, 11))), Keep::default());
    files.reverse();
    let (_, second) = back_up(&fixture, &shared(&disk(&volume(&files, 22))), Keep::default());
    // The records of the MFT differ, and the map of used clusters.
    assert!(second.counts.bytes_new < first.counts.bytes_new / 8, "{:?} after {:?}", second.counts, first.counts);
    assert_eq!(second.counts.bytes_files, first.counts.bytes_files);
}

#[test]
fn a_disk_in_a_file_is_laid_out_in_place() {
    let fixture = Fixture::make(SimStorage::new());
    let files = files(5, 12);
    let inner = disk(&volume(&files, 3));
    let (_, plain) = back_up(&fixture, &shared(&inner), Keep::default());
    let mut model = Model::new((inner.len() as u64).next_multiple_of(512));
    model.write(0, &inner);
    let container = build::image(&model, MIB, 512, false);
    let mut outer = Build::new(CLUSTER, 1024, 8192);
    outer.take(9);
    outer.file(40, ROOT, "windows.vhdx", &container);
    let outer = disk(&outer.image());
    let source = shared(&outer);
    let (plan, report) = back_up(&fixture, &source, Keep::default());
    let depths: Vec<u32> = plan.volumes.iter().map(|volume| volume.depth).collect();
    assert_eq!(depths, [0, 1], "{:?}", plan.notes);
    // What is new are the structures of the outer volume and of the container.
    assert!(report.counts.bytes_stored < plain.counts.bytes_stored / 8, "{:?} after {:?}", report.counts, plain.counts);
    assert!(report.counts.bytes_scratch >= 100_000, "the page file inside");
    let (_, report) = back_up(&fixture, &source, ALL);
    assert!(fixture.restore(report.snapshot).unwrap() == outer);
}

/// Changes some bytes, most of them where structures lie.
fn change(disk: &mut [u8], seed: u64) {
    let places = noise(seed + 1, 8 * 40);
    let (places, _) = places.as_chunks::<8>();
    let count = 1 + places[0][0] as usize % 12;
    for place in &places[1..=count] {
        let [kind, value, at @ ..] = place;
        let at = u64::from_le_bytes([at[0], at[1], at[2], at[3], at[4], at[5], 0, 0]);
        let place = match kind % 8 {
            0 => at % 512,
            1 => MIB + at % 512,
            2 => at % disk.len() as u64,
            // The MFT of these volumes begins in their first 20 clusters.
            _ => MIB + at % (40 * CLUSTER),
        };
        disk[place as usize] = if kind & 0x80 == 0 { *value } else { disk[place as usize].wrapping_add(1) };
    }
}

#[test]
fn whatever_a_disk_says_of_itself_each_byte_is_there_once() {
    let sound = disk(&volume(&files(9, 10), 5));
    for seed in 0..400 {
        let mut bytes = sound.clone();
        change(&mut bytes, seed);
        if seed % 10 == 0 {
            bytes.truncate(bytes.len() * (seed as usize % 97 + 1) / 98);
        }
        let size = bytes.len() as u64;
        for keep in [Keep::default(), ALL] {
            let layout = lay_out(&shared(&bytes), keep, &NoInner).unwrap();
            assert!(layout.coverage.covers(size), "seed {seed}");
            assert!(!layout.notes.iter().any(|note| note.contains("defect")), "seed {seed}: {:?}", layout.notes);
            assert!(keep == Keep::default() || layout.coverage.holes().is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn changed_disks_come_back_byte_for_byte() {
    let sound = disk(&volume(&files(9, 10), 5));
    for seed in 0..40 {
        let fixture = Fixture::make(SimStorage::new());
        let mut bytes = sound.clone();
        change(&mut bytes, 1000 + seed);
        let (_, report) = back_up(&fixture, &shared(&bytes), ALL);
        assert!(fixture.restore(report.snapshot).unwrap() == bytes, "seed {seed}");
    }
}

#[test]
fn a_disk_that_is_no_disk_at_all_is_kept_in_its_own_order() {
    let fixture = Fixture::make(SimStorage::new());
    for size in [0, 1, 3, 511, 512, 513, 5000, 300_000] {
        let bytes = noise(size as u64 + 1, size);
        let (plan, report) = back_up(&fixture, &shared(&bytes), Keep::default());
        assert!(plan.volumes.is_empty() && plan.left_out(Unkept::Free) == 0);
        assert!(fixture.restore(report.snapshot).unwrap() == bytes, "{size} bytes");
    }
}

#[test]
fn a_far_sparse_disk_is_not_walked_through() {
    struct Sparse(Vec<u8>);
    impl ReadAt for Sparse {
        fn size(&self) -> u64 {
            64 << 40
        }
        fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), sheaf::disk::ReadError> {
            buffer.fill(0);
            let start = (offset.0 as usize).min(self.0.len());
            let count = (self.0.len() - start).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[start..start + count]);
            Ok(())
        }
        fn next_data(&self, from: DiskOffset) -> Result<Option<std::ops::Range<u64>>, sheaf::disk::ReadError> {
            let end = self.0.len() as u64;
            Ok((from.0 < end).then_some(from.0..end))
        }
    }
    let fixture = Fixture::make(SimStorage::new());
    let source: Arc<dyn ReadAt> = Arc::new(Sparse(disk(&volume(&files(2, 3), 4))));
    let (plan, report) = back_up(&fixture, &source, Keep::default());
    assert_eq!(plan.volumes.len(), 1, "{:?}", plan.notes);
    assert!(report.counts.bytes_read < 64 << 20);
    fixture.disk(report.snapshot).unwrap();
}
