//! L1: cutting streams into chunks, and packing a chunk's bytes. Knows bytes and sizes only.
//!
//! Always true here:
//! - Where a stream is cut depends on its bytes and on the repository's parameters, never on how the bytes
//!   arrive.
//! - What was packed unpacks to exactly as many bytes as were recorded, or fails; memory is bounded by that count.

pub mod cdc;
pub mod compress;
pub mod zeros;

/// Why a chunk could not be packed or unpacked, or why parameters do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The chunker does not work with these sizes.
    #[error(
        "chunk sizes {min}, {average}, {max} (smallest, average, largest) are not even and rising within 64 to 16777216"
    )]
    Sizes {
        /// The smallest, in bytes.
        min: u32,
        /// The average, in bytes.
        average: u32,
        /// The largest, in bytes.
        max: u32,
    },
    /// The first byte of a packed chunk names no known compression.
    #[error("compression {found} is not known: 0 (none) or 1 (zstd) was expected")]
    Compression {
        /// The byte.
        found: u8,
    },
    /// A packed chunk has no bytes.
    #[error("a packed chunk has no bytes")]
    Empty,
    /// A chunk unpacks to another length than was recorded.
    #[error("the chunk unpacks to {found} bytes, {expected} were recorded")]
    Length {
        /// Bytes recorded.
        expected: usize,
        /// Bytes that came out.
        found: usize,
    },
    /// zstd refused.
    #[error("zstd: {0}")]
    Zstd(String),
}
