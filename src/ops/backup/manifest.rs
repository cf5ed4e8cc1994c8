//! What a backup writes beside data: the data tree, the disk map and the reference list.
//!
//! Always true here:
//! - Whatever is stored here is put into the reference list, but for the reference tree itself, which is found by walking it.
//! - Tables are cut on record boundaries by their content, so that two snapshots of a stick share most of them
//!   (format-spec/manifest.md).

use super::blocks::Piece;
use super::known::Known;
use super::store::PackStore;
use crate::chunk::compress::Compressor;
use crate::crypto::derive;
use crate::disk::Extent;
use crate::format::certificate::Role;
use crate::format::manifest::{HoleKind, MapRecord, RECORD_LENGTH, StreamKind};
use crate::format::pack::PackKind;
use crate::format::snapshot::Counts;
use crate::format::tree::{TreeEntry, TreeRoot};
use crate::ids::{ChunkId, ChunkKey};
use crate::ops::OpsError;
use crate::repo::RepoError;
use crate::repo::keyring::{Action, Domain, KeyRing};
use crate::repo::tree::TreeWriter;

const MIN_RECORDS: usize = 256;
const MAX_RECORDS: usize = 4096;
const CLOSING_MASK: u32 = 0x3ff;

/// Stores chunks of metadata, each once.
pub(in crate::ops) struct MetaStore<'a, 'b> {
    pub keys: &'a KeyRing,
    pub known: &'a Known,
    pub packs: &'a mut PackStore<'b>,
    pub compressor: &'a mut Compressor,
}

/// Takes chunks of metadata.
pub(in crate::ops) trait TakeMeta {
    /// Takes a chunk, and gives its key and id.
    fn store(&mut self, domain: Domain, plain: &[u8]) -> Result<(ChunkKey, ChunkId), OpsError>;
}

impl TakeMeta for MetaStore<'_, '_> {
    fn store(&mut self, domain: Domain, plain: &[u8]) -> Result<(ChunkKey, ChunkId), OpsError> {
        let key = self.keys.chunk_key(domain, plain)?;
        let id = derive::chunk_id(&key);
        let reader = self.known.reader()?;
        if self.known.claim(&reader, id)? {
            let (entry, sealed) = crate::repo::chunks::seal_chunk(&key, id, plain, self.compressor)?;
            self.packs.add(PackKind::Meta, entry, &sealed)?;
        }
        Ok((key, id))
    }
}

/// A tree whose nodes go into a store; the ids of what was stored are collected.
struct StoredTree {
    domain: Domain,
    tree: TreeWriter,
}

/// Runs a step of a tree writer with a store that may fail in its own way.
fn with_store<T>(
    meta: &mut dyn TakeMeta,
    domain: Domain,
    ids: &mut Vec<ChunkId>,
    step: impl FnOnce(&mut dyn FnMut(Vec<u8>) -> Result<ChunkKey, RepoError>) -> Result<T, RepoError>,
) -> Result<T, OpsError> {
    let mut failure = None;
    let result = step(&mut |plain| match meta.store(domain, &plain) {
        Ok((key, id)) => {
            ids.push(id);
            Ok(key)
        }
        Err(OpsError::Repo(error)) => Err(error),
        Err(error) => {
            failure = Some(error);
            // Nobody sees it: the failure itself is told below.
            Err(RepoError::KeyLacks { role: Role::Admin, action: Action::Store })
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(result?),
    }
}

impl StoredTree {
    const fn new(domain: Domain) -> Self {
        Self { domain, tree: TreeWriter::new() }
    }

    fn push(&mut self, entry: TreeEntry, meta: &mut dyn TakeMeta, ids: &mut Vec<ChunkId>) -> Result<(), OpsError> {
        with_store(meta, self.domain, ids, |store| self.tree.push(entry, store))
    }

    fn finish(self, meta: &mut dyn TakeMeta, ids: &mut Vec<ChunkId>) -> Result<TreeRoot, OpsError> {
        with_store(meta, self.domain, ids, |store| self.tree.finish(store))
    }
}

/// A table of fixed records, cut by content and stored as a tree.
struct Table {
    tree: StoredTree,
    open: Vec<u8>,
    records: usize,
}

impl Table {
    const fn new(domain: Domain) -> Self {
        Self { tree: StoredTree::new(domain), open: Vec::new(), records: 0 }
    }

    /// Appends a record; `closing` are the 32 bits that decide whether a chunk may end behind it.
    fn push(
        &mut self,
        record: &[u8],
        closing: u32,
        meta: &mut dyn TakeMeta,
        ids: &mut Vec<ChunkId>,
    ) -> Result<(), OpsError> {
        self.open.extend_from_slice(record);
        self.records += 1;
        if self.records >= MAX_RECORDS || closing & CLOSING_MASK == 0 && self.records >= MIN_RECORDS {
            self.close(meta, ids)?;
        }
        Ok(())
    }

    fn close(&mut self, meta: &mut dyn TakeMeta, ids: &mut Vec<ChunkId>) -> Result<(), OpsError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let (key, id) = meta.store(self.tree.domain, &self.open)?;
        ids.push(id);
        let span = self.open.len() as u64;
        self.open.clear();
        self.records = 0;
        self.tree.push(TreeEntry { key, span }, meta, ids)
    }

    fn finish(mut self, meta: &mut dyn TakeMeta, ids: &mut Vec<ChunkId>) -> Result<TreeRoot, OpsError> {
        self.close(meta, ids)?;
        self.tree.finish(meta, ids)
    }
}

/// Adds a hole, to the one before where it goes on.
fn push_hole(holes: &mut Vec<(HoleKind, Extent)>, (kind, extent): (HoleKind, Extent)) {
    match holes.last_mut() {
        Some((last_kind, last)) if *last_kind == kind && last.end() == Some(extent.start) => {
            last.length += extent.length;
        }
        _ => holes.push((kind, extent)),
    }
}

/// The roots that a snapshot needs.
#[derive(Debug)]
pub(in crate::ops) struct Roots {
    pub data: TreeRoot,
    pub map: TreeRoot,
    pub references: TreeRoot,
}

/// Builds the manifest while chunks go by in their order.
pub(in crate::ops) struct ManifestWriter {
    data: StoredTree,
    references: Table,
    last_reference: Option<ChunkId>,
    stored: Vec<ChunkId>,
    /// Streams with the number of their extents and bytes.
    streams: Vec<(StreamKind, u32, u64)>,
    extents: Vec<Extent>,
    holes: Vec<(HoleKind, Extent)>,
    kept: u64,
}

impl ManifestWriter {
    pub(in crate::ops) const fn new() -> Self {
        Self {
            data: StoredTree::new(Domain::Data),
            references: Table::new(Domain::Reference),
            last_reference: None,
            stored: Vec::new(),
            streams: Vec::new(),
            extents: Vec::new(),
            holes: Vec::new(),
            kept: 0,
        }
    }

    /// The next chunk of the kept bytes.
    pub(in crate::ops) fn chunk(
        &mut self,
        key: ChunkKey,
        id: ChunkId,
        length: u64,
        meta: &mut dyn TakeMeta,
    ) -> Result<(), OpsError> {
        self.kept += length;
        self.reference(id, meta)?;
        self.data.push(TreeEntry { key, span: length }, meta, &mut self.stored)?;
        self.reference_stored(meta)
    }

    /// The next run of the disk.
    pub(in crate::ops) fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Begin(kind) => match self.streams.last_mut() {
                // A stream of holes alone is none.
                Some(last) if last.1 == 0 => last.0 = kind,
                _ => self.streams.push((kind, 0, 0)),
            },
            Piece::Data(extent) => {
                if self.streams.is_empty() {
                    self.streams.push((StreamKind::Other, 0, 0));
                }
                let Some((_, extents, length)) = self.streams.last_mut() else { return };
                *length += extent.length;
                match self.extents.last_mut() {
                    Some(last) if *extents > 0 && last.end() == Some(extent.start) => last.length += extent.length,
                    _ => {
                        self.extents.push(extent);
                        *extents += 1;
                    }
                }
            }
            Piece::Hole(kind, extent) => push_hole(&mut self.holes, (kind, extent)),
        }
    }

    /// What is known of the kinds of bytes when all pieces have passed.
    pub(in crate::ops) fn count(&mut self, counts: &mut Counts) {
        self.holes.sort_unstable_by_key(|(_, extent)| extent.start);
        let mut joined = Vec::with_capacity(self.holes.len());
        self.holes.drain(..).for_each(|hole| push_hole(&mut joined, hole));
        self.holes = joined;
        counts.bytes_kept = self.kept;
        for (kind, _, length) in &self.streams {
            let bytes = match kind {
                StreamKind::File => &mut counts.bytes_files,
                StreamKind::Metadata => &mut counts.bytes_records,
                StreamKind::Slack => &mut counts.bytes_slack,
                StreamKind::Other => &mut counts.bytes_other,
            };
            *bytes += length;
        }
        for (kind, extent) in &self.holes {
            let bytes = match kind {
                HoleKind::Zero => &mut counts.bytes_zero,
                HoleKind::Free => &mut counts.bytes_free,
                HoleKind::Scratch => &mut counts.bytes_scratch,
                HoleKind::Unreadable => &mut counts.unreadable,
            };
            *bytes += extent.length;
        }
    }

    /// Runs that could not be read, in disk order.
    pub(in crate::ops) fn unreadable_extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.holes.iter().filter(|(kind, _)| *kind == HoleKind::Unreadable).map(|(_, extent)| *extent)
    }

    fn reference(&mut self, id: ChunkId, meta: &mut dyn TakeMeta) -> Result<(), OpsError> {
        if self.last_reference.replace(id) == Some(id) {
            return Ok(());
        }
        let bytes = id.as_bytes();
        let closing = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // The ids of the reference tree itself are found by walking it.
        self.references.push(bytes, closing, meta, &mut Vec::new())
    }

    fn reference_stored(&mut self, meta: &mut dyn TakeMeta) -> Result<(), OpsError> {
        for id in std::mem::take(&mut self.stored) {
            self.reference(id, meta)?;
        }
        Ok(())
    }

    /// Writes the map and closes all trees.
    pub(in crate::ops) fn finish(mut self, meta: &mut dyn TakeMeta) -> Result<Roots, OpsError> {
        let mut stored = std::mem::take(&mut self.stored);
        let data = std::mem::replace(&mut self.data, StoredTree::new(Domain::Data)).finish(meta, &mut stored)?;
        let mut table = Table::new(Domain::Data);
        let extents = std::mem::take(&mut self.extents);
        let holes = self.holes.iter().map(|(kind, extent)| MapRecord::Hole(*kind, *extent));
        let mut rest = &extents[..];
        let streams = self.streams.iter().filter(|(_, extents, _)| *extents > 0);
        let streams = streams.flat_map(|(kind, count, length)| {
            let (own, behind) = rest.split_at((*count as usize).min(rest.len()));
            rest = behind;
            let stream = MapRecord::Stream { kind: *kind, extents: *count, length: *length };
            std::iter::once(stream).chain(own.iter().copied().map(MapRecord::Extent))
        });
        for record in streams.chain(holes) {
            let bytes: [u8; RECORD_LENGTH] = record.encode();
            let hash = *blake3::hash(&bytes).as_bytes();
            let closing = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
            table.push(&bytes, closing, meta, &mut stored)?;
        }
        let map = table.finish(meta, &mut stored)?;
        self.stored = stored;
        self.reference_stored(meta)?;
        let references = self.references.finish(meta, &mut Vec::new())?;
        Ok(Roots { data, map, references })
    }
}
