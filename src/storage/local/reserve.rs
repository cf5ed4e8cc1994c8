//! A file that only keeps room, so that a medium that is full can be pruned.
//!
//! Always true here:
//! - It is no object, and says nothing: it can be missing, and whoever finds it may delete it.
//! - It is let go only for small objects, by commands that make room, when the medium is full; a large one would find no room all the same.

use super::LocalStorage;
use crate::storage::StorageError;
use std::fs;
use std::io::{self, Write};

/// Its name below the repository.
const FILE: &str = "reserve";

/// Its bytes: a lease, a retirement, and what the log says of them, with their parity, where each file takes a block of 4 KiB or of 16.
const SIZE: usize = 256 << 10;

/// The largest object that it is let go for, in bytes.
const SMALL: u64 = 64 << 10;

impl LocalStorage {
    /// The same folder, for a command that makes room: where small objects find none, what is kept in reserve is let go for them.
    #[must_use]
    pub const fn drawing_on_reserve(mut self) -> Self {
        self.draws_on_reserve = true;
        self
    }

    /// Keeps a little room in reserve, where there is enough, for the day on which there is none. True when it is kept.
    pub fn keep_reserve(&self) -> bool {
        let path = self.root.join(FILE);
        if path.metadata().is_ok_and(|metadata| metadata.len() == SIZE as u64) {
            return true;
        }
        // Bytes that no file system stores in fewer blocks.
        let mut bytes = vec![0; SIZE];
        blake3::Hasher::new().update(b"sheaf reserve").finalize_xof().fill(&mut bytes);
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&path)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        let kept = write();
        if kept.is_err() {
            // Half a reserve keeps room from those who need it now.
            _ = fs::remove_file(&path);
        }
        kept.is_ok()
    }

    /// Lets go what is kept in reserve for a write of so many bytes that failed for want of room; true when there is more room now.
    pub(super) fn draw_on_reserve(&self, length: u64, error: &StorageError) -> bool {
        self.draws_on_reserve && length <= SMALL && error.is_full() && fs::remove_file(self.root.join(FILE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_let_go_once_for_small_objects_of_those_who_make_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let plain = LocalStorage::create(folder.path()).expect("a repository");
        let path = folder.path().join(FILE);
        let size = || path.metadata().map(|metadata| metadata.len()).ok();
        assert_eq!(size(), Some(SIZE as u64), "a new repository has one");
        let failed = |kind: io::ErrorKind| super::super::failed("writing", &path, kind.into());
        let full = failed(io::ErrorKind::StorageFull);
        assert!(!plain.draw_on_reserve(100, &full), "a backup does not get it");
        let pruning = LocalStorage::open(folder.path()).expect("opens").drawing_on_reserve();
        assert!(!pruning.draw_on_reserve(SMALL + 1, &full));
        assert!(!pruning.draw_on_reserve(100, &failed(io::ErrorKind::PermissionDenied)));
        assert_eq!(size(), Some(SIZE as u64));
        assert!(pruning.draw_on_reserve(100, &full));
        assert_eq!(size(), None);
        assert!(!pruning.draw_on_reserve(100, &full), "there is none any more");
        fs::write(&path, b"half").expect("written");
        assert!(pruning.keep_reserve() && pruning.keep_reserve());
        assert_eq!(size(), Some(SIZE as u64));
    }
}
