//! Why an overlay cannot be opened, and why something could not be written to it.
//!
//! Always true here:
//! - Each error names the file, and says what would have to be otherwise.

use crate::disk::ReadError;
use std::io;
use std::path::PathBuf;

/// Why an overlay cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the overlay {} cannot be used", path.display())]
pub struct OverlayError {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with an overlay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The system failed.
    #[error("{action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody has it open.
    #[error("it is in use by another process, or twice by this one")]
    Busy,
    /// The file holds something else.
    #[error(
        "the file is no overlay, and is left as it is; give the name of a file that does not exist, or of an overlay"
    )]
    NotAnOverlay,
    /// It was written by a later version.
    #[error("it is of version {version}, and this program knows version 1")]
    Version {
        /// Its version.
        version: u64,
    },
    /// It belongs to another disk.
    #[error("it belongs to another snapshot, with whose bytes it must not be mixed")]
    OtherDisk,
    /// It belongs to a disk of another size.
    #[error("it belongs to a disk of {recorded} bytes; this one has {size}")]
    OtherSize {
        /// Bytes of the disk that it was made for.
        recorded: u64,
        /// Bytes of the disk that it is opened for.
        size: u64,
    },
    /// Its bytes contradict each other.
    #[error("it is damaged: {reason}")]
    Damaged {
        /// What does not fit.
        reason: &'static str,
    },
    /// The disk is larger than those that overlays are made for.
    #[error("the disk has {size} bytes; overlays are for at most 64 TiB")]
    TooLarge {
        /// Bytes of the disk.
        size: u64,
    },
    /// A sync failed before: what the system then still had in memory is lost for good, whatever later syncs say.
    #[error(
        "an earlier attempt to make it durable failed; what was written since the last one that did not is in doubt"
    )]
    InDoubt,
}

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The rest of a block could not be read from the disk below.
    #[error("the rest of the block cannot be read")]
    Below(#[source] ReadError),
    /// The overlay's file failed.
    #[error(transparent)]
    Overlay(OverlayError),
    /// The bytes lie beyond the end of the disk.
    #[error(transparent)]
    Range(ReadError),
}

impl WriteError {
    /// Whether it is for lack of space.
    pub fn is_full(&self) -> bool {
        let Self::Overlay(OverlayError { problem: Problem::Io { source, .. }, .. }) = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_space_is_told_from_other_failures() {
        let failure = |kind: io::ErrorKind| {
            let problem = Problem::Io { action: "it cannot be written to", source: kind.into() };
            WriteError::Overlay(OverlayError { path: "o".into(), problem })
        };
        assert!(failure(io::ErrorKind::StorageFull).is_full() && failure(io::ErrorKind::QuotaExceeded).is_full());
        assert!(!failure(io::ErrorKind::Other).is_full());
        assert!(!WriteError::Below(ReadError::Gone { reason: String::new() }).is_full());
    }
}
