//! Keys that people print, keep in files and type: text with a checksum in every group (format-spec/keys.md, "Printed keys").
//!
//! Always true here:
//! - Letters of either case, and `o`, `i` and `l` for the digits that they look like, read the same; so do spaces and line ends
//!   between groups.
//! - A mistyped group is named by its number: each has a check of all that stands before it. A text that is wrong all the same gives
//!   another key, which opens nothing.

use super::Secret;
use crate::ids::RecipientId;
use zeroize::Zeroizing;

/// Crockford's base 32: no letter that looks like a digit.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS: usize = 8;
/// Bytes of the key in a group, and behind them one of check.
const DATA: usize = 4;
const GROUP_DIGITS: usize = (DATA + 1) * 8 / 5;

/// With what the text of a secret key begins.
pub const SECRET_PREFIX: &str = "SHEAF-KEY";
/// With what the text of a public key begins.
pub const PUBLIC_PREFIX: &str = "SHEAF-PUB";

/// Why a text is no printed key. None of them shows the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrintedError {
    /// It begins with something else.
    #[error("a printed key begins with {expected}")]
    Prefix {
        /// What was expected.
        expected: &'static str,
    },
    /// There are too few or too many groups.
    #[error("a printed key has {GROUPS} groups behind its beginning, this one has {found}")]
    Groups {
        /// How many there are.
        found: usize,
    },
    /// A group has too few or too many characters, or one that no group has, or its check does not fit.
    #[error("group {number} of the printed key is mistyped: {reason}")]
    Group {
        /// Which, from 1.
        number: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The check of a group: of the prefix and all bytes so far.
fn check(prefix: &str, bytes: &[u8]) -> u8 {
    let mut hasher = blake3::Hasher::new_derive_key("sheaf v1 2026-11 printed key");
    hasher.update(prefix.as_bytes()).update(bytes);
    hasher.finalize().as_bytes()[0]
}

fn encode(prefix: &str, key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + GROUPS * (GROUP_DIGITS + 1)));
    text.push_str(prefix);
    for group in 1..=GROUPS {
        let data = &key[(group - 1) * DATA..group * DATA];
        let check = check(prefix, &key[..group * DATA]);
        let number = data.iter().chain([&check]).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        text.push('-');
        for digit in (0..GROUP_DIGITS).rev() {
            text.push(char::from(DIGITS[(number >> (digit * 5) & 31) as usize]));
        }
    }
    text
}

fn digit(character: u8) -> Option<u64> {
    let character = match character.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    DIGITS.iter().position(|digit| *digit == character).map(|digit| digit as u64)
}

fn decode(prefix: &'static str, text: &str) -> Result<Secret, PrintedError> {
    let text = text.trim();
    let rest = text
        .get(..prefix.len())
        .filter(|start| start.eq_ignore_ascii_case(prefix))
        .and_then(|start| text.get(start.len()..))
        .ok_or(PrintedError::Prefix { expected: prefix })?;
    let groups = || {
        rest.split(|separator: char| separator == '-' || separator.is_whitespace()).filter(|group| !group.is_empty())
    };
    let found = groups().count();
    if found != GROUPS {
        return Err(PrintedError::Groups { found });
    }
    let mut key = Zeroizing::new([0; 32]);
    for (index, group) in groups().enumerate() {
        let wrong = |reason| PrintedError::Group { number: index + 1, reason };
        if group.len() != GROUP_DIGITS {
            return Err(wrong("it does not have 8 characters"));
        }
        let number = group.bytes().try_fold(0_u64, |number, character| Some(number << 5 | digit(character)?));
        let bytes = Zeroizing::new(number.ok_or_else(|| wrong("it has a character that no key has"))?.to_be_bytes());
        // Forty bits: the last five of eight bytes.
        let end = (index + 1) * DATA;
        key[end - DATA..end].copy_from_slice(&bytes[3..7]);
        if bytes[7] != check(prefix, &key[..end]) {
            return Err(wrong("its check does not fit"));
        }
    }
    Ok(Secret::new(*key))
}

/// The text of a secret key.
pub fn secret(key: &Secret) -> Zeroizing<String> {
    encode(SECRET_PREFIX, key.expose())
}

/// Reads the text of a secret key.
///
/// # Errors
/// [`PrintedError`].
pub fn read_secret(text: &str) -> Result<Secret, PrintedError> {
    decode(SECRET_PREFIX, text)
}

/// The text of a public key.
pub fn public(key: &RecipientId) -> String {
    encode(PUBLIC_PREFIX, key.as_bytes()).to_string()
}

/// Reads the text of a public key.
///
/// # Errors
/// [`PrintedError`].
pub fn read_public(text: &str) -> Result<RecipientId, PrintedError> {
    decode(PUBLIC_PREFIX, text).map(|key| RecipientId::new(*key.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Secret {
        Secret::new(std::array::from_fn(|index| index as u8 * 7))
    }

    #[test]
    fn texts_read_back_however_they_are_typed() {
        let text = secret(&key());
        assert!(include_str!("../../format-spec/keys.md").contains(text.as_str()), "keys.md does not show {}", *text);
        assert_eq!(read_secret(&text), Ok(key()));
        assert_eq!(
            read_secret(&format!(
                "\n {} \r\n",
                text.to_lowercase().replace('-', " - ").replacen("sheaf - key", "Sheaf-Key", 1)
            )),
            Ok(key())
        );
        assert_eq!(read_secret(&text.replace('1', "l").replace('0', "O")), Ok(key()));
        let public_key = RecipientId::new([0xff; 32]);
        assert_eq!(read_public(&public(&public_key)), Ok(public_key));
        assert_eq!(read_public(&text), Err(PrintedError::Prefix { expected: PUBLIC_PREFIX }));
    }

    #[test]
    fn a_mistyped_group_is_named() {
        let text = secret(&key());
        let groups: Vec<&str> = text.split('-').collect();
        for number in 1..=GROUPS {
            let mut mistyped: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            let group = &mut mistyped[number + 1];
            let first = if group.starts_with('Z') { 'Y' } else { 'Z' };
            group.replace_range(..1, &first.to_string());
            let found = read_secret(&mistyped.join("-"));
            assert!(matches!(found, Err(PrintedError::Group { number: found, .. }) if found == number), "{found:?}");
        }
        assert_eq!(read_secret(&groups[..9].join("-")), Err(PrintedError::Groups { found: 7 }));
        let short = text.replacen(groups[3], &groups[3][1..], 1);
        assert!(matches!(read_secret(&short), Err(PrintedError::Group { number: 2, .. })));
        let strange = text.replacen(groups[3], "u*******", 1);
        assert!(matches!(read_secret(&strange), Err(PrintedError::Group { number: 2, .. })));
        for nothing in ["", "SHEAF", "SHEAF-KEY", "ßheaf-key-1"] {
            assert!(read_secret(nothing).is_err(), "{nothing}");
        }
    }
}
