//! Laying a disk out as a new VHD: footer, header, table and bitmaps, and where each block goes.
//!
//! Always true here:
//! - Blocks lie in the order of the disk, one behind the other, so that the file is written in one pass.
//! - The size field is the disk's size to the byte. What makes QEMU go by it is the name of the creator, see
//!   [`CREATOR_APPLICATION`].
//! - Memory is that of the table and of a place for each block: all bitmaps are alike and share their bytes.

use super::super::container::{Composed, FileOffset};
use super::error::VhdError;
use super::footer::{FOOTER_LENGTH, Footer, Kind, MAX_SIZE, NO_DATA_OFFSET, SECTOR};
use super::geometry::Geometry;
use super::header::{HEADER_LENGTH, Header};
use super::table::{MAX_TABLE, SECTORS_PER_BYTE, UNUSED, bitmap_length};
use crate::disk::DiskOffset;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a block where nothing else is asked for ("Dynamic Disk Header Format"). Windows knows 512 KiB besides.
pub const DEFAULT_BLOCK_SIZE: u32 = 2 << 20;

/// Who made the file, where no other is named: Windows.
///
/// Readers decide by this name whether the disk's size is the size field or what the geometry makes of it, which is up to
/// some megabytes less. Windows, Hyper-V, VirtualBox and libvhdi always take the field. QEMU before 10.0 takes it for the
/// names that it knows (`win `, `qem2`, `d2v `, `tap`, `CTXS`) and the geometry for all others, or the field when the
/// geometry is the largest there is; QEMU from 10.0 on takes the geometry for `vpc ` and `qemu` alone. A name of our own
/// would lose the end of the disk there, and a false geometry is not what the specification computes; so the name is that
/// of the writer whose rules this file follows.
const CREATOR_APPLICATION: [u8; 4] = *b"win ";
/// Windows 10.
const CREATOR_VERSION: u32 = 0x000a_0000;
/// The only system besides the Macintosh that the specification has.
const CREATOR_HOST_OS: [u8; 4] = *b"Wi2k";

/// Names of creators with which every reader goes by the size field, see [`CREATOR_APPLICATION`].
const SIZE_COUNTS: [[u8; 4]; 5] = [*b"win ", *b"qem2", *b"d2v ", *b"tap\0", *b"CTXS"];

/// What a footer says of the program that made the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VhdCreator {
    application: [u8; 4],
    version: u32,
    host_os: [u8; 4],
}

impl VhdCreator {
    const WINDOWS: Self = Self { application: CREATOR_APPLICATION, version: CREATOR_VERSION, host_os: CREATOR_HOST_OS };

    /// A creator that a new file may name: `None` where a reader would take the disk's size from the geometry because of it.
    pub fn whose_size_counts(application: [u8; 4], version: u32, host_os: [u8; 4]) -> Option<Self> {
        SIZE_COUNTS.contains(&application).then_some(Self { application, version, host_os })
    }
}

/// What tells a VHD from others, and is given by who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VhdIdentity {
    /// The unique identifier. No two disks that are in use at once may share one.
    pub identifier: [u8; 16],
    /// When it was made: seconds since 2000-01-01 UTC.
    pub time_stamp: u32,
    /// The geometry, where it must be another one's; that which the specification computes otherwise.
    pub geometry: Option<Geometry>,
    /// The program that made it, where it must be another one's; Windows otherwise.
    pub creator: Option<VhdCreator>,
}

/// A new VHD over a disk.
#[derive(Debug)]
pub struct VhdLayout {
    size: u64,
    file_size: u64,
    metadata: Vec<(FileOffset, Arc<[u8]>)>,
    blocks: Option<Blocks>,
}

#[derive(Debug)]
struct Blocks {
    /// As in the file: the sector of each block's bitmap.
    table: Vec<u32>,
    size: u64,
    bitmap_length: u64,
}

impl VhdLayout {
    /// A fixed VHD of a disk of `size` bytes: the disk, then the footer.
    ///
    /// # Errors
    /// [`VhdError::TooLarge`]; [`VhdError::Compose`] for a size of 0 or with a part of a sector.
    pub fn fixed(size: u64, identity: VhdIdentity) -> Result<Self, VhdError> {
        let footer = footer(size, identity, Kind::Fixed)?;
        Ok(Self {
            size,
            file_size: size + FOOTER_LENGTH as u64,
            metadata: vec![(FileOffset(size), Arc::new(footer.encode()))],
            blocks: None,
        })
    }

    /// A dynamic VHD of a disk of `size` bytes that keeps the blocks in which `allocated` has any byte. The ranges rise
    /// and do not overlap. `block_size` is in bytes, see [`DEFAULT_BLOCK_SIZE`].
    ///
    /// # Errors
    /// [`VhdError::TooLarge`]; [`VhdError::Compose`] for a size of 0 or with a part of a sector, a block size that is no
    /// power of two from 512 on or gives more than 2^24 blocks, and ranges that do not rise or leave the disk.
    pub fn dynamic(
        size: u64,
        allocated: impl IntoIterator<Item = Range<u64>>,
        block_size: u32,
        identity: VhdIdentity,
    ) -> Result<Self, VhdError> {
        let footer = footer(size, identity, Kind::Dynamic)?;
        let wrong = |what, expected: &str, found| VhdError::Compose { what, expected: expected.into(), found };
        if !block_size.is_power_of_two() || u64::from(block_size) < SECTOR {
            return Err(wrong("the block size", "a power of two from 512 on", block_size.into()));
        }
        let block = u64::from(block_size);
        let count = size.div_ceil(block);
        if count > MAX_TABLE {
            return Err(wrong("the number of blocks", "one of at most 16777216, by larger blocks,", count));
        }
        let entries = usize::try_from(count).unwrap_or(usize::MAX);
        let header_at = FOOTER_LENGTH as u64;
        let table_at = header_at + HEADER_LENGTH as u64;
        let table_length = (count * 4).next_multiple_of(SECTOR);

        // All bits are set, as Windows and QEMU set them: every sector of a block that is here is valid, zeros too, and a
        // reader that skips those with a clear bit skips none. Bits behind the last one are padding.
        let bits = usize::try_from((block / SECTOR).div_ceil(SECTORS_PER_BYTE)).unwrap_or(usize::MAX);
        let mut bitmap = vec![0xff; bits];
        // Blocks of less than eight sectors.
        if block < SECTORS_PER_BYTE * SECTOR {
            bitmap.fill(!(0xff_u8 >> (block / SECTOR)));
        }
        let bitmap: Arc<[u8]> = bitmap.into();
        let mut bitmaps = Vec::new();
        let mut table = vec![UNUSED; entries];
        let mut next = table_at + table_length;
        let mut end = 0;
        for range in allocated {
            if range.start < end || range.end > size || range.start > range.end {
                return Err(wrong("the start of a range of data", "one behind the last and on the disk", range.start));
            }
            end = range.end;
            if range.is_empty() {
                continue;
            }
            for index in range.start / block..range.end.div_ceil(block) {
                let entry = table.get_mut(usize::try_from(index).unwrap_or(usize::MAX));
                if let Some(entry) = entry.filter(|entry| **entry == UNUSED) {
                    *entry = match u32::try_from(next / SECTOR) {
                        Ok(sector) if sector != UNUSED => sector,
                        _ => return Err(wrong("the place of a block", "one in the first 2 TiB of the file", next)),
                    };
                    bitmaps.push((FileOffset(next), Arc::clone(&bitmap)));
                    next += bitmap_length(block) + block;
                }
            }
        }

        let header = Header::new(FileOffset(header_at), FileOffset(table_at), entries as u32, block_size);
        let mut table_bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        table_bytes.resize(usize::try_from(table_length).unwrap_or(usize::MAX), 0xff);
        let footer: Arc<[u8]> = Arc::new(footer.encode());
        let mut metadata: Vec<(FileOffset, Arc<[u8]>)> = Vec::with_capacity(bitmaps.len() + 4);
        metadata.push((FileOffset(0), Arc::clone(&footer)));
        metadata.push((FileOffset(header_at), Arc::new(header.encode())));
        metadata.push((FileOffset(table_at), table_bytes.into()));
        metadata.append(&mut bitmaps);
        metadata.push((FileOffset(next), footer));
        let blocks = Blocks { table, size: block, bitmap_length: bitmap_length(block) };
        Ok(Self { size, file_size: next + FOOTER_LENGTH as u64, metadata, blocks: Some(blocks) })
    }
}

impl Composed for VhdLayout {
    fn file_size(&self) -> u64 {
        self.file_size
    }

    fn metadata(&self) -> &[(FileOffset, Arc<[u8]>)] {
        &self.metadata
    }

    /// Beyond the end of the disk there are no bytes and no place.
    fn place(&self, offset: DiskOffset) -> (Option<FileOffset>, u64) {
        let left = self.size.saturating_sub(offset.0);
        let Some(blocks) = &self.blocks else {
            return ((left > 0).then_some(FileOffset(offset.0)), left);
        };
        let (index, inside) = (offset.0 / blocks.size, offset.0 % blocks.size);
        let rest = usize::try_from(index).ok().and_then(|index| blocks.table.get(index..)).unwrap_or_default();
        match rest.first() {
            Some(entry) if *entry != UNUSED => {
                let data = u64::from(*entry) * SECTOR + blocks.bitmap_length;
                (Some(FileOffset(data + inside)), left.min(blocks.size - inside))
            }
            _ => {
                let unused = rest.iter().take_while(|entry| **entry == UNUSED).count() as u64;
                (None, left.min((unused * blocks.size).saturating_sub(inside)))
            }
        }
    }
}

fn footer(size: u64, identity: VhdIdentity, kind: Kind) -> Result<Footer, VhdError> {
    if size > MAX_SIZE {
        return Err(VhdError::TooLarge { size });
    }
    if size == 0 || !size.is_multiple_of(SECTOR) {
        let expected = "a number of whole sectors of 512 bytes".into();
        return Err(VhdError::Compose { what: "the size of the disk", expected, found: size });
    }
    let creator = identity.creator.unwrap_or(VhdCreator::WINDOWS);
    Ok(Footer {
        temporary: false,
        data_offset: if kind == Kind::Fixed { NO_DATA_OFFSET } else { FOOTER_LENGTH as u64 },
        time_stamp: identity.time_stamp,
        creator_application: creator.application,
        creator_version: creator.version,
        creator_host_os: creator.host_os,
        original_size: size,
        size,
        geometry: identity.geometry.unwrap_or_else(|| Geometry::of(size / SECTOR)),
        kind,
        identifier: identity.identifier,
        saved_state: false,
    })
}
