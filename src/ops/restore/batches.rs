//! Cutting a restore into batches in the order of the target, and filling them from chunks.
//!
//! Always true here:
//! - Batches cover the disk from its start to its end; each byte is in exactly one piece or hole.
//! - Where losses are allowed, what cannot be read is marked as lost, piece by piece, and never written.
//! - A batch's buffer is bounded by [`BATCH`] and one chunk; a batch has at most [`MAX_PIECES`] pieces.

use crate::disk::{DiskOffset, Extent};
use crate::format::FormatError;
use crate::format::config::Chunking;
use crate::format::manifest::{Origin, Segment};
use crate::ids::ChunkKey;
use crate::ops::OpsError;
use crate::repo::RepoError;
use crate::repo::keyring::Domain;
use crate::repo::reader::{Nodes, ReadSession};
use crate::repo::tree::{Leaf, Reached, TreeCursor};
use crate::repo::view::SnapshotDisk;
use std::collections::VecDeque;
use std::ops::Range;

/// Bytes of chunks in a batch before it is closed.
const BATCH: usize = 2 << 20;
/// Bytes of chunks that one thread keeps, since only a part of them was needed so far.
const PARTS: usize = 16 << 20;
/// Pieces and holes in a batch before it is closed.
const MAX_PIECES: usize = 4096;

/// A part of a chunk that goes to one place of the disk.
#[derive(Debug)]
pub(super) struct Piece {
    pub start: DiskOffset,
    pub key: ChunkKey,
    /// Bytes of the whole chunk.
    pub chunk_length: usize,
    /// The part of the chunk.
    pub part: Range<usize>,
    /// The chunk could not be read.
    pub is_lost: bool,
}

impl Piece {
    /// Where it goes.
    pub(super) const fn extent(&self) -> Extent {
        Extent { start: self.start, length: (self.part.end - self.part.start) as u64 }
    }
}

/// A stretch of the disk.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub pieces: Vec<Piece>,
    pub holes: Vec<Extent>,
    /// What no chunk is known of, since the tree above it cannot be read.
    pub lost: Vec<Extent>,
    /// Bytes of the disk from the batch before to the end of this one.
    pub passed: u64,
    length: usize,
}

/// A batch with its bytes.
#[derive(Debug)]
pub(super) struct Filled {
    pub batch: Batch,
    pub buffer: Vec<u8>,
}

impl Batch {
    /// Runs to write: where they go, and where they lie in the buffer. Neighbours are joined.
    pub(super) fn writes(&self) -> Vec<(DiskOffset, Range<usize>)> {
        let mut writes: Vec<(DiskOffset, Range<usize>)> = Vec::new();
        let mut position = 0;
        for piece in &self.pieces {
            let range = position..position + piece.part.len();
            position = range.end;
            if piece.is_lost {
                continue;
            }
            match writes.last_mut() {
                Some((start, last)) if start.0 + last.len() as u64 == piece.start.0 && last.end == range.start => {
                    last.end = range.end;
                }
                _ => writes.push((piece.start, range)),
            }
        }
        writes
    }

    /// What must read as zeros: holes, and what is lost.
    pub(super) fn zeros(&self) -> impl Iterator<Item = Extent> + '_ {
        self.holes.iter().copied().chain(self.losses())
    }

    /// What is lost.
    pub(super) fn losses(&self) -> impl Iterator<Item = Extent> + '_ {
        let pieces = self.pieces.iter().filter(|piece| piece.is_lost).map(Piece::extent);
        self.lost.iter().copied().chain(pieces)
    }

    fn is_full(&self) -> bool {
        self.length >= BATCH || self.pieces.len() + self.holes.len() + self.lost.len() >= MAX_PIECES
    }
}

/// The batches of a snapshot.
pub(super) struct Batches<'a> {
    disk: &'a SnapshotDisk,
    leaves: TreeCursor<Nodes>,
    allow_losses: bool,
    segment: usize,
    done_of_segment: u64,
    failed: bool,
}

impl<'a> Batches<'a> {
    pub(super) fn new(disk: &'a SnapshotDisk, allow_losses: bool) -> Result<Self, OpsError> {
        Ok(Self { disk, leaves: disk.leaves()?, allow_losses, segment: 0, done_of_segment: 0, failed: false })
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, OpsError> {
        let mut batch = Batch::default();
        while !batch.is_full() {
            let Some(segment) = self.disk.map().segments().get(self.segment).copied() else { break };
            let taken = self.take(segment, &mut batch)?;
            batch.passed += taken;
            self.done_of_segment += taken;
            if self.done_of_segment == segment.extent.length {
                self.segment += 1;
                self.done_of_segment = 0;
            }
        }
        Ok((batch.passed > 0).then_some(batch))
    }

    fn take(&mut self, segment: Segment, batch: &mut Batch) -> Result<u64, OpsError> {
        let Segment { extent, origin } = segment;
        let start = DiskOffset(extent.start.0 + self.done_of_segment);
        let left = extent.length - self.done_of_segment;
        let Origin::Kept(kept) = origin else {
            batch.holes.push(Extent { start, length: left });
            return Ok(left);
        };
        let position = kept.0 + self.done_of_segment;
        let reached = self.leaves.reach(position, &mut |_| Ok(()))?.ok_or_else(|| self.wrong_span(position))?;
        let leaf: Leaf = match reached {
            Reached::Leaf(leaf) => leaf,
            Reached::Gap { range, .. } if self.allow_losses && range.contains(&position) => {
                let length = left.min(range.end - position);
                batch.lost.push(Extent { start, length });
                return Ok(length);
            }
            Reached::Gap { error, .. } => return Err(error.into()),
        };
        if leaf.entry.span > u64::from(Chunking::MAX) {
            return Err(self.wrong_span(leaf.entry.span));
        }
        let chunk_length = usize::try_from(leaf.entry.span).unwrap_or(usize::MAX);
        let skip = usize::try_from(position - leaf.start).unwrap_or(usize::MAX);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(chunk_length - skip);
        batch.pieces.push(Piece { start, key: leaf.entry.key, chunk_length, part: skip..skip + count, is_lost: false });
        batch.length += count;
        Ok(count as u64)
    }

    fn wrong_span(&self, found: u64) -> OpsError {
        let source = FormatError::Field {
            structure: "data tree",
            field: "span",
            expected: "the kept bytes, in chunks of at most 8 MiB",
            found,
        };
        RepoError::Structure { what: "data tree", snapshot: self.disk.snapshot().id.short(), source }.into()
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, OpsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.next_batch().transpose();
        self.failed = matches!(batch, Some(Err(_)));
        batch
    }
}

/// Fetches, opens and verifies the chunks of batches, for one thread.
pub(super) struct Filler {
    session: ReadSession,
    allow_losses: bool,
    /// Chunks of which only a part was needed, the newest last: other pieces of the disk often are other parts of them. The files of a
    /// fragmented volume take turns.
    parts: VecDeque<(ChunkKey, Vec<u8>)>,
    parts_length: usize,
}

impl Filler {
    pub(super) fn new(disk: &SnapshotDisk, allow_losses: bool) -> Result<Self, OpsError> {
        let session = disk.store().session()?;
        Ok(Self { session, allow_losses, parts: VecDeque::new(), parts_length: 0 })
    }

    pub(super) fn fill(&mut self, mut batch: Batch, mut buffer: Vec<u8>) -> Result<Filled, OpsError> {
        if buffer.len() < batch.length {
            buffer.resize(batch.length, 0);
        }
        let mut rest = &mut buffer[..];
        for piece in &mut batch.pieces {
            let (bytes, behind) = rest.split_at_mut(piece.part.len());
            rest = behind;
            match self.piece(piece, bytes) {
                Ok(()) => {}
                Err(OpsError::Repo(error)) if self.allow_losses && error.is_damage() => piece.is_lost = true,
                Err(error) => return Err(error),
            }
        }
        Ok(Filled { batch, buffer })
    }

    fn piece(&mut self, piece: &Piece, bytes: &mut [u8]) -> Result<(), OpsError> {
        if piece.part.len() == piece.chunk_length {
            self.session.read_into(Domain::Data, &piece.key, bytes)?;
        } else {
            bytes.copy_from_slice(&self.chunk(piece)?[piece.part.clone()]);
        }
        Ok(())
    }

    /// The whole chunk of a piece.
    pub(super) fn chunk(&mut self, piece: &Piece) -> Result<&[u8], OpsError> {
        let found = self.parts.iter().rposition(|(key, _)| *key == piece.key);
        if let Some(kept) = found.and_then(|index| self.parts.remove(index)) {
            self.parts.push_back(kept);
        } else {
            let mut chunk = vec![0; piece.chunk_length];
            self.session.read_into(Domain::Data, &piece.key, &mut chunk)?;
            self.parts_length += chunk.len();
            self.parts.push_back((piece.key.clone(), chunk));
            while self.parts_length > PARTS
                && self.parts.len() > 1
                && let Some((_, oldest)) = self.parts.pop_front()
            {
                self.parts_length -= oldest.len();
            }
        }
        self.parts.back().map(|(_, chunk)| chunk.as_slice()).ok_or(OpsError::WorkerLost)
    }
}
