//! Sealing to a public key: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//!
//! Always true here:
//! - Only a 32-byte content key is sealed this way; what it protects is sealed under it with `aead`.
//! - `info` names the purpose; `associated` names the object, so that a sealed key cannot be moved.

use super::{CryptoError, Secret};
use crate::ids::RecipientId;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

/// Bytes of an encapsulated key.
pub const ENCAPSULATED_LENGTH: usize = 32;
/// Bytes of a sealed content key: 32 and the tag.
pub const SEALED_LENGTH: usize = 48;

/// A content key sealed to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The encapsulated key (`enc` in RFC 9180).
    pub encapsulated: [u8; ENCAPSULATED_LENGTH],
    /// The sealed content key (`ct` in RFC 9180).
    pub ciphertext: [u8; SEALED_LENGTH],
}

/// A new key pair: the private key, and the public one.
///
/// # Errors
/// [`CryptoError::Random`].
pub fn generate() -> Result<(Secret, RecipientId), CryptoError> {
    let seed = Secret::random()?;
    let (private, public) = X25519HkdfSha256::derive_keypair(seed.expose());
    let private = private.to_bytes().as_slice().try_into().map_err(|_| CryptoError::InvalidPublicKey)?;
    let public = public.to_bytes().as_slice().try_into().map_err(|_| CryptoError::InvalidPublicKey)?;
    Ok((Secret::new(private), RecipientId::new(public)))
}

/// The public key of a private one.
///
/// # Errors
/// [`CryptoError::InvalidPublicKey`].
pub fn public_key(private: &Secret) -> Result<RecipientId, CryptoError> {
    type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
    let private = PrivateKey::from_bytes(private.expose()).map_err(|_| CryptoError::InvalidPublicKey)?;
    let public = X25519HkdfSha256::sk_to_pk(&private).to_bytes();
    Ok(RecipientId::new(public.as_slice().try_into().map_err(|_| CryptoError::InvalidPublicKey)?))
}

/// Random bytes for one sealing: the stream that BLAKE3 makes of 32 bytes of the operating system, which are asked for before, since
/// hpke takes no error from a source of random numbers.
struct Drawn(blake3::OutputReader);

impl Drawn {
    fn new() -> Result<Self, CryptoError> {
        Ok(Self(blake3::Hasher::new_keyed(Secret::random()?.expose()).finalize_xof()))
    }
}

impl hpke::rand_core::TryRng for Drawn {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(buffer);
        Ok(())
    }
}

impl hpke::rand_core::TryCryptoRng for Drawn {}

/// Seals `content_key` so that only the holder of `recipient`'s private key can open it.
///
/// # Errors
/// [`CryptoError::InvalidPublicKey`], [`CryptoError::Random`].
pub fn seal(
    recipient: &RecipientId,
    info: &[u8],
    associated: &[u8],
    content_key: &Secret,
) -> Result<SealedKey, CryptoError> {
    type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
    let public = PublicKey::from_bytes(recipient.as_bytes()).map_err(|_| CryptoError::InvalidPublicKey)?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        info,
        content_key.expose(),
        associated,
        &mut Drawn::new()?,
    )
    .map_err(|_| CryptoError::InvalidPublicKey)?;
    Ok(SealedKey {
        encapsulated: encapsulated.to_bytes().as_slice().try_into().map_err(|_| CryptoError::InvalidPublicKey)?,
        ciphertext: ciphertext.as_slice().try_into().map_err(|_| CryptoError::InvalidPublicKey)?,
    })
}

/// Opens a sealed content key with the recipient's private key.
///
/// # Errors
/// [`CryptoError::Authentication`] when it was sealed to another key, or changed.
pub fn open(private: &Secret, info: &[u8], associated: &[u8], sealed: &SealedKey) -> Result<Secret, CryptoError> {
    #[cfg(feature = "simulator")]
    {
        let name = [private.expose(), info, associated, sealed.encapsulated.as_slice(), sealed.ciphertext.as_slice()];
        let opened = super::memo::remember(super::memo::name(&name), || {
            open_anew(private, info, associated, sealed).map(|secret| *secret.expose())
        });
        opened.map(Secret::new)
    }
    #[cfg(not(feature = "simulator"))]
    open_anew(private, info, associated, sealed)
}

fn open_anew(private: &Secret, info: &[u8], associated: &[u8], sealed: &SealedKey) -> Result<Secret, CryptoError> {
    type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
    type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;
    let private = PrivateKey::from_bytes(private.expose()).map_err(|_| CryptoError::InvalidPublicKey)?;
    let encapsulated = Encapsulated::from_bytes(&sealed.encapsulated).map_err(|_| CryptoError::Authentication)?;
    let opened = zeroize::Zeroizing::new(
        hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            info,
            &sealed.ciphertext,
            associated,
        )
        .map_err(|_| CryptoError::Authentication)?,
    );
    Ok(Secret::new(opened.as_slice().try_into().map_err(|_| CryptoError::Authentication)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_opens_and_nothing_can_be_moved() {
        let (private, public) = generate().expect("random");
        let (other, _) = generate().expect("random");
        let content = Secret::random().expect("random");
        let sealed = seal(&public, b"purpose", b"object", &content).expect("sealed");
        assert_eq!(open(&private, b"purpose", b"object", &sealed), Ok(content));
        assert_eq!(open(&other, b"purpose", b"object", &sealed), Err(CryptoError::Authentication));
        assert_eq!(open(&private, b"another", b"object", &sealed), Err(CryptoError::Authentication));
        assert_eq!(open(&private, b"purpose", b"another", &sealed), Err(CryptoError::Authentication));
        let mut changed = sealed.clone();
        changed.ciphertext[3] ^= 1;
        assert_eq!(open(&private, b"purpose", b"object", &changed), Err(CryptoError::Authentication));
    }

    #[test]
    fn a_low_order_point_is_no_recipient() {
        let content = Secret::new([1; 32]);
        assert_eq!(seal(&RecipientId::new([0; 32]), b"", b"", &content), Err(CryptoError::InvalidPublicKey));
    }
}
