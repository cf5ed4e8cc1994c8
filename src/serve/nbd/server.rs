//! A server: takes connections, gives each a thread, and ends when it is told to.
//!
//! Always true here:
//! - There are at most as many connections as [`Options::clients`](super::Options::clients) says; the next one is closed when it is made.
//! - A client that has not chosen an export after [`Options::patience`](super::Options::patience) is disconnected. After that it may wait
//!   as long as it likes.
//! - When [`Server::run`] returns, no connection and no thread of it is left, and what was written to overlays is durable or an error told.

use super::error::NbdError;
use super::export::Export;
use super::listen::Listen;
use super::service::{Notice, Options, Service};
use super::socket::{Listener, Socket};
use super::wire::Wire;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// How often it is seen whether anybody connects, whether it is time to stop, and who waits too long.
const BEAT: Duration = Duration::from_millis(20);

/// How long clients are given at the end to take the answers to what they asked for.
const FAREWELL: Duration = Duration::from_millis(100);

/// Failures to take a connection, one behind the other, after which there is no sense in going on.
const MOST_FAILURES: usize = 500;

/// A server that listens.
pub struct Server {
    listener: Listener,
    listen: Listen,
    service: Arc<Service>,
}

/// A connection and the thread that sees to it.
struct Client {
    socket: Arc<Socket>,
    since: Instant,
    entered: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listen", &self.listen).field("service", &self.service).finish()
    }
}

impl Server {
    /// Listens; clients are taken when it runs. The first export is the one that a client gets that names none.
    ///
    /// # Errors
    /// [`NbdError`]: an export cannot be served, the place needs TLS, or it is taken.
    pub fn bind(listen: &Listen, exports: Vec<Export>, options: Options) -> Result<Self, NbdError> {
        if let (super::listen::Place::Tcp(address), true, None) = (&listen.0, listen.is_public(), &options.tls) {
            return Err(NbdError::NeedsTls { address: *address });
        }
        let service = Arc::new(Service::new(exports, options)?);
        let listener = Listener::bind(listen)?;
        let listen = listener.place().map_err(|source| NbdError::Bind { place: listen.to_string(), source })?;
        Ok(Self { listener, listen, service })
    }

    /// Where it listens, in the form that [`Listen::parse`] reads, with the port that the system chose.
    pub fn local_description(&self) -> String {
        self.listen.to_string()
    }

    /// Takes clients until `stop` says so, which is asked about fifty times a second. Then whoever is connected gets the answers to what it
    /// asked for, for a tenth of a second, and is disconnected. A read from a slow disk is waited for.
    ///
    /// # Errors
    /// [`NbdError::Accept`]; [`NbdError::Flush`] when what clients wrote could not be made durable.
    pub fn run(self, stop: &dyn Fn() -> bool) -> Result<(), NbdError> {
        let mut clients = Vec::new();
        let mut failures = 0;
        let ended = loop {
            if stop() {
                break Ok(());
            }
            match self.listener.accept() {
                Ok(socket) => {
                    failures = 0;
                    self.welcome(socket, &mut clients);
                    continue;
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // A client that went away at once, or no descriptors left: others may have more luck.
                Err(_) if failures < MOST_FAILURES => failures += 1,
                Err(source) => break Err(NbdError::Accept { place: self.listen.to_string(), source }),
            }
            self.tend(&mut clients);
            sleep(BEAT);
        };
        dismiss(clients);
        let overlays = self.service.exports().iter().filter_map(Export::overlay);
        let mut flushed = Ok(());
        for overlay in overlays {
            flushed = flushed.and(overlay.flush().map_err(NbdError::Flush));
        }
        ended.and(flushed)
    }

    fn welcome(&self, socket: Socket, clients: &mut Vec<Client>) {
        let socket = Arc::new(socket);
        self.tend(clients);
        if clients.len() >= self.service.options().clients {
            socket.close();
            self.service.tell(&Notice::Refused);
            return;
        }
        let entered = Arc::new(AtomicBool::new(false));
        let work = {
            let (service, entered) = (Arc::clone(&self.service), Arc::clone(&entered));
            let wire: Arc<dyn Wire> = Arc::clone(&socket) as Arc<dyn Wire>;
            move || drop(service.talk(&wire, &entered))
        };
        match Builder::new().name("nbd-client".into()).spawn(work) {
            Ok(thread) => clients.push(Client { socket, since: Instant::now(), entered, thread }),
            // No threads left: the client finds its connection closed.
            Err(_) => self.service.tell(&Notice::Refused),
        }
    }

    /// Forgets who is gone, and disconnects who takes too long to say what it wants.
    fn tend(&self, clients: &mut Vec<Client>) {
        let patience = self.service.options().patience;
        clients.retain(|client| !client.thread.is_finished());
        for client in clients.iter() {
            if !client.entered.load(Ordering::Acquire) && client.since.elapsed() > patience {
                client.socket.close();
            }
        }
    }
}

fn dismiss(mut clients: Vec<Client>) {
    for client in &clients {
        client.socket.stop_receiving();
    }
    let begun = Instant::now();
    while begun.elapsed() < FAREWELL && !clients.is_empty() {
        clients.retain(|client| !client.thread.is_finished());
        sleep(BEAT / 10);
    }
    for client in &clients {
        client.socket.close();
    }
    for client in clients {
        // A thread that panicked has ended its connection and no other.
        let _ = client.thread.join();
    }
}
