//! FAT volumes, with entries of 12, 16 or 32 bits: their tables, directories and files.
//!
//! Always true here:
//! - Each cluster belongs to one file or directory at most, the first one that leads to it. A file whose chain is not sound from
//!   its first cluster to its end is not claimed, and its bytes stay in disk order.
//! - Only what the active table calls free is called so, and that is in doubt when the tables differ, a file uses such a cluster,
//!   or the volume was not shut down.
//! - Memory: a bit for each cluster, of which there are at most 2^28, and 16 MiB of each of two tables.
//!
//! Structures: Microsoft FAT specification 1.03 ("fatgen103").

mod boot;
pub(super) mod clusters;
pub(super) mod content;
pub(super) mod directory;
mod entry;
pub(super) mod files;
mod free;
pub(super) mod heap;
mod name;
pub(super) mod table;
pub(super) mod time;

use super::{Claims, Content, LayoutError};
use crate::disk::{DiskOffset, Extent, ReadAt};
pub use boot::FatKind;
pub(super) use boot::Geometry;
pub use files::FatFiles;
use heap::{Heap, Visited, read};
use table::{Table, Width};

/// What a person may want to know of a FAT volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatFacts {
    /// How wide the entries of its table are.
    pub kind: FatKind,
    /// Bytes of a cluster.
    pub cluster_size: u32,
    /// How many clusters it has.
    pub clusters: u32,
    /// The serial number that it got when it was formatted; 0 where it has none.
    pub serial: u32,
    /// Its label, where it has one: that of the root directory, or else that of the boot sector.
    pub label: Option<String>,
}

/// A FAT volume whose boot sector was checked.
pub struct FatVolume<'a> {
    volume: &'a dyn ReadAt,
    geometry: Geometry,
    heap: Heap,
    label: Option<String>,
}

impl std::fmt::Debug for FatVolume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FatVolume").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

impl<'a> FatVolume<'a> {
    /// Opens a volume; `None` when it does not begin with the boot sector of a FAT volume.
    ///
    /// # Errors
    /// [`LayoutError`] when it does, but the boot sector contradicts itself or the size of the volume, or cannot be read.
    pub fn open(volume: &'a dyn ReadAt) -> Result<Option<Self>, LayoutError> {
        const WHAT: &str = "the boot sector of a FAT volume";
        if volume.size() < 512 {
            return Ok(None);
        }
        let mut sector = [0; 512];
        read(volume, WHAT, 0, &mut sector)?;
        let Some(geometry) = Geometry::parse(&sector)? else { return Ok(None) };
        if geometry.size > volume.size() {
            let expected = format_args!("at most {} bytes, which the volume has", volume.size());
            return Err(LayoutError::malformed(WHAT, 32, expected, geometry.size));
        }
        if let Some(active) = geometry.active.filter(|active| *active >= geometry.tables) {
            let expected = format_args!("one of {} tables as the active one", geometry.tables);
            return Err(LayoutError::malformed(WHAT, 40, expected, format_args!("number {active}")));
        }
        let start = geometry.clusters_start();
        let heap = Heap { start, cluster: u64::from(geometry.cluster), clusters: geometry.clusters };
        let mut opened = Self { volume, geometry, heap, label: None };
        opened.label = opened.root_label().or_else(|| directory::label(&opened.geometry.label));
        Ok(Some(opened))
    }

    /// What a person may want to know of it.
    pub fn facts(&self) -> FatFacts {
        FatFacts {
            kind: self.geometry.kind(),
            cluster_size: self.geometry.cluster,
            clusters: self.geometry.clusters,
            serial: self.geometry.serial,
            label: self.label.clone(),
        }
    }

    /// Claims what the volume's structures say of its bytes. What does not check out is noted and not claimed.
    ///
    /// # Errors
    /// [`LayoutError`] when there is more than is looked at, or the volume is gone; what was claimed so far stands.
    pub fn claim(&self, claims: &mut Claims) -> Result<(), LayoutError> {
        let geometry = &self.geometry;
        let mut records =
            |start, length| claims.stream(Content::Records, &[Extent { start: DiskOffset(start), length }]);
        // Copies are streams of their own: cut alike, they are stored once.
        records(0, geometry.reserved)?;
        (0..geometry.tables).try_for_each(|number| records(geometry.table_start(number), geometry.table))?;
        records(geometry.root_start(), geometry.root)?;
        let mut table = self.table(geometry.active.unwrap_or(0));
        let mut visited = Visited::new(&self.heap);
        self.walk(&mut table, &mut visited, claims)?;
        self.claim_free(&mut table, claims)
    }

    fn table(&self, number: u8) -> Table<&'a dyn ReadAt> {
        table(self.volume, &self.geometry, number)
    }
}

/// One of a volume's tables.
fn table<V: ReadAt>(volume: V, geometry: &Geometry, number: u8) -> Table<V> {
    let width = match geometry.kind() {
        FatKind::Fat12 => Width::Bits12,
        FatKind::Fat16 => Width::Bits16,
        FatKind::Fat32 => Width::Bits28,
    };
    Table::new(volume, geometry.table_start(number), geometry.table, width)
}
