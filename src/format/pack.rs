//! Packs: many sealed chunks in one immutable object (format-spec/pack.md).
//!
//! Always true here:
//! - `header(64) ‖ sealed chunks ‖ sealed trailer ‖ parity ‖ footer(32)`; the lengths in the listing and the footer
//!   add up to the object's size exactly, or the pack does not decode.
//! - The chunks lie one behind the other from the header on, in the order of the listing, so that an offset is a sum
//!   and is never stored.
//! - The trailer comes behind the chunks so that a pack can be written in one pass; a pack alone is enough to rebuild its
//!   part of the index.

use super::object::{HEADER_LENGTH, Header, Magic};
use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};
use crate::disk::PackOffset;
use crate::ids::{ChunkId, RepositoryId};

const STRUCTURE: &str = "pack";
/// Bytes before the first chunk.
pub const PACK_HEADER_LENGTH: usize = HEADER_LENGTH + 32;
/// Bytes behind everything else.
pub const FOOTER_LENGTH: usize = 32;
/// Bytes of one entry of a listing.
pub const ENTRY_LENGTH: usize = 40;
/// The largest pack that is read, in bytes.
pub const MAX_LENGTH: u64 = 1 << 30;
/// Bytes that a sealed chunk has beyond its packed content: nonce, tag and the compression byte.
pub const CHUNK_OVERHEAD: u32 = 12 + 16 + 1;

const FOOTER_MAGIC: &[u8; 8] = b"SHEAFEND";

/// What a pack holds. Kept apart so that walking snapshots touches few packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PackKind {
    /// Chunks of disks.
    Data = 1,
    /// Chunks of manifests and reference lists.
    Meta = 2,
}

impl PackKind {
    /// Reads the kind.
    ///
    /// # Errors
    /// [`FormatError::Field`] for any other value.
    pub fn decode(value: u8, structure: &'static str) -> Result<Self, FormatError> {
        match value {
            1 => Ok(Self::Data),
            2 => Ok(Self::Meta),
            other => Err(FormatError::field(structure, "pack kind", "1 (data) or 2 (meta)", other.into())),
        }
    }
}

/// One chunk of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEntry {
    /// The chunk.
    pub id: ChunkId,
    /// Bytes that it has in the pack.
    pub sealed_length: u32,
    /// Bytes that it has when opened.
    pub plain_length: u32,
}

impl PackEntry {
    /// Checks what holds for every chunk: it is not empty, not above the largest chunk, and sealing made it longer by
    /// no more than the overhead.
    ///
    /// # Errors
    /// [`FormatError::Field`].
    pub fn check(&self, structure: &'static str) -> Result<(), FormatError> {
        if self.plain_length == 0 || self.plain_length > super::config::Chunking::MAX {
            return Err(FormatError::field(structure, "plain length", "1 to 8388608", self.plain_length.into()));
        }
        if self.sealed_length <= CHUNK_OVERHEAD || self.sealed_length > self.plain_length + CHUNK_OVERHEAD {
            let expected = "30 to 29 more than the plain length";
            return Err(FormatError::field(structure, "sealed length", expected, self.sealed_length.into()));
        }
        Ok(())
    }

    /// Appends the entry's 40 bytes.
    pub fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.id.as_bytes()).u32(self.sealed_length).u32(self.plain_length);
    }

    /// Reads and checks an entry.
    ///
    /// # Errors
    /// As [`PackEntry::check`].
    pub fn decode(structure: &'static str, bytes: &[u8; ENTRY_LENGTH]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let entry = Self {
            id: ChunkId::new(reader.array("chunk id").within(structure)?),
            sealed_length: reader.u32("sealed length").within(structure)?,
            plain_length: reader.u32("plain length").within(structure)?,
        };
        entry.check(structure)?;
        Ok(entry)
    }
}

/// The chunks of a pack in their order, with the offset of each.
pub fn with_offsets(entries: &[PackEntry]) -> impl Iterator<Item = (PackOffset, &PackEntry)> {
    entries.iter().scan(PACK_HEADER_LENGTH as u64, |next, entry| {
        let offset = PackOffset(*next);
        *next += u64::from(entry.sealed_length);
        Some((offset, entry))
    })
}

/// Encodes a pack's header.
pub fn encode_header(repository: RepositoryId, kind: PackKind) -> [u8; PACK_HEADER_LENGTH] {
    let mut header = [0; PACK_HEADER_LENGTH];
    header[..HEADER_LENGTH].copy_from_slice(&Header::new(repository).encode(Magic::Pack));
    header[HEADER_LENGTH] = kind as u8;
    header
}

/// Reads a pack's header.
///
/// # Errors
/// [`FormatError`]: another kind or version, reserved bytes that are not zero, too few bytes.
pub fn decode_header(bytes: &[u8]) -> Result<(RepositoryId, PackKind), FormatError> {
    let mut reader = Reader::new(bytes);
    let header = Header::decode(Magic::Pack, &mut reader)?;
    let kind = PackKind::decode(reader.u8("pack kind").within(STRUCTURE)?, STRUCTURE)?;
    let reserved = reader.bytes(PACK_HEADER_LENGTH - HEADER_LENGTH - 1, "reserved").within(STRUCTURE)?;
    match reserved.iter().find(|byte| **byte != 0) {
        Some(byte) => Err(FormatError::field(STRUCTURE, "reserved", "zeros", u64::from(*byte))),
        None => Ok((header.repository, kind)),
    }
}

/// The table of a pack's chunks, as the trailer seals it.
pub fn encode_listing(entries: &[PackEntry]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    entries.iter().for_each(|entry| entry.encode(&mut writer));
    writer.into_bytes()
}

/// Reads an opened trailer.
///
/// # Errors
/// [`FormatError`]: a count that does not fit the bytes, an entry that cannot be.
pub fn decode_listing(bytes: &[u8]) -> Result<Vec<PackEntry>, FormatError> {
    const TRAILER: &str = "pack trailer";
    let mut reader = Reader::new(bytes);
    let count = reader.u32("count").within(TRAILER)?;
    let table = reader.table::<ENTRY_LENGTH>(count, "entries").within(TRAILER)?;
    let entries = table.iter().map(|entry| PackEntry::decode(TRAILER, entry)).collect::<Result<_, _>>()?;
    reader.finish().within(TRAILER)?;
    Ok(entries)
}

/// Where the parts of a pack lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Bytes of header and chunks: where the trailer begins.
    pub body_length: u64,
    /// Bytes of the sealed trailer.
    pub trailer_length: u32,
    /// Bytes of parity behind the trailer.
    pub parity_length: u64,
}

impl Footer {
    /// The footer's bytes.
    pub fn encode(&self) -> [u8; FOOTER_LENGTH] {
        let mut writer = Writer::new();
        writer.u64(self.body_length).u32(self.trailer_length).u32(0).u64(self.parity_length).bytes(FOOTER_MAGIC);
        let mut footer = [0; FOOTER_LENGTH];
        footer.copy_from_slice(&writer.into_bytes());
        footer
    }

    /// Reads the last bytes of a pack of `pack_size` bytes and checks that the parts add up.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8; FOOTER_LENGTH], pack_size: u64) -> Result<Self, FormatError> {
        const FOOTER: &str = "pack footer";
        let mut reader = Reader::new(bytes);
        let body_length = reader.u64("body length").within(FOOTER)?;
        let trailer_length = reader.u32("trailer length").within(FOOTER)?;
        let parity_kind = reader.u32("parity kind").within(FOOTER)?;
        let parity_length = reader.u64("parity length").within(FOOTER)?;
        let magic = reader.array::<8>("magic").within(FOOTER)?;
        if &magic != FOOTER_MAGIC {
            return Err(FormatError::Magic {
                structure: FOOTER,
                expected: crate::ids::to_hex(FOOTER_MAGIC),
                found: crate::ids::to_hex(&magic),
            });
        }
        if parity_kind != 0 {
            return Err(FormatError::field(FOOTER, "parity kind", "0 (none)", parity_kind.into()));
        }
        if parity_length != 0 {
            return Err(FormatError::field(FOOTER, "parity length", "0 without parity", parity_length));
        }
        let sum = body_length
            .checked_add(u64::from(trailer_length))
            .and_then(|sum| sum.checked_add(parity_length))
            .and_then(|sum| sum.checked_add(FOOTER_LENGTH as u64));
        if sum != Some(pack_size) || body_length < PACK_HEADER_LENGTH as u64 {
            return Err(FormatError::field(FOOTER, "body length", "parts that add up to the pack's size", body_length));
        }
        Ok(Self { body_length, trailer_length, parity_length })
    }
}

/// Checks that the chunks of `entries` fill the body of a pack exactly.
///
/// # Errors
/// [`FormatError::Field`] with the sum that the entries give.
pub fn check_body(entries: &[PackEntry], footer: &Footer) -> Result<(), FormatError> {
    let sum = entries.iter().map(|entry| u64::from(entry.sealed_length)).sum::<u64>() + PACK_HEADER_LENGTH as u64;
    if sum == footer.body_length {
        Ok(())
    } else {
        Err(FormatError::field("pack trailer", "sum of sealed lengths", "the body length of the footer", sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(byte: u8, plain_length: u32) -> PackEntry {
        PackEntry { id: ChunkId::new([byte; 32]), sealed_length: plain_length + 5, plain_length }
    }

    #[test]
    fn listings_round_trip_with_their_offsets() {
        let entries = vec![entry(1, 100), entry(2, 200)];
        assert_eq!(decode_listing(&encode_listing(&entries)), Ok(entries.clone()));
        let offsets: Vec<u64> = with_offsets(&entries).map(|(offset, _)| offset.0).collect();
        assert_eq!(offsets, [64, 169]);
        let footer = Footer { body_length: 374, trailer_length: 112, parity_length: 0 };
        assert_eq!(check_body(&entries, &footer), Ok(()));
        assert_eq!(Footer::decode(&footer.encode(), 518), Ok(footer));
        assert!(Footer::decode(&footer.encode(), 519).is_err());
        assert!(check_body(&entries[..1], &footer).is_err());
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_without_allocating_for_it() {
        let mut bytes = encode_listing(&[entry(1, 100)]);
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decode_listing(&bytes), Err(FormatError::Layout { .. })));
    }

    #[test]
    fn entries_that_cannot_be_are_refused() {
        for (sealed_length, plain_length) in [(30, 0), (29, 1), (31, 1), (30, (8 << 20) + 1), (u32::MAX, 8 << 20)] {
            let bad = PackEntry { sealed_length, plain_length, ..entry(1, 1) };
            assert!(matches!(decode_listing(&encode_listing(&[bad])), Err(FormatError::Field { .. })), "{bad:?}");
        }
    }

    #[test]
    fn headers_round_trip_and_reserved_bytes_stay_zero() {
        let mut header = encode_header(RepositoryId::new([5; 16]), PackKind::Meta);
        assert_eq!(decode_header(&header), Ok((RepositoryId::new([5; 16]), PackKind::Meta)));
        header[63] = 1;
        assert!(matches!(decode_header(&header), Err(FormatError::Field { field: "reserved", .. })));
    }

    #[test]
    fn a_footer_whose_parts_overflow_is_refused() {
        let footer = Footer { body_length: u64::MAX, trailer_length: u32::MAX, parity_length: 0 };
        assert!(Footer::decode(&footer.encode(), 100).is_err());
    }
}
