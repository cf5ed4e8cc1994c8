//! The header with which every stored object begins, and the sealed frame of most (format-spec/object.md).
//!
//! Always true here:
//! - The first 32 bytes say kind, version, features and repository; they are associated data of every
//!   seal in the object but those of chunks, so that an object of one kind or repository cannot stand in for another.
//! - What is associated data are the bytes as they are stored: an optional feature that is not known stays in them.
//! - A version or a required feature that is not known is refused before anything else is read.

use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};
use crate::ids::RepositoryId;
use crate::names::ObjectKind;

/// The newest version of the format, and the only one so far.
pub const VERSION: u16 = 1;
/// Required features that this program knows; a set bit that is not here means that the object cannot be read.
pub const KNOWN_REQUIRED: u32 = 0;
/// Bytes of the header.
pub const HEADER_LENGTH: usize = 32;

const MAGIC: &[u8; 5] = b"SHEAF";

/// The kind byte of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Magic {
    /// A config.
    Config = b'C',
    /// A key bundle.
    Key = b'K',
    /// A pack.
    Pack = b'P',
    /// An index segment.
    Index = b'I',
    /// A snapshot.
    Snapshot = b'S',
    /// An audit entry.
    Audit = b'A',
    /// A session: the lease of a running writer or reader.
    Session = b'L',
    /// A retirement: what a prune has condemned.
    Retired = b'D',
    /// Parity of an object.
    Parity = b'R',
}

impl Magic {
    /// The kind byte of objects of this kind; none for kinds whose objects have no header in this version.
    pub const fn of(kind: ObjectKind) -> Option<Self> {
        Some(match kind {
            ObjectKind::Config => Self::Config,
            ObjectKind::Key => Self::Key,
            ObjectKind::Pack => Self::Pack,
            ObjectKind::Index => Self::Index,
            ObjectKind::Snapshot => Self::Snapshot,
            ObjectKind::Audit => Self::Audit,
            ObjectKind::Parity => Self::Parity,
            ObjectKind::Session | ObjectKind::Retired => return None,
        })
    }

    const fn structure(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key bundle",
            Self::Pack => "pack",
            Self::Index => "index segment",
            Self::Snapshot => "snapshot",
            Self::Audit => "audit entry",
            Self::Session => "session",
            Self::Retired => "retirement",
            Self::Parity => "parity",
        }
    }
}

/// A header whose kind, version and required features are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The repository that the object belongs to.
    pub repository: RepositoryId,
    /// Features that a reader may ignore.
    pub optional_features: u32,
}

impl Header {
    /// A header without features.
    pub const fn new(repository: RepositoryId) -> Self {
        Self { repository, optional_features: 0 }
    }

    /// The header's bytes, for an object of this kind.
    pub fn encode(&self, magic: Magic) -> [u8; HEADER_LENGTH] {
        let mut writer = Writer::new();
        writer.bytes(MAGIC).u8(magic as u8).u16(VERSION).u32(0).u32(self.optional_features);
        writer.bytes(self.repository.as_bytes());
        let mut header = [0; HEADER_LENGTH];
        header.copy_from_slice(&writer.into_bytes());
        header
    }

    /// Reads the header of an object of this kind.
    ///
    /// # Errors
    /// [`FormatError`] for another kind, a newer version, an unknown required feature or too few bytes.
    pub fn decode(magic: Magic, reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let structure = magic.structure();
        let found = reader.array::<6>("magic").within(structure)?;
        let mut expected = [0; 6];
        expected[..5].copy_from_slice(MAGIC);
        expected[5] = magic as u8;
        if found != expected {
            return Err(FormatError::Magic {
                structure,
                expected: crate::ids::to_hex(&expected),
                found: crate::ids::to_hex(&found),
            });
        }
        let version = reader.u16("version").within(structure)?;
        if version != VERSION {
            return Err(FormatError::Version { structure, found: version, supported: VERSION });
        }
        let unknown = reader.u32("required features").within(structure)? & !KNOWN_REQUIRED;
        if unknown != 0 {
            return Err(FormatError::Feature { structure, unknown });
        }
        let optional_features = reader.u32("optional features").within(structure)?;
        let repository = RepositoryId::new(reader.array("repository id").within(structure)?);
        Ok(Self { repository, optional_features })
    }
}

/// An object that is a header and one sealed text: index segments, and the trailer of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedObject<'a> {
    /// The header.
    pub header: Header,
    /// `nonce ‖ ciphertext ‖ tag`, sealed with the header's bytes as associated data.
    pub sealed: &'a [u8],
}

impl<'a> SealedObject<'a> {
    /// Takes an object of this kind apart.
    ///
    /// # Errors
    /// As [`Header::decode`].
    pub fn decode(magic: Magic, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let header = Header::decode(magic, &mut reader)?;
        Ok(Self { header, sealed: reader.rest() })
    }
}

/// Bytes of a text that is sealed to a public key before what is sealed under its key.
pub const SEALED_TO_PREFIX: usize = 32 + 48;

/// A text that is sealed to a public key, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedTo<'a> {
    /// The encapsulated key.
    pub encapsulated: [u8; 32],
    /// The text's key, sealed to the public key.
    pub ciphertext: [u8; 48],
    /// `nonce ‖ ciphertext ‖ tag` under the text's key.
    pub sealed: &'a [u8],
}

impl<'a> SealedTo<'a> {
    /// Takes the text apart; `structure` is what it is, for messages.
    ///
    /// # Errors
    /// [`FormatError`] when there are too few bytes.
    pub fn decode(structure: &'static str, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            encapsulated: reader.array("encapsulated key").within(structure)?,
            ciphertext: reader.array("sealed key").within(structure)?,
            sealed: reader.rest(),
        })
    }

    /// The bytes of the text.
    pub fn encode(&self) -> Vec<u8> {
        [&self.encapsulated[..], &self.ciphertext, self.sealed].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> [u8; HEADER_LENGTH] {
        Header::new(RepositoryId::new([7; 16])).encode(Magic::Index)
    }

    fn decode(bytes: &[u8]) -> Result<Header, FormatError> {
        Header::decode(Magic::Index, &mut Reader::new(bytes))
    }

    #[test]
    fn round_trips() {
        assert_eq!(decode(&header()), Ok(Header::new(RepositoryId::new([7; 16]))));
    }

    #[test]
    fn another_kind_is_refused() {
        let error = Header::decode(Magic::Pack, &mut Reader::new(&header())).expect_err("refused");
        assert!(matches!(error, FormatError::Magic { structure: "pack", .. }), "{error}");
    }

    #[test]
    fn a_newer_version_and_an_unknown_required_feature_are_refused() {
        let mut newer = header();
        newer[6] = 2;
        assert!(matches!(decode(&newer), Err(FormatError::Version { found: 2, supported: 1, .. })));
        let mut feature = header();
        feature[11] = 0x80;
        assert!(matches!(decode(&feature), Err(FormatError::Feature { unknown: 0x8000_0000, .. })));
    }

    #[test]
    fn an_unknown_optional_feature_is_kept() {
        let mut optional = header();
        optional[12] = 5;
        assert_eq!(decode(&optional).map(|header| header.optional_features), Ok(5));
    }

    #[test]
    fn truncation_at_every_length_is_refused() {
        for length in 0..HEADER_LENGTH {
            assert!(matches!(decode(&header()[..length]), Err(FormatError::Layout { .. })), "{length}");
        }
    }
}
