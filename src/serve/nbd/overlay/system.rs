//! What an overlay's file asks of the system beyond reading and writing: to be its owner's alone, and to take no space for nothing.
//!
//! Always true here:
//! - A new file can be read by its owner alone where files have owners: it holds parts of what is in the snapshot, which is sealed there.
//! - To give space back is a favour: where it is refused the file stays as large as it was, and nothing else differs. Nobody reads the part.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a file for reading and writing, and makes it where there is none.
///
/// # Errors
/// What the system says.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a hole.
#[cfg(target_os = "linux")]
pub(super) fn give_back(file: &File, offset: u64, length: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length);
}

/// Does nothing.
#[cfg(not(target_os = "linux"))]
pub(super) fn give_back(_: &File, _: u64, _: u64) {}
