//! What a client may choose: a disk with a name, and where it has data.
//!
//! Always true here:
//! - An export that is not made of an [`Overlay`] cannot be written to, by any request.
//! - A hole that is told begins or ends inside a block of [`GRAIN`] bytes only where the asked range does. A hole reads as zeros.

use super::overlay::Overlay;
use crate::disk::{DiskOffset, ReadAt};
use std::sync::Arc;

/// The grain in which holes are told; smaller ones are served as the zeros that they are.
pub(super) const GRAIN: u64 = 4096;

/// A disk that is served.
pub struct Export {
    name: String,
    description: String,
    disk: Disk,
}

enum Disk {
    Fixed(Arc<dyn ReadAt>),
    Overlay(Arc<Overlay>),
}

impl Export {
    /// A disk that can be read only. The description is shown to people who ask what there is.
    pub fn read_only(name: &str, description: &str, disk: Arc<dyn ReadAt>) -> Self {
        Self { name: name.to_owned(), description: description.to_owned(), disk: Disk::Fixed(disk) }
    }

    /// A disk that can be written to, through an overlay.
    pub fn writable(name: &str, description: &str, overlay: Arc<Overlay>) -> Self {
        Self { name: name.to_owned(), description: description.to_owned(), disk: Disk::Overlay(overlay) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its description; may be empty.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.disk().size()
    }

    /// Whether clients can write to it.
    pub const fn is_writable(&self) -> bool {
        matches!(self.disk, Disk::Overlay(_))
    }

    pub(super) fn disk(&self) -> &dyn ReadAt {
        match &self.disk {
            Disk::Fixed(disk) => &**disk,
            Disk::Overlay(overlay) => &**overlay,
        }
    }

    pub(super) fn overlay(&self) -> Option<&Overlay> {
        match &self.disk {
            Disk::Fixed(_) => None,
            Disk::Overlay(overlay) => Some(overlay),
        }
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("name", &self.name)
            .field("writable", &self.is_writable())
            .finish_non_exhaustive()
    }
}

/// A run of a disk that is all hole or may all be data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The first offset behind it.
    pub(super) end: u64,
    pub(super) hole: bool,
}

/// Runs that are joined at most before an answer is given; a longer one is told in parts.
const MOST_JOINED: usize = 64;

/// What is at `from`, and how far that goes, at most to `end`. The piece is never empty when `from` lies before `end`.
///
/// A disk that cannot say is all data: reading it then tells what is wrong.
pub(super) fn piece(disk: &dyn ReadAt, from: u64, end: u64) -> Piece {
    let mut piece = one_run(disk, from, end);
    for _ in 0..MOST_JOINED {
        if piece.end >= end {
            break;
        }
        let next = one_run(disk, piece.end, end);
        if next.hole != piece.hole {
            break;
        }
        piece = next;
    }
    piece
}

fn one_run(disk: &dyn ReadAt, from: u64, end: u64) -> Piece {
    let all = Piece { end, hole: false };
    let data = match disk.next_data(DiskOffset(from)) {
        Ok(Some(data)) if data.start < end => data,
        Ok(_) => return Piece { end, hole: true },
        Err(_) => return all,
    };
    let start = data.start - data.start % GRAIN;
    if start > from {
        return Piece { end: start, hole: true };
    }
    let stop = data.end.checked_next_multiple_of(GRAIN).map_or(end, |stop| stop.min(end));
    // A disk that names a run before `from` is not asked further, or this would go on for ever.
    if stop > from { Piece { end: stop, hole: false } } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::ReadError;
    use std::ops::Range;

    /// A disk that has data at some runs, whatever they are.
    struct Runs(Vec<Range<u64>>);

    impl ReadAt for Runs {
        fn size(&self) -> u64 {
            100_000
        }

        fn read_at(&self, _: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            buffer.fill(1);
            Ok(())
        }

        fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
            Ok(self.0.iter().find(|run| run.end > from.0).map(|run| run.start.max(from.0)..run.end))
        }
    }

    fn pieces(disk: &dyn ReadAt, mut from: u64, end: u64) -> Vec<(u64, bool)> {
        let mut found = Vec::new();
        while from < end {
            let piece = piece(disk, from, end);
            assert!(piece.end > from && piece.end <= end);
            found.push((piece.end, piece.hole));
            from = piece.end;
        }
        found
    }

    #[test]
    fn holes_are_told_in_whole_grains() {
        let disk = Runs(vec![5000..5001, 9000..20_000]);
        assert_eq!(pieces(&disk, 0, 100_000), [(4096, true), (20_480, false), (100_000, true)]);
        assert_eq!(pieces(&disk, 5, 6), [(6, true)]);
        assert_eq!(pieces(&disk, 4095, 5001), [(4096, true), (5001, false)]);
        assert_eq!(pieces(&disk, 5100, 5200), [(5200, true)], "a part of a hole is one");
        assert_eq!(pieces(&disk, 5100, 9001), [(8192, true), (9001, false)]);
        assert_eq!(pieces(&disk, 20_000, 100_000).last(), Some(&(100_000, true)));
    }

    #[test]
    fn a_disk_that_names_runs_behind_itself_ends_all_the_same() {
        struct Backwards;
        impl ReadAt for Backwards {
            fn size(&self) -> u64 {
                100_000
            }
            fn read_at(&self, _: DiskOffset, _: &mut [u8]) -> Result<(), ReadError> {
                Ok(())
            }
            fn next_data(&self, _: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
                Ok(Some(0..10))
            }
        }
        assert_eq!(pieces(&Backwards, 50_000, 60_000), [(60_000, false)]);
    }
}
