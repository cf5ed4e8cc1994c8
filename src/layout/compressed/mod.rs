//! Files that Windows compressed: the three codecs that NTFS volumes hold. [`lznt1`] is that of the compression attribute;
//! [`Xpress`] and [`Lzx`] are those of files that the overlay filter keeps (`compact /exe`, the system files of a compact
//! installation).
//!
//! Always true here:
//! - Any input ends with output or with an error, and the time goes with the length of input and output.
//! - Nothing is allocated but the words of an error, and the tables are as large for a hostile input as for a sound one.
//! - A match copies from the output of this call alone, so the result depends on the input and the output's length and on
//!   nothing that was decompressed before.

mod bits;
mod calls;
mod huffman;
mod lznt1;
mod lzx;
mod xpress;

pub use lznt1::lznt1;
pub use lzx::Lzx;
pub use xpress::Xpress;

/// Why compressed data cannot be decompressed. What the output buffer holds then is unspecified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressedError {
    /// The input ends in the middle.
    #[error("compressed data: expected {expected} at byte {at}, found the end of the input")]
    Ended {
        /// What was to follow.
        expected: &'static str,
        /// Where, in bytes of the input.
        at: usize,
    },
    /// The input says what it must not say.
    #[error("compressed data: {what} at byte {at}: expected {expected}, found {found}")]
    Malformed {
        /// Which part of the input.
        what: &'static str,
        /// Where it lies, in bytes of the input; near there, where parts are made of bits.
        at: usize,
        /// What a sound one says.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// More is asked for than one unit of this codec holds.
    #[error("compressed data: expected to fill at most {most} bytes, found a buffer of {found}")]
    Output {
        /// How many bytes there are at most.
        most: usize,
        /// How many were asked for.
        found: usize,
    },
}

impl CompressedError {
    fn malformed(
        what: &'static str,
        at: usize,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Malformed { what, at, expected: expected.to_string(), found: found.to_string() }
    }
}

/// How many bytes the fast way of [`repeat`] moves at once; it may write that many behind the match, where output is still to
/// come.
const STEP: usize = 8;

/// Repeats `length` bytes that begin `distance` before `at`, where the output continues; the two may overlap. `input_at` is
/// for the error.
///
/// # Errors
/// [`CompressedError::Malformed`] for a match that begins before the output or ends behind it.
#[inline]
fn repeat(out: &mut [u8], at: usize, distance: usize, length: usize, input_at: usize) -> Result<(), CompressedError> {
    let left = out.len().saturating_sub(at);
    if distance == 0 || distance > at || length > left {
        return Err(bad_match(at, left, distance, length, input_at));
    }
    let from = at - distance;
    if distance >= STEP && length + STEP <= left {
        let mut done = 0;
        while done < length {
            let Some(bytes) = out.get(from + done..).and_then(<[u8]>::first_chunk::<STEP>).copied() else { break };
            let Some(to) = out.get_mut(at + done..).and_then(<[u8]>::first_chunk_mut::<STEP>) else { break };
            *to = bytes;
            done += STEP;
        }
        return Ok(());
    }
    // What was repeated becomes part of what can be, so that the pieces double.
    let (mut done, mut piece) = (0, distance);
    while done < length {
        let count = piece.min(length - done);
        out.copy_within(from..from + count, at + done);
        done += count;
        piece += count;
    }
    Ok(())
}

#[cold]
fn bad_match(at: usize, left: usize, distance: usize, length: usize, input_at: usize) -> CompressedError {
    let expected = format_args!("one that begins in the {at} bytes of output before it and fits the {left} to come");
    let found = format_args!("{length} bytes from {distance} bytes back");
    CompressedError::malformed("a match", input_at, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_repeats_as_if_byte_by_byte() {
        for start in [1_usize, 2, 7, 8, 9, 40] {
            for distance in 1..=start {
                for length in 0..50 {
                    for behind in [0, 1, 7, 8, 30] {
                        let mut out: Vec<u8> = (0..start).map(|byte| byte as u8 + 1).collect();
                        let mut slow = out.clone();
                        (0..length).for_each(|_| slow.push(slow[slow.len() - distance]));
                        out.resize(start + length + behind, 0);
                        repeat(&mut out, start, distance, length, 0).expect("sound");
                        assert_eq!(out[..start + length], slow, "{start} {distance} {length} {behind}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_match_stays_in_the_output() {
        let mut out = [0; 20];
        assert!(repeat(&mut out, 5, 5, 15, 0).is_ok());
        for (at, distance, length) in
            [(5, 6, 1), (5, 0, 1), (5, 5, 16), (20, 1, 1), (21, 1, 1), (5, 1, usize::MAX), (5, usize::MAX, 1)]
        {
            let error = repeat(&mut out, at, distance, length, 77).expect_err("not sound");
            assert!(matches!(error, CompressedError::Malformed { at: 77, .. }), "{error}");
        }
    }
}
