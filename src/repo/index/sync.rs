//! Bringing the local index up to date with the repository.
//!
//! Always true here: segments are listed before packs. A pack is durable before its segment is, so a pack that a listed segment
//! names and that is not in the listing of packs is gone, and not on its way.

use super::super::open::Repository;
use super::super::{RepoError, packer, segments};
use super::insert::Listed;
use super::{ADOPTED, CHUNKS, FILTER, Index, PACK_NUMBERS, PACKS, SEGMENTS, cache_error, cached, guarded};
use crate::format::index::IndexedPack;
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use redb::ReadableDatabase;
use std::collections::{HashMap, HashSet};

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
        let mut batch = Batch::default();
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
                    batch.add(self, if is_complete { Listed::By(id) } else { Listed::Partly }, segment.packs)?;
                    report.segments_new += 1;
                }
                Err(error) if error.is_damage() => report.damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        batch.flush(self)?;
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
        cached!(self, transaction.delete_table(FILTER))?;
        // In one step, so that no other process meets a database without tables.
        self.make_tables_in(transaction)
    }
}
