//! What can be wrong with the structures of a disk. Nothing here keeps a disk from being backed up: it is told, and the bytes are
//! kept in a plainer order.

use crate::disk::{DiskOffset, ReadError};

/// Why a structure of a disk is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The bytes of a structure cannot be read.
    #[error("{what} at offset {offset} cannot be read")]
    Read {
        /// Which structure.
        what: &'static str,
        /// Where it lies, in bytes of the volume.
        offset: DiskOffset,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A structure says what it must not say.
    #[error("{what} at offset {offset}: expected {expected}, found {found}")]
    Malformed {
        /// Which structure or field.
        what: &'static str,
        /// Where it lies, in bytes of the volume.
        offset: DiskOffset,
        /// What a sound one says.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Something sound that cannot be read here.
    #[error("{what} cannot be read: {reason}")]
    Unsupported {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// There is more of something than is looked at.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are looked at.
        limit: u64,
    },
}

impl LayoutError {
    /// A structure that says what it must not say.
    pub fn malformed(
        what: &'static str,
        offset: u64,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Malformed { what, offset: DiskOffset(offset), expected: expected.to_string(), found: found.to_string() }
    }
}
