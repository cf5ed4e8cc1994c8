//! The index: segments that list packs that are gone are written anew without them, and small ones are put together.
//!
//! Always true here:
//! - The new segment is durable before the old ones are condemned, and they go as packs do: when every session knows it.
//! - A segment is replaced by one, never by several: whoever sees the new one needs none of those that it replaces.

use super::catalog::{Segment, packs_on_storage};
use super::{Prune, PruneReport};
use crate::format::index::{IndexSegment, IndexedPack};
use crate::ids::ObjectId;
use crate::names::ObjectName;
use crate::ops::OpsError;
use crate::repo::packer::read_listing;
use crate::repo::{RepoError, retired, segments};
use std::collections::{HashMap, HashSet};

/// A segment of fewer bytes is small.
const SMALL: u64 = 1 << 20;
/// Small segments are put together when there are so many.
const MANY_SMALL: usize = 8;
/// A new segment takes in no more when it has so many chunks: 40 MB.
const FULL: usize = 1_000_000;

impl Prune<'_> {
    /// Segments that are to be replaced, now that it is known which packs are there.
    fn outdated(&self, there: &HashMap<ObjectId, u64>) -> Vec<ObjectId> {
        let superseded: HashSet<ObjectId> =
            self.catalog.segments.iter().flat_map(|segment| segment.supersedes.iter().copied()).collect();
        // A pack that was lost stays listed: it is what a chunk is missing with.
        let is_gone = |pack: &ObjectId| !there.contains_key(pack) && !self.catalog.lost_packs.contains(pack);
        let lists_gone = |segment: &&Segment| segment.packs.iter().any(is_gone);
        let mut outdated: Vec<ObjectId> = self
            .catalog
            .segments
            .iter()
            .filter(|segment| lists_gone(segment) && !superseded.contains(&segment.id))
            .map(|segment| segment.id)
            .collect();
        let known: HashSet<ObjectId> = outdated.iter().chain(&superseded).copied().collect();
        let small = self.catalog.segments.iter().filter(|segment| segment.size < SMALL && !known.contains(&segment.id));
        let small: Vec<ObjectId> = small.map(|segment| segment.id).collect();
        if small.len() >= MANY_SMALL {
            outdated.extend(small);
        }
        outdated.sort_unstable();
        outdated
    }

    /// Replaces what is outdated; the old segments go now or with a later prune. Behind it no segment that is in use lists packs that are gone.
    pub(super) fn merge(&mut self, report: &mut PruneReport) -> Result<(), OpsError> {
        let repository = &self.store.repository.clone();
        let there = packs_on_storage(repository)?;
        let outdated = self.outdated(&there);
        // Left by a prune that was cut off, or by one whose segments wait.
        let mut replaced = self.superseded(&there)?;
        let adopted = self.unlisted(&there)?;
        let mut new = IndexSegment { supersedes: Vec::new(), packs: adopted };
        let lost = self.catalog.lost_packs.clone();
        let stays = |pack: &IndexedPack| there.get(&pack.id) == Some(&pack.size) || lost.contains(&pack.id);
        let mut listed: HashSet<ObjectId> = new.packs.iter().map(|pack| pack.id).collect();
        for id in outdated {
            self.cancel.check()?;
            let segment = match segments::read(repository, id) {
                Ok(segment) => segment,
                Err(RepoError::Storage(error)) if error.is_not_found() => continue,
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error.into()),
            };
            let packs = segment.packs.into_iter();
            let packs: Vec<IndexedPack> = packs.filter(|pack| stays(pack) && !listed.contains(&pack.id)).collect();
            if new.chunk_count() + packs.iter().map(|pack| pack.entries.len()).sum::<usize>() > FULL {
                self.replace(&std::mem::take(&mut new), report)?;
                // A pack may stand in two new segments: nothing contradicts.
                listed.clear();
            }
            listed.extend(packs.iter().map(|pack| pack.id));
            new.packs.extend(packs);
            new.supersedes.push(id);
            replaced.push(id);
        }
        self.replace(&new, report)?;
        report.segments_merged += replaced.len();
        if !replaced.is_empty() {
            self.condemn(Vec::new(), replaced)?;
        }
        Ok(())
    }

    /// Segments that another replaces, that are not needed, and that nothing condemns yet.
    fn superseded(&self, there: &HashMap<ObjectId, u64>) -> Result<Vec<ObjectId>, OpsError> {
        let condemned: HashSet<ObjectId> = retired::list(&self.store.repository)?
            .retirements
            .into_values()
            .flat_map(|retirement| retirement.segments)
            .collect();
        let superseded = self.catalog.segments.iter().flat_map(|segment| segment.supersedes.iter());
        let mut superseded: Vec<ObjectId> = superseded
            .filter(|id| self.catalog.segments.iter().any(|segment| segment.id == **id))
            .filter(|id| !condemned.contains(*id) && self.is_dispensable(id, there))
            .copied()
            .collect();
        superseded.sort_unstable();
        superseded.dedup();
        Ok(superseded)
    }

    fn replace(&mut self, new: &IndexSegment, report: &mut PruneReport) -> Result<(), OpsError> {
        if new.packs.is_empty() && new.supersedes.is_empty() {
            return Ok(());
        }
        let id = segments::publish(&self.store.repository, new)?;
        self.store.index.insert_segment(id, new)?;
        self.catalog.add_segment(id, new);
        report.segments_written += 1;
        Ok(())
    }

    /// Packs that stay and that no segment lists, as themselves say.
    fn unlisted(&self, there: &HashMap<ObjectId, u64>) -> Result<Vec<IndexedPack>, OpsError> {
        let repository = &self.store.repository;
        let repacked = self.plan.repack_packs.iter().map(|pack| &pack.id);
        let going: HashSet<&ObjectId> = self.plan.delete_packs.iter().chain(repacked).collect();
        let mut packs = Vec::new();
        for pack in self.catalog.packs.iter().filter(|pack| !pack.listed && there.contains_key(&pack.id)) {
            if self.others_write || going.contains(&pack.id) || self.condemned.contains(&pack.id) {
                continue;
            }
            packs.push(read_listing(
                &**repository.storage(),
                repository.keys(),
                repository.id(),
                ObjectName::pack(pack.id),
            )?);
        }
        Ok(packs)
    }
}
