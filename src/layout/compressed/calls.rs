//! Calls of x86 code in what LZX compressed: the compressor makes the distance of each call a place, so that calls of one
//! place are alike, and this makes places distances again ([MS-PATCH], E8 call translation; in WIM files the size of file is
//! fixed).
//!
//! Always true here: what is looked at depends on the bytes of one chunk alone, and each byte is looked at once.

/// The size of file that operands of calls are translated for.
const TRANSLATED_SIZE: i32 = 12_000_000;

/// The byte of a call with a distance of four bytes.
const CALL: u8 = 0xe8;

/// At the end of a chunk this many bytes are never translated.
const UNTRANSLATED: usize = 10;

/// Makes the places in a chunk that calls lead to distances again.
pub(super) fn untranslate(out: &mut [u8]) {
    let end = out.len().saturating_sub(UNTRANSLATED);
    let mut from = 0;
    while let Some(found) = out.get(from..end).and_then(|bytes| bytes.iter().position(|byte| *byte == CALL)) {
        let at = from + found;
        if let (Ok(place), Some(operand)) =
            (i32::try_from(at), out.get_mut(at + 1..).and_then(<[u8]>::first_chunk_mut::<4>))
        {
            let target = i32::from_le_bytes(*operand);
            // A target behind the end of that file was written as what its distance lacks to the file's size.
            if target < 0 && target >= -place {
                *operand = (target + TRANSLATED_SIZE).to_le_bytes();
            } else if (0..TRANSLATED_SIZE).contains(&target) {
                *operand = (target - place).to_le_bytes();
            }
        }
        from = at + 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_calls_become_distances() {
        let call = |target: i32| [&[CALL][..], &target.to_le_bytes()].concat();
        for (place, target, distance) in [
            (0, 5, 5),
            (7, 5, -2),
            (7, 11_999_999, 11_999_992),
            (7, 12_000_000, 12_000_000),
            (7, -7, 11_999_993),
            (7, -1, 11_999_999),
            (7, -8, -8),
            (7, i32::MIN, i32::MIN),
            (7, i32::MAX, i32::MAX),
        ] {
            let mut out = [&vec![1; place][..], &call(target), &[1; 6]].concat();
            untranslate(&mut out);
            assert_eq!(out, [&vec![1; place][..], &call(distance), &[1; 6]].concat(), "{place} {target}");
            // In the last ten bytes no call begins.
            let mut out = [&vec![1; place][..], &call(target), &[1; 5]].concat();
            untranslate(&mut out);
            assert_eq!(out[place..place + 5], call(target));
        }
        // The operand of a call is no call, and the byte behind it may be.
        let mut out = [&call(0xe8e8)[..], &call(5), &[1; 9]].concat();
        untranslate(&mut out);
        assert_eq!(out, [&call(0xe8e8)[..], &call(0), &[1; 9]].concat());
        for length in 0..=10 {
            let mut out = vec![CALL; length];
            untranslate(&mut out);
            assert_eq!(out, vec![CALL; length]);
        }
    }
}
