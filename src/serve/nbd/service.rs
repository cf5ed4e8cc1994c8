//! What is served, to whom and within which bounds; and one conversation with one client, over whatever carries it.
//!
//! Always true here:
//! - A conversation takes at most [`Service::MEMORY`] bytes for requests and their answers, whatever is asked.

use super::error::NbdError;
use super::export::Export;
use super::negotiate::negotiate;
use super::protocol::{MOST_PAYLOAD, MOST_STRING};
use super::tls::Tls;
use super::transmit::transmit;
use super::wire::Wire;
use crate::disk::DiskOffset;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whoever is told what happens. Called by many threads.
pub type Notices = dyn Fn(&Notice<'_>) + Send + Sync;

/// Bounds and choices of a server.
#[derive(Clone)]
pub struct Options {
    /// Connections at once; the next one is closed as soon as it is made. At least 1.
    pub clients: usize,
    /// Requests of one connection that are worked on at once, from 1 to 64. With 1 they are answered in order, without further threads.
    pub requests: usize,
    /// How long a client may take to choose an export.
    pub patience: Duration,
    /// TLS; where it is given, it is required of every client.
    pub tls: Option<Tls>,
    /// Is told what happens.
    pub notices: Option<Arc<Notices>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { clients: 16, requests: 4, patience: Duration::from_secs(30), tls: None, notices: None }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("clients", &self.clients)
            .field("requests", &self.requests)
            .field("patience", &self.patience)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// Something that an operator may want to hear of. None of it ends the server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// A client chose an export.
    Connected {
        /// The export's name.
        export: &'a str,
    },
    /// A connection ended.
    Ended {
        /// How.
        end: &'a End,
    },
    /// A client was turned away, because there are as many as there may be.
    Refused,
    /// Bytes of an export could not be read or written, and the client that asked was told so.
    Failed {
        /// The export's name.
        export: &'a str,
        /// Where the part begins that failed.
        offset: DiskOffset,
        /// Why.
        reason: &'a str,
    },
}

/// How a conversation ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// The client said that it is done.
    Done,
    /// The client went away between two requests.
    Gone,
    /// The connection was lost in the middle of something.
    Lost(io::Error),
    /// The client broke a rule of the protocol after which no message can be told from the next, or asked for what has no answer.
    Broken(&'static str),
    /// TLS could not be set up.
    Tls(io::Error),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => f.write_str("the client is done"),
            Self::Gone => f.write_str("the client went away"),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
            Self::Broken(rule) => write!(f, "the client was disconnected: {rule}"),
            Self::Tls(error) => write!(f, "no TLS with this client: {error}"),
        }
    }
}

/// What is served, and within which bounds.
#[derive(Debug)]
pub struct Service {
    exports: Vec<Export>,
    options: Options,
}

impl Service {
    /// Bytes that requests of one connection and their answers take at most.
    pub const MEMORY: usize = MOST_PAYLOAD as usize + (4 << 20);
    /// Exports that there may be.
    pub const MOST_EXPORTS: usize = 1024;

    /// Checks what is to be served. The first export is the one that a client gets that names none.
    ///
    /// # Errors
    /// [`NbdError::Export`]: there is none or there are too many, two have the same name, or a name or description cannot be sent.
    pub fn new(exports: Vec<Export>, options: Options) -> Result<Self, NbdError> {
        let refuse = |name: &str, reason| Err(NbdError::Export { name: name.chars().take(100).collect(), reason });
        if exports.is_empty() || exports.len() > Self::MOST_EXPORTS {
            return refuse("", "there must be from 1 to 1024 exports");
        }
        let mut names: Vec<&str> = exports.iter().map(Export::name).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[one, other]| one == other) {
            return refuse(name, "two exports have this name");
        }
        for export in &exports {
            let texts = [export.name(), export.description()];
            // proto.md, "Conventions": what a string may be.
            if texts.iter().any(|text| text.len() > MOST_STRING || text.contains('\0')) {
                return refuse(export.name(), "its name or description is longer than 4096 bytes or has a NUL in it");
            }
        }
        let options = Options { clients: options.clients.max(1), requests: options.requests.clamp(1, 64), ..options };
        Ok(Self { exports, options })
    }

    /// What is served.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The bounds.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The number of the export that a client calls so; the empty name is the first one's unless an export has it.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let named = self.exports.iter().position(|export| export.name().as_bytes() == name);
        named.or(name.is_empty().then_some(0))
    }

    pub(super) fn tell(&self, notice: &Notice<'_>) {
        if let Some(notices) = &self.options.notices {
            notices(notice);
        }
    }

    /// Talks to one client until the connection ends. `entered` is set when the client has chosen an export; whoever lets clients wait
    /// only so long before that closes the wire.
    pub fn talk(&self, wire: &Arc<dyn Wire>, entered: &AtomicBool) -> End {
        let end = match negotiate(self, Arc::clone(wire)) {
            Ok(agreed) => {
                entered.store(true, Ordering::Release);
                if let Some(export) = self.exports.get(agreed.export) {
                    self.tell(&Notice::Connected { export: export.name() });
                    let secure = Arc::clone(&agreed.wire);
                    let end = transmit(self, export, agreed);
                    secure.finish();
                    end
                } else {
                    End::Broken("it chose an export that is not there")
                }
            }
            Err(end) => end,
        };
        wire.close();
        self.tell(&Notice::Ended { end: &end });
        end
    }
}
