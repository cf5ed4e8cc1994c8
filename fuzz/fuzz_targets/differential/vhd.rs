//! VHDs: making some, editing them, and where libvhdi does not read them as the specification says ("Virtual Hard Disk
//! Image Format Specification" 1.0; quoted headings are that document's).

use std::sync::Arc;

use sheaf::disk::ReadAt;
use sheaf::image::vhd::{VhdIdentity, VhdLayout};

use crate::image::Image;
use crate::input::Input;

const FOOTER: u64 = 512;
const HEADER: u64 = 512;
const TABLE: u64 = 1536;
const UNUSED: u32 = u32::MAX;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;

/// Bytes of the bitmap of a block.
fn bitmap_length(block: u64) -> u64 {
    (block / 4096).next_multiple_of(512)
}

fn u32_at(image: &Image, at: u64) -> Option<u32> {
    image.bytes(at).map(u32::from_be_bytes)
}

fn u64_at(image: &Image, at: u64) -> Option<u64> {
    image.bytes(at).map(u64::from_be_bytes)
}

/// A disk, and its parent when it has one. libvhdi reads no block of less than 4096 bytes.
pub fn make(input: &mut Input) -> Vec<Image> {
    let is_fixed = input.byte() & 1 == 0;
    let depth = u8::from(!is_fixed && input.byte() & 1 == 0);
    let block = 4096 << input.below(12);
    let blocks = 1 + input.below(12);
    let size = blocks * block - input.below((block / 512).min(2048)) * 512;
    let mut images = Vec::new();
    for level in 0..=depth {
        // A parent may be of either kind, and its blocks of another size.
        let is_fixed = if level == 0 { is_fixed } else { input.byte() & 1 == 0 };
        let block = if level == 0 { block } else { 4096 << input.below(12) };
        let blocks = size.div_ceil(block);
        // One bit for each block; the first ones and the last.
        let bits = input.u16();
        let candidates = (0..blocks.min(15)).chain([blocks - 1]);
        let mut chosen: Vec<u64> =
            candidates.enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, b)| b).collect();
        chosen.dedup();
        let disk = input.disk(size, block, &chosen);
        let identity = VhdIdentity { identifier: [level + 1; 16], time_stamp: 7, geometry: None, creator: None };
        let layout = if is_fixed {
            VhdLayout::fixed(size, identity)
        } else {
            VhdLayout::dynamic(size, disk.ranges(), block as u32, identity)
        };
        let mut image = Image::compose(&disk, &layout.expect("the format has such a disk"), 0, block, chosen);
        image.blocks.push(0);
        if level < depth {
            add_parent(&mut image, level + 2);
        }
        images.push(image);
    }
    images
}

/// Makes a differencing disk of a dynamic one.
fn add_parent(image: &mut Image, identifier: u8) {
    for footer in [0, image.size() - FOOTER] {
        image.write(footer + 60, &DIFFERENCING.to_be_bytes());
    }
    image.write(HEADER + 40, &[identifier; 16]);
    image.write(HEADER + 56, &7_u32.to_be_bytes());
    image.write(HEADER + 64, &[0, b'p']);
    seal(image);
}

/// Makes the checksums right ("Checksum Calculation").
pub fn seal(image: &mut Image) {
    let structures = [(image.size().saturating_sub(FOOTER), 512, 64), (0, 512, 64), (HEADER, 1024, 36)];
    // What lies at the start of a fixed disk is the disk's own.
    let count = if u32_at(image, image.size() - FOOTER + 60) == Some(2) { 1 } else { 3 };
    for (at, length, field) in structures.into_iter().take(count) {
        image.write(at + field, &[0; 4]);
        let bytes = (at..at + length).filter_map(|at| image.byte(at));
        let sum = !bytes.fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(byte)));
        image.write(at + field, &sum.to_be_bytes());
    }
}

/// Changes a few bytes that mean something.
pub fn edit(image: &mut Image, input: &mut Input) {
    let block = input.one_of(&image.blocks.clone());
    let entry_at = TABLE + block * 4;
    // None in a fixed disk; there some of the disk's own bytes are taken for it, and it lies in no file mostly.
    let entry = u32_at(image, entry_at).unwrap_or(UNUSED);
    let bitmap = u64::from(entry) * 512;
    let end = image.size();
    match input.byte() % 9 {
        0 => {
            let value = input.u16();
            let value = if value == u16::MAX { UNUSED } else { value.into() };
            image.write(entry_at, &value.to_be_bytes());
        }
        1 => {
            let other_at = TABLE + input.one_of(&image.blocks.clone()) * 4;
            if let Some(other) = u32_at(image, other_at) {
                image.write(entry_at, &other.to_be_bytes());
                image.write(other_at, &entry.to_be_bytes());
            }
        }
        2 if entry != UNUSED => {
            let at = bitmap + input.spot(image.block) / 4096;
            image.write(at, &input.few_bytes());
        }
        3 if entry != UNUSED => {
            let (start, count, fill) = input.bits(image.block, 4096);
            image.write(bitmap + start, &vec![fill; count as usize]);
        }
        4 if entry != UNUSED => {
            let at = bitmap + bitmap_length(image.block) + input.spot(image.block);
            image.write(at + input.below(512), &input.few_bytes());
        }
        5 => image.write(end - FOOTER + input.below(96), &input.few_bytes()),
        6 => image.write(input.below(96), &input.few_bytes()),
        7 => image.write(HEADER + input.below(640), &input.few_bytes()),
        _ => image.write(input.below(65536), &input.few_bytes()),
    }
}

/// Whether the sector at an offset of the disk may be another one to libvhdi.
pub fn is_excused(images: &[Arc<Image>], offset: u64) -> bool {
    differs(images, offset).unwrap_or(false)
}

fn differs(images: &[Arc<Image>], offset: u64) -> Option<bool> {
    let (image, parents) = images.split_first()?;
    let footer = image.size() - FOOTER;
    let kind = u32_at(image, footer + 60)?;
    if kind != DYNAMIC && kind != DIFFERENCING {
        return Some(false);
    }
    let header = u64_at(image, footer + 16)?;
    let (table, block) = (u64_at(image, header + 16)?, u64::from(u32_at(image, header + 32)?));
    let entry = u32_at(image, table + offset / block * 4)?;
    if entry == UNUSED {
        return if kind == DYNAMIC { Some(false) } else { differs(parents, offset) };
    }
    let sector = offset % block / 512;
    let bits = image.byte(u64::from(entry) * 512 + sector / 8)?;
    if bits << (sector % 8) & 0x80 != 0 {
        return Some(false);
    }
    // "Block Allocation Table (BAT) and Data Blocks": what the bitmap leaves out of a dynamic disk must be zeros on disk.
    // Where an edit broke that, Sheaf shows the bytes, as QEMU does, and libvhdi zeros.
    if kind == DYNAMIC {
        return Some(true);
    }
    // The same section: each bit is a sector of its own, and a clear one is the parent's. libvhdi 20210425 compares the byte
    // shifted right without masking the bit (libvhdi_block_descriptor_read_sector_bitmap_data), and so takes all behind
    // the first set bit of a byte for the child's.
    if u32::from(bits) << (sector % 8) >> 8 != 0 {
        return Some(true);
    }
    differs(parents, offset)
}
