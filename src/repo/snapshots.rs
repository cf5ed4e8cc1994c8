//! Committing, listing, naming and opening snapshots (format-spec/snapshot.md).
//!
//! Always true here:
//! - [`commit`] is the last write of a backup: everything that the snapshot needs is durable and indexed before.
//! - A snapshot object that is damaged hides no other: a listing gives the good ones and, apart, what is wrong.
//! - Whoever has the catalog's private key sees all snapshots; whoever has a private key of his own alone sees those that are
//!   sealed to it, and learns nothing of the others but that they are there.

use super::RepoError;
use super::keyring::Action;
use super::open::Repository;
use super::sealing::{Purpose, open_with, seal_to};
use super::signing::{self, Signed};
use crate::crypto::derive;
use crate::crypto::recipient::{self, SealedKey};
use crate::crypto::sign::Purpose as SignaturePurpose;
use crate::crypto::{CryptoError, Secret, aead};
use crate::format::certificate::Certificate;
use crate::format::object::{HEADER_LENGTH, Header, Magic, SealedTo};
use crate::format::snapshot::{self, OperatorRecord, PrivateRecord, RecipientSlot, SnapshotObject};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};

const CONTENT_KEY_INFO: &[u8] = b"sheaf v1 snapshot content key";

/// A snapshot as those see it who may see it at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: ObjectId,
    /// The operator's part.
    pub record: OperatorRecord,
    /// Who made it: a key that the authority knows, whose signature holds.
    pub maker: Certificate,
}

/// Snapshots, oldest first, and the objects that could not be read.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// Readable ones.
    pub snapshots: Vec<Snapshot>,
    /// Damaged ones.
    pub damaged: Vec<(ObjectName, RepoError)>,
}

/// Seals and stores a snapshot: the commit point.
///
/// # Errors
/// [`RepoError::KeyLacks`] without a recipient, [`RepoError::Storage`], [`RepoError::Crypto`].
pub fn commit(repository: &Repository, private: &PrivateRecord) -> Result<ObjectId, RepoError> {
    let keys = repository.keys();
    keys.require(Action::Store)?;
    let header = Header::new(repository.id());
    let (associated, record) = (header.encode(Magic::Snapshot), private.operator.encode());
    let operator = seal_to(keys.catalog(), Purpose::OperatorPart, &associated, &record)?;
    let bound = snapshot::encode_bound(&header, &operator);
    let associated = derive::object_id(&bound);
    let content_key = Secret::random()?;
    let private = aead::seal(content_key.expose(), associated.as_bytes(), &private.encode())?;
    let slots = keys.recipients().iter().map(|recipient| {
        let sealed = recipient::seal(recipient, CONTENT_KEY_INFO, associated.as_bytes(), &content_key)?;
        let SealedKey { encapsulated, ciphertext } = sealed;
        Ok(RecipientSlot { recipient: *recipient, encapsulated, ciphertext })
    });
    let slots = slots.collect::<Result<Vec<_>, CryptoError>>()?;
    let object = snapshot::encode(&bound, &slots, &private);
    let block = signing::sign(keys, SignaturePurpose::Snapshot, &[&object])?;
    let id = derive::object_id_of_parts(&[&object, &block]);
    repository.storage().put(ObjectName::new(ObjectKind::Snapshot, id), &[&object, &block])?;
    Ok(id)
}

/// Reads an object whose signature holds.
fn read_signed(repository: &Repository, name: ObjectName) -> Result<Signed, RepoError> {
    let bytes = repository.get_named(name, snapshot::MAX_LENGTH as u64)?;
    let signed = Signed::verify(repository, SignaturePurpose::Snapshot, name, bytes)?;
    let object = decode(&signed, name)?;
    repository.check_owner(name, object.header.repository)?;
    Ok(signed)
}

fn decode(signed: &Signed, name: ObjectName) -> Result<SnapshotObject<'_>, RepoError> {
    SnapshotObject::decode(signed.bytes()).map_err(|source| RepoError::Malformed { name, source })
}

/// Reads what the operator's part of one snapshot says, there or, for those who cannot open that, in the private part.
///
/// # Errors
/// [`RepoError::KeyLacks`] for a key that may read neither, [`RepoError::NotARecipient`]; [`RepoError`] naming the object.
pub fn read(repository: &Repository, id: ObjectId) -> Result<Snapshot, RepoError> {
    let name = ObjectName::new(ObjectKind::Snapshot, id);
    let Some(catalog) = repository.keys().catalog_key() else {
        repository.keys().require(Action::ListSnapshots)?;
        let (signed, private) = read_private(repository, name)?;
        let maker = signing::certified(repository, name, signed.key, &private.maker, Action::Store)?;
        return Ok(Snapshot { id, record: private.operator, maker });
    };
    let signed = read_signed(repository, name)?;
    let maker = signed.maker(repository, name, Action::Store)?;
    let object = decode(&signed, name)?;
    let part = SealedTo::decode("snapshot, operator part", object.operator)
        .map_err(|source| RepoError::Malformed { name, source })?;
    let plain = open_with(catalog, Purpose::OperatorPart, &signed.bytes()[..HEADER_LENGTH], &part)
        .map_err(|source| RepoError::Sealed { name, part: "operator part", source })?;
    let record = OperatorRecord::decode(&plain).map_err(|source| RepoError::Malformed { name, source })?;
    Ok(Snapshot { id, record, maker })
}

/// Opens the private part of one snapshot with this holder's private key.
///
/// # Errors
/// [`RepoError::KeyLacks`]; [`RepoError::NotARecipient`] for a snapshot of others; [`RepoError`] naming the object.
pub fn open_private(repository: &Repository, id: ObjectId) -> Result<PrivateRecord, RepoError> {
    read_private(repository, ObjectName::new(ObjectKind::Snapshot, id)).map(|(_, private)| private)
}

fn read_private(repository: &Repository, name: ObjectName) -> Result<(Signed, PrivateRecord), RepoError> {
    let (private, public) = repository.keys().private()?;
    let signed = read_signed(repository, name)?;
    let object = decode(&signed, name)?;
    let associated = derive::object_id(object.bound);
    let sealed = |source| RepoError::Sealed { name, part: "private part", source };
    let mut slots = object.recipients.iter().filter(|slot| slot.recipient == public).peekable();
    if slots.peek().is_none() {
        return Err(RepoError::NotARecipient { name });
    }
    let opened = slots.find_map(|slot| {
        let sealed = SealedKey { encapsulated: slot.encapsulated, ciphertext: slot.ciphertext };
        recipient::open(private, CONTENT_KEY_INFO, associated.as_bytes(), &sealed).ok()
    });
    let content_key = opened.ok_or_else(|| sealed(CryptoError::Authentication))?;
    let plain = aead::open(content_key.expose(), associated.as_bytes(), object.private).map_err(sealed)?;
    let plain = zeroize::Zeroizing::new(plain);
    let record = PrivateRecord::decode(&plain).map_err(|source| RepoError::Malformed { name, source })?;
    Ok((signed, record))
}

/// All snapshots that this key may see, oldest first.
///
/// # Errors
/// [`RepoError::KeyLacks`] for a key that may see none; [`RepoError::Storage`] when the listing fails or storage cannot be read at
/// all.
pub fn list(repository: &Repository) -> Result<SnapshotList, RepoError> {
    repository.keys().require(Action::ListSnapshots)?;
    let mut list = SnapshotList::default();
    for listed in repository.storage().list(ObjectKind::Snapshot)? {
        let Some(id) = listed.name.id() else { continue };
        match read(repository, id) {
            Ok(snapshot) => list.snapshots.push(snapshot),
            // Deleted since the listing.
            Err(RepoError::Storage(error)) if error.is_not_found() => {}
            // Somebody else's.
            Err(RepoError::NotARecipient { .. }) => {}
            Err(error) => list.damaged.push((listed.name, error)),
        }
    }
    list.snapshots.sort_by_key(|snapshot| (snapshot.record.time_ms, snapshot.id));
    Ok(list)
}

/// Finds the snapshot that a person names: a unique prefix of its id, `latest`, or `STICK:latest`.
///
/// # Errors
/// [`RepoError::NoSuchSnapshot`], [`RepoError::AmbiguousSnapshot`]; the error of a damaged object when that is the
/// one that was named.
pub fn resolve(repository: &Repository, name: &str) -> Result<Snapshot, RepoError> {
    let list = list(repository)?;
    let none = || RepoError::NoSuchSnapshot { name: name.to_owned() };
    if let Some(stick) = name.strip_suffix(":latest") {
        return list.snapshots.into_iter().rev().find(|snapshot| snapshot.record.stick == stick).ok_or_else(none);
    }
    if name == "latest" {
        return list.snapshots.into_iter().next_back().ok_or_else(none);
    }
    let prefix = name.to_ascii_lowercase();
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(none());
    }
    let matches = |id: ObjectId| id.to_string().starts_with(&prefix);
    let mut found: Vec<Snapshot> = list.snapshots.into_iter().filter(|snapshot| matches(snapshot.id)).collect();
    let damaged: Vec<_> = list.damaged.into_iter().filter(|(name, _)| name.id().is_some_and(matches)).collect();
    match (found.len(), damaged.len()) {
        (1, 0) => found.pop().ok_or_else(none),
        (0, 0) => Err(none()),
        (0, 1) => Err(damaged.into_iter().next().map_or_else(none, |(_, error)| error)),
        _ => {
            let found = found.iter().map(|snapshot| snapshot.id);
            let damaged = damaged.iter().filter_map(|(name, _)| name.id());
            let candidates = found.chain(damaged).map(|id| id.to_string()[..12].to_owned()).collect();
            Err(RepoError::AmbiguousSnapshot { name: name.to_owned(), candidates })
        }
    }
}
