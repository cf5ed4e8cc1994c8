//! Sessions: a running writer or reader says that it is there, and what it knows to be condemned (format-spec/session.md).
//!
//! Always true here:
//! - The lease is durable before the session looks at anything that a prune could take away. What had been condemned by then it knows,
//!   and treats as absent; for everything that is condemned later a prune waits until the session has ended.
//! - Leases are renewed by a new object before the old one goes. Whoever takes a session for dead deletes its lease and looks
//!   again; whoever renews looks whether the old lease was still there. One of the two sees the other: no session is lost and
//!   goes on as if it were not.
//! - No two clocks are compared. How long a lease has not changed is for one machine to say, by its own clock alone.

mod alive;
mod belongings;
mod list;
mod watch;

pub use belongings::Belongings;
pub use list::{Dead, Holder, Listed, list};
pub use watch::{LEASE_MS, Watch};

use super::RepoError;
use super::open::Repository;
use super::retired::{self, Condemned};
use super::sealing::{Purpose, seal_to};
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::{aead, random_bytes};
use crate::format::object::{Header, Magic};
use crate::format::session::{HolderRecord, SessionKind, SessionRecord};
use crate::ids::{ObjectId, RepositoryId};
use crate::names::{ObjectKind, ObjectName};
use alive::Alive;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a running session renews its lease: often enough that several renewals may fail.
const RENEWAL: Duration = Duration::from_millis(LEASE_MS.unsigned_abs() / 6);

/// The folder below the cache folder where this machine's sessions are known to be alive, and where it remembers those that it saw.
pub fn folder(cache: &Path, repository: RepositoryId) -> PathBuf {
    cache.join("sessions").join(repository.to_string())
}

/// A running session. It ends when it is dropped.
#[derive(Debug)]
pub struct Session {
    repository: Arc<Repository>,
    kind: SessionKind,
    nonce: [u8; 32],
    holder: Vec<u8>,
    condemned: Condemned,
    lease: Mutex<Lease>,
    /// Dropped behind the lease.
    alive: Option<Alive>,
    /// Ends the thread that renews.
    keeper: Mutex<Option<Sender<()>>>,
}

/// The lease as it is.
#[derive(Debug)]
struct Lease {
    name: ObjectName,
    renewal: u64,
    lost: bool,
}

impl Session {
    /// Begins a session: the lease is durable, and what is condemned is known. `folder` is where this machine knows its
    /// sessions, see [`folder`].
    ///
    /// # Errors
    /// [`RepoError::Storage`], also where the storage cannot be written to; [`RepoError::Crypto`].
    pub fn begin(
        repository: &Arc<Repository>,
        kind: SessionKind,
        holder: &HolderRecord,
        folder: Option<&Path>,
    ) -> Result<Self, RepoError> {
        let nonce: [u8; 32] = random_bytes()?;
        let holder = seal_to(repository.keys().catalog(), Purpose::Holder, &nonce, &holder.encode())?;
        // Locked before the lease is there, so that nobody finds a lease whose holder seems to be dead.
        let alive = folder.and_then(|folder| Alive::new(folder, &nonce));
        // A put that failed may have been done.
        let lease =
            put(repository, kind, &nonce, 0, &holder, &[]).inspect_err(|_| alive.iter().for_each(Alive::leave))?;
        let mut session = Self {
            repository: Arc::clone(repository),
            kind,
            nonce,
            holder,
            condemned: Condemned::default(),
            lease: Mutex::new(Lease { name: lease, renewal: 0, lost: false }),
            alive,
            keeper: Mutex::default(),
        };
        // From here on dropping the session takes the lease back.
        session.condemned = Condemned::of(retired::list(repository)?.retirements);
        if !session.condemned.ids().is_empty() {
            session.renew()?;
        }
        Ok(session)
    }

    /// Renews the lease from a thread of its own until the session ends.
    pub fn keep(self: &Arc<Self>) {
        let (end, ended): (Sender<()>, Receiver<()>) = channel();
        let session = Arc::downgrade(self);
        let keeper = move || {
            while ended.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
                let Some(session) = session.upgrade() else { return };
                // What fails now may work the next time; whether the session lives is asked before anything is committed.
                _ = session.renew();
            }
        };
        if std::thread::Builder::new().name("lease".to_owned()).spawn(keeper).is_ok() {
            *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        }
    }

    /// What it is for.
    pub const fn kind(&self) -> SessionKind {
        self.kind
    }

    /// What the session counts as absent.
    pub const fn condemned(&self) -> &Condemned {
        &self.condemned
    }

    /// What tells this session from others, in all its leases.
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a new lease, and takes the old one away.
    ///
    /// # Errors
    /// [`RepoError::SessionLost`] when somebody took the session for dead; [`RepoError::Storage`].
    pub fn renew(&self) -> Result<(), RepoError> {
        let mut lease = self.lease();
        if lease.lost {
            return Err(RepoError::SessionLost { name: lease.name });
        }
        let storage = self.repository.storage();
        let known: Vec<ObjectId> = self.condemned.ids().iter().copied().collect();
        let renewal = lease.renewal + 1;
        let name = put(&self.repository, self.kind, &self.nonce, renewal, &self.holder, &known)?;
        // Asked behind the put: whoever took the old lease away before this looks again, and sees the new one.
        let still_there = storage.size(lease.name);
        lease.renewal = renewal;
        if let Err(error) = still_there {
            // Gone, or not known: then the old lease is the one to ask for.
            if storage.delete(name).is_err() {
                self.alive.iter().for_each(Alive::leave);
            }
            lease.lost = error.is_not_found();
            return Err(if lease.lost { RepoError::SessionLost { name: lease.name } } else { error.into() });
        }
        let old = std::mem::replace(&mut lease.name, name);
        Ok(storage.delete(old)?)
    }

    /// Fails where somebody took this session for dead: what it relied on may be gone.
    ///
    /// # Errors
    /// [`RepoError::SessionLost`]; [`RepoError::Storage`].
    pub fn ensure_live(&self) -> Result<(), RepoError> {
        let mut lease = self.lease();
        if !lease.lost {
            match self.repository.storage().size(lease.name) {
                Ok(_) => return Ok(()),
                Err(error) if error.is_not_found() => lease.lost = true,
                Err(error) => return Err(error.into()),
            }
        }
        Err(RepoError::SessionLost { name: lease.name })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let name = self.lease().name;
        if self.repository.storage().delete(name).is_err() {
            // A lease that stays is found to be dead by this machine at once, and by others when it has not changed for long.
            self.alive.iter().for_each(Alive::leave);
        }
    }
}

/// Seals and stores a lease.
fn put(
    repository: &Repository,
    kind: SessionKind,
    nonce: &[u8; 32],
    renewal: u64,
    holder: &[u8],
    known: &[ObjectId],
) -> Result<ObjectName, RepoError> {
    let known = known.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>();
    let record = SessionRecord {
        nonce: (*nonce).into(),
        renewal,
        kind: kind as u8,
        known: known.into(),
        holder: holder.to_vec().into(),
    };
    let header = Header::new(repository.id()).encode(Magic::Session);
    let sealed = aead::seal(repository.keys().record_key(RecordKind::Session).expose(), &header, &record.encode())?;
    let name = ObjectName::new(ObjectKind::Session, derive::object_id_of_parts(&[&header, &sealed]));
    repository.storage().put(name, &[&header, &sealed])?;
    Ok(name)
}
