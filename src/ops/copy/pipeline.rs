//! The stages of copying one snapshot, and the threads that they run on.
//!
//! walker (leaves of the source, or streams cut anew) → workers (open, hash, look up, compress, seal) → the calling thread (order, trees,
//! packs)
//!
//! Always true here:
//! - Channels are bounded, so that memory does not depend on the snapshot's size; what is remembered of chunks is bounded by
//!   [`MOST_REMEMBERED`].
//! - A chunk is remembered as one that the target has only when all of a run is durable: within a run, one that another worker seals may
//!   never get there.
//! - Chunks reach the manifest in their order, whichever worker was faster.

use super::recut;
use crate::chunk::compress::Compressor;
use crate::crypto::derive;
use crate::format::FormatError;
use crate::format::config::Chunking;
use crate::format::manifest::MapRecord;
use crate::format::pack::{PackEntry, PackKind};
use crate::format::snapshot::Counts;
use crate::format::tree::TreeEntry;
use crate::ids::{ChunkId, ChunkKey};
use crate::ops::backup::blocks::Piece;
use crate::ops::backup::cutting::{Batch, Cutters};
use crate::ops::backup::known::Known;
use crate::ops::backup::manifest::{ManifestWriter, MetaStore, Roots};
use crate::ops::backup::store::PackStore;
use crate::ops::monitor::{Advance, Monitor};
use crate::ops::{Cancel, OpsError, worker_count};
use crate::repo::RepoError;
use crate::repo::chunks::seal_chunk;
use crate::repo::index::IndexReader;
use crate::repo::keyring::Domain;
use crate::repo::reader::{ChunkStore, ReadSession};
use crate::repo::view::SnapshotDisk;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{BTreeMap, HashMap};

/// Bytes of chunks that are given to a worker at once.
const JOB_BYTES: u64 = 2 << 20;
/// Chunks that are given to a worker at once.
const JOB_CHUNKS: usize = 1024;
/// The most chunks of which it is remembered what they are in the target: some 40 MB.
const MOST_REMEMBERED: usize = 1 << 18;

/// Chunks of the source, and what they are in the target.
type Stored = Vec<(ChunkId, (ChunkKey, ChunkId))>;

/// What keeps a snapshot from being copied.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The source is damaged, or the snapshot is not for this key: others may well be copied.
    Source(RepoError),
    /// Anything else.
    Other(OpsError),
}

impl Trouble {
    /// An error of reading the source.
    pub(super) fn of_source(error: RepoError) -> Self {
        match error {
            error @ RepoError::NotARecipient { .. } => Self::Source(error),
            error if error.is_damage() => Self::Source(error),
            error => Self::Other(error.into()),
        }
    }
}

impl From<OpsError> for Trouble {
    fn from(error: OpsError) -> Self {
        Self::Other(error)
    }
}

/// An error of the target.
fn of_target(error: impl Into<RepoError>) -> Trouble {
    Trouble::Other(OpsError::Repo(error.into()))
}

/// What chunks of the source are in the target, so that those that several snapshots have are read once.
#[derive(Default)]
pub(super) struct Memo(HashMap<ChunkId, (ChunkKey, ChunkId)>);

impl Memo {
    /// Takes what a run that ended well has found out, as far as there is room.
    pub(super) fn remember(&mut self, chunks: Stored) {
        let room = MOST_REMEMBERED.saturating_sub(self.0.len());
        self.0.extend(chunks.into_iter().take(room));
    }
}

/// What the stages share.
pub(super) struct Pipeline<'a> {
    pub disk: &'a SnapshotDisk,
    pub target: &'a ChunkStore,
    pub known: &'a Known,
    pub memo: &'a Memo,
    pub monitor: &'a dyn Monitor,
    pub cancel: &'a Cancel,
}

/// What went through.
pub(super) struct Copied {
    pub counts: Counts,
    pub roots: Roots,
    /// What chunks of the source are in the target, once the packs are flushed.
    pub stored: Stored,
}

/// How many bytes went through, where these are not all that the snapshot keeps.
struct OtherSpan(u64);

/// Work for one worker.
pub(super) enum Job {
    /// Chunks of the source, which are those of the target.
    Leaves(u64, Vec<TreeEntry>),
    /// Bytes that were cut anew.
    Cut(Batch),
}

/// A chunk of the target.
struct Sorted {
    /// The chunk of the source, where it is the same.
    source: Option<ChunkId>,
    key: ChunkKey,
    id: ChunkId,
    length: u64,
    /// The sealed bytes, where the chunk is new.
    sealed: Option<(PackEntry, Vec<u8>)>,
}

type Done = Result<(u64, Vec<Sorted>), Trouble>;

impl Pipeline<'_> {
    /// Brings all of the snapshot's data through. What was added to `packs` is not yet flushed.
    pub(super) fn run(&self, packs: &mut PackStore<'_>, cuts_anew: bool) -> Result<Copied, Trouble> {
        let records = self.disk.records().map_err(Trouble::of_source)?;
        let cutters = cuts_anew.then(|| Cutters::new(&self.target.repository.config().record.chunking)).transpose();
        let cutters = cutters.map_err(of_target)?;
        std::thread::scope(|scope| {
            let (job_sender, jobs) = bounded::<Job>(4);
            let (done_sender, done) = bounded::<Done>(4);
            let records = &records;
            let walker = scope.spawn(move || match cutters {
                None => self.walk(&job_sender),
                Some(cutters) => recut::walk(self.disk, records, cutters, self.cancel, &job_sender),
            });
            for _ in 0..worker_count() {
                let (jobs, done_sender) = (jobs.clone(), done_sender.clone());
                scope.spawn(move || {
                    if let Err(trouble) = self.work(&jobs, &done_sender) {
                        _ = done_sender.send(Err(trouble));
                    }
                });
            }
            drop((jobs, done_sender));
            let collected = self.collect(packs, records, &done);
            // After a failure the workers wait for this; without it they end, and the walker with them.
            drop(done);
            let walked = walker.join().map_err(|_| Trouble::Other(OpsError::WorkerLost)).flatten();
            match (collected?, walked) {
                (_, Err(trouble)) => Err(trouble),
                (Ok(copied), Ok(())) => Ok(copied),
                (Err(OtherSpan(kept)), Ok(())) => Err(wrong_span(self.disk, kept)),
            }
        })
    }

    /// Goes along the leaves of the data tree.
    fn walk(&self, jobs: &Sender<Job>) -> Result<(), Trouble> {
        let mut cursor = self.disk.leaves().map_err(Trouble::of_source)?;
        let (mut position, mut sequence) = (0, 0);
        loop {
            self.cancel.check()?;
            let (mut leaves, start) = (Vec::new(), position);
            while leaves.len() < JOB_CHUNKS && position - start < JOB_BYTES {
                let Some(leaf) = cursor.leaf_at(position).map_err(Trouble::of_source)? else { break };
                check_span(self.disk, &leaf.entry)?;
                position = leaf.start + leaf.entry.span;
                leaves.push(leaf.entry);
            }
            if leaves.is_empty() || jobs.send(Job::Leaves(sequence, leaves)).is_err() {
                return Ok(());
            }
            sequence += 1;
        }
    }

    fn work(&self, jobs: &Receiver<Job>, done: &Sender<Done>) -> Result<(), Trouble> {
        let level = self.target.repository.config().record.compression_level;
        let mut compressor = Compressor::new(level.into()).map_err(of_target)?;
        let mut session = self.disk.store().session().map_err(Trouble::of_source)?;
        for job in jobs {
            let index = self.known.reader().map_err(of_target)?;
            let (sequence, sorted) = match job {
                Job::Leaves(sequence, leaves) => {
                    let sorted = leaves.into_iter().map(|leaf| self.leaf(&leaf, &index, &mut session, &mut compressor));
                    (sequence, sorted.collect::<Result<_, _>>()?)
                }
                Job::Cut(batch) => {
                    let buffer = batch.buffer.as_deref().unwrap_or_default();
                    let chunks = batch.chunks.iter().map(|range| buffer.get(range.clone()).unwrap_or_default());
                    let sorted = chunks.map(|plain| self.sort(None, plain, &index, &mut compressor));
                    (batch.sequence, sorted.collect::<Result<_, _>>()?)
                }
            };
            if done.send(Ok((sequence, sorted))).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A chunk of the source, read and verified unless it was before.
    fn leaf(
        &self,
        leaf: &TreeEntry,
        index: &IndexReader,
        session: &mut ReadSession,
        compressor: &mut Compressor,
    ) -> Result<Sorted, Trouble> {
        let source = derive::chunk_id(&leaf.key);
        if let Some((key, id)) = self.memo.0.get(&source).cloned() {
            return Ok(Sorted { source: None, key, id, length: leaf.span, sealed: None });
        }
        let mut plain = vec![0; usize::try_from(leaf.span).unwrap_or_default()];
        session.read_into(Domain::Data, &leaf.key, &mut plain).map_err(Trouble::of_source)?;
        self.sort(Some(source), &plain, index, compressor)
    }

    /// Finds out what a chunk is in the target, and seals it where that does not have it.
    fn sort(
        &self,
        source: Option<ChunkId>,
        plain: &[u8],
        index: &IndexReader,
        compressor: &mut Compressor,
    ) -> Result<Sorted, Trouble> {
        let key = self.target.repository.keys().chunk_key(Domain::Data, plain).map_err(of_target)?;
        let id = derive::chunk_id(&key);
        let sealed = match self.known.claim(index, id).map_err(of_target)? {
            true => Some(seal_chunk(&key, id, plain, compressor).map_err(of_target)?),
            false => None,
        };
        Ok(Sorted { source, key, id, length: plain.len() as u64, sealed })
    }

    /// Puts chunks back into their order and takes them into manifest and packs.
    fn collect(
        &self,
        packs: &mut PackStore<'_>,
        records: &[MapRecord],
        done: &Receiver<Done>,
    ) -> Result<Result<Copied, OtherSpan>, Trouble> {
        let repository = &self.target.repository;
        let mut compressor = Compressor::new(repository.config().record.compression_level.into()).map_err(of_target)?;
        let mut meta = MetaStore { keys: repository.keys(), known: self.known, packs, compressor: &mut compressor };
        let mut manifest = ManifestWriter::new();
        for record in records {
            manifest.piece(match *record {
                MapRecord::Stream { kind, .. } => Piece::Begin(kind),
                MapRecord::Extent(extent) => Piece::Data(extent),
                MapRecord::Hole(kind, extent) => Piece::Hole(kind, extent),
            });
        }
        let (mut counts, mut stored) = (Counts::default(), Stored::new());
        let (mut waiting, mut next) = (BTreeMap::new(), 0);
        for result in done {
            let (sequence, sorted) = result?;
            waiting.insert(sequence, sorted);
            while let Some(sorted) = waiting.remove(&next) {
                next += 1;
                let advance = take(&mut manifest, &mut counts, &mut meta, sorted, &mut stored)?;
                self.monitor.advance(advance);
            }
        }
        if !waiting.is_empty() {
            return Err(Trouble::Other(OpsError::WorkerLost));
        }
        manifest.count(&mut counts);
        if counts.bytes_kept != self.disk.map().kept() {
            // Tables that end here are of no use to the copy that goes on.
            return Ok(Err(OtherSpan(counts.bytes_kept)));
        }
        Ok(Ok(Copied { roots: manifest.finish(&mut meta)?, counts, stored }))
    }
}

/// A span that no chunk has is damage, and must not cost memory.
pub(super) fn check_span(disk: &SnapshotDisk, entry: &TreeEntry) -> Result<(), Trouble> {
    match entry.span {
        1.. if entry.span <= u64::from(Chunking::MAX) => Ok(()),
        span => Err(wrong_span(disk, span)),
    }
}

fn wrong_span(disk: &SnapshotDisk, found: u64) -> Trouble {
    let expected = "chunks of 1 to 8388608 bytes that make up the kept bytes";
    let source = FormatError::Field { structure: "data tree", field: "span", expected, found };
    Trouble::Source(RepoError::Structure { what: "data tree", snapshot: disk.snapshot().id.short(), source })
}

fn take(
    manifest: &mut ManifestWriter,
    counts: &mut Counts,
    meta: &mut MetaStore<'_, '_>,
    sorted: Vec<Sorted>,
    stored: &mut Stored,
) -> Result<Advance, Trouble> {
    let mut advance = Advance::default();
    for Sorted { source, key, id, length, sealed } in sorted {
        counts.chunks += 1;
        advance.bytes += length;
        match sealed {
            Some((entry, sealed)) => {
                counts.chunks_new += 1;
                counts.bytes_new += length;
                advance.new += length;
                meta.packs.add(PackKind::Data, entry, &sealed)?;
            }
            None => advance.known += length,
        }
        if let Some(source) = source.filter(|_| stored.len() < MOST_REMEMBERED) {
            stored.push((source, (key.clone(), id)));
        }
        manifest.chunk(key, id, length, meta)?;
    }
    Ok(advance)
}
