//! Files and folders that clients have open.
//!
//! Always true here:
//! - A number is never given twice. Number 0 is nobody's.
//! - What is open is there until it is closed; the kernel closes all that it opened, and a process has only so many files open.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
struct Open<T> {
    things: HashMap<u64, T>,
    last: u64,
}

/// What is open, by number.
#[derive(Debug)]
pub(super) struct Handles<T>(Mutex<Open<T>>);

impl<T: Clone> Handles<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Open { things: HashMap::new(), last: 0 }))
    }

    /// The number of something that is opened now.
    pub(super) fn open(&self, thing: T) -> u64 {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.last += 1;
        let number = open.last;
        open.things.insert(number, thing);
        number
    }

    /// What has this number.
    pub(super) fn get(&self, number: u64) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).things.get(&number).cloned()
    }

    /// Closes what has this number.
    pub(super) fn close(&self, number: u64) {
        let closed = self.0.lock().unwrap_or_else(PoisonError::into_inner).things.remove(&number);
        // Closing a disk may take long; it is done without the lock.
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_one_thing_until_it_is_closed() {
        let handles = Handles::new();
        let (one, two) = (handles.open("one"), handles.open("two"));
        assert_eq!((handles.get(one), handles.get(two), handles.get(0)), (Some("one"), Some("two"), None));
        handles.close(one);
        handles.close(one);
        assert_eq!((handles.get(one), handles.get(two)), (None, Some("two")));
        assert!(handles.open("three") > two);
    }
}
