//! Key bundles on storage: opening, listing, storing and taking away (format-spec/keys.md).
//!
//! Always true here:
//! - A bundle is tried only with what can open it, and memory for a password is taken only within the limits.
//! - What a listing says of a key is what the authority signed; a card that it did not sign is damage.

use super::RepoError;
use super::keyring::{Action, NewKey, verified};
use super::open::Repository;
use super::sealing::{Purpose, open_with, seal_to};
use crate::crypto::derive;
use crate::crypto::password::{Password, PasswordCost, password_key};
use crate::crypto::recipient::{self, SealedKey};
use crate::crypto::{CryptoError, Secret, aead, random_bytes};
use crate::format::certificate::{Certificate, Role};
use crate::format::keys::{self, KeyRecord, Protection, SealedBundle};
use crate::format::object::{HEADER_LENGTH, Header, Magic, SealedTo};
use crate::ids::{KeyId, ObjectId, RecipientId, RepositoryId};
use crate::names::{ObjectKind, ObjectName};
use crate::storage::Storage;

const BUNDLE_KEY_INFO: &[u8] = b"sheaf v1 bundle key";
const ESCROW_INFO: &[u8] = b"sheaf v1 bundle escrow";

/// What opens a bundle.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A password.
    Password(Password),
    /// An X25519 private key, from a key file or from paper.
    Key(Secret),
}

/// What a bundle is protected with.
#[derive(Debug, Clone, Copy)]
pub enum Lock<'a> {
    /// A password, and what guessing it shall cost.
    Password(&'a Password, PasswordCost),
    /// An X25519 public key.
    Recipient(RecipientId),
}

/// What can be known of a bundle without opening it.
#[derive(Debug)]
pub struct Bundle {
    /// Its object.
    pub name: ObjectName,
    /// How it is protected.
    pub protection: Protection,
    /// What the authority says of its key.
    pub certificate: Certificate,
}

/// Bundles, oldest first, and the objects that could not be read.
#[derive(Debug, Default)]
pub struct BundleList {
    /// Readable ones.
    pub bundles: Vec<Bundle>,
    /// Damaged ones.
    pub damaged: Vec<(ObjectName, RepoError)>,
}

/// The key under which a bundle's record is sealed; `None` where this credential is for another kind of bundle.
fn bundle_key(
    repository: RepositoryId,
    protection: &Protection,
    credential: &Credential,
) -> Result<Option<Secret>, CryptoError> {
    match (protection, credential) {
        (Protection::Password { memory_kib, passes, lanes, salt }, Credential::Password(password)) => {
            let cost = PasswordCost { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
            password_key(password, salt, cost).map(Some)
        }
        (Protection::Recipient { recipient, encapsulated, ciphertext }, Credential::Key(private)) => {
            if recipient::public_key(private)? != *recipient {
                return Ok(None);
            }
            let sealed = SealedKey { encapsulated: *encapsulated, ciphertext: *ciphertext };
            recipient::open(private, BUNDLE_KEY_INFO, repository.as_bytes(), &sealed).map(Some)
        }
        _ => Ok(None),
    }
}

/// Opens one key bundle; `None` where the credential is not for it.
///
/// # Errors
/// [`RepoError::Sealed`] with [`CryptoError::Authentication`] for a wrong password on an intact bundle; every
/// damage has an error of its own.
pub fn open_bundle(
    storage: &dyn Storage,
    name: ObjectName,
    repository: RepositoryId,
    credential: &Credential,
) -> Result<Option<KeyRecord>, RepoError> {
    let bytes = super::open::get_named(storage, name, keys::MAX_LENGTH as u64)?;
    let bundle = decode(&bytes, name, repository)?;
    let sealed = |source| RepoError::Sealed { name, part: "sealed record", source };
    let Some(key) = bundle_key(repository, &bundle.protection, credential).map_err(sealed)? else { return Ok(None) };
    let record = zeroize::Zeroizing::new(aead::open(key.expose(), bundle.outer, bundle.sealed).map_err(sealed)?);
    KeyRecord::decode(&record).map(Some).map_err(|source| RepoError::Malformed { name, source })
}

fn decode(bytes: &[u8], name: ObjectName, repository: RepositoryId) -> Result<SealedBundle<'_>, RepoError> {
    let bundle = SealedBundle::decode(bytes).map_err(|source| RepoError::Malformed { name, source })?;
    super::open::check_owner(name, repository, bundle.repository)?;
    Ok(bundle)
}

/// Seals a key record and stores it as a bundle.
///
/// # Errors
/// [`RepoError::Crypto`] for costs outside of the limits or a public key that is none; [`RepoError::Storage`].
pub fn store_bundle(
    storage: &dyn Storage,
    repository: RepositoryId,
    record: &KeyRecord,
    lock: Lock<'_>,
) -> Result<ObjectName, RepoError> {
    let (protection, key) = match lock {
        Lock::Password(password, cost) => {
            let salt = random_bytes()?;
            let PasswordCost { memory_kib, passes, lanes } = cost;
            (Protection::Password { memory_kib, passes, lanes, salt }, password_key(password, &salt, cost)?)
        }
        Lock::Recipient(recipient) => {
            let key = Secret::random()?;
            let sealed = recipient::seal(&recipient, BUNDLE_KEY_INFO, repository.as_bytes(), &key)?;
            let SealedKey { encapsulated, ciphertext } = sealed;
            (Protection::Recipient { recipient, encapsulated, ciphertext }, key)
        }
    };
    store_sealed(storage, repository, record, &protection, &key)
}

/// Seals a record under the key that this protection gives, and stores the bundle.
fn store_sealed(
    storage: &dyn Storage,
    repository: RepositoryId,
    record: &KeyRecord,
    protection: &Protection,
    key: &Secret,
) -> Result<ObjectName, RepoError> {
    let public = |bytes: Option<&[u8]>| {
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(RecipientId::new).ok_or(CryptoError::InvalidPublicKey)
    };
    let catalog = public(Some(record.catalog.as_slice()))?;
    let admins = public(record.recipients.first().map(|key| key.as_slice()))?;
    let header = Header::new(repository).encode(Magic::Key);
    let card = seal_to(&catalog, Purpose::KeyCard, &header, &record.certificate)?;
    let SealedKey { encapsulated, ciphertext } = recipient::seal(&admins, ESCROW_INFO, &header, key)?;
    let outer = keys::encode_outer(repository, protection, &card, &(encapsulated, ciphertext));
    let sealed = aead::seal(key.expose(), &outer, &record.encode())?;
    let name = ObjectName::new(ObjectKind::Key, derive::object_id_of_parts(&[&outer, &sealed]));
    storage.put(name, &[&outer, &sealed])?;
    Ok(name)
}

/// Checks what can be checked of a key bundle without opening it: name, header, owner, protection, and its card.
///
/// # Errors
/// [`RepoError::KeyLacks`] without the catalog's key; [`RepoError`] naming the bundle.
pub fn inspect(repository: &Repository, name: ObjectName) -> Result<Bundle, RepoError> {
    let keys = repository.keys();
    keys.require(Action::KeepRepository)?;
    let malformed = |source| RepoError::Malformed { name, source };
    let bytes = repository.get_named(name, keys::MAX_LENGTH as u64)?;
    let bundle = decode(&bytes, name, repository.id())?;
    let card = SealedTo::decode("card of a key bundle", bundle.card).map_err(malformed)?;
    let card = open_with(keys.catalog_keys(), Purpose::KeyCard, &bytes[..HEADER_LENGTH], &card)
        .map_err(|source| RepoError::Sealed { name, part: "card", source })?;
    let certificate = verified(keys.authority(), repository.id(), &card).map_err(malformed)?;
    Ok(Bundle { name, protection: bundle.protection, certificate })
}

/// The bundle that the keys in use came from: its holder needs no other key to see what it is.
///
/// # Errors
/// [`RepoError`] naming the bundle.
pub fn own(repository: &Repository) -> Result<Bundle, RepoError> {
    described(repository, repository.bundle())
}

/// A bundle of the keys in use.
fn described(repository: &Repository, name: ObjectName) -> Result<Bundle, RepoError> {
    let bytes = repository.get_named(name, keys::MAX_LENGTH as u64)?;
    let protection = decode(&bytes, name, repository.id())?.protection;
    Ok(Bundle { name, protection, certificate: repository.keys().certificate().clone() })
}

/// All bundles of this repository, oldest first.
///
/// # Errors
/// [`RepoError::KeyLacks`] without the catalog's key; [`RepoError::Storage`] when the listing fails or storage cannot be read at
/// all.
pub fn list(repository: &Repository) -> Result<BundleList, RepoError> {
    repository.keys().require(Action::KeepRepository)?;
    let mut list = BundleList::default();
    for listed in repository.storage().list(ObjectKind::Key)? {
        match inspect(repository, listed.name) {
            Ok(bundle) => list.bundles.push(bundle),
            Err(RepoError::Storage(error)) if error.is_not_found() => {}
            // What an `init` leaves that died before it wrote its config: it opens nothing here.
            Err(RepoError::ForeignObject { .. }) => {}
            Err(error) => list.damaged.push((listed.name, error)),
        }
    }
    list.bundles.sort_by_key(|bundle| (bundle.certificate.created_ms, bundle.name));
    Ok(list)
}

/// Finds the key that a person names: by a unique prefix of its id, or by its label.
///
/// # Errors
/// [`RepoError::NoSuchKey`], [`RepoError::AmbiguousKey`].
pub fn resolve(repository: &Repository, name: &str) -> Result<Bundle, RepoError> {
    let bundles = list(repository)?.bundles;
    let prefix = name.to_ascii_lowercase();
    let hex = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    let by_label = bundles.iter().any(|bundle| bundle.certificate.label == name);
    let matches = |bundle: &Bundle| {
        let Certificate { key, label, .. } = &bundle.certificate;
        if by_label { *label == name } else { hex && key.to_string().starts_with(&prefix) }
    };
    let mut found: Vec<Bundle> = bundles.into_iter().filter(matches).collect();
    let keys: std::collections::BTreeSet<KeyId> = found.iter().map(|bundle| bundle.certificate.key).collect();
    match (keys.len(), found.pop()) {
        (1, Some(bundle)) => Ok(bundle),
        (0, _) | (_, None) => Err(RepoError::NoSuchKey { name: name.to_owned() }),
        _ => Err(RepoError::AmbiguousKey {
            name: name.to_owned(),
            candidates: keys.iter().map(|key| key.to_string()[..12].to_owned()).collect(),
        }),
    }
}

/// Makes a key with those of an admin, and stores its bundle.
///
/// # Errors
/// [`RepoError::KeyLacks`] for other roles; [`RepoError::KeyLabelTaken`]; as [`store_bundle`].
pub fn add(repository: &Repository, new: &NewKey, lock: Lock<'_>) -> Result<Bundle, RepoError> {
    repository.keys().require(Action::ManageKeys)?;
    if list(repository)?.bundles.iter().any(|bundle| bundle.certificate.label == new.label) {
        return Err(RepoError::KeyLabelTaken { label: new.label.clone() });
    }
    let record = repository.keys().issue(new, repository.config_bytes())?;
    let name = store_bundle(&**repository.storage(), repository.id(), &record, lock)?;
    inspect(repository, name)
}

/// Protects the bundle that was opened anew, with another password or key: the new bundle is durable, and `told` has heard of it, before
/// the old one goes.
///
/// # Errors
/// [`RepoError::Storage`]; as [`open_bundle`] and [`store_bundle`].
pub fn protect(
    repository: &Repository,
    credential: &Credential,
    lock: Lock<'_>,
    told: &mut dyn FnMut(&Bundle) -> Result<(), RepoError>,
) -> Result<Bundle, RepoError> {
    let storage = &**repository.storage();
    let old = repository.bundle();
    let record = open_bundle(storage, old, repository.id(), credential)?
        .ok_or(RepoError::WrongPassword { tried: 1, unusable: Vec::new() })?;
    let name = store_bundle(storage, repository.id(), &record, lock)?;
    let bundle = described(repository, name)?;
    told(&bundle)?;
    if name != old {
        storage.delete(old)?;
    }
    Ok(bundle)
}

/// What taking a key away will do. Nothing is done until [`Self::apply`].
#[derive(Debug)]
pub struct Revocation {
    /// The key.
    pub certificate: Certificate,
    /// Its bundles, which are deleted.
    pub bundles: Vec<ObjectName>,
    /// Snapshots that it has made, which stay as they are; one that it makes later is not believed.
    pub snapshots: Vec<ObjectId>,
}

impl Revocation {
    /// Plans to take a key away.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] for other keys than an admin's; [`RepoError::LastAdmin`].
    pub fn plan(repository: &Repository, key: &Certificate) -> Result<Self, RepoError> {
        repository.keys().require(Action::ManageKeys)?;
        let all = list(repository)?.bundles;
        let is_other_admin =
            |bundle: &Bundle| bundle.certificate.role == Role::Admin && bundle.certificate.key != key.key;
        if key.role == Role::Admin && !all.iter().any(is_other_admin) {
            return Err(RepoError::LastAdmin { label: key.label.clone() });
        }
        let bundles = all.into_iter().filter(|bundle| bundle.certificate.key == key.key).map(|bundle| bundle.name);
        let made = super::snapshots::list(repository)?.snapshots.into_iter();
        let snapshots = made.filter(|snapshot| snapshot.maker.key == key.key).map(|snapshot| snapshot.id).collect();
        Ok(Self { certificate: key.clone(), bundles: bundles.collect(), snapshots })
    }

    /// Deletes the bundles. The audit log must have been told before ([`crate::format::audit::AuditRecord::KEY_REVOKE`]).
    ///
    /// # Errors
    /// [`RepoError::Storage`].
    pub fn apply(&self, repository: &Repository) -> Result<(), RepoError> {
        self.bundles.iter().try_for_each(|name| Ok(repository.storage().delete(*name)?))
    }
}

/// A bundle as an admin opens it: without its password, by the key that is sealed to the admins.
pub(super) fn open_escrow(
    repository: &Repository,
    name: ObjectName,
) -> Result<(KeyRecord, Protection, Secret), RepoError> {
    let bytes = repository.get_named(name, keys::MAX_LENGTH as u64)?;
    let bundle = decode(&bytes, name, repository.id())?;
    let (encapsulated, ciphertext) = bundle.escrow;
    let escrow = SealedKey { encapsulated, ciphertext };
    let sealed = |part| move |source| RepoError::Sealed { name, part, source };
    let mut opened = repository
        .keys()
        .privates()?
        .iter()
        .map(|(private, _)| recipient::open(private, ESCROW_INFO, &bytes[..HEADER_LENGTH], &escrow));
    let key = opened.find_map(Result::ok).ok_or(CryptoError::Authentication).map_err(sealed("escrow"))?;
    let record = aead::open(key.expose(), bundle.outer, bundle.sealed).map_err(sealed("sealed record"))?;
    let record = KeyRecord::decode(&zeroize::Zeroizing::new(record));
    Ok((record.map_err(|source| RepoError::Malformed { name, source })?, bundle.protection, key))
}

/// Puts a record into the place of the one that a bundle had, under the same protection: durable, and `told`, before the old bundle
/// goes.
pub(super) fn replace(
    repository: &Repository,
    old: ObjectName,
    record: &KeyRecord,
    (protection, key): (&Protection, &Secret),
    told: &mut dyn FnMut(ObjectName) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let storage = &**repository.storage();
    let name = store_sealed(storage, repository.id(), record, protection, key)?;
    told(name)?;
    match storage.delete(old) {
        // Another one was at it as well.
        Err(error) if error.is_not_found() => Ok(()),
        deleted => Ok(deleted?),
    }
}

/// The bytes of a bundle, to be kept elsewhere. They stay sealed.
///
/// # Errors
/// [`RepoError`] naming the bundle.
pub fn export(repository: &Repository, name: ObjectName) -> Result<Vec<u8>, RepoError> {
    repository.get_named(name, keys::MAX_LENGTH as u64)
}

/// Puts a bundle that was kept elsewhere back, or one of this repository that lies in a file: it must be of this repository and
/// whole.
///
/// # Errors
/// [`RepoError::Malformed`], [`RepoError::ForeignObject`], [`RepoError::Storage`].
pub fn import(storage: &dyn Storage, repository: RepositoryId, bytes: &[u8]) -> Result<ObjectName, RepoError> {
    let name = ObjectName::new(ObjectKind::Key, derive::object_id(bytes));
    decode(bytes, name, repository)?;
    storage.put(name, &[bytes])?;
    Ok(name)
}
