//! Bringing the local index up to date with the repository.
//!
//! Always true here:
//! - Segments are listed before packs. A pack is durable before its segment is, so a pack that a listed segment
//!   names and that is not in the listing of packs is gone, and not on its way.
//! - A segment that another replaces, which is there, is not needed: it may go, and what it lists may be gone.
//! - Chunks in condemned packs come in behind all others, so that one that is elsewhere as well is found there.

use super::super::open::Repository;
use super::super::{RepoError, packer, retired, segments};
use super::insert::Listed;
use super::{
    ADOPTED, CHUNKS, CONDEMNED, FILTER, Index, PACK_NUMBERS, PACKS, SEGMENTS, SUPERSEDED, cache_error, cached, guarded,
};
use crate::format::index::{IndexSegment, IndexedPack};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use redb::{ReadableDatabase, ReadableTable};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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

/// Packs that wait to be inserted together.
#[derive(Default)]
struct Batch {
    additions: Vec<(Listed, Vec<IndexedPack>)>,
    chunks: usize,
}

impl Batch {
    /// Chunks of a batch, of about 90 bytes each until they are in the database.
    const CHUNKS: usize = 500_000;

    fn add(&mut self, index: &Index, listed: Listed, packs: Vec<IndexedPack>) -> Result<(), RepoError> {
        self.chunks += packs.iter().map(|pack| pack.entries.len()).sum::<usize>();
        self.additions.push((listed, packs));
        if self.chunks >= Self::CHUNKS { self.flush(index) } else { Ok(()) }
    }

    fn flush(&mut self, index: &Index) -> Result<(), RepoError> {
        let batch = std::mem::take(self);
        if batch.additions.is_empty() {
            return Ok(());
        }
        let additions: Vec<_> = batch.additions.iter().map(|(listed, packs)| (*listed, packs.as_slice())).collect();
        index.insert(&additions)
    }
}

impl Index {
    /// Brings the database up to the repository's segments and packs: afterwards it holds exactly the chunks of packs that
    /// are on storage, whether a segment lists them or not.
    ///
    /// # Errors
    /// [`RepoError::Storage`] when a listing fails, [`RepoError::Cache`]. A segment that is damaged is in the report.
    pub fn sync(&self, repository: &Repository) -> Result<SyncReport, RepoError> {
        guarded(&self.path, || self.sync_unguarded(repository))
    }

    fn sync_unguarded(&self, repository: &Repository) -> Result<SyncReport, RepoError> {
        let mut report = SyncReport::default();
        // What the database knows is asked before storage is: another process may add to both meanwhile, and what was in
        // the database before a listing and is not in it was deleted.
        let (known, known_packs) = (self.segments()?, self.packs()?);
        let storage = repository.storage();
        let condemned = retired::list(repository)?;
        let condemned: HashSet<ObjectId> =
            condemned.retirements.into_values().flat_map(|retirement| retirement.packs).collect();
        // Segments first: a pack is durable before its segment, so every listed pack is then in the second listing.
        let segments_listed: BTreeSet<ObjectId> =
            storage.list(ObjectKind::Index)?.iter().filter_map(|listed| listed.name.id()).collect();
        let packs_listed = storage.list(ObjectKind::Pack)?;
        let on_storage: BTreeMap<ObjectId, u64> =
            packs_listed.iter().filter_map(|listed| listed.name.id().map(|id| (id, listed.size))).collect();
        let mut superseded = self.superseded()?;
        let gone: Vec<ObjectId> = known.iter().filter(|id| !segments_listed.contains(*id)).copied().collect();
        if !gone.is_empty() {
            // Segments that go are told of by those that replace them, which may be new.
            for id in segments_listed.iter().filter(|id| !known.contains(*id)) {
                let Some(segment) = readable(repository, *id)? else { continue };
                superseded.extend(segment.supersedes.iter().map(|old| (*old, *id)));
            }
        }
        let is_replaced = |id: &ObjectId| superseded.get(id).is_some_and(|by| segments_listed.contains(by));
        let pack_is_gone = known_packs.iter().any(|(_, id, size)| on_storage.get(id) != Some(size));
        // A pack that is condemned only now may have come before others that have the same chunks.
        let known_condemned = self.ids(CONDEMNED)?;
        let is_condemned_since =
            |(_, id, _): &(u32, ObjectId, u64)| condemned.contains(id) && !known_condemned.contains(id);
        let is_stale = pack_is_gone || !gone.iter().all(is_replaced) || known_packs.iter().any(is_condemned_since);
        if is_stale {
            self.clear()?;
            report.rebuilt = true;
        } else {
            self.forget_segments(&gone)?;
        }
        self.note_condemned(condemned.iter().filter(|id| on_storage.contains_key(*id)))?;
        let missing: Vec<ObjectId> =
            segments_listed.iter().filter(|id| is_stale || !known.contains(*id)).copied().collect();
        let (mut batch, mut last) = (Batch::default(), Vec::new());
        let mut missing_packs = Vec::new();
        for id in missing {
            let mut segment = match segments::read(repository, id) {
                Ok(segment) => segment,
                Err(error) if is_gone(&error) => continue,
                Err(error) if error.is_damage() => {
                    report.damaged.push((id, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.note_superseded(id, &segment.supersedes)?;
            superseded.extend(segment.supersedes.iter().map(|old| (*old, id)));
            let listed = segment.packs.len();
            segment.packs.retain(|pack| {
                let there = on_storage.get(&pack.id) == Some(&pack.size);
                if !there && !condemned.contains(&pack.id) {
                    missing_packs.push((pack.id, id));
                }
                there
            });
            // A segment with packs that are not there is not noted as read: it is read each time, so that what is
            // missing is told each time, and found when it is back.
            let is_complete = segment.packs.len() == listed;
            let (later, packs): (Vec<_>, Vec<_>) =
                segment.packs.into_iter().partition(|pack| condemned.contains(&pack.id));
            batch.add(self, if is_complete { Listed::By(id) } else { Listed::Partly }, packs)?;
            last.extend(later);
            report.segments_new += 1;
        }
        batch.add(self, Listed::Partly, last)?;
        batch.flush(self)?;
        let is_replaced = |id: &ObjectId| superseded.get(id).is_some_and(|by| segments_listed.contains(by));
        report.missing_packs =
            missing_packs.into_iter().filter(|(_, segment)| !is_replaced(segment)).map(|(pack, _)| pack).collect();
        report.adopted = self.adopt_unlisted(repository, on_storage.keys())?;
        self.load_filter()?;
        Ok(report)
    }

    /// Segments that others replace, each with one of those.
    fn superseded(&self) -> Result<HashMap<ObjectId, ObjectId>, RepoError> {
        let transaction = cached!(self, self.database()?.begin_read())?;
        let table = cached!(self, transaction.open_table(SUPERSEDED))?;
        let rows = cached!(self, table.iter())?;
        rows.map(|row| cached!(self, row).map(|(old, by)| (ObjectId::new(old.value()), ObjectId::new(by.value()))))
            .collect()
    }

    /// Forgets segments that are gone, whose packs are listed elsewhere.
    fn forget_segments(&self, gone: &[ObjectId]) -> Result<(), RepoError> {
        if gone.is_empty() {
            return Ok(());
        }
        let transaction = cached!(self, self.database()?.begin_write())?;
        {
            let mut segments = cached!(self, transaction.open_table(SEGMENTS))?;
            let mut superseded = cached!(self, transaction.open_table(SUPERSEDED))?;
            for id in gone {
                cached!(self, segments.remove(id.as_bytes()))?;
                cached!(self, superseded.remove(id.as_bytes()))?;
            }
        }
        cached!(self, transaction.commit())
    }

    /// Notes which packs are condemned while the rows of chunks are made.
    fn note_condemned<'a>(&self, condemned: impl Iterator<Item = &'a ObjectId>) -> Result<(), RepoError> {
        let condemned: HashSet<ObjectId> = condemned.copied().collect();
        if self.ids(CONDEMNED)? == condemned {
            return Ok(());
        }
        let transaction = cached!(self, self.database()?.begin_write())?;
        cached!(self, transaction.delete_table(CONDEMNED))?;
        {
            let mut table = cached!(self, transaction.open_table(CONDEMNED))?;
            for id in &condemned {
                cached!(self, table.insert(id.as_bytes(), ()))?;
            }
        }
        cached!(self, transaction.commit())
    }

    /// Adopts packs that the database does not know, reading their trailers. One whose trailer cannot be read is left out.
    fn adopt_unlisted<'a>(
        &self,
        repository: &Repository,
        on_storage: impl Iterator<Item = &'a ObjectId>,
    ) -> Result<usize, RepoError> {
        let unknown = {
            let transaction = cached!(self, self.database()?.begin_read())?;
            let numbers = cached!(self, transaction.open_table(PACK_NUMBERS))?;
            let mut unknown = Vec::new();
            for id in on_storage {
                if cached!(self, numbers.get(id.as_bytes()))?.is_none() {
                    unknown.push(*id);
                }
            }
            unknown
        };
        let mut adopted = 0;
        let mut batch = Batch::default();
        for id in unknown {
            match packer::read_listing(
                &**repository.storage(),
                repository.keys(),
                repository.id(),
                ObjectName::pack(id),
            ) {
                Ok(pack) => {
                    adopted += 1;
                    batch.add(self, Listed::Nowhere, vec![pack])?;
                }
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        batch.flush(self)?;
        Ok(adopted)
    }

    fn clear(&self) -> Result<(), RepoError> {
        let transaction = cached!(self, self.database()?.begin_write())?;
        cached!(self, transaction.delete_table(CHUNKS))?;
        cached!(self, transaction.delete_table(PACKS))?;
        cached!(self, transaction.delete_table(PACK_NUMBERS))?;
        cached!(self, transaction.delete_table(SEGMENTS))?;
        cached!(self, transaction.delete_table(ADOPTED))?;
        cached!(self, transaction.delete_table(SUPERSEDED))?;
        cached!(self, transaction.delete_table(CONDEMNED))?;
        cached!(self, transaction.delete_table(FILTER))?;
        // In one step, so that no other process meets a database without tables.
        self.make_tables_in(transaction)
    }
}

/// Reads a segment; `None` for one that is damaged or gone.
fn readable(repository: &Repository, id: ObjectId) -> Result<Option<IndexSegment>, RepoError> {
    match segments::read(repository, id) {
        Ok(segment) => Ok(Some(segment)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

/// True for an object that went away since it was listed.
fn is_gone(error: &RepoError) -> bool {
    matches!(error, RepoError::Storage(error) if error.is_not_found())
}
