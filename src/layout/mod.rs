//! L1: what a disk's own structures say about it.
//!
//! Always true here:
//! - Nothing that is read from a disk is trusted: any bytes may be in any place, and none makes this layer stop or go
//!   round in circles. What does not check out is treated as if it were not there.

pub mod claims;
pub mod compressed;
pub mod coverage;
mod error;
pub mod exfat;
mod extents;
pub mod fat;
mod field;
pub mod files;
pub mod identity;
pub mod nested;
pub mod ntfs;
pub mod partitions;
pub mod whole;
pub mod windows;

pub use self::windows::{WindowsVersion, windows_version};
pub use claims::{Claims, Content, Note};
pub use coverage::{Coverage, Keep, Kind, Unkept};
pub use error::LayoutError;
pub use files::FileSystem;
pub use identity::{Identity, identify};
pub use partitions::{Partition, PartitionTable, VolumeKind, partitions, volume_kind};
pub use whole::{DiskLayout, VolumeFacts, lay_out};
