//! Which chunks need not be stored: those in the index, and those that this backup is storing already.
//!
//! Always true here:
//! - Of several threads that claim one chunk at once, exactly one is told that it is new and must store it.
//! - A chunk that is only in a pack that the session knows to be condemned counts as new.
//! - Memory is bounded: claims are forgotten one publication after they came into the index.

use crate::ids::ChunkId;
use crate::repo::RepoError;
use crate::repo::index::{Index, IndexReader};
use crate::repo::sessions::Session;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Answers "is this chunk new?" once for each chunk.
#[derive(Debug)]
pub(in crate::ops) struct Known {
    index: Arc<Index>,
    session: Arc<Session>,
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    current: HashSet<ChunkId>,
    /// Claims of the time before the last publication: a reader that was opened before it does not see them.
    before: HashSet<ChunkId>,
}

impl Known {
    pub(in crate::ops) fn new(index: Arc<Index>, session: Arc<Session>) -> Self {
        Self { index, session, claims: Mutex::default() }
    }

    /// A state of the index to ask; open a new one for each batch.
    pub(in crate::ops) fn reader(&self) -> Result<IndexReader, RepoError> {
        self.index.reader()
    }

    /// True when the chunk is new: the caller must store it. Everybody who asks later is told that it is known.
    pub(in crate::ops) fn claim(&self, reader: &IndexReader, id: ChunkId) -> Result<bool, RepoError> {
        if reader.contains_outside(&id, self.session.condemned().packs())? {
            return Ok(false);
        }
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(!claims.before.contains(&id) && claims.current.insert(id))
    }

    /// All packs that were stored so far are in the index now.
    pub(in crate::ops) fn published(&self, is_in_index: impl Fn(&ChunkId) -> bool) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let (published, open): (HashSet<_>, HashSet<_>) = claims.current.drain().partition(is_in_index);
        *claims = Claims { current: open, before: published };
    }
}
