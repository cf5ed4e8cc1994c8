//! Audit entries: who did what, each chained to those before it (format-spec/audit.md).
//!
//! Always true here:
//! - Which entries an entry follows stands in the open and is signed, so that whoever can list sees whether one is missing.
//! - What kind of thing was done, when, and to which snapshots is sealed under the index key, for all who keep the repository: from it
//!   follow the order of arrival of snapshots, and what was forgotten and pinned.
//! - The rest is sealed to the audit's public key, and bound to all that stands before it: whoever writes need not be able to read.

use super::object::{HEADER_LENGTH, Header, Magic, SealedTo};
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
/// The most snapshots that one entry is about; of more, several entries tell.
pub const MAX_SUBJECTS: u16 = u16::MAX;
/// Bytes of sealed facts beside the subjects: nonce, kind, time and tag.
pub const FACTS_LENGTH: usize = 12 + 1 + 8 + 16;

/// An audit entry taken apart, without the signature behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditObject<'a> {
    /// The header.
    pub header: Header,
    /// The entries that had no follower when this one was made.
    pub previous: Vec<ObjectId>,
    /// How many snapshots the facts name.
    pub subjects: u16,
    /// All before the facts, whose BLAKE3 is associated data of their seal.
    pub chain: &'a [u8],
    /// An [`AuditFacts`], sealed under the index key.
    pub facts: &'a [u8],
    /// All before the record, whose BLAKE3 is associated data of its seal.
    pub bound: &'a [u8],
    /// An [`AuditRecord`], sealed to the audit's public key.
    pub body: SealedTo<'a>,
}

/// Encodes what the facts are bound to: everything before them.
pub fn encode_chain(header: &Header, previous: &[ObjectId], subjects: u16) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(&header.encode(Magic::Audit)).u16(u16::try_from(previous.len()).unwrap_or(u16::MAX)).u16(subjects);
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
        let subjects = reader.u16("subjects").within(STRUCTURE)?;
        if count > MAX_PREVIOUS {
            return Err(FormatError::field(STRUCTURE, "previous entries", "at most 64", count.into()));
        }
        let previous = reader.table::<32>(count.into(), "previous entries").within(STRUCTURE)?;
        let previous: Vec<ObjectId> = previous.iter().map(|id| ObjectId::new(*id)).collect();
        if previous.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(FormatError::record(STRUCTURE, "the previous entries do not rise"));
        }
        let length = FACTS_LENGTH + usize::from(subjects) * ObjectId::LENGTH;
        let chain = &bytes[..HEADER_LENGTH + 4 + previous.len() * ObjectId::LENGTH];
        let facts = reader.bytes(length, "facts").within(STRUCTURE)?;
        let bound = &bytes[..chain.len() + length];
        let body = SealedTo::decode(STRUCTURE, reader.rest())?;
        Ok(Self { header, previous, subjects, chain, facts, bound, body })
    }
}

/// What kind of thing an entry tells of. What a reader decides by is this and never the words in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntryKind {
    /// Nothing that a reader decides by; also what a later version adds.
    Other = 0,
    /// The subjects were made.
    Backup = 1,
    /// The subjects are about to be deleted: from here on each may be gone.
    Forget = 2,
    /// The subjects have been deleted: one that is there was put back.
    Forgotten = 3,
    /// The subjects are to be kept whatever a policy says.
    Pin = 4,
    /// The subjects are pinned no more.
    Unpin = 5,
    /// A key was taken away, which had made the subjects until then.
    KeyRevoke = 6,
}

impl EntryKind {
    const ALL: [Self; 7] =
        [Self::Other, Self::Backup, Self::Forget, Self::Forgotten, Self::Pin, Self::Unpin, Self::KeyRevoke];

    /// The kind of an entry in which an action is written that has ended.
    pub fn of_action(action: &str) -> Self {
        match action {
            AuditRecord::BACKUP => Self::Backup,
            AuditRecord::FORGET => Self::Forgotten,
            AuditRecord::PIN => Self::Pin,
            AuditRecord::UNPIN => Self::Unpin,
            AuditRecord::KEY_REVOKE => Self::KeyRevoke,
            _ => Self::Other,
        }
    }
}

/// What everybody with the index key sees of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFacts {
    /// What kind of thing was done.
    pub kind: EntryKind,
    /// When it ended, in milliseconds since 1970-01-01 UTC, by the clock of the machine that did it.
    pub time_ms: i64,
    /// Snapshots that it is about, at most [`MAX_SUBJECTS`]. Of those that were made, each was there when the next one was made.
    pub subjects: Vec<ObjectId>,
}

impl AuditFacts {
    /// The bytes, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(self.kind as u8).bytes(&self.time_ms.to_le_bytes());
        for id in &self.subjects {
            writer.bytes(id.as_bytes());
        }
        writer.into_bytes()
    }

    /// Reads opened facts that name this many subjects.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8], subjects: u16) -> Result<Self, FormatError> {
        const FACTS: &str = "facts of an audit entry";
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("kind").within(FACTS)?;
        let kind = EntryKind::ALL.into_iter().find(|known| *known as u8 == kind).unwrap_or(EntryKind::Other);
        let time_ms = i64::from_le_bytes(reader.array("time").within(FACTS)?);
        let subjects = reader.table::<32>(subjects.into(), "subjects").within(FACTS)?;
        let subjects = subjects.iter().map(|id| ObjectId::new(*id)).collect();
        reader.finish().within(FACTS)?;
        Ok(Self { kind, time_ms, subjects })
    }
}

/// What was done, for people.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuditRecord {
    /// What, as in `backup`.
    #[n(0)]
    pub action: String,
    /// How it ended: `done`, or what went wrong.
    #[n(1)]
    pub result: String,
    /// The machine.
    #[n(2)]
    pub host: String,
    /// Of a key: its identity.
    #[n(3)]
    pub key: Option<ByteArray<32>>,
    /// More, in words for people.
    #[n(4)]
    pub detail: Option<String>,
    /// Of a key: the bundle that it is in from then on.
    #[n(5)]
    pub bundle: Option<ByteArray<32>>,
}

impl AuditRecord {
    /// A snapshot was made.
    pub const BACKUP: &str = "backup";
    /// Snapshots were taken away.
    pub const FORGET: &str = "forget";
    /// Snapshots are to be kept.
    pub const PIN: &str = "pin";
    /// Snapshots need not be kept.
    pub const UNPIN: &str = "unpin";
    /// A key was taken away; the snapshots are those that it had made until then.
    pub const KEY_REVOKE: &str = "key revoke";
    /// It ended well.
    pub const DONE: &str = "done";
    /// It is about to be done.
    pub const BEGUN: &str = "begun";

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
        let chain = encode_chain(&header, &previous, 1);
        let facts = [6; FACTS_LENGTH + ObjectId::LENGTH];
        let bound = [&chain[..], &facts].concat();
        let body = SealedTo { encapsulated: [4; 32], ciphertext: [5; 48], sealed: b"sealed" };
        let bytes = [&bound[..], &body.encode()].concat();
        let object = AuditObject::decode(&bytes).expect("decodes");
        assert_eq!((&object.previous[..], object.subjects, object.facts), (&previous[..], 1, &facts[..]));
        assert_eq!((object.chain, object.bound, &object.body), (&chain[..], &bound[..], &body));
        for length in 0..bytes.len() - 6 {
            assert!(AuditObject::decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut many = bytes.clone();
        many[32] = 65;
        assert!(matches!(AuditObject::decode(&many), Err(FormatError::Field { field: "previous entries", .. })));
        for falling in [[previous[1], previous[0]], [previous[0]; 2]] {
            let falling = [&encode_chain(&header, &falling, 1)[..], &facts, &body.encode()].concat();
            assert!(matches!(AuditObject::decode(&falling), Err(FormatError::Record { .. })));
        }
        // More subjects than there is room for.
        let mut more = bytes;
        more[34..36].fill(0xff);
        assert!(AuditObject::decode(&more).is_err());
    }

    #[test]
    fn facts_round_trip_and_a_kind_of_a_later_version_is_other() {
        let subjects = vec![ObjectId::new([7; 32]), ObjectId::new([8; 32])];
        for kind in EntryKind::ALL {
            for time_ms in [i64::MIN, -1, 0, i64::MAX] {
                let facts = AuditFacts { kind, time_ms, subjects: subjects.clone() };
                let bytes = facts.encode();
                assert_eq!(AuditFacts::decode(&bytes, 2), Ok(facts));
                assert!(AuditFacts::decode(&bytes, 1).is_err() && AuditFacts::decode(&bytes, 3).is_err());
                let later = [&[7], &bytes[1..]].concat();
                assert_eq!(AuditFacts::decode(&later, 2).expect("decodes").kind, EntryKind::Other);
            }
        }
    }

    #[test]
    fn records_round_trip() {
        let record = AuditRecord {
            action: AuditRecord::BACKUP.to_owned(),
            result: AuditRecord::DONE.to_owned(),
            host: "desk".to_owned(),
            key: Some([9; 32].into()),
            detail: None,
            bundle: Some([8; 32].into()),
        };
        assert_eq!(AuditRecord::decode(&record.encode()), Ok(record));
    }
}
