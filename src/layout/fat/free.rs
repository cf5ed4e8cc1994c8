//! What a FAT volume calls free, and whether that is in doubt.
//!
//! Always true here: free clusters are told in rising order, and a part of the table that cannot be read calls none free.
//!
//! Structures: Microsoft FAT specification 1.03, "FAT Data Structure". The mark in the boot sector is not in it: Windows and Linux set
//! bit 0 of the byte behind the drive number while the volume is in use, and bit 1 where its surface is to be tested.

use super::table::{Table, WINDOW};
use super::{FatKind, FatVolume};
use crate::disk::{ReadAt, ReadError};
use crate::layout::fat::heap::{note, read};
use crate::layout::field::u8_at;
use crate::layout::{Claims, LayoutError};

impl FatVolume<'_> {
    /// Claims the clusters whose entry is 0.
    pub(super) fn claim_free(&self, table: &mut Table<&dyn ReadAt>, claims: &mut Claims) -> Result<(), LayoutError> {
        const CONSEQUENCE: &str = "clusters that are free there are kept";
        self.doubt_dirty(table, claims)?;
        self.compare_tables(table, claims)?;
        // The first cluster of a run of free ones.
        let mut run = None;
        let mut cluster = 2;
        while self.heap.holds(cluster) {
            let entry = match table.entry(cluster) {
                Ok(entry) => entry,
                Err(error) => {
                    note(claims, CONSEQUENCE, error)?;
                    self.end_run(&mut run, cluster, claims)?;
                    // The rest of the window cannot be read either.
                    let per_window = (WINDOW * 8 / u64::from(self.geometry.kind().bits())) as u32;
                    cluster = (cluster / per_window + 1).saturating_mul(per_window);
                    continue;
                }
            };
            if entry == 0 {
                run.get_or_insert(cluster);
            } else {
                self.end_run(&mut run, cluster, claims)?;
            }
            cluster += 1;
        }
        self.end_run(&mut run, cluster.min(self.heap.clusters + 2), claims)
    }

    fn end_run(&self, run: &mut Option<u32>, end: u32, claims: &mut Claims) -> Result<(), LayoutError> {
        match run.take() {
            Some(first) => claims.free(self.heap.extent(first, u64::from(end.saturating_sub(first)))),
            None => Ok(()),
        }
    }

    /// Doubts when a mark says that the volume was in use, or had errors. There is one in the table, of Windows, and one in the
    /// boot sector, of Windows and Linux.
    fn doubt_dirty(&self, table: &mut Table<&dyn ReadAt>, claims: &mut Claims) -> Result<(), LayoutError> {
        const WHAT: &str = "the mark of a clean volume";
        let (clean, boot_mark) = match self.geometry.kind() {
            FatKind::Fat12 => (0, 37),
            FatKind::Fat16 => (0xc000, 37),
            FatKind::Fat32 => (0x0c00_0000, 65),
        };
        let mut sector = [0; 512];
        read(self.volume, WHAT, 0, &mut sector)?;
        let found = u8_at(&sector, boot_mark);
        if found & 3 != 0 {
            let found = format_args!("{found:#04x}");
            claims.doubt_free(LayoutError::malformed(WHAT, boot_mark as u64, "0 in its two lowest bits", found));
        }
        match table.entry(1) {
            Ok(found) if found & clean != clean => {
                let (expected, found) = (format_args!("the bits {clean:#x} set"), format_args!("{found:#x}"));
                let at = self.geometry.table_start(self.geometry.active.unwrap_or(0));
                claims.doubt_free(LayoutError::malformed(WHAT, at, expected, found));
            }
            Ok(_) => {}
            Err(error @ LayoutError::Read { source: ReadError::Unreadable { .. }, .. }) => claims.doubt_free(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Doubts when the tables are meant to be copies and are not.
    fn compare_tables(&self, table: &mut Table<&dyn ReadAt>, claims: &mut Claims) -> Result<(), LayoutError> {
        const WHAT: &str = "a copy of the file allocation table";
        if self.geometry.active.is_some() {
            return Ok(());
        }
        // Bytes behind the last entry are nothing to go by.
        let used = ((u64::from(self.heap.clusters) + 2) * u64::from(self.geometry.kind().bits())).div_ceil(8);
        for number in 1..self.geometry.tables {
            let mut other = self.table(number);
            for window in 0..used.div_ceil(WINDOW) {
                let (one, other) = match (table.window(window), other.window(window)) {
                    (Ok(one), Ok(other)) => (one, other),
                    (one, other) => {
                        for error in [one.err(), other.err()].into_iter().flatten() {
                            note(claims, "the copies are not compared there", error)?;
                        }
                        continue;
                    }
                };
                let length = (used - window * WINDOW).min(WINDOW) as usize;
                if one.get(..length) != other.get(..length) {
                    let at = self.geometry.table_start(number) + window * WINDOW;
                    let expected = "what the first table says";
                    claims.doubt_free(LayoutError::malformed(WHAT, at, expected, "something else"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
