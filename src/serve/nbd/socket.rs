//! Sockets: listening ones and those of clients.
//!
//! Always true here:
//! - A socket in the file system can be used by its owner alone from the moment on in which others could see it: it is made in a folder that
//!   nobody else can enter, and moved to its place when its mode is 0600.
//! - A socket is replaced only when nobody answers at it, and removed at the end only while it is still the one that was put there. Anything
//!   else in its place is left alone.

use super::error::NbdError;
use super::listen::{Listen, Place};
use super::wire::Wire;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// A socket that clients connect to.
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(local::Local),
}

/// A client's connection.
pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    /// Listens. The listener does not wait: [`Self::accept`] fails with [`io::ErrorKind::WouldBlock`] when nobody connects.
    ///
    /// # Errors
    /// [`NbdError`].
    pub(super) fn bind(listen: &Listen) -> Result<Self, NbdError> {
        let failed = |source| NbdError::Bind { place: listen.to_string(), source };
        match &listen.0 {
            Place::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Tcp(listener))
            }
            #[cfg(unix)]
            Place::Unix(path) => local::Local::bind(path).map(Self::Unix),
            #[cfg(not(unix))]
            Place::Unix(_) => Err(failed(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Where it listens, with the port that the system chose.
    pub(super) fn place(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| Listen(Place::Tcp(address))),
            #[cfg(unix)]
            Self::Unix(local) => Ok(Listen::socket(local.path())),
        }
    }

    /// Takes the next connection, whose calls wait.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                // A reply is sent whole, and waiting for more to send with it would only delay it.
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(local) => {
                let stream = local.accept()?;
                stream.set_nonblocking(false)?;
                Ok(Socket::Unix(stream))
            }
        }
    }
}

impl Socket {
    fn shut(&self, how: Shutdown) {
        // It may be closed already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(how),
        };
    }

    /// Takes nothing more from the client, so that what it asked for can still be answered.
    pub(super) fn stop_receiving(&self) {
        self.shut(Shutdown::Read);
    }
}

impl Wire for Socket {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => (&*stream).read(buffer),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => (&*stream).write_all(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => (&*stream).write_all(bytes),
        }
    }

    fn close(&self) {
        self.shut(Shutdown::Both);
    }
}

#[cfg(unix)]
mod local {
    use super::{NbdError, io};
    use std::fs::{DirBuilder, Permissions, remove_dir, remove_file, rename, set_permissions, symlink_metadata};
    use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    use std::path::{Path, PathBuf};
    use std::process;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A listening socket in the file system; dropping it removes it from there.
    pub(in super::super) struct Local {
        listener: UnixListener,
        path: PathBuf,
        /// Device and number of what was put at the path.
        own: (u64, u64),
    }

    fn number(path: &Path) -> io::Result<(u64, u64)> {
        symlink_metadata(path).map(|found| (found.dev(), found.ino()))
    }

    impl Local {
        pub(super) fn bind(path: &Path) -> Result<Self, NbdError> {
            match symlink_metadata(path) {
                Ok(found) if !found.file_type().is_socket() => {
                    return Err(NbdError::NotASocket { path: path.to_owned() });
                }
                // Only a refusal says that nobody listens; whatever else goes wrong, somebody may.
                Ok(_) => match UnixStream::connect(path) {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    _ => return Err(NbdError::InUse { path: path.to_owned() }),
                },
                Err(_) => {}
            }
            Self::make(path).map_err(|source| NbdError::Bind { place: format!("unix:{}", path.display()), source })
        }

        fn make(path: &Path) -> io::Result<Self> {
            static COUNTER: AtomicU64 = AtomicU64::new(0);
            // Nobody could connect to a longer path, whatever it can be moved to.
            SocketAddr::from_pathname(path)?;
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            // In the same folder, so that it can be moved; short, as the path of a socket has about 100 bytes at most.
            let folder = path.with_file_name(format!(".{}-{count}", process::id()));
            DirBuilder::new().mode(0o700).create(&folder)?;
            let inside = folder.join("s");
            let made = (|| {
                let listener = UnixListener::bind(&inside)?;
                listener.set_nonblocking(true)?;
                set_permissions(&inside, Permissions::from_mode(0o600))?;
                let own = number(&inside)?;
                rename(&inside, path)?;
                Ok(Self { listener, path: path.to_owned(), own })
            })();
            let _ = remove_file(&inside);
            let _ = remove_dir(&folder);
            made
        }

        pub(super) fn accept(&self) -> io::Result<UnixStream> {
            self.listener.accept().map(|(stream, _)| stream)
        }

        pub(super) fn path(&self) -> &Path {
            &self.path
        }
    }

    impl Drop for Local {
        fn drop(&mut self) {
            if number(&self.path).is_ok_and(|found| found == self.own) {
                let _ = remove_file(&self.path);
            }
        }
    }
}
