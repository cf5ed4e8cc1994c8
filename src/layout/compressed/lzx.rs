//! LZX as WIM files and system compression have it: each chunk of at most 32 KiB stands alone ([MS-PATCH] describes LZX
//! DELTA, which differs in what is said below).
//!
//! A chunk is of blocks: verbatim, with aligned offsets, or uncompressed. A block's size is 32 KiB where one bit says so, and
//! a number of 16 bits otherwise. There is no header that says whether the operands of x86 calls were translated; they always
//! were, for a file of 12,000,000 bytes whatever its size. Lengths of codewords are told as differences to those of the block
//! before, in the same chunk.
//!
//! Always true here: nothing of a chunk is left when the next one begins: neither the lengths of codewords nor the recent
//! distances.

use super::bits::Bits;
use super::calls::untranslate;
use super::huffman::Code;
use super::{CompressedError, repeat};

/// How many bytes a chunk gives at most.
const WINDOW: usize = 32768;

/// How many symbols there are for how far a match lies back: enough for the window.
const SLOTS: usize = 30;

/// The main code: bytes, and for each slot eight lengths.
const BYTES: usize = 256;
const MAIN: usize = BYTES + 8 * SLOTS;

/// The code for longer lengths, and the length in the main code's symbol that says that one follows.
const LENGTHS: usize = 249;
const LONG: usize = 7;
const SHORTEST: usize = 2;

/// The code for the lengths of codewords: 17 differences, and three ways to say that many are alike.
const DIFFERENCES: usize = 20;
const ZEROS: usize = 17;
const MANY_ZEROS: usize = 18;
const ALIKE: usize = 19;

/// The code for the three lowest bits of a distance, in blocks with aligned offsets.
const ALIGNED: usize = 8;

/// The slots below this name one of the distances that were used last.
const RECENT: usize = 3;

/// The kinds of blocks.
const VERBATIM: u32 = 1;
const WITH_ALIGNED: u32 = 2;
const UNCOMPRESSED: u32 = 3;

/// A decompressor, with its tables.
#[derive(Debug)]
pub struct Lzx {
    main: Code<MAIN, 2048>,
    main_lengths: [u8; MAIN],
    long: Code<LENGTHS, 1024>,
    long_lengths: [u8; LENGTHS],
    aligned: Code<ALIGNED, 128>,
    differences: Code<DIFFERENCES, 256>,
}

impl Default for Lzx {
    fn default() -> Self {
        Self::new()
    }
}

impl Lzx {
    /// One that is ready.
    pub const fn new() -> Self {
        Self {
            main: Code::new(),
            main_lengths: [0; MAIN],
            long: Code::new(),
            long_lengths: [0; LENGTHS],
            aligned: Code::new(),
            differences: Code::new(),
        }
    }

    /// Fills `out`, at most 32 KiB, from `input`, which is one compressed chunk that takes fewer bytes than it gives (one
    /// that takes as many is stored as it is). What follows in `input` is not looked at.
    ///
    /// # Errors
    /// [`CompressedError`] with the place in the input; what `out` holds is unspecified then. [`CompressedError::Output`]
    /// when more is asked for than a chunk has.
    pub fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), CompressedError> {
        if out.len() > WINDOW {
            return Err(CompressedError::Output { most: WINDOW, found: out.len() });
        }
        self.main_lengths.fill(0);
        self.long_lengths.fill(0);
        let mut recent = [1; RECENT];
        let mut bits = Bits::new(input, 0);
        let mut at = 0;
        while at < out.len() {
            bits.refill()?;
            let kind = bits.take(3);
            let size = if bits.take(1) == 1 { WINDOW } else { bits.take(16) as usize };
            let left = out.len() - at;
            if size == 0 || size > left {
                let expected = format_args!("1 to {left} bytes");
                return Err(CompressedError::malformed("the size of a block", bits.position(), expected, size));
            }
            let end = at + size;
            match kind {
                VERBATIM => {
                    self.read_codes(&mut bits)?;
                    self.block::<false>(&mut bits, out, at, end, &mut recent)?;
                }
                WITH_ALIGNED => {
                    self.read_aligned(&mut bits)?;
                    self.read_codes(&mut bits)?;
                    self.block::<true>(&mut bits, out, at, end, &mut recent)?;
                }
                UNCOMPRESSED => uncompressed(&mut bits, out.get_mut(at..end).unwrap_or_default(), &mut recent)?,
                _ => return Err(CompressedError::malformed("a block", bits.position(), "a kind of 1 to 3", kind)),
            }
            at = end;
        }
        bits.check()?;
        untranslate(out);
        Ok(())
    }

    /// Reads the code of the lowest bits of distances: a length of three bits for each.
    fn read_aligned(&mut self, bits: &mut Bits<'_>) -> Result<(), CompressedError> {
        let mut lengths = [0; ALIGNED];
        bits.refill()?;
        for length in &mut lengths {
            *length = bits.take(3) as u8;
        }
        self.aligned.build(&lengths, "the code of aligned offsets", bits.position())
    }

    /// Reads the codes of a block: the main one in two parts, and that of longer lengths.
    fn read_codes(&mut self, bits: &mut Bits<'_>) -> Result<(), CompressedError> {
        let (bytes, matches) = self.main_lengths.split_at_mut(BYTES);
        for lengths in [bytes, matches, &mut self.long_lengths] {
            read_lengths(bits, &mut self.differences, lengths)?;
        }
        self.main.build(&self.main_lengths, "the main code", bits.position())?;
        self.long.build(&self.long_lengths, "the code of lengths", bits.position())
    }

    /// Decompresses a block that is not an uncompressed one, from `at` to `end` of the output.
    fn block<const IS_ALIGNED: bool>(
        &self,
        from: &mut Bits<'_>,
        out: &mut [u8],
        mut at: usize,
        end: usize,
        recent: &mut [usize; RECENT],
    ) -> Result<(), CompressedError> {
        let mut bits = *from;
        // Matches end with their block.
        let out = out.get_mut(..end).unwrap_or_default();
        while at < end {
            bits.refill()?;
            let symbol = self.main.decode(&mut bits, "a symbol")?;
            let Some(pair) = symbol.checked_sub(BYTES) else {
                if let Some(byte) = out.get_mut(at) {
                    *byte = symbol as u8;
                }
                at += 1;
                continue;
            };
            let length = match pair % 8 {
                LONG => LONG + SHORTEST + self.long.decode(&mut bits, "the length of a match")?,
                short => short + SHORTEST,
            };
            let distance = match pair / 8 {
                slot @ 0..RECENT => {
                    recent.swap(0, slot);
                    recent[0]
                }
                slot => {
                    bits.refill()?;
                    let distance = self.distance::<IS_ALIGNED>(&mut bits, slot)?;
                    *recent = [distance, recent[0], recent[1]];
                    distance
                }
            };
            repeat(out, at, distance, length, bits.position())?;
            at += length;
        }
        *from = bits;
        Ok(())
    }

    /// Reads a distance that is not one of the recent ones. Pairs of slots have a bit more each.
    #[inline]
    fn distance<const IS_ALIGNED: bool>(&self, bits: &mut Bits<'_>, slot: usize) -> Result<usize, CompressedError> {
        let count = (slot / 2).saturating_sub(1) as u32;
        let base = (2 + slot % 2) << count;
        let more = match count {
            3.. if IS_ALIGNED => {
                let high = (bits.take(count - 3) as usize) << 3;
                high | self.aligned.decode(bits, "the lowest bits of a distance")?
            }
            _ => bits.take(count) as usize,
        };
        // The first distances of the slots are shifted by those that are named as recent.
        Ok(base + more - (RECENT - 1))
    }
}

/// Reads lengths of codewords, which are told by how much they are below those that stand there, modulo 17.
fn read_lengths(
    bits: &mut Bits<'_>,
    code: &mut Code<DIFFERENCES, 256>,
    lengths: &mut [u8],
) -> Result<(), CompressedError> {
    const WHAT: &str = "the lengths of codewords";
    let mut own = [0; DIFFERENCES];
    for length in &mut own {
        bits.refill()?;
        *length = bits.take(4) as u8;
    }
    code.build(&own, "the code of the lengths of codewords", bits.position())?;
    let mut rest = lengths.iter_mut();
    while let Some(length) = rest.as_slice().first().copied() {
        bits.refill()?;
        let below = |difference: usize| (17 + length - difference as u8) % 17;
        let (count, value) = match code.decode(bits, WHAT)? {
            ZEROS => (4 + bits.take(4), 0),
            MANY_ZEROS => (20 + bits.take(5), 0),
            ALIKE => {
                let count = 4 + bits.take(1);
                bits.refill()?;
                match code.decode(bits, WHAT)? {
                    difference @ 0..ZEROS => (count, below(difference)),
                    other => return Err(CompressedError::malformed(WHAT, bits.position(), "a difference", other)),
                }
            }
            difference => (1, below(difference)),
        };
        let left = rest.len();
        if count as usize > left {
            return Err(CompressedError::malformed(WHAT, bits.position(), format_args!("at most {left} more"), count));
        }
        rest.by_ref().take(count as usize).for_each(|length| *length = value);
    }
    Ok(())
}

/// Reads an uncompressed block: bits up to the end of a word, at least one of them, then the recent distances, then the
/// bytes. A byte more makes the number even.
fn uncompressed(bits: &mut Bits<'_>, out: &mut [u8], recent: &mut [usize; RECENT]) -> Result<(), CompressedError> {
    bits.refill()?;
    bits.give_back(1);
    bits.skip(1);
    bits.check()?;
    bits.drop_loaded();
    for distance in recent {
        let bytes = bits.array("the recent distances of an uncompressed block")?;
        *distance = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    }
    out.copy_from_slice(bits.bytes(out.len(), "the bytes of an uncompressed block")?);
    if out.len() % 2 == 1 {
        // Nothing needs it where the chunk ends.
        let _ = bits.bytes(1, "padding");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits as LZX has them.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        word: u32,
        count: u32,
    }

    impl Writer {
        fn put(&mut self, value: usize, count: u32) -> &mut Self {
            for bit in (0..count).rev() {
                self.word = self.word << 1 | (value >> bit & 1) as u32;
                self.count += 1;
                if self.count == 16 {
                    self.bytes.extend((self.word as u16).to_le_bytes());
                    (self.word, self.count) = (0, 0);
                }
            }
            self
        }

        /// Fills a word, with a bit at least.
        fn pad(&mut self) -> &mut Self {
            self.put(0, 16 - self.count)
        }

        fn block(&mut self, kind: u32, size: usize) -> &mut Self {
            match size {
                WINDOW => self.put(kind as usize, 3).put(1, 1),
                _ => self.put(kind as usize, 3).put(0, 1).put(size, 16),
            }
        }

        /// The lengths of codewords, without ways to say that many are alike: each difference takes four bits or five.
        fn lengths(&mut self, lengths: &[u8], before: &[u8]) -> &mut Self {
            (0..DIFFERENCES).for_each(|symbol| {
                self.put(if symbol < 12 { 4 } else { 5 }, 4);
            });
            for (length, before) in lengths.iter().zip(before) {
                let symbol = usize::from((17 + before - length) % 17);
                if symbol < 12 {
                    self.put(symbol, 4)
                } else {
                    self.put(symbol + 12, 5)
                };
            }
            self
        }

        /// The codes of a block, given as symbols of three bits.
        fn codes(&mut self, codes: &Codes, before: &Codes) -> &mut Self {
            self.lengths(&codes.main[..BYTES], &before.main[..BYTES]);
            self.lengths(&codes.main[BYTES..], &before.main[BYTES..]).lengths(&codes.long, &before.long)
        }

        fn done(&self) -> Vec<u8> {
            let mut last = Self { bytes: self.bytes.clone(), word: self.word, count: self.count };
            if last.count > 0 {
                last.pad();
            }
            last.bytes
        }
    }

    struct Codes {
        main: [u8; MAIN],
        long: [u8; LENGTHS],
    }

    /// Eight symbols of the main code, which are 0 to 7 in their order then, and two longer lengths, which are 0 and 1.
    fn codes(main: [usize; 8], long: &[usize]) -> Codes {
        let mut codes = none();
        main.iter().for_each(|symbol| codes.main[*symbol] = 3);
        long.iter().for_each(|symbol| codes.long[*symbol] = 1);
        codes
    }

    fn none() -> Codes {
        Codes { main: [0; MAIN], long: [0; LENGTHS] }
    }

    /// These bytes and matches, each a distance and a length.
    fn repeated(bytes: &[u8], matches: &[(usize, usize)]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for (distance, length) in matches {
            (0..*length).for_each(|_| out.push(out[out.len() - distance]));
        }
        out
    }

    /// The symbol of a match.
    const fn pair(slot: usize, length: usize) -> usize {
        BYTES + slot * 8 + length - SHORTEST
    }

    fn decompressed(input: &[u8], length: usize) -> Result<Vec<u8>, CompressedError> {
        let mut out = vec![0xaa; length];
        Lzx::new().decompress(input, &mut out).map(|()| out)
    }

    #[test]
    fn uncompressed_blocks_begin_with_a_word_and_have_an_even_length() {
        let mut writer = Writer::default();
        writer.block(UNCOMPRESSED, 3).pad();
        assert_eq!(writer.bytes, [0x00, 0x60, 0x00, 0x30]);
        writer.bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'a', b'b', b'c']);
        assert_eq!(decompressed(&writer.done(), 3).expect("sound, without the padding"), b"abc");
        writer.bytes.push(0);
        writer.block(UNCOMPRESSED, 2).pad().bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'd', b'e']);
        let input = writer.done();
        assert_eq!(decompressed(&input, 5).expect("sound"), b"abcde");
        for short in 0..input.len() {
            assert!(decompressed(&input[..short], 5).is_err(), "{short}");
        }
    }

    #[test]
    fn recent_distances_are_those_of_the_matches_and_of_uncompressed_blocks() {
        let mut writer = Writer::default();
        writer.block(UNCOMPRESSED, 8).pad().bytes.extend([2, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0]);
        writer.bytes.extend(b"abcdefgh");
        let codes = codes([97, 98, pair(0, 2), pair(1, 2), pair(2, 2), pair(3, 2), pair(4, 3), pair(5, 2)], &[]);
        writer.block(VERBATIM, 17).codes(&codes, &none());
        // What R0 to R2 are after each: 2 5 8, then 5 2 8, then 8 2 5.
        writer.put(2, 3).put(3, 3).put(4, 3);
        // New ones, of 1 and of 4 + 1 - 2: 1 8 2, then 3 1 8.
        writer.put(5, 3).put(6, 3).put(1, 1);
        // 1 3 8, then 8 3 1, then a new one of 6 + 1 - 2.
        writer.put(3, 3).put(4, 3).put(7, 3).put(1, 1);
        let expected = repeated(b"abcdefgh", &[(2, 2), (5, 2), (8, 2), (1, 2), (3, 3), (1, 2), (8, 2), (5, 2)]);
        assert_eq!(decompressed(&writer.done(), 25).expect("sound"), expected);
        // A distance of an uncompressed block that is none.
        for wrong in [0, 9, 0xff] {
            let mut input = writer.done();
            input[4] = wrong;
            assert!(matches!(decompressed(&input, 25), Err(CompressedError::Malformed { .. })), "{wrong}");
        }
    }

    #[test]
    fn aligned_offsets_and_longer_lengths_and_a_second_block() {
        let mut writer = Writer::default();
        let first = codes([97, 98, 99, 100, 101, 102, pair(8, 2), pair(8, 9)], &[0, 248]);
        writer.block(WITH_ALIGNED, 280);
        [1, 2, 0, 0, 0, 0, 0, 2].into_iter().for_each(|length| {
            writer.put(length, 3);
        });
        writer.codes(&first, &none());
        (0..14).for_each(|byte| {
            writer.put(byte % 6, 3);
        });
        // The three bits of slot 8 are the aligned code's: 16 + 0 - 2 and 16 + 1 - 2. Lengths of 9 and of 257.
        writer.put(7, 3).put(0, 1).put(0, 1);
        writer.put(7, 3).put(1, 1).put(2, 2);
        // The next block's codes are told as differences, the recent distances stay, and there is no aligned code: 16 + 5 - 2.
        let second = codes([97, 98, 99, 100, 101, 102, pair(0, 2), pair(8, 2)], &[3, 4]);
        writer.block(VERBATIM, 4).codes(&second, &first);
        writer.put(6, 3).put(7, 3).put(5, 3);
        let expected = repeated(b"abcdefabcdefab", &[(14, 9), (15, 257), (15, 2), (19, 2)]);
        assert_eq!(decompressed(&writer.done(), 284).expect("sound"), expected);
    }

    #[test]
    fn what_is_not_sound_is_refused() {
        let refused = |writer: &mut Writer| {
            let mut input = writer.done();
            input.extend([0; 1000]);
            match decompressed(&input, 100) {
                Err(CompressedError::Malformed { what, .. }) => what,
                other => panic!("{other:?}"),
            }
        };
        for kind in [0, 4, 5, 6, 7] {
            assert_eq!(refused(Writer::default().block(kind, 100)), "a block");
        }
        for size in [0, 101, WINDOW] {
            assert_eq!(refused(Writer::default().block(VERBATIM, size)), "the size of a block");
        }
        assert_eq!(refused(Writer::default().block(WITH_ALIGNED, 9).put(1, 3)), "the code of aligned offsets");
        assert_eq!(refused(Writer::default().block(VERBATIM, 9).put(1, 4)), "the code of the lengths of codewords");
        let mut incomplete = none();
        incomplete.main[7] = 1;
        assert_eq!(refused(Writer::default().block(VERBATIM, 9).codes(&incomplete, &none())), "the main code");
        incomplete.main[8] = 1;
        incomplete.long[8] = 1;
        assert_eq!(refused(Writer::default().block(VERBATIM, 9).codes(&incomplete, &none())), "the code of lengths");
        // No symbols at all are a code that may not be used.
        assert_eq!(refused(Writer::default().block(VERBATIM, 9).codes(&none(), &none())), "a symbol");
        let without_lengths = codes([97, 98, 99, 100, 101, 102, pair(8, 2), pair(0, 9)], &[]);
        let writer = &mut Writer::default();
        writer.block(VERBATIM, 20).codes(&without_lengths, &none()).put(0, 3).put(6, 3);
        assert_eq!(refused(writer), "the length of a match");
        // A match that ends behind its block, though not behind the output.
        let writer = &mut Writer::default();
        writer.block(VERBATIM, 2).codes(&codes([97, 98, 99, 100, 101, 102, 103, pair(0, 2)], &[]), &none());
        assert_eq!(refused(writer.put(0, 3).put(7, 3)), "a match");
        // More zeros than there are lengths to come, and a repetition of something that is no difference.
        let lengths = |symbols: [usize; 2]| {
            let mut writer = Writer::default();
            writer.block(VERBATIM, 9);
            (0..DIFFERENCES).for_each(|symbol| {
                writer.put(usize::from(symbols.contains(&symbol)), 4);
            });
            writer
        };
        let mut zeros = lengths([ZEROS, MANY_ZEROS]);
        (0..5).for_each(|_| {
            zeros.put(1, 1).put(31, 5);
        });
        assert_eq!(refused(zeros.put(1, 1).put(31, 5)), "the lengths of codewords");
        assert_eq!(refused(lengths([ZEROS, ALIKE]).put(1, 1).put(0, 1).put(0, 1)), "the lengths of codewords");
        let too_large = Lzx::new().decompress(&[], &mut [0; WINDOW + 1]);
        assert!(matches!(too_large, Err(CompressedError::Output { most: WINDOW, found: 32769 })));
        assert_eq!(decompressed(&[], 0).expect("nothing is asked for"), []);
    }
}
