//! The first 192 KiB: the file type identifier and the two headers ([MS-VHDX] §2.2.1, §2.2.2).
//!
//! Always true here:
//! - A [`Header`] that was decoded had the right signature and checksum; nothing else of it is checked until
//!   [`Header::log`] and [`current`] have looked at it.
//! - The current header is the valid one with the greater sequence number, and the only one that is used.

use super::super::container::FileOffset;
use super::error::{VhdxError, VhdxWarning};
use super::field::{guid_at, put, text, u16_at, u32_at, u64_at};
use super::{Guid, HEADER_SECTION, MIB, crc};

/// The first bytes of every VHDX file.
pub(super) const FILE_SIGNATURE: [u8; 8] = *b"vhdxfile";
/// Bytes of the file type identifier.
pub(super) const FILE_TYPE_LENGTH: usize = 520;
/// Where the creator's name stands in the identifier.
const CREATOR: usize = 8;

/// Where the two headers are.
pub(super) const HEADERS: [FileOffset; 2] = [FileOffset(64 << 10), FileOffset(128 << 10)];
/// Bytes of a header.
pub(super) const HEADER_LENGTH: usize = 4096;
const SIGNATURE: [u8; 4] = *b"head";
const SEQUENCE_NUMBER: usize = 8;
const FILE_WRITE_GUID: usize = 16;
const DATA_WRITE_GUID: usize = 32;
const LOG_GUID: usize = 48;
const LOG_VERSION: usize = 64;
const VERSION: usize = 66;
const LOG_LENGTH: usize = 68;
const LOG_OFFSET: usize = 72;

/// One of the two headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Where it stands.
    at: FileOffset,
    pub(super) sequence_number: u64,
    pub(super) file_write: Guid,
    pub(super) data_write: Guid,
    pub(super) log_id: Guid,
    log_version: u16,
    version: u16,
    pub(super) log_length: u32,
    pub(super) log_offset: u64,
}

/// The log's place, checked: aligned to 1 MiB, behind the header section, and in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogPlace {
    /// Where the header names it.
    pub(super) named_at: FileOffset,
    pub(super) offset: FileOffset,
    pub(super) length: u64,
    /// The identity of the entries to replay; `None` when there is nothing to replay.
    pub(super) pending: Option<Guid>,
}

impl Header {
    /// Takes a header apart.
    ///
    /// # Errors
    /// [`VhdxError::Wrong`] for the signature or the checksum.
    pub(super) fn decode(bytes: &[u8; HEADER_LENGTH], at: FileOffset) -> Result<Self, VhdxError> {
        check_sealed("the signature of a header", SIGNATURE, "the checksum of a header", bytes, at)?;
        Ok(Self {
            at,
            sequence_number: u64_at(bytes, SEQUENCE_NUMBER),
            file_write: guid_at(bytes, FILE_WRITE_GUID),
            data_write: guid_at(bytes, DATA_WRITE_GUID),
            log_id: guid_at(bytes, LOG_GUID),
            log_version: u16_at(bytes, LOG_VERSION),
            version: u16_at(bytes, VERSION),
            log_length: u32_at(bytes, LOG_LENGTH),
            log_offset: u64_at(bytes, LOG_OFFSET),
        })
    }

    /// A header of a new file, whose log is empty.
    pub(super) fn encode_new(sequence_number: u64, file_write: Guid, data_write: Guid, log: (u64, u32)) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LENGTH];
        put(&mut bytes, 0, &SIGNATURE);
        put(&mut bytes, SEQUENCE_NUMBER, &sequence_number.to_le_bytes());
        put(&mut bytes, FILE_WRITE_GUID, &file_write.0);
        put(&mut bytes, DATA_WRITE_GUID, &data_write.0);
        put(&mut bytes, VERSION, &1_u16.to_le_bytes());
        put(&mut bytes, LOG_LENGTH, &log.1.to_le_bytes());
        put(&mut bytes, LOG_OFFSET, &log.0.to_le_bytes());
        crc::seal(&mut bytes);
        bytes
    }

    /// Checks where the log is; `None` when there is none.
    ///
    /// # Errors
    /// [`VhdxError::Wrong`] and [`VhdxError::Truncated`].
    pub(super) fn log(&self, file_size: u64) -> Result<Option<LogPlace>, VhdxError> {
        let pending = (self.log_id != Guid::ZERO).then_some(self.log_id);
        let field = |at: usize| FileOffset(self.at.0 + at as u64);
        if pending.is_some() && self.log_version != 0 {
            return Err(VhdxError::wrong("the version of the log", field(LOG_VERSION), 0, self.log_version));
        }
        let length = u64::from(self.log_length);
        if length == 0 && pending.is_none() {
            return Ok(None);
        }
        let (at, offset) = (field(LOG_OFFSET), self.log_offset);
        if length == 0 || !length.is_multiple_of(MIB) {
            let expected = "a multiple of 1 MiB other than 0";
            return Err(VhdxError::wrong("the length of the log", field(LOG_LENGTH), expected, length));
        }
        if offset < HEADER_SECTION || !offset.is_multiple_of(MIB) {
            return Err(VhdxError::wrong("the place of the log", at, "a multiple of 1 MiB other than 0", offset));
        }
        if offset.checked_add(length).is_none_or(|end| end > file_size) {
            return Err(VhdxError::Truncated { what: "the log", offset: FileOffset(offset), length, size: file_size });
        }
        Ok(Some(LogPlace { named_at: at, offset: FileOffset(offset), length, pending }))
    }
}

/// The current one of both headers.
///
/// # Errors
/// [`VhdxError::BothCopies`]; [`VhdxError::Wrong`] where two headers with one sequence number differ, and for the
/// version of the format.
pub(super) fn current(
    copies: [Result<Header, VhdxError>; 2],
    warnings: &mut Vec<VhdxWarning>,
) -> Result<Header, VhdxError> {
    const WHAT: &str = "the header";
    let header = match copies {
        [Ok(first), Ok(second)] => {
            // Some tools write one header twice. Where the numbers are equal and all else is not, nothing says which
            // one is the newer.
            if first.sequence_number == second.sequence_number && (Header { at: first.at, ..second.clone() }) != first {
                let at = FileOffset(second.at.0 + SEQUENCE_NUMBER as u64);
                let expected = "another one than in the other header, which differs";
                return Err(VhdxError::wrong("the sequence number", at, expected, second.sequence_number));
            }
            if second.sequence_number > first.sequence_number { second } else { first }
        }
        [Ok(good), Err(reason)] | [Err(reason), Ok(good)] => {
            warnings.push(VhdxWarning::OneCopy { what: WHAT, reason: Box::new(reason) });
            good
        }
        [Err(first), Err(second)] => {
            return Err(VhdxError::BothCopies { what: WHAT, first: Box::new(first), second: Box::new(second) });
        }
    };
    if header.version != 1 {
        let at = FileOffset(header.at.0 + VERSION as u64);
        return Err(VhdxError::wrong("the version of the format", at, 1, header.version));
    }
    Ok(header)
}

/// Checks the signature and the checksum of a structure that has both.
///
/// # Errors
/// [`VhdxError::Wrong`].
pub(super) fn check_sealed(
    signature_name: &'static str,
    signature: [u8; 4],
    checksum_name: &'static str,
    bytes: &[u8],
    at: FileOffset,
) -> Result<(), VhdxError> {
    if !bytes.starts_with(&signature) {
        let (expected, found) = (signature.escape_ascii(), bytes[..4].escape_ascii());
        return Err(VhdxError::wrong(signature_name, at, format_args!("\"{expected}\""), format_args!("\"{found}\"")));
    }
    let (expected, found) = (crc::checksum(bytes), crc::stored(bytes));
    if expected != found {
        let at = FileOffset(at.0 + 4);
        return Err(VhdxError::wrong(
            checksum_name,
            at,
            format_args!("{expected:#010x}"),
            format_args!("{found:#010x}"),
        ));
    }
    Ok(())
}

/// The file type identifier of a new file. Of the creator's name, 255 UTF-16 units are kept.
pub(super) fn encode_file_type(creator: &str) -> Vec<u8> {
    let mut bytes = vec![0; FILE_TYPE_LENGTH];
    put(&mut bytes, 0, &FILE_SIGNATURE);
    let units = (FILE_TYPE_LENGTH - CREATOR) / 2 - 1;
    let name: Vec<u8> = creator.encode_utf16().take(units).flat_map(u16::to_le_bytes).collect();
    put(&mut bytes, CREATOR, &name);
    bytes
}

/// The creator's name in a file type identifier.
pub(super) fn creator(file_type: &[u8; FILE_TYPE_LENGTH]) -> String {
    text(&file_type[CREATOR..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence_number: u64, change: impl FnOnce(&mut [u8; HEADER_LENGTH])) -> Result<Header, VhdxError> {
        let encoded = Header::encode_new(sequence_number, Guid::new(1), Guid::new(2), (MIB, 1 << 20));
        let mut bytes: [u8; HEADER_LENGTH] = encoded.try_into().expect("the length of a header");
        change(&mut bytes);
        Header::decode(&bytes, HEADERS[sequence_number as usize % 2])
    }

    fn resealed(at: usize, value: &[u8]) -> Result<Header, VhdxError> {
        header(1, |bytes| {
            put(bytes, at, value);
            crc::seal(bytes);
        })
    }

    fn choose(first: Result<Header, VhdxError>, second: Result<Header, VhdxError>) -> (String, usize) {
        let mut warnings = Vec::new();
        let chosen = current([first, second], &mut warnings);
        (chosen.map_or_else(|error| error.to_string(), |header| header.sequence_number.to_string()), warnings.len())
    }

    #[test]
    fn the_greater_number_wins_and_a_bad_copy_loses() {
        assert_eq!(choose(header(3, |_| ()), header(4, |_| ())), ("4".into(), 0));
        assert_eq!(choose(header(5, |_| ()), header(4, |_| ())), ("5".into(), 0));
        assert_eq!(choose(header(3, |_| ()), header(4, |bytes| bytes[100] ^= 1)), ("3".into(), 1));
        assert_eq!(choose(header(3, |bytes| bytes[0] ^= 1), header(4, |_| ())), ("4".into(), 1));
        assert_eq!(choose(header(3, |_| ()), header(3, |_| ())), ("3".into(), 0));
        let other = resealed(FILE_WRITE_GUID, &[9; 16]);
        let (error, _) = choose(header(1, |_| ()), other);
        assert!(error.contains("the sequence number at offset 131080"), "{error}");
    }

    #[test]
    fn two_bad_copies_are_named_both() {
        let (error, _) = choose(header(1, |bytes| bytes[9] ^= 1), header(2, |bytes| bytes[0] = b'H'));
        assert!(error.contains("the checksum of a header at offset 131076"), "{error}");
        assert!(error.contains("the signature of a header at offset 65536"), "{error}");
        assert!(error.contains("expected \"head\", found \"Head\""), "{error}");
    }

    #[test]
    fn another_version_is_refused() {
        let (error, _) = choose(resealed(VERSION, &[2, 0]), header(0, |_| ()));
        assert!(error.contains("the version of the format at offset 131138"), "{error}");
    }

    #[test]
    fn the_log_is_aligned_behind_the_header_section_and_in_the_file() {
        let log = |at, value: &[u8], size| resealed(at, value).and_then(|header| header.log(size));
        assert!(matches!(log(LOG_LENGTH, &(1_u32 << 20).to_le_bytes(), 2 * MIB), Ok(Some(_))));
        assert!(matches!(log(LOG_LENGTH, &[0; 4], 2 * MIB), Ok(None)));
        for (at, value) in [
            (LOG_LENGTH, &[1, 0, 16, 0][..]),
            (LOG_OFFSET, &[0; 8]),
            (LOG_OFFSET, &[1, 0, 16, 0]),
            (LOG_OFFSET, &[255; 8]),
        ] {
            assert!(matches!(log(at, value, 2 * MIB), Err(VhdxError::Wrong { .. })), "{at}");
        }
        assert!(matches!(log(LOG_OFFSET, &[0, 0, 32], 2 * MIB), Err(VhdxError::Truncated { .. })));
        // A log of another version is no matter while it is empty.
        assert!(matches!(log(LOG_VERSION, &[1, 0], 2 * MIB), Ok(Some(LogPlace { pending: None, .. }))));
    }

    #[test]
    fn a_creator_comes_back_and_a_long_one_is_cut() {
        let decode = |name: &str| creator(&encode_file_type(name).try_into().expect("the length of an identifier"));
        assert_eq!(decode("Sheaf 1.0 – ü"), "Sheaf 1.0 – ü");
        assert_eq!(decode(&"x".repeat(300)), "x".repeat(255));
    }
}
