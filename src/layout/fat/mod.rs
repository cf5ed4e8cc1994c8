//! FAT volumes, with entries of 12, 16 or 32 bits.
//!
//! Structures: Microsoft FAT specification 1.03 ("fatgen103").

mod boot;

pub use boot::FatKind;
pub(super) use boot::Geometry;
