//! File allocation tables: which cluster follows which.
//!
//! Always true here:
//! - A table is held in windows, of which at most [`SLOTS`] are in memory: 16 MiB.
//! - A chain that is told is one of clusters that exist and that nothing else led to before; so is the beginning of one that breaks.
//!
//! Structures: Microsoft FAT specification 1.03, "FAT Data Structure"; Microsoft exFAT specification, section 4.1.

use super::heap::{Heap, Visited, push, read};
use crate::disk::{Extent, ReadAt};
use crate::layout::field::{u16_at, u32_at};
use crate::layout::{Claims, LayoutError};

/// Bytes of a window. All entries of 12 bits that there can be fit into one, and no wider one lies across two.
pub(in crate::layout) const WINDOW: u64 = 64 << 10;
/// Windows that are kept. A window has one place where it can be.
const SLOTS: u64 = 256;

/// How the entries of a table are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::layout) enum Width {
    /// Three bytes for two entries.
    Bits12,
    Bits16,
    /// 32 bits, of which the upper 4 have no meaning.
    Bits28,
    /// exFAT.
    Bits32,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::layout) enum Next {
    Free,
    Cluster(u32),
    /// The chain ends with this cluster.
    End,
    Bad,
}

/// Why there is no chain.
#[derive(Debug)]
pub(in crate::layout) struct Broken {
    pub(in crate::layout) cause: LayoutError,
    /// The chain leads to a cluster that the table calls free.
    pub(in crate::layout) meets_free: bool,
}

impl From<LayoutError> for Broken {
    fn from(cause: LayoutError) -> Self {
        Self { cause, meets_free: false }
    }
}

/// A file allocation table.
pub(in crate::layout) struct Table<V> {
    volume: V,
    /// In bytes of the volume.
    start: u64,
    length: u64,
    width: Width,
    held: Vec<Option<(u64, Vec<u8>)>>,
}

impl<V: ReadAt> Table<V> {
    /// The table of `length` bytes at `start`; both are inside the volume.
    pub(in crate::layout) fn new(volume: V, start: u64, length: u64, width: Width) -> Self {
        let slots = length.div_ceil(WINDOW).min(SLOTS);
        Self { volume, start, length, width, held: (0..slots).map(|_| None).collect() }
    }

    /// Where an entry begins, in bytes of the table.
    const fn place(&self, cluster: u32) -> u64 {
        let cluster = cluster as u64;
        match self.width {
            Width::Bits12 => cluster + cluster / 2,
            Width::Bits16 => cluster * 2,
            Width::Bits28 | Width::Bits32 => cluster * 4,
        }
    }

    /// The window with this number, read where it is not at hand.
    pub(in crate::layout) fn window(&mut self, number: u64) -> Result<&[u8], LayoutError> {
        const WHAT: &str = "a file allocation table";
        let start = number.saturating_mul(WINDOW);
        let beyond =
            || LayoutError::malformed(WHAT, self.start, format_args!("a table longer than {start}"), self.length);
        let left = self.length.checked_sub(start).filter(|left| *left > 0).ok_or_else(beyond)?;
        let slot = self.held.get_mut((number % SLOTS) as usize).ok_or_else(beyond)?;
        if slot.as_ref().is_none_or(|(own, _)| *own != number) {
            let mut bytes = vec![0; left.min(WINDOW) as usize];
            read(&self.volume, WHAT, self.start.saturating_add(start), &mut bytes)?;
            *slot = Some((number, bytes));
        }
        Ok(slot.as_ref().map_or(&[], |(_, bytes)| bytes))
    }

    /// The entry of a cluster as it is stored; for entries 0 and 1 too, which belong to no cluster.
    pub(in crate::layout) fn entry(&mut self, cluster: u32) -> Result<u32, LayoutError> {
        let (place, width) = (self.place(cluster), self.width);
        let window = self.window(place / WINDOW)?;
        Ok(entry(window, (place % WINDOW) as usize, width, cluster))
    }

    /// What the entry of a cluster says.
    pub(in crate::layout) fn next(&mut self, cluster: u32) -> Result<Next, LayoutError> {
        let width = self.width;
        self.entry(cluster).map(|entry| meaning(entry, width))
    }

    /// The clusters from `first` to the end of the chain, as bytes of the volume. At most `most` clusters.
    pub(in crate::layout) fn chain(
        &mut self,
        heap: &Heap,
        visited: &mut Visited,
        first: u32,
        most: u64,
    ) -> Result<Vec<Extent>, Broken> {
        let mut extents = Vec::new();
        self.follow(heap, visited, first, most, &mut extents).map(|()| extents)
    }

    /// Appends the clusters from `first` to the end of the chain to `extents`, or those that are in front of what is wrong with it.
    pub(in crate::layout) fn follow(
        &mut self,
        heap: &Heap,
        visited: &mut Visited,
        first: u32,
        most: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), Broken> {
        const WHAT: &str = "a chain of clusters";
        let (mut cluster, mut count) = (first, 0);
        // The entry that led here; the first cluster is told by a directory, and then it is its own.
        let mut from = self.start.saturating_add(self.place(first));
        loop {
            if !heap.holds(cluster) {
                let expected = format_args!("a cluster from 2 to {}", u64::from(heap.clusters) + 1);
                return Err(LayoutError::malformed(WHAT, from, expected, cluster).into());
            }
            if count == most {
                let expected = format_args!("at most {most} clusters");
                return Err(LayoutError::malformed(WHAT, from, expected, "more").into());
            }
            if !visited.meet(cluster) {
                let found = format_args!("cluster {cluster}, to which something else leads");
                return Err(LayoutError::malformed(WHAT, from, "a cluster of its own", found).into());
            }
            count += 1;
            push(extents, heap.extent(cluster, 1));
            if extents.len() > Claims::MOST_EXTENTS {
                return Err(LayoutError::TooMany { what: "extents", limit: Claims::MOST_EXTENTS as u64 }.into());
            }
            from = self.start.saturating_add(self.place(cluster));
            match self.next(cluster)? {
                Next::Cluster(next) => cluster = next,
                Next::End => return Ok(()),
                meets @ (Next::Free | Next::Bad) => {
                    let found = if meets == Next::Free { "a free cluster" } else { "a bad cluster" };
                    let cause = LayoutError::malformed(WHAT, from, "the next cluster, or the end", found);
                    return Err(Broken { cause, meets_free: meets == Next::Free });
                }
            }
        }
    }
}

/// The entry of a cluster that begins at an offset of a window.
fn entry(window: &[u8], at: usize, width: Width, cluster: u32) -> u32 {
    match width {
        Width::Bits12 => u32::from(u16_at(window, at)) >> (cluster % 2 * 4) & 0xfff,
        Width::Bits16 => u32::from(u16_at(window, at)),
        Width::Bits28 => u32_at(window, at) & 0x0fff_ffff,
        Width::Bits32 => u32_at(window, at),
    }
}

/// What an entry means.
const fn meaning(entry: u32, width: Width) -> Next {
    let bad = match width {
        Width::Bits12 => 0xff7,
        Width::Bits16 => 0xfff7,
        Width::Bits28 => 0x0fff_fff7,
        Width::Bits32 => 0xffff_fff7,
    };
    match entry {
        0 => Next::Free,
        _ if entry == bad => Next::Bad,
        // In exFAT the highest one alone is an end; the others name no cluster.
        _ if entry > bad && (entry == u32::MAX || !matches!(width, Width::Bits32)) => Next::End,
        _ => Next::Cluster(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_12_bits_share_bytes() {
        let bytes = vec![0xf8, 0xff, 0xff, 0x23, 0x61, 0x45];
        let mut table = Table::new(bytes, 0, 6, Width::Bits12);
        assert_eq!([0, 1, 2, 3].map(|cluster| table.entry(cluster).expect("there")), [0xff8, 0xfff, 0x123, 0x456]);
        assert!(table.entry(50_000).is_err());
    }

    #[test]
    fn entries_mean_the_same_in_every_width() {
        for (width, ones) in [(Width::Bits12, 0xfff), (Width::Bits16, 0xffff), (Width::Bits28, 0x0fff_ffff)] {
            assert_eq!(meaning(0, width), Next::Free);
            assert_eq!(meaning(ones - 9, width), Next::Cluster(ones - 9));
            assert_eq!(meaning(ones - 8, width), Next::Bad);
            assert_eq!(meaning(ones - 7, width), Next::End);
            assert_eq!(meaning(ones, width), Next::End);
        }
        assert_eq!(meaning(u32::MAX - 1, Width::Bits32), Next::Cluster(u32::MAX - 1));
        assert_eq!(meaning(u32::MAX - 8, Width::Bits32), Next::Bad);
    }
}
