//! A snapshot as a disk.
//!
//! Always true here:
//! - Every byte of the disk is answered by the checked map: kept bytes come verified from chunks, holes are zeros.
//! - The map is checked against the data tree: both span the same number of kept bytes.

use super::RepoError;
use super::keyring::Domain;
use super::reader::{ChunkStore, Nodes, ReadSession};
use super::snapshots::{self, Snapshot};
use super::tree::{Leaf, TreeCursor};
use crate::disk::{DiskOffset, KeptOffset, ReadAt, ReadError, check_range};
use crate::format::FormatError;
use crate::format::manifest::{DiskMap, HoleKind, MAX_RECORDS, MapRecord, Origin, RECORD_LENGTH};
use crate::format::snapshot::PrivateRecord;
use crate::format::tree::TreeRoot;
use crate::ids::ChunkKey;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// A snapshot that can be read: its map, and the way to its chunks.
pub struct SnapshotDisk {
    store: ChunkStore,
    snapshot: Snapshot,
    private: PrivateRecord,
    map: Arc<DiskMap>,
    state: Mutex<State>,
}

struct State {
    cursor: TreeCursor<Nodes>,
    session: ReadSession,
    last: Option<(u64, Vec<u8>)>,
}

impl std::fmt::Debug for SnapshotDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotDisk").field("snapshot", &self.snapshot.id).finish_non_exhaustive()
    }
}

impl SnapshotDisk {
    /// Opens a snapshot and reads its map.
    ///
    /// # Errors
    /// [`RepoError`]: the key cannot open it, or its map is missing, damaged or contradicts itself.
    pub fn open(store: ChunkStore, snapshot: Snapshot) -> Result<Self, RepoError> {
        let private = snapshots::open_private(&store.repository, snapshot.id)?;
        let structure = |source| RepoError::Structure { what: "disk map", snapshot: snapshot.id.short(), source };
        let records = read_records(&store, &private.map).map_err(|error| match error {
            RepoError::Structure { source, .. } => structure(source),
            other => other,
        })?;
        let map = DiskMap::check(records, snapshot.record.size).map_err(structure)?;
        if map.kept() != private.data.span {
            return Err(structure(FormatError::Field {
                structure: "disk map",
                field: "kept bytes",
                expected: "the span of the data tree",
                found: map.kept(),
            }));
        }
        let state = State {
            cursor: TreeCursor::new(store.nodes(Domain::Data)?, private.data.clone()),
            session: store.session()?,
            last: None,
        };
        Ok(Self { store, snapshot, private, map: Arc::new(map), state: Mutex::new(state) })
    }

    /// The snapshot.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is known of the disk, and the roots of its trees.
    pub const fn private(&self) -> &PrivateRecord {
        &self.private
    }

    /// Which bytes are kept and which are holes.
    pub const fn map(&self) -> &Arc<DiskMap> {
        &self.map
    }

    /// The store that the chunks come from.
    pub const fn store(&self) -> &ChunkStore {
        &self.store
    }

    /// A walk over the chunks of the kept bytes.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn leaves(&self) -> Result<TreeCursor<Nodes>, RepoError> {
        Ok(TreeCursor::new(self.store.nodes(Domain::Data)?, self.private.data.clone()))
    }

    /// Bytes that could not be read when the snapshot was made.
    pub fn unreadable(&self) -> u64 {
        self.map.holes(HoleKind::Unreadable).map(|extent| extent.length).sum()
    }

    fn read_kept(&self, from: KeptOffset, buffer: &mut [u8]) -> Result<(), RepoError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = 0;
        while filled < buffer.len() {
            let position = from.0 + filled as u64;
            let cached = state
                .last
                .as_ref()
                .is_some_and(|(start, chunk)| (*start..start + chunk.len() as u64).contains(&position));
            if !cached {
                let Some(Leaf { start, entry }) = state.cursor.leaf_at(position)? else {
                    return Err(self.past_the_end(position));
                };
                let length = usize::try_from(entry.span).unwrap_or(usize::MAX);
                state.last = None;
                let chunk = self.read_chunk(&mut state.session, &entry.key, length)?;
                state.last = Some((start, chunk));
            }
            if let Some((start, chunk)) = &state.last {
                let skip = usize::try_from(position - start).unwrap_or(usize::MAX).min(chunk.len());
                let count = (chunk.len() - skip).min(buffer.len() - filled);
                buffer[filled..filled + count].copy_from_slice(&chunk[skip..skip + count]);
                filled += count;
            }
        }
        Ok(())
    }

    fn read_chunk(&self, session: &mut ReadSession, key: &ChunkKey, length: usize) -> Result<Vec<u8>, RepoError> {
        let chunk = session.read(Domain::Data, key)?;
        if chunk.len() == length { Ok(chunk) } else { Err(self.past_the_end(chunk.len() as u64)) }
    }

    fn past_the_end(&self, found: u64) -> RepoError {
        let source =
            FormatError::Field { structure: "data tree", field: "span", expected: "the length of its chunks", found };
        RepoError::Structure { what: "data tree", snapshot: self.snapshot.id.short(), source }
    }
}

/// Reads and decodes all records of a disk map.
fn read_records(store: &ChunkStore, root: &TreeRoot) -> Result<Vec<MapRecord>, RepoError> {
    let structure = |source| RepoError::Structure { what: "disk map", snapshot: String::new(), source };
    let wrong = |found| {
        structure(FormatError::Field {
            structure: "disk map",
            field: "length",
            expected: "whole records, at most 16777216",
            found,
        })
    };
    if !root.span.is_multiple_of(RECORD_LENGTH as u64) || root.span / RECORD_LENGTH as u64 > MAX_RECORDS {
        return Err(wrong(root.span));
    }
    let mut cursor = TreeCursor::new(store.nodes(Domain::Data)?, root.clone());
    let mut session = store.session()?;
    let mut records = Vec::new();
    let mut position = 0;
    while let Some(leaf) = cursor.leaf_at(position)? {
        let chunk = session.read(Domain::Data, &leaf.entry.key)?;
        let (table, rest) = chunk.as_chunks::<RECORD_LENGTH>();
        if !rest.is_empty() || chunk.len() as u64 != leaf.entry.span {
            return Err(wrong(chunk.len() as u64));
        }
        for record in table {
            records.push(MapRecord::decode(record).map_err(structure)?);
        }
        position = leaf.start + leaf.entry.span;
    }
    Ok(records)
}

impl ReadAt for SnapshotDisk {
    fn size(&self) -> u64 {
        self.map.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.size())?;
        let mut filled = 0;
        for segment in &self.map.segments()[self.map.find(offset)..] {
            if filled == buffer.len() {
                break;
            }
            let position = offset.0 + filled as u64;
            let skip = position - segment.extent.start.0;
            let left = usize::try_from(segment.extent.length - skip).unwrap_or(usize::MAX);
            let count = left.min(buffer.len() - filled);
            let part = &mut buffer[filled..filled + count];
            match segment.origin {
                Origin::Hole(_) => part.fill(0),
                Origin::Kept(kept) => self.read_kept(KeptOffset(kept.0 + skip), part).map_err(|error| {
                    ReadError::Damaged { offset: DiskOffset(position), reason: super::chain(&error) }
                })?,
            }
            filled += count;
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let kept =
            self.map.segments()[self.map.find(from)..].iter().find(|segment| matches!(segment.origin, Origin::Kept(_)));
        Ok(kept.map(|segment| segment.extent.start.0.max(from.0)..segment.extent.start.0 + segment.extent.length))
    }

    fn sector_size(&self) -> u32 {
        self.private.disk.sector_size
    }
}
