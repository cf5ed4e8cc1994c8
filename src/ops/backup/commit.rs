//! The commit point: the snapshot becomes visible, and everything that it needs is there.
//!
//! Always true here:
//! - Every pack that the snapshot needs is listed by a segment: processes of one machine share an index, in which one may find what another
//!   has stored and not listed yet, and may never list if it dies.
//! - Nothing is committed by a session that somebody took for dead, if that can be known before.
//! - What became known only behind the commit is made good: either everything is there all the same, or the snapshot goes again.

use super::store;
use crate::format::snapshot::PrivateRecord;
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use crate::ops::OpsError;
use crate::ops::references::{self, Visit};
use crate::repo::RepoError;
use crate::repo::reader::ChunkStore;
use crate::repo::retired::{self, Condemned};
use crate::repo::sessions::Session;
use crate::repo::snapshots;

/// Stores the snapshot.
///
/// # Errors
/// [`RepoError`], among them [`RepoError::SessionLost`]; then there is no snapshot, unless storage failed as well.
pub(in crate::ops) fn commit(
    store: &ChunkStore,
    session: &Session,
    private: &PrivateRecord,
) -> Result<ObjectId, OpsError> {
    store::publish_adopted(store, session)?;
    session.ensure_live()?;
    let id = snapshots::commit(&store.repository, private)?;
    // A prune that found the lease gone has looked at the snapshots since: it saw this one, unless the lease went before it came.
    let Err(lost) = session.ensure_live() else { return Ok(id) };
    if !matches!(lost, RepoError::SessionLost { .. }) || !is_complete(store, private)? {
        store.repository.storage().delete(ObjectName::new(ObjectKind::Snapshot, id)).map_err(RepoError::from)?;
        return Err(lost.into());
    }
    Ok(id)
}

/// True when every chunk that the snapshot needs is in a pack that is there now and that nothing condemns: nobody waits for this session any
/// more, so that what is condemned may go at any moment. What is condemned later is looked through with this snapshot in sight.
fn is_complete(store: &ChunkStore, private: &PrivateRecord) -> Result<bool, OpsError> {
    let condemned = Condemned::of(retired::list(&store.repository)?.retirements);
    store.index.sync(&store.repository)?;
    let index = store.index.reader()?;
    let mut complete = true;
    let walked = references::walk::<RepoError>(store, &private.operator.references, &mut |visit| {
        if let Visit::Chunk(id) = visit {
            complete &= index.contains_outside(&id, condemned.packs())?;
        }
        Ok(complete)
    });
    match walked {
        Ok(()) => Ok(complete),
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
