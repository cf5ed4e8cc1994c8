//! Storage that tries again: what fails on a flaky disk or share today may work in a moment.
//!
//! | failure | tried again |
//! |---|---|
//! | passing ([`StorageError::is_passing`]): interrupted, timed out, busy, a stale handle, a connection that broke | after a wait, which doubles each time |
//! | the medium fails (EIO) while something is written, measured, listed or deleted | likewise: each attempt writes anew, to a new file |
//! | the medium does not give the bytes of an object ([`StorageError::is_unreadable`]) | once, at once: the system has tried for long |
//! | anything else: full, no permission, read-only, not there, gone | never: waiting helps with none of them |
//!
//! Always true here:
//! - The number of attempts and the time from the first failure to the last attempt are bounded by [`Patience`]; once an operation was
//!   given up, others are tried once only, until one works: a dead disk is waited for once.
//! - A put whose earlier attempt failed, and which then finds the object there, says [`Put::Stored`] only when it has read the object and
//!   it has the bytes that were put: a lost answer is no failure, and a torn object no success.
//! - Each wait is told before it begins, and ends when somebody asks to stop.

use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::storage::clock::Pauses;
use crate::storage::{Listed, Put, Storage, StorageError};
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that are compared at once.
const PIECE: usize = 1 << 20;

/// How often, and for how long, something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The wait before the second attempt.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// From the first failure on; no attempt begins later.
    pub total: Duration,
}

impl Default for Patience {
    /// Six attempts in half a minute, as a cable that was touched or a share that changes its server needs.
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            total: Duration::from_secs(300),
        }
    }
}

/// A wait that begins. Its text is a line for people.
#[derive(Debug)]
pub struct Delay<'a> {
    /// What failed, as in "writing".
    pub action: &'static str,
    /// The object, or the folder that was listed.
    pub object: &'a dyn ObjectText,
    /// Where the storage is.
    pub place: String,
    /// Why it failed.
    pub error: &'a StorageError,
    /// How long is waited.
    pub wait: Duration,
    /// The number of the attempt that follows, from 2 on.
    pub attempt: u32,
    /// Attempts in all.
    pub attempts: u32,
}

/// A name that can be shown.
pub trait ObjectText: Display + std::fmt::Debug {}
impl<T: Display + std::fmt::Debug> ObjectText for T {}

impl Display for Delay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { action, object, place, error, wait, attempt, attempts } = self;
        // What the system said; the rest of the error is in this line already.
        let reason = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        let wait = wait.as_secs_f64();
        write!(
            f,
            "{object} at {place}: {action} failed ({reason}); trying again in {wait:.1} s ({attempt} of {attempts})"
        )
    }
}

/// Hears of waits.
pub type Listener = Arc<dyn Fn(&Delay<'_>) + Send + Sync>;

/// A storage whose operations are tried again.
pub struct Patient {
    inner: Arc<dyn Storage>,
    patience: Patience,
    pauses: Pauses,
    listener: Listener,
    given_up: AtomicBool,
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patient").field("inner", &self.inner).field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// What is tried.
struct Task<'a> {
    action: &'static str,
    object: &'a dyn ObjectText,
    /// It asks for the bytes of one object.
    is_read: bool,
}

impl Patient {
    /// Tries again what fails on `inner`.
    pub fn new(inner: Arc<dyn Storage>, patience: Patience, pauses: Pauses, listener: Listener) -> Self {
        Self { inner, patience, pauses, listener, given_up: AtomicBool::new(false) }
    }

    /// Does `step` until it works, or need not be tried again. It is told whether an attempt has failed before.
    fn attempts<T>(
        &self,
        task: &Task<'_>,
        mut step: impl FnMut(bool) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let (mut attempt, mut failed_at, mut read_again) = (1, None, false);
        loop {
            let error = match step(attempt > 1) {
                Ok(value) => {
                    self.given_up.store(false, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            let is_unreadable = task.is_read && error.is_unreadable();
            if is_unreadable && !read_again {
                read_again = true;
                continue;
            }
            if is_unreadable || !(error.is_passing() || !task.is_read && error.is_failing_medium()) {
                return Err(error);
            }
            let since = self.pauses.now();
            let began = *failed_at.get_or_insert(since);
            let Patience { attempts, first_wait, longest_wait, total } = self.patience;
            let doubled = first_wait.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
            let wait = self.pauses.jittered(doubled.min(longest_wait));
            let is_late = since.saturating_sub(began) + wait > total;
            if attempt >= attempts || is_late || self.given_up.load(Ordering::Relaxed) {
                self.given_up.store(true, Ordering::Relaxed);
                return Err(error);
            }
            attempt += 1;
            let Task { action, object, .. } = *task;
            let place = self.inner.place();
            (self.listener)(&Delay { action, object, place, error: &error, wait, attempt, attempts });
            self.pauses.wait(wait, &|| format!("{object} at {}", self.inner.place()))?;
        }
    }

    /// Whether the object that is there has these bytes.
    fn has(&self, name: ObjectName, parts: &[&[u8]]) -> Result<bool, StorageError> {
        let size: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if self.size(name)? != size {
            return Ok(false);
        }
        let (mut at, mut buffer) = (0, Vec::new());
        for piece in parts.iter().flat_map(|part| part.chunks(PIECE)) {
            buffer.resize(piece.len(), 0);
            self.get_range(name, at, &mut buffer)?;
            if buffer != piece {
                return Ok(false);
            }
            at += piece.len() as u64;
        }
        Ok(true)
    }

    /// What a put that finds its object there has done, when an attempt of its own failed before.
    fn outcome(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        match self.has(name, parts)? {
            true => Ok(Put::Stored),
            // Somebody else was first.
            false if !name.kind().named_by_content() => Ok(Put::AlreadyThere),
            false => {
                let what = "it is there with other bytes than were written; an attempt to write it had failed before";
                Err(StorageError::Io {
                    action: "writing",
                    place: format!("{name} at {}", self.inner.place()),
                    source: io::Error::new(io::ErrorKind::InvalidData, what),
                })
            }
        }
    }
}

impl Storage for Patient {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let task = Task { action: "writing", object: &name, is_read: false };
        self.attempts(&task, |again| match self.inner.put(name, parts)? {
            Put::AlreadyThere if again => self.outcome(name, parts),
            put => Ok(put),
        })
    }

    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
        let task = Task { action: "reading", object: &name, is_read: true };
        self.attempts(&task, |_| self.inner.get(name, limit))
    }

    fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let task = Task { action: "reading", object: &name, is_read: true };
        self.attempts(&task, |_| self.inner.get_range(name, start, buffer))
    }

    fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
        let task = Task { action: "looking for it", object: &name, is_read: false };
        self.attempts(&task, |_| self.inner.size(name))
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<Listed>, StorageError> {
        let folder = kind.folder();
        let task = Task { action: "listing", object: &folder, is_read: false };
        self.attempts(&task, |_| self.inner.list(kind))
    }

    fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        let task = Task { action: "deleting", object: &name, is_read: false };
        self.attempts(&task, |_| self.inner.delete(name))
    }

    fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
        let task = Task { action: "moving it aside", object: &name, is_read: false };
        self.attempts(&task, |again| match self.inner.set_aside(name)? {
            // The first attempt may have gone through: then it lies there under the highest number.
            None if again => {
                let aside = self.inner.list_aside()?.into_iter().map(|(aside, _)| aside);
                Ok(aside.filter(|aside| aside.object == name).max())
            }
            moved => Ok(moved),
        })
    }

    /// Tried once, as a move is.
    fn replace(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
        self.inner.replace(name, parts)
    }

    fn list_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError> {
        let task = Task { action: "listing", object: &"what lies aside", is_read: false };
        self.attempts(&task, |_| self.inner.list_aside())
    }

    fn delete_aside(&self, name: AsideName) -> Result<(), StorageError> {
        let task = Task { action: "deleting", object: &name, is_read: false };
        self.attempts(&task, |_| self.inner.delete_aside(name))
    }
}

#[cfg(test)]
mod tests;
