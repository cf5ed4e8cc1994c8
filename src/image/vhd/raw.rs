//! Bytes of a VHD that nobody has checked yet: reading them from the file, taking fields out, the checksum.
//!
//! Always true here: nothing is read that the file does not reach, and nothing is believed.

use super::super::container::FileOffset;
use super::error::VhdError;
use crate::disk::{DiskOffset, ReadAt};

/// Fills `buffer` with the bytes of a structure.
///
/// # Errors
/// [`VhdError::Truncated`] when the file ends before, [`VhdError::Read`].
pub(super) fn read(
    file: &dyn ReadAt,
    offset: FileOffset,
    structure: &'static str,
    buffer: &mut [u8],
) -> Result<(), VhdError> {
    let needed = buffer.len() as u64;
    if offset.0.checked_add(needed).is_none_or(|end| end > file.size()) {
        return Err(VhdError::Truncated { structure, offset, needed, size: file.size() });
    }
    // The file is a disk like any other here, and its offsets are that disk's.
    file.read_at(DiskOffset(offset.0), buffer).map_err(|source| VhdError::Read { structure, offset, source })
}

/// The bytes of a field. Callers pass offsets that are fixed and inside of the structure.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// Sets the bytes of a field.
pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// The ones' complement of the sum of all bytes but those of the checksum at `checksum` ("Checksum Calculation").
pub(super) fn sum(bytes: &[u8], checksum: usize) -> u32 {
    let add = |sum: u32, byte: &u8| sum.wrapping_add(u32::from(*byte));
    !bytes[checksum + 4..].iter().fold(bytes[..checksum].iter().fold(0, add), add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_must_lie_in_the_file() {
        let file = vec![1; 10];
        let mut two = [0; 2];
        read(&file, FileOffset(8), "thing", &mut two).expect("inside");
        assert_eq!(two, [1; 2]);
        for offset in [9, 10, u64::MAX] {
            let error = read(&file, FileOffset(offset), "thing", &mut two).expect_err("outside").to_string();
            assert_eq!(error, format!("the thing at file offset {offset} needs 2 bytes, but the file ends at 10"));
        }
    }

    #[test]
    fn the_checksum_leaves_itself_out() {
        let mut bytes = [1; 20];
        assert_eq!(sum(&bytes, 8), !16);
        put(&mut bytes, 8, &[0xff; 4]);
        assert_eq!(sum(&bytes, 8), !16);
        assert_eq!(field::<2>(&bytes, 7), [1, 0xff]);
    }
}
