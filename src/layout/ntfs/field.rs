//! Integers at places of a structure. All of NTFS is little-endian.
//!
//! Always true here: a place outside of the bytes gives `None`.

/// The bytes `at` a place.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// A 16-bit integer.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

/// A 32-bit integer.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// A 64-bit integer.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// A stretch of `length` bytes.
pub(super) fn part(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// True when UTF-16 bytes spell this ASCII text, letters without regard to case.
pub(super) fn spells(utf16: &[u8], text: &str) -> bool {
    let (units, rest) = utf16.as_chunks::<2>();
    rest.is_empty()
        && units.len() == text.len()
        && units.iter().zip(text.bytes()).all(|([low, high], letter)| *high == 0 && low.eq_ignore_ascii_case(&letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_not_there() {
        assert_eq!(u16_at(&[1, 2, 3], 1), Some(0x0302));
        assert_eq!(u16_at(&[1, 2, 3], 2), None);
        assert_eq!(u64_at(&[0; 8], usize::MAX), None);
        assert_eq!(part(&[0; 8], 1, usize::MAX), None);
        assert!(spells(b"$\0j\0", "$J") && !spells(b"$\0j\0", "$") && !spells(b"$\0j\x01", "$J"));
    }
}
