//! Reading what a medium still gives of an object.
//!
//! Always true here:
//! - Only what the medium refuses is left out: it is asked again sector by sector around each place that it does not give.
//! - Storage that fails in any other way is an error: a network that is down is no damage.

use crate::format::parity::SECTOR_LENGTH;
use crate::names::ObjectName;
use crate::storage::{Storage, StorageError};
use std::ops::Range;

/// Bytes that are asked for at once.
const BLOCK: u64 = 1 << 20;

/// What there is of an object.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// False where there is no such object.
    pub exists: bool,
    /// Its size in bytes, or 0 where the medium does not say.
    pub size: u64,
    /// Its bytes, up to the limit; zeros where they cannot be read.
    pub bytes: Vec<u8>,
    /// Where they cannot be read.
    pub unreadable: Vec<Range<u64>>,
}

impl Found {
    /// True where no byte of the range is unreadable.
    pub(super) fn is_readable(&self, range: &Range<u64>) -> bool {
        let behind = self.unreadable.partition_point(|run| run.end <= range.start);
        self.unreadable.get(behind).is_none_or(|run| run.start >= range.end)
    }

    /// The bytes of a range, where all of them were read.
    pub(super) fn get(&self, range: Range<u64>) -> Option<&[u8]> {
        let bytes = self.bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?;
        self.is_readable(&range).then_some(bytes)
    }
}

/// Adds a range behind the others of a list, or to the last of them where it touches that.
pub(super) fn extend(runs: &mut Vec<Range<u64>>, range: Range<u64>) {
    match runs.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => runs.push(range),
    }
}

/// Reads an object, or the first `limit` bytes of it.
pub(super) fn read(storage: &dyn Storage, name: ObjectName, limit: u64) -> Result<Found, StorageError> {
    let size = match storage.size(name) {
        Ok(size) => size,
        Err(error) if error.is_not_found() => return Ok(Found::default()),
        Err(error) if error.is_unreadable() => return Ok(Found { exists: true, ..Found::default() }),
        Err(error) => return Err(error),
    };
    let mut found = Found { exists: true, size, ..Found::default() };
    let end = size.min(limit);
    // Room for the rest of the last sector as well: mending fills it.
    found.bytes.reserve_exact(end as usize + SECTOR_LENGTH as usize);
    found.bytes.resize(end as usize, 0);
    for start in (0..end).step_by(BLOCK as usize) {
        match read_block(storage, name, start..(start + BLOCK).min(end), &mut found) {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Ok(Found::default()),
            // It has shrunk since.
            Err(StorageError::Range { size, .. }) if size < end => {
                found.size = size;
                found.bytes.truncate(size as usize);
                return Ok(found);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn read_block(
    storage: &dyn Storage,
    name: ObjectName,
    block: Range<u64>,
    found: &mut Found,
) -> Result<(), StorageError> {
    let buffer = &mut found.bytes[block.start as usize..block.end as usize];
    match storage.get_range(name, block.start, buffer) {
        Err(error) if error.is_unreadable() => {}
        result => return result,
    }
    let starts = block.clone().step_by(SECTOR_LENGTH as usize);
    for (start, sector) in starts.zip(buffer.chunks_mut(SECTOR_LENGTH as usize)) {
        match storage.get_range(name, start, sector) {
            Ok(()) => {}
            Err(error) if error.is_unreadable() => {
                sector.fill(0);
                extend(&mut found.unreadable, start..start + sector.len() as u64);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
