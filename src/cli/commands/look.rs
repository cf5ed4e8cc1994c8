//! What the commands that look into snapshots have in common: from what was typed to a file, and how one is shown.
//!
//! Always true here: what a volume says is shown without control characters, so that no name steers a terminal.

use super::snapshots::local_time;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use serde::Serialize;
use sheaf::layout::files::{Moment, NodeFacts, NodeKind};
use sheaf::ops::browse::{Browser, DiskPath, Found, SnapshotPath, Target, resolve};
use sheaf::ops::monitor::Monitor;
use sheaf::repo::reader::ChunkStore;
use sheaf::repo::snapshots::{self, Snapshot};
use sheaf::repo::view::SnapshotDisk;
use std::sync::Arc;

/// A snapshot that was opened to look into.
pub(crate) struct Looked {
    pub snapshot: Snapshot,
    pub disk: Arc<SnapshotDisk>,
    pub browser: Browser,
    /// What stood behind the snapshot's name.
    pub path: Option<String>,
}

/// Opens the snapshot of `SNAPSHOT[:PATH]`.
pub(crate) fn open(store: &ChunkStore, text: &str) -> Result<Looked, Failure> {
    let SnapshotPath { snapshot, path } = SnapshotPath::parse(text);
    let snapshot = snapshots::resolve(&store.repository, &snapshot)?;
    let disk = Arc::new(SnapshotDisk::open(store.clone(), snapshot.clone())?);
    let browser = Browser::open(Arc::clone(&disk) as _)?;
    Ok(Looked { snapshot, disk, browser, path })
}

impl Looked {
    /// What the path names. A path that ends with a separator enters a virtual disk.
    pub(crate) fn target(&self, follow: bool) -> Result<(Target, Option<String>), Failure> {
        let text = self.path.clone().unwrap_or_default();
        let path = DiskPath::parse(&text)?;
        if path.steps.is_empty() && !text.is_empty() {
            // The top of the largest volume, as `\` means on a machine with one.
            return Ok((self.largest()?, None));
        }
        let enter = text.ends_with(['/', '\\']);
        Ok((resolve(&self.browser, &path, follow, enter)?, path.stream))
    }

    fn largest(&self) -> Result<Target, Failure> {
        let readable = self.browser.volumes().iter().filter(|volume| volume.files.is_ok());
        let largest = readable.max_by_key(|volume| volume.extent.length);
        let path = DiskPath::parse(&largest.map(|volume| volume.prefix()).unwrap_or_default())?;
        Ok(match (path.steps.is_empty(), largest) {
            // A disk without a table has one volume, and no number for it.
            (true, Some(volume)) => Target::Node(Box::new(Found::top(volume)?)),
            _ => resolve(&self.browser, &path, false, false)?,
        })
    }

    /// The file or folder that the path names.
    pub(crate) fn node(&self, follow: bool) -> Result<(Found, Option<String>), Failure> {
        match self.target(follow)? {
            (Target::Node(found), stream) => Ok((*found, stream)),
            (Target::Disk(..), _) => Err(Failure::usage(
                "a path is needed behind the snapshot, as in `latest:\\Users\\ana\\notes.txt`; `sheaf ls SNAPSHOT` shows what there is",
            )),
        }
    }

    /// A moment as the machine that made the snapshot would show it.
    pub(crate) fn time(&self, moment: Option<Moment>, full: bool) -> Option<String> {
        shown_time(&self.snapshot, moment, full)
    }
}

/// A moment as the machine that made a snapshot would show it.
pub(crate) fn shown_time(snapshot: &Snapshot, moment: Option<Moment>, full: bool) -> Option<String> {
    let Moment { seconds, nanoseconds } = moment?;
    let unix_ms = seconds.checked_mul(1000)?.checked_add(i64::from(nanoseconds / 1_000_000))?;
    Some(local_time(unix_ms, snapshot.record.utc_offset_s, full))
}

/// Text without control characters.
pub(crate) fn clean(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// A file or folder as JSON has it.
#[derive(Serialize)]
pub(crate) struct Item {
    pub path: String,
    pub kind: &'static str,
    pub size: u64,
    pub allocated: u64,
    pub created: Option<String>,
    pub modified: Option<String>,
    pub accessed: Option<String>,
    pub attributes: u32,
    pub links: u32,
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
}

/// A named stream as JSON has it.
#[derive(Serialize)]
pub(crate) struct Stream {
    pub name: String,
    pub size: u64,
}

impl Item {
    pub(crate) fn new(looked: &Looked, path: &str, facts: &NodeFacts) -> Self {
        let time = |moment| looked.time(moment, true);
        Self {
            path: path.to_owned(),
            kind: kind(&facts.kind),
            size: facts.size,
            allocated: facts.allocated,
            created: time(facts.created),
            modified: time(facts.modified),
            accessed: time(facts.accessed),
            attributes: facts.attributes,
            links: facts.links,
            target: match &facts.kind {
                NodeKind::Link(link) => Some(link.target.clone()),
                _ => None,
            },
            streams: Vec::new(),
        }
    }
}

/// What a node is, in a word.
pub(crate) const fn kind(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Folder => "folder",
        NodeKind::Link(link) if link.is_junction => "junction",
        NodeKind::Link(_) => "link",
    }
}

/// Attributes in the letters of Windows ([MS-FSCC] §2.6), in front of them what it is.
pub(crate) fn attributes(facts: &NodeFacts) -> String {
    let kind = match facts.kind {
        NodeKind::File => '-',
        NodeKind::Folder => 'd',
        NodeKind::Link(_) => 'l',
    };
    let letters = [(0x01, 'r'), (0x02, 'h'), (0x04, 's'), (0x20, 'a'), (0x800, 'c')];
    let letter = |(bit, letter): &(u32, char)| if facts.attributes & bit != 0 { *letter } else { '-' };
    std::iter::once(kind).chain(letters.iter().map(letter)).collect()
}

/// Tells what could not be looked at.
pub(crate) fn tell(context: &Context, problems: &[String]) {
    problems.iter().for_each(|problem| context.progress.warn(&clean(problem)));
}
