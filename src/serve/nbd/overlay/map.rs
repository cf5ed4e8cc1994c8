//! Which block is where: the map of an overlay, in memory.
//!
//! Always true here:
//! - A page that is not there is one of blocks of the disk below: memory is taken only for those that were written.
//! - A page that differs from the file is marked, until it has been taken to be written there.

use super::error::Problem;
use super::format::{BLOCK, BLOCKS_OF_PAGE};
use std::collections::BTreeSet;
use std::ops::Range;

/// A page as it is in the file.
pub(super) type Page = [u8; BLOCK as usize];

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// On the disk below.
    Below = 0,
    /// In the overlay's file.
    Here = 1,
    /// Nowhere: it is zeros.
    Zero = 2,
}

impl State {
    const fn of(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Here,
            2 => Self::Zero,
            _ => Self::Below,
        }
    }

    /// A byte of four blocks of this state.
    const fn four(self) -> u8 {
        self as u8 * 0b0101_0101
    }
}

/// The map of all blocks.
#[derive(Debug)]
pub(super) struct Map {
    blocks: u64,
    pages: Vec<Option<Box<Page>>>,
    changed: BTreeSet<usize>,
}

/// The page, the byte in it and the bits to shift by, of a block.
const fn place(block: u64) -> (usize, usize, u32) {
    let in_page = block % BLOCKS_OF_PAGE;
    ((block / BLOCKS_OF_PAGE) as usize, (in_page / 4) as usize, (in_page % 4) as u32 * 2)
}

impl Map {
    /// A map of blocks that are all on the disk below.
    pub(super) fn new(blocks: u64) -> Self {
        let pages = usize::try_from(blocks.div_ceil(BLOCKS_OF_PAGE)).unwrap_or(0);
        Self { blocks, pages: vec![None; pages], changed: BTreeSet::new() }
    }

    /// Takes a page as the file has it.
    ///
    /// # Errors
    /// [`Problem::Damaged`]: a block has a state that there is none of, or is behind the end.
    pub(super) fn load(&mut self, index: usize, page: &Page) -> Result<(), Problem> {
        let first = index as u64 * BLOCKS_OF_PAGE;
        let known = usize::try_from(self.blocks.saturating_sub(first).min(BLOCKS_OF_PAGE)).unwrap_or(0);
        let behind = |at: usize| at * 4 + 4 > known;
        for (at, byte) in page.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            if byte & (byte >> 1) & 0b0101_0101 != 0 {
                return Err(Problem::Damaged { reason: "its map has a block in no state that there is" });
            }
            if behind(at) && (0..4).any(|block| at * 4 + block >= known && byte >> (block * 2) & 3 != 0) {
                return Err(Problem::Damaged { reason: "its map has a block behind the end of the disk" });
            }
        }
        if let Some(place) = self.pages.get_mut(index).filter(|_| page.iter().any(|byte| *byte != 0)) {
            *place = Some(Box::new(*page));
        }
        Ok(())
    }

    /// Where a block is.
    pub(super) fn state(&self, block: u64) -> State {
        let (page, byte, shift) = place(block);
        let found = self.pages.get(page).and_then(Option::as_ref).and_then(|page| page.get(byte));
        State::of(found.map_or(0, |byte| byte >> shift))
    }

    /// Where a block is, and the first block behind it that is elsewhere or on the next page; always behind `block`.
    pub(super) fn run(&self, block: u64) -> (State, u64) {
        let (page, ..) = place(block);
        let page_end = (block / BLOCKS_OF_PAGE + 1).saturating_mul(BLOCKS_OF_PAGE).min(self.blocks.max(block + 1));
        let Some(bytes) = self.pages.get(page).and_then(Option::as_ref) else { return (State::Below, page_end) };
        let state = self.state(block);
        let mut next = block + 1;
        while next < page_end {
            let (_, byte, shift) = place(next);
            let bits = bytes.get(byte).copied().unwrap_or(0);
            if shift == 0 && bits == state.four() {
                next += 4;
            } else if State::of(bits >> shift) == state {
                next += 1;
            } else {
                break;
            }
        }
        (state, next.min(page_end))
    }

    /// Sets the state of blocks.
    pub(super) fn set(&mut self, blocks: Range<u64>, state: State) {
        for block in blocks {
            if self.state(block) == state {
                continue;
            }
            let (page, byte, shift) = place(block);
            let bytes = self.pages.get_mut(page).map(|page| page.get_or_insert_with(|| Box::new([0; BLOCK as usize])));
            if let Some(bits) = bytes.and_then(|bytes| bytes.get_mut(byte)) {
                *bits = *bits & !(3 << shift) | (state as u8) << shift;
                self.changed.insert(page);
            }
        }
    }

    /// Copies of the pages that differ from the file, which are thereby taken for written.
    pub(super) fn take_changed(&mut self) -> Vec<(usize, Page)> {
        let changed = std::mem::take(&mut self.changed);
        let page = |index: usize| Some((index, **self.pages.get(index)?.as_ref()?));
        changed.into_iter().filter_map(page).collect()
    }

    /// Takes back that pages were written.
    pub(super) fn mark_changed(&mut self, pages: impl Iterator<Item = usize>) {
        self.changed.extend(pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_what_single_blocks_are() {
        let blocks = BLOCKS_OF_PAGE + 100;
        let mut map = Map::new(blocks);
        let mut model = vec![State::Below; usize::try_from(blocks).expect("few")];
        let mut seed = 1_u64;
        for step in 0..200 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let start = (seed >> 33) % blocks;
            let end = (start + (seed >> 20) % 40 + 1).min(blocks);
            let state = if step % 2 == 0 { State::Here } else { State::Zero };
            map.set(start..end, state);
            model[usize::try_from(start).expect("few")..usize::try_from(end).expect("few")].fill(state);
        }
        let mut block = 0;
        while block < blocks {
            let (state, next) = map.run(block);
            assert!(next > block && next <= blocks);
            for inside in block..next {
                assert_eq!(model[usize::try_from(inside).expect("few")], state);
                assert_eq!(map.state(inside), state);
            }
            let joined = next == blocks || next == BLOCKS_OF_PAGE || map.state(next) != state;
            assert!(joined, "a run ended early at {next}");
            block = next;
        }
        let pages = map.take_changed();
        assert_eq!((pages.len(), map.take_changed().len()), (2, 0));
        map.mark_changed([1].into_iter());
        assert_eq!(map.take_changed(), pages[1..]);
        let mut again = Map::new(blocks);
        for (index, page) in &pages {
            again.load(*index, page).expect("sound");
        }
        assert!((0..blocks).all(|block| again.state(block) == map.state(block)));
    }

    #[test]
    fn pages_that_cannot_be_are_refused() {
        let mut map = Map::new(6);
        let mut page = [0; BLOCK as usize];
        page[0] = 0b1001_0110;
        page[1] = 0b0000_1001;
        map.load(0, &page).expect("six blocks");
        assert_eq!(map.state(0), State::Zero);
        page[1] = 0b0001_1001;
        assert!(matches!(map.load(0, &page), Err(Problem::Damaged { .. })), "a seventh block");
        page[1] = 0b0000_0011;
        assert!(matches!(map.load(0, &page), Err(Problem::Damaged { .. })), "a state that there is none of");
        page[1] = 0;
        page[4095] = 1;
        assert!(matches!(map.load(0, &page), Err(Problem::Damaged { .. })), "far behind the end");
    }
}
