//! VHDX, the virtual disk format of Windows 8 and later, as [MS-VHDX] describes it.
//!
//! Always true here:
//! - The file is never written. A log with pending entries is replayed in memory, and everything behind the headers is
//!   read as the replay leaves it.
//! - What a structure claims is checked before it is used: where it lies, that it is in the file, and that nothing else
//!   is there. Each step takes checked types of the step before: header, log, regions, metadata, block table, parent.
//! - Memory is bounded whatever the file claims, for a disk and all its parents together: the log by [`LOG_LIMIT`],
//!   the block table by [`RUN_LIMIT`] stretches of 16 bytes.
//!
//! | file | what it knows |
//! |---|---|
//! | `header` | the file type identifier and the two headers |
//! | `log`, `patches`, `replayed` | pending log entries, what they change, the file with those changes |
//! | `region` `metadata` `locator` | the region tables, the disk's parameters, the names of the parent |
//! | `bat` `bitmap` | where blocks lie, and which sectors of a differencing disk's blocks are there |
//! | `disk` `source` | the disk: opening it with its parents; reading it |
//! | `layout` | a new file, composed over a disk |

mod bat;
mod bitmap;
pub mod crc;
mod disk;
mod error;
mod field;
mod guid;
mod header;
mod layout;
mod locator;
mod log;
mod metadata;
mod patches;
mod region;
mod replayed;
mod source;

pub use bat::RUN_LIMIT;
pub use disk::{VhdxDisk, VhdxFacts, data_identifier};
pub use error::{VhdxError, VhdxWarning};
pub use guid::Guid;
pub use layout::{DEFAULT_BLOCK_SIZE, VhdxIdentity, VhdxLayout, VhdxParameters};
pub use log::LOG_LIMIT;
pub use source::Runs;

use super::container::FileOffset;
use crate::disk::{DiskOffset, ReadAt, ReadError};

/// The unit in which regions, the log and blocks are placed, in bytes (§2.2).
const MIB: u64 = 1 << 20;
/// Bytes at the file's start that belong to identifier, headers and region tables (§2.2).
const HEADER_SECTION: u64 = MIB;
/// Where the two region tables are (§2.2.3).
const REGION_TABLES: [FileOffset; 2] = [FileOffset(192 << 10), FileOffset(256 << 10)];
/// The unit of the log, in bytes (§2.3.1).
const LOG_SECTOR: usize = 4096;
/// The largest disk, in bytes (§2.6.2.2).
const MAX_DISK_SIZE: u64 = 64 << 40;
/// The smallest and the largest block, in bytes; sizes are powers of two (§2.6.2.1).
const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 1 << 20..=256 << 20;
/// Sectors whose presence one sector bitmap block describes (§2.4).
const SECTORS_PER_BITMAP: u64 = 1 << 23;

/// Whether a file is a VHDX, told by its first eight bytes (§2.2.1).
///
/// # Errors
/// [`ReadError`] when they cannot be read.
pub fn is_vhdx(file: &dyn ReadAt) -> Result<bool, ReadError> {
    let mut signature = [0; 8];
    if file.size() < signature.len() as u64 {
        return Ok(false);
    }
    file.read_at(DiskOffset(0), &mut signature)?;
    Ok(signature == header::FILE_SIGNATURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vhdx_is_known_by_its_first_bytes() {
        let is = |bytes: &[u8]| is_vhdx(&bytes.to_vec()).expect("readable");
        assert!(is(b"vhdxfile and more"));
        assert!(is(b"vhdxfile"));
        assert!(!is(b"vhdxfil"));
        assert!(!is(b""));
        assert!(!is(b"conectix and more"));
    }
}
