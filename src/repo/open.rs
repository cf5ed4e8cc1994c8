//! Making, opening and unlocking a repository.
//!
//! Always true here:
//! - `init` writes the key bundle before the config: a repository without a config does not exist, one with a
//!   config can be opened.
//! - The config that is used is the one that the opened bundle holds, byte for byte; a config object that differs is refused.

use super::keyring::KeyRing;
use super::{RepoError, chain};
use crate::crypto::password::{Password, PasswordCost, password_key};
use crate::crypto::{CryptoError, aead, derive, random_bytes};
use crate::format::config::{self, Config, ConfigRecord};
use crate::format::keys::{self, KeyRecord, Protection, SealedBundle};
use crate::ids::{ObjectId, RepositoryId};
use crate::names::{ObjectKind, ObjectName};
use crate::storage::{Put, Storage};
use std::sync::Arc;

/// A repository that was found, but whose keys are not known yet.
#[derive(Debug)]
pub struct LockedRepository {
    storage: Arc<dyn Storage>,
    config: Config,
    config_bytes: Vec<u8>,
}

/// A repository with its keys.
#[derive(Debug)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    config: Config,
    keys: KeyRing,
}

/// What a new repository is made with.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// How streams are cut, pack size, compression.
    pub config: ConfigRecord,
    /// What the first key is called.
    pub label: String,
    /// What guessing the password shall cost.
    pub cost: PasswordCost,
}

impl Repository {
    /// Makes a repository where there is none.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`] when there is a config or anything that only a repository has.
    pub fn init(storage: Arc<dyn Storage>, options: InitOptions, password: &Password) -> Result<Self, RepoError> {
        let exists = || RepoError::AlreadyExists { place: storage.place() };
        for kind in [ObjectKind::Config, ObjectKind::Snapshot, ObjectKind::Pack] {
            if !storage.list(kind)?.is_empty() {
                return Err(exists());
            }
        }
        let config = Config { repository: RepositoryId::new(random_bytes()?), record: options.config };
        let config_bytes = config.encode();
        Config::decode(&config_bytes).map_err(|source| RepoError::Malformed { name: ObjectName::CONFIG, source })?;
        let record = KeyRing::new_admin(&options.label, config.record.created_ms, config_bytes.clone())?;
        store_bundle(&*storage, config.repository, &record, password, options.cost)?;
        if storage.put(ObjectName::CONFIG, &[&config_bytes])? == Put::AlreadyThere {
            return Err(exists());
        }
        let keys = KeyRing::from_record(&record)
            .map_err(|source| RepoError::Malformed { name: ObjectName::CONFIG, source })?;
        Ok(Self { storage, config, keys })
    }

    /// Finds a repository.
    ///
    /// # Errors
    /// [`RepoError::NoRepository`]; [`RepoError::ConfigMissing`] where other objects show that there was one;
    /// [`RepoError::Malformed`].
    pub fn open(storage: Arc<dyn Storage>) -> Result<LockedRepository, RepoError> {
        let config_bytes = match storage.get(ObjectName::CONFIG, config::MAX_LENGTH as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                let place = storage.place();
                let has_keys = storage.list(ObjectKind::Key).is_ok_and(|keys| !keys.is_empty());
                return Err(if has_keys {
                    RepoError::ConfigMissing { place }
                } else {
                    RepoError::NoRepository { place }
                });
            }
            Err(error) => return Err(error.into()),
        };
        let config = Config::decode(&config_bytes)
            .map_err(|source| RepoError::Malformed { name: ObjectName::CONFIG, source })?;
        Ok(LockedRepository { storage, config, config_bytes })
    }

    /// Where the objects lie.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The config.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The keys.
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The repository's id.
    pub const fn id(&self) -> RepositoryId {
        self.config.repository
    }

    /// Reads an object whose name is the hash of its bytes, and checks that it is.
    ///
    /// # Errors
    /// [`RepoError::NameMismatch`], [`RepoError::Storage`].
    pub fn get_named(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, RepoError> {
        get_named(&*self.storage, name, limit)
    }

    /// Checks that an object's header names this repository.
    ///
    /// # Errors
    /// [`RepoError::ForeignObject`].
    pub fn check_owner(&self, name: ObjectName, found: RepositoryId) -> Result<(), RepoError> {
        check_owner(name, self.id(), found)
    }
}

fn check_owner(name: ObjectName, expected: RepositoryId, found: RepositoryId) -> Result<(), RepoError> {
    if expected == found {
        return Ok(());
    }
    Err(RepoError::ForeignObject { name, expected: expected.to_string(), found: found.to_string() })
}

fn get_named(storage: &dyn Storage, name: ObjectName, limit: u64) -> Result<Vec<u8>, RepoError> {
    let bytes = storage.get(name, limit)?;
    let found = derive::object_id(&bytes);
    if Some(found) == name.id() { Ok(bytes) } else { Err(RepoError::NameMismatch { name, found }) }
}

impl LockedRepository {
    /// The repository's id.
    pub const fn id(&self) -> RepositoryId {
        self.config.repository
    }

    /// Tries the password on every key bundle.
    ///
    /// # Errors
    /// [`RepoError::WrongPassword`] when at least one bundle could be tried and none opened;
    /// [`RepoError::NoUsableKey`] when none could be tried; [`RepoError::ConfigChanged`].
    pub fn unlock(self, password: &Password) -> Result<Repository, RepoError> {
        let (mut tried, mut problems, mut all_foreign) = (0, Vec::new(), true);
        for listed in self.storage.list(ObjectKind::Key)? {
            match open_bundle(&*self.storage, listed.name, self.id(), password) {
                Ok(record) => return self.with_record(listed.name, &record),
                Err(RepoError::Sealed { source: CryptoError::Authentication, .. }) => tried += 1,
                Err(error) => {
                    all_foreign &= matches!(error, RepoError::ForeignObject { .. });
                    problems.push(chain(&error));
                }
            }
        }
        if tried == 0 && all_foreign && !problems.is_empty() {
            // Whole bundles of another repository, all of them: it is the config that does not belong here.
            return Err(RepoError::ConfigChanged);
        }
        if tried > 0 {
            return Err(RepoError::WrongPassword { tried, unusable: problems });
        }
        if problems.is_empty() {
            problems.push("there is none".to_owned());
        }
        Err(RepoError::NoUsableKey { place: self.storage.place(), problems: problems.join("; ") })
    }

    fn with_record(self, name: ObjectName, record: &KeyRecord) -> Result<Repository, RepoError> {
        if record.config.as_slice() != self.config_bytes {
            return Err(RepoError::ConfigChanged);
        }
        let keys = KeyRing::from_record(record).map_err(|source| RepoError::Malformed { name, source })?;
        Ok(Repository { storage: self.storage, config: self.config, keys })
    }
}

/// Opens one key bundle.
///
/// # Errors
/// [`RepoError::Sealed`] with [`CryptoError::Authentication`] for a wrong password on an intact bundle; every
/// damage has an error of its own.
pub fn open_bundle(
    storage: &dyn Storage,
    name: ObjectName,
    repository: RepositoryId,
    password: &Password,
) -> Result<KeyRecord, RepoError> {
    let bytes = get_named(storage, name, keys::MAX_LENGTH as u64)?;
    let bundle = SealedBundle::decode(&bytes).map_err(|source| RepoError::Malformed { name, source })?;
    check_owner(name, repository, bundle.repository)?;
    let Protection::Password { memory_kib, passes, lanes, salt } = bundle.protection;
    let sealed = |source| RepoError::Sealed { name, part: "sealed record", source };
    let key = password_key(password, &salt, PasswordCost { memory_kib, passes, lanes }).map_err(sealed)?;
    let record = zeroize::Zeroizing::new(aead::open(key.expose(), bundle.outer, bundle.sealed).map_err(sealed)?);
    KeyRecord::decode(&record).map_err(|source| RepoError::Malformed { name, source })
}

/// Checks what can be checked of a key bundle without its password: name, header, owner, protection.
///
/// # Errors
/// [`RepoError`] naming the bundle.
pub fn inspect_bundle(storage: &dyn Storage, name: ObjectName, repository: RepositoryId) -> Result<(), RepoError> {
    let bytes = get_named(storage, name, keys::MAX_LENGTH as u64)?;
    let bundle = SealedBundle::decode(&bytes).map_err(|source| RepoError::Malformed { name, source })?;
    check_owner(name, repository, bundle.repository)
}

/// Seals a key record under a password and stores it.
///
/// # Errors
/// [`RepoError::Crypto`] for costs outside of the limits; [`RepoError::Storage`].
pub fn store_bundle(
    storage: &dyn Storage,
    repository: RepositoryId,
    record: &KeyRecord,
    password: &Password,
    cost: PasswordCost,
) -> Result<ObjectId, RepoError> {
    let salt = random_bytes()?;
    let key = password_key(password, &salt, cost)?;
    let PasswordCost { memory_kib, passes, lanes } = cost;
    let outer = keys::encode_outer(repository, &Protection::Password { memory_kib, passes, lanes, salt });
    let sealed = aead::seal(key.expose(), &outer, &record.encode())?;
    let id = derive::object_id_of_parts(&[&outer, &sealed]);
    storage.put(ObjectName::new(ObjectKind::Key, id), &[&outer, &sealed])?;
    Ok(id)
}
