//! The header of an attribute: its kind, its name, and its bytes or where they lie.
//!
//! Always true here:
//! - The name, the value and the run list of an attribute that was read lie inside of it, and it lies inside of the used bytes of
//!   its record. What its sizes and cluster numbers say is only that.
//! - Reading the attributes of a record ends: each has at least 16 bytes.
//!
//! Structure: Linux-NTFS project, "Attribute Header"; libfsntfs documentation, chapter 4.2 "The MFT attribute".

use super::field::{part, u16_at, u32_at, u64_at};
use crate::layout::LayoutError;

/// The times and attributes of a file.
pub(super) const STANDARD_INFORMATION: u32 = 0x10;
/// The other records of a file, and what is in them.
pub(super) const ATTRIBUTE_LIST: u32 = 0x20;
/// A name, and the folder that it is in.
pub(super) const FILE_NAME: u32 = 0x30;
/// The volume's label.
pub(super) const VOLUME_NAME: u32 = 0x60;
/// The volume's version and flags.
pub(super) const VOLUME_INFORMATION: u32 = 0x70;
/// Content.
pub(super) const DATA: u32 = 0x80;
/// The first entries of a directory or of another index.
pub(super) const INDEX_ROOT: u32 = 0x90;
/// The index records of a directory or of another index.
pub(super) const INDEX_ALLOCATION: u32 = 0xa0;
/// Which index records, or MFT records, are in use.
pub(super) const BITMAP: u32 = 0xb0;
/// What a file stands for, where it is not just that.
pub(super) const REPARSE_POINT: u32 = 0xc0;
/// Behind the last attribute.
const END: u32 = u32::MAX;

/// Flag bits that say how the value is compressed.
pub(super) const COMPRESSION: u16 = 0x00ff;
pub(super) const ENCRYPTED: u16 = 0x4000;
const SPARSE: u16 = 0x8000;

/// Sizes of an attribute that has clusters, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Those of its clusters, holes counted.
    pub(super) allocated: u64,
    /// Those of its value.
    pub(super) data: u64,
    /// Those of its value that were ever written; behind them it reads as zeros.
    pub(super) initialized: u64,
}

/// An attribute, or the part of one that is in this record, whose value is in clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NonResident<'r> {
    /// The number of its first cluster, within the attribute.
    pub(super) lowest: u64,
    /// The number behind its last cluster.
    pub(super) end: u64,
    /// The exponent of how many clusters are compressed together; 0 where none are.
    pub(super) unit: u8,
    /// Means something only in the part whose `lowest` is 0.
    pub(super) sizes: Sizes,
    /// Bytes of its clusters, holes not counted, where the header says so: in the first part of one that is compressed or sparse.
    pub(super) stored: Option<u64>,
    /// Its run list.
    pub(super) list: &'r [u8],
    /// Where the run list begins, in bytes of the record.
    pub(super) list_at: usize,
}

/// Where the value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body<'r> {
    /// Here.
    Resident(&'r [u8]),
    /// In clusters.
    NonResident(NonResident<'r>),
}

/// One attribute of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'r> {
    pub(super) kind: u32,
    /// In UTF-16; empty where it has none.
    pub(super) name: &'r [u8],
    pub(super) flags: u16,
    /// Its number within the file.
    pub(super) id: u16,
    /// Where it begins, in bytes of the record.
    pub(super) at: usize,
    pub(super) body: Body<'r>,
}

impl<'r> Attribute<'r> {
    /// The value, where it is in the record.
    pub(super) const fn resident(&self) -> Option<&'r [u8]> {
        match self.body {
            Body::Resident(value) => Some(value),
            Body::NonResident(_) => None,
        }
    }

    /// The place of the value, where it is in clusters.
    pub(super) const fn non_resident(&self) -> Option<NonResident<'r>> {
        match self.body {
            Body::Resident(_) => None,
            Body::NonResident(part) => Some(part),
        }
    }

    /// True when the n-th byte of the clusters is the n-th of the value, so that what lies behind its valid length is known.
    /// Compressed bytes are fewer than the value's, encrypted ones are more, up to a full sector.
    pub(super) const fn is_plain(&self, unit: u8) -> bool {
        is_plain(self.flags, unit)
    }
}

/// As [`Attribute::is_plain`], of the flags of an attribute and the exponent of its compression unit.
pub(super) const fn is_plain(flags: u16, unit: u8) -> bool {
    // A sparse attribute has a compression unit although nothing in it is compressed.
    flags & (COMPRESSION | ENCRYPTED) == 0 && (unit == 0 || flags & SPARSE != 0)
}

/// Whether clusters are left out of an attribute with these flags.
const fn has_holes(flags: u16) -> bool {
    flags & (COMPRESSION | SPARSE) != 0
}

/// The attributes of a record, one behind the other.
#[derive(Debug, Clone)]
pub(super) struct Attributes<'r> {
    /// The used bytes of the record.
    record: &'r [u8],
    at: usize,
    /// Where the record begins, in bytes of the volume.
    origin: u64,
}

impl<'r> Attributes<'r> {
    /// The attributes of the record's used bytes, from the offset of the first one on.
    pub(super) const fn new(record: &'r [u8], first: usize, origin: u64) -> Self {
        Self { record, at: first, origin }
    }

    fn wrong(&self, what: &'static str, expected: &str, found: impl std::fmt::Display) -> LayoutError {
        LayoutError::malformed(what, self.origin.saturating_add(self.at as u64), expected, found)
    }

    fn read(&self, kind: u32, attribute: &'r [u8]) -> Result<Attribute<'r>, LayoutError> {
        let short = || self.wrong("an attribute", "room for its header", format_args!("{} bytes", attribute.len()));
        let half = |at| u16_at(attribute, at).ok_or_else(short);
        let whole = |at| u64_at(attribute, at).ok_or_else(short);
        let [is_elsewhere, name_length] = *attribute.get(8..).and_then(<[u8]>::first_chunk).ok_or_else(short)?;
        let name_length = usize::from(name_length) * 2;
        let name = part(attribute, half(10)?.into(), name_length);
        let name = if name_length == 0 { Some(&[][..]) } else { name };
        let name = name.ok_or_else(|| self.wrong("the name of an attribute", "a place inside of it", name_length))?;
        let body = match is_elsewhere {
            0 => {
                let length = u32_at(attribute, 16).and_then(|length| usize::try_from(length).ok()).ok_or_else(short)?;
                let value = part(attribute, half(20)?.into(), length);
                Body::Resident(
                    value.ok_or_else(|| self.wrong("the value of an attribute", "a place inside of it", length))?,
                )
            }
            1 => {
                let list_at = usize::from(half(32)?);
                let list = attribute.get(list_at..).filter(|_| list_at >= 64);
                let list =
                    list.ok_or_else(|| self.wrong("the run list of an attribute", "a place inside of it", list_at))?;
                Body::NonResident(NonResident {
                    lowest: whole(16)?,
                    // The last cluster of an attribute that has none is "-1".
                    end: whole(24)?.wrapping_add(1),
                    unit: attribute.get(34).copied().ok_or_else(short)?,
                    sizes: Sizes { allocated: whole(40)?, data: whole(48)?, initialized: whole(56)? },
                    stored: u64_at(attribute, 64).filter(|_| list_at >= 72 && half(12).is_ok_and(has_holes)),
                    list,
                    list_at: self.at.saturating_add(list_at),
                })
            }
            other => return Err(self.wrong("where the value of an attribute is", "0 or 1", other)),
        };
        Ok(Attribute { kind, name, flags: half(12)?, id: half(14)?, at: self.at, body })
    }
}

impl<'r> Iterator for Attributes<'r> {
    type Item = Result<Attribute<'r>, LayoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.record.is_empty() {
            return None;
        }
        let rest = self.record.get(self.at..).unwrap_or_default();
        let Some(kind) = u32_at(rest, 0) else {
            let error = self.wrong("the attributes of a record", "an end mark behind them", "the end of the record");
            self.record = &[];
            return Some(Err(error));
        };
        if kind == END {
            return None;
        }
        let length = u32_at(rest, 4).and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let attribute = part(rest, 0, length).filter(|_| length >= 16 && length.is_multiple_of(8));
        let result = match attribute {
            Some(attribute) => self.read(kind, attribute),
            None => Err(self.wrong("the length of an attribute", "a multiple of 8 inside of the record", length)),
        };
        match result {
            Ok(_) => self.at = self.at.saturating_add(length),
            Err(_) => self.record = &[],
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident() -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[..8].copy_from_slice(&[0x80, 0, 0, 0, 32, 0, 0, 0]);
        (bytes[9], bytes[10], bytes[14], bytes[16], bytes[20]) = (1, 24, 5, 3, 26);
        bytes[24..29].copy_from_slice(b"A\0xyz");
        bytes[32..36].fill(255);
        bytes
    }

    #[test]
    fn a_resident_attribute_gives_its_name_and_value() {
        let bytes = resident();
        let found: Vec<_> = Attributes::new(&bytes, 0, 0).map(|found| found.expect("sound")).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].kind, found[0].id, found[0].name, found[0].resident()),
            (DATA, 5, &b"A\0"[..], Some(&b"xyz"[..]))
        );
    }

    #[test]
    fn whatever_one_byte_says_reading_ends_and_stays_inside() {
        for at in 0..40 {
            for value in 0..=255 {
                let mut bytes = resident();
                bytes[at] = value;
                assert!(Attributes::new(&bytes, 0, 0).count() <= 3, "{at} {value}");
            }
        }
        assert_eq!(Attributes::new(&[0; 64], 0, 0).filter(Result::is_err).count(), 1);
        assert_eq!(Attributes::new(&[1; 64], 80, 0).count(), 1);
    }
}
