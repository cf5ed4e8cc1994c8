//! Time as storage sees it: handed in, so that a test neither waits nor depends on how fast the machine is.
//!
//! Always true here:
//! - Who waits looks every tenth of a second whether somebody asked to stop.
//! - A [`ManualClock`] moves only when somebody waits on it, or when it is told to.

use crate::storage::StorageError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest time for which nobody looks whether to stop.
const SLICE: Duration = Duration::from_millis(100);

/// Time, waiting, and chance.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// How long ago some moment was that never changes.
    fn now(&self) -> Duration;
    /// Returns when this much time has passed.
    fn sleep(&self, time: Duration);
    /// Any number; all are as likely.
    fn chance(&self) -> u32;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn chance(&self) -> u32 {
        // Without random numbers those who failed together try again together, which harms little.
        getrandom::u32().unwrap_or(u32::MAX / 2)
    }
}

/// A clock for tests: waiting takes no time and moves it on.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Duration>);

impl ManualClock {
    /// Moves it on.
    pub fn advance(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }

    /// Always the same, so that waits can be told in advance: the largest.
    fn chance(&self) -> u32 {
        u32::MAX
    }
}

/// Says whether somebody asked to stop.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// A clock to wait on, and the wish to stop.
#[derive(Clone)]
pub struct Pauses {
    clock: Arc<dyn Clock>,
    stop: Stop,
}

impl std::fmt::Debug for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pauses").field(&self.clock).finish()
    }
}

impl Pauses {
    /// Waits on this clock, until somebody asks to stop.
    pub fn new(clock: Arc<dyn Clock>, stop: Stop) -> Self {
        Self { clock, stop }
    }

    /// As [`Clock::now`].
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// A share of this time by chance: half of it at least.
    pub(super) fn jittered(&self, time: Duration) -> Duration {
        let half = time / 2;
        half + half.mul_f64(f64::from(self.clock.chance()) / f64::from(u32::MAX))
    }

    /// Waits this long. `place` is what is waited for.
    ///
    /// # Errors
    /// [`StorageError::Stopped`].
    pub(super) fn wait(&self, time: Duration, place: &dyn Fn() -> String) -> Result<(), StorageError> {
        let mut left = time;
        loop {
            if (self.stop)() {
                return Err(StorageError::Stopped { place: place() });
            }
            if left.is_zero() {
                return Ok(());
            }
            let slice = left.min(SLICE);
            self.clock.sleep(slice);
            left -= slice;
        }
    }
}
