//! What a prune will do, before it does anything.
//!
//! Always true here:
//! - A chunk that is used has one *home*: a pack that stays and is not condemned. Where it is in several packs, the others hold it for nothing.
//! - A pack that is nobody's home goes. One that is home to few goes when its share of unused bytes is more than is allowed: what
//!   is used in it is written anew elsewhere first.

use super::catalog::{Catalog, Place};
use crate::format::pack::PackKind;
use crate::ids::ObjectId;
use std::collections::HashSet;

/// Below this share of the size that packs aim at, a pack is small: one part in so many.
const SMALL: u64 = 4;
/// Small packs of a kind are put together when there are so many.
const MANY_SMALL: usize = 8;

/// How much may stay unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxUnused {
    /// So many hundredths of a percent of the bytes that are used.
    Share(u32),
    /// So many bytes.
    Bytes(u64),
    /// As much as there is: nothing is written anew.
    Unlimited,
}

impl MaxUnused {
    /// Two percent of what is used.
    pub const DEFAULT: Self = Self::Share(200);

    fn limit(self, used: u64) -> u64 {
        match self {
            Self::Share(share) => u64::try_from(u128::from(used) * u128::from(share) / 10_000).unwrap_or(u64::MAX),
            Self::Bytes(bytes) => bytes,
            Self::Unlimited => u64::MAX,
        }
    }
}

/// What a prune may do.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions {
    /// How much may stay unused in packs that stay.
    pub max_unused: MaxUnused,
    /// How many bytes of packs may be written anew; `None` without a limit.
    pub max_repack: Option<u64>,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self { max_unused: MaxUnused::DEFAULT, max_repack: None }
    }
}

/// A number of packs and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Packs.
    pub packs: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Sum {
    pub(super) const fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a prune will do.
#[derive(Debug, Clone, Default)]
pub struct PrunePlan {
    /// Snapshots that are there.
    pub snapshots: usize,
    /// Packs that are there.
    pub total: Sum,
    /// Bytes of chunks that snapshots need, each counted once.
    pub used: u64,
    /// Packs in which nothing is needed.
    pub delete: Sum,
    /// Packs that are written anew without what is not needed in them.
    pub repack: Sum,
    /// Bytes that are needed in those, and stay.
    pub repack_used: u64,
    /// Bytes that stay although nothing needs them, in packs that stay.
    pub unused_after: u64,
    /// Packs that an earlier prune has condemned, and that go as soon as nobody can rely on them.
    pub waiting: Sum,
    /// Packs that a running writer may have listed, and that stay for now.
    pub writers: Sum,
    /// Packs that do not read and that no segment lists, left by a writer that died; they go as well.
    pub unreadable: Sum,
    /// Packs that do not read and stay, since chunks are missing that may be in them.
    pub unreadable_kept: usize,
    /// Packs that no segment lists and that stay, since somebody may be writing them.
    pub unlisted_kept: usize,
    /// Chunks that snapshots need and that are in no pack.
    pub missing_chunks: u64,
    pub(super) delete_packs: Vec<ObjectId>,
    pub(super) repack_packs: Vec<Repack>,
}

/// A pack that is to be written anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repack {
    pub(super) id: ObjectId,
    /// Bytes of it that are needed: so much room its successor takes.
    pub(super) used: u64,
    /// True where nothing in it is unused: it is only put together with others.
    pub(super) merges: bool,
}

impl PrunePlan {
    /// Bytes that the repository will have less when everything is done, as far as packs go.
    pub const fn gain(&self) -> u64 {
        self.delete.bytes
            + self.waiting.bytes
            + self.unreadable.bytes
            + self.repack.bytes.saturating_sub(self.repack_used)
    }

    /// True when there is nothing to do but for the index.
    pub const fn is_empty(&self) -> bool {
        self.delete.packs + self.repack.packs + self.waiting.packs + self.unreadable.packs == 0
    }
}

/// What a pack is home to.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    used: u64,
    /// True where it is to go.
    condemned: bool,
}

/// What a plan is made for.
pub(super) struct Situation<'a> {
    /// Packs that are condemned already.
    pub condemned: &'a HashSet<ObjectId>,
    /// Packs that a running writer may have listed: what nobody needs of them now may be needed when it commits.
    pub writers: &'a HashSet<ObjectId>,
    /// Chunks that snapshots need and that are nowhere.
    pub missing_chunks: u64,
    /// True where packs that no segment lists may be somebody's who is running.
    pub others_write: bool,
    /// The size at which packs are closed.
    pub pack_size: u32,
}

/// Divides packs into those that go, those that are written anew, and those that stay.
pub(super) fn plan(catalog: &Catalog, situation: &Situation<'_>, options: PruneOptions) -> PrunePlan {
    let Situation { condemned, writers, missing_chunks, others_write, pack_size } = *situation;
    let loads = loads(catalog, condemned);
    let mut plan = PrunePlan { missing_chunks, ..PrunePlan::default() };
    let mut candidates = Vec::new();
    let mut small: [Vec<(ObjectId, u64, u64)>; 2] = Default::default();
    for (pack, load) in catalog.packs.iter().zip(&loads) {
        plan.total.add(pack.size);
        if load.condemned {
            plan.waiting.add(pack.size);
            continue;
        }
        plan.used += load.used;
        if writers.contains(&pack.id) {
            plan.writers.add(pack.size);
            continue;
        }
        if load.used == 0 {
            if !pack.listed && others_write {
                plan.unlisted_kept += 1;
                continue;
            }
            plan.delete.add(pack.size);
            plan.delete_packs.push(pack.id);
            continue;
        }
        let unused = pack.size.saturating_sub(load.used).saturating_sub(pack.overhead());
        plan.unused_after += unused;
        if unused > 0 {
            candidates.push((pack.id, pack.size, load.used, unused));
        } else if pack.size < u64::from(pack_size) / SMALL {
            let kind = usize::from(pack.kind == PackKind::Meta);
            if let Some(small) = small.get_mut(kind) {
                small.push((pack.id, pack.size, load.used));
            }
        }
    }
    for (id, size) in &catalog.unreadable {
        plan.total.add(*size);
        if missing_chunks > 0 || others_write {
            plan.unreadable_kept += 1;
        } else {
            plan.unreadable.add(*size);
            plan.delete_packs.push(*id);
        }
    }
    // Those first that give back most for what they cost.
    candidates.sort_unstable_by_key(|(id, _, used, unused)| {
        (std::cmp::Reverse(u128::from(*unused) * 1_000_000 / u128::from((*used).max(1))), *id)
    });
    let limit = options.max_unused.limit(plan.used);
    let mut budget = options.max_repack.unwrap_or(u64::MAX);
    for (id, size, used, unused) in candidates {
        if plan.unused_after <= limit {
            break;
        }
        if size > budget {
            continue;
        }
        budget -= size;
        plan.unused_after -= unused;
        plan.take(size, Repack { id, used, merges: false });
    }
    for packs in small {
        // Only what makes few out of many.
        let total: u64 = packs.iter().map(|(_, size, _)| size).sum();
        let is_worth_it = packs.len() >= MANY_SMALL && options.max_unused != MaxUnused::Unlimited;
        if is_worth_it && total <= budget {
            budget -= total;
            for (id, size, used) in packs {
                plan.take(size, Repack { id, used, merges: true });
            }
        }
    }
    plan
}

impl PrunePlan {
    fn take(&mut self, size: u64, pack: Repack) {
        self.repack.add(size);
        self.repack_used += pack.used;
        self.repack_packs.push(pack);
    }
}

/// Finds each used chunk a home.
fn loads(catalog: &Catalog, condemned: &HashSet<ObjectId>) -> Vec<Load> {
    let mut loads: Vec<Load> =
        catalog.packs.iter().map(|pack| Load { used: 0, condemned: condemned.contains(&pack.id) }).collect();
    let stays = |loads: &[Load], place: &Place| loads.get(place.pack as usize).is_some_and(|load| !load.condemned);
    let mut several = Vec::new();
    for places in catalog.used_chunks() {
        let mut homes = places.iter().filter(|place| stays(&loads, place));
        match (homes.next(), homes.next()) {
            (Some(home), None) => {
                if let Some(load) = loads.get_mut(home.pack as usize) {
                    load.used += home.sealed();
                }
            }
            (Some(_), Some(_)) => several.push(places),
            // Only in condemned packs: the second look finds that, and it is written anew.
            (None, _) => {}
        }
    }
    for places in several {
        let homes = places.iter().filter(|place| stays(&loads, place));
        // Where most is that has no other home, so that copies go together.
        let used = |place: &Place| loads.get(place.pack as usize).map_or(0, |load| load.used);
        let home = homes.max_by_key(|place| (taste(used(place)), std::cmp::Reverse(place.pack)));
        if let Some(load) = home.and_then(|home| loads.get_mut(home.pack as usize)) {
            load.used += home.map_or(0, |home| home.sealed());
        }
    }
    loads
}

/// How much a place is liked as a home, where so many bytes of its pack have no other. Any choice must be safe: in a simulator it is left to
/// chance, so that two prunes choose differently.
fn taste(used: u64) -> u64 {
    if cfg!(feature = "simulator") { crate::crypto::random_bytes().map_or(0, u64::from_le_bytes) } else { used }
}
