//! Sheaf: a content-addressed, deduplicating, encrypted backup store for whole disks.

pub mod codec;
pub mod crypto;
pub mod disk;
pub mod format;
pub mod ids;
