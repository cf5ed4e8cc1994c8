//! Writing anew what is used in packs that are mostly unused.
//!
//! Always true here:
//! - Chunks are moved as they are sealed: whoever prunes need not be able to open them.
//! - A pack is read whole and proven against its name before anything of it is moved. One that is damaged stays where it is.
//! - New packs are durable and listed before the old ones are condemned.
//! - A pack whose used bytes find no room is left as it is; all that fit are done.

use super::plan::Repack;
use super::{Prune, PruneReport};
use crate::crypto::derive;
use crate::format::index::{IndexSegment, IndexedPack};
use crate::format::pack::{self, PackKind};
use crate::ids::{ChunkId, ObjectId};
use crate::names::ObjectName;
use crate::ops::OpsError;
use crate::repo::packer::{Packer, read_listing};
use crate::repo::{RepoError, segments};
use std::collections::{HashSet, VecDeque};

/// Old packs that are written anew before the first of them may go: with packs of 64 MiB a gibibyte.
const ROUND: usize = 16;

/// Chunks on their way into new packs.
struct Mover {
    open: [Packer; 2],
    written: Vec<IndexedPack>,
}

/// What is still to be written anew.
struct Queue {
    waiting: VecDeque<Repack>,
    /// Packs for whose successor there was no room.
    postponed: VecDeque<Repack>,
    /// How many are taken at once.
    at_once: usize,
    /// A successor of so many bytes found no room.
    too_much: u64,
}

impl Queue {
    fn new(planned: &[Repack]) -> Self {
        Self {
            waiting: planned.iter().copied().collect(),
            postponed: VecDeque::new(),
            at_once: ROUND,
            too_much: u64::MAX,
        }
    }

    /// The packs of the next round, none when there is nothing left to try.
    fn next(&mut self) -> Vec<Repack> {
        loop {
            let mut round = Vec::new();
            while round.len() < self.at_once {
                let Some(pack) = self.waiting.pop_front() else { break };
                if pack.used >= self.too_much {
                    self.postponed.push_back(pack);
                } else {
                    round.push(pack);
                }
            }
            match round.as_slice() {
                // Put together with nothing it would only be copied.
                [pack] if pack.merges => {}
                _ => return round,
            }
        }
    }

    /// There was no room for the successors of a round.
    fn found_no_room(&mut self, round: Vec<Repack>) {
        match round.as_slice() {
            [] => {}
            [pack] => {
                self.too_much = self.too_much.min(pack.used);
                self.postponed.push_back(*pack);
            }
            several => {
                self.at_once = several.len() / 2;
                round.into_iter().rev().for_each(|pack| self.waiting.push_front(pack));
            }
        }
    }

    /// A round is done, and gave room or not.
    fn found_room(&mut self, freed: bool) {
        if self.at_once < ROUND {
            self.at_once *= 2;
        }
        if freed {
            self.too_much = u64::MAX;
            self.waiting.append(&mut self.postponed);
        }
    }
}

impl Prune<'_> {
    /// Writes the planned packs anew, in rounds; each round's old packs are condemned, and go if they can. Where there is no room for a
    /// round it is tried with fewer packs, and a pack that is too much even alone waits until others have gone.
    pub(super) fn repack(&mut self, report: &mut PruneReport) -> Result<(), OpsError> {
        let planned = self.plan.repack_packs.clone();
        let leaving = planned.iter().map(|pack| pack.id).chain(self.plan.delete_packs.iter().copied());
        let leaving: HashSet<ObjectId> = leaving.chain(self.condemned.iter().copied()).collect();
        let mut queue = Queue::new(&planned);
        let mut no_room = None;
        loop {
            let round = queue.next();
            if round.is_empty() {
                break;
            }
            let deleted_before = report.deleted.packs;
            match self.repack_round(&round, &leaving, report) {
                Ok(()) => queue.found_room(report.deleted.packs > deleted_before),
                Err(OpsError::Repo(error)) if super::is_full(&error) => {
                    queue.found_no_room(round);
                    no_room = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match no_room {
            Some(error) if !queue.postponed.is_empty() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes some packs anew, and condemns them.
    fn repack_round(
        &mut self,
        round: &[Repack],
        leaving: &HashSet<ObjectId>,
        report: &mut PruneReport,
    ) -> Result<(), OpsError> {
        let (mut moved, mut mover, mut emptied) = (HashSet::new(), self.mover(), Vec::new());
        for pack in round {
            self.cancel.check()?;
            match self.move_out(pack.id, leaving, &mut moved, &mut mover) {
                Ok(size) => emptied.push((pack.id, size)),
                Err(OpsError::Repo(error)) if error.is_damage() => {
                    report.damaged.push((ObjectName::pack(pack.id), error));
                }
                Err(OpsError::Repo(error)) if super::is_full(&error) => {
                    // What found room stays, and the next try need not write it.
                    self.publish(mover.written, report)?;
                    return Err(error.into());
                }
                Err(error) => return Err(error),
            }
        }
        self.finish(mover, report)?;
        self.condemn(emptied.iter().map(|(id, _)| *id).collect(), Vec::new())?;
        for (_, size) in emptied {
            report.repacked.add(size);
            self.monitor.advance(crate::ops::monitor::Advance { bytes: size, ..Default::default() });
        }
        self.settle(report)
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
        let closed =
            [PackKind::Data, PackKind::Meta].into_iter().try_for_each(|kind| self.close_pack(kind, &mut mover));
        // What found room stays, also where the rest finds none.
        self.publish(mover.written, report)?;
        closed
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
    fn publish(&mut self, packs: Vec<IndexedPack>, report: &mut PruneReport) -> Result<(), OpsError> {
        if packs.is_empty() {
            return Ok(());
        }
        for pack in &packs {
            report.written.add(pack.size);
        }
        self.catalog.add_written(&packs);
        let segment = IndexSegment { supersedes: Vec::new(), packs };
        let id = segments::publish(&self.store.repository, &segment)?;
        self.store.index.insert_segment(id, &segment)?;
        self.catalog.add_segment(id, &segment);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(byte: u8, used: u64, merges: bool) -> Repack {
        Repack { id: ObjectId::new([byte; 32]), used, merges }
    }

    fn ids(round: &[Repack]) -> Vec<u8> {
        round.iter().map(|pack| pack.id.as_bytes()[0]).collect()
    }

    #[test]
    fn a_round_without_room_is_halved_and_what_is_too_much_alone_waits_for_room() {
        let mut queue = Queue::new(&[pack(1, 10, false), pack(2, 90, false), pack(3, 95, false), pack(4, 20, false)]);
        let round = queue.next();
        assert_eq!(ids(&round), [1, 2, 3, 4]);
        queue.found_no_room(round);
        let round = queue.next();
        assert_eq!(ids(&round), [1, 2]);
        queue.found_no_room(round);
        assert_eq!(ids(&queue.next()), [1]);
        queue.found_room(false);
        let round = queue.next();
        assert_eq!(ids(&round), [2, 3], "two again, since one found room");
        queue.found_no_room(round);
        let round = queue.next();
        queue.found_no_room(round);
        assert_eq!(ids(&queue.next()), [4], "3 needs more than 2, for which there was no room");
        queue.found_room(true);
        assert_eq!(ids(&queue.next()), [2, 3], "something has gone since");
        queue.found_room(true);
        assert!(queue.next().is_empty() && queue.postponed.is_empty());
    }

    #[test]
    fn small_packs_are_put_together_with_others_or_left() {
        let many: Vec<Repack> = (0..100).map(|byte| pack(byte, 1, true)).collect();
        let mut queue = Queue::new(&many);
        while queue.at_once > 1 {
            let round = queue.next();
            queue.found_no_room(round);
        }
        assert!(queue.next().is_empty(), "one alone is never copied");
    }
}
