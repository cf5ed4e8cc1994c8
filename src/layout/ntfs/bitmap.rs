//! Which clusters no file uses, by the volume's own map.
//!
//! Always true here: only whole clusters of the volume are called free, in rising order; a map that ends early or cannot be read
//! makes none free.
//!
//! Structure: Linux-NTFS project, "$Bitmap": a bit for each cluster, the lowest bit of a byte first; 1 is in use.

use super::boot::Boot;
use super::value::Value;
use crate::disk::{DiskOffset, Extent, ReadAt};
use crate::layout::{Claims, LayoutError};

/// Bytes of the map that are read at once; a multiple of 8.
const PIECE: u64 = 1 << 20;

/// Claims the runs of clusters whose bits are clear.
///
/// # Errors
/// [`LayoutError::TooMany`]; all else: nothing may be believed to be free, also what was claimed so far.
pub(super) fn claim(map: &Value, volume: &dyn ReadAt, boot: &Boot, claims: &mut Claims) -> Result<(), LayoutError> {
    let needed = boot.clusters.div_ceil(8);
    if map.valid() < needed {
        let expected = format_args!("{needed} bytes for {} clusters", boot.clusters);
        return Err(LayoutError::malformed("the map of used clusters", 0, expected, map.valid()));
    }
    let mut runs = FreeRuns { boot, claims, start: None };
    let mut buffer = vec![0; usize::try_from(PIECE.min(needed)).unwrap_or_default()];
    let mut at = 0;
    while at < needed {
        let count = usize::try_from((needed - at).min(PIECE)).unwrap_or_default().min(buffer.len());
        let (piece, _) = buffer.split_at_mut(count);
        map.read("the map of used clusters", at, piece, volume, boot)?;
        let (words, rest) = piece.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            runs.word(at * 8 + index as u64 * 64, u64::from_le_bytes(*word), 64)?;
        }
        for (index, byte) in rest.iter().enumerate() {
            runs.word((at + words.len() as u64 * 8 + index as u64) * 8, u64::from(*byte), 8)?;
        }
        at += count as u64;
    }
    runs.close(boot.clusters)
}

/// Gathers clear bits into runs.
struct FreeRuns<'a> {
    boot: &'a Boot,
    claims: &'a mut Claims,
    /// Where the present run of clear bits began.
    start: Option<u64>,
}

impl FreeRuns<'_> {
    /// Takes the next bits, of which the lowest stands for `cluster`.
    fn word(&mut self, cluster: u64, word: u64, bits: u64) -> Result<(), LayoutError> {
        let mut bit = 0;
        while bit < bits {
            let rest = word >> bit;
            let same = if self.start.is_some() { rest.trailing_zeros() } else { rest.trailing_ones() };
            bit += u64::from(same).min(bits - bit);
            if bit < bits {
                // The bit is unlike the run: a run of used clusters ends, or a free one.
                match self.start {
                    None => self.start = Some(cluster + bit),
                    Some(_) => self.close(cluster + bit)?,
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, end: u64) -> Result<(), LayoutError> {
        let Some(start) = self.start.take() else { return Ok(()) };
        let end = end.min(self.boot.clusters);
        let clusters = end.saturating_sub(start);
        self.claims.free(Extent {
            start: DiskOffset(start.saturating_mul(self.boot.cluster)),
            length: clusters.saturating_mul(self.boot.cluster),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(map: &[u8], clusters: u64) -> Vec<(u64, u64)> {
        let boot = Boot {
            sector: 512,
            sectors: clusters * 8,
            cluster: 4096,
            clusters,
            mft: 0,
            mirror: 0,
            record: 1024,
            index_record: 4096,
            serial: 0,
        };
        let mut claims = Claims::new();
        claim(&Value::Resident(map.to_vec()), &Vec::new(), &boot, &mut claims).expect("long enough");
        claims.free_extents().iter().map(|extent| (extent.start.0 / 4096, extent.length / 4096)).collect()
    }

    #[test]
    fn runs_of_clear_bits_are_those_that_a_bit_by_bit_search_finds() {
        let mut seed = 1_u64;
        for clusters in [1_u64, 7, 8, 9, 63, 64, 65, 200, 517] {
            for density in 0..4 {
                let map: Vec<u8> = (0..clusters.div_ceil(64) * 8)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        [0, 0xff, (seed >> 56) as u8, if seed >> 63 == 0 { 0 } else { 0xff }][density]
                    })
                    .collect();
                let mut expected: Vec<(u64, u64)> = Vec::new();
                for cluster in (0..clusters).filter(|cluster| map[*cluster as usize / 8] >> (cluster % 8) & 1 == 0) {
                    match expected.last_mut() {
                        Some((start, count)) if *start + *count == cluster => *count += 1,
                        _ => expected.push((cluster, 1)),
                    }
                }
                assert_eq!(free(&map, clusters), expected, "{clusters} {density}");
            }
        }
    }
}
