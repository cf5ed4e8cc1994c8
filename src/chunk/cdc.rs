//! Content-defined chunking: FastCDC, 2020 variant (Xia et al., "The Design of Fast Content-Defined Chunking for
//! Data Deduplication Based Storage Systems", IEEE TPDS 2020), as the crate `fastcdc` 5.0.0 computes it.
//!
//! Always true here:
//! - Cut points are frozen by test vectors: another version of the crate may not move them.
//! - A cut that touches the end of what has arrived is not given until the run is known to end there, so that the
//!   cuts of a run do not depend on how it is split into buffers.

use super::ChunkError;
use fastcdc::v2020::{Normalization, cut, select_masks};

/// Cuts runs of bytes with one set of parameters.
#[derive(Debug, Clone, Copy)]
pub struct Cutter {
    min: usize,
    average: usize,
    max: usize,
    mask_small: u64,
    mask_large: u64,
}

impl Cutter {
    /// A cutter with these sizes in bytes and this normalisation level (0 to 3).
    ///
    /// # Errors
    /// [`ChunkError::Sizes`]: release builds of the crate do not check them.
    pub fn new(min: u32, average: u32, max: u32, level: u8) -> Result<Self, ChunkError> {
        let even = min.is_multiple_of(2) && average.is_multiple_of(2) && max.is_multiple_of(2);
        if !even || min < 64 || min >= average || average >= max || average < 256 || max > 16 << 20 || average > 4 << 20
        {
            return Err(ChunkError::Sizes { min, average, max });
        }
        let level = match level {
            0 => Normalization::Level0,
            1 => Normalization::Level1,
            2 => Normalization::Level2,
            _ => Normalization::Level3,
        };
        let (mask_small, mask_large) = select_masks(average as usize, level);
        Ok(Self { min: min as usize, average: average as usize, max: max as usize, mask_small, mask_large })
    }

    /// The largest chunk in bytes.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// The length of the first chunk of `bytes`, or `None` when more bytes are needed to know; `run_ends` says that the
    /// run ends where `bytes` ends. Never 0, and `None` for no bytes.
    pub fn first_chunk(&self, bytes: &[u8], run_ends: bool) -> Option<usize> {
        let (_, length) = cut(
            bytes,
            self.min,
            self.average,
            self.max,
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
        );
        let certain = length < bytes.len() || length == self.max || run_ends;
        (certain && length > 0).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes from xorshift64, so that the vectors need no file.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn cutter() -> Cutter {
        Cutter::new(32 << 10, 64 << 10, 256 << 10, 1).expect("legal")
    }

    fn cuts(bytes: &[u8], buffer: usize) -> Vec<usize> {
        let (mut start, mut arrived, mut lengths) = (0, 0, Vec::new());
        while start < bytes.len() {
            let ends = arrived == bytes.len();
            match cutter().first_chunk(&bytes[start..arrived], ends) {
                Some(length) => {
                    lengths.push(length);
                    start += length;
                }
                None => arrived = (arrived + buffer).min(bytes.len()),
            }
        }
        lengths
    }

    #[test]
    fn cut_points_are_frozen() {
        assert_eq!(cuts(&noise(1 << 20), 1 << 20), FROZEN);
    }

    const FROZEN: &[usize] = &[71088, 66480, 100652, 128639, 102442, 92174, 121669, 113315, 77339, 74154, 100624];

    #[test]
    fn cuts_do_not_depend_on_how_bytes_arrive() {
        let bytes = noise(1_500_001);
        let whole = cuts(&bytes, bytes.len());
        for buffer in [1000, 4096, 65_537, 400_000] {
            assert_eq!(cuts(&bytes, buffer), whole, "buffers of {buffer}");
        }
    }

    #[test]
    fn short_runs_are_one_chunk_and_zeros_are_the_largest_chunks() {
        assert_eq!(cuts(&[1, 2, 3], 3), [3]);
        assert_eq!(cutter().first_chunk(&[], true), None);
        assert_eq!(cuts(&vec![0; 600 << 10], 600 << 10), [256 << 10, 256 << 10, 88 << 10]);
    }

    #[test]
    fn sizes_that_the_algorithm_cannot_use_are_refused() {
        for (min, average, max) in [(33, 1024, 4096), (64, 63, 128), (1024, 1024, 4096), (256, 4096, 4096), (0, 2, 4)] {
            assert!(Cutter::new(min, average, max, 1).is_err());
        }
    }
}
