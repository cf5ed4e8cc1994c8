//! The check of data: packs are read in full, proven against their names, and every chunk whose key is known is opened and
//! its key derived again.
//!
//! Always true here:
//! - Each pack is read once. The keys of its chunks come from walking the snapshots' trees, for a window of packs at a time,
//!   so that memory does not grow with the repository.
//! - A node that was walked in a window is not walked again, however many snapshots share it.

use super::structure::Checked;
use super::{CheckReport, FindingKind, Findings};
use crate::chunk::compress::Decompressor;
use crate::crypto::derive::{self, ObjectHasher};
use crate::format::FormatError;
use crate::format::pack::PACK_HEADER_LENGTH;
use crate::format::tree::{TreeEntry, TreeNode, TreeRoot};
use crate::ids::{ChunkId, ChunkKey, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::ops::monitor::{Advance, Monitor, Phase};
use crate::ops::{Cancel, OpsError, worker_count};
use crate::repo::RepoError;
use crate::repo::chain;
use crate::repo::chunks::ChunkOpener;
use crate::repo::index::IndexReader;
use crate::repo::keyring::{Action, Domain};
use crate::repo::packer::read_listing;
use crate::repo::reader::ReadSession;
use crate::repo::snapshots::{self, Snapshot};
use crate::storage::StorageError;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of packs in a window: with chunks of 64 KiB about 130,000 keys.
const WINDOW: u64 = 8 << 30;

/// Keys of the chunks in a window's packs.
type Keys = HashMap<ChunkId, (Domain, ChunkKey)>;

/// What reading one pack showed.
struct PackResult {
    id: ObjectId,
    bytes: u64,
    opened: u64,
    fault: Option<PackFault>,
}

/// What is wrong with a pack.
#[derive(Debug, Clone)]
pub(in crate::ops) struct PackFault {
    /// In words.
    pub detail: String,
    /// Chunks that cannot be had, of those whose keys are known.
    pub lost: Vec<ChunkId>,
    /// Whether its bytes are those that its name says: then they were wrong when they were written.
    pub is_named_rightly: bool,
}

pub(super) fn check(
    checked: &Checked,
    packs: &[(ObjectId, u64)],
    percent: u8,
    findings: &mut Findings,
    report: &mut CheckReport,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<HashMap<ObjectId, PackFault>, OpsError> {
    let packs = sample(packs, percent)?;
    monitor.begin(Phase::CheckData, Some(packs.iter().map(|(_, size)| size).sum()));
    let mut lost: HashMap<ChunkId, ObjectId> = HashMap::new();
    let mut damaged = HashMap::new();
    let mut window = Vec::new();
    let mut packs = packs.into_iter().peekable();
    while let Some(pack) = packs.next() {
        window.push(pack);
        let bytes: u64 = window.iter().map(|(_, size)| size).sum();
        if bytes < WINDOW && packs.peek().is_some() {
            continue;
        }
        let keys = collect_keys(checked, &window, findings, cancel)?;
        for result in read_window(checked, &window, &keys, monitor, cancel)? {
            report.packs_read += 1;
            report.bytes_read += result.bytes;
            report.chunks_opened += result.opened;
            if let Some(fault) = result.fault {
                findings.add(FindingKind::PackDamaged, ObjectName::pack(result.id), || fault.detail.clone());
                lost.extend(fault.lost.iter().map(|chunk| (*chunk, result.id)));
                damaged.insert(result.id, fault);
            }
        }
        window.clear();
    }
    if !lost.is_empty() {
        attribute(checked, &lost, findings, cancel)?;
    }
    Ok(damaged)
}

/// A share of the packs, chosen by chance, so that repeated checks come to see all of them; at least one.
fn sample(packs: &[(ObjectId, u64)], percent: u8) -> Result<Vec<(ObjectId, u64)>, OpsError> {
    let mut packs = packs.to_vec();
    if percent < 100 {
        let seed: [u8; 32] = crate::crypto::random_bytes().map_err(RepoError::from)?;
        packs.sort_by_cached_key(|(id, _)| *blake3::keyed_hash(&seed, id.as_bytes()).as_bytes());
        packs.truncate((packs.len() * usize::from(percent)).div_ceil(100));
    }
    packs.sort_unstable();
    Ok(packs)
}

/// Walks all trees and keeps the keys of chunks that lie in the window.
fn collect_keys(
    checked: &Checked,
    window: &[(ObjectId, u64)],
    findings: &mut Findings,
    cancel: &Cancel,
) -> Result<Keys, OpsError> {
    let packs: HashSet<ObjectId> = window.iter().map(|(id, _)| *id).collect();
    let mut walk = KeyWalk {
        session: checked.store.session()?,
        index: checked.store.index.reader()?,
        packs,
        walked: HashSet::new(),
        keys: Keys::new(),
    };
    for snapshot in &checked.snapshots {
        cancel.check()?;
        match walk.snapshot(checked, snapshot, cancel) {
            Ok(()) => {}
            // What that means for the snapshot is said already.
            Err(OpsError::Repo(RepoError::KeyLacks { .. } | RepoError::NotARecipient { .. })) => {}
            Err(OpsError::Repo(error)) if error.is_damage() => {
                let name = ObjectName::new(ObjectKind::Snapshot, snapshot.id);
                let kind = match error {
                    // Its private part: a finding already.
                    RepoError::Sealed { .. } | RepoError::Malformed { .. } => FindingKind::SnapshotDamaged,
                    _ => FindingKind::ManifestDamaged,
                };
                findings.touch(kind, name, snapshot, || chain(&error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(walk.keys)
}

struct KeyWalk {
    session: ReadSession,
    index: IndexReader,
    packs: HashSet<ObjectId>,
    walked: HashSet<ChunkId>,
    keys: Keys,
}

impl KeyWalk {
    fn snapshot(&mut self, checked: &Checked, snapshot: &Snapshot, cancel: &Cancel) -> Result<(), OpsError> {
        // The reference list first: it needs no private key.
        let references = self.tree(Domain::Reference, &snapshot.record.references, cancel);
        let private = snapshots::open_private(&checked.store.repository, snapshot.id)?;
        let data = self.tree(Domain::Data, &private.data, cancel);
        let map = self.tree(Domain::Data, &private.map, cancel);
        references.and(data).and(map)
    }

    fn tree(&mut self, domain: Domain, root: &TreeRoot, cancel: &Cancel) -> Result<(), OpsError> {
        let malformed = |source| RepoError::Structure { what: "tree", snapshot: "being checked".to_owned(), source };
        let Some(top) = root.top().map_err(malformed)? else { return Ok(()) };
        self.entry(domain, &top, root.depth, cancel)
    }

    /// Notes the key of an entry, and goes through the nodes below it; `depth` is bounded by the root's decoder.
    fn entry(&mut self, domain: Domain, entry: &TreeEntry, depth: u8, cancel: &Cancel) -> Result<(), OpsError> {
        let id = derive::chunk_id(&entry.key);
        if self.packs.contains(&self.index.locate(&id)?.pack) {
            self.keys.insert(id, (domain, entry.key.clone()));
        }
        if depth == 0 || !self.walked.insert(id) {
            return Ok(());
        }
        cancel.check()?;
        let bytes = self.session.read(domain, &entry.key)?;
        let malformed =
            |source: FormatError| RepoError::Structure { what: "tree", snapshot: "being checked".to_owned(), source };
        let node = TreeNode::decode(&bytes, depth - 1).map_err(malformed)?;
        let mut result = Ok(());
        for entry in &node.entries {
            // One lost branch must not hide the others.
            result = self.entry(domain, entry, depth - 1, cancel).and(result);
        }
        result
    }
}

fn read_window(
    checked: &Checked,
    window: &[(ObjectId, u64)],
    keys: &Keys,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<Vec<PackResult>, OpsError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..worker_count().min(window.len()))
            .map(|_| {
                scope.spawn(|| -> Result<(), OpsError> {
                    let mut unpacker = Decompressor::new().map_err(RepoError::from)?;
                    let mut opener = ChunkOpener { keys: checked.store.repository.keys(), unpacker: &mut unpacker };
                    let mut buffers = (Vec::new(), Vec::new());
                    while let Some((id, size)) = window.get(next.fetch_add(1, Ordering::Relaxed)) {
                        cancel.check()?;
                        let result = read_pack(checked, (*id, *size), keys, &mut opener, &mut buffers);
                        monitor.advance(Advance { bytes: *size, ..Advance::default() });
                        results.lock().map_err(|_| OpsError::WorkerLost)?.push(result);
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| OpsError::WorkerLost).flatten())
    })?;
    results.into_inner().map_err(|_| OpsError::WorkerLost)
}

/// Reads a pack in full, chunk by chunk, so that memory does not depend on the size of packs. Damage is in the result; an error is
/// something that keeps us from reading at all.
fn read_pack(
    checked: &Checked,
    (id, size): (ObjectId, u64),
    keys: &Keys,
    opener: &mut ChunkOpener<'_>,
    (sealed, plain): &mut (Vec<u8>, Vec<u8>),
) -> PackResult {
    let repository = &checked.store.repository;
    let storage = &**repository.storage();
    let name = ObjectName::pack(id);
    let mut result = PackResult { id, bytes: size, opened: 0, fault: None };
    let entries = match read_listing(storage, repository.keys(), repository.id(), name) {
        Ok(pack) => pack.entries,
        Err(error) => {
            result.fault = Some(PackFault { detail: chain(&error), lost: Vec::new(), is_named_rightly: false });
            return result;
        }
    };
    let mut hasher = ObjectHasher::default();
    let mut position = 0;
    let (mut lost, mut first) = (Vec::new(), None);
    let mut read = |length: u64, sealed: &mut Vec<u8>| {
        sealed.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        storage.get_range(name, position, sealed)?;
        position += length;
        hasher.update(sealed);
        Ok::<_, StorageError>(())
    };
    let mut step = || {
        read(PACK_HEADER_LENGTH as u64, sealed)?;
        for entry in &entries {
            read(entry.sealed_length.into(), sealed)?;
            let Some((domain, key)) = keys.get(&entry.id) else { continue };
            plain.resize(entry.plain_length as usize, 0);
            match opener.open((*domain, key), entry, name, sealed, plain) {
                Ok(()) => result.opened += 1,
                Err(error) => {
                    lost.push(entry.id);
                    first.get_or_insert_with(|| chain(&error));
                }
            }
        }
        let body: u64 = entries.iter().map(|entry| u64::from(entry.sealed_length)).sum::<u64>();
        read(size.saturating_sub(PACK_HEADER_LENGTH as u64 + body), sealed)
    };
    let unreadable = step().err();
    let is_named_rightly = hasher.finish() == id;
    let fault = match (unreadable, first, is_named_rightly) {
        (Some(error), ..) => {
            // What lies behind the place that cannot be read was not looked at: none of it counts as there.
            lost = entries.iter().map(|entry| entry.id).collect();
            Some((chain(&error), lost))
        }
        (None, Some(first), true) => {
            let maker = checked.makers.get(&id).map_or_else(String::new, |maker| {
                format!("; the key `{}`, {}, {}, put it into the index", maker.label, maker.role, maker.key.short())
            });
            let lost_chunks = lost.len();
            let detail =
                format!("{lost_chunks} chunks do not open, though its bytes are what was written: {first}{maker}");
            Some((detail, lost))
        }
        (None, Some(first), false) => {
            Some((format!("its bytes were changed; {} chunks do not open: {first}", lost.len()), lost))
        }
        (None, None, false) if repository.keys().require(Action::ReadSnapshots).is_err() => {
            Some(("its bytes were changed; a key that reads snapshots could tell in which chunks".to_owned(), lost))
        }
        (None, None, false) => Some(("its bytes were changed, in no chunk that a snapshot needs".to_owned(), lost)),
        (None, None, true) => None,
    };
    result.fault = fault.map(|(detail, lost)| PackFault { detail, lost, is_named_rightly });
    result
}

/// Finds the snapshots that need lost chunks.
fn attribute(
    checked: &Checked,
    lost: &HashMap<ChunkId, ObjectId>,
    findings: &mut Findings,
    cancel: &Cancel,
) -> Result<(), OpsError> {
    let mut session = checked.store.session()?;
    for snapshot in &checked.snapshots {
        let references = snapshot.record.references.clone();
        let mut cursor = crate::repo::tree::TreeCursor::new(checked.store.nodes(Domain::Reference)?, references);
        let (mut position, mut nodes) = (0, Vec::new());
        let mut visit = |key: &ChunkKey| {
            nodes.push(derive::chunk_id(key));
            Ok(())
        };
        loop {
            cancel.check()?;
            let leaf = match cursor.leaf_at_with(position, &mut visit) {
                Ok(Some(leaf)) => leaf,
                // A list that cannot be walked is a finding already.
                Ok(None) | Err(_) => break,
            };
            position = leaf.start + leaf.entry.span;
            let own = derive::chunk_id(&leaf.entry.key);
            let chunk = session.read(Domain::Reference, &leaf.entry.key).unwrap_or_default();
            let ids = chunk.as_chunks::<32>().0.iter().map(|id| ChunkId::new(*id)).chain([own]);
            for pack in ids.filter_map(|id| lost.get(&id)) {
                findings.touch(FindingKind::PackDamaged, ObjectName::pack(*pack), snapshot, String::new);
            }
        }
        for pack in nodes.iter().filter_map(|id| lost.get(id)) {
            findings.touch(FindingKind::PackDamaged, ObjectName::pack(*pack), snapshot, String::new);
        }
    }
    Ok(())
}
