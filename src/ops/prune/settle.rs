//! The second step of a prune: what was condemned goes, when nobody can rely on it any more.
//!
//! Always true here:
//! - A retirement is settled only when every session that is there knows it. Whoever does not know it began before it, and may rely
//!   on what it condemns.
//! - Behind that, snapshots are looked at once more: what one that came meanwhile needs is written into other packs first.
//! - What is condemned never comes back: a retirement goes only when nothing that it condemns is there. So whoever acts by one that another
//!   prune has taken away meanwhile finds nothing to take, and nobody ever relies on a pack that somebody may still be deleting.
//! - Retirements are listed before packs are, and a pack goes only where each of its used chunks is in a pack that is there and that no
//!   retirement condemns. Of two prunes that condemn the two copies of one chunk, at least one sees the other's retirement.
//! - A step that was cut off is done again from the beginning.

use super::canary::{Canary, is_left_out};
use super::catalog::{condemned_packs, packs_on_storage};
use super::{Prune, PruneReport};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use crate::ops::OpsError;
use crate::repo::RepoError;
use crate::repo::retired;
use crate::repo::sessions::{self, Listed};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How often sessions are looked at anew because a dead one was found among them.
const LOOKS: usize = 16;

impl Prune<'_> {
    /// The other sessions that are alive, or may be. Those that are dead are ended.
    pub(super) fn other_sessions(&mut self) -> Result<Vec<Listed>, OpsError> {
        let repository = &self.store.repository;
        let folder = self.surroundings.sessions.as_deref();
        let mut others = Vec::new();
        for _ in 0..LOOKS {
            let ended = folder.map(sessions::Dead::now);
            others = sessions::list(repository)?;
            let leases: BTreeSet<ObjectId> = others.iter().filter_map(|session| session.name.id()).collect();
            self.watch.look((self.surroundings.now_ms)(), &leases);
            if let Some(ended) = ended {
                ended.forget(&others);
            }
            others.retain(|session| session.nonce.as_ref() != Some(self.session.nonce()));
            let (dead, alive): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|session| session.is_dead(folder, &self.watch));
            others = alive;
            if dead.is_empty() {
                break;
            }
            for session in dead {
                session.end(repository)?;
            }
            // One that was renewed at this moment shows its new lease now.
        }
        if let Some(folder) = folder {
            // A machine that cannot remember waits anew each time.
            _ = self.watch.save(folder);
        }
        Ok(others)
    }

    /// Takes away what is condemned and can go.
    pub(super) fn settle(&mut self, report: &mut PruneReport) -> Result<(), OpsError> {
        let repository = &self.store.repository.clone();
        let retirements = retired::list(repository)?;
        // One whose bytes are not what was written condemns nothing, and never will.
        let torn = retirements.damaged.iter().filter(|(_, error)| matches!(error, RepoError::NameMismatch { .. }));
        self.settled.extend(torn.filter_map(|(name, _)| name.id()));
        let sessions = self.other_sessions()?;
        let mut ready = BTreeMap::new();
        report.waiting_for.clear();
        for (id, retirement) in retirements.retirements {
            // One that came from another prune since this one began may condemn what this one relies on.
            let is_ours = self.own.contains(&id) || self.session.condemned().ids().contains(&id);
            let blocking: Vec<&Listed> = sessions.iter().filter(|session| !session.known.contains(&id)).collect();
            if is_ours && (blocking.is_empty() || is_left_out(Canary::Sessions)) {
                ready.insert(id, retirement);
                continue;
            }
            for session in blocking {
                if !report.waiting_for.contains(session) {
                    report.waiting_for.push(session.clone());
                }
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        // The second look: everything that the sessions that are gone have committed is seen now.
        if !is_left_out(Canary::SecondLook) {
            self.usage.extend(&mut self.catalog, self.store, self.cancel)?;
        }
        let mut condemned: HashSet<ObjectId> =
            ready.values().flat_map(|retirement| retirement.packs.iter().copied()).collect();
        if !is_left_out(Canary::OthersRetirements) {
            condemned.extend(condemned_packs(repository)?);
        }
        let mut there = packs_on_storage(repository)?;
        let mut needed = self.needed(&condemned, &there);
        let ours = ready.values().flat_map(|retirement| &retirement.packs);
        let mut wanted: Vec<ObjectId> = ours.copied().filter(|pack| needed.contains(pack)).collect();
        wanted.retain(|pack| there.contains_key(pack));
        if !wanted.is_empty() {
            match self.rescue(&wanted, &condemned, report) {
                Err(OpsError::Repo(error)) if super::is_full(&error) => report.stopped = Some(error),
                rescued => rescued?,
            }
            there = packs_on_storage(repository)?;
            needed = self.needed(&condemned, &there);
        }
        for (id, retirement) in &ready {
            let mut stay = 0;
            for pack in &retirement.packs {
                self.cancel.check()?;
                let Some(size) = there.get(pack) else { continue };
                if needed.contains(pack) || self.is_unknown(pack) {
                    stay += 1;
                    continue;
                }
                repository.storage().delete(ObjectName::pack(*pack)).map_err(RepoError::from)?;
                report.deleted.add(*size);
            }
            for segment in &retirement.segments {
                if self.is_dispensable(segment, &there) {
                    repository
                        .storage()
                        .delete(ObjectName::new(ObjectKind::Index, *segment))
                        .map_err(RepoError::from)?;
                    self.catalog.segments.retain(|known| known.id != *segment);
                    report.segments_deleted += 1;
                }
            }
            if stay == 0 {
                self.settled.insert(*id);
            }
        }
        Ok(())
    }

    /// Packs with a used chunk that is in no other pack that is there and stays.
    fn needed(&self, condemned: &HashSet<ObjectId>, there: &HashMap<ObjectId, u64>) -> HashSet<ObjectId> {
        let stays: Vec<bool> = self
            .catalog
            .packs
            .iter()
            .map(|pack| !condemned.contains(&pack.id) && there.get(&pack.id) == Some(&pack.size))
            .collect();
        let mut needed = HashSet::new();
        for places in self.catalog.used_chunks() {
            let is_safe = places.iter().any(|place| stays.get(place.pack as usize).copied().unwrap_or(false));
            if !is_safe {
                let packs = places.iter().filter_map(|place| self.catalog.packs.get(place.pack as usize));
                needed.extend(packs.map(|pack| pack.id));
            }
        }
        needed
    }

    /// True for a pack of whose content nothing is known: it goes only where no chunk is missing that may be in it.
    fn is_unknown(&self, pack: &ObjectId) -> bool {
        !self.catalog.numbers.contains_key(pack) && self.usage.missing > 0
    }

    /// True where every pack of the segment that is there is listed by another that is not condemned with it.
    pub(super) fn is_dispensable(&self, id: &ObjectId, there: &HashMap<ObjectId, u64>) -> bool {
        let Some(segment) = self.catalog.segments.iter().find(|segment| segment.id == *id) else {
            // Damaged or gone: what it listed is listed by itself.
            return true;
        };
        let others = self.catalog.segments.iter().filter(|other| other.supersedes.contains(id));
        let listed: HashSet<ObjectId> = others.flat_map(|other| other.packs.iter().copied()).collect();
        segment
            .packs
            .iter()
            .all(|pack| listed.contains(pack) || !there.contains_key(pack) && !self.catalog.lost_packs.contains(pack))
    }

    /// Takes away retirements of which nothing is left to be done. The caller says by this that no segment that counts lists packs
    /// that are gone: until then a retirement is why they are.
    pub(super) fn close(&mut self) -> Result<(), OpsError> {
        for id in std::mem::take(&mut self.settled) {
            let name = ObjectName::new(ObjectKind::Retired, id);
            self.store.repository.storage().delete(name).map_err(RepoError::from)?;
        }
        Ok(())
    }
}
