//! The last stages of a backup: packs on their way to storage, and the index segments that name them.
//!
//! Always true here:
//! - A pack goes into a segment only when storage has said that it is durable.
//! - At most two packs of a kind are in memory: one that is filled, one that is written.

use super::known::Known;
use crate::format::index::{IndexSegment, IndexedPack};
use crate::format::pack::{PackEntry, PackKind};
use crate::ids::ChunkId;
use crate::ops::OpsError;
use crate::repo::RepoError;
use crate::repo::packer::Packer;
use crate::repo::reader::ChunkStore;
use crate::repo::segments;
use crate::repo::sessions::Session;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::collections::HashSet;
use std::sync::Arc;

/// Segments are published while a backup runs, each time this many packs are durable.
const PACKS_PER_SEGMENT: usize = 16;

/// Fills packs, hands them to the writing thread, and publishes what it stored.
pub(in crate::ops) struct PackStore<'a> {
    store: &'a ChunkStore,
    known: &'a Known,
    data: Packer,
    meta: Packer,
    to_writer: Option<Sender<Packer>>,
    stored: Receiver<Result<IndexedPack, RepoError>>,
    buffers: Receiver<Vec<u8>>,
    in_flight: usize,
    unpublished: Vec<IndexedPack>,
    pub bytes_stored: u64,
    pub packs_written: u64,
}

/// The writing thread's ends of the channels.
pub(in crate::ops) struct WriterEnds {
    packs: Receiver<Packer>,
    stored: Sender<Result<IndexedPack, RepoError>>,
    buffers: Sender<Vec<u8>>,
}

/// Completes and stores packs until there are no more. Ends at the first failure.
pub(in crate::ops) fn write_packs(store: &ChunkStore, ends: &WriterEnds) {
    for packer in &ends.packs {
        let result = packer.finish(store.repository.keys()).and_then(|finished| {
            let Some(finished) = finished else { return Ok(None) };
            finished.store(&**store.repository.storage())?;
            Ok(Some(finished))
        });
        let sent = match result {
            Ok(None) => continue,
            Ok(Some(finished)) => {
                let sent = ends.stored.send(Ok(finished.indexed.clone()));
                _ = ends.buffers.try_send(finished.into_buffer());
                sent
            }
            Err(error) => {
                _ = ends.stored.send(Err(error));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

impl<'a> PackStore<'a> {
    pub(in crate::ops) fn new(store: &'a ChunkStore, known: &'a Known) -> (Self, WriterEnds) {
        let (to_writer, packs) = bounded(0);
        let (stored_sender, stored) = unbounded();
        let (buffer_sender, buffers) = bounded(2);
        let packer =
            |kind| Packer::new(store.repository.id(), kind, store.repository.config().record.pack_size, Vec::new());
        let this = Self {
            store,
            known,
            data: packer(PackKind::Data),
            meta: packer(PackKind::Meta),
            to_writer: Some(to_writer),
            stored,
            buffers,
            in_flight: 0,
            unpublished: Vec::new(),
            bytes_stored: 0,
            packs_written: 0,
        };
        (this, WriterEnds { packs, stored: stored_sender, buffers: buffer_sender })
    }

    /// Appends a sealed chunk to the open pack of its kind.
    pub(in crate::ops) fn add(&mut self, kind: PackKind, entry: PackEntry, sealed: &[u8]) -> Result<(), OpsError> {
        self.bytes_stored += sealed.len() as u64;
        let open = match kind {
            PackKind::Data => &self.data,
            PackKind::Meta => &self.meta,
        };
        if open.is_full_for(sealed.len()) {
            self.close(kind)?;
        }
        match kind {
            PackKind::Data => self.data.add(entry, sealed),
            PackKind::Meta => self.meta.add(entry, sealed),
        }
        Ok(())
    }

    /// Hands the open pack of a kind to the writer.
    fn close(&mut self, kind: PackKind) -> Result<(), OpsError> {
        let target = self.store.repository.config().record.pack_size;
        let buffer = self.buffers.try_recv().unwrap_or_default();
        let fresh = Packer::new(self.store.repository.id(), kind, target, buffer);
        let full = match kind {
            PackKind::Data => std::mem::replace(&mut self.data, fresh),
            PackKind::Meta => std::mem::replace(&mut self.meta, fresh),
        };
        if full.is_empty() {
            return Ok(());
        }
        let sent = self.to_writer.as_ref().is_some_and(|writer| writer.send(full).is_ok());
        self.in_flight += 1;
        // Where the writer has ended, its last words are why.
        self.collect(!sent)?;
        if self.unpublished.len() >= PACKS_PER_SEGMENT {
            self.publish()?;
        }
        Ok(())
    }

    /// Takes what the writer has finished; with `wait`, until nothing is under way.
    fn collect(&mut self, wait: bool) -> Result<(), OpsError> {
        while self.in_flight > 0 {
            let result = if wait {
                self.stored.recv().map_err(|_| OpsError::WorkerLost)?
            } else {
                match self.stored.try_recv() {
                    Ok(result) => result,
                    Err(_) => return Ok(()),
                }
            };
            self.in_flight -= 1;
            self.unpublished.push(result?);
            self.packs_written += 1;
        }
        Ok(())
    }

    /// Publishes a segment for all packs that are durable.
    fn publish(&mut self) -> Result<(), OpsError> {
        if self.unpublished.is_empty() {
            return Ok(());
        }
        let segment = IndexSegment { supersedes: Vec::new(), packs: std::mem::take(&mut self.unpublished) };
        let id = segments::publish(&self.store.repository, &segment)?;
        self.store.index.insert_segment(id, &segment)?;
        let ids: HashSet<ChunkId> =
            segment.packs.iter().flat_map(|pack| pack.entries.iter().map(|entry| entry.id)).collect();
        self.known.published(|id| ids.contains(id));
        Ok(())
    }

    /// Ends the writing thread once it has done what it was given.
    pub(in crate::ops) fn hang_up(&mut self) {
        self.to_writer = None;
    }

    /// Makes everything that was added durable and indexed.
    pub(in crate::ops) fn finish(&mut self) -> Result<(), OpsError> {
        self.close(PackKind::Data)?;
        self.close(PackKind::Meta)?;
        self.collect(true)?;
        self.publish()
    }
}

/// Publishes a segment for packs which no segment lists, of backups that were interrupted or still run, so that their chunks count as stored.
///
/// # Errors
/// [`OpsError::Repo`].
pub(in crate::ops) fn publish_adopted(store: &ChunkStore, session: &Session) -> Result<usize, OpsError> {
    let repository = &store.repository;
    let mut segment = IndexSegment::default();
    let condemned = session.condemned().packs();
    let mut adopted: Vec<_> = store.index.adopted()?.into_iter().filter(|id| !condemned.contains(id)).collect();
    adopted.sort_unstable();
    for id in adopted {
        let name = crate::names::ObjectName::pack(id);
        match crate::repo::packer::read_listing(&**repository.storage(), repository.keys(), repository.id(), name) {
            Ok(pack) => segment.packs.push(pack),
            // The index knows it from before, and nobody relies on it.
            Err(RepoError::Storage(error)) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if segment.packs.is_empty() {
        return Ok(0);
    }
    let id = segments::publish(repository, &segment)?;
    store.index.insert_segment(id, &segment)?;
    Ok(segment.packs.len())
}

/// Takes a sealed chunk for a pack of this kind.
pub(in crate::ops) type TakeChunk<'a> = dyn FnMut(PackKind, PackEntry, &[u8]) -> Result<(), OpsError> + 'a;

/// Stores chunks in new packs, and publishes the segments that list them. Gives the packs and bytes that were written.
///
/// # Errors
/// What `feed` returns; [`OpsError::Repo`]. What was stored is then there all the same, and harms nothing.
pub(in crate::ops) fn store_chunks(
    store: &ChunkStore,
    feed: impl FnOnce(&mut TakeChunk<'_>) -> Result<(), OpsError>,
) -> Result<(u64, u64), OpsError> {
    let session = store.running().ok_or(RepoError::NoSession { needs: "stores" })?;
    let known = Known::new(store.index.clone(), Arc::clone(session));
    let (mut packs, writer) = PackStore::new(store, &known);
    std::thread::scope(|scope| {
        scope.spawn(move || write_packs(store, &writer));
        let fed = feed(&mut |kind, entry, sealed| packs.add(kind, entry, sealed));
        let finished = fed.and_then(|()| packs.finish());
        packs.hang_up();
        finished
    })?;
    Ok((packs.packs_written, packs.bytes_stored))
}
