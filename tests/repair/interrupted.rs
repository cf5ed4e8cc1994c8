//! Repairs that end in the middle, that meet a full disk, or whose plan is out of date.

use super::{Fixture, Scene, assert_nothing_lost, open, plan, plan_by, repair, seen};
use crate::common::{chain, pace};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::monitor::Silent;
use sheaf::ops::repair::Step;
use sheaf::ops::{Cancel, OpsError};
use sheaf::storage::sim::{Fault, Operation, SimStorage};

/// One byte of three packs, a segment and the config are wrong.
fn damaged(scene: &Scene) -> SimStorage {
    let medium = scene.medium();
    for role in ["red data", "red meta", "blue index", "config", "other key"] {
        let name = scene.named(role);
        let mut bytes = scene.objects[&name].clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        medium.overwrite(name, bytes);
    }
    medium
}

#[test]
fn a_repair_that_ends_at_any_write_leaves_nothing_worse_and_the_next_finishes() {
    let scene = Scene::new();
    let counted = damaged(&scene);
    let machine = Fixture::open(counted.clone());
    repair(&counted, &machine, scene.red(), "undisturbed");
    scene.assert_whole(&machine, "undisturbed");
    let writes = counted.writes();
    assert!(writes >= 10, "{writes} writes");
    let before = damaged(&scene).objects();
    for fault in [Fault::Crash, Fault::CrashAfter, Fault::Error, Fault::ErrorAfter, Fault::Full] {
        // The first is the lease, without which nothing is planned.
        for write in (1..writes).step_by(pace()) {
            let when = format!("{fault:?} at write {write} of {writes}");
            let medium = damaged(&scene);
            let machine = Fixture::open(medium.another_process());
            let broken = medium.another_process();
            broken.fail_at(write, fault);
            let plan = plan_by(&open(&broken), &machine, scene.red(), false).expect("a plan writes its lease alone");
            match plan.apply(&Silent, &Cancel::default()) {
                Err(error) => assert!(chain(&error).contains("memory:"), "{when}: {}", chain(&error)),
                // What follows the last put needs no room, and the lease goes behind all else.
                Ok(_) => {
                    let last = broken.operations().into_iter().rfind(|operation| operation.is_write());
                    let is_lease = matches!(last, Some(Operation::Delete(name)) if name.kind() == ObjectKind::Session);
                    assert!(fault == Fault::Full || is_lease || broken.writes() <= write, "{when}: it went on");
                }
            }
            medium.free();
            assert_nothing_lost(&medium, &before, &when);
            let blue = &scene.disks[1];
            if machine.repository().is_ok() {
                let back = machine.restore(blue.1).unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
                assert!(back == blue.2, "{when}: blue was whole before");
            }
            let report = repair(&medium, &machine, scene.red(), &format!("{when}, and again"));
            assert!(report.remaining.is_empty(), "{when}: {:?}", report.remaining);
            scene.assert_whole(&machine, &when);
        }
    }
}

#[test]
fn a_plan_that_is_older_than_a_snapshot_is_refused() {
    let scene = Scene::new();
    let medium = damaged(&scene);
    let name = ObjectName::CONFIG;
    medium.overwrite(name, scene.objects[&name].clone());
    let machine = Fixture::open(medium.clone());
    let stale = plan(&medium, &machine, scene.red()).expect("a plan");
    let other = machine.after_a_restart(medium.another_process());
    other.backup("green", &scene.disks[1].2).expect("a backup");
    let before = seen(&medium);
    let error = stale.apply(&Silent, &Cancel::default()).expect_err("refused");
    assert!(matches!(error, OpsError::RepositoryChanged { .. }), "{error}");
    assert_eq!(seen(&medium), before);
    repair(&medium, &machine, scene.red(), "a new plan");
    scene.assert_whole(&machine, "a new plan");
}

#[test]
fn what_somebody_else_mended_since_is_left_alone() {
    let scene = Scene::new();
    let medium = scene.medium();
    let name = scene.named("red data");
    let mut bytes = scene.objects[&name].clone();
    bytes[1000] ^= 1;
    medium.overwrite(name, bytes);
    let machine = Fixture::open(medium.clone());
    let planned = plan(&medium, &machine, Vec::new()).expect("a plan");
    assert!(planned.steps().iter().any(|step| matches!(step, Step::SetAside { object, .. } if *object == name)));
    medium.overwrite(name, scene.objects[&name].clone());
    planned.apply(&Silent, &Cancel::default()).expect("applied");
    assert_eq!(medium.peek(name).as_ref(), Some(&scene.objects[&name]), "it is whole, and stays");
    repair(&medium, &machine, Vec::new(), "afterwards");
    scene.assert_whole(&machine, "afterwards");
}

#[test]
fn two_plans_of_one_damage_one_after_the_other_do_no_harm() {
    let scene = Scene::new();
    let medium = damaged(&scene);
    let machine = Fixture::open(medium.clone());
    let (first, second) = (Fixture::open(medium.clone()), Fixture::open(medium.clone()));
    let before = medium.objects();
    let plans = [&first, &second].map(|machine| plan(&medium, machine, scene.red()).expect("a plan"));
    for plan in plans {
        match plan.apply(&Silent, &Cancel::default()) {
            Ok(report) => assert!(report.remaining.is_empty(), "{:?}", report.remaining),
            Err(error) => assert!(matches!(error, OpsError::RepositoryChanged { .. }), "{}", chain(&error)),
        }
    }
    assert_nothing_lost(&medium, &before, "two plans");
    repair(&medium, &machine, scene.red(), "a third");
    scene.assert_whole(&machine, "a third");
}

#[test]
fn an_interrupted_repair_stops_and_goes_on_later() {
    let scene = Scene::new();
    let medium = damaged(&scene);
    let machine = Fixture::open(medium.clone());
    let plan = plan(&medium, &machine, scene.red()).expect("a plan");
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(matches!(plan.apply(&Silent, &cancel), Err(OpsError::Interrupted)));
    repair(&medium, &machine, scene.red(), "later");
    scene.assert_whole(&machine, "later");
}
