//! Which sectors of a differencing disk's blocks are in its file ([MS-VHDX] §2.4, §2.5.1.2).
//!
//! Always true here: of all bitmaps, those of at most [`SLOTS`] blocks are kept, each at most 64 KiB. A set bit says that
//! the sector is in the file; the lowest bit of a byte comes first.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::container::FileOffset;
use super::bat::BlockMap;
use super::replayed::ReplayedFile;
use crate::disk::ReadError;

/// How many blocks' bitmaps are kept. A disk is mostly read from front to back, by a few threads near one another.
const SLOTS: usize = 16;

/// A block and its bits.
type Slot = Option<(u64, Arc<[u8]>)>;

/// The bitmaps of a disk.
pub(super) struct Bitmaps {
    slots: [Mutex<Slot>; SLOTS],
    sector: u64,
}

/// A bitmap that cannot be read.
#[derive(Debug)]
pub(super) struct BitmapFault {
    pub(super) offset: FileOffset,
    pub(super) source: ReadError,
}

impl Bitmaps {
    /// For a disk with sectors of `sector` bytes.
    pub(super) fn new(sector: u32) -> Self {
        Self { slots: Default::default(), sector: u64::from(sector) }
    }

    /// Whether the byte at an offset of the disk is in the file, and for how many bytes up to the block's end that
    /// holds; at least one.
    pub(super) fn find(&self, file: &ReplayedFile, map: &BlockMap, offset: u64) -> Result<(bool, u64), BitmapFault> {
        let block = offset / map.block_size();
        let bits = self.bits(file, map, block)?;
        let inside = offset % map.block_size();
        let sector = inside / self.sector;
        let (is_present, sectors) = run_of_bits(&bits, sector as usize);
        Ok((is_present, (sector + sectors as u64) * self.sector - inside))
    }

    fn bits(&self, file: &ReplayedFile, map: &BlockMap, block: u64) -> Result<Arc<[u8]>, BitmapFault> {
        // The remainder fits whatever the block.
        let slot = &self.slots[(block % SLOTS as u64) as usize];
        if let Some((kept, bits)) = &*slot.lock().unwrap_or_else(PoisonError::into_inner)
            && *kept == block
        {
            return Ok(Arc::clone(bits));
        }
        // From 32 bytes to 64 KiB.
        let length = map.block_size() / self.sector / 8;
        let mut bits = vec![0; length as usize];
        // Blocks that are there in part were checked to have one.
        if let Some(offset) = map.bitmap(block, length) {
            file.read(offset, &mut bits).map_err(|source| BitmapFault { offset, source })?;
        }
        let bits: Arc<[u8]> = bits.into();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((block, Arc::clone(&bits)));
        Ok(bits)
    }
}

/// The value of a bit, and how many bits from there on have it.
fn run_of_bits(bits: &[u8], from: usize) -> (bool, usize) {
    let bit = |index: usize| bits[index / 8] >> (index % 8) & 1 == 1;
    let (value, count) = (bit(from), bits.len() * 8);
    let whole = if value { u8::MAX } else { 0 };
    let mut end = from + 1;
    while end < count {
        if end.is_multiple_of(8) && bits[end / 8] == whole {
            end += 8;
        } else if bit(end) == value {
            end += 1;
        } else {
            break;
        }
    }
    (value, end - from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_of_bits_are_those_of_a_plain_count(bits in prop::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], 1..20)) {
            let plain: Vec<bool> = (0..bits.len() * 8).map(|index| bits[index / 8] & (1 << (index % 8)) != 0).collect();
            for from in 0..plain.len() {
                let count = plain[from..].iter().take_while(|bit| **bit == plain[from]).count();
                prop_assert_eq!(run_of_bits(&bits, from), (plain[from], count));
            }
        }
    }
}
