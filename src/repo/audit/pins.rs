//! What the log says of snapshots beside that they were made: which are pinned, and which were let go.
//!
//! Always true here:
//! - A pin counts from an operator, from an admin, and from the key that made the snapshot; taking it away and letting go counts from an
//!   operator or admin alone. Whoever deposits can keep his own, and nobody else's word drops anything.
//! - A pin holds until somebody who has seen it takes it away: where it is not certain which of two was later, it holds.

use super::{Log, Order};
use crate::format::audit::EntryKind;
use crate::ids::{KeyId, ObjectId};
use std::collections::{BTreeMap, BTreeSet};

/// The snapshots that are pinned.
#[derive(Debug, Default)]
pub struct Pins {
    /// By whom; `None` for those who keep the repository.
    by: BTreeMap<ObjectId, BTreeSet<Option<KeyId>>>,
}

impl Pins {
    /// Reads them out of the log, for a key that keeps the repository.
    pub fn of(log: &Log, order: &Order) -> Self {
        let mut pins = Self::default();
        let of = |kind: EntryKind| log.entries.iter().enumerate().filter(move |(_, entry)| entry.kind == kind);
        let unpins: Vec<_> = of(EntryKind::Unpin).filter(|(_, entry)| entry.is_keepers()).collect();
        let all: Vec<_> = of(EntryKind::Pin).collect();
        for group in all.chunks(Order::GROUP) {
            let behind = order.behind(group.iter().enumerate().map(|(bit, (place, _))| (*place, 1 << bit)));
            // Which pins of this group are taken away for which snapshot.
            let mut gone: BTreeMap<ObjectId, u64> = BTreeMap::new();
            for (place, entry) in &unpins {
                let seen = behind.get(*place).copied().unwrap_or_default();
                entry.subjects.iter().for_each(|id| *gone.entry(*id).or_default() |= seen);
            }
            for (bit, (_, entry)) in group.iter().enumerate() {
                let holds = |id: &&ObjectId| gone.get(*id).is_none_or(|gone| gone & (1 << bit) == 0);
                let by = if entry.is_keepers() { None } else { Some(entry.key) };
                entry.subjects.iter().filter(holds).for_each(|id| _ = pins.by.entry(*id).or_default().insert(by));
            }
        }
        pins
    }

    /// True where a snapshot that this key made is pinned.
    pub fn holds(&self, snapshot: &ObjectId, maker: &KeyId) -> bool {
        self.by.get(snapshot).is_some_and(|by| by.contains(&None) || by.contains(&Some(*maker)))
    }

    /// True where an operator or admin has pinned a snapshot of which it is not known who made it.
    pub fn holds_for_all(&self, snapshot: &ObjectId) -> bool {
        self.by.get(snapshot).is_some_and(|by| by.contains(&None))
    }
}

/// The snapshots that an operator or admin let go.
#[derive(Debug, Default)]
pub struct Forgotten {
    begun: BTreeSet<ObjectId>,
    done: BTreeSet<ObjectId>,
}

impl Forgotten {
    /// Reads them out of the log, for a key that keeps the repository.
    pub fn of(log: &Log) -> Self {
        let of = |kind: EntryKind| {
            let entries = log.entries.iter().filter(move |entry| entry.kind == kind && entry.is_keepers());
            entries.flat_map(|entry| entry.subjects.iter().copied()).collect()
        };
        Self { begun: of(EntryKind::Forget), done: of(EntryKind::Forgotten) }
    }

    /// True for one that somebody has begun to delete: nobody has to wonder where it is.
    pub fn may_be_gone(&self, snapshot: &ObjectId) -> bool {
        self.begun.contains(snapshot) || self.done.contains(snapshot)
    }

    /// True for one that was deleted: where it is there, somebody put it back.
    pub fn is_gone(&self, snapshot: &ObjectId) -> bool {
        self.done.contains(snapshot)
    }
}
