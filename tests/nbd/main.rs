//! The server of disks: against a client written by hand that says whatever it likes, and against programs that people use.
//!
//! Always true here:
//! - Servers run in this process, at sockets in temporary folders, and are stopped at the end of each test.
//! - A test that needs a program that is not installed says "skipped" and passes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
// A disk has data in one run, or is damaged in one.
#![allow(clippy::single_range_in_vec_init)]

mod block_status;
mod client;
mod hostile;
mod negotiation;
mod overlay;
mod reading;
mod server;
mod support;
#[cfg(feature = "aws-lc")]
mod tls;
mod tools;
mod writing;
