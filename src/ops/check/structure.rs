//! The check of structure: every object but the packs is read and proven, and everything that snapshots need is looked up.
//!
//! Always true here: a part of a reference list that was found to be sound is not walked again for another snapshot, so that the
//! cost follows what is distinct.

use super::{CheckReport, FindingKind, Findings};
use crate::format::certificate::{Certificate, SignedCertificate};
use crate::format::index::IndexedPack;
use crate::ids::{ChunkId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::ops::monitor::{Advance, Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::bundles;
use crate::repo::chain;
use crate::repo::index::{Index, IndexReader};
use crate::repo::keyring::Action;
use crate::repo::keyring::Domain;
use crate::repo::open::Repository;
use crate::repo::packer::read_listing;
use crate::repo::reader::ChunkStore;
use crate::repo::retired;
use crate::repo::snapshots::{self, Snapshot};
use crate::repo::tree::TreeCursor;
use crate::repo::view::SnapshotDisk;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// What the check of data builds on.
pub(super) struct Checked {
    pub store: ChunkStore,
    pub snapshots: Vec<Snapshot>,
    /// Packs that are there with their size, and whose listing is the index's.
    pub packs: Vec<(ObjectId, u64)>,
    /// Packs that are there and that no segment lists.
    pub adopted: Vec<(ObjectId, u64)>,
    /// Who listed each pack in the index.
    pub makers: HashMap<ObjectId, Certificate>,
    /// Every snapshot, segment and pack that was there.
    pub there: HashSet<ObjectName>,
}

pub(super) fn check(
    repository: &Arc<Repository>,
    scratch: &Path,
    findings: &mut Findings,
    report: &mut CheckReport,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<Checked, OpsError> {
    repository.keys().require(Action::KeepRepository)?;
    monitor.begin(Phase::Index, None);
    keys(repository, findings)?;
    let list = snapshots::list(repository)?;
    let index = Arc::new(Index::open(scratch)?);
    let Listed { packs, unlisted, faulty, makers, there: listed } =
        packs(repository, &index, findings, report, cancel)?;
    report.chunks = index.chunk_count()?;
    let adopted = index.adopted()?;
    let store = ChunkStore::new(Arc::clone(repository), index);
    report.snapshots = list.snapshots.len() + list.damaged.len();
    for (name, error) in &list.damaged {
        // Its stick stands in what cannot be read.
        findings.add(FindingKind::SnapshotDamaged, *name, || chain(error)).snapshots.extend(name.id());
    }
    monitor.begin(Phase::CheckStructure, Some(list.snapshots.len() as u64));
    let of_snapshots = list.snapshots.iter().map(|snapshot| ObjectName::new(ObjectKind::Snapshot, snapshot.id));
    let there = of_snapshots.chain(list.damaged.iter().map(|(name, _)| *name)).chain(listed).collect();
    let mut walk =
        Walk { store: &store, faulty: &faulty, adopted: &adopted, sound: HashSet::new(), used: HashSet::new() };
    for snapshot in &list.snapshots {
        cancel.check()?;
        walk.snapshot(snapshot, findings, cancel)?;
        monitor.advance(Advance { bytes: 1, ..Advance::default() });
    }
    report.unlisted_packs = adopted.difference(&walk.used).count();
    report.stale_packs = findings.forget_untouched(FindingKind::PackMissing);
    report.packs -= report.stale_packs;
    Ok(Checked { store, snapshots: list.snapshots, packs, adopted: unlisted, makers, there })
}

fn keys(repository: &Repository, findings: &mut Findings) -> Result<(), OpsError> {
    for listed in repository.storage().list(ObjectKind::Key)? {
        match bundles::inspect(repository, listed.name) {
            // A whole bundle of another repository is what an `init` leaves that died before it wrote its config. It opens
            // nothing here and keeps nobody out.
            Ok(_) | Err(RepoError::ForeignObject { .. }) => {}
            Err(error) if error.is_damage() => {
                findings.add(FindingKind::KeyDamaged, listed.name, || chain(&error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Packs at fault, with the kind of the fault.
type Faulty = HashMap<ObjectId, FindingKind>;

/// What the segments list.
struct Listed {
    /// Packs that are there with their size, and whose listing is the index's.
    packs: Vec<(ObjectId, u64)>,
    /// Packs that are there, list themselves, and are listed by no segment.
    unlisted: Vec<(ObjectId, u64)>,
    faulty: Faulty,
    /// Who listed each pack.
    makers: HashMap<ObjectId, Certificate>,
    /// Every segment and pack that was there.
    there: Vec<ObjectName>,
}

/// Reads all segments into the index: sound packs first, so that a chunk that is in two packs is looked for in the sound one.
fn packs(
    repository: &Repository,
    index: &Index,
    findings: &mut Findings,
    report: &mut CheckReport,
    cancel: &Cancel,
) -> Result<Listed, OpsError> {
    let storage = repository.storage();
    // Retirements before both: what they condemn may be gone, and is not missed.
    let condemned: HashSet<ObjectId> =
        retired::list(repository)?.retirements.into_values().flat_map(|retirement| retirement.packs).collect();
    // Segments before packs: a pack is durable before its segment.
    let segments = storage.list(ObjectKind::Index)?;
    let segment_names: Vec<ObjectName> = segments.iter().map(|listed| listed.name).collect();
    let on_storage: BTreeMap<ObjectId, u64> = storage
        .list(ObjectKind::Pack)?
        .iter()
        .filter_map(|listed| listed.name.id().map(|id| (id, listed.size)))
        .collect();
    let (mut sound, mut faulty) = (Vec::new(), Faulty::new());
    let mut faulty_packs = Vec::new();
    let (mut seen, mut makers) = (HashSet::new(), HashMap::new());
    let (mut superseded, mut missing) = (HashSet::new(), Vec::new());
    for listed in segments {
        cancel.check()?;
        let Some(id) = listed.name.id() else { continue };
        let (mut segment, maker) = match crate::repo::segments::read_with_maker(repository, id) {
            Ok(read) => read,
            // Replaced, and gone since the listing.
            Err(RepoError::Storage(error)) if error.is_not_found() => continue,
            Err(error) if error.is_damage() => {
                findings.add(FindingKind::IndexDamaged, listed.name, || chain(&error));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        superseded.extend(std::mem::take(&mut segment.supersedes));
        let (there, gone): (Vec<_>, Vec<_>) =
            segment.packs.into_iter().partition(|pack| on_storage.contains_key(&pack.id));
        missing.extend(gone.into_iter().filter(|pack| !condemned.contains(&pack.id)).map(|pack| (id, pack)));
        segment.packs = there;
        segment.packs.retain(|pack| seen.insert(pack.id));
        makers.extend(segment.packs.iter().map(|pack| (pack.id, maker.clone())));
        let mut bad = Vec::new();
        for pack in &segment.packs {
            match fault(repository, pack, on_storage.get(&pack.id).copied().unwrap_or_default())? {
                None => sound.push((pack.id, pack.size)),
                Some((kind, detail)) => {
                    findings.add(kind, ObjectName::pack(pack.id), || detail);
                    faulty.insert(pack.id, kind);
                    bad.push(pack.id);
                }
            }
        }
        let (bad, good): (Vec<_>, Vec<_>) = segment.packs.into_iter().partition(|pack| bad.contains(&pack.id));
        segment.packs = good;
        faulty_packs.extend(bad);
        index.insert_segment(id, &segment)?;
    }
    // What only a segment lists that another replaces was taken away by a prune.
    for (_, pack) in missing.into_iter().filter(|(segment, _)| !superseded.contains(segment)) {
        if seen.insert(pack.id) {
            let detail = || "the index lists it, storage does not have it".to_owned();
            findings.add(FindingKind::PackMissing, ObjectName::pack(pack.id), detail);
            faulty.insert(pack.id, FindingKind::PackMissing);
            faulty_packs.push(pack);
        }
    }
    report.packs = sound.len() + faulty.len();
    let unlisted: Vec<ObjectId> = on_storage.keys().filter(|id| !seen.contains(*id)).copied().collect();
    index.insert_segment(
        ObjectId::new([0; 32]),
        &crate::format::index::IndexSegment { supersedes: Vec::new(), packs: faulty_packs },
    )?;
    let mut adopted = Vec::new();
    for id in unlisted {
        match read_listing(&**storage, repository.keys(), repository.id(), ObjectName::pack(id)) {
            Ok(pack) => adopted.push(pack),
            // Left by a writer that died, or damaged: nobody needs it unless a lookup fails, and then that is the finding.
            Err(error) if error.is_damage() => report.unlisted_packs += 1,
            Err(error) => return Err(error.into()),
        }
    }
    index.adopt(&adopted)?;
    let unlisted = adopted.iter().map(|pack| (pack.id, pack.size)).collect();
    let there = segment_names.into_iter().chain(on_storage.into_keys().map(ObjectName::pack)).collect();
    Ok(Listed { packs: sound, unlisted, faulty, makers, there })
}

/// What is wrong with a listed pack, as far as its size and its own listing tell.
fn fault(repository: &Repository, pack: &IndexedPack, size: u64) -> Result<Option<(FindingKind, String)>, OpsError> {
    if size != pack.size {
        let detail = format!("it has {size} bytes, the index says {}", pack.size);
        return Ok(Some((FindingKind::PackSize, detail)));
    }
    match read_listing(&**repository.storage(), repository.keys(), repository.id(), ObjectName::pack(pack.id)) {
        Ok(own) if own == *pack => Ok(None),
        Ok(_) => Ok(Some((FindingKind::PackListing, "its own listing is not the one of the index".to_owned()))),
        Err(error) if error.is_damage() => Ok(Some((FindingKind::PackListing, chain(&error)))),
        Err(error) => Err(error.into()),
    }
}

/// True where the private part has the certificate of the key that signed the snapshot: an owner has no other.
fn names_maker(disk: &SnapshotDisk, snapshot: &Snapshot) -> bool {
    let signed = SignedCertificate::decode(&disk.private().maker);
    signed.and_then(|signed| signed.certificate()).is_ok_and(|certificate| certificate == snapshot.maker)
}

/// Walks reference lists.
struct Walk<'a> {
    store: &'a ChunkStore,
    faulty: &'a Faulty,
    adopted: &'a HashSet<ObjectId>,
    /// Chunks of reference lists all of whose ids are in sound packs.
    sound: HashSet<ChunkId>,
    /// Unlisted packs that are needed.
    used: HashSet<ObjectId>,
}

impl Walk<'_> {
    fn snapshot(&mut self, snapshot: &Snapshot, findings: &mut Findings, cancel: &Cancel) -> Result<(), OpsError> {
        let name = ObjectName::new(ObjectKind::Snapshot, snapshot.id);
        match self.references(snapshot, findings, cancel) {
            Ok(()) => {}
            Err(OpsError::Repo(error)) if error.is_damage() => {
                findings.touch(FindingKind::ReferencesDamaged, name, snapshot, || chain(&error));
            }
            Err(error) => return Err(error),
        }
        match SnapshotDisk::open(self.store.clone(), snapshot.clone()) {
            // Whoever made it gave the two readers two stories.
            Ok(disk) if disk.private().operator != snapshot.record || !names_maker(&disk, snapshot) => {
                findings.touch(FindingKind::SnapshotDamaged, name, snapshot, || {
                    "its private part says other things of it than its operator's part".to_owned()
                });
            }
            Ok(_) => {}
            // A key that opens no snapshot checks what it can.
            Err(RepoError::KeyLacks { .. }) => {}
            // An admin's key opens every snapshot that was made by the rules.
            Err(error @ RepoError::NotARecipient { .. }) => {
                findings.touch(FindingKind::SnapshotSealed, name, snapshot, || chain(&error));
            }
            Err(error @ (RepoError::Sealed { .. } | RepoError::Malformed { .. })) => {
                findings.touch(FindingKind::SnapshotDamaged, name, snapshot, || chain(&error));
            }
            Err(error) if error.is_damage() => {
                findings.touch(FindingKind::ManifestDamaged, name, snapshot, || chain(&error));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn references(&mut self, snapshot: &Snapshot, findings: &mut Findings, cancel: &Cancel) -> Result<(), OpsError> {
        let index = self.store.index.reader()?;
        let mut nodes = Vec::new();
        let mut result = self.leaves(snapshot, &index, &mut nodes, findings, cancel);
        // Also the node that could not be read: the pack that it lies in is what is at fault.
        for id in nodes {
            let looked_up = self.look_up(&id, &index, snapshot, findings);
            result = result.and(looked_up.map(drop).map_err(OpsError::from));
        }
        result
    }

    /// Walks the leaves of a reference list, and looks up what they name; `nodes` are the nodes on the way.
    fn leaves(
        &mut self,
        snapshot: &Snapshot,
        index: &IndexReader,
        nodes: &mut Vec<ChunkId>,
        findings: &mut Findings,
        cancel: &Cancel,
    ) -> Result<(), OpsError> {
        let mut session = self.store.session()?;
        let mut cursor = TreeCursor::new(self.store.nodes(Domain::Reference)?, snapshot.record.references.clone());
        let (mut position, mut missing, mut first) = (0, 0_u64, None);
        let mut visit = |key: &crate::ids::ChunkKey| {
            nodes.push(crate::crypto::derive::chunk_id(key));
            Ok(())
        };
        while let Some(leaf) = cursor.leaf_at_with(position, &mut visit)? {
            cancel.check()?;
            position = leaf.start + leaf.entry.span;
            let id = crate::crypto::derive::chunk_id(&leaf.entry.key);
            if self.sound.contains(&id) {
                continue;
            }
            let mut all_sound = self.look_up(&id, index, snapshot, findings)?;
            let chunk = session.read(Domain::Reference, &leaf.entry.key)?;
            for id in chunk.as_chunks::<32>().0 {
                let id = ChunkId::new(*id);
                match self.look_up(&id, index, snapshot, findings) {
                    Ok(sound) => all_sound &= sound,
                    Err(RepoError::ChunkMissing { .. }) => {
                        missing += 1;
                        first.get_or_insert(id);
                        all_sound = false;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if all_sound {
                self.sound.insert(id);
            }
        }
        if let Some(first) = first {
            let name = ObjectName::new(ObjectKind::Snapshot, snapshot.id);
            findings.touch(FindingKind::ChunkMissing, name, snapshot, || {
                format!("{missing} chunks that it needs are in no pack; the first is {first}")
            });
        }
        Ok(())
    }

    /// True when the chunk is in a sound pack that a segment lists; otherwise the pack's finding learns of the snapshot.
    fn look_up(
        &mut self,
        id: &ChunkId,
        index: &IndexReader,
        snapshot: &Snapshot,
        findings: &mut Findings,
    ) -> Result<bool, RepoError> {
        let pack = index.locate(id)?.pack;
        if let Some(kind) = self.faulty.get(&pack) {
            findings.touch(*kind, ObjectName::pack(pack), snapshot, String::new);
            return Ok(false);
        }
        if self.adopted.contains(&pack) {
            self.used.insert(pack);
            findings.touch(FindingKind::IndexIncomplete, ObjectName::pack(pack), snapshot, || {
                "snapshots need it, but no index segment lists it; the next backup lists it again".to_owned()
            });
            return Ok(false);
        }
        Ok(true)
    }
}
