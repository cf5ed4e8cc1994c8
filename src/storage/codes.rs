//! The numbers that systems give to failures for which the standard library has no name.
//!
//! Always true here: the first number of each list is what that system says of a bad sector.

/// The medium does not give the bytes of one object. Linux and other Unix: EIO, and EBADMSG and EUCLEAN, which file systems with
/// checksums use; Windows: CRC, SECTOR_NOT_FOUND, READ_FAULT, IO_DEVICE, FILE_CORRUPT.
pub(super) const UNREADABLE: &[i32] = if cfg!(windows) { &[23, 27, 30, 1117, 1392] } else { &[5, 74, 117] };
/// The medium, or what is between, fails while something is written, listed or deleted; writing anew may do. Linux and other Unix: EIO;
/// Windows: NOT_READY, WRITE_FAULT, GEN_FAILURE, IO_DEVICE.
pub(super) const FAILING: &[i32] = if cfg!(windows) { &[21, 29, 31, 1117] } else { &[5] };
/// Failures that may pass by themselves. Linux: ENONET, ENOLINK, ECOMM, ESHUTDOWN, EHOSTDOWN, EREMOTEIO; Windows: SHARING_VIOLATION,
/// LOCK_VIOLATION, REM_NOT_LIST, BAD_NETPATH, NETWORK_BUSY, UNEXP_NET_ERR, NETNAME_DELETED, SEM_TIMEOUT, BUSY, NETWORK_UNREACHABLE.
pub(super) const PASSING: &[i32] = if cfg!(windows) {
    &[32, 33, 51, 53, 54, 59, 64, 121, 170, 1231]
} else if cfg!(target_os = "linux") {
    &[64, 67, 70, 108, 112, 121]
} else {
    &[]
};
