//! The plan of a repair: what is there is looked at, everything that is missing is looked for, and then the steps are known.
//!
//! Always true here:
//! - Making a plan writes nothing but an index of its own, in a folder that goes with the plan.
//! - Objects that parity can mend come first and alone: what else is to be done is known when they are back. Then
//!   [`RepairPlan::goes_on`] is true, and another plan is made after this one was applied.
//! - A damaged pack that holds chunks which snapshots need and which this key cannot open stays where it is: nobody knows which of them
//!   are good.

use super::from_parity;
use super::needs::{self, Overlay};
use super::survey::{Survey, snapshot_names};
use super::{BrokenSnapshot, Found, FoundChunks, RepairSource, Step, Wanted, Why, salvage, sources};
use crate::ids::{ChunkId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::ops::check::{Finding, FindingKind};
use crate::ops::losses::{self, Losses};
use crate::ops::monitor::Monitor;
use crate::ops::{Cancel, OpsError};
use crate::repo::keyring::Action;
use crate::repo::open::Repository;
use crate::repo::reader::ChunkStore;
use crate::repo::snapshots::Snapshot;
use crate::repo::view::SnapshotDisk;
use crate::repo::{RepoError, chain, parity};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often newly found nodes of trees may show that more is wanted; a tree is no deeper.
const MOST_ROUNDS: usize = 16;

/// What a repair will do.
pub struct RepairPlan {
    pub(super) steps: Vec<Step>,
    pub(super) survey: Survey,
    pub(super) found: FoundChunks,
    pub(super) missing: BTreeSet<ChunkId>,
    pub(super) sources: Vec<RepairSource>,
    /// Packs that the new segment lists, beside those of `kept`.
    pub(super) to_list: Vec<ObjectId>,
    /// Packs at fault that stay where they are.
    pub(super) kept: BTreeSet<ObjectId>,
    pub(super) broken: Vec<Snapshot>,
    /// Snapshots on storage when the plan was made.
    pub(super) snapshots: BTreeSet<ObjectName>,
    pub(super) memory: PathBuf,
    /// What a check found.
    pub findings: Vec<Finding>,
    /// What cannot be done with this key, or is left to a person.
    pub notes: Vec<String>,
    /// Chunks that snapshots need and that no good pack has.
    pub wanted: usize,
    /// Behind all that lies in it.
    pub(super) scratch: Scratch,
}

impl std::fmt::Debug for RepairPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepairPlan").field("steps", &self.steps).field("notes", &self.notes).finish_non_exhaustive()
    }
}

/// A folder that is removed with the plan.
pub(super) struct Scratch(pub PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It holds nothing but indexes that were built for the plan.
        _ = std::fs::remove_dir_all(&self.0);
    }
}

impl RepairPlan {
    /// Looks at everything and decides what can be done. `scratch` is a new folder for indexes; `memory` the cache folder, where this
    /// machine remembers the audit log. With `delete_damaged`, what lies aside already is deleted.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] for a key that may not repair, or for sources without a key that stores; [`OpsError::Source`];
    /// storage that cannot be listed; [`OpsError::Interrupted`]. Damage is no error.
    pub fn make(
        repository: &Arc<Repository>,
        (scratch, memory): (&Path, &Path),
        sources: Vec<RepairSource>,
        delete_damaged: bool,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<Self, OpsError> {
        repository.keys().require(Action::Repair)?;
        if !sources.is_empty() {
            // Ids of chunks follow from the secret of those who store.
            repository.keys().require(Action::Store)?;
        }
        let scratch = Scratch(scratch.to_owned());
        // Before anything is read: what is new since is seen when the plan is applied.
        let snapshots = snapshot_names(repository)?.into_iter().collect();
        let survey = Survey::make(repository, &scratch.0, memory, monitor, cancel)?;
        // What parity mends needs nothing else, and may be what tells what else is needed.
        let storage = &**repository.storage();
        let coverage = parity::coverage(storage).map_err(RepoError::from)?;
        let mendable = from_parity::mendable(storage, &coverage, &survey, cancel)?;
        if !mendable.is_empty() {
            return Ok(Self {
                steps: mendable.into_iter().map(|object| Step::FromParity { object }).collect(),
                findings: survey.findings.clone(),
                survey,
                found: FoundChunks::new(),
                missing: BTreeSet::new(),
                sources,
                to_list: Vec::new(),
                kept: BTreeSet::new(),
                broken: Vec::new(),
                snapshots,
                memory: memory.to_owned(),
                notes: Vec::new(),
                wanted: 0,
                scratch,
            });
        }
        let (mut found, mut overlay) = (FoundChunks::new(), Overlay::new());
        let mut wanted = needs::wanted(&survey, &overlay, cancel)?;
        for _ in 0..MOST_ROUNDS {
            salvage::salvage(&survey, &wanted, &mut found, cancel)?;
            for source in sources.iter().enumerate() {
                sources::look(repository, source, &wanted, &mut found, &mut overlay, monitor, cancel)?;
            }
            let more = needs::wanted(&survey, &overlay, cancel)?;
            let is_all = more.len() == wanted.len();
            wanted = more;
            if is_all {
                break;
            }
        }
        let missing: BTreeSet<ChunkId> = wanted.keys().copied().filter(|id| !found.contains_key(id)).collect();
        let broken = needs::broken(&survey, &overlay, &|id| missing.contains(id), cancel)?;
        let mut plan = Self {
            steps: Vec::new(),
            findings: survey.findings.clone(),
            survey,
            found,
            missing,
            sources,
            to_list: Vec::new(),
            kept: BTreeSet::new(),
            broken,
            snapshots,
            memory: memory.to_owned(),
            notes: Vec::new(),
            wanted: wanted.len(),
            scratch,
        };
        plan.config(repository)?;
        plan.keep_unproven(&wanted);
        plan.chunks();
        plan.packs();
        plan.others();
        let orphans = from_parity::orphans(storage, &coverage, cancel)?;
        plan.steps.extend(orphans.into_iter().map(|object| Step::SetAside { object, why: Why::Orphan }));
        let remade = from_parity::without(repository, &coverage, &plan.steps, cancel)?;
        plan.steps.extend(remade.into_iter().map(|object| Step::RemakeParity { object }));
        if delete_damaged {
            let aside = repository.storage().list_aside().map_err(RepoError::from)?;
            plan.steps.extend(aside.into_iter().map(|(name, size)| Step::DeleteAside { name, size }));
        }
        Ok(plan)
    }

    /// The steps in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// True when there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// True when another plan should be made once this one was applied.
    pub fn goes_on(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::FromParity { .. }))
    }

    /// Wanted chunks that were found in a damaged pack or on a source.
    pub fn found(&self) -> usize {
        self.found.len()
    }

    /// Wanted chunks that were found nowhere.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// The snapshots that stay broken, and what of each is lost, as far as it is known before the plan is applied.
    ///
    /// # Errors
    /// [`OpsError::Repo`], [`OpsError::Interrupted`].
    pub fn broken(&self, cancel: &Cancel) -> Result<Vec<BrokenSnapshot>, OpsError> {
        losses_of(&self.survey.store, &self.broken, &self.missing, cancel)
    }

    fn config(&mut self, repository: &Repository) -> Result<(), OpsError> {
        let limit = crate::format::config::MAX_LENGTH as u64;
        let (replaces, detail) = match repository.storage().get(ObjectName::CONFIG, limit) {
            Ok(bytes) if bytes == repository.config_bytes() => return Ok(()),
            Ok(_) => (true, RepoError::ConfigChanged.to_string()),
            Err(error) if error.is_not_found() => (false, error.to_string()),
            Err(error) => {
                let error = RepoError::from(error);
                if !error.is_damage() {
                    return Err(error.into());
                }
                (true, chain(&error))
            }
        };
        self.findings.insert(
            0,
            Finding {
                kind: FindingKind::ConfigDamaged,
                object: ObjectName::CONFIG,
                detail,
                snapshots: BTreeSet::new(),
                sticks: BTreeSet::new(),
                mendable: None,
            },
        );
        self.steps.push(Step::PutConfig { replaces });
        Ok(())
    }

    /// Finds the packs that stay, since nobody here can tell what in them is good.
    fn keep_unproven(&mut self, wanted: &BTreeMap<ChunkId, Wanted>) {
        let is_unproven =
            |id: &ChunkId| self.missing.contains(id) && wanted.get(id).is_some_and(|wanted| wanted.key.is_none());
        for (id, pack) in self.survey.bad.iter().filter(|(_, pack)| pack.why.is_some()) {
            let entries = pack.listings.iter().flat_map(|listing| &listing.entries);
            let unproven: HashSet<ChunkId> = entries.map(|entry| entry.id).filter(is_unproven).collect();
            if unproven.is_empty() {
                continue;
            }
            self.kept.insert(*id);
            let count = unproven.len();
            let name = ObjectName::pack(*id);
            self.notes.push(match self.survey.store.repository.keys().require(Action::ReadSnapshots) {
                Err(_) => format!(
                    "{name} stays as it is: {count} chunks in it that snapshots need can be told from damage only with a key \
                     that opens them; an admin's key can"
                ),
                Ok(()) => format!(
                    "{name} stays as it is: the keys of {count} chunks in it stood in what is lost, so that nobody can tell \
                     whether they are good; a disk that still has the rest (--from) brings the keys back"
                ),
            });
        }
    }

    fn chunks(&mut self) {
        let mut good: BTreeMap<ObjectId, usize> = BTreeMap::new();
        let mut on_sources: BTreeMap<usize, usize> = BTreeMap::new();
        for found in self.found.values() {
            match found {
                Found::InPack(place) => *good.entry(place.pack).or_default() += 1,
                Found::OnSource { source, .. } => *on_sources.entry(*source).or_default() += 1,
            }
        }
        for (id, pack) in self.survey.bad.iter().filter(|(_, pack)| pack.why.is_some()) {
            let chunks = good.get(id).copied().unwrap_or_default();
            let entries = pack.listings.iter().flat_map(|listing| &listing.entries);
            let lost: HashSet<ChunkId> = entries.map(|entry| entry.id).filter(|id| self.missing.contains(id)).collect();
            if chunks > 0 {
                self.steps.push(Step::Salvage { pack: ObjectName::pack(*id), chunks, lost: lost.len() });
            }
        }
        for (number, source) in self.sources.iter().enumerate() {
            let chunks = on_sources.get(&number).copied().unwrap_or_default();
            if chunks > 0 {
                self.steps.push(Step::FromSource { source: source.name.clone(), chunks });
            }
        }
    }

    /// Segments and packs: what is listed anew, and what goes aside.
    fn packs(&mut self) {
        let Survey { good, bad, segments, broken, .. } = &self.survey;
        let goes = |id: &ObjectId| bad.contains_key(id) && !self.kept.contains(id);
        let (stale, current): (Vec<_>, Vec<_>) = segments.iter().partition(|segment| segment.packs.iter().any(goes));
        let listed: HashSet<ObjectId> = current.iter().flat_map(|segment| &segment.packs).copied().collect();
        let from_stale = stale.iter().flat_map(|segment| &segment.packs).copied();
        let all_listed: HashSet<ObjectId> = segments.iter().flat_map(|segment| &segment.packs).copied().collect();
        let unlisted = good.iter().copied().filter(|id| !all_listed.contains(id));
        let to_list: BTreeSet<ObjectId> =
            from_stale.chain(unlisted).filter(|id| !listed.contains(id) && !goes(id)).collect();
        let supersedes: Vec<ObjectId> = stale.iter().map(|segment| segment.id).collect();
        let mut steps = Vec::new();
        if !to_list.is_empty() {
            steps.push(Step::ListPacks { packs: to_list.len(), supersedes: supersedes.clone() });
        }
        for (id, pack) in bad.iter().filter(|(id, _)| goes(id)) {
            steps.extend(pack.why.map(|why| Step::SetAside { object: ObjectName::pack(*id), why }));
        }
        let segment = |id| ObjectName::new(ObjectKind::Index, id);
        steps.extend(supersedes.into_iter().map(|id| Step::SetAside { object: segment(id), why: Why::Superseded }));
        let damaged = broken.iter().filter(|(name, _)| name.kind() == ObjectKind::Index);
        steps.extend(damaged.map(|(object, why)| Step::SetAside { object: *object, why: *why }));
        self.steps.extend(steps);
        self.to_list = to_list.into_iter().collect();
    }

    /// Snapshots, key bundles and audit entries: there is no second copy of what was in them.
    fn others(&mut self) {
        let others =
            self.survey.broken.iter().filter(|(name, why)| name.kind() != ObjectKind::Index && *why == Why::Damaged);
        let steps: Vec<Step> = others.map(|(object, why)| Step::SetAside { object: *object, why: *why }).collect();
        for step in &steps {
            let Step::SetAside { object, .. } = step else { continue };
            self.notes.push(format!(
                "{object} cannot be mended from what is here: a copy of the {} from another copy of the repository can be put back under its name",
                object.kind().noun()
            ));
        }
        self.steps.extend(steps);
    }
}

/// What of broken snapshots is lost, where this key reads them.
pub(super) fn losses_of(
    store: &ChunkStore,
    snapshots: &[Snapshot],
    missing: &BTreeSet<ChunkId>,
    cancel: &Cancel,
) -> Result<Vec<BrokenSnapshot>, OpsError> {
    let index = store.index.reader()?;
    let is_lost = |id: &ChunkId| match index.locate(id) {
        Ok(_) => Ok(missing.contains(id)),
        Err(RepoError::ChunkMissing { .. }) => Ok(true),
        Err(error) => Err(error),
    };
    let mut broken = Vec::new();
    for snapshot in snapshots {
        cancel.check()?;
        let losses = match SnapshotDisk::open(store.clone(), snapshot.clone()) {
            Ok(disk) => {
                let disk = Arc::new(disk);
                let ranges = losses::ranges(&disk, &is_lost, cancel)?;
                Some(Losses::of(&disk, ranges, cancel)?)
            }
            Err(RepoError::KeyLacks { .. } | RepoError::NotARecipient { .. }) => None,
            Err(error) if error.is_damage() => {
                Some(Losses::all(format!("its disk map cannot be read: {}", chain(&error))))
            }
            Err(error) => return Err(error.into()),
        };
        broken.push(BrokenSnapshot { snapshot: snapshot.clone(), losses });
    }
    Ok(broken)
}
