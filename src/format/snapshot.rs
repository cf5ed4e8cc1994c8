//! Snapshots: the one commit point (format-spec/snapshot.md).
//!
//! Always true here:
//! - The operator's part is sealed to the catalog's public key and says what keeping a repository needs. The private part is
//!   sealed to the public keys of those who may read the disk, and says how.
//! - The private part is bound to the operator's part by associated data, so that neither can be taken from another
//!   snapshot.

use super::object::{HEADER_LENGTH, Header, Magic};
use super::tree::TreeRoot;
use super::{FormatError, InStructure, decode_record, encode_record};
use crate::codec::{Reader, Writer};
use crate::ids::RecipientId;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

const STRUCTURE: &str = "snapshot";
/// The largest snapshot object that is read, in bytes.
pub const MAX_LENGTH: usize = 16 << 20;
/// The most recipients of one snapshot.
pub const MAX_RECIPIENTS: u16 = 1024;
const RECIPIENT_LENGTH: usize = 32 + 32 + 48;

/// The content key of a snapshot, sealed to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientSlot {
    /// To whom.
    pub recipient: RecipientId,
    /// The encapsulated key.
    pub encapsulated: [u8; 32],
    /// The sealed content key.
    pub ciphertext: [u8; 48],
}

/// A snapshot object taken apart, without the signature behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotObject<'a> {
    /// The header.
    pub header: Header,
    /// The operator's part, a [`super::object::SealedTo`]; associated data: the header.
    pub operator: &'a [u8],
    /// The content key for each recipient; associated data: the BLAKE3 of `bound`.
    pub recipients: Vec<RecipientSlot>,
    /// The private part: `nonce ‖ ciphertext ‖ tag` under the content key; associated data: the BLAKE3 of `bound`.
    pub private: &'a [u8],
    /// The bytes of header, operator length and operator's part.
    pub bound: &'a [u8],
}

/// The bytes that private part and recipients are bound to: header, length and operator's part.
pub fn encode_bound(header: &Header, operator: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(&header.encode(Magic::Snapshot)).u32(length(operator)).bytes(operator);
    writer.into_bytes()
}

/// Completes a snapshot object.
pub fn encode(bound: &[u8], recipients: &[RecipientSlot], private: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(bound).u16(u16::try_from(recipients.len()).unwrap_or(u16::MAX)).u16(0);
    for slot in recipients {
        writer.bytes(slot.recipient.as_bytes()).bytes(&slot.encapsulated).bytes(&slot.ciphertext);
    }
    writer.u32(length(private)).bytes(private);
    writer.into_bytes()
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

impl<'a> SnapshotObject<'a> {
    /// Takes a stored snapshot apart.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let header = Header::decode(Magic::Snapshot, &mut reader)?;
        let operator_length = reader.u32("operator length").within(STRUCTURE)?;
        let operator = reader.bytes(operator_length as usize, "operator part").within(STRUCTURE)?;
        let bound = &bytes[..HEADER_LENGTH + 4 + operator.len()];
        let count = reader.u16("recipients").within(STRUCTURE)?;
        let reserved = reader.u16("reserved").within(STRUCTURE)?;
        if count > MAX_RECIPIENTS {
            return Err(FormatError::field(STRUCTURE, "recipients", "at most 1024", count.into()));
        }
        if reserved != 0 {
            return Err(FormatError::field(STRUCTURE, "reserved", "zero", reserved.into()));
        }
        let table = reader.table::<RECIPIENT_LENGTH>(count.into(), "recipients").within(STRUCTURE)?;
        let recipients = table.iter().map(decode_slot).collect::<Result<_, _>>()?;
        let private_length = reader.u32("private length").within(STRUCTURE)?;
        let private = reader.bytes(private_length as usize, "private part").within(STRUCTURE)?;
        reader.finish().within(STRUCTURE)?;
        Ok(Self { header, operator, recipients, private, bound })
    }
}

fn decode_slot(bytes: &[u8; RECIPIENT_LENGTH]) -> Result<RecipientSlot, FormatError> {
    let mut reader = Reader::new(bytes);
    Ok(RecipientSlot {
        recipient: RecipientId::new(reader.array("recipient").within(STRUCTURE)?),
        encapsulated: reader.array("encapsulated key").within(STRUCTURE)?,
        ciphertext: reader.array("sealed key").within(STRUCTURE)?,
    })
}

/// What was counted while a snapshot was made. Bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Counts {
    /// Bytes read from the source.
    #[n(0)]
    pub bytes_read: u64,
    /// Plain bytes of chunks that the repository did not have.
    #[n(1)]
    pub bytes_new: u64,
    /// Bytes that the new chunks take in packs.
    #[n(2)]
    pub bytes_stored: u64,
    /// Chunks that the data is cut into, each counted as often as it stands.
    #[n(3)]
    pub chunks: u64,
    /// Chunks that the repository did not have.
    #[n(4)]
    pub chunks_new: u64,
    /// Bytes of the source that could not be read.
    #[n(5)]
    pub unreadable: u64,
    /// Bytes of all streams.
    #[n(6)]
    pub bytes_kept: u64,
    /// How long the backup took, in milliseconds.
    #[n(7)]
    pub duration_ms: u64,
    /// Bytes kept of files.
    #[n(8)]
    #[cbor(default)]
    pub bytes_files: u64,
    /// Bytes kept of the records of file systems and partition tables, and of containers.
    #[n(9)]
    #[cbor(default)]
    pub bytes_records: u64,
    /// Bytes kept behind the ends of files.
    #[n(10)]
    #[cbor(default)]
    pub bytes_slack: u64,
    /// Bytes kept that nothing claimed.
    #[n(11)]
    #[cbor(default)]
    pub bytes_other: u64,
    /// Bytes that are zeros.
    #[n(12)]
    #[cbor(default)]
    pub bytes_zero: u64,
    /// Bytes of free clusters, which are not kept.
    #[n(13)]
    #[cbor(default)]
    pub bytes_free: u64,
    /// Bytes of scratch files, which are not kept.
    #[n(14)]
    #[cbor(default)]
    pub bytes_scratch: u64,
}

/// What an operator needs to know of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OperatorRecord {
    /// The stick.
    #[n(0)]
    pub stick: String,
    /// When the backup began, in milliseconds since 1970-01-01 UTC.
    #[n(1)]
    pub time_ms: i64,
    /// The offset of local time from UTC in seconds.
    #[n(2)]
    pub utc_offset_s: i32,
    /// The IANA name of the time zone, where known.
    #[n(3)]
    pub time_zone: Option<String>,
    /// The machine that made the backup.
    #[n(4)]
    pub host: String,
    /// Tags, sorted.
    #[n(5)]
    pub tags: Vec<String>,
    /// The disk's size in bytes.
    #[n(6)]
    pub size: u64,
    /// The root of the reference list, in the domain of the index key.
    #[n(7)]
    pub references: TreeRoot,
    /// The program that made the snapshot.
    #[n(8)]
    pub tool: String,
    /// What was counted.
    #[n(9)]
    pub counts: Counts,
    /// The snapshot of another repository of which this is a copy.
    #[n(10)]
    pub origin: Option<SnapshotOrigin>,
}

/// Where a copied snapshot was made: there, and by whom, as the one who copied it saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotOrigin {
    /// The id of the repository that it was made in, however often it was copied since.
    #[n(0)]
    pub repository: ByteArray<16>,
    /// Its id there.
    #[n(1)]
    pub snapshot: ByteArray<32>,
    /// The key that signed it there.
    #[n(2)]
    pub key: ByteArray<32>,
    /// What that key is called there.
    #[n(3)]
    pub label: String,
}

/// What is known of the disk itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct DiskFacts {
    /// The smallest unit in which the disk is addressed, in bytes.
    #[n(0)]
    pub sector_size: u32,
    /// Where the disk was read from.
    #[n(1)]
    pub source: String,
    /// The identity from the partition table: `gpt-GUID` or `mbr-ID`.
    #[n(2)]
    pub table_id: Option<String>,
    /// The device's serial number.
    #[n(3)]
    pub serial: Option<String>,
    /// The device's model.
    #[n(4)]
    pub model: Option<String>,
    /// A label that a person gave or a file system has.
    #[n(5)]
    pub label: Option<String>,
    /// The virtual disk that it came in; `None` for a disk of its own.
    #[n(6)]
    pub container: Option<ContainerFacts>,
    /// The volumes on it, as they were found; `None` where nobody looked, or found none.
    #[n(7)]
    pub volumes: Option<Vec<VolumeRecord>>,
}

/// What was found of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct VolumeRecord {
    /// The number of its partition; `None` on a disk without a table.
    #[n(0)]
    pub number: Option<u32>,
    /// Where it begins on its disk, in bytes.
    #[n(1)]
    pub start: u64,
    /// Bytes.
    #[n(2)]
    pub length: u64,
    /// What the partition table says that it is for: a GUID, or a byte as in `0x07`.
    #[n(3)]
    pub purpose: Option<String>,
    /// The partition's name.
    #[n(4)]
    pub name: Option<String>,
    /// The file system.
    #[n(5)]
    pub file_system: String,
    /// The file system's label.
    #[n(6)]
    pub label: Option<String>,
    /// The file system's serial number, in hexadecimal digits.
    #[n(7)]
    pub serial: Option<String>,
    /// Whether it was cut along its files.
    #[n(8)]
    pub by_files: bool,
    /// How many disks in files lie around it.
    #[n(9)]
    pub depth: u32,
    /// The Windows on it, in words for people.
    #[n(10)]
    pub windows: Option<String>,
}

/// What the container of a virtual disk knew beside the disk's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContainerFacts {
    /// [`Self::VHD`] or [`Self::VHDX`].
    #[n(0)]
    pub format: String,
    /// `fixed`, `dynamic` or `differencing`.
    #[n(1)]
    pub kind: String,
    /// The disk's identifier, in the order of the file.
    #[n(2)]
    pub disk_id: ByteArray<16>,
    /// The program that made it; in a VHD four bytes, escaped where they are not ASCII.
    #[n(3)]
    pub creator: String,
    /// That program's version, in a VHD.
    #[n(4)]
    pub creator_version: Option<u32>,
    /// The system that made it, in a VHD: four bytes, escaped likewise.
    #[n(5)]
    pub creator_system: Option<String>,
    /// Bytes of a block; none in a fixed VHD.
    #[n(6)]
    pub block_size: Option<u32>,
    /// The time stamp of a VHD: seconds since 2000-01-01 UTC.
    #[n(7)]
    pub time_stamp: Option<u32>,
    /// The geometry of a VHD, as the four bytes of its field are a big-endian number.
    #[n(8)]
    pub geometry: Option<u32>,
    /// Bytes of a sector, as a VHDX is addressed.
    #[n(9)]
    pub logical_sector_size: Option<u32>,
    /// Bytes of a sector, as a VHDX is said to write.
    #[n(10)]
    pub physical_sector_size: Option<u32>,
    /// The identity of the content of a VHDX, in the order of the file.
    #[n(11)]
    pub content_id: Option<ByteArray<16>>,
    /// The identifier by which a differencing disk knows its parent, in the order of the file.
    #[n(12)]
    pub parent_id: Option<ByteArray<16>>,
}

impl ContainerFacts {
    /// The format of a VHD.
    pub const VHD: &str = "vhd";
    /// The format of a VHDX.
    pub const VHDX: &str = "vhdx";
}

/// What reading a snapshot needs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PrivateRecord {
    /// The data tree: the kept bytes.
    #[n(0)]
    pub data: TreeRoot,
    /// The tree of the disk map's records.
    #[n(1)]
    pub map: TreeRoot,
    /// The disk.
    #[n(2)]
    pub disk: DiskFacts,
    /// What the operator's part says, for those who cannot open that.
    #[n(3)]
    pub operator: OperatorRecord,
    /// The certificate of the key that made the snapshot, for those who cannot open that of the signature.
    #[n(4)]
    pub maker: ByteVec,
}

impl OperatorRecord {
    /// The record's bytes, to be sealed: they hold the key of a tree.
    pub fn encode(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(encode_record(self))
    }

    /// Reads an opened operator's part.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record: Self = decode_record("snapshot, operator part", bytes)?;
        record.references.top()?;
        Ok(record)
    }
}

impl PrivateRecord {
    /// The record's bytes, to be sealed: they hold the key of a tree.
    pub fn encode(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(encode_record(self))
    }

    /// Reads an opened private part.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record: Self = decode_record("snapshot, private part", bytes)?;
        record.data.top()?;
        record.map.top()?;
        record.operator.references.top()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RepositoryId;

    #[test]
    fn objects_round_trip_and_truncation_at_every_length_is_refused() {
        let header = Header::new(RepositoryId::new([1; 16]));
        let slot = RecipientSlot { recipient: RecipientId::new([2; 32]), encapsulated: [3; 32], ciphertext: [4; 48] };
        let bound = encode_bound(&header, b"operator");
        let bytes = encode(&bound, std::slice::from_ref(&slot), b"private");
        let object = SnapshotObject::decode(&bytes).expect("decodes");
        assert_eq!((object.operator, object.private, object.bound), (&b"operator"[..], &b"private"[..], &bound[..]));
        assert_eq!(object.recipients, [slot]);
        for length in 0..bytes.len() {
            assert!(SnapshotObject::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn records_round_trip_and_a_field_of_a_later_version_is_ignored() {
        let record = OperatorRecord {
            stick: "ana".to_owned(),
            time_ms: 1,
            utc_offset_s: 3600,
            time_zone: None,
            host: "desk".to_owned(),
            tags: vec!["weekly".to_owned()],
            size: 5,
            references: TreeRoot::EMPTY,
            tool: "sheaf".to_owned(),
            counts: Counts::default(),
            origin: None,
        };
        let mut bytes = record.encode();
        assert_eq!(OperatorRecord::decode(&bytes), Ok(record.clone()));
        // A map of nine pairs, since an absent option is not written; one more pair, 30: true.
        assert_eq!(bytes[0], 0xa0 | 9);
        bytes[0] += 1;
        bytes.extend_from_slice(&[0x18, 30, 0xf5]);
        assert_eq!(OperatorRecord::decode(&bytes), Ok(record.clone()));
        let origin = SnapshotOrigin {
            repository: [1; 16].into(),
            snapshot: [2; 32].into(),
            key: [3; 32].into(),
            label: "ana".to_owned(),
        };
        let copied = OperatorRecord { origin: Some(origin), ..record };
        assert_eq!(OperatorRecord::decode(&copied.encode()), Ok(copied));
    }
}
