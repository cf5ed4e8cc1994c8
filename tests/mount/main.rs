//! Snapshots that are mounted by the kernel for real: what programs see below the mount point, and how a mount ends.
//!
//! Always true here:
//! - The snapshots are made up in memory: disks of bytes and a small file system that says whatever a test wants.
//! - Where the machine cannot mount, a test says so and passes.
//! - No test leaves a mount behind, also when it fails.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod ends;
mod fake;
mod files;
mod folders;
mod mounted;
mod snapshots;
