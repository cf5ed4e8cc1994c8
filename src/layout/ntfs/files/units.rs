//! Content that NTFS itself compressed: units of clusters, each compressed with LZNT1 where that saves clusters.
//!
//! Always true here:
//! - A unit of which all clusters are there is stored as it is, one of which none is there is zeros, and all others are compressed.
//! - What lies behind the valid length is zeros, whatever a unit holds there.
//!
//! Structure: Linux-NTFS project, "Compression" and "Attribute Header"; a unit at the end of which clusters are missing is
//! compressed as well (ntfs-3g, `ntfs_is_cb_compressed`).

use std::ops::Range;
use std::sync::Arc;

use super::blocks::{Blocks, Unpacked, told, unsound};
use super::node::Shared;
use super::pieces::Pieces;
use super::plain::Plain;
use crate::disk::{DiskOffset, ReadAt, ReadError};
use crate::layout::LayoutError;
use crate::layout::compressed::lznt1;
use crate::layout::ntfs::attribute::Sizes;
use crate::layout::ntfs::runs::Run;
use crate::layout::ntfs::value::Places;

/// The most bytes of a unit. Windows has at most 64 KiB.
const MOST_UNIT: u64 = 1 << 20;
/// Bytes that are read at once, and how many such pieces are kept.
const PIECE: u64 = 256 << 10;
const MOST_PIECES: usize = 2;
/// Units that are told as one, at most.
const MOST_JOINED: u32 = 1024;

/// Compressed content.
struct Units {
    /// Where each cluster of the content lies, as the volume has it.
    places: Places,
    /// For each run, how many clusters that are no holes lie before it.
    before: Vec<u64>,
    /// All clusters that are no holes, one behind the other.
    stored: Pieces<Plain>,
    cluster: u64,
    /// Clusters of a unit.
    clusters: u64,
    size: u64,
    valid: u64,
}

/// Opens compressed content in units of 2 to the power of `exponent` clusters, given where it lies and where its header is.
///
/// # Errors
/// [`LayoutError::Malformed`]: no such units are in use.
pub(super) fn open(
    shared: &Shared,
    places: Places,
    sizes: &Sizes,
    exponent: u8,
    at: u64,
) -> Result<Arc<dyn ReadAt>, LayoutError> {
    let cluster = shared.boot.cluster;
    let clusters = 1_u64
        .checked_shl(exponent.into())
        .filter(|clusters| exponent > 0 && clusters.checked_mul(cluster).is_some_and(|unit| unit <= MOST_UNIT));
    let Some(clusters) = clusters else {
        let expected = format_args!("some clusters of {cluster} bytes, {MOST_UNIT} in all");
        let found = format_args!("2 to the power of {exponent}");
        return Err(LayoutError::malformed("the compression unit of a file", at, expected, found));
    };
    let (mut before, mut runs, mut count) = (Vec::with_capacity(places.runs().len()), Vec::<Run>::new(), 0_u64);
    for run in places.runs() {
        before.push(count);
        if run.place().is_none() {
            continue;
        }
        count = count.saturating_add(run.clusters);
        match runs.last_mut().and_then(|last| Some((last.joined(run)?, last))) {
            Some((joined, last)) => *last = joined,
            None => runs.push(*run),
        }
    }
    let mut stored = Places::default();
    stored.append(&runs);
    let length = count.saturating_mul(cluster);
    let all = Sizes { allocated: length, data: length, initialized: length };
    let stored = Pieces::new(shared.plain(stored, &all), PIECE, MOST_PIECES);
    let (size, valid) = (sizes.data, sizes.initialized.min(sizes.data));
    Ok(Arc::new(Unpacked::new(Units { places, before, stored, cluster, clusters, size, valid })))
}

impl Units {
    /// Which of the stored clusters are those of a unit: the first, and how many.
    fn stored(&self, number: u64) -> (u64, u64) {
        let mut at = number.saturating_mul(self.clusters);
        let end = at.saturating_add(self.clusters);
        let (mut first, mut count) = (None, 0);
        while at < end {
            let Some((index, inside)) = self.places.run_at(at) else { break };
            let Some((run, before)) = self.places.runs().get(index).zip(self.before.get(index)) else { break };
            let here = run.clusters.saturating_sub(inside).clamp(1, end - at);
            if run.place().is_some() {
                first = first.or(Some(before + inside));
                count += here;
            }
            at += here;
        }
        (first.unwrap_or_default(), count)
    }

    fn unit(&self) -> u64 {
        self.clusters * self.cluster
    }
}

impl Blocks for Units {
    fn size(&self) -> u64 {
        self.size
    }

    fn block(&self) -> u64 {
        self.unit()
    }

    fn unpack(&self, number: u64, out: &mut [u8]) -> Result<(), ReadError> {
        let (start, length) = (number.saturating_mul(self.unit()), out.len() as u64);
        let valid = usize::try_from(self.valid.saturating_sub(start)).unwrap_or(usize::MAX).min(out.len());
        let (out, behind) = out.split_at_mut(valid);
        behind.fill(0);
        let (first, count) = self.stored(number);
        if count == 0 || out.is_empty() {
            out.fill(0);
            return Ok(());
        }
        let at = DiskOffset(first.saturating_mul(self.cluster));
        if count == self.clusters {
            return self.stored.read_at(at, out).map_err(|error| told(error, start, length));
        }
        let mut packed = vec![0; usize::try_from(count * self.cluster).unwrap_or_default()];
        self.stored.read_at(at, &mut packed).map_err(|error| told(error, start, length))?;
        let unpack = |to: &mut [u8]| {
            let written = lznt1(&packed, to).map_err(|error| unsound(start, length, error))?;
            to.get_mut(written..).unwrap_or_default().fill(0);
            Ok(())
        };
        let unit = usize::try_from(self.unit()).unwrap_or_default();
        if out.len() == unit {
            return unpack(out);
        }
        // A unit holds more than its file where that ends in it.
        let mut whole = vec![0; unit];
        unpack(&mut whole)?;
        if let Some(whole) = whole.get(..out.len()) {
            out.copy_from_slice(whole);
        }
        Ok(())
    }

    fn next_data(&self, from: u64) -> Option<Range<u64>> {
        let unit = self.unit();
        let mut number = from / unit;
        // Over holes, which may be of any length.
        while number.saturating_mul(unit) < self.valid && self.stored(number).1 == 0 {
            let cluster = number.saturating_mul(self.clusters);
            let (index, inside) = self.places.run_at(cluster)?;
            let left = self.places.runs().get(index)?.clusters.saturating_sub(inside);
            number = (cluster.saturating_add(left) / self.clusters).max(number + 1);
        }
        let start = number.saturating_mul(unit).max(from);
        let mut end = number.saturating_add(1);
        for _ in 0..MOST_JOINED {
            if end.saturating_mul(unit) >= self.valid || self.stored(end).1 == 0 {
                break;
            }
            end += 1;
        }
        (start < self.valid).then(|| start..end.saturating_mul(unit).min(self.valid))
    }

    fn medium(&self) -> &dyn ReadAt {
        &self.stored
    }
}
