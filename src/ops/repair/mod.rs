//! Repair: what is damaged is mended as far as anything is left to mend it with, and the rest is moved aside and named.
//!
//! Always true here:
//! - A plan is made first, and changes nothing. It is a value that can be shown, and applied once.
//! - Nothing is deleted, unless the deletion of what lies aside was asked for. A damaged object is moved aside only when all of it that
//!   is good, and that a snapshot needs, is durable elsewhere.
//! - Each step leaves the repository no worse, so that a repair that was interrupted is begun again.
//! - Only bytes that were proven are written: chunks by their keys, objects by their names.
//! - What snapshots need is known from snapshots. A backup that runs meanwhile may count on a chunk of a damaged pack that no snapshot needs
//!   yet, and then finds it gone: repairs are made when no backup runs. One that commits in between is seen, and ends the repair.
//! - A snapshot that stays broken is not touched, and needs no mark: once the damaged packs are aside, what it needs and nobody has is
//!   seen from its reference list and the index alone, by every check. A mark could only be older than what it says. When its stick is
//!   backed up again, or a disk is found that still has the chunks, it is whole again without a mark to take away.

mod apply;
mod from_parity;
mod needs;
mod plan;
mod salvage;
mod sources;
mod survey;

use crate::disk::ReadAt;
use crate::format::pack::PackKind;
use crate::ids::{ChunkId, ChunkKey, ObjectId};
use crate::names::{AsideName, ObjectName};
use crate::ops::backup::Content;
use crate::ops::check::Finding;
use crate::ops::losses::Losses;
use crate::repo::keyring::Domain;
use crate::repo::snapshots::Snapshot;
pub use from_parity::mend_entrance;
pub use plan::RepairPlan;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A disk that may still have what is missing.
#[derive(Clone)]
pub struct RepairSource {
    /// What a person calls it.
    pub name: String,
    /// The disk.
    pub disk: Arc<dyn ReadAt>,
}

impl std::fmt::Debug for RepairSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepairSource").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why an object is moved aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Its bytes are not those that its name says, or the medium does not give them.
    Damaged,
    /// Its bytes are what was written, and cannot be used: chunks in it do not open, or it is signed by nobody.
    Unusable,
    /// A segment that lists packs which are gone, and is superseded by one that lists what is there.
    Superseded,
    /// Parity of an object that is gone, and of which it is too little: whatever else is left of the object was taken.
    Orphan,
}

/// One thing that a repair does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Put the config that the key bundles hold into the place of the one that is gone or wrong.
    PutConfig {
        /// Whether there is one to move aside.
        replaces: bool,
    },
    /// Mend an object with its parity, to the bytes that it had.
    FromParity {
        /// The object.
        object: ObjectName,
    },
    /// Make the parity of an object anew: it is damaged or missing.
    RemakeParity {
        /// The object.
        object: ObjectName,
    },
    /// Store chunks of a damaged pack that are still good in another pack.
    Salvage {
        /// The damaged pack.
        pack: ObjectName,
        /// Chunks that are good.
        chunks: usize,
        /// Chunks that snapshots need and that are not good there.
        lost: usize,
    },
    /// Store chunks that a disk still has.
    FromSource {
        /// The disk.
        source: String,
        /// Chunks that it has, of those that are missing.
        chunks: usize,
    },
    /// List packs in the index that are there, as their own trailers say.
    ListPacks {
        /// Packs that the new segment lists.
        packs: usize,
        /// Segments that it takes the place of.
        supersedes: Vec<ObjectId>,
    },
    /// Move an object out of the way.
    SetAside {
        /// The object.
        object: ObjectName,
        /// Why.
        why: Why,
    },
    /// Delete for good what lies aside.
    DeleteAside {
        /// What.
        name: AsideName,
        /// Its size in bytes.
        size: u64,
    },
}

/// A snapshot that stays broken, and what of it is lost.
#[derive(Debug, Clone)]
pub struct BrokenSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What of its disk is lost; `None` where this key does not read it.
    pub losses: Option<Losses>,
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Steps that were done.
    pub done: Vec<Step>,
    /// Packs that were written.
    pub packs_written: u64,
    /// Bytes of chunks that were written.
    pub bytes_written: u64,
    /// Where objects lie that were moved aside.
    pub aside: Vec<AsideName>,
    /// What a check still finds.
    pub remaining: Vec<Finding>,
    /// Snapshots that stay broken.
    pub broken: Vec<BrokenSnapshot>,
}

impl RepairReport {
    /// What both did, and what remains behind the later one.
    #[must_use]
    pub fn followed_by(self, later: Self) -> Self {
        Self {
            done: [self.done, later.done].concat(),
            packs_written: self.packs_written + later.packs_written,
            bytes_written: self.bytes_written + later.bytes_written,
            aside: [self.aside, later.aside].concat(),
            ..later
        }
    }
}

/// A chunk that snapshots need and no good pack has.
#[derive(Debug, Clone)]
struct Wanted {
    /// Its key, where the trees that can be read tell it.
    key: Option<(Domain, ChunkKey)>,
}

/// Where a wanted chunk was found.
#[derive(Debug, Clone)]
enum Found {
    /// In a damaged pack, in which it opens.
    InPack(salvage::InPack),
    /// On a source, by its number.
    OnSource { source: usize, kind: PackKind, domain: Domain, key: ChunkKey, content: Content },
}

/// Wanted chunks that were found.
type FoundChunks = BTreeMap<ChunkId, Found>;
