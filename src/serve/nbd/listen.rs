//! Where a server listens, as people write it down.
//!
//! Always true here:
//! - A [`Listen`] is a place that can be listened at as far as its form tells; whether it is safe to do so is seen where it is bound.

use super::error::NbdError;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen(pub(super) Place);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A socket in the file system.
    Unix(PathBuf),
    /// An address of this machine.
    Tcp(SocketAddr),
}

impl Listen {
    /// Understands `unix:PATH` and `tcp:ADDRESS:PORT`. The address is a number, in brackets where it has colons, or `localhost`; port 0
    /// stands for one that is free.
    ///
    /// # Errors
    /// [`NbdError::Place`].
    pub fn parse(text: &str) -> Result<Self, NbdError> {
        let refuse = |reason| NbdError::Place { text: text.to_owned(), reason };
        match text.split_once(':') {
            Some(("unix", "")) => Err(refuse("it has no path")),
            Some(("unix", path)) if path.contains('\0') => Err(refuse("its path has a NUL in it")),
            Some(("unix", path)) => Ok(Self(Place::Unix(path.into()))),
            Some(("tcp", address)) => {
                let local =
                    address.strip_prefix("localhost:").map(|port| port.parse().map(|port| (Ipv4Addr::LOCALHOST, port)));
                let address = match local {
                    Some(local) => local.ok().map(SocketAddr::from),
                    None => address.parse().ok(),
                };
                address
                    .map(|address| Self(Place::Tcp(address)))
                    .ok_or_else(|| refuse("an address is a number and a port, as in 127.0.0.1:10809 or [::1]:10809"))
            }
            _ => Err(refuse("it begins with neither unix: nor tcp:")),
        }
    }

    /// A socket in the file system, for paths that are no text.
    pub fn socket(path: &Path) -> Self {
        Self(Place::Unix(path.to_owned()))
    }

    /// Whether other machines can reach it, so that it needs TLS.
    pub fn is_public(&self) -> bool {
        match &self.0 {
            Place::Unix(_) => false,
            Place::Tcp(address) => !is_loopback(address.ip()),
        }
    }
}

/// An IPv4 address written as one of IPv6 is what it is.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_they_are_written() {
        for text in ["unix:/run/x", "unix:x:y", "tcp:127.0.0.1:10809", "tcp:[::1]:1", "tcp:0.0.0.0:0"] {
            assert_eq!(Listen::parse(text).expect("a place").to_string(), text);
        }
        assert_eq!(Listen::parse("tcp:localhost:7").expect("a place").to_string(), "tcp:127.0.0.1:7");
        for text in [
            "",
            "unix",
            "unix:",
            "unix:a\0b",
            "tcp:",
            "tcp:1",
            "tcp:127.0.0.1",
            "tcp:::1:9",
            "tcp:a:1",
            "tcp:localhost:",
            "udp:1:1",
        ] {
            assert!(matches!(Listen::parse(text), Err(NbdError::Place { .. })), "{text}");
        }
    }

    #[test]
    fn what_others_reach_is_public() {
        for text in ["unix:x", "tcp:127.0.0.1:1", "tcp:127.9.9.9:1", "tcp:[::1]:1", "tcp:[::ffff:127.0.0.1]:1"] {
            assert!(!Listen::parse(text).expect("a place").is_public(), "{text}");
        }
        for text in ["tcp:0.0.0.0:1", "tcp:192.168.0.1:1", "tcp:[::]:1", "tcp:[::ffff:10.0.0.1]:1"] {
            assert!(Listen::parse(text).expect("a place").is_public(), "{text}");
        }
    }
}
