//! VHDX files: making some, editing them, and where libvhdi does not read them as [MS-VHDX] says.

use std::sync::{Arc, LazyLock};

use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::image::vhdx::{Guid, VhdxLayout, crc};

use crate::build::{HEADERS, LOG, METADATA, TABLE, add_locator, data_id, parameters};
use crate::image::Image;
use crate::input::Input;
use crate::model::MIB;

const REGION_TABLES: [u64; 2] = [192 << 10, 256 << 10];
/// Where the structures of the files begin; the last ones are the items of the metadata and the parent's locator.
const STRUCTURES: [u64; 10] = [
    0,
    HEADERS[0],
    HEADERS[1],
    REGION_TABLES[0],
    REGION_TABLES[1],
    LOG,
    METADATA,
    TABLE,
    METADATA + (64 << 10),
    METADATA + (128 << 10),
];
/// The most entries that a region table and a metadata table have (§2.2.3.1, §2.6.1.1).
const MAX_ENTRIES: u32 = 2047;

const NOT_PRESENT: u64 = 0;
const FULLY_PRESENT: u64 = 6;
const PARTIALLY_PRESENT: u64 = 7;
const BITMAP_PRESENT: u64 = 6;

/// What has to be written into a file that is to have a parent of data identity 1.
static LOCATOR: LazyLock<Vec<(u64, u8)>> = LazyLock::new(|| {
    let mut file = vec![0; 3 << 20];
    add_locator(&mut file, 1);
    file.into_iter().enumerate().filter(|(_, byte)| *byte != 0).map(|(at, byte)| (at as u64, byte)).collect()
});

fn u32_at(image: &Image, at: u64) -> Option<u32> {
    image.bytes(at).map(u32::from_le_bytes)
}

fn u64_at(image: &Image, at: u64) -> Option<u64> {
    image.bytes(at).map(u64::from_le_bytes)
}

/// Blocks that share a sector bitmap (§2.5).
fn chunk(block: u64, sector: u64) -> u64 {
    (sector << 23) / block
}

/// A disk, and its parent when it has one.
pub fn make(input: &mut Input) -> Vec<Image> {
    let kind = input.byte() % 4;
    let sector = input.one_of(&[512, 4096]);
    let block = input.one_of(&[MIB, 2 * MIB, 32 * MIB, 256 * MIB]);
    let chunk = chunk(block, sector);
    // A part of them reach into the second chunk.
    let is_far = input.byte().is_multiple_of(4);
    let blocks = 1 + input.below(6) + if is_far { chunk } else { 0 };
    let size = blocks * block - input.below((block / sector).min(65536)) * sector;
    let bits = input.byte();
    let candidates = [0, 1, 2, 3, chunk - 1, chunk, chunk + 1, blocks - 1].into_iter().enumerate();
    let mut chosen: Vec<u64> =
        candidates.filter(|(bit, number)| bits >> bit & 1 == 1 && *number < blocks).map(|(_, number)| number).collect();
    chosen.sort_unstable();
    chosen.dedup();

    let depth = u8::from(kind == 3);
    (0..=depth)
        .map(|level| {
            let mut own = parameters(block, sector as u32, kind == 0);
            own.identity.data_write_id = data_id(level);
            own.identity.file_write_id = Guid([level + 1; 16]);
            let disk = input.disk(size, block, &chosen);
            let layout = VhdxLayout::new(size, disk.ranges(), own).expect("the format has such a disk");
            let mut image = Image::compose(&disk, &layout, 3 * MIB, block, chosen.clone());
            if level < depth {
                add_parent(&mut image, input, sector);
            }
            if image.blocks.is_empty() {
                image.blocks.push(0);
            }
            image
        })
        .collect()
}

/// Makes a differencing disk of a dynamic one: some of its blocks are of other states, and some are there in part.
fn add_parent(image: &mut Image, input: &mut Input, sector: u64) {
    for (at, byte) in &*LOCATOR {
        image.write(*at, &[*byte]);
    }
    let chunk = chunk(image.block, sector);
    // Behind the blocks; there is room for the bitmaps of two chunks.
    let first_bitmap = (image.size() - 3 * MIB).next_multiple_of(MIB);
    for block in image.blocks.clone() {
        let at = TABLE + (block + block / chunk) * 8;
        let place = u64_at(image, at).unwrap_or(0) & !7;
        let state = input.one_of(&[0, 1, 2, 3, 6, 7, 7, 7]);
        // Data may have come to lie behind the disk's end, and then the block is nowhere.
        let state = if place == 0 { state & 3 } else { state };
        image.write(at, &(place | state).to_le_bytes());
        let bitmap = first_bitmap + block / chunk * MIB;
        if state == PARTIALLY_PRESENT || input.byte() & 1 == 0 {
            image.write(TABLE + ((block / chunk + 1) * (chunk + 1) - 1) * 8, &(bitmap | BITMAP_PRESENT).to_le_bytes());
        }
        if state == PARTIALLY_PRESENT {
            fill_bitmap(image, input, bitmap, block % chunk, sector);
        }
    }
}

/// Writes some bits of a block, all alike.
fn fill_bitmap(image: &mut Image, input: &mut Input, bitmap: u64, block: u64, sector: u64) {
    let (start, count, fill) = input.bits(image.block, sector * 8);
    image.write(bitmap + block * (image.block / sector / 8) + start, &vec![fill; count as usize]);
}

/// Makes the checksums of headers and region tables right.
pub fn seal(image: &mut Image) {
    for (at, length) in HEADERS.map(|at| (at, 4096)).into_iter().chain(REGION_TABLES.map(|at| (at, 64 << 10))) {
        let mut bytes = vec![0; length];
        if image.read_at(DiskOffset(at), &mut bytes).is_ok() {
            crc::seal(&mut bytes);
            image.write(at + 4, &bytes[4..8]);
        }
    }
}

/// Changes a few bytes that mean something.
pub fn edit(image: &mut Image, input: &mut Input) {
    let sector = u32_at(image, METADATA + (64 << 10) + 32).filter(|sector| *sector == 4096).map_or(512, u64::from);
    let chunk = chunk(image.block, sector);
    let block = input.one_of(&image.blocks.clone());
    let entry_at = TABLE + (block + block / chunk) * 8;
    let bitmap_at = TABLE + ((block / chunk + 1) * (chunk + 1) - 1) * 8;
    let (entry, bitmap) = (u64_at(image, entry_at).unwrap_or(0), u64_at(image, bitmap_at).unwrap_or(0));
    let place = u64::from(input.byte()) * MIB;
    match input.byte() % 9 {
        0 => image.write(entry_at, &(place | u64::from(input.byte() & 7)).to_le_bytes()),
        1 => image.write(entry_at, &(entry & !7 | u64::from(input.byte() & 7)).to_le_bytes()),
        2 => {
            let other_at = input.one_of(&image.blocks.clone());
            let other_at = TABLE + (other_at + other_at / chunk) * 8;
            if let Some(other) = u64_at(image, other_at) {
                image.write(entry_at, &other.to_le_bytes());
                image.write(other_at, &entry.to_le_bytes());
            }
        }
        3 => {
            let place = if input.byte() & 1 == 0 { place } else { bitmap & !7 };
            image.write(bitmap_at, &(place | u64::from(input.byte() & 7)).to_le_bytes());
        }
        4 if bitmap & 7 == BITMAP_PRESENT => fill_bitmap(image, input, bitmap & !7, block % chunk, sector),
        5 if bitmap & 7 == BITMAP_PRESENT => {
            let length = image.block / sector / 8;
            let at = (bitmap & !7) + block % chunk * length + input.spot(image.block) / sector / 8;
            image.write(at, &input.few_bytes());
        }
        6 => {
            let at = (entry & !7) + input.spot(image.block) + input.below(512);
            image.write(at, &input.few_bytes());
        }
        7 => {
            // Into the items of the metadata: block size, flags, sectors, the disk's size.
            let at = METADATA + (64 << 10) + input.below(64);
            image.write(at, &input.few_bytes());
        }
        _ => {
            let at = input.one_of(&STRUCTURES) + input.below(512);
            image.write(at, &input.few_bytes());
        }
    }
}

/// Where a region is, as the first region table has it.
fn region(image: &Image, kind: &str) -> Option<u64> {
    let kind = Guid::parse(kind).expect("a GUID");
    let count = u32_at(image, REGION_TABLES[0] + 8)?.min(MAX_ENTRIES);
    let mut entries = (0..u64::from(count)).map(|index| REGION_TABLES[0] + 16 + index * 32);
    entries.find(|at| image.bytes(*at) == Some(kind.0)).and_then(|at| u64_at(image, at + 16))
}

fn block_table(image: &Image) -> Option<u64> {
    region(image, "2dc27766-f623-4200-9d64-115e9bfd4a08")
}

fn metadata(image: &Image) -> Option<u64> {
    region(image, "8b7ca206-4790-4b9a-b8fe-575f050f886e")
}

/// Whether libvhdi cannot be given a file: it believes these numbers, and goes on behind the table that it has in memory
/// (§2.2.3.1 and §2.6.1.1 have at most 2047 entries).
pub fn is_harmful(image: &Image) -> bool {
    if image.bytes(0) != Some(*b"vhdxfile") {
        return false;
    }
    let regions = REGION_TABLES.map(|at| u32_at(image, at + 8));
    let items = metadata(image).and_then(|at| image.bytes(at + 10)).map(|count| u16::from_le_bytes(count).into());
    regions.into_iter().chain([items]).flatten().any(|count| count > MAX_ENTRIES)
}

/// Whether the file has metadata of a user. libvhdi knows items by their identifiers alone, and takes a user's for the
/// system's where they are the same; they are told apart by the flag IsUser (§2.6.1.2).
pub fn has_users_metadata(image: &Image) -> bool {
    let Some((at, count)) = metadata(image).and_then(|at| Some((at, image.bytes(at + 10)?))) else { return false };
    let flags = (0..u64::from(u16::from_le_bytes(count))).map(|index| u32_at(image, at + 32 + index * 32 + 24));
    flags.flatten().any(|flags| flags & 1 != 0)
}

/// Whether the sector at an offset of the disk may be another one to libvhdi. All files of a chain have the child's sectors;
/// `blocks` are the sizes of their blocks, and `is_fixed` is for the last of them.
pub fn is_excused(images: &[Arc<Image>], blocks: &[u64], sector: u64, is_fixed: bool, offset: u64) -> bool {
    differs(images, blocks, sector, is_fixed, offset).unwrap_or(false)
}

fn differs(images: &[Arc<Image>], blocks: &[u64], sector: u64, is_fixed: bool, offset: u64) -> Option<bool> {
    let ((image, parents), (block_size, others)) = (images.split_first()?, blocks.split_first()?);
    let (chunk, block) = (chunk(*block_size, sector), offset / block_size);
    if others.is_empty() {
        // §2.5: every table has an entry for a sector bitmap behind those of each chunk's blocks. libvhdi 20210425 leaves it
        // out of the tables of fixed disks (libvhdi_block_allocation_table_read_element_data).
        return Some(is_fixed && block >= chunk);
    }
    let table = block_table(image)?;
    let state = u64_at(image, table + (block + block / chunk) * 8)? & 7;
    let bitmap = u64_at(image, table + ((block / chunk + 1) * (chunk + 1) - 1) * 8)?;
    let bits_at = (bitmap & !(MIB - 1)) + block % chunk * (block_size / sector / 8);
    let inside = offset % block_size / sector;
    let is_set = |bits_at: u64| Some(image.byte(bits_at + inside / 8)? >> (inside % 8) & 1 == 1);
    match state {
        FULLY_PRESENT => Some(false),
        PARTIALLY_PRESENT if is_set(bits_at)? => Some(false),
        PARTIALLY_PRESENT => differs(parents, others, sector, is_fixed, offset),
        // §2.5.1.1: the bitmap is for blocks of state 7 alone. libvhdi 20210425 goes by it in every state but 6
        // (libvhdi_block_descriptor_read_sector_bitmap_file_io_handle): what is the parent's, it takes for the child's
        // where a bit is set, also from the start of the file where there is no bitmap.
        NOT_PRESENT if bitmap & 7 != BITMAP_PRESENT || is_set(bits_at)? => Some(true),
        NOT_PRESENT => differs(parents, others, sector, is_fixed, offset),
        // The same, for what is nobody's: zeros, or whatever (states 1, 2 and 3).
        _ => Some(true),
    }
}
