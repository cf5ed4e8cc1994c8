//! The directories of a FAT volume, and the files that they lead to.
//!
//! Always true here: the walk is bounded by the clusters of the volume, of which each is met once, and by a number of directories
//! and entries. A file is claimed as a whole or not at all.
//!
//! Structures: Microsoft FAT specification 1.03, "FAT Directory Structure".

use super::FatVolume;
use super::entry::{ENTRY, Slot, slot};
use super::heap::{MOST_DIRECTORIES, MOST_ENTRIES, Visited, claim_file, note, read, total};
use super::table::{Broken, Table};
use crate::disk::{DiskOffset, Extent, ReadAt};
use crate::layout::{Claims, Content, LayoutError};
use std::ops::ControlFlow;

/// Bytes of a directory: 65536 entries.
pub(super) const MOST_BYTES: u64 = 2 << 20;
/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;

const FILE_KEPT: &str = "the file is kept in disk order";
const DIRECTORY_KEPT: &str = "what is in the directory is kept in disk order";

impl FatVolume<'_> {
    /// Goes through all directories.
    pub(super) fn walk(
        &self,
        table: &mut Table<&dyn ReadAt>,
        visited: &mut Visited,
        claims: &mut Claims,
    ) -> Result<(), LayoutError> {
        let mut entries = 0;
        let mut found = Vec::new();
        let mut directories = 0;
        match self.geometry.fixed_root() {
            None => found.push(self.geometry.root_cluster),
            Some(root) => self.directory(&[root], table, visited, &mut found, &mut entries, claims)?,
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
        table: &mut Table<&dyn ReadAt>,
        visited: &mut Visited,
        found: &mut Vec<u32>,
        entries: &mut u64,
        claims: &mut Claims,
    ) -> Result<(), LayoutError> {
        each_entry(self.volume, extents, |step| {
            let (at, bytes) = match step {
                Step::Entry(at, bytes) => (at, bytes),
                Step::Unreadable(error) => {
                    note(claims, DIRECTORY_KEPT, error)?;
                    return Ok(ControlFlow::Continue(()));
                }
            };
            *entries += 1;
            if *entries > MOST_ENTRIES {
                return Err(LayoutError::TooMany { what: "entries of directories", limit: MOST_ENTRIES });
            }
            let entry = match slot(bytes) {
                Slot::End => return Ok(ControlFlow::Break(())),
                Slot::Unused | Slot::LongName(_) | Slot::Label(_) => return Ok(ControlFlow::Continue(())),
                Slot::Named(entry) => entry,
            };
            let first = entry.first_cluster(self.geometry.kind());
            if entry.is_directory() {
                found.push(first);
            } else if let Err(broken) = self.file(at, first, entry.size(), table, visited, claims) {
                fail(claims, FILE_KEPT, broken)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Claims one file, whose entry is at `at`.
    fn file(
        &self,
        at: u64,
        first: u32,
        size: u64,
        table: &mut Table<&dyn ReadAt>,
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

    /// The label in the beginning of the root directory; `None` where it cannot be read.
    pub(super) fn root_label(&self) -> Option<String> {
        let root = match self.geometry.fixed_root() {
            None if !self.heap.holds(self.geometry.root_cluster) => return None,
            None => self.heap.extent(self.geometry.root_cluster, 1),
            Some(root) => root,
        };
        let mut bytes = vec![0; root.length.min(PIECE) as usize];
        read(self.volume, "the root directory", root.start.0, &mut bytes).ok()?;
        let slots = bytes.as_chunks::<ENTRY>().0.iter().map(slot).take_while(|slot| !matches!(slot, Slot::End));
        let mut labels = slots.filter_map(|slot| if let Slot::Label(name) = slot { Some(name) } else { None });
        label(&labels.next()?)
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

/// What a walk through a directory comes to.
pub(in crate::layout) enum Step<'a> {
    /// An entry, and where it is, in bytes of the volume.
    Entry(u64, &'a [u8; ENTRY]),
    /// A piece of the directory that cannot be read.
    Unreadable(LayoutError),
}

/// Goes through what is in these extents, until `visit` says that it is enough.
pub(in crate::layout) fn each_entry(
    volume: &dyn ReadAt,
    extents: &[Extent],
    mut visit: impl FnMut(Step<'_>) -> Result<ControlFlow<()>, LayoutError>,
) -> Result<(), LayoutError> {
    let mut buffer = Vec::new();
    for piece in pieces(extents) {
        buffer.resize(piece.length as usize, 0);
        if let Err(error) = read(volume, "a directory", piece.start.0, &mut buffer) {
            if visit(Step::Unreadable(error))?.is_break() {
                return Ok(());
            }
            continue;
        }
        for (at, entry) in (piece.start.0..).step_by(ENTRY).zip(buffer.as_chunks::<ENTRY>().0) {
            if visit(Step::Entry(at, entry))?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
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
