//! The boot regions of an exFAT volume: what there is, and where.
//!
//! Always true here:
//! - A [`Geometry`] comes from a boot region whose checksum holds.
//! - Boot regions, file allocation tables and clusters follow one another in this order, inside the volume; every cluster has an
//!   entry in each table.
//!
//! Structures: Microsoft exFAT specification, section 3.

use crate::disk::{ReadAt, ReadError};
use crate::layout::LayoutError;
use crate::layout::fat::heap::{Heap, read};
use crate::layout::field::{array_at, u8_at, u16_at, u32_at, u64_at};
use crate::layout::partitions::mbr::SIGNATURE;

/// Sectors of a boot region; the last one holds the checksum. There are two, one behind the other.
pub(super) const REGION: u64 = 12;
/// Sectors that the checksum covers.
const COVERED: u64 = 11;
/// Logarithms of the sizes of a sector that there are.
const SECTOR_SHIFTS: std::ops::RangeInclusive<u32> = 9..=12;
/// Clusters that are looked at, for the memory that a bit for each takes: 64 MiB. With clusters of 128 KiB, it is 64 TiB.
const MOST_CLUSTERS: u32 = 1 << 29;
/// The logarithm of the longest cluster: 32 MiB.
const MOST_CLUSTER_SHIFT: u32 = 25;

const WHAT: &str = "the boot sector of an exFAT volume";

/// Where everything lies. Lengths are in bytes of the volume.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    /// Bytes of a sector.
    pub(super) sector: u64,
    /// Where the first file allocation table begins.
    pub(super) table: u64,
    /// Bytes of each.
    pub(super) table_length: u64,
    /// One or two.
    pub(super) tables: u8,
    /// Which of them counts, and with it which bitmap: 0 or 1.
    pub(super) active: u8,
    pub(super) heap: Heap,
    /// The first cluster of the root directory.
    pub(super) root: u32,
    pub(super) serial: u32,
    /// The volume was in use, or the medium failed.
    pub(super) flags: u16,
    /// Why the first boot region is not believed, when this is the second one.
    pub(super) first_damaged: Option<String>,
}

/// Reads the boot regions; `None` when the volume does not begin with one.
///
/// # Errors
/// [`LayoutError`] when it does, but neither region is sound or what it says does not fit together.
pub(super) fn parse(volume: &dyn ReadAt) -> Result<Option<Geometry>, LayoutError> {
    if volume.size() < 512 {
        return Ok(None);
    }
    let mut boot = [0; 512];
    read(volume, WHAT, 0, &mut boot)?;
    if !is_boot_sector(&boot) {
        return Ok(None);
    }
    // A damaged first region may lie about the size of a sector, by which the second one would be found.
    let cause = match checked(volume, 0, u32::from(u8_at(&boot, 108)))? {
        Ok(sector) => return geometry(volume, &sector, 0, None).map(Some),
        Err(cause) => cause,
    };
    for shift in SECTOR_SHIFTS {
        let start = REGION << shift;
        if let Ok(sector) = checked(volume, start, shift)? {
            return geometry(volume, &sector, start, Some(cause.to_string())).map(Some);
        }
    }
    Err(cause)
}

fn is_boot_sector(boot: &[u8]) -> bool {
    boot.starts_with(b"\xeb\x76\x90EXFAT   ") && u16_at(boot, 510) == SIGNATURE && array_at(boot, 11) == [0; 53]
}

/// The boot sector of the region at `start`, when it is one with sectors of 2^`shift` bytes and its checksum holds; or else why not.
fn checked(volume: &dyn ReadAt, start: u64, shift: u32) -> Result<Result<Vec<u8>, LayoutError>, LayoutError> {
    const WHAT: &str = "a boot region of an exFAT volume";
    if !SECTOR_SHIFTS.contains(&shift) {
        return Ok(Err(malformed(start + 108, "a sector of 2^9 to 2^12 bytes", shift)));
    }
    if start + (REGION << shift) > volume.size() {
        return Ok(Err(LayoutError::malformed(WHAT, start, "all of it inside the volume", "its end behind it")));
    }
    let mut region = vec![0; (REGION << shift) as usize];
    match read(volume, WHAT, start, &mut region) {
        Ok(()) => {}
        Err(error @ LayoutError::Read { source: ReadError::Unreadable { .. }, .. }) => return Ok(Err(error)),
        Err(error) => return Err(error),
    }
    let (covered, checksum) = region.split_at_checked((COVERED << shift) as usize).unwrap_or_default();
    if !is_boot_sector(&region) || u32::from(u8_at(&region, 108)) != shift {
        return Ok(Err(LayoutError::malformed(WHAT, start, "a boot sector", "something else")));
    }
    // What changes in use is not covered: the flags and the percentage.
    let covered = covered.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    let sum = covered.fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    let stored = u32_at(checksum, 0);
    if stored != sum {
        let at = start + (COVERED << shift);
        let expected = format_args!("the checksum {sum:#010x}");
        return Ok(Err(LayoutError::malformed(WHAT, at, expected, format_args!("{stored:#010x}"))));
    }
    region.truncate(1 << shift);
    Ok(Ok(region))
}

/// What a boot sector says, checked. It begins at `start` of the volume.
fn geometry(
    volume: &dyn ReadAt,
    boot: &[u8],
    start: u64,
    first_damaged: Option<String>,
) -> Result<Geometry, LayoutError> {
    let (shift, cluster_shift) = (u32::from(u8_at(boot, 108)), u32::from(u8_at(boot, 109)));
    let sectors = u64_at(boot, 72);
    let [table, table_length, heap, clusters, root, serial] = [80, 84, 88, 92, 96, 100].map(|at| u32_at(boot, at));
    let tables = u8_at(boot, 110);
    let flags = u16_at(boot, 106);
    if u8_at(boot, 105) != 1 {
        return Err(malformed(start + 104, "revision 1", u8_at(boot, 105)));
    }
    if cluster_shift > MOST_CLUSTER_SHIFT - shift.min(MOST_CLUSTER_SHIFT) {
        return Err(malformed(
            start + 109,
            format_args!("clusters of at most 2^{MOST_CLUSTER_SHIFT} bytes"),
            cluster_shift,
        ));
    }
    if sectors > volume.size() >> shift {
        let expected = format_args!("at most {} sectors, which the volume has", volume.size() >> shift);
        return Err(malformed(start + 72, expected, sectors));
    }
    if !matches!(tables, 1 | 2) {
        return Err(malformed(start + 110, "one or two file allocation tables", tables));
    }
    if clusters > MOST_CLUSTERS {
        return Err(LayoutError::TooMany { what: "clusters", limit: u64::from(MOST_CLUSTERS) });
    }
    // Nothing here leaves 64 bits: the numbers have 32 bits, and a cluster 2^25 bytes.
    if u64::from(table) < 2 * REGION {
        return Err(malformed(start + 80, "a place behind both boot regions", table));
    }
    let tables_end = u64::from(table) + u64::from(table_length) * u64::from(tables);
    if u64::from(heap) < tables_end {
        return Err(malformed(start + 88, format_args!("a place behind the tables, which end at {tables_end}"), heap));
    }
    if u64::from(heap) + (u64::from(clusters) << cluster_shift) > sectors {
        return Err(malformed(start + 92, format_args!("clusters that end in {sectors} sectors"), clusters));
    }
    if u64::from(table_length) << shift < (u64::from(clusters) + 2) * 4 {
        return Err(malformed(start + 84, format_args!("entries for {clusters} clusters"), table_length));
    }
    Ok(Geometry {
        sector: 1 << shift,
        table: u64::from(table) << shift,
        table_length: u64::from(table_length) << shift,
        tables,
        active: if tables == 2 { (flags & 1) as u8 } else { 0 },
        heap: Heap { start: u64::from(heap) << shift, cluster: 1 << (shift + cluster_shift), clusters },
        root,
        serial,
        flags,
        first_damaged,
    })
}

fn malformed(at: u64, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> LayoutError {
    LayoutError::malformed(WHAT, at, expected, found)
}
