//! Fields at fixed offsets of fixed-size structures. Integers are little-endian ([MS-VHDX] §2.1).
//!
//! Always true here: the caller has the whole structure, and names fields by constants that lie inside of it. Each
//! structure's offsets are written down once, and both its reader and its writer use them.

use super::Guid;

/// The `N` bytes of a field.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// A field of 16 bits.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// A field of 32 bits.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// A field of 64 bits.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// A GUID.
pub(super) fn guid_at(bytes: &[u8], at: usize) -> Guid {
    Guid(array_at(bytes, at))
}

/// Writes a field.
pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Text in UTF-16 up to its first NUL. What is no text becomes the replacement character: this is for eyes only.
pub(super) fn text(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
