//! How much a prune gives back.

use super::common::sources::noise;
use super::common::{Fixture, small_config};
use super::{ALL, assert_tidy, forget, prune, prune_with};
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::prune::{MaxUnused, PruneOptions};
use sheaf::storage::sim::SimStorage;

/// Disks that share parts: each has a part of its own, and one that all have.
fn disks(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|disk| [noise(1, 200_000), noise(u64::from(disk) + 10, 300_000)].concat()).collect()
}

fn stored(medium: &SimStorage) -> u64 {
    medium
        .objects()
        .iter()
        .filter(|(name, _)| name.kind() != ObjectKind::Audit)
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

#[test]
fn after_half_was_forgotten_the_repository_is_as_small_as_one_that_never_had_it() {
    let disks = disks(8);
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    let made: Vec<ObjectId> =
        disks.iter().map(|disk| machine.backup("stick", disk).expect("a backup").snapshot).collect();
    let clean = SimStorage::new();
    let other = Fixture::make(clean.another_process());
    for disk in disks.iter().skip(1).step_by(2) {
        other.backup("stick", disk).expect("a backup");
    }
    for snapshot in made.iter().step_by(2) {
        forget(&medium, *snapshot);
    }
    let (plan, report) = prune(&machine);
    assert!(plan.delete.packs > 0 && plan.repack.packs > 0 && report.waiting_for.is_empty(), "{plan:?} {report:?}");
    let kept: Vec<_> = made.iter().copied().zip(&disks).skip(1).step_by(2).collect();
    machine.assert_sound(&kept, "pruned");
    assert_tidy(&medium, &machine, "pruned");
    let (with, without) = (stored(&medium), stored(&clean));
    assert!(with * 100 <= without * 102, "{with} bytes are stored, {without} would be without what was forgotten");
    // There is nothing more to be had.
    let (plan, report) = prune(&machine);
    assert!(plan.is_empty() && report.deleted.packs == 0 && report.segments_written == 0, "{plan:?} {report:?}");
    // And a new machine, and one that knew what is gone, both go on.
    for machine in [Fixture::open(medium.another_process()), machine] {
        let again = machine.backup("again", &disks[0]).expect("a backup").snapshot;
        machine.assert_sound(&[(again, &disks[0]), kept[0]], "backed up again");
    }
}

#[test]
fn when_all_was_forgotten_nothing_stays_but_the_keys_and_the_config() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    let made = machine.backup("stick", &noise(1, 300_000)).expect("a backup").snapshot;
    forget(&medium, made);
    prune(&machine);
    let left: Vec<ObjectKind> = medium.objects().into_keys().map(ObjectName::kind).collect();
    assert!(
        left.iter().all(|kind| matches!(kind, ObjectKind::Config | ObjectKind::Key | ObjectKind::Index)),
        "{left:?}"
    );
    assert!(medium.names(ObjectKind::Index).len() <= 1, "an index that lists nothing");
}

#[test]
fn limits_are_kept() {
    let disks = disks(6);
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    let made: Vec<ObjectId> =
        disks.iter().map(|disk| machine.backup("stick", disk).expect("a backup").snapshot).collect();
    forget(&medium, made[0]);
    forget(&medium, made[1]);
    let copy = || {
        let medium = SimStorage::from_objects(medium.objects());
        (machine.twin(medium.another_process()), medium)
    };
    let (twin, _) = copy();
    let unlimited = PruneOptions { max_unused: MaxUnused::Unlimited, max_repack: None };
    let (plan, report) = prune_with(&twin, unlimited).unwrap();
    assert!(plan.repack.packs == 0 && report.written.packs == 0 && plan.unused_after > 0, "{plan:?}");
    let (twin, _) = copy();
    let few = PruneOptions { max_repack: Some(70_000), ..ALL };
    let (plan, report) = prune_with(&twin, few).unwrap();
    assert!(plan.repack.bytes <= 70_000 && plan.repack.packs > 0 && report.repacked == plan.repack, "{plan:?}");
    let (twin, medium) = copy();
    let (plan, _) = prune_with(&twin, PruneOptions { max_unused: MaxUnused::Share(1000), max_repack: None }).unwrap();
    assert!(plan.unused_after * 10 <= plan.used, "{plan:?}");
    let kept: Vec<_> = made.iter().copied().zip(&disks).skip(2).collect();
    twin.assert_sound(&kept, "some stays unused");
    // What was planned is what is there.
    let bytes: u64 = medium
        .objects()
        .iter()
        .filter(|(name, _)| name.kind() == ObjectKind::Pack)
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    assert!(bytes.abs_diff(plan.total.bytes - plan.gain()) * 50 < bytes, "{bytes} {plan:?}");
}

#[test]
fn many_small_packs_and_segments_become_few() {
    let medium = SimStorage::new();
    let machine = Fixture::make_with(medium.another_process(), small_config());
    let disks: Vec<Vec<u8>> = (0..12).map(|disk| noise(disk + 1, 9_000)).collect();
    let made: Vec<_> =
        disks.iter().map(|disk| (machine.backup("stick", disk).expect("a backup").snapshot, disk)).collect();
    let before = (medium.names(ObjectKind::Pack).len(), medium.names(ObjectKind::Index).len());
    let (plan, report) = prune(&machine);
    let after = (medium.names(ObjectKind::Pack).len(), medium.names(ObjectKind::Index).len());
    assert!(
        before.0 >= 24 && before.1 >= 12 && after.0 <= 6 && after.1 <= 3,
        "{before:?} {after:?} {plan:?} {report:?}"
    );
    machine.assert_sound(&made, "merged");
    assert_tidy(&medium, &machine, "merged");
}
