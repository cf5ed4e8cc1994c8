//! Kinds of object × kinds of damage, each without and with the stick.

use super::{Fixture, Scene, repair};
use sheaf::names::ObjectName;
use sheaf::ops::check::{Depth, Finding};
use sheaf::storage::sim::SimStorage;
use std::collections::BTreeSet;

const DEEDS: [&str; 8] = ["delete", "truncate", "empty", "grow", "flip", "swap", "double", "unreadable"];

/// Damages the object, perhaps with the help of another of its kind.
fn damage(scene: &Scene, medium: &SimStorage, role: &str, deed: &str) {
    let name = scene.named(role);
    let other = scene.named(&match role {
        "own key" => "other key".to_owned(),
        "other key" => "own key".to_owned(),
        role => role.replace("red", "blue"),
    });
    let (bytes, others) = (scene.objects[&name].clone(), scene.objects[&other].clone());
    let half = bytes.len() / 2;
    match deed {
        "delete" => _ = medium.remove(name),
        "truncate" => medium.overwrite(name, bytes[..half].to_vec()),
        "empty" => medium.overwrite(name, Vec::new()),
        "grow" => medium.overwrite(name, [&bytes[..], &[0]].concat()),
        "flip" => {
            let mut bytes = bytes;
            bytes[half] ^= 1;
            medium.overwrite(name, bytes);
        }
        "swap" => {
            medium.overwrite(name, others);
            medium.overwrite(other, bytes);
        }
        "double" => medium.overwrite(name, others),
        "unreadable" => medium.fail_reads(name),
        _ => unreachable!(),
    }
}

#[test]
fn packs_are_salvaged_and_the_stick_brings_back_the_rest() {
    let scene = Scene::new();
    for role in ["red data", "red meta"] {
        for deed in DEEDS {
            let when = format!("{deed} of {role}");
            let medium = scene.medium();
            damage(&scene, &medium, role, deed);
            let machine = Fixture::open(medium.clone());
            let before = scene.restores(&machine);
            let report = repair(&medium, &machine, Vec::new(), &when);
            let after = scene.restores(&machine);
            assert!(before.split(' ').all(|stick| after.contains(stick)), "{when}: {before} restored before");
            if deed == "swap" {
                // All of it is still there, under the wrong names.
                assert_eq!(after, "red blue", "{when}");
            }
            // What a check of everything finds is what the repair said.
            let found = machine.check(Depth::Data(100)).expect("a check").findings;
            let objects = |findings: &[Finding]| -> BTreeSet<ObjectName> {
                findings.iter().map(|finding| finding.object).collect()
            };
            assert_eq!(objects(&found), objects(&report.remaining), "{when}");
            let broken: Vec<_> = report.broken.iter().map(|broken| broken.snapshot.record.stick.as_str()).collect();
            assert_eq!(broken.is_empty(), after == "red blue", "{when}: {broken:?}");
            assert_eq!(report.remaining.is_empty(), broken.is_empty(), "{when}: {:?}", report.remaining);
            // Once the damage is aside, a backup stores again what is missing.
            let again = machine.backup("red", &scene.disks[0].2).expect("a backup").snapshot;
            scene.assert_whole(&machine, &format!("{when}, and red backed up again"));
            assert!(machine.restore(again).expect("the new one") == scene.disks[0].2);

            let medium = scene.medium();
            damage(&scene, &medium, role, deed);
            let machine = Fixture::open(medium.clone());
            let report = repair(&medium, &machine, scene.red(), &format!("{when}, with the stick"));
            assert!(report.remaining.is_empty() && report.broken.is_empty(), "{when}: {:?}", report.remaining);
            scene.assert_whole(&machine, &format!("{when}, repaired with the stick"));
        }
    }
}

#[test]
fn the_index_comes_back_from_packs() {
    let scene = Scene::new();
    for deed in DEEDS {
        let when = format!("{deed} of the index");
        let medium = scene.medium();
        damage(&scene, &medium, "red index", deed);
        let machine = Fixture::open(medium.clone());
        let report = repair(&medium, &machine, Vec::new(), &when);
        assert!(report.remaining.is_empty() && report.broken.is_empty(), "{when}: {:?}", report.remaining);
        assert_eq!(report.packs_written, 0, "{when}: no pack is written for it");
        scene.assert_whole(&machine, &when);
        assert_eq!(machine.listed_packs().len(), medium.names(sheaf::names::ObjectKind::Pack).len(), "{when}");
    }
}

#[test]
fn all_segments_at_once_come_back_from_packs() {
    let scene = Scene::new();
    let medium = scene.medium();
    for name in medium.names(sheaf::names::ObjectKind::Index) {
        medium.remove(name);
    }
    let machine = Fixture::open(medium.clone());
    let report = repair(&medium, &machine, Vec::new(), "no segment is left");
    assert!(report.remaining.is_empty());
    scene.assert_whole(&machine, "no segment was left");
}

#[test]
fn what_has_no_second_copy_is_moved_aside_and_named() {
    let scene = Scene::new();
    for role in ["red snapshot", "other key"] {
        for deed in DEEDS {
            // Then no bundle opens, and it is for a copy to help.
            if role == "other key" && deed == "swap" {
                continue;
            }
            let when = format!("{deed} of {role}");
            let medium = scene.medium();
            damage(&scene, &medium, role, deed);
            let machine = Fixture::open(medium.clone());
            let before = scene.restores(&machine);
            let report = repair(&medium, &machine, Vec::new(), &when);
            assert!(report.remaining.is_empty(), "{when}: {:?}", report.remaining);
            assert_eq!(scene.restores(&machine), before, "{when}");
            let moved = match deed {
                "delete" => 0,
                "swap" => 2,
                _ => 1,
            };
            assert_eq!(medium.aside().len(), moved, "{when}: {:?}", report.done);
            // A copy that was kept elsewhere can be put back under its name.
            let name = scene.named(role);
            medium.overwrite(name, scene.objects[&name].clone());
            machine.repository().expect("it opens");
        }
    }
}

#[test]
fn what_lies_aside_is_deleted_only_when_that_is_asked_for() {
    let scene = Scene::new();
    let medium = scene.medium();
    damage(&scene, &medium, "red data", "flip");
    let machine = Fixture::open(medium.clone());
    repair(&medium, &machine, scene.red(), "flip");
    // The pack, and the segment that listed it.
    assert_eq!(medium.aside().len(), 2);
    let plan = super::plan_by(&super::open(&medium), &machine, Vec::new(), true).expect("a plan");
    assert_eq!(plan.steps().len(), 2);
    plan.apply(&super::Silent, &super::Cancel::default()).expect("applied");
    assert!(medium.aside().is_empty());
    scene.assert_whole(&machine, "what lay aside is deleted");
}
