//! L4: disks and their files for other programs: over the network block protocol, and as a mounted folder.
//!
//! Always true here:
//! - What is served is a [`ReadAt`](crate::disk::ReadAt) or a [`FileSystem`](crate::layout::FileSystem). That there is a repository is
//!   not known here.
//! - A client is not trusted: no request of it ends the server, takes more memory than it is given, or reaches a byte that is not served.

#[cfg(target_os = "linux")]
pub mod mount;
pub mod nbd;
