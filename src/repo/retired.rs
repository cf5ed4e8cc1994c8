//! Retirements: condemning, and knowing what is condemned (format-spec/retired.md).
//!
//! Always true here:
//! - What is condemned is still there, and readers read it. Only whoever stores counts it as absent, and only what it read of `retired/`
//!   behind its own lease.
//! - A retirement that cannot be read condemns nothing, for nobody.

use super::RepoError;
use super::keyring::Action;
use super::open::Repository;
use super::signing::{self, Signed};
use crate::crypto::aead;
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::sign::Purpose;
use crate::format::object::{Header, Magic, SealedObject};
use crate::format::retired::{self, Retirement};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The retirements that are there.
#[derive(Debug, Default)]
pub struct RetiredList {
    /// Those that could be read.
    pub retirements: BTreeMap<ObjectId, Retirement>,
    /// Those that could not.
    pub damaged: Vec<(ObjectName, RepoError)>,
}

/// What a session counts as absent.
#[derive(Debug, Clone, Default)]
pub struct Condemned {
    ids: BTreeSet<ObjectId>,
    packs: HashSet<ObjectId>,
}

impl Condemned {
    /// What these retirements condemn.
    pub fn of(retirements: BTreeMap<ObjectId, Retirement>) -> Self {
        let packs = retirements.values().flat_map(|retirement| retirement.packs.iter().copied()).collect();
        Self { ids: retirements.into_keys().collect(), packs }
    }

    /// The retirements.
    pub const fn ids(&self) -> &BTreeSet<ObjectId> {
        &self.ids
    }

    /// The packs.
    pub const fn packs(&self) -> &HashSet<ObjectId> {
        &self.packs
    }
}

/// Condemns: when this returns, every session that begins knows it.
///
/// # Errors
/// [`RepoError::KeyLacks`], [`RepoError::Storage`], [`RepoError::Crypto`].
pub fn publish(repository: &Repository, retirement: &Retirement) -> Result<ObjectId, RepoError> {
    repository.keys().require(Action::Prune)?;
    let header = Header::new(repository.id()).encode(Magic::Retired);
    let key = repository.keys().record_key(RecordKind::Retirement);
    let sealed = aead::seal(key.expose(), &header, &retirement.encode())?;
    let block = signing::sign(repository.keys(), Purpose::Retirement, &[&header, &sealed])?;
    let id = derive::object_id_of_parts(&[&header, &sealed, &block]);
    repository.storage().put(ObjectName::new(ObjectKind::Retired, id), &[&header, &sealed, &block])?;
    Ok(id)
}

/// All retirements that are there.
///
/// # Errors
/// [`RepoError::Storage`] when the listing fails or storage cannot be read at all.
pub fn list(repository: &Repository) -> Result<RetiredList, RepoError> {
    let mut list = RetiredList::default();
    for listed in repository.storage().list(ObjectKind::Retired)? {
        let Some(id) = listed.name.id() else { continue };
        match read(repository, listed.name) {
            Ok(retirement) => _ = list.retirements.insert(id, retirement),
            // What it condemned is gone.
            Err(RepoError::Storage(error)) if error.is_not_found() => {}
            Err(error) if error.is_damage() => list.damaged.push((listed.name, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(list)
}

fn read(repository: &Repository, name: ObjectName) -> Result<Retirement, RepoError> {
    let bytes = repository.get_named(name, retired::MAX_LENGTH)?;
    let malformed = |source| RepoError::Malformed { name, source };
    let signed = Signed::verify(repository, Purpose::Retirement, name, bytes)?;
    let object = SealedObject::decode(Magic::Retired, signed.bytes()).map_err(malformed)?;
    repository.check_owner(name, object.header.repository)?;
    if repository.keys().require(Action::KeepRepository).is_ok() {
        signed.maker(repository, name, Action::Prune)?;
    }
    let header = &signed.bytes()[..signed.bytes().len() - object.sealed.len()];
    let plain = repository
        .keys()
        .open_record(RecordKind::Retirement, header, object.sealed)
        .map_err(|source| RepoError::Sealed { name, part: "sealed table", source })?;
    Retirement::decode(&plain).map_err(malformed)
}
