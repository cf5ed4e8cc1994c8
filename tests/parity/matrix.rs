//! Lost runs of objects: of every kind, of every length up to the promise and one byte more, at every interesting place, and lost in each way
//! in which a medium loses bytes.

use super::{Scene, beyond, changed, runs, touched};
use crate::common::sources::noise;
use proptest::prelude::*;
use sheaf::format::parity::Layout;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::repo::parity::{Condition, ParityError, inspect, mend, salvage};
use sheaf::storage::Storage;
use std::ops::Range;

/// How a medium loses a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loss {
    /// Other bytes come back.
    Changed,
    /// Reading fails.
    Unreadable,
    /// The object ends where the run begins: for runs at its end.
    CutOff,
}

impl Loss {
    pub(super) fn happen(self, scene: &Scene, name: ObjectName, run: &Range<u64>) {
        let bytes = &scene.objects[&name];
        match self {
            Self::Changed => scene.medium.overwrite(name, changed(bytes, run.clone())),
            Self::Unreadable => scene.medium.fail_reads_within(name, run.clone()),
            Self::CutOff => scene.medium.overwrite(name, bytes[..run.start as usize].to_vec()),
        }
    }
}

/// Where a run of this length may begin.
fn starts(layout: &Layout, length: u64) -> Vec<u64> {
    let last = layout.length() - length;
    let near = [0, 1, 511, 4095, 4096, 4097, 3 * 4096, 5 * 4096 - 1];
    let mut starts: Vec<u64> =
        near.into_iter().chain([last / 2, last.saturating_sub(4095), last.saturating_sub(1), last]).collect();
    starts.retain(|start| *start <= last);
    starts.sort_unstable();
    starts.dedup();
    starts
}

#[test]
fn every_run_up_to_the_promise_is_mended_to_identical_bytes() {
    for ratio in [2, 33] {
        let scene = Scene::new(ratio);
        let mut shapes = [false; 3];
        for (name, bytes, layout) in scene.covered() {
            shapes[match (layout.sectors(), layout.codewords()) {
                (..=4, _) => 0,
                (_, 1) => 1,
                _ => 2,
            }] = true;
            let promise = layout.promise();
            let mut lengths = vec![1, 512, 4096, 4097, promise / 2, promise.saturating_sub(1), promise];
            lengths.retain(|length| (1..=promise).contains(length));
            for length in lengths {
                for start in starts(&layout, length) {
                    let run = start..start + length;
                    for loss in [Loss::Changed, Loss::Unreadable, Loss::CutOff] {
                        if loss == Loss::CutOff && run.end != layout.length() {
                            continue;
                        }
                        let case = format!("{name}, {layout:?}, {run:?} {loss:?}");
                        loss.happen(&scene, name, &run);
                        let sectors = touched(&layout, &run);
                        let expected =
                            Condition::Mendable { sectors: sectors.end - sectors.start, runs: runs(&layout, sectors) };
                        assert_eq!(inspect(&scene.medium, name).expect(&case), expected, "{case}");
                        assert!(mend(&scene.medium, name).expect(&case) == *bytes, "{case}");
                        scene.undo(name);
                    }
                }
            }
            assert_eq!(inspect(&scene.medium, name).unwrap(), Condition::Whole);
        }
        assert!(shapes[0] && (shapes[1] || shapes[2]), "{shapes:?}");
        assert!(ratio != 2 || shapes[2], "several codewords");
    }
}

#[test]
fn one_byte_beyond_the_promise_is_lost_and_told_exactly() {
    let mut cases = 0;
    for ratio in [2, 33] {
        let scene = Scene::new(ratio);
        for (name, bytes, layout) in scene.covered() {
            let length = layout.promise() + 1;
            // The first byte is the last of its sector, so that the run touches as many sectors as it can.
            for start in [4095, 2 * 4096 - 1, (layout.length().saturating_sub(length) / 4096).max(1) * 4096 - 1] {
                if length >= layout.length() || start + length > layout.length() {
                    continue;
                }
                let run = start..start + length;
                for loss in [Loss::Changed, Loss::Unreadable] {
                    let case = format!("{name}, {layout:?}, {run:?} {loss:?}");
                    loss.happen(&scene, name, &run);
                    let lost: Vec<u64> = touched(&layout, &run).collect();
                    let beyond = beyond(&layout, &lost);
                    assert_eq!(beyond.len(), usize::from(layout.parity_sectors()) + 1, "{case}");
                    let expected = runs(&layout, beyond);
                    let sectors = lost.len() as u64;
                    let condition = Condition::Lost { sectors, runs: expected.clone() };
                    assert_eq!(inspect(&scene.medium, name).expect(&case), condition, "{case}");
                    let error = mend(&scene.medium, name).expect_err(&case);
                    assert!(matches!(&error, ParityError::Lost { runs, .. } if *runs == expected), "{case}: {error}");
                    // All else comes back.
                    let saved = salvage(&scene.medium, name).expect(&case);
                    let is_lost = |at: u64| saved.lost.iter().any(|run| run.contains(&at));
                    let differs = (0..)
                        .zip(saved.bytes.iter().zip(bytes))
                        .find(|(at, (one, other))| one != other && !is_lost(*at));
                    assert_eq!((differs, saved.bytes.len()), (None, bytes.len()), "{case}");
                    scene.undo(name);
                    cases += 1;
                }
            }
        }
    }
    assert!(cases >= 8, "{cases}");
}

#[test]
fn small_objects_come_back_when_they_are_gone_and_larger_ones_tell_what_is_lost() {
    let scene = Scene::new(2);
    for (name, bytes, layout) in scene.covered() {
        for size in [None, Some(0), Some(bytes.len() / 2)] {
            match size {
                None => drop(scene.medium.remove(name)),
                Some(size) => scene.medium.overwrite(name, bytes[..size].to_vec()),
            }
            let case = format!("{name} of {} cut to {size:?}", bytes.len());
            let from = size.unwrap_or(0) as u64 / u64::from(layout.sector_length());
            let lost: Vec<u64> = (from..layout.sectors()).collect();
            let beyond = beyond(&layout, &lost);
            let condition = inspect(&scene.medium, name).expect(&case);
            if beyond.is_empty() {
                let expected = Condition::Mendable { sectors: lost.len() as u64, runs: runs(&layout, lost) };
                assert_eq!(condition, expected, "{case}");
                assert!(mend(&scene.medium, name).expect(&case) == *bytes, "{case}");
            } else {
                assert!(layout.sectors() > 4, "{case}");
                let expected = Condition::Lost { sectors: lost.len() as u64, runs: runs(&layout, beyond) };
                assert_eq!(condition, expected, "{case}");
                assert!(mend(&scene.medium, name).is_err(), "{case}");
            }
        }
        scene.undo(name);
    }
}

#[test]
fn what_lies_behind_the_end_is_cut_off() {
    let scene = Scene::new(2);
    for (name, bytes, layout) in scene.covered() {
        for more in [1, 63, 4096, 10_000] {
            let grown = [bytes.as_slice(), &vec![0; more]].concat();
            let end = layout.length();
            // A config is not named by its bytes: with zeros behind it, it is no config.
            scene.medium.overwrite(name, grown);
            let expected = Condition::Mendable { sectors: 0, runs: std::iter::once(end..end + more as u64).collect() };
            assert_eq!(inspect(&scene.medium, name).unwrap(), expected, "{name}");
            assert!(mend(&scene.medium, name).unwrap() == *bytes, "{name}");
        }
        scene.undo(name);
    }
}

#[test]
fn an_object_of_zeros_that_cannot_be_read_is_not_whole() {
    // What is not read is not taken for the zeros that stand for it.
    let scene = Scene::new(2);
    let bytes = vec![0; 50_000];
    let name = ObjectName::pack(sheaf::crypto::derive::object_id(&bytes));
    scene.machine.repository().unwrap().storage().put(name, &[&bytes]).unwrap();
    assert_eq!(inspect(&scene.medium, name).unwrap(), Condition::Whole);
    scene.medium.fail_reads_within(name, 5000..5001);
    assert_eq!(
        inspect(&scene.medium, name).unwrap(),
        Condition::Mendable { sectors: 1, runs: std::iter::once(4096..8192).collect() }
    );
    assert!(mend(&scene.medium, name).unwrap() == bytes);
}

#[test]
fn a_config_that_cannot_be_read_is_mended_and_opens() {
    let scene = Scene::new(33);
    let name = ObjectName::CONFIG;
    let config = scene.objects[&name].clone();
    for bytes in [Some(changed(&config, 3..40)), Some(Vec::new()), None] {
        match bytes {
            Some(bytes) => scene.medium.overwrite(name, bytes),
            None => drop(scene.medium.remove(name)),
        }
        assert!(scene.machine.repository().is_err());
        let mended = mend(&scene.medium, name).unwrap();
        assert_eq!(mended, config);
        scene.medium.overwrite(name, mended);
        assert!(scene.machine.restore(scene.snapshot).unwrap() == scene.disk);
    }
}

#[test]
fn storage_that_is_down_is_no_damage() {
    let scene = Scene::new(2);
    let (name, ..) = scene.covered()[3];
    scene.medium.fail_at(scene.medium.writes(), sheaf::storage::sim::Fault::Crash);
    scene.medium.put(ObjectName::new(ObjectKind::Session, scene.snapshot), &[]).unwrap_err();
    for result in [inspect(&scene.medium, name).map(drop), mend(&scene.medium, name).map(drop)] {
        assert!(matches!(result, Err(ParityError::Storage(_))), "{result:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any M sectors of each codeword, wherever they are, and a run in each of them.
    #[test]
    fn any_sectors_that_each_codeword_can_lose_are_mended(seed: u64, length in 1..300_000_usize, ratio in 2..40_u16) {
        let bytes = noise(seed, length);
        let name = ObjectName::pack(sheaf::crypto::derive::object_id(&bytes));
        let medium = sheaf::storage::sim::SimStorage::new();
        let below = std::sync::Arc::new(medium.clone());
        let storage = sheaf::repo::parity::ParityStorage::new(below, sheaf::ids::RepositoryId::new([5; 16]), ratio);
        storage.put(name, &[&bytes]).unwrap();
        let layout = Layout::new(length as u64, ratio).unwrap();
        let mut damaged = bytes.clone();
        let mut chance = noise(seed ^ 1, layout.sectors() as usize).into_iter().cycle();
        let mut lost = Vec::new();
        for word in 0..u64::from(layout.codewords()) {
            let mut of_word: Vec<u64> = (word..layout.sectors()).step_by(layout.codewords() as usize).collect();
            of_word.sort_by_cached_key(|_| chance.next());
            of_word.truncate(layout.parity_sectors().into());
            for sector in of_word {
                let range = layout.sector(sector);
                damaged[range.start as usize + (range.end - range.start) as usize / 2] ^= 1;
                lost.push(sector);
            }
        }
        lost.sort_unstable();
        medium.overwrite(name, damaged);
        let expected = Condition::Mendable { sectors: lost.len() as u64, runs: runs(&layout, lost) };
        prop_assert_eq!(inspect(&medium, name).unwrap(), expected);
        prop_assert!(mend(&medium, name).unwrap() == bytes);
    }
}
