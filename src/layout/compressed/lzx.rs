//! LZX as WIM files and system compression have it: each chunk of at most 32 KiB stands alone ([MS-PATCH] describes LZX DELTA, which
//! differs in what is said below).
//!
//! A chunk is of blocks: verbatim, with aligned offsets, or uncompressed. A block's size is 32 KiB where one bit says so, and a number
//! of 16 bits otherwise. There is no header that says whether the operands of x86 calls were translated; they always were, for a file
//! of 12,000,000 bytes whatever its size. Lengths of codewords are told as differences to those of the block before, in the same chunk.
//!
//! Always true here: nothing of a chunk is left when the next one begins: neither the lengths of codewords nor the recent distances.

use super::bits::Bits;
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

    /// Fills `out`, at most 32 KiB, from `input`, which is one compressed chunk that takes fewer bytes than it gives (one that takes
    /// as many is stored as it is). What follows in `input` is not looked at.
    ///
    /// # Errors
    /// [`CompressedError`] with the place in the input; what `out` holds is unspecified then. [`CompressedError::Output`] when more
    /// is asked for than a chunk has.
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
        bits: &mut Bits<'_>,
        out: &mut [u8],
        mut at: usize,
        end: usize,
        recent: &mut [usize; RECENT],
    ) -> Result<(), CompressedError> {
        // Matches end with their block.
        let out = out.get_mut(..end).unwrap_or_default();
        while at < end {
            bits.refill()?;
            let symbol = self.main.decode(bits, "a symbol")?;
            let Some(pair) = symbol.checked_sub(BYTES) else {
                if let Some(byte) = out.get_mut(at) {
                    *byte = symbol as u8;
                }
                at += 1;
                continue;
            };
            let length = match pair % 8 {
                LONG => LONG + SHORTEST + self.long.decode(bits, "the length of a match")?,
                short => short + SHORTEST,
            };
            let distance = match pair / 8 {
                slot @ 0..RECENT => {
                    recent.swap(0, slot);
                    recent[0]
                }
                slot => {
                    bits.refill()?;
                    let distance = self.distance::<IS_ALIGNED>(bits, slot)?;
                    *recent = [distance, recent[0], recent[1]];
                    distance
                }
            };
            repeat(out, at, distance, length, bits.position())?;
            at += length;
        }
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

/// Reads an uncompressed block: bits up to the end of a word, at least one of them, then the recent distances, then the bytes. A byte
/// more makes the number even.
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

/// The size of file that operands of calls are translated for.
const TRANSLATED_SIZE: i32 = 12_000_000;

/// The byte of a call with a distance of four bytes.
const CALL: u8 = 0xe8;

/// At the end of a chunk this many bytes are never translated.
const UNTRANSLATED: usize = 10;

/// Makes the targets of x86 calls distances again, which the compressor had made places, so that calls of the same place are alike.
fn untranslate(out: &mut [u8]) {
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
