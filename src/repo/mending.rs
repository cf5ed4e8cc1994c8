//! Packs that are damaged, mended in memory from their parity while somebody reads.
//!
//! Always true here:
//! - Nothing is written: to mend for good is a repair's work.
//! - What is given out is not trusted: a chunk vouches for itself when it is opened. So what could be saved of a pack is of use also where
//!   parity does not mend all of it.
//! - A pack that is read so is told of once.

use super::open::Repository;
use super::parity::{self, Teller};
use crate::disk::PackOffset;
use crate::ids::ObjectId;
use crate::names::ObjectName;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Packs that are kept in memory, of the repository's pack size each (64 MiB, unless it was made with another).
const MOST: usize = 2;

/// What was mended for those who read from one store.
pub(super) struct Mending {
    tell: Teller,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What could be saved of packs, the one that was asked for last at the end.
    packs: VecDeque<(ObjectId, Vec<u8>)>,
    /// Packs that were told of.
    told: BTreeSet<ObjectId>,
    /// Packs that have no parity, or none of use, or no need of it.
    hopeless: BTreeSet<ObjectId>,
}

impl std::fmt::Debug for Mending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mending").finish_non_exhaustive()
    }
}

impl Mending {
    pub(super) fn new(tell: Teller) -> Self {
        Self { tell, state: Mutex::default() }
    }

    /// Fills the buffer with bytes of a pack as its parity mends it; false where there are none.
    pub(super) fn read(&self, repository: &Repository, pack: ObjectId, offset: PackOffset, buffer: &mut [u8]) -> bool {
        // Whoever wants the same pack waits until it is mended.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = state.packs.iter().position(|(id, _)| *id == pack) {
            let kept = state.packs.remove(at);
            state.packs.extend(kept);
        } else if state.hopeless.contains(&pack) {
            return false;
        } else {
            let name = ObjectName::pack(pack);
            let saved = match parity::salvage(&**repository.storage(), name) {
                Ok(saved) => saved,
                Err(error) => {
                    // A network that is down may come back.
                    if error.is_damage() {
                        state.hopeless.insert(pack);
                    }
                    return false;
                }
            };
            if saved.damaged.is_empty() {
                // It is what was stored: what does not open now was not read right, or stored so. Once is enough to tell.
                state.hopeless.insert(pack);
            } else if state.told.insert(pack) {
                let is_all = saved.lost.is_empty();
                let part =
                    || format!("{name} is damaged, and its parity does not mend all of it; what is left is read");
                (self.tell)(&if is_all { parity::told(name) } else { part() });
            }
            while state.packs.len() >= MOST {
                state.packs.pop_front();
            }
            state.packs.push_back((pack, saved.bytes));
        }
        let bytes = state.packs.back().and_then(|(_, bytes)| {
            let start = usize::try_from(offset.0).ok()?;
            bytes.get(start..start.checked_add(buffer.len())?)
        });
        bytes.is_some_and(|bytes| {
            buffer.copy_from_slice(bytes);
            true
        })
    }
}
