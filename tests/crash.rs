//! A backup dies, and what then? First the failure, then everything that has to hold after it.
//!
//! A small backup makes some thirty writes: packs, index segments, the snapshot. One pass counts them; then the same backup is run
//! again and again on a fresh copy of the repository, and each time another write fails, in each of the ways that
//! [`Fault`] knows, until a run ends before its fault. After each:
//! - a check that reads everything finds nothing, and what was committed before restores byte for byte;
//! - whatever snapshot is listed restores byte for byte, also when its backup was told that it had failed;
//! - the next backup completes, uses every pack that was durable, and stores no chunk a second time. What is written again is
//!   therefore what had not become durable: the packs that were open.
//!
//! Always true here: no test depends on which thread is faster; a fault hits a number, and whatever write has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::sources::noise;
use common::{CHEAP, Fixture, PACK_SIZE, chain, pace, password, small_config};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::ids::ObjectId;
use sheaf::names::ObjectKind;
use sheaf::ops::monitor::{Advance, Monitor, Phase, Silent};
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::open::{InitOptions, Repository};
use sheaf::storage::clock::{ManualClock, Pauses};
use sheaf::storage::patient::{Delay, Patience, Patient};
use sheaf::storage::sim::{Fault, Flaky, Operation, SimStorage};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A repository with one snapshot, and the disk that the next backup stores.
struct Scene {
    medium: SimStorage,
    machine: Fixture,
    old: (ObjectId, Vec<u8>),
    disk: Vec<u8>,
    /// Bytes of packs after the next backup, when nothing happens to it.
    clean: u64,
    /// Chunks that are then stored.
    chunks: usize,
}

impl Scene {
    fn new() -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.clone());
        let old = noise(1, 300_000);
        let snapshot = machine.backup("old", &old).expect("a backup").snapshot;
        // A part that is known, a part that is new, free space, and something at the end.
        let mut disk = old[100_000..].to_vec();
        disk.extend(noise(2, 1_900_000));
        disk.resize(2_500_000, 0);
        disk.extend(noise(3, 99_999));
        let copy = SimStorage::from_objects(medium.objects());
        let other = machine.twin(copy);
        other.backup("new", &disk).expect("a backup");
        let packs = other.packs();
        assert_eq!(packs.stored_twice(), 0);
        Self { medium, machine, old: (snapshot, old), disk, clean: packs.bytes, chunks: packs.chunks.len() }
    }

    /// A copy of the repository, with a process that has a fault planned, and a machine that knows the repository.
    fn copy(&self, write: u64, fault: Fault) -> (SimStorage, Fixture) {
        let medium = SimStorage::from_objects(self.medium.objects());
        medium.fail_at(write, fault);
        let machine = self.machine.twin(medium.clone());
        (medium, machine)
    }

    /// What has to hold after a backup has failed.
    fn assert_recovers(&self, survivor: &Fixture, when: &str) {
        survivor.assert_sound(&[(self.old.0, &self.old.1)], when);
        for snapshot in survivor.snapshots() {
            let restored = survivor.restore(snapshot.id).unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
            let expected = if snapshot.id == self.old.0 { &self.old.1 } else { &self.disk };
            assert!(restored == *expected, "{when}: {} restores to other bytes", snapshot.record.stick);
        }
        let next = survivor.backup("new", &self.disk);
        let next = next.unwrap_or_else(|error| panic!("{when}: the next backup fails: {}", chain(&error)));
        let report = survivor.assert_sound(&[(self.old.0, &self.old.1), (next.snapshot, &self.disk)], when);
        assert_eq!(report.unlisted_packs, 0, "{when}: every pack is in the index again");
        let packs = survivor.packs();
        assert_eq!((packs.stored_twice(), packs.chunks.len()), (0, self.chunks), "{when}: each chunk is stored once");
        // Packs that were cut short cost their own header and trailer; two kinds of pack are open at a time.
        assert!(packs.bytes <= self.clean + u64::from(PACK_SIZE), "{when}: {} of {}", packs.bytes, self.clean);
    }
}

/// Runs the backup with the fault at every write.
fn fail_at_every_write(fault: Fault) {
    let scene = Scene::new();
    for write in (0..).step_by(pace()) {
        let (medium, machine) = scene.copy(write, fault);
        let result = machine.backup("new", &scene.disk);
        if medium.writes() <= write {
            result.expect("no fault was met");
            assert!(write > 30, "a run of {write} writes is too small to show anything");
            return;
        }
        let when = format!("{fault:?} at write {write}");
        match result {
            Err(error) => assert!(matches!(error, OpsError::Repo(_)), "{when}: {error}"),
            // The lease is taken away behind the commit: what befalls that is no failure of the backup.
            Ok(_) => {
                let last = medium.operations().into_iter().rfind(|operation| operation.is_write());
                let is_lease = matches!(last, Some(Operation::Delete(name)) if name.kind() == ObjectKind::Session);
                assert!(is_lease, "{when}: the backup goes on as if nothing were");
            }
        }
        // In turn: a machine that has never seen the repository, and the one that died with its cache as it was.
        let process = medium.another_process();
        process.free();
        let survivor = if write % 2 == 0 { Fixture::open(process) } else { machine.after_a_restart(process) };
        scene.assert_recovers(&survivor, &when);
    }
}

#[test]
fn a_backup_that_is_killed_before_any_write_leaves_a_sound_repository() {
    fail_at_every_write(Fault::Crash);
}

#[test]
fn a_backup_that_is_killed_behind_any_write_leaves_a_sound_repository() {
    fail_at_every_write(Fault::CrashAfter);
}

#[test]
fn a_write_that_fails_ends_the_backup_and_leaves_a_sound_repository() {
    fail_at_every_write(Fault::Error);
}

#[test]
fn a_write_whose_answer_is_lost_leaves_a_sound_repository() {
    fail_at_every_write(Fault::ErrorAfter);
}

#[test]
fn a_medium_that_is_full_at_any_write_leaves_a_sound_repository_and_room_lets_the_next_backup_complete() {
    fail_at_every_write(Fault::Full);
}

#[test]
fn a_backup_that_is_killed_again_and_again_completes_in_the_end() {
    let scene = Scene::new();
    let medium = SimStorage::from_objects(scene.medium.objects());
    // Five writes a life: one lists what the life before has left, four are new.
    for life in 1.. {
        let process = medium.another_process();
        process.fail_at(5, Fault::Crash);
        let machine = if life % 2 == 0 { Fixture::open(process.clone()) } else { scene.machine.twin(process.clone()) };
        match machine.backup("new", &scene.disk) {
            Ok(_) => break,
            Err(error) => assert!(life < 20 && process.is_crashed(), "life {life}: {}", chain(&error)),
        }
    }
    scene.assert_recovers(&Fixture::open(medium), "after many lives");
}

#[test]
fn making_a_repository_can_die_at_any_write_and_be_tried_again() {
    for fault in [Fault::Crash, Fault::CrashAfter, Fault::Error, Fault::ErrorAfter, Fault::Full] {
        for write in 0..2 {
            let when = format!("{fault:?} at write {write}");
            let medium = SimStorage::new();
            let process = medium.another_process();
            process.fail_at(write, fault);
            let make = |storage: SimStorage| {
                let options = InitOptions { config: small_config(), label: "test".to_owned(), cost: CHEAP };
                Repository::init(Arc::new(storage), options, &password())
            };
            make(process).expect_err(&when);
            medium.free();
            let is_made = !medium.names(ObjectKind::Config).is_empty();
            assert_eq!(make(medium.clone()).is_ok(), !is_made, "{when}: made once");
            let machine = Fixture::open(medium);
            let disk = noise(1, 50_000);
            let snapshot = machine.backup("stick", &disk).unwrap_or_else(|error| panic!("{when}: {error}")).snapshot;
            machine.assert_sound(&[(snapshot, &disk)], &when);
        }
    }
}

/// A patient way to a medium that fails in passing, on a clock that nobody waits for; counts the waits. All threads move that one clock on,
/// so that how much time passes for one says nothing: attempts alone are limited.
fn patient(medium: &SimStorage, waits: &Arc<AtomicU64>) -> Patient {
    let counted = Arc::clone(waits);
    let pauses = Pauses::new(Arc::new(ManualClock::default()), Arc::new(|| false));
    let listener = Arc::new(move |_: &Delay<'_>| _ = counted.fetch_add(1, Ordering::SeqCst));
    let patience = Patience { total: Duration::from_secs(u64::MAX / 2), ..Patience::default() };
    Patient::new(Arc::new(medium.clone()), patience, pauses, listener)
}

#[test]
fn a_medium_of_which_every_operation_fails_a_few_times_is_backed_up_to_checked_and_restored_from() {
    for (times, is_done) in [(1, false), (3, false), (3, true), (5, true)] {
        let when = format!("{times} failures each, done {is_done}");
        let medium = SimStorage::new();
        medium.set_flaky(Some(Flaky { which: |_| true, times, error: || ErrorKind::TimedOut.into(), is_done }));
        let waits = Arc::new(AtomicU64::new(0));
        let machine = Fixture::make(patient(&medium, &waits));
        let disks = [noise(1, 300_000), [noise(2, 200_000), noise(1, 300_000)].concat()];
        let made = disks.each_ref().map(|disk| (machine.backup("stick", disk).expect(&when).snapshot, disk));
        machine.assert_sound(&made, &when);
        assert!(waits.load(Ordering::SeqCst) > 100, "{when}: {waits:?} waits");
        // And for one who meets no failure.
        let elsewhere = Fixture::open(medium.another_process());
        elsewhere.assert_sound(&made, &when);
        assert_eq!(elsewhere.packs().stored_twice(), 0, "{when}");
    }
}

#[test]
fn a_medium_that_fails_for_too_long_ends_the_backup_and_leaves_a_sound_repository() {
    let scene = Scene::new();
    for is_done in [false, true] {
        let when = format!("for ever, done {is_done}");
        let medium = SimStorage::from_objects(scene.medium.objects());
        let process = medium.another_process();
        let waits = Arc::new(AtomicU64::new(0));
        let machine = Fixture::open(patient(&process, &waits));
        process.set_flaky(Some(Flaky {
            which: Operation::is_write,
            times: 6,
            error: || ErrorKind::TimedOut.into(),
            is_done,
        }));
        let error = machine.backup("new", &scene.disk).expect_err(&when);
        assert!(chain(&error).contains("timed out"), "{when}: {error}");
        assert_eq!(waits.load(Ordering::SeqCst), 5, "{when}");
        scene.assert_recovers(&Fixture::open(medium), &when);
    }
}

/// Cancels at a given call.
struct CancelAt {
    cancel: Cancel,
    calls: AtomicU64,
    at: u64,
}

impl CancelAt {
    fn call(&self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.at {
            self.cancel.cancel();
        }
    }
}

impl Monitor for CancelAt {
    fn begin(&self, _: Phase, _: Option<u64>) {
        self.call();
    }

    fn advance(&self, _: Advance) {
        self.call();
    }

    fn warn(&self, _: &str) {}
}

#[test]
fn a_backup_that_is_stopped_at_any_point_keeps_what_it_stored_and_makes_no_snapshot() {
    let scene = Scene::new();
    let (mut kept, mut at) = (BTreeSet::new(), 0);
    loop {
        let when = format!("stopped at call {at}");
        let medium = SimStorage::from_objects(scene.medium.objects());
        let before = medium.names(ObjectKind::Pack).len();
        let machine = scene.machine.twin(medium.clone());
        let cancel = Cancel::default();
        let monitor = CancelAt { cancel: cancel.clone(), calls: AtomicU64::new(0), at };
        let result = machine.backup_with("new", &scene.disk, &monitor, &cancel);
        if !cancel.is_cancelled() {
            result.expect("nobody stopped it");
            break;
        }
        assert!(matches!(result, Err(OpsError::Interrupted)), "{when}: {result:?}");
        assert_eq!(machine.snapshots().len(), 1, "{when}");
        kept.insert(medium.names(ObjectKind::Pack).len() - before);
        // What was stored is also listed: a stop is no crash.
        assert_eq!(machine.listed_packs().len(), medium.names(ObjectKind::Pack).len(), "{when}");
        scene.assert_recovers(&machine, &when);
        at += 1;
    }
    assert!(at >= 3 && kept.last() > Some(&20), "{at} stops kept {kept:?} packs");
}

/// A disk at whose read of a given number somebody asks to stop.
struct StopAt {
    disk: Vec<u8>,
    cancel: Cancel,
    reads: AtomicU64,
    at: u64,
}

impl ReadAt for StopAt {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        if self.reads.fetch_add(1, Ordering::SeqCst) == self.at {
            self.cancel.cancel();
        }
        self.disk.read_at(offset, buffer)
    }
}

#[test]
fn a_backup_that_is_stopped_while_it_reads_stores_and_lists_what_it_has_read() {
    // Four reads of at most 4 MiB, which are 64 packs and more each.
    let disk = noise(4, 13 << 20);
    let base = SimStorage::new();
    let made = Fixture::make(base.clone());
    let empty = base.objects();
    made.backup("new", &disk).expect("a backup");
    let chunks = made.packs().chunks.len();
    for at in 0..4 {
        let medium = SimStorage::from_objects(empty.clone());
        let machine = made.twin(medium.clone());
        let cancel = Cancel::default();
        let source = StopAt { disk: disk.clone(), cancel: cancel.clone(), reads: AtomicU64::new(0), at };
        let stopped = machine.backup_with("new", &source, &Silent, &cancel);
        assert!(matches!(stopped, Err(OpsError::Interrupted)), "{stopped:?}");
        assert_eq!(source.reads.load(Ordering::SeqCst), at + 1, "a stop is heard before the next read");
        let stored = medium.names(ObjectKind::Pack).len();
        assert!(stored as u64 >= at * 64 && machine.listed_packs().len() == stored, "read {at}: {stored} packs");
        assert!(machine.snapshots().is_empty());
        let next = machine.backup("new", &disk).expect("a backup");
        assert_eq!((next.packs_adopted, machine.packs().stored_twice()), (0, 0), "read {at}");
        assert_eq!(machine.packs().chunks.len(), chunks, "read {at}: nothing was stored that only a shorter disk has");
        machine.assert_sound(&[(next.snapshot, &disk)], &format!("stopped at read {at}"));
    }
}
