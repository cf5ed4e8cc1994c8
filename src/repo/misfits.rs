//! Chunks that segments list in packs which are not there, or do not have the size that they should have: cut short by a file system that
//! was mended, or longer than they were.
//!
//! Always true here:
//! - Only who reads looks here, and only for a chunk that is nowhere else: whoever stores does not count on such a pack.
//! - What is found is a place and no more: a chunk vouches for itself when it is opened.
//! - The segments are read once, when the first such chunk is wanted.

use super::index::Location;
use super::open::Repository;
use super::segments;
use crate::format::pack;
use crate::ids::{ChunkId, ObjectId};
use crate::names::ObjectKind;
use crate::storage::StorageError;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Chunks that are remembered, of about 100 bytes each. Those beyond count as missing, until a repair has moved them to sound packs.
const MOST: usize = 1 << 20;

/// Where a chunk should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub location: Location,
    /// True where all of it lies within what there is of the pack.
    pub is_there: bool,
}

/// Where the chunks of such packs should be.
#[derive(Debug, Default)]
pub(super) struct Misfits(OnceLock<HashMap<ChunkId, Place>>);

impl Misfits {
    /// Where a chunk should be, that is in no pack of the right size.
    pub(super) fn locate(&self, repository: &Repository, id: &ChunkId) -> Option<Place> {
        let found = match self.0.get() {
            Some(found) => found,
            None => {
                let found = find(repository, MOST).ok()?;
                self.0.get_or_init(|| found)
            }
        };
        found.get(id).copied()
    }
}

/// The chunks of packs of another size, up to so many. A segment that cannot be read names none.
fn find(repository: &Repository, most: usize) -> Result<HashMap<ChunkId, Place>, StorageError> {
    let storage = repository.storage();
    let (segments, packs) = (storage.list(ObjectKind::Index)?, storage.list(ObjectKind::Pack)?);
    let sizes: HashMap<ObjectId, u64> =
        packs.iter().filter_map(|listed| listed.name.id().map(|id| (id, listed.size))).collect();
    let mut found = HashMap::new();
    for segment in segments.iter().filter_map(|listed| segments::read(repository, listed.name.id()?).ok()) {
        for pack in &segment.packs {
            let size = sizes.get(&pack.id).copied();
            if size == Some(pack.size) {
                continue;
            }
            for (offset, entry) in pack::with_offsets(&pack.entries) {
                let end = offset.0 + u64::from(entry.sealed_length);
                let place = Place {
                    location: Location { pack: pack.id, offset, entry: *entry },
                    is_there: size.is_some_and(|size| end <= size),
                };
                let is_better = found.get(&entry.id).is_none_or(|other: &Place| place.is_there && !other.is_there);
                if is_better && found.len() < most {
                    found.insert(entry.id, place);
                }
            }
        }
    }
    Ok(found)
}
