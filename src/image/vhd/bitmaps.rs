//! The sector bitmaps of a differencing disk: which sectors of a block are the child's own.
//!
//! Always true here:
//! - Bitmaps are read when they are asked for, one sector of them at a time, and a fixed number of those is kept: memory
//!   does not grow with the disk.
//! - The most significant bit of a byte is the sector that comes first.

use super::super::container::FileOffset;
use super::footer::SECTOR;
use crate::disk::{DiskOffset, ReadAt, ReadError};
use std::sync::{Mutex, PoisonError};

/// Bytes of a bitmap that are read and kept together; bitmaps are padded to whole sectors, so that no more belongs to one.
const PAGE: usize = SECTOR as usize;
/// Sectors of the disk that a page tells of.
const SECTORS_PER_PAGE: u64 = PAGE as u64 * 8;
/// Pages that are kept: 64 KiB in all, the bitmaps of 256 MiB in blocks of 2 MiB.
const PAGES: usize = 128;

type Page = [u8; PAGE];

/// The bitmaps that were read last.
pub(super) struct Bitmaps {
    /// By the number of the page's sector in the file, modulo the length. A slot holds where its page lies.
    pages: Mutex<Vec<Option<(FileOffset, Page)>>>,
}

impl Bitmaps {
    pub(super) fn new() -> Self {
        Self { pages: Mutex::new(Vec::new()) }
    }

    /// Whether `sector` of the block whose bitmap lies at `bitmap` is the child's own, and how many sectors from there on
    /// are surely alike: at least one, and not beyond sector `end`.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn run(
        &self,
        file: &dyn ReadAt,
        bitmap: FileOffset,
        sector: u64,
        end: u64,
    ) -> Result<(bool, u64), ReadError> {
        let first = sector / SECTORS_PER_PAGE * SECTORS_PER_PAGE;
        let page = self.page(file, FileOffset(bitmap.0 + first / 8))?;
        let inside = sector - first;
        let own = bit(&page, inside);
        let (alike, end) = (if own { 0xff } else { 0 }, (end - first).min(SECTORS_PER_PAGE));
        let mut next = inside + 1;
        while next < end && bit(&page, next) == own {
            // Whole bytes at once: most of a bitmap is one run.
            let whole =
                next.is_multiple_of(8) && usize::try_from(next / 8).is_ok_and(|byte| page.get(byte) == Some(&alike));
            next += if whole { 8 } else { 1 };
        }
        Ok((own, next.min(end).max(inside + 1) - inside))
    }

    fn page(&self, file: &dyn ReadAt, at: FileOffset) -> Result<Page, ReadError> {
        let slot = usize::try_from(at.0 / SECTOR % PAGES as u64).unwrap_or(0);
        {
            // A thread that panicked while it held the lock left whole pages behind.
            let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Some((offset, page))) = pages.get(slot)
                && *offset == at
            {
                return Ok(*page);
            }
        }
        // Without the lock, so that threads wait for the file and not for one another.
        let mut page = [0; PAGE];
        file.read_at(DiskOffset(at.0), &mut page)?;
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.is_empty() {
            pages.resize(PAGES, None);
        }
        if let Some(kept) = pages.get_mut(slot) {
            *kept = Some((at, page));
        }
        Ok(page)
    }
}

fn bit(page: &Page, sector: u64) -> bool {
    let byte = usize::try_from(sector / 8).ok().and_then(|byte| page.get(byte)).copied().unwrap_or(0);
    byte & (0x80 >> (sector % 8)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_those_of_the_bits(
            fill in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xff), any::<u8>()], 1024),
            from in 0..8192_u64, end in 1..8193_u64, pages in 0..3_u64,
        ) {
            let (from, end) = (from.min(end - 1), end);
            let mut file = vec![0x55; 512 * pages as usize];
            file.extend(&fill);
            let bitmaps = Bitmaps::new();
            let own = |sector: u64| fill[sector as usize / 8] & (0x80 >> (sector % 8)) != 0;
            let mut at = from;
            while at < end {
                let (found, length) = bitmaps.run(&file, FileOffset(512 * pages), at, end).expect("in the file");
                prop_assert!(length > 0 && at + length <= end);
                prop_assert!((at..at + length).all(|sector| own(sector) == found));
                // A run ends where the bits change, or with the page.
                let next = at + length;
                prop_assert!(next == end || next % 4096 == 0 || own(next) != found);
                at = next;
            }
        }
    }

    #[test]
    fn a_page_that_lost_its_slot_is_read_again() {
        let mut file = vec![0; 512 * (PAGES + 1)];
        file[512 * PAGES] = 0x80;
        let bitmaps = Bitmaps::new();
        for _ in 0..3 {
            assert_eq!(bitmaps.run(&file, FileOffset(0), 0, 8).expect("read"), (false, 8));
            assert_eq!(bitmaps.run(&file, FileOffset(512 * PAGES as u64), 0, 8).expect("read"), (true, 1));
        }
        bitmaps.run(&file, FileOffset(file.len() as u64), 0, 8).expect_err("beyond the end");
    }
}
