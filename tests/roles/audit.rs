//! The audit log: a chain that shows what is missing, to those who may see it.

use super::common::sources::noise;
use super::common::{CHEAP, Fixture, chain, record};
use super::{is_refused, open, with_all_roles, word};
use sheaf::crypto::password::Password;
use sheaf::format::audit::{AuditFacts, AuditRecord, EntryKind};
use sheaf::format::certificate::Role;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::OpsError;
use sheaf::ops::audit::verify;
use sheaf::ops::check::{Depth, Finding, FindingKind};
use sheaf::repo::bundles::{self, Credential, Lock, Revocation};
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use sheaf::repo::{audit, snapshots};
use sheaf::storage::sim::SimStorage;

/// The facts of an entry of this action.
pub(super) fn facts(action: &str, snapshots: &[ObjectId]) -> AuditFacts {
    AuditFacts { kind: EntryKind::of_action(action), time_ms: 1, subjects: snapshots.to_vec() }
}

fn append(machine: &Fixture, repository: &Repository, action: &str, snapshots: &[ObjectId]) -> ObjectId {
    audit::append(repository, &machine.cache(), &facts(action, snapshots), &record(action)).expect("appended").id
}

/// A backup with its entry, as the command makes it.
fn back_up(machine: &Fixture, seed: u64) -> (ObjectId, ObjectId) {
    let snapshot = machine.backup("ana", &noise(seed, 20_000)).expect("a backup").snapshot;
    let repository = machine.repository().expect("opens");
    (snapshot, append(machine, &repository, AuditRecord::BACKUP, &[snapshot]))
}

fn kinds(findings: &[Finding]) -> Vec<(FindingKind, ObjectName)> {
    findings.iter().map(|finding| (finding.kind, finding.object)).collect()
}

fn findings(machine: &Fixture) -> Vec<(FindingKind, ObjectName)> {
    kinds(&machine.check(Depth::Structure).expect("checks").findings)
}

fn entry(id: ObjectId) -> ObjectName {
    ObjectName::new(ObjectKind::Audit, id)
}

#[test]
fn entries_follow_one_another_and_two_at_once_are_joined() {
    let (medium, machine) = with_all_roles();
    let admin = machine.repository().expect("opens");
    let first = append(&machine, &admin, "one", &[]);
    let second = append(&machine, &admin, "two", &[]);
    // Another machine wrote at the same time: it had seen the first entry alone.
    let hidden = medium.remove(entry(second)).expect("there");
    let elsewhere = Fixture::open(medium.clone());
    let third = append(&elsewhere, &elsewhere.repository().expect("opens"), "three", &[]);
    medium.overwrite(entry(second), hidden);
    let last = append(&machine, &open(&medium, &word(Role::Depositor)), "four", &[]);

    let log = audit::read_all(&admin, Some(&machine.cache())).expect("reads");
    let followed = |id| log.entries.iter().find(|entry| entry.id == id).expect("there").previous.clone();
    assert_eq!((followed(first), followed(second), followed(third)), (vec![], vec![first], vec![first]));
    let mut both = vec![second, third];
    both.sort_unstable();
    assert_eq!(followed(last), both);
    assert_eq!((log.entries[0].id, log.entries[3].id), (first, last));
    assert!(log.damaged.is_empty() && log.missing.is_empty());
    let maker = log.entries[3].maker.as_ref().expect("seen by an admin");
    assert_eq!((maker.role, maker.label.as_str()), (Role::Depositor, "depositor"));
    assert_eq!(log.entries[3].record.as_ref().expect("read by an admin").action, "four");
}

#[test]
fn each_role_sees_of_the_log_what_it_may() {
    let (medium, machine) = with_all_roles();
    append(&machine, &machine.repository().expect("opens"), "something secret", &[]);
    for role in Role::ALL {
        let repository = open(&medium, &word(role));
        let log = audit::read_all(&repository, None).expect("ids for all");
        assert_eq!(log.entries.len(), 1);
        assert_eq!(log.entries[0].maker.is_some(), Action::KeepRepository.roles().contains(&role), "{role}");
        assert_eq!(log.entries[0].record.is_some(), Action::ReadLog.roles().contains(&role), "{role}");
        match verify(&repository, None, &[]) {
            Ok(report) => assert!(report.findings.is_empty() && Action::KeepRepository.roles().contains(&role)),
            Err(OpsError::Repo(error)) => assert!(is_refused(&error, role, Action::KeepRepository)),
            Err(error) => panic!("{}", chain(&error)),
        }
    }
    for (name, bytes) in medium.objects() {
        assert!(!super::contains(&bytes, b"something secret"), "{name}");
    }
}

#[test]
fn what_was_committed_and_is_gone_is_found() {
    let (medium, machine) = with_all_roles();
    let (kept, _) = back_up(&machine, 1);
    let (lost, told) = back_up(&machine, 2);
    let (_, last) = back_up(&machine, 3);
    assert_eq!(findings(&machine), []);

    // The storage's operator deletes a snapshot.
    let snapshot = ObjectName::new(ObjectKind::Snapshot, lost);
    let bytes = medium.remove(snapshot).expect("there");
    assert_eq!(findings(&machine), [(FindingKind::SnapshotMissing, snapshot)]);
    let auditor = machine.with_password(word(Role::Auditor));
    assert_eq!(findings(&auditor), [(FindingKind::SnapshotMissing, snapshot)]);
    // And the entry that tells of it: the next one names that.
    let entry_bytes = medium.remove(entry(told)).expect("there");
    assert_eq!(findings(&machine), [(FindingKind::AuditMissing, entry(told))]);
    let stranger = Fixture::open(medium.clone());
    assert_eq!(findings(&stranger), [(FindingKind::AuditMissing, entry(told))], "by a machine that has seen nothing");
    let operator = Fixture::open(medium.clone()).with_password(word(Role::Operator));
    assert_eq!(findings(&operator), [(FindingKind::AuditMissing, entry(told))], "by a key that cannot read entries");
    // An older state, whole in itself: only who has seen a later one can tell.
    let last_bytes = medium.remove(entry(last)).expect("there");
    assert_eq!(findings(&stranger), []);
    assert_eq!(
        findings(&machine),
        [(FindingKind::AuditMissing, entry(told)), (FindingKind::AuditMissing, entry(last))]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    let appended = audit::append(
        &machine.repository().expect("opens"),
        &machine.cache(),
        &facts("restore", &[kept]),
        &record("restore"),
    );
    assert_eq!(appended.expect("appended").missing.len(), 2, "whoever writes is told as well");

    medium.overwrite(entry(told), entry_bytes);
    medium.overwrite(entry(last), last_bytes);
    // A depositor's word that it was let go counts for nothing.
    append(&machine, &open(&medium, &word(Role::Depositor)), AuditRecord::FORGET, &[lost]);
    assert_eq!(findings(&machine), [(FindingKind::SnapshotMissing, snapshot)]);
    // Somebody forgot it by the rules.
    append(&machine, &machine.repository().expect("opens"), AuditRecord::FORGET, &[lost]);
    assert_eq!(findings(&machine), []);
    // And somebody puts it back.
    medium.overwrite(snapshot, bytes);
    assert_eq!(findings(&machine), [(FindingKind::SnapshotReturned, snapshot)]);
    let operator = Fixture::open(medium.clone()).with_password(word(Role::Operator));
    assert_eq!(findings(&operator), [(FindingKind::SnapshotReturned, snapshot)], "by a key that cannot read records");
}

#[test]
fn an_entry_that_is_changed_anywhere_is_found() {
    let (medium, machine) = with_all_roles();
    let (_, told) = back_up(&machine, 4);
    let name = entry(told);
    let bytes = medium.remove(name).expect("there");
    for byte in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[byte] ^= 1 << (byte % 8);
        medium.overwrite(name, changed.clone());
        let admin = machine.repository().expect("opens");
        let found = kinds(&verify(&admin, Some(&machine.cache()), &[]).expect("verifies").findings);
        assert_eq!(found, [(FindingKind::AuditDamaged, name)], "byte {byte}");
        medium.remove(name);
        // Under the name that its bytes now have.
        let forged = entry(ObjectId::new(*blake3::hash(&changed).as_bytes()));
        medium.overwrite(forged, changed);
        let found = kinds(&verify(&admin, None, &[]).expect("verifies").findings);
        assert_eq!(found, [(FindingKind::AuditDamaged, forged)], "byte {byte}, forged");
        medium.remove(forged);
    }
}

#[test]
fn what_a_key_makes_after_it_was_taken_away_is_found() {
    let (medium, machine) = with_all_roles();
    let admin = machine.repository().expect("opens");
    let thief = machine.with_password(word(Role::Depositor));
    let before = thief.backup("ana", &noise(5, 20_000)).expect("a backup").snapshot;
    let stolen = open(&medium, &word(Role::Depositor));
    let plan = Revocation::plan(&admin, stolen.keys().certificate()).expect("a plan");
    assert_eq!(plan.snapshots, [before]);
    // The thief has kept the bundle, and puts it back.
    let kept = medium.peek(stolen.bundle()).expect("there");
    let mut revocation = record(AuditRecord::KEY_REVOKE);
    revocation.key = Some((*plan.certificate.key.as_bytes()).into());
    audit::append(&admin, &machine.cache(), &facts(AuditRecord::KEY_REVOKE, &plan.snapshots), &revocation)
        .expect("appended");
    plan.apply(&admin).expect("applied");
    assert!(thief.repository().is_err());
    assert_eq!(findings(&machine), []);
    medium.overwrite(stolen.bundle(), kept);
    let after = thief.backup("ana", &noise(6, 20_000)).expect("storage takes it").snapshot;
    let late = ObjectName::new(ObjectKind::Snapshot, after);
    // The bundle that is back is seen as well.
    let expected = [(FindingKind::SnapshotRevoked, late), (FindingKind::KeyReplaced, stolen.bundle())];
    assert_eq!(findings(&machine), expected);
    assert_eq!(findings(&machine.with_password(word(Role::Auditor))), expected);
    assert_eq!(snapshots::list(&admin).expect("lists").snapshots.len(), 2);
    // Nobody but an admin takes keys away: an entry of another role that says so says nothing.
    let mut pretended = record(AuditRecord::KEY_REVOKE);
    pretended.key = Some((*admin.keys().certificate().key.as_bytes()).into());
    machine.backup("ana", &noise(7, 20_000)).expect("the admin's own");
    audit::append(
        &open(&medium, &word(Role::Operator)),
        &machine.cache(),
        &facts(AuditRecord::KEY_REVOKE, &[]),
        &pretended,
    )
    .expect("appended");
    assert_eq!(findings(&machine), expected);
}

/// Whoever has an old bundle and its old password puts it back, or a forged one.
#[test]
fn a_bundle_that_was_replaced_and_comes_back_is_found() {
    let (medium, machine) = with_all_roles();
    let owner = open(&medium, &word(Role::Owner));
    let old = owner.bundle();
    let kept = medium.peek(old).expect("there");
    let changed = Password::new(b"changed".to_vec());
    let credential = Credential::Password(word(Role::Owner));
    let new = bundles::protect(&owner, &credential, Lock::Password(&changed, CHEAP), &mut |_| Ok(()))
        .expect("protected anew");
    let mut told = record("key passwd");
    told.key = Some((*new.certificate.key.as_bytes()).into());
    told.bundle = new.name.id().map(|id| (*id.as_bytes()).into());
    audit::append(&owner, &machine.cache(), &facts("key passwd", &[]), &told).expect("appended");
    assert_eq!(findings(&machine), []);
    medium.overwrite(old, kept.clone());
    assert_eq!(findings(&machine), [(FindingKind::KeyReplaced, old)]);
    medium.remove(old);
    // A sealed record that was changed, under the name that goes with it: nobody but its holder could open it and see.
    let mut forged = medium.peek(new.name).expect("there");
    let at = forged.len() - 3;
    forged[at] ^= 1;
    medium.remove(new.name);
    let name = ObjectName::new(ObjectKind::Key, ObjectId::new(*blake3::hash(&forged).as_bytes()));
    medium.overwrite(name, forged);
    assert_eq!(findings(&machine), [(FindingKind::KeyReplaced, name)]);
    // Another key's word about it counts for nothing.
    told.bundle = name.id().map(|id| (*id.as_bytes()).into());
    audit::append(&open(&medium, &word(Role::Operator)), &machine.cache(), &facts("key passwd", &[]), &told)
        .expect("appended");
    assert_eq!(findings(&machine), [(FindingKind::KeyReplaced, name)]);
}

/// A small repository with everything in it: each byte of each object, flipped, is found by an auditor, or keeps him from opening it.
#[test]
fn whatever_is_flipped_is_found_with_the_auditors_key() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.clone());
    let admin = machine.repository().expect("opens");
    super::add(&admin, Role::Auditor, "auditor", None, &word(Role::Auditor));
    back_up(&machine, 8);
    let auditor = machine.with_password(word(Role::Auditor));
    assert!(auditor.check(Depth::Data(100)).expect("checks").is_ok());
    let mut flips = 0;
    for (name, bytes) in medium.objects() {
        // Packs are proven as a whole, by their names: a part of their bytes shows that.
        let step = if name.kind() == ObjectKind::Pack { 97 } else { 1 } * super::common::pace();
        for byte in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[byte] ^= 1 << (byte % 8);
            medium.overwrite(name, changed);
            match auditor.repository().is_ok().then(|| auditor.check(Depth::Data(100))) {
                None => {}
                Some(report) => {
                    let report = report.unwrap_or_else(|error| panic!("{name}, byte {byte}: {}", chain(&error)));
                    assert!(!report.is_ok(), "{name}, byte {byte}");
                }
            }
            flips += 1;
        }
        medium.overwrite(name, bytes);
    }
    assert!(flips * super::common::pace() > 4000, "{flips} flips");
    assert!(auditor.check(Depth::Data(100)).expect("checks").is_ok());
}

/// An entry that tells of a key's bundle.
fn tell_of(machine: &Fixture, teller: &Repository, key: &[u8; 32], bundle: ObjectName) {
    let mut told = record("key add");
    told.key = Some((*key).into());
    told.bundle = bundle.id().map(|id| (*id.as_bytes()).into());
    audit::append(teller, &machine.cache(), &facts("key add", &[]), &told).expect("appended");
}

/// An older version of a repository, in one object or in all: what an auditor's machine has seen, it misses.
#[test]
fn whatever_was_there_and_is_gone_is_found_with_the_auditors_key() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.clone());
    let admin = machine.repository().expect("opens");
    tell_of(&machine, &admin, admin.keys().certificate().key.as_bytes(), admin.bundle());
    let auditor = machine.with_password(word(Role::Auditor));
    let mut states = Vec::new();
    for (number, role) in [Role::Auditor, Role::Owner, Role::Operator].into_iter().enumerate() {
        let bundle = super::add(&admin, role, role.name(), None, &word(role));
        tell_of(&machine, &admin, bundle.certificate.key.as_bytes(), bundle.name);
        back_up(&machine, number as u64);
        assert!(auditor.check(Depth::Data(100)).expect("checks").is_ok());
        states.push(medium.objects());
    }
    let newest = states.pop().expect("three states");
    let set = |objects: &std::collections::BTreeMap<ObjectName, Vec<u8>>| {
        medium.objects().into_keys().for_each(|name| drop(medium.remove(name)));
        objects.iter().for_each(|(name, bytes)| medium.overwrite(*name, bytes.clone()));
    };
    let is_found = |what: &str| {
        let Ok(_) = auditor.repository() else { return };
        let report = auditor.check(Depth::Data(100)).unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
        assert!(!report.is_ok(), "{what} is not found");
    };
    for name in newest.keys() {
        let bytes = medium.remove(*name).expect("there");
        is_found(&format!("{name}, gone"));
        medium.overwrite(*name, bytes);
    }
    for (number, state) in states.iter().enumerate() {
        set(state);
        is_found(&format!("the repository as it was at {number}"));
    }
    set(&newest);
    assert!(auditor.check(Depth::Data(100)).expect("checks").is_ok());
}
