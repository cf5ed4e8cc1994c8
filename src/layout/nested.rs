//! Virtual disks that are files of a volume: opened in place, laid out like any other disk, and told in the offsets of the disk around.
//!
//! Always true here:
//! - What is inside only reorders the bytes of one file. If the result does not have each byte of the file exactly once, the file
//!   is kept as any other file is.
//! - Which formats there are, and how they are read, is not known here: the caller opens files ([`OpenInner`]).

use super::coverage::{Coverage, Kind};
use super::extents::Sorted;
use crate::disk::{DiskOffset, Extent, ReadAt, ReadError, check_range};
use std::sync::Arc;

/// A disk in a file.
pub struct Inner {
    /// The disk.
    pub disk: Arc<dyn ReadAt>,
    /// Which bytes of the disk lie in the file: extent of the disk, and where it begins in the file. Bytes that are not told here
    /// lie nowhere.
    pub places: Vec<(Extent, u64)>,
    /// What the file is, for people.
    pub format: &'static str,
}

/// Opens files that hold disks.
pub trait OpenInner {
    /// The disk in a file, or `None` where the file is no virtual disk, or one that cannot be laid out in place.
    fn open(&self, file: Arc<dyn ReadAt>) -> Option<Inner>;
}

/// Opens nothing: files are files.
#[derive(Debug, Clone, Copy)]
pub struct NoInner;

impl OpenInner for NoInner {
    fn open(&self, _file: Arc<dyn ReadAt>) -> Option<Inner> {
        None
    }
}

/// A file as a disk of its own, over the disk that its volume lies on.
pub(super) struct FileDisk {
    disk: Arc<dyn ReadAt>,
    places: Translation,
    size: u64,
}

impl FileDisk {
    pub(super) fn new(disk: Arc<dyn ReadAt>, extents: &[Extent]) -> Self {
        let places = Translation::of_file(extents);
        let size = places.0.last().map_or(0, |(from, length, _)| from + length);
        Self { disk, places, size }
    }
}

impl ReadAt for FileDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.size)?;
        let mut rest = buffer;
        for piece in self.places.map(Extent { start: offset, length }) {
            let (part, behind) = rest.split_at_mut(usize::try_from(piece.length).unwrap_or(usize::MAX).min(rest.len()));
            rest = behind;
            self.disk.read_at(piece.start, part)?;
        }
        Ok(())
    }
}

/// From offsets in one space to offsets in another, where they have one.
#[derive(Debug, Default)]
pub(super) struct Translation(Vec<(u64, u64, u64)>);

impl Translation {
    /// From a file's offsets to those of its extents.
    pub(super) fn of_file(extents: &[Extent]) -> Self {
        let mut from = 0_u64;
        let place = |extent: &Extent| {
            let at = from;
            from = from.saturating_add(extent.length);
            (at, extent.length, extent.start.0)
        };
        Self(extents.iter().map(place).collect())
    }

    /// From an inner disk's offsets to those of its file; `None` where the places do not rise.
    fn of_inner(places: &[(Extent, u64)]) -> Option<Self> {
        let mut end = 0;
        let mut list = Vec::with_capacity(places.len());
        for (extent, at) in places {
            if extent.start.0 < end || at.checked_add(extent.length).is_none() {
                return None;
            }
            end = extent.end()?.0;
            list.push((extent.start.0, extent.length, *at));
        }
        Some(Self(list))
    }

    /// Where the bytes of an extent are in the other space; those that are nowhere are left out.
    pub(super) fn map(&self, extent: Extent) -> impl Iterator<Item = Extent> + '_ {
        let (start, end) = (extent.start.0, extent.start.0.saturating_add(extent.length));
        let first = self.0.partition_point(|(from, length, _)| from.saturating_add(*length) <= start);
        self.0[first..].iter().take_while(move |(from, ..)| *from < end).map(move |(from, length, to)| {
            let (piece, stop) = ((*from).max(start), from.saturating_add(*length).min(end));
            Extent { start: DiskOffset(to + (piece - from)), length: stop - piece }
        })
    }

    /// A division, told in the other space.
    pub(super) fn map_all(&self, coverage: &Coverage) -> Coverage {
        let mut mapped = Coverage::default();
        let mut pieces = Vec::new();
        for (kind, extents) in coverage.streams() {
            pieces.clear();
            pieces.extend(extents.iter().flat_map(|extent| self.map(*extent)));
            mapped.push(kind, &pieces);
        }
        for (why, extent) in coverage.holes() {
            self.map(*extent).for_each(|piece| mapped.push_hole(*why, piece));
        }
        mapped
    }
}

/// A file of `size` bytes divided along the disk in it; `None` where that does not come out even.
pub(super) fn of_file(inside: &Coverage, places: &[(Extent, u64)], size: u64) -> Option<Coverage> {
    let mut coverage = Translation::of_inner(places)?.map_all(inside);
    let disk = places.iter().map(|(extent, at)| Extent { start: DiskOffset(*at), length: extent.length });
    // What is not the disk's is the container's own: headers, tables, bitmaps.
    coverage.push(Kind::Records, &Sorted::new(disk.collect()).gaps(size));
    coverage.covers(size).then_some(coverage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, length: u64) -> Extent {
        Extent { start: DiskOffset(start), length }
    }

    #[test]
    fn a_file_is_read_through_its_extents() {
        let disk: Arc<dyn ReadAt> = Arc::new((0..100).collect::<Vec<u8>>());
        let file = FileDisk::new(disk, &[extent(50, 3), extent(10, 2), extent(90, 5)]);
        let mut all = [0; 10];
        file.read_at(DiskOffset(0), &mut all).expect("inside");
        assert_eq!(all, [50, 51, 52, 10, 11, 90, 91, 92, 93, 94]);
        let mut two = [0; 2];
        file.read_at(DiskOffset(4), &mut two).expect("inside");
        assert_eq!(two, [11, 90]);
        file.read_at(DiskOffset(9), &mut two).expect_err("beyond");
    }

    #[test]
    fn what_is_inside_is_told_in_the_files_offsets() {
        let mut inside = Coverage::default();
        inside.push(Kind::File, &[extent(20, 10), extent(0, 10)]);
        inside.push(Kind::Other, &[extent(10, 10)]);
        // Blocks of 10 in falling order behind 5 bytes of structures; the second lies nowhere.
        let places = [(extent(0, 10), 15), (extent(20, 10), 5)];
        let coverage = of_file(&inside, &places, 30).expect("even");
        let streams: Vec<_> = coverage.streams().map(|(kind, extents)| (kind, extents.to_vec())).collect();
        assert_eq!(streams, [(Kind::File, vec![extent(5, 20)]), (Kind::Records, vec![extent(0, 5), extent(25, 5)])]);
        assert!(of_file(&inside, &[(extent(0, 10), 15), (extent(20, 10), 16)], 30).is_none(), "twice in one place");
        assert!(of_file(&inside, &[(extent(20, 10), 5), (extent(0, 10), 15)], 30).is_none(), "not in order");
        assert!(of_file(&inside, &[(extent(0, 10), 25)], 30).is_none(), "beyond the file");
    }
}
