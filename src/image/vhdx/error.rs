//! What can be wrong with a VHDX file, in words that name the byte.
//!
//! Always true here: an error says at which offset of the file a structure was, what was expected and what was found.
//! Of a chain of differencing disks it says at which depth, by naming the parent around it.

use super::super::ImageError;
use super::super::container::{FileOffset, MAX_CHAIN};
use super::Guid;
use crate::disk::ReadError;

/// Why a VHDX file cannot be read, or not be composed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VhdxError {
    /// The file's bytes do not come.
    #[error("{what} at offset {} of the VHDX file cannot be read", offset.0)]
    Read {
        /// The structure.
        what: &'static str,
        /// Where it begins.
        offset: FileOffset,
        /// Which bytes, and why.
        #[source]
        source: ReadError,
    },
    /// The file ends before a structure does.
    #[error("{what} needs {length} bytes at offset {} of the VHDX file, which ends at {size}: it is truncated", offset.0)]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Where it begins.
        offset: FileOffset,
        /// Bytes that it has.
        length: u64,
        /// Bytes of the file, with what its log adds.
        size: u64,
    },
    /// A field holds what it may not.
    #[error("{what} at offset {} of the VHDX file: expected {expected}, found {found}", offset.0)]
    Wrong {
        /// The field.
        what: &'static str,
        /// Where it stands.
        offset: FileOffset,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Of a structure that is kept twice, neither copy holds.
    #[error("neither copy of {what} can be used: {first}; and {second}")]
    BothCopies {
        /// The structure.
        what: &'static str,
        /// What is wrong with the first copy.
        first: Box<Self>,
        /// What is wrong with the second copy.
        second: Box<Self>,
    },
    /// The file has something that a reader must know, and Sheaf does not.
    #[error("the {what} {id} named at offset {} of the VHDX file is marked as required, and is not known here", offset.0)]
    UnknownRequired {
        /// "region" or "metadata item".
        what: &'static str,
        /// What kind it is.
        id: Guid,
        /// Where it is named.
        offset: FileOffset,
    },
    /// Two structures lie on one another.
    #[error(
        "{what}, as named at offset {} of the VHDX file: expected bytes of its own, found it at {}..{}, which touches {other} at {}..{}",
        offset.0, place.0.0, place.1.0, other_place.0.0, other_place.1.0
    )]
    Overlap {
        /// The structure.
        what: &'static str,
        /// Where its place is named.
        offset: FileOffset,
        /// Its first byte, and the byte behind its last.
        place: (FileOffset, FileOffset),
        /// The other structure.
        other: &'static str,
        /// The other's first byte, and the byte behind its last.
        other_place: (FileOffset, FileOffset),
    },
    /// The header says that the log must be replayed, and nothing in the log can be.
    #[error(
        "the log at offset {}, {length} bytes long: expected a whole sequence of entries with the identity {id}, found none: the log is torn or is not this file's",
        offset.0
    )]
    NoLogSequence {
        /// Where the log begins.
        offset: FileOffset,
        /// Bytes of the log.
        length: u64,
        /// The identity that the header names.
        id: Guid,
    },
    /// Reading the file would take more memory than is granted.
    #[error("{what} at offset {} of the VHDX file is beyond what is read: at most {limit}, for a disk and all its parents", offset.0)]
    TooLarge {
        /// The structure.
        what: &'static str,
        /// Where it begins.
        offset: FileOffset,
        /// The limit, with its unit.
        limit: String,
    },
    /// No file of the parent was found.
    #[error("this is a differencing disk, and its parent {id} was not found; it names {}", paths.join(", "))]
    ParentMissing {
        /// The identifier that the parent must have.
        id: Guid,
        /// Where the child says that the parent is.
        paths: Vec<String>,
    },
    /// A file of the parent is there and cannot be opened.
    #[error("the parent of a differencing disk cannot be opened")]
    FindParent(#[source] ImageError),
    /// A parent cannot be read.
    #[error("the parent of a differencing disk cannot be read")]
    Parent(#[source] Box<Self>),
    /// The parent is another disk, or was written to since the child was made.
    #[error(
        "the parent of a differencing disk: expected a file with the data identity {expected}, found {found}: it is another disk, or was changed after the child was made"
    )]
    ParentChanged {
        /// What the child names.
        expected: Guid,
        /// What the parent's header has.
        found: Guid,
    },
    /// The parent is a disk of another kind.
    #[error("the parent of a differencing disk: expected a {what} of {expected} bytes as the child has, found {found}")]
    ParentDiffers {
        /// "size" or "logical sector size".
        what: &'static str,
        /// The child's, in bytes.
        expected: u64,
        /// The parent's, in bytes.
        found: u64,
    },
    /// There are too many differencing disks one above the other.
    #[error("more than {MAX_CHAIN} differencing disks one above the other are not read")]
    ChainTooLong,
    /// A disk is among its own parents.
    #[error("the differencing disk with the data identity {0} is among its own parents")]
    Loop(Guid),
    /// No VHDX can be made like this.
    #[error("a VHDX cannot be made with {what} {found}: expected {expected}")]
    Unfit {
        /// The parameter.
        what: &'static str,
        /// What may be given.
        expected: &'static str,
        /// What was given.
        found: u64,
    },
}

impl VhdxError {
    /// A field that holds what it may not.
    pub(super) fn wrong(
        what: &'static str,
        offset: FileOffset,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Wrong { what, offset, expected: expected.to_string(), found: found.to_string() }
    }
}

/// What was wrong with a VHDX file and did not keep it from being read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VhdxWarning {
    /// One of two copies does not hold; the other was used.
    #[error("one copy of {what} cannot be used, the other one was taken: {reason}")]
    OneCopy {
        /// The structure.
        what: &'static str,
        /// What is wrong with the copy.
        reason: Box<VhdxError>,
    },
    /// Both region tables hold, and say different things; the first was used.
    #[error("the two region tables at offsets {} and {} of the VHDX file differ, the first one was taken", offsets.0.0, offsets.1.0)]
    RegionTablesDiffer {
        /// Where they are.
        offsets: (FileOffset, FileOffset),
    },
    /// A file without a parent has entries for sector bitmaps. QEMU before 8.1 left such entries; they mean nothing.
    #[error(
        "the entry of a sector bitmap at offset {} of the VHDX file: expected 0 in a file without a parent, found {found:#x}; ignored",
        offset.0
    )]
    BitmapWithoutParent {
        /// Where the first such entry is.
        offset: FileOffset,
        /// What it holds.
        found: u64,
    },
}
