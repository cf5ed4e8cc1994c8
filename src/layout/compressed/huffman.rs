//! Canonical prefix codes of at most 16 bits: shorter ones come first, and those of one length in the order of their symbols.
//!
//! Always true here: a code is complete, so that any bits begin with one of its codewords, or it is empty and gives no symbol.

use super::CompressedError;
use super::bits::Bits;

/// The longest codeword there is, in bits.
pub(super) const LONGEST: u32 = 16;

/// How many numbers of [`LONGEST`] bits there are: a codeword of n bits takes 2^(16 - n) of them.
const SPACE: u32 = 1 << LONGEST;

/// A code for symbols below `SYMBOLS`. Codewords that are not longer than the logarithm of `ENTRIES`, a power of two, are
/// looked up at once; the others, which are rare, are found by their length.
#[derive(Debug)]
pub(super) struct Code<const SYMBOLS: usize, const ENTRIES: usize> {
    /// For the bits that come next, the symbol times 16, and the length of its codeword; 0 where it is longer.
    entries: [u16; ENTRIES],
    /// The symbols in the order of their codewords.
    sorted: [u16; SYMBOLS],
    /// For each length, the codewords of that length.
    groups: [Group; LONGEST as usize + 1],
}

/// The codewords of one length.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    /// The first of them, with zeros behind it up to [`LONGEST`] bits.
    first: u32,
    /// What is behind the last one, likewise.
    end: u32,
    /// Which symbol in the order of codewords is the first one's.
    index: usize,
}

impl<const SYMBOLS: usize, const ENTRIES: usize> Code<SYMBOLS, ENTRIES> {
    /// The longest codeword that is looked up at once. A length and a symbol share 16 bits.
    const AT_ONCE: u32 = {
        assert!(ENTRIES.is_power_of_two() && ENTRIES.ilog2() <= 15 && SYMBOLS <= 4096);
        ENTRIES.ilog2()
    };

    /// An empty code.
    pub(super) const fn new() -> Self {
        Self {
            entries: [0; ENTRIES],
            sorted: [0; SYMBOLS],
            groups: [Group { first: 0, end: 0, index: 0 }; LONGEST as usize + 1],
        }
    }

    /// Makes it the code whose codewords have these lengths; 0 for a symbol that does not occur. `what` and `at` are for the
    /// error.
    ///
    /// # Errors
    /// [`CompressedError::Malformed`] when the codewords do not fill the space or take more than it, or one is too long. No
    /// codewords at all are an empty code.
    pub(super) fn build(
        &mut self,
        lengths: &[u8; SYMBOLS],
        what: &'static str,
        at: usize,
    ) -> Result<(), CompressedError> {
        let mut counts = [0_u32; LONGEST as usize + 1];
        for length in lengths {
            match counts.get_mut(usize::from(*length)) {
                Some(count) => *count += 1,
                None => return Err(CompressedError::malformed(what, at, "at most 16 bits", length)),
            }
        }
        let mut next = [0_usize; LONGEST as usize + 1];
        let (mut taken, mut index) = (0_u32, 0_usize);
        for (length, (count, (group, next))) in
            (0..).zip(counts.iter().zip(self.groups.iter_mut().zip(&mut next))).skip(1)
        {
            let end = taken.saturating_add(count << (LONGEST - length));
            *group = Group { first: taken, end, index };
            *next = index;
            (taken, index) = (end, index + *count as usize);
        }
        if taken != SPACE && taken != 0 {
            let found = format_args!("codewords that take {taken}");
            let expected = format_args!("codewords that take {SPACE} parts of {SPACE}");
            return Err(CompressedError::malformed(what, at, expected, found));
        }
        for (symbol, length) in (0..).zip(lengths).filter(|(_, length)| **length != 0) {
            let Some(next) = next.get_mut(usize::from(*length)) else { continue };
            if let Some(place) = self.sorted.get_mut(*next) {
                *place = symbol;
            }
            *next += 1;
        }
        self.fill(&counts);
        Ok(())
    }

    /// Fills the entries from the sorted symbols.
    fn fill(&mut self, counts: &[u32; LONGEST as usize + 1]) {
        let (mut entries, mut symbols) = (self.entries.as_mut_slice(), self.sorted.iter());
        for (length, count) in (0..=Self::AT_ONCE).zip(counts).skip(1) {
            let same = 1_usize << (Self::AT_ONCE - length);
            for symbol in symbols.by_ref().take(*count as usize) {
                let Some((now, later)) = entries.split_at_mut_checked(same) else { return };
                now.fill(symbol << 4 | length as u16);
                entries = later;
            }
        }
        entries.fill(0);
    }

    /// Takes a codeword and gives its symbol. At least [`LONGEST`] bits are loaded; `what` is for the error.
    ///
    /// # Errors
    /// [`CompressedError::Malformed`] when the code is empty.
    #[inline]
    pub(super) fn decode(&self, bits: &mut Bits<'_>, what: &'static str) -> Result<usize, CompressedError> {
        let entry = self.entries.get(bits.peek(Self::AT_ONCE) as usize).copied().unwrap_or(0);
        if entry != 0 {
            bits.skip(u32::from(entry & 15));
            return Ok(usize::from(entry >> 4));
        }
        match self.decode_long(bits.peek(LONGEST)) {
            Some((symbol, length)) => {
                bits.skip(length);
                Ok(symbol)
            }
            None => Err(CompressedError::malformed(what, bits.position(), "a symbol", "a code without any")),
        }
    }

    /// The symbol that these bits begin with, and the length of its codeword.
    #[cold]
    fn decode_long(&self, ahead: u32) -> Option<(usize, u32)> {
        for (length, group) in (0..).zip(&self.groups).skip(Self::AT_ONCE as usize + 1) {
            if ahead < group.end {
                let index = group.index + (ahead.saturating_sub(group.first) >> (LONGEST - length)) as usize;
                return self.sorted.get(index).map(|symbol| (usize::from(*symbol), length));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codewords by the rule itself: count up, and append a zero for each step in length.
    fn codewords(lengths: &[u8]) -> Vec<(usize, u32, u32)> {
        let (mut all, mut code) = (Vec::new(), 0_u32);
        for length in 1..=LONGEST {
            code <<= 1;
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, own)| u32::from(**own) == length) {
                all.push((symbol, code, length));
                code += 1;
            }
        }
        all
    }

    fn decodes<const ENTRIES: usize>(lengths: &[u8; 20]) {
        let mut code = Code::<20, ENTRIES>::new();
        code.build(lengths, "a code", 0).expect("complete");
        for (symbol, codeword, length) in codewords(lengths) {
            for behind in [0, u32::MAX] {
                let ahead = codeword << (32 - length) | (behind >> length);
                let input = ahead.rotate_left(16).to_le_bytes();
                let mut bits = Bits::new(&input, 0);
                bits.refill().expect("there");
                assert_eq!(code.decode(&mut bits, "a symbol").expect("complete"), symbol);
                bits.skip(32 - length);
                bits.check().expect("it took the codeword's bits");
                bits.refill().expect("zeros to look at");
                bits.skip(1);
                assert!(bits.check().is_err(), "it took no fewer");
            }
        }
    }

    #[test]
    fn codewords_of_all_lengths_are_found_at_once_or_by_their_length() {
        let long = [3, 16, 1, 2, 5, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0];
        let flat = [4, 4, 4, 4, 0, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 0];
        let two = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        for lengths in [long, flat, two] {
            decodes::<2>(&lengths);
            decodes::<128>(&lengths);
            decodes::<2048>(&lengths);
            decodes::<32768>(&lengths);
        }
    }

    #[test]
    fn a_code_is_complete_or_empty() {
        let mut code = Code::<4, 16>::new();
        for lengths in [[1, 0, 0, 0], [1, 1, 1, 0], [2, 2, 2, 0], [16, 1, 2, 3], [1, 2, 3, 17], [255; 4]] {
            let error = code.build(&lengths, "a code", 9).expect_err("not complete");
            assert!(matches!(error, CompressedError::Malformed { at: 9, .. }), "{error}");
        }
        code.build(&[2; 4], "a code", 0).expect("complete");
        code.build(&[0; 4], "a code", 0).expect("empty");
        let mut bits = Bits::new(&[0; 4], 0);
        bits.refill().expect("there");
        assert!(matches!(code.decode(&mut bits, "a symbol"), Err(CompressedError::Malformed { .. })));
    }
}
