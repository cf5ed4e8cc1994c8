//! A file's content as a disk of its own. FAT and exFAT have it in common.
//!
//! Always true here:
//! - Bytes behind the valid length are zeros, wherever the file's clusters end.
//! - Clusters that are missing cost the bytes in them: reading those fails, and reading those in front does not.

use super::heap::total;
use crate::disk::{DiskOffset, Extent, ReadAt, ReadError, check_range};
use crate::layout::LayoutError;
use crate::layout::nested::Translation;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// A file's content.
pub(in crate::layout) struct FileContent {
    volume: Arc<dyn ReadAt>,
    places: Translation,
    /// How many bytes have a place.
    held: u64,
    /// How many bytes were written.
    valid: u64,
    size: u64,
    /// Why no more bytes have a place.
    broken: String,
}

impl FileContent {
    /// The content of `size` bytes, the first `valid` of which go through these extents of the volume. `broken` says why they are not
    /// more, in case they are too few.
    pub(in crate::layout) fn new(
        volume: Arc<dyn ReadAt>,
        extents: &[Extent],
        valid: u64,
        size: u64,
        broken: Option<LayoutError>,
    ) -> Self {
        let broken = broken.map_or_else(|| "its clusters are too few".to_owned(), |cause| cause.to_string());
        let (held, places) = (total(extents), Translation::of_file(extents));
        Self { volume, places, held, valid: valid.min(size), size, broken }
    }

    /// An error of the volume at a place of it that holds the byte at `inside`, told in offsets of the file.
    fn told(error: ReadError, place: DiskOffset, inside: u64) -> ReadError {
        let within = |offset: DiskOffset| DiskOffset(offset.0.saturating_sub(place.0).saturating_add(inside));
        match error {
            ReadError::Unreadable { offset, length, source } => {
                ReadError::Unreadable { offset: within(offset), length, source }
            }
            ReadError::Damaged { offset, reason } => ReadError::Damaged { offset: within(offset), reason },
            ReadError::BeyondEnd { offset, length, size } => {
                ReadError::BeyondEnd { offset: within(offset), length, size: within(DiskOffset(size)).0 }
            }
            gone @ ReadError::Gone { .. } => gone,
        }
    }
}

impl ReadAt for FileContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.size)?;
        let valid = self.valid.saturating_sub(offset.0).min(length);
        let (mut rest, behind) = buffer.split_at_mut(usize::try_from(valid).unwrap_or(usize::MAX).min(buffer.len()));
        behind.fill(0);
        if rest.is_empty() {
            return Ok(());
        }
        if self.held.saturating_sub(offset.0) < valid {
            let source = io::Error::new(io::ErrorKind::InvalidData, self.broken.clone());
            return Err(ReadError::Unreadable { offset, length, source });
        }
        let mut inside = offset.0;
        for piece in self.places.map(Extent { start: offset, length: valid }) {
            let (part, later) = rest.split_at_mut(usize::try_from(piece.length).unwrap_or(usize::MAX).min(rest.len()));
            rest = later;
            self.volume.read_at(piece.start, part).map_err(|error| Self::told(error, piece.start, inside))?;
            inside += piece.length;
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let end = self.held.min(self.valid);
        let mut inside = from.0;
        for piece in self.places.map(Extent { start: from, length: end.saturating_sub(from.0) }) {
            let place = piece.start;
            let data = self.volume.next_data(place).map_err(|error| Self::told(error, place, inside))?;
            let data = data.unwrap_or_default();
            let (first, last) = (data.start.max(place.0) - place.0, data.end.saturating_sub(place.0).min(piece.length));
            if first < last {
                return Ok(Some(inside + first..inside + last));
            }
            inside += piece.length;
        }
        // What has no place is nothing to skip: reading it fails.
        let missing = end.max(from.0)..self.valid;
        Ok((!missing.is_empty()).then_some(missing))
    }

    fn sector_size(&self) -> u32 {
        self.volume.sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.volume.still_there()
    }
}
