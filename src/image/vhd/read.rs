//! A VHD as a disk: where each byte lies, reading it, and where data is.
//!
//! Always true here:
//! - What was never allocated is not read. Nothing of the file is read beyond a block that the table was checked to hold.
//! - Every walk moves on by at least one sector, or to the end of what was asked for.

use super::super::container::{FileOffset, Place, Run};
use super::super::data_search::{DataSearch, joined};
use super::footer::SECTOR;
use super::open::VhdDisk;
use super::table::BlockPlace;
use crate::disk::{DiskOffset, ReadAt, ReadError};
use std::ops::Range;

/// The runs of a disk, one behind the other, from [`VhdDisk::runs`]. After an error there are no more.
#[derive(Debug)]
pub struct Runs<'a> {
    disk: &'a VhdDisk,
    at: u64,
    end: u64,
    /// Found already, when what was before it was handed on.
    next: Option<Run>,
}

impl VhdDisk {
    /// Where the bytes of a range of the disk lie, in rising order and without gaps; what lies beyond the disk's end is
    /// left out. Neighbours differ in their place.
    pub fn runs(&self, range: Range<u64>) -> Runs<'_> {
        Runs { disk: self, at: range.start, end: range.end.min(self.disk_size()), next: None }
    }

    /// Where the byte at `at` lies, and how many bytes from there on lie in the same way: at least one, and not beyond
    /// `end`. `at` is before `end`, and that is on the disk.
    fn place(&self, at: u64, end: u64) -> Result<(Place, u64), ReadError> {
        let Some(table) = &self.table else {
            return Ok((Place::File(FileOffset(at)), end - at));
        };
        let elsewhere = if self.parent.is_some() { Place::Parent } else { Place::Zero };
        let (index, inside) = (at / table.block_size(), at % table.block_size());
        let left = |blocks: u64| (blocks * table.block_size() - inside).min(end - at);
        match table.place(index, end.div_ceil(table.block_size())) {
            BlockPlace::Unused { count } => Ok((elsewhere, left(count))),
            BlockPlace::At { bitmap, data } if self.parent.is_some() => {
                let sector = inside / SECTOR;
                let last = (inside + left(1)).div_ceil(SECTOR);
                let (own, sectors) =
                    self.bitmaps.run(&*self.file, bitmap, sector, last).map_err(|error| moved(error, at))?;
                let length = ((sector + sectors) * SECTOR - inside).min(end - at);
                Ok((if own { Place::File(FileOffset(data.0 + inside)) } else { elsewhere }, length))
            }
            // The bitmap of a disk without a parent is not read. Its clear bits are for sectors that were never written,
            // and these "must contain 512 bytes of zero on disk" ("Block Allocation Table (BAT) and Data Blocks"): with
            // and without it the disk is the same. Where a writer broke that rule, reading the sectors keeps what it
            // wrote, as QEMU does.
            BlockPlace::At { data, .. } => Ok((Place::File(FileOffset(data.0 + inside)), left(1))),
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut run = self.next.take();
        while self.at < self.end {
            let (place, length) = match self.disk.place(self.at, self.end) {
                Ok(found) => found,
                Err(error) => {
                    self.at = self.end;
                    return Some(Err(error));
                }
            };
            let found = Run { start: DiskOffset(self.at), length, place };
            self.at += length;
            match &mut run {
                None => run = Some(found),
                Some(run) if continues(run, place) => run.length += length,
                Some(_) => {
                    self.next = Some(found);
                    break;
                }
            }
        }
        run.map(Ok)
    }
}

/// Whether bytes at `place`, right behind a run on the disk, are behind it in their place too.
fn continues(run: &Run, place: Place) -> bool {
    match (run.place, place) {
        (Place::File(start), Place::File(next)) => start.0.checked_add(run.length) == Some(next.0),
        (one, other) => one == other,
    }
}

impl ReadAt for VhdDisk {
    fn size(&self) -> u64 {
        self.disk_size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        let end = match offset.0.checked_add(length) {
            Some(end) if end <= self.disk_size() => end,
            _ => return Err(ReadError::BeyondEnd { offset, length, size: self.disk_size() }),
        };
        let mut rest = buffer;
        for run in self.runs(offset.0..end) {
            let run = run?;
            let (part, behind) = rest.split_at_mut(usize::try_from(run.length).unwrap_or(usize::MAX).min(rest.len()));
            rest = behind;
            match (run.place, &self.parent) {
                (Place::File(file), _) => {
                    self.file.read_at(DiskOffset(file.0), part).map_err(|error| moved(error, run.start.0))?;
                }
                (Place::Parent, Some(parent)) => parent.read_at(run.start, part)?,
                (Place::Parent | Place::Zero, _) => part.fill(0),
            }
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let mut search = Search::new(self);
        joined(from.0, self.disk_size(), |range| search.first_in(&range))
    }

    /// Always 512: a smaller unit than the file's own costs time where sectors cannot be read, and loses no byte more.
    fn sector_size(&self) -> u32 {
        512
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.file.still_there().map_err(|error| moved(error, 0))?;
        self.parent.as_ref().map_or(Ok(()), |parent| parent.still_there())
    }
}

/// A search for data down a chain, which keeps what the files said.
struct Search<'a> {
    disk: &'a VhdDisk,
    file: DataSearch<'a>,
    parent: Option<Box<Search<'a>>>,
}

impl<'a> Search<'a> {
    fn new(disk: &'a VhdDisk) -> Self {
        let parent = disk.parent().map(|parent| Box::new(Search::new(parent)));
        Self { disk, file: DataSearch::new(&*disk.file), parent }
    }

    /// The first run of data in a range of the disk. Holes of the file itself are holes of the disk too.
    fn first_in(&mut self, range: &Range<u64>) -> Result<Option<Range<u64>>, ReadError> {
        let mut at = range.start;
        while at < range.end {
            let (place, length) = self.disk.place(at, range.end)?;
            match (place, &mut self.parent) {
                (Place::File(file), _) => {
                    let found = self.file.first_in(&(file.0..file.0 + length)).map_err(|error| moved(error, at))?;
                    if let Some(data) = found {
                        return Ok(Some(at + (data.start - file.0)..at + (data.end - file.0)));
                    }
                }
                (Place::Parent, Some(parent)) => {
                    if let Some(data) = parent.first_in(&(at..at + length))? {
                        return Ok(Some(data));
                    }
                }
                (Place::Parent | Place::Zero, _) => {}
            }
            at += length;
        }
        Ok(None)
    }
}

/// An error of the file, told of the disk: it begins at the disk's byte `at`.
fn moved(error: ReadError, at: u64) -> ReadError {
    let offset = DiskOffset(at);
    match error {
        ReadError::Unreadable { length, source, .. } => ReadError::Unreadable { offset, length, source },
        // The file was long enough when it was opened.
        ReadError::BeyondEnd { offset, length, size } => ReadError::Gone {
            reason: format!("{length} bytes at offset {offset} of the VHD file are needed, and it ends at {size} now"),
        },
        ReadError::Gone { reason } => ReadError::Gone { reason },
        ReadError::Damaged { reason, .. } => ReadError::Damaged { offset, reason },
    }
}
