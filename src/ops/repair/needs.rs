//! What snapshots need and no good pack has.
//!
//! Always true here:
//! - Ids come from the reference lists, which need no private key; keys from the trees of data and map, where this key opens them.
//! - What is sound as a whole is not walked again for another snapshot.
//! - A node that no pack gives may have been found elsewhere: then it is walked all the same.

use super::Wanted;
use super::survey::{Survey, private_of};
use crate::crypto::derive;
use crate::format::tree::{TreeEntry, TreeNode, TreeRoot};
use crate::ids::{ChunkId, ChunkKey};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::index::IndexReader;
use crate::repo::keyring::Domain;
use crate::repo::reader::ReadSession;
use crate::repo::snapshots::Snapshot;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Contents of nodes that were found outside of packs.
pub(super) type Overlay = HashMap<ChunkId, Vec<u8>>;

/// What is wanted.
pub(super) fn wanted(
    survey: &Survey,
    overlay: &Overlay,
    cancel: &Cancel,
) -> Result<BTreeMap<ChunkId, Wanted>, OpsError> {
    let mut wanted: BTreeMap<ChunkId, Wanted> = BTreeMap::new();
    let mut note = |id: ChunkId, key: Option<(Domain, &ChunkKey)>| {
        let known = wanted.entry(id).or_insert(Wanted { key: None });
        if let (None, Some((domain, key))) = (&known.key, key) {
            known.key = Some((domain, key.clone()));
        }
    };
    let mut walk = Walk::new(survey, overlay, cancel)?;
    for snapshot in &survey.snapshots {
        walk.snapshot(survey, snapshot, &mut note)?;
    }
    Ok(wanted)
}

/// The snapshots that need some of what is missing, or of which it is not known what they need.
pub(super) fn broken(
    survey: &Survey,
    overlay: &Overlay,
    is_missing: &dyn Fn(&ChunkId) -> bool,
    cancel: &Cancel,
) -> Result<Vec<Snapshot>, OpsError> {
    let mut broken = Vec::new();
    let mut walk = Walk::new(survey, overlay, cancel)?;
    for snapshot in &survey.snapshots {
        let mut is_broken = false;
        walk.snapshot(survey, snapshot, &mut |id, _| is_broken |= is_missing(&id))?;
        if is_broken {
            broken.push(snapshot.clone());
        }
    }
    Ok(broken)
}

type Note<'a> = dyn FnMut(ChunkId, Option<(Domain, &ChunkKey)>) + 'a;

struct Walk<'a> {
    good: &'a HashSet<crate::ids::ObjectId>,
    overlay: &'a Overlay,
    cancel: &'a Cancel,
    session: ReadSession,
    index: IndexReader,
    /// Nodes and lists below which all is good.
    sound: HashSet<ChunkId>,
}

impl<'a> Walk<'a> {
    fn new(survey: &'a Survey, overlay: &'a Overlay, cancel: &'a Cancel) -> Result<Self, OpsError> {
        Ok(Self {
            good: &survey.good,
            overlay,
            cancel,
            session: survey.store.session()?,
            index: survey.store.index.reader()?,
            sound: HashSet::new(),
        })
    }

    fn snapshot(&mut self, survey: &Survey, snapshot: &Snapshot, note: &mut Note<'_>) -> Result<(), OpsError> {
        self.tree(Domain::Reference, &snapshot.record.references, note)?;
        if let Some(private) = private_of(&survey.store.repository, snapshot)? {
            self.tree(Domain::Data, &private.data, note)?;
            // The leaves of a map are data like any other.
            self.tree(Domain::Data, &private.map, note)?;
        }
        Ok(())
    }

    fn tree(&mut self, domain: Domain, root: &TreeRoot, note: &mut Note<'_>) -> Result<(), OpsError> {
        match root.top() {
            Ok(Some(top)) => self.entry(domain, &top, root.depth, note).map(drop),
            // A root that cannot be is a finding of the check.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// True where a good pack has the chunk; otherwise it is noted.
    fn is_good(&self, id: ChunkId, key: Option<(Domain, &ChunkKey)>, note: &mut Note<'_>) -> Result<bool, RepoError> {
        match self.index.locate(&id) {
            Ok(location) if self.good.contains(&location.pack) => return Ok(true),
            Ok(_) | Err(RepoError::ChunkMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        note(id, key);
        Ok(false)
    }

    /// Goes through an entry and all below it; true where all of it is good. `depth` is bounded by the root's decoder.
    fn entry(&mut self, domain: Domain, entry: &TreeEntry, depth: u8, note: &mut Note<'_>) -> Result<bool, OpsError> {
        let id = derive::chunk_id(&entry.key);
        let is_list = depth == 0 && domain == Domain::Reference;
        if (depth > 0 || is_list) && self.sound.contains(&id) {
            return Ok(true);
        }
        let mut good = self.is_good(id, Some((domain, &entry.key)), note)?;
        if depth == 0 && !is_list {
            return Ok(good);
        }
        self.cancel.check()?;
        let Some(bytes) = self.read(domain, &entry.key, &id)? else { return Ok(false) };
        if is_list {
            for id in bytes.as_chunks::<32>().0 {
                good &= self.is_good(ChunkId::new(*id), None, note)?;
            }
        } else {
            let Ok(node) = TreeNode::decode(&bytes, depth - 1) else { return Ok(false) };
            for entry in &node.entries {
                good &= self.entry(domain, entry, depth - 1, note)?;
            }
        }
        if good {
            self.sound.insert(id);
        }
        Ok(good)
    }

    fn read(&mut self, domain: Domain, key: &ChunkKey, id: &ChunkId) -> Result<Option<Vec<u8>>, OpsError> {
        if let Some(bytes) = self.overlay.get(id) {
            return Ok(Some(bytes.clone()));
        }
        match self.session.read(domain, key) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
