//! The places of the tree that a mount shows.
//!
//! Always true here:
//! - A folder is known by its path: one that is reached by two paths is two folders, each with one folder above it, so that the kernel
//!   never finds one of them in two places. A file is known by what it is: its names are hard links of each other.
//! - A folder of a volume knows the folders above it, and is none of them.

use super::catalog::Snapshot;
use super::inodes::Key;
use super::tree::Refusal;
use crate::layout::files::NodeId;
use std::sync::Arc;

/// The most folders of a volume that lie within each other: as many as a path of Linux has names.
const DEEPEST: usize = 2048;

/// A volume of a snapshot.
#[derive(Debug)]
pub(super) struct VolumeRef {
    /// The snapshot.
    pub(super) snapshot: Arc<Snapshot>,
    /// The volume's position among those of the snapshot.
    pub(super) index: usize,
    /// The name of its folder.
    pub(super) name: Box<str>,
}

impl std::fmt::Display for VolumeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/files/{}", self.snapshot.id.get(..12).unwrap_or_default(), self.name)
    }
}

/// A folder of a volume, by one path.
#[derive(Debug)]
pub(super) struct Folder {
    /// The volume.
    pub(super) volume: Arc<VolumeRef>,
    /// What it is there.
    pub(super) node: NodeId,
    /// The path.
    pub(super) key: Key,
    /// How many folders are above it in its volume.
    pub(super) depth: usize,
    above: Option<(Arc<Folder>, Box<str>)>,
}

/// Why a folder is not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endless;

impl Folder {
    /// The folder at the top of a volume.
    pub(super) fn top(volume: VolumeRef, node: NodeId, key: Key) -> Self {
        Self { volume: Arc::new(volume), node, key, depth: 0, above: None }
    }

    /// A folder in this one.
    ///
    /// # Errors
    /// [`Endless`] where it is this folder or one above it, or too deep.
    pub(super) fn enter(self: &Arc<Self>, name: &str, node: NodeId) -> Result<Self, Endless> {
        if self.depth >= DEEPEST || self.upwards().any(|folder| folder.node == node) {
            return Err(Endless);
        }
        Ok(Self {
            volume: Arc::clone(&self.volume),
            node,
            key: self.key_of(name, node),
            depth: self.depth + 1,
            above: Some((Arc::clone(self), name.into())),
        })
    }

    /// The key of what this folder has under a name, if that belongs to the path.
    pub(super) fn key_of(&self, name: &str, node: NodeId) -> Key {
        self.key.below(name, &node.0.to_le_bytes())
    }

    /// The key of the folder above it, if that is in the volume.
    pub(super) fn key_above(&self) -> Option<Key> {
        self.above.as_ref().map(|(above, _)| above.key)
    }

    /// This folder and those above it, up to the top of the volume.
    fn upwards(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |folder| folder.above.as_ref().map(|(above, _)| &**above))
    }
}

impl std::fmt::Display for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.volume)?;
        let mut names: Vec<&str> =
            self.upwards().filter_map(|folder| folder.above.as_ref()).map(|(_, name)| &**name).collect();
        names.reverse();
        names.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

/// What a folder of a volume has under a name.
#[derive(Debug)]
pub(super) struct Named {
    /// The folder.
    pub(super) folder: Arc<Folder>,
    /// The name; of a file with several, the one that it was looked up by.
    pub(super) name: Box<str>,
    /// What it names.
    pub(super) node: NodeId,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.folder, self.name)
    }
}

/// A place of the tree.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// The folder at the top.
    Top,
    /// `by-stick`.
    Sticks,
    /// `by-id`.
    Ids,
    /// The folder of a stick, by the stick's name as the list has it.
    Stick(Arc<str>),
    /// The link to a stick's newest snapshot.
    Latest(Arc<str>),
    /// A snapshot's folder, and the path by which it is known.
    Snapshot(Arc<Snapshot>, Key),
    /// An image of a snapshot.
    Image(Arc<Snapshot>, usize),
    /// `files` in a snapshot's folder.
    Files(Arc<Snapshot>, Key),
    /// A folder of a volume.
    Folder(Arc<Folder>),
    /// A file of a volume.
    File(Arc<Named>),
    /// A link of a volume.
    Link(Arc<Named>),
    /// An entry of a folder that cannot be looked at, and why.
    Unreadable(Key, Refusal),
}

impl Node {
    /// What it is known by.
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Top => Key::TOP,
            Self::Sticks => Key::of("sticks", &[]),
            Self::Ids => Key::of("ids", &[]),
            Self::Stick(name) => Key::of("stick", &[name.as_bytes()]),
            Self::Latest(name) => Key::of("latest", &[name.as_bytes()]),
            Self::Snapshot(_, key) | Self::Files(_, key) | Self::Unreadable(key, _) => *key,
            Self::Image(snapshot, index) => Key::of("image", &[snapshot.id.as_bytes(), &(*index as u64).to_le_bytes()]),
            Self::Folder(folder) => folder.key,
            Self::File(named) => {
                let VolumeRef { snapshot, index, .. } = &*named.folder.volume;
                let place = [snapshot.id.as_bytes(), &(*index as u64).to_le_bytes(), &named.node.0.to_le_bytes()];
                Key::of("file", &place)
            }
            // The same link in folders of different depths has different targets.
            Self::Link(named) => named.folder.key_of(&named.name, named.node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top() -> Arc<Folder> {
        let snapshot = Arc::new(Snapshot { id: "ab".repeat(32).into(), when: crate::layout::files::Moment::default() });
        let volume = VolumeRef { snapshot, index: 0, name: "partition-3".into() };
        Arc::new(Folder::top(volume, NodeId(5), Key::of("top", &[])))
    }

    fn named(folder: &Arc<Folder>, name: &str, node: u64) -> Arc<Named> {
        Arc::new(Named { folder: Arc::clone(folder), name: name.into(), node: NodeId(node) })
    }

    #[test]
    fn a_folder_that_is_above_itself_is_not_entered() {
        let top = top();
        let one = Arc::new(top.enter("one", NodeId(1)).unwrap());
        let two = Arc::new(one.enter("two", NodeId(2)).unwrap());
        for node in [1, 2, 5] {
            assert_eq!(two.enter("again", NodeId(node)).err(), Some(Endless));
        }
        assert_eq!((two.depth, two.key_above()), (2, Some(one.key)));
        assert_eq!(named(&two, "x", 9).to_string(), "abababababab/files/partition-3/one/two/x");
        let mut deep = top;
        for node in 0.. {
            match deep.enter("d", NodeId(100 + node)) {
                Ok(next) => deep = Arc::new(next),
                Err(Endless) => break,
            }
        }
        assert_eq!(deep.depth, DEEPEST);
    }

    #[test]
    fn folders_are_their_paths_and_files_what_they_are() {
        let top = top();
        let enter = |name| Arc::new(top.enter(name, NodeId(1)).unwrap());
        let (one, other) = (enter("one"), enter("ONE"));
        assert_ne!(one.key, other.key);
        assert_eq!(one.key, enter("one").key);
        assert_eq!(Node::File(named(&one, "x", 7)).key(), Node::File(named(&other, "y", 7)).key());
        assert_ne!(Node::File(named(&one, "x", 7)).key(), Node::File(named(&one, "x", 8)).key());
        assert_ne!(Node::Link(named(&one, "x", 7)).key(), Node::Link(named(&other, "x", 7)).key());
    }
}
