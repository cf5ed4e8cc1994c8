//! Bits of little-endian words of 16 bits, the highest bit of a word first, with bytes in between: what XPRESS and LZX are
//! written in.
//!
//! Always true here:
//! - `count` bits of `buffer` are loaded, from its top; all bits below are zero.
//! - Behind the end of the input there are zeros to look at; that one of them was taken is an error, at the next
//!   [`Bits::refill`] or [`Bits::check`].

use super::CompressedError;

/// A reader of bits. Small enough to be handed on by value, which keeps it in registers where it matters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    input: &'a [u8],
    /// Where the next word, or byte, is loaded from.
    next: usize,
    buffer: u64,
    /// How many bits are loaded.
    count: u32,
    /// How many zeros from behind the end were loaded, a multiple of 16; they are the last of those that are loaded.
    beyond: u32,
}

impl<'a> Bits<'a> {
    /// What [`Bits::refill`] makes sure of.
    pub(super) const FILLED: u32 = 32;

    /// The bits of `input` from a byte on.
    pub(super) const fn new(input: &'a [u8], at: usize) -> Self {
        Self { input, next: at, buffer: 0, count: 0, beyond: 0 }
    }

    /// Where in the input the bits that were not taken begin; rounded down.
    pub(super) const fn position(&self) -> usize {
        self.next.saturating_sub(self.count.saturating_sub(self.beyond).div_ceil(8) as usize)
    }

    /// Loads [`Bits::FILLED`] bits or more.
    ///
    /// # Errors
    /// [`CompressedError::Ended`] when more bits were taken than there are.
    #[inline]
    pub(super) fn refill(&mut self) -> Result<(), CompressedError> {
        if self.count >= Self::FILLED {
            return Ok(());
        }
        match self.input.get(self.next..).and_then(<[u8]>::first_chunk::<4>) {
            Some(two_words) => {
                let two_words = u32::from_le_bytes(*two_words).rotate_left(16);
                self.buffer |= u64::from(two_words) << (Self::FILLED - self.count);
                self.next += 4;
                self.count += 32;
                Ok(())
            }
            None => {
                *self = self.refilled_at_end()?;
                Ok(())
            }
        }
    }

    #[cold]
    fn refilled_at_end(mut self) -> Result<Self, CompressedError> {
        self.check()?;
        while self.count < Self::FILLED {
            match self.input.get(self.next..).and_then(<[u8]>::first_chunk::<2>) {
                Some(word) => {
                    self.buffer |= u64::from(u16::from_le_bytes(*word)) << (48 - self.count);
                    self.next += 2;
                }
                None => self.beyond += 16,
            }
            self.count += 16;
        }
        Ok(self)
    }

    /// Checks that no more bits were taken than there are.
    ///
    /// # Errors
    /// [`CompressedError::Ended`].
    pub(super) const fn check(&self) -> Result<(), CompressedError> {
        if self.count < self.beyond {
            return Err(CompressedError::Ended { expected: "more bits", at: self.input.len() });
        }
        Ok(())
    }

    /// The next bits without taking them, at most 32; they are loaded.
    #[inline]
    pub(super) const fn peek(&self, count: u32) -> u32 {
        // In two steps, as none of 64 bits may be asked for as well.
        (self.buffer >> 32 >> (32 - count)) as u32
    }

    /// Takes bits that are loaded, at most 32.
    #[inline]
    pub(super) const fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count = self.count.saturating_sub(count);
    }

    /// The next bits, at most 32; they are loaded.
    #[inline]
    pub(super) const fn take(&mut self, count: u32) -> u32 {
        let value = self.peek(count);
        self.skip(count);
        value
    }

    /// Gives words back that were loaded early, so that at least `keep` bits stay and fewer than a word above that. Bytes
    /// that stand among the words are then next.
    pub(super) const fn give_back(&mut self, keep: u32) {
        let words = self.count.saturating_sub(keep) / 16;
        let zeros = if self.beyond / 16 < words { self.beyond / 16 } else { words };
        self.beyond -= zeros * 16;
        self.next = self.next.saturating_sub((words - zeros) as usize * 2);
        self.count -= words * 16;
        self.buffer &= !(u64::MAX >> self.count);
    }

    /// Forgets the bits that are loaded.
    pub(super) const fn drop_loaded(&mut self) {
        (self.buffer, self.count, self.beyond) = (0, 0, 0);
    }

    /// The next bytes that stand among the words; see [`Bits::give_back`].
    ///
    /// # Errors
    /// [`CompressedError::Ended`], which names them as `expected`.
    pub(super) fn bytes(&mut self, count: usize, expected: &'static str) -> Result<&'a [u8], CompressedError> {
        let bytes = self.input.get(self.next..).and_then(|rest| rest.get(..count));
        let bytes = bytes.ok_or(CompressedError::Ended { expected, at: self.input.len() })?;
        self.next += count;
        Ok(bytes)
    }

    /// As [`Bits::bytes`], as an array.
    ///
    /// # Errors
    /// As there.
    pub(super) fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], CompressedError> {
        let ended = CompressedError::Ended { expected, at: self.input.len() };
        self.bytes(N, expected)?.first_chunk::<N>().copied().ok_or(ended)
    }

    /// Where the next byte stands; see [`Bits::give_back`].
    pub(super) const fn byte_position(&self) -> usize {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_from_the_top_of_each_word() {
        let mut bits = Bits::new(&[0x34, 0x12, 0xcd, 0xab, 0x01, 0x80], 0);
        bits.refill().expect("there");
        assert_eq!((bits.peek(0), bits.peek(32)), (0, 0x1234_abcd));
        assert_eq!((bits.take(4), bits.take(8), bits.take(0), bits.take(8)), (1, 0x23, 0, 0x4a));
        bits.refill().expect("there");
        assert_eq!((bits.take(12), bits.take(1), bits.take(15)), (0xbcd, 1, 1));
        bits.check().expect("all of them, and no more");
        bits.refill().expect("zeros to look at");
        assert_eq!(bits.peek(32), 0);
        bits.skip(1);
        assert!(matches!(bits.check(), Err(CompressedError::Ended { at: 6, .. })));
    }

    #[test]
    fn bytes_stand_behind_the_words_that_are_needed() {
        let input = [0x00, 0x80, 0x00, 0x40, 7, 8, 9, 0x00, 0x20, 0x00, 0x10];
        let mut bits = Bits::new(&input, 0);
        bits.refill().expect("there");
        bits.skip(1);
        bits.refill().expect("there");
        bits.give_back(16);
        assert_eq!(bits.array("bytes").expect("there"), [7, 8, 9]);
        assert_eq!(bits.take(31), 0x4000);
        bits.refill().expect("there");
        assert_eq!(bits.peek(32), 0x2000_1000);
        bits.give_back(16);
        assert_eq!((bits.byte_position(), bits.peek(32)), (9, 0x2000_0000));
        bits.drop_loaded();
        assert!(matches!(bits.bytes(3, "three"), Err(CompressedError::Ended { expected: "three", at: 11 })));
        assert_eq!(bits.bytes(2, "two").expect("there"), [0, 0x10]);
    }

    #[test]
    fn the_last_byte_of_an_odd_input_is_a_byte() {
        let mut bits = Bits::new(&[0x00, 0x80, 5], 0);
        bits.refill().expect("zeros to look at");
        assert_eq!(bits.take(1), 1);
        bits.give_back(16);
        assert_eq!(bits.bytes(1, "one").expect("there"), [5]);
    }
}
