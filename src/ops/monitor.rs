//! How a verb tells what it is doing. The library speaks through a trait; what a person sees is made elsewhere.
//!
//! Always true here: methods are called from several threads, return at once, and cannot fail.

use std::sync::Arc;

/// What a verb is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading the repository's index.
    Index,
    /// Reading the source and storing what is new.
    Backup,
    /// Making everything durable and committing.
    Commit,
    /// Writing the target.
    Restore,
    /// Reading the target back.
    Verify,
    /// Looking up what snapshots need.
    CheckStructure,
    /// Reading packs.
    CheckData,
    /// Reading parity.
    CheckParity,
    /// Looking for missing chunks on a disk.
    Search,
    /// Storing what was found, and moving aside what is damaged.
    Repair,
    /// Writing files.
    Extract,
    /// Taking away what nobody needs.
    Prune,
    /// Bringing a snapshot into another repository.
    Copy,
}

/// Work that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advance {
    /// Bytes that are behind us, of the phase's total.
    pub bytes: u64,
    /// Bytes of these that the repository did not have.
    pub new: u64,
    /// Bytes of these that it had.
    pub known: u64,
}

/// Listens to a verb.
pub trait Monitor: Send + Sync {
    /// A phase begins; `total` counts what [`Monitor::advance`] counts, where it is known.
    fn begin(&self, phase: Phase, total: Option<u64>);
    /// Some work was done.
    fn advance(&self, advance: Advance);
    /// Something that a person should know, and that does not stop the work.
    fn warn(&self, text: &str);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn begin(&self, _: Phase, _: Option<u64>) {}
    fn advance(&self, _: Advance) {}
    fn warn(&self, _: &str) {}
}

impl<M: Monitor + ?Sized> Monitor for Arc<M> {
    fn begin(&self, phase: Phase, total: Option<u64>) {
        (**self).begin(phase, total);
    }

    fn advance(&self, advance: Advance) {
        (**self).advance(advance);
    }

    fn warn(&self, text: &str) {
        (**self).warn(text);
    }
}
