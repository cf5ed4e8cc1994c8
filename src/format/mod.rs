//! L1: what stands in stored objects, byte by byte. One file an object, and a chapter of the same name in
//! `format-spec/`.
//!
//! Always true here:
//! - Nothing here opens, seals, reads or writes: these are plaintext structures and the frames around sealed
//!   ones. Decoding checks everything that can be checked without another object.
//! - What decodes, encodes to something that decodes to the same; the fuzz targets hold that.
//! - Allocation is bounded by the length of the input.

pub mod audit;
pub mod certificate;
pub mod config;
pub mod index;
pub mod keys;
pub mod manifest;
pub mod object;
pub mod pack;
pub mod parity;
pub mod retired;
pub mod session;
pub mod signature;
pub mod snapshot;
pub mod tree;

use crate::codec::CodecError;

/// What is wrong with stored bytes. Offsets are counted from the start of the structure that is named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A fixed table ends too early or too late.
    #[error("{structure}: {source}")]
    Layout {
        /// The structure that was read.
        structure: &'static str,
        /// Where and what.
        source: CodecError,
    },
    /// A CBOR record does not decode.
    #[error("{structure}: the CBOR record does not decode: {reason}")]
    Record {
        /// The structure that was read.
        structure: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The object does not begin as its kind must.
    #[error("{structure}: begins with {found}, expected {expected}")]
    Magic {
        /// The structure that was read.
        structure: &'static str,
        /// The magic bytes in hex.
        expected: String,
        /// What stands there, in hex.
        found: String,
    },
    /// Written by a newer version of the format.
    #[error("{structure}: format version {found}, this program reads up to {supported}; use a newer sheaf")]
    Version {
        /// The structure that was read.
        structure: &'static str,
        /// The version that it has.
        found: u16,
        /// The newest version that is understood.
        supported: u16,
    },
    /// A required feature is not known.
    #[error("{structure}: needs features {unknown:#010x} that this program does not know; use a newer sheaf")]
    Feature {
        /// The structure that was read.
        structure: &'static str,
        /// The bits that are not known.
        unknown: u32,
    },
    /// A field has a value that it must not have.
    #[error("{structure}: `{field}` is {found}, expected {expected}")]
    Field {
        /// The structure that was read.
        structure: &'static str,
        /// The field.
        field: &'static str,
        /// What it may be, in words.
        expected: &'static str,
        /// What it is.
        found: u64,
    },
    /// The checksum of a structure that carries its own does not match.
    #[error("{structure}: the checksum does not match; the bytes were changed")]
    Checksum {
        /// The structure that was read.
        structure: &'static str,
    },
}

impl FormatError {
    pub(crate) const fn field(
        structure: &'static str,
        field: &'static str,
        expected: &'static str,
        found: u64,
    ) -> Self {
        Self::Field { structure, field, expected, found }
    }

    pub(crate) fn record(structure: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Record { structure, reason: reason.to_string() }
    }
}

/// Turns a [`CodecError`] into a [`FormatError`] that names the structure.
pub(crate) trait InStructure<T> {
    fn within(self, structure: &'static str) -> Result<T, FormatError>;
}

impl<T> InStructure<T> for Result<T, CodecError> {
    fn within(self, structure: &'static str) -> Result<T, FormatError> {
        self.map_err(|source| FormatError::Layout { structure, source })
    }
}

/// Encodes a CBOR record. Encoding into memory cannot fail.
pub(crate) fn encode_record<T: minicbor::Encode<()>>(record: &T) -> Vec<u8> {
    minicbor::to_vec(record).unwrap_or_default()
}

/// Decodes a CBOR record that fills `bytes` entirely.
pub(crate) fn decode_record<'a, T: minicbor::Decode<'a, ()>>(
    structure: &'static str,
    bytes: &'a [u8],
) -> Result<T, FormatError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let record = decoder.decode().map_err(|error| FormatError::record(structure, error))?;
    match bytes.len() - decoder.position() {
        0 => Ok(record),
        count => Err(FormatError::record(structure, format!("{count} bytes follow the record"))),
    }
}
