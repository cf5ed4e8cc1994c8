//! A bounded cache of open files, so that reading chunk after chunk does not open their pack each time.
//!
//! Always true here:
//! - At most [`CAPACITY`] files stay open in the cache; a read that is under way may hold one more.
//! - After [`OpenFiles::evict`] returned, the cache has no file of that name that was opened before.
//! - No file is opened, read or closed while the cache is locked: a slow medium holds up nobody who finds a file here.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::names::ObjectName;

/// How many files stay open.
const CAPACITY: usize = 64;

/// An object's file and the size that it had when it was opened; objects never change.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// The file, open for reading.
    pub(super) file: File,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// The cache.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Each file and when it was last asked for.
    files: HashMap<ObjectName, (Arc<OpenFile>, u64)>,
    /// Counts the lookups.
    now: u64,
    /// Counts the evictions: what was opened before the last one is not kept.
    evictions: u64,
}

impl OpenFiles {
    /// The object's file, from the cache or as `open` opens it.
    ///
    /// # Errors
    /// What `open` says.
    pub(super) fn get_or_open<E>(
        &self,
        name: ObjectName,
        open: impl FnOnce() -> Result<OpenFile, E>,
    ) -> Result<Arc<OpenFile>, E> {
        let evictions = {
            let mut state = self.state();
            state.now += 1;
            let now = state.now;
            if let Some((file, last_used)) = state.files.get_mut(&name) {
                *last_used = now;
                return Ok(Arc::clone(file));
            }
            state.evictions
        };
        let opened = Arc::new(open()?);
        let closed = {
            let mut state = self.state();
            // An eviction since then may have meant this very file.
            if state.evictions != evictions {
                return Ok(opened);
            }
            let oldest = (state.files.len() >= CAPACITY && !state.files.contains_key(&name))
                .then(|| state.files.iter().min_by_key(|(_, (_, last_used))| *last_used).map(|(name, _)| *name))
                .flatten();
            let closed = oldest.and_then(|oldest| state.files.remove(&oldest));
            let now = state.now;
            state.files.insert(name, (Arc::clone(&opened), now));
            closed
        };
        // Closed only here, where nobody waits for the lock.
        drop(closed);
        Ok(opened)
    }

    /// Forgets the object's file, and whatever is being opened.
    pub(super) fn evict(&self, name: ObjectName) {
        let closed = {
            let mut state = self.state();
            state.evictions += 1;
            state.files.remove(&name)
        };
        drop(closed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that could panic, so a poisoned lock is as good as another.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ObjectId;

    fn name(number: u8) -> ObjectName {
        ObjectName::pack(ObjectId::new([number; 32]))
    }

    fn opened() -> Result<OpenFile, std::io::Error> {
        Ok(OpenFile { file: tempfile::tempfile()?, size: 0 })
    }

    fn must_be_cached() -> Result<OpenFile, std::io::Error> {
        panic!("this file was to be in the cache")
    }

    #[test]
    fn the_file_that_was_not_used_for_longest_is_closed() {
        let files = OpenFiles::default();
        for number in 0..64 {
            files.get_or_open(name(number), opened).expect("opening");
        }
        files.get_or_open(name(0), must_be_cached).expect("cached");
        files.get_or_open(name(64), opened).expect("opening");
        assert_eq!(files.state().files.len(), CAPACITY);
        assert!(!files.state().files.contains_key(&name(1)));
        files.get_or_open(name(0), must_be_cached).expect("cached");
    }

    #[test]
    fn an_eviction_while_a_file_is_opened_keeps_it_out_of_the_cache() {
        let files = OpenFiles::default();
        files
            .get_or_open(name(1), || {
                files.evict(name(1));
                opened()
            })
            .expect("opening");
        assert!(files.state().files.is_empty());
    }
}
