//! Sessions: the lease of a running writer or reader (format-spec/session.md).
//!
//! Always true here:
//! - What a prune must know of a session every holder of the index key can read; who it is stands apart, for those who keep the repository.
//! - A renewed lease is another object with the same nonce. What is known only grows.

use super::{FormatError, decode_record, encode_record};
use crate::ids::ObjectId;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

const STRUCTURE: &str = "session";
/// The largest session that is read, in bytes.
pub const MAX_LENGTH: u64 = 4 << 20;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SessionKind {
    /// It stores chunks and relies on those that are there.
    Writes = 1,
    /// It reads what is there.
    Reads = 2,
    /// It prunes.
    Prunes = 3,
}

/// What everybody with the index key reads of a session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionRecord {
    /// Chosen at random when the session began; the same in all its leases.
    #[n(0)]
    pub nonce: ByteArray<32>,
    /// How often the lease was renewed.
    #[n(1)]
    pub renewal: u64,
    /// What it is for: a [`SessionKind`], or one of a later version.
    #[n(2)]
    pub kind: u8,
    /// The retirements that it knows, 32 bytes each, in rising order.
    #[n(3)]
    pub known: ByteVec,
    /// A [`HolderRecord`], sealed to the catalog's public key.
    #[n(4)]
    pub holder: ByteVec,
}

impl SessionRecord {
    /// The record's bytes, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        encode_record(self)
    }

    /// Reads an opened record.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record: Self = decode_record(STRUCTURE, bytes)?;
        let (ids, rest) = record.known.as_chunks::<32>();
        if !rest.is_empty() || ids.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(FormatError::record(STRUCTURE, "what it knows are not ids that rise"));
        }
        Ok(record)
    }

    /// The retirements that it knows.
    pub fn known(&self) -> impl Iterator<Item = ObjectId> {
        self.known.as_chunks::<32>().0.iter().map(|id| ObjectId::new(*id))
    }
}

/// Who holds a session, for people.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HolderRecord {
    /// The machine.
    #[n(0)]
    pub host: String,
    /// The process, by the machine's count.
    #[n(1)]
    pub process: u32,
    /// What it does, as in `backup`.
    #[n(2)]
    pub command: String,
    /// When it began, in milliseconds since 1970-01-01 UTC, by the machine's clock.
    #[n(3)]
    pub began_ms: i64,
}

impl HolderRecord {
    /// The record's bytes, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        encode_record(self)
    }

    /// Reads an opened record.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode_record("session, holder", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(known: Vec<u8>) -> SessionRecord {
        SessionRecord { nonce: [1; 32].into(), renewal: 3, kind: 1, known: known.into(), holder: vec![5; 10].into() }
    }

    #[test]
    fn records_round_trip_and_ids_that_do_not_rise_are_refused() {
        let good = record([[1; 32], [2; 32]].concat());
        assert_eq!(SessionRecord::decode(&good.encode()), Ok(good.clone()));
        assert_eq!(good.known().collect::<Vec<_>>(), [ObjectId::new([1; 32]), ObjectId::new([2; 32])]);
        for known in [vec![1; 31], [[2; 32], [1; 32]].concat(), [[1; 32], [1; 32]].concat()] {
            assert!(SessionRecord::decode(&record(known).encode()).is_err());
        }
        let bytes = good.encode();
        for length in 0..bytes.len() {
            assert!(SessionRecord::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
