//! The directories of an exFAT volume, and the files that they lead to.
//!
//! Always true here: the walk is bounded by the clusters of the volume, of which each is met once, and by a number of directories
//! and entries. A file is claimed as a whole or not at all.
//!
//! Structures: Microsoft exFAT specification, section 7.

use super::ExFatVolume;
use super::entries::{Allocation, ENTRY, Item, Sets, label};
use crate::disk::Extent;
use crate::layout::fat::directory::{fail, pieces};
use crate::layout::fat::heap::{MOST_DIRECTORIES, MOST_ENTRIES, Visited, claim_file, note, read, total};
use crate::layout::fat::table::{Broken, Table};
use crate::layout::{Claims, Content, LayoutError};

/// Bytes of a directory (section 7.4).
const MOST_BYTES: u64 = 256 << 20;

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
        table: &mut Table<'_>,
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
        table: &mut Table<'_>,
        visited: &mut Visited,
        found: &mut Found,
        claims: &mut Claims,
    ) -> Result<(), LayoutError> {
        claims.stream(Content::Records, extents)?;
        let mut sets = Sets::default();
        let mut buffer = Vec::new();
        for piece in pieces(extents) {
            buffer.resize(piece.length as usize, 0);
            if let Err(error) = read(self.volume, "a directory", piece.start.0, &mut buffer) {
                note(claims, DIRECTORY_KEPT, error)?;
                sets = Sets::default();
                continue;
            }
            for (at, entry) in (piece.start.0..).step_by(ENTRY).zip(buffer.as_chunks::<ENTRY>().0) {
                found.entries += 1;
                if found.entries > MOST_ENTRIES {
                    return Err(LayoutError::TooMany { what: "entries of directories", limit: MOST_ENTRIES });
                }
                if let Some(cause) = sets.give_up(entry) {
                    note(claims, FILE_KEPT, cause)?;
                }
                let claimed = match sets.take(at, entry) {
                    Ok(Item::End) => return Ok(()),
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
            }
        }
        Ok(())
    }

    /// The clusters of an allocation: at least as many as its length needs.
    fn clusters(
        &self,
        allocation: &Allocation,
        table: &mut Table<'_>,
        visited: &mut Visited,
    ) -> Result<Vec<Extent>, Broken> {
        const WHAT: &str = "the clusters that an entry names";
        let heap = &self.geometry.heap;
        let needed = allocation.length.div_ceil(heap.cluster);
        let wrong = |found: &dyn std::fmt::Display| {
            let expected = format_args!("clusters for {} bytes", allocation.length);
            LayoutError::malformed(WHAT, allocation.at, expected, found)
        };
        if allocation.first == 0 || needed == 0 {
            return if needed == 0 { Ok(Vec::new()) } else { Err(wrong(&"none").into()) };
        }
        if !allocation.contiguous {
            let extents = table.chain(heap, visited, allocation.first, u64::MAX)?;
            let bytes = total(&extents);
            return if bytes >= allocation.length { Ok(extents) } else { Err(wrong(&bytes).into()) };
        }
        let last = u64::from(allocation.first).saturating_add(needed - 1);
        let Some(last) = u32::try_from(last).ok().filter(|last| heap.holds(allocation.first) && heap.holds(*last))
        else {
            return Err(wrong(&format_args!("clusters {} to {last}", allocation.first)).into());
        };
        for cluster in allocation.first..=last {
            if !visited.meet(cluster) {
                return Err(wrong(&format_args!("cluster {cluster}, to which something else leads")).into());
            }
        }
        Ok(vec![heap.extent(allocation.first, needed)])
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
