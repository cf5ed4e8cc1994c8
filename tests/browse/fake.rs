//! A file system that says whatever a test wants it to say.
//!
//! Always true here: nothing is checked; that is what those who use file systems have to do.

use sheaf::disk::{DiskOffset, Extent, ReadAt, ReadError};
use sheaf::layout::files::{Entry, Link, Listing, Moment, NamedStream, NodeFacts, NodeId, NodeKind};
use sheaf::layout::{FileSystem, LayoutError};
use sheaf::ops::browse::{Browser, Volume};
use std::ops::Range;
use std::sync::Arc;

/// A content: bytes, zeros without end, or something that cannot be read.
#[derive(Clone)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    Sparse(u64, Vec<u8>),
    Damaged(u64),
}

impl ReadAt for Content {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Sparse(size, _) | Self::Damaged(size) => *size,
        }
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        match self {
            Self::Bytes(bytes) => bytes.read_at(offset, buffer),
            Self::Sparse(_, head) => {
                for (at, byte) in (offset.0..).zip(buffer) {
                    *byte = usize::try_from(at).ok().and_then(|at| head.get(at)).copied().unwrap_or(0);
                }
                Ok(())
            }
            Self::Damaged(_) if offset.0 == 0 => {
                buffer.fill(1);
                Ok(())
            }
            Self::Damaged(_) => Err(ReadError::Damaged { offset, reason: "a chunk is gone".to_owned() }),
        }
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let end = match self {
            Self::Sparse(_, head) => head.len() as u64,
            _ => self.size(),
        };
        Ok((from.0 < end).then_some(from.0..end))
    }
}

pub(crate) struct Node {
    pub kind: NodeKind,
    pub entries: Vec<(String, u64)>,
    pub content: Content,
    pub links: u32,
    pub streams: Vec<(String, Vec<u8>)>,
}

/// Nodes by their numbers; 0 is the top.
#[derive(Default)]
pub(crate) struct Fake(pub(crate) Vec<Node>);

impl Fake {
    pub(crate) fn new() -> Self {
        let mut fake = Self::default();
        fake.node(NodeKind::Folder, Content::Bytes(Vec::new()));
        fake
    }

    fn node(&mut self, kind: NodeKind, content: Content) -> u64 {
        self.0.push(Node { kind, entries: Vec::new(), content, links: 1, streams: Vec::new() });
        self.0.len() as u64 - 1
    }

    pub(crate) fn name(&mut self, folder: u64, name: &str, node: u64) {
        self.0[folder as usize].entries.push((name.to_owned(), node));
    }

    pub(crate) fn folder(&mut self, folder: u64, name: &str) -> u64 {
        let node = self.node(NodeKind::Folder, Content::Bytes(Vec::new()));
        self.name(folder, name, node);
        node
    }

    pub(crate) fn content(&mut self, folder: u64, name: &str, content: Content) -> u64 {
        let node = self.node(NodeKind::File, content);
        self.name(folder, name, node);
        node
    }

    pub(crate) fn file(&mut self, folder: u64, name: &str, bytes: &[u8]) -> u64 {
        self.content(folder, name, Content::Bytes(bytes.to_vec()))
    }

    pub(crate) fn link(&mut self, folder: u64, name: &str, target: &str, is_relative: bool) -> u64 {
        let link = Link { target: target.to_owned(), is_relative, is_junction: !is_relative };
        let node = self.node(NodeKind::Link(link), Content::Bytes(Vec::new()));
        self.name(folder, name, node);
        node
    }

    /// A disk with this one volume, and its number.
    pub(crate) fn disk(self, number: Option<u32>) -> Browser {
        let extent = Extent { start: DiskOffset(0), length: 1 << 20 };
        let files: Arc<dyn FileSystem> = Arc::new(self);
        let volume = Volume { number, extent, file_system: "fake".to_owned(), name: None, files: Ok(files) };
        Browser::with_volumes(Arc::new(Vec::new()), vec![volume])
    }
}

impl FileSystem for Fake {
    fn root(&self) -> NodeId {
        NodeId(0)
    }

    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError> {
        let Some(node) = self.0.get(node.0 as usize) else {
            return Err(LayoutError::malformed("a node", node.0, "one that is there", "none"));
        };
        let moment = Some(Moment { seconds: 1_700_000_000, nanoseconds: 123_456_700 });
        Ok(NodeFacts {
            kind: node.kind.clone(),
            size: node.content.size(),
            allocated: 0,
            created: moment,
            modified: moment,
            accessed: moment,
            changed: moment,
            attributes: 0,
            links: node.links,
            reparse_tag: None,
        })
    }

    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError> {
        let node = &self.0[folder.0 as usize];
        let entries = node.entries.iter().map(|(name, node)| Entry {
            name: name.clone(),
            node: NodeId(*node),
            is_folder: self.0.get(*node as usize).is_some_and(|node| node.kind == NodeKind::Folder),
        });
        Ok(Listing { entries: entries.collect(), problems: Vec::new() })
    }

    fn streams(&self, node: NodeId) -> Result<Vec<NamedStream>, LayoutError> {
        let streams = self.0[node.0 as usize].streams.iter();
        Ok(streams.map(|(name, bytes)| NamedStream { name: name.clone(), size: bytes.len() as u64 }).collect())
    }

    fn open(&self, node: NodeId, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
        let node = &self.0[node.0 as usize];
        let Some(stream) = stream else { return Ok(Arc::new(node.content.clone())) };
        match node.streams.iter().find(|(name, _)| name == stream) {
            Some((_, bytes)) => Ok(Arc::new(bytes.clone())),
            None => Err(LayoutError::malformed("a stream", 0, stream, "none")),
        }
    }
}
