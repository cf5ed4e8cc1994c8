//! The files of a volume, as something to look into.
//!
//! Always true here:
//! - A node is named by its file reference: the number of its record, and how often that was in use before. One that was deleted since
//!   is not found.
//! - No loop of the volume's structures goes on for ever, and no size that it tells is believed when memory is taken: that follows from
//!   bytes that are there.
//!
//! | file | what it knows |
//! |---|---|
//! | `node` | a file by its records |
//! | `facts`, `reparse` | what it says of itself |
//! | `folder`, `index` | the names in a folder |
//! | `content`, `plain` | its bytes |
//! | `blocks`, `units`, `wof` | its bytes where they are compressed |
//! | `pieces` | reading in larger pieces, and keeping them |

mod blocks;
mod content;
mod facts;
mod folder;
mod index;
mod node;
mod pieces;
mod plain;
mod reparse;
mod units;
mod wof;

use std::sync::Arc;

use self::node::Shared;
use super::mft::Mft;
use super::opening::find;
use super::role;
use crate::disk::ReadAt;
use crate::layout::LayoutError;
use crate::layout::files::{FileSystem, Listing, NamedStream, NodeFacts, NodeId};

/// The root where its record cannot be read: its sequence number is that of its own number.
const ROOT: NodeId = NodeId(role::ROOT << 48 | role::ROOT);

/// The files of an NTFS volume.
///
/// A [`NodeId`] is a file reference of the format: the number of a record in the lower 48 bits, its sequence number in the upper 16.
/// Names are listed as they are, also those that differ in case alone. The volume's own files are not listed.
pub struct NtfsFiles {
    shared: Shared,
    root: NodeId,
}

impl std::fmt::Debug for NtfsFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NtfsFiles").field("root", &self.root).finish_non_exhaustive()
    }
}

impl NtfsFiles {
    /// Opens a volume whose first byte is that of its boot sector; `None` when there is no NTFS. As with
    /// [`NtfsVolume::open`](super::NtfsVolume::open), the copy of the boot sector is used where the first one is of no use.
    ///
    /// # Errors
    /// [`LayoutError`]: the volume says that it is NTFS, and its MFT cannot be found; or the disk is gone.
    pub fn open(volume: Arc<dyn ReadAt>) -> Result<Option<Self>, LayoutError> {
        let found = find(&*volume, |boot, _| Ok((boot, Mft::open(&*volume, &boot)?)))?;
        let Some((boot, mft)) = found else { return Ok(None) };
        let shared = Shared::new(volume, boot, mft);
        let root = shared.reference(role::ROOT).ok().flatten().unwrap_or(ROOT);
        Ok(Some(Self { shared, root }))
    }
}

impl FileSystem for NtfsFiles {
    fn root(&self) -> NodeId {
        self.root
    }

    fn facts(&self, node: NodeId) -> Result<NodeFacts, LayoutError> {
        self.shared.with_node(node, facts::facts)
    }

    fn entries(&self, folder: NodeId) -> Result<Listing, LayoutError> {
        self.shared.with_node(folder, folder::list)
    }

    fn streams(&self, node: NodeId) -> Result<Vec<NamedStream>, LayoutError> {
        self.shared.with_node(node, facts::streams)
    }

    fn open(&self, node: NodeId, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, LayoutError> {
        self.shared.with_node(node, |node| content::open(node, stream))
    }
}
