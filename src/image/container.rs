//! What virtual-disk containers have in common: where a byte of the disk lies, how parents are found, and how a new container is laid out.
//!
//! Always true here: an offset in a container file and an offset on the disk inside of it are types of their own.

use crate::disk::{DiskOffset, ReadAt};
use std::sync::Arc;

/// Bytes from the start of a container file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileOffset(pub u64);

/// Where a run of the disk inside of a container lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the container file, from this offset on.
    File(FileOffset),
    /// Nowhere: it reads as zeros.
    Zero,
    /// In the parent, at the same disk offset.
    Parent,
}

/// A run of the disk with one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where it begins on the disk.
    pub start: DiskOffset,
    /// Bytes; never 0.
    pub length: u64,
    /// Where it lies.
    pub place: Place,
}

/// What a child says of its parent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParentHint {
    /// Names that the child knows, best first: relative paths with `\` between their parts, then absolute ones.
    pub paths: Vec<String>,
    /// The identifier that the parent must have, as bytes in the order of the file.
    pub identifier: [u8; 16],
}

/// Finds the file of a parent; what it returns is not yet known to be the right one.
pub trait FindParent {
    /// The parent's file, or `None` when there is none at any of the places that may be looked at.
    ///
    /// # Errors
    /// [`super::ImageError`] when a file is there and cannot be opened.
    fn find(&self, hint: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, super::ImageError>;
}

/// The longest chain of differencing disks.
pub const MAX_CHAIN: usize = 32;

/// A new container over a disk: metadata at fixed places, and runs of the disk in rising order in between.
pub trait Composed: Send + Sync {
    /// Bytes of the container file.
    fn file_size(&self) -> u64;
    /// Bytes of metadata with their places, in rising order; they do not overlap one another or any run of the disk.
    /// Pieces that are alike share their bytes: a VHD has a bitmap a block.
    fn metadata(&self) -> &[(FileOffset, Arc<[u8]>)];
    /// Where a byte of the disk goes, and how many bytes from there on go to the same stretch; `None` where the
    /// container keeps nothing because it is zeros.
    fn place(&self, offset: DiskOffset) -> (Option<FileOffset>, u64);
}
