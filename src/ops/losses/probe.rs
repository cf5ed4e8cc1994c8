//! A disk with runs that are lost, which can tell whether somebody wanted them.
//!
//! Always true here:
//! - What is lost is an error at once, without a question to storage.
//! - While it is *probed*, nothing is read at all: a file's content is gone through at the speed of memory, and what of it is lost is
//!   counted. Only content whose places are known is read so; records are read for true.

use super::{total, within};
use crate::disk::{DiskOffset, Extent, ReadAt, ReadError, check_range};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes that are probed at once.
const STEP: usize = 1 << 20;

/// The disk. One thread probes it.
pub(super) struct Probe {
    disk: Arc<dyn ReadAt>,
    lost: Vec<Extent>,
    is_probed: AtomicBool,
    wanted: AtomicU64,
}

impl Probe {
    /// Of a disk whose runs `lost` are in rising order.
    pub(super) fn new(disk: Arc<dyn ReadAt>, lost: Vec<Extent>) -> Self {
        Self { disk, lost, is_probed: AtomicBool::new(false), wanted: AtomicU64::new(0) }
    }

    /// How many lost bytes a content has that was opened on this disk. Where `for_true`, the content is read, as it must be where it
    /// is packed in a way that tells by its bytes what else is read; then only as many are counted as are met.
    pub(super) fn lost_in(&self, content: &dyn ReadAt, for_true: bool) -> u64 {
        self.wanted.store(0, Ordering::Relaxed);
        self.is_probed.store(!for_true, Ordering::Relaxed);
        let (mut at, size) = (0, content.size());
        let mut buffer = vec![0; STEP.min(usize::try_from(size).unwrap_or(STEP))];
        while at < size {
            let count = usize::try_from(size - at).unwrap_or(STEP).min(STEP);
            // What fails is counted; the rest is of no interest here.
            _ = content.read_at(DiskOffset(at), &mut buffer[..count]);
            at += count as u64;
            match content.next_data(DiskOffset(at.min(size))) {
                Ok(Some(data)) => at = at.max(data.start),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        self.is_probed.store(false, Ordering::Relaxed);
        self.wanted.load(Ordering::Relaxed)
    }
}

impl ReadAt for Probe {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        check_range(offset, buffer.len() as u64, self.size())?;
        let lost = within(&self.lost, Extent { start: offset, length: buffer.len() as u64 });
        self.wanted.fetch_add(total(&lost), Ordering::Relaxed);
        if self.is_probed.load(Ordering::Relaxed) {
            buffer.fill(0);
            return Ok(());
        }
        match lost.first() {
            Some(first) => Err(ReadError::Damaged { offset: first.start, reason: "these bytes are lost".to_owned() }),
            None => self.disk.read_at(offset, buffer),
        }
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
