//! Who goes next: of several actors exactly one runs at a time, and chance that follows from the seed says which.
//!
//! Always true here: a choice is made only when every actor waits or has ended, so that it depends on the seed and on what was done, and never on
//! which thread was faster.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = self.next().to_le_bytes());
        bytes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Waiting,
    Ended,
}

struct State {
    actors: Vec<Phase>,
    chance: Chance,
}

/// Lets one actor run at a time.
pub(crate) struct Arbiter {
    state: Mutex<State>,
    turns: Vec<Condvar>,
}

impl Arbiter {
    /// For so many actors, all of which are about to call [`Self::pause`].
    pub(crate) fn new(actors: usize, seed: u64) -> Self {
        let state = State { actors: vec![Phase::Running; actors], chance: Chance::new(seed) };
        Self { state: Mutex::new(state), turns: (0..actors).map(|_| Condvar::new()).collect() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses the next, where nobody runs.
    fn choose(&self, state: &mut State) {
        if state.actors.contains(&Phase::Running) {
            return;
        }
        let waiting: Vec<usize> =
            (0..state.actors.len()).filter(|actor| state.actors[*actor] == Phase::Waiting).collect();
        if waiting.is_empty() {
            return;
        }
        let next = waiting[usize::try_from(state.chance.below(waiting.len() as u64)).expect("small")];
        state.actors[next] = Phase::Running;
        self.turns[next].notify_one();
    }

    /// Waits for this actor's turn.
    pub(crate) fn pause(&self, actor: usize) {
        let mut state = self.state();
        assert_eq!(state.actors[actor], Phase::Running, "an actor does two things at once");
        state.actors[actor] = Phase::Waiting;
        self.choose(&mut state);
        while state.actors[actor] != Phase::Running {
            state = self.turns[actor].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// This actor does no more.
    pub(crate) fn end(&self, actor: usize) {
        let mut state = self.state();
        state.actors[actor] = Phase::Ended;
        self.choose(&mut state);
    }
}
