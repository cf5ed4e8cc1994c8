//! The footer of a VHD ("Hard Disk Footer Format"): one structure at the end of every file, and a copy of it at the start
//! of those that grow.
//!
//! Always true here:
//! - A [`Footer`] was checked: cookie, checksum, version, kind and size are what the specification allows. Bytes that were
//!   only read are never one.
//! - Fields have one offset each, which reading and writing share. Integers are big-endian.

use super::super::container::FileOffset;
use super::error::VhdError;
use super::geometry::Geometry;
use super::raw::{field, put, sum};

/// Bytes of a footer.
pub(super) const FOOTER_LENGTH: usize = 512;
/// Bytes of a footer that was written by a version before Virtual PC 2004; only the last reserved byte is missing.
pub(super) const OLD_FOOTER_LENGTH: usize = 511;
/// Bytes of a sector, in every VHD.
pub(super) const SECTOR: u64 = 512;
/// The largest disk, in bytes ("Dynamic Hard Disk Image"); Windows and QEMU hold fixed ones to it as well.
pub(super) const MAX_SIZE: u64 = 2040 << 30;
/// What every footer begins with.
pub(super) const COOKIE: &[u8; 8] = b"conectix";

const FEATURES: usize = 8;
const VERSION: usize = 12;
const DATA_OFFSET: usize = 16;
const TIME_STAMP: usize = 24;
const CREATOR_APPLICATION: usize = 28;
const CREATOR_VERSION: usize = 32;
const CREATOR_HOST_OS: usize = 36;
const ORIGINAL_SIZE: usize = 40;
const CURRENT_SIZE: usize = 48;
const GEOMETRY: usize = 56;
const DISK_TYPE: usize = 60;
const CHECKSUM: usize = 64;
const UNIQUE_ID: usize = 68;
const SAVED_STATE: usize = 84;

/// The bit of the features that is always set.
const FEATURE_RESERVED: u32 = 2;
/// The bit of the features for a disk that may be deleted on shutdown.
const FEATURE_TEMPORARY: u32 = 1;
/// The version of the specification that this code follows; only its upper half decides.
pub(super) const FORMAT_VERSION: u32 = 0x0001_0000;
/// The data offset of a file without a dynamic disk header. The specification has 32 bits of ones for a field of 64;
/// Windows, QEMU and others write 64.
pub(super) const NO_DATA_OFFSET: u64 = u64::MAX;

/// What a VHD keeps of its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// All of it, in order.
    Fixed,
    /// The blocks that were ever written.
    Dynamic,
    /// The sectors in which it differs from its parent.
    Differencing,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed => "fixed",
            Self::Dynamic => "dynamic",
            Self::Differencing => "differencing",
        })
    }
}

impl Kind {
    /// The kind with this number in the disk type field; the other numbers are deprecated or were never given.
    pub(super) const fn from_number(number: u32) -> Option<Self> {
        match number {
            2 => Some(Self::Fixed),
            3 => Some(Self::Dynamic),
            4 => Some(Self::Differencing),
            _ => None,
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Fixed => 2,
            Self::Dynamic => 3,
            Self::Differencing => 4,
        }
    }
}

/// A footer that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    /// The disk may be deleted on shutdown.
    pub(super) temporary: bool,
    /// Where the dynamic disk header lies.
    pub(super) data_offset: u64,
    /// Seconds since 2000-01-01 UTC.
    pub(super) time_stamp: u32,
    pub(super) creator_application: [u8; 4],
    pub(super) creator_version: u32,
    pub(super) creator_host_os: [u8; 4],
    pub(super) original_size: u64,
    /// Bytes of the disk: whole sectors, not none, at most [`MAX_SIZE`].
    pub(super) size: u64,
    pub(super) geometry: Geometry,
    pub(super) kind: Kind,
    pub(super) identifier: [u8; 16],
    pub(super) saved_state: bool,
}

impl Footer {
    /// Checks the bytes of a footer, 511 or 512, that lie at `at`.
    ///
    /// # Errors
    /// [`VhdError::Field`] and [`VhdError::Checksum`].
    pub(super) fn decode(bytes: &[u8], at: FileOffset) -> Result<Self, VhdError> {
        let mut whole = [0; FOOTER_LENGTH];
        let length = bytes.len().min(FOOTER_LENGTH);
        whole[..length].copy_from_slice(&bytes[..length]);
        let bytes = &whole;
        let wrong = |name, offset: usize, expected: &str, found: String| VhdError::Field {
            field: name,
            offset: FileOffset(at.0 + offset as u64),
            expected: expected.to_owned(),
            found,
        };

        let cookie: [u8; 8] = field(bytes, 0);
        if cookie != *COOKIE {
            return Err(wrong("footer's cookie", 0, "\"conectix\"", format!("\"{}\"", cookie.escape_ascii())));
        }
        let (expected, found) = (sum(bytes, CHECKSUM), u32::from_be_bytes(field(bytes, CHECKSUM)));
        if expected != found {
            let offset = FileOffset(at.0 + CHECKSUM as u64);
            return Err(VhdError::Checksum { structure: "footer", offset, expected, found });
        }
        let version = u32::from_be_bytes(field(bytes, VERSION));
        if version >> 16 != FORMAT_VERSION >> 16 {
            return Err(wrong("file format version", VERSION, "0x00010000", format!("{version:#010x}")));
        }
        let number = u32::from_be_bytes(field(bytes, DISK_TYPE));
        let Some(kind) = Kind::from_number(number) else {
            let expected = "2 (fixed), 3 (dynamic) or 4 (differencing)";
            return Err(wrong("disk type", DISK_TYPE, expected, number.to_string()));
        };
        let size = u64::from_be_bytes(field(bytes, CURRENT_SIZE));
        if size == 0 || size % SECTOR != 0 || size > MAX_SIZE {
            let expected = "a number of whole sectors of 512 bytes, from one to 2040 GiB,";
            return Err(wrong("current size", CURRENT_SIZE, expected, size.to_string()));
        }
        // The reserved bit of the features is not looked at: there are writers that leave it out, and nothing hangs on it.
        let features = u32::from_be_bytes(field(bytes, FEATURES));
        let [high, low, heads, sectors_per_track] = field(bytes, GEOMETRY);
        Ok(Self {
            temporary: features & FEATURE_TEMPORARY != 0,
            data_offset: u64::from_be_bytes(field(bytes, DATA_OFFSET)),
            time_stamp: u32::from_be_bytes(field(bytes, TIME_STAMP)),
            creator_application: field(bytes, CREATOR_APPLICATION),
            creator_version: u32::from_be_bytes(field(bytes, CREATOR_VERSION)),
            creator_host_os: field(bytes, CREATOR_HOST_OS),
            original_size: u64::from_be_bytes(field(bytes, ORIGINAL_SIZE)),
            size,
            geometry: Geometry { cylinders: u16::from_be_bytes([high, low]), heads, sectors_per_track },
            kind,
            identifier: field(bytes, UNIQUE_ID),
            saved_state: bytes[SAVED_STATE] != 0,
        })
    }

    /// The bytes of a footer with these fields.
    pub(super) fn encode(&self) -> [u8; FOOTER_LENGTH] {
        let mut bytes = [0; FOOTER_LENGTH];
        let features = if self.temporary { FEATURE_RESERVED | FEATURE_TEMPORARY } else { FEATURE_RESERVED };
        let [high, low] = self.geometry.cylinders.to_be_bytes();
        put(&mut bytes, 0, COOKIE);
        put(&mut bytes, FEATURES, &features.to_be_bytes());
        put(&mut bytes, VERSION, &FORMAT_VERSION.to_be_bytes());
        put(&mut bytes, DATA_OFFSET, &self.data_offset.to_be_bytes());
        put(&mut bytes, TIME_STAMP, &self.time_stamp.to_be_bytes());
        put(&mut bytes, CREATOR_APPLICATION, &self.creator_application);
        put(&mut bytes, CREATOR_VERSION, &self.creator_version.to_be_bytes());
        put(&mut bytes, CREATOR_HOST_OS, &self.creator_host_os);
        put(&mut bytes, ORIGINAL_SIZE, &self.original_size.to_be_bytes());
        put(&mut bytes, CURRENT_SIZE, &self.size.to_be_bytes());
        put(&mut bytes, GEOMETRY, &[high, low, self.geometry.heads, self.geometry.sectors_per_track]);
        put(&mut bytes, DISK_TYPE, &self.kind.number().to_be_bytes());
        put(&mut bytes, UNIQUE_ID, &self.identifier);
        bytes[SAVED_STATE] = u8::from(self.saved_state);
        let checksum = sum(&bytes, CHECKSUM);
        put(&mut bytes, CHECKSUM, &checksum.to_be_bytes());
        bytes
    }

    /// The kind that bytes name which are no sound footer, when they name one.
    pub(super) fn claimed_kind(bytes: &[u8]) -> Option<Kind> {
        let number = bytes.get(DISK_TYPE..DISK_TYPE + 4)?;
        Kind::from_number(number.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Footer {
        Footer {
            temporary: false,
            data_offset: NO_DATA_OFFSET,
            time_stamp: 0x1234_5678,
            creator_application: *b"win ",
            creator_version: 0x000a_0000,
            creator_host_os: *b"Wi2k",
            original_size: 1 << 30,
            size: 5 << 30,
            geometry: Geometry::of(10 << 20),
            kind: Kind::Differencing,
            identifier: *b"0123456789abcdef",
            saved_state: true,
        }
    }

    #[test]
    fn what_is_encoded_decodes_the_same() {
        for kind in [Kind::Fixed, Kind::Dynamic, Kind::Differencing] {
            for temporary in [false, true] {
                let footer = Footer { kind, temporary, saved_state: temporary, ..example() };
                let bytes = footer.encode();
                assert_eq!(Footer::decode(&bytes, FileOffset(0)).expect("sound"), footer);
                assert_eq!(Footer::decode(&bytes[..OLD_FOOTER_LENGTH], FileOffset(0)).expect("sound"), footer);
                assert_eq!(Footer::claimed_kind(&bytes), Some(kind));
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = example().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            Footer::decode(&flipped, FileOffset(0)).expect_err("damaged");
        }
    }

    #[test]
    fn errors_name_the_byte_and_both_values() {
        let decode = |footer: &Footer, change: &dyn Fn(&mut [u8; FOOTER_LENGTH])| {
            let mut bytes = footer.encode();
            change(&mut bytes);
            let checksum = sum(&bytes, CHECKSUM);
            put(&mut bytes, CHECKSUM, &checksum.to_be_bytes());
            Footer::decode(&bytes, FileOffset(1000)).expect_err("wrong").to_string()
        };
        let cookie = decode(&example(), &|bytes| bytes[0] = b'C');
        assert_eq!(cookie, "the footer's cookie at file offset 1000 is \"Conectix\"; \"conectix\" was expected");
        let version = decode(&example(), &|bytes| bytes[VERSION + 1] = 2);
        assert_eq!(version, "the file format version at file offset 1012 is 0x00020000; 0x00010000 was expected");
        for number in [0, 1, 5, 6, 7] {
            let kind = decode(&example(), &|bytes| bytes[DISK_TYPE + 3] = number);
            assert!(kind.starts_with(&format!("the disk type at file offset 1060 is {number};")), "{kind}");
        }
        for size in [0, 511, 513, MAX_SIZE + 512, u64::MAX] {
            let error = decode(&Footer { size, ..example() }, &|_| ());
            assert!(error.starts_with(&format!("the current size at file offset 1048 is {size};")), "{error}");
        }
        let mut bytes = example().encode();
        bytes[511] = 1;
        let checksum = Footer::decode(&bytes, FileOffset(0)).expect_err("wrong");
        assert!(matches!(checksum, VhdError::Checksum { offset: FileOffset(64), .. }), "{checksum}");
    }
}
