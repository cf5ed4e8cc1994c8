//! From a path to the file or folder that it names.
//!
//! Always true here:
//! - A name that is there exactly wins over one in other letters; of several in other letters none is guessed at.
//! - At most [`MOST_LINKS`] links are followed, and disks in files are entered to [`DEPTH`]. A link leads somewhere on its own volume
//!   or nowhere.

use super::volumes::inner_disk;
use super::{BrowseError, Browser, DiskPath, Step, Volume, same_name};
use crate::disk::ReadAt;
use crate::layout::FileSystem;
use crate::layout::files::{Link, NodeFacts, NodeId, NodeKind};
use crate::layout::whole::DEPTH;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most links that one path may lead through.
pub(super) const MOST_LINKS: u32 = 32;

/// A file or folder that was found.
#[derive(Clone)]
pub struct Found {
    /// The volume that it is on.
    pub volume: Arc<Volume>,
    /// That volume's files.
    pub files: Arc<dyn FileSystem>,
    /// It.
    pub node: NodeId,
    /// What the volume says of it.
    pub facts: NodeFacts,
    /// Its path as it can be typed again: `3:/Users/ana`.
    pub path: String,
    /// The last name of the path; empty at the top of a volume.
    pub name: String,
    /// The folder that it is in; itself at the top.
    folder: NodeId,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("path", &self.path).field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Found {
    /// The top of a volume of a snapshot's disk.
    ///
    /// # Errors
    /// As [`Found::top_of`].
    pub fn top(volume: &Arc<Volume>) -> Result<Self, BrowseError> {
        Self::top_of(volume, "")
    }

    /// The top of a volume whose disk's paths begin with `prefix`.
    ///
    /// # Errors
    /// [`BrowseError::NoFileSystem`], [`BrowseError::Files`].
    pub fn top_of(volume: &Arc<Volume>, prefix: &str) -> Result<Self, BrowseError> {
        let path = format!("{prefix}{}/", volume.prefix());
        let files = volume.files.as_ref().map_err(|found| BrowseError::NoFileSystem {
            what: format!("{path} ({})", volume.file_system),
            found: found.clone(),
        })?;
        let node = files.root();
        let facts = files.facts(node).map_err(|source| BrowseError::Files { path: path.clone(), source })?;
        let (volume, files) = (Arc::clone(volume), Arc::clone(files));
        Ok(Self { volume, files, node, facts, path, name: String::new(), folder: node })
    }

    /// Its content, or that of one of its named streams.
    ///
    /// # Errors
    /// [`BrowseError::Files`].
    pub fn open(&self, stream: Option<&str>) -> Result<Arc<dyn ReadAt>, BrowseError> {
        self.files.open(self.node, stream).map_err(|source| self.error(source))
    }

    /// An error of the volume, told with the path.
    pub(super) fn error(&self, source: crate::layout::LayoutError) -> BrowseError {
        BrowseError::Files { path: self.path.clone(), source }
    }

    /// The disk in the file; `None` where it is no virtual disk.
    ///
    /// # Errors
    /// [`BrowseError`].
    pub fn inner(&self) -> Result<Option<Browser>, BrowseError> {
        if self.facts.kind != NodeKind::File {
            return Ok(None);
        }
        let disk = inner_disk(&*self.files, self.folder, self.node).map_err(|source| self.error(source))?;
        disk.map(Browser::open).transpose()
    }
}

/// What a path names.
#[derive(Debug)]
pub enum Target {
    /// A disk as a whole: its volumes. The text is how paths on it begin; empty for the snapshot's own disk.
    Disk(Browser, String),
    /// A file or folder.
    Node(Box<Found>),
}

/// Finds what a path names. The last name is followed where it is a link and `follow` says so; with a separator at its end a virtual
/// disk is entered by `enter`.
///
/// # Errors
/// [`BrowseError`] saying up to where the path leads.
pub fn resolve(disk: &Browser, path: &DiskPath, follow: bool, enter: bool) -> Result<Target, BrowseError> {
    let mut seeker = Seeker { links: 0, follow, enter };
    seeker.on_disk(disk, "", &path.steps, 0)
}

struct Seeker {
    links: u32,
    follow: bool,
    enter: bool,
}

impl Seeker {
    fn on_disk(&mut self, disk: &Browser, prefix: &str, steps: &[Step], depth: u32) -> Result<Target, BrowseError> {
        let what = || if prefix.is_empty() { "the disk".to_owned() } else { prefix.to_owned() };
        match steps.split_first() {
            None => Ok(Target::Disk(disk.clone(), prefix.to_owned())),
            Some((Step::Partition(number), rest)) => {
                let volume = disk.volumes().iter().find(|volume| volume.number == Some(*number));
                let Some(volume) = volume else {
                    let there: Vec<_> =
                        disk.volumes().iter().filter_map(|volume| volume.number).map(|n| n.to_string()).collect();
                    return Err(BrowseError::NoSuchPartition { number: *number, there: there.join(", ") });
                };
                match &volume.files {
                    Ok(files) => self.on_volume(volume, files, prefix, rest, depth),
                    Err(found) => {
                        let what = format!("{prefix}partition {number} ({})", volume.file_system);
                        Err(BrowseError::NoFileSystem { what, found: found.clone() })
                    }
                }
            }
            Some((Step::Name(_), _)) => {
                // On the largest volume where it is on several, and the largest one says what is missing where it is on none.
                let mut first = None;
                for (volume, files) in disk.readable() {
                    match self.on_volume(volume, files, prefix, steps, depth) {
                        Ok(found) => return Ok(found),
                        Err(error) => _ = first.get_or_insert(error),
                    }
                }
                let found =
                    || disk.volumes().iter().map(|volume| volume.file_system.clone()).collect::<Vec<_>>().join(", ");
                let none = || BrowseError::NoFileSystem {
                    what: what(),
                    found: if disk.volumes().is_empty() { "no volumes".to_owned() } else { found() },
                };
                Err(first.unwrap_or_else(none))
            }
        }
    }

    fn on_volume(
        &mut self,
        volume: &Arc<Volume>,
        files: &Arc<dyn FileSystem>,
        prefix: &str,
        steps: &[Step],
        depth: u32,
    ) -> Result<Target, BrowseError> {
        let top = format!("{prefix}{}", volume.prefix());
        // Where we are: from the top down, without the top itself.
        let mut trail: Vec<(NodeId, String)> = Vec::new();
        let mut todo: VecDeque<Way> = steps.iter().cloned().map(Way::Step).collect();
        loop {
            let here = trail.last().map_or_else(|| files.root(), |(node, _)| *node);
            let folder = trail
                .len()
                .checked_sub(2)
                .and_then(|above| trail.get(above))
                .map_or_else(|| files.root(), |(node, _)| *node);
            let path = shown(&top, &trail);
            let failed = |source| BrowseError::Files { path: path.clone(), source };
            let facts = files.facts(here).map_err(failed)?;
            if let NodeKind::Link(link) = &facts.kind
                && (!todo.is_empty() || self.follow)
            {
                self.links += 1;
                if self.links > MOST_LINKS {
                    return Err(BrowseError::TooManyLinks { path, limit: MOST_LINKS });
                }
                trail.pop();
                let (ways, is_full) = lead(link);
                if is_full {
                    trail.clear();
                }
                ways.into_iter().rev().for_each(|way| todo.push_front(way));
                continue;
            }
            let name = trail.last().map(|(_, name)| name.clone()).unwrap_or_default();
            let found = || Found {
                volume: Arc::clone(volume),
                files: Arc::clone(files),
                node: here,
                facts: facts.clone(),
                path: path.clone(),
                name: name.clone(),
                folder,
            };
            if facts.kind == NodeKind::File && (!todo.is_empty() || self.enter) {
                let inner = if depth < DEPTH { found().inner()? } else { None };
                let rest: Option<Vec<Step>> = todo.iter().map(Way::step).collect();
                return match (inner, rest) {
                    (Some(disk), Some(rest)) => self.on_disk(&disk, &format!("{path}/"), &rest, depth + 1),
                    (None, _) if todo.is_empty() => Ok(Target::Node(Box::new(found()))),
                    _ => Err(BrowseError::NotAFolder { path }),
                };
            }
            match todo.pop_front() {
                None => return Ok(Target::Node(Box::new(found()))),
                Some(Way::Up) => _ = trail.pop(),
                Some(Way::Step(Step::Partition(_))) => return Err(BrowseError::NotAFolder { path }),
                Some(Way::Step(Step::Name(name))) => {
                    let node = child(&**files, here, &name, &path)?;
                    trail.push(node);
                }
            }
        }
    }
}

/// A step, or one upward, which only links take.
#[derive(Debug, Clone)]
enum Way {
    Step(Step),
    Up,
}

impl Way {
    fn step(&self) -> Option<Step> {
        match self {
            Self::Step(step) => Some(step.clone()),
            Self::Up => None,
        }
    }
}

/// The way that a link leads, and whether it begins at the top of the volume.
fn lead(link: &Link) -> (Vec<Way>, bool) {
    let (target, is_full) = link.on_volume();
    let parts = target.split(['\\', '/']).filter(|part| !matches!(*part, "" | "."));
    let ways = parts.map(|part| if part == ".." { Way::Up } else { Way::Step(Step::Name(part.to_owned())) });
    (ways.collect(), is_full)
}

fn shown(top: &str, trail: &[(NodeId, String)]) -> String {
    if trail.is_empty() {
        return format!("{top}/");
    }
    trail.iter().fold(top.to_owned(), |path, (_, name)| format!("{path}/{name}"))
}

/// Looks a name up in a folder; returns it with the letters that it has there.
fn child(files: &dyn FileSystem, folder: NodeId, name: &str, path: &str) -> Result<(NodeId, String), BrowseError> {
    let listing = files.entries(folder).map_err(|source| BrowseError::Files { path: path.to_owned(), source })?;
    if let Some(entry) = listing.entries.iter().find(|entry| entry.name == name) {
        return Ok((entry.node, entry.name.clone()));
    }
    let mut same = listing.entries.iter().filter(|entry| same_name(&entry.name, name));
    let (folder, name) = (path.to_owned(), name.to_owned());
    match (same.next(), same.next()) {
        (Some(entry), None) => Ok((entry.node, entry.name.clone())),
        (Some(_), Some(_)) => Err(BrowseError::AmbiguousName { folder, name }),
        // It may be among what could not be read.
        (None, _) => match listing.problems.into_iter().next() {
            Some(source) => Err(BrowseError::Files { path: folder, source }),
            None => Err(BrowseError::NoSuchName { folder, name }),
        },
    }
}
