//! Snapshots that are made up: what a test puts into them is what a mount is told.
//!
//! Always true here:
//! - A file system has its top as node 0, and says what it was told to say, sound or not.

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::files::{Entry, Link, Listing, Moment, NamedStream, NodeFacts, NodeId, NodeKind};
use sheaf::layout::{FileSystem, LayoutError};
use sheaf::serve::mount::{OpenSnapshot, Shelf, ShelfEntry, ShelfError};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// 2026-03-02 17:04:11.500 UTC.
pub(crate) const WHEN_MS: i64 = 1_772_471_051_500;

/// An hour ahead of UTC.
pub(crate) const OFFSET_S: i32 = 3600;

/// The id of a snapshot, of a few digits and zeros.
pub(crate) fn id(digits: &str) -> String {
    format!("{digits:0<64}")
}

/// A snapshot's entry in the list.
pub(crate) fn entry(digits: &str, stick: &str, unix_ms: i64) -> ShelfEntry {
    ShelfEntry { id: id(digits), stick: stick.to_owned(), unix_ms, utc_offset_s: OFFSET_S }
}

#[derive(Default)]
pub(crate) struct FakeShelf {
    pub(crate) list: Mutex<Vec<ShelfEntry>>,
    pub(crate) snapshots: Mutex<BTreeMap<String, Arc<FakeSnapshot>>>,
    pub(crate) opened: AtomicU32,
    pub(crate) troubles: Mutex<Vec<String>>,
}

impl FakeShelf {
    /// A shelf with one snapshot, of the id `aaaaaaaa…` and the stick `oak`.
    pub(crate) fn of(snapshot: FakeSnapshot) -> Arc<Self> {
        let shelf = Arc::new(Self::default());
        shelf.put(entry("aaaaaaaa", "oak", WHEN_MS), snapshot);
        shelf
    }

    /// A shelf with one volume `partition-3` in that snapshot.
    pub(crate) fn of_files(files: FakeFiles) -> Arc<Self> {
        Self::of(FakeSnapshot {
            volumes: vec![("partition-3".to_owned(), Some(Arc::new(files)))],
            ..Default::default()
        })
    }

    pub(crate) fn put(&self, entry: ShelfEntry, snapshot: FakeSnapshot) {
        self.snapshots.lock().unwrap().insert(entry.id.clone(), Arc::new(snapshot));
        self.list.lock().unwrap().push(entry);
    }

    pub(crate) fn was_told(&self, part: &str) -> bool {
        self.troubles.lock().unwrap().iter().any(|line| line.contains(part))
    }
}

impl Shelf for FakeShelf {
    fn list(&self) -> Result<Vec<ShelfEntry>, ShelfError> {
        Ok(self.list.lock().unwrap().clone())
    }

    fn open(&self, id: &str) -> Result<Arc<dyn OpenSnapshot>, ShelfError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        match self.snapshots.lock().unwrap().get(id) {
            Some(snapshot) => Ok(Arc::<FakeSnapshot>::clone(snapshot)),
            None => Err(ShelfError(format!("{id} is damaged"))),
        }
    }

    fn trouble(&self, line: &str) {
        self.troubles.lock().unwrap().push(line.to_owned());
    }
}

#[derive(Default)]
pub(crate) struct FakeSnapshot {
    pub(crate) images: Vec<(String, Arc<dyn ReadAt>)>,
    /// None cannot be opened.
    pub(crate) volumes: Vec<(String, Option<Arc<FakeFiles>>)>,
}

impl OpenSnapshot for FakeSnapshot {
    fn images(&self) -> Vec<String> {
        self.images.iter().map(|(name, _)| name.clone()).collect()
    }

    fn open_image(&self, index: usize) -> Result<Arc<dyn ReadAt>, ShelfError> {
        Ok(Arc::clone(&self.images[index].1))
    }

    fn volumes(&self) -> Vec<String> {
        self.volumes.iter().map(|(name, _)| name.clone()).collect()
    }

    fn open_volume(&self, index: usize) -> Result<Arc<dyn FileSystem>, ShelfError> {
        match &self.volumes[index].1 {
            Some(files) => Ok(Arc::<FakeFiles>::clone(files)),
            None => Err(ShelfError("no file system that is known".to_owned())),
        }
    }
}

pub(crate) struct FakeNode {
    pub(crate) facts: NodeFacts,
    pub(crate) entries: Vec<Entry>,
    pub(crate) content: Arc<dyn ReadAt>,
    pub(crate) streams: Vec<(String, Vec<u8>)>,
    /// Its facts cannot be read.
    pub(crate) is_damaged: bool,
}

/// A file system in memory.
pub(crate) struct FakeFiles(pub(crate) Vec<FakeNode>);

impl FakeFiles {
    pub(crate) fn new() -> Self {
        let mut files = Self(Vec::new());
        files.node(NodeKind::Folder, Arc::new(Vec::new()));
        files
    }

    fn node(&mut self, kind: NodeKind, content: Arc<dyn ReadAt>) -> u64 {
        let at = |seconds, nanoseconds| Some(Moment { seconds, nanoseconds });
        let facts = NodeFacts {
            size: content.size(),
            allocated: content.size().next_multiple_of(4096),
            created: at(1_000_000_000, 100),
            modified: at(1_100_000_000, 123_456_700),
            accessed: at(1_200_000_000, 999_999_900),
            changed: at(-11_644_473_600, 0),
            attributes: if kind == NodeKind::Folder { 0x10 } else { 0x21 },
            links: 1,
            reparse_tag: None,
            kind,
        };
        self.0.push(FakeNode { facts, entries: Vec::new(), content, streams: Vec::new(), is_damaged: false });
        self.0.len() as u64 - 1
    }

    /// Gives a node one more name.
    pub(crate) fn name(&mut self, folder: u64, name: &str, node: u64) {
        let is_folder = self.0[node as usize].facts.kind == NodeKind::Folder;
        self.0[folder as usize].entries.push(Entry { name: name.to_owned(), node: NodeId(node), is_folder });
    }

    pub(crate) fn folder(&mut self, folder: u64, name: &str) -> u64 {
        let node = self.node(NodeKind::Folder, Arc::new(Vec::new()));
        self.name(folder, name, node);
        node
    }

    pub(crate) fn file(&mut self, folder: u64, name: &str, content: impl Into<Vec<u8>>) -> u64 {
        self.disk(folder, name, Arc::new(content.into()))
    }

    pub(crate) fn disk(&mut self, folder: u64, name: &str, content: Arc<dyn ReadAt>) -> u64 {
        let node = self.node(NodeKind::File, content);
        self.name(folder, name, node);
        node
    }

    pub(crate) fn link(&mut self, folder: u64, name: &str, target: &str, is_relative: bool) -> u64 {
        let link = Link { target: target.to_owned(), is_relative, is_junction: !is_relative };
        let node = self.node(NodeKind::Link(link), Arc::new(Vec::new()));
        self.name(folder, name, node);
        // As file systems do where the link leads to a folder.
        self.0[folder as usize].entries.last_mut().unwrap().is_folder = true;
        node
    }

    fn get(&self, node: NodeId) -> Result<&FakeNode, LayoutError> {
        let found = self.0.get(node.0 as usize).filter(|node| !node.is_damaged);
        found.ok_or_else(|| LayoutError::malformed("a record", node.0, "FILE", "BAAD"))
    }
}

impl FileSystem for FakeFiles {
    fn root(&self) -> NodeId {
        NodeId(0)
    }

    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError> {
        Ok(self.get(node)?.facts.clone())
    }

    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError> {
        Ok(Listing { entries: self.get(folder)?.entries.clone(), problems: Vec::new() })
    }

    fn streams(&self, node: NodeId) -> Result<Vec<NamedStream>, LayoutError> {
        let stream =
            |(name, content): &(String, Vec<u8>)| NamedStream { name: name.clone(), size: content.len() as u64 };
        Ok(self.get(node)?.streams.iter().map(stream).collect())
    }

    fn open(&self, node: NodeId, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
        let node = self.get(node)?;
        let encrypted = || LayoutError::Unsupported { what: "a file", reason: "it is encrypted".into() };
        match stream {
            None if node.facts.attributes & 0x4000 != 0 => Err(encrypted()),
            None => Ok(Arc::clone(&node.content)),
            Some(name) => {
                let found = node.streams.iter().find(|(other, _)| other == name);
                found.map(|(_, content)| Arc::new(content.clone()) as _).ok_or_else(encrypted)
            }
        }
    }
}

/// A disk that cannot be read in some places, has holes in others, and is 7 elsewhere.
pub(crate) struct Torn {
    pub(crate) size: u64,
    pub(crate) damaged: Vec<Range<u64>>,
    pub(crate) holes: Vec<Range<u64>>,
}

impl ReadAt for Torn {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let end = offset.0 + buffer.len() as u64;
        if self.damaged.iter().any(|range| range.start < end && offset.0 < range.end) {
            return Err(ReadError::Damaged { offset, reason: "pack 12 is torn".into() });
        }
        for (at, byte) in (offset.0..).zip(buffer) {
            *byte = if self.holes.iter().any(|hole| hole.contains(&at)) { 0 } else { 7 };
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let mut start = from.0;
        while let Some(hole) = self.holes.iter().find(|hole| hole.contains(&start)) {
            start = hole.end;
        }
        let end = self.holes.iter().map(|hole| hole.start).filter(|hole| *hole > start).min();
        Ok((start < self.size).then(|| start..end.unwrap_or(self.size)))
    }
}

/// A disk that answers when it is told to.
pub(crate) struct Gate {
    waiting: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Gate {
    /// The disk, what is heard when a read has begun, and what lets it go on.
    pub(crate) fn new() -> (Self, Receiver<()>, Sender<()>) {
        let (waiting, is_waiting) = channel();
        let (go, gate) = channel();
        (Self { waiting, go: Mutex::new(gate) }, is_waiting, go)
    }
}

impl ReadAt for Gate {
    fn size(&self) -> u64 {
        4096
    }

    fn read_at(&self, _: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.waiting.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        buffer.fill(9);
        Ok(())
    }
}
