//! Reading what the layout composed: the same disk, the same holes, and what was asked for in the footer.

use super::super::ImageError;
use super::super::composed::ComposedFile;
use super::super::container::{Composed, FileOffset, FindParent, ParentHint, Place};
use super::footer::MAX_SIZE;
use super::{Geometry, Kind, VhdDisk, VhdError, VhdFacts, VhdIdentity, VhdLayout, is_vhd};
use crate::disk::{DiskOffset, ReadAt, ReadError};
use proptest::{collection, prop_assert, prop_assert_eq, proptest};
use std::ops::Range;
use std::sync::{Arc, Mutex};

const IDENTITY: VhdIdentity =
    VhdIdentity { identifier: *b"0123456789abcdef", time_stamp: 700_000_000, geometry: None, creator: None };

struct NoParents;

impl FindParent for NoParents {
    fn find(&self, _: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        Ok(None)
    }
}

/// A disk of these sectors: zeros where 0, and then left out when it is asked where data is.
struct Sectors(Vec<u8>);

impl ReadAt for Sectors {
    fn size(&self) -> u64 {
        self.0.len() as u64 * 512
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        for (byte, at) in buffer.iter_mut().zip(offset.0..) {
            *byte = self.0[at as usize / 512];
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let first = (from.0 / 512) as usize;
        let start = (first..self.0.len()).find(|sector| self.0[*sector] != 0);
        Ok(start.map(|start| {
            let end = (start..self.0.len()).find(|sector| self.0[*sector] == 0).unwrap_or(self.0.len());
            (start as u64 * 512).max(from.0)..end as u64 * 512
        }))
    }
}

fn ranges(disk: &dyn ReadAt) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    while let Some(range) = disk.next_data(DiskOffset(ranges.last().map_or(0, |range| range.end))).expect("told") {
        ranges.push(range);
    }
    ranges
}

fn bytes(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0xaa; disk.size() as usize];
    disk.read_at(DiskOffset(0), &mut bytes).expect("read");
    bytes
}

/// A file that notes where it was read.
struct Noted {
    file: Vec<u8>,
    reads: Mutex<Vec<Range<u64>>>,
}

impl ReadAt for Noted {
    fn size(&self) -> u64 {
        self.file.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.reads.lock().expect("sound").push(offset.0..offset.0 + buffer.len() as u64);
        self.file.read_at(offset, buffer)
    }
}

fn dynamic(disk: Sectors, block: u32) -> Vec<u8> {
    let layout = VhdLayout::dynamic(disk.size(), ranges(&disk), block, IDENTITY).expect("a layout");
    bytes(&ComposedFile::new(Arc::new(disk), Box::new(layout)).expect("sound"))
}

proptest! {
    #[test]
    fn a_dynamic_disk_reads_as_what_it_was_made_of(
        runs in collection::vec((0..3_u8, 1..20_usize), 1..12), shift in 0..5_u32, from in 0..40_000_u64, length in 0..40_000_u64,
    ) {
        let sectors: Vec<u8> = runs.iter().flat_map(|(fill, count)| vec![*fill; *count]).collect();
        let expected = bytes(&Sectors(sectors.clone()));
        let size = expected.len() as u64;
        let block = 512 << shift;
        let file = dynamic(Sectors(sectors), block);
        prop_assert_eq!(is_vhd(&file).expect("read"), Some(Kind::Dynamic));
        let disk = VhdDisk::open(Arc::new(file.clone()), &NoParents).expect("sound");
        prop_assert_eq!(disk.warnings(), &[][..]);
        prop_assert_eq!(disk.facts().block_size, Some(block));
        prop_assert_eq!(&bytes(&disk), &expected);
        let from = from.min(size);
        let to = (from + length).min(size);
        let mut part = vec![0xaa; (to - from) as usize];
        disk.read_at(DiskOffset(from), &mut part).expect("inside");
        prop_assert_eq!(&part[..], &expected[from as usize..to as usize]);
        // The runs tell the same.
        let mut at = from;
        for run in disk.runs(from..u64::MAX) {
            let run = run.expect("told");
            prop_assert_eq!(run.start.0, at);
            prop_assert!(run.length > 0);
            let same = &expected[at as usize..(at + run.length) as usize];
            match run.place {
                Place::File(FileOffset(file_at)) => {
                    prop_assert_eq!(same, &file[file_at as usize..(file_at + run.length) as usize]);
                }
                Place::Zero => prop_assert!(same.iter().all(|byte| *byte == 0)),
                Place::Parent => prop_assert!(false, "there is none"),
            }
            at += run.length;
        }
        prop_assert_eq!(at, size);
        // Data lies in blocks that were allocated, and nowhere else.
        let mut last = 0;
        for range in ranges(&disk) {
            prop_assert!(expected[last as usize..range.start as usize].iter().all(|byte| *byte == 0));
            last = range.end;
        }
        prop_assert!(expected[last as usize..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn only_blocks_with_data_are_kept_and_read() {
    let mut sectors = vec![0; 64];
    (sectors[9], sectors[63]) = (1, 2);
    let file = dynamic(Sectors(sectors.clone()), 4096);
    // Copy, header, table of 8 entries in a sector, two blocks with a bitmap each, footer.
    assert_eq!(file.len(), 512 + 1024 + 512 + 2 * (512 + 4096) + 512);
    let noted = Arc::new(Noted { file, reads: Mutex::new(Vec::new()) });
    let disk = VhdDisk::open(Arc::clone(&noted) as Arc<dyn ReadAt>, &NoParents).expect("sound");
    noted.reads.lock().expect("sound").clear();
    assert_eq!(ranges(&disk), [4096..8192, 28_672..32_768]);
    assert_eq!(bytes(&disk), bytes(&Sectors(sectors)));
    assert_eq!(*noted.reads.lock().expect("sound"), [2560..6656, 7168..11_264]);
}

#[test]
fn a_fixed_disk_is_its_file_without_the_footer() {
    for size in [1, 7, 8, 4097] {
        let disk = Arc::new(Sectors((0..size).map(|sector| sector as u8).collect()));
        let layout = VhdLayout::fixed(disk.size(), IDENTITY).expect("a layout");
        let file = ComposedFile::new(Arc::clone(&disk) as Arc<dyn ReadAt>, Box::new(layout)).expect("sound");
        assert_eq!(file.size(), disk.size() + 512);
        let data = ranges(&*disk);
        let in_file = ranges(&file);
        assert_eq!(in_file.last().map(|range| range.end), Some(file.size()));
        assert_eq!(
            in_file.first().map(|range| range.start),
            Some(data.first().map_or(disk.size(), |range| range.start))
        );
        let file = bytes(&file);
        assert_eq!(is_vhd(&file).expect("read"), Some(Kind::Fixed));
        let read = VhdDisk::open(Arc::new(file.clone()), &NoParents).expect("sound");
        assert_eq!(bytes(&read), bytes(&*disk));
        let runs: Vec<_> = read.runs(100..disk.size()).map(|run| run.expect("told").place).collect();
        assert_eq!(runs, [Place::File(FileOffset(100))]);

        // One that was written before Virtual PC 2004.
        let old = VhdDisk::open(Arc::new(file[..file.len() - 1].to_vec()), &NoParents).expect("sound");
        assert_eq!(bytes(&old), bytes(&*disk));

        // A footer that is not of this file would cut it short.
        let longer = [&[0; 512], &file[..]].concat();
        let error = VhdDisk::open(Arc::new(longer), &NoParents).expect_err("not its footer").to_string();
        let (at, found) = (disk.size() + 512 + 48, disk.size());
        assert!(
            error.starts_with(&format!("the current size of the fixed disk at file offset {at} is {found};")),
            "{error}"
        );
    }
}

#[test]
fn holes_of_the_file_are_holes_of_a_fixed_disk() {
    let disk: Arc<dyn ReadAt> = Arc::new(Sectors([vec![0; 100], vec![1; 3], vec![0; 100]].concat()));
    let layout = VhdLayout::fixed(disk.size(), IDENTITY).expect("a layout");
    let file = ComposedFile::new(disk, Box::new(layout)).expect("sound");
    let disk = VhdDisk::open(Arc::new(file), &NoParents).expect("sound");
    assert_eq!(disk.next_data(DiskOffset(0)).expect("told"), Some(51_200..52_736));
    assert_eq!(ranges(&disk).len(), 1);
    assert_eq!(disk.next_data(DiskOffset(52_000)).expect("told"), Some(52_000..52_736));
    assert_eq!(disk.next_data(DiskOffset(u64::MAX)).expect("told"), None);
}

#[test]
fn the_footer_says_what_was_asked_for() {
    let geometry = Geometry { cylinders: 1, heads: 2, sectors_per_track: 3 };
    let layout = VhdLayout::fixed(1024, VhdIdentity { geometry: Some(geometry), ..IDENTITY }).expect("a layout");
    let file = ComposedFile::new(Arc::new(vec![0; 1024]), Box::new(layout)).expect("sound");
    let facts = VhdDisk::open(Arc::new(bytes(&file)), &NoParents).expect("sound").facts();
    let expected = VhdFacts {
        kind: Kind::Fixed,
        size: 1024,
        original_size: 1024,
        identifier: IDENTITY.identifier,
        time_stamp: IDENTITY.time_stamp,
        creator_application: *b"win ",
        creator_version: 0x000a_0000,
        creator_host_os: *b"Wi2k",
        geometry,
        block_size: None,
        saved_state: false,
        temporary: false,
        parent: None,
    };
    assert_eq!(facts, expected);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    VhdLayout::fixed(MAX_SIZE, IDENTITY).expect("the largest");
    let largest = VhdLayout::dynamic(MAX_SIZE, [0..1, MAX_SIZE - 1..MAX_SIZE], 2 << 20, IDENTITY).expect("the largest");
    assert!(Composed::metadata(&largest).iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 5 << 20);
    let error = VhdLayout::fixed(MAX_SIZE + 512, IDENTITY).expect_err("too large").to_string();
    assert_eq!(
        error,
        "a VHD holds at most 2190433320960 bytes (2040 GiB), and this disk has 2190433321472: a VHDX holds up to 64 TiB"
    );
    for size in [0, 1, 511, 513] {
        assert!(matches!(VhdLayout::fixed(size, IDENTITY), Err(VhdError::Compose { found, .. }) if found == size));
    }
    let dynamic = |ranges: &[(u64, u64)], block| {
        VhdLayout::dynamic(1 << 20, ranges.iter().map(|(start, end)| *start..*end), block, IDENTITY).err()
    };
    assert!(dynamic(&[(0, 1), (1, 1), (2, 1 << 20)], 512).is_none());
    for ranges in [&[(5, 4)][..], &[(4, 5), (4, 5)], &[(0, (1 << 20) + 1)]] {
        assert!(matches!(dynamic(ranges, 4096), Some(VhdError::Compose { .. })));
    }
    for block in [0, 1, 256, 1000] {
        assert!(matches!(dynamic(&[], block), Some(VhdError::Compose { .. })), "{block}");
    }
    let blocks = VhdLayout::dynamic(MAX_SIZE, [], 64 << 10, IDENTITY).expect_err("too many").to_string();
    assert!(blocks.contains("the number of blocks is 33423360"), "{blocks}");
}

#[test]
fn a_file_that_shrinks_or_fails_is_told_of_the_disk() {
    let mut sectors = vec![0; 16];
    sectors[9] = 1;
    let file = dynamic(Sectors(sectors), 4096);
    struct Shrinking(Vec<u8>, Mutex<u64>);
    impl ReadAt for Shrinking {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            let (length, size) = (buffer.len() as u64, *self.1.lock().expect("sound"));
            if size == 1 {
                return Err(ReadError::Unreadable { offset, length, source: std::io::Error::from_raw_os_error(5) });
            }
            if offset.0 + length > size {
                return Err(ReadError::BeyondEnd { offset, length, size });
            }
            self.0.read_at(offset, buffer)
        }
    }
    let shrinking = Arc::new(Shrinking(file, Mutex::new(u64::MAX)));
    let disk = VhdDisk::open(Arc::clone(&shrinking) as Arc<dyn ReadAt>, &NoParents).expect("sound");
    *shrinking.1.lock().expect("sound") = 3000;
    let gone = disk.read_at(DiskOffset(4000), &mut [0; 1000]).expect_err("gone").to_string();
    assert_eq!(gone, "the disk is gone: 904 bytes at offset 2560 of the VHD file are needed, and it ends at 3000 now");
    *shrinking.1.lock().expect("sound") = 1;
    let unreadable = disk.read_at(DiskOffset(4000), &mut [0; 1000]).expect_err("unreadable");
    assert!(matches!(unreadable, ReadError::Unreadable { offset: DiskOffset(4096), length: 904, .. }), "{unreadable}");
    assert!(matches!(disk.read_at(DiskOffset(8000), &mut [0; 193]), Err(ReadError::BeyondEnd { size: 8192, .. })));
}
