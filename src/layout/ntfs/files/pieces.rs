//! A disk whose bytes are read in pieces, of which the last few are kept.
//!
//! Always true here:
//! - At most `most` pieces are kept, those that were asked for last. A read of a whole piece or more goes by them.
//! - A piece that cannot be read is no reason to refuse what of it can: the bytes that were asked for are then read alone.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{DiskOffset, ReadAt, ReadError, check_range};

/// What was read or unpacked lately, by its number.
pub(super) struct Lately {
    kept: Mutex<Vec<(u64, Arc<[u8]>)>>,
    most: usize,
}

impl Lately {
    /// Keeps so many.
    pub(super) const fn new(most: usize) -> Self {
        Self { kept: Mutex::new(Vec::new()), most }
    }

    /// What is kept of this number.
    pub(super) fn get(&self, number: u64) -> Option<Arc<[u8]>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().rposition(|(other, _)| *other == number)?;
        // Rarely more than a few places: what was used lately is at the end.
        kept.get_mut(at..)?.rotate_left(1);
        kept.last().map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Keeps this.
    pub(super) fn put(&self, number: u64, bytes: &Arc<[u8]>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| *other != number);
        if kept.len() >= self.most.max(1) {
            kept.remove(0);
        }
        kept.push((number, Arc::clone(bytes)));
    }
}

/// A disk that is read in pieces.
pub(super) struct Pieces<D> {
    disk: D,
    piece: u64,
    lately: Lately,
}

impl<D: ReadAt> Pieces<D> {
    /// Reads `disk` in pieces of so many bytes, a power of two, and keeps at most so many of them.
    pub(super) const fn new(disk: D, piece: u64, most: usize) -> Self {
        Self { disk, piece, lately: Lately::new(most) }
    }

    /// What is read.
    pub(super) const fn disk(&self) -> &D {
        &self.disk
    }

    fn piece(&self, number: u64) -> Result<Arc<[u8]>, ReadError> {
        if let Some(bytes) = self.lately.get(number) {
            return Ok(bytes);
        }
        let start = number * self.piece;
        let length = self.piece.min(self.disk.size().saturating_sub(start));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.disk.read_at(DiskOffset(start), &mut bytes)?;
        let bytes = Arc::from(bytes);
        self.lately.put(number, &bytes);
        Ok(bytes)
    }
}

impl<D: ReadAt> ReadAt for Pieces<D> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: DiskOffset, mut buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.disk.size())?;
        if length >= self.piece {
            return self.disk.read_at(offset, buffer);
        }
        let mut at = offset.0;
        while !buffer.is_empty() {
            let inside = at % self.piece;
            let count = usize::try_from(self.piece - inside).unwrap_or(usize::MAX).min(buffer.len());
            let (now, later) = buffer.split_at_mut(count);
            let piece = self.piece(at / self.piece);
            let bytes = piece.as_ref().ok().and_then(|piece| piece.get(usize::try_from(inside).ok()?..)?.get(..count));
            match bytes {
                Some(bytes) => now.copy_from_slice(bytes),
                None => self.disk.read_at(DiskOffset(at), now)?,
            }
            (buffer, at) = (later, at + count as u64);
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        self.disk.next_data(from)
    }

    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.disk.still_there()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts reads; the byte at 100 cannot be read.
    struct Counting(Vec<u8>, Mutex<Vec<(u64, usize)>>);

    impl ReadAt for Counting {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            self.1.lock().expect("sound").push((offset.0, buffer.len()));
            if (offset.0..offset.0 + buffer.len() as u64).contains(&100) {
                return Err(ReadError::Gone { reason: "a test".to_owned() });
            }
            self.0.read_at(offset, buffer)
        }
    }

    #[test]
    fn small_reads_become_pieces_and_the_last_ones_are_kept() {
        let bytes: Vec<u8> = (0..=255).collect();
        let pieces = Pieces::new(Counting(bytes.clone(), Mutex::default()), 16, 2);
        let read = |at: u64, length: usize| {
            let mut buffer = vec![0; length];
            pieces.read_at(DiskOffset(at), &mut buffer).map(|()| {
                assert_eq!(buffer, bytes[at as usize..][..length]);
                std::mem::take(&mut *pieces.disk().1.lock().expect("sound"))
            })
        };
        assert_eq!(read(3, 5).expect("there"), [(0, 16)]);
        assert_eq!(read(14, 4).expect("there"), [(16, 16)]);
        assert_eq!(read(0, 15).expect("there"), []);
        assert_eq!(read(40, 2).expect("there"), [(32, 16)], "the second piece is the oldest now");
        assert_eq!(read(1, 2).expect("there"), []);
        assert_eq!(read(20, 2).expect("there"), [(16, 16)]);
        assert_eq!(read(5, 40).expect("there"), [(5, 40)]);
        assert_eq!(read(97, 3).expect("around what cannot be read"), [(96, 16), (97, 3)]);
        read(99, 2).expect_err("it cannot be read");
        read(255, 2).expect_err("behind the end");
    }
}
