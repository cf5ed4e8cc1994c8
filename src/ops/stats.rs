//! Stats: what a repository holds, and what it costs.
//!
//! Always true here: sizes of objects come from listings of storage, sizes of chunks from the index; nothing is estimated.

use crate::names::ObjectKind;
use crate::ops::OpsError;
use crate::repo::reader::ChunkStore;
use crate::repo::snapshots;

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
}

/// Counts.
///
/// # Errors
/// [`OpsError::Repo`].
pub fn stats(store: &ChunkStore) -> Result<Stats, OpsError> {
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
