//! The first stage of a backup: reading streams in blocks and telling data from zeros.
//!
//! Always true here:
//! - Parts of a stream that do not fit one block begin at multiples of [`BLOCK`] in the stream, whatever is allocated and wherever it
//!   lies: what is data and what is a hole depends on the stream's bytes alone.
//! - A range that the source calls unallocated is never read.
//! - What cannot be read becomes a hole of its own kind, never zeros that look like content.

use super::plan::BackupPlan;
use super::reading::{Reader, Stretch};
use crate::chunk::zeros::{self, MIN_RUN};
use crate::disk::{DiskOffset, Extent, ReadAt};
use crate::format::manifest::{HoleKind, StreamKind};
use crate::layout::{Kind, Unkept};
use crate::ops::{Cancel, OpsError};
use std::ops::Range;

/// Bytes read at once.
pub(in crate::ops) const BLOCK: usize = 4 << 20;

/// Beyond this many runs of data only whole blocks of zeros become holes, so that the map of a source that alternates
/// between data and zeros stays small.
const MANY_RUNS: usize = 1 << 20;
/// A block is handed on when it has this many pieces, full or not.
const MANY_PIECES: usize = 16 << 10;

/// What was learned of the disk, in the order of the kept bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Piece {
    /// The pieces of data that follow are of a new stream.
    Begin(StreamKind),
    Data(Extent),
    Hole(HoleKind, Extent),
}

/// Bytes of one stream that follow one another, to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ops) struct RunOfData {
    /// In the block, counted behind the headroom.
    pub range: Range<usize>,
    /// What the stream holds.
    pub kind: StreamKind,
    /// Where in its stream it begins.
    pub offset: u64,
    /// It goes on where the last run of the block before ended.
    pub continues: bool,
    /// No more bytes of it follow in the next block.
    pub ends: bool,
}

/// Bytes that were read, behind the headroom of their buffer, and what was learned on the way.
#[derive(Debug, Default)]
pub(in crate::ops) struct Block {
    pub buffer: Vec<u8>,
    pub length: usize,
    pub runs: Vec<RunOfData>,
    pub pieces: Vec<Piece>,
    pub bytes_read: u64,
    /// Bytes of the disk that are behind us with this block.
    pub passed: u64,
}

/// Reads a source stream by stream.
pub(in crate::ops) struct BlockReader<'a> {
    reader: Reader<'a>,
    streams: Box<dyn Iterator<Item = (Kind, &'a [Extent])> + Send + 'a>,
    holes: std::slice::Iter<'a, (Unkept, Extent)>,
    open: Option<OpenStream<'a>>,
    headroom: usize,
    runs: usize,
    is_finished: bool,
}

/// A stream that is being read.
struct OpenStream<'a> {
    kind: StreamKind,
    extents: &'a [Extent],
    /// Bytes of the first extent that were read.
    inside: u64,
    /// Bytes of the stream that were read.
    offset: u64,
    left: u64,
    /// The last run of the block before may go on.
    is_cut_open: bool,
}

impl<'a> BlockReader<'a> {
    pub(in crate::ops) fn new(
        source: &'a dyn ReadAt,
        plan: &'a BackupPlan,
        source_name: &'a str,
        cancel: &'a Cancel,
        headroom: usize,
    ) -> Self {
        Self {
            reader: Reader::new(source, source_name, cancel),
            streams: Box::new(plan.coverage.streams()),
            holes: plan.coverage.holes().iter(),
            open: None,
            headroom,
            runs: 0,
            is_finished: false,
        }
    }

    /// The next block, or `None` at the end. `buffer` is taken for it.
    pub(in crate::ops) fn next(&mut self, buffer: &mut Option<Vec<u8>>) -> Result<Option<Block>, OpsError> {
        if self.is_finished {
            return Ok(None);
        }
        let mut block = Block { buffer: buffer.take().unwrap_or_default(), ..Block::default() };
        block.buffer.resize(self.headroom + BLOCK, 0);
        while block.pieces.len() < MANY_PIECES {
            self.reader.check()?;
            let mut stream = match self.open.take() {
                Some(stream) => stream,
                None => match self.streams.next() {
                    Some((kind, extents)) => {
                        let stream = OpenStream::new(kind, extents);
                        block.pieces.push(Piece::Begin(stream.kind));
                        stream
                    }
                    None => {
                        self.finish(&mut block);
                        break;
                    }
                },
            };
            self.skip_blocks(&mut stream, &mut block)?;
            if stream.left == 0 {
                continue;
            }
            let want = usize::try_from(stream.left).unwrap_or(BLOCK).min(BLOCK);
            if block.length + want > BLOCK {
                self.open = Some(stream);
                break;
            }
            self.read(&mut stream, want, &mut block)?;
            if stream.left > 0 {
                self.open = Some(stream);
                // What is left unread of an unallocated range costs no room in the block.
                if block.length > 0 {
                    break;
                }
            }
        }
        Ok(Some(block))
    }

    /// Passes whole blocks of the stream that are not allocated, all at once.
    fn skip_blocks(&mut self, stream: &mut OpenStream<'a>, block: &mut Block) -> Result<(), OpsError> {
        let Some(first) = stream.extents.first() else { return Ok(()) };
        let (start, end) = (first.start.0 + stream.inside, first.start.0 + first.length);
        let unallocated = self.reader.next_data(start)?.start.min(end) - start;
        let count = if unallocated == stream.left { unallocated } else { unallocated / BLOCK as u64 * BLOCK as u64 };
        if count > 0 {
            stream.is_cut_open = false;
            let extents = stream.take(count);
            block.pieces.extend(extents.iter().map(|extent| Piece::Hole(HoleKind::Zero, *extent)));
            block.passed += count;
        }
        Ok(())
    }

    /// What the plan leaves out.
    fn finish(&mut self, block: &mut Block) {
        self.is_finished = true;
        for (why, extent) in self.holes.by_ref() {
            let kind = match why {
                Unkept::Free => HoleKind::Free,
                Unkept::Scratch => HoleKind::Scratch,
            };
            block.pieces.push(Piece::Hole(kind, *extent));
            block.passed += extent.length;
        }
    }

    /// Reads the next `want` bytes of a stream behind what the block has.
    fn read(&mut self, stream: &mut OpenStream<'a>, want: usize, block: &mut Block) -> Result<(), OpsError> {
        let extents = stream.take(want as u64);
        block.passed += want as u64;
        let continues = std::mem::take(&mut stream.is_cut_open);
        let offset = stream.offset - want as u64;
        if self.reader.is_unallocated(&extents)? {
            block.pieces.extend(extents.iter().map(|extent| Piece::Hole(HoleKind::Zero, *extent)));
            return Ok(());
        }
        let start = block.length;
        let content = &mut block.buffer[self.headroom + start..self.headroom + start + want];
        let mut lost = Vec::new();
        block.bytes_read += self.reader.read(&extents, content, &mut lost)?;
        let min_run = if self.runs < MANY_RUNS { MIN_RUN } else { BLOCK };
        let stretches = match stream.kind {
            // Slack is many small things, of which most are zeros: each is looked at alone.
            StreamKind::Slack => {
                let mut at = 0;
                let mut stretches = Vec::new();
                for extent in &extents {
                    let length = usize::try_from(extent.length).unwrap_or(want - at).min(want - at);
                    stretches.extend(split(&content[at..at + length], at, min_run));
                    at += length;
                }
                stretches
            }
            _ => split(content, 0, min_run),
        };
        let stretches = Stretch::without(stretches, &lost);
        let mut places = Places { extents: &extents, inside: 0 };
        let last = stretches.len().saturating_sub(1);
        for (index, stretch) in stretches.iter().enumerate() {
            let length = stretch.range.len() as u64;
            let range = start + stretch.range.start..start + stretch.range.end;
            match stretch.hole {
                Some(kind) => places.take(length, |extent| block.pieces.push(Piece::Hole(kind, extent))),
                None => {
                    places.take(length, |extent| block.pieces.push(Piece::Data(extent)));
                    let ends = index < last || stream.left == 0;
                    stream.is_cut_open = !ends;
                    self.runs += 1;
                    block.runs.push(RunOfData {
                        range,
                        kind: stream.kind,
                        offset: offset + stretch.range.start as u64,
                        continues: continues && index == 0,
                        ends,
                    });
                }
            }
        }
        block.length += want;
        Ok(())
    }
}

/// Data and zeros of a part that begins at `base`.
fn split(bytes: &[u8], base: usize, min_run: usize) -> Vec<Stretch> {
    let runs = zeros::split(bytes, min_run).into_iter();
    runs.map(|run| match run {
        zeros::Run::Data(range) => Stretch { range: base + range.start..base + range.end, hole: None },
        zeros::Run::Zero(range) => Stretch { range: base + range.start..base + range.end, hole: Some(HoleKind::Zero) },
    })
    .collect()
}

impl<'a> OpenStream<'a> {
    fn new(kind: Kind, extents: &'a [Extent]) -> Self {
        let kind = match kind {
            Kind::File => StreamKind::File,
            Kind::Records => StreamKind::Metadata,
            Kind::Slack => StreamKind::Slack,
            Kind::Other => StreamKind::Other,
        };
        let left = extents.iter().map(|extent| extent.length).sum();
        Self { kind, extents, inside: 0, offset: 0, left, is_cut_open: false }
    }

    /// Where its next `count` bytes lie; they are taken.
    fn take(&mut self, count: u64) -> Vec<Extent> {
        let mut places = Places { extents: self.extents, inside: self.inside };
        let mut taken = Vec::new();
        places.take(count, |extent| taken.push(extent));
        (self.extents, self.inside) = (places.extents, places.inside);
        self.offset += count;
        self.left -= count;
        taken
    }
}

/// Extents that are gone through from the first byte on.
struct Places<'a> {
    extents: &'a [Extent],
    inside: u64,
}

impl Places<'_> {
    fn take(&mut self, mut count: u64, mut each: impl FnMut(Extent)) {
        while let Some((first, rest)) = self.extents.split_first().filter(|_| count > 0) {
            let length = (first.length - self.inside).min(count);
            each(Extent { start: DiskOffset(first.start.0 + self.inside), length });
            count -= length;
            self.inside += length;
            if self.inside == first.length {
                (self.extents, self.inside) = (rest, 0);
            }
        }
    }
}
