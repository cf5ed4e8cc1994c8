//! What a mount shows, as the mount asks for it. Who has snapshots implements these traits.
//!
//! Always true here:
//! - A snapshot never changes: its id, its images, its volumes and their bytes stay the same each time it is opened. Only the list of
//!   snapshots may change while it is mounted.
//! - Names are what somebody chose. The mount makes them safe, and those who implement the traits need not.

use crate::disk::ReadAt;
use crate::layout::FileSystem;
use std::sync::Arc;

/// Why something of a shelf is not there, in a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShelfError(pub String);

/// A snapshot, as it stands in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfEntry {
    /// Its id: 64 hex digits, letters in lower case. No two snapshots of a list have the same; one with another id is not shown.
    pub id: String,
    /// The name of the stick; any text.
    pub stick: String,
    /// When it was made, in milliseconds since 1970-01-01 00:00:00 UTC.
    pub unix_ms: i64,
    /// How far the clock of the machine that made it was ahead of UTC, in seconds.
    pub utc_offset_s: i32,
}

/// The snapshots that a mount shows. All methods may be called by several threads at once, and may be slow.
pub trait Shelf: Send + Sync {
    /// All snapshots, in any order. Asked for again every few seconds while somebody looks.
    ///
    /// # Errors
    /// [`ShelfError`]; the mount goes on with the list that it had.
    fn list(&self) -> Result<Vec<ShelfEntry>, ShelfError>;

    /// Opens the snapshot with this id, as [`ShelfEntry::id`] has it. The mount keeps a few of them open.
    ///
    /// # Errors
    /// [`ShelfError`]; who looks into the snapshot gets an I/O error.
    fn open(&self, id: &str) -> Result<Arc<dyn OpenSnapshot>, ShelfError>;

    /// Is told why a client got an I/O error, and what is missing in a folder, in one line without a line's end. The same line is not
    /// told twice within a short time, but a damaged disk may give many different ones.
    fn trouble(&self, _line: &str) {}
}

/// A snapshot to look into. All methods may be called by several threads at once.
pub trait OpenSnapshot: Send + Sync {
    /// The names of the files that hold the whole disk or parts of it: `disk.img`, `disk.vhd`, `partition-3.img` …
    fn images(&self) -> Vec<String>;

    /// Opens one of [`OpenSnapshot::images`], by its position there. Asked for when somebody looks at it, and kept.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn open_image(&self, index: usize) -> Result<Arc<dyn ReadAt>, ShelfError>;

    /// The names of the volumes that have files to be shown: `partition-3` …
    fn volumes(&self) -> Vec<String>;

    /// Opens one of [`OpenSnapshot::volumes`], by its position there. Asked for when somebody looks at it, and kept.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn open_volume(&self, index: usize) -> Result<Arc<dyn FileSystem>, ShelfError>;
}
