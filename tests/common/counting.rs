//! A source that counts what is asked of it, so that a test can say what a reader costs without a clock.

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was asked of all sources that share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    questions: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Asked {
    /// How often something was asked: reads, and where data is.
    pub(crate) fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    /// Bytes that were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A source, and what was asked of it.
pub(crate) struct Counting<T>(pub T, pub Asked);

impl<T: ReadAt> ReadAt for Counting<T> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.1.questions.fetch_add(1, Ordering::Relaxed);
        self.1.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.0.read_at(offset, buffer)
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        self.1.questions.fetch_add(1, Ordering::Relaxed);
        self.0.next_data(from)
    }
}
