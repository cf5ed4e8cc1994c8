//! Stands for TLS in a program that was built without it.
//!
//! Always true here:
//! - There is no value of [`Tls`], so that no server can believe that it has TLS.

use super::error::NbdError;
use super::wire::Wire;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a server needs for TLS, of which this program has none.
#[derive(Debug, Clone)]
pub struct Tls(Infallible);

impl Tls {
    /// Says that there is no TLS.
    ///
    /// # Errors
    /// [`NbdError::NoTls`], always.
    pub fn from_pem(_: &Path, _: &Path, _: Option<&Path>) -> Result<Self, NbdError> {
        Err(NbdError::NoTls)
    }

    pub(super) fn accept(&self, _: Arc<dyn Wire>) -> io::Result<Arc<dyn Wire>> {
        match self.0 {}
    }
}
