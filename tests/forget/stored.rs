//! Plans that are applied to a repository on a simulated storage, with keys of several roles, and crashes in between.

use super::common::{CHEAP, Fixture, password, record};
use super::model::{Model, START, at};
use sheaf::crypto::password::Password;
use sheaf::format::audit::{AuditFacts, AuditRecord, EntryKind};
use sheaf::format::certificate::Role;
use sheaf::format::snapshot::{Counts, DiskFacts, OperatorRecord, PrivateRecord};
use sheaf::format::tree::TreeRoot;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::audit::verify;
use sheaf::ops::check::FindingKind;
use sheaf::ops::forget::policy::Policy;
use sheaf::ops::forget::{ForgetPlan, ForgetRequest, Keep, Seen};
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::bundles::{self, Lock};
use sheaf::repo::keyring::NewKey;
use sheaf::repo::open::Repository;
use sheaf::repo::{RepoError, audit, snapshots};
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

/// A repository, a machine, and a key of each role.
struct World {
    medium: SimStorage,
    machine: Fixture,
}

impl World {
    fn new() -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.clone());
        let world = Self { medium, machine };
        let admin = world.open(Role::Admin);
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Admin) {
            let new = NewKey { role, label: role.name().to_owned(), created_ms: 1, owner: None };
            bundles::add(&admin, &new, Lock::Password(&Self::word(role), CHEAP)).expect("a key");
        }
        world
    }

    fn word(role: Role) -> Password {
        if role == Role::Admin { password() } else { Password::new(role.name().as_bytes().to_vec()) }
    }

    fn open(&self, role: Role) -> Arc<Repository> {
        let locked = Repository::open(Arc::new(self.medium.clone())).expect("there");
        Arc::new(locked.unlock(&Self::word(role)).expect("unlocked"))
    }

    fn tell(&self, by: &Repository, kind: EntryKind, time_ms: i64, subjects: &[ObjectId]) {
        let facts = AuditFacts { kind, time_ms, subjects: subjects.to_vec() };
        audit::append(by, &self.machine.cache(), &facts, &record("test")).expect("appended");
    }

    /// A snapshot of nothing.
    fn snapshot(&self, by: &Repository, stick: &str, time_ms: i64) -> ObjectId {
        let operator = OperatorRecord {
            stick: stick.to_owned(),
            time_ms,
            utc_offset_s: 0,
            time_zone: None,
            host: "desk".to_owned(),
            tags: Vec::new(),
            size: 0,
            references: TreeRoot::EMPTY,
            origin: None,
            tool: String::new(),
            counts: Counts::default(),
        };
        let maker = by.keys().certificate_bytes().to_vec().into();
        let (data, map, disk) = (TreeRoot::EMPTY, TreeRoot::EMPTY, DiskFacts::default());
        snapshots::commit(by, &PrivateRecord { data, map, disk, operator, maker }).expect("stored")
    }

    fn days(&self, by: &Repository, days: std::ops::Range<i64>) -> Vec<ObjectId> {
        days.map(|day| {
            let id = self.snapshot(by, "ana", at(day, 20));
            self.tell(by, EntryKind::Backup, at(day, 20), &[id]);
            id
        })
        .collect()
    }

    fn plan(&self, request: &ForgetRequest) -> ForgetPlan {
        let seen = Seen::gather(&self.open(Role::Operator), Some(&self.machine.cache())).expect("seen");
        ForgetPlan::make(&seen, request).expect("a plan")
    }

    fn apply(&self, plan: &ForgetPlan) -> Result<usize, OpsError> {
        let operator = self.open(Role::Operator);
        plan.apply(&operator, false, &Cancel::default(), &mut |kind, ids| {
            self.tell(&operator, kind, at(10, 0), ids);
            Ok(())
        })
    }

    fn there(&self) -> Vec<ObjectId> {
        self.medium.names(ObjectKind::Snapshot).iter().filter_map(|name| name.id()).collect()
    }

    fn findings(&self) -> Vec<FindingKind> {
        let operator = self.open(Role::Operator);
        let report = verify(&operator, Some(&self.machine.cache()), &[]).expect("verified");
        report.findings.iter().map(|finding| finding.kind).collect()
    }
}

fn last(count: u32) -> ForgetRequest {
    Model::request(&Policy { last: count, ..Policy::default() }, at(10, 0))
}

#[test]
fn an_operator_forgets_and_others_do_not() {
    let world = World::new();
    let good = world.days(&world.open(Role::Depositor), 0..5);
    let plan = world.plan(&last(2));
    assert_eq!(plan.objects(), good[..3]);
    for role in [Role::Depositor, Role::Owner, Role::Auditor] {
        let repository = world.open(role);
        let refused = |error: &RepoError| matches!(error, RepoError::KeyLacks { .. });
        assert!(Seen::gather(&repository, None).is_err_and(|error| refused(&error)), "{role}");
        let applied = plan.apply(&repository, true, &Cancel::default(), &mut |_, _| panic!("told"));
        assert!(matches!(applied, Err(OpsError::Repo(error)) if refused(&error)), "{role}");
    }
    assert_eq!(world.there().len(), 5);
    assert_eq!(world.apply(&plan).expect("applied"), 3);
    let mut left = world.there();
    left.sort_by_key(|id| good.iter().position(|other| other == id));
    assert_eq!(left, good[3..]);
    assert_eq!(world.findings(), []);
    // Nothing is left to do, which is told as well.
    let entries = world.medium.names(ObjectKind::Audit).len();
    assert_eq!(world.apply(&world.plan(&last(2))).expect("applied"), 0);
    assert_eq!(world.medium.names(ObjectKind::Audit).len(), entries + 1);
}

/// The same attack as on paper, by somebody who has the whole key and the storage.
#[test]
fn a_stolen_key_makes_a_policy_drop_nothing() {
    // Where nobody kept the repository, nobody can say who of two is right, and more is kept than need be.
    attack(false);
    attack(true);
}

fn attack(keeps: bool) {
    let world = World::new();
    let (depositor, operator) = (world.open(Role::Depositor), world.open(Role::Operator));
    let mut good = Vec::new();
    for day in 0..6 {
        good.extend(world.days(&depositor, day..day + 1));
        if keeps {
            world.tell(&operator, EntryKind::Forgotten, at(day, 21), &[]);
        }
    }
    let before = world.plan(&last(3)).objects();
    assert_eq!(before, good[..3]);
    // He hides the log: to his machine the storage has no entries.
    let hidden: Vec<_> = world
        .medium
        .names(ObjectKind::Audit)
        .into_iter()
        .map(|name| (name, world.medium.remove(name).unwrap()))
        .collect();
    let elsewhere = Fixture::open(world.medium.clone());
    let mut bogus = Vec::new();
    for time in [at(2, 23), at(3, 23), at(20, 0), 0, i64::MIN, i64::MAX, START - 1] {
        let id = world.snapshot(&depositor, "ana", time);
        let facts = AuditFacts { kind: EntryKind::Backup, time_ms: time, subjects: vec![id] };
        let record = AuditRecord {
            action: AuditRecord::BACKUP.to_owned(),
            result: AuditRecord::DONE.to_owned(),
            host: "desk".to_owned(),
            key: None,
            detail: None,
            bundle: None,
        };
        audit::append(&depositor, &elsewhere.cache(), &facts, &record).expect("appended");
        bogus.push(id);
    }
    hidden.into_iter().for_each(|(name, bytes)| world.medium.overwrite(name, bytes));
    bogus.push(world.snapshot(&depositor, "ana", at(5, 23)));
    let plan = world.plan(&last(3));
    if keeps {
        assert_eq!(plan.objects(), before, "his fill no place, and go by their ids alone");
    } else {
        assert!(plan.objects().iter().all(|id| before.contains(id)), "{:?}", plan.objects());
    }
    let judged: Vec<_> = plan.groups.iter().flat_map(|group| &group.snapshots).collect();
    for id in bogus {
        let one = judged.iter().find(|one| one.snapshot.id == id).expect("judged");
        assert!(matches!(one.keep[..], [Keep::Odd(_)]), "{:?}", one.keep);
    }
    // Nor does his word that good ones were forgotten, or are pinned no more.
    world.tell(&depositor, EntryKind::Forgotten, at(6, 0), &good);
    world.tell(&depositor, EntryKind::Forget, at(6, 0), &good);
    assert_eq!(world.plan(&last(3)).objects(), plan.objects());
    world.medium.remove(ObjectName::new(ObjectKind::Snapshot, good[5]));
    assert!(world.findings().contains(&FindingKind::SnapshotMissing));
}

#[test]
fn a_forget_that_is_cut_short_is_no_finding_and_no_lie() {
    let world = World::new();
    let good = world.days(&world.open(Role::Depositor), 0..5);
    let plan = world.plan(&last(1));
    let operator = world.open(Role::Operator);
    // The log cannot be written: nothing goes.
    let refused = || RepoError::NoSuchSnapshot { name: "the log".to_owned() };
    let result = plan.apply(&operator, false, &Cancel::default(), &mut |_, _| Err(refused()));
    assert!(result.is_err());
    assert_eq!(world.there().len(), 5);
    // Somebody stops it, or the process dies, before the first one, and behind the second.
    let cancel = Cancel::default();
    cancel.cancel();
    let mut told = Vec::new();
    let result = plan.apply(&operator, false, &cancel, &mut |kind, ids| {
        told.push((kind, ids.len()));
        world.tell(&operator, kind, at(9, 0), ids);
        Ok(())
    });
    assert!(matches!(result, Err(OpsError::Interrupted)));
    assert_eq!(told, [(EntryKind::Forget, 4), (EntryKind::Forgotten, 0)]);
    assert_eq!((world.there().len(), world.findings()), (5, vec![]));
    world.tell(&operator, EntryKind::Forget, at(9, 0), &plan.objects());
    for id in &good[..2] {
        world.medium.remove(ObjectName::new(ObjectKind::Snapshot, *id));
    }
    assert_eq!(world.findings(), []);
    // Again, and to the end.
    let again = world.plan(&last(1));
    assert_eq!(again.objects(), good[2..4]);
    let kept = world.medium.peek(ObjectName::new(ObjectKind::Snapshot, good[2])).expect("there");
    assert_eq!(world.apply(&again).expect("applied"), 2);
    assert_eq!(world.findings(), []);
    // One comes back: it is found, fills no place, and goes again.
    world.medium.overwrite(ObjectName::new(ObjectKind::Snapshot, good[2]), kept);
    assert_eq!(world.findings(), [FindingKind::SnapshotReturned]);
    assert_eq!(world.plan(&last(1)).objects(), []);
    let names = vec![good[2].to_string()];
    assert_eq!(world.apply(&world.plan(&ForgetRequest::Named { names, allow_pinned: false })).expect("applied"), 1);
    assert_eq!(world.findings(), []);
}

/// An entry names what does not fit into one.
#[test]
fn more_subjects_than_an_entry_has_room_for_are_told_in_several() {
    let world = World::new();
    let operator = world.open(Role::Operator);
    let many: Vec<ObjectId> = (0..70_000_u32)
        .map(|at| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&at.to_be_bytes());
            ObjectId::new(bytes)
        })
        .collect();
    world.tell(&operator, EntryKind::Other, at(0, 0), &many);
    let log = audit::read_all(&operator, None).expect("reads");
    let counts: Vec<usize> = log.entries.iter().map(|entry| entry.subjects.len()).collect();
    assert_eq!(counts, [65_535, 4465]);
    assert_eq!(log.entries[1].previous, [log.entries[0].id]);
    assert_eq!(log.entries.iter().flat_map(|entry| entry.subjects.clone()).collect::<Vec<_>>(), many);
}
