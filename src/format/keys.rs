//! Key bundles: who may open the repository, and with what (format-spec/keys.md).
//!
//! Always true here:
//! - The outer part says only how the bundle is protected; what it holds is sealed, with all that stands before as associated
//!   data, so that salt, costs and card cannot be changed unseen.
//! - Costs that decode may still be outside of the limits; the password module checks them before it takes memory.

use super::object::{Header, Magic};
use super::{FormatError, InStructure, decode_record, encode_record};
use crate::codec::{Reader, Writer};
use crate::ids::{RecipientId, RepositoryId};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use zeroize::Zeroize;

const STRUCTURE: &str = "key bundle";
/// The largest key bundle that is read, in bytes.
pub const MAX_LENGTH: usize = 256 << 10;
/// The largest sealed card, in bytes.
pub const MAX_CARD_LENGTH: u32 = 16 << 10;

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
    /// By an X25519 key: the bundle's key is sealed to it.
    Recipient {
        /// The public key.
        recipient: RecipientId,
        /// The encapsulated key.
        encapsulated: [u8; 32],
        /// The bundle's key, sealed.
        ciphertext: [u8; 48],
    },
}

const PROTECTION_PASSWORD: u32 = 1;
const PROTECTION_RECIPIENT: u32 = 2;

/// A bundle as it is stored: the outer part, the card and the sealed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBundle<'a> {
    /// The repository that it belongs to.
    pub repository: RepositoryId,
    /// How it is protected.
    pub protection: Protection,
    /// The certificate of the bundle's key, sealed to the catalog's public key: a [`super::object::SealedTo`]; associated data: the
    /// header.
    pub card: &'a [u8],
    /// Everything before the sealed record, which is associated data of its seal.
    pub outer: &'a [u8],
    /// `nonce ‖ ciphertext ‖ tag` of a [`KeyRecord`].
    pub sealed: &'a [u8],
}

/// Encodes everything before the sealed record.
pub fn encode_outer(repository: RepositoryId, protection: &Protection, card: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(&Header::new(repository).encode(Magic::Key));
    match protection {
        Protection::Password { memory_kib, passes, lanes, salt } => {
            writer.u32(PROTECTION_PASSWORD).u32(*memory_kib).u32(*passes).u32(*lanes).bytes(salt);
        }
        Protection::Recipient { recipient, encapsulated, ciphertext } => {
            writer.u32(PROTECTION_RECIPIENT).bytes(recipient.as_bytes()).bytes(encapsulated).bytes(ciphertext);
        }
    }
    writer.u32(u32::try_from(card.len()).unwrap_or(u32::MAX)).bytes(card);
    writer.into_bytes()
}

impl<'a> SealedBundle<'a> {
    /// Takes a stored bundle apart.
    ///
    /// # Errors
    /// [`FormatError`]: another kind or version, an unknown protection, a card that is too long, too few bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let header = Header::decode(Magic::Key, &mut reader)?;
        let protection = match reader.u32("protection").within(STRUCTURE)? {
            PROTECTION_PASSWORD => Protection::Password {
                memory_kib: reader.u32("memory").within(STRUCTURE)?,
                passes: reader.u32("passes").within(STRUCTURE)?,
                lanes: reader.u32("lanes").within(STRUCTURE)?,
                salt: reader.array("salt").within(STRUCTURE)?,
            },
            PROTECTION_RECIPIENT => Protection::Recipient {
                recipient: RecipientId::new(reader.array("recipient").within(STRUCTURE)?),
                encapsulated: reader.array("encapsulated key").within(STRUCTURE)?,
                ciphertext: reader.array("sealed key").within(STRUCTURE)?,
            },
            found => {
                return Err(FormatError::field(STRUCTURE, "protection", "1 (password) or 2 (recipient)", found.into()));
            }
        };
        let length = reader.u32("card length").within(STRUCTURE)?;
        if length > MAX_CARD_LENGTH {
            return Err(FormatError::field(STRUCTURE, "card length", "at most 16384", length.into()));
        }
        let card = reader.bytes(length as usize, "card").within(STRUCTURE)?;
        let sealed = reader.rest();
        let outer = &bytes[..bytes.len() - sealed.len()];
        Ok(Self { repository: header.repository, protection, card, outer, sealed })
    }
}

/// What a bundle holds. Which fields are there decides what its holder can do.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyRecord {
    /// The bytes of the certificate of this key, a [`super::certificate::SignedCertificate`].
    #[n(0)]
    pub certificate: ByteVec,
    /// The config's bytes as they were when the bundle was made.
    #[n(1)]
    pub config: ByteVec,
    /// The authority's public key, 32 bytes.
    #[n(2)]
    pub authority: ByteVec,
    /// The seed of the key that signs for this holder, 32 bytes.
    #[n(3)]
    pub signing_key: ByteVec,
    /// The index key, 32 bytes.
    #[n(4)]
    pub index_key: ByteVec,
    /// The catalog's public key, to which the operator's parts of snapshots are sealed, 32 bytes.
    #[n(5)]
    pub catalog: ByteVec,
    /// Public keys to which snapshots are sealed, 32 bytes each.
    #[n(6)]
    pub recipients: Vec<ByteVec>,
    /// The dedup secret, 32 bytes.
    #[n(7)]
    pub dedup_secret: Option<ByteVec>,
    /// The private key of this holder, which opens snapshots, 32 bytes.
    #[n(8)]
    pub private_key: Option<ByteVec>,
    /// The catalog's private key, 32 bytes.
    #[n(9)]
    pub catalog_key: Option<ByteVec>,
    /// The seed of the authority's key, 32 bytes.
    #[n(10)]
    pub authority_key: Option<ByteVec>,
    /// The audit's public key, to which the records of audit entries are sealed, 32 bytes.
    #[n(11)]
    pub audit: ByteVec,
    /// The audit's private key, 32 bytes.
    #[n(12)]
    pub audit_key: Option<ByteVec>,
}

impl Drop for KeyRecord {
    fn drop(&mut self) {
        let optional = [
            &mut self.dedup_secret,
            &mut self.private_key,
            &mut self.catalog_key,
            &mut self.authority_key,
            &mut self.audit_key,
        ];
        let secrets = optional.into_iter().flatten().chain([&mut self.signing_key, &mut self.index_key]);
        secrets.for_each(|secret| secret.as_mut_slice().zeroize());
    }
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRecord(..)")
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
            ("authority", Some(&record.authority)),
            ("signing key", Some(&record.signing_key)),
            ("index key", Some(&record.index_key)),
            ("catalog", Some(&record.catalog)),
            ("dedup secret", record.dedup_secret.as_ref()),
            ("private key", record.private_key.as_ref()),
            ("catalog key", record.catalog_key.as_ref()),
            ("authority key", record.authority_key.as_ref()),
            ("audit", Some(&record.audit)),
            ("audit key", record.audit_key.as_ref()),
        ];
        let keys = keys.into_iter().filter_map(|(field, key)| key.map(|key| (field, key)));
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
        let key = |byte| ByteVec::from(vec![byte; 32]);
        KeyRecord {
            certificate: vec![9].into(),
            config: vec![1, 2, 3].into(),
            authority: key(1),
            signing_key: key(2),
            index_key: key(3),
            catalog: key(4),
            recipients: vec![key(5)],
            dedup_secret: Some(key(6)),
            private_key: None,
            catalog_key: None,
            authority_key: None,
            audit: key(7),
            audit_key: None,
        }
    }

    #[test]
    fn records_round_trip_and_print_no_key() {
        assert_eq!(KeyRecord::decode(&record().encode()), Ok(record()));
        assert_eq!(format!("{:?}", record()), "KeyRecord(..)");
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
        let password = Protection::Password { memory_kib: 64, passes: 1, lanes: 1, salt: [4; 16] };
        let recipient =
            Protection::Recipient { recipient: RecipientId::new([5; 32]), encapsulated: [6; 32], ciphertext: [7; 48] };
        for (protection, length) in [(password, 64 + 4 + 4), (recipient, 148 + 4 + 4)] {
            let mut bytes = encode_outer(RepositoryId::new([1; 16]), &protection, b"card");
            assert_eq!(bytes.len(), length);
            bytes.extend_from_slice(b"sealed");
            let bundle = SealedBundle::decode(&bytes).expect("decodes");
            assert_eq!((bundle.protection, bundle.card, bundle.sealed), (protection, &b"card"[..], &b"sealed"[..]));
            assert_eq!(bundle.outer, &bytes[..length]);
            for length in 0..length {
                assert!(SealedBundle::decode(&bytes[..length]).is_err(), "{length}");
            }
            bytes[super::super::object::HEADER_LENGTH] = 9;
            assert!(matches!(
                SealedBundle::decode(&bytes),
                Err(FormatError::Field { field: "protection", found: 9, .. })
            ));
        }
        let long = encode_outer(RepositoryId::new([1; 16]), &password, &vec![0; 16385]);
        assert!(matches!(SealedBundle::decode(&long), Err(FormatError::Field { field: "card length", .. })));
    }
}
