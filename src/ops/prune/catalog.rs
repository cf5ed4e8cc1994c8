//! What there is: every pack and every place of a chunk, as segments and packs say themselves, and which chunks are used.
//!
//! Always true here:
//! - Nothing of the machine's own index is believed. Retirements are listed before segments, segments before packs: what a listing
//!   of packs does not have is gone, and was not on its way.
//! - A place of a chunk costs 24 bytes of memory, whatever the repository is.
//! - Chunks are told apart by the first 16 bytes of their ids, which are hashes: two that fell together would both count as used.

use crate::crypto::aead::{NONCE_LENGTH, TAG_LENGTH};
use crate::format::index::{IndexSegment, IndexedPack};
use crate::format::pack::{self, PackEntry, PackKind};
use crate::ids::{ChunkId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::ops::{Cancel, OpsError};
use crate::repo::open::Repository;
use crate::repo::packer::read_listing;
use crate::repo::{RepoError, retired, segments};
use std::collections::{BTreeSet, HashMap, HashSet};

/// A pack that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pack {
    pub id: ObjectId,
    pub kind: PackKind,
    /// Bytes of the object.
    pub size: u64,
    /// True where a segment lists it.
    pub listed: bool,
    /// Chunks in it.
    entries: u32,
}

impl Pack {
    /// Bytes of the object that are no chunks.
    pub(super) const fn overhead(&self) -> u64 {
        let listing = 4 + pack::ENTRY_LENGTH as u64 * self.entries as u64 + (NONCE_LENGTH + TAG_LENGTH) as u64;
        pack::PACK_HEADER_LENGTH as u64 + listing + pack::FOOTER_LENGTH as u64
    }
}

/// A segment that is there and reads.
#[derive(Debug)]
pub(super) struct Segment {
    pub id: ObjectId,
    /// Bytes of the object.
    pub size: u64,
    pub supersedes: Vec<ObjectId>,
    /// Every pack that it lists, there or not.
    pub packs: Vec<ObjectId>,
}

/// A place of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    key: [u64; 2],
    /// The number of the pack.
    pub pack: u32,
    /// Bytes of the chunk there, and whether it is used.
    bits: u32,
}

/// No chunk has so many bytes.
const USED: u32 = 1 << 31;

impl Place {
    /// Bytes of the chunk there.
    pub(super) const fn sealed(self) -> u64 {
        (self.bits & !USED) as u64
    }

    const fn is_used(self) -> bool {
        self.bits & USED != 0
    }
}

/// Everything that is there.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub packs: Vec<Pack>,
    pub numbers: HashMap<ObjectId, u32>,
    /// In the order of the chunks.
    places: Vec<Place>,
    pub segments: Vec<Segment>,
    /// Packs that do not read, with their sizes; no segment lists them.
    pub unreadable: Vec<(ObjectId, u64)>,
    /// Packs that segments list, that nothing condemns, and that are not there, for each chunk that was in them.
    missing: HashMap<[u64; 2], Vec<ObjectId>>,
    /// Those of them that snapshots need: they were lost.
    pub lost_packs: BTreeSet<ObjectId>,
    /// Segments that do not read.
    pub damaged_segments: Vec<ObjectName>,
}

fn key(id: &ChunkId) -> [u64; 2] {
    let (halves, _) = id.as_bytes().as_chunks::<8>();
    [0, 1].map(|half| halves.get(half).map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

impl Catalog {
    /// Reads all segments, and the trailers of packs that none lists.
    ///
    /// # Errors
    /// [`OpsError::Repo`] for storage that fails, [`OpsError::Interrupted`].
    pub(super) fn load(repository: &Repository, cancel: &Cancel) -> Result<Self, OpsError> {
        let storage = repository.storage();
        let mut catalog = Self::default();
        let condemned = condemned_packs(repository)?;
        let segments = storage.list(ObjectKind::Index).map_err(RepoError::from)?;
        let on_storage = packs_on_storage(repository)?;
        for listed in segments {
            cancel.check()?;
            let Some(id) = listed.name.id() else { continue };
            let segment = match segments::read(repository, id) {
                Ok(segment) => segment,
                // Superseded, and gone since.
                Err(RepoError::Storage(error)) if error.is_not_found() => continue,
                Err(error) if error.is_damage() => {
                    catalog.damaged_segments.push(listed.name);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let packs = segment.packs.iter().map(|pack| pack.id).collect();
            catalog.segments.push(Segment { id, size: listed.size, supersedes: segment.supersedes, packs });
            for pack in &segment.packs {
                if on_storage.get(&pack.id) == Some(&pack.size) {
                    catalog.add((pack.id, pack.kind, pack.size), true, &pack.entries);
                } else if !condemned.contains(&pack.id) {
                    for entry in &pack.entries {
                        catalog.missing.entry(key(&entry.id)).or_default().push(pack.id);
                    }
                }
            }
        }
        // A pack that another size is listed for is damaged: it is not touched here.
        let mut unlisted: Vec<_> = on_storage.into_iter().filter(|(id, _)| !catalog.numbers.contains_key(id)).collect();
        unlisted.sort_unstable();
        for (id, size) in unlisted {
            cancel.check()?;
            match read_listing(&**storage, repository.keys(), repository.id(), ObjectName::pack(id)) {
                Ok(pack) => catalog.add((id, pack.kind, size), false, &pack.entries),
                Err(RepoError::Storage(error)) if error.is_not_found() => {}
                Err(error) if error.is_damage() => {
                    // One that a segment lists with another size was whole once.
                    if !catalog.missing.values().flatten().any(|missing| *missing == id) {
                        catalog.unreadable.push((id, size));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        catalog.places.sort();
        Ok(catalog)
    }

    /// Adds packs that were written since, in which everything is used.
    pub(super) fn add_written(&mut self, packs: &[IndexedPack]) {
        let before = self.places.len();
        for pack in packs {
            self.add((pack.id, pack.kind, pack.size), true, &pack.entries);
        }
        self.places.iter_mut().skip(before).for_each(|place| place.bits |= USED);
        // Two runs that are in order each, nearly.
        self.places.sort();
    }

    /// Adds a segment that was written since.
    pub(super) fn add_segment(&mut self, id: ObjectId, segment: &IndexSegment) {
        let packs = segment.packs.iter().map(|pack| pack.id).collect();
        self.segments.push(Segment { id, size: u64::MAX, supersedes: segment.supersedes.clone(), packs });
    }

    fn add(&mut self, (id, kind, size): (ObjectId, PackKind, u64), listed: bool, entries: &[PackEntry]) {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        if self.numbers.contains_key(&id) {
            return;
        }
        self.numbers.insert(id, number);
        self.packs.push(Pack { id, kind, size, listed, entries: u32::try_from(entries.len()).unwrap_or(u32::MAX) });
        let places =
            entries.iter().map(|entry| Place { key: key(&entry.id), pack: number, bits: entry.sealed_length & !USED });
        self.places.extend(places);
    }

    fn range(&self, id: &ChunkId) -> std::ops::Range<usize> {
        let key = key(id);
        let start = self.places.partition_point(|place| place.key < key);
        let same = self.places.iter().skip(start).take_while(|place| place.key == key).count();
        start..start + same
    }

    /// Marks a chunk as used, wherever it is; false where it is nowhere.
    pub(super) fn mark(&mut self, id: &ChunkId) -> bool {
        let range = self.range(id);
        let places = self.places.get_mut(range).unwrap_or_default();
        places.iter_mut().for_each(|place| place.bits |= USED);
        if places.is_empty() {
            self.lost_packs.extend(self.missing.get(&key(id)).into_iter().flatten());
            return false;
        }
        true
    }

    /// The places of a chunk that is used; none of one that is not.
    pub(super) fn places_used(&self, id: &ChunkId) -> &[Place] {
        self.places.get(self.range(id)).filter(|places| places.iter().any(|place| place.is_used())).unwrap_or_default()
    }

    /// The places of each used chunk, one chunk after the other.
    pub(super) fn used_chunks(&self) -> impl Iterator<Item = &[Place]> {
        let chunks = self.places.chunk_by(|one, other| one.key == other.key);
        chunks.filter(|places| places.iter().any(|place| place.is_used()))
    }
}

/// All packs that retirements condemn now.
pub(super) fn condemned_packs(repository: &Repository) -> Result<HashSet<ObjectId>, RepoError> {
    let list = retired::list(repository)?;
    Ok(list.retirements.into_values().flat_map(|retirement| retirement.packs).collect())
}

/// All packs that are there now, with their sizes.
pub(super) fn packs_on_storage(repository: &Repository) -> Result<HashMap<ObjectId, u64>, RepoError> {
    let listed = repository.storage().list(ObjectKind::Pack)?;
    Ok(listed.iter().filter_map(|listed| listed.name.id().map(|id| (id, listed.size))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(byte: u8, sealed_length: u32) -> PackEntry {
        PackEntry { id: ChunkId::new([byte; 32]), sealed_length, plain_length: 1 }
    }

    #[test]
    fn a_chunk_is_marked_wherever_it_lies_and_no_other_is() {
        let mut catalog = Catalog::default();
        catalog.add((ObjectId::new([1; 32]), PackKind::Data, 100), true, &[entry(5, 10), entry(6, 11)]);
        catalog.add((ObjectId::new([2; 32]), PackKind::Data, 100), true, &[entry(7, 12), entry(5, 13)]);
        catalog.add((ObjectId::new([2; 32]), PackKind::Data, 100), true, &[entry(8, 12)]);
        catalog.places.sort();
        assert_eq!((catalog.packs.len(), catalog.places.len()), (2, 4), "a pack counts once");
        assert!(catalog.mark(&ChunkId::new([5; 32])));
        assert!(!catalog.mark(&ChunkId::new([9; 32])));
        let used: Vec<Vec<(u32, u64)>> = catalog
            .used_chunks()
            .map(|places| places.iter().map(|place| (place.pack, place.sealed())).collect())
            .collect();
        assert_eq!(used, [vec![(0, 10), (1, 13)]]);
        assert_eq!(catalog.places_used(&ChunkId::new([5; 32])).len(), 2);
        assert!(catalog.places_used(&ChunkId::new([6; 32])).is_empty());
    }
}
