//! Storage that gives every object its parity.
//!
//! Always true here:
//! - `put` stores the object, then its parity: when it returns, both are durable. So the order of durability holds for parity, too: that of
//!   a pack is there before the index lists the pack.
//! - A writer that dies between the two leaves an object without parity, which is sound; so does one whose parity finds no room, and its
//!   put fails. Whoever puts the object again, and whoever repairs, gives it its parity.
//! - `delete` takes the parity away first, then the object. Dying between the two leaves an object without parity again, and never parity
//!   from which a key bundle or a snapshot that was deleted could be made once more. So parity without an object means that the object was
//!   lost.
//! - Everything else is the storage below.

use super::ParityError;
use super::code::{self, Encoded, Subject};
use crate::format::object::Header;
use crate::format::parity::{Layout, MAX_COVERED};
use crate::ids::RepositoryId;
use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::storage::{Listed, Put, Storage, StorageError, delegate};
use std::sync::Arc;

/// Storage that keeps parity beside each object that may have some.
#[derive(Debug)]
pub struct ParityStorage {
    below: Arc<dyn Storage>,
    repository: RepositoryId,
    ratio: u16,
}

impl ParityStorage {
    /// Parity for the objects of this repository on this storage; `ratio` is that of its config, at least 2.
    pub fn new(below: Arc<dyn Storage>, repository: RepositoryId, ratio: u16) -> Self {
        Self { below, repository, ratio }
    }

    /// The storage itself where the config asks for no parity.
    pub(in crate::repo) fn wrap(below: Arc<dyn Storage>, repository: RepositoryId, ratio: u16) -> Arc<dyn Storage> {
        if ratio == 0 { below } else { Arc::new(Self::new(below, repository, ratio)) }
    }

    /// Makes the parity of an object; `None` for one that can have none.
    fn encode(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<Encoded>, StorageError> {
        let length = parts.iter().map(|part| part.len() as u64).sum();
        // An empty object, which is none of ours.
        if length == 0 || length > MAX_COVERED {
            return Ok(None);
        }
        let failed = |error: ParityError| StorageError::Io {
            action: "computing the parity of",
            place: name.to_string(),
            source: std::io::Error::other(error),
        };
        let layout = Layout::new(length, self.ratio).map_err(|source| failed(ParityError::Layout { name, source }))?;
        let hash = match name.id() {
            Some(id) => *id.as_bytes(),
            None => {
                let mut hasher = blake3::Hasher::new();
                parts.iter().for_each(|part| _ = hasher.update(part));
                *hasher.finalize().as_bytes()
            }
        };
        let subject = Subject { header: Header::new(self.repository), kind: name.kind(), layout, hash };
        code::encode(subject, parts).map(Some).map_err(|source| failed(ParityError::Code { name, source }))
    }
}

impl Storage for ParityStorage {
    delegate!(below: place, get, get_range, size, list, list_aside, delete_aside);

    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let put = self.below.put(name, parts)?;
        let Some(parity) = name.parity() else { return Ok(put) };
        if put == Put::AlreadyThere {
            // What is there under a name that says nothing of its bytes may be other bytes.
            if !name.kind().named_by_content() {
                return Ok(put);
            }
            match self.below.size(parity) {
                Err(error) if error.is_not_found() => {}
                // Whether it is whole is for a check to find out.
                Err(error) if !error.is_unreadable() => return Err(error),
                Ok(_) | Err(_) => return Ok(put),
            }
        }
        let Some(encoded) = self.encode(name, parts)? else { return Ok(put) };
        let stored = self.below.put(parity, &encoded.parts())?;
        if stored == Put::AlreadyThere && !name.kind().named_by_content() {
            // That of another object which had this name.
            self.below.delete(parity)?;
            self.below.put(parity, &encoded.parts())?;
        }
        Ok(put)
    }

    fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        if let Some(parity) = name.parity() {
            self.below.delete(parity)?;
        }
        self.below.delete(name)
    }

    /// The object first: parity that stays behind mends it, which parity that went before could not.
    fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
        let aside = self.below.set_aside(name)?;
        if let Some(parity) = name.parity() {
            self.below.set_aside(parity)?;
        }
        Ok(aside)
    }

    /// What an object is mended to is what its parity was made for: that stays.
    fn replace(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
        self.below.replace(name, parts)
    }
}
