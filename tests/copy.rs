//! Copies of snapshots in another repository: the same disks, other keys, and whatever may happen on the way.
//!
//! Always true here: a copy is held to its original by the bytes that both restore to, by the records of both maps, and by all that the
//! snapshot says of itself; both repositories are checked to the last chunk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::sources::noise;
use common::{CHEAP, Fixture, PACK_SIZE, chain, password, small_config};
use sheaf::crypto::password::Password;
use sheaf::disk::ReadAt;
use sheaf::format::certificate::Role;
use sheaf::format::config::{Chunking, ConfigRecord};
use sheaf::format::snapshot::{Counts, OperatorRecord, SnapshotOrigin};
use sheaf::ids::ObjectId;
use sheaf::layout::Keep;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::backup::BackupPlan;
use sheaf::ops::check::Depth;
use sheaf::ops::copy::{CopyPlan, CopyReport, copy};
use sheaf::ops::monitor::Silent;
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::RepoError;
use sheaf::repo::bundles::{self, Lock};
use sheaf::repo::keyring::NewKey;
use sheaf::repo::snapshots::Snapshot;
use sheaf::storage::sim::{Fault, Flaky, Operation, SimStorage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Other parameters than those of [`small_config`].
fn other_config() -> ConfigRecord {
    let chunking = Chunking { min: 2 << 10, average: 6 << 10, max: 24 << 10, ..small_config().chunking };
    ConfigRecord { chunking, ..small_config() }
}

/// The plan of copying everything that the source's key sees.
fn plan(from: &Fixture, to: &Fixture) -> Result<CopyPlan, OpsError> {
    let source = from.repository()?;
    let chosen = sheaf::repo::snapshots::list(&source)?.snapshots;
    CopyPlan::make(&source, &*to.repository()?, chosen)
}

fn copy_all(from: &Fixture, to: &Fixture) -> Result<CopyReport, OpsError> {
    let plan = plan(from, to)?;
    copy(&from.store()?, &to.writer()?, plan, &Silent, &Cancel::default(), &mut |_| ())
}

/// Disks with all that a map can tell of: zeros, free and scratch space, files in pieces, records, slack, bytes that could not be read.
fn disks() -> Vec<(&'static str, Vec<u8>, bool)> {
    let folder = common::folder();
    let stick = |seed| {
        let path = folder.path().join("stick.img");
        sheaf::ops::demo::make_stick(&path, seed).expect("an image");
        std::fs::read(&path).expect("an image")
    };
    let mut plain = noise(1, 700_000);
    plain[100_000..300_000].fill(0);
    plain.resize(1_100_000, 0);
    let mut later = plain.clone();
    later[400_000..440_000].copy_from_slice(&noise(2, 40_000));
    vec![("plain", plain, false), ("plain", later, false), ("stick", stick(7), true), ("empty", Vec::new(), false)]
}

/// A repository with those disks.
fn source(storage: SimStorage) -> (Fixture, Vec<(ObjectId, Vec<u8>)>) {
    let machine = Fixture::make(storage);
    let made = disks().into_iter().map(|(stick, bytes, along_files)| {
        let report = if along_files {
            let disk: Arc<dyn ReadAt> = Arc::new(bytes);
            let plan = BackupPlan::make(&disk, Keep::default()).expect("a plan");
            machine.backup_planned(stick, &*disk, &plan)
        } else {
            machine.backup(stick, &bytes)
        };
        let snapshot = report.expect("a backup").snapshot;
        (snapshot, machine.restore(snapshot).expect("restores"))
    });
    let made = made.collect();
    (machine, made)
}

/// Holds each copy to its original.
fn assert_copied(from: &Fixture, to: &Fixture, made: &[(ObjectId, Vec<u8>)], report: &CopyReport, when: &str) {
    assert_eq!((report.copied.len(), report.failed.len()), (made.len(), 0), "{when}");
    let repository = from.repository().expect("there").id();
    let originals: BTreeMap<ObjectId, Snapshot> =
        from.snapshots().into_iter().map(|snapshot| (snapshot.id, snapshot)).collect();
    let copies: BTreeMap<ObjectId, Snapshot> =
        to.snapshots().into_iter().map(|snapshot| (snapshot.id, snapshot)).collect();
    let mut expected = Vec::new();
    for copied in &report.copied {
        let (original, copy) = (&originals[&copied.source], &copies[&copied.snapshot]);
        let origin = SnapshotOrigin {
            repository: (*repository.as_bytes()).into(),
            snapshot: (*original.id.as_bytes()).into(),
            key: (*original.maker.key.as_bytes()).into(),
            label: "test".to_owned(),
        };
        // All but what copying counts, and the list of ids.
        let of_copying = |counts: Counts| Counts {
            bytes_new: 0,
            bytes_stored: 0,
            chunks: 0,
            chunks_new: 0,
            duration_ms: 0,
            ..counts
        };
        let same = |record: &OperatorRecord| OperatorRecord {
            counts: of_copying(record.counts),
            references: original.record.references.clone(),
            origin: None,
            ..record.clone()
        };
        assert_eq!(copy.record.origin, Some(origin), "{when}");
        assert_eq!(same(&copy.record), same(&original.record), "{when}");
        assert_eq!(copy.maker, *to.repository().expect("there").keys().certificate(), "{when}: the copier signs");
        let disks = (from.disk(original.id).expect("opens"), to.disk(copy.id).expect("opens"));
        assert_eq!(disks.0.records().expect("records"), disks.1.records().expect("records"), "{when}");
        assert_eq!(disks.0.private().disk, disks.1.private().disk, "{when}");
        let bytes = made.iter().find(|(id, _)| *id == copied.source).map(|(_, bytes)| bytes).expect("made");
        expected.push((copy.id, bytes));
    }
    to.assert_sound(&expected, when);
}

#[test]
fn a_copy_is_the_same_disk_with_other_keys_and_a_second_run_writes_nothing() {
    let (from, made) = source(SimStorage::new());
    for (config, cuts_anew) in [(small_config(), false), (other_config(), true)] {
        let when = format!("cut anew: {cuts_anew}");
        let medium = SimStorage::new();
        let to = Fixture::make_with(medium.clone(), config);
        let planned = plan(&from, &to).expect("a plan");
        assert_eq!((planned.cuts_anew, planned.snapshots.len(), planned.is_blind), (cuts_anew, made.len(), false));
        let before = from.packs().chunks.len();
        let report = copy_all(&from, &to).expect("a copy");
        assert_copied(&from, &to, &made, &report, &when);
        // No chunk has the same name in both, and where both cut alike there are as many of the data.
        let (ours, theirs) = (from.packs(), to.packs());
        assert!(ours.chunks.keys().all(|id| !theirs.chunks.contains_key(id)), "{when}");
        assert_eq!(theirs.stored_twice(), 0, "{when}");
        assert_eq!(ours.chunks.len(), before, "{when}: nothing was written to the source");
        let chunks = |machine: &Fixture| -> Vec<u64> {
            machine.snapshots().iter().map(|snapshot| snapshot.record.counts.chunks).collect()
        };
        assert_eq!(chunks(&from) == chunks(&to), !cuts_anew, "{when}");

        medium.forget_operations();
        let again = copy_all(&from, &to).expect("a copy");
        assert_eq!((again.copied.len(), again.failed.len()), (0, 0), "{when}");
        let is_lease = |operation: &Operation| matches!(operation, Operation::Put(name) | Operation::Delete(name) if name.kind() == ObjectKind::Session);
        let writes = medium.operations().into_iter().filter(|operation| operation.is_write());
        assert_eq!(writes.filter(|write| !is_lease(write)).collect::<Vec<_>>(), [], "{when}");
        let there: BTreeSet<(ObjectId, ObjectId)> = plan(&from, &to).expect("a plan").there.into_iter().collect();
        assert_eq!(there, report.copied.iter().map(|copied| (copied.source, copied.snapshot)).collect(), "{when}");

        // A backup of the same disks into the target finds all of them there, as if they had been backed up before.
        for (stick, bytes, along_files) in disks() {
            let disk: Arc<dyn ReadAt> = Arc::new(bytes);
            let plan = match along_files {
                true => BackupPlan::make(&disk, Keep::default()).expect("a plan"),
                false => BackupPlan::none(&*disk),
            };
            let backup = to.backup_planned(stick, &*disk, &plan).expect("a backup");
            assert_eq!(backup.counts.chunks_new, 0, "{when}: {stick}");
        }
    }
}

#[test]
fn a_copy_of_a_copy_names_the_first_and_a_copy_back_is_none() {
    let (a, made) = source(SimStorage::new());
    let [b, c] = [small_config(), other_config()].map(|config| Fixture::make_with(SimStorage::new(), config));
    copy_all(&a, &b).expect("a copy");
    let back = plan(&b, &a).expect("a plan");
    assert_eq!((back.snapshots.len(), back.there.len()), (0, made.len()));
    copy_all(&b, &c).expect("a copy");
    let repository = a.repository().expect("there").id();
    let origins: BTreeSet<ObjectId> = c
        .snapshots()
        .into_iter()
        .map(|copy| copy.record.origin.expect("a copy"))
        .filter(|origin| *origin.repository == *repository.as_bytes())
        .map(|origin| ObjectId::new(*origin.snapshot))
        .collect();
    assert_eq!(origins, made.iter().map(|(id, _)| *id).collect());
    for (from, to) in [(&a, &c), (&c, &b), (&c, &a)] {
        assert_eq!(plan(from, to).expect("a plan").snapshots.len(), 0);
    }
    // One that was forgotten comes back.
    let d = Fixture::make(SimStorage::new());
    copy_all(&c, &d).expect("a copy");
    assert!(matches!(plan(&a, &a), Err(OpsError::CopyIntoItself { .. })));
    let bytes: Vec<&Vec<u8>> = made.iter().map(|(_, bytes)| bytes).collect();
    let expected: Vec<(ObjectId, &Vec<u8>)> = d.snapshots().iter().map(|copy| copy.id).zip(bytes).collect();
    d.assert_sound(&expected, "copied three times");
}

/// Two disks that have a part in common, in a source of their own.
fn pair(storage: SimStorage) -> (Fixture, Vec<(ObjectId, Vec<u8>)>) {
    let machine = Fixture::make(storage);
    let disks = [noise(1, 500_000), [noise(1, 200_000), noise(2, 400_000)].concat()];
    let made = disks.map(|disk| (machine.backup("stick", &disk).expect("a backup").snapshot, disk));
    (machine, made.into())
}

#[test]
fn a_copy_that_dies_at_any_write_goes_on_and_stores_nothing_twice() {
    let (from, made) = pair(SimStorage::new());
    let empty = SimStorage::new();
    let machine = Fixture::make(empty.clone());
    let clean = {
        let to = machine.twin(SimStorage::from_objects(empty.objects()));
        copy_all(&from, &to).expect("a copy");
        to.packs()
    };
    for fault in [Fault::Crash, Fault::CrashAfter, Fault::Error, Fault::ErrorAfter, Fault::Full] {
        for write in 0.. {
            let when = format!("{fault:?} at write {write}");
            let medium = SimStorage::from_objects(empty.objects());
            medium.fail_at(write, fault);
            let result = copy_all(&from, &machine.twin(medium.clone()));
            let process = medium.another_process();
            process.free();
            let to = Fixture::open(process);
            let Err(error) = result else {
                assert!(write > 15, "{when}: a copy of {write} writes shows nothing");
                break;
            };
            assert!(matches!(error, OpsError::Repo(_)), "{when}: {}", chain(&error));
            let done = to.snapshots().len();
            to.assert_sound(&[], &when);
            let report = copy_all(&from, &to).expect(&when);
            assert_eq!((report.copied.len() + done, report.failed.len()), (2, 0), "{when}");
            let copies: Vec<ObjectId> = to.snapshots().iter().map(|snapshot| snapshot.id).collect();
            let expected: Vec<_> = copies.into_iter().zip(made.iter().map(|(_, bytes)| bytes)).collect();
            assert_eq!(expected.len(), 2, "{when}: each once");
            to.assert_sound(&expected, &when);
            let packs = to.packs();
            assert_eq!((packs.stored_twice(), packs.chunks.len()), (0, clean.chunks.len()), "{when}");
            assert!(packs.bytes <= clean.bytes + 2 * u64::from(PACK_SIZE), "{when}");
        }
    }
}

#[test]
fn damage_costs_the_snapshots_that_it_touches_and_names_chunk_and_pack() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.clone());
    let mut made = Vec::new();
    let mut packs: Vec<BTreeSet<ObjectName>> = Vec::new();
    for seed in 1..=3 {
        let before: BTreeSet<ObjectName> = medium.names(ObjectKind::Pack).into_iter().collect();
        let disk = noise(seed, 300_000);
        made.push((machine.backup("stick", &disk).expect("a backup").snapshot, disk));
        packs.push(medium.names(ObjectKind::Pack).into_iter().filter(|name| !before.contains(name)).collect());
    }
    let largest = *packs[1].iter().max_by_key(|name| medium.peek(**name).expect("there").len()).expect("packs");
    let small = *packs[1].iter().min_by_key(|name| medium.peek(**name).expect("there").len()).expect("packs");
    for (pack, what) in [(largest, "flipped"), (largest, "unreadable"), (largest, "gone"), (small, "flipped")] {
        for config in [small_config(), other_config()] {
            let when = format!("{pack} {what}");
            let copied = SimStorage::from_objects(medium.objects());
            match what {
                "flipped" => {
                    let mut bytes = copied.peek(pack).expect("there");
                    (100..bytes.len()).step_by(500).for_each(|at| bytes[at] ^= 1);
                    copied.overwrite(pack, bytes);
                }
                "unreadable" => copied.fail_reads(pack),
                _ => drop(copied.remove(pack)),
            }
            let from = machine.twin(copied);
            let to = Fixture::make_with(SimStorage::new(), config);
            let report = copy_all(&from, &to).expect(&when);
            let lost: Vec<ObjectId> = report.failed.iter().map(|(snapshot, _)| snapshot.id).collect();
            assert_eq!((report.copied.len(), lost), (2, vec![made[1].0]), "{when}");
            let text = chain(&report.failed[0].1);
            assert!(text.contains(&pack.to_string()), "{when}: {text}");
            assert!(what == "unreadable" || text.contains("chunk"), "{when}: {text}");
            let expected: Vec<_> =
                report.copied.iter().map(|copied| copied.snapshot).zip([&made[0].1, &made[2].1]).collect();
            to.assert_sound(&expected, &when);
            // What was stored of it is used when the source is whole again.
            let whole = machine.twin(SimStorage::from_objects(medium.objects()));
            let next = copy_all(&whole, &to).expect(&when);
            assert_eq!((next.copied.len(), next.failed.len()), (1, 0), "{when}");
            to.assert_sound(&[(next.copied[0].snapshot, &made[1].1)], &when);
            assert_eq!(to.packs().stored_twice(), 0, "{when}");
        }
    }
}

#[test]
fn a_source_that_goes_away_ends_the_copy() {
    let medium = SimStorage::new();
    let (from, _) = pair(medium.clone());
    let to = Fixture::make(SimStorage::new());
    let (source, target) = (from.store().expect("an index"), to.writer().expect("an index"));
    let plan = plan(&from, &to).expect("a plan");
    let gone = || std::io::ErrorKind::NotFound.into();
    let which = |operation| matches!(operation, Operation::GetRange { start, .. } if start > 30_000);
    medium.set_flaky(Some(Flaky { which, times: u64::MAX, error: gone, is_done: false }));
    let error = copy(&source, &target, plan, &Silent, &Cancel::default(), &mut |_| ()).expect_err("it is gone");
    assert!(matches!(&error, OpsError::Repo(RepoError::Storage(error)) if error.is_place_gone()), "{}", chain(&error));
    assert!(to.snapshots().is_empty());
    to.assert_sound(&[], "after the source was gone");
}

#[test]
fn a_copy_that_is_stopped_keeps_what_it_stored() {
    let (from, made) = pair(SimStorage::new());
    let to = Fixture::make(SimStorage::new());
    let (source, target) = (from.store().expect("an index"), to.writer().expect("an index"));
    let cancel = Cancel::default();
    let asked = cancel.clone();
    let plan = plan(&from, &to).expect("a plan");
    let stopped = copy(&source, &target, plan, &Silent, &cancel, &mut |_| asked.cancel());
    assert!(matches!(stopped, Err(OpsError::Interrupted)), "{stopped:?}");
    assert_eq!(to.snapshots().len(), 1);
    let next = copy_all(&from, &to).expect("a copy");
    assert_eq!(next.copied.len(), 1);
    to.assert_sound(&[(next.copied[0].snapshot, &made[1].1)], "after a stop");
}

/// A machine of a repository that uses a key of this role, which is made for it.
fn with_role(machine: &Fixture, role: Role, label: &str) -> Fixture {
    let word = Password::new(format!("{label}'s").into_bytes());
    let new = NewKey { role, label: label.to_owned(), created_ms: 1, owner: None };
    let admin = machine.with_password(password()).repository().expect("the admin's");
    bundles::add(&admin, &new, Lock::Password(&word, CHEAP)).expect("a new key");
    machine.with_password(word)
}

#[test]
fn an_owner_copies_its_own_and_a_key_that_cannot_is_told_so() {
    let from = Fixture::make(SimStorage::new());
    let to = Fixture::make(SimStorage::new());
    let (ana, ben) = (with_role(&from, Role::Owner, "ana"), with_role(&to, Role::Owner, "ben"));
    let disk = noise(1, 100_000);
    from.backup("others", &noise(2, 100_000)).expect("a backup");
    let own = ana.backup("own", &disk).expect("a backup").snapshot;
    let report = copy_all(&ana, &ben).expect("a copy");
    assert_eq!(report.copied.iter().map(|copied| copied.source).collect::<Vec<_>>(), [own]);
    let copy = report.copied[0].snapshot;
    assert!(ben.restore(copy).expect("its owner reads it") == disk);
    assert!(to.restore(copy).expect("an admin reads it") == disk);
    let made = ben.snapshots().pop().expect("one");
    assert_eq!((made.maker.label.as_str(), made.record.origin.expect("an origin").label.as_str()), ("ben", "ana"));
    assert_eq!(plan(&ana, &ben).expect("a plan").there, [(own, copy)]);

    // Who stores and sees nothing copies as well, and says so.
    let depositor = with_role(&to, Role::Depositor, "depositor");
    let blind = plan(&ana, &depositor).expect("a plan");
    assert!(blind.is_blind && blind.snapshots.len() == 1 && blind.there.is_empty());
    let again = copy_all(&ana, &depositor).expect("a copy");
    assert_eq!((again.copied.len(), again.copied[0].counts.chunks_new), (1, 0));
    to.assert_sound(&[(again.copied[0].snapshot, &disk)], "by a depositor");

    for role in [Role::Operator, Role::Auditor] {
        let (source, target) = (with_role(&from, role, role.name()), with_role(&to, role, role.name()));
        let error = plan(&source, &to).expect_err("reads nothing");
        assert!(error.to_string().contains("cannot read what is in snapshots"), "{error}");
        let error = plan(&ana, &target).expect_err("stores nothing");
        assert!(error.to_string().contains("cannot back up"), "{error}");
    }
    assert!(from.check(Depth::Data(100)).expect("a check").is_ok());
}
