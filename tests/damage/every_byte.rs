//! Objects cut at every length, and with bits flipped at every place.
//!
//! Always true here:
//! - Small objects are gone through byte by byte, packs in steps that are prime, and at every byte of their frames.
//! - A damage is *forged* when the object has the name that goes with its changed bytes, so that the name proves nothing and
//!   the seals inside have to.

use super::{Fixture, Object, Scene, assert_names_an_object, chain, flipped, name_for};
use crate::common::sources::noise;
use crate::common::{pace, password, small_config};
use sheaf::format::config::{Config, ConfigRecord};
use sheaf::format::pack::{FOOTER_LENGTH, PACK_HEADER_LENGTH, PackKind, with_offsets};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::{Depth, FindingKind};
use sheaf::repo::open::Repository;
use sheaf::repo::packer::read_listing;
use sheaf::repo::{RepoError, segments, snapshots};
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

/// A scene in which one object is replaced again and again.
struct Subject {
    scene: Scene,
    medium: SimStorage,
    machine: Fixture,
    name: ObjectName,
    bytes: Vec<u8>,
}

impl Subject {
    fn new(object: Object) -> Self {
        let scene = Scene::new();
        let medium = scene.medium();
        let machine = Fixture::open(medium.clone());
        let name = scene.pair(object).0;
        let bytes = medium.peek(name).expect("there");
        Self { scene, medium, machine, name, bytes }
    }

    /// Every shorter version, and every version with one bit of a byte flipped.
    fn versions(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let cut = (0..self.bytes.len()).map(|length| (format!("cut to {length}"), self.bytes[..length].to_vec()));
        let flips = (0..self.bytes.len()).map(|byte| {
            let bit = byte * 8 + byte % 8;
            (format!("bit {bit} flipped"), flipped(&self.bytes, bit))
        });
        cut.chain(flips)
    }

    /// Opens and unlocks without a local index.
    fn unlock(&self) -> Result<Repository, RepoError> {
        Repository::open(Arc::new(self.medium.clone()))?.unlock(&password())
    }

    /// A check that reads everything has to find something, unless the red stick restores all the same and `may_pass`.
    fn assert_found(&self, when: &str, may_pass: bool) {
        let findings =
            self.scene.findings(&self.machine, Depth::Data(100)).unwrap_or_else(|error| panic!("{when}: {error}"));
        let restores = self.scene.restores(&self.machine, when);
        assert!(restores.ends_with("blue"), "{when}: blue is not touched");
        assert!(!findings.is_empty() || may_pass && restores == "red blue", "{when}: nothing is found; {restores}");
    }
}

#[test]
fn a_config_that_is_changed_anywhere_is_refused() {
    let subject = Subject::new(Object::Config);
    for (when, changed) in subject.versions() {
        subject.medium.overwrite(subject.name, changed);
        let error = subject.unlock().expect_err(&when);
        assert!(error.is_damage(), "{when}: {}", chain(&error));
        assert_names_an_object(&chain(&error), &when);
    }
}

#[test]
fn a_config_that_is_changed_and_has_a_new_checksum_is_refused() {
    let subject = Subject::new(Object::Config);
    let checksum = subject.bytes.len() - 32;
    for bit in 0..checksum * 8 {
        let mut changed = flipped(&subject.bytes[..checksum], bit);
        changed.extend_from_slice(blake3::hash(&changed).as_bytes());
        subject.medium.overwrite(subject.name, changed);
        let error = subject.unlock().expect_err("another config");
        assert!(error.is_damage(), "bit {bit}: {}", chain(&error));
    }
    // Whatever a config may say: it is the one that the key bundle holds, or none.
    let config = Config::decode(&subject.bytes).expect("sound");
    let changes: [fn(&mut ConfigRecord); 4] = [
        |record| record.pack_size *= 2,
        |record| record.chunking.average += 2,
        |record| record.compression_level += 1,
        |record| record.tool.clear(),
    ];
    for change in changes {
        let mut config = config.clone();
        change(&mut config.record);
        subject.medium.overwrite(subject.name, config.encode());
        assert!(matches!(subject.unlock(), Err(RepoError::ConfigChanged)));
    }
}

#[test]
fn a_key_bundle_that_is_changed_anywhere_opens_nothing() {
    let subject = Subject::new(Object::OwnKey);
    for (when, changed) in subject.versions() {
        subject.medium.overwrite(subject.name, changed.clone());
        // Another bundle is there, which this password does not open.
        let error = subject.unlock().expect_err(&when);
        let RepoError::WrongPassword { tried: 1, unusable } = &error else { panic!("{when}: {}", chain(&error)) };
        assert_names_an_object(&unusable.join(" "), &when);
        // The bundle alone, under the name that its bytes now have. What asks for much memory is refused before it costs any.
        subject.medium.remove(subject.name);
        let forged = name_for(subject.name.kind(), &changed);
        subject.medium.overwrite(forged, changed);
        assert!(subject.unlock().is_err(), "{when}, forged");
        subject.medium.remove(forged);
    }
}

#[test]
fn an_index_segment_that_is_changed_anywhere_is_found_and_not_needed() {
    let subject = Subject::new(Object::Index);
    let repository = subject.unlock().expect("sound");
    for (number, (when, changed)) in subject.versions().enumerate() {
        subject.medium.overwrite(subject.name, changed.clone());
        let id = subject.name.id().expect("an id");
        let error = segments::read(&repository, id).expect_err(&when);
        assert!(error.is_damage(), "{when}: {}", chain(&error));
        let forged = name_for(subject.name.kind(), &changed);
        subject.medium.overwrite(forged, changed);
        let error = segments::read(&repository, forged.id().expect("an id")).expect_err(&when);
        assert!(error.is_damage(), "{when}, forged: {}", chain(&error));
        if number % 251 == 0 {
            subject.assert_found(&when, false);
            assert_eq!(subject.scene.restores(&subject.machine, &when), "red blue", "{when}");
        }
        subject.medium.remove(forged);
    }
}

#[test]
fn a_snapshot_that_is_changed_anywhere_is_found() {
    let subject = Subject::new(Object::Snapshot);
    let repository = subject.unlock().expect("sound");
    for (number, (when, changed)) in subject.versions().enumerate() {
        subject.medium.overwrite(subject.name, changed);
        let list = snapshots::list(&repository).expect("a listing");
        assert_eq!((list.snapshots.len(), list.damaged.len()), (1, 1), "{when}");
        assert!(list.damaged[0].1.is_damage(), "{when}");
        if number % 101 == 0 {
            subject.assert_found(&when, false);
        }
    }
}

#[test]
fn a_forged_snapshot_is_found_wherever_it_was_changed() {
    let subject = Subject::new(Object::Snapshot);
    let original = subject.scene.disks[0].1;
    subject.medium.remove(subject.name);
    for byte in (0..subject.bytes.len()).step_by(pace()) {
        let changed = flipped(&subject.bytes, byte * 8 + byte % 8);
        let forged = name_for(subject.name.kind(), &changed);
        assert!(forged.id() != Some(original));
        subject.medium.overwrite(forged, changed);
        let findings = subject.scene.findings(&subject.machine, Depth::Structure).expect("a check");
        let error = subject.machine.restore(forged.id().expect("an id")).expect_err("a forged snapshot");
        assert_names_an_object(&chain(&error), &format!("byte {byte}"));
        // Nothing of it is believed, not even which stick it is of.
        assert_eq!(findings, ["snapshot-damaged of stranger []"], "byte {byte}");
        subject.medium.remove(forged);
    }
}

/// Bits of a pack: one in each byte of header and footer, and in steps through all that lies between.
fn bits_of_a_pack(length: usize, step: usize) -> Vec<usize> {
    let frames = (0..PACK_HEADER_LENGTH).chain(length - FOOTER_LENGTH..length).map(|byte| byte * 8 + byte % 8);
    frames.chain((PACK_HEADER_LENGTH * 8..(length - FOOTER_LENGTH) * 8).step_by(step)).collect()
}

fn damage_a_pack(object: Object, step: usize) {
    let subject = Subject::new(object);
    let length = subject.bytes.len();
    for bit in bits_of_a_pack(length, step).into_iter().step_by(pace()) {
        subject.medium.overwrite(subject.name, flipped(&subject.bytes, bit));
        subject.assert_found(&format!("bit {bit} flipped"), false);
    }
    let frames = (0..PACK_HEADER_LENGTH).step_by(13).chain(length - FOOTER_LENGTH..length);
    for cut in frames.chain((0..length).step_by(step / 3)).step_by(pace()) {
        subject.medium.overwrite(subject.name, subject.bytes[..cut].to_vec());
        subject.assert_found(&format!("cut to {cut}"), false);
    }
    // Forged, and the original is gone.
    subject.medium.remove(subject.name);
    for bit in bits_of_a_pack(length, step * 3).into_iter().step_by(pace()) {
        let changed = flipped(&subject.bytes, bit);
        let forged = name_for(subject.name.kind(), &changed);
        subject.medium.overwrite(forged, changed);
        subject.assert_found(&format!("bit {bit} forged"), false);
        subject.medium.remove(forged);
    }
}

#[test]
fn a_data_pack_that_is_changed_anywhere_is_found_and_never_gives_wrong_bytes() {
    damage_a_pack(Object::DataPack, 4001);
}

#[test]
fn a_meta_pack_that_is_changed_anywhere_is_found_and_never_gives_wrong_bytes() {
    damage_a_pack(Object::MetaPack, 307);
}

#[test]
fn a_forged_copy_of_a_pack_beside_the_original_changes_nothing() {
    let subject = Subject::new(Object::DataPack);
    for bit in bits_of_a_pack(subject.bytes.len(), 9001).into_iter().step_by(pace()) {
        let changed = flipped(&subject.bytes, bit);
        let forged = name_for(subject.name.kind(), &changed);
        subject.medium.overwrite(forged, changed);
        subject.assert_found(&format!("bit {bit} forged"), true);
        assert_eq!(subject.scene.restores(&subject.machine, "a copy"), "red blue", "bit {bit}");
        subject.medium.remove(forged);
    }
}

#[test]
fn damage_to_any_chunk_of_metadata_names_pack_and_snapshot() {
    // More chunks than a chunk of a reference list may name, so that there is a node above several of them.
    let medium = SimStorage::new();
    let mut config = small_config();
    (config.chunking.min, config.chunking.average, config.chunking.max) = (256, 512, 1024);
    let machine = Fixture::make_with(medium.clone(), config);
    let disk = noise(1, 3 << 20);
    let snapshot = machine.backup("large", &disk).expect("a backup").snapshot;
    let repository = machine.repository().expect("sound");
    let mut chunks = 0;
    for name in medium.names(ObjectKind::Pack) {
        let listing = read_listing(&medium, repository.keys(), repository.id(), name).expect("sound");
        if listing.kind != PackKind::Meta {
            continue;
        }
        let bytes = medium.peek(name).expect("there");
        for (offset, entry) in with_offsets(&listing.entries) {
            let middle = usize::try_from(offset.0).expect("small") + entry.sealed_length as usize / 2;
            medium.overwrite(name, flipped(&bytes, middle * 8));
            let when = format!("a chunk of {} bytes at {}", entry.plain_length, offset.0);
            let report = machine.check(Depth::Data(100)).expect("a check");
            let pack = report.findings.iter().find(|finding| finding.object == name).expect(&when);
            assert_eq!(pack.kind, FindingKind::PackDamaged, "{when}");
            assert!(pack.snapshots.contains(&snapshot) && pack.sticks.contains("large"), "{when}: {pack:?}");
            // Reference lists are for those who keep the repository; whoever restores needs none.
            match machine.restore(snapshot) {
                Ok(restored) => assert!(restored == disk, "{when}"),
                Err(error) => assert!(chain(&error).contains(&name.path()), "{when}: {}", chain(&error)),
            }
            chunks += 1;
        }
        medium.overwrite(name, bytes);
    }
    // Two leaves and a node of the list, the map, and two levels of the data tree.
    assert!(chunks >= 7, "{chunks} chunks of metadata");
}
