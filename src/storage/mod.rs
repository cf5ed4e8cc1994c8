//! L1: named immutable objects, wherever they lie.
//!
//! Always true here, for every implementation; `tests/storage` holds each to it:
//! - [`Storage::put`] is put-if-absent and all or nothing: when it returns [`Put::Stored`] the object is durable and whole;
//!   when it fails, or the process dies in it, a listing shows either the whole object or nothing.
//! - An object never changes. It is read whole or in ranges by several threads and processes at once.
//! - An object that is moved aside keeps its bytes, under an [`AsideName`]; it is no object any more, and its name is free.
//! - A listing shows every object whose `put` returned before the listing began, and shows nothing that is
//!   not an object of ours.

pub mod clock;
mod codes;
pub mod limited;
pub mod local;
pub mod patient;
pub mod sim;

use crate::names::{AsideName, ObjectKind, ObjectName};
use std::io::ErrorKind;

/// Methods of [`Storage`] that are those of the storage in a field.
macro_rules! delegate {
    (@place $below:ident) => {
        fn place(&self) -> String {
            self.$below.place()
        }
    };
    (@put $below:ident) => {
        fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
            self.$below.put(name, parts)
        }
    };
    (@get $below:ident) => {
        fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
            self.$below.get(name, limit)
        }
    };
    (@get_range $below:ident) => {
        fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
            self.$below.get_range(name, start, buffer)
        }
    };
    (@size $below:ident) => {
        fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
            self.$below.size(name)
        }
    };
    (@list $below:ident) => {
        fn list(&self, kind: ObjectKind) -> Result<Vec<Listed>, StorageError> {
            self.$below.list(kind)
        }
    };
    (@delete $below:ident) => {
        fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
            self.$below.delete(name)
        }
    };
    (@set_aside $below:ident) => {
        fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
            self.$below.set_aside(name)
        }
    };
    (@replace $below:ident) => {
        fn replace(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
            self.$below.replace(name, parts)
        }
    };
    (@list_aside $below:ident) => {
        fn list_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError> {
            self.$below.list_aside()
        }
    };
    (@delete_aside $below:ident) => {
        fn delete_aside(&self, name: AsideName) -> Result<(), StorageError> {
            self.$below.delete_aside(name)
        }
    };
    ($below:ident: $($method:ident),+) => {
        $($crate::storage::delegate!(@$method $below);)+
    };
}
pub(crate) use delegate;

/// Why storage failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The object is not there.
    #[error("{name} is missing at {place}")]
    NotFound {
        /// The object.
        name: ObjectName,
        /// Where it was looked for.
        place: String,
    },
    /// The object ends before the range that was asked for.
    #[error("{name} has {size} bytes, bytes {start} to {end} were asked for", end = start.saturating_add(*length))]
    Range {
        /// The object.
        name: ObjectName,
        /// Where the range begins.
        start: u64,
        /// Bytes asked for.
        length: u64,
        /// Bytes that the object has.
        size: u64,
    },
    /// The object is larger than any of its kind may be.
    #[error("{name} has {size} bytes; at most {limit} were expected")]
    TooLarge {
        /// The object.
        name: ObjectName,
        /// Bytes that it has.
        size: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// The system failed.
    #[error("{action} {place} failed")]
    Io {
        /// What was tried, as in "writing".
        action: &'static str,
        /// Which file or address.
        place: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Somebody asked to stop while storage was waited for.
    #[error("stopped while waiting for {place}")]
    Stopped {
        /// What was waited for.
        place: String,
    },
}

impl StorageError {
    /// True when the object is not there, as opposed to not readable.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// True when the object is there, but the medium does not give its bytes: a bad sector, a checksum of the file system.
    /// Others may well be readable.
    pub fn is_unreadable(&self) -> bool {
        self.has_code(codes::UNREADABLE)
    }

    /// What kind of failure the system reported, which tells a full disk, a quota or a read-only medium from others;
    /// `None` where the system did not fail.
    pub fn io_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// True where there is no room for more, on the medium or in a quota.
    pub fn is_full(&self) -> bool {
        matches!(self.io_kind(), Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }

    fn has_code(&self, codes: &[i32]) -> bool {
        matches!(self, Self::Io { source, .. } if source.raw_os_error().is_some_and(|code| codes.contains(&code)))
    }

    /// True for failures that may pass by themselves: something was interrupted, timed out or is in use, a handle is stale, a connection
    /// broke. A full disk, a missing permission, a read-only medium and a missing folder stay as they are, however long one waits.
    pub fn is_passing(&self) -> bool {
        use ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
            NetworkDown, NetworkUnreachable, NotConnected, ResourceBusy, StaleNetworkFileHandle, TimedOut, WouldBlock,
        };
        self.has_code(codes::PASSING)
            || matches!(
                self.io_kind(),
                Some(
                    BrokenPipe
                        | ConnectionAborted
                        | ConnectionRefused
                        | ConnectionReset
                        | HostUnreachable
                        | Interrupted
                        | NetworkDown
                        | NetworkUnreachable
                        | NotConnected
                        | ResourceBusy
                        | StaleNetworkFileHandle
                        | TimedOut
                        | WouldBlock
                )
            )
    }

    /// True when the medium, or what is between, failed (EIO). Of reading one object that is [`Self::is_unreadable`]; writing anew may work.
    pub fn is_failing_medium(&self) -> bool {
        self.has_code(codes::FAILING)
    }

    /// True when the place itself is no longer there, as when a disk was unplugged or a share unmounted; that an object is not there is
    /// another matter.
    pub fn is_place_gone(&self) -> bool {
        self.io_kind() == Some(ErrorKind::NotFound)
    }

    /// The same error, naming the object that it was about where the place does not.
    #[must_use]
    fn about(self, name: ObjectName) -> Self {
        match self {
            Self::Io { action, place, source } if !place.replace('\\', "/").contains(&name.path()) => {
                Self::Io { action, place: format!("{place} (for {name})"), source }
            }
            other => other,
        }
    }
}

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object was written and is durable.
    Stored,
    /// An object of this name was there and was left alone.
    AlreadyThere,
}

/// An object in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size: u64,
}

/// A place that keeps a repository's objects.
pub trait Storage: Send + Sync + std::fmt::Debug {
    /// Where this is, for messages.
    fn place(&self) -> String;

    /// Stores an object whose bytes are the parts, one behind the other, unless one of that name is there.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError>;

    /// The whole object, when it has at most `limit` bytes.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::TooLarge`], [`StorageError::Io`].
    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError>;

    /// Fills `buffer` with the object's bytes from `start` on.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Range`], [`StorageError::Io`].
    fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError>;

    /// The object's size in bytes.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Io`].
    fn size(&self, name: ObjectName) -> Result<u64, StorageError>;

    /// All objects of a kind, sorted by name.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn list(&self, kind: ObjectKind) -> Result<Vec<Listed>, StorageError>;

    /// Removes an object; one that is not there is fine.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn delete(&self, name: ObjectName) -> Result<(), StorageError>;

    /// Moves an object out of the way of readers, in one step, without reading it; it can be put again under its name then. Gives
    /// where it lies now, or `None` where there is no such object.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError>;

    /// Puts these bytes in the place of an object that is damaged, and moves what was there aside; where nothing is there, it is a put.
    ///
    /// Where the storage can, the object is at each moment there with one or the other bytes. This is for mending alone: an object that
    /// is whole is never replaced.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn replace(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
        let aside = self.set_aside(name)?;
        self.put(name, parts)?;
        Ok(aside)
    }

    /// What was moved aside, sorted by name, with sizes in bytes.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn list_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError>;

    /// Removes for good what was moved aside; what is not there is fine.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    fn delete_aside(&self, name: AsideName) -> Result<(), StorageError>;
}
