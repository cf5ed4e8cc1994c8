//! The attribute list of a file: which attribute, or which part of one, is in which record.
//!
//! Always true here: reading a list ends, for each entry has at least 26 bytes; so its bytes bound its entries.
//!
//! Structure: Linux-NTFS project, "$ATTRIBUTE_LIST"; libfsntfs documentation, chapter 4.4 "The attribute list".

use super::field::{part, u16_at, u32_at, u64_at};
use super::record::Reference;
use crate::layout::LayoutError;

/// The most bytes that a list has (Linux-NTFS: 256 KiB, which is what Windows keeps of it in memory).
pub(super) const MOST_BYTES: u64 = 256 << 10;

/// One entry of a list. They sort by attribute, and then by cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) kind: u32,
    /// In UTF-16.
    pub(super) name: Box<[u8]>,
    /// The first cluster of the part, within the attribute.
    pub(super) lowest: u64,
    /// The record that it is in.
    pub(super) reference: Reference,
    /// The number of the attribute in that record.
    pub(super) id: u16,
}

/// Reads a list that belongs to a record at `origin`, in bytes of the volume.
///
/// # Errors
/// [`LayoutError::Malformed`].
pub(super) fn parse(mut list: &[u8], origin: u64) -> Result<Vec<Entry>, LayoutError> {
    let mut entries = Vec::new();
    while !list.is_empty() {
        let length = usize::from(u16_at(list, 4).unwrap_or_default());
        let Some((entry, rest)) = list.split_at_checked(length).filter(|_| length >= 26) else {
            let expected = "at least 26 bytes inside of the list";
            return Err(LayoutError::malformed("an entry of an attribute list", origin, expected, length));
        };
        entries.push(one(entry).ok_or_else(|| {
            LayoutError::malformed("an entry of an attribute list", origin, "a name inside of it", "one that is not")
        })?);
        list = rest;
    }
    Ok(entries)
}

fn one(entry: &[u8]) -> Option<Entry> {
    let [name_length, name_at] = *entry.get(6..)?.first_chunk()?;
    let name_length = usize::from(name_length) * 2;
    let name = if name_length == 0 { &[] } else { part(entry, name_at.into(), name_length)? };
    Some(Entry {
        kind: u32_at(entry, 0)?,
        name: name.into(),
        lowest: u64_at(entry, 8)?,
        reference: Reference(u64_at(entry, 16)?),
        id: u16_at(entry, 24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_one_behind_the_other_and_none_is_endless() {
        let mut bytes = vec![0; 64];
        (bytes[0], bytes[4], bytes[8], bytes[16], bytes[24]) = (0x80, 32, 7, 9, 3);
        (bytes[32], bytes[36], bytes[38], bytes[39], bytes[58]) = (0xa0, 32, 2, 26, b'x');
        let entries = parse(&bytes, 0).expect("sound");
        let first = Entry { kind: 0x80, name: [].into(), lowest: 7, reference: Reference(9), id: 3 };
        assert_eq!(entries[0], first);
        assert_eq!((entries.len(), entries[1].kind, &*entries[1].name), (2, 0xa0, &b"x\0\0\0"[..]));
        for (at, value) in [(4, 0), (4, 25), (5, 1), (36, 33), (38, 4), (39, 30)] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            parse(&bytes, 0).expect_err("refused");
        }
    }
}
