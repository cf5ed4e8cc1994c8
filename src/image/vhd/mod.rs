//! VHD, the virtual disks of Virtual PC, Hyper-V and Windows ("Virtual Hard Disk Image Format Specification" 1.0 of
//! Microsoft; quoted headings here are that document's).
//!
//! Reading: [`is_vhd`] tells one by its content, [`VhdDisk::open`] checks it and its parents and is a disk then. Writing:
//! [`VhdLayout`] says where each byte of a disk goes, and [`super::composed::ComposedFile`] makes a file of it.
//!
//! Always true here:
//! - Bytes become a footer, a header or a table only by being checked; the rest of the code sees nothing else.
//! - Nothing is written to a file that is read, and no more memory is taken than the file's size or a fixed bound allows.
//! - The format has no checksum over its block table and its bitmaps. A table is checked for what cannot be true; a bitmap
//!   of a differencing disk is believed.
//!
//! Images that Virtual PC split into several files (`.v01`, "Splitting Hard Disk Images") are not read: a dynamic one is
//! refused for its missing blocks.

mod bitmaps;
mod error;
mod footer;
mod geometry;
mod header;
mod layout;
mod locate;
mod open;
mod raw;
mod read;
mod table;
#[cfg(test)]
mod tests;

pub use error::{Structure, VhdError, VhdWarning};
pub use footer::Kind;
pub use geometry::Geometry;
pub use layout::{DEFAULT_BLOCK_SIZE, VhdCreator, VhdIdentity, VhdLayout};
pub use locate::{identifier, is_vhd};
pub use open::{VhdDisk, VhdFacts};
pub use read::Runs;
