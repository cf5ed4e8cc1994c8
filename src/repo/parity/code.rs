//! The erasure code: parity sectors from an object's bytes, and lost sectors from what is left (format-spec/parity.md, "The code").
//!
//! Always true here:
//! - One code for every shape: the high-rate one, which the crate would not choose for the smallest objects, so that
//!   one formula describes it.
//! - An object's bytes are not copied as a whole: a codeword at a time is.
//! - What decodes is only as good as what was said to be whole. Whoever calls compares the hash of the whole object.

use crate::format::object::Header;
use crate::format::parity::{Head, Layout, Sum, sum};
use crate::names::ObjectKind;
use reed_solomon_simd::Error;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};
use std::ops::Range;

/// A parity object, in parts that lie one behind the other.
pub(super) struct Encoded {
    front: Vec<u8>,
    sectors: Vec<u8>,
    back: Vec<u8>,
}

impl Encoded {
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [&self.front, &self.sectors, &self.back]
    }
}

/// What the parity of an object is made from, but its bytes.
pub(super) struct Subject {
    pub header: Header,
    pub kind: ObjectKind,
    pub layout: Layout,
    /// The BLAKE3 of its bytes.
    pub hash: [u8; 32],
}

/// The bytes of an object that lie in several parts.
struct Parts<'a>(Vec<(u64, &'a [u8])>);

impl<'a> Parts<'a> {
    fn new(parts: &[&'a [u8]]) -> Self {
        let mut start = 0;
        Self(
            parts
                .iter()
                .map(|part| {
                    let here = start;
                    start += part.len() as u64;
                    (here, *part)
                })
                .collect(),
        )
    }

    /// The bytes of a range: those of a part where it lies within one and fills a sector, or else `sector`, filled with them and
    /// zeros behind them.
    fn read<'b>(&'b self, range: Range<u64>, sector: &'b mut [u8]) -> &'b [u8] {
        let first = self.0.partition_point(|(start, _)| *start <= range.start).saturating_sub(1);
        let parts = self.0.get(first..).unwrap_or_default();
        if let Some((start, part)) = parts.first() {
            let within = (range.start - start) as usize..(range.end - start) as usize;
            if let Some(bytes) = part.get(within).filter(|bytes| bytes.len() == sector.len()) {
                return bytes;
            }
        }
        let mut filled = 0;
        for (start, part) in parts {
            let from = (range.start + filled as u64 - start) as usize;
            let wanted = (range.end - range.start) as usize - filled;
            let bytes = part.get(from..).unwrap_or_default();
            let count = bytes.len().min(wanted);
            sector[filled..filled + count].copy_from_slice(&bytes[..count]);
            filled += count;
            if count == wanted {
                break;
            }
        }
        sector[filled..].fill(0);
        sector
    }
}

/// Makes the parity object of the object whose bytes are the parts, one behind the other; the layout is for as many bytes.
pub(super) fn encode(subject: Subject, parts: &[&[u8]]) -> Result<Encoded, Error> {
    let Subject { header, kind, layout, hash } = subject;
    let parts = Parts::new(parts);
    let (sectors, words) = (layout.sectors() as usize, layout.codewords() as usize);
    let length = layout.sector_length() as usize;
    let mut sums = vec![Sum::default(); sectors + layout.all_parity_sectors() as usize];
    let mut parity = vec![0; layout.parity_length() as usize];
    let (zeros, mut buffer) = (vec![0; length], vec![0; length]);
    let (data, rows) = (usize::from(layout.data_sectors()), usize::from(layout.parity_sectors()));
    let mut encoder = HighRateEncoder::new(data, rows, length, DefaultEngine::new(), None)?;
    for word in 0..words {
        for index in (word..words * data).step_by(words) {
            if index >= sectors {
                encoder.add_original_shard(&zeros)?;
                continue;
            }
            let range = layout.sector(index as u64);
            let count = (range.end - range.start) as usize;
            let sector = parts.read(range, &mut buffer);
            sums[index] = sum(&sector[..count]);
            encoder.add_original_shard(sector)?;
        }
        for (row, sector) in encoder.encode()?.recovery_iter().enumerate() {
            let index = row * words + word;
            sums[sectors + index] = sum(sector);
            parity[index * length..][..length].copy_from_slice(sector);
        }
    }
    let (front, back) = Head { header, kind, layout, hash, sums }.encode();
    Ok(Encoded { front, sectors: parity, back })
}

/// Which sectors are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    /// Of the object: one a sector.
    pub data: Vec<bool>,
    /// Of its parity.
    pub parity: Vec<bool>,
}

/// Mends each codeword of `object` that has no more lost sectors than whole parity sectors; what is mended is no longer lost. `object`
/// and `parity` are whole sectors one behind the other, as many as the layout says.
pub(super) fn decode(layout: &Layout, object: &mut [u8], parity: &[u8], lost: &mut Lost) -> Result<(), Error> {
    let words = layout.codewords() as usize;
    let length = layout.sector_length() as usize;
    let zeros = vec![0; length];
    let (data, rows) = (usize::from(layout.data_sectors()), usize::from(layout.parity_sectors()));
    let mut decoder = HighRateDecoder::new(data, rows, length, DefaultEngine::new(), None)?;
    let mut sectors: Vec<&mut [u8]> = object.chunks_exact_mut(length).collect();
    for word in 0..words {
        let missing = lost.data.iter().skip(word).step_by(words).filter(|lost| **lost).count();
        let whole = lost.parity.iter().skip(word).step_by(words).filter(|lost| !**lost).count();
        if missing == 0 || missing > whole {
            continue;
        }
        for (place, index) in (word..words * data).step_by(words).enumerate() {
            match sectors.get(index) {
                Some(_) if lost.data[index] => {}
                Some(sector) => decoder.add_original_shard(place, sector)?,
                None => decoder.add_original_shard(place, &zeros)?,
            }
        }
        for (row, index) in (word..words * rows).step_by(words).enumerate() {
            if !lost.parity[index] {
                decoder.add_recovery_shard(row, &parity[index * length..][..length])?;
            }
        }
        for (place, bytes) in decoder.decode()?.restored_original_iter() {
            let index = place * words + word;
            sectors[index].copy_from_slice(bytes);
            lost.data[index] = false;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RepositoryId;
    use proptest::prelude::*;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn subject(bytes: &[u8], ratio: u16) -> Subject {
        Subject {
            header: Header::new(RepositoryId::new([1; 16])),
            kind: ObjectKind::Pack,
            layout: Layout::new(bytes.len() as u64, ratio).expect("a layout"),
            hash: *blake3::hash(bytes).as_bytes(),
        }
    }

    #[test]
    fn how_the_bytes_are_parted_does_not_matter() {
        let bytes = noise(50_001, 1);
        let whole = encode(subject(&bytes, 2), &[&bytes]).expect("encoded").parts().concat();
        assert_eq!(whole.len() as u64, subject(&bytes, 2).layout.object_length());
        for step in [1000, 4095, 4096, 4097, 20_000] {
            let mut parts: Vec<&[u8]> = bytes.chunks(step).collect();
            parts.insert(1, &[]);
            parts.push(&[]);
            parts.insert(0, &[]);
            assert!(encode(subject(&bytes, 2), &parts).expect("encoded").parts().concat() == whole, "{step}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Any sectors lost, of the object and of the parity: exactly those codewords are mended that have not lost more
        /// than they can.
        #[test]
        fn each_codeword_is_mended_up_to_what_it_can_lose(
            length in prop_oneof![1..20_000_usize, 20_000..400_000_usize],
            ratio in 2..6_u16,
            seed: u64,
            lost_share in 0..60_u8,
        ) {
            let bytes = noise(length, seed);
            let layout = subject(&bytes, ratio).layout;
            let encoded = encode(subject(&bytes, ratio), &[&bytes]).expect("encoded");
            let mut chance = noise((layout.sectors() + layout.all_parity_sectors()) as usize, seed ^ 1).into_iter();
            let mut flags = |count: u64| (0..count).map(|_| chance.next() < Some(lost_share)).collect::<Vec<_>>();
            let before = Lost { data: flags(layout.sectors()), parity: flags(layout.all_parity_sectors()) };
            let step = layout.sector_length() as usize;
            let mut object = bytes.clone();
            object.resize(layout.sectors() as usize * step, 0);
            let mut parity = encoded.sectors.clone();
            for (sector, _) in object.chunks_mut(step).zip(&before.data).filter(|(_, lost)| **lost) {
                sector.fill(0xdd);
            }
            for (sector, _) in parity.chunks_mut(step).zip(&before.parity).filter(|(_, lost)| **lost) {
                sector.fill(0xdd);
            }
            let mut after = before.clone();
            decode(&layout, &mut object, &parity, &mut after).expect("decoded");
            let words = layout.codewords() as usize;
            for (index, lost) in after.data.iter().enumerate() {
                let of_word = |flags: &[bool]| flags.iter().skip(index % words).step_by(words).filter(|lost| **lost).count();
                let missing = of_word(&before.data) + of_word(&before.parity);
                let beyond = before.data[index] && missing > usize::from(layout.parity_sectors());
                prop_assert_eq!(*lost, beyond, "sector {}", index);
                if !lost {
                    let range = layout.sector(index as u64);
                    let range = range.start as usize..range.end as usize;
                    prop_assert!(object[range.clone()] == bytes[range], "sector {}", index);
                }
            }
        }
    }
}
