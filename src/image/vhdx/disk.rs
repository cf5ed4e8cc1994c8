//! A VHDX opened as a disk: the steps of opening one, with its parents.
//!
//! Always true here:
//! - A parent is the one that the child was made from: its data identity is what the child names, and size and sector size
//!   are the child's. What is found under the parent's name is not trusted until then.
//! - A chain ends: at most [`MAX_CHAIN`] differencing disks lie above one another, and no file comes twice.
//! - The limits for memory hold for all files of a chain together.

use std::sync::Arc;

use super::super::container::{FileOffset, FindParent, MAX_CHAIN, ParentHint};
use super::bat::{BlockMap, RUN_LIMIT};
use super::bitmap::Bitmaps;
use super::error::{VhdxError, VhdxWarning};
use super::header::{FILE_SIGNATURE, FILE_TYPE_LENGTH, HEADER_LENGTH, HEADERS, Header, creator, current};
use super::log::LOG_LIMIT;
use super::replayed::ReplayedFile;
use super::{Guid, log, metadata, region};
use crate::disk::{DiskOffset, ReadAt};

/// What a VHDX says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VhdxFacts {
    /// The program that made the file, as it names itself (§2.2.1).
    pub creator: String,
    /// The disk's identifier, which a guest sees in its SCSI page 83 (§2.6.2.3).
    pub disk_id: Guid,
    /// The identity of the file's content (§2.2.2).
    pub file_write_id: Guid,
    /// The identity of the disk's content, which children name (§2.2.2).
    pub data_write_id: Guid,
    /// Bytes of a sector, as the disk is addressed: 512 or 4096 (§2.6.2.4).
    pub logical_sector_size: u32,
    /// Bytes of a sector, as the disk is said to write: 512 or 4096 (§2.6.2.5).
    pub physical_sector_size: u32,
    /// Bytes of a block, a power of two from 1 MiB to 256 MiB (§2.6.2.1).
    pub block_size: u32,
    /// Whether the file has a place for every block (§2.6.2.1).
    pub is_fixed: bool,
    /// How many log entries were replayed in memory; 0 when the file was closed in order (§2.3.3).
    pub replayed_entries: usize,
    /// What the file says of its parent; `None` when it is no differencing disk.
    pub parent: Option<ParentHint>,
}

/// A disk in a VHDX file.
pub struct VhdxDisk {
    pub(super) file: ReplayedFile,
    pub(super) map: BlockMap,
    pub(super) bitmaps: Bitmaps,
    pub(super) size: u64,
    pub(super) parent: Option<Box<Self>>,
    facts: VhdxFacts,
    warnings: Vec<VhdxWarning>,
}

impl std::fmt::Debug for VhdxDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VhdxDisk")
            .field("size", &self.size)
            .field("facts", &self.facts)
            .field("warnings", &self.warnings)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}

/// What the files of a chain share while they are opened.
struct Chain {
    /// The identities of file and data of each child, from the first one on.
    children: Vec<(Guid, Guid)>,
    /// Stretches of blocks that may still be kept.
    stretches: usize,
    /// Bytes of log that may still be replayed.
    log: u64,
}

impl VhdxDisk {
    /// Opens the disk in a VHDX file, and the parents that it needs. The files are only read.
    ///
    /// # Errors
    /// [`VhdxError`]: nothing is read from a file that breaks the specification where that could change a byte.
    pub fn open(file: Arc<dyn ReadAt>, parents: &dyn FindParent) -> Result<Self, VhdxError> {
        let mut chain = Chain { children: Vec::new(), stretches: RUN_LIMIT, log: LOG_LIMIT };
        Self::open_in(&mut chain, file, None, parents)
    }

    /// Opens one file of a chain. `child` is what is above it.
    fn open_in(
        chain: &mut Chain,
        file: Arc<dyn ReadAt>,
        child: Option<(&metadata::Metadata, &super::locator::Locator)>,
        parents: &dyn FindParent,
    ) -> Result<Self, VhdxError> {
        let mut warnings = Vec::new();
        let mut file = ReplayedFile::new(file);
        let creator = read_creator(&file)?;
        let copies = HEADERS.map(|at| Header::decode(&*file.fixed::<HEADER_LENGTH>("a header", at)?, at));
        let header = current(copies, &mut warnings)?;
        if let Some((_, locator)) = child
            && !locator.names(header.data_write)
        {
            return Err(VhdxError::ParentChanged { expected: locator.linkage, found: header.data_write });
        }

        let log = header.log(file.size())?;
        let mut replayed_entries = 0;
        if let Some((log, id)) = log.as_ref().and_then(|log| Some((log, log.pending?))) {
            let replay = log::replay(&file, log, id, chain.log)?;
            chain.log -= log.length;
            replayed_entries = replay.entries;
            file.replay(replay.patches, replay.last);
        }

        let regions = region::read(&file, log.as_ref(), &mut warnings)?;
        let metadata = metadata::read(&file, regions.metadata)?;
        if let Some((child, _)) = child {
            check_like(child, &metadata)?;
        }
        let map = BlockMap::read(&file, &metadata, &regions, chain.stretches, &mut warnings)?;
        chain.stretches -= map.stretch_count();

        let parent = match &metadata.locator {
            Some(locator) => {
                chain.enter((header.file_write, header.data_write))?;
                let hint = locator.hint();
                let found = parents.find(&hint).map_err(VhdxError::FindParent)?;
                let found = found.ok_or(VhdxError::ParentMissing { id: locator.linkage, paths: hint.paths })?;
                let parent = Self::open_in(chain, found, Some((&metadata, locator)), parents);
                Some(Box::new(parent.map_err(|error| match error {
                    // These two speak of the parent by themselves.
                    VhdxError::ParentChanged { .. } | VhdxError::ParentDiffers { .. } => error,
                    error => VhdxError::Parent(Box::new(error)),
                })?))
            }
            None => None,
        };
        Ok(Self {
            bitmaps: Bitmaps::new(metadata.logical_sector),
            size: metadata.disk_size,
            parent,
            facts: VhdxFacts {
                creator,
                disk_id: metadata.disk_id,
                file_write_id: header.file_write,
                data_write_id: header.data_write,
                logical_sector_size: metadata.logical_sector,
                physical_sector_size: metadata.physical_sector,
                block_size: metadata.block_size,
                is_fixed: metadata.is_fixed,
                replayed_entries,
                parent: metadata.locator.as_ref().map(super::locator::Locator::hint),
            },
            warnings,
            file,
            map,
        })
    }

    /// What the file says of itself.
    pub const fn facts(&self) -> &VhdxFacts {
        &self.facts
    }

    /// What was wrong with the file and did not keep it from being read.
    pub fn warnings(&self) -> &[VhdxWarning] {
        &self.warnings
    }

    /// The disk below a differencing disk.
    pub fn parent(&self) -> Option<&Self> {
        self.parent.as_deref()
    }
}

impl Chain {
    /// Goes from a child to its parent.
    fn enter(&mut self, child: (Guid, Guid)) -> Result<(), VhdxError> {
        if self.children.contains(&child) {
            return Err(VhdxError::Loop(child.1));
        }
        if self.children.len() == MAX_CHAIN {
            return Err(VhdxError::ChainTooLong);
        }
        self.children.push(child);
        Ok(())
    }
}

/// The identity of a VHDX's content, in the order of the file, without a look at the rest (§2.2.2); `None` where no header is
/// sound.
pub fn data_identifier(file: &dyn ReadAt) -> Option<[u8; 16]> {
    if !super::is_vhdx(file).ok()? {
        return None;
    }
    let copies = HEADERS.map(|at| {
        let mut bytes = Box::new([0; HEADER_LENGTH]);
        let read = file.read_at(DiskOffset(at.0), &mut *bytes);
        read.map_err(|source| VhdxError::Read { what: "a header", offset: at, source })?;
        Header::decode(&bytes, at)
    });
    Some(current(copies, &mut Vec::new()).ok()?.data_write.0)
}

fn read_creator(file: &ReplayedFile) -> Result<String, VhdxError> {
    const WHAT: &str = "the file type identifier";
    // Its signature first, so that what is no VHDX at all is called that.
    let signature = file.fixed::<8>(WHAT, FileOffset(0))?;
    if *signature != FILE_SIGNATURE {
        let (expected, found) = (FILE_SIGNATURE.escape_ascii(), signature.escape_ascii());
        let (expected, found) = (format_args!("\"{expected}\""), format_args!("\"{found}\""));
        return Err(VhdxError::wrong("the signature of the file", FileOffset(0), expected, found));
    }
    Ok(creator(&*file.fixed::<FILE_TYPE_LENGTH>(WHAT, FileOffset(0))?))
}

/// Checks that a parent has the child's size and sectors.
fn check_like(child: &metadata::Metadata, parent: &metadata::Metadata) -> Result<(), VhdxError> {
    let sectors = (u64::from(child.logical_sector), u64::from(parent.logical_sector));
    let pairs = [("size", (child.disk_size, parent.disk_size)), ("logical sector size", sectors)];
    match pairs.into_iter().find(|(_, (child, parent))| child != parent) {
        Some((what, (expected, found))) => Err(VhdxError::ParentDiffers { what, expected, found }),
        None => Ok(()),
    }
}
