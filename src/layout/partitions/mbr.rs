//! Master boot records, and the chain of boot records in which logical partitions stand.
//!
//! Always true here:
//! - A chain of boot records is followed only inside the extended partition that it belongs to, through each sector once, and for
//!   [`MOST_RECORDS`] sectors at most.
//! - Places in an extended boot record count from two bases: a logical partition from its own record, a link from the start of the
//!   extended partition.
//!
//! Structures: UEFI specification 2.10, chapter 5.2. It leaves out extended partitions; what is here is what Windows and Linux do.

use std::collections::BTreeSet;

use super::volume::boot_sector;
use super::{
    Bytes, LEFT_OUT, Partition, PartitionKind, PartitionTable, Scheme, joined, read, sectors, starts_a_volume,
    without_overlaps,
};
use crate::disk::{DiskOffset, Extent, Part, ReadAt, ReadError};
use crate::layout::field::{array_at, u8_at, u16_at, u32_at};
use crate::layout::{LayoutError, Note};

/// The last two of the 512 bytes of a boot sector, 0x55 and 0xAA.
pub(in crate::layout) const SIGNATURE: u16 = 0xaa55;
/// Where the four entries of 16 bytes stand.
pub(super) const ENTRIES: usize = 446;
/// The type of the partition that keeps other systems away from a GPT.
pub(super) const PROTECTIVE: u8 = 0xee;
/// The types of partitions that hold logical ones: the old one, the one with logical block addresses, and that of Linux.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// Extended boot records that are followed in all.
const MOST_RECORDS: usize = 256;

/// The first sector, as far as it decides how the disk is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::layout) enum FirstSector {
    /// No boot signature, or unreadable: a GPT may still be there.
    Absent,
    /// A master boot record that protects a GPT; its own signature does not count.
    Protective,
    /// A master boot record of a disk without GPT. What looks like a GPT was left behind.
    Legacy {
        /// The disk signature; 0 is none.
        signature: u32,
    },
    /// A file system begins here: the disk has no partitions.
    Volume,
}

/// What the 512 bytes at the start of the disk are.
pub(in crate::layout) fn first_sector(bytes: &[u8]) -> FirstSector {
    if u16_at(bytes, 510) != SIGNATURE {
        return FirstSector::Absent;
    }
    // Volumes begin with the same signature; boot code stands where the table would be. The first byte of an
    // entry is 0, or 0x80 for the active one.
    let volume = [(3, "NTFS    "), (3, "EXFAT   "), (3, "-FVE-FS-"), (54, "FAT"), (82, "FAT32")];
    let named = volume.iter().any(|(at, name)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(name.as_bytes())));
    // A volume whose boot sector bears no name, and has no boot code that reaches so far.
    let described = entries(bytes).all(|entry| entry.is_empty()) && boot_sector(bytes).is_some();
    if named || described || entries(bytes).any(|entry| entry.status & 0x7f != 0) {
        return FirstSector::Volume;
    }
    if entries(bytes).any(|entry| entry.kind == PROTECTIVE) {
        return FirstSector::Protective;
    }
    FirstSector::Legacy { signature: u32_at(bytes, 440) }
}

/// An entry of a boot record. Places and lengths are in sectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    status: u8,
    pub(super) kind: u8,
    start: u32,
    length: u32,
}

impl Entry {
    pub(super) const fn is_empty(&self) -> bool {
        self.kind == 0 || self.length == 0
    }

    fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }
}

/// The four entries of a boot record.
pub(super) fn entries(sector: &[u8]) -> impl Iterator<Item = Entry> {
    let entries: [[u8; 16]; 4] = std::array::from_fn(|index| array_at(sector, ENTRIES + index * 16));
    entries.into_iter().map(|entry| Entry {
        status: u8_at(&entry, 0),
        kind: u8_at(&entry, 4),
        start: u32_at(&entry, 8),
        length: u32_at(&entry, 12),
    })
}

/// Reads a master boot record, whose first 512 bytes are given, and the boot records that it leads to.
pub(super) fn table(disk: &dyn ReadAt, first: &[u8], table: &mut PartitionTable) -> Result<(), ReadError> {
    table.scheme = Scheme::Mbr;
    table.sector_size = sector_size(disk, first)?;
    let mut records = Vec::from_iter(sectors(0, 1, table.sector_size, disk.size()));
    let mut primary = Vec::new();
    for (number, entry) in (1..).zip(entries(first)).filter(|(_, entry)| !entry.is_empty()) {
        match sectors(u64::from(entry.start), u64::from(entry.length), table.sector_size, disk.size()) {
            Some(extent) => primary.push(partition(number, entry.kind, extent)),
            None => {
                let at = ENTRIES as u64 + u64::from(number - 1) * 16;
                table.notes.push(leaves(at, "the disk", entry));
            }
        }
    }
    // An extended partition takes part in this as a whole, so that logical partitions cannot overlap primary ones.
    let primary = without_overlaps(primary, &records, &mut table.notes);
    let is_extended = |partition: &Partition| EXTENDED.iter().any(|kind| partition.kind == PartitionKind::Mbr(*kind));
    let (mut extended, primary): (Vec<_>, Vec<_>) = primary.into_iter().partition(is_extended);
    // Numbers of logical partitions go on from one extended partition to the next in the order of the entries.
    extended.sort_by_key(|partition| partition.number);
    let mut logical = Vec::new();
    let mut number = 5;
    for container in &extended {
        chain(disk, container.extent, &mut number, &mut logical, &mut records, table)?;
    }
    table.records = joined(records);
    let mut all = without_overlaps(logical, &table.records, &mut table.notes);
    all.extend(primary);
    all.sort_by_key(|partition| partition.extent);
    table.partitions = all;
    Ok(())
}

/// Follows the boot records of an extended partition. `number` is that of the next logical partition.
fn chain(
    disk: &dyn ReadAt,
    container: Extent,
    number: &mut u32,
    logical: &mut Vec<Partition>,
    records: &mut Vec<Extent>,
    table: &mut PartitionTable,
) -> Result<(), ReadError> {
    const WHAT: &str = "an extended boot record";
    const CONSEQUENCE: &str = "logical partitions from there on are not looked for";
    let size = u64::from(table.sector_size);
    let inside = |extent: &Extent| container.start <= extent.start && extent.end() <= container.end();
    let mut visited = BTreeSet::new();
    let mut at = container.start.0;
    loop {
        let mut stop = |cause| {
            table.notes.push(Note { consequence: CONSEQUENCE, cause });
            Ok(())
        };
        if !visited.insert(at) {
            return stop(LayoutError::malformed(WHAT, at, "a link to a record that was not visited", "a loop"));
        }
        if visited.len() > MOST_RECORDS {
            return stop(LayoutError::TooMany { what: "extended boot records", limit: MOST_RECORDS as u64 });
        }
        let sector = match read(disk, at, 512)? {
            Bytes::Read(sector) => sector,
            Bytes::Beyond => return stop(LayoutError::malformed(WHAT, at, "a sector of the disk", "none")),
            Bytes::Unreadable(source) => {
                return stop(LayoutError::Read { what: WHAT, offset: DiskOffset(at), source });
            }
        };
        if u16_at(&sector, 510) != SIGNATURE {
            let found = format_args!("{:#06x}", u16_at(&sector, 510));
            return stop(LayoutError::malformed("the signature of an extended boot record", at + 510, "0xaa55", found));
        }
        records.push(Extent { start: DiskOffset(at), length: size });
        // Two of the entries have a meaning: one partition, and the link.
        let mut link = None;
        for (index, entry) in (0_u64..2).zip(entries(&sector)).filter(|(_, entry)| !entry.is_empty()) {
            if entry.is_extended() {
                link = link.or(Some(entry));
                continue;
            }
            let first = (at / size).checked_add(u64::from(entry.start));
            let extent =
                first.and_then(|first| sectors(first, u64::from(entry.length), table.sector_size, disk.size()));
            match extent.filter(inside) {
                Some(extent) => logical.push(partition(*number, entry.kind, extent)),
                None => {
                    let field = at + ENTRIES as u64 + index * 16;
                    table.notes.push(leaves(field, "its extended partition", entry));
                }
            }
            // Systems count it whether or not it is believed.
            *number = number.saturating_add(1);
        }
        let Some(link) = link else { return Ok(()) };
        at = container.start.0.saturating_add(u64::from(link.start) * size);
        if !inside(&Extent { start: DiskOffset(at), length: size }) {
            let expected = "a link into the same extended partition";
            table.notes.push(Note {
                consequence: CONSEQUENCE,
                cause: LayoutError::malformed("an extended boot record", at, expected, "one that leaves it"),
            });
            return Ok(());
        }
    }
}

/// Bytes of a sector as the entries count: those with which volumes or boot records begin where the entries say.
fn sector_size(disk: &dyn ReadAt, first: &[u8]) -> Result<u32, ReadError> {
    for size in [512, 4096] {
        for entry in entries(first).filter(|entry| !entry.is_empty()) {
            let extent = sectors(u64::from(entry.start), u64::from(entry.length), size, disk.size());
            let Some(extent) = extent.filter(|extent| extent.start.0 > 0) else { continue };
            let found = if entry.is_extended() {
                let sector = read(disk, extent.start.0, 512)?;
                matches!(sector, Bytes::Read(sector) if u16_at(&sector, 510) == SIGNATURE)
            } else {
                starts_a_volume(&Part::new(disk, extent))?
            };
            if found {
                return Ok(size);
            }
        }
    }
    Ok(512)
}

fn partition(number: u32, kind: u8, extent: Extent) -> Partition {
    Partition { number, extent, kind: PartitionKind::Mbr(kind), name: None, id: None }
}

fn leaves(at: u64, what: &str, entry: Entry) -> Note {
    let expected = format_args!("a partition inside of {what}");
    let found = format_args!("{} sectors from {} on", entry.length, entry.start);
    Note { consequence: LEFT_OUT, cause: LayoutError::malformed("a partition's entry", at, expected, found) }
}
