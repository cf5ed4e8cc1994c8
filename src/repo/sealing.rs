//! Texts sealed to a public key (format-spec/object.md): whoever writes them need not be able to read others.
//!
//! Always true here: each purpose has an `info` of its own, so that what was sealed for one opens for no other.

use crate::crypto::recipient::{self, SealedKey};
use crate::crypto::{CryptoError, Secret, aead};
use crate::format::object::SealedTo;
use crate::ids::RecipientId;
use zeroize::Zeroizing;

/// What a text is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The operator's part of a snapshot.
    OperatorPart,
    /// The card of a key bundle.
    KeyCard,
    /// The certificate of whoever made an object.
    Maker,
    /// The record of an audit entry.
    AuditEntry,
    /// Who holds a session.
    Holder,
}

impl Purpose {
    const fn info(self) -> &'static [u8] {
        match self {
            Self::OperatorPart => b"sheaf v1 snapshot operator key",
            Self::KeyCard => b"sheaf v1 key card",
            Self::Maker => b"sheaf v1 maker",
            Self::AuditEntry => b"sheaf v1 audit entry",
            Self::Holder => b"sheaf v1 session holder",
        }
    }
}

/// Seals a text to a public key; `associated` is authenticated with it and not stored.
pub(super) fn seal_to(
    recipient: &RecipientId,
    purpose: Purpose,
    associated: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let key = Secret::random()?;
    let SealedKey { encapsulated, ciphertext } = recipient::seal(recipient, purpose.info(), associated, &key)?;
    let sealed = aead::seal(key.expose(), associated, plain)?;
    Ok(SealedTo { encapsulated, ciphertext, sealed: &sealed }.encode())
}

/// Opens a text that was sealed to the public key of one of these.
pub(super) fn open_with<'a>(
    privates: impl Iterator<Item = &'a Secret>,
    purpose: Purpose,
    associated: &[u8],
    sealed: &SealedTo<'_>,
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let key = SealedKey { encapsulated: sealed.encapsulated, ciphertext: sealed.ciphertext };
    let mut opened = privates.map(|private| recipient::open(private, purpose.info(), associated, &key));
    let key = opened.find_map(Result::ok).ok_or(CryptoError::Authentication)?;
    aead::open(key.expose(), associated, sealed.sealed).map(Zeroizing::new)
}
