//! The block allocation table: where each block of a dynamic or differencing disk lies ("Block Allocation Table (BAT) and
//! Data Blocks").
//!
//! Always true here:
//! - A [`BlockTable`] was checked before anything is read through it: every block lies whole between the metadata and the
//!   footer, and no byte of the file belongs to two blocks, or to a block and a structure. The table has no checksum; this
//!   is what tells a damaged entry.
//! - It takes at most [`MAX_TABLE`] entries of 4 bytes, however many the file claims, and for a moment twice as much again
//!   while blocks are compared.

use super::super::container::FileOffset;
use super::error::{Structure, VhdError};
use super::footer::{FOOTER_LENGTH, SECTOR};
use super::header::{HEADER_LENGTH, Header};
use super::raw::read;
use crate::disk::ReadAt;

/// What stands for a block that was never allocated.
pub(super) const UNUSED: u32 = u32::MAX;
/// The most entries that are held: enough for the largest disk in blocks of 128 KiB. Windows makes blocks of 512 KiB and
/// 2 MiB only.
pub(super) const MAX_TABLE: u64 = 16 << 20;
/// Sectors that one byte of a bitmap tells of.
pub(super) const SECTORS_PER_BYTE: u64 = 8;
/// Entries that are read at once.
const STEP: usize = 64 << 10;

/// Where a run of blocks lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockPlace {
    /// This block and `count - 1` behind it are in no file.
    Unused {
        /// How many there are.
        count: u64,
    },
    /// The block's bitmap begins here, and its data behind it.
    At {
        /// The first byte of the bitmap.
        bitmap: FileOffset,
        /// The first byte of the data.
        data: FileOffset,
    },
}

/// A table that was checked.
#[derive(Debug)]
pub(super) struct BlockTable {
    entries: Vec<u32>,
    block_size: u64,
    bitmap_length: u64,
}

/// Bytes that a block's bitmap takes in the file, padded to whole sectors.
pub(super) const fn bitmap_length(block_size: u64) -> u64 {
    (block_size / SECTOR).div_ceil(SECTORS_PER_BYTE).next_multiple_of(SECTOR)
}

impl BlockTable {
    /// Reads and checks the table of a disk of `disk_size` bytes in the first `data_end` bytes of a file.
    ///
    /// # Errors
    /// [`VhdError::Field`] for a table that is too small or too large, and for a block outside of the file;
    /// [`VhdError::Overlap`]; [`VhdError::Truncated`]; [`VhdError::Read`].
    pub(super) fn load(file: &dyn ReadAt, header: &Header, disk_size: u64, data_end: u64) -> Result<Self, VhdError> {
        let block_size = u64::from(header.block_size);
        let needed = disk_size.div_ceil(block_size);
        let wrong = |expected: String| VhdError::Field {
            field: "number of entries in the block allocation table",
            offset: FileOffset(header.at.0 + 28),
            expected,
            found: header.table_entries.to_string(),
        };
        if u64::from(header.table_entries) < needed {
            return Err(wrong(format!("at least {needed}, for {disk_size} bytes in blocks of {block_size},")));
        }
        if needed > MAX_TABLE {
            let expected =
                format!("a table of at most {MAX_TABLE} blocks (this disk has {needed} of {block_size} bytes)");
            return Err(wrong(expected));
        }
        // Entries beyond the disk's end are not looked at, but their place is the table's.
        let structures = structures(header, data_end)?;
        let count = usize::try_from(needed).map_err(|_| wrong("a table that fits into memory".into()))?;
        let mut entries = Vec::with_capacity(count);
        let mut bytes = vec![0; STEP.min(count) * 4];
        while entries.len() < count {
            let step = &mut bytes[..STEP.min(count - entries.len()) * 4];
            let offset = FileOffset(header.table_offset.0 + entries.len() as u64 * 4);
            read(file, offset, "block allocation table", step)?;
            entries.extend(step.as_chunks().0.iter().map(|entry| u32::from_be_bytes(*entry)));
        }
        let table = Self { entries, block_size, bitmap_length: bitmap_length(block_size) };
        table.check(header, structures, data_end)?;
        Ok(table)
    }

    fn check(&self, header: &Header, mut taken: Vec<Taken>, data_end: u64) -> Result<(), VhdError> {
        let length = self.bitmap_length + self.block_size;
        // Sorted by place. All blocks have one length, so that only neighbours need to be compared.
        let used = self.entries.iter().filter(|entry| **entry != UNUSED).count();
        let mut blocks = Vec::with_capacity(used);
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| **entry != UNUSED) {
            let start = u64::from(*entry) * SECTOR;
            if start + length > data_end {
                return Err(VhdError::Field {
                    field: "entry of the block allocation table",
                    offset: FileOffset(header.table_offset.0 + index as u64 * 4),
                    expected: format!("a sector from which on the {length} bytes of a block end before {data_end}"),
                    found: format!("{entry} (file offset {start})"),
                });
            }
            // The table has at most 2^24 entries.
            blocks.push((*entry, u32::try_from(index).unwrap_or(UNUSED)));
        }
        blocks.sort_unstable();
        let block = |(entry, index): (u32, u32)| Taken {
            start: u64::from(entry) * SECTOR,
            length,
            by: Structure::Block(index.into()),
        };
        taken.sort_unstable_by_key(|taken| taken.start);
        let mut structures = taken.into_iter().peekable();
        let mut before: Option<Taken> = None;
        for next in blocks.into_iter().map(block) {
            while let Some(structure) = structures.next_if(|structure| structure.start <= next.start) {
                apart(before.replace(structure), structure)?;
            }
            apart(before.replace(next), next)?;
        }
        for structure in structures {
            apart(before.replace(structure), structure)?;
        }
        Ok(())
    }

    /// Where block `index` lies; for a run of unused ones, up to block `end` and no further.
    pub(super) fn place(&self, index: u64, end: u64) -> BlockPlace {
        let at = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        match self.entries.get(at(index)) {
            Some(entry) if *entry != UNUSED => {
                let bitmap = u64::from(*entry) * SECTOR;
                BlockPlace::At { bitmap: FileOffset(bitmap), data: FileOffset(bitmap + self.bitmap_length) }
            }
            _ => {
                let run = self.entries.get(at(index)..at(end).min(self.entries.len())).unwrap_or_default();
                let count = run.iter().take_while(|entry| **entry == UNUSED).count() as u64;
                BlockPlace::Unused { count: count.max(1) }
            }
        }
    }

    /// Bytes of the data of a block.
    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }
}

/// Bytes of the file that belong to something.
#[derive(Debug, Clone, Copy)]
struct Taken {
    start: u64,
    length: u64,
    by: Structure,
}

/// What else lies in the file.
fn structures(header: &Header, data_end: u64) -> Result<Vec<Taken>, VhdError> {
    let mut taken = vec![
        Taken { start: 0, length: FOOTER_LENGTH as u64, by: Structure::FooterCopy },
        Taken { start: header.at.0, length: HEADER_LENGTH as u64, by: Structure::Header },
        Taken { start: header.table_offset.0, length: u64::from(header.table_entries) * 4, by: Structure::Table },
    ];
    taken.extend(header.locators.iter().filter(|locator| locator.length > 0).map(|locator| Taken {
        start: locator.offset.0,
        length: locator.length.into(),
        by: Structure::Locator,
    }));
    for Taken { start, length, by } in &taken {
        if start.checked_add(*length).is_none_or(|end| end > data_end) {
            let structure = match by {
                Structure::Table => "block allocation table",
                Structure::Locator => "parent locator",
                _ => "dynamic disk header",
            };
            return Err(VhdError::Truncated { structure, offset: FileOffset(*start), needed: *length, size: data_end });
        }
    }
    Ok(taken)
}

fn apart(one: Option<Taken>, other: Taken) -> Result<(), VhdError> {
    match one {
        Some(one) if one.start + one.length > other.start => Err(VhdError::Overlap {
            one: one.by,
            start: FileOffset(one.start),
            end: one.start + one.length,
            other: other.by,
            other_start: FileOffset(other.start),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u32 = 4096;

    /// A file of this many bytes with a table at 1536, and its header.
    fn file(size: usize, entries: &[u32]) -> (Vec<u8>, Header) {
        let mut bytes = vec![0; size];
        for (index, entry) in entries.iter().enumerate() {
            bytes[1536 + index * 4..1540 + index * 4].copy_from_slice(&entry.to_be_bytes());
        }
        (bytes, Header::new(FileOffset(512), FileOffset(1536), entries.len() as u32, BLOCK))
    }

    fn load(size: usize, entries: &[u32]) -> Result<BlockTable, VhdError> {
        let (bytes, header) = file(size, entries);
        BlockTable::load(&bytes, &header, u64::from(BLOCK) * entries.len() as u64, size as u64)
    }

    #[test]
    fn blocks_lie_where_the_table_says() {
        // Blocks of 9 sectors, in another order than on the disk and with a gap.
        let table = load(2048 + 19 * 512, &[UNUSED, 14, UNUSED, UNUSED, 4, UNUSED]).expect("sound");
        let at =
            |sector: u64| BlockPlace::At { bitmap: FileOffset(sector * 512), data: FileOffset(sector * 512 + 512) };
        assert_eq!(table.place(0, 6), BlockPlace::Unused { count: 1 });
        assert_eq!(table.place(1, 6), at(14));
        assert_eq!(table.place(2, 6), BlockPlace::Unused { count: 2 });
        assert_eq!(table.place(2, 3), BlockPlace::Unused { count: 1 });
        assert_eq!(table.place(4, 6), at(4));
        assert_eq!(table.place(5, 6), BlockPlace::Unused { count: 1 });
    }

    #[test]
    fn bitmaps_are_whole_sectors() {
        for (block, bitmap) in [(512, 512), (4096, 512), (2 << 20, 512), (4 << 20, 1024), (1 << 31, 512 << 10)] {
            assert_eq!(bitmap_length(block), bitmap);
        }
    }

    #[test]
    fn a_block_that_is_not_its_own_is_refused() {
        let size = 2048 + 18 * 512;
        load(size, &[4, 13]).expect("sound");
        let error = |entries: &[u32]| load(size, entries).expect_err("not sound").to_string();
        assert_eq!(error(&[4, 12]), "the block 0 at file offset 2048 reaches to 6656, into the block 1 at 6144");
        assert_eq!(error(&[4, 4]), "the block 0 at file offset 2048 reaches to 6656, into the block 1 at 2048");
        assert_eq!(
            error(&[3, 13]),
            "the block allocation table at file offset 1536 reaches to 1544, into the block 0 at 1536"
        );
        assert_eq!(
            error(&[2, 13]),
            "the dynamic disk header at file offset 512 reaches to 1536, into the block 0 at 1024"
        );
        assert_eq!(error(&[0, 13]), "the footer copy at file offset 0 reaches to 512, into the block 0 at 0");
        assert_eq!(
            error(&[4, 14]),
            "the entry of the block allocation table at file offset 1540 is 14 (file offset 7168); a sector from which on \
             the 4608 bytes of a block end before 11264 was expected"
        );
        assert!(matches!(load(size, &[4, UNUSED - 1]), Err(VhdError::Field { offset: FileOffset(1540), .. })));
    }

    #[test]
    fn a_table_of_the_wrong_size_is_refused() {
        let (bytes, mut header) = file(4096, &[UNUSED; 8]);
        let load = |header: &Header, disk: u64| BlockTable::load(&bytes, header, disk, 4096);
        load(&header, 8 * 4096).expect("enough");
        load(&header, 4096).expect("more than enough");
        let small = load(&header, 8 * 4096 + 512).expect_err("too small").to_string();
        assert!(small.contains("at file offset 540 is 8; at least 9"), "{small}");
        header.table_entries = u32::MAX;
        assert!(matches!(load(&header, 4096), Err(VhdError::Truncated { offset: FileOffset(1536), .. })));
        header.block_size = 512;
        assert!(matches!(load(&header, 16 << 30), Err(VhdError::Field { offset: FileOffset(540), .. })));
        header.table_entries = 8;
        for offset in [0, 100, 1024, 4096 - 31, u64::MAX] {
            header.table_offset = FileOffset(offset);
            load(&header, 512).expect_err("not its own place");
        }
    }
}
