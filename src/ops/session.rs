//! Getting ready: the local index brought up to date with the repository, for every verb that reads or writes chunks.
//!
//! Always true here:
//! - What is found on the way (damaged segments, missing packs) is told as a warning and never hidden.
//! - The index lies in a folder of its own for each repository, below the cache folder.

use super::OpsError;
use super::monitor::{Monitor, Phase};
use crate::ids::RepositoryId;
use crate::names::ObjectName;
use crate::repo::RepoError;
use crate::repo::index::{Index, SyncReport};
use crate::repo::open::Repository;
use crate::repo::reader::ChunkStore;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of one repository's index below the cache folder.
pub fn index_folder(cache: &Path, repository: RepositoryId) -> PathBuf {
    cache.join(repository.to_string())
}

fn open_and_sync(folder: &Path, repository: &Repository) -> Result<(Arc<Index>, SyncReport), RepoError> {
    let index = Arc::new(Index::open(folder)?);
    let report = index.sync(repository)?;
    Ok((index, report))
}

/// Opens the local index and brings it up to date.
///
/// # Errors
/// [`OpsError::Repo`].
pub fn prepare(
    repository: Arc<Repository>,
    cache: &Path,
    monitor: &dyn Monitor,
) -> Result<(ChunkStore, SyncReport), OpsError> {
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
    Ok((ChunkStore::new(repository, index), report))
}
