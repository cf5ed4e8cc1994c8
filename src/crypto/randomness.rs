//! Where random numbers come from: the operating system.
//!
//! In a build with the feature `simulator`, which no release has, a thread may be given a stream that follows from a seed, so that a test that
//! runs many schedules can run one of them again. A thread that spawns others hands them streams of their own with [`fork`].
//!
//! Always true here: without the feature there is no other source, and [`Fork`] is nothing.

use super::CryptoError;

/// Fills the buffer.
pub(super) fn fill(buffer: &mut [u8]) -> Result<(), CryptoError> {
    #[cfg(feature = "simulator")]
    if seeded::fill(buffer) {
        return Ok(());
    }
    getrandom::fill(buffer).map_err(|error| CryptoError::Random(error.to_string()))
}

/// What a thread that is spawned takes over of the one that spawns it.
#[derive(Debug, Default)]
pub struct Fork {
    #[cfg(feature = "simulator")]
    seed: Option<[u8; 32]>,
}

/// What the next thread that this one spawns is to take over.
#[must_use]
pub fn fork() -> Fork {
    #[cfg(feature = "simulator")]
    {
        Fork { seed: seeded::draw() }
    }
    #[cfg(not(feature = "simulator"))]
    {
        Fork {}
    }
}

impl Fork {
    /// Takes it over, in the thread that was spawned.
    #[cfg_attr(not(feature = "simulator"), allow(clippy::missing_const_for_fn, reason = "it is not in simulators"))]
    pub fn enter(self) {
        #[cfg(feature = "simulator")]
        if let Some(seed) = self.seed {
            set(Some(seed));
        }
    }
}

#[cfg(feature = "simulator")]
pub use seeded::set;

#[cfg(feature = "simulator")]
mod seeded {
    use std::cell::RefCell;

    thread_local! {
        static STREAM: RefCell<Option<blake3::OutputReader>> = const { RefCell::new(None) };
    }

    /// From now on this thread's random numbers follow from the seed; with `None` they are random again.
    pub fn set(seed: Option<[u8; 32]>) {
        let stream = seed.map(|seed| blake3::Hasher::new_keyed(&seed).finalize_xof());
        STREAM.with(|cell| *cell.borrow_mut() = stream);
    }

    pub(super) fn fill(buffer: &mut [u8]) -> bool {
        STREAM.with(|cell| cell.borrow_mut().as_mut().map(|stream| stream.fill(buffer)).is_some())
    }

    pub(super) fn draw() -> Option<[u8; 32]> {
        let mut seed = [0; 32];
        fill(&mut seed).then_some(seed)
    }
}
