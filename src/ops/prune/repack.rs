//! Writing anew what is used in packs that are mostly unused.
//!
//! Always true here:
//! - Chunks are moved as they are sealed: whoever prunes need not be able to open them.
//! - A pack is read whole and proven against its name before anything of it is moved. One that is damaged stays where it is.
//! - New packs are durable and listed before the old ones are condemned.

use super::{Prune, PruneReport};
use crate::crypto::derive;
use crate::format::index::{IndexSegment, IndexedPack};
use crate::format::pack::{self, PackKind};
use crate::ids::{ChunkId, ObjectId};
use crate::names::ObjectName;
use crate::ops::OpsError;
use crate::repo::packer::{Packer, read_listing};
use crate::repo::{RepoError, segments};
use std::collections::HashSet;

/// Old packs that are written anew before the first of them may go: with packs of 64 MiB a gibibyte.
const ROUND: usize = 16;

/// Chunks on their way into new packs.
struct Mover {
    open: [Packer; 2],
    written: Vec<IndexedPack>,
}

impl Prune<'_> {
    /// Writes the planned packs anew, in rounds; each round's old packs are condemned, and go if they can.
    pub(super) fn repack(&mut self, report: &mut PruneReport) -> Result<(), OpsError> {
        let planned = self.plan.repack_packs.clone();
        let leaving: HashSet<ObjectId> =
            planned.iter().chain(&self.plan.delete_packs).copied().chain(self.condemned.iter().copied()).collect();
        let mut moved = HashSet::new();
        for round in planned.chunks(ROUND) {
            let mut mover = self.mover();
            let mut emptied = Vec::new();
            for id in round {
                self.cancel.check()?;
                match self.move_out(*id, &leaving, &mut moved, &mut mover) {
                    Ok(size) => {
                        emptied.push(*id);
                        report.repacked.add(size);
                        self.monitor.advance(crate::ops::monitor::Advance { bytes: size, ..Default::default() });
                    }
                    Err(OpsError::Repo(error)) if error.is_damage() => {
                        report.damaged.push((ObjectName::pack(*id), error));
                    }
                    Err(error) => return Err(error),
                }
            }
            self.finish(mover, report)?;
            self.condemn(emptied, Vec::new())?;
            self.settle(report)?;
        }
        Ok(())
    }

    /// Writes anew what is needed in condemned packs: they go all the same.
    pub(super) fn rescue(
        &mut self,
        packs: &[ObjectId],
        condemned: &HashSet<ObjectId>,
        report: &mut PruneReport,
    ) -> Result<(), OpsError> {
        let (mut moved, mut mover) = (HashSet::new(), self.mover());
        for id in packs {
            self.cancel.check()?;
            match self.move_out(*id, condemned, &mut moved, &mut mover) {
                Ok(_) => report.rescued += 1,
                // Another prune was faster.
                Err(OpsError::Repo(RepoError::Storage(error))) if error.is_not_found() => {}
                // It stays, and so does its retirement.
                Err(OpsError::Repo(error)) if error.is_damage() => {
                    report.damaged.push((ObjectName::pack(*id), error));
                }
                Err(error) => return Err(error),
            }
        }
        self.finish(mover, report)
    }

    /// Stores and lists what was moved.
    fn finish(&mut self, mut mover: Mover, report: &mut PruneReport) -> Result<(), OpsError> {
        for kind in [PackKind::Data, PackKind::Meta] {
            self.close_pack(kind, &mut mover)?;
        }
        for pack in &mover.written {
            report.written.add(pack.size);
        }
        self.publish(mover.written)
    }

    fn packer(&self, kind: PackKind) -> Packer {
        let repository = &self.store.repository;
        Packer::new(repository.id(), kind, repository.config().record.pack_size, Vec::new())
    }

    fn mover(&self) -> Mover {
        Mover { open: [self.packer(PackKind::Data), self.packer(PackKind::Meta)], written: Vec::new() }
    }

    fn close_pack(&self, kind: PackKind, mover: &mut Mover) -> Result<(), OpsError> {
        let Some(open) = mover.open.get_mut(usize::from(kind == PackKind::Meta)) else { return Ok(()) };
        let full = std::mem::replace(open, self.packer(kind));
        if let Some(finished) = full.finish(self.store.repository.keys())? {
            finished.store(&**self.store.repository.storage())?;
            mover.written.push(finished.indexed);
        }
        Ok(())
    }

    /// Moves what is used in a pack, and in none that stays.
    fn move_out(
        &self,
        id: ObjectId,
        leaving: &HashSet<ObjectId>,
        moved: &mut HashSet<ChunkId>,
        mover: &mut Mover,
    ) -> Result<u64, OpsError> {
        let repository = &self.store.repository;
        let name = ObjectName::pack(id);
        let listing = read_listing(&**repository.storage(), repository.keys(), repository.id(), name)?;
        let bytes = repository.storage().get(name, pack::MAX_LENGTH).map_err(RepoError::from)?;
        let found = derive::object_id(&bytes);
        if found != id {
            return Err(RepoError::NameMismatch { name, found }.into());
        }
        for (offset, entry) in pack::with_offsets(&listing.entries) {
            let places = self.catalog.places_used(&entry.id);
            let pack_of = |number: u32| self.catalog.packs.get(number as usize);
            let stays = places.iter().any(|place| pack_of(place.pack).is_some_and(|pack| !leaving.contains(&pack.id)));
            if places.is_empty() || stays || !moved.insert(entry.id) {
                continue;
            }
            let start = usize::try_from(offset.0).unwrap_or(usize::MAX);
            let sealed =
                bytes.get(start..).and_then(|rest| rest.get(..entry.sealed_length as usize)).unwrap_or_default();
            let kind = usize::from(listing.kind == PackKind::Meta);
            if mover.open.get(kind).is_some_and(|open| open.is_full_for(sealed.len())) {
                self.close_pack(listing.kind, mover)?;
            }
            if let Some(open) = mover.open.get_mut(kind) {
                open.add(*entry, sealed);
            }
        }
        Ok(bytes.len() as u64)
    }

    /// Lists new packs.
    fn publish(&mut self, packs: Vec<IndexedPack>) -> Result<(), OpsError> {
        if packs.is_empty() {
            return Ok(());
        }
        self.catalog.add_written(&packs);
        let segment = IndexSegment { supersedes: Vec::new(), packs };
        let id = segments::publish(&self.store.repository, &segment)?;
        self.store.index.insert_segment(id, &segment)?;
        self.catalog.add_segment(id, &segment);
        Ok(())
    }
}
