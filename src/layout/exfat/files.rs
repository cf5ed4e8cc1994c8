//! An exFAT volume as something to look into.
//!
//! Always true here:
//! - A node is the place of the first entry of its set on the volume, in bytes; the root directory, which has none, is 0, where the
//!   boot sector is. A set is read and its checksum made sure of each time.
//! - No chain is followed beyond what the length of a file or a directory needs, and none in a circle.
//! - Memory: 16 MiB of the table, whatever is asked; for an open file, the extents that it lies in.
//!
//! Structures: Microsoft exFAT specification, section 7. A time without its zone is told as if it were UTC.

use super::directory::MOST_BYTES;
use super::entries::{Allocation, ENTRY, Facts, Item, Place, Sets, file, name, set_length};
use super::{ExFatVolume, table};
use crate::disk::ReadAt;
use crate::layout::LayoutError;
use crate::layout::fat::clusters::{Clusters, Found, listed};
use crate::layout::fat::content::FileContent;
use crate::layout::fat::directory::{Step, each_entry};
use crate::layout::fat::files::no_stream;
use crate::layout::fat::heap::{read, total};
use crate::layout::files::{self, FileSystem, Listing, NodeFacts, NodeId, NodeKind};
use std::ops::ControlFlow;
use std::sync::Arc;

const WHAT: &str = "the entries of a file";
/// The root directory.
const ROOT: NodeId = NodeId(0);
/// The attribute of Windows for a folder.
const FOLDER: u32 = 0x10;

/// All entries of a directory can be told: a set has two at least.
const _: () = assert!(MOST_BYTES / (2 * ENTRY as u64) <= files::MOST_ENTRIES as u64);

/// The files of an exFAT volume.
pub struct ExFatFiles {
    volume: Arc<dyn ReadAt>,
    /// The first cluster of the root directory.
    root: u32,
    clusters: Clusters,
}

impl std::fmt::Debug for ExFatFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExFatFiles").field("heap", &self.clusters.heap).finish_non_exhaustive()
    }
}

impl ExFatFiles {
    /// Opens a volume; `None` when it does not begin with the boot sector of an exFAT volume.
    ///
    /// # Errors
    /// As [`ExFatVolume::open`].
    pub fn open(volume: Arc<dyn ReadAt>) -> Result<Option<Self>, LayoutError> {
        let Some(ExFatVolume { geometry, .. }) = ExFatVolume::open(&volume)? else { return Ok(None) };
        let table = table(Arc::clone(&volume), &geometry);
        Ok(Some(Self { volume, root: geometry.root, clusters: Clusters::new(geometry.heap, table) }))
    }

    /// The set of a node other than the root directory, and what it is: a file or a directory.
    fn set(&self, node: NodeId) -> Result<(Vec<u8>, Item), LayoutError> {
        let at = node.0;
        let clusters = self.clusters.whole();
        let is_inside = clusters.start.0 <= at && clusters.end().is_some_and(|end| at < end.0);
        let mut first = [0; ENTRY];
        // Clusters begin with a sector.
        if is_inside && at.is_multiple_of(ENTRY as u64) {
            read(&self.volume, WHAT, at, &mut first)?;
        }
        let length = set_length(&first);
        let length = length.ok_or_else(|| LayoutError::malformed(WHAT, at, "those of a file", "something else"))?;
        // Where a set goes on behind its cluster is not known: it depends on the directory that it is in. The checksum tells.
        let chained = self.gather(at, length, false).and_then(|set| file(&set, at).map(|item| (set, item)));
        chained.or_else(|error| {
            let set = self.gather(at, length, true)?;
            file(&set, at).map(|item| (set, item)).map_err(|_| error)
        })
    }

    /// The bytes of a set, either of a directory whose clusters follow one another or of one whose clusters are in the table.
    fn gather(&self, at: u64, length: usize, contiguous: bool) -> Result<Vec<u8>, LayoutError> {
        let heap = &self.clusters.heap;
        let mut cluster = u32::try_from((at - heap.start) / heap.cluster).unwrap_or(u32::MAX).saturating_add(2);
        let mut set = vec![0; length];
        let (mut rest, mut place) = (set.as_mut_slice(), at);
        loop {
            let left = heap.extent(cluster, 1).end().map_or(0, |end| end.0 - place);
            let (now, later) = rest.split_at_mut(usize::try_from(left).unwrap_or(usize::MAX).min(rest.len()));
            read(&self.volume, WHAT, place, now)?;
            rest = later;
            if rest.is_empty() {
                return Ok(set);
            }
            let next = if contiguous { cluster.checked_add(1) } else { self.clusters.next(cluster)? };
            let expected = format_args!("{length} bytes");
            let cut =
                || LayoutError::malformed(WHAT, at, expected, "the end of the directory in front of their last one");
            cluster = next.filter(|next| heap.holds(*next)).ok_or_else(cut)?;
            place = heap.extent(cluster, 1).start.0;
        }
    }

    /// The clusters of an allocation, at most as many as are needed for `most` bytes.
    fn allocated(&self, allocation: &Allocation, most: u64) -> Found {
        let heap = &self.clusters.heap;
        match allocation.place(heap) {
            (Place::Nowhere, wrong) => (Vec::new(), wrong),
            (Place::Chain, _) => self.clusters.chain(allocation.first, most.min(allocation.length)),
            (Place::Run(count), wrong) => {
                let most = most.div_ceil(heap.cluster);
                let extent = heap.extent(allocation.first, u64::from(count).min(most));
                (Vec::from_iter((extent.length > 0).then_some(extent)), wrong)
            }
        }
    }

    /// Where a folder lies, and why there is not more of it.
    fn folder(&self, folder: NodeId) -> Result<Found, LayoutError> {
        if folder == ROOT {
            return Ok(self.clusters.chain(self.root, MOST_BYTES));
        }
        match self.set(folder)?.1 {
            Item::Directory(allocation) => {
                let (extents, broken) = self.allocated(&allocation, MOST_BYTES);
                // What is behind the length is no matter.
                let is_all = total(&extents) >= allocation.length;
                let broken = broken.or_else(|| Some(allocation.wrong(total(&extents))));
                Ok((extents, broken.filter(|_| !is_all)))
            }
            _ => Err(LayoutError::malformed(WHAT, folder.0, "those of a folder", "those of a file")),
        }
    }
}

impl FileSystem for ExFatFiles {
    fn root(&self) -> NodeId {
        ROOT
    }

    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError> {
        let heap = &self.clusters.heap;
        let nothing = Facts { attributes: FOLDER, created: None, modified: None, accessed: None };
        let (facts, kind, size, allocated) = if node == ROOT {
            (nothing, NodeKind::Folder, 0, total(&self.folder(node)?.0))
        } else {
            let (set, item) = self.set(node)?;
            let (allocation, is_folder) = match item {
                Item::File(allocation, _) => (allocation, false),
                Item::Directory(allocation) => (allocation, true),
                _ => return Err(LayoutError::malformed(WHAT, node.0, "those of a file", "something else")),
            };
            // An entry tells how much it takes, whether it was written or not.
            let clusters = if allocation.first == 0 { 0 } else { allocation.length.div_ceil(heap.cluster) };
            let clusters = clusters.min(u64::from(heap.clusters));
            let kind = if is_folder { NodeKind::Folder } else { NodeKind::File };
            let size = if is_folder { 0 } else { allocation.length };
            (Facts::of(&set), kind, size, clusters.saturating_mul(heap.cluster))
        };
        Ok(NodeFacts {
            kind,
            size,
            allocated,
            created: facts.created,
            modified: facts.modified,
            accessed: facts.accessed,
            changed: None,
            attributes: facts.attributes,
            links: 1,
            reparse_tag: None,
        })
    }

    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError> {
        let (extents, broken) = self.folder(folder)?;
        let mut listing = Listing::default();
        let mut sets = Sets::default();
        let mut was_read = extents.is_empty() && broken.is_none();
        each_entry(&self.volume, &extents, |step| {
            let (at, entry) = match step {
                Step::Entry(at, entry) => (at, entry),
                Step::Unreadable(error) => {
                    sets = Sets::default();
                    return listing.tell(error).map(ControlFlow::Continue);
                }
            };
            was_read = true;
            if let Some(problem) = sets.give_up(entry) {
                listing.tell(problem)?;
            }
            let told = match sets.take(at, entry) {
                Ok(Item::End) => return Ok(ControlFlow::Break(())),
                Ok(Item::Nothing | Item::Bitmap(..) | Item::UpCase(_)) => return Ok(ControlFlow::Continue(())),
                Ok(Item::Directory(allocation)) => Ok((allocation.at, true)),
                Ok(Item::File(allocation, _)) => Ok((allocation.at, false)),
                Err(error) => Err(error),
            };
            let told = told.and_then(|(at, is_folder)| {
                Ok(files::Entry { name: name(sets.last(), at)?, node: NodeId(at), is_folder })
            });
            match told {
                Ok(entry) => listing.entries.push(entry),
                Err(problem) => listing.tell(problem)?,
            }
            Ok(ControlFlow::Continue(()))
        })?;
        // A set that is not complete where the directory ends.
        if let Some(problem) = sets.give_up(&[0; ENTRY]) {
            listing.tell(problem)?;
        }
        listed(listing, was_read, broken)
    }

    fn open(&self, node: NodeId, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
        if let Some(stream) = stream {
            return Err(no_stream(stream));
        }
        let item = if node == ROOT { None } else { Some(self.set(node)?.1) };
        let Some(Item::File(allocation, valid)) = item else {
            return Err(LayoutError::malformed(WHAT, node.0, "those of a file", "those of a folder"));
        };
        let (extents, broken) = self.allocated(&allocation, valid);
        Ok(Arc::new(FileContent::new(Arc::clone(&self.volume), &extents, valid, allocation.length, broken)))
    }
}
