//! A snapshot as a disk.
//!
//! Always true here:
//! - Every byte of the disk is answered by the checked map: kept bytes come verified from chunks, holes are zeros.
//! - The map is checked against the data tree: both span the same number of kept bytes.
//! - Any number of threads may read at once. What they share is the cache of the process, and a few idle cursors.

use super::RepoError;
use super::ahead::Readers;
use super::keyring::Domain;
use super::reader::{ChunkStore, Nodes, ReadSession};
use super::snapshots::{self, Snapshot};
use super::tree::{Leaf, TreeCursor};
use crate::crypto::derive;
use crate::disk::{DiskOffset, KeptOffset, ReadAt, ReadError, check_range};
use crate::format::FormatError;
use crate::format::manifest::{DiskMap, HoleKind, MAX_RECORDS, MapRecord, Origin, RECORD_LENGTH};
use crate::format::snapshot::PrivateRecord;
use crate::format::tree::TreeRoot;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// A snapshot that can be read: its map, and the way to its chunks.
pub struct SnapshotDisk {
    store: ChunkStore,
    snapshot: Snapshot,
    private: PrivateRecord,
    map: Arc<DiskMap>,
    /// Cursors that no thread uses now.
    idle: Mutex<Vec<Cursor>>,
    readers: Readers,
}

/// The most cursors that are kept for later.
const MOST_IDLE: usize = 8;

/// What one thread reads with.
struct Cursor {
    tree: TreeCursor<Nodes>,
    session: ReadSession,
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
        Ok(Self { store, snapshot, private, map: Arc::new(map), idle: Mutex::default(), readers: Readers::default() })
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

    /// The records of the map as they are stored, with the streams that they tell of; read anew.
    ///
    /// # Errors
    /// [`RepoError`] as of [`SnapshotDisk::open`].
    pub fn records(&self) -> Result<Vec<MapRecord>, RepoError> {
        read_records(&self.store, &self.private.map)
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

    /// Does something with a cursor that no other thread uses meanwhile.
    fn with_cursor<T>(&self, step: impl FnOnce(&mut Cursor) -> Result<T, RepoError>) -> Result<T, RepoError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut cursor = match idle {
            Some(cursor) => cursor,
            None => Cursor {
                tree: TreeCursor::new(self.store.cached_nodes(Domain::Data)?, self.private.data.clone()),
                session: self.store.session()?,
            },
        };
        let result = step(&mut cursor);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(cursor);
        }
        result
    }

    fn read_kept(&self, from: KeptOffset, buffer: &mut [u8], cursor: &mut Cursor) -> Result<(), RepoError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let position = from.0 + filled as u64;
            let Some(Leaf { start, entry }) = cursor.tree.leaf_at(position)? else {
                return Err(self.past_the_end(position));
            };
            let session = &mut cursor.session;
            let load = || session.read(Domain::Data, &entry.key);
            let chunk = self.store.cache().get(derive::chunk_id(&entry.key), load)?;
            if chunk.len() as u64 != entry.span {
                return Err(self.past_the_end(chunk.len() as u64));
            }
            let skip = usize::try_from(position - start).unwrap_or(usize::MAX).min(chunk.len());
            let count = (chunk.len() - skip).min(buffer.len() - filled);
            if count == 0 {
                return Err(self.past_the_end(position));
            }
            buffer[filled..filled + count].copy_from_slice(&chunk[skip..skip + count]);
            filled += count;
        }
        Ok(())
    }

    /// Has the chunks of a run of the disk brought into the cache. What does not come, comes when it is read.
    fn bring(&self, run: &Range<u64>, cursor: &mut Cursor) -> Result<(), RepoError> {
        for segment in &self.map.segments()[self.map.find(DiskOffset(run.start))..] {
            let start = segment.extent.start.0;
            if start >= run.end {
                break;
            }
            let Origin::Kept(kept) = segment.origin else { continue };
            let (mut at, end) = (start.max(run.start), (start + segment.extent.length).min(run.end));
            while at < end {
                let Some(leaf) = cursor.tree.leaf_at(kept.0 + (at - start))? else { return Ok(()) };
                if !self.store.bring(Domain::Data, &leaf.entry.key) {
                    return Ok(());
                }
                // Where this chunk ends on the disk, if the segment does not end before.
                at = (start + (leaf.start + leaf.entry.span).saturating_sub(kept.0)).max(at + 1);
            }
        }
        Ok(())
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
        let damaged = |position: u64, error: &RepoError| ReadError::Damaged {
            offset: DiskOffset(position),
            reason: super::chain(error),
        };
        let ahead = self.readers.note(offset.0..offset.0 + length, self.size());
        let mut failed_at = offset.0;
        let read = self.with_cursor(|cursor| {
            if let Some(run) = ahead {
                // Whatever fails here fails again, and is told, when it is read.
                _ = self.bring(&run, cursor);
            }
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
                failed_at = position;
                match segment.origin {
                    Origin::Hole(_) => part.fill(0),
                    Origin::Kept(kept) => self.read_kept(KeptOffset(kept.0 + skip), part, cursor)?,
                }
                filled += count;
            }
            Ok(())
        });
        read.map_err(|error| damaged(failed_at, &error))
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
