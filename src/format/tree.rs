//! Trees: how a long sequence of bytes is named by one key (format-spec/tree.md).
//!
//! Always true here:
//! - A node's entries name chunks (level 0) or nodes of the level below, each with the bytes that it spans; a node that
//!   decodes has at least one entry, no empty span, and spans that add up within 64 bits.
//! - Nodes are closed by their content, so that two sequences that are alike in a part share the nodes of that part.
//! - The root says how deep the tree is; a reader goes no deeper, so that no loop is possible.

use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};
use crate::ids::ChunkKey;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use zeroize::Zeroize;

const STRUCTURE: &str = "tree node";
/// Bytes of one entry.
pub const ENTRY_LENGTH: usize = 40;
/// Bytes before the entries.
const NODE_HEADER_LENGTH: usize = 8;
/// The deepest tree: with 64 entries a node and one byte a chunk this is far beyond 64 bits of span.
pub const MAX_DEPTH: u8 = 12;
/// A node is closed by its content only from this many entries on.
pub const MIN_ENTRIES: usize = 64;
/// A node is closed whatever its content at this many entries.
pub const MAX_ENTRIES: usize = 2048;
/// A node is closed behind an entry whose key's first four bytes have these bits clear.
pub const CLOSING_MASK: u32 = 0x1ff;

/// One entry of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The key of the chunk or node below.
    pub key: ChunkKey,
    /// Bytes of the sequence that lie below.
    pub span: u64,
}

impl TreeEntry {
    /// True when the format closes a node behind this entry once the node has [`MIN_ENTRIES`].
    pub fn closes_node(&self) -> bool {
        let bytes = self.key.expose();
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) & CLOSING_MASK == 0
    }
}

/// A node of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeNode {
    /// 0 when the entries name chunks of the sequence, else one more than the level of the nodes that they name.
    pub level: u8,
    /// At least one entry.
    pub entries: Vec<TreeEntry>,
}

impl TreeNode {
    /// Bytes of the sequence below this node.
    pub fn span(&self) -> u64 {
        self.entries.iter().map(|entry| entry.span).sum()
    }

    /// The node's bytes, which are then stored as a chunk. The caller wipes them.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(b"SN").u8(self.level).u8(0).u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for entry in &self.entries {
            writer.bytes(entry.key.expose()).u64(entry.span);
        }
        writer.into_bytes()
    }

    /// Reads an opened node that must have this level.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8], level: u8) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let magic = reader.array::<2>("magic").within(STRUCTURE)?;
        if &magic != b"SN" {
            return Err(FormatError::Magic {
                structure: STRUCTURE,
                expected: "534e".to_owned(),
                found: crate::ids::to_hex(&magic),
            });
        }
        let found = reader.u8("level").within(STRUCTURE)?;
        if found != level || level >= MAX_DEPTH {
            return Err(FormatError::field(STRUCTURE, "level", "one less than its parent's", found.into()));
        }
        let reserved = reader.u8("reserved").within(STRUCTURE)?;
        if reserved != 0 {
            return Err(FormatError::field(STRUCTURE, "reserved", "zero", reserved.into()));
        }
        let count = reader.u32("count").within(STRUCTURE)?;
        if count == 0 || count as usize > MAX_ENTRIES {
            return Err(FormatError::field(STRUCTURE, "count", "1 to 2048", count.into()));
        }
        let table = reader.table::<ENTRY_LENGTH>(count, "entries").within(STRUCTURE)?;
        let mut entries = Vec::with_capacity(table.len());
        let mut total = 0_u64;
        for bytes in table {
            let mut reader = Reader::new(bytes);
            let key = ChunkKey::new(reader.array("key").within(STRUCTURE)?);
            let span = reader.u64("span").within(STRUCTURE)?;
            total = match total.checked_add(span) {
                Some(total) if span > 0 => total,
                _ => return Err(FormatError::field(STRUCTURE, "span", "more than 0, and a sum within 64 bits", span)),
            };
            entries.push(TreeEntry { key, span });
        }
        reader.finish().within(STRUCTURE)?;
        Ok(Self { level, entries })
    }

    /// Bytes that a node with this many entries has.
    pub const fn encoded_length(entries: usize) -> usize {
        NODE_HEADER_LENGTH + entries * ENTRY_LENGTH
    }
}

/// The root of a tree. Holding it is being able to read the sequence.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TreeRoot {
    /// Bytes of the sequence. An empty sequence has no key and depth 0.
    #[n(0)]
    pub span: u64,
    /// Levels of nodes between the root's key and the chunks; 0 when the key is that of the only chunk.
    #[n(1)]
    pub depth: u8,
    /// The key of the topmost node, or of the only chunk.
    #[n(2)]
    key: Option<RootKey>,
}

/// The key in a root, which wipes itself as a `ChunkKey` does.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
struct RootKey(ByteArray<32>);

impl Drop for RootKey {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl std::fmt::Debug for TreeRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeRoot").field("span", &self.span).field("depth", &self.depth).finish_non_exhaustive()
    }
}

impl TreeRoot {
    /// The root of an empty sequence.
    pub const EMPTY: Self = Self { span: 0, depth: 0, key: None };

    /// The root above one chunk (depth 0) or node.
    pub fn new(depth: u8, top: &TreeEntry) -> Self {
        Self { span: top.span, depth, key: Some(RootKey((*top.key.expose()).into())) }
    }

    /// The topmost entry, or `None` for an empty sequence.
    ///
    /// # Errors
    /// [`FormatError::Field`] when span, depth and key contradict one another.
    pub fn top(&self) -> Result<Option<TreeEntry>, FormatError> {
        const ROOT: &str = "tree root";
        if self.depth > MAX_DEPTH {
            return Err(FormatError::field(ROOT, "depth", "0 to 12", self.depth.into()));
        }
        match (&self.key, self.span) {
            (None, 0) if self.depth == 0 => Ok(None),
            (Some(key), 1..) => Ok(Some(TreeEntry { key: ChunkKey::new(*key.0), span: self.span })),
            _ => Err(FormatError::field(ROOT, "span", "0 exactly when there is no key", self.span)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> TreeNode {
        let entry = |byte, span| TreeEntry { key: ChunkKey::new([byte; 32]), span };
        TreeNode { level: 1, entries: vec![entry(1, 10), entry(2, 20)] }
    }

    #[test]
    fn nodes_round_trip() {
        let bytes = node().encode();
        assert_eq!(bytes.len(), TreeNode::encoded_length(2));
        assert_eq!(TreeNode::decode(&bytes, 1), Ok(node()));
        assert!(matches!(TreeNode::decode(&bytes, 0), Err(FormatError::Field { field: "level", .. })));
        for length in 0..bytes.len() {
            assert!(TreeNode::decode(&bytes[..length], 1).is_err());
        }
    }

    #[test]
    fn spans_of_zero_or_beyond_64_bits_and_empty_nodes_are_refused() {
        for spans in [[0, 1], [u64::MAX, 1]] {
            let mut bad = node();
            bad.entries[0].span = spans[0];
            bad.entries[1].span = spans[1];
            assert!(matches!(TreeNode::decode(&bad.encode(), 1), Err(FormatError::Field { field: "span", .. })));
        }
        let empty = TreeNode { level: 1, entries: vec![] };
        assert!(matches!(TreeNode::decode(&empty.encode(), 1), Err(FormatError::Field { field: "count", .. })));
    }

    #[test]
    fn a_root_that_contradicts_itself_is_refused() {
        assert_eq!(TreeRoot::EMPTY.top(), Ok(None));
        let top = TreeEntry { key: ChunkKey::new([1; 32]), span: 7 };
        assert_eq!(TreeRoot::new(0, &top).top(), Ok(Some(top.clone())));
        assert!(TreeRoot { span: 0, ..TreeRoot::new(0, &top) }.top().is_err());
        assert!(TreeRoot { span: 1, ..TreeRoot::EMPTY }.top().is_err());
        assert!(TreeRoot { depth: 13, ..TreeRoot::new(0, &top) }.top().is_err());
    }
}
