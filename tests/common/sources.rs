//! Disks to back up: bytes that are the same in every run, and disks that fail as planned.
//!
//! Always true here: the same seed gives the same bytes; noise has no zeros in a row and does not compress, so that a test can
//! reckon with sizes.

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that look random.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

/// What goes wrong with a [`FaultyDisk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// From the read of this number on, the disk ends at this size.
    Shrinks { read: u64, to: u64 },
    /// From the read of this number on, nothing is given, and the disk says that it is gone.
    Vanishes { read: u64 },
    /// From the read of this number on, nothing is given; only when asked does the disk say that it is gone.
    VanishesSilently { read: u64 },
    /// Reads that touch one of these ranges fail, each time.
    Unreadable(Vec<Range<u64>>),
    /// Questions where data lies fail from the read of this number on.
    MapVanishes { read: u64 },
}

/// A disk in memory with one fault. Reads are counted from 0.
pub(crate) struct FaultyDisk {
    bytes: Vec<u8>,
    fault: DiskFault,
    reads: AtomicU64,
}

impl FaultyDisk {
    /// A disk with these bytes.
    pub(crate) fn new(bytes: Vec<u8>, fault: DiskFault) -> Self {
        Self { bytes, fault, reads: AtomicU64::new(0) }
    }

    fn gone() -> ReadError {
        ReadError::Gone { reason: "unplugged by the test".to_owned() }
    }

    fn refused(offset: DiskOffset, length: usize) -> ReadError {
        ReadError::Unreadable { offset, length: length as u64, source: io::Error::other("a bad sector of the test") }
    }
}

impl ReadAt for FaultyDisk {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst);
        let end = offset.0 + buffer.len() as u64;
        match &self.fault {
            DiskFault::Shrinks { read, to } if number >= *read && end > *to => {
                return Err(ReadError::BeyondEnd { offset, length: buffer.len() as u64, size: *to });
            }
            DiskFault::Vanishes { read } if number >= *read => return Err(Self::gone()),
            DiskFault::VanishesSilently { read } if number >= *read => {
                return Err(Self::refused(offset, buffer.len()));
            }
            DiskFault::Unreadable(ranges) if ranges.iter().any(|bad| bad.start < end && offset.0 < bad.end) => {
                return Err(Self::refused(offset, buffer.len()));
            }
            _ => {}
        }
        self.bytes.read_at(offset, buffer)
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        match &self.fault {
            DiskFault::MapVanishes { read } if self.reads.load(Ordering::SeqCst) >= *read => Err(Self::gone()),
            // A little at a time, so that it is asked again while it is read.
            DiskFault::MapVanishes { .. } => {
                let end = ((from.0 >> 22) + 1) << 22;
                Ok(self.bytes.next_data(from)?.map(|data| data.start..data.end.min(end)))
            }
            _ => self.bytes.next_data(from),
        }
    }

    fn still_there(&self) -> Result<(), ReadError> {
        match &self.fault {
            DiskFault::VanishesSilently { read } if self.reads.load(Ordering::SeqCst) > *read => Err(Self::gone()),
            _ => Ok(()),
        }
    }
}
