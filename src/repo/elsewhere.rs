//! Where chunks are that the local index does not give, or not so that they can be read: in a second pack, as two writers at once leave it,
//! or in one that is not there or does not have the size that it should have, since a file system that was mended cut it short, say.
//!
//! Always true here:
//! - Only who reads looks here, and only for a chunk that is lost otherwise: whoever stores counts on none of these places.
//! - What is found is a place and no more: a chunk vouches for itself when it is opened.
//! - The segments are read once, when the first such chunk is wanted.

use super::index::{IndexReader, Location};
use super::open::Repository;
use super::{RepoError, segments};
use crate::format::pack;
use crate::ids::{ChunkId, ObjectId};
use crate::names::ObjectKind;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Chunks that are remembered, of about 100 bytes each. Those beyond are at the place that the index says, or missing.
const MOST: usize = 1 << 20;

/// Where a chunk should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub location: Location,
    /// True where all of it lies within what there is of the pack.
    pub is_there: bool,
}

/// The places that segments tell and the index does not.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<Option<HashMap<ChunkId, Place>>>);

impl Elsewhere {
    /// A place of a chunk that is not the one that the index says.
    pub(super) fn locate(&self, repository: &Repository, index: &IndexReader, id: &ChunkId) -> Option<Place> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none() {
            // What cannot be listed now may be the next time.
            *found = Some(find(repository, index, MOST).ok()?);
        }
        found.as_ref()?.get(id).copied()
    }
}

/// The places, up to so many; of two of a chunk one that is there. A segment that cannot be read tells none.
fn find(repository: &Repository, index: &IndexReader, most: usize) -> Result<HashMap<ChunkId, Place>, RepoError> {
    let storage = repository.storage();
    let (segments, packs) = (storage.list(ObjectKind::Index)?, storage.list(ObjectKind::Pack)?);
    let sizes: HashMap<ObjectId, u64> =
        packs.iter().filter_map(|listed| listed.name.id().map(|id| (id, listed.size))).collect();
    let mut found: HashMap<ChunkId, Place> = HashMap::new();
    for segment in segments.iter().filter_map(|listed| segments::read(repository, listed.name.id()?).ok()) {
        for pack in &segment.packs {
            let size = sizes.get(&pack.id).copied();
            for (offset, entry) in pack::with_offsets(&pack.entries) {
                match index.locate(&entry.id) {
                    Ok(location) if location.pack == pack.id => continue,
                    Ok(_) | Err(RepoError::ChunkMissing { .. }) => {}
                    Err(error) => return Err(error),
                }
                let location = Location { pack: pack.id, offset, entry: *entry };
                let is_there = size.is_some_and(|size| offset.0 + u64::from(entry.sealed_length) <= size);
                let is_better = found.get(&entry.id).is_none_or(|other| is_there && !other.is_there);
                if is_better && found.len() < most {
                    found.insert(entry.id, Place { location, is_there });
                }
            }
        }
    }
    Ok(found)
}
