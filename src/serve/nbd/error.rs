//! Why a server could not be set up or had to end. What goes wrong with one client is told as a
//! [`Notice`](super::Notice) and ends nothing else.
//!
//! Always true here:
//! - Each error names the place, the file or the export that it is about, and what would be right.

use super::overlay::OverlayError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server could not be set up or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NbdError {
    /// The place to listen at cannot be understood.
    #[error(
        "{text:?} is no place to listen at: {reason}. Places are unix:PATH and tcp:ADDRESS:PORT, as in tcp:127.0.0.1:10809"
    )]
    Place {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Other machines would reach the server, and nothing protects what it serves.
    #[error("{address} can be reached from other machines: that needs TLS, with a certificate and its key")]
    NeedsTls {
        /// The address.
        address: SocketAddr,
    },
    /// TLS was asked for and is not part of this program.
    #[error("this build has no TLS: it was built without the feature aws-lc")]
    NoTls,
    /// A certificate or a key cannot be used.
    #[error("{}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An export has a name or a description that the protocol cannot carry, or there is none at all.
    #[error("the export {name:?} cannot be served: {reason}")]
    Export {
        /// Its name, or as much of it as is worth showing.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The system does not let us listen there.
    #[error("cannot listen at {place}")]
    Bind {
        /// Where.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// Another server listens at the socket.
    #[error("a server answers at {} already", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is where the socket would be.
    #[error("{} exists and is no socket; it is left alone", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system gives no more connections.
    #[error("{place} takes no more connections")]
    Accept {
        /// Where the server listens.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// What was written to an overlay could not be made durable at the end.
    #[error("what clients wrote last may be lost")]
    Flush(#[source] OverlayError),
}
