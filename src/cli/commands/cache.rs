//! `sheaf cache`

use crate::cli::args::CacheAction;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::output::{self, bytes, count};
use serde::Serialize;
use sheaf::format::session::SessionKind;
use sheaf::ids::RepositoryId;
use sheaf::ops::session;
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Entry {
    repository: String,
    path: PathBuf,
    bytes: u64,
}

pub(crate) fn run(context: &Context, action: CacheAction) -> Result<u8, Failure> {
    match action {
        CacheAction::Show => show(context),
        CacheAction::Rebuild => rebuild(context),
        CacheAction::Remove => remove(context),
    }
}

/// The local indexes: folders whose names are repositories' ids. Anything else in the folder is not ours.
fn entries(cache: &Path) -> Result<Vec<Entry>, Failure> {
    let failed = |error| Failure::io(&format!("listing {}", cache.display()), &error);
    let mut entries = Vec::new();
    let folder = match std::fs::read_dir(cache) {
        Ok(folder) => folder,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(entries),
        Err(error) => return Err(failed(error)),
    };
    for entry in folder {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if RepositoryId::parse(name).is_ok() {
            entries.push(Entry { repository: name.to_owned(), bytes: size(&path), path });
        }
    }
    entries.sort_by(|one, other| one.repository.cmp(&other.repository));
    Ok(entries)
}

fn size(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    files.flatten().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The local indexes: that of the repository where one is named, else all.
fn chosen(context: &Context) -> Result<Vec<Entry>, Failure> {
    let mut entries = entries(&context.cache())?;
    if context.global.repo.is_some() {
        // No password: the id stands in the config, and an index is disposable.
        let id = Repository::open(context.storage()?)?.id().to_string();
        entries.retain(|entry| entry.repository == id);
    }
    Ok(entries)
}

fn show(context: &Context) -> Result<u8, Failure> {
    let entries = chosen(context)?;
    if context.global.json {
        output::json(&entries);
    } else if entries.is_empty() {
        context.say(&format!("No local index in {}.", context.cache().display()));
    } else {
        let rows = entries
            .iter()
            .map(|entry| vec![entry.repository[..8].to_owned(), bytes(entry.bytes), entry.path.display().to_string()]);
        output::line(&output::table(&["Repository", "Size", "Path"], &[1], rows));
    }
    Ok(DONE)
}

fn drop_folder(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::io(&format!("removing {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}

fn rebuild(context: &Context) -> Result<u8, Failure> {
    let repository = context.open(Action::Log)?;
    drop_folder(&session::index_folder(&context.cache(), repository.id()))?;
    let (store, report) =
        session::prepare(repository, SessionKind::Reads, "cache", &context.cache(), &context.progress)?;
    let chunks = store.index.chunk_count()?;
    if context.global.json {
        output::json(&serde_json::json!({
            "path": store.index.path(),
            "segments": report.segments_new,
            "segments_damaged": report.damaged.len(),
            "chunks": chunks,
        }));
    }
    context.say(&format!(
        "Rebuilt {} from {}: {}.",
        store.index.path().display(),
        count(report.segments_new as u64, "index segment"),
        count(chunks, "chunk")
    ));
    Ok(DONE)
}

fn remove(context: &Context) -> Result<u8, Failure> {
    let entries = chosen(context)?;
    for entry in &entries {
        drop_folder(&entry.path)?;
    }
    if context.global.json {
        output::json(&serde_json::json!({ "removed": entries }));
    }
    let freed = entries.iter().map(|entry| entry.bytes).sum();
    context.say(&format!(
        "Removed {}, {}.",
        count(entries.len() as u64, "local index").replace("indexs", "indexes"),
        bytes(freed)
    ));
    Ok(DONE)
}
