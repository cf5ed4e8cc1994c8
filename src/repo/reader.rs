//! Reading chunks: from a key to verified bytes.
//!
//! Always true here:
//! - A session belongs to one thread; it keeps its buffers, so that reading allocates nothing a chunk.
//! - Bytes are handed out only after they were verified against the key. That is why it does not matter where they come from: from another
//!   pack than the index says, from one of another size, or from one that was mended in memory.

use super::RepoError;
use super::ahead::Ahead;
use super::cache::{ChunkCache, DEFAULT_BUDGET};
use super::chunks::ChunkOpener;
use super::elsewhere::{Elsewhere, Place};
use super::index::{Index, IndexReader, Location};
use super::keyring::Domain;
use super::mending::Mending;
use super::open::Repository;
use super::parity::Teller;
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
    elsewhere: Arc<Elsewhere>,
    mending: Option<Arc<Mending>>,
    session: Option<Arc<Session>>,
    /// True where the index follows the repository, so that looking again may find what was not there.
    follows: bool,
}

impl ChunkStore {
    /// A store over a repository and its index.
    pub fn new(repository: Arc<Repository>, index: Arc<Index>) -> Self {
        let cache = Arc::new(ChunkCache::new(DEFAULT_BUDGET));
        let (ahead, elsewhere) = (Arc::default(), Arc::default());
        Self { repository, index, cache, ahead, elsewhere, mending: None, session: None, follows: false }
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

    /// The same, whose readers mend in memory what is damaged, as far as parity goes. Each pack that is read so is told of.
    #[must_use]
    pub fn mending(self, tell: Teller) -> Self {
        Self { mending: Some(Arc::new(Mending::new(tell))), ..self }
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
        let (elsewhere, mending) = (Arc::clone(&self.elsewhere), self.mending.clone());
        Ok(ReadSession { looks_again: self.follows, elsewhere, mending, ..session })
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
    elsewhere: Arc<Elsewhere>,
    mending: Option<Arc<Mending>>,
    unpacker: Decompressor,
    sealed: Vec<u8>,
    /// True where it has not looked again yet, and may.
    looks_again: bool,
}

impl ReadSession {
    /// A reader over the index as it is now.
    pub(super) fn new(repository: Arc<Repository>, index: &Arc<Index>) -> Result<Self, RepoError> {
        Ok(Self {
            index: index.reader()?,
            elsewhere: Arc::default(),
            mending: None,
            repository,
            unpacker: Decompressor::new()?,
            sealed: Vec::new(),
            looks_again: false,
        })
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

    /// As [`Self::locate`], and in places that the index does not count on. Where the chunk is missing, the error names the pack that held it.
    fn locate_to_read(&mut self, id: &ChunkId) -> Result<Place, RepoError> {
        let mut located = self.locate(id);
        if matches!(located, Err(RepoError::ChunkMissing { .. })) && self.look_again()? {
            located = self.locate(id);
        }
        match located {
            Ok(location) => Ok(Place { location, is_there: true }),
            Err(RepoError::ChunkMissing { .. }) => match self.elsewhere.locate(&self.repository, &self.index, id) {
                Some(place) if place.is_there || self.mending.is_some() => Ok(place),
                held => Err(RepoError::ChunkMissing {
                    id: *id,
                    pack: held.map(|place| ObjectName::pack(place.location.pack)),
                }),
            },
            Err(error) => Err(error),
        }
    }

    /// The content of a chunk.
    ///
    /// # Errors
    /// [`RepoError::ChunkMissing`], [`RepoError::ChunkDamaged`], [`RepoError::Storage`].
    pub fn read(&mut self, domain: Domain, key: &ChunkKey) -> Result<Vec<u8>, RepoError> {
        let place = self.locate_to_read(&derive::chunk_id(key))?;
        let mut plain = vec![0; place.location.entry.plain_length as usize];
        self.read_placed(domain, key, place, &mut plain)?;
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
        let place = self.locate_to_read(&derive::chunk_id(key))?;
        self.read_placed(domain, key, place, plain)
    }

    /// Reads a chunk from its place. Where that does not give it, the place is looked up once more; then another one serves, or the chunk is
    /// mended.
    fn read_placed(
        &mut self,
        domain: Domain,
        key: &ChunkKey,
        mut place: Place,
        plain: &mut [u8],
    ) -> Result<(), RepoError> {
        let mut read = self.read_located(domain, key, &place.location, plain);
        if matches!(&read, Err(RepoError::Storage(error)) if error.is_not_found()) && self.look_again()? {
            // Its pack was taken away since: then it is in another.
            place = self.locate_to_read(&derive::chunk_id(key))?;
            read = self.read_located(domain, key, &place.location, plain);
        }
        match read {
            Err(error) if error.is_damage() => {
                let id = place.location.entry.id;
                let other = self.elsewhere.locate(&self.repository, &self.index, &id);
                let other = other.filter(|other| other.location.pack != place.location.pack);
                if other.is_some_and(|other| {
                    other.is_there && self.read_located(domain, key, &other.location, plain).is_ok()
                }) || self.read_mended(domain, key, &place.location, plain)
                    || other.is_some_and(|other| self.read_mended(domain, key, &other.location, plain))
                {
                    Ok(())
                } else {
                    let pack = Some(ObjectName::pack(place.location.pack));
                    Err(if place.is_there { error } else { RepoError::ChunkMissing { id, pack } })
                }
            }
            read => read,
        }
    }

    /// Reads a chunk from its pack as parity mends it; false where it is not in that either.
    fn read_mended(&mut self, domain: Domain, key: &ChunkKey, location: &Location, plain: &mut [u8]) -> bool {
        let Some(mending) = &self.mending else { return false };
        let (pack, entry) = (ObjectName::pack(location.pack), &location.entry);
        self.sealed.resize(entry.sealed_length as usize, 0);
        if plain.len() != entry.plain_length as usize
            || !mending.read(&self.repository, location.pack, location.offset, &mut self.sealed)
        {
            return false;
        }
        let mut opener = ChunkOpener { keys: self.repository.keys(), unpacker: &mut self.unpacker };
        opener.open((domain, key), entry, pack, &mut self.sealed, plain).is_ok()
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
