//! Repair: what is mended, what is named as lost, and that nothing gets worse by it.
//!
//! The scene is one repository with two snapshots, of the sticks `red` and `blue`, which have no byte in common. One object is damaged
//! at a time.
//!
//! Always true after any repair, and asserted in each case:
//! - every byte that was on storage before is still there, as an object or aside;
//! - what restored before restores now;
//! - a second repair finds nothing more to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod config;
mod files;
mod interrupted;
mod matrix;
mod partial;
mod roles;
mod sources;

use common::sources::noise;
use common::{CHEAP, Fixture, chain, password, small_config};
use sheaf::crypto::password::Password;
use sheaf::disk::ReadAt;
use sheaf::format::config::ConfigRecord;
use sheaf::format::pack::PackKind;
use sheaf::ids::ObjectId;
use sheaf::names::{AsideName, ObjectKind, ObjectName};
use sheaf::ops::monitor::Silent;
use sheaf::ops::repair::{RepairPlan, RepairReport, RepairSource};
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::bundles::{Credential, Lock, open_bundle, store_bundle};
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use sheaf::repo::packer::read_listing;
use sheaf::storage::sim::SimStorage;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A repository with two snapshots, as it is before the damage.
struct Scene {
    objects: BTreeMap<ObjectName, Vec<u8>>,
    /// What each object is called, such as `red data`.
    roles: BTreeMap<ObjectName, String>,
    /// Stick, snapshot and bytes.
    disks: [(&'static str, ObjectId, Vec<u8>); 2],
}

impl Scene {
    fn new() -> Self {
        Self::with(small_config())
    }

    fn with(config: ConfigRecord) -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make_with(medium.clone(), config);
        let repository = machine.repository().expect("a new repository");
        let key = medium.names(ObjectKind::Key)[0];
        let credential = Credential::Password(password());
        let record = open_bundle(&medium, key, repository.id(), &credential).expect("the key bundle").expect("for it");
        let second = Password::new(b"another password".to_vec());
        store_bundle(&medium, repository.id(), &record, Lock::Password(&second, CHEAP)).expect("a second key bundle");
        let mut roles = BTreeMap::from([(ObjectName::CONFIG, "config".to_owned()), (key, "own key".to_owned())]);
        for name in medium.names(ObjectKind::Key) {
            roles.entry(name).or_insert_with(|| "other key".to_owned());
        }
        let mut back_up = |stick: &'static str, bytes: Vec<u8>| {
            let snapshot = machine.backup(stick, &bytes).expect("a backup").snapshot;
            for name in medium.objects().into_keys() {
                let kind = match name.kind() {
                    ObjectKind::Pack => match read_listing(&medium, repository.keys(), repository.id(), name) {
                        Ok(pack) if pack.kind == PackKind::Meta => "meta",
                        _ => "data",
                    },
                    ObjectKind::Index => "index",
                    ObjectKind::Parity => "parity",
                    _ => "snapshot",
                };
                roles.entry(name).or_insert_with(|| format!("{stick} {kind}"));
            }
            (stick, snapshot, bytes)
        };
        let disks = [back_up("red", noise(1, 150_016)), back_up("blue", noise(2, 140_288))];
        Self { objects: medium.objects(), roles, disks }
    }

    /// An undamaged copy.
    fn medium(&self) -> SimStorage {
        SimStorage::from_objects(self.objects.clone())
    }

    /// The largest object of this role.
    fn named(&self, role: &str) -> ObjectName {
        let names = self.roles.iter().filter(|(_, its)| *its == role).map(|(name, _)| *name);
        names.max_by_key(|name| self.objects[name].len()).expect("an object of this role")
    }

    /// The disk of `red`, as a source.
    fn red(&self) -> Vec<RepairSource> {
        vec![source("the red stick", self.disks[0].2.clone())]
    }

    /// The sticks whose snapshots restore byte for byte; fails the test on other bytes.
    fn restores(&self, machine: &Fixture) -> String {
        let mut sticks = Vec::new();
        for (stick, snapshot, bytes) in &self.disks {
            if let Ok(restored) = machine.restore(*snapshot) {
                assert!(restored == *bytes, "{stick} restores to other bytes");
                sticks.push(*stick);
            }
        }
        sticks.join(" ")
    }

    /// Fails the test unless all restores and a check of all data finds nothing.
    fn assert_whole(&self, machine: &Fixture, when: &str) {
        let expected: Vec<_> = self.disks.iter().map(|(_, snapshot, bytes)| (*snapshot, bytes)).collect();
        machine.assert_sound(&expected, when);
    }
}

fn source(name: &str, bytes: Vec<u8>) -> RepairSource {
    let disk: Arc<dyn ReadAt> = Arc::new(bytes);
    RepairSource { name: name.to_owned(), disk }
}

/// Opens the repository as the command does: by its config, or by what a key bundle holds of it.
fn open(medium: &SimStorage) -> Arc<Repository> {
    let storage = Arc::new(medium.clone());
    let credential = Credential::Password(password());
    let opened = Repository::open(storage.clone()).and_then(|locked| locked.unlock_for(&credential, Action::Repair));
    Arc::new(opened.or_else(|_| Repository::recover(storage, &credential, Action::Repair)).expect("it opens"))
}

/// Plans a repair.
fn plan(medium: &SimStorage, machine: &Fixture, sources: Vec<RepairSource>) -> Result<RepairPlan, OpsError> {
    plan_by(&open(medium), machine, sources, false)
}

fn plan_by(
    repository: &Arc<Repository>,
    machine: &Fixture,
    sources: Vec<RepairSource>,
    delete: bool,
) -> Result<RepairPlan, OpsError> {
    let scratch = machine.path("repair");
    RepairPlan::make(repository, (&scratch, &machine.cache()), sources, delete, &Silent, &Cancel::default())
}

/// What is there, and what lies aside; but for leases, which say that somebody is looking.
fn seen(medium: &SimStorage) -> (BTreeMap<ObjectName, Vec<u8>>, BTreeMap<AsideName, Vec<u8>>) {
    let mut objects = medium.objects();
    objects.retain(|name, _| name.kind() != ObjectKind::Session);
    (objects, medium.aside())
}

/// Plans and applies, first what parity mends; asserts that nothing is deleted, and that there is nothing more to do then.
fn repair(medium: &SimStorage, machine: &Fixture, sources: Vec<RepairSource>, when: &str) -> RepairReport {
    let before = seen(medium);
    let planned = |sources| plan(medium, machine, sources).unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
    let applied = |made: RepairPlan| {
        let goes_on = made.goes_on();
        let report = made.apply(&Silent, &Cancel::default());
        (goes_on, report.unwrap_or_else(|error| panic!("{when}: {}", chain(&error))))
    };
    let made = planned(sources.clone());
    assert!(seen(medium) == before, "{when}: a plan changes nothing");
    let (goes_on, mut report) = applied(made);
    if goes_on {
        let (goes_on, rest) = applied(planned(sources.clone()));
        assert!(!goes_on, "{when}: parity comes first, and once");
        report.done.extend(rest.done);
        report = RepairReport { done: report.done, ..rest };
    }
    assert!(!machine.path("repair").exists(), "{when}: a plan leaves nothing behind");
    assert_nothing_lost(medium, &before.0, when);
    let again = planned(sources);
    assert!(again.is_empty(), "{when}: {:#?} after {:#?}", again.steps(), report.done);
    report
}

/// Every byte that was there is there, as an object or aside.
fn assert_nothing_lost(medium: &SimStorage, before: &BTreeMap<ObjectName, Vec<u8>>, when: &str) {
    let (objects, aside) = (medium.objects(), medium.aside());
    for (name, bytes) in before {
        let is_there = objects.get(name) == Some(bytes)
            || aside.iter().any(|(aside, kept)| aside.object == *name && kept == bytes);
        assert!(is_there, "{when}: {name} is gone");
    }
}

#[test]
fn there_is_nothing_to_repair_in_a_sound_repository() {
    let scene = Scene::new();
    let medium = scene.medium();
    let machine = Fixture::open(medium.clone());
    let plan = plan(&medium, &machine, scene.red()).expect("a plan");
    assert!(plan.is_empty() && plan.findings.is_empty() && plan.notes.is_empty(), "{plan:?}");
    let report = plan.apply(&Silent, &Cancel::default()).expect("applied");
    assert!(report.remaining.is_empty() && report.broken.is_empty() && report.done.is_empty());
    assert_eq!(medium.objects(), scene.objects);
}
