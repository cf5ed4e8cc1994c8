//! Run lists: where the clusters of an attribute lie.
//!
//! Always true here:
//! - A run that was decoded has at least one cluster and lies in the volume, or is a hole. The clusters of a list sum up in 64 bits.
//! - A list gives at most one run for each two of its bytes, so a record bounds what is decoded.
//!
//! Structure: Linux-NTFS project, "Data Runs": a byte with the lengths of two integers, the run's clusters, and where it begins, as
//! a signed distance from where the last run began. Without the second integer the run is a hole.

use super::boot::Boot;
use crate::disk::{DiskOffset, Extent};
use crate::layout::LayoutError;

/// Where a hole "lies".
const HOLE: u64 = u64::MAX;

/// Clusters that follow one another, on the disk and in the attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    lcn: u64,
    /// How many clusters it has.
    pub(super) clusters: u64,
}

impl Run {
    /// Its first cluster; `None` for a hole.
    pub(super) fn place(&self) -> Option<u64> {
        (self.lcn != HOLE).then_some(self.lcn)
    }

    /// Both as one, where they follow one another on the volume too.
    pub(super) fn joined(&self, next: &Self) -> Option<Self> {
        let end = self.place()?.checked_add(self.clusters)?;
        let clusters = self.clusters.checked_add(next.clusters)?;
        (next.place()? == end).then_some(Self { lcn: self.lcn, clusters })
    }

    /// Its bytes on the volume; `None` for a hole.
    pub(super) fn extent(&self, boot: &Boot) -> Option<Extent> {
        let start = self.place()?.checked_mul(boot.cluster)?;
        Some(Extent { start: DiskOffset(start), length: self.clusters.checked_mul(boot.cluster)? })
    }
}

/// A signed integer of so many bytes, at most 8.
fn signed(bytes: &[u8]) -> i64 {
    let fill = if bytes.last().is_some_and(|last| *last >= 0x80) { 0xff } else { 0 };
    let mut whole = [fill; 8];
    for (to, from) in whole.iter_mut().zip(bytes) {
        *to = *from;
    }
    i64::from_le_bytes(whole)
}

/// Decodes a list that begins at `origin`, in bytes of the volume, behind what `runs` holds. Returns how many clusters it covers.
///
/// # Errors
/// [`LayoutError::Malformed`]; some runs may have been appended.
pub(super) fn decode(mut list: &[u8], origin: u64, boot: &Boot, runs: &mut Vec<Run>) -> Result<u64, LayoutError> {
    let whole = list.len();
    let (mut total, mut lcn) = (0_u64, 0_i64);
    // Some writers leave the closing zero out where the attribute ends.
    while let Some((&header, rest)) = list.split_first().filter(|(header, _)| **header != 0) {
        let at = origin + (whole - list.len()) as u64;
        let (count, distance) = (usize::from(header & 15), usize::from(header >> 4));
        let fields =
            rest.split_at_checked(count).and_then(|(count, rest)| Some((count, rest.split_at_checked(distance)?)));
        let Some((length, (place, rest))) = fields.filter(|_| (1..=8).contains(&count) && distance <= 8) else {
            let expected = "two integers of at most 8 bytes inside of the attribute";
            return Err(LayoutError::malformed("a run list", at, expected, format_args!("{header:#04x}")));
        };
        list = rest;
        let length = signed(length);
        let clusters = u64::try_from(length).unwrap_or_default();
        let sum = total.checked_add(clusters).filter(|sum| clusters > 0 && sum.checked_mul(boot.cluster).is_some());
        let Some(sum) = sum else {
            return Err(LayoutError::malformed("the length of a run", at, "more than 0, and 64 bits in all", length));
        };
        total = sum;
        if place.is_empty() {
            runs.push(Run { lcn: HOLE, clusters });
            continue;
        }
        let next = lcn.checked_add(signed(place));
        let first = next.and_then(|next| u64::try_from(next).ok());
        let inside = first.filter(|first| first.checked_add(clusters).is_some_and(|end| end <= boot.clusters));
        let (Some(next), Some(first)) = (next, inside) else {
            let expected = format_args!("{clusters} clusters among the volume's {}", boot.clusters);
            return Err(LayoutError::malformed("a run", at, expected, format_args!("them at {next:?}")));
        };
        lcn = next;
        runs.push(Run { lcn: first, clusters });
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Boot = Boot {
        sector: 512,
        sectors: 8000,
        cluster: 4096,
        clusters: 1000,
        mft: 4,
        mirror: 2,
        record: 1024,
        index_record: 4096,
        serial: 1,
    };

    fn decoded(list: &[u8]) -> Result<(u64, Vec<Run>), LayoutError> {
        let mut runs = Vec::new();
        decode(list, 0, &BOOT, &mut runs).map(|total| (total, runs))
    }

    #[test]
    fn distances_are_signed_and_holes_have_none() {
        let run = |lcn, clusters| Run { lcn, clusters };
        let list = [0x21, 3, 0x90, 1, 0x01, 5, 0x11, 2, 0xf0, 0x22, 1, 0, 0x10, 0, 0];
        let expected = vec![run(400, 3), run(HOLE, 5), run(384, 2), run(400, 1)];
        assert_eq!(decoded(&list).expect("sound"), (11, expected.clone()));
        assert_eq!(decoded(&list[..14]).expect("without the closing zero"), (11, expected));
        assert_eq!(decoded(&[]).expect("nothing"), (0, Vec::new()));
    }

    #[test]
    fn runs_outside_of_the_volume_or_of_the_list_are_refused() {
        let cases: [&[u8]; 10] = [
            &[0x11, 0, 1],
            &[0x11, 0xff, 1],
            &[0x10, 1],
            &[0x11, 1],
            &[0x19, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            &[0x91, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            &[0x21, 1, 0xe8, 3],
            &[0x11, 1, 0xff],
            &[0x11, 1, 5, 0x81, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ];
        for list in cases {
            decoded(list).expect_err("refused");
        }
        decoded(&[0x21, 1, 0xe7, 3]).expect("the last cluster");
    }
}
