//! exFAT volumes: their boot regions, tables, directories and files.
//!
//! Always true here:
//! - Each cluster belongs to one file or directory at most, the first one that leads to it. A file whose entries or clusters are
//!   not sound as a whole is not claimed, and its bytes stay in disk order.
//! - Only what the active bitmap calls free is called so, and that is in doubt when something uses such a cluster, or the volume was
//!   not shut down.
//! - Memory: a bit for each cluster, of which at most 2^29 are looked at, and 16 MiB of the table.
//!
//! Structures: Microsoft exFAT specification.

mod boot;
mod directory;
mod entries;
mod files;
mod free;

use super::fat::heap::Visited;
use super::fat::table::{Table, Width};
use super::{Claims, Content, LayoutError, Note};
use crate::disk::{DiskOffset, Extent, ReadAt};
use boot::{Geometry, REGION};
pub use files::ExFatFiles;

/// What a person may want to know of an exFAT volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExFatFacts {
    /// Bytes of a cluster.
    pub cluster_size: u64,
    /// How many clusters it has.
    pub clusters: u32,
    /// The serial number that it got when it was formatted.
    pub serial: u32,
    /// Its label, where it has one.
    pub label: Option<String>,
}

/// An exFAT volume whose boot region was checked.
pub struct ExFatVolume<'a> {
    volume: &'a dyn ReadAt,
    geometry: Geometry,
    label: Option<String>,
}

impl std::fmt::Debug for ExFatVolume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExFatVolume").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

impl<'a> ExFatVolume<'a> {
    /// Opens a volume; `None` when it does not begin with the boot sector of an exFAT volume.
    ///
    /// # Errors
    /// [`LayoutError`] when it does, but neither boot region is sound, or it contradicts itself or the size of the volume.
    pub fn open(volume: &'a dyn ReadAt) -> Result<Option<Self>, LayoutError> {
        let Some(geometry) = boot::parse(volume)? else { return Ok(None) };
        let mut opened = Self { volume, geometry, label: None };
        opened.label = opened.root_label();
        Ok(Some(opened))
    }

    /// What a person may want to know of it.
    pub fn facts(&self) -> ExFatFacts {
        ExFatFacts {
            cluster_size: self.geometry.heap.cluster,
            clusters: self.geometry.heap.clusters,
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
        let region = REGION * geometry.sector;
        records(0, region)?;
        records(region, region)?;
        for number in 0..geometry.tables {
            records(geometry.table + u64::from(number) * geometry.table_length, geometry.table_length)?;
        }
        if let Some(damaged) = &geometry.first_damaged {
            let what = "the first boot region of an exFAT volume";
            let wrong = || LayoutError::malformed(what, 0, "a sound one", damaged);
            claims.note(Note { consequence: "the second one is followed", cause: wrong() });
            // The second one does not tell whether the volume was in use, nor which table is the active one.
            claims.doubt_free(wrong());
        } else if geometry.flags & 6 != 0 {
            let found = format_args!("{:#06x}", geometry.flags);
            let what = "the flags of an exFAT volume";
            claims.doubt_free(LayoutError::malformed(what, 106, "neither in use nor with errors", found));
        }
        let mut table = table(self.volume, geometry);
        let mut visited = Visited::new(&geometry.heap);
        match self.walk(&mut table, &mut visited, claims)? {
            Some(bitmap) => self.claim_free(&bitmap, &visited, claims),
            None => Ok(()),
        }
    }
}

/// The table that counts.
fn table<V: ReadAt>(volume: V, geometry: &Geometry) -> Table<V> {
    let start = geometry.table + u64::from(geometry.active) * geometry.table_length;
    Table::new(volume, start, geometry.table_length, Width::Bits32)
}
