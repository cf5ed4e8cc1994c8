//! The index that is asked: where is this chunk? A redb database in the machine's cache folder.
//!
//! Always true here:
//! - It is disposable: everything in it comes from index segments and pack trailers, and it is made anew when it
//!   is missing, of another version, or when a segment that it was built from is gone.
//! - Several processes of one machine use one database at once (redb's multi-writer mode); each sees what the others
//!   committed.
//! - Memory is bounded: redb's cache has a fixed size, the filter layers have a budget and are left out beyond it.
//! - A pack that no segment lists may be *adopted*: its chunks are then found, and it is known as such.

use super::RepoError;
use super::filter::{LAYER_KEYS, Layer};
use super::open::Repository;
use super::{packer, segments};
use crate::disk::PackOffset;
use crate::format::index::{IndexSegment, IndexedPack};
use crate::format::pack::{PackEntry, with_offsets};
use crate::ids::{ChunkId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use redb::{
    ConcurrencyMode, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

const CHUNKS: TableDefinition<'_, [u8; 32], [u8; 16]> = TableDefinition::new("chunks");
const PACKS: TableDefinition<'_, u32, [u8; 40]> = TableDefinition::new("packs");
const PACK_NUMBERS: TableDefinition<'_, [u8; 32], u32> = TableDefinition::new("pack numbers");
const SEGMENTS: TableDefinition<'_, [u8; 32], u64> = TableDefinition::new("segments");
const ADOPTED: TableDefinition<'_, [u8; 32], ()> = TableDefinition::new("adopted packs");
const FILTER: TableDefinition<'_, u32, Vec<u8>> = TableDefinition::new("filter layers");

const FILE: &str = "index-v1.redb";
/// Memory for redb's own cache, in bytes.
const REDB_MEMORY: usize = 48 << 20;
/// Memory for filter layers, in bytes: enough for 60 million chunks.
const FILTER_MEMORY: usize = 64 << 20;
/// Small layers are folded into the base when they hold more than this share of all ids.
const FOLD_SHARE: u64 = 4;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: ObjectId,
    /// Where it begins there.
    pub offset: PackOffset,
    /// The chunk's entry.
    pub entry: PackEntry,
    pub(crate) pack_number: u32,
}

/// What a sync found.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// Segments read: those that are new, and those of which packs are missing.
    pub segments_new: usize,
    /// Segments that could not be read, with the reason. Their packs can be adopted.
    pub damaged: Vec<(ObjectId, RepoError)>,
    /// True when the database was made anew.
    pub rebuilt: bool,
    /// Packs that segments list and storage does not have, or has with another size. Their chunks are not in
    /// the database, so that a backup stores them again.
    pub missing_packs: Vec<ObjectId>,
    /// Packs that no segment lists and that were adopted now.
    pub adopted: usize,
}

/// Which segment lists packs that come into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// This one, of which the database then knows everything.
    By(ObjectId),
    /// One of which the database does not know everything.
    Partly,
    /// None.
    Nowhere,
}

/// The local index of one repository.
#[derive(Debug)]
pub struct Index {
    database: Database,
    path: PathBuf,
    layers: RwLock<Option<Vec<Layer>>>,
}

fn cache_error(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RepoError {
    RepoError::Cache { path: path.display().to_string(), source: source.into() }
}

/// Turns redb's several error types into [`RepoError::Cache`].
macro_rules! cached {
    ($self:expr, $result:expr) => {
        $result.map_err(|error| cache_error(&$self.path, error))
    };
}

impl Index {
    /// Opens the database in `folder`, making it when it is missing and making it anew when it cannot be used.
    ///
    /// # Errors
    /// [`RepoError::Cache`] when the folder cannot be written to.
    pub fn open(folder: &Path) -> Result<Self, RepoError> {
        std::fs::create_dir_all(folder).map_err(|error| cache_error(folder, error))?;
        let path = folder.join(FILE);
        let database = match Self::database(&path) {
            Ok(database) => database,
            // Another process holds it in a way that does not go with ours: not a damaged file.
            Err(error @ (redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch)) => {
                return Err(cache_error(&path, error));
            }
            Err(_) => {
                // Damaged or of another version: it is disposable.
                std::fs::remove_file(&path).map_err(|error| cache_error(&path, error))?;
                Self::database(&path).map_err(|error| cache_error(&path, error))?
            }
        };
        let index = Self { database, path, layers: RwLock::new(None) };
        index.make_tables_in(cached!(index, index.database.begin_write())?)?;
        index.load_filter()?;
        Ok(index)
    }

    fn database(path: &Path) -> Result<Database, redb::DatabaseError> {
        Database::builder().set_cache_size(REDB_MEMORY).set_concurrency_mode(ConcurrencyMode::MultiWriter).create(path)
    }

    /// Makes the tables that are missing, and commits.
    fn make_tables_in(&self, transaction: WriteTransaction) -> Result<(), RepoError> {
        cached!(self, transaction.open_table(CHUNKS))?;
        cached!(self, transaction.open_table(PACKS))?;
        cached!(self, transaction.open_table(PACK_NUMBERS))?;
        cached!(self, transaction.open_table(SEGMENTS))?;
        cached!(self, transaction.open_table(ADOPTED))?;
        cached!(self, transaction.open_table(FILTER))?;
        cached!(self, transaction.commit())
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the database up to the repository's segments and packs: afterwards it holds exactly the chunks of packs that
    /// are on storage, whether a segment lists them or not.
    ///
    /// # Errors
    /// [`RepoError::Storage`] when a listing fails, [`RepoError::Cache`]. A segment that is damaged is in the report.
    pub fn sync(&self, repository: &Repository) -> Result<SyncReport, RepoError> {
        let mut report = SyncReport::default();
        // What the database knows is asked before storage is: another process may add to both meanwhile, and what was in the
        // database before a listing and is not in it was deleted.
        let (known, known_packs) = (self.segments()?, self.packs()?);
        // Segments first: a pack is durable before its segment, so every listed pack is then in the second listing.
        let segments_listed: HashSet<ObjectId> =
            repository.storage().list(ObjectKind::Index)?.iter().filter_map(|listed| listed.name.id()).collect();
        let on_storage: HashMap<ObjectId, u64> = repository
            .storage()
            .list(ObjectKind::Pack)?
            .iter()
            .filter_map(|listed| listed.name.id().map(|id| (id, listed.size)))
            .collect();
        let pack_is_gone = known_packs.iter().any(|(_, id, size)| on_storage.get(id) != Some(size));
        if pack_is_gone || known.iter().any(|id| !segments_listed.contains(id)) {
            self.clear()?;
            report.rebuilt = true;
        }
        let mut missing: Vec<ObjectId> =
            segments_listed.into_iter().filter(|id| report.rebuilt || !known.contains(id)).collect();
        missing.sort_unstable();
        for id in missing {
            match segments::read(repository, id) {
                Ok(mut segment) => {
                    let listed = segment.packs.len();
                    segment.packs.retain(|pack| {
                        let there = on_storage.get(&pack.id) == Some(&pack.size);
                        if !there {
                            report.missing_packs.push(pack.id);
                        }
                        there
                    });
                    // A segment with packs that are not there is not noted as read: it is read each time, so that what is
                    // missing is told each time, and found when it is back.
                    let is_complete = segment.packs.len() == listed;
                    self.insert(if is_complete { Listed::By(id) } else { Listed::Partly }, &segment.packs)?;
                    report.segments_new += 1;
                }
                Err(error) if error.is_damage() => report.damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        report.adopted = self.adopt_unlisted(repository, on_storage.keys())?;
        self.load_filter()?;
        Ok(report)
    }

    /// Adopts packs that the database does not know, reading their trailers. One whose trailer cannot be read is left out.
    fn adopt_unlisted<'a>(
        &self,
        repository: &Repository,
        on_storage: impl Iterator<Item = &'a ObjectId>,
    ) -> Result<usize, RepoError> {
        let unknown = {
            let transaction = cached!(self, self.database.begin_read())?;
            let numbers = cached!(self, transaction.open_table(PACK_NUMBERS))?;
            let mut unknown = Vec::new();
            for id in on_storage {
                if cached!(self, numbers.get(id.as_bytes()))?.is_none() {
                    unknown.push(*id);
                }
            }
            unknown
        };
        let mut found = Vec::new();
        for id in unknown {
            match packer::read_listing(
                &**repository.storage(),
                repository.keys(),
                repository.id(),
                ObjectName::pack(id),
            ) {
                Ok(pack) => found.push(pack),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        if !found.is_empty() {
            self.adopt(&found)?;
        }
        Ok(found.len())
    }

    fn clear(&self) -> Result<(), RepoError> {
        let transaction = cached!(self, self.database.begin_write())?;
        cached!(self, transaction.delete_table(CHUNKS))?;
        cached!(self, transaction.delete_table(PACKS))?;
        cached!(self, transaction.delete_table(PACK_NUMBERS))?;
        cached!(self, transaction.delete_table(SEGMENTS))?;
        cached!(self, transaction.delete_table(ADOPTED))?;
        cached!(self, transaction.delete_table(FILTER))?;
        // In one step, so that no other process meets a database without tables.
        self.make_tables_in(transaction)
    }

    /// Segments that the database was built from.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn segments(&self) -> Result<HashSet<ObjectId>, RepoError> {
        let transaction = cached!(self, self.database.begin_read())?;
        let table = cached!(self, transaction.open_table(SEGMENTS))?;
        let rows = cached!(self, table.iter())?;
        rows.map(|row| cached!(self, row).map(|(id, _)| ObjectId::new(id.value()))).collect()
    }

    /// Packs that are known without a segment.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn adopted(&self) -> Result<HashSet<ObjectId>, RepoError> {
        let transaction = cached!(self, self.database.begin_read())?;
        let table = cached!(self, transaction.open_table(ADOPTED))?;
        let rows = cached!(self, table.iter())?;
        rows.map(|row| cached!(self, row).map(|(id, _)| ObjectId::new(id.value()))).collect()
    }

    /// Adds a segment that is published.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn insert_segment(&self, id: ObjectId, segment: &IndexSegment) -> Result<(), RepoError> {
        self.insert(Listed::By(id), &segment.packs)
    }

    /// Adds packs that no segment lists.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn adopt(&self, packs: &[IndexedPack]) -> Result<(), RepoError> {
        self.insert(Listed::Nowhere, packs)
    }

    fn insert(&self, listed: Listed, packs: &[IndexedPack]) -> Result<(), RepoError> {
        let transaction = cached!(self, self.database.begin_write())?;
        let mut ids = Vec::new();
        {
            let mut segments = cached!(self, transaction.open_table(SEGMENTS))?;
            if let Listed::By(id) = listed {
                let count: u64 = packs.iter().map(|pack| pack.entries.len() as u64).sum();
                if cached!(self, segments.insert(id.as_bytes(), count))?.is_some() {
                    // Another process was faster.
                    return Ok(());
                }
            }
            let mut numbers = cached!(self, transaction.open_table(PACK_NUMBERS))?;
            let mut pack_table = cached!(self, transaction.open_table(PACKS))?;
            let mut adopted = cached!(self, transaction.open_table(ADOPTED))?;
            let mut next = cached!(self, pack_table.last())?.map_or(0, |(number, _)| number.value() + 1);
            let mut rows: Vec<([u8; 32], [u8; 16])> = Vec::new();
            for pack in packs {
                if listed != Listed::Nowhere {
                    cached!(self, adopted.remove(pack.id.as_bytes()))?;
                }
                if cached!(self, numbers.get(pack.id.as_bytes()))?.is_some() {
                    continue;
                }
                if listed == Listed::Nowhere {
                    cached!(self, adopted.insert(pack.id.as_bytes(), ()))?;
                }
                let mut value = [0; 40];
                value[..32].copy_from_slice(pack.id.as_bytes());
                value[32..].copy_from_slice(&pack.size.to_le_bytes());
                cached!(self, numbers.insert(pack.id.as_bytes(), next))?;
                cached!(self, pack_table.insert(next, value))?;
                rows.extend(
                    with_offsets(&pack.entries).map(|(offset, entry)| (*entry.id.as_bytes(), row(next, offset, entry))),
                );
                next += 1;
            }
            rows.sort_unstable();
            let mut chunks = cached!(self, transaction.open_table(CHUNKS))?;
            for (id, value) in &rows {
                // The first place wins: whoever inserts says by the order which packs are to be preferred.
                let before = cached!(self, chunks.insert(id, value))?.map(|before| before.value());
                if let Some(before) = before {
                    cached!(self, chunks.insert(id, &before))?;
                }
            }
            ids.extend(rows.iter().map(|(id, _)| ChunkId::new(*id)));
            ids.dedup();
            let mut filter = cached!(self, transaction.open_table(FILTER))?;
            self.extend_filter(&mut filter, &chunks, &ids)?;
        }
        cached!(self, transaction.commit())?;
        self.load_filter()
    }

    /// Adds new ids as a layer, or builds all layers anew when the small ones have grown.
    fn extend_filter(
        &self,
        filter: &mut redb::Table<'_, u32, Vec<u8>>,
        chunks: &redb::Table<'_, [u8; 32], [u8; 16]>,
        new: &[ChunkId],
    ) -> Result<(), RepoError> {
        let Some(layer) = Layer::build(new) else { return Ok(()) };
        let (mut last, mut largest, mut all) = (None, 0, 0);
        for row in cached!(self, filter.iter())? {
            let (number, bytes) = cached!(self, row)?;
            let keys = Layer::from_bytes(&bytes.value()).map_or(0, |layer| layer.keys());
            (last, largest, all) = (Some(number.value()), largest.max(keys), all + keys);
        }
        let total = all + layer.keys();
        let few = total - largest.max(layer.keys()) <= total / FOLD_SHARE;
        if few || largest >= LAYER_KEYS as u64 && layer.keys() >= LAYER_KEYS as u64 / FOLD_SHARE {
            cached!(self, filter.insert(last.map_or(0, |last| last + 1), layer.to_bytes()))?;
            return Ok(());
        }
        let old: Vec<u32> = cached!(self, filter.iter())?
            .map(|row| cached!(self, row).map(|(number, _)| number.value()))
            .collect::<Result<_, _>>()?;
        for number in old {
            cached!(self, filter.remove(number))?;
        }
        let mut ids = Vec::new();
        let mut number = 0;
        let mut rows = cached!(self, chunks.iter())?;
        loop {
            let row = rows.next();
            let ended = row.is_none();
            if let Some(row) = row {
                ids.push(ChunkId::new(cached!(self, row)?.0.value()));
            }
            if ended || ids.len() == LAYER_KEYS {
                if let Some(layer) = Layer::build(&ids) {
                    cached!(self, filter.insert(number, layer.to_bytes()))?;
                    number += 1;
                }
                ids.clear();
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn load_filter(&self) -> Result<(), RepoError> {
        let transaction = cached!(self, self.database.begin_read())?;
        let table = cached!(self, transaction.open_table(FILTER))?;
        let chunks = cached!(self, transaction.open_table(CHUNKS))?;
        let mut layers = Vec::new();
        let (mut memory, mut keys, mut usable) = (0, 0, true);
        for row in cached!(self, table.iter())? {
            let bytes = cached!(self, row)?.1.value();
            memory += bytes.len();
            match Layer::from_bytes(&bytes) {
                Some(layer) if memory <= FILTER_MEMORY => {
                    keys += layer.keys();
                    layers.push(layer);
                }
                _ => usable = false,
            }
        }
        // A filter that knows fewer ids than there are would give a false "no", which stores a chunk twice.
        usable &= keys >= cached!(self, chunks.len())?;
        *self.layers.write().unwrap_or_else(PoisonError::into_inner) = usable.then_some(layers);
        Ok(())
    }

    /// All packs with their sizes, as segments and adoption gave them.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn packs(&self) -> Result<Vec<(u32, ObjectId, u64)>, RepoError> {
        let transaction = cached!(self, self.database.begin_read())?;
        let table = cached!(self, transaction.open_table(PACKS))?;
        let rows = cached!(self, table.iter())?;
        rows.map(|row| {
            let (number, value) = cached!(self, row)?;
            let (id, size) = pack_value(&value.value());
            Ok((number.value(), id, size))
        })
        .collect()
    }

    /// Chunks, each counted once.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn chunk_count(&self) -> Result<u64, RepoError> {
        let transaction = cached!(self, self.database.begin_read())?;
        let table = cached!(self, transaction.open_table(CHUNKS))?;
        cached!(self, table.len())
    }

    /// Sum of sealed and of plain lengths of all chunks, each counted once.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn chunk_bytes(&self) -> Result<(u64, u64), RepoError> {
        let transaction = cached!(self, self.database.begin_read())?;
        let table = cached!(self, transaction.open_table(CHUNKS))?;
        let mut sums = (0, 0);
        for row in cached!(self, table.iter())? {
            let value = cached!(self, row)?.1.value();
            sums.0 += u64::from(word(&value, 8));
            sums.1 += u64::from(word(&value, 12));
        }
        Ok(sums)
    }

    /// False when the chunk is certainly not there, from memory alone.
    pub fn may_contain(&self, id: &ChunkId) -> bool {
        match &*self.layers.read().unwrap_or_else(PoisonError::into_inner) {
            Some(layers) => layers.iter().any(|layer| layer.may_contain(id)),
            None => true,
        }
    }

    /// True when the chunk is there.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn contains(self: &Arc<Self>, id: &ChunkId) -> Result<bool, RepoError> {
        if !self.may_contain(id) {
            return Ok(false);
        }
        self.reader()?.contains(id)
    }

    /// Many questions against one state of the index.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn reader(self: &Arc<Self>) -> Result<IndexReader, RepoError> {
        let transaction = cached!(self, self.database.begin_read())?;
        let chunks = cached!(self, transaction.open_table(CHUNKS))?;
        let packs = cached!(self, transaction.open_table(PACKS))?;
        Ok(IndexReader { index: Arc::clone(self), chunks, packs, pack_names: RefCell::default() })
    }
}

/// One state of the index.
pub struct IndexReader {
    index: Arc<Index>,
    chunks: redb::ReadOnlyTable<[u8; 32], [u8; 16]>,
    packs: redb::ReadOnlyTable<u32, [u8; 40]>,
    /// Names that were looked up. They belong to this state: a database that is made anew numbers its packs anew.
    pack_names: RefCell<HashMap<u32, ObjectId>>,
}

impl IndexReader {
    /// True when the chunk is there.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn contains(&self, id: &ChunkId) -> Result<bool, RepoError> {
        if !self.index.may_contain(id) {
            return Ok(false);
        }
        Ok(cached!(self.index, self.chunks.get(id.as_bytes()))?.is_some())
    }

    /// Where the chunk lies.
    ///
    /// # Errors
    /// [`RepoError::ChunkMissing`], [`RepoError::Cache`].
    pub fn locate(&self, id: &ChunkId) -> Result<Location, RepoError> {
        let row = cached!(self.index, self.chunks.get(id.as_bytes()))?;
        let value = row.ok_or(RepoError::ChunkMissing { id: *id, pack: None })?.value();
        let pack_number = word(&value, 0);
        let entry = PackEntry { id: *id, sealed_length: word(&value, 8), plain_length: word(&value, 12) };
        entry.check("local index").map_err(|error| cache_error(&self.index.path, error))?;
        let offset = PackOffset(word(&value, 4).into());
        Ok(Location { pack: self.pack_name(pack_number)?, offset, entry, pack_number })
    }

    fn pack_name(&self, number: u32) -> Result<ObjectId, RepoError> {
        if let Some(id) = self.pack_names.borrow().get(&number) {
            return Ok(*id);
        }
        let row = cached!(self.index, self.packs.get(number))?;
        let value = row.ok_or_else(|| cache_error(&self.index.path, format!("pack number {number} is not there")))?;
        let (id, _) = pack_value(&value.value());
        self.pack_names.borrow_mut().insert(number, id);
        Ok(id)
    }
}

fn row(pack: u32, offset: PackOffset, entry: &PackEntry) -> [u8; 16] {
    let mut value = [0; 16];
    value[..4].copy_from_slice(&pack.to_le_bytes());
    // A pack has at most 1 GiB, which its decoder checks.
    value[4..8].copy_from_slice(&u32::try_from(offset.0).unwrap_or(u32::MAX).to_le_bytes());
    value[8..12].copy_from_slice(&entry.sealed_length.to_le_bytes());
    value[12..].copy_from_slice(&entry.plain_length.to_le_bytes());
    value
}

fn word(value: &[u8; 16], at: usize) -> u32 {
    u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
}

fn pack_value(value: &[u8; 40]) -> (ObjectId, u64) {
    let (id, size) = value.split_at(32);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(id);
    (ObjectId::new(bytes), size.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
