//! Which entries of the log come behind which, for certain.
//!
//! Always true here:
//! - An entry is behind all that it names, and all that those are behind. An id is a hash over the ids that it names, so that nobody can
//!   put an entry in front of one that is there; everybody can leave out what he has seen. So "behind" is proven, and "not behind" is not.
//! - Memory grows with the entries alone: the questions are asked of [`Order::GROUP`] marks at a time.

use super::Log;
use crate::ids::ObjectId;
use std::collections::BTreeMap;

/// The entries of a log and what each names, by their places in [`Log::entries`].
#[derive(Debug)]
pub struct Order {
    previous: Vec<Vec<usize>>,
}

impl Order {
    /// Marks that one question can have: the bits of a `u64`.
    pub const GROUP: usize = 64;

    /// The order of a log, whose entries stand behind those that they name.
    pub fn of(log: &Log) -> Self {
        let places: BTreeMap<ObjectId, usize> =
            log.entries.iter().enumerate().map(|(at, entry)| (entry.id, at)).collect();
        let previous = log.entries.iter().enumerate().map(|(at, entry)| {
            let named = entry.previous.iter().filter_map(|id| places.get(id).copied());
            named.filter(|place| *place < at).collect()
        });
        Self { previous: previous.collect() }
    }

    /// For each entry the marks of all that it is behind, where entries are marked with bits: pairs of a place and its bits.
    pub fn behind(&self, marks: impl IntoIterator<Item = (usize, u64)>) -> Vec<u64> {
        let mut own = vec![0_u64; self.previous.len()];
        for (place, bits) in marks {
            if let Some(own) = own.get_mut(place) {
                *own |= bits;
            }
        }
        let mut behind: Vec<u64> = Vec::with_capacity(own.len());
        for previous in &self.previous {
            let bits = |place: &usize| behind.get(*place).unwrap_or(&0) | own.get(*place).unwrap_or(&0);
            behind.push(previous.iter().map(bits).fold(0, |all, bits| all | bits));
        }
        behind
    }
}
