//! Storage whose objects are mended in memory where they are damaged, for those who read.
//!
//! Always true here:
//! - Nothing is written that nobody asked for: to mend for good is a repair's work.
//! - What is mended is what the object's name says; the config, which has no such name, is what its parity says. An object that is not there is not there, whatever parity there is of it: it may have
//!   been deleted.
//! - Ranges are given as they are: whoever reads a part of an object has a proof for that part, or none for any.
//! - An object that is read so is told of once.

use super::{is_whole, mend};
use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::storage::{Listed, Put, Storage, StorageError, delegate};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Is told a line for people.
pub type Teller = Arc<dyn Fn(&str) + Send + Sync>;

/// Storage that mends whole objects as they are read.
pub struct MendingStorage {
    below: Arc<dyn Storage>,
    tell: Teller,
    told: Mutex<BTreeSet<ObjectName>>,
}

impl std::fmt::Debug for MendingStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MendingStorage").field("below", &self.below).finish_non_exhaustive()
    }
}

impl MendingStorage {
    /// What is on this storage, mended as far as its parity goes.
    pub fn new(below: Arc<dyn Storage>, tell: Teller) -> Self {
        Self { below, tell, told: Mutex::default() }
    }
}

impl Storage for MendingStorage {
    delegate!(below: place, put, get_range, size, list, delete, set_aside, replace, list_aside, delete_aside);

    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
        let read = self.below.get(name, limit);
        let may_be_mended = match &read {
            Ok(bytes) => !is_whole(name, bytes),
            Err(StorageError::Range { .. } | StorageError::TooLarge { .. }) => true,
            Err(error) => error.is_unreadable(),
        };
        if !may_be_mended || name.parity().is_none() {
            return read;
        }
        match mend(&*self.below, name) {
            Ok(bytes) if bytes.len() as u64 <= limit => {
                if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
                    (self.tell)(&told(name));
                }
                Ok(bytes)
            }
            _ => read,
        }
    }
}

/// What people are told of an object that is read as parity mends it.
pub(in crate::repo) fn told(name: ObjectName) -> String {
    format!("{name} is damaged, and is read as its parity mends it; `sheaf repair` mends it for good")
}
