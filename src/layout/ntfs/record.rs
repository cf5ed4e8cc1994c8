//! A record of the MFT: a file, or the rest of one whose attributes do not fit one record.
//!
//! Always true here:
//! - A record that was taken is in use, passed its fix-ups, bears its own number where the format has one, and all its attributes
//!   could be read.
//!
//! Structure: Linux-NTFS project, "FILE Record"; libfsntfs documentation, chapter 4.1 "The MFT entry".

use super::attribute::{ATTRIBUTE_LIST, Attribute, Attributes};
use super::field::{u16_at, u32_at, u64_at};
use super::fixup;
use crate::disk::is_zero;
use crate::layout::LayoutError;

/// Bits of a reference that are the record's number; those above are its sequence number.
const NUMBER: u64 = (1 << 48) - 1;
/// The record is in use.
const IN_USE: u16 = 1;
/// It has an index of names.
const IS_FOLDER: u16 = 2;
/// Behind the number of the record itself, which NTFS 3.1 has.
const HEADER_WITH_NUMBER: u16 = 48;

/// A record by its number, and by how often it was in use before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reference(pub(super) u64);

impl Reference {
    /// Of a record and its sequence number.
    pub(super) const fn new(number: u64, sequence: u16) -> Self {
        Self(number & NUMBER | (sequence as u64) << 48)
    }

    /// The record's number.
    pub(super) const fn number(self) -> u64 {
        self.0 & NUMBER
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "record {} of sequence {}", self.number(), self.0 >> 48)
    }
}

/// A record in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'r> {
    /// Its number and sequence number.
    pub(super) reference: Reference,
    /// The record that it continues; `None` for one that is a file itself.
    pub(super) base: Option<Reference>,
    /// Where it begins, in bytes of the volume.
    pub(super) origin: u64,
    used: &'r [u8],
    first: usize,
    /// Whether it names other records.
    pub(super) has_list: bool,
    /// Whether it is that of a folder.
    pub(super) is_folder: bool,
}

impl<'r> Record<'r> {
    /// Reads a record that begins at `origin`, in bytes of the volume; `None` when it is not in use.
    ///
    /// # Errors
    /// [`LayoutError::Malformed`]: it may be in use, and cannot be believed.
    pub(super) fn parse(bytes: &'r mut [u8], number: u64, origin: u64) -> Result<Option<Self>, LayoutError> {
        if !fixup::is_signed(bytes, b"FILE") {
            if is_zero(bytes) {
                return Ok(None);
            }
            let found = bytes.first_chunk::<4>().unwrap_or(&[0; 4]).escape_ascii().to_string();
            return Err(LayoutError::malformed("the signature of an MFT record", origin, "FILE", found));
        }
        let flags = u16_at(bytes, 22).unwrap_or_default();
        if flags & IN_USE == 0 {
            return Ok(None);
        }
        let array_at = u16_at(bytes, 4).unwrap_or_default();
        fixup::apply(bytes, origin)?;
        let bytes = &*bytes;
        let wrong =
            |what, at, expected: &str, found: u64| Err(LayoutError::malformed(what, origin + at, expected, found));
        if array_at >= HEADER_WITH_NUMBER
            && let Some(own) = u32_at(bytes, 44)
            && u64::from(own) != number & u64::from(u32::MAX)
        {
            return wrong("the number of an MFT record", 44, &number.to_string(), own.into());
        }
        let length = u32_at(bytes, 24).unwrap_or_default();
        let Some(used) = usize::try_from(length).ok().and_then(|length| bytes.get(..length)) else {
            return wrong("the used bytes of an MFT record", 24, &format!("at most {}", bytes.len()), length.into());
        };
        let first = u16_at(bytes, 20).unwrap_or_default();
        if first < 42 || usize::from(first) >= used.len() {
            return wrong("the first attribute of an MFT record", 20, "a place behind the header", first.into());
        }
        let reference = Reference::new(number, u16_at(bytes, 16).unwrap_or_default());
        let base = Reference(u64_at(bytes, 32).unwrap_or_default());
        let base = (base.0 != 0).then_some(base);
        let is_folder = flags & IS_FOLDER != 0;
        let mut record = Self { reference, base, origin, used, first: first.into(), has_list: false, is_folder };
        for attribute in record.all() {
            record.has_list |= attribute?.kind == ATTRIBUTE_LIST;
        }
        Ok(Some(record))
    }

    fn all(&self) -> Attributes<'r> {
        Attributes::new(self.used, self.first, self.origin)
    }

    /// Its attributes. That they can be read was checked.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'r>> + use<'r> {
        self.all().filter_map(Result::ok)
    }
}
