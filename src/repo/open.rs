//! Making, opening and unlocking a repository.
//!
//! Always true here:
//! - `init` writes the key bundle before the config: a repository without a config does not exist, one with a
//!   config can be opened.
//! - Where the config asks for parity, everything that goes through the repository's storage gets it, the bundle and the
//!   config themselves included.
//! - The config that is used is the one that the opened bundle holds, byte for byte; a config object that differs is refused.

use super::bundles::{Credential, Lock, open_bundle, store_bundle};
use super::keyring::{Action, KeyRing};
use super::parity::ParityStorage;
use super::{RepoError, chain};
use crate::codec::Reader;
use crate::crypto::password::{Password, PasswordCost};
use crate::crypto::{CryptoError, derive, random_bytes};
use crate::format::config::{self, Config, ConfigRecord};
use crate::format::keys::{self, KeyRecord, SealedBundle};
use crate::format::object::{HEADER_LENGTH, Header, Magic};
use crate::ids::RepositoryId;
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
    config_bytes: Vec<u8>,
    keys: KeyRing,
    bundle: ObjectName,
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
        let storage = ParityStorage::wrap(storage, config.repository, config.record.parity);
        let record = KeyRing::new_admin(config.repository, &options.label, config.record.created_ms, &config_bytes)?;
        let lock = Lock::Password(password, options.cost);
        let bundle = store_bundle(&*storage, config.repository, &record, lock)?;
        if storage.put(ObjectName::CONFIG, &[&config_bytes])? == Put::AlreadyThere {
            return Err(RepoError::AlreadyExists { place: storage.place() });
        }
        let keys = KeyRing::from_record(&record, config.repository)
            .map_err(|source| RepoError::Malformed { name: bundle, source })?;
        Ok(Self { storage, config, config_bytes, keys, bundle })
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
        let storage = ParityStorage::wrap(storage, config.repository, config.record.parity);
        Ok(LockedRepository { storage, config, config_bytes })
    }

    /// Opens a repository whose config is gone, damaged or another one, with what a key bundle holds of it; nothing is written. The
    /// keys that are used are chosen as [`LockedRepository::unlock_for`] chooses them.
    ///
    /// # Errors
    /// [`RepoError::NoUsableKey`] where no bundle can be read; [`RepoError::ConfigMissing`] where this password or key opens none that
    /// holds a config; as [`LockedRepository::unlock_for`].
    pub fn recover(storage: Arc<dyn Storage>, credential: &Credential, action: Action) -> Result<Self, RepoError> {
        let mut configs: Vec<(Config, Vec<u8>)> = Vec::new();
        let (mut wrong, mut problems) = (None, Vec::new());
        for listed in storage.list(ObjectKind::Key)? {
            match config_of(&*storage, listed.name, credential) {
                Ok(Some(found)) if configs.iter().all(|(_, bytes)| *bytes != found.1) => configs.push(found),
                Ok(_) => {}
                Err(error @ RepoError::Sealed { source: CryptoError::Authentication, .. }) => wrong = Some(error),
                Err(error) if error.is_damage() => problems.push(chain(&error)),
                Err(error) => return Err(error),
            }
        }
        // An `init` that died leaves a bundle of a repository that has nothing else.
        if configs.len() > 1 {
            configs.retain(|(config, _)| owns_something(&*storage, config.repository));
            if configs.is_empty() {
                return Err(RepoError::ConfigMissing { place: storage.place() });
            }
        }
        match (configs.pop(), configs.is_empty(), wrong) {
            (Some((config, config_bytes)), true, _) => {
                let storage = ParityStorage::wrap(storage, config.repository, config.record.parity);
                LockedRepository { storage, config, config_bytes }.unlock_for(credential, action)
            }
            (None, _, Some(_)) => Err(RepoError::WrongPassword { tried: 1, unusable: problems }),
            (None, ..) if !problems.is_empty() => {
                Err(RepoError::NoUsableKey { place: storage.place(), problems: problems.join("; ") })
            }
            (Some(_), false, _) => Err(RepoError::ConfigChanged),
            (None, ..) => Err(RepoError::ConfigMissing { place: storage.place() }),
        }
    }

    /// Where the objects lie.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The config.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The config's bytes as they are stored, which each key bundle holds as well.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// The keys.
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The bundle that the keys came from.
    pub const fn bundle(&self) -> ObjectName {
        self.bundle
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

/// The config that a bundle holds; `None` where the credential is not for it.
fn config_of(
    storage: &dyn Storage,
    name: ObjectName,
    credential: &Credential,
) -> Result<Option<(Config, Vec<u8>)>, RepoError> {
    let malformed = |source| RepoError::Malformed { name, source };
    let bytes = get_named(storage, name, keys::MAX_LENGTH as u64)?;
    let owner = SealedBundle::decode(&bytes).map_err(malformed)?.repository;
    let Some(record) = open_bundle(storage, name, owner, credential)? else { return Ok(None) };
    let config = Config::decode(&record.config).map_err(malformed)?;
    check_owner(name, owner, config.repository)?;
    Ok(Some((config, record.config.to_vec())))
}

/// True where a pack, segment or snapshot says that it is of this repository.
fn owns_something(storage: &dyn Storage, repository: RepositoryId) -> bool {
    let kinds =
        [(ObjectKind::Snapshot, Magic::Snapshot), (ObjectKind::Index, Magic::Index), (ObjectKind::Pack, Magic::Pack)];
    kinds.into_iter().any(|(kind, magic)| {
        storage.list(kind).unwrap_or_default().iter().any(|listed| {
            let mut header = [0; HEADER_LENGTH];
            storage.get_range(listed.name, 0, &mut header).is_ok()
                && Header::decode(magic, &mut Reader::new(&header)).is_ok_and(|header| header.repository == repository)
        })
    })
}

pub(super) fn check_owner(name: ObjectName, expected: RepositoryId, found: RepositoryId) -> Result<(), RepoError> {
    if expected == found {
        return Ok(());
    }
    Err(RepoError::ForeignObject { name, expected: expected.to_string(), found: found.to_string() })
}

pub(super) fn get_named(storage: &dyn Storage, name: ObjectName, limit: u64) -> Result<Vec<u8>, RepoError> {
    let bytes = storage.get(name, limit)?;
    let found = derive::object_id(&bytes);
    if Some(found) == name.id() { Ok(bytes) } else { Err(RepoError::NameMismatch { name, found }) }
}

impl LockedRepository {
    /// The repository's id.
    pub const fn id(&self) -> RepositoryId {
        self.config.repository
    }

    /// The config, as it stands: nobody has vouched for it yet.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Tries the password on every key bundle.
    ///
    /// # Errors
    /// As [`Self::unlock_with`].
    pub fn unlock(self, password: &Password) -> Result<Repository, RepoError> {
        self.unlock_with(&Credential::Password(password.clone()))
    }

    /// Where the objects lie.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Tries a password or key on every key bundle that it could be for.
    ///
    /// # Errors
    /// As [`Self::unlock_for`].
    pub fn unlock_with(self, credential: &Credential) -> Result<Repository, RepoError> {
        self.unlock_for(credential, Action::Log)
    }

    /// As [`Self::unlock_with`]; of several keys that one password opens, takes one that can do this, where there is one.
    ///
    /// # Errors
    /// [`RepoError::WrongPassword`] when at least one bundle could be tried and none opened; [`RepoError::WrongKey`];
    /// [`RepoError::NoUsableKey`] when none could be tried; [`RepoError::ConfigChanged`].
    pub fn unlock_for(self, credential: &Credential, action: Action) -> Result<Repository, RepoError> {
        let (mut tried, mut others, mut problems, mut all_foreign) = (0, 0, Vec::new(), true);
        let mut opened = None;
        for listed in self.storage.list(ObjectKind::Key)? {
            match open_bundle(&*self.storage, listed.name, self.id(), credential) {
                Ok(Some(record)) => {
                    let keys = self.keys(listed.name, &record)?;
                    let is_enough = keys.require(action).is_ok();
                    if is_enough || opened.is_none() {
                        opened = Some((keys, listed.name));
                    }
                    if is_enough {
                        break;
                    }
                }
                Ok(None) => others += 1,
                Err(RepoError::Sealed { source: CryptoError::Authentication, .. }) => tried += 1,
                Err(error) => {
                    all_foreign &= matches!(error, RepoError::ForeignObject { .. });
                    problems.push(chain(&error));
                }
            }
        }
        if let Some((keys, bundle)) = opened {
            let Self { storage, config, config_bytes } = self;
            return Ok(Repository { storage, config, config_bytes, keys, bundle });
        }
        if tried + others == 0 && all_foreign && !problems.is_empty() {
            // Whole bundles of another repository, all of them: it is the config that does not belong here.
            return Err(RepoError::ConfigChanged);
        }
        match credential {
            Credential::Password(_) if tried > 0 => return Err(RepoError::WrongPassword { tried, unusable: problems }),
            Credential::Key(_) if tried + others > 0 => return Err(RepoError::WrongKey { unusable: problems }),
            _ => {}
        }
        if others > 0 {
            problems.push("those that are whole are sealed to keys, not to passwords".to_owned());
        }
        if problems.is_empty() {
            problems.push("there is none".to_owned());
        }
        Err(RepoError::NoUsableKey { place: self.storage.place(), problems: problems.join("; ") })
    }

    fn keys(&self, name: ObjectName, record: &KeyRecord) -> Result<KeyRing, RepoError> {
        if record.config.as_slice() != self.config_bytes {
            return Err(RepoError::ConfigChanged);
        }
        KeyRing::from_record(record, self.id()).map_err(|source| RepoError::Malformed { name, source })
    }
}
