//! The dynamic disk header of dynamic and differencing disks ("Dynamic Disk Header Format"), and the parent locators that
//! it points to.
//!
//! Always true here:
//! - A [`Header`] was checked: cookie, checksum, version and block size are what the specification allows. Whether its
//!   offsets lie in the file is asked by those who read there.
//! - The text of a locator is read only when it is a path that Windows writes, and is at most 64 KiB.

use super::super::container::{FileOffset, ParentHint};
use super::error::VhdError;
use super::footer::{FORMAT_VERSION, SECTOR};
use super::raw::{field, put, read, sum};
use crate::disk::ReadAt;

/// Bytes of the header.
pub(super) const HEADER_LENGTH: usize = 1024;
/// What the header begins with.
const COOKIE: &[u8; 8] = b"cxsparse";

const DATA_OFFSET: usize = 8;
const TABLE_OFFSET: usize = 16;
const VERSION: usize = 24;
const TABLE_ENTRIES: usize = 28;
const BLOCK_SIZE: usize = 32;
const CHECKSUM: usize = 36;
const PARENT_UNIQUE_ID: usize = 40;
const PARENT_TIME_STAMP: usize = 56;
const PARENT_NAME: usize = 64;
const PARENT_NAME_LENGTH: usize = 512;
const LOCATORS: usize = 576;
const LOCATOR_LENGTH: usize = 24;
const LOCATOR_COUNT: usize = 8;

/// The longest text of a locator in bytes: a path of Windows has at most 32,767 units of two bytes.
const MAX_LOCATOR: u32 = 64 << 10;

/// Where a path to the parent lies. "Platform Data Space" is not used: some writers count it in sectors, others in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Locator {
    /// `true` for a path from the child's folder (`W2ru`), `false` for one from a drive (`W2ku`).
    pub(super) relative: bool,
    /// Where the text begins.
    pub(super) offset: FileOffset,
    /// Bytes of the text.
    pub(super) length: u32,
    /// Where the entry of the locator lies.
    entry: FileOffset,
}

/// A header that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the block allocation table begins.
    pub(super) table_offset: FileOffset,
    /// Entries that the table has.
    pub(super) table_entries: u32,
    /// Bytes of the data of a block: a power of two, at least one sector.
    pub(super) block_size: u32,
    pub(super) parent_identifier: [u8; 16],
    /// Seconds since 2000-01-01 UTC.
    pub(super) parent_time_stamp: u32,
    /// The parent's file name, which may be a whole path.
    pub(super) parent_name: String,
    /// The locators that can be used here.
    pub(super) locators: Vec<Locator>,
    /// Where the header itself lies.
    pub(super) at: FileOffset,
}

impl Header {
    /// The header of a new dynamic disk, to be written at `at`.
    pub(super) fn new(at: FileOffset, table_offset: FileOffset, table_entries: u32, block_size: u32) -> Self {
        Self {
            table_offset,
            table_entries,
            block_size,
            parent_identifier: [0; 16],
            parent_time_stamp: 0,
            parent_name: String::new(),
            locators: Vec::new(),
            at,
        }
    }

    /// Reads and checks the header at `at`.
    ///
    /// # Errors
    /// [`VhdError::Truncated`], [`VhdError::Read`], [`VhdError::Field`], [`VhdError::Checksum`].
    pub(super) fn load(file: &dyn ReadAt, at: FileOffset) -> Result<Self, VhdError> {
        let mut bytes = [0; HEADER_LENGTH];
        read(file, at, "dynamic disk header", &mut bytes)?;
        Self::decode(&bytes, at)
    }

    fn decode(bytes: &[u8; HEADER_LENGTH], at: FileOffset) -> Result<Self, VhdError> {
        let wrong = |name, offset: usize, expected: &str, found: String| VhdError::Field {
            field: name,
            offset: FileOffset(at.0 + offset as u64),
            expected: expected.to_owned(),
            found,
        };
        let cookie: [u8; 8] = field(bytes, 0);
        if cookie != *COOKIE {
            let found = format!("\"{}\"", cookie.escape_ascii());
            return Err(wrong("dynamic disk header's cookie", 0, "\"cxsparse\"", found));
        }
        let (expected, found) = (sum(bytes, CHECKSUM), u32::from_be_bytes(field(bytes, CHECKSUM)));
        if expected != found {
            let offset = FileOffset(at.0 + CHECKSUM as u64);
            return Err(VhdError::Checksum { structure: "dynamic disk header", offset, expected, found });
        }
        let version = u32::from_be_bytes(field(bytes, VERSION));
        if version >> 16 != FORMAT_VERSION >> 16 {
            return Err(wrong("header version", VERSION, "0x00010000", format!("{version:#010x}")));
        }
        let block_size = u32::from_be_bytes(field(bytes, BLOCK_SIZE));
        if !block_size.is_power_of_two() || u64::from(block_size) < SECTOR {
            let expected = "a power of two from 512 on";
            return Err(wrong("block size", BLOCK_SIZE, expected, block_size.to_string()));
        }
        let locators = (0..LOCATOR_COUNT).filter_map(|index| {
            let start = LOCATORS + index * LOCATOR_LENGTH;
            // Paths of a Mac, and the two codes that are deprecated, name no file that could be found here.
            let relative = match &field(bytes, start) {
                b"W2ru" => true,
                b"W2ku" => false,
                _ => return None,
            };
            Some(Locator {
                relative,
                offset: FileOffset(u64::from_be_bytes(field(bytes, start + 16))),
                length: u32::from_be_bytes(field(bytes, start + 8)),
                entry: FileOffset(at.0 + start as u64),
            })
        });
        let name = bytes[PARENT_NAME..PARENT_NAME + PARENT_NAME_LENGTH].as_chunks().0;
        Ok(Self {
            table_offset: FileOffset(u64::from_be_bytes(field(bytes, TABLE_OFFSET))),
            table_entries: u32::from_be_bytes(field(bytes, TABLE_ENTRIES)),
            block_size,
            parent_identifier: field(bytes, PARENT_UNIQUE_ID),
            parent_time_stamp: u32::from_be_bytes(field(bytes, PARENT_TIME_STAMP)),
            parent_name: text(name.iter().map(|unit| u16::from_be_bytes(*unit))),
            locators: locators.collect(),
            at,
        })
    }

    /// The bytes of a header with these fields and no parent.
    pub(super) fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        put(&mut bytes, 0, COOKIE);
        put(&mut bytes, DATA_OFFSET, &u64::MAX.to_be_bytes());
        put(&mut bytes, TABLE_OFFSET, &self.table_offset.0.to_be_bytes());
        put(&mut bytes, VERSION, &FORMAT_VERSION.to_be_bytes());
        put(&mut bytes, TABLE_ENTRIES, &self.table_entries.to_be_bytes());
        put(&mut bytes, BLOCK_SIZE, &self.block_size.to_be_bytes());
        let checksum = sum(&bytes, CHECKSUM);
        put(&mut bytes, CHECKSUM, &checksum.to_be_bytes());
        bytes
    }

    /// What the header and its locators say of the parent ("Parent Locator Entries"): paths from the child's folder, the
    /// bare name beside the child, then paths from a drive.
    ///
    /// # Errors
    /// [`VhdError::Field`] for a locator that is too long, [`VhdError::Truncated`], [`VhdError::Read`].
    pub(super) fn parent_hint(&self, file: &dyn ReadAt) -> Result<ParentHint, VhdError> {
        let mut relative = Vec::new();
        let mut absolute = Vec::new();
        for locator in &self.locators {
            let path = locator.path(file)?;
            if locator.relative { relative.push(path) } else { absolute.push(path) }
        }
        let name = self.parent_name.rsplit(['\\', '/']).next().unwrap_or_default().to_owned();
        let mut paths: Vec<String> = Vec::new();
        for path in relative.into_iter().chain([name]).chain(absolute) {
            if !path.is_empty() && !paths.contains(&path) {
                paths.push(path);
            }
        }
        Ok(ParentHint { paths, identifier: self.parent_identifier })
    }
}

impl Locator {
    fn path(&self, file: &dyn ReadAt) -> Result<String, VhdError> {
        if self.length > MAX_LOCATOR {
            return Err(VhdError::Field {
                field: "parent locator's data length",
                offset: FileOffset(self.entry.0 + 8),
                expected: format!("at most {MAX_LOCATOR} bytes"),
                found: self.length.to_string(),
            });
        }
        let mut bytes = vec![0; self.length as usize];
        read(file, self.offset, "parent locator", &mut bytes)?;
        // Unlike the name in the header these are little-endian: Windows stores what it has in memory.
        Ok(text(bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit))))
    }
}

/// UTF-16 up to the first zero. Halves of a pair become U+FFFD: a file with such a name is not found, and nothing worse.
fn text(units: impl Iterator<Item = u16>) -> String {
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header::new(FileOffset(512), FileOffset(1536), 77, 2 << 20)
    }

    fn summed(change: impl Fn(&mut [u8; HEADER_LENGTH])) -> [u8; HEADER_LENGTH] {
        let mut bytes = header().encode();
        change(&mut bytes);
        let checksum = sum(&bytes, CHECKSUM);
        put(&mut bytes, CHECKSUM, &checksum.to_be_bytes());
        bytes
    }

    #[test]
    fn what_is_encoded_decodes_the_same() {
        assert_eq!(Header::decode(&header().encode(), FileOffset(512)).expect("sound"), header());
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            Header::decode(&flipped, FileOffset(512)).expect_err("damaged");
        }
    }

    #[test]
    fn a_block_size_that_is_none_is_named() {
        for size in [0_u32, 1, 256, 513, 3 << 20, u32::MAX] {
            let bytes = summed(|bytes| put(bytes, BLOCK_SIZE, &size.to_be_bytes()));
            let error = Header::decode(&bytes, FileOffset(512)).expect_err("wrong").to_string();
            let expected =
                format!("the block size at file offset 544 is {size}; a power of two from 512 on was expected");
            assert_eq!(error, expected);
        }
        let bytes = summed(|bytes| bytes[VERSION] = 1);
        let error = Header::decode(&bytes, FileOffset(512)).expect_err("wrong").to_string();
        assert!(error.contains("header version at file offset 536 is 0x01010000"), "{error}");
    }

    #[test]
    fn the_parent_is_known_by_the_best_name_first() {
        let locator = |bytes: &mut [u8; HEADER_LENGTH], index: usize, code: &[u8; 4], length: u32, offset: u64| {
            let start = LOCATORS + index * LOCATOR_LENGTH;
            put(bytes, start, code);
            put(bytes, start + 8, &length.to_be_bytes());
            put(bytes, start + 16, &offset.to_be_bytes());
        };
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let (absolute, relative) = (utf16("C:\\a\\ö.vhd"), utf16(".\\ö.vhd\0junk"));
        let mut file = absolute.clone();
        file.extend(&relative);
        let bytes = summed(|bytes| {
            locator(bytes, 0, b"W2ku", absolute.len() as u32, 0);
            locator(bytes, 1, b"MacX", u32::MAX, u64::MAX);
            locator(bytes, 7, b"W2ru", relative.len() as u32, absolute.len() as u64);
            for (index, unit) in "C:\\a\\ö.vhd".encode_utf16().enumerate() {
                put(bytes, PARENT_NAME + 2 * index, &unit.to_be_bytes());
            }
            put(bytes, PARENT_UNIQUE_ID, &[7; 16]);
        });
        let hint = Header::decode(&bytes, FileOffset(512)).expect("sound").parent_hint(&file).expect("in the file");
        assert_eq!(hint.paths, [".\\ö.vhd", "ö.vhd", "C:\\a\\ö.vhd"]);
        assert_eq!(hint.identifier, [7; 16]);

        for (length, offset) in [(2, u64::MAX), (2, file.len() as u64), (MAX_LOCATOR, 0), (MAX_LOCATOR + 1, 0)] {
            let bytes = summed(|bytes| locator(bytes, 2, b"W2ru", length, offset));
            let header = Header::decode(&bytes, FileOffset(512)).expect("sound");
            header.parent_hint(&file).expect_err("not in the file");
        }
    }
}
