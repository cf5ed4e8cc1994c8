//! What differs between two snapshots: by files, and by bytes of the disks.
//!
//! Always true here:
//! - Bytes are compared where they may differ and nowhere else: what both disks have in the same chunk, or as zeros, is the same.
//! - Of two files of one size the content is compared; where times are trusted, only if a time differs. Nothing else is taken for the same.

use super::{BrowseError, Found, Visit, walk};
use crate::disk::{DiskOffset, Extent, ReadAt};
use crate::format::manifest::{DiskMap, Origin};
use crate::layout::files::{Moment, NodeFacts, NodeId, NodeKind};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::keyring::Domain;
use crate::repo::reader::Nodes;
use crate::repo::tree::{Leaf, TreeCursor};
use crate::repo::view::SnapshotDisk;
use std::collections::BTreeMap;

/// Bytes that are compared at once.
const PIECE: usize = 1 << 20;
/// Bytes in which differing runs are told: a run begins and ends at a multiple.
const GRAIN: u64 = 4096;
/// The most runs that are told one by one.
const MOST_RUNS: usize = 10_000;

/// How a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is only in the second snapshot.
    Added,
    /// It is only in the first one.
    Removed,
    /// Its content changed, or what it is.
    Modified,
    /// Its times or attributes changed, and nothing else.
    Metadata,
    /// It cannot be told, since one of them cannot be read.
    Unknown,
}

/// A file that differs.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// How.
    pub kind: ChangeKind,
    /// Its path below what is compared.
    pub path: String,
    /// What it was.
    pub old: Option<NodeFacts>,
    /// What it is.
    pub new: Option<NodeFacts>,
}

type Tree = BTreeMap<String, (String, NodeId, NodeFacts)>;

/// All that is below a folder, by paths in capital letters.
fn tree(found: &Found, cancel: &Cancel, problems: &mut Vec<String>) -> Result<Tree, OpsError> {
    let mut tree = Tree::new();
    if found.facts.kind != NodeKind::Folder {
        tree.insert(String::new(), (found.name.clone(), found.node, found.facts.clone()));
        return Ok(tree);
    }
    walk(&*found.files, found.node, "", cancel, &mut |visit| {
        match visit {
            Visit::Node { path, entry, facts } => {
                // Names that differ in case alone are two; the second one goes by its own letters.
                let key = if tree.contains_key(&path.to_uppercase()) { path.to_owned() } else { path.to_uppercase() };
                tree.insert(key, (path.to_owned(), entry.node, facts.clone()));
                return Ok(facts.kind == NodeKind::Folder);
            }
            Visit::Problem { error, .. } => problems.push(crate::repo::chain(&error)),
            Visit::Left { .. } => {}
        }
        Ok(false)
    })?;
    Ok(tree)
}

/// Compares two files, or all that is below two folders. With `trust_times`, two files of one size whose times are all the same count as
/// the same unread; between two states of one stick that is so, and between two sticks it need not be. Returns what could not be looked at.
///
/// # Errors
/// [`OpsError::Interrupted`].
pub fn diff_files(
    old: &Found,
    new: &Found,
    trust_times: bool,
    cancel: &Cancel,
    tell: &mut dyn FnMut(FileChange),
) -> Result<Vec<String>, OpsError> {
    let mut problems = Vec::new();
    let (before, mut after) = (tree(old, cancel, &mut problems)?, tree(new, cancel, &mut problems)?);
    let mut changes = BTreeMap::new();
    for (key, (path, node, facts)) in before {
        cancel.check()?;
        let change = match after.remove(&key) {
            None => Some(FileChange { kind: ChangeKind::Removed, path, old: Some(facts), new: None }),
            Some((path, other, now)) => {
                let is_trusted = trust_times && times(&facts) == times(&now);
                compare((old, node, &facts), (new, other, &now), is_trusted, cancel, &mut problems)?
                    .map(|kind| FileChange { kind, path, old: Some(facts), new: Some(now) })
            }
        };
        changes.extend(change.map(|change| (key, change)));
    }
    for (key, (path, _, facts)) in after {
        changes.insert(key, FileChange { kind: ChangeKind::Added, path, old: None, new: Some(facts) });
    }
    changes.into_values().for_each(tell);
    Ok(problems)
}

/// All times that a change of the content leaves a mark in.
const fn times(facts: &NodeFacts) -> [Option<Moment>; 3] {
    [facts.created, facts.modified, facts.changed]
}

fn compare(
    (old, node, facts): (&Found, NodeId, &NodeFacts),
    (new, other, now): (&Found, NodeId, &NodeFacts),
    is_trusted: bool,
    cancel: &Cancel,
    problems: &mut Vec<String>,
) -> Result<Option<ChangeKind>, OpsError> {
    if facts.kind != now.kind || facts.size != now.size {
        return Ok(Some(ChangeKind::Modified));
    }
    let metadata =
        (facts.modified != now.modified || facts.attributes != now.attributes).then_some(ChangeKind::Metadata);
    match facts.kind {
        // What is in a folder is told of what is in it.
        NodeKind::Folder => return Ok(None),
        NodeKind::File if !is_trusted => {}
        NodeKind::File | NodeKind::Link(_) => return Ok(metadata),
    }
    let opened = old.files.open(node, None).and_then(|one| Ok((one, new.files.open(other, None)?)));
    let same = match opened {
        Ok((one, other)) => same_bytes(&*one, &*other, cancel),
        Err(source) => Err(BrowseError::Files { path: old.path.clone(), source }.into()),
    };
    match same {
        Ok(true) => Ok(metadata),
        Ok(false) => Ok(Some(ChangeKind::Modified)),
        Err(OpsError::Interrupted) => Err(OpsError::Interrupted),
        Err(error) => {
            problems.push(crate::repo::chain(&error));
            Ok(Some(ChangeKind::Unknown))
        }
    }
}

fn same_bytes(one: &dyn ReadAt, other: &dyn ReadAt, cancel: &Cancel) -> Result<bool, OpsError> {
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < one.size() {
        cancel.check()?;
        let count = usize::try_from(one.size() - at).unwrap_or(usize::MAX).min(PIECE);
        for (content, buffer) in [(one, &mut left), (other, &mut right)] {
            let read = content.read_at(DiskOffset(at), &mut buffer[..count]);
            read.map_err(|source| BrowseError::Read { path: "the content of a file".to_owned(), source })?;
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// How two disks differ.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DiskDifference {
    /// Bytes of both sizes.
    pub sizes: (u64, u64),
    /// Bytes below the smaller size that are not the same.
    pub differing: u64,
    /// Runs that have such bytes, in steps of 4 KiB; the first ten thousand.
    pub runs: Vec<Extent>,
    /// How many runs there are.
    pub run_count: u64,
    /// Bytes that had to be read and compared.
    pub compared: u64,
}

impl DiskDifference {
    fn differs(&mut self, run: Extent) {
        let start = run.start.0 / GRAIN * GRAIN;
        let end = (run.start.0 + run.length).next_multiple_of(GRAIN).min(self.sizes.0.min(self.sizes.1));
        if let Some(last) = self.runs.last_mut()
            && last.start.0 + last.length >= start
        {
            last.length = last.length.max(end - last.start.0);
            return;
        }
        self.run_count += 1;
        if self.runs.len() < MOST_RUNS {
            self.runs.push(Extent { start: DiskOffset(start), length: end - start });
        }
    }
}

/// One disk, walked along.
struct Side<'a> {
    disk: &'a SnapshotDisk,
    map: &'a DiskMap,
    tree: TreeCursor<Nodes>,
    segment: usize,
    buffer: Vec<u8>,
}

/// What a place of a disk is made of, and for how many bytes.
enum Made {
    Zeros,
    Chunk(Leaf, u64),
}

impl<'a> Side<'a> {
    fn new(disk: &'a SnapshotDisk) -> Result<Self, OpsError> {
        let tree = TreeCursor::new(disk.store().cached_nodes(Domain::Data)?, disk.private().data.clone());
        Ok(Self { disk, map: disk.map(), tree, segment: 0, buffer: vec![0; PIECE] })
    }

    fn made_of(&mut self, at: u64) -> Result<(Made, u64), RepoError> {
        let segments = self.map.segments();
        while segments.get(self.segment).is_some_and(|segment| segment.extent.start.0 + segment.extent.length <= at) {
            self.segment += 1;
        }
        let Some(segment) = segments.get(self.segment) else { return Ok((Made::Zeros, u64::MAX)) };
        let inside = at - segment.extent.start.0;
        let left = segment.extent.length - inside;
        let Origin::Kept(kept) = segment.origin else { return Ok((Made::Zeros, left)) };
        let position = kept.0 + inside;
        let Some(leaf) = self.tree.leaf_at(position)? else { return Ok((Made::Zeros, left)) };
        let behind = leaf.start + leaf.entry.span - position;
        let skip = position - leaf.start;
        Ok((Made::Chunk(leaf, skip), left.min(behind).max(1)))
    }

    fn read(&mut self, at: u64, count: usize) -> Result<&[u8], OpsError> {
        let part = &mut self.buffer[..count];
        let read = self.disk.read_at(DiskOffset(at), part);
        read.map_err(|source| BrowseError::Read {
            path: format!("snapshot {}", self.disk.snapshot().id.short()),
            source,
        })?;
        Ok(part)
    }
}

/// Compares two disks byte by byte.
///
/// # Errors
/// [`OpsError::Browse`] where bytes that must be compared cannot be had; [`OpsError::Interrupted`].
pub fn diff_disks(old: &SnapshotDisk, new: &SnapshotDisk, cancel: &Cancel) -> Result<DiskDifference, OpsError> {
    let mut difference = DiskDifference { sizes: (old.size(), new.size()), ..DiskDifference::default() };
    let (mut left, mut right) = (Side::new(old)?, Side::new(new)?);
    let (end, mut at) = (old.size().min(new.size()), 0);
    while at < end {
        cancel.check()?;
        let ((one, one_left), (other, other_left)) = (left.made_of(at)?, right.made_of(at)?);
        let run = one_left.min(other_left).min(end - at);
        let is_same = match (&one, &other) {
            (Made::Zeros, Made::Zeros) => true,
            (Made::Chunk(one, skip), Made::Chunk(other, other_skip)) => {
                one.entry.key == other.entry.key && skip == other_skip
            }
            _ => false,
        };
        if is_same {
            at += run;
            continue;
        }
        let count = usize::try_from(run).unwrap_or(usize::MAX).min(PIECE);
        let (one, other) = (left.read(at, count)?, right.read(at, count)?);
        difference.compared += count as u64;
        let mut place = at;
        for (one, other) in one.chunks(GRAIN as usize).zip(other.chunks(GRAIN as usize)) {
            let unlike = one.iter().zip(other).filter(|(one, other)| one != other).count() as u64;
            if unlike > 0 {
                difference.differing += unlike;
                difference.differs(Extent { start: DiskOffset(place), length: one.len() as u64 });
            }
            place += one.len() as u64;
        }
        at += count as u64;
    }
    Ok(difference)
}
