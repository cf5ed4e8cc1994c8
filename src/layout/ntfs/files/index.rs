//! The index of a folder's names: its first entries in the folder's record, and index records in clusters.
//!
//! Always true here:
//! - An index record that was taken passed its fix-ups and is the one that lies at its place; so no record is taken for two.
//! - Entries lie inside of the used bytes, and each has at least 16 bytes: reading them ends.
//!
//! Structure: Linux-NTFS project, "$INDEX_ROOT", "$INDEX_ALLOCATION" and "Index Record"; libfsntfs documentation, chapter 9 "The
//! index". How sub-nodes are numbered where an index record is smaller than a cluster: ntfs-3g, `index_vcn_size_bits`.

use crate::layout::LayoutError;
use crate::layout::ntfs::attribute::FILE_NAME;
use crate::layout::ntfs::boot::Boot;
use crate::layout::ntfs::field::{array_at, part, u16_at, u32_at, u64_at};
use crate::layout::ntfs::fixup;

/// The least and the greatest size of an index record, in bytes. In use is 4 KiB.
const RECORD: std::ops::RangeInclusive<u64> = 512..=64 << 10;
/// Where the header of the entries begins: in the root, and in an index record.
const ROOT_HEADER: usize = 16;
const RECORD_HEADER: usize = 24;
/// Bytes of that header.
const HEADER: usize = 16;
/// The entry has a sub-node, whose names come before its own.
const HAS_NODE: u16 = 1;
/// The entry has no name: it is the last one.
const IS_LAST: u16 = 2;
/// What is in a folder by the attributes of a name: a folder (Linux-NTFS, "FILE_ATTR_I30_INDEX_PRESENT").
const IS_FOLDER: u32 = 1 << 28;
/// The name space of names that Windows made for old programs.
const DOS_NAMES: u8 = 2;

/// How the index records of a folder are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes of an index record.
    pub(super) record: u64,
    /// Bytes that the number of a sub-node counts.
    unit: u64,
}

impl Shape {
    /// Where a sub-node lies, in bytes of the index.
    pub(super) const fn place(&self, node: u64) -> Option<u64> {
        node.checked_mul(self.unit)
    }

    /// The number of the sub-node at a place that is a multiple of an index record.
    const fn number(&self, place: u64) -> u64 {
        place / self.unit
    }
}

/// Entries that follow one another: those of one node of the index.
#[derive(Debug)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where the next one begins.
    at: usize,
    /// Where they end.
    end: usize,
    /// Where the bytes begin, in bytes of the volume.
    origin: u64,
}

/// One entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexEntry<'e> {
    /// The number of the node with the names before it.
    pub(super) node: Option<u64>,
    /// The name; `None` in the last one of a node.
    pub(super) name: Option<Name<'e>>,
}

/// A name in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'e> {
    /// The reference of what it names.
    pub(super) file: u64,
    /// The reference of the folder.
    pub(super) parent: u64,
    /// In UTF-16.
    pub(super) text: &'e [u8],
    /// Whether Windows made it for old programs.
    pub(super) is_dos: bool,
    /// Whether it names a folder.
    pub(super) is_folder: bool,
}

/// Takes the first entries of an index of names out of its root.
///
/// # Errors
/// [`LayoutError::Malformed`].
pub(super) fn root(bytes: Vec<u8>, origin: u64, boot: &Boot) -> Result<(Shape, Entries), LayoutError> {
    let kind = u32_at(&bytes, 0).unwrap_or_default();
    if kind != FILE_NAME {
        let found = format_args!("{kind:#x}");
        return Err(LayoutError::malformed("what the index of a folder sorts", origin, "names", found));
    }
    let record = u64::from(u32_at(&bytes, 8).unwrap_or_default());
    if !record.is_power_of_two() || !RECORD.contains(&record) {
        let expected = "a power of two from 512 B to 64 KiB";
        return Err(LayoutError::malformed("the size of an index record", origin + 8, expected, record));
    }
    let unit = if record < boot.cluster { fixup::STRIDE as u64 } else { boot.cluster };
    Ok((Shape { record, unit }, Entries::new(bytes, ROOT_HEADER, origin)?))
}

/// Takes the entries of the index record at a place of the index.
///
/// # Errors
/// [`LayoutError::Malformed`].
pub(super) fn node(mut bytes: Vec<u8>, place: u64, origin: u64, shape: &Shape) -> Result<Entries, LayoutError> {
    if !fixup::is_signed(&bytes, b"INDX") {
        let found = bytes.first_chunk::<4>().unwrap_or(&[0; 4]).escape_ascii().to_string();
        return Err(LayoutError::malformed("the signature of an index record", origin, "INDX", found));
    }
    fixup::apply(&mut bytes, origin)?;
    let (own, expected) = (u64_at(&bytes, 16).unwrap_or_default(), shape.number(place));
    if own != expected {
        return Err(LayoutError::malformed("the number of an index record", origin + 16, expected, own));
    }
    Entries::new(bytes, RECORD_HEADER, origin)
}

impl Entries {
    fn new(bytes: Vec<u8>, header: usize, origin: u64) -> Result<Self, LayoutError> {
        let field = |at: usize| usize::try_from(u32_at(&bytes, header + at).unwrap_or_default()).unwrap_or(usize::MAX);
        let (first, used) = (field(0), field(4));
        let inside = header.checked_add(used).filter(|end| *end <= bytes.len() && first >= HEADER && first <= used);
        let Some(end) = inside else {
            let expected = format_args!("a place among {} bytes", bytes.len());
            let found = format_args!("{first} to {used}");
            return Err(LayoutError::malformed("the entries of an index", origin + header as u64, expected, found));
        };
        Ok(Self { at: header + first, end, bytes, origin })
    }

    /// The present entry.
    ///
    /// # Errors
    /// [`LayoutError::Malformed`]: it cannot be believed, nor can what follows.
    pub(super) fn entry(&self) -> Result<IndexEntry<'_>, LayoutError> {
        let wrong = |what, expected: &str, found: usize| {
            LayoutError::malformed(what, self.origin.saturating_add(self.at as u64), expected, found)
        };
        let length = self.length();
        let used = self.bytes.get(..self.end).unwrap_or_default();
        let entry = part(used, self.at, length).filter(|_| length >= 16 && length.is_multiple_of(8));
        let entry =
            entry.ok_or_else(|| wrong("the length of an index entry", "a multiple of 8 in its record", length))?;
        let flags = u16_at(entry, 12).unwrap_or_default();
        let (rest, node) = match entry.split_last_chunk::<8>() {
            Some((rest, node)) if flags & HAS_NODE != 0 && length >= 24 => (rest, Some(u64::from_le_bytes(*node))),
            _ if flags & HAS_NODE != 0 => {
                return Err(wrong("the length of an index entry", "one with a sub-node", length));
            }
            _ => (entry, None),
        };
        if flags & IS_LAST != 0 {
            return Ok(IndexEntry { node, name: None });
        }
        let key = usize::from(u16_at(entry, 10).unwrap_or_default());
        let name = part(rest, 16, key).and_then(|key| name(u64_at(entry, 0)?, key));
        let name = name.ok_or_else(|| wrong("the name of an index entry", "a place inside of it", key))?;
        Ok(IndexEntry { node, name: Some(name) })
    }

    /// Goes on to the next entry.
    pub(super) fn advance(&mut self) {
        self.at = self.at.saturating_add(self.length().max(16));
    }

    fn length(&self) -> usize {
        usize::from(u16_at(self.bytes.get(self.at..).unwrap_or_default(), 8).unwrap_or_default())
    }
}

fn name(file: u64, key: &[u8]) -> Option<Name<'_>> {
    let [length, space] = array_at(key, 64)?;
    Some(Name {
        file,
        parent: u64_at(key, 0)?,
        text: part(key, 66, usize::from(length) * 2)?,
        is_dos: space == DOS_NAMES,
        is_folder: u32_at(key, 56)? & IS_FOLDER != 0,
    })
}
