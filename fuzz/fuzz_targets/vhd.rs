//! VHDs and their chains: whatever the bytes say, a disk is refused, or it reads the same in every way.
//!
//! The input is a byte of choices, a length of four bytes, a child of that length, and what is left is the parent of every
//! disk that asks for one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::disk::{DiskOffset, ReadAt, is_zero};
use sheaf::image::ImageError;
use sheaf::image::container::{FindParent, ParentHint, Place};
use sheaf::image::vhd::{VhdDisk, is_vhd};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a disk that are read from its start, and as many from its end.
const READ: u64 = 256 << 10;
/// Runs that are looked at in the whole disk.
const RUNS: usize = 2000;

struct Parent(Arc<Vec<u8>>);

impl FindParent for Parent {
    fn find(&self, _: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        Ok((!self.0.is_empty()).then(|| Arc::clone(&self.0) as Arc<dyn ReadAt>))
    }
}

/// Puts the right checksum into a structure, so that what lies behind that check is reached.
fn sum(bytes: &mut [u8], at: usize, length: usize, checksum: usize) {
    let Some(bytes) = bytes.get_mut(at..).and_then(|bytes| bytes.get_mut(..length)) else {
        return;
    };
    bytes[checksum..checksum + 4].fill(0);
    let sum = !bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    bytes[checksum..checksum + 4].copy_from_slice(&sum.to_be_bytes());
}

fn repair(bytes: &mut [u8]) {
    sum(bytes, 0, 512, 64);
    let end = bytes.len().saturating_sub(512);
    sum(bytes, end, 512, 64);
    sum(bytes, 512, 1024, 36);
}

/// A part of the disk as its runs tell it.
fn by_runs(disk: &VhdDisk, files: &[Arc<Vec<u8>>], range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = range.start;
    for run in disk.runs(range.clone()) {
        let run = run.expect("a file in memory");
        assert_eq!(run.start.0, at);
        assert!(run.length > 0);
        at += run.length;
        match run.place {
            Place::File(offset) => {
                let start = offset.0 as usize;
                bytes.extend(&files[0][start..start + run.length as usize]);
            }
            Place::Zero => bytes.resize(bytes.len() + run.length as usize, 0),
            Place::Parent => {
                let parent = disk.parent().expect("a run lies there");
                let files = files.get(1..2).unwrap_or(files);
                bytes.extend(by_runs(parent, files, run.start.0..at));
            }
        }
    }
    assert_eq!(at, range.end);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_at_checked(5) else {
        return;
    };
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let (child, parent) = rest.split_at(length.min(rest.len()));
    let (mut child, mut parent) = (child.to_vec(), parent.to_vec());
    if head[0] & 1 != 0 {
        repair(&mut child);
        repair(&mut parent);
    }
    let files = [Arc::new(child), Arc::new(parent)];
    let kind = is_vhd(&*files[0]).expect("a file in memory");
    let file = Arc::clone(&files[0]) as Arc<dyn ReadAt>;
    let disk = match VhdDisk::open(file, &Parent(Arc::clone(&files[1]))) {
        Ok(disk) => disk,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(kind, Some(disk.facts().kind));
    let size = disk.size();
    for range in [0..READ.min(size), size.saturating_sub(READ)..size] {
        let mut read = vec![0xaa; (range.end - range.start) as usize];
        disk.read_at(DiskOffset(range.start), &mut read).expect("a file in memory");
        assert!(read == by_runs(&disk, &files, range.clone()));
        // What is no data is zeros.
        let mut at = range.start;
        while let Some(data) = disk.next_data(DiskOffset(at)).expect("a file in memory") {
            assert!(data.start >= at && data.start < data.end && data.end <= size);
            let hole = at.min(range.end)..data.start.min(range.end);
            assert!(is_zero(&read[(hole.start - range.start) as usize..(hole.end - range.start) as usize]));
            at = data.end;
            if at >= range.end {
                break;
            }
        }
    }
    for run in disk.runs(0..u64::MAX).take(RUNS) {
        let run = run.expect("a file in memory");
        if let Place::File(offset) = run.place {
            assert!(offset.0 + run.length <= files[0].len() as u64);
        }
    }
});
