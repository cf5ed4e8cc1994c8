//! Finding runs of zeros in a block of a disk.
//!
//! Always true here:
//! - The split depends on the block's bytes alone, never on which of them were allocated, so that a raw file and a sparse
//!   one give the same chunks.
//! - The runs cover the block exactly, in order, and no two neighbours are of the same kind.

use crate::disk::is_zero;
use std::ops::Range;

/// Zeros are looked for in pieces of this many bytes.
pub const PIECE: usize = 4096;
/// Shorter runs of zeros stay among the data: a hole costs an extent in the map and a cut in the stream.
pub const MIN_RUN: usize = 32 << 10;

/// A part of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Bytes to keep.
    Data(Range<usize>),
    /// Zeros.
    Zero(Range<usize>),
}

/// Splits a block into data and runs of at least `min_run` zeros, in pieces of [`PIECE`] bytes. A block of only zeros is
/// one run however short it is, since an unallocated one is not even read.
pub fn split(block: &[u8], min_run: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let (mut data_start, mut zero_start) = (0, None);
    let mut position = 0;
    let mut close = |data_start: &mut usize, zeros: Range<usize>| {
        if zeros.len() >= min_run || zeros.len() == block.len() {
            if *data_start < zeros.start {
                runs.push(Run::Data(*data_start..zeros.start));
            }
            *data_start = zeros.end;
            runs.push(Run::Zero(zeros));
        }
    };
    for piece in block.chunks(PIECE) {
        match (is_zero(piece), zero_start) {
            (true, None) => zero_start = Some(position),
            (false, Some(start)) => {
                close(&mut data_start, start..position);
                zero_start = None;
            }
            _ => {}
        }
        position += piece.len();
    }
    if let Some(start) = zero_start {
        close(&mut data_start, start..block.len());
    }
    if data_start < block.len() {
        runs.push(Run::Data(data_start..block.len()));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_split_off_and_short_ones_stay() {
        let mut block = vec![1; 200 << 10];
        block[4096..8192].fill(0);
        block[(64 << 10)..(128 << 10)].fill(0);
        let k = |kib: usize| kib << 10;
        assert_eq!(split(&block, MIN_RUN), [Run::Data(0..k(64)), Run::Zero(k(64)..k(128)), Run::Data(k(128)..k(200))]);
        assert_eq!(split(&[0; 40 << 10], MIN_RUN), [Run::Zero(0..k(40))]);
        assert_eq!(split(&[0; 3], MIN_RUN), [Run::Zero(0..3)]);
        assert_eq!(split(&[0, 0, 1], MIN_RUN), [Run::Data(0..3)]);
        assert_eq!(split(&[], MIN_RUN), []);
        assert_eq!(split(&[5; 10], MIN_RUN), [Run::Data(0..10)]);
    }

    #[test]
    fn runs_always_cover_the_block() {
        let mut state = 1_u32;
        for _ in 0..200 {
            let mut block = Vec::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let length = (state >> 16) as usize;
                block.resize(block.len() + length, (state >> 31) as u8);
            }
            let mut next = 0;
            for run in split(&block, MIN_RUN) {
                let (Run::Data(range) | Run::Zero(range)) = run;
                assert_eq!(range.start, next);
                next = range.end;
            }
            assert_eq!(next, block.len());
        }
    }
}
