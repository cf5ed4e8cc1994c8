//! Looking into a snapshot without restoring it: its volumes, and the files on them, also inside of virtual disks.
//!
//! Always true here:
//! - Nothing of a volume is trusted: names are made safe before they become files, folders are entered once, links are followed a
//!   bounded number of times and never leave their volume.
//! - What is damaged is told and left out; what is not comes through.

mod diff;
mod extract;
mod find;
mod inner;
mod links;
mod path;
mod resolve;
mod volumes;
mod walk;

pub use diff::{ChangeKind, DiskDifference, FileChange, diff_disks, diff_files};
pub use extract::{ExtractReport, ExtractRequest, Refusal, copy_content, extract};
pub use find::{FoundFile, Search, find};
pub use inner::InnerVolume;
pub use path::{DiskPath, Pattern, SnapshotPath, Step, same_name};
pub use resolve::{Found, Target, resolve};
pub use volumes::{Browser, Volume};
pub use walk::{Visit, walk};

use crate::disk::ReadError;
use crate::layout::LayoutError;

/// Why something in a snapshot cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowseError {
    /// The path that was typed makes no sense.
    #[error("`{path}` is no path: {reason}")]
    Path {
        /// What was typed.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk has no such partition.
    #[error("there is no partition {number}; there are: {}", if there.is_empty() { "none" } else { there })]
    NoSuchPartition {
        /// The number.
        number: u32,
        /// Those that are there.
        there: String,
    },
    /// No file system of the disk can be read.
    #[error("{what} has no file system that can be read here: {found}")]
    NoFileSystem {
        /// The disk, or the partition.
        what: String,
        /// What was found instead.
        found: String,
    },
    /// The folder has no such name.
    #[error("there is no `{name}` in {folder}")]
    NoSuchName {
        /// The folder's path.
        folder: String,
        /// The name.
        name: String,
    },
    /// Several names are the same but for their case, and none is the one that was typed.
    #[error("several names in {folder} are `{name}` but for upper and lower case")]
    AmbiguousName {
        /// The folder's path.
        folder: String,
        /// The name.
        name: String,
    },
    /// A path goes on behind something that is no folder.
    #[error("{path} is neither a folder nor a virtual disk")]
    NotAFolder {
        /// Its path.
        path: String,
    },
    /// A file was expected.
    #[error("{path} is not a file")]
    NotAFile {
        /// Its path.
        path: String,
    },
    /// A link leads to a link, and so on.
    #[error("{path}: more than {limit} links lead on from one to the next")]
    TooManyLinks {
        /// Where.
        path: String,
        /// How many are followed.
        limit: u32,
    },
    /// The file system says something that cannot be.
    #[error("{path} cannot be read")]
    Files {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: LayoutError,
    },
    /// Bytes of the snapshot cannot be had.
    #[error("{path} cannot be read")]
    Read {
        /// The path, or the disk.
        path: String,
        /// Why.
        #[source]
        source: ReadError,
    },
}
