//! Disks over the network block protocol (NBD), for virtual machines, `nbdfuse`, `qemu-img` and their like.
//!
//! Always true here:
//! - Export disks are read-only unless they are an [`Overlay`], which keeps what is written in a file of its own. What lies below is
//!   never written to.
//! - A client is not trusted. The memory, the threads and the connections that clients can make the server take are bounded by
//!   [`Options`], and what one client does or fails to do ends at most its own connection.
//! - Bytes that cannot be read are told as an error of the request that asked for them; the connection lives on.
//! - With TLS configured nothing is told or served without it. Without TLS only this machine is listened to.
//!
//! The protocol is that of `doc/proto.md` of <https://github.com/NetworkBlockDevice/nbd>; where a comment says "proto.md", it names a
//! section of that document.

mod answer;
mod error;
mod export;
mod listen;
mod negotiate;
mod options;
mod overlay;
mod protocol;
mod reply;
mod server;
mod service;
mod socket;
#[cfg(feature = "aws-lc")]
mod tls;
#[cfg(not(feature = "aws-lc"))]
#[path = "tls_absent.rs"]
mod tls;
mod transmit;
mod wire;

pub use error::NbdError;
pub use export::Export;
pub use listen::Listen;
pub use overlay::{Overlay, OverlayError, Problem as OverlayProblem, WriteError};
pub use server::Server;
pub use service::{End, Notice, Notices, Options, Service};
pub use tls::Tls;
pub use wire::Wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, and takes what a thread that panicked left behind: every value here is sound between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error with all that caused it, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
