//! AES-256-GCM behind one seam (NIST SP 800-38D, 96-bit nonce, 128-bit tag).
//!
//! Always true here:
//! - Both engines give the same bytes; a test opens with each what the other sealed.
//! - A sealed text is `nonce(12) ‖ ciphertext ‖ tag(16)`; nonces are random, so one key may seal at most 2^32
//!   texts. Keys of chunks seal a handful; the keys of record kinds are bounded by the number of
//!   objects that a repository can hold.
//! - The caller's duty: associated data names what is sealed and where it belongs, so that no text
//!   can stand in for another.

use super::{CryptoError, random_bytes};

/// Bytes of a nonce.
pub const NONCE_LENGTH: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_LENGTH: usize = 16;
/// Bytes that sealing adds.
pub const OVERHEAD: usize = NONCE_LENGTH + TAG_LENGTH;

/// Seals `plaintext` under `key` into `nonce ‖ ciphertext ‖ tag`.
///
/// # Errors
/// [`CryptoError::Random`].
pub fn seal(key: &[u8; 32], associated: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut buffer = Vec::with_capacity(plaintext.len() + OVERHEAD);
    buffer.extend_from_slice(&[0; NONCE_LENGTH]);
    buffer.extend_from_slice(plaintext);
    buffer.extend_from_slice(&[0; TAG_LENGTH]);
    seal_buffer(key, associated, &mut buffer)?;
    Ok(buffer)
}

/// Seals in place: `buffer` has room for the nonce, then the plaintext, then room for the tag.
///
/// # Errors
/// [`CryptoError::TooShort`] when the room is missing; [`CryptoError::Random`].
pub fn seal_buffer(key: &[u8; 32], associated: &[u8], buffer: &mut [u8]) -> Result<(), CryptoError> {
    let nonce = random_bytes::<NONCE_LENGTH>()?;
    seal_with_nonce(key, nonce, associated, buffer)
}

/// As [`seal_buffer`], with a nonce that the caller chose: for known-answer tests, and for nothing else.
///
/// # Errors
/// [`CryptoError::TooShort`].
pub fn seal_with_nonce(
    key: &[u8; 32],
    nonce: [u8; NONCE_LENGTH],
    associated: &[u8],
    buffer: &mut [u8],
) -> Result<(), CryptoError> {
    let too_short = CryptoError::TooShort { expected: OVERHEAD, found: buffer.len() };
    let (nonce_room, rest) = buffer.split_first_chunk_mut::<NONCE_LENGTH>().ok_or_else(|| too_short.clone())?;
    let (text, tag_room) = rest.split_last_chunk_mut::<TAG_LENGTH>().ok_or(too_short)?;
    *nonce_room = nonce;
    *tag_room = engine::seal(key, &nonce, associated, text)?;
    Ok(())
}

/// Opens a sealed text in place and returns the plaintext as a part of `buffer`.
///
/// # Errors
/// [`CryptoError::TooShort`]; [`CryptoError::Authentication`], after which the buffer's content is unspecified.
pub fn open_buffer<'a>(key: &[u8; 32], associated: &[u8], buffer: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
    let too_short = CryptoError::TooShort { expected: OVERHEAD, found: buffer.len() };
    let (nonce, rest) = buffer.split_first_chunk_mut::<NONCE_LENGTH>().ok_or_else(|| too_short.clone())?;
    let (text, tag) = rest.split_last_chunk_mut::<TAG_LENGTH>().ok_or(too_short)?;
    engine::open(key, nonce, associated, text, tag)?;
    Ok(text)
}

/// Opens a sealed text into a vector of its own.
///
/// # Errors
/// As [`open_buffer`].
pub fn open(key: &[u8; 32], associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut buffer = sealed.to_vec();
    let length = open_buffer(key, associated, &mut buffer)?.len();
    buffer.copy_within(NONCE_LENGTH..NONCE_LENGTH + length, 0);
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(feature = "aws-lc")]
use fast as engine;
#[cfg(not(feature = "aws-lc"))]
use portable as engine;

#[cfg(feature = "aws-lc")]
mod fast {
    //! The engine for bulk data: AWS-LC.
    use super::{CryptoError, NONCE_LENGTH, TAG_LENGTH};
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, CryptoError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoError::Authentication)?;
        Ok(LessSafeKey::new(key))
    }

    pub(super) fn seal(
        key: &[u8; 32],
        nonce: &[u8; NONCE_LENGTH],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = cipher(key)?
            .seal_in_place_separate_tag(nonce, Aad::from(associated), text)
            .map_err(|_| CryptoError::Authentication)?;
        tag.as_ref().try_into().map_err(|_| CryptoError::Authentication)
    }

    pub(super) fn open(
        key: &[u8; 32],
        nonce: &[u8; NONCE_LENGTH],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        cipher(key)?
            .open_in_place_separate_tag(nonce, Aad::from(associated), tag, text)
            .map(drop)
            .map_err(|_| CryptoError::Authentication)
    }
}

#[cfg(any(test, not(feature = "aws-lc")))]
mod portable {
    //! The engine in plain Rust, for systems on which AWS-LC does not build.
    use super::{CryptoError, NONCE_LENGTH, TAG_LENGTH};
    use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};

    pub(super) fn seal(
        key: &[u8; 32],
        nonce: &[u8; NONCE_LENGTH],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LENGTH], CryptoError> {
        let tag = Aes256Gcm::new(&(*key).into())
            .encrypt_inout_detached(&(*nonce).into(), associated, text.into())
            .map_err(|_| CryptoError::Authentication)?;
        Ok(tag.into())
    }

    pub(super) fn open(
        key: &[u8; 32],
        nonce: &[u8; NONCE_LENGTH],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), CryptoError> {
        Aes256Gcm::new(&(*key).into())
            .decrypt_inout_detached(&(*nonce).into(), associated, text.into(), &(*tag).into())
            .map_err(|_| CryptoError::Authentication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_opens_what_the_other_sealed() {
        let (key, nonce) = ([3; 32], [9; NONCE_LENGTH]);
        for length in [0_usize, 1, 15, 16, 17, 4096, 65_537] {
            let plain: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let (mut one, mut two) = (plain.clone(), plain.clone());
            let tag_one = engine::seal(&key, &nonce, b"aad", &mut one).expect("sealed");
            let tag_two = portable::seal(&key, &nonce, b"aad", &mut two).expect("sealed");
            assert_eq!((&one, tag_one), (&two, tag_two));
            portable::open(&key, &nonce, b"aad", &mut one, &tag_one).expect("opened");
            engine::open(&key, &nonce, b"aad", &mut two, &tag_two).expect("opened");
            assert_eq!((&one, &two), (&plain, &plain));
        }
    }

    /// NIST CAVP gcmEncryptExtIV256, the case with key and nonce of zeros and one block of zeros
    /// (test case 14 of McGrew and Viega's GCM specification).
    #[test]
    fn the_published_vector_holds() {
        let mut buffer = [0; NONCE_LENGTH + 16 + TAG_LENGTH];
        seal_with_nonce(&[0; 32], [0; 12], b"", &mut buffer).expect("sealed");
        assert_eq!(
            crate::ids::to_hex(&buffer[NONCE_LENGTH..]),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
        );
    }

    #[test]
    fn any_changed_bit_is_found() {
        let sealed = seal(&[1; 32], b"where", b"what").expect("sealed");
        assert_eq!(open(&[1; 32], b"where", &sealed).expect("opened"), b"what");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&[1; 32], b"where", &changed), Err(CryptoError::Authentication));
        }
        assert_eq!(open(&[1; 32], b"elsewhere", &sealed), Err(CryptoError::Authentication));
        for length in 0..OVERHEAD {
            assert!(matches!(open(&[1; 32], b"where", &sealed[..length]), Err(CryptoError::TooShort { .. })));
        }
    }
}
