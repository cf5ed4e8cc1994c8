//! What is there, as a repair sees it: good packs, bad packs, segments, and an index that prefers the good.
//!
//! Always true here:
//! - A pack is good when its bytes are those that its name says and its chunks open, as far as this key opens them.
//! - In the index a chunk lies in a good pack if any has it; only what no good pack has is looked for in bad ones.

use super::Why;
use crate::format::FormatError;
use crate::format::index::{IndexSegment, IndexedPack};
use crate::format::session::SessionKind;
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use crate::ops::check::{Finding, survey};
use crate::ops::monitor::Monitor;
use crate::ops::{Cancel, OpsError, session};
use crate::repo::RepoError;
use crate::repo::index::Index;
use crate::repo::open::Repository;
use crate::repo::packer::read_listing;
use crate::repo::reader::ChunkStore;
use crate::repo::segments;
use crate::repo::snapshots::{self, Snapshot};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// A pack that is gone, or cannot be relied on.
#[derive(Debug)]
pub(super) struct BadPack {
    /// Why it is moved aside; `None` where it is not there at all.
    pub why: Option<Why>,
    /// What segments and its own trailer say of it. They may differ.
    pub listings: Vec<IndexedPack>,
}

/// A readable segment, without what it says of chunks.
#[derive(Debug)]
pub(super) struct ReadSegment {
    pub id: ObjectId,
    pub packs: Vec<ObjectId>,
}

/// What is there.
pub(super) struct Survey {
    pub store: ChunkStore,
    pub snapshots: Vec<Snapshot>,
    pub findings: Vec<Finding>,
    pub good: HashSet<ObjectId>,
    pub bad: BTreeMap<ObjectId, BadPack>,
    pub segments: Vec<ReadSegment>,
    /// Objects other than packs that are moved aside.
    pub broken: Vec<(ObjectName, Why)>,
}

impl Survey {
    pub(super) fn make(
        repository: &Arc<Repository>,
        scratch: &Path,
        memory: &Path,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<Self, OpsError> {
        // While it lasts, nothing goes away that is there now.
        let session = session::begin(repository, SessionKind::Writes, "repair", Some(memory), monitor)?;
        let checked = survey(repository, &scratch.join("check"), memory, monitor, cancel)?;
        let mut broken = Vec::new();
        for kind in [ObjectKind::Key, ObjectKind::Snapshot, ObjectKind::Audit] {
            for listed in repository.storage().list(kind).map_err(RepoError::from)? {
                if let Some(why) = hash_of_named(repository, listed.name)? {
                    broken.push((listed.name, why));
                }
            }
        }
        let index = Arc::new(Index::open(&scratch.join("index"))?);
        let mut packs = Packs::default();
        for listed in repository.storage().list(ObjectKind::Pack).map_err(RepoError::from)? {
            packs.there.extend(listed.name.id().map(|id| (id, listed.size)));
        }
        for listed in repository.storage().list(ObjectKind::Index).map_err(RepoError::from)? {
            cancel.check()?;
            let Some(id) = listed.name.id() else { continue };
            match segments::read_with_maker(repository, id) {
                Ok((segment, _)) => {
                    let ids = segment.packs.iter().map(|pack| pack.id).collect();
                    packs.segments.push(ReadSegment { id, packs: ids });
                    let mut good = Vec::new();
                    for pack in segment.packs {
                        good.extend(packs.take(repository, &checked.damaged, pack)?);
                    }
                    index.insert_segment(id, &IndexSegment { supersedes: Vec::new(), packs: good })?;
                }
                Err(RepoError::Storage(error)) if error.is_not_found() => {}
                Err(error) => broken.extend(why_unusable(&error).map(|why| (listed.name, why))),
            }
        }
        let unlisted: Vec<ObjectId> = packs.there.keys().copied().filter(|id| !packs.is_known(id)).collect();
        for id in unlisted {
            cancel.check()?;
            match read_listing(&**repository.storage(), repository.keys(), repository.id(), ObjectName::pack(id)) {
                Ok(pack) => {
                    let good = packs.take(repository, &checked.damaged, pack)?;
                    index.adopt(good.as_slice())?;
                }
                // Nobody knows what is in it.
                Err(error) => {
                    if let Some(why) = why_unusable(&error) {
                        packs.bad.insert(id, BadPack { why: Some(why), listings: Vec::new() });
                    }
                }
            }
        }
        // Last, since the first place of a chunk is the one that counts.
        let listings = packs.bad.values().filter(|pack| pack.why.is_some()).flat_map(|pack| pack.listings.first());
        index.adopt(&listings.cloned().collect::<Vec<_>>())?;
        Ok(Self {
            store: session.into_iter().fold(ChunkStore::new(Arc::clone(repository), index), ChunkStore::during),
            snapshots: checked.snapshots,
            findings: checked.findings,
            good: packs.good,
            bad: packs.bad,
            segments: packs.segments,
            broken,
        })
    }
}

/// Packs while they are sorted.
#[derive(Default)]
struct Packs {
    there: HashMap<ObjectId, u64>,
    good: HashSet<ObjectId>,
    bad: BTreeMap<ObjectId, BadPack>,
    segments: Vec<ReadSegment>,
}

impl Packs {
    fn is_known(&self, id: &ObjectId) -> bool {
        self.good.contains(id) || self.bad.contains_key(id)
    }

    /// Sorts a pack as it is listed; gives it back where it is good and was not known.
    fn take(
        &mut self,
        repository: &Repository,
        damaged: &HashMap<ObjectId, crate::ops::check::PackFault>,
        pack: IndexedPack,
    ) -> Result<Option<IndexedPack>, OpsError> {
        if let Some(known) = self.bad.get_mut(&pack.id) {
            if !known.listings.contains(&pack) {
                known.listings.push(pack);
            }
            return Ok(None);
        }
        if self.good.contains(&pack.id) {
            return Ok(None);
        }
        let Some(size) = self.there.get(&pack.id) else {
            self.bad.insert(pack.id, BadPack { why: None, listings: vec![pack] });
            return Ok(None);
        };
        let name = ObjectName::pack(pack.id);
        let own = read_listing(&**repository.storage(), repository.keys(), repository.id(), name);
        let why = match (&own, damaged.get(&pack.id)) {
            (_, Some(fault)) if fault.is_named_rightly => Why::Unusable,
            (Ok(own), None) if *own == pack && *size == pack.size => {
                self.good.insert(pack.id);
                return Ok(Some(pack));
            }
            (Err(error), _) if !error.is_damage() => {
                return Err(own.map(drop).err().map_or(OpsError::WorkerLost, Into::into));
            }
            _ => Why::Damaged,
        };
        let mut listings = vec![pack];
        listings.extend(own.ok().filter(|own| listings.iter().all(|listing| listing.entries != own.entries)));
        self.bad.insert(name.id().unwrap_or(ObjectId::new([0; 32])), BadPack { why: Some(why), listings });
        Ok(None)
    }
}

/// Why an object cannot be used and is in the way; `None` where it is of a newer version, of another repository, or where storage fails
/// in a way that says nothing of the object.
fn why_unusable(error: &RepoError) -> Option<Why> {
    match error {
        RepoError::NameMismatch { .. } => Some(Why::Damaged),
        RepoError::Storage(error) if error.is_not_found() => None,
        RepoError::Storage(_) if error.is_damage() => Some(Why::Damaged),
        RepoError::Malformed { source: FormatError::Version { .. } | FormatError::Feature { .. }, .. } => None,
        RepoError::Malformed { .. } | RepoError::Sealed { .. } | RepoError::Signature { .. } => Some(Why::Unusable),
        _ => None,
    }
}

/// Whether an object's bytes are not those that its name says. What is wrong with one whose bytes are is not for a repair to decide.
fn hash_of_named(repository: &Repository, name: ObjectName) -> Result<Option<Why>, OpsError> {
    let limit = match name.kind() {
        ObjectKind::Key => crate::format::keys::MAX_LENGTH as u64,
        ObjectKind::Snapshot => crate::format::snapshot::MAX_LENGTH as u64,
        _ => crate::format::audit::MAX_LENGTH as u64,
    };
    match repository.get_named(name, limit) {
        Ok(_) => Ok(None),
        Err(error) if error.is_damage() => Ok(why_unusable(&error)),
        Err(error) => Err(error.into()),
    }
}

/// The snapshots on storage, readable or not.
pub(super) fn snapshot_names(repository: &Repository) -> Result<Vec<ObjectName>, OpsError> {
    let listed = repository.storage().list(ObjectKind::Snapshot).map_err(RepoError::from)?;
    Ok(listed.into_iter().map(|listed| listed.name).collect())
}

/// Opens the private part of a snapshot, as far as this key can.
pub(super) fn private_of(
    repository: &Repository,
    snapshot: &Snapshot,
) -> Result<Option<crate::format::snapshot::PrivateRecord>, RepoError> {
    match snapshots::open_private(repository, snapshot.id) {
        Ok(private) => Ok(Some(private)),
        Err(RepoError::KeyLacks { .. } | RepoError::NotARecipient { .. }) => Ok(None),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}
