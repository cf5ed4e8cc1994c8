//! The files that lost runs are of.
//!
//! Always true here:
//! - A volume is entered only where some of it is lost, and each folder once.
//! - A file counts with its content and its named streams; a file on a virtual disk is told as that disk's file.

use super::probe::Probe;
use super::{Losses, within};
use crate::layout::FileSystem;
use crate::layout::files::{NodeFacts, NodeId, NodeKind};
use crate::ops::browse::{Browser, Visit, walk};
use crate::ops::{Cancel, OpsError};
use crate::repo::chain;
use crate::repo::view::SnapshotDisk;
use std::sync::Arc;

/// The most problems that are told.
const MOST_PROBLEMS: usize = 100;
/// The tag of files whose content is packed into a stream of theirs ([MS-FSCC] §2.1.2.1, `IO_REPARSE_TAG_WOF`), and that stream.
const PACKED: (u32, &str) = (0x8000_0017, "WofCompressedData");

/// A file that has lost something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFile {
    /// Its path as it can be typed behind a snapshot: `3:/Users/ana/notes.txt`.
    pub path: String,
    /// Bytes that it has.
    pub size: u64,
    /// Bytes of its clusters that are lost.
    pub bytes: u64,
}

/// Names the files of the runs that are lost.
pub(super) fn name(disk: &Arc<SnapshotDisk>, losses: &mut Losses, cancel: &Cancel) -> Result<(), OpsError> {
    let probe = Arc::new(Probe::new(Arc::clone(disk) as _, losses.ranges.clone()));
    let browser = match Browser::open(Arc::clone(&probe) as _) {
        Ok(browser) => browser,
        Err(error) => {
            losses.problems.push(format!("its files are not known: {}", chain(&error)));
            return Ok(());
        }
    };
    let mut inside_of_volumes = 0;
    for volume in browser.volumes() {
        let lost = within(&losses.ranges, volume.extent);
        inside_of_volumes += super::total(&lost);
        if lost.is_empty() {
            continue;
        }
        let prefix = volume.prefix();
        match &volume.files {
            Ok(files) => of_volume(&**files, &prefix, &probe, losses, cancel)?,
            Err(reason) => {
                tell(losses, format!("{prefix}/ ({}): its files are not known: {reason}", volume.file_system));
            }
        }
    }
    if inside_of_volumes < losses.bytes() && browser.volumes().is_empty() {
        tell(losses, "no volume is found on what is left of the disk: its files are not known".to_owned());
    }
    Ok(())
}

fn tell(losses: &mut Losses, problem: String) {
    if losses.problems.len() < MOST_PROBLEMS {
        losses.problems.push(problem);
    }
}

fn of_volume(
    files: &dyn FileSystem,
    prefix: &str,
    probe: &Probe,
    losses: &mut Losses,
    cancel: &Cancel,
) -> Result<(), OpsError> {
    walk(files, files.root(), prefix, cancel, &mut |visit| {
        match visit {
            Visit::Node { path, entry, facts } => {
                let bytes = lost_in(files, entry.node, facts, probe);
                if bytes > 0 && losses.files.len() < Losses::MOST_FILES {
                    losses.files.push(LostFile { path: path.to_owned(), size: facts.size, bytes });
                } else if bytes > 0 {
                    losses.more_files += 1;
                }
                return Ok(facts.kind == NodeKind::Folder);
            }
            Visit::Problem { error, .. } => tell(losses, chain(&error)),
            Visit::Left { .. } => {}
        }
        Ok(false)
    })
}

fn lost_in(files: &dyn FileSystem, node: NodeId, facts: &NodeFacts, probe: &Probe) -> u64 {
    let of = |stream: Option<&str>, for_true| {
        files.open(node, stream).map_or(0, |content| probe.lost_in(&*content, for_true))
    };
    let mut bytes = 0;
    if facts.kind == NodeKind::File && facts.size > 0 {
        bytes += match facts.reparse_tag {
            // Its places are those of the packed stream, and need not be unpacked to be known.
            Some(tag) if tag == PACKED.0 && files.open(node, Some(PACKED.1)).is_ok() => of(Some(PACKED.1), false),
            Some(_) => of(None, true),
            None => of(None, false),
        };
    }
    for stream in files.streams(node).unwrap_or_default() {
        bytes += of(Some(&stream.name), false);
    }
    bytes
}
