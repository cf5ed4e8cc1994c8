//! Damage: what is noticed, what is still there, and what is said.
//!
//! The scene is one repository with two snapshots, of the stick `red` and of the stick `blue`, which have no byte in common and
//! therefore no pack either. One object is damaged at a time; [`matrix`] has a row for each kind of object and of damage,
//! [`every_byte`] goes through objects byte by byte.
//!
//! Always true after any damage, and asserted in each cell:
//! - nothing panics, and no snapshot ever restores to other bytes: it restores, or an error says why not;
//! - what the damage does not touch restores byte for byte;
//! - a check changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
mod every_byte;
mod matrix;

use common::sources::noise;
use common::{CHEAP, Fixture, chain, password};
use sheaf::crypto::derive::object_id;
use sheaf::crypto::password::Password;
use sheaf::format::pack::PackKind;
use sheaf::format::session::SessionKind;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::{Depth, Finding};
use sheaf::ops::monitor::Silent;
use sheaf::ops::session::prepare;
use sheaf::repo::bundles::{Credential, Lock, open_bundle, store_bundle};
use sheaf::repo::packer::read_listing;
use sheaf::repo::snapshots;
use sheaf::storage::sim::SimStorage;
use std::collections::BTreeMap;

/// The kinds of object that a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Config,
    /// The key bundle of the password that is used; there is another one.
    OwnKey,
    /// The key bundle of another password.
    OtherKey,
    DataPack,
    MetaPack,
    Index,
    Snapshot,
}

impl Object {
    const ALL: [Self; 7] =
        [Self::Config, Self::OwnKey, Self::OtherKey, Self::DataPack, Self::MetaPack, Self::Index, Self::Snapshot];
}

/// A repository with two snapshots, as it is before the damage.
struct Scene {
    objects: BTreeMap<ObjectName, Vec<u8>>,
    /// What each object is called in expectations, such as `red data`.
    roles: BTreeMap<ObjectName, String>,
    /// Stick, snapshot and bytes.
    disks: [(&'static str, ObjectId, Vec<u8>); 2],
}

impl Scene {
    fn new() -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.clone());
        // A second key bundle, with another password, for the same keys.
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
                    _ => "snapshot",
                };
                roles.entry(name).or_insert_with(|| format!("{stick} {kind}"));
            }
            (stick, snapshot, bytes)
        };
        let disks = [back_up("red", noise(1, 150_000)), back_up("blue", noise(2, 140_000))];
        Self { objects: medium.objects(), roles, disks }
    }

    /// An undamaged copy.
    fn medium(&self) -> SimStorage {
        SimStorage::from_objects(self.objects.clone())
    }

    /// The largest object of this role. Names are random, sizes are not.
    fn named(&self, role: &str) -> ObjectName {
        let names = self.roles.iter().filter(|(_, its)| *its == role).map(|(name, _)| *name);
        names.max_by_key(|name| self.objects[name].len()).expect("an object of this role")
    }

    /// The object that is damaged, and another one of its kind.
    fn pair(&self, object: Object) -> (ObjectName, ObjectName) {
        let pair = match object {
            Object::Config => ["config", "config"],
            Object::OwnKey => ["own key", "other key"],
            Object::OtherKey => ["other key", "own key"],
            Object::DataPack => ["red data", "blue data"],
            Object::MetaPack => ["red meta", "blue meta"],
            Object::Index => ["red index", "blue index"],
            Object::Snapshot => ["red snapshot", "blue snapshot"],
        };
        (self.named(pair[0]), self.named(pair[1]))
    }

    /// A finding in words: kind, object, sticks.
    fn describe(&self, finding: &Finding) -> String {
        let role = self.roles.get(&finding.object).map_or("stranger", String::as_str);
        let sticks: Vec<_> = finding.sticks.iter().map(String::as_str).collect();
        // A snapshot that cannot be read does not say of which stick it is.
        let is_nameless = sticks.is_empty() && finding.snapshots.iter().copied().eq(finding.object.id());
        assert!(finding.snapshots.len() == sticks.len() || is_nameless, "each stick has one snapshot: {finding:?}");
        assert!(!finding.detail.is_empty() && !finding.detail.contains('\n'), "{finding:?}");
        format!("{} of {role} [{}]", finding.kind.name(), sticks.join(" "))
    }

    /// What a check says, or why it cannot be done.
    fn findings(&self, machine: &Fixture, depth: Depth) -> Result<Vec<String>, String> {
        let report = machine.check(depth).map_err(|error| chain(&error))?;
        let mut findings: Vec<_> = report.findings.iter().map(|finding| self.describe(finding)).collect();
        // Several packs may have the same role.
        findings.sort_unstable();
        findings.dedup();
        Ok(findings)
    }

    /// The sticks whose snapshots restore byte for byte. Fails the test on wrong bytes and on an error that names no object.
    fn restores(&self, machine: &Fixture, when: &str) -> String {
        let mut sticks = Vec::new();
        for (stick, snapshot, bytes) in &self.disks {
            match machine.restore(*snapshot) {
                Ok(restored) => {
                    assert!(restored == *bytes, "{when}: {stick} restores to other bytes");
                    sticks.push(*stick);
                }
                Err(error) => assert_names_an_object(&chain(&error), when),
            }
        }
        sticks.join(" ")
    }
}

/// Fails the test unless the text names an object on storage.
fn assert_names_an_object(text: &str, when: &str) {
    let names = ["config", "keys/", "packs/", "index/", "snapshots/"];
    assert!(names.iter().any(|name| text.contains(name)), "{when}: no object is named in: {text}");
}

/// The bytes with one bit flipped.
fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// The name that an object of this kind has with these bytes.
fn name_for(kind: ObjectKind, bytes: &[u8]) -> ObjectName {
    ObjectName::new(kind, object_id(bytes))
}

#[test]
fn an_undamaged_scene_is_sound_and_its_sticks_share_no_pack() {
    let scene = Scene::new();
    let machine = Fixture::open(scene.medium());
    assert_eq!(scene.findings(&machine, Depth::Data(100)), Ok(vec![]));
    assert_eq!(scene.restores(&machine, "undamaged"), "red blue");
    for object in Object::ALL {
        let (damaged, other) = scene.pair(object);
        assert!(object == Object::Config || damaged != other, "{object:?}");
    }
    let repository = machine.repository().expect("sound");
    assert_eq!(snapshots::list(&repository).expect("a listing").damaged.len(), 0);
}

#[test]
fn a_missing_pack_is_told_each_time_and_used_again_when_it_is_back() {
    let scene = Scene::new();
    let medium = scene.medium();
    let machine = Fixture::open(medium.clone());
    let missing = || {
        let repository = machine.repository().expect("sound");
        prepare(repository, SessionKind::Reads, "test", &machine.cache(), &Silent).expect("an index").1.missing_packs
    };
    assert_eq!(missing(), []);
    let name = scene.named("red data");
    let bytes = medium.remove(name).expect("the pack");
    for _ in 0..3 {
        assert_eq!(missing(), [name.id().expect("an id")]);
        assert_eq!(scene.restores(&machine, "a pack is gone"), "blue");
    }
    medium.overwrite(name, bytes);
    assert_eq!(missing(), []);
    assert_eq!(scene.restores(&machine, "the pack is back"), "red blue");
    let index = machine.store().expect("an index").index;
    assert_eq!(index.adopted().expect("a list").len(), 0, "a segment lists it still");
}
