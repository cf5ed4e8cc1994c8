//! The signature behind an object: which key made it (format-spec/signature.md).
//!
//! Always true here:
//! - What is signed is everything before the block. Nothing in front of it knows that a block follows.
//! - Splitting proves nothing: the block is opened and verified by those who have the keys.

use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};

const STRUCTURE: &str = "signature";
/// Bytes of the sealed maker: a key's identity and a signature, and what sealing adds.
pub const MAKER_LENGTH: usize = 32 + 64 + 28;
/// Bytes of the length at the end of the block.
const END_LENGTH: usize = 4;
/// The longest block, in bytes, its own length included.
pub const MAX_BLOCK_LENGTH: u32 = 16 << 10;

/// A signature as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureBlock<'a> {
    /// `nonce ‖ ciphertext ‖ tag` of the identity of the key and the signature, for all who have the index key; associated data: the
    /// BLAKE3 of what is signed.
    pub maker: &'a [u8],
    /// The key's certificate, a [`super::object::SealedTo`] for those who keep the repository; the same associated data.
    pub certificate: &'a [u8],
}

impl<'a> SignatureBlock<'a> {
    /// Splits an object into what is signed, and the block.
    ///
    /// # Errors
    /// [`FormatError`] when there is no room for a block, or its length cannot be.
    pub fn split(object: &'a [u8]) -> Result<(&'a [u8], Self), FormatError> {
        let end = object.len().saturating_sub(END_LENGTH);
        let length = Reader::new(&object[end..]).u32("block length").within(STRUCTURE)?;
        let least = MAKER_LENGTH + END_LENGTH;
        let wrong = |expected| FormatError::field(STRUCTURE, "block length", expected, length.into());
        if length > MAX_BLOCK_LENGTH || (length as usize) < least {
            return Err(wrong("128 to 16384"));
        }
        let start = object.len().checked_sub(length as usize).ok_or_else(|| wrong("at most the object's bytes"))?;
        let (signed, block) = object.split_at(start);
        let (maker, rest) = block.split_at(MAKER_LENGTH);
        Ok((signed, Self { maker, certificate: &rest[..rest.len() - END_LENGTH] }))
    }

    /// The bytes of the block.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.maker.len() + self.certificate.len() + END_LENGTH;
        let mut writer = Writer::new();
        writer.bytes(self.maker).bytes(self.certificate).u32(u32::try_from(length).unwrap_or(u32::MAX));
        writer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_splits_off_again_and_one_that_cannot_be_is_refused() {
        let maker = [7; MAKER_LENGTH];
        let block = SignatureBlock { maker: &maker, certificate: b"certificate" };
        let object = [&b"object"[..], &block.encode()].concat();
        assert_eq!(SignatureBlock::split(&object), Ok((&b"object"[..], block.clone())));
        let empty = block.encode();
        assert_eq!(SignatureBlock::split(&empty), Ok((&b""[..], block)));
        for length in 0..empty.len() {
            assert!(SignatureBlock::split(&empty[empty.len() - length..]).is_err(), "{length}");
        }
        for length in [0, 127, 16_385, u32::MAX] {
            let mut wrong = vec![0; 20_000];
            wrong.extend_from_slice(&length.to_le_bytes());
            assert!(matches!(SignatureBlock::split(&wrong), Err(FormatError::Field { field: "block length", .. })));
        }
    }
}
