//! Looking for data in ranges of a disk that rise, without asking the disk twice for what one answer told.
//!
//! Always true here: the ranges that are asked for rise. What a disk said of one range then holds for those behind it,
//! so that a file with many small ranges and far data is asked once and not once a range.

use crate::disk::{DiskOffset, ReadAt, ReadError};
use std::ops::Range;

/// Runs of data that touch are handed on as one until it has this many bytes: enough that a caller is not called for
/// every block of a container, and little enough that one call has an end.
pub(super) const MERGE: u64 = 16 << 20;

/// The last answer of a disk, kept for the ranges behind it.
pub(super) struct DataSearch<'a> {
    disk: &'a dyn ReadAt,
    /// From where on was asked, and what was said.
    known: Option<(u64, Option<Range<u64>>)>,
}

impl<'a> DataSearch<'a> {
    pub(super) fn new(disk: &'a dyn ReadAt) -> Self {
        Self { disk, known: None }
    }

    /// The first run inside of `range` that may hold anything but zeros.
    ///
    /// # Errors
    /// What [`ReadAt::next_data`] says.
    pub(super) fn first_in(&mut self, range: &Range<u64>) -> Result<Option<Range<u64>>, ReadError> {
        if range.is_empty() {
            return Ok(None);
        }
        let data = match &self.known {
            Some((from, data)) if *from <= range.start && data.as_ref().is_none_or(|data| data.end > range.start) => {
                data.clone()
            }
            _ => {
                let data = self.disk.next_data(DiskOffset(range.start))?;
                self.known = Some((range.start, data.clone()));
                data
            }
        };
        let data = data.map(|data| data.start.max(range.start)..data.end.min(range.end));
        Ok(data.filter(|data| !data.is_empty()))
    }
}

/// Joins the runs that `next` finds while they touch and are together shorter than [`MERGE`].
///
/// # Errors
/// What `next` says of the first run; a later one that cannot be told ends the joining, and is asked for again by the
/// caller.
pub(super) fn joined(
    from: u64,
    end: u64,
    mut next: impl FnMut(Range<u64>) -> Result<Option<Range<u64>>, ReadError>,
) -> Result<Option<Range<u64>>, ReadError> {
    let Some(mut run) = next(from..end)? else {
        return Ok(None);
    };
    while run.end < end && run.end - run.start < MERGE {
        // What lies behind a gap is of no interest here: the range is short, so that little is searched in vain.
        match next(run.end..end.min(run.end.saturating_add(MERGE))) {
            Ok(Some(touching)) if touching.start == run.end => run.end = touching.end,
            Ok(_) | Err(_) => break,
        }
    }
    Ok(Some(run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Data at every multiple of `step`, one byte each, and a count of the questions.
    struct Dots {
        step: u64,
        asked: AtomicUsize,
    }

    impl ReadAt for Dots {
        fn size(&self) -> u64 {
            1 << 40
        }

        fn read_at(&self, _: DiskOffset, _: &mut [u8]) -> Result<(), ReadError> {
            Ok(())
        }

        fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let start = from.0.next_multiple_of(self.step);
            Ok((start < self.size()).then_some(start..start + 1))
        }
    }

    #[test]
    fn one_answer_serves_all_ranges_up_to_it() {
        let dots = Dots { step: 1000, asked: AtomicUsize::new(0) };
        let mut search = DataSearch::new(&dots);
        for start in 1..1000 {
            assert_eq!(search.first_in(&(start..start + 1)).expect("known"), None);
        }
        assert_eq!(search.first_in(&(998..1002)).expect("known"), Some(1000..1001));
        assert_eq!(dots.asked.load(Ordering::Relaxed), 1);
        assert_eq!(search.first_in(&(1001..1001)).expect("known"), None);
        assert_eq!(search.first_in(&(1001..3000)).expect("known"), Some(2000..2001));
        assert_eq!(dots.asked.load(Ordering::Relaxed), 2);
        // A range before what was asked is asked anew.
        assert_eq!(search.first_in(&(0..3000)).expect("known"), Some(0..1));
        assert_eq!(dots.asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn runs_that_touch_are_one_until_it_is_long() {
        let whole =
            |piece: u64| joined(5, 100 << 20, |range| Ok(Some(range.start..range.start + piece))).expect("told");
        assert_eq!(whole(MERGE), Some(5..5 + MERGE));
        assert_eq!(whole(1 << 20), Some(5..5 + MERGE));
        let gaps =
            joined(5, 100, |range| Ok(Some(range.start.next_multiple_of(10)..range.start.next_multiple_of(10) + 1)));
        assert_eq!(gaps.expect("told"), Some(10..11));
        assert_eq!(joined(5, 100, |_| Ok(None)).expect("told"), None);
    }
}
