//! What the log says of keys: which were taken away, and in which bundle each of the others is.
//!
//! Always true here: an admin's word counts for every key, and a key's own word for itself; nobody else's does.

use super::{Entry, Log};
use crate::format::audit::EntryKind;
use crate::format::certificate::Role;
use crate::ids::{KeyId, ObjectId};
use std::collections::{BTreeMap, BTreeSet};

/// What the log says of keys.
#[derive(Debug, Default)]
pub struct KeyHistory {
    /// Keys that an admin took away, each with the snapshots that it had made until then.
    pub revoked: BTreeMap<KeyId, BTreeSet<ObjectId>>,
    /// The bundle that each key is in, as the last entry that tells of it says.
    pub current: BTreeMap<KeyId, ObjectId>,
}

/// What a bundle is, by what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The one that its key is in, or one of which the log says nothing.
    Current,
    /// Another one of a key that is in this bundle.
    Replaced(ObjectId),
    /// One of a key that was taken away.
    Revoked,
}

impl KeyHistory {
    /// Reads it out of the log; nothing where the records cannot be read.
    pub fn of(log: &Log) -> Self {
        let mut history = Self::default();
        for entry in &log.entries {
            history.add(entry);
        }
        history
    }

    fn add(&mut self, entry: &Entry) {
        let (Some(record), Some(maker)) = (&entry.record, &entry.maker) else { return };
        let Some(key) = record.key.as_ref().map(|key| KeyId::new(**key)) else { return };
        let is_admin = maker.role == Role::Admin;
        if is_admin && entry.kind == EntryKind::KeyRevoke {
            self.revoked.entry(key).or_default().extend(&entry.subjects);
        }
        if let Some(bundle) = record.bundle.as_ref().filter(|_| is_admin || entry.key == key) {
            self.current.insert(key, ObjectId::new(**bundle));
        }
    }

    /// What a bundle of this key is.
    pub fn standing(&self, key: &KeyId, bundle: Option<ObjectId>) -> Standing {
        match self.current.get(key) {
            _ if self.revoked.contains_key(key) => Standing::Revoked,
            Some(current) if Some(*current) != bundle => Standing::Replaced(*current),
            _ => Standing::Current,
        }
    }
}
