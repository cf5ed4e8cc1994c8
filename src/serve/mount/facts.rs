//! What a client is told of a file or folder.
//!
//! Always true here:
//! - Sizes and times that a volume makes up stay within what Linux can say.
//! - Nothing can be written to, and nothing is to be run: files have mode 0444, folders 0555.

use crate::layout::files::{Moment, NodeFacts, NodeKind};

/// Bytes of a block as `stat` counts them.
const BLOCK: u64 = 512;

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

impl Kind {
    /// The permissions.
    pub(super) const fn mode(self) -> u16 {
        match self {
            Self::File => 0o444,
            Self::Folder => 0o555,
            Self::Link => 0o777,
        }
    }
}

/// What `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// What it is.
    pub(super) kind: Kind,
    /// Bytes; at most 2^63 − 1.
    pub(super) size: u64,
    /// Blocks of 512 bytes that it takes.
    pub(super) blocks: u64,
    /// How many names it has.
    pub(super) links: u32,
    /// When it was last read.
    pub(super) accessed: Moment,
    /// When its content was last written.
    pub(super) modified: Moment,
    /// When anything of it was last changed.
    pub(super) changed: Moment,
}

impl Facts {
    /// Of something that the mount makes.
    pub(super) fn made(kind: Kind, size: u64, when: Moment) -> Self {
        let size = size.min(i64::MAX as u64);
        let blocks = size.div_ceil(BLOCK);
        Self { kind, size, blocks, links: 1, accessed: when, modified: when, changed: when }
    }

    /// Of a file or folder of a volume; of a link with the size of its target as the mount tells it. What the volume does not say of
    /// times is taken from its other times, or from when the snapshot was made.
    pub(super) fn of(facts: &NodeFacts, target: Option<&str>, snapshot: Moment) -> Self {
        let (kind, size) = match (&facts.kind, target) {
            (NodeKind::Folder, _) => (Kind::Folder, 0),
            (NodeKind::File, _) => (Kind::File, facts.size.min(i64::MAX as u64)),
            (NodeKind::Link(_), target) => (Kind::Link, target.map_or(0, |target| target.len() as u64)),
        };
        // A content in the file's record takes nothing. But programs take a file without blocks for one hole and do not read it.
        let blocks = facts.allocated.div_ceil(BLOCK).max(u64::from(size > 0));
        // The kernel counts in bytes.
        let blocks = if kind == Kind::Link { 0 } else { blocks.min(i64::MAX as u64 / BLOCK) };
        let modified = facts.modified.or(facts.changed).or(facts.created).unwrap_or(snapshot);
        Self {
            kind,
            size,
            blocks,
            // For a folder 1 says that it is not known how many folders it has.
            links: if kind == Kind::Folder { 1 } else { facts.links.max(1) },
            accessed: facts.accessed.unwrap_or(modified),
            modified,
            changed: facts.changed.unwrap_or(modified),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::files::Link;

    fn facts(kind: NodeKind) -> NodeFacts {
        NodeFacts {
            kind,
            size: 1000,
            allocated: 0,
            created: None,
            modified: None,
            accessed: None,
            changed: None,
            attributes: 0x20,
            links: 0,
            reparse_tag: None,
        }
    }

    #[test]
    fn a_small_file_has_a_block_and_nonsense_is_kept_in_bounds() {
        let snapshot = Moment { seconds: 7, nanoseconds: 8 };
        let small = Facts::of(&facts(NodeKind::File), None, snapshot);
        assert_eq!((small.size, small.blocks, small.links, small.modified), (1000, 1, 1, snapshot));
        let huge = NodeFacts { size: u64::MAX, allocated: u64::MAX, ..facts(NodeKind::File) };
        let huge = Facts::of(&huge, None, snapshot);
        assert_eq!((huge.size, huge.blocks), (i64::MAX as u64, i64::MAX as u64 / 512));
        let folder = Facts::of(&NodeFacts { links: 3, ..facts(NodeKind::Folder) }, None, snapshot);
        assert_eq!((folder.kind, folder.size, folder.links), (Kind::Folder, 0, 1));
    }

    #[test]
    fn times_stand_in_for_each_other() {
        let at = |seconds| Some(Moment { seconds, nanoseconds: 100 });
        let all = NodeFacts { modified: at(2), accessed: at(3), changed: at(4), ..facts(NodeKind::File) };
        let told = Facts::of(&all, None, Moment::default());
        assert_eq!((Some(told.modified), Some(told.accessed), Some(told.changed)), (at(2), at(3), at(4)));
        let one = Facts::of(&NodeFacts { created: at(1), ..facts(NodeKind::File) }, None, Moment::default());
        assert_eq!((Some(one.modified), Some(one.accessed), Some(one.changed)), (at(1), at(1), at(1)));
    }

    #[test]
    fn a_link_has_the_size_of_its_target() {
        let link = Link { target: "\\??\\C:\\x".into(), is_relative: false, is_junction: true };
        let told = Facts::of(&facts(NodeKind::Link(link)), Some("../x"), Moment::default());
        assert_eq!((told.kind, told.size, told.blocks), (Kind::Link, 4, 0));
    }
}
