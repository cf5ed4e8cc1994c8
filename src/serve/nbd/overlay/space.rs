//! Gives the space of a part of a file back to the file system, where the system has a call for it.
//!
//! Always true here:
//! - That is a favour: where it is refused the file stays as large as it was, and nothing else differs. Nobody reads the part.

use std::fs::File;

/// Makes a hole.
#[cfg(target_os = "linux")]
pub(super) fn give_back(file: &File, offset: u64, length: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length);
}

/// Does nothing.
#[cfg(not(target_os = "linux"))]
pub(super) fn give_back(_: &File, _: u64, _: u64) {}
