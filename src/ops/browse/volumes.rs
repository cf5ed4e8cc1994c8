//! The volumes of a disk, each with its file system opened.
//!
//! Always true here:
//! - A volume that cannot be read is there all the same, with what is known of it and why it cannot.
//! - Disks in files are opened as those of a backup are; the parent of a differencing one is looked for in the same folder alone.

use super::{BrowseError, same_name};
use crate::disk::{DiskOffset, Extent, Part, ReadAt};
use crate::image::ImageError;
use crate::image::container::{FindParent, ParentHint};
use crate::image::vhd::{self, VhdDisk};
use crate::image::vhdx::{self, VhdxDisk};
use crate::layout::exfat::ExFatFiles;
use crate::layout::fat::FatFiles;
use crate::layout::files::NodeId;
use crate::layout::ntfs::NtfsFiles;
use crate::layout::partitions::Scheme;
use crate::layout::{FileSystem, LayoutError, VolumeKind, partitions, volume_kind};
use std::sync::Arc;

/// A volume of a disk.
#[derive(Clone)]
pub struct Volume {
    /// The number of its partition; `None` on a disk without a table.
    pub number: Option<u32>,
    /// Where it lies on its disk.
    pub extent: Extent,
    /// The file system, such as `NTFS`.
    pub file_system: String,
    /// The partition's name, where the table has one.
    pub name: Option<String>,
    /// Its files, or why they cannot be read.
    pub files: Result<Arc<dyn FileSystem>, String>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume")
            .field("number", &self.number)
            .field("file_system", &self.file_system)
            .finish_non_exhaustive()
    }
}

impl Volume {
    /// How a path to it begins: `3:`, or nothing on a disk without a table.
    pub fn prefix(&self) -> String {
        self.number.map_or_else(String::new, |number| format!("{number}:"))
    }
}

/// A disk to look into.
#[derive(Clone)]
pub struct Browser {
    disk: Arc<dyn ReadAt>,
    volumes: Vec<Arc<Volume>>,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser").field("volumes", &self.volumes).finish_non_exhaustive()
    }
}

impl Browser {
    /// Reads the partition table, and opens the file system of each volume.
    ///
    /// # Errors
    /// [`BrowseError::Read`] when the disk as such cannot be read.
    pub fn open(disk: Arc<dyn ReadAt>) -> Result<Self, BrowseError> {
        let table = partitions(&*disk).map_err(|source| BrowseError::Read { path: "the disk".to_owned(), source })?;
        let whole = Extent { start: DiskOffset(0), length: disk.size() };
        let alone = (table.scheme == Scheme::Volume).then_some((None, whole, None));
        let parts = table.partitions.into_iter().map(|part| (Some(part.number), part.extent, part.name));
        let volumes = parts.chain(alone).map(|(number, extent, name)| {
            let part: Arc<dyn ReadAt> = Arc::new(Part::new(Arc::clone(&disk), extent));
            let (file_system, files) = open_files(&part);
            Arc::new(Volume { number, extent, file_system, name, files })
        });
        let volumes = volumes.collect();
        Ok(Self { disk, volumes })
    }

    /// A disk whose volumes are known otherwise.
    pub fn with_volumes(disk: Arc<dyn ReadAt>, volumes: Vec<Volume>) -> Self {
        Self { disk, volumes: volumes.into_iter().map(Arc::new).collect() }
    }

    /// The disk.
    pub fn disk(&self) -> &Arc<dyn ReadAt> {
        &self.disk
    }

    /// Its volumes in disk order.
    pub fn volumes(&self) -> &[Arc<Volume>] {
        &self.volumes
    }

    /// A volume's bytes as a disk.
    pub fn part(&self, volume: &Volume) -> Arc<dyn ReadAt> {
        Arc::new(Part::new(Arc::clone(&self.disk), volume.extent))
    }

    /// Those whose files can be read, the largest first.
    pub(super) fn readable(&self) -> Vec<(&Arc<Volume>, &Arc<dyn FileSystem>)> {
        let readable = self.volumes.iter().filter_map(|volume| Some((volume, volume.files.as_ref().ok()?)));
        let mut readable: Vec<_> = readable.collect();
        readable.sort_by_key(|(volume, _)| std::cmp::Reverse(volume.extent.length));
        readable
    }
}

/// What file system a volume has, and its files.
fn open_files(part: &Arc<dyn ReadAt>) -> (String, Result<Arc<dyn FileSystem>, String>) {
    let kind = match volume_kind(&**part) {
        Ok(kind) => kind,
        Err(error) => return (VolumeKind::Unknown.to_string(), Err(crate::repo::chain(&error))),
    };
    let volume = Arc::clone(part);
    let opened = match kind {
        // A copy of its boot sector may be left where the first one is gone.
        VolumeKind::Ntfs | VolumeKind::Unknown => NtfsFiles::open(volume).map(shared),
        VolumeKind::Fat12 | VolumeKind::Fat16 | VolumeKind::Fat32 => FatFiles::open(volume).map(shared),
        VolumeKind::ExFat => ExFatFiles::open(volume).map(shared),
        VolumeKind::BitLocker => return (kind.to_string(), Err("it is encrypted".to_owned())),
        VolumeKind::Other(_) => return (kind.to_string(), Err("this file system is not known here".to_owned())),
    };
    match opened {
        Ok(Some(files)) => {
            let name = if kind == VolumeKind::Unknown { VolumeKind::Ntfs } else { kind };
            (name.to_string(), Ok(files))
        }
        Ok(None) => (kind.to_string(), Err("this file system is not known here".to_owned())),
        Err(error) => (kind.to_string(), Err(crate::repo::chain(&error))),
    }
}

fn shared<F: FileSystem + 'static>(files: Option<F>) -> Option<Arc<dyn FileSystem>> {
    files.map(|files| Arc::new(files) as Arc<dyn FileSystem>)
}

/// Finds the parent of a differencing disk among the files of its folder.
struct Siblings<'a> {
    files: &'a dyn FileSystem,
    folder: NodeId,
}

impl FindParent for Siblings<'_> {
    fn find(&self, hint: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        let Ok(listing) = self.files.entries(self.folder) else { return Ok(None) };
        let mut first = None;
        for path in &hint.paths {
            let Some(name) = path.rsplit(['\\', '/']).next() else { continue };
            let same = listing.entries.iter().filter(|entry| !entry.is_folder && same_name(&entry.name, name));
            for file in same.filter_map(|entry| self.files.open(entry.node, None).ok()) {
                if [vhd::identifier(&*file), vhdx::data_identifier(&*file)].contains(&Some(hint.identifier)) {
                    return Ok(Some(file));
                }
                first.get_or_insert(file);
            }
        }
        Ok(first)
    }
}

/// The disk in a file that lies in a folder; `None` where the file is no virtual disk, or one that cannot be read.
pub(super) fn inner_disk(
    files: &dyn FileSystem,
    folder: NodeId,
    node: NodeId,
) -> Result<Option<Arc<dyn ReadAt>>, LayoutError> {
    let file = files.open(node, None)?;
    let siblings = Siblings { files, folder };
    if vhdx::is_vhdx(&*file).unwrap_or(false) {
        return Ok(VhdxDisk::open(file, &siblings).ok().map(|disk| Arc::new(disk) as Arc<dyn ReadAt>));
    }
    if matches!(vhd::is_vhd(&*file), Ok(Some(_))) {
        return Ok(VhdDisk::open(file, &siblings).ok().map(|disk| Arc::new(disk) as Arc<dyn ReadAt>));
    }
    Ok(None)
}
