//! Losses: what of a snapshot's disk cannot be had any more, in the words of the disk: runs of bytes, partitions, files.
//!
//! Always true here:
//! - Runs are exact: each byte of them is lost, and no other is, as far as it is known which chunks are.
//! - Below a node of the data tree that is lost, all bytes are lost; without its disk map nothing of a snapshot can be had, and that is
//!   said in place of runs.
//! - Files are named as far as their volume can be read without what is lost. What keeps files from being named is told.

mod files;
mod probe;

use crate::crypto::derive;
use crate::disk::{DiskOffset, Extent};
use crate::format::manifest::{DiskMap, Origin};
use crate::ids::ChunkId;
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::tree::Reached;
use crate::repo::view::SnapshotDisk;
pub use files::LostFile;
use std::ops::Range;
use std::sync::Arc;

/// What of a snapshot is lost.
#[derive(Debug, Clone, Default)]
pub struct Losses {
    /// Why nothing of it can be had: its disk map is lost, or itself.
    pub whole: Option<String>,
    /// Runs of the disk that are lost, in rising order.
    pub ranges: Vec<Extent>,
    /// Volumes in which some of them lie, in disk order.
    pub volumes: Vec<LostInVolume>,
    /// Files of which some bytes are lost, at most [`Losses::MOST_FILES`].
    pub files: Vec<LostFile>,
    /// Files beyond those.
    pub more_files: u64,
    /// Why some files are not known.
    pub problems: Vec<String>,
}

/// A volume that has lost something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostInVolume {
    /// The number of its partition; `None` on a disk without a table.
    pub number: Option<u32>,
    /// The file system.
    pub file_system: String,
    /// The file system's label, or else the partition's name.
    pub label: Option<String>,
    /// Where it lies on the disk.
    pub extent: Extent,
    /// Bytes of it that are lost.
    pub bytes: u64,
}

impl Losses {
    /// The most files that are named.
    pub const MOST_FILES: usize = 1000;

    /// A snapshot of which nothing can be had.
    pub fn all(why: String) -> Self {
        Self { whole: Some(why), ..Self::default() }
    }

    /// Bytes of the disk that are lost, where it is not the whole.
    pub fn bytes(&self) -> u64 {
        total(&self.ranges)
    }

    /// True when nothing is lost.
    pub const fn is_empty(&self) -> bool {
        self.whole.is_none() && self.ranges.is_empty()
    }

    /// What runs of a disk that are lost mean: the volumes and files that they are of. Only volumes that have lost something are looked
    /// into, and of their files no content is read but what is compressed with the system's own means.
    ///
    /// # Errors
    /// [`OpsError::Interrupted`]. What keeps files from being named is told in the answer.
    pub fn of(disk: &Arc<SnapshotDisk>, ranges: Vec<Extent>, cancel: &Cancel) -> Result<Self, OpsError> {
        let mut losses = Self { ranges, ..Self::default() };
        if losses.ranges.is_empty() {
            return Ok(losses);
        }
        let volumes = disk.private().disk.volumes.iter().flatten().filter(|volume| volume.depth == 0);
        for volume in volumes {
            let extent = Extent { start: DiskOffset(volume.start), length: volume.length };
            let bytes = total(&within(&losses.ranges, extent));
            if bytes > 0 {
                losses.volumes.push(LostInVolume {
                    number: volume.number,
                    file_system: volume.file_system.clone(),
                    label: volume.label.clone().or_else(|| volume.name.clone()),
                    extent,
                    bytes,
                });
            }
        }
        files::name(disk, &mut losses, cancel)?;
        Ok(losses)
    }
}

/// The runs of a snapshot's disk whose chunks are lost, as `is_lost` says, or lie below a node that cannot be read.
///
/// # Errors
/// [`OpsError::Repo`]: storage that fails in another way; [`OpsError::Interrupted`]; what `is_lost` returns.
pub fn ranges(
    disk: &SnapshotDisk,
    is_lost: &dyn Fn(&ChunkId) -> Result<bool, RepoError>,
    cancel: &Cancel,
) -> Result<Vec<Extent>, OpsError> {
    let mut cursor = disk.leaves()?;
    let mut lost: Vec<Range<u64>> = Vec::new();
    let mut position = 0;
    while let Some(reached) = cursor.reach(position, &mut |_| Ok(()))? {
        cancel.check()?;
        let (range, is_lost) = match reached {
            Reached::Leaf(leaf) => {
                (leaf.start..leaf.start + leaf.entry.span, is_lost(&derive::chunk_id(&leaf.entry.key))?)
            }
            Reached::Gap { range, .. } => (range, true),
        };
        // A root that lies about its span is no reason to go on for ever.
        position = range.end.max(position + 1);
        match lost.last_mut() {
            Some(last) if is_lost && last.end == range.start => last.end = range.end,
            _ if is_lost => lost.push(range),
            _ => {}
        }
    }
    Ok(on_disk(disk.map(), &lost))
}

/// Where runs of the kept bytes lie on the disk; `kept` is in rising order.
fn on_disk(map: &DiskMap, kept: &[Range<u64>]) -> Vec<Extent> {
    let mut extents = Vec::new();
    if kept.is_empty() {
        return extents;
    }
    for segment in map.segments() {
        let Origin::Kept(from) = segment.origin else { continue };
        let (from, end) = (from.0, from.0 + segment.extent.length);
        let first = kept.partition_point(|run| run.end <= from);
        for run in kept[first..].iter().take_while(|run| run.start < end) {
            let (start, stop) = (run.start.max(from), run.end.min(end));
            let extent = Extent { start: DiskOffset(segment.extent.start.0 + (start - from)), length: stop - start };
            push_joined(&mut extents, extent);
        }
    }
    extents
}

/// Adds a run behind those that are there, to the last one where it goes on.
fn push_joined(extents: &mut Vec<Extent>, extent: Extent) {
    match extents.last_mut() {
        Some(last) if last.end() == Some(extent.start) => last.length += extent.length,
        _ => extents.push(extent),
    }
}

/// The parts of runs, which are in rising order, that lie in a range.
fn within(runs: &[Extent], range: Extent) -> Vec<Extent> {
    let end = |extent: &Extent| extent.start.0.saturating_add(extent.length);
    let first = runs.partition_point(|run| end(run) <= range.start.0);
    let inside = runs[first..].iter().take_while(|run| run.start.0 < end(&range));
    inside
        .map(|run| {
            let start = run.start.0.max(range.start.0);
            Extent { start: DiskOffset(start), length: end(run).min(end(&range)) - start }
        })
        .collect()
}

fn total(runs: &[Extent]) -> u64 {
    runs.iter().map(|run| run.length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::{HoleKind, MapRecord, StreamKind};

    fn extent(start: u64, length: u64) -> Extent {
        Extent { start: DiskOffset(start), length }
    }

    #[test]
    fn kept_runs_are_found_on_the_disk_wherever_their_streams_lie() {
        let stream = MapRecord::Stream { kind: StreamKind::Other, extents: 3, length: 60 };
        // Kept: 50..70 is 0..20, 0..10 is 20..30, 20..50 is 30..60.
        let records = [
            stream,
            MapRecord::Extent(extent(50, 20)),
            MapRecord::Extent(extent(0, 10)),
            MapRecord::Extent(extent(20, 30)),
            MapRecord::Hole(HoleKind::Zero, extent(10, 10)),
        ];
        let map = DiskMap::check(records, 70).expect("sound");
        assert_eq!(on_disk(&map, &[]), []);
        let all = 0..60;
        assert_eq!(on_disk(&map, std::slice::from_ref(&all)), [extent(0, 10), extent(20, 50)]);
        assert_eq!(on_disk(&map, &[15..25, 59..60]), [extent(0, 5), extent(49, 1), extent(65, 5)]);
    }

    #[test]
    fn runs_are_cut_to_a_range() {
        let runs = [extent(10, 10), extent(30, 10)];
        assert_eq!(within(&runs, extent(0, 10)), []);
        assert_eq!(within(&runs, extent(15, 20)), [extent(15, 5), extent(30, 5)]);
        assert_eq!(within(&runs, extent(40, 100)), []);
        assert_eq!(within(&runs, extent(32, 1)), [extent(32, 1)]);
    }
}
