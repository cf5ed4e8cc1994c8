//! Writing and reading trees (format-spec/tree.md).
//!
//! Always true here:
//! - A writer holds one open node a level, a reader one node a level: memory does not grow with the sequence.
//! - The same sequence of entries gives the same nodes, whoever writes it.
//! - A reader trusts nothing: the spans below an entry must add up to what the entry says.

use super::RepoError;
use crate::format::FormatError;
use crate::format::tree::{MAX_DEPTH, MAX_ENTRIES, MIN_ENTRIES, TreeEntry, TreeNode, TreeRoot};
use crate::ids::ChunkKey;
use std::ops::Range;

/// Builds a tree from its entries in order.
#[derive(Debug, Default)]
pub struct TreeWriter {
    levels: Vec<Vec<TreeEntry>>,
}

impl TreeWriter {
    /// An empty tree.
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Appends a chunk of the sequence. `store` stores a node's bytes as a chunk and returns its key.
    ///
    /// # Errors
    /// What `store` returns; [`RepoError::Structure`] for a sequence that no tree can hold.
    pub fn push(
        &mut self,
        entry: TreeEntry,
        store: &mut dyn FnMut(Vec<u8>) -> Result<ChunkKey, RepoError>,
    ) -> Result<(), RepoError> {
        let mut carried = entry;
        let mut level = 0;
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let entries = &mut self.levels[level];
            let closes = carried.closes_node();
            entries.push(carried);
            if !(entries.len() >= MAX_ENTRIES || closes && entries.len() >= MIN_ENTRIES) {
                return Ok(());
            }
            carried = close(level, std::mem::take(entries), store)?;
            level += 1;
        }
    }

    /// Closes all levels and returns the root.
    ///
    /// # Errors
    /// As [`TreeWriter::push`].
    pub fn finish(
        mut self,
        store: &mut dyn FnMut(Vec<u8>) -> Result<ChunkKey, RepoError>,
    ) -> Result<TreeRoot, RepoError> {
        let mut level = 0;
        while level < self.levels.len() {
            let entries = std::mem::take(&mut self.levels[level]);
            let open_above = self.levels[level + 1..].iter().any(|entries| !entries.is_empty());
            match entries.as_slice() {
                [] => {}
                [only] if !open_above => return Ok(TreeRoot::new(depth(level)?, only)),
                _ => {
                    let entry = close(level, entries, store)?;
                    if self.levels.len() == level + 1 {
                        self.levels.push(Vec::new());
                    }
                    self.levels[level + 1].push(entry);
                }
            }
            level += 1;
        }
        Ok(TreeRoot::EMPTY)
    }
}

fn depth(level: usize) -> Result<u8, RepoError> {
    u8::try_from(level).ok().filter(|level| *level <= MAX_DEPTH).ok_or_else(|| RepoError::Structure {
        what: "tree",
        snapshot: "being written".to_owned(),
        source: FormatError::Field { structure: "tree root", field: "depth", expected: "0 to 12", found: level as u64 },
    })
}

fn close(
    level: usize,
    entries: Vec<TreeEntry>,
    store: &mut dyn FnMut(Vec<u8>) -> Result<ChunkKey, RepoError>,
) -> Result<TreeEntry, RepoError> {
    let node = TreeNode { level: depth(level)?, entries };
    let span = node.span();
    Ok(TreeEntry { key: store(node.encode())?, span })
}

/// A chunk of a sequence and where it lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Bytes of the sequence before the chunk.
    pub start: u64,
    /// Key and length of the chunk.
    pub entry: TreeEntry,
}

/// What is found at a position of a sequence.
#[derive(Debug)]
pub enum Reached {
    /// The chunk that holds it.
    Leaf(Leaf),
    /// A node on the way is damaged or missing, so that nothing is known of these bytes of the sequence.
    Gap {
        /// All bytes below the node.
        range: Range<u64>,
        /// What is wrong with it.
        error: RepoError,
    },
}

/// What a cursor needs of a store: the content of a node. The second argument is what it is for.
pub trait NodeSource {
    /// The verified content of the chunk with this key.
    ///
    /// # Errors
    /// [`RepoError`] naming the chunk.
    fn node(&self, key: &ChunkKey) -> Result<Vec<u8>, RepoError>;
}

impl<S: NodeSource + ?Sized> NodeSource for &S {
    fn node(&self, key: &ChunkKey) -> Result<Vec<u8>, RepoError> {
        (**self).node(key)
    }
}

/// Walks the chunks of a tree in order, from any position.
pub struct TreeCursor<S: NodeSource> {
    source: S,
    root: TreeRoot,
    stack: Vec<Open>,
}

struct Open {
    node: TreeNode,
    start: u64,
    end: u64,
    next: usize,
    next_start: u64,
}

impl<S: NodeSource> TreeCursor<S> {
    /// A cursor at the start of the sequence.
    pub const fn new(source: S, root: TreeRoot) -> Self {
        Self { source, root, stack: Vec::new() }
    }

    /// Bytes of the sequence.
    pub const fn span(&self) -> u64 {
        self.root.span
    }

    /// The chunk that holds the byte at `position`; `None` at or behind the end. Cheap when `position` is near the one
    /// before.
    ///
    /// # Errors
    /// [`RepoError`]: a node that is missing, damaged, or whose spans do not add up.
    pub fn leaf_at(&mut self, position: u64) -> Result<Option<Leaf>, RepoError> {
        self.leaf_at_with(position, &mut |_| Ok(()))
    }

    /// As [`TreeCursor::leaf_at`]; `visit` is told the key of each node that is read on the way.
    ///
    /// # Errors
    /// As [`TreeCursor::leaf_at`], and what `visit` returns.
    pub fn leaf_at_with(
        &mut self,
        position: u64,
        visit: &mut dyn FnMut(&ChunkKey) -> Result<(), RepoError>,
    ) -> Result<Option<Leaf>, RepoError> {
        match self.reach(position, visit)? {
            Some(Reached::Leaf(leaf)) => Ok(Some(leaf)),
            Some(Reached::Gap { error, .. }) => Err(error),
            None => Ok(None),
        }
    }

    /// As [`TreeCursor::leaf_at_with`], but a node that is damaged or missing is no error: the answer says which bytes it hides.
    ///
    /// # Errors
    /// [`RepoError`]: storage that fails in another way, a root that cannot be, and what `visit` returns.
    pub fn reach(
        &mut self,
        position: u64,
        visit: &mut dyn FnMut(&ChunkKey) -> Result<(), RepoError>,
    ) -> Result<Option<Reached>, RepoError> {
        if position >= self.root.span {
            return Ok(None);
        }
        let Some(top) = self.root.top().map_err(structure)? else { return Ok(None) };
        if self.root.depth == 0 {
            return Ok(Some(Reached::Leaf(Leaf { start: 0, entry: top })));
        }
        while self.stack.last().is_some_and(|open| position < open.start || position >= open.end) {
            self.stack.pop();
        }
        loop {
            let (key, start, span, level) = match self.stack.last_mut() {
                None => (top.key.clone(), 0, top.span, self.root.depth - 1),
                Some(open) => {
                    let leaf = open.find(position);
                    if open.node.level == 0 {
                        return Ok(Some(Reached::Leaf(leaf)));
                    }
                    (leaf.entry.key.clone(), leaf.start, leaf.entry.span, open.node.level - 1)
                }
            };
            visit(&key)?;
            let node = match self.open_node(&key, level, span) {
                Ok(node) => node,
                Err(error) if error.is_damage() => {
                    return Ok(Some(Reached::Gap { range: start..start.saturating_add(span), error }));
                }
                Err(error) => return Err(error),
            };
            self.stack.push(Open { node, start, end: start + span, next: 0, next_start: start });
        }
    }
}

impl<S: NodeSource> TreeCursor<S> {
    fn open_node(&self, key: &ChunkKey, level: u8, span: u64) -> Result<TreeNode, RepoError> {
        let node = TreeNode::decode(&self.source.node(key)?, level).map_err(structure)?;
        if node.span() == span {
            return Ok(node);
        }
        Err(structure(FormatError::Field {
            structure: "tree node",
            field: "sum of spans",
            expected: "what its parent says",
            found: node.span(),
        }))
    }
}

impl Open {
    /// The entry that holds `position`, which is inside of the node.
    fn find(&mut self, position: u64) -> Leaf {
        if position < self.next_start {
            (self.next, self.next_start) = (0, self.start);
        }
        loop {
            let entry = &self.node.entries[self.next];
            if position < self.next_start + entry.span || self.next + 1 == self.node.entries.len() {
                return Leaf { start: self.next_start, entry: entry.clone() };
            }
            self.next_start += entry.span;
            self.next += 1;
        }
    }
}

fn structure(source: FormatError) -> RepoError {
    RepoError::Structure { what: "tree", snapshot: "being read".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::HashMap;

    #[derive(Default)]
    struct Store(RefCell<HashMap<[u8; 32], Vec<u8>>>);

    impl Store {
        fn put(&self, bytes: Vec<u8>) -> ChunkKey {
            let key = *blake3::hash(&bytes).as_bytes();
            self.0.borrow_mut().insert(key, bytes);
            ChunkKey::new(key)
        }
    }

    impl NodeSource for Store {
        fn node(&self, key: &ChunkKey) -> Result<Vec<u8>, RepoError> {
            self.0.borrow().get(key.expose()).cloned().ok_or(RepoError::ConfigChanged)
        }
    }

    fn entries(count: u32) -> Vec<TreeEntry> {
        (0..count)
            .map(|i| TreeEntry {
                key: ChunkKey::new(*blake3::hash(&i.to_le_bytes()).as_bytes()),
                span: u64::from(i % 9 + 1),
            })
            .collect()
    }

    fn write(store: &Store, entries: &[TreeEntry]) -> TreeRoot {
        let mut writer = TreeWriter::new();
        let mut put = |bytes| Ok(store.put(bytes));
        for entry in entries {
            writer.push(entry.clone(), &mut put).expect("stored");
        }
        writer.finish(&mut put).expect("stored")
    }

    #[test]
    fn every_length_reads_back_in_order_and_from_any_position() {
        for count in [0, 1, 2, 63, 64, 65, 2048, 2049, 5000, 70_000] {
            let store = Store::default();
            let entries = entries(count);
            let root = write(&store, &entries);
            let mut cursor = TreeCursor::new(&store, root);
            let mut position = 0;
            for entry in &entries {
                let leaf = cursor.leaf_at(position).expect("readable").expect("inside");
                assert_eq!((leaf.start, &leaf.entry), (position, entry), "{count} entries");
                position += entry.span;
            }
            assert_eq!(cursor.span(), position);
            assert_eq!(cursor.leaf_at(position).expect("readable"), None);
            for probe in (0..position).step_by(9973).chain((0..position).rev().step_by(7919)) {
                let leaf = cursor.leaf_at(probe).expect("readable").expect("inside");
                assert!(leaf.start <= probe && probe < leaf.start + leaf.entry.span);
            }
        }
    }

    #[test]
    fn sequences_that_are_alike_in_a_part_share_nodes() {
        let store = Store::default();
        let mut entries = entries(60_000);
        write(&store, &entries);
        let before = store.0.borrow().len();
        entries.insert(30_000, TreeEntry { key: ChunkKey::new([0xee; 32]), span: 3 });
        write(&store, &entries);
        let new = store.0.borrow().len() - before;
        assert!(new <= 4, "{new} of {before} nodes are new after one insertion");
    }

    #[test]
    fn spans_that_do_not_add_up_are_refused() {
        let store = Store::default();
        let root = write(&store, &entries(500));
        let top = root.top().expect("sound").expect("not empty");
        let lying = TreeRoot::new(root.depth, &TreeEntry { span: top.span + 1, ..top });
        assert!(matches!(TreeCursor::new(&store, lying).leaf_at(0), Err(RepoError::Structure { .. })));
    }
}
