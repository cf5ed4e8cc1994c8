//! Fields at fixed offsets of the structures of a disk. Integers are little-endian.
//!
//! Always true here: a field that lies behind the end of the bytes reads as zeros; nothing stops at it. Callers have the whole
//! structure, and name fields by offsets that lie inside of it.

/// The `N` bytes at an offset.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk().copied()).unwrap_or([0; N])
}

/// One byte.
pub(super) fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
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

/// Text in UTF-16 up to its first NUL, or `None` where there is none. What is no text becomes the replacement character: this is
/// for eyes only.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    (!units.is_empty()).then(|| String::from_utf16_lossy(&units))
}

/// Writes a GUID in its usual text form. The first three groups are little-endian integers, the other two are bytes in order.
pub(super) fn write_guid(f: &mut std::fmt::Formatter<'_>, guid: &[u8; 16]) -> std::fmt::Result {
    let [.., rest0, rest1, c0, c1, c2, c3, c4, c5] = guid;
    write!(f, "{:08x}-{:04x}-{:04x}-{rest0:02x}{rest1:02x}-", u32_at(guid, 0), u16_at(guid, 4), u16_at(guid, 6))?;
    [c0, c1, c2, c3, c4, c5].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The bytes of a GUID that is written as one number, in the order in which a disk holds them.
pub(super) const fn guid(text: u128) -> [u8; 16] {
    let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7] = text.to_be_bytes();
    [a3, a2, a1, a0, b1, b0, c1, c0, d0, d1, d2, d3, d4, d5, d6, d7]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_behind_the_end_are_zeros() {
        assert_eq!(u16_at(&[1, 2, 3], 1), 0x0302);
        assert_eq!(u16_at(&[1, 2, 3], 2), 0);
        assert_eq!(u64_at(&[1; 8], usize::MAX), 0);
    }

    #[test]
    fn text_ends_at_its_nul() {
        assert_eq!(utf16(b"a\0b\0\0\0c\0").as_deref(), Some("ab"));
        assert_eq!(utf16(b"\0\0c\0"), None);
        assert_eq!(utf16(&[0, 0xd8, b'x', 0]).as_deref(), Some("\u{fffd}x"));
    }
}
