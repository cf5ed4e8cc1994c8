//! Sealing, storing and reading index segments (format-spec/index.md).
//!
//! Always true here: a segment is published only when every pack that it lists is durable; the caller says so by
//! handing over packs that were stored.

use super::RepoError;
use super::keyring::Action;
use super::open::Repository;
use super::signing::{self, Signed};
use crate::crypto::aead;
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::sign::Purpose;
use crate::format::certificate::Certificate;
use crate::format::index::{self, IndexSegment};
use crate::format::object::{Header, Magic, SealedObject};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};

/// Seals and stores a segment.
///
/// # Errors
/// [`RepoError::Storage`], [`RepoError::Crypto`].
pub fn publish(repository: &Repository, segment: &IndexSegment) -> Result<ObjectId, RepoError> {
    let header = Header::new(repository.id()).encode(Magic::Index);
    let key = repository.keys().record_key(RecordKind::IndexSegment);
    let sealed = aead::seal(key.expose(), &header, &segment.encode())?;
    let block = signing::sign(repository.keys(), Purpose::IndexSegment, &[&header, &sealed])?;
    let id = derive::object_id_of_parts(&[&header, &sealed, &block]);
    repository.storage().put(ObjectName::new(ObjectKind::Index, id), &[&header, &sealed, &block])?;
    Ok(id)
}

/// Reads and opens a stored segment, whose signature holds; that it is of a key that may make segments is seen by those who have the
/// catalog's key.
///
/// # Errors
/// [`RepoError`] naming the segment.
pub fn read(repository: &Repository, id: ObjectId) -> Result<IndexSegment, RepoError> {
    if repository.keys().require(Action::KeepRepository).is_ok() {
        return read_with_maker(repository, id).map(|(segment, _)| segment);
    }
    read_signed(repository, ObjectName::new(ObjectKind::Index, id)).map(|(_, segment)| segment)
}

/// Reads a segment and says who made it: a key that the authority knows, and that may.
///
/// # Errors
/// [`RepoError::KeyLacks`] without the catalog's key; [`RepoError`] naming the segment.
pub fn read_with_maker(repository: &Repository, id: ObjectId) -> Result<(IndexSegment, Certificate), RepoError> {
    let name = ObjectName::new(ObjectKind::Index, id);
    let (signed, segment) = read_signed(repository, name)?;
    Ok((segment, signed.maker(repository, name, Action::ListPacks)?))
}

fn read_signed(repository: &Repository, name: ObjectName) -> Result<(Signed, IndexSegment), RepoError> {
    let bytes = repository.get_named(name, index::MAX_LENGTH)?;
    let malformed = |source| RepoError::Malformed { name, source };
    let signed = Signed::verify(repository, Purpose::IndexSegment, name, bytes)?;
    let object = SealedObject::decode(Magic::Index, signed.bytes()).map_err(malformed)?;
    repository.check_owner(name, object.header.repository)?;
    let header = &signed.bytes()[..signed.bytes().len() - object.sealed.len()];
    let plain = repository
        .keys()
        .open_record(RecordKind::IndexSegment, header, object.sealed)
        .map_err(|source| RepoError::Sealed { name, part: "sealed table", source })?;
    let segment = IndexSegment::decode(&plain).map_err(malformed)?;
    Ok((signed, segment))
}
