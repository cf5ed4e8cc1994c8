//! The entries of a directory, put together to sets.
//!
//! Always true here: a set of a file that is told has as many entries as it says, and its checksum holds. At most one set is in
//! memory, of 256 entries.
//!
//! Structures: Microsoft exFAT specification, sections 6 and 7.

use crate::layout::LayoutError;
use crate::layout::fat::heap::Heap;
use crate::layout::fat::time::moment;
use crate::layout::field::{array_at, u8_at, u16_at, u32_at, u64_at};
use crate::layout::files::Moment;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
/// The bit of an entry's type that says that the entry is in use.
const IN_USE: u8 = 0x80;
const BITMAP: u8 = 0x81;
const UP_CASE: u8 = 0x82;
const LABEL: u8 = 0x83;
const FILE: u8 = 0x85;
const STREAM: u8 = 0xc0;
const NAME: u8 = 0xc1;
/// Bytes of a name in each of its entries, and where they begin.
const NAME_PART: usize = 30;
const NAME_AT: usize = 2;
/// The bit of the attributes for a directory.
const DIRECTORY: u16 = 0x10;
/// The attributes that there are: read-only, hidden, system, directory, archive.
const ATTRIBUTES: u16 = 0x37;
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

/// How the clusters of an allocation are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// There are none.
    Nowhere,
    /// The table tells, from the first one on.
    Chain,
    /// So many follow one another, the first one included.
    Run(u32),
}

impl Allocation {
    /// How the clusters are found, and what is wrong with that: they may be none at all then, or fewer than the length needs.
    pub(super) fn place(&self, heap: &Heap) -> (Place, Option<LayoutError>) {
        let needed = self.length.div_ceil(heap.cluster);
        if self.first == 0 || needed == 0 {
            return (Place::Nowhere, (needed > 0).then(|| self.wrong("none")));
        }
        if !self.contiguous {
            return (Place::Chain, None);
        }
        // Up to the last one that there is.
        let there = if heap.holds(self.first) { heap.clusters - (self.first - 2) } else { 0 };
        let count = u32::try_from(needed).unwrap_or(u32::MAX).min(there);
        let last = u64::from(self.first).saturating_add(needed - 1);
        let wrong = || self.wrong(format_args!("clusters {} to {last}", self.first));
        (Place::Run(count), (u64::from(count) < needed).then(wrong))
    }

    /// What is wrong with the clusters.
    pub(super) fn wrong(&self, found: impl std::fmt::Display) -> LayoutError {
        let expected = format_args!("clusters for {} bytes", self.length);
        LayoutError::malformed("the clusters that an entry names", self.at, expected, found)
    }
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

    /// The set of the file or directory that was taken last.
    pub(super) fn last(&self) -> &[u8] {
        &self.pending
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
                self.wanted = set_length(entry).unwrap_or(ENTRY);
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

/// Bytes of the set that begins with an entry; `None` when it is not that of a file.
pub(super) fn set_length(entry: &[u8; ENTRY]) -> Option<usize> {
    (u8_at(entry, 0) == FILE).then(|| (usize::from(u8_at(entry, 1)) + 1) * ENTRY)
}

/// The name in a set that was checked and begins at `at`.
///
/// # Errors
/// [`LayoutError::Malformed`] where it has no name, or fewer entries for it than the name is long.
pub(super) fn name(set: &[u8], at: u64) -> Result<String, LayoutError> {
    // In units of UTF-16.
    let length = usize::from(u8_at(set, ENTRY + 3));
    let parts = set.as_chunks::<ENTRY>().0.iter().skip(2).take_while(|entry| u8_at(*entry, 0) == NAME);
    let bytes: Vec<u8> = parts.flat_map(|entry| array_at::<NAME_PART>(entry, NAME_AT)).take(length * 2).collect();
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    if units.len() < length || length == 0 {
        let found = format_args!("entries for {} of them", units.len());
        return Err(wrong(at, format_args!("a name of 1 or more units, here of {length}"), found));
    }
    Ok(String::from_utf16_lossy(&units))
}

/// What a set that was checked says of a file beside where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// As in Windows: read-only, hidden, system, directory, archive.
    pub(super) attributes: u32,
    pub(super) created: Option<Moment>,
    pub(super) modified: Option<Moment>,
    pub(super) accessed: Option<Moment>,
}

impl Facts {
    pub(super) fn of(set: &[u8]) -> Self {
        Self {
            attributes: u32::from(u16_at(set, 4) & ATTRIBUTES),
            created: zoned(u32_at(set, 8), u8_at(set, 20), u8_at(set, 22)),
            modified: zoned(u32_at(set, 12), u8_at(set, 21), u8_at(set, 23)),
            accessed: zoned(u32_at(set, 16), 0, u8_at(set, 24)),
        }
    }
}

/// A moment of a clock on a wall, and how much that is ahead of UTC (section 7.4.10): bit 7 says that the others are a number with a
/// sign, of quarters of an hour. Without it, the clock is taken for one in UTC.
fn zoned(stamp: u32, hundredths: u8, offset: u8) -> Option<Moment> {
    let moment = moment((stamp >> 16) as u16, (stamp & 0xffff) as u16, hundredths)?;
    let quarters = if offset & 0x80 != 0 { i64::from((offset << 1).cast_signed() >> 1) } else { 0 };
    Some(Moment { seconds: moment.seconds - quarters * 15 * 60, ..moment })
}

/// What a complete set says.
///
/// # Errors
/// [`LayoutError::Malformed`] when its checksum does not hold, or it contradicts itself.
pub(super) fn file(set: &[u8], at: u64) -> Result<Item, LayoutError> {
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
    let is_directory = u16_at(set, 4) & DIRECTORY != 0;
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
