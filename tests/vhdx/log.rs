//! Pending log entries: a file reads as if they were replayed, and is not written.
//!
//! Always true here: a file is made from one that holds all of a disk, by taking metadata away that the log puts back. What
//! it must read as is the disk, and what `qemu-img check -r all` leaves where QEMU is installed. Where QEMU departs from
//! the specification, the test says how, and QEMU is not asked.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::image::vhdx::{Guid, VhdxDisk};

use crate::build::{
    Entry, HEADERS, LOG, LOG_ID, LOG_LENGTH, METADATA, Parents, TABLE, Write, change_headers, child, data_id, image,
    make_pending, open, put, put_in_log, u64_at,
};
use crate::interop::{has, open_file, qemu, write_raw};
use crate::model::{GIB, MIB, Model, assert_same, bytes, check_runs};

/// A disk of which each sector of the block table's first eight has a part, and its file: a sector has 512 blocks of 1 MiB.
pub fn disk() -> (Model, Vec<u8>) {
    let mut model = Model::new(4 * GIB);
    for part in 0..8 {
        model.write(part * GIB / 2 + part * 100 * 512, &bytes(part, 10_000));
    }
    let file = image(&model, MIB, 512, false);
    (model, file)
}

/// Where a sector of the block table is.
pub fn table(sector: u64) -> u64 {
    TABLE + sector * 4096
}

/// Takes a sector away: a log entry can put it back.
pub fn take(file: &mut [u8], at: u64) -> Write {
    let sector = file[at as usize..at as usize + 4096].to_vec();
    put(file, at, &bytes(at, 4096));
    Write::Data(at, sector)
}

/// An entry at a place in the log, for a file that does not change its size.
pub fn entry(file: &[u8], sequence: u64, position: u64, tail: u64, writes: Vec<Write>) -> Entry {
    let size = file.len() as u64;
    Entry { sequence, position, tail, flushed: size, last: size, writes }
}

/// Checks that the file reads as the disk; that without its log it does not; and that QEMU replays it to the same.
fn assert_replays(file: &[u8], model: &Model, entries: usize, ask_qemu: bool) {
    let disk = open(file.to_vec()).unwrap();
    assert_same(&disk, model);
    assert_eq!(disk.facts().replayed_entries, entries);
    check_runs(&disk, &file.to_vec());

    let mut closed = file.to_vec();
    change_headers(&mut closed, 48, &[0; 16]);
    let is_same = open(closed).is_ok_and(|disk| {
        model.ranges().into_iter().all(|range| {
            let mut buffers = [(); 2].map(|()| vec![0; (range.end - range.start) as usize]);
            disk.read_at(DiskOffset(range.start), &mut buffers[0]).unwrap();
            model.read_at(DiskOffset(range.start), &mut buffers[1]).unwrap();
            buffers[0] == buffers[1]
        })
    });
    assert!(!is_same, "the log changes nothing");

    if ask_qemu && has("qemu-img") {
        let folder = tempfile::tempdir().unwrap();
        let (path, raw) = (folder.path().join("pending.vhdx"), folder.path().join("raw"));
        fs::write(&path, file).unwrap();
        let pending = open_file(&path);
        write_raw(&pending, &raw);
        assert_eq!(fs::read(&path).unwrap(), file, "reading wrote to the file");
        qemu("qemu-img", &["check", "-f", "vhdx", "-r", "all"], &[&path]);
        qemu("qemu-img", &["compare", "-f", "vhdx", "-F", "raw"], &[&path, &raw]);
        // And what QEMU left is read by Sheaf to the same bytes.
        let replayed = open_file(&path);
        assert_same(&replayed, model);
        assert_eq!(replayed.facts().replayed_entries, 0);
    }
}

#[test]
fn one_entry() {
    let (model, mut file) = disk();
    let writes = vec![take(&mut file, table(0))];
    let entries = [entry(&file, 1, 0, 0, writes)];
    make_pending(&mut file, &entries);
    assert_replays(&file, &model, 1, true);
}

#[test]
fn several_entries_of_which_a_later_one_writes_over_an_earlier() {
    let (model, mut file) = disk();
    let first = vec![take(&mut file, table(0)), Write::Data(table(3), bytes(9, 4096))];
    let second = vec![take(&mut file, table(3)), take(&mut file, table(1))];
    let third = vec![Write::Data(table(5), file[table(5) as usize..][..4096].to_vec())];
    let entries = [
        entry(&file, 77, 8 * 4096, 8 * 4096, first),
        entry(&file, 78, 11 * 4096, 8 * 4096, second),
        entry(&file, 79, 14 * 4096, 8 * 4096, third),
    ];
    assert_eq!((entries[0].length(), entries[1].length()), (3 * 4096, 3 * 4096));
    make_pending(&mut file, &entries);
    assert_replays(&file, &model, 3, true);
}

#[test]
fn a_wrapped_log_whose_last_entry_lies_across_the_end() {
    let (model, mut file) = disk();
    let first = vec![take(&mut file, table(2))];
    let second = (3..8).map(|sector| take(&mut file, table(sector))).collect();
    let start = LOG_LENGTH - 4 * 4096;
    let entries = [entry(&file, 5, start, start, first), entry(&file, 6, start + 2 * 4096, start, second)];
    assert!(entries[1].position + entries[1].length() > LOG_LENGTH);
    make_pending(&mut file, &entries);
    assert_replays(&file, &model, 2, true);
}

#[test]
fn a_wrapped_log_whose_last_entry_begins_at_its_start() {
    let (model, mut file) = disk();
    let first = vec![take(&mut file, table(2))];
    let second = vec![take(&mut file, table(4))];
    let third = vec![take(&mut file, table(6))];
    let start = LOG_LENGTH - 4 * 4096;
    let entries = [
        entry(&file, 5, start, start, first),
        entry(&file, 6, start + 2 * 4096, start, second),
        entry(&file, 7, 0, start, third),
    ];
    make_pending(&mut file, &entries);
    // QEMU does not look at an entry's tail, takes the third for a sequence by itself, and loses the others.
    assert_replays(&file, &model, 3, false);
}

#[test]
fn zero_descriptors() {
    let (mut model, mut file) = disk();
    // The log takes the blocks of six sectors away: one alone, then a run of them, over what an entry wrote before.
    let first = vec![Write::Zero(table(0), 4096), Write::Data(table(4), bytes(3, 4096)), take(&mut file, table(7))];
    let second = vec![Write::Zero(table(2), 5 * 4096), Write::Zero(table(9), 0)];
    let entries = [entry(&file, 1, 0, 0, first), entry(&file, 2, 3 * 4096, 0, second)];
    make_pending(&mut file, &entries);
    for part in [0, 2, 3, 4, 5, 6] {
        model.write(part * GIB / 2 + part * 100 * 512, &vec![0; 10_000]);
    }
    assert_replays(&file, &model, 2, true);
}

/// A file of which one entry, in a log of 2 MiB behind all else, puts some sectors back.
fn one_long_entry(sectors: impl Iterator<Item = u64>) -> (Model, Vec<u8>) {
    let (model, mut file) = disk();
    let writes = sectors.map(|at| take(&mut file, at)).collect();
    let entry = entry(&file, 1 << 40 | 7, 4096, 4096, writes);
    let log = file.len() as u64;
    file.resize((log + 2 * MIB) as usize, 0);
    put(&mut file, log + 4096, &entry.encode(LOG_ID));
    change_headers(&mut file, 68, &(2_u32 << 20).to_le_bytes());
    change_headers(&mut file, 72, &log.to_le_bytes());
    change_headers(&mut file, 48, &LOG_ID.0);
    (model, file)
}

#[test]
fn data_that_spans_sectors() {
    // As many descriptors as the first sector holds: 8 of the table, the others of the metadata region, most of them empty.
    let sectors = (0..8).map(table).chain((0..118).map(|sector| METADATA + sector * 4096));
    let (model, file) = one_long_entry(sectors);
    assert_replays(&file, &model, 1, true);
}

#[test]
fn descriptors_that_span_sectors() {
    // 126 and 128 descriptors, and some more. QEMU reads all of their sectors to one place, and takes none of them.
    let sectors = (0..8).map(table).chain((0..252).map(|sector| METADATA + sector * 4096));
    let (model, file) = one_long_entry(sectors);
    assert_replays(&file, &model, 1, false);
}

#[test]
fn a_torn_last_entry_is_ignored() {
    let (model, mut file) = disk();
    let first = vec![take(&mut file, table(0))];
    let second = vec![take(&mut file, table(1))];
    let third = vec![Write::Data(table(2), bytes(5, 4096)), Write::Zero(table(3), 4096)];
    let entries =
        [entry(&file, 1, 0, 0, first), entry(&file, 2, 2 * 4096, 0, second), entry(&file, 3, 4 * 4096, 0, third)];
    make_pending(&mut file, &entries);
    // Of the third, any of these did not reach the disk, or not as a whole. QEMU is asked for two of them, to save time.
    let at = (LOG + 4 * 4096) as usize;
    for (torn, ask_qemu) in [
        // The end of the data sector, and bytes in it.
        (at + 8192 - 512..at + 8192, true),
        (at + 4096 + 512..at + 8192 - 512, false),
        // QEMU refuses a file with an entry whose descriptors do not hold.
        (at + 64..at + 4096, false),
        (at + 4096..at + 8192, false),
        // The header: an entry of an older round, or nothing.
        (at..at + 4096, true),
        (at + 32..at + 48, false),
    ] {
        let mut file = file.clone();
        file[torn].fill(0);
        assert_replays(&file, &model, 2, ask_qemu);
    }
}

#[test]
fn metadata_and_region_tables_are_replayed() {
    let (model, mut file) = disk();
    let mut writes = vec![take(&mut file, METADATA), take(&mut file, METADATA + (64 << 10))];
    writes.extend((0..32).map(|sector| take(&mut file, (192 << 10) + sector * 4096)));
    let entries = [entry(&file, 1, 0, 0, writes)];
    make_pending(&mut file, &entries);
    assert_replays(&file, &model, 1, true);
}

#[test]
fn an_entry_without_descriptors_is_an_entry() {
    let (model, mut file) = disk();
    let writes = vec![take(&mut file, table(0))];
    let entries = [entry(&file, 1, 0, 0, writes), entry(&file, 2, 2 * 4096, 0, vec![])];
    make_pending(&mut file, &entries);
    assert_replays(&file, &model, 2, true);
}

#[test]
fn only_what_lies_between_tail_and_head_is_replayed() {
    let (model, mut file) = disk();
    // The first two are done; what they wrote would be wrong now. QEMU replays all that it finds.
    let old = |sector| vec![Write::Data(table(sector), bytes(5, 4096))];
    let third = vec![take(&mut file, table(0))];
    let entries = [
        entry(&file, 1, 0, 0, old(1)),
        entry(&file, 2, 2 * 4096, 0, old(2)),
        entry(&file, 3, 4 * 4096, 4 * 4096, third),
    ];
    make_pending(&mut file, &entries);
    assert_replays(&file, &model, 1, false);
}

#[test]
fn the_newest_of_several_sequences_is_the_active_one() {
    let (model, mut file) = disk();
    let good = vec![take(&mut file, table(0))];
    let bad = || vec![Write::Data(table(1), bytes(5, 4096))];
    let entries = [
        entry(&file, 10, 0, 0, bad()),
        // A gap in the numbers, and one of a foreign identity that would fit.
        entry(&file, 20, 20 * 4096, 20 * 4096, good),
        entry(&file, 15, 40 * 4096, 40 * 4096, bad()),
    ];
    make_pending(&mut file, &entries);
    let foreign = entry(&file, 21, 22 * 4096, 20 * 4096, bad()).encode(Guid([1; 16]));
    put_in_log(&mut file, 22 * 4096, &foreign);
    // A sequence whose tail was overwritten is none, however new.
    let lost = entry(&file, 30, 60 * 4096, 50 * 4096, bad()).encode(LOG_ID);
    put_in_log(&mut file, 60 * 4096, &lost);
    assert_replays(&file, &model, 1, false);
}

#[test]
fn a_file_that_the_log_makes_longer_ends_in_zeros() {
    let mut model = Model::new(GIB);
    model.write(0, &bytes(1, 4096));
    model.write(GIB / 2, &bytes(2, 4096));
    let mut file = image(&model, MIB, 512, false);
    let writes = vec![take(&mut file, table(0)), take(&mut file, table(1))];
    let size = file.len() as u64;
    // The last block was allocated, and the file's new end did not reach the disk.
    file.truncate((size - MIB) as usize);
    model.write(GIB / 2, &[0; 4096]);
    let grown = |last, writes: &[Write]| Entry {
        sequence: 1,
        position: 0,
        tail: 0,
        flushed: size - MIB,
        last,
        writes: writes.to_vec(),
    };
    make_pending(&mut file, &[grown(size, &writes)]);
    let disk = open(file.clone()).unwrap();
    assert_same(&disk, &model);
    assert_eq!(disk.next_data(DiskOffset(GIB / 2)).unwrap(), None);
    // QEMU makes the file longer only where an entry writes behind its end, and takes the block for lost otherwise.
    assert_replays(&file, &model, 1, false);
    let writes_behind = [&writes[..], &[Write::Zero(size - 8192, 8192)]].concat();
    put_in_log(&mut file, 0, &grown(size - MIB, &writes_behind).encode(LOG_ID));
    assert_replays(&file, &model, 1, true);
    // Nothing says that the file is longer: then the block is not there.
    put_in_log(&mut file, 0, &grown(size - MIB, &writes).encode(LOG_ID));
    let error = open(file).expect_err("beyond the end").to_string();
    assert!(error.contains("for a block of the disk between"), "{error}");
}

#[test]
fn what_the_log_writes_into_a_block_is_read_and_has_no_run() {
    let (mut model, mut file) = disk();
    let place = u64_at(&file, TABLE) & !0xf_ffff;
    let size = file.len() as u64;
    let writes = vec![Write::Data(place + 4096, bytes(99, 4096)), Write::Zero(place, 4096), Write::Zero(size, 0)];
    let entries = [entry(&file, 1, 0, 0, writes)];
    make_pending(&mut file, &entries);
    model.write(4096, &bytes(99, 4096));
    model.write(0, &[0; 4096]);
    let disk = open(file).unwrap();
    assert_same(&disk, &model);
    assert_eq!(disk.next_data(DiskOffset(0)).unwrap(), Some(4096..MIB));
    let runs: Vec<_> = disk.runs(0..MIB).collect();
    let [Ok(zeros), Err(error)] = runs.as_slice() else { panic!("{runs:?}") };
    assert_eq!(zeros.length, 4096);
    assert!(error.to_string().contains("found a pending log entry that writes them"), "{error}");
}

#[test]
fn the_bitmaps_and_the_table_of_a_child_are_replayed() {
    let mut model = Model::with_data(4 * MIB, 5);
    let base: Arc<dyn ReadAt> = Arc::new(image(&model, MIB, 512, false));
    model.write(MIB + 512, &bytes(6, 1024));
    let mut file = child(&model, &[MIB + 512..MIB + 1536], MIB, 512, 1, 0);
    // The table's eighth sector begins with the bitmap's entry.
    let bitmap = u64_at(&file, TABLE + 4096 * 8) & !0xf_ffff;
    let writes = vec![take(&mut file, table(0)), take(&mut file, table(8)), take(&mut file, bitmap)];
    let entries = [entry(&file, 1, 0, 0, writes)];
    make_pending(&mut file, &entries);
    let parents = Parents([(data_id(0).0, base)].into());
    let disk = VhdxDisk::open(Arc::new(file.clone()), &parents).unwrap();
    assert_same(&disk, &model);
    check_runs(&disk, &file);
}

/// The recipe: QEMU writes, and the table's sector and the log's identity are put back to what they were before.
#[test]
fn an_entry_that_qemu_wrote() {
    if !has("qemu-img") || !has("qemu-io") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.vhdx");
    let options = ["create", "-f", "vhdx", "-o", "subformat=dynamic,block_size=1M"];
    qemu("qemu-img", &options, &[&path, Path::new("100M")]);
    qemu("qemu-io", &["-f", "vhdx", "-c", "write -P 5 3M 1M"], &[&path]);
    let before = fs::read(&path).unwrap();
    qemu("qemu-io", &["-f", "vhdx", "-c", "write -P 7 50M 64k"], &[&path]);
    let mut file = fs::read(&path).unwrap();
    // QEMU's layout: the block table is 2 MiB into the file; its log is where ours is.
    let table = 2 * MIB;
    assert_ne!(file[table as usize..][..4096], before[table as usize..][..4096]);
    put(&mut file, table, &before[table as usize..][..4096]);
    let id = file[LOG as usize + 32..][..16].to_vec();
    for header in HEADERS {
        put(&mut file, header + 48, &id);
        sheaf::image::vhdx::crc::seal(&mut file[header as usize..][..4096]);
    }
    let mut model = Model::new(100 * MIB);
    model.write(3 * MIB, &[5; 1 << 20]);
    model.write(50 * MIB, &[7; 64 << 10]);
    let disk = open(file.clone()).unwrap();
    assert_same(&disk, &model);
    assert_eq!(disk.facts().replayed_entries, 1);
    fs::write(&path, &file).unwrap();
    let read_only = Command::new("qemu-img").args(["check", "-f", "vhdx"]).arg(&path).output().unwrap();
    assert!(!read_only.status.success(), "QEMU sees that the log is pending");
    qemu("qemu-img", &["check", "-f", "vhdx", "-r", "all"], &[&path]);
    assert_same(&open_file(&path), &model);
}
