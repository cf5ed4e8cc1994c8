//! A source gone through as a backup would, to find chunks that are missing: nothing is stored.
//!
//! Always true here:
//! - Cuts, keys and the manifest are made by the code that a backup uses, so that a disk that is what it was gives the same chunks.
//! - Keys are tried of all epochs whose secrets are there: what is missing may have been stored before a rotation.
//! - Of data only places are kept, and of the manifest only chunks that are wanted: memory is bounded by what is missing.

use super::BackupPlan;
use super::blocks::{BlockReader, Piece};
use super::cutting::{Batch, BlockCutter, Cutters};
use super::manifest::{ManifestWriter, TakeMeta};
use crate::crypto::derive;
use crate::disk::{DiskOffset, Extent, ReadAt};
use crate::ids::{ChunkId, ChunkKey};
use crate::ops::monitor::{Advance, Monitor};
use crate::ops::{Cancel, OpsError, worker_count};
use crate::repo::RepoError;
use crate::repo::keyring::{Domain, KeyRing};
use crate::repo::open::Repository;
use std::collections::VecDeque;

/// Where the bytes of a chunk are.
#[derive(Debug, Clone)]
pub(in crate::ops) enum Content {
    /// On the source, in this order.
    OnSource(Vec<Extent>),
    /// Here: chunks of manifests lie on no disk.
    Bytes(Vec<u8>),
}

/// A chunk that was wanted and found.
#[derive(Debug, Clone)]
pub(in crate::ops) struct ScannedChunk {
    pub id: ChunkId,
    pub key: ChunkKey,
    pub domain: Domain,
    pub content: Content,
}

/// Goes through a source, and gives each wanted chunk that it would make to `found`, perhaps several times.
///
/// # Errors
/// [`OpsError::Source`], [`OpsError::Interrupted`], what `found` returns.
pub(in crate::ops) fn scan(
    repository: &Repository,
    (source, source_name): (&dyn ReadAt, &str),
    plan: &BackupPlan,
    wanted: &(dyn Fn(&ChunkId) -> bool + Sync),
    found: &mut dyn FnMut(ScannedChunk),
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<(), OpsError> {
    let keys = repository.keys();
    let cutters = Cutters::new(&repository.config().record.chunking).map_err(RepoError::from)?;
    // An epoch that lacks the secret of data makes no manifest.
    let epochs: Vec<usize> = keys.chunk_keys(Domain::Data, &[]).map(|(epoch, _)| epoch).collect();
    let mut scan = Scan {
        keys,
        wanted,
        found,
        places: VecDeque::new(),
        manifests: epochs.iter().map(|_| ManifestWriter::new()).collect(),
        epochs,
    };
    let mut reader = BlockReader::new(source, plan, source_name, cancel, cutters.max());
    let mut blocks = BlockCutter::new(cutters);
    let mut buffer = None;
    while let Some(block) = reader.next(&mut buffer)? {
        let mut batch = blocks.cut(block);
        scan.take(&batch)?;
        monitor.advance(Advance { bytes: batch.bytes_passed, ..Advance::default() });
        buffer = batch.buffer.take();
    }
    scan.take(&blocks.finish())?;
    scan.finish()
}

struct Scan<'a> {
    keys: &'a KeyRing,
    wanted: &'a (dyn Fn(&ChunkId) -> bool + Sync),
    found: &'a mut dyn FnMut(ScannedChunk),
    /// Data that was read and not yet cut.
    places: VecDeque<Extent>,
    epochs: Vec<usize>,
    /// One an epoch.
    manifests: Vec<ManifestWriter>,
}

impl Scan<'_> {
    fn take(&mut self, batch: &Batch) -> Result<(), OpsError> {
        for piece in &batch.pieces {
            if let Piece::Data(extent) = piece {
                self.places.push_back(*extent);
            }
            self.manifests.iter_mut().for_each(|manifest| manifest.piece(*piece));
        }
        let buffer = batch.buffer.as_deref().unwrap_or_default();
        let chunks: Vec<&[u8]> = batch.chunks.iter().filter_map(|range| buffer.get(range.clone())).collect();
        for (chunk, keys) in chunks.iter().zip(hash(self.keys, &chunks)?) {
            let extents = take_places(&mut self.places, chunk.len() as u64);
            for (manifest, (epoch, key, id)) in self.manifests.iter_mut().zip(keys) {
                if (self.wanted)(&id) {
                    let content = Content::OnSource(extents.clone());
                    (self.found)(ScannedChunk { id, key: key.clone(), domain: Domain::Data, content });
                }
                let mut meta = Meta { keys: self.keys, epoch, wanted: self.wanted, found: self.found };
                manifest.chunk(key, id, chunk.len() as u64, &mut meta)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), OpsError> {
        for (mut manifest, epoch) in self.manifests.into_iter().zip(self.epochs) {
            let mut meta = Meta { keys: self.keys, epoch, wanted: self.wanted, found: &mut *self.found };
            // Puts the holes into their order.
            manifest.count(&mut crate::format::snapshot::Counts::default());
            manifest.finish(&mut meta)?;
        }
        Ok(())
    }
}

type Keys = Vec<(usize, ChunkKey, ChunkId)>;

/// The keys and ids of chunks, in their order, by all cores.
fn hash(keys: &KeyRing, chunks: &[&[u8]]) -> Result<Vec<Keys>, OpsError> {
    let of = |chunk: &&[u8]| -> Keys {
        let keys = keys.chunk_keys(Domain::Data, chunk);
        keys.map(|(epoch, key)| (epoch, key.clone(), derive::chunk_id(&key))).collect()
    };
    let part = chunks.len().div_ceil(worker_count()).max(16);
    std::thread::scope(|scope| {
        let workers: Vec<_> = chunks
            .chunks(part)
            .map(|chunks| scope.spawn(move || chunks.iter().map(of).collect::<Vec<Keys>>()))
            .collect();
        let mut all = Vec::with_capacity(chunks.len());
        for worker in workers {
            all.extend(worker.join().map_err(|_| OpsError::WorkerLost)?);
        }
        Ok(all)
    })
}

/// The next `length` bytes of what was read.
fn take_places(places: &mut VecDeque<Extent>, mut length: u64) -> Vec<Extent> {
    let mut taken = Vec::new();
    while length > 0
        && let Some(first) = places.front_mut()
    {
        let count = first.length.min(length);
        taken.push(Extent { start: first.start, length: count });
        *first = Extent { start: DiskOffset(first.start.0 + count), length: first.length - count };
        length -= count;
        if first.length == 0 {
            places.pop_front();
        }
    }
    taken
}

/// Chunks of one epoch's manifest.
struct Meta<'a> {
    keys: &'a KeyRing,
    epoch: usize,
    wanted: &'a (dyn Fn(&ChunkId) -> bool + Sync),
    found: &'a mut dyn FnMut(ScannedChunk),
}

impl TakeMeta for Meta<'_> {
    fn store(&mut self, domain: Domain, plain: &[u8]) -> Result<(ChunkKey, ChunkId), OpsError> {
        let mut keys = self.keys.chunk_keys(domain, plain);
        let lacks = || RepoError::from(crate::crypto::CryptoError::Authentication);
        let (_, key) = keys.find(|(epoch, _)| *epoch == self.epoch).ok_or_else(lacks)?;
        let id = derive::chunk_id(&key);
        if (self.wanted)(&id) {
            let content = Content::Bytes(plain.to_vec());
            (self.found)(ScannedChunk { id, key: key.clone(), domain, content });
        }
        Ok((key, id))
    }
}
