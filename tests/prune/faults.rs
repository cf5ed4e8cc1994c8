//! A prune that is cut off, or has no room, at any write: nothing is lost, and the next prune finishes.

use super::common::sources::noise;
use super::common::{Fixture, pace};
use super::{ALL, assert_tidy, forget, prune, prune_with};
use sheaf::ids::ObjectId;
use sheaf::names::ObjectKind;
use sheaf::storage::sim::{Fault, SimStorage};

struct Scene {
    medium: SimStorage,
    machine: Fixture,
    kept: Vec<(ObjectId, Vec<u8>)>,
    /// Bytes of packs when all is done.
    clean: usize,
}

fn bytes_of_packs(medium: &SimStorage) -> usize {
    medium.objects().iter().filter(|(name, _)| name.kind() == ObjectKind::Pack).map(|(_, bytes)| bytes.len()).sum()
}

impl Scene {
    fn new() -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.another_process());
        let disks: Vec<Vec<u8>> = (0..6).map(|disk| [noise(1, 60_000), noise(disk + 10, 90_000)].concat()).collect();
        let made: Vec<_> = disks.iter().map(|disk| machine.backup("stick", disk).expect("a backup").snapshot).collect();
        let mut kept = Vec::new();
        for (number, (snapshot, disk)) in made.into_iter().zip(disks).enumerate() {
            if number % 2 == 0 { forget(&medium, snapshot) } else { kept.push((snapshot, disk)) }
        }
        let done = SimStorage::from_objects(medium.objects());
        prune(&machine.twin(done.clone()));
        Self { clean: bytes_of_packs(&done), medium, machine, kept }
    }

    fn assert_kept(&self, machine: &Fixture, when: &str) {
        let kept: Vec<_> = self.kept.iter().map(|(snapshot, disk)| (*snapshot, disk)).collect();
        machine.assert_sound(&kept, when);
    }

    fn fail_at_every_write(&self, fault: Fault) -> u64 {
        for write in (0..).step_by(pace()) {
            let medium = SimStorage::from_objects(self.medium.objects());
            let process = medium.another_process();
            process.fail_at(write, fault);
            let machine = self.machine.twin(process.clone());
            let result = prune_with(&machine, ALL);
            if process.writes() <= write {
                result.expect("no fault was met");
                return write;
            }
            let when = format!("{fault:?} at write {write}");
            let survivor = machine.after_a_restart(medium.another_process());
            self.assert_kept(&survivor, &when);
            medium.free();
            // A lease that a dead process left is dead on its machine only when its lock is.
            let (_, report) = prune(&survivor);
            assert!(report.waiting_for.is_empty(), "{when}: {report:?}");
            self.assert_kept(&survivor, &when);
            prune(&survivor);
            assert_tidy(&medium, &survivor, &when);
            let bytes = bytes_of_packs(&medium);
            assert!(bytes <= self.clean + 2 * 65_536, "{when}: {bytes} bytes stay of {}", self.clean);
        }
        0
    }
}

#[test]
fn a_prune_that_dies_at_any_write_loses_nothing_and_the_next_finishes() {
    let scene = Scene::new();
    for fault in [Fault::Crash, Fault::CrashAfter] {
        let writes = scene.fail_at_every_write(fault);
        assert!(writes > 20, "{writes} writes");
    }
}

#[test]
fn a_write_that_fails_or_whose_answer_is_lost_costs_nothing() {
    let scene = Scene::new();
    for fault in [Fault::Error, Fault::ErrorAfter] {
        scene.fail_at_every_write(fault);
    }
}

#[test]
fn a_medium_that_is_full_from_any_write_on_loses_nothing() {
    Scene::new().fail_at_every_write(Fault::Full);
}
