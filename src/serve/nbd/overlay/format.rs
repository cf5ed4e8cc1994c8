//! The file of an overlay: where what is in it, and its header.
//!
//! Always true here:
//! - All places follow from the size of the disk; the header records what the file belongs to, and no place.
//! - A file whose header does not check out is not written to.
//!
//! The file, version 1; integers are little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `SHEAFOVL` |
//! | 8 | 4 | version: 1 |
//! | 12 | 4 | bytes of a block: 4096 |
//! | 16 | 8 | size of the disk, in bytes |
//! | 24 | 32 | identity of the disk below, chosen by whoever opens the overlay |
//! | 56 | 32 | BLAKE3 hash of the 56 bytes before |
//! | 88 | 4008 | zeros |
//! | 4096 | m | the map: two bits a block, the first block in the lowest bits of the first byte; `m` is rounded up to 4096 |
//! | 4096 + m | blocks × 4096 | the blocks, each at the place that follows from its number; those that were not written are holes |
//!
//! A block's two bits: 0, it is that of the disk below; 1, it is in this file; 2, it is zeros; 3 is not used. The last block may go beyond
//! the end of the disk; those bytes mean nothing.

use super::error::Problem;

/// Bytes of a block, of the header, and of a page of the map.
pub(super) const BLOCK: u64 = 4096;

/// Blocks that a page of the map tells of.
pub(super) const BLOCKS_OF_PAGE: u64 = BLOCK * 4;

/// The largest disk that an overlay is made for: what the map takes in memory follows from the size.
const MOST_SIZE: u64 = 64 << 40;

const MAGIC: [u8; 8] = *b"SHEAFOVL";
const VERSION: u32 = 1;
const HASHED: usize = 56;

/// Where everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Of the disk, in bytes.
    pub(super) size: u64,
    pub(super) blocks: u64,
    pub(super) pages: u64,
}

impl Geometry {
    /// Of an overlay for a disk of `size` bytes, or `None` where that is too large.
    pub(super) const fn new(size: u64) -> Option<Self> {
        if size > MOST_SIZE {
            return None;
        }
        let blocks = size.div_ceil(BLOCK);
        Some(Self { size, blocks, pages: blocks.div_ceil(BLOCKS_OF_PAGE) })
    }

    /// Where a page of the map is.
    pub(super) const fn page(&self, page: u64) -> u64 {
        BLOCK + page * BLOCK
    }

    /// Where the byte of the disk at `offset` is, once it is written.
    pub(super) const fn place(&self, offset: u64) -> u64 {
        BLOCK + self.pages * BLOCK + offset
    }

    /// How long the file is.
    pub(super) const fn file_length(&self) -> u64 {
        self.place(self.blocks * BLOCK)
    }
}

/// The first block of an overlay.
pub(super) fn header(geometry: &Geometry, identity: &[u8; 32]) -> [u8; BLOCK as usize] {
    let mut bytes = [0; BLOCK as usize];
    let fields: [&[u8]; 5] =
        [&MAGIC, &VERSION.to_le_bytes(), &(BLOCK as u32).to_le_bytes(), &geometry.size.to_le_bytes(), identity];
    for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    let (head, rest) = bytes.split_at_mut(HASHED);
    for (place, byte) in rest.iter_mut().zip(blake3::hash(head).as_bytes()) {
        *place = *byte;
    }
    bytes
}

/// Sees whether a file with this first block belongs to the disk that it is opened for.
///
/// # Errors
/// [`Problem`].
pub(super) fn check_header(found: &[u8], geometry: &Geometry, identity: &[u8; 32]) -> Result<(), Problem> {
    let field = |start: usize, length: usize| found.get(start..start + length).unwrap_or(&[]);
    let number = |start, length| field(start, length).iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
    if field(0, 8) != MAGIC {
        return Err(Problem::NotAnOverlay);
    }
    let version = number(8, 4);
    if version != u64::from(VERSION) {
        return Err(Problem::Version { version });
    }
    if field(HASHED, 32) != blake3::hash(field(0, HASHED)).as_bytes() {
        return Err(Problem::Damaged { reason: "its header does not have the checksum that it should have" });
    }
    if number(12, 4) != BLOCK {
        return Err(Problem::Damaged { reason: "its blocks are not of 4096 bytes" });
    }
    if field(24, 32) != identity {
        return Err(Problem::OtherDisk);
    }
    let size = number(16, 8);
    if size != geometry.size {
        return Err(Problem::OtherSize { recorded: size, size: geometry.size });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_one_another() {
        for size in [0, 1, 4096, 4097, BLOCKS_OF_PAGE * BLOCK, BLOCKS_OF_PAGE * BLOCK + 1] {
            let geometry = Geometry::new(size).expect("small");
            assert_eq!(geometry.page(geometry.pages), geometry.place(0));
            assert!(geometry.place(size) <= geometry.file_length());
            assert_eq!(geometry.file_length() % BLOCK, 0);
        }
        assert_eq!(Geometry::new(MOST_SIZE + 1), None);
        let largest = Geometry::new(MOST_SIZE).expect("just so");
        assert_eq!((largest.pages, largest.file_length()), (1 << 20, (64 << 40) + (4 << 30) + 4096));
    }

    #[test]
    fn each_field_is_checked() {
        let geometry = Geometry::new(10_000).expect("small");
        let sound = header(&geometry, &[7; 32]);
        assert_eq!(sound[..24], *b"SHEAFOVL\x01\0\0\0\0\x10\0\0\x10\x27\0\0\0\0\0\0");
        check_header(&sound, &geometry, &[7; 32]).expect("its own");
        assert!(matches!(check_header(&sound, &geometry, &[8; 32]), Err(Problem::OtherDisk)));
        let other = Geometry::new(10_001).expect("small");
        assert!(matches!(check_header(&sound, &other, &[7; 32]), Err(Problem::OtherSize { recorded: 10_000, .. })));
        for at in 0..88 {
            let mut broken = sound;
            broken[at] ^= 0x10;
            assert!(check_header(&broken, &geometry, &[7; 32]).is_err(), "byte {at}");
        }
        assert!(matches!(check_header(&[], &geometry, &[7; 32]), Err(Problem::NotAnOverlay)));
    }
}
