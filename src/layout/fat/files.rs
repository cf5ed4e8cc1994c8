//! A FAT volume as something to look into.
//!
//! Always true here:
//! - A node is the place of its entry on the volume, in bytes; the root directory, which has no entry, is 0, where the boot sector is.
//!   An entry is read and checked each time.
//! - No chain is followed beyond what a file or a directory may have, and none in a circle.
//! - Memory: 16 MiB of the table, whatever is asked; for an open file, the extents that it lies in.
//!
//! Times on a FAT volume are those of a clock on a wall, and it does not say in which zone. They are told as if it were UTC.

use super::clusters::{Clusters, Found, listed};
use super::content::FileContent;
use super::directory::{MOST_BYTES, Step, each_entry};
use super::entry::{ENTRY, Entry, Slot, slot};
use super::heap::{read, total};
use super::name::{LongName, short_name};
use super::{FatVolume, Geometry, table};
use crate::disk::{Extent, ReadAt};
use crate::layout::LayoutError;
use crate::layout::files::{self, FileSystem, Listing, NodeFacts, NodeId, NodeKind};
use std::ops::ControlFlow;
use std::sync::Arc;

const WHAT: &str = "the entry of a file";
/// The root directory.
const ROOT: NodeId = NodeId(0);
/// The attribute of Windows for a folder.
const FOLDER: u32 = 0x10;

/// All entries of a directory can be told.
const _: () = assert!(MOST_BYTES / ENTRY as u64 <= files::MOST_ENTRIES as u64);

/// The files of a FAT volume.
pub struct FatFiles {
    volume: Arc<dyn ReadAt>,
    geometry: Geometry,
    clusters: Clusters,
}

impl std::fmt::Debug for FatFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FatFiles").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

impl FatFiles {
    /// Opens a volume; `None` when it does not begin with the boot sector of a FAT volume.
    ///
    /// # Errors
    /// As [`FatVolume::open`].
    pub fn open(volume: Arc<dyn ReadAt>) -> Result<Option<Self>, LayoutError> {
        let Some(FatVolume { geometry, heap, .. }) = FatVolume::open(&volume)? else { return Ok(None) };
        let table = table(Arc::clone(&volume), &geometry, geometry.active.unwrap_or(0));
        Ok(Some(Self { volume, geometry, clusters: Clusters::new(heap, table) }))
    }

    /// The entry of a node other than the root directory.
    fn entry(&self, node: NodeId) -> Result<Entry, LayoutError> {
        let at = node.0;
        let wrong = || LayoutError::malformed(WHAT, at, "one of a file or a folder", "something else");
        let places = [self.geometry.fixed_root(), Some(self.clusters.whole())];
        let is_inside = |place: Extent| place.start.0 <= at && place.end().is_some_and(|end| at < end.0);
        // All places of entries begin with a sector.
        if !at.is_multiple_of(ENTRY as u64) || !places.into_iter().flatten().any(is_inside) {
            return Err(wrong());
        }
        let mut bytes = [0; ENTRY];
        read(&self.volume, WHAT, at, &mut bytes)?;
        match slot(&bytes) {
            Slot::Named(entry) => Ok(entry),
            _ => Err(wrong()),
        }
    }

    /// Where a folder lies, and why there is not more of it.
    fn folder(&self, folder: NodeId) -> Result<Found, LayoutError> {
        if folder != ROOT {
            let entry = self.entry(folder)?;
            if !entry.is_directory() {
                return Err(LayoutError::malformed(WHAT, folder.0, "one of a folder", "one of a file"));
            }
            return Ok(self.clusters.chain(entry.first_cluster(self.geometry.kind()), MOST_BYTES));
        }
        match self.geometry.fixed_root() {
            Some(root) => Ok((vec![root], None)),
            None => Ok(self.clusters.chain(self.geometry.root_cluster, MOST_BYTES)),
        }
    }
}

impl FileSystem for FatFiles {
    fn root(&self) -> NodeId {
        ROOT
    }

    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError> {
        let entry = if node == ROOT { None } else { Some(self.entry(node)?) };
        let is_folder = entry.is_none_or(|entry| entry.is_directory());
        let extents = match entry {
            Some(entry) if !is_folder => match entry.first_cluster(self.geometry.kind()) {
                0 => Vec::new(),
                // There may be clusters behind the size: they were taken ahead of what will be written.
                first => self.clusters.chain(first, u64::from(u32::MAX)).0,
            },
            _ => self.folder(node)?.0,
        };
        Ok(NodeFacts {
            kind: if is_folder { NodeKind::Folder } else { NodeKind::File },
            size: entry.filter(|_| !is_folder).map_or(0, |entry| entry.size()),
            allocated: total(&extents),
            created: entry.and_then(|entry| entry.created()),
            modified: entry.and_then(|entry| entry.modified()),
            accessed: entry.and_then(|entry| entry.accessed()),
            changed: None,
            attributes: entry.map_or(FOLDER, |entry| entry.attributes()),
            links: 1,
            reparse_tag: None,
        })
    }

    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError> {
        let (extents, broken) = self.folder(folder)?;
        let mut listing = Listing::default();
        let mut name = LongName::default();
        let mut was_read = false;
        each_entry(&self.volume, &extents, |step| {
            let (at, bytes) = match step {
                Step::Entry(at, bytes) => (at, bytes),
                Step::Unreadable(error) => {
                    name.clear();
                    return listing.tell(error).map(ControlFlow::Continue);
                }
            };
            was_read = true;
            match slot(bytes) {
                Slot::End => return Ok(ControlFlow::Break(())),
                Slot::Unused | Slot::Label(_) => name.clear(),
                Slot::LongName(part) => name.take(part),
                Slot::Named(entry) => listing.entries.push(files::Entry {
                    name: name.finish(&entry).unwrap_or_else(|| short_name(&entry)),
                    node: NodeId(at),
                    is_folder: entry.is_directory(),
                }),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        listed(listing, was_read, broken)
    }

    fn open(&self, node: NodeId, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
        if let Some(stream) = stream {
            return Err(no_stream(stream));
        }
        let entry = if node == ROOT { None } else { Some(self.entry(node)?) };
        let Some(entry) = entry.filter(|entry| !entry.is_directory()) else {
            return Err(LayoutError::malformed(WHAT, node.0, "one of a file", "one of a folder"));
        };
        let (size, first) = (entry.size(), entry.first_cluster(self.geometry.kind()));
        let (extents, broken) = if size == 0 { (Vec::new(), None) } else { self.clusters.chain(first, size) };
        Ok(Arc::new(FileContent::new(Arc::clone(&self.volume), &extents, size, size, broken)))
    }
}

/// What is said of a named stream, which neither FAT nor exFAT has.
pub(in crate::layout) fn no_stream(name: &str) -> LayoutError {
    LayoutError::Unsupported { what: "a named stream", reason: format!("there is no `{name}` on such a volume") }
}
