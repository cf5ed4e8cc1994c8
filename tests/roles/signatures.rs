//! Who made what: signatures that hold, and those that count for nothing.

use super::common::sources::noise;
use super::common::{CHEAP, Fixture, chain};
use super::{open, with_all_roles, word};
use sheaf::crypto::derive;
use sheaf::crypto::password::Password;
use sheaf::crypto::sign::{Purpose, SigningKey};
use sheaf::crypto::{Secret, aead};
use sheaf::format::certificate::{Role, SignedCertificate};
use sheaf::format::index::IndexSegment;
use sheaf::format::keys::KeyRecord;
use sheaf::format::pack::{PackEntry, PackKind};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::{Depth, FindingKind};
use sheaf::repo::bundles::{self, Credential, Lock};
use sheaf::repo::keyring::Domain;
use sheaf::repo::open::Repository;
use sheaf::repo::packer::Packer;
use sheaf::repo::{RepoError, segments, snapshots};
use sheaf::storage::sim::SimStorage;

/// What a bundle holds.
fn record(medium: &SimStorage, repository: &Repository, password: Password) -> KeyRecord {
    let opened = bundles::open_bundle(medium, repository.bundle(), repository.id(), &Credential::Password(password));
    opened.expect("opens").expect("for a password")
}

/// A machine with a key that somebody put together.
fn forger(medium: &SimStorage, machine: &Fixture, record: &KeyRecord) -> Fixture {
    let password = Password::new(b"forged".to_vec());
    let id = machine.repository().expect("opens").id();
    bundles::store_bundle(medium, id, record, Lock::Password(&password, CHEAP)).expect("stored");
    machine.with_password(password)
}

#[test]
fn a_snapshot_names_the_key_that_made_it() {
    let (_, machine) = with_all_roles();
    let disk = noise(1, 50_000);
    let made = machine.with_password(word(Role::Depositor)).backup("ana", &disk).expect("a backup").snapshot;
    let own = machine.with_password(word(Role::Owner)).backup("ana", &disk).expect("a backup").snapshot;
    for reader in [machine.repository(), machine.with_password(word(Role::Auditor)).repository()] {
        let snapshot = snapshots::read(&reader.expect("opens"), made).expect("reads");
        assert_eq!((snapshot.maker.role, snapshot.maker.label.as_str()), (Role::Depositor, "depositor"));
    }
    let owner = machine.with_password(word(Role::Owner)).repository().expect("opens");
    assert_eq!(snapshots::read(&owner, own).expect("reads").maker, *owner.keys().certificate());
}

/// A key that came by everything that storing takes is still a key that may not.
#[test]
fn what_a_key_of_another_role_signs_counts_for_nothing() {
    for forger_role in [Role::Operator, Role::Auditor] {
        let (medium, machine) = with_all_roles();
        let admin = record(&medium, &machine.repository().expect("opens"), super::common::password());
        let mut forged = record(&medium, &open(&medium, &word(forger_role)), word(forger_role));
        forged.recipients = admin.recipients.clone();
        forged.dedup_secret = admin.dedup_secret.clone();
        let made = forger(&medium, &machine, &forged).backup("ana", &noise(2, 50_000)).expect("stored").snapshot;
        let error = snapshots::read(&machine.repository().expect("opens"), made).expect_err("not theirs to make");
        let name = forger_role.name();
        assert!(matches!(&error, RepoError::NotEntitled { role, label, .. } if *role == forger_role && label == name));
        let report = machine.check(Depth::Structure).expect("checks");
        let kinds: Vec<FindingKind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert!(kinds.contains(&FindingKind::SnapshotDamaged), "{kinds:?}");
        // Operators list packs again when they repair; auditors change nothing.
        assert_eq!(kinds.contains(&FindingKind::IndexDamaged), forger_role == Role::Auditor, "{kinds:?}");
        let blamed = format!("`{name}`");
        assert!(report.findings.iter().any(|finding| finding.detail.contains(&blamed)), "{:?}", report.findings);
        assert!(machine.restore(made).is_err());
    }
}

/// Whoever makes an authority of his own convinces himself alone.
#[test]
fn what_another_authority_certifies_counts_for_nothing() {
    let (medium, machine) = with_all_roles();
    let mut forged = record(&medium, &open(&medium, &word(Role::Depositor)), word(Role::Depositor));
    let authority = SigningKey::from_seed(&Secret::new([9; 32]));
    let mut certificate = SignedCertificate::decode(&forged.certificate).expect("decodes");
    certificate.signature = authority.sign(Purpose::Certificate, &certificate.record).into();
    forged.certificate = certificate.encode().into();
    // With the authority as it is the bundle opens nothing, and with the other one nobody believes what it makes.
    let stubborn = forger(&medium, &machine, &forged);
    let error = stubborn.repository().expect_err("a certificate that nobody signed");
    assert!(chain(&error).contains("signature"), "{}", chain(&error));
    medium
        .names(ObjectKind::Key)
        .into_iter()
        .filter(|name| bundles::inspect(&machine.repository().unwrap(), *name).is_err())
        .for_each(|name| drop(medium.remove(name)));
    forged.authority = authority.id().as_bytes().to_vec().into();
    let made = forger(&medium, &machine, &forged).backup("ana", &noise(3, 50_000)).expect("stored").snapshot;
    let error = snapshots::read(&machine.repository().expect("opens"), made).expect_err("a stranger's");
    assert!(error.is_damage() && chain(&error).contains("signature"), "{}", chain(&error));
    assert!(!machine.check(Depth::Structure).expect("checks").is_ok());
}

#[test]
fn a_poisoned_chunk_is_found_named_with_its_maker_and_never_restored() {
    let (medium, machine) = with_all_roles();
    let disk = noise(4, 900);
    // A depositor guesses what another stick will hold, and stores rubbish under the id that this will have.
    let depositor = open(&medium, &word(Role::Depositor));
    let key = depositor.keys().chunk_key(Domain::Data, &disk).expect("a depositor's");
    let packed = [&[0], &noise(5, 900)[..]].concat();
    let sealed_length = (packed.len() + aead::OVERHEAD) as u32;
    let entry = PackEntry { id: derive::chunk_id(&key), sealed_length, plain_length: 900 };
    let lengths = [entry.plain_length.to_le_bytes(), entry.sealed_length.to_le_bytes()].concat();
    let associated = [&entry.id.as_bytes()[..], &lengths].concat();
    let sealed = aead::seal(key.expose(), &associated, &packed).expect("sealed");
    let mut packer = Packer::new(depositor.id(), PackKind::Data, 1 << 20, Vec::new());
    packer.add(entry, &sealed);
    let pack = packer.finish(depositor.keys()).expect("finished").expect("not empty");
    pack.store(&medium).expect("stored");
    let segment = IndexSegment { supersedes: Vec::new(), packs: vec![pack.indexed.clone()] };
    segments::publish(&depositor, &segment).expect("published");

    let snapshot = machine.backup("ana", &disk).expect("a backup");
    assert_eq!(snapshot.counts.bytes_kept, 900);
    machine.restore(snapshot.snapshot).expect_err("rubbish is never restored as if it were right");
    let report = machine.check(Depth::Data(100)).expect("checks");
    let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::PackDamaged).expect("found");
    assert_eq!(finding.object, ObjectName::pack(pack.indexed.id));
    let named = format!("the key `depositor`, depositor, {}", depositor.keys().certificate().key.short());
    assert!(finding.detail.contains(&named), "{}", finding.detail);
    assert!(finding.snapshots.contains(&snapshot.snapshot));
}
