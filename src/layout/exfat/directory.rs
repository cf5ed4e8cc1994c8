//! The directories of an exFAT volume, and the files that they lead to.
//!
//! Always true here: the walk is bounded by the clusters of the volume, of which each is met once, and by a number of directories
//! and entries. A file is claimed as a whole or not at all.
//!
//! Structures: Microsoft exFAT specification, section 7.

use super::ExFatVolume;
use super::entries::{Allocation, ENTRY, Item, Place, Sets, label};
use crate::disk::{Extent, ReadAt};
use crate::layout::fat::directory::{Step, each_entry, fail};
use crate::layout::fat::heap::{MOST_DIRECTORIES, MOST_ENTRIES, Visited, claim_file, note, read, total};
use crate::layout::fat::table::{Broken, Table};
use crate::layout::{Claims, Content, LayoutError};
use std::ops::ControlFlow;

/// Bytes of a directory (section 7.4).
pub(super) const MOST_BYTES: u64 = 256 << 20;

const FILE_KEPT: &str = "the file is kept in disk order";
const DIRECTORY_KEPT: &str = "what is in the directory is kept in disk order";

/// What a walk has met.
#[derive(Default)]
struct Found {
    directories: Vec<Allocation>,
    entries: u64,
    /// The clusters of the bitmap that counts, and its length in bytes.
    bitmap: Option<(Vec<Extent>, u64)>,
}

impl ExFatVolume<'_> {
    /// Goes through all directories. Gives the clusters of the bitmap that counts, when it was found.
    pub(super) fn walk(
        &self,
        table: &mut Table<&dyn ReadAt>,
        visited: &mut Visited,
        claims: &mut Claims,
    ) -> Result<Option<(Vec<Extent>, u64)>, LayoutError> {
        let mut found = Found::default();
        let most = (MOST_BYTES / self.geometry.heap.cluster).max(1);
        // The root directory has no entry that tells its length.
        match table.chain(&self.geometry.heap, visited, self.geometry.root, most) {
            Ok(extents) => self.directory(&extents, true, table, visited, &mut found, claims)?,
            Err(broken) => fail(claims, DIRECTORY_KEPT, broken)?,
        }
        let mut directories = 1;
        while let Some(next) = found.directories.pop() {
            directories += 1;
            if directories + found.directories.len() as u64 > MOST_DIRECTORIES {
                return Err(LayoutError::TooMany { what: "directories", limit: MOST_DIRECTORIES });
            }
            if next.length > MOST_BYTES {
                let expected = format_args!("a directory of at most {MOST_BYTES} bytes");
                note(claims, DIRECTORY_KEPT, LayoutError::malformed("an entry", next.at, expected, next.length))?;
                continue;
            }
            match self.clusters(&next, table, visited) {
                Ok(extents) => self.directory(&extents, false, table, visited, &mut found, claims)?,
                Err(broken) => fail(claims, DIRECTORY_KEPT, broken)?,
            }
        }
        Ok(found.bitmap)
    }

    /// Claims a directory and the files in it, and keeps the directories in it for later.
    fn directory(
        &self,
        extents: &[Extent],
        is_root: bool,
        table: &mut Table<&dyn ReadAt>,
        visited: &mut Visited,
        found: &mut Found,
        claims: &mut Claims,
    ) -> Result<(), LayoutError> {
        claims.stream(Content::Records, extents)?;
        let mut sets = Sets::default();
        each_entry(self.volume, extents, |step| {
            let (at, entry) = match step {
                Step::Entry(at, entry) => (at, entry),
                Step::Unreadable(error) => {
                    sets = Sets::default();
                    note(claims, DIRECTORY_KEPT, error)?;
                    return Ok(ControlFlow::Continue(()));
                }
            };
            found.entries += 1;
            if found.entries > MOST_ENTRIES {
                return Err(LayoutError::TooMany { what: "entries of directories", limit: MOST_ENTRIES });
            }
            if let Some(cause) = sets.give_up(entry) {
                note(claims, FILE_KEPT, cause)?;
            }
            let claimed = match sets.take(at, entry) {
                Ok(Item::End) => return Ok(ControlFlow::Break(())),
                Ok(Item::Directory(directory)) => {
                    found.directories.push(directory);
                    Ok(())
                }
                Ok(Item::File(file, valid)) => match self.clusters(&file, table, visited) {
                    Ok(extents) => Ok(claim_file(claims, extents, valid)?),
                    Err(broken) => Err(broken),
                },
                // Only the root directory has these.
                Ok(Item::Bitmap(number, bitmap)) if is_root => {
                    self.clusters(&bitmap, table, visited).and_then(|extents| {
                        claims.stream(Content::Records, &extents)?;
                        if number == self.geometry.active {
                            found.bitmap.get_or_insert((extents, bitmap.length));
                        }
                        Ok(())
                    })
                }
                Ok(Item::UpCase(up_case)) if is_root => self
                    .clusters(&up_case, table, visited)
                    .and_then(|extents| Ok(claims.stream(Content::Records, &extents)?)),
                Ok(Item::Nothing | Item::Bitmap(..) | Item::UpCase(_)) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(broken) = claimed {
                fail(claims, FILE_KEPT, broken)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The clusters of an allocation: at least as many as its length needs.
    fn clusters(
        &self,
        allocation: &Allocation,
        table: &mut Table<&dyn ReadAt>,
        visited: &mut Visited,
    ) -> Result<Vec<Extent>, Broken> {
        let heap = &self.geometry.heap;
        match allocation.place(heap) {
            (_, Some(wrong)) => Err(wrong.into()),
            (Place::Nowhere, None) => Ok(Vec::new()),
            (Place::Chain, None) => {
                let extents = table.chain(heap, visited, allocation.first, u64::MAX)?;
                let bytes = total(&extents);
                if bytes >= allocation.length { Ok(extents) } else { Err(allocation.wrong(bytes).into()) }
            }
            (Place::Run(count), None) => {
                for cluster in (allocation.first..).take(count as usize) {
                    if !visited.meet(cluster) {
                        let found = format_args!("cluster {cluster}, to which something else leads");
                        return Err(allocation.wrong(found).into());
                    }
                }
                Ok(vec![heap.extent(allocation.first, u64::from(count))])
            }
        }
    }

    /// The label in the first cluster of the root directory; `None` where it cannot be read.
    pub(super) fn root_label(&self) -> Option<String> {
        let heap = &self.geometry.heap;
        let root = Some(heap.extent(self.geometry.root, 1)).filter(|_| heap.holds(self.geometry.root))?;
        let mut bytes = vec![0; root.length.min(64 << 10) as usize];
        read(self.volume, "the root directory", root.start.0, &mut bytes).ok()?;
        bytes.as_chunks::<ENTRY>().0.iter().take_while(|entry| entry[0] != 0).find_map(label)
    }
}
