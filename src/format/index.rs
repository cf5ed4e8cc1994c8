//! Index segments: which pack holds which chunks (format-spec/index.md).
//!
//! Always true here:
//! - A segment lists whole packs, each with all its chunks in their order, as the pack's own trailer does.
//! - A segment may supersede others: it then lists everything of theirs that is still true.

use super::pack::{ENTRY_LENGTH, PackEntry, PackKind};
use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};
use crate::ids::ObjectId;

const STRUCTURE: &str = "index segment";
/// The largest segment that is read, in bytes.
pub const MAX_LENGTH: u64 = 256 << 20;

/// One pack of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack.
    pub id: ObjectId,
    /// What it holds.
    pub kind: PackKind,
    /// Its size in bytes.
    pub size: u64,
    /// Its chunks in their order.
    pub entries: Vec<PackEntry>,
}

/// The content of an index segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexSegment {
    /// Segments that this one replaces.
    pub supersedes: Vec<ObjectId>,
    /// Packs.
    pub packs: Vec<IndexedPack>,
}

impl IndexSegment {
    /// Chunks in all packs of the segment.
    pub fn chunk_count(&self) -> usize {
        self.packs.iter().map(|pack| pack.entries.len()).sum()
    }

    /// The segment's plaintext.
    pub fn encode(&self) -> Vec<u8> {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let mut writer = Writer::new();
        writer.u32(count(self.supersedes.len())).u32(count(self.packs.len()));
        for id in &self.supersedes {
            writer.bytes(id.as_bytes());
        }
        for pack in &self.packs {
            writer.bytes(pack.id.as_bytes()).u64(pack.size).u8(pack.kind as u8).bytes(&[0; 3]);
            writer.u32(count(pack.entries.len()));
            pack.entries.iter().for_each(|entry| entry.encode(&mut writer));
        }
        writer.into_bytes()
    }

    /// Reads an opened segment.
    ///
    /// # Errors
    /// [`FormatError`]: counts that do not fit the bytes, packs whose chunks do not fit their size.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let superseded = reader.u32("superseded count").within(STRUCTURE)?;
        let pack_count = reader.u32("pack count").within(STRUCTURE)?;
        let supersedes = reader.table::<32>(superseded, "superseded").within(STRUCTURE)?;
        let supersedes = supersedes.iter().map(|id| ObjectId::new(*id)).collect();
        let mut packs = Vec::new();
        for _ in 0..pack_count {
            packs.push(decode_pack(&mut reader)?);
        }
        reader.finish().within(STRUCTURE)?;
        Ok(Self { supersedes, packs })
    }
}

fn decode_pack(reader: &mut Reader<'_>) -> Result<IndexedPack, FormatError> {
    let id = ObjectId::new(reader.array("pack id").within(STRUCTURE)?);
    let size = reader.u64("pack size").within(STRUCTURE)?;
    let kind = PackKind::decode(reader.u8("pack kind").within(STRUCTURE)?, STRUCTURE)?;
    let reserved = reader.array::<3>("reserved").within(STRUCTURE)?;
    if reserved != [0; 3] {
        return Err(FormatError::field(STRUCTURE, "reserved", "zeros", u64::from(reserved[0])));
    }
    let count = reader.u32("chunk count").within(STRUCTURE)?;
    let table = reader.table::<ENTRY_LENGTH>(count, "entries").within(STRUCTURE)?;
    let entries: Vec<_> = table.iter().map(|entry| PackEntry::decode(STRUCTURE, entry)).collect::<Result<_, _>>()?;
    let chunks: u64 = entries.iter().map(|entry| u64::from(entry.sealed_length)).sum();
    if size > super::pack::MAX_LENGTH || chunks >= size {
        return Err(FormatError::field(STRUCTURE, "pack size", "more than its chunks and at most 1 GiB", size));
    }
    Ok(IndexedPack { id, kind, size, entries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChunkId;

    fn segment() -> IndexSegment {
        let entry = |byte| PackEntry { id: ChunkId::new([byte; 32]), sealed_length: 90, plain_length: 100 };
        IndexSegment {
            supersedes: vec![ObjectId::new([8; 32])],
            packs: vec![
                IndexedPack {
                    id: ObjectId::new([1; 32]),
                    kind: PackKind::Data,
                    size: 1000,
                    entries: vec![entry(1), entry(2)],
                },
                IndexedPack { id: ObjectId::new([2; 32]), kind: PackKind::Meta, size: 300, entries: vec![] },
            ],
        }
    }

    #[test]
    fn round_trips_and_truncation_at_every_length_is_refused() {
        let bytes = segment().encode();
        assert_eq!(IndexSegment::decode(&bytes), Ok(segment()));
        for length in 0..bytes.len() {
            assert!(IndexSegment::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn chunks_that_do_not_fit_their_pack_are_refused() {
        let mut segment = segment();
        segment.packs[0].size = 180;
        assert!(matches!(IndexSegment::decode(&segment.encode()), Err(FormatError::Field { field: "pack size", .. })));
    }

    #[test]
    fn a_hostile_pack_count_ends_at_the_end_of_the_bytes() {
        let mut bytes = segment().encode();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(IndexSegment::decode(&bytes), Err(FormatError::Layout { .. })));
    }
}
