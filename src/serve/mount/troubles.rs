//! What went wrong, told to the shelf, so that a person learns more than "input/output error".
//!
//! Always true here:
//! - The same line is told once until [`REMEMBERED`] others were told.
//! - A line is one line: it has no control characters, whatever names stand in it.

use super::shelf::Shelf;
use std::collections::VecDeque;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines that are remembered.
const REMEMBERED: usize = 256;

/// Tells a shelf what went wrong.
pub(super) struct Troubles {
    shelf: Arc<dyn Shelf>,
    told: Mutex<VecDeque<u64>>,
    hasher: RandomState,
}

impl Troubles {
    pub(super) fn new(shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf, told: Mutex::default(), hasher: RandomState::new() }
    }

    /// Tells that something at a place failed, and why.
    pub(super) fn tell(&self, place: impl Display, why: impl Display) {
        let line = format!("{place}: {why}").replace(char::is_control, "\u{fffd}");
        let hash = self.hasher.hash_one(&line);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&hash) {
            return;
        }
        if told.len() == REMEMBERED {
            told.pop_front();
        }
        told.push_back(hash);
        drop(told);
        self.shelf.trouble(&line);
    }

    /// As [`Troubles::tell`], of an error with all that it comes from.
    pub(super) fn tell_error(&self, place: impl Display, error: &dyn std::error::Error) {
        let causes = std::iter::successors(Some(error), |error| error.source());
        self.tell(place, causes.map(ToString::to_string).collect::<Vec<_>>().join(": "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskOffset, ReadError};
    use crate::layout::LayoutError;
    use crate::serve::mount::shelf::{OpenSnapshot, ShelfEntry, ShelfError};

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Shelf for Heard {
        fn list(&self) -> Result<Vec<ShelfEntry>, ShelfError> {
            Ok(Vec::new())
        }

        fn open(&self, id: &str) -> Result<Arc<dyn OpenSnapshot>, ShelfError> {
            Err(ShelfError(id.to_owned()))
        }

        fn trouble(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }

    #[test]
    fn a_line_is_told_once_for_a_while() {
        let heard = Arc::new(Heard::default());
        let troubles = Troubles::new(Arc::<Heard>::clone(&heard));
        troubles.tell("a\nb", "torn");
        troubles.tell("a\nb", "torn");
        for number in 0..REMEMBERED {
            troubles.tell(number, "other");
        }
        troubles.tell("a\nb", "torn");
        let source = ReadError::Damaged { offset: DiskOffset(9), reason: "pack 12".into() };
        troubles.tell_error("x", &LayoutError::Read { what: "a record", offset: DiskOffset(4), source });
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard.iter().filter(|line| *line == "a\u{fffd}b: torn").count(), 2);
        assert_eq!(
            heard.last().unwrap(),
            "x: a record at offset 4 cannot be read: the bytes at offset 9 are damaged in the repository: pack 12"
        );
    }
}
