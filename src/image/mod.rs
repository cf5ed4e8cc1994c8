//! L1: whatever holds a disk's bytes, opened so that the rest of Sheaf sees a [`crate::disk::ReadAt`].
//!
//! Always true here:
//! - Nothing here writes to a source or a target, and opening one starts nothing: the kind of file is checked
//!   before it is opened, since opening a pipe waits and opening a character device may act.
//! - Only `linux.rs` and `linux_sysfs.rs` know an operating system. `portable.rs` has the same functions for all others;
//!   it reads regular files and claims to know nothing else.

pub mod composed;
pub mod container;
mod data_search;
pub mod facts;
pub mod parents;
pub mod raw;
pub mod resilient;
pub mod source;
pub mod vhd;
pub mod vhdx;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod linux_sysfs;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use facts::{SourceFacts, TargetContent, TargetFacts, TargetKind, target_facts};
pub use raw::RawDisk;
pub use resilient::{Effort, ResilientReader};
pub use source::{Container, Source, SourceFormat};

use crate::disk::ReadError;

/// Why a file or device could not be opened or looked at as a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The system does not open it.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The file or device.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is neither a regular file nor a block device.
    #[error("{} is {found}; a regular file or a block device was expected", path.display())]
    NotADisk {
        /// What was named.
        path: PathBuf,
        /// What it is, as in "a directory".
        found: &'static str,
    },
    /// The device has no bytes: an empty card reader, or a loop device without a file.
    #[error("{} has a size of 0 bytes: there is no medium in the device", path.display())]
    NoMedium {
        /// The device.
        path: PathBuf,
    },
    /// A restore target does not exist and lies where only the system makes files.
    #[error("{} does not exist: no device has that name, and a file there would be kept in memory only", path.display())]
    NoSuchDevice {
        /// What was named.
        path: PathBuf,
    },
    /// The system does not answer a question about an open file or device.
    #[error("{action} of {} failed", path.display())]
    System {
        /// What was asked, as in "asking the size".
        action: &'static str,
        /// The file or device.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its present content cannot be read, to see what it is.
    #[error("the present content of {} cannot be read", path.display())]
    Read {
        /// The source or target.
        path: PathBuf,
        /// Which bytes, and why.
        #[source]
        source: ReadError,
    },
    /// It is a VHDX that cannot be read.
    #[error("{} is not a VHDX that can be read", path.display())]
    Vhdx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<vhdx::VhdxError>,
    },
    /// It is a VHD that cannot be read.
    #[error("{} is not a VHD that can be read", path.display())]
    Vhd {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<vhd::VhdError>,
    },
}

/// What kind of file a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    BlockDevice,
    /// Anything that is no disk, in words.
    Other(&'static str),
}

/// Where data lies in a file with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "elsewhere no hole is known"))]
enum DataRun {
    /// The next run that is not a hole: first byte, and the byte behind the last one.
    Run(u64, u64),
    /// No data behind the asked offset, or the file ends before it.
    NoMore,
    /// The system does not know holes here.
    Unknown,
}

/// Bytes of the open file or device at this moment.
fn present_size(file: &File, kind: Kind) -> io::Result<u64> {
    match kind {
        // A device's metadata has no size. The shared cursor may be moved since every read names its offset.
        Kind::BlockDevice => {
            let mut cursor = file;
            cursor.seek(SeekFrom::End(0))
        }
        Kind::File | Kind::Other(_) => file.metadata().map(|metadata| metadata.len()),
    }
}

/// Makes a run of an open device or file read as zeros without writing them, where the system can.
///
/// Returns false where it cannot; the caller then writes zeros.
///
/// # Errors
/// What the system says when it can and fails.
pub fn zero_range(file: &File, start: u64, length: u64) -> io::Result<bool> {
    system::zero_range(file, start, length)
}

/// Bytes that can still be written to the file system that holds `folder`, where the system says so.
pub fn free_space(folder: &Path) -> Option<u64> {
    system::free_space(folder)
}

/// Tells the system that the bytes of an open file will not be needed soon, so that a later read comes from the medium.
pub fn forget_cached(file: &File) {
    system::forget_cached(file);
}

/// Opens for reading what may be a disk, and refuses the rest without opening it.
fn open(path: &Path) -> Result<(File, Kind, Metadata), ImageError> {
    let failed = |source| ImageError::Open { path: path.to_owned(), source };
    let refuse = |found| ImageError::NotADisk { path: path.to_owned(), found };
    if let Kind::Other(found) = system::kind(&std::fs::metadata(path).map_err(failed)?) {
        return Err(refuse(found));
    }
    let file = File::open(path).map_err(failed)?;
    // Asked again of what is open: the name may have changed hands in between.
    let metadata = file.metadata().map_err(failed)?;
    match system::kind(&metadata) {
        Kind::Other(found) => Err(refuse(found)),
        kind => Ok((file, kind, metadata)),
    }
}
