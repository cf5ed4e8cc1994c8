//! Pruning beside others: whoever began before keeps what it relies on.

use super::common::Fixture;
use super::common::sources::noise;
use super::{assert_tidy, forget, prune};
use sheaf::format::session::{HolderRecord, SessionKind};
use sheaf::ids::ObjectId;
use sheaf::names::ObjectKind;
use sheaf::ops::backup::{BackupPlan, backup};
use sheaf::ops::monitor::Silent;
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::RepoError;
use sheaf::repo::sessions::Session;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

/// A repository with one snapshot that was forgotten, and its machine.
struct Scene {
    medium: SimStorage,
    machine: Fixture,
    disk: Vec<u8>,
    kept: (ObjectId, Vec<u8>),
}

impl Scene {
    fn new() -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.another_process());
        let disk = noise(1, 300_000);
        let old = machine.backup("old", &disk).expect("a backup").snapshot;
        let kept = noise(2, 100_000);
        let kept = (machine.backup("kept", &kept).expect("a backup").snapshot, kept);
        // This machine has seen all of that while nobody wrote: it is no writer's.
        prune(&machine);
        forget(&medium, old);
        Self { medium, machine, disk, kept }
    }

    fn packs(&self) -> usize {
        self.medium.names(ObjectKind::Pack).len()
    }
}

#[test]
fn a_writer_that_relies_on_what_is_condemned_gets_its_snapshot() {
    let scene = Scene::new();
    let before = scene.packs();
    // The writer knows everything that is there, and then a prune comes.
    let store = scene.machine.writer().expect("a writer");
    let (plan, report) = prune(&scene.machine);
    assert!(plan.delete.packs > 0 && report.deleted.packs == 0, "{plan:?} {report:?}");
    let [waiting] = &report.waiting_for[..] else { panic!("{report:?}") };
    assert_eq!(waiting.kind, Some(SessionKind::Writes));
    assert_eq!(waiting.holder.as_ref().map(|holder| holder.command.as_str()), Some("test"));
    assert_eq!(scene.packs(), before);
    let request = scene.machine.request("new");
    let plan = BackupPlan::none(&scene.disk);
    let made = backup(&store, &scene.disk, &plan, request, &Silent, &Cancel::default()).expect("a backup");
    assert_eq!(made.counts.chunks_new, 0, "it relied on what is condemned");
    drop(store);
    let (_, report) = prune(&scene.machine);
    assert!(report.rescued > 0 && report.waiting_for.is_empty(), "{report:?}");
    let (kept, bytes) = &scene.kept;
    scene.machine.assert_sound(&[(made.snapshot, &scene.disk), (*kept, bytes)], "rescued");
    prune(&scene.machine);
    scene.machine.assert_sound(&[(made.snapshot, &scene.disk), (*kept, bytes)], "pruned again");
    assert_tidy(&scene.medium, &scene.machine, "pruned again");
}

#[test]
fn a_writer_that_begins_behind_stores_what_is_condemned_anew() {
    let scene = Scene::new();
    let reader = scene.machine.store().expect("a reader");
    let (_, report) = prune(&scene.machine);
    assert!(report.deleted.packs == 0 && report.waiting.packs > 0, "{report:?}");
    let made = scene.machine.backup("new", &scene.disk).expect("a backup");
    assert!(made.counts.chunks_new > 50, "{:?}", made.counts);
    drop(reader);
    let (plan, report) = prune(&scene.machine);
    assert!(plan.waiting.packs > 0 && report.deleted.packs >= plan.waiting.packs && report.rescued == 0, "{report:?}");
    let (kept, bytes) = &scene.kept;
    scene.machine.assert_sound(&[(made.snapshot, &scene.disk), (*kept, bytes)], "pruned");
    assert_tidy(&scene.medium, &scene.machine, "pruned");
}

#[test]
fn a_reader_reads_to_its_end_what_was_forgotten_and_pruned_meanwhile() {
    let scene = Scene::new();
    let (kept, bytes) = &scene.kept;
    let disk = scene.machine.disk(*kept).expect("a disk");
    forget(&scene.medium, *kept);
    let (plan, report) = prune(&scene.machine);
    assert!(plan.used == 0 && report.deleted.packs == 0 && report.waiting_for.len() == 1, "{report:?}");
    let mut read = vec![0; bytes.len()];
    sheaf::disk::ReadAt::read_at(&disk, sheaf::disk::DiskOffset(0), &mut read).expect("everything is still there");
    assert!(read == *bytes);
    drop(disk);
    prune(&scene.machine);
    assert_eq!(scene.packs(), 0);
}

#[test]
fn a_session_of_a_process_that_died_keeps_nobody_waiting_on_its_machine() {
    let scene = Scene::new();
    let process = scene.medium.another_process();
    let victim = scene.machine.after_a_restart(process.clone());
    let store = victim.writer().expect("a writer");
    process.fail_at(process.writes(), sheaf::storage::sim::Fault::Crash);
    drop(store);
    assert_eq!(scene.medium.names(ObjectKind::Session).len(), 1, "its lease is left");
    // Its lock is gone with it; to others the lease says nothing yet.
    let stranger = Fixture::open(scene.medium.another_process());
    let (plan, report) = prune(&stranger);
    assert!(plan.writers.packs > 0 && plan.delete.packs == 0, "what it sees may be that writer's: {plan:?}");
    assert_eq!((report.waiting.packs, report.deleted.packs), (0, 0), "{report:?}");
}

#[test]
fn what_a_running_writer_has_listed_is_left_alone_until_it_ends() {
    let scene = Scene::new();
    let (medium, machine) = (&scene.medium, &scene.machine);
    // A backup up to its commit, of another machine whose session goes on.
    let process = medium.another_process();
    let writer = Fixture::open(process.clone());
    let store = writer.writer().expect("a writer");
    let new = noise(7, 200_000);
    let (cancel, plan) = (Cancel::default(), BackupPlan::none(&new));
    let made = backup(&store, &new, &plan, writer.request("new"), &Silent, &cancel).expect("a backup");
    forget(medium, made.snapshot);
    let (plan, _) = prune(machine);
    assert!(plan.writers.packs > 2 && plan.delete.packs > 0, "only what was there before is condemned: {plan:?}");
    let (again, _) = prune(machine);
    assert_eq!(again.writers, plan.writers, "and so it stays while it runs");
    drop(store);
    let (last, _) = prune(machine);
    assert!(last.writers.packs == 0 && last.delete.packs == plan.writers.packs, "{last:?}");
    prune(machine);
    machine.assert_sound(&[(scene.kept.0, &scene.kept.1)], "behind");
    assert_tidy(medium, machine, "behind");
}

#[test]
fn a_session_that_was_taken_for_dead_commits_nothing_that_is_not_there() {
    let scene = Scene::new();
    let store = scene.machine.writer().expect("a writer");
    // Somebody whose clock says that the lease has not changed for long.
    for lease in scene.medium.names(ObjectKind::Session) {
        scene.medium.remove(lease);
    }
    prune(&scene.machine);
    let request = scene.machine.request("new");
    let plan = BackupPlan::none(&scene.disk);
    let error = backup(&store, &scene.disk, &plan, request, &Silent, &Cancel::default()).expect_err("it is lost");
    assert!(matches!(error, OpsError::Repo(RepoError::SessionLost { .. })), "{error}");
    drop(store);
    let (kept, bytes) = &scene.kept;
    scene.machine.assert_sound(&[(*kept, bytes)], "lost");
    assert_eq!(scene.machine.snapshots().len(), 1);
}

#[test]
fn a_lease_is_renewed_by_another_object_and_a_lost_one_is_never() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    let repository = machine.repository().expect("a repository");
    let holder = HolderRecord { host: "h".to_owned(), process: 1, command: "test".to_owned(), began_ms: 0 };
    let session = Arc::new(Session::begin(&repository, SessionKind::Writes, &holder, None).expect("a session"));
    let first = medium.names(ObjectKind::Session);
    session.renew().expect("renewed");
    let second = medium.names(ObjectKind::Session);
    assert!(first.len() == 1 && second.len() == 1 && first != second);
    session.ensure_live().expect("alive");
    medium.remove(second[0]);
    for _ in 0..2 {
        assert!(matches!(session.renew(), Err(RepoError::SessionLost { .. })));
        assert!(matches!(session.ensure_live(), Err(RepoError::SessionLost { .. })));
        assert_eq!(medium.names(ObjectKind::Session), [], "a lost session does not come back");
    }
}
