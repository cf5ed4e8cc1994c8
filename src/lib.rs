//! Sheaf: a content-addressed, deduplicating, encrypted backup store for whole disks.
//!
//! # The map of layers
//!
//! Imports point down; `tests/layers.rs` holds that. The command line (L5) belongs to the binary and sees only what is
//! public here.
//!
//! | layer | modules | what they know |
//! |---|---|---|
//! | L4 | [`serve`] | disks and files for other programs: sees [`disk`] and [`layout`] alone |
//! | L3 | [`ops`] | one file a verb: backup, restore, check, stats |
//! | L2 | [`repo`] | the repository's rules: what is sealed how, in which order things become durable |
//! | L1 | [`image`] [`layout`] [`chunk`] [`crypto`] [`format`](mod@format) [`storage`] | one thing each, and nothing of one another |
//! | L0 | [`ids`] [`names`] [`disk`] [`codec`] | the standard library alone |
//!
//! # The way of a byte
//!
//! A source is a [`disk::ReadAt`]. [`ops::backup`] cuts it into chunks, [`repo::chunks`] seals each under a key that follows
//! from its content, [`repo::packer`] puts them into packs, [`storage`] keeps those. [`repo::view::SnapshotDisk`] is the same
//! disk again, read out of the repository.

#![deny(missing_docs)]

pub mod chunk;
pub mod codec;
pub mod crypto;
pub mod disk;
pub mod format;
pub mod ids;
pub mod image;
pub mod layout;
pub mod names;
pub mod ops;
pub mod repo;
pub mod serve;
pub mod storage;
