//! All that is below a folder, in the order of names.
//!
//! Always true here:
//! - Each folder is entered once, wherever and however often it is named: there is no loop, and no work that grows without end.
//! - What cannot be read is told, and the rest is visited.

use super::BrowseError;
use crate::layout::FileSystem;
use crate::layout::files::{Entry, NodeFacts, NodeId, NodeKind};
use crate::ops::{Cancel, OpsError};
use std::collections::HashSet;

/// Something that is met on the way.
#[derive(Debug)]
pub enum Visit<'a> {
    /// A file, a link, or a folder before what is in it.
    Node {
        /// Its path.
        path: &'a str,
        /// Its entry.
        entry: &'a Entry,
        /// What the volume says of it.
        facts: &'a NodeFacts,
    },
    /// A folder behind all that is in it.
    Left {
        /// Its path.
        path: &'a str,
    },
    /// Something that cannot be read, or is not entered a second time.
    Problem {
        /// What it is about.
        path: &'a str,
        /// Why.
        error: BrowseError,
    },
}

struct Open {
    path: String,
    entries: std::vec::IntoIter<Entry>,
}

/// Visits all that is below a folder. `visit` says of a folder whether it is entered.
///
/// # Errors
/// [`OpsError::Interrupted`], and what `visit` returns.
pub fn walk(
    files: &dyn FileSystem,
    folder: NodeId,
    path: &str,
    cancel: &Cancel,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<bool, OpsError>,
) -> Result<(), OpsError> {
    let mut entered = HashSet::from([folder]);
    let mut open = Vec::new();
    enter(files, folder, path.trim_end_matches('/').to_owned(), &mut open, visit)?;
    while let Some(last) = open.last_mut() {
        cancel.check()?;
        let Some(entry) = last.entries.next() else {
            let path = std::mem::take(&mut last.path);
            open.pop();
            if !open.is_empty() {
                visit(Visit::Left { path: &path })?;
            }
            continue;
        };
        let path = format!("{}/{}", last.path, entry.name);
        let facts = match files.facts(entry.node) {
            Ok(facts) => facts,
            Err(source) => {
                visit(Visit::Problem { path: &path, error: BrowseError::Files { path: path.clone(), source } })?;
                continue;
            }
        };
        if facts.kind == NodeKind::Folder && !entered.insert(entry.node) {
            let error = BrowseError::Path {
                path: path.clone(),
                reason: "this folder was met before, by another way".to_owned(),
            };
            visit(Visit::Problem { path: &path, error })?;
            continue;
        }
        let goes_in = visit(Visit::Node { path: &path, entry: &entry, facts: &facts })?;
        if goes_in && facts.kind == NodeKind::Folder {
            enter(files, entry.node, path, &mut open, visit)?;
        }
    }
    Ok(())
}

fn enter(
    files: &dyn FileSystem,
    folder: NodeId,
    path: String,
    open: &mut Vec<Open>,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<bool, OpsError>,
) -> Result<(), OpsError> {
    let problem = |source| BrowseError::Files { path: path.clone(), source };
    let mut listing = match files.entries(folder) {
        Ok(listing) => listing,
        Err(source) => {
            visit(Visit::Problem { path: &path, error: problem(source) })?;
            return Ok(());
        }
    };
    for source in listing.problems {
        visit(Visit::Problem { path: &path, error: problem(source) })?;
    }
    listing.entries.sort_by_cached_key(|entry| (entry.name.to_uppercase(), entry.name.clone()));
    open.push(Open { path, entries: listing.entries.into_iter() });
    Ok(())
}
