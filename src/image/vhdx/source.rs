//! Reading a VHDX as a disk, and saying where its bytes lie.
//!
//! Always true here:
//! - Every byte comes from one place: the block's bytes in the file, the log where it wrote there, the parent, or nowhere.
//! - Errors of the file below speak of the disk's offsets; only a file that shrinks while it is read makes the disk gone.

use std::ops::Range;

use super::super::container::{FileOffset, Place, Run};
use super::super::data_search::joined;
use super::bat::Kind;
use super::bitmap::BitmapFault;
use super::disk::VhdxDisk;
use super::error::VhdxError;
use super::replayed::Bytes;
use crate::disk::{DiskOffset, ReadAt, ReadError, check_range};

/// Where bytes of the disk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Zero,
    Parent,
    /// In the file.
    File(FileOffset),
    /// At this place in the file once the log is replayed; in memory until then.
    Log(FileOffset),
}

impl VhdxDisk {
    /// Where the byte at an offset of the disk is, and for how many bytes that holds; at least one.
    fn locate(&self, offset: u64) -> Result<(Source, u64), BitmapFault> {
        let (kind, place, mut length) = self.map.find(offset);
        match kind {
            Kind::Zero => return Ok((Source::Zero, length)),
            Kind::Parent => return Ok((Source::Parent, length)),
            Kind::File => {}
            Kind::Partial => {
                let (is_present, run) = self.bitmaps.find(&self.file, &self.map, offset)?;
                length = length.min(run);
                if !is_present {
                    return Ok((Source::Parent, length));
                }
            }
        }
        let (bytes, run) = self.file.locate(place);
        let source = match bytes {
            Bytes::File => Source::File(place),
            Bytes::Zero => Source::Zero,
            Bytes::Log(_) => Source::Log(place),
        };
        Ok((source, length.min(run)))
    }

    /// As [`Self::locate`], for readers of the disk.
    fn locate_to_read(&self, offset: u64) -> Result<(Source, u64), ReadError> {
        self.locate(offset).map_err(|fault| on_disk(fault.source, offset, self.map.block_size()))
    }

    /// Where the bytes of a part of the disk lie, in rising order and without gaps; neighbours differ in kind, or do not
    /// follow one another in the file. What lies beyond the disk's end is left out.
    ///
    /// An item is an error where a sector bitmap cannot be read, and where the disk's bytes come from the log, which has
    /// no business with them ([MS-VHDX] §2.3): they lie nowhere in the file. The iterator ends there.
    pub fn runs(&self, range: Range<u64>) -> Runs<'_> {
        Runs { disk: self, at: range.start, end: range.end.min(self.size) }
    }

    /// The first run of bytes in a part of the disk that may be anything but zeros; no longer than one source is. No file
    /// of the chain is asked about more than this part: so a search costs what the part holds, however the children cut it.
    fn first_data(&self, range: Range<u64>) -> Result<Option<Range<u64>>, ReadError> {
        let mut at = range.start;
        while at < range.end {
            let (source, run) = self.locate_to_read(at)?;
            let piece = at..at.saturating_add(run).min(range.end);
            at = piece.end;
            let found = match (source, &self.parent) {
                (Source::Zero, _) => None,
                (Source::File(place), _) => {
                    let length = piece.end - piece.start;
                    let data = self.file.data_in(place.0..place.0 + length);
                    let data = data.map_err(|error| on_disk(error, piece.start, length))?;
                    data.map(|data| piece.start + (data.start - place.0)..piece.start + (data.end - place.0))
                }
                (Source::Parent, Some(parent)) => parent.first_data(piece)?,
                // Reading it says what is wrong, where there is no parent.
                (Source::Log(_) | Source::Parent, _) => Some(piece),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl ReadAt for VhdxDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.size)?;
        let mut at = offset.0;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (source, run) = self.locate_to_read(at)?;
            let count = usize::try_from(run).unwrap_or(usize::MAX).min(rest.len());
            let (piece, behind) = rest.split_at_mut(count);
            match (source, &self.parent) {
                (Source::Zero, _) => piece.fill(0),
                (Source::File(place) | Source::Log(place), _) => {
                    self.file.read(place, piece).map_err(|error| on_disk(error, at, count as u64))?;
                }
                (Source::Parent, Some(parent)) => parent.read_at(DiskOffset(at), piece)?,
                // Never met: blocks are the parent's only in a file that has one.
                (Source::Parent, None) => {
                    let reason = "the block is the parent's, and there is no parent".to_owned();
                    return Err(ReadError::Damaged { offset: DiskOffset(at), reason });
                }
            }
            at += count as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        joined(from.0, self.size, |range| self.first_data(range))
    }

    fn sector_size(&self) -> u32 {
        self.facts().logical_sector_size
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.file.raw().still_there().map_err(|error| on_disk(error, 0, self.size))?;
        self.parent.as_ref().map_or(Ok(()), |parent| parent.still_there())
    }
}

/// An error of the container file, told of the bytes of the disk that it keeps from being read.
fn on_disk(error: ReadError, offset: u64, length: u64) -> ReadError {
    let offset = DiskOffset(offset);
    match error {
        ReadError::Unreadable { source, .. } => ReadError::Unreadable { offset, length, source },
        ReadError::Damaged { reason, .. } => ReadError::Damaged { offset, reason },
        ReadError::BeyondEnd { size, .. } => {
            ReadError::Gone { reason: format!("the VHDX file now ends at {size} bytes: it shrank while it was read") }
        }
        gone @ ReadError::Gone { .. } => gone,
    }
}

/// The runs of a part of a disk; see [`VhdxDisk::runs`].
#[derive(Debug)]
pub struct Runs<'a> {
    disk: &'a VhdxDisk,
    at: u64,
    end: u64,
}

impl Runs<'_> {
    /// The next piece of one source; the caller has checked that one is left.
    fn piece(&self, at: u64) -> Result<(Place, u64), VhdxError> {
        let located = self.disk.locate(at);
        let (source, length) = located.map_err(|fault| VhdxError::Read {
            what: "a sector bitmap",
            offset: fault.offset,
            source: fault.source,
        })?;
        let place = match source {
            Source::Zero => Place::Zero,
            Source::Parent => Place::Parent,
            Source::File(place) => Place::File(place),
            Source::Log(place) => {
                let (what, expected) = ("a block of the disk", "bytes that no log entry writes");
                return Err(VhdxError::wrong(what, place, expected, "a pending log entry that writes them"));
            }
        };
        Ok((place, length.min(self.end - at)))
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, VhdxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let start = self.at;
        let (place, mut length) = match self.piece(start) {
            Ok(piece) => piece,
            Err(error) => {
                self.at = self.end;
                return Some(Err(error));
            }
        };
        // Pieces that go on where the run is are one run. An error in the next piece is the next item.
        while start + length < self.end {
            let goes_on = match place {
                Place::File(from) => Place::File(FileOffset(from.0 + length)),
                place => place,
            };
            match self.piece(start + length) {
                Ok((next, more)) if next == goes_on => length += more,
                _ => break,
            }
        }
        self.at = start + length;
        Some(Ok(Run { start: DiskOffset(start), length, place }))
    }
}
