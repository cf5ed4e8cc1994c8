//! The boot sector of a FAT volume: what there is, and where.
//!
//! Always true here:
//! - In a [`Geometry`] that was parsed, the regions follow one another without gaps: reserved sectors, file allocation tables, root
//!   directory (none for FAT32), clusters; each ends at or before [`Geometry::size`].
//! - Every cluster that is counted has an entry in each file allocation table.
//!
//! Structures: Microsoft FAT specification 1.03 ("fatgen103"), "Boot Sector and BPB" and "FAT Type Determination".

use crate::disk::{DiskOffset, Extent};
use crate::layout::LayoutError;
use crate::layout::field::{array_at, u8_at, u16_at, u32_at};
use crate::layout::partitions::mbr::SIGNATURE;

/// How wide the entries of a file allocation table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FatKind {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 32 bits, of which 28 count.
    Fat32,
}

impl FatKind {
    /// Bits of an entry.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }
}

/// From here on a volume with the old layout has entries of 16 bits.
const FAT16_CLUSTERS: u64 = 4085;
/// The most clusters of a FAT16 and of a FAT32: entries beyond have meanings of their own.
const MOST_CLUSTERS: [u64; 2] = [0xfff4, 0x0fff_fff4];
/// The most file allocation tables that are looked at; usual are two.
const MOST_TABLES: u8 = 4;

/// Where everything lies, in bytes of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::layout) struct Geometry {
    kind: FatKind,
    /// Bytes of a cluster.
    pub(super) cluster: u32,
    /// Bytes of the reserved sectors, which come first.
    pub(super) reserved: u64,
    /// How many file allocation tables there are; at least one.
    pub(super) tables: u8,
    /// Bytes of each.
    pub(super) table: u64,
    /// Bytes of the root directory behind them; 0 for FAT32.
    pub(super) root: u64,
    /// Clusters that have a place and an entry; the first one has the number 2.
    pub(super) clusters: u32,
    /// The first cluster of the root directory; for FAT32 only.
    pub(super) root_cluster: u32,
    /// The table that counts, where the others are not copies of it; for FAT32 only.
    pub(super) active: Option<u8>,
    /// Bytes that the volume says it has.
    pub(super) size: u64,
    /// The volume's serial number; 0 where it has none.
    pub(super) serial: u32,
    /// The label in the boot sector, with its blanks.
    pub(super) label: [u8; 11],
}

impl Geometry {
    /// Reads the first 512 bytes of a volume; `None` when they are no boot sector of a FAT volume.
    ///
    /// # Errors
    /// [`LayoutError::Malformed`] when they are one, but what it says does not fit together.
    pub(in crate::layout) fn parse(sector: &[u8]) -> Result<Option<Self>, LayoutError> {
        let (bytes, per_cluster) = (u32::from(u16_at(sector, 11)), u32::from(u8_at(sector, 13)));
        let (reserved, tables, media) = (u64::from(u16_at(sector, 14)), u8_at(sector, 16), u8_at(sector, 21));
        let looks_right = u16_at(sector, 510) == SIGNATURE
            && matches!(sector, [0xeb, _, 0x90, ..] | [0xe9, ..])
            && (512..=4096).contains(&bytes)
            && bytes.is_power_of_two()
            && per_cluster.is_power_of_two()
            && reserved > 0
            && tables > 0
            && (media == 0xf0 || media >= 0xf8);
        if !looks_right {
            return Ok(None);
        }
        let either = |short: u16, long: u32| if short != 0 { u64::from(short) } else { u64::from(long) };
        let total = either(u16_at(sector, 19), u32_at(sector, 32));
        let (short_table, long_table) = (u16_at(sector, 22), u32_at(sector, 36));
        // Only FAT32 has zero here, and that is how all systems know it: some FAT32 volumes have few clusters.
        let wide = short_table == 0;
        let table = either(short_table, long_table);
        let sector_size = u64::from(bytes);
        let root = (u64::from(u16_at(sector, 17)) * 32).div_ceil(sector_size);
        if tables > MOST_TABLES {
            return Err(malformed(16, format_args!("at most {MOST_TABLES} file allocation tables"), tables));
        }
        if table == 0 {
            return Err(malformed(36, "a file allocation table of at least one sector", table));
        }
        if wide && (u16_at(sector, 42) != 0 || root != 0) {
            return Err(malformed(42, "version 0 of FAT32 without a fixed root directory", u16_at(sector, 42)));
        }
        if !wide && root == 0 {
            return Err(malformed(17, "a root directory of at least one sector", root));
        }
        // No product or sum here leaves 64 bits: each factor has 32 bits at most.
        let front = reserved + u64::from(tables) * table + root;
        let per_cluster = u64::from(per_cluster);
        let clusters = total.saturating_sub(front) / per_cluster;
        if clusters == 0 {
            let expected = format_args!("more sectors than the {front} before the first cluster");
            return Err(malformed(19, expected, total));
        }
        let kind = match wide {
            true => FatKind::Fat32,
            false if clusters < FAT16_CLUSTERS => FatKind::Fat12,
            false => FatKind::Fat16,
        };
        let entries = table * sector_size * 8 / u64::from(kind.bits());
        let most = MOST_CLUSTERS[usize::from(wide)].min(entries.saturating_sub(2));
        let clusters = clusters.min(most);
        let flags = u16_at(sector, 40);
        // The extended fields begin behind those that only FAT32 has.
        let extended = if wide { 64 } else { 36 };
        let mark = u8_at(sector, extended + 2);
        Ok(Some(Self {
            kind,
            cluster: u32::try_from(sector_size * per_cluster).unwrap_or(u32::MAX),
            reserved: reserved * sector_size,
            tables,
            table: table * sector_size,
            root: root * sector_size,
            clusters: u32::try_from(clusters).unwrap_or(u32::MAX),
            root_cluster: if wide { u32_at(sector, 44) } else { 0 },
            active: (wide && flags & 0x80 != 0).then_some((flags & 0xf) as u8),
            size: total * sector_size,
            serial: if matches!(mark, 0x28 | 0x29) { u32_at(sector, extended + 3) } else { 0 },
            label: if mark == 0x29 { array_at(sector, extended + 7) } else { [b' '; 11] },
        }))
    }

    pub(in crate::layout) const fn kind(&self) -> FatKind {
        self.kind
    }

    /// Where a file allocation table begins.
    pub(super) fn table_start(&self, number: u8) -> u64 {
        self.reserved + u64::from(number) * self.table
    }

    /// Where the root directory begins that is not one of clusters.
    pub(super) fn root_start(&self) -> u64 {
        self.table_start(self.tables)
    }

    /// The root directory, where it is not one of clusters: all but FAT32 have such a one.
    pub(super) fn fixed_root(&self) -> Option<Extent> {
        let extent = Extent { start: DiskOffset(self.root_start()), length: self.root };
        (self.kind != FatKind::Fat32).then_some(extent)
    }

    /// Where the first cluster begins, which has the number 2.
    pub(super) fn clusters_start(&self) -> u64 {
        self.root_start() + self.root
    }
}

fn malformed(at: u64, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> LayoutError {
    LayoutError::malformed("the boot sector of a FAT volume", at, expected, found)
}
