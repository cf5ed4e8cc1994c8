//! Key bundles: who may open the repository, and with what (format-spec/keys.md).
//!
//! Always true here:
//! - The outer part says only how the bundle is protected; what it holds is sealed, with the outer part as associated
//!   data, so that salt and costs cannot be changed unseen.
//! - Costs that decode may still be outside of the limits; the password module checks them before it takes memory.

use super::object::{HEADER_LENGTH, Header, Magic};
use super::{FormatError, InStructure, decode_record, encode_record};
use crate::codec::{Reader, Writer};
use crate::ids::RepositoryId;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use zeroize::Zeroize;

const STRUCTURE: &str = "key bundle";
/// The largest key bundle that is read, in bytes.
pub const MAX_LENGTH: usize = 256 << 10;
/// Bytes of the outer part, which is associated data of the seal.
pub const OUTER_LENGTH: usize = HEADER_LENGTH + 32;

/// How a bundle is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// By a password through Argon2id.
    Password {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// The salt.
        salt: [u8; 16],
    },
}

const PROTECTION_PASSWORD: u32 = 1;

/// A bundle as it is stored: the outer part and the sealed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBundle<'a> {
    /// The repository that it belongs to.
    pub repository: RepositoryId,
    /// How it is protected.
    pub protection: Protection,
    /// The bytes that are associated data of the seal.
    pub outer: &'a [u8],
    /// `nonce ‖ ciphertext ‖ tag` of a [`KeyRecord`].
    pub sealed: &'a [u8],
}

/// Encodes the outer part.
pub fn encode_outer(repository: RepositoryId, protection: &Protection) -> Vec<u8> {
    let Protection::Password { memory_kib, passes, lanes, salt } = protection;
    let mut writer = Writer::new();
    writer.bytes(&Header::new(repository).encode(Magic::Key));
    writer.u32(PROTECTION_PASSWORD).u32(*memory_kib).u32(*passes).u32(*lanes).bytes(salt);
    writer.into_bytes()
}

impl<'a> SealedBundle<'a> {
    /// Takes a stored bundle apart.
    ///
    /// # Errors
    /// [`FormatError`]: another kind or version, an unknown protection, too few bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let header = Header::decode(Magic::Key, &mut reader)?;
        let protection = reader.u32("protection").within(STRUCTURE)?;
        if protection != PROTECTION_PASSWORD {
            return Err(FormatError::field(STRUCTURE, "protection", "1 (password)", protection.into()));
        }
        let protection = Protection::Password {
            memory_kib: reader.u32("memory").within(STRUCTURE)?,
            passes: reader.u32("passes").within(STRUCTURE)?,
            lanes: reader.u32("lanes").within(STRUCTURE)?,
            salt: reader.array("salt").within(STRUCTURE)?,
        };
        Ok(Self { repository: header.repository, protection, outer: &bytes[..OUTER_LENGTH], sealed: reader.rest() })
    }
}

/// What a bundle holds. Which fields are there decides what its holder can do.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyRecord {
    /// The role, in words: `admin` in this version.
    #[n(0)]
    pub role: String,
    /// What a person calls this key.
    #[n(1)]
    pub label: String,
    /// When the bundle was made, in milliseconds since 1970-01-01 UTC.
    #[n(2)]
    pub created_ms: i64,
    /// The config's bytes as they were when the bundle was made.
    #[n(3)]
    pub config: ByteVec,
    /// The index key, 32 bytes.
    #[n(4)]
    pub index_key: Option<ByteVec>,
    /// The dedup secret, 32 bytes.
    #[n(5)]
    pub dedup_secret: Option<ByteVec>,
    /// Public keys to which snapshots are sealed, 32 bytes each.
    #[n(6)]
    pub recipients: Vec<ByteVec>,
    /// The private key of this holder, 32 bytes.
    #[n(7)]
    pub private_key: Option<ByteVec>,
}

impl Drop for KeyRecord {
    fn drop(&mut self) {
        let secrets = [&mut self.index_key, &mut self.dedup_secret, &mut self.private_key];
        secrets.into_iter().flatten().for_each(|secret| secret.as_mut_slice().zeroize());
    }
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRecord").field("role", &self.role).field("label", &self.label).finish_non_exhaustive()
    }
}

impl KeyRecord {
    /// The record's bytes, to be sealed.
    pub fn encode(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(encode_record(self))
    }

    /// Reads an opened record.
    ///
    /// # Errors
    /// [`FormatError`]: a record that does not decode, or a key that is not 32 bytes long.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record: Self = decode_record(STRUCTURE, bytes)?;
        let keys = [
            ("index key", &record.index_key),
            ("dedup secret", &record.dedup_secret),
            ("private key", &record.private_key),
        ];
        let keys = keys.into_iter().filter_map(|(field, key)| key.as_ref().map(|key| (field, key)));
        for (field, key) in keys.chain(record.recipients.iter().map(|key| ("recipient", key))) {
            if key.len() != 32 {
                return Err(FormatError::field(STRUCTURE, field, "32 bytes", key.len() as u64));
            }
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> KeyRecord {
        KeyRecord {
            role: "admin".to_owned(),
            label: "first".to_owned(),
            created_ms: 5,
            config: vec![1, 2, 3].into(),
            index_key: Some(vec![1; 32].into()),
            dedup_secret: Some(vec![2; 32].into()),
            recipients: vec![vec![3; 32].into()],
            private_key: None,
        }
    }

    #[test]
    fn records_round_trip_and_print_no_key() {
        assert_eq!(KeyRecord::decode(&record().encode()), Ok(record()));
        assert_eq!(format!("{:?}", record()), "KeyRecord { role: \"admin\", label: \"first\", .. }");
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let mut short = record();
        short.private_key = Some(vec![1; 31].into());
        assert!(matches!(
            KeyRecord::decode(&short.encode()),
            Err(FormatError::Field { field: "private key", found: 31, .. })
        ));
    }

    #[test]
    fn the_outer_part_round_trips_and_an_unknown_protection_is_refused() {
        let protection = Protection::Password { memory_kib: 64, passes: 1, lanes: 1, salt: [4; 16] };
        let mut bytes = encode_outer(RepositoryId::new([1; 16]), &protection);
        assert_eq!(bytes.len(), OUTER_LENGTH);
        bytes.extend_from_slice(b"sealed");
        let bundle = SealedBundle::decode(&bytes).expect("decodes");
        assert_eq!((bundle.protection, bundle.sealed), (protection, &b"sealed"[..]));
        bytes[HEADER_LENGTH] = 9;
        assert!(matches!(SealedBundle::decode(&bytes), Err(FormatError::Field { field: "protection", found: 9, .. })));
    }
}
