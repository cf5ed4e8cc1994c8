//! The sessions that there are, and which of them are dead.
//!
//! Always true here: a lease that cannot be read counts as one that knows nothing. It ends as any other does, when it has not
//! changed for long.

use super::alive::{self, Liveness};
use super::watch::Watch;
use crate::crypto::derive::RecordKind;
use crate::format::object::{Magic, SealedObject, SealedTo};
use crate::format::session::{self, HolderRecord, SessionKind, SessionRecord};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use crate::repo::RepoError;
use crate::repo::open::Repository;
use crate::repo::sealing::{Purpose, open_with};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Who holds a session, as far as this key can tell.
pub type Holder = Option<HolderRecord>;

/// A session that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its lease.
    pub name: ObjectName,
    /// What tells it from others in all its leases; none where the lease cannot be read.
    pub nonce: Option<[u8; 32]>,
    /// What it is for, where that is known.
    pub kind: Option<SessionKind>,
    /// The retirements that it knows.
    pub known: BTreeSet<ObjectId>,
    /// Who holds it.
    pub holder: Holder,
}

impl Listed {
    /// True where its process is known to have ended, or its lease has not changed for longer than leases last. `folder` is where
    /// this machine knows its sessions.
    pub fn is_dead(&self, folder: Option<&Path>, watch: &Watch) -> bool {
        let liveness = match (folder, &self.nonce) {
            (Some(folder), Some(nonce)) => alive::liveness(folder, nonce),
            _ => Liveness::Unknown,
        };
        match liveness {
            Liveness::Alive => false,
            Liveness::Dead => true,
            Liveness::Unknown => self.name.id().is_some_and(|lease| watch.has_expired(&lease)),
        }
    }

    /// Takes the session for dead: its lease goes. Whoever does this looks at the sessions again before relying on it.
    ///
    /// # Errors
    /// [`RepoError::Storage`].
    pub fn end(&self, repository: &Repository) -> Result<(), RepoError> {
        Ok(repository.storage().delete(self.name)?)
    }
}

/// Sessions of this machine that are dead.
#[derive(Debug)]
pub struct Dead<'a> {
    folder: &'a Path,
    files: BTreeSet<PathBuf>,
}

impl<'a> Dead<'a> {
    /// Those that are dead now, by what this machine knows in `folder`. To be asked for before leases are listed.
    pub fn now(folder: &'a Path) -> Self {
        Self { folder, files: alive::dead(folder) }
    }

    /// Forgets those of which no lease was listed since. Until then their files tell that they are dead: one may have renewed its lease
    /// just before it died.
    pub fn forget(self, there: &[Listed]) {
        alive::sweep(self.folder, &self.files, &there.iter().filter_map(|session| session.nonce).collect());
    }
}

/// How often a listing is taken again because a lease went away while it was read.
const ATTEMPTS: usize = 64;

/// All sessions that are there.
///
/// # Errors
/// [`RepoError::Storage`].
pub fn list(repository: &Repository) -> Result<Vec<Listed>, RepoError> {
    let mut sessions = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut has_changed = false;
        sessions.clear();
        for listed in repository.storage().list(ObjectKind::Session)? {
            match read(repository, listed.name) {
                Ok(session) => sessions.push(session),
                // Ended, or renewed by a lease that the listing may not have. Where that does not end, it counts as one that is there.
                Err(RepoError::Storage(error)) if error.is_not_found() => {
                    has_changed = true;
                    sessions.push(unreadable(listed.name));
                }
                Err(error) if error.is_damage() => sessions.push(unreadable(listed.name)),
                Err(error) => return Err(error),
            }
        }
        if !has_changed {
            break;
        }
    }
    Ok(sessions)
}

const fn unreadable(name: ObjectName) -> Listed {
    Listed { name, nonce: None, kind: None, known: BTreeSet::new(), holder: None }
}

fn read(repository: &Repository, name: ObjectName) -> Result<Listed, RepoError> {
    let bytes = repository.get_named(name, session::MAX_LENGTH)?;
    let malformed = |source| RepoError::Malformed { name, source };
    let object = SealedObject::decode(Magic::Session, &bytes).map_err(malformed)?;
    repository.check_owner(name, object.header.repository)?;
    let header = &bytes[..bytes.len() - object.sealed.len()];
    let keys = repository.keys();
    let plain = keys.open_record(RecordKind::Session, header, object.sealed).map_err(|source| RepoError::Sealed {
        name,
        part: "record",
        source,
    })?;
    let record = SessionRecord::decode(&plain).map_err(malformed)?;
    let holder = SealedTo::decode("session, holder", &record.holder).ok().and_then(|sealed| {
        let plain = open_with(keys.catalog_keys(), Purpose::Holder, record.nonce.as_slice(), &sealed).ok()?;
        HolderRecord::decode(&plain).ok()
    });
    let kind = [SessionKind::Writes, SessionKind::Reads, SessionKind::Prunes];
    let kind = kind.into_iter().find(|kind| *kind as u8 == record.kind);
    Ok(Listed { name, nonce: Some(*record.nonce), kind, known: record.known().collect(), holder })
}
