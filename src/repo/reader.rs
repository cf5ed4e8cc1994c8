//! Reading chunks: from a key to verified bytes.
//!
//! Always true here:
//! - A session belongs to one thread; it keeps its buffers, so that reading allocates nothing a chunk.
//! - Bytes are handed out only after they were verified against the key.

use super::RepoError;
use super::ahead::Ahead;
use super::cache::{ChunkCache, DEFAULT_BUDGET};
use super::chunks::ChunkOpener;
use super::index::{Index, IndexReader, Location};
use super::keyring::Domain;
use super::misfits::Misfits;
use super::open::Repository;
use super::segments;
use super::sessions::Session;
use super::tree::NodeSource;
use crate::chunk::compress::Decompressor;
use crate::crypto::derive;
use crate::ids::{ChunkId, ChunkKey};
use crate::names::ObjectName;
use std::sync::{Arc, Mutex, PoisonError};

/// An unlocked repository with its index: all that reading needs. Its copies share one cache of opened chunks.
#[derive(Debug, Clone)]
pub struct ChunkStore {
    /// The repository.
    pub repository: Arc<Repository>,
    /// Its index, brought up to date by the caller.
    pub index: Arc<Index>,
    cache: Arc<ChunkCache>,
    ahead: Arc<Ahead>,
    misfits: Arc<Misfits>,
    session: Option<Arc<Session>>,
    /// True where the index follows the repository, so that looking again may find what was not there.
    follows: bool,
}

impl ChunkStore {
    /// A store over a repository and its index.
    pub fn new(repository: Arc<Repository>, index: Arc<Index>) -> Self {
        let cache = Arc::new(ChunkCache::new(DEFAULT_BUDGET));
        let (ahead, misfits) = (Arc::default(), Arc::default());
        Self { repository, index, cache, ahead, misfits, session: None, follows: false }
    }

    /// The same for as long as a session lasts: what a prune condemns from now on stays there until the last copy of the store is gone.
    #[must_use]
    pub fn during(self, session: Arc<Session>) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The session that the store holds.
    pub const fn running(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// The same, whose readers bring the index up to date once where a chunk is not where it says: what was committed, or written anew
    /// elsewhere, since it was brought up to date last is then found.
    #[must_use]
    pub fn following(self) -> Self {
        Self { follows: true, ..self }
    }

    /// The same with a cache of its own, of at most so many bytes.
    #[must_use]
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { cache: Arc::new(ChunkCache::new(bytes)), ahead: Arc::default(), ..self }
    }

    /// The opened chunks that are in memory.
    pub const fn cache(&self) -> &Arc<ChunkCache> {
        &self.cache
    }

    /// A reader for one thread, over the index as it is now.
    ///
    /// # Errors
    /// [`RepoError::Cache`], [`RepoError::Chunk`] without memory.
    pub fn session(&self) -> Result<ReadSession, RepoError> {
        let session = ReadSession::new(Arc::clone(&self.repository), &self.index)?;
        Ok(ReadSession { looks_again: self.follows, misfits: Arc::clone(&self.misfits), ..session })
    }

    /// A source of tree nodes in a domain.
    ///
    /// # Errors
    /// As [`ChunkStore::session`].
    pub fn nodes(&self, domain: Domain) -> Result<Nodes, RepoError> {
        Ok(Nodes { domain, session: Mutex::new(self.session()?), cache: None })
    }

    /// The same for walks that come back to nodes: they are kept in the cache.
    ///
    /// # Errors
    /// As [`ChunkStore::session`].
    pub fn cached_nodes(&self, domain: Domain) -> Result<Nodes, RepoError> {
        Ok(Nodes { domain, session: Mutex::new(self.session()?), cache: Some(Arc::clone(&self.cache)) })
    }

    /// Has a chunk brought into the cache by another thread, if it is not there; false when enough are on their way.
    pub(super) fn bring(&self, domain: Domain, key: &ChunkKey) -> bool {
        self.cache.contains(&derive::chunk_id(key))
            || self.ahead.ask((domain, key), &self.repository, &self.index, &self.cache)
    }
}

/// Reads chunks for one thread.
pub struct ReadSession {
    repository: Arc<Repository>,
    index: IndexReader,
    misfits: Arc<Misfits>,
    unpacker: Decompressor,
    sealed: Vec<u8>,
    /// True where it has not looked again yet, and may.
    looks_again: bool,
    /// Whether an error of a chunk that is missing names the pack that held it.
    names_holders: bool,
}

impl ReadSession {
    /// A reader over the index as it is now.
    pub(super) fn new(repository: Arc<Repository>, index: &Arc<Index>) -> Result<Self, RepoError> {
        Ok(Self {
            index: index.reader()?,
            misfits: Arc::default(),
            repository,
            unpacker: Decompressor::new()?,
            sealed: Vec::new(),
            looks_again: false,
            names_holders: true,
        })
    }

    /// The same, for reading on where much is missing: errors do not name the packs that held it, which costs a look at all segments
    /// each time.
    #[must_use]
    pub fn expecting_losses(self) -> Self {
        Self { names_holders: false, ..self }
    }

    /// Where a chunk lies.
    ///
    /// # Errors
    /// [`RepoError::ChunkMissing`], [`RepoError::Cache`].
    pub fn locate(&self, id: &ChunkId) -> Result<Location, RepoError> {
        self.index.locate(id)
    }

    /// Brings the index up to date, once; false where that was done, or may not be.
    fn look_again(&mut self) -> Result<bool, RepoError> {
        if !std::mem::take(&mut self.looks_again) {
            return Ok(false);
        }
        let index = self.index.index();
        index.sync(&self.repository)?;
        self.index = index.reader()?;
        Ok(true)
    }

    /// As [`Self::locate`], and in packs of another size than the index says as well. Where the chunk is missing, the error names the pack
    /// that held it. That takes reading all segments, but nothing else is left to be done.
    fn locate_to_read(&mut self, id: &ChunkId) -> Result<Location, RepoError> {
        let mut located = self.locate(id);
        if matches!(located, Err(RepoError::ChunkMissing { .. })) && self.look_again()? {
            located = self.locate(id);
        }
        match located {
            Err(RepoError::ChunkMissing { id, .. }) => self.misfits.locate(&self.repository, &id).ok_or_else(|| {
                let pack = if self.names_holders { segments::holder(&self.repository, &id) } else { None };
                RepoError::ChunkMissing { id, pack }
            }),
            located => located,
        }
    }

    /// The content of a chunk.
    ///
    /// # Errors
    /// [`RepoError::ChunkMissing`], [`RepoError::ChunkDamaged`], [`RepoError::Storage`].
    pub fn read(&mut self, domain: Domain, key: &ChunkKey) -> Result<Vec<u8>, RepoError> {
        let id = derive::chunk_id(key);
        let location = self.locate_to_read(&id)?;
        let mut plain = vec![0; location.entry.plain_length as usize];
        match self.read_located(domain, key, &location, &mut plain) {
            // Its pack was taken away since: then it is in another.
            Err(RepoError::Storage(error)) if error.is_not_found() && self.look_again()? => {
                let location = self.locate_to_read(&id)?;
                self.read_located(domain, key, &location, &mut plain)?;
            }
            read => read?,
        }
        Ok(plain)
    }

    /// As [`ReadSession::read`], and where the chunk is missing that is all that is said.
    pub(super) fn bring(&mut self, domain: Domain, key: &ChunkKey) -> Result<Vec<u8>, RepoError> {
        let location = self.locate(&derive::chunk_id(key))?;
        let mut plain = vec![0; location.entry.plain_length as usize];
        self.read_located(domain, key, &location, &mut plain)?;
        Ok(plain)
    }

    /// Reads a chunk into a buffer of exactly its length.
    ///
    /// # Errors
    /// As [`ReadSession::read`]; [`RepoError::ChunkDamaged`] where the buffer's length is not the chunk's. The buffer
    /// must not be used after an error.
    pub fn read_into(&mut self, domain: Domain, key: &ChunkKey, plain: &mut [u8]) -> Result<(), RepoError> {
        let id = derive::chunk_id(key);
        let location = self.locate_to_read(&id)?;
        match self.read_located(domain, key, &location, plain) {
            Err(RepoError::Storage(error)) if error.is_not_found() && self.look_again()? => {
                let location = self.locate_to_read(&id)?;
                self.read_located(domain, key, &location, plain)
            }
            read => read,
        }
    }

    fn read_located(
        &mut self,
        domain: Domain,
        key: &ChunkKey,
        location: &Location,
        plain: &mut [u8],
    ) -> Result<(), RepoError> {
        let pack = ObjectName::pack(location.pack);
        let entry = &location.entry;
        if plain.len() != entry.plain_length as usize {
            let reason = format!("it has {} bytes, the manifest says {}", entry.plain_length, plain.len());
            return Err(RepoError::ChunkDamaged { id: entry.id, pack, reason });
        }
        self.sealed.resize(entry.sealed_length as usize, 0);
        self.repository.storage().get_range(pack, location.offset.0, &mut self.sealed)?;
        let mut opener = ChunkOpener { keys: self.repository.keys(), unpacker: &mut self.unpacker };
        opener.open((domain, key), entry, pack, &mut self.sealed, plain)
    }
}

/// Tree nodes of one domain, for a cursor.
pub struct Nodes {
    domain: Domain,
    session: Mutex<ReadSession>,
    cache: Option<Arc<ChunkCache>>,
}

impl NodeSource for Nodes {
    fn node(&self, key: &ChunkKey) -> Result<Vec<u8>, RepoError> {
        let read = || self.session.lock().unwrap_or_else(PoisonError::into_inner).read(self.domain, key);
        match &self.cache {
            Some(cache) => cache.get(derive::chunk_id(key), read).map(|node| node.to_vec()),
            None => read(),
        }
    }
}
