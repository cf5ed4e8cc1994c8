//! TLS, by rustls: certificates from files, and a wire over a wire.
//!
//! Always true here:
//! - No lock that a receiver needs is held while something is sent, so that a client that takes nothing does not keep us from hearing it.
//! - Records are sent in the order in which they were sealed: whoever seals holds the lock on sending from before until they are sent.
//! - A client certificate, where one is asked for, is checked against the given authorities before anything is served.

use super::error::NbdError;
use super::lock;
use super::wire::Wire;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Bytes that are received or sealed at once: about one record.
const RECORD: usize = 16 << 10;

/// What a server needs for TLS.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NbdError> {
    let refuse = |reason: String| NbdError::Certificate { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(refuse("there is no certificate in it".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(refuse(error.to_string())),
    }
}

impl Tls {
    /// Reads the certificate chain of the server and its key from PEM files. With `clients`, a file of certificates, each client must show a
    /// certificate that one of these signed.
    ///
    /// # Errors
    /// [`NbdError::Certificate`].
    pub fn from_pem(chain: &Path, key: &Path, clients: Option<&Path>) -> Result<Self, NbdError> {
        let refuse = |path: &Path, reason: String| NbdError::Certificate { path: path.to_owned(), reason };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(chain, error.to_string()))?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| refuse(path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| refuse(path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse(key, error.to_string()))?;
        let mut config = builder
            .with_single_cert(certificates(chain)?, private)
            .map_err(|error| refuse(chain, format!("the certificate and its key cannot be used: {error}")))?;
        // Connections last long; there is nothing to be gained by resuming one.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config) })
    }

    /// Begins TLS as the server, over a wire on which nothing is on its way.
    ///
    /// # Errors
    /// What went wrong; the wire cannot be used any more.
    pub(super) fn accept(&self, below: Arc<dyn Wire>) -> io::Result<Arc<dyn Wire>> {
        let session = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let received = Received { bytes: vec![0; RECORD], start: 0, end: 0 };
        let wire =
            TlsWire { below, session: Mutex::new(session), received: Mutex::new(received), sending: Mutex::new(()) };
        while lock(&wire.session).is_handshaking() {
            if !wire.take_in(&mut lock(&wire.received))? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Arc::new(wire))
    }
}

/// What came from below and was not yet looked at.
struct Received {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

struct TlsWire {
    below: Arc<dyn Wire>,
    session: Mutex<ServerConnection>,
    received: Mutex<Received>,
    sending: Mutex<()>,
}

impl TlsWire {
    /// Sends what the session has ready. The caller holds the lock on sending.
    fn send_ready(&self) -> io::Result<()> {
        let mut ready = Vec::new();
        {
            let mut session = lock(&self.session);
            while session.wants_write() {
                session.write_tls(&mut ready)?;
            }
        }
        if ready.is_empty() { Ok(()) } else { self.below.send(&ready) }
    }

    /// Gives the session bytes from below; false at the end.
    fn take_in(&self, received: &mut Received) -> io::Result<bool> {
        if received.start == received.end {
            let count = self.below.receive(&mut received.bytes)?;
            (received.start, received.end) = (0, count.min(received.bytes.len()));
            if count == 0 {
                return Ok(false);
            }
        }
        let (processed, answers) = {
            let mut session = lock(&self.session);
            let mut ready = received.bytes.get(received.start..received.end).unwrap_or(&[]);
            let count = session.read_tls(&mut ready)?;
            received.start += count;
            (session.process_new_packets().map_err(io::Error::other), session.wants_write())
        };
        if answers {
            let _order = lock(&self.sending);
            let sent = self.send_ready();
            // What is wrong with the client's message says more than that it does not hear of it.
            return processed.and(sent).map(|()| true);
        }
        processed.map(|_| true)
    }
}

impl Wire for TlsWire {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut received = lock(&self.received);
        loop {
            match lock(&self.session).reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !self.take_in(&mut received)? {
                return Ok(0);
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let _order = lock(&self.sending);
        for part in bytes.chunks(RECORD) {
            lock(&self.session).writer().write_all(part)?;
            self.send_ready()?;
        }
        Ok(())
    }

    fn close(&self) {
        self.below.close();
    }

    fn finish(&self) {
        {
            let _order = lock(&self.sending);
            lock(&self.session).send_close_notify();
            // It may be gone already.
            let _ = self.send_ready();
        }
        self.below.finish();
    }
}
