//! The stages of a backup and the threads that they run on.
//!
//! reader → cutter → workers (hash, look up, compress, seal) → the calling thread (order, trees, packs)
//!
//! Always true here:
//! - Channels are bounded and buffers are handed back, so that memory does not depend on the source.
//! - Chunks reach the manifest in the order of the disk, whichever worker was faster.
//! - Of a source that was not read to its end, only chunks are stored that the next backup makes too: not the bytes behind the last
//!   certain cut, nor the tables that end where reading did.
//! - A stage that fails drops its channels, which ends its neighbours; nobody waits for a thread that is gone.

use super::blocks::{Block, BlockReader};
use super::cutting::{Batch, BlockCutter, Cutters};
use super::known::Known;
use super::manifest::{ManifestWriter, MetaStore, Roots};
use super::plan::BackupPlan;
use super::store::PackStore;
use crate::chunk::compress::Compressor;
use crate::crypto::{derive, randomness};
use crate::disk::{Extent, ReadAt};
use crate::format::pack::{PackEntry, PackKind};
use crate::format::snapshot::Counts;
use crate::ids::{ChunkId, ChunkKey};
use crate::ops::monitor::{Advance, Monitor};
use crate::ops::{Cancel, OpsError, worker_count};
use crate::repo::RepoError;
use crate::repo::chunks::seal_chunk;
use crate::repo::keyring::Domain;
use crate::repo::reader::ChunkStore;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;

/// Block buffers in all stages together.
const BUFFERS: usize = 10;
/// The most unreadable runs that a report lists one by one.
const LISTED_UNREADABLE: usize = 1000;

/// What the stages share.
pub(super) struct Pipeline<'a> {
    pub store: &'a ChunkStore,
    pub known: &'a Known,
    pub source: &'a dyn ReadAt,
    pub plan: &'a BackupPlan,
    pub source_name: &'a str,
    pub monitor: &'a dyn Monitor,
    pub cancel: &'a Cancel,
}

/// What went through.
pub(super) struct Stored {
    pub counts: Counts,
    pub roots: Roots,
    pub unreadable: Vec<Extent>,
}

/// What the reader hands to the cutter. Where it fails, no end is sent.
enum Step {
    Block(Block),
    /// The source was read to its end.
    End,
}

/// A chunk with what a worker found out.
struct Sorted {
    key: ChunkKey,
    id: ChunkId,
    length: u64,
    /// The sealed bytes, where the chunk is new.
    sealed: Option<(PackEntry, Vec<u8>)>,
}

type Done = Result<(Batch, Vec<Sorted>), OpsError>;

impl Pipeline<'_> {
    /// Runs the whole source through. What was added to `packs` is not yet flushed.
    pub(super) fn run(&self, packs: &mut PackStore<'_>) -> Result<Stored, OpsError> {
        let chunking = self.store.repository.config().record.chunking;
        let cutters = Cutters::new(&chunking).map_err(RepoError::from)?;
        std::thread::scope(|scope| {
            let (free_sender, free) = bounded::<Vec<u8>>(BUFFERS);
            let (step_sender, steps) = bounded::<Step>(2);
            let (batch_sender, batches) = bounded::<Batch>(BUFFERS);
            let (done_sender, done) = bounded::<Done>(BUFFERS);
            for _ in 0..BUFFERS {
                _ = free_sender.send(Vec::new());
            }
            let reader = scope.spawn(move || self.read(cutters.max(), &free, &step_sender));
            scope.spawn(move || {
                let mut blocks = BlockCutter::new(cutters);
                for step in steps {
                    let batch = match step {
                        Step::Block(block) => blocks.cut(block),
                        Step::End => blocks.finish(),
                    };
                    if batch_sender.send(batch).is_err() {
                        return;
                    }
                }
            });
            for _ in 0..worker_count() {
                let (batches, done_sender) = (batches.clone(), done_sender.clone());
                let randomness = randomness::fork();
                scope.spawn(move || {
                    randomness.enter();
                    if let Err(error) = self.sort(&batches, &done_sender) {
                        _ = done_sender.send(Err(error));
                    }
                });
            }
            drop((batches, done_sender));
            let collected = self.collect(packs, &done, &free_sender);
            // After a failure the neighbours wait for these; without them they end.
            drop((done, free_sender));
            let read = reader.join().map_err(|_| OpsError::WorkerLost).flatten();
            // The first cause: a failing collector ends the reader, but not with an error.
            match (collected?, read) {
                (_, Err(error)) => Err(error),
                (Some(stored), Ok(())) => Ok(stored),
                (None, Ok(())) => Err(OpsError::WorkerLost),
            }
        })
    }

    fn read(&self, headroom: usize, free: &Receiver<Vec<u8>>, steps: &Sender<Step>) -> Result<(), OpsError> {
        let mut reader = BlockReader::new(self.source, self.plan, self.source_name, self.cancel, headroom);
        let mut buffer = None;
        loop {
            if buffer.is_none() {
                let Ok(free) = free.recv() else { return Ok(()) };
                buffer = Some(free);
            }
            let Some(block) = reader.next(&mut buffer)? else {
                _ = steps.send(Step::End);
                return Ok(());
            };
            if steps.send(Step::Block(block)).is_err() {
                return Ok(());
            }
        }
    }

    fn sort(&self, batches: &Receiver<Batch>, done: &Sender<Done>) -> Result<(), OpsError> {
        let repository = &self.store.repository;
        let level = repository.config().record.compression_level;
        let mut compressor = Compressor::new(level.into()).map_err(RepoError::from)?;
        for batch in batches {
            let index = self.known.reader()?;
            let buffer = batch.buffer.as_deref().unwrap_or_default();
            let mut sorted = Vec::with_capacity(batch.chunks.len());
            for range in &batch.chunks {
                let plain = &buffer[range.clone()];
                let key = repository.keys().chunk_key(Domain::Data, plain)?;
                let id = derive::chunk_id(&key);
                let sealed = match self.known.claim(&index, id)? {
                    true => Some(seal_chunk(&key, id, plain, &mut compressor)?),
                    false => None,
                };
                sorted.push(Sorted { key, id, length: plain.len() as u64, sealed });
            }
            if done.send(Ok((batch, sorted))).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Puts batches back into their order and takes them into manifest and packs. Gives `None` when they stop before the last.
    fn collect(
        &self,
        packs: &mut PackStore<'_>,
        done: &Receiver<Done>,
        free: &Sender<Vec<u8>>,
    ) -> Result<Option<Stored>, OpsError> {
        let level = self.store.repository.config().record.compression_level;
        let mut compressor = Compressor::new(level.into()).map_err(RepoError::from)?;
        let mut meta =
            MetaStore { keys: self.store.repository.keys(), known: self.known, packs, compressor: &mut compressor };
        let mut manifest = ManifestWriter::new();
        let mut counts = Counts::default();
        let (mut waiting, mut next, mut is_whole) = (BTreeMap::new(), 0, false);
        for result in done {
            let (batch, sorted) = result?;
            is_whole |= batch.is_last;
            waiting.insert(batch.sequence, (batch, sorted));
            while let Some((batch, sorted)) = waiting.remove(&next) {
                next += 1;
                let advance = take(&mut manifest, &mut counts, &mut meta, &batch, sorted)?;
                self.monitor.advance(advance);
                if let Some(buffer) = batch.buffer {
                    _ = free.try_send(buffer);
                }
            }
        }
        if !waiting.is_empty() {
            return Err(OpsError::WorkerLost);
        }
        if !is_whole {
            return Ok(None);
        }
        manifest.count(&mut counts);
        let unreadable = manifest.unreadable_extents().take(LISTED_UNREADABLE).collect();
        let roots = manifest.finish(&mut meta)?;
        Ok(Some(Stored { counts, roots, unreadable }))
    }
}

fn take(
    manifest: &mut ManifestWriter,
    counts: &mut Counts,
    meta: &mut MetaStore<'_, '_>,
    batch: &Batch,
    sorted: Vec<Sorted>,
) -> Result<Advance, OpsError> {
    let mut advance = Advance { bytes: batch.bytes_passed, ..Advance::default() };
    counts.bytes_read += batch.bytes_read;
    batch.pieces.iter().for_each(|piece| manifest.piece(*piece));
    for Sorted { key, id, length, sealed } in sorted {
        counts.chunks += 1;
        match sealed {
            Some((entry, sealed)) => {
                counts.chunks_new += 1;
                counts.bytes_new += length;
                advance.new += length;
                meta.packs.add(PackKind::Data, entry, &sealed)?;
            }
            None => advance.known += length,
        }
        manifest.chunk(key, id, length, meta)?;
    }
    Ok(advance)
}
