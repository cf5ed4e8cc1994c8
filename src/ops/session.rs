//! Getting ready: a session, and the local index brought up to date, for every verb that reads or writes chunks.
//!
//! Always true here:
//! - The session begins before the index is looked at: what a prune condemns from then on stays until the session has ended.
//! - Whoever only reads goes on without a session where the storage cannot be written to; whoever stores does not.
//! - What is found on the way (damaged segments, missing packs) is told as a warning and never hidden.
//! - The index lies in a folder of its own for each repository, below the cache folder.

use super::OpsError;
use super::monitor::{Monitor, Phase};
use crate::format::session::{HolderRecord, SessionKind};
use crate::ids::RepositoryId;
use crate::names::ObjectName;
use crate::repo::RepoError;
use crate::repo::index::{Index, SyncReport};
use crate::repo::open::Repository;
use crate::repo::reader::ChunkStore;
use crate::repo::sessions::{self, Session};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder of one repository's index below the cache folder.
pub fn index_folder(cache: &Path, repository: RepositoryId) -> PathBuf {
    cache.join(repository.to_string())
}

fn open_and_sync(folder: &Path, repository: &Repository) -> Result<(Arc<Index>, SyncReport), RepoError> {
    let index = Arc::new(Index::open(folder)?);
    let report = index.sync(repository)?;
    Ok((index, report))
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
                monitor.warn(&format!("{}; a prune does not see that this reads", crate::repo::chain(&error)));
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
    let (index, report) = match open_and_sync(&folder, &repository) {
        Err(RepoError::Cache { path, source }) => {
            monitor.warn(&format!("the local index at {path} cannot be used and is made anew: {source}"));
            // Where that is not allowed, opening says so again, and better.
            _ = std::fs::remove_dir_all(&folder);
            open_and_sync(&folder, &repository)?
        }
        synced => synced?,
    };
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
