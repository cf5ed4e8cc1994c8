//! The simulator: several machines back up, forget, prune, check and restore at the same time, over a storage that tears, delays, repeats, fails and
//! runs full, while processes die at any step. Everything follows from a seed.
//!
//! ```text
//! cargo test --release --features simulator --test simulator                                  # some thousands of seeds
//! SHEAF_SEED=4711 cargo test --release --features simulator --test simulator one_seed -- --ignored --nocapture
//! SHEAF_SEEDS=0..100000 cargo test --release --features simulator --test simulator until -- --ignored --nocapture
//! cargo test --release --features simulator --test simulator until -- --ignored --nocapture   # until it is stopped
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::indexing_slicing)]

mod actors;
mod arbiter;
#[path = "../common/mod.rs"]
mod common;
mod scene;
mod world;

use common::sources::noise;
use sheaf::ops::prune::canary::{Canary, leave_out};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Seeds that every run goes through.
const SEEDS: u64 = 2000;
/// Within so many seeds each canary must be found.
const CANARY: u64 = 1000;

/// The disks that are backed up: all of them have pieces in common.
fn disks() -> &'static [Vec<u8>] {
    static DISKS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    DISKS.get_or_init(|| {
        let pieces: Vec<Vec<u8>> = (0..8).map(|piece| noise(100 + piece, 9_000)).collect();
        let disk = |numbers: &[usize]| numbers.iter().flat_map(|number| pieces[*number].clone()).collect();
        let numbers: [&[usize]; 7] = [&[0, 1, 2], &[1, 2, 3], &[0, 3, 4, 5], &[5, 6], &[6, 7, 0], &[2], &[7, 4, 1, 0]];
        numbers.into_iter().map(disk).collect()
    })
}

/// What is left out is left out in the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs seeds on all cores; gives the lowest seed that shows a violation, and what it is.
fn search(seeds: std::ops::Range<u64>, progress: bool) -> Option<(u64, String)> {
    let (next, began) = (AtomicU64::new(seeds.start), Instant::now());
    let found = Mutex::new(None::<(u64, String)>);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    let is_found = found.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                    if seed >= seeds.end || is_found {
                        return;
                    }
                    if let Some(violation) = scene::run(seed).violation {
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *found = Some((seed, violation));
                        }
                    }
                    let done = seed - seeds.start + 1;
                    if progress && done.is_multiple_of(1000) {
                        eprintln!("{done} seeds in {} s", began.elapsed().as_secs());
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn whatever_happens_what_was_committed_restores() {
    let _alone = alone();
    if let Some((seed, violation)) = search(0..SEEDS, false) {
        panic!("seed {seed}: {violation}");
    }
}

#[test]
fn a_seed_replays_exactly() {
    let _alone = alone();
    let mut steps = 0;
    for seed in 0..40 {
        let (one, other) = (scene::run(seed), scene::run(seed));
        let differs = one.steps.iter().zip(&other.steps).position(|(one, other)| one != other);
        assert_eq!(
            differs,
            None,
            "seed {seed}: {:?} and {:?}",
            one.steps.get(differs.unwrap_or(0)),
            other.steps.get(differs.unwrap_or(0))
        );
        assert_eq!((one.steps.len(), one.violation), (other.steps.len(), other.violation), "seed {seed}");
        steps += one.steps.len();
    }
    assert!(steps > 40 * 50, "{steps} steps are too few to show anything");
}

#[test]
fn every_canary_is_found() {
    let _alone = alone();
    for canary in [Canary::Sessions, Canary::SecondLook, Canary::OthersRetirements, Canary::Retirement] {
        leave_out(Some(canary));
        let found = search(0..CANARY, false);
        leave_out(None);
        let Some((seed, violation)) = found else { panic!("{canary:?} is not found in {CANARY} seeds") };
        eprintln!("{canary:?}: seed {seed}: {violation}");
    }
}

#[test]
#[ignore = "runs one seed, SHEAF_SEED"]
fn one_seed() {
    let seed = std::env::var("SHEAF_SEED").expect("a seed").parse().expect("a number");
    let outcome = scene::run(seed);
    for step in &outcome.steps {
        eprintln!("{:3} {:6} {}", step.process, step.what, step.path.get(..40).unwrap_or(&step.path));
    }
    assert_eq!(outcome.violation, None);
}

#[test]
#[ignore = "runs until it is stopped, or through SHEAF_SEEDS"]
fn until_stopped() {
    let seeds = std::env::var("SHEAF_SEEDS").unwrap_or_else(|_| format!("0..{}", u64::MAX));
    let (start, end) = seeds.split_once("..").expect("a range, as in 0..100000");
    let seeds = start.parse().expect("a number")..end.parse().expect("a number");
    if let Some((seed, violation)) = search(seeds, true) {
        panic!("seed {seed}: {violation}");
    }
}
