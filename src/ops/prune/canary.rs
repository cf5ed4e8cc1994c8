//! Bugs that the simulator must find: each is a step of the order of a prune that can be left out, in a build with the feature `simulator` alone.
//!
//! Always true here: without the feature nothing is ever left out.

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// Waiting for the sessions that do not know a retirement.
    Sessions = 1,
    /// The second look at the snapshots.
    SecondLook = 2,
    /// Seeing what other prunes have condemned.
    OthersRetirements = 3,
    /// Condemning before deleting.
    Retirement = 4,
}

#[cfg(feature = "simulator")]
static LEFT_OUT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// From now on this step is left out; with `None` all are done.
#[cfg(feature = "simulator")]
pub fn leave_out(canary: Option<Canary>) {
    LEFT_OUT.store(canary.map_or(0, |canary| canary as u8), std::sync::atomic::Ordering::SeqCst);
}

/// True where this step is left out.
#[cfg(feature = "simulator")]
pub(super) fn is_left_out(canary: Canary) -> bool {
    LEFT_OUT.load(std::sync::atomic::Ordering::SeqCst) == canary as u8
}

/// True where this step is left out.
#[cfg(not(feature = "simulator"))]
pub(super) const fn is_left_out(_: Canary) -> bool {
    false
}
