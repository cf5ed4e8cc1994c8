//! Copy: snapshots into another repository, with that one's keys.
//!
//! Always true here:
//! - Every chunk is opened, and its key derived again from its bytes, before it is sealed for the target: what was copied was verified.
//! - The disk map of a copy is that of the original, record for record, so that both restore to the same bytes. Where both repositories cut
//!   alike, the chunks are the same too; else streams are cut anew, and [`CopyPlan::cuts_anew`] says so.
//! - A copy names its origin, the first one where it was copied before. What is there is not copied again, and chunks that are there are
//!   not stored again: a copy that was killed goes on where it was.
//! - Damage in the source costs the snapshots that it touches; whatever else fails ends the copy. A snapshot is committed when all of it is
//!   durable, as in a backup.

mod pipeline;
mod recut;

use crate::format::snapshot::{Counts, OperatorRecord, PrivateRecord, SnapshotOrigin};
use crate::ids::{ObjectId, RepositoryId};
use crate::ops::backup::commit;
use crate::ops::backup::known::Known;
use crate::ops::backup::store::{self, PackStore};
use crate::ops::monitor::{Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::keyring::Action;
use crate::repo::open::Repository;
use crate::repo::reader::ChunkStore;
use crate::repo::sessions::Session;
use crate::repo::snapshots::{self, Snapshot};
use crate::repo::view::SnapshotDisk;
use pipeline::{Copied as Piped, Memo, Pipeline, Trouble};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What a snapshot is, wherever it was copied to: the repository in which it was made, and its id there.
type Identity = (RepositoryId, ObjectId);

/// What will be copied.
#[derive(Debug)]
pub struct CopyPlan {
    /// Snapshots that will be copied, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Snapshots that are there, with their ids there.
    pub there: Vec<(ObjectId, ObjectId)>,
    /// The target cuts streams in another way: chunks are cut anew.
    pub cuts_anew: bool,
    /// The key of the target cannot see what is there: every snapshot is copied, also those that were copied before.
    pub is_blind: bool,
}

impl CopyPlan {
    /// Says which of the chosen snapshots are to be copied. Nothing is changed.
    ///
    /// # Errors
    /// [`OpsError::Repo`] with [`RepoError::KeyLacks`] for a key that cannot read in the source, or not store in the target;
    /// [`OpsError::CopyIntoItself`].
    pub fn make(source: &Repository, target: &Repository, chosen: Vec<Snapshot>) -> Result<Self, OpsError> {
        source.keys().require(Action::ReadSnapshots)?;
        target.keys().require(Action::Store)?;
        if source.id() == target.id() {
            return Err(OpsError::CopyIntoItself { place: target.storage().place() });
        }
        let (known, is_blind) = match snapshots::list(target) {
            Ok(list) => (list.snapshots, false),
            Err(RepoError::KeyLacks { .. }) => (Vec::new(), true),
            Err(error) => return Err(error.into()),
        };
        let mut known: BTreeMap<Identity, ObjectId> = known
            .iter()
            .flat_map(|snapshot| identities(target.id(), snapshot).map(|name| (name, snapshot.id)))
            .collect();
        let mut plan = Self {
            snapshots: Vec::new(),
            there: Vec::new(),
            cuts_anew: source.config().record.chunking != target.config().record.chunking,
            is_blind,
        };
        for snapshot in chosen {
            let Some(identity) = identities(source.id(), &snapshot).last() else { continue };
            match known.get(&identity) {
                Some(there) => plan.there.push((snapshot.id, *there)),
                None => {
                    known.insert(identity, snapshot.id);
                    plan.snapshots.push(snapshot);
                }
            }
        }
        plan.snapshots.sort_by_key(|snapshot| (snapshot.record.time_ms, snapshot.id));
        Ok(plan)
    }
}

/// What a snapshot is in its own repository, and behind that what it was first.
fn identities(repository: RepositoryId, snapshot: &Snapshot) -> impl Iterator<Item = Identity> {
    let origin = snapshot.record.origin.as_ref();
    let first = origin.map(|origin| (RepositoryId::new(*origin.repository), ObjectId::new(*origin.snapshot)));
    std::iter::once((repository, snapshot.id)).chain(first)
}

/// A snapshot that was copied.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Its id in the source.
    pub source: ObjectId,
    /// Its id in the target.
    pub snapshot: ObjectId,
    /// The stick.
    pub stick: String,
    /// What the target's snapshot says.
    pub counts: Counts,
    /// Packs that were written.
    pub packs_written: u64,
}

/// What a copy did.
#[derive(Debug, Default)]
pub struct CopyReport {
    /// Snapshots that were copied.
    pub copied: Vec<Copied>,
    /// Snapshots that could not be, since the source is damaged, with what is wrong.
    pub failed: Vec<(Snapshot, RepoError)>,
    /// Packs of interrupted runs that were put into the target's index.
    pub packs_adopted: usize,
}

/// Copies what is planned. `committed` hears of each snapshot as soon as it is in the target.
///
/// # Errors
/// [`OpsError::Interrupted`], and [`OpsError::Repo`] for whatever is not damage of the source. What was committed until then stays, and what
/// was stored is used by the next run.
pub fn copy(
    source: &ChunkStore,
    target: &ChunkStore,
    plan: CopyPlan,
    monitor: &dyn Monitor,
    cancel: &Cancel,
    committed: &mut dyn FnMut(&Copied),
) -> Result<CopyReport, OpsError> {
    target.repository.keys().require(Action::Store)?;
    let session = target.running().ok_or(RepoError::NoSession { needs: "stores" })?;
    let mut report = CopyReport { packs_adopted: store::publish_adopted(target, session)?, ..CopyReport::default() };
    let mut memo = Memo::default();
    for snapshot in plan.snapshots {
        cancel.check()?;
        match copy_one(source, (target, session), &snapshot, plan.cuts_anew, (&mut memo, monitor, cancel)) {
            Ok(copied) => {
                committed(&copied);
                report.copied.push(copied);
            }
            Err(Trouble::Source(error)) => {
                monitor.warn(&format!(
                    "snapshot {} cannot be copied: {}",
                    snapshot.id.short(),
                    crate::repo::chain(&error)
                ));
                report.failed.push((snapshot, error));
            }
            Err(Trouble::Other(error)) => return Err(error),
        }
    }
    Ok(report)
}

fn copy_one(
    source: &ChunkStore,
    (target, session): (&ChunkStore, &Arc<Session>),
    snapshot: &Snapshot,
    cuts_anew: bool,
    (memo, monitor, cancel): (&mut Memo, &dyn Monitor, &Cancel),
) -> Result<Copied, Trouble> {
    let began = Instant::now();
    let disk = SnapshotDisk::open(source.clone(), snapshot.clone()).map_err(Trouble::of_source)?;
    monitor.begin(Phase::Copy, Some(disk.map().kept()));
    let known = Known::new(target.index.clone(), Arc::clone(session));
    let (mut packs, writer) = PackStore::new(target, &known);
    let pipeline = Pipeline { disk: &disk, target, known: &known, memo: &*memo, monitor, cancel };
    let piped = std::thread::scope(|scope| {
        scope.spawn(move || store::write_packs(target, &writer));
        let piped = pipeline.run(&mut packs, cuts_anew);
        let finished = match &piped {
            // What was stored until the source failed, or somebody stopped us, is worth keeping.
            Ok(_) | Err(Trouble::Source(_) | Trouble::Other(OpsError::Interrupted)) => packs.finish(),
            Err(Trouble::Other(_)) => Ok(()),
        };
        packs.hang_up();
        finished.map_err(Trouble::Other).and(piped)
    })?;
    cancel.check().map_err(Trouble::Other)?;
    let Piped { counts: new, roots, stored } = piped;
    memo.remember(stored);
    let counts = Counts {
        bytes_new: new.bytes_new,
        bytes_stored: packs.bytes_stored,
        chunks: new.chunks,
        chunks_new: new.chunks_new,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..snapshot.record.counts
    };
    let origin = snapshot.record.origin.clone().unwrap_or_else(|| SnapshotOrigin {
        repository: (*source.repository.id().as_bytes()).into(),
        snapshot: (*snapshot.id.as_bytes()).into(),
        key: (*snapshot.maker.key.as_bytes()).into(),
        label: snapshot.maker.label.clone(),
    });
    let operator =
        OperatorRecord { references: roots.references, counts, origin: Some(origin), ..snapshot.record.clone() };
    let private = PrivateRecord {
        data: roots.data,
        map: roots.map,
        disk: disk.private().disk.clone(),
        operator,
        maker: target.repository.keys().certificate_bytes().to_vec().into(),
    };
    let id = commit::commit(target, session, &private).map_err(Trouble::Other)?;
    let stick = snapshot.record.stick.clone();
    Ok(Copied { source: snapshot.id, snapshot: id, stick, counts, packs_written: packs.packs_written })
}
