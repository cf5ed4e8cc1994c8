//! Things that are costly to make, a bounded weight of which is kept.
//!
//! Always true here:
//! - What is kept weighs no more than the bound, but for the newest, which is kept however heavy it is.
//! - Several threads that want the same thing make it once; those that want another one do not wait for it. A failure is not kept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

#[derive(Debug)]
struct Kept<V> {
    slot: Slot<V>,
    /// 0 until it is made.
    weight: u64,
    /// When it was last asked for, in steps of [`Shelves::now`].
    used: u64,
}

#[derive(Debug)]
struct Shelves<K, V> {
    kept: HashMap<K, Kept<V>>,
    weight: u64,
    now: u64,
}

/// A cache that throws out what was not asked for the longest.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    shelves: Mutex<Shelves<K, V>>,
    bound: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// A cache of things that weigh no more than `bound` together.
    pub(super) fn new(bound: u64) -> Self {
        Self { shelves: Mutex::new(Shelves { kept: HashMap::new(), weight: 0, now: 0 }), bound }
    }

    /// The thing of this key, made where it is not kept; `make` says what it weighs, too.
    ///
    /// # Errors
    /// What `make` says.
    pub(super) fn get<E>(&self, key: &K, make: impl FnOnce() -> Result<(V, u64), E>) -> Result<Arc<V>, E> {
        let slot = self.slot(key);
        // A thread that panicked while it made the thing has left nothing in the slot.
        let mut made = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = &*made {
            return Ok(Arc::clone(thing));
        }
        match make() {
            Ok((thing, weight)) => {
                let thing = Arc::new(thing);
                *made = Some(Arc::clone(&thing));
                self.weigh(key, &slot, weight);
                Ok(thing)
            }
            Err(error) => {
                self.give_up(key, &slot);
                Err(error)
            }
        }
    }

    fn slot(&self, key: &K) -> Slot<V> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.now += 1;
        let now = shelves.now;
        let new = || Kept { slot: Slot::default(), weight: 0, used: 0 };
        let kept = shelves.kept.entry(key.clone()).or_insert_with(new);
        kept.used = now;
        Arc::clone(&kept.slot)
    }

    /// Counts a thing that was just made, and throws out others.
    fn weigh(&self, key: &K, slot: &Slot<V>, weight: u64) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let shelves = &mut *shelves;
        let Some(kept) = shelves.kept.get_mut(key).filter(|kept| Arc::ptr_eq(&kept.slot, slot)) else { return };
        kept.weight = weight.max(1);
        shelves.weight = shelves.weight.saturating_add(kept.weight);
        if shelves.weight <= self.bound {
            return;
        }
        // A quarter of the bound is made free at once, so that a walk over many small things does not look for the oldest each time.
        let others = shelves.kept.iter().filter(|(other, kept)| *other != key && kept.weight > 0);
        let mut by_age: Vec<(u64, K)> = others.map(|(key, kept)| (kept.used, key.clone())).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, oldest) in by_age {
            if shelves.weight <= self.bound - self.bound / 4 {
                break;
            }
            if let Some(kept) = shelves.kept.remove(&oldest) {
                shelves.weight = shelves.weight.saturating_sub(kept.weight);
            }
        }
    }

    /// Takes out the slot of a thing that could not be made.
    fn give_up(&self, key: &K, slot: &Slot<V>) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if shelves.kept.get(key).is_some_and(|kept| Arc::ptr_eq(&kept.slot, slot) && kept.weight == 0) {
            shelves.kept.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn make(value: u32, weight: u64) -> impl FnOnce() -> Result<(u32, u64), ()> {
        move || Ok((value, weight))
    }

    fn kept(cache: &Cache<u32, u32>) -> Vec<u32> {
        let shelves = cache.shelves.lock().unwrap();
        let mut keys: Vec<u32> = shelves.kept.keys().copied().collect();
        keys.sort_unstable();
        assert_eq!(shelves.weight, shelves.kept.values().map(|kept| kept.weight).sum::<u64>());
        keys
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let cache = Cache::new(10);
        cache.get(&1, make(1, 4)).unwrap();
        cache.get(&2, make(2, 4)).unwrap();
        cache.get(&1, make(99, 1)).unwrap();
        cache.get(&3, make(3, 4)).unwrap();
        assert_eq!(kept(&cache), [1, 3]);
        assert_eq!(cache.get(&1, make(99, 1)), Ok(Arc::new(1)));
        cache.get(&4, make(4, 1000)).unwrap();
        assert_eq!(kept(&cache), [4]);
        assert_eq!(cache.get(&4, make(99, 1)), Ok(Arc::new(4)));
        cache.get(&5, make(5, 0)).unwrap();
        assert_eq!(kept(&cache), [5]);
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache: Cache<u32, u32> = Cache::new(10);
        assert_eq!(cache.get(&1, || Err("no")), Err("no"));
        assert_eq!(kept(&cache), [0_u32; 0]);
        assert_eq!(cache.get(&1, || Ok::<_, &str>((5, 1))), Ok(Arc::new(5)));
    }

    #[test]
    fn a_thing_that_several_threads_want_is_made_once() {
        let cache = Cache::new(10);
        let count = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let made = cache.get(&1, || Ok::<_, ()>((count.fetch_add(1, Ordering::Relaxed), 1)));
                    assert_eq!(made, Ok(Arc::new(0)));
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }
}
