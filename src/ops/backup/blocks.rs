//! The first stage of a backup: reading the source in blocks and telling data from zeros.
//!
//! Always true here:
//! - Blocks lie at multiples of [`BLOCK`] on the disk, whatever is allocated; what is data and what is a hole depends on the
//!   disk's bytes alone.
//! - A range that the source calls unallocated is never read.
//! - What cannot be read becomes a hole of its own kind, never zeros that look like content.

use crate::chunk::zeros::{self, MIN_RUN, Run};
use crate::disk::{DiskOffset, Extent, ReadAt, ReadError};
use crate::format::manifest::HoleKind;
use crate::image::ResilientReader;
use crate::ops::{Cancel, OpsError};
use std::ops::Range;

/// Bytes read at once.
pub(super) const BLOCK: usize = 4 << 20;

/// Beyond this many runs of data only whole blocks of zeros become holes, so that the map of a source that alternates
/// between data and zeros stays small.
const MANY_RUNS: usize = 1 << 20;

/// A part of a block. Ranges are counted from the block's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Data(Range<usize>),
    Hole(HoleKind, Range<usize>),
}

/// A block that was read, behind `headroom` bytes of its buffer.
#[derive(Debug)]
pub(super) struct Block {
    pub offset: DiskOffset,
    pub buffer: Vec<u8>,
    pub length: usize,
    pub parts: Vec<Part>,
    pub bytes_read: u64,
}

/// What the reader hands on, in disk order.
pub(super) enum Step {
    Block(Block),
    /// Unallocated: zeros that were not read.
    Skipped(Extent),
}

/// Reads a source from its start to its end.
pub(super) struct BlockReader<'a> {
    source: &'a dyn ReadAt,
    resilient: ResilientReader<'a>,
    source_name: &'a str,
    cancel: &'a Cancel,
    headroom: usize,
    next: u64,
    runs: usize,
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(source: &'a dyn ReadAt, source_name: &'a str, cancel: &'a Cancel, headroom: usize) -> Self {
        Self { source, resilient: ResilientReader::new(source), source_name, cancel, headroom, next: 0, runs: 0 }
    }

    /// The next step, or `None` at the end. `buffer` is taken only for a block.
    pub(super) fn next(&mut self, buffer: &mut Option<Vec<u8>>) -> Result<Option<Step>, OpsError> {
        self.cancel.check()?;
        let size = self.source.size();
        if self.next >= size {
            return Ok(None);
        }
        let data = self.source.next_data(DiskOffset(self.next)).map_err(|error| self.failed(error))?;
        let data_start = data.map_or(size, |range| range.start.max(self.next)).min(size);
        let block_start = data_start / BLOCK as u64 * BLOCK as u64;
        if block_start > self.next || data_start == size {
            let end = if data_start == size { size } else { block_start };
            let skipped = Extent { start: DiskOffset(self.next), length: end - self.next };
            self.next = end;
            return Ok(Some(Step::Skipped(skipped)));
        }
        let length = usize::try_from(size - self.next).unwrap_or(BLOCK).min(BLOCK);
        let mut buffer = buffer.take().unwrap_or_default();
        buffer.resize(self.headroom + BLOCK, 0);
        let start = self.next;
        let block = self.read(start, length, buffer)?;
        self.next += length as u64;
        Ok(Some(Step::Block(block)))
    }

    fn read(&mut self, start: u64, length: usize, mut buffer: Vec<u8>) -> Result<Block, OpsError> {
        let end = start + length as u64;
        let content = &mut buffer[self.headroom..self.headroom + length];
        let (mut lost, mut bytes_read, mut position) = (Vec::new(), 0, start);
        while position < end {
            let data = self.source.next_data(DiskOffset(position)).map_err(|error| failed(self.source_name, error))?;
            let data = data.map_or(end..end, |range| range.start.clamp(position, end)..range.end.clamp(position, end));
            content[at(position - start)..at(data.start - start)].fill(0);
            // A source that says that data begins and ends at the same place would keep us here for ever.
            let data_end = if data.start < end && data.end == data.start { end } else { data.end };
            if data.start < data_end {
                let part = &mut content[at(data.start - start)..at(data_end - start)];
                self.resilient
                    .read(DiskOffset(data.start), part, &mut |extent| lost.push(extent))
                    .map_err(|error| failed(self.source_name, error))?;
                bytes_read += data_end - data.start;
            }
            position = data_end.max(data.start);
        }
        let min_run = if self.runs < MANY_RUNS { MIN_RUN } else { BLOCK };
        let mut parts = Vec::new();
        let mut from = 0;
        lost.sort_unstable();
        for extent in &lost {
            let (lost_start, lost_end) = (at(extent.start.0 - start), at(extent.start.0 - start + extent.length));
            split(&content[from..lost_start], from, min_run, &mut parts);
            parts.push(Part::Hole(HoleKind::Unreadable, lost_start..lost_end));
            from = lost_end;
        }
        split(&content[from..], from, min_run, &mut parts);
        self.runs += parts.iter().filter(|part| matches!(part, Part::Data(_))).count();
        Ok(Block { offset: DiskOffset(start), buffer, length, parts, bytes_read })
    }

    fn failed(&self, error: ReadError) -> OpsError {
        failed(self.source_name, error)
    }
}

fn failed(source_name: &str, source: ReadError) -> OpsError {
    OpsError::Source { source_name: source_name.to_owned(), source }
}

/// Offsets inside of a block fit every pointer size.
fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn split(bytes: &[u8], base: usize, min_run: usize, parts: &mut Vec<Part>) {
    parts.extend(zeros::split(bytes, min_run).into_iter().map(|run| match run {
        Run::Data(range) => Part::Data(base + range.start..base + range.end),
        Run::Zero(range) => Part::Hole(HoleKind::Zero, base + range.start..base + range.end),
    }));
}
