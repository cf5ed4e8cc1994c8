//! The block allocation table: where each block of the disk lies ([MS-VHDX] §2.5).
//!
//! Always true here:
//! - The table is kept as stretches of blocks of one kind, which follow one another in the file where they are there;
//!   so an empty or a freshly written disk of 64 TiB is one stretch, and no table takes more than [`RUN_LIMIT`] of them.
//! - Every block that is there lies in the file, behind the header section, and on nothing else; a block that is there
//!   in part has a sector bitmap.

use super::super::container::FileOffset;
use super::error::{VhdxError, VhdxWarning};
use super::metadata::Metadata;
use super::region::{Occupied, Regions};
use super::replayed::ReplayedFile;
use super::{HEADER_SECTION, MIB, SECTORS_PER_BITMAP};

/// Most stretches of blocks that are kept for a disk and all its parents; 128 MiB of memory. A disk whose blocks lie
/// in no order at all has one for each block: that is 16 TiB in blocks of 2 MiB.
pub const RUN_LIMIT: usize = 8 << 20;

const ENTRY_LENGTH: u64 = 8;
/// Bits of an entry that are its state.
const STATE: u64 = 7;
/// Bits of an entry that must be zeros.
const RESERVED: u64 = (MIB - 1) & !STATE;
/// Bytes of the table that are read at once; a multiple of an entry.
const PIECE: u64 = 64 << 10;

const NOT_PRESENT: u64 = 0;
const UNDEFINED: u64 = 1;
const ZERO: u64 = 2;
const UNMAPPED: u64 = 3;
const FULLY_PRESENT: u64 = 6;
const PARTIALLY_PRESENT: u64 = 7;
const BITMAP_PRESENT: u64 = 6;

const BLOCK: &str = "a block of the disk";
const BITMAP: &str = "a sector bitmap";

/// Where the blocks of a stretch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nowhere: they read as zeros. So do blocks whose content the specification leaves open (§2.5.1.1), as in QEMU.
    Zero,
    /// In the parent.
    Parent,
    /// In the file.
    File,
    /// In the file, but for the sectors that the bitmap leaves to the parent.
    Partial,
}

/// Blocks of one kind; those in the file lie there one behind the other.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Where the first block lies in the file; 0 for kinds that are not there.
    place: u64,
    /// The first block. At most 64 TiB in blocks of 1 MiB fit a disk.
    first: u32,
    kind: Kind,
}

/// Where every block of a disk lies.
#[derive(Debug)]
pub(super) struct BlockMap {
    disk_size: u64,
    block_size: u64,
    /// Blocks that share a sector bitmap.
    chunk: u64,
    blocks: u64,
    stretches: Vec<Stretch>,
    /// Where the sector bitmap of each chunk lies; 0 where there is none. Empty for a disk without a parent.
    bitmaps: Vec<u64>,
    /// Where the table is.
    table: FileOffset,
}

impl BlockMap {
    /// Reads the table, and checks it against the file and against all that lies in it. `limit` is how many stretches
    /// may be kept.
    ///
    /// # Errors
    /// [`VhdxError`].
    pub(super) fn read(
        file: &ReplayedFile,
        metadata: &Metadata,
        regions: &Regions,
        limit: usize,
        warnings: &mut Vec<VhdxWarning>,
    ) -> Result<Self, VhdxError> {
        let block_size = u64::from(metadata.block_size);
        let mut map = Self {
            disk_size: metadata.disk_size,
            block_size,
            chunk: SECTORS_PER_BITMAP * u64::from(metadata.logical_sector) / block_size,
            blocks: metadata.disk_size.div_ceil(block_size),
            stretches: Vec::new(),
            bitmaps: Vec::new(),
            table: regions.bat.start,
        };
        let has_parent = metadata.locator.is_some();
        let entries = entry_count(map.blocks, map.chunk, has_parent);
        if entries * ENTRY_LENGTH > regions.bat.length {
            let expected = format_args!("{} bytes for {entries} entries", entries * ENTRY_LENGTH);
            let what = "the length of the block allocation table";
            return Err(VhdxError::wrong(what, map.table, expected, regions.bat.length));
        }
        map.parse(file, entries, has_parent, limit, warnings)?;
        map.check_overlaps(&regions.occupied)?;
        Ok(map)
    }

    fn parse(
        &mut self,
        file: &ReplayedFile,
        entries: u64,
        has_parent: bool,
        limit: usize,
        warnings: &mut Vec<VhdxWarning>,
    ) -> Result<(), VhdxError> {
        let mut is_warned = false;
        // The first block of the present chunk that is there in part, and so needs a bitmap.
        let mut partial = None;
        let mut block = 0_u64;
        let mut index = 0;
        while index < entries {
            let at = FileOffset(self.table.0 + index * ENTRY_LENGTH);
            let length = PIECE.min((entries - index) * ENTRY_LENGTH);
            let bytes = file.structure("the block allocation table", at, length as usize)?;
            for entry in bytes.as_chunks::<8>().0 {
                let entry = u64::from_le_bytes(*entry);
                let at = FileOffset(self.table.0 + index * ENTRY_LENGTH);
                let is_bitmap = index % (self.chunk + 1) == self.chunk;
                index += 1;
                if !is_bitmap {
                    // A differencing disk's table goes on to the end of its last chunk.
                    if block < self.blocks {
                        self.push_block(file.size(), block, entry, at, has_parent, limit)?;
                        if entry & STATE == PARTIALLY_PRESENT {
                            partial = partial.or(Some(at));
                        }
                    }
                    block += 1;
                } else if has_parent {
                    self.push_bitmap(file.size(), entry, at, partial.take())?;
                } else if entry != 0 && !is_warned {
                    is_warned = true;
                    warnings.push(VhdxWarning::BitmapWithoutParent { offset: at, found: entry });
                }
            }
        }
        Ok(())
    }

    fn push_block(
        &mut self,
        file_size: u64,
        block: u64,
        entry: u64,
        at: FileOffset,
        has_parent: bool,
        limit: usize,
    ) -> Result<(), VhdxError> {
        let kind = match entry & STATE {
            NOT_PRESENT if has_parent => Kind::Parent,
            NOT_PRESENT | UNDEFINED | ZERO | UNMAPPED => Kind::Zero,
            FULLY_PRESENT => Kind::File,
            PARTIALLY_PRESENT if has_parent => Kind::Partial,
            state => {
                let expected = if has_parent { "0, 1, 2, 3, 6 or 7" } else { "0, 1, 2, 3 or 6, without a parent" };
                return Err(VhdxError::wrong("the state of a block", at, expected, state));
            }
        };
        let is_in_file = matches!(kind, Kind::File | Kind::Partial);
        let place = if is_in_file { check_place(BLOCK, entry, at, self.needed(block), file_size)? } else { 0 };
        if let Some(last) = self.stretches.last()
            && last.kind == kind
            && (!is_in_file || last.place.checked_add((block - u64::from(last.first)) * self.block_size) == Some(place))
        {
            return Ok(());
        }
        if self.stretches.len() >= limit {
            let limit = format!("{RUN_LIMIT} stretches of blocks");
            return Err(VhdxError::TooLarge { what: "the block allocation table", offset: self.table, limit });
        }
        // At most 2^26 blocks fit a disk.
        self.stretches.push(Stretch { place, first: block as u32, kind });
        Ok(())
    }

    fn push_bitmap(
        &mut self,
        file_size: u64,
        entry: u64,
        at: FileOffset,
        needed_by: Option<FileOffset>,
    ) -> Result<(), VhdxError> {
        let place = match (entry & STATE, needed_by) {
            (BITMAP_PRESENT, _) => check_place(BITMAP, entry, at, MIB, file_size)?,
            (NOT_PRESENT, None) => 0,
            (NOT_PRESENT, Some(by)) => {
                let expected = format_args!("{BITMAP_PRESENT}, for the block at offset {} is there in part", by.0);
                return Err(VhdxError::wrong("the state of a sector bitmap", at, expected, NOT_PRESENT));
            }
            (state, _) => return Err(VhdxError::wrong("the state of a sector bitmap", at, "0 or 6", state)),
        };
        self.bitmaps.push(place);
        Ok(())
    }

    /// Bytes of a block that belong to the disk; of the last one only these need to be in the file.
    fn needed(&self, block: u64) -> u64 {
        self.block_size.min(self.disk_size - block * self.block_size)
    }

    /// The stretch's first block, and the one behind its last.
    fn blocks_of(&self, index: usize) -> std::ops::Range<u64> {
        let end = self.stretches.get(index + 1).map_or(self.blocks, |next| u64::from(next.first));
        u64::from(self.stretches[index].first)..end
    }

    /// Bytes of the file that a stretch takes.
    fn place_of(&self, index: usize) -> std::ops::Range<u64> {
        let blocks = self.blocks_of(index);
        let start = self.stretches[index].place;
        let last = blocks.end - 1;
        start..start + (last - blocks.start) * self.block_size + self.needed(last)
    }

    /// The block of a stretch that covers a byte of the file, as something that has a place.
    fn occupied(&self, index: usize, byte: u64) -> Occupied {
        let (blocks, place) = (self.blocks_of(index), self.place_of(index));
        let ahead = byte.saturating_sub(place.start) / self.block_size;
        let block = (blocks.start + ahead).min(blocks.end - 1);
        let start = place.start + (block - blocks.start) * self.block_size;
        let named_at = FileOffset(self.table.0 + (block + block / self.chunk) * ENTRY_LENGTH);
        Occupied { start, end: start + self.needed(block), what: BLOCK, named_at }
    }

    /// Checks that no block and no bitmap lies on anything else.
    fn check_overlaps(&self, others: &[Occupied]) -> Result<(), VhdxError> {
        let mut others = others.to_vec();
        others.extend(self.bitmaps.iter().enumerate().filter(|(_, place)| **place != 0).map(|(chunk, place)| {
            let entry = (chunk as u64 + 1) * (self.chunk + 1) - 1;
            let named_at = FileOffset(self.table.0 + entry * ENTRY_LENGTH);
            Occupied { start: *place, end: *place + MIB, what: BITMAP, named_at }
        }));
        others.sort_by_key(|place| place.start);
        if let Some(pair) = others.array_windows().find(|pair: &&[_; 2]| pair[1].start < pair[0].end) {
            return Err(pair[1].overlap(&pair[0]));
        }
        // Indices are a quarter of what the stretches take.
        let is_there = |stretch: &Stretch| matches!(stretch.kind, Kind::File | Kind::Partial);
        let mut order: Vec<u32> =
            (0_u32..).zip(&self.stretches).filter(|(_, stretch)| is_there(stretch)).map(|(index, _)| index).collect();
        order.sort_unstable_by_key(|index| self.stretches[*index as usize].place);
        let mut before: Option<usize> = None;
        let mut others = others.iter().peekable();
        for index in order.into_iter().map(|index| index as usize) {
            let place = self.place_of(index);
            if let Some(before) = before {
                let end = self.place_of(before).end;
                if end > place.start {
                    let other = self.occupied(before, place.start);
                    return Err(self.occupied(index, place.start).overlap(&other));
                }
            }
            before = Some(index);
            while others.next_if(|other| other.end <= place.start).is_some() {}
            if let Some(other) = others.peek().filter(|other| other.start < place.end) {
                return Err(self.occupied(index, other.start.max(place.start)).overlap(other));
            }
        }
        Ok(())
    }

    /// How many stretches are kept.
    pub(super) const fn stretch_count(&self) -> usize {
        self.stretches.len()
    }

    /// Bytes of a block.
    pub(super) const fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Where the byte at an offset of the disk lies, and for how many bytes of the disk that holds; at least one. The
    /// file offset means something for the kinds that are in the file. The offset is on the disk.
    pub(super) fn find(&self, offset: u64) -> (Kind, FileOffset, u64) {
        let block = offset / self.block_size;
        let index = self.stretches.partition_point(|stretch| u64::from(stretch.first) <= block).saturating_sub(1);
        let blocks = self.blocks_of(index);
        let start = blocks.start * self.block_size;
        let end = (blocks.end * self.block_size).min(self.disk_size);
        let stretch = self.stretches[index];
        (stretch.kind, FileOffset(stretch.place + (offset - start)), end - offset)
    }

    /// Where the bits of a block's sectors begin; `None` where there is no bitmap. `bytes` is how many bytes they take.
    pub(super) fn bitmap(&self, block: u64, bytes: u64) -> Option<FileOffset> {
        // It fits: there are at most 2^26 blocks.
        let place = *self.bitmaps.get((block / self.chunk) as usize)?;
        (place != 0).then_some(FileOffset(place + block % self.chunk * bytes))
    }
}

/// How many entries a table has (§2.5): a bitmap's entry follows those of its chunk; without a parent, the table ends
/// with the last block.
pub(super) const fn entry_count(blocks: u64, chunk: u64, has_parent: bool) -> u64 {
    if has_parent { blocks.div_ceil(chunk) * (chunk + 1) } else { blocks + (blocks - 1) / chunk }
}

/// The entry of a block that is there, at a place that is a multiple of 1 MiB.
pub(super) const fn present(place: u64) -> u64 {
    place | FULLY_PRESENT
}

/// The place that an entry names, checked.
fn check_place(what: &'static str, entry: u64, at: FileOffset, length: u64, file_size: u64) -> Result<u64, VhdxError> {
    if entry & RESERVED != 0 {
        let expected = "zeros in its bits 3 to 19";
        let name = "an entry of the block allocation table";
        return Err(VhdxError::wrong(name, at, expected, format_args!("{entry:#018x}")));
    }
    let place = entry & !(MIB - 1);
    if place < HEADER_SECTION || place.checked_add(length).is_none_or(|end| end > file_size) {
        let expected =
            format_args!("{length} bytes for {what} between {HEADER_SECTION} and the file's end at {file_size}");
        let name = "an entry of the block allocation table";
        return Err(VhdxError::wrong(name, at, expected, format_args!("them at {place}")));
    }
    Ok(place)
}
