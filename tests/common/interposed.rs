//! A storage at which another process does something at a moment that the test chooses.
//!
//! Always true here: what happens is done by the thread that met the moment, to its end, each deed once and in the order they were given.

use sheaf::names::{AsideName, ObjectKind, ObjectName};
use sheaf::storage::sim::SimStorage;
use sheaf::storage::{Listed, Put, Storage, StorageError};
use std::collections::VecDeque;
use std::sync::Mutex;

/// What another process does at the chosen moment.
pub(crate) type Deed = Box<dyn FnOnce() + Send>;

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Just after this kind was listed.
    Listed(ObjectKind),
    /// Just after one of this kind was stored.
    Stored(ObjectKind),
}

/// A storage at which something happens behind this process's back, at a moment; some objects came too late for any listing.
pub(crate) struct Interposed {
    inner: SimStorage,
    moment: Moment,
    deeds: Mutex<VecDeque<Deed>>,
    unlisted: Vec<ObjectName>,
}

impl std::fmt::Debug for Interposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interposed").field("moment", &self.moment).finish_non_exhaustive()
    }
}

impl Interposed {
    /// A storage at which something happens at a moment, and another process's after that.
    pub(crate) fn new(medium: &SimStorage, moment: Moment, deed: impl FnOnce() + Send + 'static) -> Self {
        Self::of(medium.another_process(), moment, deed)
    }

    /// The same for a process that the test has a hand on.
    pub(crate) fn of(process: SimStorage, moment: Moment, deed: impl FnOnce() + Send + 'static) -> Self {
        let deeds = Mutex::new(VecDeque::from([Box::new(deed) as Deed]));
        Self { inner: process, moment, deeds, unlisted: Vec::new() }
    }

    /// What happens at the next such moment.
    pub(crate) fn then(mut self, deed: impl FnOnce() + Send + 'static) -> Self {
        self.deeds.get_mut().expect("no panic before").push_back(Box::new(deed));
        self
    }

    /// A storage where these objects came too late for any listing.
    pub(crate) fn listing_without(medium: &SimStorage, unlisted: Vec<ObjectName>) -> Self {
        Self { unlisted, ..Self::new(medium, Moment::Listed(ObjectKind::Audit), || {}) }
    }

    fn meet(&self, moment: Moment) {
        if moment == self.moment {
            let deed = self.deeds.lock().expect("no panic before").pop_front();
            deed.into_iter().for_each(|deed| deed());
        }
    }
}

impl Storage for Interposed {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let put = self.inner.put(name, parts);
        self.meet(Moment::Stored(name.kind()));
        put
    }

    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.get(name, limit)
    }

    fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.inner.get_range(name, start, buffer)
    }

    fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
        self.inner.size(name)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<Listed>, StorageError> {
        let mut listed = self.inner.list(kind)?;
        listed.retain(|listed| !self.unlisted.contains(&listed.name));
        self.meet(Moment::Listed(kind));
        Ok(listed)
    }

    fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        self.inner.delete(name)
    }

    fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
        self.inner.set_aside(name)
    }

    fn list_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError> {
        self.inner.list_aside()
    }

    fn delete_aside(&self, name: AsideName) -> Result<(), StorageError> {
        self.inner.delete_aside(name)
    }
}
