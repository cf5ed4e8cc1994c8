//! Chunks in memory, for readers that jump about: what was opened once is not fetched, opened and proven again.
//!
//! Always true here:
//! - The chunks take at most as many bytes as the cache was made for, or are one alone.
//! - A chunk that several threads ask for is loaded by one of them; when that one fails, the next one tries for itself.
//! - Only bytes that were verified get in, since only readers of chunks put them there.

use super::RepoError;
use crate::ids::ChunkId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that a cache holds where nobody says otherwise.
pub const DEFAULT_BUDGET: usize = 128 << 20;

/// Opened chunks, those that were used last. All readers of a process share one.
#[derive(Debug)]
pub struct ChunkCache {
    state: Mutex<State>,
    arrived: Condvar,
    budget: usize,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<ChunkId, Slot>,
    /// Loaded chunks by when they were last used.
    order: BTreeMap<u64, ChunkId>,
    clock: u64,
    bytes: usize,
}

#[derive(Debug)]
enum Slot {
    Loading,
    Loaded { bytes: Arc<Vec<u8>>, used: u64 },
}

impl ChunkCache {
    /// An empty cache of at most so many bytes.
    pub fn new(budget: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), budget }
    }

    /// The chunk, from memory or by `load`.
    ///
    /// # Errors
    /// What `load` returns.
    pub fn get(
        &self,
        id: ChunkId,
        load: impl FnOnce() -> Result<Vec<u8>, RepoError>,
    ) -> Result<Arc<Vec<u8>>, RepoError> {
        let mut state = self.lock();
        loop {
            match state.slots.get(&id) {
                Some(Slot::Loaded { bytes, .. }) => {
                    let bytes = Arc::clone(bytes);
                    state.touch(id);
                    return Ok(bytes);
                }
                Some(Slot::Loading) => state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                None => break,
            }
        }
        state.slots.insert(id, Slot::Loading);
        drop(state);
        let mut loading = Loading { cache: self, id, loaded: None };
        let bytes = Arc::new(load()?);
        loading.loaded = Some(Arc::clone(&bytes));
        Ok(bytes)
    }

    /// Whether the chunk is there, or on its way.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.lock().slots.contains_key(id)
    }

    /// Bytes of the chunks that are there.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chunk on its way. However the loading ends, nobody waits for it for ever.
struct Loading<'a> {
    cache: &'a ChunkCache,
    id: ChunkId,
    loaded: Option<Arc<Vec<u8>>>,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.slots.remove(&self.id);
        if let Some(bytes) = self.loaded.take() {
            state.put(self.id, bytes, self.cache.budget);
        }
        self.cache.arrived.notify_all();
    }
}

impl State {
    fn touch(&mut self, id: ChunkId) {
        self.clock += 1;
        if let Some(Slot::Loaded { used, .. }) = self.slots.get_mut(&id) {
            self.order.remove(used);
            *used = self.clock;
            self.order.insert(self.clock, id);
        }
    }

    fn put(&mut self, id: ChunkId, bytes: Arc<Vec<u8>>, budget: usize) {
        self.bytes += bytes.len();
        while self.bytes > budget
            && let Some((_, oldest)) = self.order.pop_first()
        {
            if let Some(Slot::Loaded { bytes, .. }) = self.slots.remove(&oldest) {
                self.bytes -= bytes.len();
            }
        }
        self.clock += 1;
        self.order.insert(self.clock, id);
        self.slots.insert(id, Slot::Loaded { bytes, used: self.clock });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn id(number: u8) -> ChunkId {
        ChunkId::new([number; 32])
    }

    fn failed() -> RepoError {
        RepoError::ChunkMissing { id: id(0), pack: None }
    }

    fn put(cache: &ChunkCache, number: u8, length: usize) {
        let bytes = cache.get(id(number), || Ok(vec![number; length])).expect("loaded");
        assert_eq!(*bytes, vec![number; length]);
    }

    #[test]
    fn what_was_used_last_stays_within_the_budget() {
        let cache = ChunkCache::new(100);
        put(&cache, 1, 40);
        put(&cache, 2, 40);
        cache.get(id(1), || panic!("it is there")).expect("there");
        put(&cache, 3, 40);
        assert!(cache.contains(&id(1)) && !cache.contains(&id(2)) && cache.contains(&id(3)));
        assert_eq!(cache.bytes(), 80);
        put(&cache, 4, 500);
        assert!(cache.contains(&id(4)) && cache.bytes() == 500, "one alone may be larger");
        put(&cache, 5, 1);
        assert_eq!(cache.bytes(), 1);
    }

    #[test]
    fn a_failure_is_not_kept_and_a_panic_leaves_no_one_waiting() {
        let cache = ChunkCache::new(100);
        cache.get(id(1), || Err(failed())).expect_err("as it was told");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache.get(id(1), || panic!("lost"))));
        assert!(panicked.is_err() && !cache.contains(&id(1)));
        put(&cache, 1, 10);
    }

    #[test]
    fn threads_that_ask_at_once_load_once() {
        let (cache, loads, start) = (ChunkCache::new(100), AtomicU32::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    for number in 0..8 {
                        cache
                            .get(id(number), || {
                                loads.fetch_add(1, Ordering::Relaxed);
                                Ok(vec![number; 10])
                            })
                            .expect("loaded");
                    }
                });
            }
        });
        assert_eq!(loads.into_inner(), 8);
    }
}
