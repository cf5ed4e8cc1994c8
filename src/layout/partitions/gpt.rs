//! GUID partition tables: two copies of a header and an array of entries, each with a checksum.
//!
//! Always true here:
//! - A copy is followed only as a whole: its header by its signature, its own place and its CRC32, its entries by their CRC32.
//! - The array of entries is at most [`MOST_BYTES`] long.
//!
//! Structures: UEFI specification 2.10, chapter 5.3 (header in 5.3.2, entries in 5.3.3).

use super::{
    Bytes, LEFT_OUT, Partition, PartitionKind, PartitionTable, WHOLE, joined, read, sectors, without_overlaps,
};
use crate::disk::{DiskOffset, Extent, ReadAt, ReadError};
use crate::layout::field::{array_at, u32_at, u64_at, utf16};
use crate::layout::{LayoutError, Note};

/// The sector sizes that a GPT is looked for with, in bytes. An image does not tell which one its disk had.
const SECTOR_SIZES: [u32; 2] = [512, 4096];
/// Bytes of a GPT header that have a meaning; what a header claims beyond is covered by its checksum only.
const HEADER: usize = 92;
/// Bytes of an array of entries that are looked at: 64 times those of the usual one.
const MOST_BYTES: u64 = 1 << 20;
/// The smallest size of an entry; others are it times a power of two.
const ENTRY: u32 = 128;
const WHAT: &str = "the GPT header";

/// A header whose own bytes check out. Places are sector numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::layout) struct Header {
    /// The disk's GUID.
    pub(in crate::layout) disk: [u8; 16],
    /// Where the other copy of the header is.
    other: u64,
    first_usable: u64,
    last_usable: u64,
    entries: u64,
    count: u32,
    entry_size: u32,
    entries_crc: u32,
}

/// Where a header is looked for: bytes of a sector and its number. The primary ones, then the copies at the end.
pub(in crate::layout) fn places(disk_size: u64) -> impl Iterator<Item = (u32, u64)> {
    let primaries = SECTOR_SIZES.map(|size| (size, 1));
    // A disk may end in part of a sector; its last whole one counts.
    let copies = SECTOR_SIZES.map(|size| (size, (disk_size / u64::from(size)).saturating_sub(1)));
    primaries.into_iter().chain(copies).filter(|(_, number)| *number > 0)
}

/// The header in the sector `number`; `None` where there is no signature of one.
///
/// # Errors
/// [`LayoutError::Malformed`] when there is, but the header does not check out.
pub(in crate::layout) fn header(sector: &[u8], number: u64) -> Result<Option<Header>, LayoutError> {
    if !sector.starts_with(b"EFI PART") {
        return Ok(None);
    }
    let start = number.saturating_mul(sector.len() as u64);
    let own = u64_at(sector, 24);
    if own != number {
        let expected = format_args!("its own place, sector {number}");
        return Err(LayoutError::malformed(WHAT, start + 24, expected, own));
    }
    let length = u32_at(sector, 12);
    let covered = usize::try_from(length).ok().filter(|length| *length >= HEADER);
    let Some(covered) = covered.and_then(|length| sector.get(..length)) else {
        let expected = format_args!("a length of {HEADER} to {} bytes", sector.len());
        return Err(LayoutError::malformed(WHAT, start + 12, expected, length));
    };
    // The checksum is that of the header with zeros in its own place.
    let mut covered = covered.to_vec();
    if let Some(field) = covered.get_mut(16..20) {
        field.fill(0);
    }
    let (stored, computed) = (u32_at(sector, 16), crc32(&covered));
    if stored != computed {
        let (expected, found) = (format_args!("the CRC32 {computed:#010x}"), format_args!("{stored:#010x}"));
        return Err(LayoutError::malformed(WHAT, start + 16, expected, found));
    }
    Ok(Some(Header {
        disk: array_at(sector, 56),
        other: u64_at(sector, 32),
        first_usable: u64_at(sector, 40),
        last_usable: u64_at(sector, 48),
        entries: u64_at(sector, 72),
        count: u32_at(sector, 80),
        entry_size: u32_at(sector, 84),
        entries_crc: u32_at(sector, 88),
    }))
}

/// One copy of the table.
enum Copy {
    /// There is no header.
    Absent,
    Damaged(LayoutError),
    Sound(Header, Extent, Vec<u8>),
}

/// Finds the table; false when no copy is sound, with a note for each that is not.
pub(super) fn table(disk: &dyn ReadAt, table: &mut PartitionTable) -> Result<bool, ReadError> {
    let mut damaged = Vec::new();
    for (size, number) in places(disk.size()) {
        match copy(disk, size, number)? {
            Copy::Absent => {}
            Copy::Damaged(cause) => damaged.push(Note { consequence: WHOLE, cause }),
            Copy::Sound(header, array, entries) => {
                table.sector_size = size;
                let mut records = vec![array];
                records.extend(sectors(0, 1, size, disk.size()));
                records.extend(sectors(number, 1, size, disk.size()));
                let other = if number == 1 { header.other } else { 1 };
                let other = Some(other).filter(|other| *other != number).unwrap_or(u64::MAX);
                compare(disk, (size, other), &header, &mut records, &mut table.notes)?;
                table.records = joined(records);
                let found = partitions(&header, array, &entries, disk.size(), table);
                table.partitions = without_overlaps(found, &table.records, &mut table.notes);
                return Ok(true);
            }
        }
    }
    table.notes.append(&mut damaged);
    Ok(false)
}

/// Looks at the other copy of a sound header.
fn compare(
    disk: &dyn ReadAt,
    (size, number): (u32, u64),
    header: &Header,
    records: &mut Vec<Extent>,
    notes: &mut Vec<Note>,
) -> Result<(), ReadError> {
    let found = copy(disk, size, number)?;
    let start = number.saturating_mul(u64::from(size));
    let cause = match found {
        Copy::Sound(other, array, _) => {
            records.extend(sectors(number, 1, size, disk.size()));
            records.push(array);
            let same = |header: &Header| {
                (
                    header.disk,
                    header.first_usable,
                    header.last_usable,
                    header.count,
                    header.entry_size,
                    header.entries_crc,
                )
            };
            if same(&other) == same(header) {
                return Ok(());
            }
            LayoutError::malformed("a copy of the GPT", start, "what the other copy says", "something else")
        }
        Copy::Damaged(cause) => {
            records.extend(sectors(number, 1, size, disk.size()));
            cause
        }
        Copy::Absent => LayoutError::malformed(WHAT, start, "a copy of the header", "none"),
    };
    notes.push(Note { consequence: "the other copy of the GPT is followed", cause });
    Ok(())
}

/// Reads one copy of the table.
fn copy(disk: &dyn ReadAt, size: u32, number: u64) -> Result<Copy, ReadError> {
    let unreadable = |what, start, source| Copy::Damaged(LayoutError::Read { what, offset: DiskOffset(start), source });
    let Some(start) = number.checked_mul(u64::from(size)) else { return Ok(Copy::Absent) };
    let sector = match read(disk, start, size as usize)? {
        Bytes::Read(sector) => sector,
        Bytes::Beyond => return Ok(Copy::Absent),
        Bytes::Unreadable(source) => return Ok(unreadable(WHAT, start, source)),
    };
    let header = match header(&sector, number) {
        Ok(Some(header)) => header,
        Ok(None) => return Ok(Copy::Absent),
        Err(error) => return Ok(Copy::Damaged(error)),
    };
    let multiple = header.entry_size / ENTRY;
    if !header.entry_size.is_multiple_of(ENTRY) || !multiple.is_power_of_two() {
        let expected = "entries of 128 bytes, or that times a power of two";
        return Ok(Copy::Damaged(LayoutError::malformed(WHAT, start + 84, expected, header.entry_size)));
    }
    let length = u64::from(header.entry_size) * u64::from(header.count);
    if length == 0 || length > MOST_BYTES {
        let expected = format_args!("1 to {} entries", MOST_BYTES / u64::from(header.entry_size));
        return Ok(Copy::Damaged(LayoutError::malformed(WHAT, start + 80, expected, header.count)));
    }
    let what = "the entries of the GPT";
    // The array has its sectors for itself; none of them is the master boot record's.
    let whole = length.div_ceil(u64::from(size));
    let array = sectors(header.entries, whole, size, disk.size()).filter(|array| array.start.0 > 0);
    let Some(array) = array else {
        let expected = format_args!("{whole} sectors of the disk behind its first one");
        let found = format_args!("them from sector {} on", header.entries);
        return Ok(Copy::Damaged(LayoutError::malformed(what, start + 72, expected, found)));
    };
    // It fits: the array is bounded.
    let entries = match read(disk, array.start.0, length as usize)? {
        Bytes::Read(entries) => entries,
        Bytes::Beyond => return Ok(Copy::Absent),
        Bytes::Unreadable(source) => return Ok(unreadable(what, array.start.0, source)),
    };
    let computed = crc32(&entries);
    if computed != header.entries_crc {
        let found = format_args!("{computed:#010x}");
        let expected = format_args!("the CRC32 {:#010x}", header.entries_crc);
        return Ok(Copy::Damaged(LayoutError::malformed(what, array.start.0, expected, found)));
    }
    Ok(Copy::Sound(header, array, entries))
}

/// The partitions that the entries name, those that leave the disk or the usable sectors left out.
fn partitions(
    header: &Header,
    array: Extent,
    entries: &[u8],
    disk_size: u64,
    table: &mut PartitionTable,
) -> Vec<Partition> {
    let mut found = Vec::new();
    // The size of an entry is not 0, as that of the array is not.
    for ((number, at), entry) in (1..)
        .zip((array.start.0..).step_by(header.entry_size as usize))
        .zip(entries.chunks_exact(header.entry_size as usize))
    {
        let kind = array_at(entry, 0);
        if kind == [0; 16] {
            continue;
        }
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        let count = last.checked_sub(first).and_then(|count| count.checked_add(1));
        let usable = header.first_usable <= first && last <= header.last_usable;
        let extent = count.filter(|_| usable).and_then(|count| sectors(first, count, table.sector_size, disk_size));
        let Some(extent) = extent else {
            let expected =
                format_args!("sectors of the disk between {} and {}", header.first_usable, header.last_usable);
            let found = format_args!("partition {number} at {first} to {last}");
            let cause = LayoutError::malformed("an entry of the GPT", at, expected, found);
            table.notes.push(Note { consequence: LEFT_OUT, cause });
            continue;
        };
        let name = entry.get(56..128).and_then(utf16);
        found.push(Partition { number, extent, kind: PartitionKind::Gpt(kind), name, id: Some(array_at(entry, 16)) });
    }
    found
}

/// The CRC-32 of ISO 3309, as UEFI has it. Bit by bit: it sees some sectors of a disk.
pub(in crate::layout) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
