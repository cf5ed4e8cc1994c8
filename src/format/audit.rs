//! Audit entries: who did what, each chained to those before it (format-spec/audit.md).
//!
//! Always true here:
//! - Which entries an entry follows stands in the open and is signed, so that whoever can list sees whether one is missing.
//! - What was done is sealed to the audit's public key: whoever writes need not be able to read.

use super::object::{Header, Magic, SealedTo};
use super::{FormatError, InStructure, decode_record, encode_record};
use crate::codec::{Reader, Writer};
use crate::ids::ObjectId;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

const STRUCTURE: &str = "audit entry";
/// The largest audit entry that is read, in bytes.
pub const MAX_LENGTH: usize = 4 << 20;
/// The most entries that one entry follows.
pub const MAX_PREVIOUS: u16 = 64;

/// An audit entry taken apart, without the signature behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditObject<'a> {
    /// The header.
    pub header: Header,
    /// The entries that had no follower when this one was made.
    pub previous: Vec<ObjectId>,
    /// Header and previous entries, whose BLAKE3 is associated data of the seal.
    pub bound: &'a [u8],
    /// An [`AuditRecord`], sealed to the audit's public key.
    pub body: SealedTo<'a>,
}

/// Encodes what the body is bound to.
pub fn encode_bound(header: &Header, previous: &[ObjectId]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(&header.encode(Magic::Audit)).u16(u16::try_from(previous.len()).unwrap_or(u16::MAX)).u16(0);
    for id in previous {
        writer.bytes(id.as_bytes());
    }
    writer.into_bytes()
}

impl<'a> AuditObject<'a> {
    /// Takes a stored entry apart.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let header = Header::decode(Magic::Audit, &mut reader)?;
        let count = reader.u16("previous entries").within(STRUCTURE)?;
        let reserved = reader.u16("reserved").within(STRUCTURE)?;
        if count > MAX_PREVIOUS {
            return Err(FormatError::field(STRUCTURE, "previous entries", "at most 64", count.into()));
        }
        if reserved != 0 {
            return Err(FormatError::field(STRUCTURE, "reserved", "zero", reserved.into()));
        }
        let previous = reader.table::<32>(count.into(), "previous entries").within(STRUCTURE)?;
        let previous: Vec<ObjectId> = previous.iter().map(|id| ObjectId::new(*id)).collect();
        if previous.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(FormatError::record(STRUCTURE, "the previous entries do not rise"));
        }
        let rest = reader.rest();
        let bound = &bytes[..bytes.len() - rest.len()];
        Ok(Self { header, previous, bound, body: SealedTo::decode(STRUCTURE, rest)? })
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuditRecord {
    /// When it ended, in milliseconds since 1970-01-01 UTC, by the clock of the machine that did it.
    #[n(0)]
    pub time_ms: i64,
    /// What, as in `backup`.
    #[n(1)]
    pub action: String,
    /// How it ended: `done`, or what went wrong.
    #[n(2)]
    pub result: String,
    /// The machine.
    #[n(3)]
    pub host: String,
    /// Snapshots that it is about: that were made, read, or taken away.
    #[n(4)]
    pub snapshots: Vec<ByteArray<32>>,
    /// Of a key: its identity.
    #[n(5)]
    pub key: Option<ByteArray<32>>,
    /// More, in words for people.
    #[n(6)]
    pub detail: Option<String>,
    /// Of a key: the bundle that it is in from then on.
    #[n(7)]
    pub bundle: Option<ByteArray<32>>,
}

impl AuditRecord {
    /// A snapshot was made.
    pub const BACKUP: &str = "backup";
    /// Snapshots were taken away.
    pub const FORGET: &str = "forget";
    /// A key was taken away; the snapshots are those that it had made until then.
    pub const KEY_REVOKE: &str = "key revoke";
    /// It ended well.
    pub const DONE: &str = "done";

    /// The record's bytes, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        encode_record(self)
    }

    /// Reads an opened record.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode_record(STRUCTURE, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RepositoryId;

    #[test]
    fn entries_round_trip_and_what_cannot_be_is_refused() {
        let header = Header::new(RepositoryId::new([1; 16]));
        let previous = [ObjectId::new([2; 32]), ObjectId::new([3; 32])];
        let bound = encode_bound(&header, &previous);
        let body = SealedTo { encapsulated: [4; 32], ciphertext: [5; 48], sealed: b"sealed" };
        let bytes = [&bound[..], &body.encode()].concat();
        let object = AuditObject::decode(&bytes).expect("decodes");
        assert_eq!((&object.previous[..], object.bound, &object.body), (&previous[..], &bound[..], &body));
        for length in 0..bytes.len() - 6 {
            assert!(AuditObject::decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut many = bytes.clone();
        many[32] = 65;
        assert!(matches!(AuditObject::decode(&many), Err(FormatError::Field { field: "previous entries", .. })));
        for falling in [[previous[1], previous[0]], [previous[0]; 2]] {
            let falling = [&encode_bound(&header, &falling)[..], &body.encode()].concat();
            assert!(matches!(AuditObject::decode(&falling), Err(FormatError::Record { .. })));
        }
        let mut reserved = bytes;
        reserved[34] = 1;
        assert!(matches!(AuditObject::decode(&reserved), Err(FormatError::Field { field: "reserved", .. })));
    }

    #[test]
    fn records_round_trip() {
        let record = AuditRecord {
            time_ms: 1,
            action: AuditRecord::BACKUP.to_owned(),
            result: AuditRecord::DONE.to_owned(),
            host: "desk".to_owned(),
            snapshots: vec![[7; 32].into()],
            key: Some([9; 32].into()),
            detail: None,
            bundle: Some([8; 32].into()),
        };
        assert_eq!(AuditRecord::decode(&record.encode()), Ok(record));
    }
}
