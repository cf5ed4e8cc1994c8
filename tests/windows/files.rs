//! A volume with a Windows on it, as far as anybody looks: three folders and at most two files, in memory.
//!
//! Always true here: all reads of the two files are counted, and [`Volume::hold`] fails when they are more than may be.

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::files::{Entry, Listing, NamedStream, NodeFacts, NodeId, NodeKind};
use sheaf::layout::{FileSystem, LayoutError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What two files may cost: reads, and bytes.
const MOST: (u64, u64) = (10_000, 6 << 20);

/// The volume.
pub(crate) struct Volume {
    /// Of Windows, System32, config, and the two files.
    names: [&'static str; 5],
    hive: Option<Arc<Counted>>,
    kernel: Option<Arc<Counted>>,
}

/// A file.
struct Counted {
    bytes: Vec<u8>,
    reads: AtomicU64,
    read: AtomicU64,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.bytes.read_at(offset, buffer)
    }
}

impl Volume {
    /// A volume with these two files, or without.
    pub(crate) fn new(hive: Option<&[u8]>, kernel: Option<&[u8]>) -> Self {
        let file = |bytes: &[u8]| {
            Arc::new(Counted { bytes: bytes.to_vec(), reads: AtomicU64::new(0), read: AtomicU64::new(0) })
        };
        let names = ["Windows", "System32", "config", "SOFTWARE", "ntoskrnl.exe"];
        Self { names, hive: hive.map(file), kernel: kernel.map(file) }
    }

    /// The same under other names.
    #[allow(dead_code, reason = "shared with a fuzz target, which has no use for it")]
    pub(crate) fn named(mut self, names: [&'static str; 5]) -> Self {
        self.names = names;
        self
    }

    /// Fails when the files were read more than they may be.
    pub(crate) fn hold(&self) {
        for file in [&self.hive, &self.kernel].into_iter().flatten() {
            let cost = (file.reads.load(Ordering::Relaxed), file.read.load(Ordering::Relaxed));
            assert!(cost.0 <= MOST.0 && cost.1 <= MOST.1, "{} reads of {} bytes", cost.0, cost.1);
        }
    }
}

fn absent(node: NodeId) -> LayoutError {
    LayoutError::malformed("a node", node.0, "one of five", node.0)
}

impl FileSystem for Volume {
    fn root(&self) -> NodeId {
        NodeId(0)
    }

    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError> {
        let kind = if node.0 < 4 { NodeKind::Folder } else { NodeKind::File };
        let (size, allocated, attributes, links) = (0, 0, 0, 1);
        let (created, modified, accessed, changed, reparse_tag) = (None, None, None, None, None);
        Ok(NodeFacts { kind, size, allocated, created, modified, accessed, changed, attributes, links, reparse_tag })
    }

    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError> {
        // Folders are 0 to 3, each in the one before; the hive is in the last one, the kernel in the one before that.
        let entry = |node: u64| {
            let name = self.names[node as usize - 1].to_owned();
            Entry { name, node: NodeId(node), is_folder: node < 4 }
        };
        let mut entries = match folder.0 {
            0..=2 => vec![entry(folder.0 + 1)],
            3 if self.hive.is_some() => vec![entry(4)],
            3 => Vec::new(),
            _ => return Err(absent(folder)),
        };
        if folder.0 == 2 && self.kernel.is_some() {
            entries.push(entry(5));
        }
        // A file that has the name of the folder that is looked for, and the other way round.
        if let Some(first) = entries.first().cloned() {
            entries.insert(0, Entry { is_folder: !first.is_folder, node: NodeId(99), ..first });
        }
        Ok(Listing { entries, problems: Vec::new() })
    }

    fn streams(&self, _node: NodeId) -> Result<Vec<NamedStream>, LayoutError> {
        Ok(Vec::new())
    }

    fn open(&self, node: NodeId, _stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
        let file = match node.0 {
            4 => self.hive.clone(),
            5 => self.kernel.clone(),
            _ => None,
        };
        file.map(|file| file as Arc<dyn ReadAt>).ok_or_else(|| absent(node))
    }
}
