//! Getting ready: a session, and the local index brought up to date, for every verb that reads or writes chunks.
//!
//! Always true here:
//! - The session begins before the index is looked at: what a prune condemns from then on stays until the session has ended.
//! - Whoever only reads goes on without a session where the storage cannot be written to; whoever stores does not.
//! - What is found on the way (damaged segments, missing packs) is told as a warning and never hidden.
//! - The index lies in a folder of its own for each repository, below the cache folder. Where it cannot, whoever only reads has it in
//!   memory, as far as [`MOST_IN_MEMORY`] goes: a disk is given back also from a machine whose own disk is full or cannot be written to.

use super::OpsError;
use super::monitor::{Monitor, Phase};
use crate::format::session::{HolderRecord, SessionKind};
use crate::ids::RepositoryId;
use crate::names::{ObjectKind, ObjectName};
use crate::repo::index::{Index, SyncReport};
use crate::repo::open::Repository;
use crate::repo::reader::ChunkStore;
use crate::repo::sessions::{self, Session};
use crate::repo::{RepoError, chain};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder of one repository's index below the cache folder.
pub fn index_folder(cache: &Path, repository: RepositoryId) -> PathBuf {
    cache.join(repository.to_string())
}

/// Bytes of index segments up to which the index may be in memory: some 800,000 chunks, which take 200 MiB there.
pub const MOST_IN_MEMORY: u64 = 32 << 20;

type Synced = Result<(Arc<Index>, SyncReport), RepoError>;

fn sync(index: Index, repository: &Repository) -> Synced {
    let report = index.sync(repository)?;
    Ok((Arc::new(index), report))
}

/// The index in its folder. Where it cannot be used, it is made anew; where that cannot be done, it is in memory for those who only read.
fn open_and_sync(folder: &Path, repository: &Repository, kind: SessionKind, monitor: &dyn Monitor) -> Synced {
    let in_folder = || Index::open(folder).and_then(|index| sync(index, repository));
    let first = match in_folder() {
        Err(error @ RepoError::Cache { .. }) => error,
        synced => return synced,
    };
    _ = std::fs::remove_dir_all(folder);
    let second = match in_folder() {
        Ok(synced) => {
            monitor.warn(&format!("{}; it was made anew", chain(&first)));
            return Ok(synced);
        }
        Err(error @ RepoError::Cache { .. }) => error,
        Err(error) => return Err(error),
    };
    let segments = || repository.storage().list(ObjectKind::Index);
    if kind != SessionKind::Reads || segments()?.iter().map(|listed| listed.size).sum::<u64>() > MOST_IN_MEMORY {
        return Err(second);
    }
    monitor.warn(&format!("{}; it is in memory for this once", chain(&second)));
    sync(Index::in_memory()?, repository)
}

/// This machine's clock, in milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> i64 {
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => millis(before.duration()).saturating_neg(),
    }
}

/// Begins a session of this process, which is renewed until the last copy is dropped. `command` is what the process does, in one word.
///
/// `None` for one that only reads, where the storage cannot be written to.
///
/// # Errors
/// [`OpsError::Repo`].
pub fn begin(
    repository: &Arc<Repository>,
    kind: SessionKind,
    command: &str,
    cache: Option<&Path>,
    monitor: &dyn Monitor,
) -> Result<Option<Arc<Session>>, OpsError> {
    // In a simulator everything follows from a seed.
    let (process, began_ms) = if cfg!(feature = "simulator") { (0, 0) } else { (std::process::id(), now_ms()) };
    let holder = HolderRecord {
        host: hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned()),
        process,
        command: command.to_owned(),
        began_ms,
    };
    let folder = cache.map(|cache| sessions::folder(cache, repository.id()));
    match Session::begin(repository, kind, &holder, folder.as_deref()) {
        Ok(session) => {
            let session = Arc::new(session);
            session.keep();
            Ok(Some(session))
        }
        Err(error) if kind == SessionKind::Reads => match refused(&error) {
            // Nobody prunes what nobody can write to.
            Some(ErrorKind::ReadOnlyFilesystem) => Ok(None),
            Some(_) => {
                monitor.warn(&format!("{}; a prune does not see that this reads", chain(&error)));
                Ok(None)
            }
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Why the storage does not take a lease, where it does not take anything.
fn refused(error: &RepoError) -> Option<ErrorKind> {
    use ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let RepoError::Storage(error) = error else { return None };
    error.io_kind().filter(|kind| matches!(kind, PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull))
}

/// Begins a session, opens the local index and brings it up to date. The session lasts as long as the store.
///
/// # Errors
/// [`OpsError::Repo`].
pub fn prepare(
    repository: Arc<Repository>,
    kind: SessionKind,
    command: &str,
    cache: &Path,
    monitor: &dyn Monitor,
) -> Result<(ChunkStore, SyncReport), OpsError> {
    let session = begin(&repository, kind, command, Some(cache), monitor)?;
    monitor.begin(Phase::Index, None);
    let folder = index_folder(cache, repository.id());
    let (index, report) = open_and_sync(&folder, &repository, kind, monitor)?;
    for (id, error) in &report.damaged {
        monitor.warn(&format!("index/{id} cannot be used: {error}; its packs are read instead"));
    }
    if let Some((first, more)) = report.missing_packs.split_first() {
        let first = ObjectName::pack(*first);
        let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
        monitor.warn(&format!(
            "{first}{more} is not there, or has another size than the index says; `sheaf check` says what that touches"
        ));
    }
    let store = ChunkStore::new(repository, index).following();
    Ok((session.into_iter().fold(store, ChunkStore::during), report))
}
