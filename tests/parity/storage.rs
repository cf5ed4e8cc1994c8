//! Storage that makes parity: the order of its writes, and what a writer leaves that dies between them.

use super::{Scene, config};
use crate::common::sources::noise;
use crate::common::{CHEAP, Fixture, password, small_config};
use sheaf::ids::RepositoryId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::Depth;
use sheaf::repo::open::{InitOptions, Repository};
use sheaf::repo::parity::{ParityCondition, ParityStorage, coverage, inspect_parity, rebuild};
use sheaf::storage::sim::{Fault, Operation, SimStorage};
use sheaf::storage::{Put, Storage};
use std::sync::Arc;

fn named(kind: ObjectKind, bytes: &[u8]) -> ObjectName {
    ObjectName::new(kind, sheaf::crypto::derive::object_id(bytes))
}

fn wrapped() -> (SimStorage, ParityStorage) {
    let medium = SimStorage::new();
    let storage = ParityStorage::new(Arc::new(medium.clone()), RepositoryId::new([1; 16]), 33);
    (medium, storage)
}

fn writes(medium: &SimStorage) -> Vec<Operation> {
    let writes = medium.operations().into_iter().filter(|operation| operation.is_write()).collect();
    medium.forget_operations();
    writes
}

#[test]
fn parity_is_stored_behind_its_object_and_deleted_before_it() {
    let (medium, storage) = wrapped();
    let bytes = noise(1, 9000);
    for kind in ObjectKind::ALL {
        let name = named(kind, &bytes);
        let parity = name.parity();
        assert_eq!(storage.put(name, &[&bytes[..5000], &bytes[5000..]]).unwrap(), Put::Stored);
        let puts = [Some(name), parity].into_iter().flatten().map(Operation::Put).collect::<Vec<_>>();
        assert_eq!(writes(&medium), puts, "{kind:?}");
        assert_eq!(puts.len(), if kind.has_parity() { 2 } else { 1 });
        // Once more: it is there, and nothing is written but the attempt.
        assert_eq!(storage.put(name, &[&bytes]).unwrap(), Put::AlreadyThere);
        assert_eq!(writes(&medium), [Operation::Put(name)], "{kind:?}");
        storage.delete(name).unwrap();
        let deletes = [parity, Some(name)].into_iter().flatten().map(Operation::Delete).collect::<Vec<_>>();
        assert_eq!(writes(&medium), deletes, "{kind:?}");
        assert!(medium.objects().is_empty());
    }
}

#[test]
fn whoever_puts_an_object_again_gives_it_the_parity_that_it_lacks() {
    let bytes = noise(1, 9000);
    let name = named(ObjectKind::Pack, &bytes);
    for fault in [Fault::Error, Fault::ErrorAfter, Fault::Crash, Fault::CrashAfter, Fault::Full] {
        let (medium, storage) = wrapped();
        medium.fail_at(1, fault);
        storage.put(name, &[&bytes]).expect_err("parity is part of a put");
        medium.restart();
        medium.free();
        assert!(medium.peek(name).is_some(), "{fault:?}: the object without parity is sound");
        assert_eq!(storage.put(name, &[&bytes]).unwrap(), Put::AlreadyThere);
        assert_eq!(inspect_parity(&medium, name).unwrap(), ParityCondition::Whole, "{fault:?}");
    }
}

#[test]
fn an_interrupted_delete_never_leaves_parity_alone() {
    let bytes = noise(1, 9000);
    let name = named(ObjectKind::Key, &bytes);
    for (write, fault) in [(2, Fault::Crash), (2, Fault::CrashAfter), (3, Fault::Crash), (3, Fault::Error)] {
        let (medium, storage) = wrapped();
        storage.put(name, &[&bytes]).unwrap();
        medium.fail_at(write, fault);
        storage.delete(name).unwrap_err();
        medium.restart();
        let coverage = coverage(&medium).unwrap();
        assert!(coverage.orphans.is_empty() && medium.peek(name).is_some(), "{write} {fault:?}: {coverage:?}");
    }
}

#[test]
fn the_parity_of_a_config_is_that_of_the_config_that_is_there() {
    let (medium, storage) = wrapped();
    storage.put(ObjectName::CONFIG, &[b"one"]).unwrap();
    let parity = ObjectName::CONFIG.parity().unwrap();
    let first = medium.peek(parity);
    // Another writer's config is not stored, and so its parity is not either.
    medium.remove(parity);
    assert_eq!(storage.put(ObjectName::CONFIG, &[b"two"]).unwrap(), Put::AlreadyThere);
    assert_eq!(medium.peek(parity), None);
    // And parity that an older one left does not stay.
    medium.overwrite(parity, first.clone().unwrap());
    medium.remove(ObjectName::CONFIG);
    assert_eq!(storage.put(ObjectName::CONFIG, &[b"two"]).unwrap(), Put::Stored);
    assert_ne!(medium.peek(parity), first);
}

#[test]
fn everything_that_a_repository_stores_has_parity_and_nothing_of_one_without() {
    let scene = Scene::new(33);
    let found = coverage(&scene.medium).unwrap();
    assert!(found.without.is_empty() && found.orphans.is_empty(), "{found:?}");
    assert_eq!(found.with.len() * 2, scene.objects.len());
    let medium = SimStorage::new();
    Fixture::make(medium.clone()).backup("red", &noise(1, 50_000)).unwrap();
    assert_eq!(small_config().parity, 0);
    assert!(medium.names(ObjectKind::Parity).is_empty());
    let options = InitOptions { config: config(1), label: "test".to_owned(), cost: CHEAP };
    assert!(Repository::init(Arc::new(SimStorage::new()), options, &password()).is_err(), "no such ratio");
}

/// A backup that dies at each of its writes: the repository is sound, only the object of that write can lack parity, and repairing
/// gives it what an uninterrupted backup would have.
#[test]
fn a_backup_that_dies_at_any_write_leaves_at_most_one_object_without_parity() {
    let disk = noise(2, 60_000);
    let made = SimStorage::new();
    let machine = Fixture::make_with(made.clone(), config(2));
    let first = machine.backup("red", &noise(1, 30_000)).unwrap().snapshot;
    let before = made.objects();
    let mut dead = 0;
    for write in 0..200 {
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let medium = SimStorage::from_objects(before.clone());
            let machine = machine.twin(medium.clone());
            medium.fail_at(write, fault);
            let result = machine.backup("red", &disk);
            if !medium.is_crashed() {
                result.unwrap();
                assert!(dead >= 12, "{dead} deaths");
                return;
            }
            dead += 1;
            let case = format!("write {write}, {fault:?}");
            let found = coverage(&medium.another_process()).unwrap();
            assert!(found.without.len() <= 1 && found.orphans.is_empty(), "{case}: {found:?}");
            let machine = machine.after_a_restart(medium.another_process());
            let report = machine.check(Depth::Data(100)).unwrap();
            assert!(report.is_ok() && report.without_parity == found.without.len(), "{case}: {:?}", report.findings);
            machine.restore(first).unwrap();
            for object in found.without {
                let parity = rebuild(&medium.another_process(), object.name).unwrap();
                medium.another_process().put(object.name.parity().unwrap(), &[&parity]).unwrap();
            }
            let snapshot = machine.backup("red", &disk).unwrap().snapshot;
            let report = machine.assert_sound(&[(snapshot, &disk)], &case);
            assert_eq!(report.without_parity, 0, "{case}");
        }
    }
    panic!("a backup has fewer writes");
}
