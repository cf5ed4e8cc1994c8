//! The metadata region: what the disk is ([MS-VHDX] §2.6).
//!
//! Always true here:
//! - Only the table and the items that are known are read, at most 1 MiB each.
//! - The parameters of [`Metadata`] are within the format's limits: block size, disk size and sector sizes were checked
//!   by themselves and against one another.

use super::super::container::FileOffset;
use super::error::VhdxError;
use super::field::{guid_at, put, u16_at, u32_at};
use super::locator::Locator;
use super::region::Region;
use super::replayed::ReplayedFile;
use super::{BLOCK_SIZES, Guid, MAX_DISK_SIZE};

/// Bytes of the metadata table; items follow.
const TABLE_LENGTH: usize = 64 << 10;
const SIGNATURE: [u8; 8] = *b"metadata";
const ENTRY_COUNT: usize = 10;
const ENTRIES: usize = 32;
const MAX_ENTRIES: u16 = 2047;
const ENTRY_LENGTH: usize = 32;
const ITEM_OFFSET: usize = 16;
const ITEM_LENGTH: usize = 20;
const FLAGS: usize = 24;
const IS_USER: u32 = 1;
const IS_VIRTUAL_DISK: u32 = 2;
const IS_REQUIRED: u32 = 4;
const MAX_USER_ENTRIES: usize = 1024;
const MAX_ITEM_LENGTH: u32 = 1 << 20;

const FILE_PARAMETERS: Guid = Guid::new(0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b);
const LEAVE_BLOCKS_ALLOCATED: u32 = 1;
const HAS_PARENT: u32 = 2;
const DISK_SIZE: Guid = Guid::new(0x2fa54224_cd1b_4876_b211_5dbed83bf4b8);
const DISK_ID: Guid = Guid::new(0xbeca12ab_b2e6_4523_93ef_c309e000c746);
const LOGICAL_SECTOR: Guid = Guid::new(0x8141bf1d_a96f_4709_ba47_f233a8faab5f);
const PHYSICAL_SECTOR: Guid = Guid::new(0xcda348c7_445d_4471_9cc9_e9885251c556);
const PARENT_LOCATOR: Guid = Guid::new(0xa8d35f2d_b30b_454d_abf7_d3d84834ab0c);

/// The parameters of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Bytes of a payload block.
    pub(super) block_size: u32,
    /// Whether every block keeps its place in the file.
    pub(super) is_fixed: bool,
    /// Bytes of the disk.
    pub(super) disk_size: u64,
    pub(super) disk_id: Guid,
    /// Bytes of a sector, as the disk is addressed.
    pub(super) logical_sector: u32,
    /// Bytes of a sector, as the disk is said to write.
    pub(super) physical_sector: u32,
    /// Where the parent is; `None` when the disk has none.
    pub(super) locator: Option<Locator>,
}

/// An entry of the metadata table whose place was checked.
#[derive(Debug, Clone, Copy)]
struct Item {
    id: Guid,
    flags: u32,
    /// From the region's start.
    offset: u32,
    length: u32,
    /// Where the entry stands.
    entry_at: FileOffset,
}

/// The table, with all entries in the file's order.
struct Table<'a> {
    file: &'a ReplayedFile,
    region: Region,
    items: Vec<Item>,
}

impl Table<'_> {
    fn find(&self, id: Guid) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id && item.flags & IS_USER == 0)
    }

    fn read(&self, what: &'static str, item: &Item) -> Result<(Vec<u8>, FileOffset), VhdxError> {
        let at = FileOffset(self.region.start.0 + u64::from(item.offset));
        // At most 1 MiB.
        Ok((self.file.structure(what, at, item.length as usize)?, at))
    }

    /// An item of `N` bytes that every file has.
    fn fixed<const N: usize>(&self, what: &'static str, id: Guid) -> Result<([u8; N], FileOffset), VhdxError> {
        let Some(item) = self.find(id) else {
            let expected = format_args!("an entry for {what}");
            return Err(VhdxError::wrong("the metadata table", self.region.start, expected, "none"));
        };
        let (bytes, at) = self.read(what, item)?;
        let found = bytes.len();
        let bytes = bytes.try_into().map_err(|_| {
            let field = FileOffset(item.entry_at.0 + ITEM_LENGTH as u64);
            VhdxError::wrong("the length of a metadata item", field, format_args!("{N} for {what}"), found)
        })?;
        Ok((bytes, at))
    }

    fn sector_size(&self, what: &'static str, id: Guid) -> Result<u32, VhdxError> {
        let (bytes, at) = self.fixed(what, id)?;
        match u32::from_le_bytes(bytes) {
            size @ (512 | 4096) => Ok(size),
            size => Err(VhdxError::wrong(what, at, "512 or 4096", size)),
        }
    }
}

/// Reads the table and the items that are known.
///
/// # Errors
/// [`VhdxError`].
pub(super) fn read(file: &ReplayedFile, region: Region) -> Result<Metadata, VhdxError> {
    const WHAT: &str = "the metadata table";
    if region.length < TABLE_LENGTH as u64 {
        let expected = format_args!("{TABLE_LENGTH} bytes or more");
        return Err(VhdxError::wrong("the metadata region", region.start, expected, region.length));
    }
    let bytes = file.structure(WHAT, region.start, TABLE_LENGTH)?;
    let table = Table { file, region, items: items(&bytes, region)? };

    let (parameters, at) = table.fixed::<8>("the file parameters", FILE_PARAMETERS)?;
    let (block_size, flags) = (u32_at(&parameters, 0), u32_at(&parameters, 4));
    if !BLOCK_SIZES.contains(&block_size) || !block_size.is_power_of_two() {
        let expected = "a power of two from 1 MiB to 256 MiB";
        return Err(VhdxError::wrong("the block size", at, expected, block_size));
    }
    let logical_sector = table.sector_size("the logical sector size", LOGICAL_SECTOR)?;
    let physical_sector = table.sector_size("the physical sector size", PHYSICAL_SECTOR)?;
    let (disk_size, at) = table.fixed("the virtual disk size", DISK_SIZE)?;
    let disk_size = u64::from_le_bytes(disk_size);
    if disk_size == 0 || disk_size > MAX_DISK_SIZE || !disk_size.is_multiple_of(u64::from(logical_sector)) {
        let expected = format_args!("a multiple of {logical_sector}, other than 0 and at most {MAX_DISK_SIZE}");
        return Err(VhdxError::wrong("the virtual disk size", at, expected, disk_size));
    }
    let (disk_id, _) = table.fixed("the virtual disk identifier", DISK_ID)?;
    let locator = if flags & HAS_PARENT == 0 { None } else { Some(locator(&table)?) };
    Ok(Metadata {
        block_size,
        // Means nothing in a file that has a parent (§2.6.2.1).
        is_fixed: flags & LEAVE_BLOCKS_ALLOCATED != 0 && locator.is_none(),
        disk_size,
        disk_id: Guid(disk_id),
        logical_sector,
        physical_sector,
        locator,
    })
}

fn locator(table: &Table<'_>) -> Result<Locator, VhdxError> {
    const WHAT: &str = "the parent locator";
    let Some(item) = table.find(PARENT_LOCATOR) else {
        let expected = "an entry for the parent locator, as the file has a parent";
        return Err(VhdxError::wrong("the metadata table", table.region.start, expected, "none"));
    };
    let (bytes, at) = table.read(WHAT, item)?;
    Locator::decode(&bytes, at)
}

/// Checks the entries of a table.
fn items(table: &[u8], region: Region) -> Result<Vec<Item>, VhdxError> {
    let at = region.start.0;
    if !table.starts_with(&SIGNATURE) {
        let (expected, found) = (SIGNATURE.escape_ascii(), table[..SIGNATURE.len()].escape_ascii());
        let (expected, found) = (format_args!("\"{expected}\""), format_args!("\"{found}\""));
        return Err(VhdxError::wrong("the signature of the metadata table", region.start, expected, found));
    }
    let count = u16_at(table, ENTRY_COUNT);
    if count > MAX_ENTRIES {
        let (field, expected) = (FileOffset(at + ENTRY_COUNT as u64), format_args!("at most {MAX_ENTRIES}"));
        return Err(VhdxError::wrong("the number of metadata items", field, expected, count));
    }
    let mut items = Vec::with_capacity(usize::from(count));
    for (index, entry) in table[ENTRIES..].as_chunks::<ENTRY_LENGTH>().0.iter().take(usize::from(count)).enumerate() {
        let item = Item {
            id: guid_at(entry, 0),
            flags: u32_at(entry, FLAGS),
            offset: u32_at(entry, ITEM_OFFSET),
            length: u32_at(entry, ITEM_LENGTH),
            entry_at: FileOffset(at + (ENTRIES + index * ENTRY_LENGTH) as u64),
        };
        let known = [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR];
        // A user's item may have any identifier, the known ones too; it is not known for that.
        let is_known = item.flags & IS_USER == 0 && known.contains(&item.id);
        if item.flags & IS_REQUIRED != 0 && !is_known {
            return Err(VhdxError::UnknownRequired { what: "metadata item", id: item.id, offset: item.entry_at });
        }
        if item.length > MAX_ITEM_LENGTH {
            let (field, expected) = (FileOffset(item.entry_at.0 + ITEM_LENGTH as u64), "at most 1 MiB");
            return Err(VhdxError::wrong("the length of a metadata item", field, expected, item.length));
        }
        let end = u64::from(item.offset) + u64::from(item.length);
        let is_empty = item.length == 0 && item.offset == 0;
        if !is_empty && (item.offset < TABLE_LENGTH as u32 || end > region.length) {
            let field = FileOffset(item.entry_at.0 + ITEM_OFFSET as u64);
            let expected = format_args!("{} bytes from {TABLE_LENGTH} to {}", item.length, region.length);
            return Err(VhdxError::wrong("the place of a metadata item", field, expected, item.offset));
        }
        items.push(item);
    }
    let users = items.iter().filter(|item| item.flags & IS_USER != 0).count();
    if users > MAX_USER_ENTRIES {
        let (field, expected) = (FileOffset(at + ENTRY_COUNT as u64), format_args!("at most {MAX_USER_ENTRIES}"));
        return Err(VhdxError::wrong("the number of users' metadata items", field, expected, users));
    }
    check_distinct(&items)?;
    Ok(items)
}

/// Each identifier once, and no item on another.
fn check_distinct(items: &[Item]) -> Result<(), VhdxError> {
    let mut sorted: Vec<&Item> = items.iter().collect();
    sorted.sort_by_key(|item| (item.id, item.flags & IS_USER));
    let same = |pair: &&[&Item; 2]| pair[0].id == pair[1].id && (pair[0].flags ^ pair[1].flags) & IS_USER == 0;
    if let Some(pair) = sorted.array_windows().find(same) {
        return Err(VhdxError::wrong("a metadata item's identifier", pair[1].entry_at, "each one once", pair[1].id));
    }
    sorted.retain(|item| item.length > 0);
    sorted.sort_by_key(|item| item.offset);
    if let Some(pair) = sorted.array_windows().find(|pair: &&[_; 2]| pair[1].offset < pair[0].offset + pair[0].length) {
        let field = FileOffset(pair[1].entry_at.0 + ITEM_OFFSET as u64);
        let expected = format_args!("at least {}, where another item ends", pair[0].offset + pair[0].length);
        return Err(VhdxError::wrong("the place of a metadata item", field, expected, pair[1].offset));
    }
    Ok(())
}

/// The table and the items of a new file without a parent, from the region's start on.
pub(super) fn encode(metadata: &Metadata) -> Vec<u8> {
    let mut parameters = metadata.block_size.to_le_bytes().to_vec();
    let flags = if metadata.is_fixed { LEAVE_BLOCKS_ALLOCATED } else { 0 };
    parameters.extend_from_slice(&flags.to_le_bytes());
    let disk = IS_VIRTUAL_DISK | IS_REQUIRED;
    let items: [(Guid, u32, &[u8]); 5] = [
        (FILE_PARAMETERS, IS_REQUIRED, &parameters),
        (DISK_SIZE, disk, &metadata.disk_size.to_le_bytes()),
        (DISK_ID, disk, &metadata.disk_id.0),
        (LOGICAL_SECTOR, disk, &metadata.logical_sector.to_le_bytes()),
        (PHYSICAL_SECTOR, disk, &metadata.physical_sector.to_le_bytes()),
    ];
    let mut bytes = vec![0; TABLE_LENGTH];
    put(&mut bytes, 0, &SIGNATURE);
    put(&mut bytes, ENTRY_COUNT, &(items.len() as u16).to_le_bytes());
    for (index, (id, flags, value)) in items.into_iter().enumerate() {
        let at = ENTRIES + index * ENTRY_LENGTH;
        let offset = bytes.len() as u32;
        put(&mut bytes, at, &id.0);
        put(&mut bytes, at + ITEM_OFFSET, &offset.to_le_bytes());
        put(&mut bytes, at + ITEM_LENGTH, &(value.len() as u32).to_le_bytes());
        put(&mut bytes, at + FLAGS, &flags.to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const SOUND: Metadata = Metadata {
        block_size: 2 << 20,
        is_fixed: true,
        disk_size: 4096 * 77,
        disk_id: Guid::new(5),
        logical_sector: 4096,
        physical_sector: 512,
        locator: None,
    };
    /// Where the items begin, in the order of `encode`.
    const ITEMS: [usize; 5] = [TABLE_LENGTH, TABLE_LENGTH + 8, TABLE_LENGTH + 16, TABLE_LENGTH + 32, TABLE_LENGTH + 36];

    /// Reads sound metadata of which one field was changed.
    fn changed(at: usize, value: &[u8]) -> Result<Metadata, String> {
        let mut bytes = encode(&SOUND);
        bytes.resize(1 << 20, 0);
        put(&mut bytes, at, value);
        let region = Region { start: FileOffset(0), length: bytes.len() as u64 };
        read(&ReplayedFile::new(Arc::new(bytes)), region).map_err(|error| error.to_string())
    }

    fn entry(index: usize, field: usize) -> usize {
        ENTRIES + index * ENTRY_LENGTH + field
    }

    #[test]
    fn what_is_encoded_is_read() {
        assert_eq!(changed(0, &SIGNATURE), Ok(SOUND));
        // Without a mark, a user's item of a known identifier is a stranger.
        let error = changed(entry(2, FLAGS), &(IS_USER | IS_VIRTUAL_DISK).to_le_bytes()).expect_err("no identifier");
        assert!(error.contains("an entry for the virtual disk identifier, found none"), "{error}");
    }

    #[test]
    fn what_may_not_be_is_named_with_its_offset() {
        let cases: [(usize, &[u8], &str); 18] = [
            (0, b"M", "the signature of the metadata table at offset 0"),
            (ENTRY_COUNT, &[0, 8], "the number of metadata items at offset 10"),
            (ENTRY_COUNT, &[4, 0], "an entry for the physical sector size, found none"),
            (entry(0, 0), &[9; 16], "the metadata item 09090909"),
            (entry(1, 0), &FILE_PARAMETERS.0, "expected each one once"),
            (entry(1, ITEM_OFFSET), &[0, 0, 1, 0], "where another item ends"),
            (entry(1, ITEM_OFFSET), &[255, 255, 0, 0], "expected 8 bytes from 65536 to 1048576, found 65535"),
            (entry(1, ITEM_OFFSET), &[255; 4], "the place of a metadata item at offset 80"),
            (entry(1, ITEM_LENGTH), &[255; 4], "at most 1 MiB"),
            (entry(4, ITEM_LENGTH), &[9], "expected 4 for the physical sector size, found 9"),
            (ITEMS[0], &[0, 0, 16, 1], "the block size at offset 65536"),
            (ITEMS[0], &[0, 0, 8, 0], "the block size at offset 65536"),
            (ITEMS[0], &[0, 0, 0, 32], "the block size at offset 65536"),
            (ITEMS[0] + 4, &[2], "the parent locator, as the file has a parent, found none"),
            (ITEMS[1], &[0; 8], "the virtual disk size at offset 65544"),
            (ITEMS[1], &[1], "a multiple of 4096"),
            (ITEMS[1], &[0, 0x10, 0, 0, 0, 0x40], "found 70368744181760"),
            (ITEMS[3], &[0, 4], "the logical sector size at offset 65568 of the VHDX file: expected 512 or 4096"),
        ];
        for (at, value, expected) in cases {
            let error = changed(at, value).expect_err(expected);
            assert!(error.contains(expected), "{at}: {error}");
        }
    }

    #[test]
    fn an_empty_item_is_there() {
        let mut entry_bytes = [0; 20];
        entry_bytes[..16].fill(3);
        let mut bytes = encode(&SOUND);
        put(&mut bytes, ENTRY_COUNT, &[6, 0]);
        put(&mut bytes, entry(5, 0), &entry_bytes);
        bytes.resize(1 << 20, 0);
        let region = Region { start: FileOffset(0), length: bytes.len() as u64 };
        assert_eq!(read(&ReplayedFile::new(Arc::new(bytes)), region).expect("sound"), SOUND);
    }
}
