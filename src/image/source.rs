//! A source opened as the disk that it holds: what a file is, is found by its content.
//!
//! Always true here:
//! - A block device is a disk itself, whatever its last sectors look like; a file is a VHD or a VHDX when its content says so, and
//!   then it is read as one or refused, never silently taken for a raw disk.
//! - All that can be wrong with a container is found when it is opened, before anything is stored, but for bytes that the
//!   medium does not give.

use super::parents::ParentFolders;
use super::vhd::{VhdDisk, VhdError, VhdFacts};
use super::vhdx::{VhdxDisk, VhdxFacts};
use super::{ImageError, RawDisk, vhd, vhdx};
use crate::disk::{DiskOffset, ReadAt, ReadError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a source is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFormat {
    /// The file's bytes are the disk's.
    Raw,
    /// A VHD of any kind.
    Vhd,
    /// A VHDX of any kind.
    Vhdx,
}

impl std::fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Vhd => "VHD",
            Self::Vhdx => "VHDX",
        })
    }
}

/// The disk in a source.
enum Inside {
    Raw(Arc<RawDisk>),
    Vhd(Box<VhdDisk>),
    Vhdx(Box<VhdxDisk>),
}

/// What a container says of itself.
#[derive(Debug, Clone)]
pub enum Container {
    /// Of a VHD.
    Vhd(VhdFacts),
    /// Of a VHDX.
    Vhdx(VhdxFacts),
}

/// An open source.
pub struct Source {
    file: Arc<RawDisk>,
    inside: Inside,
    /// Why it may be something else than it is read as.
    doubt: Option<String>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("file", &self.file).field("format", &self.format()).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file or device. `format` overrides what its content says; `parents` are files and folders in which parents of
    /// differencing disks may lie, besides the file's own folder.
    ///
    /// # Errors
    /// [`ImageError`]: it cannot be opened, or is a container that breaks its format or lacks its parent.
    pub fn open(path: &Path, format: Option<SourceFormat>, parents: &[PathBuf]) -> Result<Self, ImageError> {
        let file = Arc::new(RawDisk::open(path)?);
        let (format, doubt) = match format {
            Some(format) => (format, None),
            None => recognise(path, &file)?,
        };
        let opened: Arc<dyn ReadAt> = Arc::clone(&file) as _;
        let folders = ParentFolders::new(path, parents);
        let inside = match format {
            SourceFormat::Raw => Inside::Raw(Arc::clone(&file)),
            SourceFormat::Vhd => {
                Inside::Vhd(Box::new(VhdDisk::open(opened, &folders).map_err(|source| broken_vhd(path, source))?))
            }
            SourceFormat::Vhdx => {
                Inside::Vhdx(Box::new(VhdxDisk::open(opened, &folders).map_err(|source| broken_vhdx(path, source))?))
            }
        };
        Ok(Self { file, inside, doubt })
    }

    /// The file or device itself.
    pub fn file(&self) -> &RawDisk {
        &self.file
    }

    /// What it is read as.
    pub const fn format(&self) -> SourceFormat {
        match &self.inside {
            Inside::Raw(_) => SourceFormat::Raw,
            Inside::Vhd(_) => SourceFormat::Vhd,
            Inside::Vhdx(_) => SourceFormat::Vhdx,
        }
    }

    /// What its container says of itself; `None` for a raw disk.
    pub fn container(&self) -> Option<Container> {
        match &self.inside {
            Inside::Raw(_) => None,
            Inside::Vhd(disk) => Some(Container::Vhd(disk.facts())),
            Inside::Vhdx(disk) => Some(Container::Vhdx(disk.facts().clone())),
        }
    }

    /// What a person should hear of the container: what was wrong and did not keep it from being read.
    pub fn warnings(&self) -> Vec<String> {
        match &self.inside {
            Inside::Raw(_) => self.doubt.iter().cloned().collect(),
            Inside::Vhd(disk) => {
                let saved = disk.facts().saved_state.then(|| {
                    "a virtual machine was saved with this VHD: what it held in memory is not in the snapshot"
                        .to_owned()
                });
                disk.warnings().iter().map(ToString::to_string).chain(saved).collect()
            }
            Inside::Vhdx(disk) => {
                let chain = std::iter::successors(Some(&**disk), |disk| disk.parent());
                let texts = chain.enumerate().flat_map(|(depth, disk)| {
                    let within = if depth == 0 { "" } else { "in a parent disk: " };
                    let replayed = disk.facts().replayed_entries;
                    let log = (replayed > 0).then(|| {
                        format!("the VHDX was not closed in order: {replayed} entries of its log are read as if they were replayed")
                    });
                    let warnings = disk.warnings().iter().map(ToString::to_string).chain(log);
                    warnings.map(|text| format!("{within}{text}")).collect::<Vec<_>>()
                });
                texts.collect()
            }
        }
    }

    fn disk(&self) -> &dyn ReadAt {
        match &self.inside {
            Inside::Raw(disk) => &**disk,
            Inside::Vhd(disk) => &**disk,
            Inside::Vhdx(disk) => &**disk,
        }
    }
}

impl ReadAt for Source {
    fn size(&self) -> u64 {
        self.disk().size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.disk().read_at(offset, buffer)
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        self.disk().next_data(from)
    }

    fn sector_size(&self) -> u32 {
        self.disk().sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.disk().still_there()
    }
}

/// What a file is, by its content. Where that cannot be read, the rest of the disk may still be worth having: it is raw then, and
/// the doubt is told.
fn recognise(path: &Path, file: &RawDisk) -> Result<(SourceFormat, Option<String>), ImageError> {
    if file.is_block_device() {
        return Ok((SourceFormat::Raw, None));
    }
    let doubt = |error: &dyn std::fmt::Display| {
        Some(format!("whether it is a virtual disk cannot be told, and it is read as a raw one: {error}"))
    };
    match vhdx::is_vhdx(file) {
        Ok(true) => return Ok((SourceFormat::Vhdx, None)),
        Ok(false) => {}
        Err(error @ ReadError::Unreadable { .. }) => return Ok((SourceFormat::Raw, doubt(&error))),
        Err(source) => return Err(ImageError::Read { path: path.to_owned(), source }),
    }
    match vhd::is_vhd(file) {
        Ok(Some(_)) => Ok((SourceFormat::Vhd, None)),
        Ok(None) => Ok((SourceFormat::Raw, None)),
        Err(error @ VhdError::Read { source: ReadError::Unreadable { .. }, .. }) => {
            // The end cannot be read. A VHD that grows has a copy of its footer at the start.
            let mut start = [0; 8];
            let is_vhd = file.read_at(DiskOffset(0), &mut start).is_ok() && start == *b"conectix";
            Ok(if is_vhd { (SourceFormat::Vhd, None) } else { (SourceFormat::Raw, doubt(&error)) })
        }
        Err(source) => Err(broken_vhd(path, source)),
    }
}

fn broken_vhd(path: &Path, source: VhdError) -> ImageError {
    ImageError::Vhd { path: path.to_owned(), source: Box::new(source) }
}

fn broken_vhdx(path: &Path, source: vhdx::VhdxError) -> ImageError {
    ImageError::Vhdx { path: path.to_owned(), source: Box::new(source) }
}
