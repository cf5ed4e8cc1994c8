//! Files by their names, over many snapshots: who has which version.
//!
//! Always true here: a version is told by size and time of last change, so that nothing but records is read.

use super::{Browser, Pattern, Visit, walk};
use crate::layout::files::{Moment, NodeFacts, NodeKind};
use crate::ops::{Cancel, OpsError};

/// A file or folder whose name was meant.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// Its path as it can be typed: `3:/Users/ana/notes.txt`.
    pub path: String,
    /// What the volume says of it.
    pub facts: NodeFacts,
}

impl FoundFile {
    /// What makes it another version than one of the same path.
    pub const fn version(&self) -> (u64, Option<Moment>) {
        (self.facts.size, self.facts.modified)
    }
}

/// What was found on one disk.
#[derive(Debug, Default)]
pub struct Search {
    /// Files and folders, in the order of the volumes and of their names.
    pub files: Vec<FoundFile>,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

/// The most problems of one disk that are told.
const MOST_PROBLEMS: usize = 100;

/// Finds what a pattern names on all volumes of a disk, also on those of virtual disks in files.
///
/// # Errors
/// [`OpsError::Interrupted`].
pub fn find(disk: &Browser, pattern: &Pattern, cancel: &Cancel) -> Result<Search, OpsError> {
    let mut search = Search::default();
    on_disk(disk, "", pattern, cancel, &mut search)?;
    Ok(search)
}

fn on_disk(
    disk: &Browser,
    prefix: &str,
    pattern: &Pattern,
    cancel: &Cancel,
    search: &mut Search,
) -> Result<(), OpsError> {
    for volume in disk.volumes() {
        let Ok(files) = &volume.files else { continue };
        let top = format!("{prefix}{}", volume.prefix());
        walk(&**files, files.root(), &top, cancel, &mut |visit| {
            match visit {
                Visit::Node { path, entry, facts } => {
                    let subject = if pattern.is_path { path.get(top.len()..).unwrap_or_default() } else { &entry.name };
                    if pattern.matches(subject) {
                        search.files.push(FoundFile { path: path.to_owned(), facts: facts.clone() });
                    }
                    return Ok(facts.kind == NodeKind::Folder);
                }
                Visit::Problem { error, .. } if search.problems.len() < MOST_PROBLEMS => {
                    search.problems.push(crate::repo::chain(&error));
                }
                Visit::Problem { .. } | Visit::Left { .. } => {}
            }
            Ok(false)
        })?;
    }
    Ok(())
}
