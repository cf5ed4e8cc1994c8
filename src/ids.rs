//! Names of things: newtypes for every identifier and key that the repository stores.
//!
//! Always true here:
//! - An id is public: it may be printed, logged and sent. It is shown as lower-case hex.
//! - A [`ChunkKey`] is secret: it has no `Display`, its `Debug` shows nothing, and it wipes its bytes
//!   when it is dropped.
//! - Two kinds of id never compare or convert into each other by accident.

use std::fmt;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseIdError {
    /// The text does not have two hex digits for each byte of the id.
    Length {
        /// Hex digits that the id has.
        expected: usize,
        /// Characters that the text has.
        found: usize,
    },
    /// A character is not a lower-case hex digit.
    NotHex {
        /// Position in the text, counted in bytes from 0.
        position: usize,
    },
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "an id of {expected} hex digits was expected, the text has {found} characters")
            }
            Self::NotHex { position } => {
                write!(f, "a lower-case hex digit was expected at position {position} of the id")
            }
        }
    }
}

impl std::error::Error for ParseIdError {}

/// Writes `bytes` as lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads exactly `N` bytes of lower-case hex.
///
/// # Errors
/// [`ParseIdError`] when the length differs or a character is not a lower-case hex digit.
pub fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(ParseIdError::Length { expected: N * 2, found: digits.len() });
    }
    let value = |position: usize| match digits[position] {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ParseIdError::NotHex { position }),
    };
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = value(index * 2)? << 4 | value(index * 2 + 1)?;
    }
    Ok(bytes)
}

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Bytes in the id.
            pub const LENGTH: usize = $length;

            /// Takes the bytes as they are.
            pub const fn new(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The first eight hex digits: enough for a person, not for a machine.
            pub fn short(&self) -> String {
                to_hex(&self.0[..4])
            }

            /// Reads the id as it is shown.
            ///
            /// # Errors
            /// [`ParseIdError`] when the text is not exactly the id's hex digits.
            pub fn parse(text: &str) -> Result<Self, ParseIdError> {
                from_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }
    };
}

public_id! {
    /// Names a repository; chosen at random when it is made.
    RepositoryId, 16
}
public_id! {
    /// Names a chunk: a hash of its key, so that it says nothing of the content.
    ChunkId, 32
}
public_id! {
    /// Names any stored object whose name is the BLAKE3 of its bytes: packs, index segments, snapshots,
    /// key bundles.
    ObjectId, 32
}
public_id! {
    /// An X25519 public key to which snapshots are sealed.
    RecipientId, 32
}

public_id! {
    /// The identity of a key: the Ed25519 public key that its signatures are checked with.
    KeyId, 32
}

/// The key that seals one chunk, and at the same time the capability to read it.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkKey([u8; 32]);

impl ChunkKey {
    /// Bytes in the key.
    pub const LENGTH: usize = 32;

    /// Takes the bytes as they are.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes. The caller must not print or store them unsealed.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for ChunkKey {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader the compiler may remove the store above.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_other_text() {
        let id = ChunkId::new([0xa5; 32]);
        assert_eq!(ChunkId::parse(&id.to_string()), Ok(id));
        assert_eq!(from_hex::<2>("abc"), Err(ParseIdError::Length { expected: 4, found: 3 }));
        assert_eq!(from_hex::<2>("abCd"), Err(ParseIdError::NotHex { position: 2 }));
        assert_eq!(from_hex::<1>("é"), Err(ParseIdError::NotHex { position: 0 }));
    }

    #[test]
    fn a_chunk_key_shows_nothing() {
        assert_eq!(format!("{:?}", ChunkKey::new([7; 32])), "ChunkKey(secret)");
    }
}
