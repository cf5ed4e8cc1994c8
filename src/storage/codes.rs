//! The numbers that systems give to failures for which the standard library has no name.
//!
//! Always true here: the first number of each list is what that system says of a bad sector.

/// The medium does not give the bytes of one object. Linux and other Unix: EIO, and EBADMSG and EUCLEAN, which file systems with
/// checksums use; Windows: CRC, SECTOR_NOT_FOUND, READ_FAULT, IO_DEVICE, FILE_CORRUPT.
pub(super) const UNREADABLE: &[i32] = if cfg!(windows) { &[23, 27, 30, 1117, 1392] } else { &[5, 74, 117] };
