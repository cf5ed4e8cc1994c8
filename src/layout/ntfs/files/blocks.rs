//! Content that is unpacked in blocks.
//!
//! Always true here:
//! - A block is unpacked whole or not at all. At most [`MOST_BLOCKS`] are kept, those that were asked for last.
//! - A block that is asked for from its first byte to its last is unpacked into the reader's buffer and not kept.

use std::ops::Range;
use std::sync::Arc;

use super::pieces::Lately;
use crate::disk::{DiskOffset, ReadAt, ReadError, check_range};

/// How many blocks of one file are kept.
const MOST_BLOCKS: usize = 4;

/// Packed content.
pub(super) trait Blocks: Send + Sync {
    /// Bytes of the content.
    fn size(&self) -> u64;

    /// Bytes of a block, other than the last. They fit memory with ease.
    fn block(&self) -> u64;

    /// Fills `out` with all the bytes of a block.
    ///
    /// # Errors
    /// [`ReadError`] at an offset of the content.
    fn unpack(&self, number: u64, out: &mut [u8]) -> Result<(), ReadError>;

    /// As [`ReadAt::next_data`].
    fn next_data(&self, from: u64) -> Option<Range<u64>> {
        (from < self.size()).then(|| from..self.size())
    }

    /// What it is read from.
    fn medium(&self) -> &dyn ReadAt;
}

/// Content that is unpacked when it is read.
pub(super) struct Unpacked<B> {
    blocks: B,
    lately: Lately,
}

impl<B: Blocks> Unpacked<B> {
    pub(super) const fn new(blocks: B) -> Self {
        Self { blocks, lately: Lately::new(MOST_BLOCKS) }
    }
}

impl<B: Blocks> ReadAt for Unpacked<B> {
    fn size(&self) -> u64 {
        self.blocks.size()
    }

    fn read_at(&self, offset: DiskOffset, mut buffer: &mut [u8]) -> Result<(), ReadError> {
        let (size, block) = (self.blocks.size(), self.blocks.block());
        check_range(offset, buffer.len() as u64, size)?;
        let mut at = offset.0;
        while !buffer.is_empty() {
            let number = at / block;
            let (start, inside) = (number * block, usize::try_from(at % block).unwrap_or_default());
            let length = usize::try_from(block.min(size - start)).unwrap_or_default();
            let count = length.saturating_sub(inside).min(buffer.len());
            let (now, later) = buffer.split_at_mut(count);
            if count == length {
                self.blocks.unpack(number, now)?;
            } else {
                let bytes = match self.lately.get(number) {
                    Some(bytes) => bytes,
                    None => {
                        let mut bytes = vec![0; length];
                        self.blocks.unpack(number, &mut bytes)?;
                        let bytes = Arc::from(bytes);
                        self.lately.put(number, &bytes);
                        bytes
                    }
                };
                let bytes = bytes.get(inside..).and_then(|bytes| bytes.get(..count)).unwrap_or_default();
                if bytes.len() != count {
                    return Err(unsound(start, length as u64, "a block came out too short"));
                }
                now.copy_from_slice(bytes);
            }
            (buffer, at) = (later, at + count as u64);
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        Ok(self.blocks.next_data(from.0))
    }

    fn sector_size(&self) -> u32 {
        self.blocks.medium().sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.blocks.medium().still_there()
    }
}

/// Packed bytes that cannot be unpacked, told at the offset of the content where they begin to be missing.
pub(super) fn unsound(
    offset: u64,
    length: u64,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ReadError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
    ReadError::Unreadable { offset: DiskOffset(offset), length, source }
}

/// An error of packed bytes, told of the content that they hold.
pub(super) fn told(error: ReadError, offset: u64, length: u64) -> ReadError {
    let at = DiskOffset(offset);
    match error {
        ReadError::Unreadable { source, .. } => ReadError::Unreadable { offset: at, length, source },
        ReadError::Damaged { reason, .. } => ReadError::Damaged { offset: at, reason },
        // The packed bytes end before they should; the content does not.
        error @ ReadError::BeyondEnd { .. } => unsound(offset, length, error),
        gone @ ReadError::Gone { .. } => gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Blocks of 10 bytes that count themselves; the third is damaged.
    struct Counting(Vec<u8>, Mutex<Vec<u64>>);

    impl Blocks for Counting {
        fn size(&self) -> u64 {
            75
        }

        fn block(&self) -> u64 {
            10
        }

        fn unpack(&self, number: u64, out: &mut [u8]) -> Result<(), ReadError> {
            self.1.lock().expect("sound").push(number);
            assert_eq!(out.len(), if number == 7 { 5 } else { 10 });
            if number == 2 {
                return Err(unsound(20, 10, "a test"));
            }
            out.copy_from_slice(&self.0[number as usize * 10..][..out.len()]);
            Ok(())
        }

        fn medium(&self) -> &dyn ReadAt {
            &self.0
        }
    }

    #[test]
    fn whole_blocks_go_by_those_that_are_kept() {
        let bytes: Vec<u8> = (0..75).collect();
        let unpacked = Unpacked::new(Counting(bytes.clone(), Mutex::default()));
        let read = |at: u64, length: usize| {
            let mut buffer = vec![0; length];
            unpacked.read_at(DiskOffset(at), &mut buffer).expect("sound");
            assert_eq!(buffer, bytes[at as usize..][..length]);
            std::mem::take(&mut *unpacked.blocks.1.lock().expect("sound"))
        };
        assert_eq!((read(3, 4), read(7, 3)), (vec![0], vec![]));
        assert_eq!(read(0, 15), [0, 1]);
        assert_eq!(read(12, 3), [0; 0]);
        assert_eq!(read(70, 5), [7], "the last one is whole with fewer bytes");
        assert_eq!(read(35, 40), [3, 4, 5, 6, 7]);
        assert_eq!((read(71, 4), read(41, 1), read(51, 1)), (vec![7], vec![4], vec![5]));
        assert_eq!((read(71, 4), read(1, 1)), (vec![], vec![0]), "what was used last is kept");
        let error = unpacked.read_at(DiskOffset(15), &mut [0; 10]).expect_err("damaged");
        assert!(matches!(error, ReadError::Unreadable { offset: DiskOffset(20), length: 10, .. }), "{error:?}");
        unpacked.read_at(DiskOffset(74), &mut [0; 2]).expect_err("behind the end");
    }
}
