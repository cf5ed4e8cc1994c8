//! New secrets: what was stored before stays readable by those who may, and what is stored later is closed to whoever was lost before.

use super::common::sources::noise;
use super::common::{CHEAP, Fixture, chain};
use super::{add, open, with_all_roles, word};
use sheaf::crypto::password::Password;
use sheaf::format::audit::AuditRecord;
use sheaf::format::certificate::{Certificate, Role};
use sheaf::ids::ChunkKey;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::Depth;
use sheaf::repo::bundles::{self, Credential, Lock, Revocation};
use sheaf::repo::keyring::Domain;
use sheaf::repo::open::Repository;
use sheaf::repo::rotation::{Renewed, Rotation};
use sheaf::repo::{RepoError, audit, snapshots};
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

fn rotate(repository: &Repository) -> Vec<Renewed> {
    let plan = Rotation::plan(repository).expect("a plan");
    let mut renewed = Vec::new();
    let told = &mut |each: Renewed| {
        tell(repository, &each);
        renewed.push(each);
        Ok(())
    };
    plan.apply(repository, told).expect("applied");
    renewed
}

/// Tells the log of a bundle, as the command does.
fn tell(repository: &Repository, renewed: &Renewed) {
    let mut told = super::common::record("key rotate");
    told.key = Some((*renewed.certificate.key.as_bytes()).into());
    told.bundle = renewed.bundle.id().map(|id| (*id.as_bytes()).into());
    let folder = super::common::folder();
    audit::append(repository, folder.path(), &super::audit::facts("key rotate", &[]), &told).expect("appended");
}

#[test]
fn after_a_rotation_all_that_could_be_done_can_be_done_and_what_is_new_is_closed_to_old_keys() {
    let (medium, machine) = with_all_roles();
    let disk = noise(1, 200_000);
    let ana = machine.with_password(word(Role::Owner));
    let before =
        [machine.backup("admin", &disk), ana.backup("ana", &disk)].map(|made| made.expect("a backup").snapshot);
    // What somebody has who took a bundle with its password home, or who is still at it.
    let old: Vec<Arc<Repository>> = Role::ALL.into_iter().map(|role| open(&medium, &word(role))).collect();

    let admin = machine.repository().expect("opens");
    let plan = Rotation::plan(&admin).expect("a plan");
    assert_eq!((plan.finishes, plan.keys().count()), (false, 6));
    let objects = medium.objects();
    assert_eq!(objects, medium.objects(), "a plan changes nothing");
    assert_eq!(rotate(&admin).len(), 6);
    let rest = |objects: &std::collections::BTreeMap<_, Vec<u8>>| {
        objects
            .iter()
            .filter(|(name, _): &(&ObjectName, _)| ![ObjectKind::Key, ObjectKind::Audit].contains(&name.kind()))
            .count()
    };
    assert_eq!(rest(&objects), rest(&medium.objects()), "nothing but bundles is touched");
    assert_eq!(medium.names(ObjectKind::Key).len(), 6);

    // Everybody's password opens, and everything does what it did.
    for role in Role::ALL {
        assert_eq!(open(&medium, &word(role)).keys().role(), role);
    }
    assert!(ana.restore(before[1]).expect("her own from before") == disk);
    let stored = machine.backup("admin", &disk).expect("a backup");
    assert!(stored.counts.chunks_new > 0, "nothing that is stored later is sealed under old secrets");
    let after = [stored.snapshot, ana.backup("ana", &disk).expect("a backup").snapshot];
    let depositor = machine.with_password(word(Role::Depositor)).backup("stick", &disk).expect("a backup");
    assert_eq!(depositor.counts.chunks_new, 0, "the new secrets are the same for all");
    assert!(ana.restore(after[1]).expect("her own from after") == disk);
    machine.assert_sound(
        &[(before[0], &disk), (before[1], &disk), (after[0], &disk), (after[1], &disk), (depositor.snapshot, &disk)],
        "of two epochs",
    );
    for role in [Role::Operator, Role::Auditor] {
        let report = machine.with_password(word(role)).check(Depth::Data(100)).expect("checks");
        assert!(report.is_ok() && report.snapshots == 5, "{role}: {:?}", report.findings);
    }

    // The old secrets open nothing of it.
    for repository in &old {
        let role = repository.keys().role();
        let new = [after[0], after[1], depositor.snapshot];
        for id in new {
            assert!(
                snapshots::read(repository, id).is_err() && snapshots::open_private(repository, id).is_err(),
                "{role}"
            );
        }
        let segments = medium.list_names(ObjectKind::Index);
        let opened = segments.iter().filter(|id| sheaf::repo::segments::read(repository, **id).is_ok()).count();
        assert!(opened < segments.len(), "{role} reads segments that were made since");
    }

    // A key that is made now reads what its role may of before.
    let late = Password::new(b"late".to_vec());
    add(&machine.repository().expect("opens"), Role::Auditor, "late", None, &late);
    let report = machine.with_password(late).check(Depth::Data(100)).expect("checks");
    assert!(report.is_ok() && report.snapshots == 5, "{:?}", report.findings);
}

#[test]
fn rotations_follow_one_another_and_one_that_was_cut_short_is_finished() {
    let (medium, machine) = with_all_roles();
    let disk = noise(2, 50_000);
    let mut made = vec![machine.backup("ana", &disk).expect("a backup").snapshot];
    for _ in 0..3 {
        rotate(&machine.repository().expect("opens"));
        made.push(machine.backup("ana", &disk).expect("a backup").snapshot);
    }
    // Cut short behind the second bundle.
    let admin = machine.repository().expect("opens");
    let plan = Rotation::plan(&admin).expect("a plan");
    let mut left = 2;
    let cut = plan.apply(&admin, &mut |each| {
        left -= 1;
        if left == 0 {
            return Err(RepoError::NoSuchKey { name: "cut".to_owned() });
        }
        tell(&admin, &each);
        Ok(())
    });
    assert!(matches!(cut, Err(RepoError::NoSuchKey { .. })));
    made.push(machine.backup("ana", &disk).expect("a backup").snapshot);
    let admin = machine.repository().expect("opens");
    let plan = Rotation::plan(&admin).expect("a plan");
    assert!(plan.finishes);
    assert_eq!(plan.keys().count(), 5, "those that are behind, as far as anybody was told");
    assert_eq!((plan.deleted.len(), plan.left_out.len()), (1, 0), "the one that nobody was told of");
    let renewed = rotate(&admin);
    assert_eq!(renewed.len(), 6, "they, and the admin's own, which is told again");
    assert!(!Rotation::plan(&machine.repository().expect("opens")).expect("a plan").finishes);
    let all: Vec<_> = made.iter().map(|id| (*id, &disk)).collect();
    machine.assert_sound(&all, "of five epochs");
    for role in Role::ALL {
        assert_eq!(open(&medium, &word(role)).keys().role(), role, "nobody was left out");
    }
    let auditor = machine.with_password(word(Role::Auditor)).check(Depth::Data(100)).expect("checks");
    assert!(auditor.is_ok() && auditor.snapshots == 5, "{:?}", auditor.findings);
}

/// Two admins, or one twice, who rotate at the same time: whatever is stored by whomever then opens for all.
#[test]
fn two_rotations_at_once_have_the_same_secrets() {
    let (medium, machine) = with_all_roles();
    let disk = noise(3, 50_000);
    let other = machine.with_password(word(Role::Admin));
    let plan = |machine: &Fixture| {
        let repository = machine.repository().expect("opens");
        (Rotation::plan(&repository).expect("a plan"), repository)
    };
    let [(first, one), (second, two), (late, three)] = [plan(&machine), plan(&other), plan(&machine)];
    let mut made = Vec::new();
    let mut back_up = || {
        for role in [Role::Depositor, Role::Owner, Role::Admin] {
            made.push(machine.with_password(word(role)).backup("ana", &disk).expect("a backup").snapshot);
        }
    };
    back_up();
    // The second begins when the first has written its own bundle and no other, and is through before that goes on.
    let mut begun = false;
    let told = &mut |_| {
        if !std::mem::replace(&mut begun, true) {
            second.apply(&two, &mut |_| Ok(())).expect("applied");
            back_up();
        }
        Ok(())
    };
    first.apply(&one, told).expect("applied");
    back_up();
    assert!(late.apply(&three, &mut |_| Ok(())).is_err(), "a plan of before another rotation is not for now");
    let all: Vec<_> = made.iter().map(|id| (*id, &disk)).collect();
    machine.assert_sound(&all, "with the one admin's key");
    other.assert_sound(&all, "with the other's");
    assert_eq!(medium.names(ObjectKind::Snapshot).len(), 9);
}

/// Whoever kept a bundle and its password, and can write to the storage, puts it back and waits for a rotation.
#[test]
fn a_bundle_that_was_put_back_gets_no_new_secrets() {
    let (medium, machine) = with_all_roles();
    let admin = machine.repository().expect("opens");
    let [thief, owner] = [Role::Depositor, Role::Owner].map(|role| open(&medium, &word(role)));
    let kept = [&thief, &owner].map(|one| (one.bundle(), medium.peek(one.bundle()).expect("there")));
    let tell = |action: &str, key: &Certificate, bundle: Option<ObjectName>| {
        let mut told = super::common::record(action);
        told.key = Some((*key.key.as_bytes()).into());
        told.bundle = bundle.and_then(ObjectName::id).map(|id| (*id.as_bytes()).into());
        audit::append(&admin, &machine.cache(), &super::audit::facts(action, &[]), &told).expect("appended");
    };
    // One key is taken away, the other one gets another password.
    let revocation = Revocation::plan(&admin, thief.keys().certificate()).expect("a plan");
    tell(AuditRecord::KEY_REVOKE, thief.keys().certificate(), None);
    revocation.apply(&admin).expect("applied");
    let changed = Password::new(b"changed".to_vec());
    let credential = Credential::Password(word(Role::Owner));
    let told = &mut |bundle: &bundles::Bundle| {
        tell("key passwd", &bundle.certificate, Some(bundle.name));
        Ok(())
    };
    bundles::protect(&owner, &credential, Lock::Password(&changed, CHEAP), told).expect("protected anew");
    kept.iter().for_each(|(name, bytes)| medium.overwrite(*name, bytes.clone()));

    let admin = machine.repository().expect("opens");
    let plan = Rotation::plan(&admin).expect("a plan");
    let deleted: Vec<ObjectName> = plan.deleted.iter().map(|bundle| bundle.name).collect();
    assert!(deleted.len() == 2 && kept.iter().all(|(name, _)| deleted.contains(name)), "{deleted:?}");
    // The right bundle of a key is gone as well: whoever took it may have put the other one there.
    let right = medium.names(ObjectKind::Key).into_iter().find(|name| {
        let bundle = bundles::inspect(&admin, *name).expect("sound");
        bundle.certificate.key == owner.keys().certificate().key && *name != kept[1].0
    });
    let right = right.expect("there");
    let bytes = medium.remove(right).expect("there");
    let plan = Rotation::plan(&admin).expect("a plan");
    assert_eq!(plan.left_out.iter().map(|bundle| bundle.name).collect::<Vec<_>>(), [kept[1].0]);
    medium.overwrite(right, bytes);
    let old = kept.each_ref().map(|(name, _)| medium.peek(*name).expect("there"));
    rotate(&admin);
    assert!(kept.iter().all(|(name, _)| medium.peek(*name).is_none()), "they are deleted");
    kept.iter().zip(old).for_each(|((name, _), bytes)| medium.overwrite(*name, bytes));
    let disk = noise(4, 50_000);
    let made = machine.backup("ana", &disk).expect("a backup").snapshot;
    let owned = machine.with_password(changed).backup("ana", &disk).expect("a backup").snapshot;
    for role in [Role::Depositor, Role::Owner] {
        let back = open(&medium, &word(role));
        assert!([made, owned].iter().all(|id| snapshots::open_private(&back, *id).is_err()), "{role}");
        let key = back.keys().chunk_key(Domain::Data, b"content").expect("an old one");
        assert!(key != admin_key(&machine), "{role} has the new dedup secret");
    }
    assert!(machine.restore(owned).expect("restores") == disk);
}

/// The key that some content has by the newest secrets.
fn admin_key(machine: &Fixture) -> ChunkKey {
    machine.repository().expect("opens").keys().chunk_key(Domain::Data, b"content").expect("an admin's")
}

#[test]
fn nobody_but_an_admin_rotates_and_nobody_is_left_out_by_damage() {
    let (medium, machine) = with_all_roles();
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Admin) {
        let refused = Rotation::plan(&open(&medium, &word(role))).expect_err("not his to do");
        assert!(matches!(refused, RepoError::KeyLacks { .. }), "{}", chain(&refused));
    }
    let admin = machine.repository().expect("opens");
    let other = medium.names(ObjectKind::Key).into_iter().find(|name| *name != admin.bundle()).expect("there");
    let mut bytes = medium.peek(other).expect("there");
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    medium.overwrite(other, bytes);
    let refused = Rotation::plan(&admin).expect_err("one bundle is damaged");
    assert!(refused.is_damage(), "{}", chain(&refused));
    assert_eq!(audit::read_all(&admin, None).expect("reads").entries.len(), 0);
}

/// The ids of all objects of a kind.
trait Ids {
    fn list_names(&self, kind: ObjectKind) -> Vec<sheaf::ids::ObjectId>;
}

impl Ids for SimStorage {
    fn list_names(&self, kind: ObjectKind) -> Vec<sheaf::ids::ObjectId> {
        self.names(kind).into_iter().filter_map(ObjectName::id).collect()
    }
}
