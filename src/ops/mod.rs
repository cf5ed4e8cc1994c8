//! L3: one file a verb. Each takes an opened repository and plain parameters, reports through [`monitor::Monitor`], and
//! returns a value that says what was done.
//!
//! Always true here:
//! - Nothing here prints, asks or exits.
//! - Every long step looks at [`Cancel`] at least once in every few megabytes.

pub mod audit;
pub mod backup;
pub mod browse;
pub mod check;
pub mod container;
pub mod copy;
pub mod demo;
pub mod forget;
pub mod losses;
pub mod monitor;
pub mod prune;
mod references;
pub mod repair;
pub mod restore;
pub mod session;
pub mod stats;

use crate::disk::{DiskOffset, ReadError};
use crate::ids::ObjectId;
use crate::image::ImageError;
use crate::names::ObjectName;
use crate::repo::RepoError;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpsError {
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// Storage, where no repository is open yet.
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
    /// The source or target cannot be opened as a disk.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The source went away or shrank.
    #[error("the source {source_name} could not be read to its end")]
    Source {
        /// The source.
        source_name: String,
        /// Where and why.
        #[source]
        source: ReadError,
    },
    /// A file of the target, or of the machine, failed.
    #[error("{action} {} failed", path.display())]
    Io {
        /// What was tried, as in "writing".
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The target cannot hold the disk.
    #[error("{} has room for {has} bytes, the snapshot needs {needs}", path.display())]
    TargetTooSmall {
        /// The target.
        path: PathBuf,
        /// Its size in bytes, or what is free where a new file would lie.
        has: u64,
        /// Bytes that the snapshot needs.
        needs: u64,
    },
    /// The target is a new file in a folder that does not exist.
    #[error("there is no folder {} to restore into", path.display())]
    TargetFolderMissing {
        /// The folder.
        path: PathBuf,
    },
    /// The target is in use.
    #[error("{} is mounted at {}", path.display(), mounted.join(", "))]
    TargetMounted {
        /// The target.
        path: PathBuf,
        /// Where.
        mounted: Vec<String>,
    },
    /// The target holds something, and nobody said that it may be overwritten.
    #[error("{} {holds}; it is overwritten only when that is asked for by name", path.display())]
    TargetInUse {
        /// The target.
        path: PathBuf,
        /// What it holds, as in "exists already".
        holds: String,
    },
    /// The container that was asked for cannot hold the disk.
    #[error("the snapshot cannot be restored as {format}")]
    Container {
        /// What was asked for.
        format: container::TargetFormat,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A container was asked for on a device.
    #[error("{} is a drive, which holds a disk's own bytes; {format} was asked for", path.display())]
    ContainerOnDevice {
        /// The device.
        path: PathBuf,
        /// What was asked for.
        format: container::TargetFormat,
    },
    /// What was written of a container's own structures does not read back.
    #[error("{} differs from what was written at offset {offset} of the file", path.display())]
    VerifyContainer {
        /// The target.
        path: PathBuf,
        /// Where the structure begins in the file, in bytes.
        offset: u64,
    },
    /// What was written does not read back.
    #[error("{} differs from the snapshot at offset {offset} after it was written", path.display())]
    Verify {
        /// The target.
        path: PathBuf,
        /// The first byte that differs.
        offset: DiskOffset,
    },
    /// What a snapshot needs cannot be told, so that nothing may be taken away.
    #[error("{snapshot} does not say what it needs, so that nothing can be taken away")]
    NeedsUnknown {
        /// The snapshot.
        snapshot: ObjectName,
        /// Why.
        #[source]
        source: Box<RepoError>,
    },
    /// Sticks would be left without a snapshot, and nobody said that they may.
    #[error("nothing was forgotten: no snapshot would be left of {}", list(sticks))]
    ForgetLast {
        /// The sticks.
        sticks: BTreeSet<String>,
    },
    /// Snapshots that were named are pinned, and nobody said that they may go all the same.
    #[error("nothing was forgotten: pinned are {}", list(snapshots))]
    ForgetPinned {
        /// The snapshots.
        snapshots: BTreeSet<ObjectId>,
    },
    /// A damaged snapshot was named by a part of its id.
    #[error("{object} is damaged; it is forgotten by its whole id alone")]
    ForgetDamaged {
        /// The object.
        object: ObjectName,
    },
    /// The clock is before what is certainly past.
    #[error(
        "nothing was forgotten: by this machine's clock it is {}, but the audit log tells of {} already",
        moment(*now_ms),
        moment(*known_ms)
    )]
    ForgetClock {
        /// The time now, in milliseconds since 1970-01-01 UTC.
        now_ms: i64,
        /// The newest that is known, in milliseconds since 1970-01-01 UTC.
        known_ms: i64,
    },
    /// Entries of the audit log are missing or damaged.
    #[error(
        "nothing was forgotten: {count} entries of the audit log are missing or damaged, {first} among them; they may tell of pins"
    )]
    ForgetLog {
        /// One of them.
        first: ObjectId,
        /// How many.
        count: usize,
    },
    /// Something in a snapshot cannot be looked at.
    #[error(transparent)]
    Browse(#[from] browse::BrowseError),
    /// A repository cannot be copied into itself.
    #[error("{place} is the repository that is copied from")]
    CopyIntoItself {
        /// The target.
        place: String,
    },
    /// A plan was made for a repository that was another one then.
    #[error("the repository is not what it was when the repair was planned: {what}")]
    RepositoryChanged {
        /// What is new or gone.
        what: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A thread ended without a result: a defect of the program.
    #[error("a worker ended without a result; this is a defect of sheaf")]
    WorkerLost,
}

/// Names in a sentence.
fn list<T: ToString>(names: &BTreeSet<T>) -> String {
    names.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// A time for people.
fn moment(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| format!("{unix_ms} ms"), |time| time.to_string())
}

/// A request to stop that any thread can make and see.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True when somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails when somebody asked to stop.
    ///
    /// # Errors
    /// [`OpsError::Interrupted`].
    pub fn check(&self) -> Result<(), OpsError> {
        if self.is_cancelled() { Err(OpsError::Interrupted) } else { Ok(()) }
    }
}

/// Threads for work that the processor bounds: one a core.
pub(crate) fn worker_count() -> usize {
    if cfg!(feature = "simulator") {
        // Which of several is faster would be chance.
        return 1;
    }
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(64)
}
