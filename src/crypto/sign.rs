//! Signatures: Ed25519 (RFC 8032), one purpose each.
//!
//! Always true here:
//! - What is signed is the purpose's text and the BLAKE3 of the message, so that a signature for one purpose is none for another.
//! - A public key of small order, and a signature in a second encoding, is refused: one message has one signature of a key.

use super::{CryptoError, Secret};
use crate::ids::KeyId;
use ed25519_dalek::{Signature, Signer, VerifyingKey};

/// Bytes of a signature.
pub const SIGNATURE_LENGTH: usize = 64;

/// What a signature is for. The texts never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The authority's word for a key.
    Certificate,
    /// A snapshot, by whoever made it.
    Snapshot,
    /// An index segment, by whoever stored what it lists.
    IndexSegment,
    /// An audit entry, by whoever did what it says.
    AuditEntry,
    /// A retirement, by whoever pruned.
    Retirement,
}

impl Purpose {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::Certificate => b"sheaf v1 signature: certificate",
            Self::Snapshot => b"sheaf v1 signature: snapshot",
            Self::IndexSegment => b"sheaf v1 signature: index segment",
            Self::AuditEntry => b"sheaf v1 signature: audit entry",
            Self::Retirement => b"sheaf v1 signature: retirement",
        }
    }

    fn message(self, hash: &[u8; 32]) -> Vec<u8> {
        [self.text(), hash].concat()
    }
}

/// A key that signs. It wipes itself and prints nothing.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// The key that belongs to a seed (the private key of RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &Secret) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }

    /// The public key, by which the key is known.
    pub fn id(&self) -> KeyId {
        KeyId::new(self.0.verifying_key().to_bytes())
    }

    /// Signs a message for a purpose.
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.sign_hash(purpose, blake3::hash(message).as_bytes())
    }

    /// Signs a message of which this is the BLAKE3.
    pub fn sign_hash(&self, purpose: Purpose, hash: &[u8; 32]) -> [u8; SIGNATURE_LENGTH] {
        self.0.sign(&purpose.message(hash)).to_bytes()
    }
}

/// Checks a signature.
///
/// # Errors
/// [`CryptoError::Signature`] when it is not that of this key, purpose and message, or the key is none.
pub fn verify(
    key: &KeyId,
    purpose: Purpose,
    message: &[u8],
    signature: &[u8; SIGNATURE_LENGTH],
) -> Result<(), CryptoError> {
    verify_hash(key, purpose, blake3::hash(message).as_bytes(), signature)
}

/// Checks the signature of a message of which this is the BLAKE3.
///
/// # Errors
/// As [`verify`].
pub fn verify_hash(
    key: &KeyId,
    purpose: Purpose,
    hash: &[u8; 32],
    signature: &[u8; SIGNATURE_LENGTH],
) -> Result<(), CryptoError> {
    let message = purpose.message(hash);
    let verify = || {
        let key = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| CryptoError::Signature)?;
        key.verify_strict(&message, &Signature::from_bytes(signature)).map_err(|_| CryptoError::Signature)
    };
    #[cfg(feature = "simulator")]
    let verify = || {
        let name = super::memo::name(&[b"signature", key.as_bytes(), &message, signature]);
        super::memo::remember(name, || verify().map(|()| [0; 32])).map(drop)
    };
    verify()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_message_verify() {
        let key = SigningKey::from_seed(&Secret::new([7; 32]));
        let other = SigningKey::from_seed(&Secret::new([8; 32]));
        let signature = key.sign(Purpose::Certificate, b"message");
        assert_eq!(verify(&key.id(), Purpose::Certificate, b"message", &signature), Ok(()));
        assert_eq!(verify(&key.id(), Purpose::Certificate, b"massage", &signature), Err(CryptoError::Signature));
        assert_eq!(verify(&other.id(), Purpose::Certificate, b"message", &signature), Err(CryptoError::Signature));
        for position in 0..SIGNATURE_LENGTH {
            let mut changed = signature;
            changed[position] ^= 0x10;
            assert_eq!(verify(&key.id(), Purpose::Certificate, b"message", &changed), Err(CryptoError::Signature));
        }
    }

    /// RFC 8032, section 7.1, test 1: the public key of its seed.
    #[test]
    fn the_public_key_is_that_of_the_rfc() {
        let seed =
            crate::ids::from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").expect("hex");
        let id = SigningKey::from_seed(&Secret::new(seed)).id();
        assert_eq!(id.to_string(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    }

    /// The point of order one signs nothing, whatever the signature.
    #[test]
    fn a_key_of_small_order_is_none() {
        let mut point = [0; 32];
        point[0] = 1;
        let mut signature = [0; SIGNATURE_LENGTH];
        signature[0] = 1;
        assert_eq!(
            verify(&KeyId::new(point), Purpose::Certificate, b"message", &signature),
            Err(CryptoError::Signature)
        );
    }
}
