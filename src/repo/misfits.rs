//! Chunks in packs that do not have the size that the index says: cut short by a file system that was mended, or longer than they were.
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

/// Where the chunks of packs of another size are.
#[derive(Debug, Default)]
pub(super) struct Misfits(OnceLock<HashMap<ChunkId, Location>>);

impl Misfits {
    /// Where a chunk would be, that is in no pack of the right size.
    pub(super) fn locate(&self, repository: &Repository, id: &ChunkId) -> Option<Location> {
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

/// The chunks, up to so many, that lie whole within what there is of a pack of another size. A segment that cannot be read names none.
fn find(repository: &Repository, most: usize) -> Result<HashMap<ChunkId, Location>, StorageError> {
    let storage = repository.storage();
    let (segments, packs) = (storage.list(ObjectKind::Index)?, storage.list(ObjectKind::Pack)?);
    let sizes: HashMap<ObjectId, u64> =
        packs.iter().filter_map(|listed| listed.name.id().map(|id| (id, listed.size))).collect();
    let mut found = HashMap::new();
    for segment in segments.iter().filter_map(|listed| segments::read(repository, listed.name.id()?).ok()) {
        for pack in &segment.packs {
            let Some(size) = sizes.get(&pack.id).copied().filter(|size| *size != pack.size) else { continue };
            for (offset, entry) in pack::with_offsets(&pack.entries) {
                if offset.0 + u64::from(entry.sealed_length) <= size && found.len() < most {
                    found.insert(entry.id, Location { pack: pack.id, offset, entry: *entry });
                }
            }
        }
    }
    Ok(found)
}
