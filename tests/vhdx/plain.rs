//! What is composed is read; limits, warnings, and what is refused.

use std::sync::Arc;

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::image::composed::ComposedFile;
use sheaf::image::container::{Composed, Place};
use sheaf::image::vhdx::{Guid, VhdxDisk, VhdxError, VhdxLayout, VhdxParameters, VhdxWarning, crc, is_vhdx};

use crate::build::{HEADERS, METADATA, Parents, TABLE, change_headers, compose, image, open, parameters, put, u64_at};
use crate::model::{GIB, MIB, Model, assert_same, bytes, check_runs};

fn refused(file: Vec<u8>) -> String {
    open(file).expect_err("refused").to_string()
}

#[test]
fn what_is_composed_is_read_in_every_kind() {
    for (size, block_size, sector, is_fixed) in [
        (10 * MIB, MIB, 512, false),
        (10 * MIB + 512, MIB, 512, true),
        (33 * MIB + 4096, 2 * MIB, 4096, false),
        (70 * MIB, 32 * MIB, 512, false),
        (70 * MIB - 512, 32 * MIB, 512, true),
        (3 * MIB, 256 * MIB, 4096, false),
        (512, MIB, 512, false),
    ] {
        let model = Model::with_data(size, 7);
        let file = image(&model, block_size, sector, is_fixed);
        assert!(is_vhdx(&file).unwrap());
        let disk = open(file.clone()).unwrap();
        assert_same(&disk, &model);
        check_runs(&disk, &file);
        assert!(disk.warnings().is_empty());
        assert_eq!(disk.sector_size(), sector);
        disk.still_there().unwrap();
        let facts = disk.facts();
        assert_eq!((facts.creator.as_str(), facts.disk_id), ("Sheaf tests", Guid([0x1d; 16])));
        assert_eq!((facts.file_write_id, facts.data_write_id), (Guid([0xf0; 16]), Guid([0xd0; 16])));
        assert_eq!((facts.logical_sector_size, facts.physical_sector_size), (sector, 4096));
        assert_eq!((u64::from(facts.block_size), facts.is_fixed), (block_size, is_fixed));
        assert_eq!((facts.replayed_entries, &facts.parent), (0, &None));
    }
}

#[test]
fn a_read_ends_with_the_disk() {
    let disk = open(image(&Model::with_data(MIB + 512, 1), MIB, 512, false)).unwrap();
    let mut buffer = [0; 2];
    disk.read_at(DiskOffset(MIB + 510), &mut buffer).unwrap();
    assert!(matches!(disk.read_at(DiskOffset(MIB + 511), &mut buffer), Err(ReadError::BeyondEnd { .. })));
    assert!(matches!(disk.read_at(DiskOffset(u64::MAX), &mut buffer), Err(ReadError::BeyondEnd { .. })));
    assert_eq!(disk.next_data(DiskOffset(MIB + 512)).unwrap(), None);
    assert_eq!(disk.next_data(DiskOffset(u64::MAX)).unwrap(), None);
}

#[test]
fn the_largest_disk_of_the_smallest_blocks_costs_what_it_holds() {
    let size = 64 << 40;
    let mut model = Model::new(size);
    for at in [0, 3 * GIB, 4 * GIB + 5, size / 2, size - 4096] {
        model.write(at, &bytes(at, 4000));
    }
    for (block_size, sector) in [(MIB, 512), (256 * MIB, 4096)] {
        let layout = VhdxLayout::new(size, model.ranges(), parameters(block_size, sector, false)).unwrap();
        let metadata: usize = layout.metadata().iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(metadata < 1 << 20, "{metadata} bytes");
        if block_size > MIB {
            continue;
        }
        // 516 MiB of table, of which five pieces are more than zeros.
        let disk = VhdxDisk::open(Arc::new(Sparse::new(&model, &layout)), &Parents::default()).unwrap();
        assert_same(&disk, &model);
    }
    let mut beyond = parameters(MIB, 512, false);
    beyond.is_fixed = true;
    assert!(VhdxLayout::new(size + 512, [], beyond.clone()).is_err());
    let fixed = VhdxLayout::new(size, [], VhdxParameters { block_size: 256 << 20, ..beyond }).unwrap();
    assert_eq!(fixed.place(DiskOffset(size - 1)).1, 1);
    assert_eq!(fixed.file_size() - size, 3 * MIB + 3 * MIB);
}

/// A composed file that is not in memory as a whole.
struct Sparse(Model);

impl Sparse {
    fn new(disk: &Model, layout: &VhdxLayout) -> Self {
        let mut file = Model::new(layout.file_size());
        for (at, bytes) in layout.metadata() {
            file.write(at.0, bytes);
        }
        for range in disk.ranges() {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            disk.read_at(DiskOffset(range.start), &mut bytes).unwrap();
            let (place, length) = layout.place(DiskOffset(range.start));
            assert!(length >= bytes.len() as u64);
            file.write(place.unwrap().0, &bytes);
        }
        Self(file)
    }
}

impl ReadAt for Sparse {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn a_dynamic_file_has_the_blocks_with_data_and_no_others() {
    let mut model = Model::new(60 * GIB);
    for gib in 0..60 {
        model.write(gib * GIB, &bytes(gib, 100));
    }
    let layout = VhdxLayout::new(model.size(), model.ranges(), parameters(2 * MIB, 512, false)).unwrap();
    assert_eq!(layout.file_size(), 4 * MIB + 60 * 2 * MIB);
    // Ranges that touch, share a block, or are empty.
    let ranges = [0..0, 0..1, 1..5, 2 * MIB - 1..2 * MIB + 1, 2 * MIB + 1..4 * MIB, 9 * MIB..9 * MIB];
    let layout = VhdxLayout::new(10 * MIB, ranges, parameters(2 * MIB, 512, false)).unwrap();
    assert_eq!(layout.file_size(), 4 * MIB + 4 * MIB);
    assert_eq!(layout.place(DiskOffset(0)), (Some(sheaf::image::container::FileOffset(4 * MIB)), 4 * MIB));
    assert_eq!(layout.place(DiskOffset(5 * MIB)), (None, 5 * MIB));
}

#[test]
fn what_the_format_cannot_hold_is_not_composed() {
    let sound = parameters(MIB, 512, false);
    let error = |size: u64, parameters: &VhdxParameters| {
        VhdxLayout::new(size, [], parameters.clone()).expect_err("unfit").to_string()
    };
    assert!(error(1000, &sound).contains("disk size of 1000: expected a multiple of 512 bytes"));
    assert!(error(0, &sound).contains("at least one sector"));
    assert!(
        error(512, &VhdxParameters { logical_sector_size: 4096, ..sound.clone() }).contains("a multiple of 4096 bytes")
    );
    assert!(error(512, &VhdxParameters { block_size: 3 << 20, ..sound.clone() }).contains("a power of two"));
    assert!(error(512, &VhdxParameters { block_size: 512 << 20, ..sound.clone() }).contains("a power of two"));
    assert!(error(512, &VhdxParameters { physical_sector_size: 1024, ..sound.clone() }).contains("512 or 4096"));
    for ranges in [vec![512..1024, 0..512], vec![0..2048], vec![std::ops::Range { start: 9, end: 5 }]] {
        assert!(matches!(VhdxLayout::new(1024, ranges, sound.clone()), Err(VhdxError::Unfit { .. })));
    }
}

#[test]
fn one_bad_copy_is_a_warning_and_two_are_an_error() {
    let model = Model::with_data(5 * MIB, 3);
    let sound = image(&model, MIB, 512, false);
    for (what, copies) in [("header", HEADERS), ("region table", [192 << 10, 256 << 10])] {
        for copy in copies {
            let mut file = sound.clone();
            file[copy as usize + 20] ^= 1;
            let disk = open(file.clone()).unwrap();
            assert_same(&disk, &model);
            let [VhdxWarning::OneCopy { .. }] = disk.warnings() else { panic!("{:?}", disk.warnings()) };
            let warning = disk.warnings()[0].to_string();
            assert!(warning.contains(what) && warning.contains(&format!("offset {}", copy + 4)), "{warning}");
            file[copies[0] as usize] ^= 1;
            file[copies[1] as usize] ^= 1;
            let error = refused(file);
            assert!(error.contains(&format!("neither copy of the {what} can be used")), "{error}");
        }
    }
    // Both region tables hold, and differ where nothing is read.
    let mut file = sound;
    let table = 256 << 10;
    file[table + 60_000] = 1;
    crc::seal(&mut file[table..table + (64 << 10)]);
    let disk = open(file).unwrap();
    assert!(matches!(disk.warnings(), [VhdxWarning::RegionTablesDiffer { .. }]));
    assert_same(&disk, &model);
}

#[test]
fn what_is_no_vhdx_is_called_that() {
    for file in [b"".to_vec(), b"vhdxfil".to_vec(), vec![0; 4096], b"conectix and more".to_vec()] {
        assert!(!is_vhdx(&file).unwrap());
        let error = refused(file);
        assert!(error.contains("the signature of the file") || error.contains("the file type identifier"), "{error}");
    }
}

#[test]
fn a_table_entry_that_points_where_it_may_not_is_named() {
    let model = Model::with_data(5 * MIB, 3);
    let sound = image(&model, MIB, 512, false);
    let size = sound.len() as u64;
    assert_eq!(u64_at(&sound, TABLE), 4 * MIB | 6);
    for (entry, expected) in [
        (6, "expected 1048576 bytes for a block of the disk between 1048576 and the file's end"),
        (MIB | 6, "which touches the log at 1048576..2097152"),
        (2 * MIB | 6, "which touches the metadata region"),
        (3 * MIB | 6, "which touches the block allocation table"),
        (5 * MIB | 6, "which touches a block of the disk at 5242880..6291456"),
        (size | 6, "found them at"),
        ((size - 512) & !0xf_ffff | MIB | 6, "found them at"),
        (!0xf_ffff | 6, "found them at"),
        (4 * MIB | 6 | 8, "zeros in its bits 3 to 19"),
        (4 * MIB | 6 | 512 << 10, "zeros in its bits 3 to 19"),
        (4 * MIB | 4, "the state of a block at offset 3145728 of the VHDX file: expected 0, 1, 2, 3 or 6"),
        (4 * MIB | 5, "the state of a block"),
        (4 * MIB | 7, "without a parent, found 7"),
    ] {
        let mut file = sound.clone();
        put(&mut file, TABLE, &entry.to_le_bytes());
        let error = refused(file);
        assert!(error.contains(expected), "{entry:#x}: {error}");
    }
    // States without a place are zeros, wherever their place would be.
    for entry in [0, 1, 2, 3, 9 << 50 | 2] {
        let mut file = sound.clone();
        put(&mut file, TABLE, &u64::to_le_bytes(entry));
        let disk = open(file).unwrap();
        assert_eq!(disk.runs(0..1).next().unwrap().unwrap().place, Place::Zero);
    }
}

#[test]
fn what_an_old_qemu_left_for_bitmaps_is_a_warning() {
    // 16 blocks a chunk; the entry of its bitmap is the seventeenth.
    let mut model = Model::new(17 * 256 * MIB);
    model.write(16 * 256 * MIB, &bytes(1, 4096));
    let mut file = image(&model, 256 * MIB, 512, false);
    put(&mut file, TABLE + 16 * 8, &(77 * MIB | 6).to_le_bytes());
    let disk = open(file).unwrap();
    assert_same(&disk, &model);
    assert!(disk.warnings()[0].to_string().contains("the entry of a sector bitmap at offset 3145856"));
}

#[test]
fn the_table_must_have_room_for_the_disk() {
    let mut file = image(&Model::new(5 * MIB), MIB, 512, false);
    put(&mut file, METADATA + (64 << 10) + 8, &(1_u64 << 40).to_le_bytes());
    let error = refused(file);
    assert!(error.contains("expected 8390648 bytes for 1048831 entries, found 1048576"), "{error}");
}

#[test]
fn a_short_last_block_needs_only_the_disks_bytes() {
    let model = Model::with_data(MIB + 4096, 3);
    let mut file = image(&model, 2 * MIB, 512, false);
    file.truncate((4 * MIB + MIB + 4096) as usize);
    assert_same(&open(file.clone()).unwrap(), &model);
    file.pop();
    assert!(refused(file).contains("expected 1052672 bytes for a block of the disk"));
}

#[test]
fn headers_that_are_of_another_version_or_misplace_the_log_are_refused() {
    let sound = image(&Model::new(MIB), MIB, 512, false);
    for (field, value, expected) in [
        (66, &2_u16.to_le_bytes()[..], "the version of the format"),
        (72, &0_u64.to_le_bytes(), "the place of the log"),
        (72, &(3 * MIB).to_le_bytes(), "which touches the log"),
        (72, &(99 * MIB).to_le_bytes(), "the log needs 1048576 bytes at offset 103809024"),
        (68, &7_u32.to_le_bytes(), "the length of the log"),
    ] {
        let mut file = sound.clone();
        change_headers(&mut file, field, value);
        let error = refused(file);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn holes_of_the_container_are_holes_of_the_disk() {
    let mut model = Model::new(64 * MIB);
    model.write(40 * MIB, &bytes(1, 4096));
    let layout = VhdxLayout::new(model.size(), [], parameters(32 * MIB, 512, true)).unwrap();
    let mut file = Model::new(layout.file_size());
    for (at, bytes) in layout.metadata() {
        file.write(at.0, bytes);
    }
    let place = layout.place(DiskOffset(40 * MIB)).0.unwrap();
    file.write(place.0, &bytes(1, 4096));
    let disk = open(file).unwrap();
    assert_eq!(disk.next_data(DiskOffset(0)).unwrap(), Some(40 * MIB..40 * MIB + 4096));
    assert_eq!(disk.next_data(DiskOffset(40 * MIB + 9)).unwrap(), Some(40 * MIB + 9..40 * MIB + 4096));
    assert_eq!(disk.next_data(DiskOffset(40 * MIB + 4096)).unwrap(), None);
    assert_same(&disk, &model);
}

#[test]
fn blocks_in_any_order_are_read_and_merged() {
    let model = Model::with_data(40 * MIB, 5);
    let sound = image(&model, MIB, 512, true);
    // Reverses the blocks in the file, and the table with them.
    let mut file = sound.clone();
    for block in 0..40 {
        let (from, to) = (4 * MIB + block * MIB, 4 * MIB + (39 - block) * MIB);
        put(&mut file, to, &sound[from as usize..(from + MIB) as usize]);
        put(&mut file, TABLE + block * 8, &(to | 6).to_le_bytes());
    }
    let disk = open(file.clone()).unwrap();
    assert_same(&disk, &model);
    check_runs(&disk, &file);
    // Blocks that do not follow one another in the file are one run of data all the same.
    assert_eq!(disk.next_data(DiskOffset(MIB / 2)).unwrap(), Some(MIB / 2..17 * MIB));
}

#[test]
fn a_composed_file_is_the_same_each_time() {
    let model = Model::with_data(5 * MIB, 3);
    let layout = || VhdxLayout::new(model.size(), model.ranges(), parameters(MIB, 512, false)).unwrap();
    assert_eq!(compose(&model, &layout()), compose(&model, &layout()));
}

#[test]
fn a_composed_file_is_a_disk_of_its_own() {
    let model = Model::with_data(70 * MIB - 512, 9);
    for is_fixed in [false, true] {
        let layout = VhdxLayout::new(model.size(), model.ranges(), parameters(2 * MIB, 512, is_fixed)).unwrap();
        let plain = compose(&model, &layout);
        let file = ComposedFile::new(Arc::new(model.clone()), Box::new(layout)).unwrap();
        assert_same(&file, &plain);
        let disk = open(file).unwrap();
        assert_same(&disk, &model);
        // The disk's own holes are holes of the file, and of the disk in it.
        assert_eq!(disk.next_data(DiskOffset(0)).unwrap(), Some(0..8192));
    }
}
