//! Sealing, storing and reading index segments (format-spec/index.md).
//!
//! Always true here: a segment is published only when every pack that it lists is durable; the caller says so by
//! handing over packs that were stored.

use super::RepoError;
use super::open::Repository;
use crate::crypto::aead;
use crate::crypto::derive::{self, RecordKind};
use crate::format::index::{self, IndexSegment};
use crate::format::object::{Header, Magic, SealedObject};
use crate::ids::{ChunkId, ObjectId};
use crate::names::{ObjectKind, ObjectName};

/// Seals and stores a segment.
///
/// # Errors
/// [`RepoError::Storage`], [`RepoError::Crypto`].
pub fn publish(repository: &Repository, segment: &IndexSegment) -> Result<ObjectId, RepoError> {
    let header = Header::new(repository.id()).encode(Magic::Index);
    let key = repository.keys().record_key(RecordKind::IndexSegment);
    let sealed = aead::seal(key.expose(), &header, &segment.encode())?;
    let id = derive::object_id_of_parts(&[&header, &sealed]);
    repository.storage().put(ObjectName::new(ObjectKind::Index, id), &[&header, &sealed])?;
    Ok(id)
}

/// Reads and opens a stored segment.
///
/// # Errors
/// [`RepoError`] naming the segment.
pub fn read(repository: &Repository, id: ObjectId) -> Result<IndexSegment, RepoError> {
    let name = ObjectName::new(ObjectKind::Index, id);
    let bytes = repository.get_named(name, index::MAX_LENGTH)?;
    let malformed = |source| RepoError::Malformed { name, source };
    let object = SealedObject::decode(Magic::Index, &bytes).map_err(malformed)?;
    repository.check_owner(name, object.header.repository)?;
    let header = &bytes[..bytes.len() - object.sealed.len()];
    let key = repository.keys().record_key(RecordKind::IndexSegment);
    let plain = aead::open(key.expose(), header, object.sealed).map_err(|source| RepoError::Sealed {
        name,
        part: "sealed table",
        source,
    })?;
    IndexSegment::decode(&plain).map_err(malformed)
}

/// The pack that some readable segment names for a chunk, whether the pack is there or not. Reads all segments.
pub(super) fn holder(repository: &Repository, chunk: &ChunkId) -> Option<ObjectName> {
    let listed = repository.storage().list(ObjectKind::Index).ok()?;
    listed.iter().find_map(|listed| {
        let segment = read(repository, listed.name.id()?).ok()?;
        let pack = segment.packs.iter().find(|pack| pack.entries.iter().any(|entry| entry.id == *chunk))?;
        Some(ObjectName::pack(pack.id))
    })
}
