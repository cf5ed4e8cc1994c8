//! Reading extents of a source: what is unallocated is not read, and what cannot be read is told.
//!
//! Always true here: what a source said of its allocation is asked again only where it did not say it, so that a disk of a million
//! small files is not asked a million times.

use crate::disk::{DiskOffset, Extent, ReadAt, ReadError};
use crate::format::manifest::HoleKind;
use crate::image::ResilientReader;
use crate::ops::{Cancel, OpsError};
use std::ops::Range;

/// A part of what was read, as data or as a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub range: Range<usize>,
    pub hole: Option<HoleKind>,
}

impl Stretch {
    /// Takes what was lost out of stretches that follow one another.
    pub(super) fn without(stretches: Vec<Self>, lost: &[Range<usize>]) -> Vec<Self> {
        if lost.is_empty() {
            return stretches;
        }
        let mut left: Vec<Self> = Vec::new();
        for stretch in stretches {
            let mut at = stretch.range.start;
            for gone in lost.iter().filter(|gone| gone.start < stretch.range.end && gone.end > stretch.range.start) {
                let (start, end) = (gone.start.max(at), gone.end.min(stretch.range.end));
                if start > at {
                    left.push(Self { range: at..start, hole: stretch.hole });
                }
                if end > start {
                    left.push(Self { range: start..end, hole: Some(HoleKind::Unreadable) });
                }
                at = at.max(end);
            }
            if at < stretch.range.end {
                left.push(Self { range: at..stretch.range.end, hole: stretch.hole });
            }
        }
        left
    }
}

/// Reads a source.
pub(super) struct Reader<'a> {
    source: &'a dyn ReadAt,
    resilient: ResilientReader<'a>,
    source_name: &'a str,
    cancel: &'a Cancel,
    /// The last answer: from where on was asked, and where data is; empty at the end where there is none.
    known: Option<(u64, Range<u64>)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn ReadAt, source_name: &'a str, cancel: &'a Cancel) -> Self {
        Self { source, resilient: ResilientReader::new(source), source_name, cancel, known: None }
    }

    pub(super) fn check(&self) -> Result<(), OpsError> {
        self.cancel.check()
    }

    /// The next data at or behind `from`; empty at the disk's end where there is none.
    pub(super) fn next_data(&mut self, from: u64) -> Result<Range<u64>, OpsError> {
        if let Some((asked, data)) = &self.known
            && (*asked..data.end).contains(&from)
        {
            return Ok(data.start.max(from)..data.end);
        }
        let size = self.source.size();
        let data = self.source.next_data(DiskOffset(from)).map_err(|error| self.failed(error))?;
        let data = data.map_or(size..size, |data| data.start.max(from)..data.end);
        // A source that says that data begins and ends at the same place would keep us here for ever.
        let data = if data.is_empty() && data.start < size { data.start..size } else { data };
        self.known = Some((from, data.clone()));
        Ok(data)
    }

    /// Whether no byte of these extents is allocated.
    pub(super) fn is_unallocated(&mut self, extents: &[Extent]) -> Result<bool, OpsError> {
        for extent in extents {
            if self.next_data(extent.start.0)?.start < extent.start.0 + extent.length {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fills `content` with the bytes of these extents, one behind the other. What cannot be read is told in ranges of `content`, in
    /// rising order. Gives the number of bytes that were asked of the source.
    pub(super) fn read(
        &mut self,
        extents: &[Extent],
        content: &mut [u8],
        lost: &mut Vec<Range<usize>>,
    ) -> Result<u64, OpsError> {
        let (mut filled, mut read) = (0, 0);
        for extent in extents {
            let (mut position, end) = (extent.start.0, extent.start.0 + extent.length);
            let base = filled;
            let at = |offset: u64| base + usize::try_from(offset - extent.start.0).unwrap_or(usize::MAX);
            while position < end {
                let data = self.next_data(position)?;
                let data = data.start.clamp(position, end)..data.end.clamp(position, end);
                content[at(position)..at(data.start)].fill(0);
                if data.is_empty() {
                    // Nothing more in this extent.
                    break;
                }
                let mut gone: Vec<Extent> = Vec::new();
                self.resilient
                    .read(DiskOffset(data.start), &mut content[at(data.start)..at(data.end)], &mut |run| gone.push(run))
                    .map_err(|error| self.failed(error))?;
                lost.extend(gone.iter().map(|run| at(run.start.0)..at(run.start.0 + run.length)));
                read += data.end - data.start;
                position = data.end;
            }
            filled = at(end);
        }
        lost.sort_unstable_by_key(|range| range.start);
        Ok(read)
    }

    fn failed(&self, source: ReadError) -> OpsError {
        OpsError::Source { source_name: self.source_name.to_owned(), source }
    }
}
