//! A new VHDX, composed over a disk: where its metadata and the disk's blocks go.
//!
//! Always true here:
//! - The file is: header section, an empty log of 1 MiB, metadata, block table, then the blocks that the file has, in the
//!   order of the disk and without gaps. So it can be written from front to back.
//! - A block is there as a whole or not at all, also the last one, of which the disk may need only a part.
//! - The same parameters and data ranges give the same file: identifiers are the caller's.

use std::ops::Range;
use std::sync::Arc;

use super::super::container::{Composed, FileOffset};
use super::bat::{entry_count, present};
use super::error::VhdxError;
use super::header::{HEADERS, Header, encode_file_type};
use super::metadata::{self, Metadata};
use super::{BLOCK_SIZES, Guid, HEADER_SECTION, MAX_DISK_SIZE, MIB, REGION_TABLES, SECTORS_PER_BITMAP, region};
use crate::disk::DiskOffset;

/// The block size that Windows takes for a dynamic VHDX, in bytes.
pub const DEFAULT_BLOCK_SIZE: u32 = 32 << 20;

/// The log is empty; its place is there for who writes to the file later.
const LOG: (u64, u32) = (HEADER_SECTION, 1 << 20);
const METADATA: (u64, u32) = (2 * MIB, 1 << 20);
const TABLE: u64 = 3 * MIB;
/// Bytes of the block table that are one piece of metadata; pieces of zeros are left out.
const TABLE_PIECE: usize = 64 << 10;

/// What tells a file from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VhdxIdentity {
    /// The program that makes the file; 255 UTF-16 units are kept (§2.2.1).
    pub creator: String,
    /// The disk's identifier (§2.6.2.3).
    pub disk_id: Guid,
    /// The identity of the file's content, new for each file (§2.2.2).
    pub file_write_id: Guid,
    /// The identity of the disk's content, which children name (§2.2.2).
    pub data_write_id: Guid,
}

/// How a new VHDX is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VhdxParameters {
    /// Bytes of a block: a power of two from 1 MiB to 256 MiB; [`DEFAULT_BLOCK_SIZE`] as a rule.
    pub block_size: u32,
    /// Whether every block is in the file, and not only those with data.
    pub is_fixed: bool,
    /// Bytes of a sector, as the disk is addressed: 512 or 4096.
    pub logical_sector_size: u32,
    /// Bytes of a sector, as the disk is said to write: 512 or 4096.
    pub physical_sector_size: u32,
    /// What tells the file from all others.
    pub identity: VhdxIdentity,
}

/// Blocks that follow one another on the disk and in the file.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// The first block on the disk.
    first: u64,
    /// How many blocks.
    count: u64,
    /// Where the first one is in the file.
    place: u64,
}

/// Where everything of a new VHDX goes.
#[derive(Debug)]
pub struct VhdxLayout {
    disk_size: u64,
    block_size: u64,
    file_size: u64,
    metadata: Vec<(FileOffset, Arc<[u8]>)>,
    stretches: Vec<Stretch>,
}

impl VhdxLayout {
    /// Lays out a file for a disk of `size` bytes. `data` says which bytes of the disk may be anything but zeros, as
    /// ranges in rising order that may touch; it is not asked for a fixed file.
    ///
    /// # Errors
    /// [`VhdxError::Unfit`] where the format has no such disk: sizes of 0, above 64 TiB or not a multiple of the logical
    /// sector, other block and sector sizes, and ranges that are not in order or not on the disk.
    pub fn new(
        size: u64,
        data: impl IntoIterator<Item = Range<u64>>,
        parameters: VhdxParameters,
    ) -> Result<Self, VhdxError> {
        let VhdxParameters { block_size, is_fixed, logical_sector_size, physical_sector_size, identity } = parameters;
        let unfit = |what, expected, found| Err(VhdxError::Unfit { what, expected, found });
        if !BLOCK_SIZES.contains(&block_size) || !block_size.is_power_of_two() {
            return unfit("a block size of", "a power of two from 1 MiB to 256 MiB", u64::from(block_size));
        }
        for sector in [logical_sector_size, physical_sector_size] {
            if !matches!(sector, 512 | 4096) {
                return unfit("a sector size of", "512 or 4096 bytes", u64::from(sector));
            }
        }
        if size == 0 || size > MAX_DISK_SIZE {
            return unfit("a disk size of", "at least one sector and at most 64 TiB", size);
        }
        if !size.is_multiple_of(u64::from(logical_sector_size)) {
            let expected =
                if logical_sector_size == 512 { "a multiple of 512 bytes" } else { "a multiple of 4096 bytes" };
            return unfit("a disk size of", expected, size);
        }

        let block = u64::from(block_size);
        let blocks = size.div_ceil(block);
        let chunk = SECTORS_PER_BITMAP * u64::from(logical_sector_size) / block;
        let entries = entry_count(blocks, chunk, false);
        // At most 2^26 entries and as many MiB divided by the chunk: 32 bits hold it.
        let table = (TABLE, (entries * 8).next_multiple_of(MIB) as u32);
        let first_place = table.0 + u64::from(table.1);
        let stretches = if is_fixed {
            vec![Stretch { first: 0, count: blocks, place: first_place }]
        } else {
            stretches(size, data, block, first_place)?
        };
        let file_size = stretches.last().map_or(first_place, |last| last.place + last.count * block);

        let log_and_ids = |number| Header::encode_new(number, identity.file_write_id, identity.data_write_id, LOG);
        let regions = region::encode(table, METADATA);
        let items = metadata::encode(&Metadata {
            block_size,
            is_fixed,
            disk_size: size,
            disk_id: identity.disk_id,
            logical_sector: logical_sector_size,
            physical_sector: physical_sector_size,
            locator: None,
        });
        let mut pieces = vec![
            (FileOffset(0), encode_file_type(&identity.creator)),
            // Both hold, and the second is the current one.
            (HEADERS[0], log_and_ids(1)),
            (HEADERS[1], log_and_ids(2)),
            (REGION_TABLES[0], regions.clone()),
            (REGION_TABLES[1], regions),
            (FileOffset(METADATA.0), items),
        ];
        pieces.extend(table_pieces(&stretches, block, chunk));
        let metadata = pieces.into_iter().map(|(at, bytes)| (at, Arc::from(bytes))).collect();
        Ok(Self { disk_size: size, block_size: block, file_size, metadata, stretches })
    }
}

/// The blocks that hold data, with their places.
fn stretches(
    size: u64,
    data: impl IntoIterator<Item = Range<u64>>,
    block: u64,
    first_place: u64,
) -> Result<Vec<Stretch>, VhdxError> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut place, mut before) = (first_place, 0);
    for range in data {
        if range.start < before || range.end < range.start || range.end > size {
            let expected = "ranges in rising order, up to the disk's end";
            return Err(VhdxError::Unfit { what: "data from offset", expected, found: range.start });
        }
        before = range.end;
        if range.is_empty() {
            continue;
        }
        // The block where the range begins may be there already.
        let there = stretches.last().map_or(0, |last| last.first + last.count);
        let (first, end) = ((range.start / block).max(there), range.end.div_ceil(block));
        let Some(count) = end.checked_sub(first).filter(|count| *count > 0) else { continue };
        match stretches.last_mut() {
            Some(last) if first == there => last.count += count,
            _ => stretches.push(Stretch { first, count, place }),
        }
        place += count * block;
    }
    Ok(stretches)
}

/// The block table in pieces, without those that are all zeros.
fn table_pieces(stretches: &[Stretch], block: u64, chunk: u64) -> Vec<(FileOffset, Vec<u8>)> {
    let mut pieces: Vec<(FileOffset, Vec<u8>)> = Vec::new();
    for stretch in stretches {
        for ahead in 0..stretch.count {
            let number = stretch.first + ahead;
            let at = (number + number / chunk) * 8;
            let inside = (at % TABLE_PIECE as u64) as usize;
            let start = FileOffset(TABLE + at - inside as u64);
            if pieces.last().is_none_or(|(last, _)| *last != start) {
                pieces.push((start, Vec::new()));
            }
            if let Some((_, bytes)) = pieces.last_mut() {
                bytes.resize(inside, 0);
                bytes.extend_from_slice(&present(stretch.place + ahead * block).to_le_bytes());
            }
        }
    }
    pieces
}

impl Composed for VhdxLayout {
    fn file_size(&self) -> u64 {
        self.file_size
    }

    fn metadata(&self) -> &[(FileOffset, Arc<[u8]>)] {
        &self.metadata
    }

    /// Behind the disk's end there is nothing, for 0 bytes.
    fn place(&self, offset: DiskOffset) -> (Option<FileOffset>, u64) {
        let Some(left) = self.disk_size.checked_sub(offset.0).filter(|left| *left > 0) else { return (None, 0) };
        let block = offset.0 / self.block_size;
        let next = self.stretches.partition_point(|stretch| stretch.first <= block);
        if let Some(stretch) = next.checked_sub(1).and_then(|index| self.stretches.get(index)) {
            let inside = offset.0 - stretch.first * self.block_size;
            let length = stretch.count * self.block_size;
            if inside < length {
                return (Some(FileOffset(stretch.place + inside)), (length - inside).min(left));
            }
        }
        let gap = self.stretches.get(next).map_or(left, |stretch| stretch.first * self.block_size - offset.0);
        (None, gap.min(left))
    }
}
