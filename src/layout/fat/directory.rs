//! The directories of a FAT volume, and the files that they lead to.
//!
//! Always true here: the walk is bounded by the clusters of the volume, of which each is met once, and by a number of directories
//! and entries. A file is claimed as a whole or not at all.
//!
//! Structures: Microsoft FAT specification 1.03, "FAT Directory Structure".

use super::heap::{MOST_DIRECTORIES, MOST_ENTRIES, Visited, claim_file, note, read, total};
use super::table::{Broken, Table};
use super::{FatKind, FatVolume};
use crate::disk::{DiskOffset, Extent};
use crate::layout::field::{array_at, u8_at, u16_at, u32_at};
use crate::layout::{Claims, Content, LayoutError};

/// Bytes of an entry.
const ENTRY: usize = 32;
/// Bytes of a directory: 65536 entries.
const MOST_BYTES: u64 = 2 << 20;
/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;
/// First bytes of the name: nothing follows; an entry that was deleted.
const END: u8 = 0;
const DELETED: u8 = 0xe5;
/// Bits of the attributes: a label, or a part of a long name; a directory.
const LABEL: u8 = 8;
const LONG_NAME: u8 = 0x0f;
const DIRECTORY: u8 = 16;

const FILE_KEPT: &str = "the file is kept in disk order";
const DIRECTORY_KEPT: &str = "what is in the directory is kept in disk order";

impl FatVolume<'_> {
    /// Goes through all directories.
    pub(super) fn walk(
        &self,
        table: &mut Table<'_>,
        visited: &mut Visited,
        claims: &mut Claims,
    ) -> Result<(), LayoutError> {
        let mut entries = 0;
        let mut found = Vec::new();
        let mut directories = 0;
        if self.geometry.kind() == FatKind::Fat32 {
            found.push(self.geometry.root_cluster);
        } else {
            let root = Extent { start: DiskOffset(self.geometry.root_start()), length: self.geometry.root };
            self.directory(&[root], table, visited, &mut found, &mut entries, claims)?;
        }
        while let Some(first) = found.pop() {
            directories += 1;
            if directories + found.len() as u64 > MOST_DIRECTORIES {
                return Err(LayoutError::TooMany { what: "directories", limit: MOST_DIRECTORIES });
            }
            let most = (MOST_BYTES / self.heap.cluster).max(1);
            match table.chain(&self.heap, visited, first, most) {
                Ok(extents) => {
                    claims.stream(Content::Records, &extents)?;
                    self.directory(&extents, table, visited, &mut found, &mut entries, claims)?;
                }
                Err(broken) => fail(claims, DIRECTORY_KEPT, broken)?,
            }
        }
        Ok(())
    }

    /// Claims the files of one directory, and appends the directories in it to `found`.
    fn directory(
        &self,
        extents: &[Extent],
        table: &mut Table<'_>,
        visited: &mut Visited,
        found: &mut Vec<u32>,
        entries: &mut u64,
        claims: &mut Claims,
    ) -> Result<(), LayoutError> {
        let mut buffer = Vec::new();
        for piece in pieces(extents) {
            buffer.resize(piece.length as usize, 0);
            if let Err(error) = read(self.volume, "a directory", piece.start.0, &mut buffer) {
                note(claims, DIRECTORY_KEPT, error)?;
                continue;
            }
            for (at, entry) in (piece.start.0..).step_by(ENTRY).zip(buffer.as_chunks::<ENTRY>().0) {
                *entries += 1;
                if *entries > MOST_ENTRIES {
                    return Err(LayoutError::TooMany { what: "entries of directories", limit: MOST_ENTRIES });
                }
                match u8_at(entry, 0) {
                    END => return Ok(()),
                    DELETED => continue,
                    _ => {}
                }
                let attributes = u8_at(entry, 11);
                let name: [u8; 11] = array_at(entry, 0);
                if attributes & LABEL != 0 || matches!(&name, b".          " | b"..         ") {
                    continue;
                }
                let first = self.first_cluster(entry);
                if attributes & DIRECTORY != 0 {
                    found.push(first);
                } else if let Err(broken) = self.file(at, first, u64::from(u32_at(entry, 28)), table, visited, claims) {
                    fail(claims, FILE_KEPT, broken)?;
                }
            }
        }
        Ok(())
    }

    /// Claims one file, whose entry is at `at`.
    fn file(
        &self,
        at: u64,
        first: u32,
        size: u64,
        table: &mut Table<'_>,
        visited: &mut Visited,
        claims: &mut Claims,
    ) -> Result<(), Broken> {
        const WHAT: &str = "the entry of a file";
        if first == 0 {
            // An empty file has no cluster.
            let empty = size == 0;
            let cause = || LayoutError::malformed(WHAT, at, format_args!("clusters for {size} bytes"), "none");
            return if empty { Ok(()) } else { Err(cause().into()) };
        }
        let extents = table.chain(&self.heap, visited, first, u64::MAX)?;
        let allocated = total(&extents);
        if allocated < size {
            let found = format_args!("clusters of {allocated} bytes");
            return Err(LayoutError::malformed(WHAT, at, format_args!("clusters for {size} bytes"), found).into());
        }
        // Clusters behind the size are allowed: they were taken ahead of what will be written.
        Ok(claim_file(claims, extents, size)?)
    }

    /// The first cluster that an entry names. Only FAT32 has an upper half.
    fn first_cluster(&self, entry: &[u8]) -> u32 {
        let upper = if self.geometry.kind() == FatKind::Fat32 { u16_at(entry, 20) } else { 0 };
        u32::from(upper) << 16 | u32::from(u16_at(entry, 26))
    }

    /// The label in the beginning of the root directory; `None` where it cannot be read.
    pub(super) fn root_label(&self) -> Option<String> {
        let root = match self.geometry.kind() {
            FatKind::Fat32 if !self.heap.holds(self.geometry.root_cluster) => return None,
            FatKind::Fat32 => self.heap.extent(self.geometry.root_cluster, 1),
            _ => Extent { start: DiskOffset(self.geometry.root_start()), length: self.geometry.root },
        };
        let mut bytes = vec![0; root.length.min(PIECE) as usize];
        read(self.volume, "the root directory", root.start.0, &mut bytes).ok()?;
        let entries = bytes.as_chunks::<ENTRY>().0.iter().take_while(|entry| entry[0] != END);
        let is_label = |attributes: u8| attributes & LABEL != 0 && attributes & LONG_NAME != LONG_NAME;
        let mut labels = entries.filter(|entry| entry[0] != DELETED && is_label(entry[11]));
        label(&array_at(labels.next()?, 0))
    }
}

/// A label as text, without blanks behind it. What is not ASCII depends on the system that wrote it.
pub(super) fn label(bytes: &[u8; 11]) -> Option<String> {
    let text: String = bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' }).collect();
    let text = text.trim_end_matches([' ', '\0']);
    // What systems write where there is none.
    (!text.is_empty() && text != "NO NAME").then(|| text.to_owned())
}

/// Notes why something is not claimed. What leads into free clusters makes those doubtful.
pub(in crate::layout) fn fail(
    claims: &mut Claims,
    consequence: &'static str,
    broken: Broken,
) -> Result<(), LayoutError> {
    if broken.meets_free {
        claims.doubt_free(broken.cause);
        return Ok(());
    }
    note(claims, consequence, broken.cause)
}

/// Extents in pieces that are read at once. Each extent is a multiple of a sector, so no entry lies across two.
pub(in crate::layout) fn pieces(extents: &[Extent]) -> impl Iterator<Item = Extent> {
    extents.iter().flat_map(|extent| {
        (0..extent.length).step_by(PIECE as usize).map(|from| Extent {
            start: DiskOffset(extent.start.0.saturating_add(from)),
            length: (extent.length - from).min(PIECE),
        })
    })
}
