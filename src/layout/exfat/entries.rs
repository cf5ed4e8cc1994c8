//! The entries of a directory, put together to sets.
//!
//! Always true here: a set of a file that is told has as many entries as it says, and its checksum holds. At most one set is in
//! memory, of 256 entries.
//!
//! Structures: Microsoft exFAT specification, sections 6 and 7.

use crate::layout::LayoutError;
use crate::layout::field::{u8_at, u16_at, u32_at, u64_at};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
/// The bit of an entry's type that says that the entry is in use.
const IN_USE: u8 = 0x80;
const BITMAP: u8 = 0x81;
const UP_CASE: u8 = 0x82;
const LABEL: u8 = 0x83;
const FILE: u8 = 0x85;
const STREAM: u8 = 0xc0;
/// The bit of the type of an entry that belongs to the one in front.
const SECONDARY: u8 = 0x40;

/// Clusters that an entry leads to. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allocation {
    /// Where the entry is, in bytes of the volume.
    pub(super) at: u64,
    /// 0 where there are none.
    pub(super) first: u32,
    /// The clusters follow one another, and the table says nothing of them.
    pub(super) contiguous: bool,
    pub(super) length: u64,
}

/// What an entry, or a set of them, is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Nothing that leads to clusters, or not all of it yet.
    Nothing,
    /// No entry follows.
    End,
    /// A map of the used clusters: of the first table or of the second.
    Bitmap(u8, Allocation),
    UpCase(Allocation),
    Directory(Allocation),
    /// A file and how many of its bytes were written; those behind read as zeros.
    File(Allocation, u64),
}

/// Puts entries together.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// The set that is not complete, and the bytes that it will have.
    pending: Vec<u8>,
    wanted: usize,
    /// Where the set begins, in bytes of the volume.
    start: u64,
}

impl Sets {
    /// Gives up the set that is not complete when the next entry does not belong to it, and tells what is wrong with it. The entry
    /// can be taken then.
    pub(super) fn give_up(&mut self, entry: &[u8; ENTRY]) -> Option<LayoutError> {
        if self.wanted == 0 || is_secondary(entry) {
            return None;
        }
        let wanted = std::mem::take(&mut self.wanted) / ENTRY;
        Some(wrong(self.start, format_args!("{wanted} entries"), self.pending.len() / ENTRY))
    }

    /// Takes the next entry, which is at `at`.
    ///
    /// # Errors
    /// [`LayoutError::Malformed`]; the entries behind can be taken all the same.
    pub(super) fn take(&mut self, at: u64, entry: &[u8; ENTRY]) -> Result<Item, LayoutError> {
        let kind = entry[0];
        if self.wanted > 0 && is_secondary(entry) {
            self.pending.extend_from_slice(entry);
            if self.pending.len() < self.wanted {
                return Ok(Item::Nothing);
            }
            self.wanted = 0;
            return file(&self.pending, self.start);
        }
        let allocation = Allocation { at, first: u32_at(entry, 20), contiguous: false, length: u64_at(entry, 24) };
        Ok(match kind {
            0 => Item::End,
            BITMAP => Item::Bitmap(u8_at(entry, 1) & 1, allocation),
            UP_CASE => Item::UpCase(allocation),
            FILE => {
                self.pending.clear();
                self.pending.extend_from_slice(entry);
                self.wanted = (usize::from(u8_at(entry, 1)) + 1) * ENTRY;
                self.start = at;
                if self.wanted == ENTRY {
                    self.wanted = 0;
                    return Err(wrong(at, "entries that belong to it", "none"));
                }
                Item::Nothing
            }
            _ => Item::Nothing,
        })
    }
}

fn is_secondary(entry: &[u8; ENTRY]) -> bool {
    entry[0] & (IN_USE | SECONDARY) == IN_USE | SECONDARY
}

/// What a complete set says.
fn file(set: &[u8], at: u64) -> Result<Item, LayoutError> {
    let covered = set.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    let sum = covered.fold(0_u16, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u16::from(*byte)));
    if sum != u16_at(set, 2) {
        let found = format_args!("{:#06x}", u16_at(set, 2));
        return Err(wrong(at, format_args!("the checksum {sum:#06x}"), found));
    }
    let stream = set.get(ENTRY..2 * ENTRY).unwrap_or_default();
    if u8_at(stream, 0) != STREAM {
        return Err(wrong(at, "a stream entry behind it", format_args!("{:#04x}", u8_at(stream, 0))));
    }
    let flags = u8_at(stream, 1);
    let (valid, length) = (u64_at(stream, 8), u64_at(stream, 24));
    if valid > length {
        return Err(wrong(at, format_args!("at most {length} bytes that were written"), valid));
    }
    // Without the first of the flags, neither the first cluster nor the length of an allocation has a meaning.
    let first = if flags & 1 == 1 { u32_at(stream, 20) } else { 0 };
    let allocation = Allocation { at, first, contiguous: flags & 2 != 0, length };
    let is_directory = u16_at(set, 4) & 0x10 != 0;
    Ok(if is_directory { Item::Directory(allocation) } else { Item::File(allocation, valid) })
}

fn wrong(at: u64, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> LayoutError {
    LayoutError::malformed("the entries of a file", at, expected, found)
}

/// The label that an entry holds, when it is one.
pub(super) fn label(entry: &[u8; ENTRY]) -> Option<String> {
    let length = usize::from(u8_at(entry, 1)).min(11);
    if u8_at(entry, 0) != LABEL {
        return None;
    }
    entry.get(2..2 + length * 2).and_then(crate::layout::field::utf16)
}
