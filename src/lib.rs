//! Sheaf: a content-addressed, deduplicating, encrypted backup store for whole disks.

#![deny(missing_docs)]

pub mod codec;
pub mod crypto;
pub mod disk;
pub mod format;
pub mod ids;
pub mod image;
pub mod layout;
pub mod names;
pub mod storage;
