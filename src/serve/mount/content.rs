//! Reading a file's bytes, and finding the holes in it.
//!
//! Always true here:
//! - A read gives all bytes that were asked for, up to the end of the file, or none: with fewer the kernel would take the file for
//!   shorter than it is.
//! - No part of a file is called a hole that may hold anything but zeros.

use crate::disk::{DiskOffset, ReadAt, ReadError};

/// Runs that are looked at for one question after a hole; what follows them is taken for data.
const MOST_RUNS: usize = 1 << 16;

/// Fills the buffer with up to `size` bytes at `offset`, fewer where the file ends before.
///
/// # Errors
/// [`ReadError`] where one of them cannot be read.
pub(super) fn read(content: &dyn ReadAt, offset: u64, size: u32, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
    let left = content.size().saturating_sub(offset).min(u64::from(size));
    buffer.resize(usize::try_from(left).unwrap_or(0), 0);
    if buffer.is_empty() { Ok(()) } else { content.read_at(DiskOffset(offset), buffer) }
}

/// The first byte at or behind `from` that may be other than zero; none where there is only a hole up to the end, or nothing.
pub(super) fn data(content: &dyn ReadAt, from: u64) -> Option<u64> {
    let size = content.size();
    let next = match content.next_data(DiskOffset(from)) {
        Ok(run) => run?.start.max(from),
        // Who reads there learns what is wrong.
        Err(_) => from,
    };
    (next < size).then_some(next)
}

/// The first byte at or behind `from` that is in a hole, or the size; none from the end on.
pub(super) fn hole(content: &dyn ReadAt, from: u64) -> Option<u64> {
    let size = content.size();
    if from >= size {
        return None;
    }
    let mut at = from;
    for _ in 0..MOST_RUNS {
        match content.next_data(DiskOffset(at)) {
            Ok(Some(run)) if run.start <= at && run.end > at => at = run.end,
            Ok(Some(run)) if run.start > at => return Some(at.min(size)),
            Ok(None) => return Some(at.min(size)),
            // It cannot be told, or the run is none: the rest is not called a hole.
            Ok(Some(_)) | Err(_) => return Some(size),
        }
        if at >= size {
            break;
        }
    }
    Some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    /// A disk with these runs of data; the last one may be nonsense.
    struct Runs(u64, Vec<Range<u64>>);

    impl ReadAt for Runs {
        fn size(&self) -> u64 {
            self.0
        }

        fn read_at(&self, _: DiskOffset, _: &mut [u8]) -> Result<(), ReadError> {
            Err(ReadError::Gone { reason: "a test".into() })
        }

        fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
            if from.0 == 666 {
                return Err(ReadError::Gone { reason: "a test".into() });
            }
            Ok(self.1.iter().find(|run| run.end > from.0 || run.is_empty()).cloned())
        }
    }

    #[test]
    fn reads_end_where_the_file_ends() {
        let content: Vec<u8> = (0..10).collect();
        let mut buffer = vec![99; 3];
        for (offset, size, expected) in [(0, 4, &content[..4]), (8, 4, &content[8..]), (10, 4, &[]), (u64::MAX, 4, &[])]
        {
            read(&content, offset, size, &mut buffer).unwrap();
            assert_eq!(buffer, expected, "{offset}");
        }
        assert!(read(&Runs(4, vec![]), 0, 1, &mut buffer).is_err());
    }

    #[test]
    fn holes_and_data_follow_each_other() {
        let disk = Runs(100, vec![10..20, 20..30, 50..60]);
        assert_eq!(
            [0, 10, 29, 30, 59, 60, 99].map(|at| data(&disk, at)),
            [Some(10), Some(10), Some(29), Some(50), Some(59), None, None]
        );
        assert_eq!(
            [0, 10, 29, 30, 59, 60, 99, 100].map(|at| hole(&disk, at)),
            [Some(0), Some(30), Some(30), Some(30), Some(60), Some(60), Some(99), None]
        );
        assert_eq!((data(&vec![1, 2], 1), hole(&vec![1, 2], 1), data(&vec![1, 2], 2)), (Some(1), Some(2), None));
    }

    #[test]
    fn what_cannot_be_told_is_data() {
        let disk = Runs(1000, vec![0..666, 700..2000]);
        assert_eq!(
            (data(&disk, 666), hole(&disk, 666), hole(&disk, 5), hole(&disk, 800)),
            (Some(666), Some(1000), Some(1000), Some(1000))
        );
        assert_eq!(hole(&Runs(1000, vec![7..7, 9..9]), 7), Some(1000));
        assert_eq!(data(&Runs(1000, vec![5000..6000, 7000..7001]), 7), None);
        let torn = Runs(1 << 40, (0..1 << 17).map(|at| at * 2..at * 2 + 2).collect());
        assert_eq!(hole(&torn, 0), Some(1 << 40));
    }
}
