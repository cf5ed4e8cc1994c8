//! Which parts of a disk are volumes: GUID partition tables, master boot records with logical partitions, and disks that hold one
//! volume and no table.
//!
//! Always true here:
//! - The partitions that are told lie inside the disk, are not empty, and overlap neither one another nor the table. Where a table
//!   contradicts itself, the partitions concerned are left out with a note: their bytes are kept in disk order.
//! - What decides whether the first sector is a table, a protection or a volume stands once, in `mbr.rs`; the disk's name is found
//!   by the same rules.
//! - An unreadable sector is a note. An error is only told when the disk as such cannot be read.
//!
//! Structures: UEFI specification 2.10, chapter 5.

pub(super) mod gpt;
pub(super) mod mbr;
#[cfg(test)]
mod tests;
mod volume;

use std::fmt;

use super::field::write_guid;
use super::{LayoutError, Note};
use crate::disk::{DiskOffset, Extent, ReadAt, ReadError};
use mbr::FirstSector;
pub use volume::{VolumeKind, volume_kind};

/// How a disk is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A GUID partition table, with a protective master boot record or without one.
    Gpt,
    /// A master boot record.
    Mbr,
    /// A GUID partition table whose master boot record has partitions too. The GUID partition table is the one that is told.
    Hybrid,
    /// There is no table: a volume begins at offset 0. It is not told as a partition.
    Volume,
    /// Nothing that is known here, or a table of which no copy is sound.
    Unknown,
}

/// What a table says that a partition is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PartitionKind {
    /// The type GUID of an entry of a GPT, in the order of bytes in which it is stored.
    Gpt([u8; 16]),
    /// The type byte of an entry of a master boot record.
    Mbr(u8),
}

/// The GUID in its usual text form, or the byte as `0x07`.
impl fmt::Display for PartitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt(guid) => write_guid(f, guid),
            Self::Mbr(byte) => write!(f, "{byte:#04x}"),
        }
    }
}

impl fmt::Debug for PartitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number as systems count: the place of its entry in a GPT, from 1; 1 to 4 for the entries of a master boot record, and
    /// from 5 on for logical partitions.
    pub number: u32,
    /// Its bytes on the disk.
    pub extent: Extent,
    /// What the table says that it is for; its content may be something else.
    pub kind: PartitionKind,
    /// Its name in a GPT, where it has one.
    pub name: Option<String>,
    /// The GUID of a GPT partition, in the order of bytes in which it is stored.
    pub id: Option<[u8; 16]>,
}

/// What the table of a disk says, checked.
#[derive(Debug)]
pub struct PartitionTable {
    /// How the disk is divided.
    pub scheme: Scheme,
    /// Bytes of a sector as the table counts: 512 or 4096. It is found by content, as an image does not tell it.
    pub sector_size: u32,
    /// The partitions in disk order.
    pub partitions: Vec<Partition>,
    /// The bytes of the table itself, in disk order and without overlaps: boot records, and both copies of a GPT.
    pub records: Vec<Extent>,
    /// What a person should hear of.
    pub notes: Vec<Note>,
}

/// Reads the table of a disk. A damaged or unreadable one is told in the notes.
///
/// # Errors
/// [`ReadError`] when the disk is gone, or not what it was.
pub fn partitions(disk: &dyn ReadAt) -> Result<PartitionTable, ReadError> {
    let mut table = PartitionTable {
        scheme: Scheme::Unknown,
        sector_size: 512,
        partitions: Vec::new(),
        records: Vec::new(),
        notes: Vec::new(),
    };
    let first = match read(disk, 0, 512)? {
        Bytes::Read(bytes) => bytes,
        Bytes::Beyond => return Ok(table),
        Bytes::Unreadable(source) => {
            let cause = LayoutError::Read { what: "the first sector", offset: DiskOffset(0), source };
            table.notes.push(Note { consequence: "a partition table is looked for without it", cause });
            Vec::new()
        }
    };
    match mbr::first_sector(&first) {
        FirstSector::Legacy { .. } => {
            mbr::table(disk, &first, &mut table)?;
            // An empty table and a volume without a name in its boot sector look alike.
            if table.partitions.is_empty() && table.notes.is_empty() && starts_a_volume(disk)? {
                table.scheme = Scheme::Volume;
                table.records.clear();
            }
        }
        first_sector @ (FirstSector::Absent | FirstSector::Protective) => {
            if gpt::table(disk, &mut table)? {
                protection(&first, first_sector, &mut table);
            } else if first_sector == FirstSector::Protective {
                let expected = "a GPT of which one copy is sound";
                let cause = LayoutError::malformed("the partition table", 0, expected, "a protective MBR alone");
                table.notes.push(Note { consequence: WHOLE, cause });
            } else if starts_a_volume(disk)? {
                table.scheme = Scheme::Volume;
                table.notes.clear();
            }
        }
        FirstSector::Volume if starts_a_volume(disk)? => table.scheme = Scheme::Volume,
        FirstSector::Volume => {}
    }
    Ok(table)
}

/// What is done with a disk whose table is not believed.
const WHOLE: &str = "the disk is kept as a whole, in disk order";

/// What the master boot record in front of a GPT adds to it.
fn protection(first: &[u8], kind: FirstSector, table: &mut PartitionTable) {
    table.scheme = Scheme::Gpt;
    let foreign = mbr::entries(first).find(|entry| !entry.is_empty() && entry.kind != mbr::PROTECTIVE);
    match foreign {
        _ if first.is_empty() => {}
        _ if kind == FirstSector::Absent => {
            let cause = LayoutError::malformed("the first sector", 0, "a protective MBR", "none");
            table.notes.push(Note { consequence: "the GPT is followed", cause });
        }
        Some(entry) => {
            table.scheme = Scheme::Hybrid;
            let found = format_args!("a partition of type {:#04x}", entry.kind);
            let cause =
                LayoutError::malformed("the MBR in front of a GPT", mbr::ENTRIES as u64, "no partitions", found);
            table.notes.push(Note { consequence: "the GPT is followed", cause });
        }
        None => {}
    }
}

fn starts_a_volume(disk: &dyn ReadAt) -> Result<bool, ReadError> {
    match volume_kind(disk) {
        Ok(kind) => Ok(kind != VolumeKind::Unknown),
        Err(ReadError::Unreadable { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a read of a structure gives.
pub(super) enum Bytes {
    /// The bytes.
    Read(Vec<u8>),
    /// The disk ends before their end.
    Beyond,
    /// The medium refused.
    Unreadable(ReadError),
}

/// Reads a structure that is short enough for memory.
pub(super) fn read(disk: &dyn ReadAt, start: u64, length: usize) -> Result<Bytes, ReadError> {
    if start.checked_add(length as u64).is_none_or(|end| end > disk.size()) {
        return Ok(Bytes::Beyond);
    }
    let mut bytes = vec![0; length];
    match disk.read_at(DiskOffset(start), &mut bytes) {
        Ok(()) => Ok(Bytes::Read(bytes)),
        Err(error @ ReadError::Unreadable { .. }) => Ok(Bytes::Unreadable(error)),
        Err(error) => Err(error),
    }
}

/// `count` sectors from `first` on, or `None` when they are none or do not lie inside the disk.
fn sectors(first: u64, count: u64, sector_size: u32, disk_size: u64) -> Option<Extent> {
    let start = first.checked_mul(u64::from(sector_size))?;
    let length = count.checked_mul(u64::from(sector_size)).filter(|length| *length > 0)?;
    let inside = start.checked_add(length).is_some_and(|end| end <= disk_size);
    inside.then_some(Extent { start: DiskOffset(start), length })
}

/// Puts extents into disk order, and makes one of those that touch.
fn joined(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match joined.last_mut() {
            Some(last) if last.end() >= Some(extent.start) => {
                let end = last.end().max(extent.end()).unwrap_or(last.start);
                last.length = end.0 - last.start.0;
            }
            _ => joined.push(extent),
        }
    }
    joined
}

/// Puts partitions into disk order and leaves out those that overlap one another or `records`, with a note for each.
fn without_overlaps(partitions: Vec<Partition>, records: &[Extent], notes: &mut Vec<Note>) -> Vec<Partition> {
    let mut all: Vec<(Extent, Option<Partition>)> = records.iter().map(|record| (*record, None)).collect();
    all.extend(partitions.into_iter().map(|partition| (partition.extent, Some(partition))));
    all.sort_by_key(|(extent, _)| *extent);
    let mut overlaps = vec![false; all.len()];
    // What overlaps anything before it overlaps the one of those that ends last, as all of them begin before it.
    let mut last: Option<(usize, Option<DiskOffset>)> = None;
    for (index, (extent, _)) in all.iter().enumerate() {
        if let Some((longest, end)) = last
            && Some(extent.start) < end
        {
            overlaps[index] = true;
            overlaps[longest] = true;
        }
        if last.is_none_or(|(_, end)| end < extent.end()) {
            last = Some((index, extent.end()));
        }
    }
    let mut kept = Vec::new();
    for (partition, overlaps) in all.into_iter().map(|(_, partition)| partition).zip(overlaps) {
        let Some(partition) = partition else { continue };
        if !overlaps {
            kept.push(partition);
            continue;
        }
        let expected = "bytes that are its own";
        let found = format_args!("that partition {} overlaps another or the table", partition.number);
        notes.push(Note {
            consequence: LEFT_OUT,
            cause: LayoutError::malformed("a partition", partition.extent.start.0, expected, found),
        });
    }
    kept
}

/// What is done with a partition that is not believed.
const LEFT_OUT: &str = "its bytes are kept in disk order, as if there were no partition";
