//! Which chunks snapshots need: the marks in the catalog.
//!
//! Always true here:
//! - A snapshot whose needs cannot be told keeps everything from being pruned: it is an error, never a snapshot that needs nothing.
//! - A snapshot that was marked stays marked, also when it is forgotten meanwhile: what is taken away is never more than what is free.

use super::catalog::Catalog;
use crate::ids::{ChunkId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::ops::references::{self, Visit};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::reader::ChunkStore;
use crate::repo::snapshots;
use std::collections::{BTreeSet, HashSet};

/// What was marked.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Snapshots that were marked.
    pub snapshots: BTreeSet<ObjectId>,
    /// Parts of reference lists that were walked.
    walked: HashSet<ChunkId>,
    /// Chunks that snapshots need and that are nowhere.
    pub missing: u64,
}

impl Usage {
    /// Marks what the snapshots need that are there now and were not before.
    ///
    /// # Errors
    /// [`OpsError::NeedsUnknown`] where a snapshot or its reference list cannot be read; [`OpsError::Repo`].
    pub(super) fn extend(
        &mut self,
        catalog: &mut Catalog,
        store: &ChunkStore,
        cancel: &Cancel,
    ) -> Result<(), OpsError> {
        let list = snapshots::list(&store.repository)?;
        if let Some((name, error)) = list.damaged.into_iter().next() {
            return Err(OpsError::NeedsUnknown { snapshot: name, source: Box::new(error) });
        }
        for snapshot in list.snapshots {
            cancel.check()?;
            if self.snapshots.contains(&snapshot.id) {
                continue;
            }
            let name = ObjectName::new(ObjectKind::Snapshot, snapshot.id);
            let mut marked = self.mark(catalog, store, &snapshot);
            if marked.as_ref().is_err_and(RepoError::is_damage) {
                // The list may have moved to another pack since the index was brought up to date.
                store.index.sync(&store.repository)?;
                marked = self.mark(catalog, store, &snapshot);
            }
            match marked {
                Ok(()) => _ = self.snapshots.insert(snapshot.id),
                // Forgotten since the listing, and its chunks may be gone as well.
                Err(error) if error.is_damage() && is_gone(store, name) => {}
                Err(error) if error.is_damage() => {
                    return Err(OpsError::NeedsUnknown { snapshot: name, source: Box::new(error) });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn mark(
        &mut self,
        catalog: &mut Catalog,
        store: &ChunkStore,
        snapshot: &snapshots::Snapshot,
    ) -> Result<(), RepoError> {
        let (mut walked, mut missing) = (Vec::new(), 0);
        references::walk::<RepoError>(store, &snapshot.record.references, &mut |visit| match visit {
            Visit::Leaf(id) if self.walked.contains(&id) => Ok(false),
            Visit::Leaf(id) => {
                walked.push(id);
                Ok(true)
            }
            Visit::Chunk(id) => {
                missing += u64::from(!catalog.mark(&id));
                Ok(true)
            }
        })?;
        // Only now: what was walked in part is walked again.
        self.walked.extend(walked);
        self.missing += missing;
        Ok(())
    }
}

fn is_gone(store: &ChunkStore, name: ObjectName) -> bool {
    store.repository.storage().size(name).is_err_and(|error| error.is_not_found())
}
