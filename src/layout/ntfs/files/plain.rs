//! The bytes of an attribute in clusters that are neither compressed nor encrypted.
//!
//! Always true here:
//! - Holes, and what lies behind the valid length, read as zeros and are not read from the volume.
//! - A read that fails is told at an offset of the attribute.

use std::ops::Range;
use std::sync::Arc;

use crate::disk::{DiskOffset, ReadAt, ReadError, check_range};
use crate::layout::ntfs::attribute::Sizes;
use crate::layout::ntfs::boot::Boot;
use crate::layout::ntfs::value::Places;

/// Runs that are told as one, at most.
const MOST_JOINED: u32 = 1024;

/// An attribute's clusters as a disk.
pub(super) struct Plain {
    volume: Arc<dyn ReadAt>,
    boot: Boot,
    places: Places,
    size: u64,
    valid: u64,
}

impl Plain {
    /// Of clusters that were checked against these sizes.
    pub(super) fn new(volume: &Arc<dyn ReadAt>, boot: Boot, places: Places, sizes: &Sizes) -> Self {
        Self { volume: Arc::clone(volume), boot, places, size: sizes.data, valid: sizes.initialized.min(sizes.data) }
    }

    /// Where the byte at an offset lies on the volume; `None` in a hole and behind the end.
    pub(super) fn place(&self, offset: u64) -> Option<DiskOffset> {
        self.places.find(offset, &self.boot).and_then(|(place, _)| place)
    }

    /// The first byte at or behind an offset that is not in a hole; `None` behind the last one.
    pub(super) fn behind_hole(&self, mut offset: u64) -> Option<u64> {
        while offset < self.valid {
            match self.places.find(offset, &self.boot)? {
                (Some(_), _) => return Some(offset),
                (None, left) => offset = offset.checked_add(left)?,
            }
        }
        None
    }
}

/// An error at a place of the volume, told for bytes that begin at an offset of an attribute.
fn told(error: ReadError, place: DiskOffset, offset: u64) -> ReadError {
    let inside = |at: DiskOffset| DiskOffset(at.0.saturating_sub(place.0).saturating_add(offset));
    match error {
        ReadError::Unreadable { offset, length, source } => {
            ReadError::Unreadable { offset: inside(offset), length, source }
        }
        ReadError::Damaged { offset, reason } => ReadError::Damaged { offset: inside(offset), reason },
        ReadError::BeyondEnd { offset, length, size } => {
            ReadError::BeyondEnd { offset: inside(offset), length, size: inside(DiskOffset(size)).0 }
        }
        gone @ ReadError::Gone { .. } => gone,
    }
}

impl ReadAt for Plain {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: DiskOffset, mut buffer: &mut [u8]) -> Result<(), ReadError> {
        check_range(offset, buffer.len() as u64, self.size)?;
        let mut at = offset.0;
        while !buffer.is_empty() {
            let found = self.places.find(at, &self.boot).filter(|_| at < self.valid);
            let (place, left) = match found {
                Some((place, left)) => (place, left.min(self.valid - at)),
                None => (None, u64::MAX),
            };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let (now, later) = buffer.split_at_mut(count);
            match place {
                Some(place) => self.volume.read_at(place, now).map_err(|error| told(error, place, at))?,
                None => now.fill(0),
            }
            (buffer, at) = (later, at + count as u64);
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let Some(start) = self.behind_hole(from.0) else { return Ok(None) };
        let mut end = start;
        // A run of bytes may be told in parts; so the answer does not take long.
        for _ in 0..MOST_JOINED {
            match self.places.find(end, &self.boot) {
                Some((Some(_), left)) if end < self.valid => end = end.saturating_add(left),
                _ => break,
            }
        }
        Ok(Some(start..end.min(self.valid)))
    }

    fn sector_size(&self) -> u32 {
        self.volume.sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.volume.still_there()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ntfs::runs::decode;

    fn plain(list: &[u8], data: u64, initialized: u64) -> Plain {
        let boot = Boot {
            sector: 512,
            sectors: 16,
            cluster: 512,
            clusters: 16,
            mft: 0,
            mirror: 0,
            record: 1024,
            index_record: 4096,
            serial: 0,
        };
        let (mut runs, mut places) = (Vec::new(), Places::default());
        decode(list, 0, &boot, &mut runs).expect("sound");
        places.append(&runs);
        let volume: Vec<u8> = (0..16_u8).flat_map(|cluster| [cluster + 1; 512]).collect();
        let volume: Arc<dyn ReadAt> = Arc::new(volume);
        let sizes = Sizes { allocated: places.clusters() * 512, data, initialized };
        Plain::new(&volume, boot, places, &sizes)
    }

    #[test]
    fn holes_and_what_was_never_written_are_zeros() {
        // Clusters 3 and 4, a hole of two, 4 again, another hole, 9.
        let plain = plain(&[0x11, 2, 3, 0x01, 2, 0x11, 1, 1, 0x01, 1, 0x11, 1, 5], 7 * 512 - 3, 4 * 512 + 100);
        let mut bytes = vec![9; plain.size() as usize];
        plain.read_at(DiskOffset(0), &mut bytes).expect("inside");
        let expected = [&[4; 512][..], &[5; 512], &[0; 1024], &[5; 100], &[0; 412 + 1024 - 3]].concat();
        assert_eq!(bytes, expected);
        for at in [1, 511, 513, 1000, 2047, 2100, 2148, 2149] {
            let mut some = [9; 700];
            plain.read_at(DiskOffset(at), &mut some).expect("inside");
            assert_eq!(some[..], expected[at as usize..][..700], "{at}");
        }
        let next = |from| plain.next_data(DiskOffset(from)).expect("known");
        assert_eq!((next(0), next(600), next(1024)), (Some(0..1024), Some(600..1024), Some(2048..2148)));
        assert_eq!((next(2147), next(2148), next(u64::MAX)), (Some(2147..2148), None, None));
        plain.read_at(DiskOffset(7 * 512 - 4), &mut [0; 2]).expect_err("behind the end");
    }
}
