//! Cutting the streams of a snapshot anew, for a repository that cuts in another way.
//!
//! Always true here:
//! - The kept bytes are read in their order, each once, and every chunk of the source is verified.
//! - Cuts restart where those of a backup do: at each stream, and at each run of data in it that a hole parts from the next. The map tells
//!   of a hole in a stream only by where it lies on the disk; a guess that is wrong costs a chunk that might have been shared, and no byte.

use super::pipeline::{Job, Trouble, check_span};
use crate::disk::{DiskOffset, Extent};
use crate::format::manifest::{HoleKind, MapRecord, Origin, StreamKind};
use crate::ops::Cancel;
use crate::ops::backup::blocks::{BLOCK, Block, RunOfData};
use crate::ops::backup::cutting::{BlockCutter, Cutters, RECORDS};
use crate::repo::keyring::Domain;
use crate::repo::reader::{Nodes, ReadSession};
use crate::repo::tree::TreeCursor;
use crate::repo::view::SnapshotDisk;
use crossbeam_channel::Sender;

/// Bytes that follow one another in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    kind: StreamKind,
    /// Where it begins in its stream, as far as can be told.
    offset: u64,
    length: u64,
}

/// Sends all of the snapshot, cut for the target.
pub(super) fn walk(
    disk: &SnapshotDisk,
    records: &[MapRecord],
    cutters: Cutters,
    cancel: &Cancel,
    jobs: &Sender<Job>,
) -> Result<(), Trouble> {
    let headroom = cutters.max();
    let mut cutter = BlockCutter::new(cutters);
    let mut bytes = KeptBytes::new(disk)?;
    let mut runs = runs(disk, records).into_iter();
    // The run that is read, and whether a part of it was sent before.
    let mut open: Option<(Run, bool)> = None;
    loop {
        cancel.check()?;
        let mut block = Block { buffer: vec![0; headroom + BLOCK], ..Block::default() };
        while let Some((run, continues)) = open.take().or_else(|| runs.next().map(|run| (run, false))) {
            let room = (BLOCK - block.length) as u64;
            let mut want = run.length.min(room);
            if want < run.length && run.kind == StreamKind::Metadata {
                want -= (run.offset + want) % RECORDS as u64;
            }
            let Some(range) = usize::try_from(want).ok().filter(|want| *want > 0) else {
                open = Some((run, continues));
                break;
            };
            let range = block.length..block.length + range;
            let place = headroom + range.start..headroom + range.end;
            bytes.read(block.buffer.get_mut(place).unwrap_or_default())?;
            block.length = range.end;
            let rest = Run { offset: run.offset + want, length: run.length - want, ..run };
            let ends = rest.length == 0;
            block.runs.push(RunOfData { range, kind: run.kind, offset: run.offset, continues, ends });
            if !ends {
                open = Some((rest, true));
                break;
            }
        }
        if block.length == 0 {
            break;
        }
        if jobs.send(Job::Cut(cutter.cut(block))).is_err() {
            return Ok(());
        }
    }
    _ = jobs.send(Job::Cut(cutter.finish()));
    Ok(())
}

/// The runs of all streams, in the order of the kept bytes.
fn runs(disk: &SnapshotDisk, records: &[MapRecord]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut stream = StreamKind::Other;
    let mut last: Option<Extent> = None;
    for record in records {
        match *record {
            MapRecord::Stream { kind, .. } => (stream, last) = (kind, None),
            MapRecord::Hole(..) => {}
            MapRecord::Extent(extent) => {
                let gap = last.map(|last| gap(disk, last, extent));
                match (runs.last_mut(), gap) {
                    (Some(run), Some(None)) => run.length += extent.length,
                    (Some(run), Some(Some(gap))) => {
                        let offset = run.offset + run.length + gap;
                        runs.push(Run { kind: stream, offset, length: extent.length });
                    }
                    _ => runs.push(Run { kind: stream, offset: 0, length: extent.length }),
                }
                last = Some(extent);
            }
        }
    }
    runs
}

/// Whether a hole of the stream parts two extents of it, and how long that is.
fn gap(disk: &SnapshotDisk, before: Extent, behind: Extent) -> Option<u64> {
    let hole = |at: DiskOffset| {
        let segment = disk.map().segments().get(disk.map().find(at))?;
        matches!(segment.origin, Origin::Hole(HoleKind::Zero | HoleKind::Unreadable)).then_some(segment.extent)
    };
    let end = before.end()?;
    let after = hole(end);
    let ahead = behind.start.0.checked_sub(1).and_then(|at| hole(DiskOffset(at)));
    match (after, ahead) {
        (None, None) => None,
        // One hole between two neighbours, or several that follow one another.
        _ if behind.start > end => Some(behind.start.0 - end.0),
        (after, ahead) => Some([after, ahead].into_iter().flatten().map(|hole| hole.length).sum()),
    }
}

/// The kept bytes of a snapshot, one behind the other.
struct KeptBytes<'a> {
    disk: &'a SnapshotDisk,
    leaves: TreeCursor<Nodes>,
    session: ReadSession,
    position: u64,
    chunk: Vec<u8>,
    used: usize,
}

impl<'a> KeptBytes<'a> {
    fn new(disk: &'a SnapshotDisk) -> Result<Self, Trouble> {
        let leaves = disk.leaves().map_err(Trouble::of_source)?;
        let session = disk.store().session().map_err(Trouble::of_source)?;
        Ok(Self { disk, leaves, session, position: 0, chunk: Vec::new(), used: 0 })
    }

    /// Fills the buffer with the bytes that follow.
    fn read(&mut self, buffer: &mut [u8]) -> Result<(), Trouble> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.used == self.chunk.len() {
                // The map was checked to end where the tree does.
                let leaf = self.leaves.leaf_at(self.position).map_err(Trouble::of_source)?;
                let Some(leaf) = leaf else { return Ok(()) };
                check_span(self.disk, &leaf.entry)?;
                self.chunk.resize(usize::try_from(leaf.entry.span).unwrap_or_default(), 0);
                self.session.read_into(Domain::Data, &leaf.entry.key, &mut self.chunk).map_err(Trouble::of_source)?;
                self.position = leaf.start + leaf.entry.span;
                self.used = 0;
            }
            let count = (buffer.len() - filled).min(self.chunk.len() - self.used);
            buffer[filled..filled + count].copy_from_slice(&self.chunk[self.used..self.used + count]);
            self.used += count;
            filled += count;
        }
        Ok(())
    }
}
