//! L1: cryptography. Knows keys and bytes; knows nothing of objects, files or chunks' meaning.
//!
//! Always true here:
//! - One cipher, AES-256-GCM, behind one seam ([`aead`]); one hash, BLAKE3 ([`mod@derive`]); passwords go through
//!   Argon2id ([`password`]); public keys through HPKE ([`recipient`]), signatures are Ed25519 ([`sign`]).
//! - Secrets live in [`Secret`] or `ChunkKey`, which wipe themselves and print nothing.
//! - Random numbers come from the operating system and from nowhere else ([`randomness`]).

pub mod aead;
pub mod derive;
#[cfg(feature = "simulator")]
mod memo;
pub mod password;
pub mod printed;
pub mod randomness;
pub mod recipient;
pub mod sign;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Why a cryptographic step failed. None of them says anything of the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The tag does not match: other key, other bytes, or other associated data.
    #[error("authentication failed: the bytes were changed, or the key is another")]
    Authentication,
    /// A sealed text is too short to hold nonce and tag.
    #[error("a sealed text of {found} bytes is too short: at least {expected} were expected")]
    TooShort {
        /// Bytes that a sealed text has at least.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// Argon2id parameters outside of what this version accepts.
    #[error("Argon2id parameter `{parameter}` is {found}; {expected} is accepted")]
    PasswordParameter {
        /// Its name.
        parameter: &'static str,
        /// The accepted range, in words.
        expected: &'static str,
        /// What was given.
        found: u32,
    },
    /// There is not enough memory for the Argon2id parameters.
    #[error("{needed_kib} KiB of memory for the password hash could not be had")]
    PasswordMemory {
        /// KiB that the parameters ask for.
        needed_kib: u32,
    },
    /// Bytes are no valid X25519 key.
    #[error("the bytes are no valid X25519 key")]
    InvalidPublicKey,
    /// A signature is not that of the key, the purpose and the message.
    #[error("the signature does not fit: what is signed was changed, or another key signed it")]
    Signature,
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
}

/// A 32-byte secret that wipes itself and prints nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the bytes as they are.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new secret from the operating system.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn random() -> Result<Self, CryptoError> {
        random_bytes().map(Self)
    }

    /// The secret bytes. The caller must not print or store them unsealed.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `N` bytes from the operating system.
///
/// # Errors
/// [`CryptoError::Random`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    randomness::fill(&mut bytes)?;
    Ok(bytes)
}
