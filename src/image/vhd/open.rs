//! Opening a VHD and the chain of its parents.
//!
//! Always true here:
//! - What is open was checked: the footer, the header, the table and every parent, before the first sector is read.
//! - A chain has at most [`MAX_CHAIN`] disks, and none of them comes twice.

use super::super::container::{FileOffset, FindParent, MAX_CHAIN, ParentHint};
use super::bitmaps::Bitmaps;
use super::error::{VhdError, VhdWarning};
use super::footer::{Footer, Kind};
use super::geometry::Geometry;
use super::header::Header;
use super::locate::{Located, locate};
use super::table::BlockTable;
use crate::disk::ReadAt;
use std::sync::Arc;

/// A VHD, read as the disk that it holds.
///
/// The disk's size is the current size of the footer, in every kind, as Windows and Hyper-V have it. Virtual PC went by the
/// geometry and let its guests see a little less; the bytes beyond are in the file all the same.
pub struct VhdDisk {
    pub(super) file: Arc<dyn ReadAt>,
    footer: Footer,
    /// None for a fixed disk.
    pub(super) table: Option<BlockTable>,
    pub(super) bitmaps: Bitmaps,
    /// Only a differencing disk has one, and every one has.
    pub(super) parent: Option<Box<VhdDisk>>,
    hint: Option<ParentHint>,
    warnings: Vec<VhdWarning>,
}

/// What a VHD says of itself and its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VhdFacts {
    /// What it keeps of the disk.
    pub kind: Kind,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes that the disk had when it was made.
    pub original_size: u64,
    /// The unique identifier, in the order of the file.
    pub identifier: [u8; 16],
    /// When it was made, or changed last: seconds since 2000-01-01 UTC.
    pub time_stamp: u32,
    /// What made it, such as `win `.
    pub creator_application: [u8; 4],
    /// That program's version: the upper half is the major one.
    pub creator_version: u32,
    /// The system that made it, such as `Wi2k`.
    pub creator_host_os: [u8; 4],
    /// What an ATA controller would show.
    pub geometry: Geometry,
    /// Bytes of a block; `None` for a fixed disk.
    pub block_size: Option<u32>,
    /// A virtual machine was saved with this disk: what it held in memory is not on it.
    pub saved_state: bool,
    /// The disk may be deleted when its virtual machine ends.
    pub temporary: bool,
    /// The parent of a differencing disk.
    pub parent: Option<ParentHint>,
}

/// What a child expects of its parent.
struct Expected {
    identifier: [u8; 16],
    size: u64,
    time_stamp: u32,
}

impl VhdDisk {
    /// Opens a VHD of any kind; the parents of a differencing disk are asked for one after another.
    ///
    /// # Errors
    /// [`VhdError`], naming the byte of the file that is wrong.
    pub fn open(file: Arc<dyn ReadAt>, parents: &dyn FindParent) -> Result<Self, VhdError> {
        Self::open_in_chain(file, parents, None, &mut Vec::new())
    }

    fn open_in_chain(
        file: Arc<dyn ReadAt>,
        parents: &dyn FindParent,
        expected: Option<&Expected>,
        chain: &mut Vec<[u8; 16]>,
    ) -> Result<Self, VhdError> {
        let Located { footer, data_end, mut warnings } = locate(&*file)?;
        if let Some(expected) = expected {
            warnings.extend(is_expected(&footer, expected)?);
        }
        if chain.contains(&footer.identifier) {
            return Err(VhdError::Loop { identifier: footer.identifier });
        }
        if chain.len() == MAX_CHAIN {
            return Err(VhdError::ChainTooLong { limit: MAX_CHAIN });
        }
        chain.push(footer.identifier);
        let mut disk = Self { file, footer, table: None, bitmaps: Bitmaps::new(), parent: None, hint: None, warnings };
        if disk.footer.kind == Kind::Fixed {
            disk.check_fixed(data_end)?;
            return Ok(disk);
        }
        let header = Header::load(&*disk.file, FileOffset(disk.footer.data_offset))?;
        disk.table = Some(BlockTable::load(&*disk.file, &header, disk.footer.size, data_end)?);
        if disk.footer.kind == Kind::Differencing {
            disk.open_parent(&header, parents, chain)?;
        }
        Ok(disk)
    }

    /// A fixed disk is its file without the footer, to the byte. One that only fits is not taken: what lies at the end of
    /// the file may be the footer of another disk that once ended there, and its size would cut this one short.
    fn check_fixed(&self, data_end: u64) -> Result<(), VhdError> {
        if self.footer.size == data_end {
            return Ok(());
        }
        Err(VhdError::Field {
            field: "current size of the fixed disk",
            offset: FileOffset(data_end.saturating_add(48)),
            expected: format!("{data_end}, the bytes of the file before its footer,"),
            found: self.footer.size.to_string(),
        })
    }

    fn open_parent(
        &mut self,
        header: &Header,
        parents: &dyn FindParent,
        chain: &mut Vec<[u8; 16]>,
    ) -> Result<(), VhdError> {
        let hint = header.parent_hint(&*self.file)?;
        let found = parents.find(&hint).map_err(|error| VhdError::Find(Box::new(error)))?;
        let Some(file) = found else {
            return Err(VhdError::NoParent { identifier: hint.identifier, paths: hint.paths });
        };
        let identifier = hint.identifier;
        let expected = Expected { identifier, size: self.footer.size, time_stamp: header.parent_time_stamp };
        let parent = Self::open_in_chain(file, parents, Some(&expected), chain).map_err(|error| match error {
            // These are about the chain, and not about the file that was opened last.
            error @ (VhdError::WrongParent { .. }
            | VhdError::ParentSize { .. }
            | VhdError::Loop { .. }
            | VhdError::ChainTooLong { .. }) => error,
            error => VhdError::InParent { identifier, source: Box::new(error) },
        })?;
        self.warnings.extend(parent.warnings.iter().map(|warning| match warning {
            // About what this disk recorded.
            VhdWarning::ParentTimeStamp { .. } => warning.clone(),
            _ => VhdWarning::InParent { identifier, warning: Box::new(warning.clone()) },
        }));
        self.parent = Some(Box::new(parent));
        self.hint = Some(hint);
        Ok(())
    }

    /// What is not as it should be, and did not keep the disk from being opened.
    pub fn warnings(&self) -> &[VhdWarning] {
        &self.warnings
    }

    /// The parent of a differencing disk: what [`super::Runs`] means by it.
    pub fn parent(&self) -> Option<&VhdDisk> {
        self.parent.as_deref()
    }

    /// What the file says of itself.
    pub fn facts(&self) -> VhdFacts {
        let footer = &self.footer;
        VhdFacts {
            kind: footer.kind,
            size: footer.size,
            original_size: footer.original_size,
            identifier: footer.identifier,
            time_stamp: footer.time_stamp,
            creator_application: footer.creator_application,
            creator_version: footer.creator_version,
            creator_host_os: footer.creator_host_os,
            geometry: footer.geometry,
            // Made of the header's 32 bits.
            block_size: self.table.as_ref().and_then(|table| u32::try_from(table.block_size()).ok()),
            saved_state: footer.saved_state,
            temporary: footer.temporary,
            parent: self.hint.clone(),
        }
    }

    /// Bytes of the disk.
    pub(super) fn disk_size(&self) -> u64 {
        self.footer.size
    }
}

impl std::fmt::Debug for VhdDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VhdDisk").field("footer", &self.footer).field("parent", &self.parent).finish_non_exhaustive()
    }
}

/// Holds a parent's footer against what its child recorded ("Identification of the Parent Hard Disk Image").
fn is_expected(footer: &Footer, expected: &Expected) -> Result<Option<VhdWarning>, VhdError> {
    if footer.identifier != expected.identifier {
        return Err(VhdError::WrongParent { expected: expected.identifier, found: footer.identifier });
    }
    if footer.size != expected.size {
        return Err(VhdError::ParentSize { expected: expected.size, found: footer.size });
    }
    // The specification has the "parent modification date" checked and does not say which of two it is: some writers
    // record the footer's time stamp, others the time at which the file was written, which no copy keeps. Refusing would
    // refuse sound chains of the latter, so this is told and not refused.
    let (expected, found) = (expected.time_stamp, footer.time_stamp);
    Ok((expected != found).then_some(VhdWarning::ParentTimeStamp { expected, found }))
}
