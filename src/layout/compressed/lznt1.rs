//! LZNT1, the codec of NTFS's compression attribute ([MS-XCA] 2.5): chunks of 4 KiB, each of them with a header that says how
//! long it is, and of bytes and matches where it is compressed.
//!
//! Always true here: every chunk begins at a multiple of 4 KiB of the output, and its matches lie in itself.

use super::{CompressedError, repeat};

/// How many bytes of output a chunk has, other than the last.
const CHUNK: usize = 4096;

/// Bits of a chunk's header: how many bytes follow it, less one.
const LENGTH: u16 = 0x0fff;

/// A number of three bits, which is 3 always.
const SIGNATURE: u16 = 0x7000;
const SIGNATURE_IS: u16 = 0x3000;

/// The chunk is compressed.
const IS_COMPRESSED: u16 = 0x8000;

/// Decompresses the chunks of `input`, and returns how many bytes of `out` came out; what the others hold is unspecified, and
/// the caller has zeros there. A header of zeros ends it, as do the end of the input and a full buffer. A chunk that gives
/// less than 4 KiB and is followed by another has zeros behind it.
///
/// # Errors
/// [`CompressedError`] with the place in the input.
pub fn lznt1(input: &[u8], out: &mut [u8]) -> Result<usize, CompressedError> {
    let (mut at, mut written) = (0, 0_usize);
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let header = match rest {
            // A byte is left over where a header does not fit; what is compressed to less than its clusters has zeros behind
            // it.
            [] | [0] => return Ok(written),
            [_] => return Err(CompressedError::Ended { expected: "the header of a chunk", at: input.len() }),
            [low, high, ..] => u16::from_le_bytes([*low, *high]),
        };
        let start = written.next_multiple_of(CHUNK);
        if header == 0 || start >= out.len() {
            return Ok(written);
        }
        if header & SIGNATURE != SIGNATURE_IS {
            let found = format_args!("{header:#06x}");
            return Err(CompressedError::malformed("the header of a chunk", at, "a signature of 3", found));
        }
        let length = usize::from(header & LENGTH) + 1;
        let data = rest.get(2..2 + length);
        let data = data.ok_or(CompressedError::Ended { expected: "the bytes of a chunk", at: input.len() })?;
        let (before, chunk) = out.split_at_mut(start);
        before.get_mut(written..).unwrap_or_default().fill(0);
        let room = chunk.len().min(CHUNK);
        let chunk = chunk.split_at_mut(room).0;
        written = start
            + match header & IS_COMPRESSED {
                0 => stored(data, chunk, at)?,
                _ => compressed(data, chunk, at + 2)?,
            };
        at += 2 + length;
    }
}

/// A chunk that is stored as it is.
fn stored(data: &[u8], chunk: &mut [u8], at: usize) -> Result<usize, CompressedError> {
    let room = chunk.len();
    match chunk.get_mut(..data.len()) {
        Some(chunk) => {
            chunk.copy_from_slice(data);
            Ok(data.len())
        }
        None => Err(too_long(room, at, data.len())),
    }
}

/// A chunk that is compressed: a byte of flags, the lowest first, and for each flag a byte or a match of two bytes.
fn compressed(data: &[u8], chunk: &mut [u8], at: usize) -> Result<usize, CompressedError> {
    let (mut next, mut written) = (0, 0);
    while let Some(flags) = data.get(next) {
        next += 1;
        // Eight bytes as they are, which is what data that hardly compresses is made of.
        if *flags == 0
            && let Some(bytes) = data.get(next..).and_then(<[u8]>::first_chunk::<8>)
            && let Some(to) = chunk.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<8>)
        {
            *to = *bytes;
            (next, written) = (next + 8, written + 8);
            continue;
        }
        for flag in 0..8 {
            let rest = data.get(next..).unwrap_or_default();
            if flags >> flag & 1 == 0 {
                let Some(byte) = rest.first() else { return Ok(written) };
                let Some(to) = chunk.get_mut(written) else { return Err(too_long(written, at + next, written + 1)) };
                *to = *byte;
                (next, written) = (next + 1, written + 1);
                continue;
            }
            let [low, high, ..] = rest else {
                // Flags that stand for nothing are those behind the last byte.
                return if rest.is_empty() {
                    Ok(written)
                } else {
                    Err(CompressedError::Ended { expected: "a match within its chunk", at: at + data.len() })
                };
            };
            let pair = u16::from_le_bytes([*low, *high]);
            let length_bits = 16 - distance_bits(written);
            let length = usize::from(pair & ((1 << length_bits) - 1)) + 3;
            repeat(chunk, written, usize::from(pair >> length_bits) + 1, length, at + next)?;
            (next, written) = (next + 2, written + length);
        }
    }
    Ok(written)
}

#[cold]
fn too_long(room: usize, at: usize, found: usize) -> CompressedError {
    CompressedError::malformed("a chunk", at, format_args!("at most {room} bytes"), format_args!("{found} or more"))
}

/// How many of a match's 16 bits are the distance: as many as a distance needs that reaches back to the beginning of the
/// chunk, and at least 4.
const fn distance_bits(written: usize) -> u32 {
    let needed = usize::BITS - written.saturating_sub(1).leading_zeros();
    // 12 is reached at 2049 bytes, and a chunk has 4096.
    if needed < 4 {
        4
    } else if needed > 12 {
        12
    } else {
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of [MS-XCA] 3.3.
    const TUNE: &[u8] =
        b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# \
        E D E A F# F# G A A G F# E D D E F# E D D\0";
    const TUNE_COMPRESSED: [u8; 59] = [
        0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01, 0xa0, 0x45,
        0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4,
        0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00,
        0x04, 0x01, 0x18, 0x90, 0x00,
    ];

    fn all(input: &[u8], room: usize) -> Result<Vec<u8>, CompressedError> {
        let mut out = vec![0xaa; room];
        let written = lznt1(input, &mut out)?;
        out.truncate(written);
        Ok(out)
    }

    /// A chunk of this kind with these bytes in it.
    fn chunk(kind: u16, bytes: &[u8]) -> Vec<u8> {
        [&(kind | SIGNATURE_IS | (bytes.len() as u16 - 1)).to_le_bytes(), bytes].concat()
    }

    #[test]
    fn the_example_of_the_specification() {
        assert_eq!(TUNE.len(), 142);
        assert_eq!(all(&TUNE_COMPRESSED, 142).expect("sound"), TUNE);
        assert_eq!(all(&TUNE_COMPRESSED, 65536).expect("sound"), TUNE);
        let error = all(&TUNE_COMPRESSED, 141).expect_err("one byte too many");
        assert!(matches!(error, CompressedError::Malformed { .. }), "{error}");
    }

    #[test]
    fn a_header_of_zeros_ends_it_as_does_the_end() {
        for ends in [&[][..], &[0], &[0, 0], &[0, 0, 0xff, 0xff]] {
            assert_eq!(all(&[&TUNE_COMPRESSED, ends].concat(), 8192).expect("sound"), TUNE, "{ends:?}");
            assert_eq!(all(ends, 8192).expect("nothing"), []);
        }
        // A full buffer ends it as well, whatever follows.
        let stored = chunk(0, &[7; 4096]);
        assert_eq!(all(&[&stored[..], &[0xff, 0xff]].concat(), 4096).expect("sound"), [7; 4096]);
        assert!(all(&[&stored[..], &[0xff, 0xff]].concat(), 4097).is_err());
    }

    #[test]
    fn a_short_chunk_has_zeros_behind_it_when_another_follows() {
        for short in [&TUNE_COMPRESSED[..], &chunk(0, TUNE)] {
            let twice = all(&[short, short].concat(), 12288).expect("sound");
            assert_eq!((twice.len(), &twice[..142], &twice[4096..]), (4096 + 142, TUNE, TUNE));
            assert!(twice[142..4096].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_distance_takes_more_bits_the_further_a_chunk_is() {
        let bits = [(0, 4), (1, 4), (16, 4), (17, 5), (32, 5), (33, 6), (64, 6), (65, 7), (1024, 10), (1025, 11)];
        for (written, expected) in bits.into_iter().chain([(2048, 11), (2049, 12), (4095, 12), (4096, 12)]) {
            assert_eq!(distance_bits(written), expected, "{written}");
        }
        // One byte and the longest match there is make a chunk of zeros.
        assert_eq!(all(&chunk(IS_COMPRESSED, &[2, 0, 0xfc, 0x0f]), 4096).expect("sound"), [0; 4096]);
        assert!(all(&chunk(IS_COMPRESSED, &[2, 0, 0xfd, 0x0f]), 8192).is_err(), "longer than a chunk");
        // Eight bytes at a time, and a match that goes back to the first of them with 12 bits of distance.
        let mut bytes: Vec<u8> = (0..257_u16).flat_map(|group| [0, group as u8, 1, 2, 3, 4, 5, 6, 7]).collect();
        bytes.extend([1]);
        bytes.extend(((2056_u16 - 1) << 4 | 5).to_le_bytes());
        let out = all(&chunk(IS_COMPRESSED, &bytes), 4096).expect("sound");
        assert_eq!((out.len(), &out[2056..]), (2064, &[0, 1, 2, 3, 4, 5, 6, 7][..]));
    }

    #[test]
    fn what_is_not_sound_is_told_with_its_place() {
        let malformed = |input: &[u8], place: usize| match all(input, 8192) {
            Err(CompressedError::Malformed { at, .. }) => assert_eq!(at, place, "{input:?}"),
            other => panic!("{input:?}: {other:?}"),
        };
        malformed(&[0x01, 0x80, 0, 0], 0);
        malformed(&[0x01, 0x40, 0, 0], 0);
        malformed(&[&chunk(0, b"a")[..], &[0x01, 0xf0, 0, 0]].concat(), 3);
        // A match before the first byte, one that goes back too far, and bytes beyond the chunk.
        malformed(&chunk(IS_COMPRESSED, &[1, 0, 0]), 3);
        malformed(&chunk(IS_COMPRESSED, &[2, 7, 0, 0x10]), 4);
        malformed(&chunk(IS_COMPRESSED, &[2, 7, 0xfc, 0x0f, 7]), 6);
        for input in [&[1][..], &[0x38, 0xb0], &TUNE_COMPRESSED[..58], &chunk(IS_COMPRESSED, &[1, 0])] {
            let error = all(input, 8192).expect_err("it ends early");
            assert!(matches!(error, CompressedError::Ended { at, .. } if at == input.len()), "{input:?}: {error}");
        }
    }
}
