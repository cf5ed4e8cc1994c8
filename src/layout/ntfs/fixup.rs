//! Fix-ups: the last two bytes of each 512 of a record are a number that changes with each write, so that a torn write shows.
//! What belongs there lies in the record's update sequence array.
//!
//! Always true here: either all blocks bore the number and hold what belongs there, or the error says which one did not.
//!
//! Structure: Linux-NTFS project, "Fixup". The stride is 512 bytes whatever the sector size is (ntfs-3g, `NTFS_BLOCK_SIZE`).

use super::field::{array_at, part, u16_at};
use crate::layout::LayoutError;

/// Bytes that one entry of the array guards.
pub(super) const STRIDE: usize = 512;

/// Puts a record in order that begins at `origin`, in bytes of the volume. Its length is a multiple of [`STRIDE`].
///
/// # Errors
/// [`LayoutError::Malformed`]; some blocks may have been put in order.
pub(super) fn apply(bytes: &mut [u8], origin: u64) -> Result<(), LayoutError> {
    let start = usize::from(u16_at(bytes, 4).unwrap_or_default());
    let count = usize::from(u16_at(bytes, 6).unwrap_or_default());
    let blocks = bytes.len() / STRIDE;
    if count != blocks + 1 {
        return Err(LayoutError::malformed("the length of an update sequence array", origin + 6, blocks + 1, count));
    }
    // It lies in the first block and in front of that block's own last bytes.
    let array = part(bytes, start, count * 2).filter(|_| start >= 8 && start + count * 2 <= STRIDE - 2);
    let Some(array) = array.map(<[u8]>::to_vec) else {
        let expected = "a place in the first block of the record";
        return Err(LayoutError::malformed("the place of an update sequence array", origin + 4, expected, start));
    };
    let (entries, _) = array.as_chunks::<2>();
    let Some((number, entries)) = entries.split_first() else { return Ok(()) };
    for (index, (block, entry)) in bytes.as_chunks_mut::<STRIDE>().0.iter_mut().zip(entries).enumerate() {
        let Some(end) = block.last_chunk_mut::<2>() else { continue };
        if end != number {
            let at = origin + (index * STRIDE + STRIDE - 2) as u64;
            let hex = |bytes: [u8; 2]| format!("{:#06x}", u16::from_le_bytes(bytes));
            return Err(LayoutError::malformed("a fix-up of a record", at, hex(*number), hex(*end)));
        }
        *end = *entry;
    }
    Ok(())
}

/// True when the record begins with this signature.
pub(super) fn is_signed(bytes: &[u8], signature: &[u8; 4]) -> bool {
    array_at(bytes, 0) == Some(*signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut bytes = vec![7; 1024];
        bytes[4..8].copy_from_slice(&[48, 0, 3, 0]);
        bytes[48..54].copy_from_slice(&[9, 1, 5, 5, 6, 6]);
        bytes[510..512].copy_from_slice(&[9, 1]);
        bytes[1022..].copy_from_slice(&[9, 1]);
        bytes
    }

    #[test]
    fn a_torn_record_is_seen_and_a_sound_one_restored() {
        let mut bytes = record();
        apply(&mut bytes, 0).expect("sound");
        assert_eq!((&bytes[510..512], &bytes[1022..]), (&[5, 5][..], &[6, 6][..]));
        let mut bytes = record();
        bytes[1022] = 8;
        let error = apply(&mut bytes, 1000).expect_err("torn").to_string();
        assert_eq!(error, "a fix-up of a record at offset 2022: expected 0x0109, found 0x0108");
        for (at, value) in [(6, 2), (6, 4), (5, 2), (4, 2), (5, 255)] {
            let mut bytes = record();
            bytes[at] = value;
            apply(&mut bytes, 0).expect_err("no place for the array");
        }
    }
}
