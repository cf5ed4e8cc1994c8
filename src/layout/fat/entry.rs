//! One entry of a directory: what it is, and what it says of a file.
//!
//! Always true here: an [`Entry`] is that of a file or a directory, neither of them deleted, and none that leads to its own directory
//! or to the one above.
//!
//! Structures: Microsoft FAT specification 1.03, "FAT Directory Structure" and "FAT Long Directory Entries".

use super::FatKind;
use super::time::moment;
use crate::layout::field::{array_at, u8_at, u16_at, u32_at};
use crate::layout::files::Moment;

/// Bytes of an entry.
pub(in crate::layout) const ENTRY: usize = 32;
/// First bytes of the name: nothing follows; an entry that was deleted.
const END: u8 = 0;
const DELETED: u8 = 0xe5;
/// Bits of the attributes: a label, or a part of a long name; a directory.
const LABEL: u8 = 8;
const DIRECTORY: u8 = 16;
/// The attributes of a part of a long name, and the bits that count for that.
const LONG_NAME: u8 = 0x0f;
const LONG_NAME_MASK: u8 = 0x3f;
/// The attributes that Windows has, too: read-only, hidden, system, directory, archive.
const ATTRIBUTES: u8 = 0x37;

/// What stands in the place of an entry.
#[derive(Debug)]
pub(super) enum Slot<'a> {
    /// No entry follows.
    End,
    /// Nothing that leads to clusters or says anything of an entry that does.
    Unused,
    /// A part of the name of the entry behind.
    LongName(&'a [u8; ENTRY]),
    /// The label of the volume, with its blanks.
    Label([u8; 11]),
    Named(Entry),
}

/// The entry of a file or directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry([u8; ENTRY]);

/// What 32 bytes of a directory are.
pub(super) fn slot(bytes: &[u8; ENTRY]) -> Slot<'_> {
    let attributes = u8_at(bytes, 11);
    let name = array_at(bytes, 0);
    match u8_at(bytes, 0) {
        END => Slot::End,
        DELETED => Slot::Unused,
        _ if attributes & LONG_NAME_MASK == LONG_NAME => Slot::LongName(bytes),
        // The first four bits and some other one: neither a label nor a name.
        _ if attributes & LONG_NAME == LONG_NAME => Slot::Unused,
        _ if attributes & LABEL != 0 => Slot::Label(name),
        _ if matches!(&name, b".          " | b"..         ") => Slot::Unused,
        _ => Slot::Named(Entry(*bytes)),
    }
}

impl Entry {
    pub(super) fn is_directory(&self) -> bool {
        self.attributes() & u32::from(DIRECTORY) != 0
    }

    /// The attributes, as in Windows.
    pub(super) fn attributes(&self) -> u32 {
        u32::from(u8_at(&self.0, 11) & ATTRIBUTES)
    }

    /// The name as old programs see it: eight bytes and three, with blanks behind each.
    pub(super) fn short_name(&self) -> [u8; 11] {
        array_at(&self.0, 0)
    }

    /// Bits 3 and 4: the first and the second part of the short name are meant in lower case. They are not in the specification, but
    /// in what Windows writes since NT.
    pub(super) fn case(&self) -> u8 {
        u8_at(&self.0, 12)
    }

    /// Bytes of a file; 0 for a directory.
    pub(super) fn size(&self) -> u64 {
        u64::from(u32_at(&self.0, 28))
    }

    /// The first cluster; 0 where there is none. Only FAT32 has an upper half.
    pub(super) fn first_cluster(&self, kind: FatKind) -> u32 {
        let upper = if kind == FatKind::Fat32 { u16_at(&self.0, 20) } else { 0 };
        u32::from(upper) << 16 | u32::from(u16_at(&self.0, 26))
    }

    pub(super) fn created(&self) -> Option<Moment> {
        moment(u16_at(&self.0, 16), u16_at(&self.0, 14), u8_at(&self.0, 13))
    }

    pub(super) fn modified(&self) -> Option<Moment> {
        moment(u16_at(&self.0, 24), u16_at(&self.0, 22), 0)
    }

    /// A day alone.
    pub(super) fn accessed(&self) -> Option<Moment> {
        moment(u16_at(&self.0, 18), 0, 0)
    }
}
