//! The index that is asked: where is this chunk? A redb database in the machine's cache folder.
//!
//! Always true here:
//! - It is disposable: everything in it comes from index segments and pack trailers, and it is made anew when it
//!   is missing, of another version, or when a segment that it was built from is gone.
//! - Several processes of one machine use one database at once (redb's multi-writer mode); each sees what the others
//!   committed.
//! - Memory is bounded: redb's cache has a fixed size, the filter layers have a budget and are left out beyond it.
//! - A pack that no segment lists may be *adopted*: its chunks are then found, and it is known as such.
//! - A chunk that is in a condemned pack and in another is found in the other, as far as retirements were known when the rows were made.

mod insert;
mod sync;

pub use sync::SyncReport;

use super::RepoError;
use super::filter::Layer;
use crate::disk::PackOffset;
use crate::format::pack::PackEntry;
use crate::ids::{ChunkId, ObjectId};
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
/// Segments that others replace, each with one of those.
const SUPERSEDED: TableDefinition<'_, [u8; 32], [u8; 32]> = TableDefinition::new("superseded segments");
/// Packs that were condemned when the rows of chunks were made.
const CONDEMNED: TableDefinition<'_, [u8; 32], ()> = TableDefinition::new("condemned packs");
const FILTER: TableDefinition<'_, u32, Vec<u8>> = TableDefinition::new("filter layers");

const FILE: &str = "index-v2.redb";
/// Memory for redb's own cache, in bytes.
const REDB_MEMORY: usize = 48 << 20;
/// Memory for filter layers, in bytes: enough for 60 million chunks.
const FILTER_MEMORY: usize = 64 << 20;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: ObjectId,
    /// Where it begins there.
    pub offset: PackOffset,
    /// The chunk's entry.
    pub entry: PackEntry,
}

/// The local index of one repository.
#[derive(Debug)]
pub struct Index {
    /// There until the index is dropped.
    database: Option<Database>,
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
use cached;

/// Runs a step on the database. redb trusts what stands in its file and panics over some damage; here that is an error like
/// any other, since the file is the machine's own and disposable.
fn guarded<T>(path: &Path, step: impl FnOnce() -> Result<T, RepoError>) -> Result<T, RepoError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(step))
        .unwrap_or_else(|_| Err(cache_error(path, "the database is damaged")))
}

/// True where another process holds the file in a way that does not go with ours: it is not damaged.
fn is_in_use(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    use redb::DatabaseError::{DatabaseAlreadyOpen, LockProtocolMismatch};
    matches!(error.downcast_ref(), Some(DatabaseAlreadyOpen | LockProtocolMismatch))
}

impl Index {
    /// Opens the database in `folder`, making it when it is missing and making it anew when it cannot be used.
    ///
    /// # Errors
    /// [`RepoError::Cache`] when the folder cannot be written to.
    pub fn open(folder: &Path) -> Result<Self, RepoError> {
        std::fs::create_dir_all(folder).map_err(|error| cache_error(folder, error))?;
        let path = folder.join(FILE);
        match guarded(&path, || Self::open_database(&path)) {
            Err(RepoError::Cache { source, .. }) if !is_in_use(&*source) => {
                // Damaged or of another version: it is disposable.
                std::fs::remove_file(&path).map_err(|error| cache_error(&path, error))?;
                Self::open_database(&path)
            }
            opened => opened,
        }
    }

    /// An index in memory, which is gone when it is dropped.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn in_memory() -> Result<Self, RepoError> {
        let path = Path::new("memory");
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::builder().set_cache_size(REDB_MEMORY).create_with_backend(backend);
        Self::with_database(database.map_err(|error| cache_error(path, error))?, path)
    }

    fn open_database(path: &Path) -> Result<Self, RepoError> {
        let database = Self::create_or_open(path).map_err(|error| cache_error(path, error))?;
        Self::with_database(database, path)
    }

    fn with_database(database: Database, path: &Path) -> Result<Self, RepoError> {
        let index = Self { database: Some(database), path: path.to_owned(), layers: RwLock::new(None) };
        index.make_tables_in(cached!(index, index.database()?.begin_write())?)?;
        index.load_filter()?;
        Ok(index)
    }

    fn create_or_open(path: &Path) -> Result<Database, redb::DatabaseError> {
        Database::builder().set_cache_size(REDB_MEMORY).set_concurrency_mode(ConcurrencyMode::MultiWriter).create(path)
    }

    /// Makes the tables that are missing, and commits.
    fn make_tables_in(&self, transaction: WriteTransaction) -> Result<(), RepoError> {
        cached!(self, transaction.open_table(CHUNKS))?;
        cached!(self, transaction.open_table(PACKS))?;
        cached!(self, transaction.open_table(PACK_NUMBERS))?;
        cached!(self, transaction.open_table(SEGMENTS))?;
        cached!(self, transaction.open_table(ADOPTED))?;
        cached!(self, transaction.open_table(SUPERSEDED))?;
        cached!(self, transaction.open_table(CONDEMNED))?;
        cached!(self, transaction.open_table(FILTER))?;
        cached!(self, transaction.commit())
    }

    fn database(&self) -> Result<&Database, RepoError> {
        self.database.as_ref().ok_or_else(|| cache_error(&self.path, "it is closed"))
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Segments that the database was built from.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn segments(&self) -> Result<HashSet<ObjectId>, RepoError> {
        self.ids(SEGMENTS)
    }

    /// Packs that are known without a segment.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn adopted(&self) -> Result<HashSet<ObjectId>, RepoError> {
        self.ids(ADOPTED)
    }

    /// The keys of a table.
    fn ids<V: redb::Value + 'static>(
        &self,
        table: TableDefinition<'static, [u8; 32], V>,
    ) -> Result<HashSet<ObjectId>, RepoError> {
        guarded(&self.path, || {
            let transaction = cached!(self, self.database()?.begin_read())?;
            let table = cached!(self, transaction.open_table(table))?;
            let rows = cached!(self, table.iter())?;
            rows.map(|row| cached!(self, row).map(|(id, _)| ObjectId::new(id.value()))).collect()
        })
    }

    /// All packs with their sizes, as segments and adoption gave them.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn packs(&self) -> Result<Vec<(u32, ObjectId, u64)>, RepoError> {
        guarded(&self.path, || {
            let transaction = cached!(self, self.database()?.begin_read())?;
            let table = cached!(self, transaction.open_table(PACKS))?;
            let rows = cached!(self, table.iter())?;
            rows.map(|row| {
                let (number, value) = cached!(self, row)?;
                let (id, size) = pack_value(&value.value());
                Ok((number.value(), id, size))
            })
            .collect()
        })
    }

    /// Chunks, each counted once.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn chunk_count(&self) -> Result<u64, RepoError> {
        guarded(&self.path, || {
            let transaction = cached!(self, self.database()?.begin_read())?;
            let table = cached!(self, transaction.open_table(CHUNKS))?;
            cached!(self, table.len())
        })
    }

    /// Sum of sealed and of plain lengths of all chunks, each counted once.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn chunk_bytes(&self) -> Result<(u64, u64), RepoError> {
        guarded(&self.path, || {
            let transaction = cached!(self, self.database()?.begin_read())?;
            let table = cached!(self, transaction.open_table(CHUNKS))?;
            let mut sums = (0, 0);
            for row in cached!(self, table.iter())? {
                let value = cached!(self, row)?.1.value();
                sums.0 += u64::from(word(&value, 8));
                sums.1 += u64::from(word(&value, 12));
            }
            Ok(sums)
        })
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
        guarded(&self.path, || {
            let transaction = cached!(self, self.database()?.begin_read())?;
            let chunks = cached!(self, transaction.open_table(CHUNKS))?;
            let packs = cached!(self, transaction.open_table(PACKS))?;
            Ok(IndexReader { index: Arc::clone(self), chunks, packs, pack_names: RefCell::default() })
        })
    }
}

impl Drop for Index {
    /// Closing writes to the file, which must not panic over damage either; the next to open it makes it anew.
    fn drop(&mut self) {
        let database = self.database.take();
        _ = guarded(&self.path, || {
            drop(database);
            Ok(())
        });
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
    /// The index that this is a state of.
    pub(in crate::repo) fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }

    /// True when the chunk is there.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn contains(&self, id: &ChunkId) -> Result<bool, RepoError> {
        if !self.index.may_contain(id) {
            return Ok(false);
        }
        guarded(&self.index.path, || Ok(cached!(self.index, self.chunks.get(id.as_bytes()))?.is_some()))
    }

    /// True when the chunk is there, and not in one of these packs alone, as far as the index knows.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn contains_outside(&self, id: &ChunkId, condemned: &HashSet<ObjectId>) -> Result<bool, RepoError> {
        if condemned.is_empty() {
            return self.contains(id);
        }
        if !self.index.may_contain(id) {
            return Ok(false);
        }
        guarded(&self.index.path, || {
            let Some(row) = cached!(self.index, self.chunks.get(id.as_bytes()))? else { return Ok(false) };
            Ok(!condemned.contains(&self.pack_name(word(&row.value(), 0))?))
        })
    }

    /// Where the chunk lies.
    ///
    /// # Errors
    /// [`RepoError::ChunkMissing`], [`RepoError::Cache`].
    pub fn locate(&self, id: &ChunkId) -> Result<Location, RepoError> {
        guarded(&self.index.path, || {
            let row = cached!(self.index, self.chunks.get(id.as_bytes()))?;
            let value = row.ok_or(RepoError::ChunkMissing { id: *id, pack: None })?.value();
            let entry = PackEntry { id: *id, sealed_length: word(&value, 8), plain_length: word(&value, 12) };
            entry.check("local index").map_err(|error| cache_error(&self.index.path, error))?;
            let offset = PackOffset(word(&value, 4).into());
            Ok(Location { pack: self.pack_name(word(&value, 0))?, offset, entry })
        })
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

fn word(value: &[u8; 16], at: usize) -> u32 {
    u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
}

fn pack_value(value: &[u8; 40]) -> (ObjectId, u64) {
    let (id, size) = value.split_at(32);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(id);
    (ObjectId::new(bytes), size.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
