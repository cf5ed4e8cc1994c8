//! Applying the plan of a repair.
//!
//! Always true here:
//! - The order is: what is good becomes durable under new names, then it is listed, and only then what was damaged goes aside, packs
//!   before the segments that list them. Whoever stops in between leaves a repository in which more is found than before, and nothing
//!   less.
//! - A plan that is older than a snapshot is refused: what that needs was not looked at.
//! - An object that somebody else mended since is left alone.

use super::from_parity;
use super::plan::{RepairPlan, losses_of};
use super::salvage::Salvager;
use super::survey::snapshot_names;
use super::{Found, RepairReport, Step, Why};
use crate::chunk::compress::Compressor;
use crate::crypto::derive::ObjectHasher;
use crate::disk::ReadAt;
use crate::format::index::IndexSegment;
use crate::ids::{ChunkId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::ops::backup::{Content, store_chunks};
use crate::ops::check::{Depth, FindingKind, check};
use crate::ops::monitor::{Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::chunks::seal_chunk;
use crate::repo::index::Index;
use crate::repo::open::Repository;
use crate::repo::packer::read_listing;
use crate::repo::reader::ChunkStore;
use crate::repo::segments;
use crate::storage::Put;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Chunks that one segment lists, of 40 bytes each; above that, another one is begun.
const CHUNKS_PER_SEGMENT: usize = 500_000;
/// Bytes that are hashed at once.
const STEP: usize = 1 << 20;

impl RepairPlan {
    /// Does what the plan says, and looks at what is left.
    ///
    /// # Errors
    /// [`OpsError::RepositoryChanged`] where a snapshot was made since; [`OpsError::Repo`], [`OpsError::Interrupted`]. Whatever the
    /// error: nothing is lost, and a new plan goes on from there.
    pub fn apply(self, monitor: &dyn Monitor, cancel: &Cancel) -> Result<RepairReport, OpsError> {
        let mut report = RepairReport::default();
        let repository = Arc::clone(&self.survey.store.repository);
        let mut missing = self.missing.clone();
        self.is_current(&repository)?;
        monitor.begin(Phase::Repair, None);
        let (mut are_stored, steps) = (false, self.steps.clone());
        for step in steps {
            cancel.check()?;
            match &step {
                Step::PutConfig { .. } => put_config(&repository, &mut report)?,
                Step::FromParity { object } => {
                    report.aside.extend(from_parity::mend(&**repository.storage(), *object)?);
                }
                Step::RemakeParity { object } => {
                    report.aside.extend(from_parity::remake(&**repository.storage(), *object)?);
                }
                // All at once, so that they share packs.
                Step::Salvage { .. } | Step::FromSource { .. } if are_stored => {}
                Step::Salvage { .. } | Step::FromSource { .. } => {
                    are_stored = true;
                    missing.extend(self.store_found(&mut report, cancel)?);
                }
                Step::ListPacks { supersedes, .. } => self.list_packs(&repository, supersedes, cancel)?,
                Step::SetAside { object, why } => {
                    // Each time: a snapshot may come at any moment.
                    self.is_current(&repository)?;
                    let still = match why {
                        Why::Damaged => is_still_damaged(&repository, *object, cancel)?,
                        Why::Orphan => from_parity::is_orphan(&**repository.storage(), *object)?,
                        Why::Unusable | Why::Superseded => true,
                    };
                    if still {
                        report.aside.extend(repository.storage().set_aside(*object).map_err(RepoError::from)?);
                    }
                }
                Step::DeleteAside { name, .. } => repository.storage().delete_aside(*name).map_err(RepoError::from)?,
            }
            report.done.push(step);
        }
        self.look_again(&repository, &missing, &mut report, monitor, cancel)?;
        Ok(report)
    }

    /// Fails where there is a snapshot that the plan does not know.
    fn is_current(&self, repository: &Repository) -> Result<(), OpsError> {
        match snapshot_names(repository)?.into_iter().find(|name| !self.snapshots.contains(name)) {
            Some(new) => Err(OpsError::RepositoryChanged { what: format!("{new} is new") }),
            None => Ok(()),
        }
    }

    /// Stores what was found; gives the chunks that are not there any more.
    fn store_found(&self, report: &mut RepairReport, cancel: &Cancel) -> Result<Vec<ChunkId>, OpsError> {
        let repository = &self.survey.store.repository;
        let level = repository.config().record.compression_level;
        let mut compressor = Compressor::new(level.into()).map_err(RepoError::from)?;
        let mut salvager = Salvager::new(repository)?;
        let mut found: Vec<(&ChunkId, &Found)> = self.found.iter().collect();
        // A stick is read from its start to its end.
        found.sort_by_key(|(_, found)| found.place());
        let mut gone = Vec::new();
        let (packs, bytes) = store_chunks(&self.survey.store, |take| {
            for (id, found) in found {
                cancel.check()?;
                match found {
                    Found::InPack(place) => {
                        let Some(sealed) = salvager.sealed(place)? else {
                            let what =
                                format!("chunk {id} in {} opened, and does not any more", ObjectName::pack(place.pack));
                            return Err(OpsError::RepositoryChanged { what });
                        };
                        take(place.kind, place.entry, &sealed)?;
                    }
                    Found::OnSource { source, kind, domain, key, content } => {
                        let plain = self.sources.get(*source).and_then(|source| read(&*source.disk, content));
                        let is_same =
                            |plain: &Vec<u8>| repository.keys().is_key_of(*domain, plain, key).unwrap_or(false);
                        let Some(plain) = plain.filter(is_same) else {
                            gone.push(*id);
                            continue;
                        };
                        let (entry, sealed) = seal_chunk(key, *id, &plain, &mut compressor)?;
                        take(*kind, entry, &sealed)?;
                    }
                }
            }
            Ok(())
        })?;
        (report.packs_written, report.bytes_written) = (packs, bytes);
        Ok(gone)
    }

    fn list_packs(&self, repository: &Repository, supersedes: &[ObjectId], cancel: &Cancel) -> Result<(), OpsError> {
        let mut parts = vec![IndexSegment::default()];
        let mut chunks = 0;
        for id in &self.to_list {
            cancel.check()?;
            let pack = match self.survey.bad.get(id) {
                // One that stays, as its segment listed it.
                Some(bad) => match bad.listings.first() {
                    Some(listing) => listing.clone(),
                    None => continue,
                },
                None => {
                    read_listing(&**repository.storage(), repository.keys(), repository.id(), ObjectName::pack(*id))?
                }
            };
            if chunks > 0 && chunks + pack.entries.len() > CHUNKS_PER_SEGMENT {
                parts.push(IndexSegment::default());
                chunks = 0;
            }
            chunks += pack.entries.len();
            if let Some(part) = parts.last_mut() {
                part.packs.push(pack);
            }
        }
        // One of several parts does not list everything of theirs.
        if let [only] = parts.as_mut_slice() {
            only.supersedes = supersedes.to_vec();
        }
        for part in parts.iter().filter(|part| !part.packs.is_empty()) {
            segments::publish(repository, part)?;
        }
        Ok(())
    }

    /// What is still found, and which snapshots stay broken.
    fn look_again(
        &self,
        repository: &Arc<Repository>,
        missing: &BTreeSet<ChunkId>,
        report: &mut RepairReport,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<(), OpsError> {
        let scratch = &self.scratch.0;
        let checked = check(repository, &scratch.join("again"), Some(&self.memory), Depth::Structure, monitor, cancel)?;
        report.remaining = checked.findings;
        // What a look at the structure does not see, of packs that stayed where they are.
        for finding in &self.findings {
            let stays = finding.object.id().is_some_and(|id| self.kept.contains(&id));
            if stays && finding.kind == FindingKind::PackDamaged {
                report.remaining.push(finding.clone());
            }
        }
        let mut broken = self.broken.clone();
        if missing.len() > self.missing.len() {
            // A source has lost something since; which snapshots need that, the check says.
            let touched: BTreeSet<ObjectId> =
                report.remaining.iter().flat_map(|finding| &finding.snapshots).copied().collect();
            let known: BTreeSet<ObjectId> = broken.iter().map(|snapshot| snapshot.id).collect();
            let more = self.survey.snapshots.iter();
            broken.extend(
                more.filter(|snapshot| touched.contains(&snapshot.id) && !known.contains(&snapshot.id)).cloned(),
            );
        }
        let index = Arc::new(Index::open(&scratch.join("after"))?);
        index.sync(repository)?;
        let store = ChunkStore::new(Arc::clone(repository), index);
        report.broken = losses_of(&store, &broken, missing, cancel)?;
        Ok(())
    }
}

impl Found {
    /// Packs first, then sources from their start on.
    fn place(&self) -> (usize, Option<ObjectId>, u64) {
        match self {
            Self::InPack(place) => (0, Some(place.pack), place.offset),
            Self::OnSource { source, content: Content::OnSource(extents), .. } => {
                (source + 1, None, extents.first().map_or(0, |extent| extent.start.0))
            }
            Self::OnSource { source, content: Content::Bytes(_), .. } => (source + 1, None, 0),
        }
    }
}

/// The bytes of a chunk on a source; `None` where they cannot be read any more.
fn read(disk: &dyn ReadAt, content: &Content) -> Option<Vec<u8>> {
    let extents = match content {
        Content::Bytes(bytes) => return Some(bytes.clone()),
        Content::OnSource(extents) => extents,
    };
    let length = extents.iter().map(|extent| extent.length).sum::<u64>();
    // What was cut is no longer than a chunk can be.
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    let mut rest = bytes.as_mut_slice();
    for extent in extents {
        let (now, later) = rest.split_at_mut(usize::try_from(extent.length).ok()?.min(rest.len()));
        disk.read_at(extent.start, now).ok()?;
        rest = later;
    }
    Some(bytes)
}

/// Puts the config back that the key bundle holds.
fn put_config(repository: &Repository, report: &mut RepairReport) -> Result<(), OpsError> {
    let storage = repository.storage();
    let limit = crate::format::config::MAX_LENGTH as u64;
    let is_right = || storage.get(ObjectName::CONFIG, limit).is_ok_and(|bytes| bytes == repository.config_bytes());
    if is_right() {
        return Ok(());
    }
    report.aside.extend(storage.set_aside(ObjectName::CONFIG).map_err(RepoError::from)?);
    match storage.put(ObjectName::CONFIG, &[repository.config_bytes()]).map_err(RepoError::from)? {
        // Another repair was faster.
        Put::AlreadyThere if !is_right() => {
            Err(OpsError::RepositoryChanged { what: "somebody else put a config there".to_owned() })
        }
        Put::Stored | Put::AlreadyThere => Ok(()),
    }
}

/// Whether an object's bytes are still not those that its name says.
fn is_still_damaged(repository: &Repository, name: ObjectName, cancel: &Cancel) -> Result<bool, OpsError> {
    let storage = repository.storage();
    let size = match storage.size(name) {
        Ok(size) => size,
        Err(error) if error.is_not_found() => return Ok(true),
        Err(error) => return Err(RepoError::from(error).into()),
    };
    // A pack whose bytes are right, but whose listing is not the one of the index, was planned for that.
    if name.kind() == ObjectKind::Config {
        return Ok(true);
    }
    let mut hasher = ObjectHasher::default();
    let mut buffer = vec![0; STEP.min(usize::try_from(size).unwrap_or(STEP))];
    let mut position = 0;
    while position < size {
        cancel.check()?;
        let count = usize::try_from(size - position).unwrap_or(STEP).min(STEP);
        if let Err(error) = storage.get_range(name, position, &mut buffer[..count]) {
            let error = RepoError::from(error);
            return if error.is_damage() { Ok(true) } else { Err(error.into()) };
        }
        hasher.update(&buffer[..count]);
        position += count as u64;
    }
    Ok(Some(hasher.finish()) != name.id())
}
