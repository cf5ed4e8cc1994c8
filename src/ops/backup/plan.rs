//! What a backup will read, and in which order: the disk divided into streams and holes.
//!
//! Always true here:
//! - A plan covers each byte of its disk exactly once; it is made before anything is stored, and says what it will leave out.
//! - The disks of VHD and VHDX files inside of a file system are opened as sources are, but with no parents: a file whose disk
//!   lies partly elsewhere is a file like any other.

use crate::disk::{Extent, ReadAt, ReadError};
use crate::format::snapshot::VolumeRecord;
use crate::image::ImageError;
use crate::image::container::{FindParent, ParentHint, Place, Run};
use crate::image::vhd::{self, VhdDisk};
use crate::image::vhdx::{self, VhdxDisk};
use crate::layout::nested::{Inner, OpenInner};
use crate::layout::{Coverage, DiskLayout, Keep, Unkept, VolumeFacts, lay_out};
use std::sync::Arc;

/// The most places of a disk in a file; a disk in more pieces is not laid out.
const MOST_PLACES: usize = 1 << 20;

/// The most volumes that a snapshot tells of.
const MOST_RECORDED: usize = 1000;

/// How a disk is divided for a backup.
#[derive(Debug)]
pub struct BackupPlan {
    pub(super) coverage: Coverage,
    /// The volumes that were found.
    pub volumes: Vec<VolumeFacts>,
    /// What a person should hear of: what was not believed, and what is kept because of it.
    pub notes: Vec<String>,
}

impl BackupPlan {
    /// Looks at a disk's partitions and file systems.
    ///
    /// # Errors
    /// [`ReadError`] when the disk is gone.
    pub fn make(disk: &Arc<dyn ReadAt>, keep: Keep) -> Result<Self, ReadError> {
        Ok(lay_out(disk, keep, &InnerDisks)?.into())
    }

    /// The whole disk in its own order, without a look at what is on it.
    pub fn none(disk: &dyn ReadAt) -> Self {
        DiskLayout::none(disk.size()).into()
    }

    /// What a snapshot keeps of the volumes.
    pub(super) fn records(&self) -> Option<Vec<VolumeRecord>> {
        let records = self.volumes.iter().map(|volume| VolumeRecord {
            number: volume.number,
            start: volume.extent.start.0,
            length: volume.extent.length,
            purpose: volume.purpose.clone(),
            name: volume.name.clone(),
            file_system: volume.file_system.clone(),
            label: volume.label.clone(),
            serial: volume.serial.clone(),
            by_files: volume.by_files,
            depth: volume.depth,
            windows: volume.windows.clone(),
        });
        // A disk has a few; a damaged table of a disk in a file may tell thousands.
        Some(records.take(MOST_RECORDED).collect()).filter(|records: &Vec<_>| !records.is_empty())
    }

    /// Bytes that are left out for one reason.
    pub fn left_out(&self, why: Unkept) -> u64 {
        let holes = self.coverage.holes().iter().filter(|(unkept, _)| *unkept == why);
        holes.map(|(_, extent)| extent.length).sum()
    }
}

impl From<DiskLayout> for BackupPlan {
    fn from(layout: DiskLayout) -> Self {
        let DiskLayout { coverage, volumes, notes } = layout;
        Self { coverage, volumes, notes }
    }
}

/// Opens VHD and VHDX files inside of file systems.
struct InnerDisks;

/// No parent is looked for inside of a disk.
struct Orphan;

impl FindParent for Orphan {
    fn find(&self, _hint: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        Ok(None)
    }
}

impl OpenInner for InnerDisks {
    fn open(&self, file: Arc<dyn ReadAt>) -> Option<Inner> {
        if vhdx::is_vhdx(&*file).ok()? {
            let disk = VhdxDisk::open(file, &Orphan).ok()?;
            let places = places(disk.runs(0..disk.size()).map(Result::ok))?;
            return Some(Inner { disk: Arc::new(disk), places, format: "VHDX" });
        }
        vhd::is_vhd(&*file).ok()??;
        let disk = VhdDisk::open(file, &Orphan).ok()?;
        let places = places(disk.runs(0..disk.size()).map(Result::ok))?;
        Some(Inner { disk: Arc::new(disk), places, format: "VHD" })
    }
}

/// Where the disk's bytes lie in the file; `None` where that cannot be told, or is told in too many pieces.
fn places(runs: impl Iterator<Item = Option<Run>>) -> Option<Vec<(Extent, u64)>> {
    let mut places = Vec::new();
    for run in runs {
        let Run { start, length, place } = run?;
        if let Place::File(at) = place {
            places.push((Extent { start, length }, at.0));
        }
        if places.len() > MOST_PLACES {
            return None;
        }
    }
    Some(places)
}
