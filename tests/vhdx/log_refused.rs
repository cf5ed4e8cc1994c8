//! Logs that are not replayed, and files that are refused for them.

use sheaf::disk::ReadAt;
use sheaf::image::vhdx::LOG_LIMIT;

use crate::build::{Entry, LOG, LOG_ID, LOG_LENGTH, TABLE, Write, change_headers, make_pending, open, put, put_in_log};
use crate::counting::{Asked, Counting};
use crate::log::{disk, entry, table, take};
use crate::model::{MIB, bytes};

fn refused(file: impl ReadAt + 'static) -> String {
    open(file).expect_err("refused").to_string()
}

#[test]
fn a_log_without_a_whole_sequence_is_refused() {
    let (_, mut file) = disk();
    let writes = vec![take(&mut file, table(0))];
    let entries = [entry(&file, 9, 3 * 4096, 3 * 4096, writes)];
    make_pending(&mut file, &entries);
    let expected = format!("expected a whole sequence of entries with the identity {LOG_ID}, found none");
    // Torn; of a foreign identity; an entry whose sequence begins elsewhere.
    for byte in [0, 4, 8, 16, 24, 32, 64, 90, 4096, 5000, 8191] {
        let mut file = file.clone();
        file[(LOG + 3 * 4096) as usize + byte] ^= 1;
        let error = refused(file);
        assert!(error.contains(&expected), "{byte}: {error}");
    }
    let mut foreign = file.clone();
    change_headers(&mut foreign, 48, &[3; 16]);
    assert!(refused(foreign).contains("found none: the log is torn or is not this file's"));
    let mut elsewhere = file.clone();
    let [only] = entries;
    let lost = Entry { tail: 4096, ..only };
    put_in_log(&mut elsewhere, 3 * 4096, &lost.encode(LOG_ID));
    assert!(refused(elsewhere).contains(&expected));
    // Nothing in the log at all.
    file[LOG as usize..(LOG + LOG_LENGTH) as usize].fill(0);
    assert!(refused(file).contains(&expected));
}

#[test]
fn entries_that_run_in_a_circle_end() {
    // Each entry's numbers go on, all around the log, and no entry is the tail of the last.
    let (_, mut file) = disk();
    let count = LOG_LENGTH / 4096;
    let size = file.len() as u64;
    let circle: Vec<Entry> = (0..count)
        .map(|index| Entry {
            sequence: index + 1,
            position: index * 4096,
            tail: 4096,
            flushed: size,
            last: size,
            writes: vec![],
        })
        .collect();
    make_pending(&mut file, &circle);
    // The second entry is the tail of them all: this is a sequence of all but the first.
    assert_eq!(open(file.clone()).unwrap().facts().replayed_entries, 255);
    put_in_log(&mut file, 4096, &vec![0; 4096]);
    assert!(refused(file).contains("found none"));
}

#[test]
fn a_file_shorter_than_its_log_says_is_refused() {
    let (_, mut file) = disk();
    let writes = vec![take(&mut file, table(0))];
    let size = file.len() as u64;
    let entries = [Entry { sequence: 1, position: 0, tail: 0, flushed: size + MIB, last: size + MIB, writes }];
    make_pending(&mut file, &entries);
    let error = refused(file);
    assert!(
        error.contains(&format!("needs {} bytes at offset 0 of the VHDX file, which ends at {size}", size + MIB)),
        "{error}"
    );
}

#[test]
fn a_log_that_makes_the_file_longer_than_files_are_is_refused() {
    let (_, mut file) = disk();
    for last in [u64::MAX, 1 << 63] {
        let entries = [Entry { last, ..entry(&file, 1, 4096, 4096, vec![]) }];
        make_pending(&mut file, &entries);
        let error = refused(file.clone());
        assert!(
            error.contains("the size that a log entry gives the file at offset 1052728 of the VHDX file"),
            "{error}"
        );
    }
}

#[test]
fn a_log_that_writes_where_it_may_not_is_refused() {
    let (_, sound) = disk();
    for write in [
        Write::Data(0, bytes(1, 4096)),
        Write::Data(64 << 10, bytes(1, 4096)),
        Write::Zero(188 << 10, 8192),
        Write::Data(LOG + 4096, bytes(1, 4096)),
        Write::Zero(LOG - 4096, 8192),
        Write::Zero(4096 * 4096, u64::MAX - 4095),
        Write::Zero(1 << 62, 1 << 62),
    ] {
        let mut file = sound.clone();
        let entries = [entry(&file, 1, 4096, 4096, vec![write])];
        make_pending(&mut file, &entries);
        let error = refused(file);
        assert!(
            error.contains("a log entry at offset 1052672 of the VHDX file: expected writes behind offset 196608"),
            "{error}"
        );
    }
}

#[test]
fn a_log_of_another_version_or_beyond_the_limit_is_refused() {
    let (_, mut file) = disk();
    let entries = [entry(&file, 1, 0, 0, vec![])];
    make_pending(&mut file, &entries);
    let mut version = file.clone();
    change_headers(&mut version, 64, &[1, 0]);
    assert!(refused(version).contains("the version of the log at offset 131136 of the VHDX file: expected 0, found 1"));

    let at = file.len() as u64;
    for (length, expected) in [(LOG_LIMIT, "found none"), (LOG_LIMIT + MIB, "at most 67108864 bytes of log")] {
        let mut file = file.clone();
        file.resize((at + length) as usize, 0);
        change_headers(&mut file, 68, &(length as u32).to_le_bytes());
        change_headers(&mut file, 72, &at.to_le_bytes());
        let error = refused(file);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_log_made_to_cost_time_costs_little() {
    // Each sector claims to be an entry as long as the log, with as many descriptors as would fit.
    let (_, mut file) = disk();
    let at = file.len() as u64;
    file.resize((at + LOG_LIMIT) as usize, 0);
    let mut sector = entry(&file, 1, 0, 0, vec![Write::Zero(TABLE, 4096); 126]).encode(LOG_ID);
    put(&mut sector, 8, &(LOG_LIMIT as u32).to_le_bytes());
    put(&mut sector, 24, &1_000_000_u32.to_le_bytes());
    for start in (at..at + LOG_LIMIT).step_by(4096) {
        put(&mut file, start, &sector);
    }
    change_headers(&mut file, 68, &(LOG_LIMIT as u32).to_le_bytes());
    change_headers(&mut file, 72, &at.to_le_bytes());
    change_headers(&mut file, 48, &LOG_ID.0);
    let asked = Asked::default();
    assert!(refused(Counting(file, asked.clone())).contains("found none"));
    // Once through the log. Whoever takes the checksum of all that is claimed to be an entry is at it for hours.
    assert!(asked.bytes() < LOG_LIMIT + MIB, "{asked:?}");
}
