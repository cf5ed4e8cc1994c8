//! Disks that still have what is missing.

use super::{Fixture, Scene, plan, repair, source};
use crate::common::small_config;
use crate::common::sources::noise;
use sheaf::disk::ReadAt;
use sheaf::format::config::ConfigRecord;
use sheaf::layout::Keep;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::backup::BackupPlan;
use sheaf::ops::check::Depth;
use sheaf::ops::demo::make_stick;
use sheaf::ops::monitor::Silent;
use sheaf::ops::repair::{RepairSource, Step, Why};
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::RepoError;
use sheaf::repo::rotation::Rotation;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

/// Removes all packs.
fn lose_packs(medium: &SimStorage) {
    for name in medium.names(ObjectKind::Pack) {
        medium.remove(name);
    }
}

#[test]
fn the_sticks_bring_back_all_that_is_in_no_pack() {
    let scene = Scene::new();
    let medium = scene.medium();
    lose_packs(&medium);
    let machine = Fixture::open(medium.clone());
    let sticks = || vec![source("blue", scene.disks[1].2.clone()), source("red", scene.disks[0].2.clone())];
    let made = plan(&medium, &machine, sticks()).expect("a plan");
    assert_eq!(made.missing(), 0, "{:?}", made.steps());
    let each = made.steps().iter().filter(|step| matches!(step, Step::FromSource { chunks, .. } if *chunks > 20));
    assert_eq!(each.count(), 2, "{:?}", made.steps());
    drop(made);
    let report = repair(&medium, &machine, sticks(), "no pack is left");
    assert!(report.remaining.is_empty(), "{:?}", report.remaining);
    scene.assert_whole(&machine, "no pack was left");
}

#[test]
fn parity_of_what_is_gone_goes_aside_once_it_is_of_no_use() {
    let scene = Scene::with(ConfigRecord { parity: 33, ..small_config() });
    // All that is lost comes back.
    let medium = scene.medium();
    lose_packs(&medium);
    let machine = Fixture::open(medium.clone());
    let lost = machine.check(Depth::Structure).expect("a check").findings;
    assert!(lost.iter().any(|finding| finding.mendable == Some(false)), "too much for parity: {lost:?}");
    let sticks = vec![source("blue", scene.disks[1].2.clone()), source("red", scene.disks[0].2.clone())];
    let report = repair(&medium, &machine, sticks, "no pack is left, but their parity");
    assert!(report.remaining.is_empty() && report.broken.is_empty(), "{:?}", report.remaining);
    scene.assert_whole(&machine, "no pack was left, but their parity");
    // Nothing comes back, and the loss is told by what needs it.
    let medium = scene.medium();
    medium.remove(scene.named("red data"));
    let machine = Fixture::open(medium.clone());
    let report = repair(&medium, &machine, Vec::new(), "a pack is gone, and its parity is there");
    let found = machine.check(Depth::Data(100)).expect("a check").findings;
    for findings in [&report.remaining, &found] {
        assert!(!findings.is_empty(), "data of red is lost");
        assert!(findings.iter().all(|finding| finding.object.kind() == ObjectKind::Snapshot), "{findings:?}");
    }
    let orphans = report.done.iter().filter(|step| matches!(step, Step::SetAside { why: Why::Orphan, .. }));
    assert_eq!(orphans.count(), 1, "{:?}", report.done);
    assert_eq!(report.broken.len(), 1);
    let again = machine.backup("red", &scene.disks[0].2).expect("a backup").snapshot;
    scene.assert_whole(&machine, "red was backed up again");
    assert!(machine.restore(again).expect("the new one") == scene.disks[0].2);
}

#[test]
fn packs_and_index_lost_together_come_back_as_well() {
    let scene = Scene::new();
    let medium = scene.medium();
    lose_packs(&medium);
    medium.names(ObjectKind::Index).into_iter().for_each(|name| _ = medium.remove(name));
    let machine = Fixture::open(medium.clone());
    let sticks = vec![source("blue", scene.disks[1].2.clone()), source("red", scene.disks[0].2.clone())];
    let report = repair(&medium, &machine, sticks, "nothing but snapshots is left");
    assert!(report.remaining.is_empty(), "{:?}", report.remaining);
    scene.assert_whole(&machine, "nothing but snapshots was left");
}

#[test]
fn a_stick_that_has_changed_brings_back_what_it_still_has() {
    let scene = Scene::new();
    let medium = scene.medium();
    // All data of red, and none of its manifest.
    for (name, role) in &scene.roles {
        if role == "red data" {
            medium.remove(*name);
        }
    }
    let machine = Fixture::open(medium.clone());
    let mut changed = scene.disks[0].2.clone();
    changed[50_000..70_000].copy_from_slice(&noise(77, 20_000));
    let wanted = plan(&medium, &machine, Vec::new()).expect("a plan").missing();
    let report = repair(&medium, &machine, vec![source("changed", changed.clone())], "changed");
    let losses = report.broken[0].losses.as_ref().expect("an admin sees it");
    assert_eq!(report.broken.len(), 1);
    let lost: Vec<_> = losses.ranges.iter().map(|run| run.start.0..run.start.0 + run.length).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].start <= 50_000 && lost[0].end >= 70_000 && losses.bytes() < 60_000, "{lost:?}");
    let left = plan(&medium, &machine, Vec::new()).expect("a plan").missing();
    assert!(left > 0 && left < wanted / 2, "{left} of {wanted}");
    // A second disk has the rest.
    let report = repair(&medium, &machine, scene.red(), "the rest");
    assert!(report.remaining.is_empty());
    scene.assert_whole(&machine, "from two disks");
}

#[test]
fn a_disk_that_has_nothing_of_it_brings_nothing() {
    let scene = Scene::new();
    let medium = scene.medium();
    medium.remove(scene.named("red data"));
    let machine = Fixture::open(medium.clone());
    let report = repair(&medium, &machine, vec![source("another", noise(9, 200_000))], "another");
    assert!(report.done.iter().all(|step| !matches!(step, Step::FromSource { .. })), "{:?}", report.done);
    assert_eq!((report.broken.len(), report.packs_written), (1, 0));
}

#[test]
fn what_was_stored_before_a_rotation_is_found_under_its_own_secrets() {
    let scene = Scene::new();
    let medium = scene.medium();
    let machine = Fixture::open(medium.clone());
    let repository = machine.repository().expect("an admin's");
    let rotation = Rotation::plan(&repository).expect("a plan");
    rotation.apply(&repository, &mut |_| Ok(())).expect("rotated");
    lose_packs(&medium);
    let sticks = vec![source("blue", scene.disks[1].2.clone()), source("red", scene.disks[0].2.clone())];
    let report = repair(&medium, &machine, sticks, "after a rotation");
    assert!(report.remaining.is_empty(), "{:?}", report.remaining);
    scene.assert_whole(&machine, "after a rotation");
}

#[test]
fn a_stick_with_files_is_cut_as_a_backup_cuts_it_with_whatever_options() {
    for (keep, by_files) in
        [(Some(Keep::default()), true), (None, false), (Some(Keep { free: true, scratch: true }), true)]
    {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.clone());
        let path = machine.path("stick.img");
        make_stick(&path, 3).expect("an image");
        let disk: Arc<dyn ReadAt> = Arc::new(std::fs::read(&path).expect("the image"));
        let made = match keep {
            Some(keep) => BackupPlan::make(&disk, keep).expect("readable"),
            None => BackupPlan::none(&*disk),
        };
        assert_eq!(made.volumes.iter().any(|volume| volume.by_files), by_files);
        let snapshot = machine.backup_planned("ana", &*disk, &made).expect("a backup").snapshot;
        lose_packs(&medium);
        let stick = RepairSource { name: "ana".to_owned(), disk };
        let plan = plan(&medium, &machine, vec![stick]).expect("a plan");
        assert_eq!(plan.missing(), 0, "{keep:?}");
        let report = plan.apply(&Silent, &Cancel::default()).expect("applied");
        assert!(report.remaining.is_empty(), "{keep:?}: {:?}", report.remaining);
        let findings = machine.check(Depth::Data(100)).expect("a check").findings;
        assert!(findings.is_empty(), "{keep:?}: {findings:?}");
        let restored = machine.restore(snapshot).expect("it restores");
        assert!(restored == std::fs::read(&path).expect("the image"), "{keep:?}");
    }
}

#[test]
fn a_stick_that_changes_between_plan_and_repair_stores_nothing_wrong() {
    /// Its second half changes when it is told to.
    struct Changing(Vec<u8>, Vec<u8>, std::sync::atomic::AtomicBool);
    impl ReadAt for Changing {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: sheaf::disk::DiskOffset, buffer: &mut [u8]) -> Result<(), sheaf::disk::ReadError> {
            let has_changed = self.2.load(std::sync::atomic::Ordering::Relaxed);
            if has_changed { &self.1 } else { &self.0 }.read_at(offset, buffer)
        }
    }
    let scene = Scene::new();
    let medium = scene.medium();
    for (name, role) in &scene.roles {
        if role == "red data" {
            medium.remove(*name);
        }
    }
    let machine = Fixture::open(medium.clone());
    let mut other = scene.disks[0].2.clone();
    other[75_000..].copy_from_slice(&noise(5, 75_016));
    let disk = Arc::new(Changing(scene.disks[0].2.clone(), other, false.into()));
    let stick = RepairSource { name: "changing".to_owned(), disk: disk.clone() };
    let plan = plan(&medium, &machine, vec![stick]).expect("a plan");
    assert_eq!(plan.missing(), 0);
    disk.2.store(true, std::sync::atomic::Ordering::Relaxed);
    let report = plan.apply(&Silent, &Cancel::default()).expect("applied");
    assert!(!report.remaining.is_empty(), "half of it is not there any more");
    let broken: Vec<_> = report.broken.iter().map(|broken| broken.snapshot.record.stick.as_str()).collect();
    assert_eq!(broken, ["red"]);
    let losses = report.broken[0].losses.as_ref().expect("an admin sees it");
    let first = losses.ranges[0].start.0;
    assert!(
        losses.ranges.len() == 1 && first <= 75_000 && first > 50_000 && first + losses.bytes() == 150_016,
        "{losses:?}"
    );
    repair(&medium, &machine, scene.red(), "the stick as it was");
    scene.assert_whole(&machine, "in the end");
}

#[test]
fn a_source_that_goes_away_ends_the_plan() {
    struct Gone;
    impl ReadAt for Gone {
        fn size(&self) -> u64 {
            1 << 20
        }

        fn read_at(&self, _: sheaf::disk::DiskOffset, _: &mut [u8]) -> Result<(), sheaf::disk::ReadError> {
            Err(sheaf::disk::ReadError::Gone { reason: "unplugged".to_owned() })
        }
    }
    let scene = Scene::new();
    let medium = scene.medium();
    medium.remove(scene.named("red data"));
    let machine = Fixture::open(medium.clone());
    let gone = RepairSource { name: "gone".to_owned(), disk: Arc::new(Gone) };
    let error = plan(&medium, &machine, vec![gone]).expect_err("it is gone");
    assert!(matches!(&error, OpsError::Source { source_name, .. } if source_name == "gone"), "{error}");
    assert!(!matches!(error, OpsError::Repo(RepoError::Cache { .. })));
    assert!(medium.peek(ObjectName::CONFIG).is_some());
}
