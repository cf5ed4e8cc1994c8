//! Stats: what a repository holds, and what it costs.
//!
//! Always true here: sizes of objects come from listings of storage, sizes of chunks from the index; nothing is estimated.

use crate::format::snapshot::Counts;
use crate::ids::ChunkId;
use crate::names::ObjectKind;
use crate::ops::references::{self, Visit};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::keyring::Action;
use crate::repo::reader::ChunkStore;
use crate::repo::snapshots::{self, Snapshot};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// What a repository holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Snapshots.
    pub snapshots: usize,
    /// Sticks that have at least one.
    pub sticks: usize,
    /// Bytes of all disks, each snapshot counted in full.
    pub bytes_logical: u64,
    /// Bytes of all chunks before compression, each counted once.
    pub bytes_unique: u64,
    /// Bytes of all objects on storage.
    pub bytes_stored: u64,
    /// Chunks, each counted once.
    pub chunks: u64,
    /// Packs.
    pub packs: usize,
    /// Objects and bytes of each kind.
    pub objects: Vec<(ObjectKind, usize, u64)>,
    /// The counts of all snapshots together: what was kept, and what was left out.
    pub counts: Counts,
}

/// What one stick costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StickStats {
    /// Its snapshots.
    pub snapshots: usize,
    /// Bytes of its disk in all snapshots together.
    pub bytes_logical: u64,
    /// Chunks that it needs, manifests and reference lists among them, each counted once.
    pub chunks: u64,
    /// Bytes that these take in packs: what the stick would cost alone.
    pub bytes_alone: u64,
    /// Of these, bytes of chunks that no other stick needs: what would be gained if it were forgotten.
    pub bytes_own: u64,
}

/// Counts.
///
/// # Errors
/// [`OpsError::Repo`].
pub fn stats(store: &ChunkStore) -> Result<Stats, OpsError> {
    store.repository.keys().require(Action::KeepRepository)?;
    let mut stats = Stats::default();
    for kind in ObjectKind::ALL {
        let listed = store.repository.storage().list(kind)?;
        let bytes = listed.iter().map(|object| object.size).sum();
        stats.bytes_stored += bytes;
        if kind == ObjectKind::Pack {
            stats.packs = listed.len();
        }
        stats.objects.push((kind, listed.len(), bytes));
    }
    let list = snapshots::list(&store.repository)?;
    list.snapshots.iter().for_each(|snapshot| add(&mut stats.counts, &snapshot.record.counts));
    stats.snapshots = list.snapshots.len();
    stats.bytes_logical = list.snapshots.iter().map(|snapshot| snapshot.record.size).sum();
    let mut sticks: Vec<_> = list.snapshots.into_iter().map(|snapshot| snapshot.record.stick).collect();
    sticks.sort_unstable();
    sticks.dedup();
    stats.sticks = sticks.len();
    stats.chunks = store.index.chunk_count()?;
    stats.bytes_unique = store.index.chunk_bytes()?.1;
    Ok(stats)
}

fn add(sum: &mut Counts, counts: &Counts) {
    for (sum, count) in [
        (&mut sum.bytes_files, counts.bytes_files),
        (&mut sum.bytes_records, counts.bytes_records),
        (&mut sum.bytes_slack, counts.bytes_slack),
        (&mut sum.bytes_other, counts.bytes_other),
        (&mut sum.bytes_zero, counts.bytes_zero),
        (&mut sum.bytes_free, counts.bytes_free),
        (&mut sum.bytes_scratch, counts.bytes_scratch),
    ] {
        *sum = sum.saturating_add(count);
    }
}

/// Counts what one stick costs, and what of it others need as well. Data is not read, so that an index key is enough.
///
/// # Errors
/// [`OpsError::Repo`], of a reference list that is damaged among others; [`OpsError::Interrupted`].
pub fn stick_stats(store: &ChunkStore, stick: &str, cancel: &Cancel) -> Result<StickStats, OpsError> {
    store.repository.keys().require(Action::KeepRepository)?;
    let list = snapshots::list(&store.repository)?;
    let (own, others): (Vec<_>, Vec<_>) = list.snapshots.iter().partition(|snapshot| snapshot.record.stick == stick);
    let index = store.index.reader()?;
    let mut needed: HashMap<ChunkId, u64> = HashMap::new();
    let mut walked = HashSet::new();
    for snapshot in &own {
        needs(store, snapshot, &mut walked, cancel, &mut |id| {
            if let Entry::Vacant(vacant) = needed.entry(id) {
                vacant.insert(u64::from(index.locate(&id)?.entry.sealed_length));
            }
            Ok(())
        })?;
    }
    let mut stats = StickStats {
        snapshots: own.len(),
        bytes_logical: own.iter().map(|snapshot| snapshot.record.size).sum(),
        chunks: needed.len() as u64,
        bytes_alone: needed.values().sum(),
        bytes_own: 0,
    };
    walked.clear();
    for snapshot in &others {
        needs(store, snapshot, &mut walked, cancel, &mut |id| {
            needed.remove(&id);
            Ok(())
        })?;
    }
    stats.bytes_own = needed.values().sum();
    Ok(stats)
}

/// Calls for each chunk that a snapshot needs; parts of reference lists in `walked` are left out.
fn needs(
    store: &ChunkStore,
    snapshot: &Snapshot,
    walked: &mut HashSet<ChunkId>,
    cancel: &Cancel,
    each: &mut dyn FnMut(ChunkId) -> Result<(), RepoError>,
) -> Result<(), OpsError> {
    references::walk(store, &snapshot.record.references, &mut |visit| {
        match visit {
            Visit::Chunk(id) => each(id)?,
            Visit::Leaf(id) => {
                cancel.check()?;
                return Ok(walked.insert(id));
            }
        }
        Ok(true)
    })
}
