//! Prune: what no snapshot needs goes, in two steps, beside whoever backs up, restores or prunes at the same time.
//!
//! Always true here:
//! - The first step condemns: a retirement names the packs, and every session that begins from then on counts their chunks as absent.
//!   The second step deletes, when all sessions that began before have ended, and a second look finds no snapshot that needs
//!   them. No step compares the clocks of two machines.
//! - It can be cut off at any point and begun again: what is there is then sound, and a retirement that stayed is settled by the next prune.
//! - Deleting needs the room of a lease and of a retirement. What needs more, writing packs and the index anew, comes behind it, and takes
//!   no more at a time than there is.

pub mod canary;
mod catalog;
mod merge;
mod plan;
mod repack;
mod settle;
mod usage;

pub use plan::{MaxUnused, PruneOptions, PrunePlan, Sum};

use crate::format::retired::Retirement;
use crate::format::session::SessionKind;
use crate::ids::ObjectId;
use crate::names::ObjectName;
use crate::ops::monitor::{Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::keyring::Action;
use crate::repo::reader::ChunkStore;
use crate::repo::retired;
use crate::repo::sessions::{Belongings, Listed, Session, Watch};
use canary::{Canary, is_left_out};
use catalog::Catalog;
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use usage::Usage;

/// What a prune needs of the machine that it runs on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where this machine knows its sessions, see [`crate::repo::sessions::folder`]; `None` for a machine that remembers nothing.
    pub sessions: Option<PathBuf>,
    /// This machine's clock, in milliseconds since 1970-01-01 UTC: how long a lease has not changed is counted by it.
    pub now_ms: fn() -> i64,
}

/// What a prune did.
#[derive(Debug, Default)]
pub struct PruneReport {
    /// Packs that were deleted.
    pub deleted: Sum,
    /// Packs that were written anew without what nobody needs.
    pub repacked: Sum,
    /// Packs that were written for that.
    pub written: Sum,
    /// Packs that were condemned and that somebody needs after all: what is needed in them was written anew.
    pub rescued: usize,
    /// Packs that are condemned and wait.
    pub waiting: Sum,
    /// Sessions that they wait for.
    pub waiting_for: Vec<Listed>,
    /// Index segments that others replace now.
    pub segments_merged: usize,
    /// Index segments that were written.
    pub segments_written: usize,
    /// Index segments that were deleted.
    pub segments_deleted: usize,
    /// Packs that were to be written anew, are damaged, and stay.
    pub damaged: Vec<(ObjectName, RepoError)>,
    /// What kept the prune from doing the rest, where only room was missing.
    pub stopped: Option<RepoError>,
}

/// A prune that is planned.
pub struct Prune<'a> {
    store: &'a ChunkStore,
    session: Arc<Session>,
    surroundings: Surroundings,
    monitor: &'a dyn Monitor,
    cancel: &'a Cancel,
    catalog: Catalog,
    usage: Usage,
    watch: Watch,
    plan: PrunePlan,
    /// True where another session stored when the plan was made.
    others_write: bool,
    /// Packs that were condemned when the plan was made.
    condemned: HashSet<ObjectId>,
    /// Retirements of this prune.
    own: BTreeSet<ObjectId>,
    /// Retirements of which nothing is left but themselves.
    settled: BTreeSet<ObjectId>,
}

impl std::fmt::Debug for Prune<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prune").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<'a> Prune<'a> {
    /// Looks at everything that is there, and plans. Nothing is changed but that sessions that are dead are ended.
    ///
    /// # Errors
    /// [`OpsError::NeedsUnknown`] where a snapshot does not say what it needs; [`OpsError::Repo`] for a key that may not
    /// prune, a store without a session, and storage that fails; [`OpsError::Interrupted`].
    pub fn plan(
        store: &'a ChunkStore,
        options: PruneOptions,
        surroundings: Surroundings,
        monitor: &'a dyn Monitor,
        cancel: &'a Cancel,
    ) -> Result<Self, OpsError> {
        store.repository.keys().require(Action::Prune)?;
        let session = Arc::clone(store.running().ok_or(RepoError::NoSession { needs: "prunes" })?);
        monitor.begin(Phase::Index, None);
        let catalog = Catalog::load(&store.repository, cancel)?;
        let watch = surroundings.sessions.as_deref().map(Watch::load).unwrap_or_default();
        let mut prune = Self {
            store,
            session,
            surroundings,
            monitor,
            cancel,
            catalog,
            usage: Usage::default(),
            watch,
            plan: PrunePlan::default(),
            others_write: false,
            condemned: HashSet::new(),
            own: BTreeSet::new(),
            settled: BTreeSet::new(),
        };
        monitor.begin(Phase::CheckStructure, None);
        prune.usage.extend(&mut prune.catalog, store, cancel)?;
        prune.condemned = catalog::condemned_packs(&store.repository)?;
        let others = prune.other_sessions()?;
        prune.others_write = others.iter().any(|session| session.kind != Some(SessionKind::Reads));
        let writers = prune.packs_of_writers(&others);
        let situation = plan::Situation {
            condemned: &prune.condemned,
            writers: &writers,
            missing_chunks: prune.usage.missing,
            others_write: prune.others_write,
            pack_size: store.repository.config().record.pack_size,
        };
        prune.plan = plan::plan(&prune.catalog, &situation, options);
        prune.plan.snapshots = prune.usage.snapshots.len();
        Ok(prune)
    }

    /// Packs that a writer which runs now may have listed. To condemn them would be safe, and they would be written anew when it commits.
    fn packs_of_writers(&self, others: &[Listed]) -> HashSet<ObjectId> {
        let folder = self.surroundings.sessions.as_deref();
        let mut belongings = folder.map(Belongings::load).unwrap_or_default();
        belongings.look(&self.catalog.segments.iter().map(|segment| segment.id).collect(), others);
        if let Some(folder) = folder {
            // A machine that cannot remember takes less each time.
            _ = belongings.save(folder);
        }
        // Any choice must be safe. A simulator makes the one from which more follows: everything that seems to be needed by nobody goes.
        if cfg!(feature = "simulator") {
            return HashSet::new();
        }
        let is_writers = |segment: &&catalog::Segment| belongings.may_be_a_writers(&segment.id);
        let (writers, free): (Vec<_>, Vec<_>) = self.catalog.segments.iter().partition(is_writers);
        let free: HashSet<&ObjectId> = free.into_iter().flat_map(|segment| &segment.packs).collect();
        writers.into_iter().flat_map(|segment| &segment.packs).filter(|pack| !free.contains(pack)).copied().collect()
    }

    /// What will be done.
    pub const fn planned(&self) -> &PrunePlan {
        &self.plan
    }

    /// Does it.
    ///
    /// # Errors
    /// [`OpsError::Repo`], [`OpsError::NeedsUnknown`], [`OpsError::Interrupted`]. Whatever the error: the repository is sound, and the next
    /// prune goes on. Where only room is missing for the rest, that is in the report and no error.
    pub fn apply(mut self) -> Result<PruneReport, OpsError> {
        let mut report = PruneReport::default();
        self.monitor.begin(Phase::Prune, Some(self.plan.repack.bytes));
        // What was condemned before first: that gives room.
        self.settle(&mut report)?;
        self.condemn(self.plan.delete_packs.clone(), Vec::new())?;
        self.settle(&mut report)?;
        let rest = self.rewrite(&mut report);
        match rest {
            Err(OpsError::Repo(error)) if is_full(&error) => report.stopped = Some(error),
            rest => rest?,
        }
        let condemned = catalog::condemned_packs(&self.store.repository)?;
        let there = catalog::packs_on_storage(&self.store.repository)?;
        condemned.iter().filter_map(|pack| there.get(pack)).for_each(|size| report.waiting.add(*size));
        Ok(report)
    }

    /// What needs room: packs and segments that are written anew.
    fn rewrite(&mut self, report: &mut PruneReport) -> Result<(), OpsError> {
        match self.repack(report) {
            // Less room does for the index.
            Err(OpsError::Repo(error)) if is_full(&error) => report.stopped = Some(error),
            repacked => repacked?,
        }
        self.merge(report)?;
        // From here on no segment that counts lists what is gone.
        self.close()?;
        self.settle(report)?;
        self.close()
    }

    /// Condemns packs and segments.
    fn condemn(&mut self, packs: Vec<ObjectId>, segments: Vec<ObjectId>) -> Result<(), OpsError> {
        if packs.is_empty() && segments.is_empty() {
            return Ok(());
        }
        if is_left_out(Canary::Retirement) {
            for pack in packs {
                self.store.repository.storage().delete(ObjectName::pack(pack)).map_err(RepoError::from)?;
            }
            return Ok(());
        }
        let time_ms = u64::try_from((self.surroundings.now_ms)()).unwrap_or(0);
        let id = retired::publish(&self.store.repository, &Retirement::new(time_ms, packs, segments))?;
        self.own.insert(id);
        Ok(())
    }
}

/// True where there is no room for more.
fn is_full(error: &RepoError) -> bool {
    matches!(error, RepoError::Storage(error) if error.is_full())
}
