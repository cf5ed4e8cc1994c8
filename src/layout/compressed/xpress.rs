//! XPRESS with Huffman codes ([MS-XCA] 2.1 and 2.2), the codec of system compression with chunks of 4, 8 and 16 KiB.
//!
//! A block gives 64 KiB of output, the last one what is left. It begins with the lengths of 512 codewords, and goes on with
//! symbols: 256 of them are bytes, and each of the others is a match. The high half of a match's symbol, of 8 bits, is how
//! many bits the distance has behind its highest one, and the low half is the length, or says that it stands in bytes among
//! the words of bits.
//!
//! Always true here: the words of bits are loaded as early as the specification has them loaded when a byte among them is
//! read, which is with 16 to 31 bits left.

use super::bits::Bits;
use super::huffman::Code;
use super::{CompressedError, repeat};

/// How many bytes of output have codewords of their own.
const BLOCK: usize = 65536;

const SYMBOLS: usize = 512;

/// Where the symbols of matches begin.
const FIRST_MATCH: usize = 256;

/// The length in a symbol that says that bytes follow, and what the shortest match has.
const LONG: usize = 15;
const SHORTEST: usize = 3;

/// A byte that says that a longer number follows.
const LONGER: u8 = 255;

/// A decompressor, with its tables.
#[derive(Debug)]
pub struct Xpress {
    code: Code<SYMBOLS, 2048>,
}

impl Default for Xpress {
    fn default() -> Self {
        Self::new()
    }
}

impl Xpress {
    /// One that is ready.
    pub const fn new() -> Self {
        Self { code: Code::new() }
    }

    /// Fills `out` from `input`, which is one compressed buffer; of system compression, one chunk that takes fewer bytes than
    /// it gives (one that takes as many is stored as it is). What follows in `input` is not looked at.
    ///
    /// # Errors
    /// [`CompressedError`] with the place in the input; what `out` holds is unspecified then.
    pub fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), CompressedError> {
        let mut bits = Bits::new(input, 0);
        let mut at = 0;
        while at < out.len() {
            self.read_code(&mut bits)?;
            at = self.block(&mut bits, out, at)?;
            // The next block's code follows behind the words that are loaded.
            bits.refill()?;
            bits.give_back(16);
            bits.drop_loaded();
        }
        Ok(())
    }

    /// Reads the lengths of the codewords: four bits each, the lower ones first.
    fn read_code(&mut self, bits: &mut Bits<'_>) -> Result<(), CompressedError> {
        let at = bits.byte_position();
        let pairs = bits.bytes(SYMBOLS / 2, "the lengths of codewords")?;
        let mut lengths = [0; SYMBOLS];
        for ([even, odd], pair) in lengths.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            (*even, *odd) = (pair & 15, pair >> 4);
        }
        self.code.build(&lengths, "the lengths of codewords", at)
    }

    /// Decompresses a block, and returns where its output ends.
    fn block(&self, from: &mut Bits<'_>, out: &mut [u8], mut at: usize) -> Result<usize, CompressedError> {
        let mut bits = *from;
        let end = out.len().min(at.saturating_add(BLOCK));
        while at < end {
            bits.refill()?;
            let symbol = self.code.decode(&mut bits, "a symbol")?;
            // The symbol 256 at the end of all output says that it is the end; it is not read here.
            let Some(pair) = symbol.checked_sub(FIRST_MATCH) else {
                if let Some(byte) = out.get_mut(at) {
                    *byte = symbol as u8;
                }
                at += 1;
                continue;
            };
            let length = match pair % 16 {
                LONG => {
                    let length;
                    (length, bits) = long(bits)?;
                    length
                }
                short => short + SHORTEST,
            };
            let distance_bits = (pair / 16) as u32;
            let distance = 1_usize << distance_bits | bits.take(distance_bits) as usize;
            repeat(out, at, distance, length, bits.position())?;
            at += length;
        }
        bits.check()?;
        *from = bits;
        Ok(at)
    }
}

/// Reads a length that stands in bytes: one, or two where that is not enough, or four.
#[cold]
fn long(mut bits: Bits<'_>) -> Result<(usize, Bits<'_>), CompressedError> {
    const WHAT: &str = "the length of a match";
    bits.give_back(16);
    let [byte] = bits.array(WHAT)?;
    if byte != LONGER {
        return Ok((usize::from(byte) + LONG + SHORTEST, bits));
    }
    let at = bits.byte_position();
    let length = match u16::from_le_bytes(bits.array(WHAT)?) {
        0 => u32::from_le_bytes(bits.array(WHAT)?),
        length => length.into(),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length < LONG {
        return Err(CompressedError::malformed(WHAT, at, "at least 15", length));
    }
    Ok((length.saturating_add(SHORTEST), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of codewords as a block begins with them, and what follows.
    fn input(lengths: &[(usize, u8)], rest: &[u8]) -> Vec<u8> {
        let mut input = vec![0; SYMBOLS / 2];
        for (symbol, length) in lengths {
            input[symbol / 2] |= length << (symbol % 2 * 4);
        }
        input.extend(rest);
        input
    }

    fn decompressed(input: &[u8], length: usize) -> Result<Vec<u8>, CompressedError> {
        let mut out = vec![0xaa; length];
        Xpress::new().decompress(input, &mut out).map(|()| out)
    }

    /// The first example of [MS-XCA] 3.2.
    fn alphabet() -> Vec<u8> {
        let lengths: Vec<(usize, u8)> =
            (97..119).map(|symbol| (symbol, 5)).chain((119..123).chain([256]).map(|symbol| (symbol, 4))).collect();
        let rest = [0xd8, 0x52, 0x3e, 0xd7, 0x94, 0x11, 0x5b, 0xe9, 0x19, 0x5f, 0xf9, 0xd6, 0x7c, 0xdf, 0x8d, 4];
        let mut input = input(&lengths, &rest);
        input.extend([0; 4]);
        input
    }

    /// The second one, with a match of these bytes as its length.
    fn abc(length: &[u8]) -> Vec<u8> {
        let mut input = input(&[(97, 3), (98, 3), (99, 2), (256, 2), (287, 2)], &[0xa8, 0xdc, 0, 0]);
        input.extend(length);
        input
    }

    #[test]
    fn the_examples_of_the_specification() {
        assert_eq!(decompressed(&alphabet(), 26).expect("sound"), b"abcdefghijklmnopqrstuvwxyz");
        let input = abc(&[0xff, 0x26, 0x01]);
        assert_eq!(input.len(), 263);
        assert_eq!(decompressed(&input, 300).expect("sound"), b"abc".repeat(100));
    }

    #[test]
    fn lengths_stand_in_one_byte_or_two_or_four() {
        for (bytes, length) in [
            (&[0][..], 18),
            (&[254], 272),
            (&[255, 15, 0], 18),
            (&[255, 255, 255], 65538),
            (&[255, 0, 0, 0, 0, 1, 0], 65539),
            (&[255, 0, 0, 15, 0, 0, 0], 18),
        ] {
            let expected = b"abc".repeat(30000);
            let input = abc(bytes);
            assert_eq!(decompressed(&input, 3 + length).expect("sound"), expected[..3 + length], "{bytes:?}");
            assert!(decompressed(&input, 2 + length).is_err(), "a match ends behind the output");
            assert!(decompressed(&input[..input.len() - 1], 3 + length).is_err());
        }
        for bytes in
            [&[255, 14, 0][..], &[255, 0, 0, 0, 0, 0, 0], &[255, 0, 0, 14, 0, 0, 0], &[255, 0, 0, 255, 255, 255, 255]]
        {
            let error = decompressed(&abc(bytes), 20).expect_err("not sound");
            assert!(matches!(error, CompressedError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn each_64_kib_have_a_code_of_their_own() {
        // A byte and a match of length 65,535 fill the first block; the second one has a match that goes back into the first.
        let first = input(&[(98, 1), (256 + 15, 1)], &[0x00, 0x40, 0, 0, 0xff, 0xfc, 0xff]);
        let second = input(&[(99, 1), (256 + 10, 1)], &[0x00, 0x40, 0, 0]);
        let both = [first.clone(), second].concat();
        let mut expected = vec![98; 65536];
        assert_eq!(decompressed(&both, 65536).expect("sound"), expected);
        expected.push(99);
        expected.extend([99; 13]);
        assert_eq!(decompressed(&both, 65550).expect("sound"), expected);
        let error = decompressed(&first, 65537).expect_err("no second code");
        assert!(matches!(error, CompressedError::Ended { .. }), "{error}");
    }

    #[test]
    fn a_code_must_be_complete_and_every_bit_there() {
        assert!(decompressed(&input(&[(97, 1)], &[0; 8]), 1).is_err());
        assert!(decompressed(&input(&[], &[0; 8]), 1).is_err());
        assert!(decompressed(&input(&[(97, 1), (98, 1), (99, 1)], &[0; 8]), 1).is_err());
        assert_eq!(decompressed(&input(&[(97, 1), (98, 1)], &[0; 2]), 16).expect("sound"), [97; 16]);
        assert!(decompressed(&input(&[(97, 1), (98, 1)], &[0; 2]), 17).is_err());
        assert!(decompressed(&[0; 255], 1).is_err());
        assert_eq!(decompressed(&[], 0).expect("nothing is asked for"), []);
    }
}
