//! Temporary files: where an object lies until it is whole.
//!
//! Always true here:
//! - A temporary file lies in `tmp/` of the repository, so on the same file system as the object that it becomes, and
//!   its name never reads as an object's.
//! - From the moment [`Temporary::create`] returns, its writer holds an operating-system lock on it, which ends with the
//!   process however it ends. A file whose lock can be had has no writer: that, and no clock, tells a left-over.
//! - Whoever removes a left-over holds its lock while doing so. A writer that locks its new file after a
//!   remover did finds the file gone, or the lock taken, and begins anew under another name.
//! - Where the file system knows no locks, left-overs stay: a stranger's live file is never removed on a guess.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder of temporary files below the repository.
pub(super) const FOLDER: &str = "tmp";

/// What every temporary file's name begins with; other files in the folder are left alone.
const PREFIX: &str = "put-";

/// The file that is locked while an object is published by renaming.
const PUBLISHING: &str = "publishing";

/// How often a writer begins anew when removers take its fresh file, before it gives up.
const ATTEMPTS: usize = 16;

/// Makes the names of this process's temporary files distinct.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A temporary file; dropping it removes it.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    /// Open and locked until [`Self::release`] where that closes it.
    file: Option<File>,
}

impl Temporary {
    /// Makes an empty file in `folder` and locks it.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] when the folder is not there.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let path = folder.join(unique_name()?);
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // From here on the file is removed on every way out but success.
            let temporary = Self { path, file: Some(file) };
            match temporary.file.as_ref().map(File::try_lock) {
                Some(Err(TryLockError::WouldBlock)) => continue,
                // No locks here: then nobody takes the file for a left-over either.
                Some(Err(TryLockError::Error(_)) | Ok(())) | None => {}
            }
            if temporary.path.symlink_metadata().is_ok() {
                return Ok(temporary);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "new temporary files were removed as soon as they were made"))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the parts, one behind the other, and makes them durable.
    ///
    /// # Errors
    /// What the system says; the file is then of no use.
    pub(super) fn fill(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the temporary file is closed"));
        };
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    }

    /// Makes the file ready to be given its object's name.
    ///
    /// On Windows a lock also keeps others from reading, and some file systems do not rename open files: the file is closed.
    /// From then on a remover may take it; the writer sees that when publishing fails and begins anew.
    pub(super) fn release(&mut self) {
        if cfg!(windows) {
            self.file = None;
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Best effort: what stays is a left-over, which `remove_stale` takes. After a rename there is nothing to remove.
        // The file is still open and locked here, so that no remover meets it half gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A name that no other writer, thread or machine has chosen.
fn unique_name() -> io::Result<String> {
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{PREFIX}{}-{random:016x}-{count}", std::process::id()))
}

/// Removes the temporary files in `folder` that no writer holds, and says how many; a missing folder has none.
///
/// # Errors
/// The path and what the system said, when the folder cannot be listed or a left-over not removed.
pub(super) fn remove_stale(folder: &Path) -> Result<usize, (PathBuf, io::Error)> {
    let at_folder = |error| (folder.to_owned(), error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(at_folder(error)),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(at_folder)?;
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        if remove_if_stale(&path).map_err(|error| (path, error))? {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes the file unless a writer holds it; true when it was removed.
fn remove_if_stale(path: &Path) -> io::Result<bool> {
    // Opened for writing, since network file systems give an exclusive lock to no other handle.
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => match std::fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        },
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => Ok(false),
    }
}

/// Waits until no other process publishes by renaming, and keeps others from it while the answer lives.
///
/// `None` where the file system knows no locks; the caller must then live with the small chance of a race.
pub(super) fn publishing_lock(folder: &Path) -> Option<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(PUBLISHING)).ok()?;
    file.lock().ok().map(|()| file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ObjectName;

    #[test]
    fn no_temporary_name_reads_as_an_object() {
        for _ in 0..100 {
            let name = unique_name().expect("randomness");
            assert!(name.starts_with(PREFIX));
            assert_eq!(ObjectName::parse(&format!("{FOLDER}/{name}")), None);
            assert_eq!(ObjectName::parse(&name), None);
        }
    }

    /// Removers that run all the time take no file from a writer, and every file is gone in the end.
    #[test]
    fn removers_never_take_a_file_that_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..300 {
                    let mut temporary = Temporary::create(folder.path()).expect("creating");
                    temporary.fill(&[b"ab", b"c"]).expect("writing");
                    assert_eq!(std::fs::read(temporary.path()).expect("still there"), b"abc");
                }
            });
            while !writer.is_finished() {
                remove_stale(folder.path()).expect("removing");
            }
            writer.join().expect("the writer");
        });
        assert_eq!(std::fs::read_dir(folder.path()).expect("listing").count(), 0);
    }
}
