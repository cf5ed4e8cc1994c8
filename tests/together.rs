//! Several processes at one repository, and a repository that cannot be written to.
//!
//! Always true here: where the order of two processes matters, the test sets it: [`Interposed`] runs the other one to its end at the
//! chosen moment. Where two run side by side, every order must do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::interposed::{Interposed, Moment};
use common::sources::noise;
use common::{Fixture, chain};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::format::audit::{AuditFacts, EntryKind};
use sheaf::format::retired::Retirement;
use sheaf::format::session::SessionKind;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::Depth;
use sheaf::ops::monitor::Silent;
use sheaf::ops::session::prepare;
use sheaf::repo::audit;
use sheaf::repo::index::Index;
use sheaf::repo::retired;
use sheaf::storage::sim::{Fault, Operation, SimStorage};
use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn two_backups_at_once_both_restore_with_one_cache_and_with_two() {
    for round in 0..6 {
        let medium = SimStorage::new();
        let first = Fixture::make(medium.another_process());
        let second = match round % 2 {
            0 => first.after_a_restart(medium.another_process()),
            _ => Fixture::open(medium.another_process()),
        };
        // Much is common to both, and comes in another order.
        let common = noise(1, 600_000);
        let disks = [[noise(2, 300_000), common.clone()].concat(), [common, noise(3, 300_000)].concat()];
        let made: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = [&first, &second]
                .into_iter()
                .zip(&disks)
                .map(|(machine, disk)| scope.spawn(move || machine.backup("stick", disk)))
                .collect();
            runs.into_iter().map(|run| run.join().expect("no panic").map_err(|error| chain(&error))).collect()
        });
        let made: Vec<_> = made.into_iter().zip(&disks).map(|(made, disk)| (made.unwrap().snapshot, disk)).collect();
        for machine in [&first, &second, &Fixture::open(medium)] {
            machine.assert_sound(&made, &format!("round {round}"));
        }
    }
}

#[test]
fn an_entry_of_the_log_that_came_too_late_for_the_listing_is_not_missing() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    let repository = machine.repository().unwrap();
    let facts = AuditFacts { kind: EntryKind::Other, time_ms: 1, subjects: vec![] };
    let record = common::record("test");
    let append = || audit::append(&repository, &machine.cache(), &facts, &record).unwrap().id;
    let entries = [append(), append(), append()];
    let names = entries.map(|id| ObjectName::new(ObjectKind::Audit, id));
    for unlisted in [&names[..1], &names[1..2], &names[..2]] {
        let unlisted = unlisted.to_vec();
        let late = Interposed::listing_without(&medium, unlisted);
        let late = machine.after_a_restart(late).repository().unwrap();
        let log = audit::read_all(&late, None).unwrap();
        assert!(log.missing.is_empty() && log.lost.is_empty() && log.damaged.is_empty(), "{log:?}");
        assert_eq!(log.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), entries);
    }
    // The last is followed by none, but remembered.
    let late = machine.after_a_restart(Interposed::listing_without(&medium, names.to_vec())).repository().unwrap();
    let log = audit::read_all(&late, Some(&machine.cache())).unwrap();
    assert_eq!((log.entries.len(), log.missing.len(), log.lost.len()), (3, 0, 0));
    // What is gone for good is still told.
    medium.remove(names[1]);
    let log = audit::read_all(&late, Some(&machine.cache())).unwrap();
    assert_eq!(log.missing.into_iter().collect::<Vec<_>>(), [entries[1]]);
    assert_eq!(log.lost.into_iter().collect::<Vec<_>>(), [entries[1]]);
}

/// Found by the simulator, seed 4341: its lease was taken from a writer at the moment of its commit, by a prune whose second look at the
/// snapshots was just over, and that had not deleted yet.
#[test]
fn what_is_condemned_is_not_there_for_a_writer_that_nobody_waits_for() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    let disk = noise(1, 200_000);
    let forgotten = machine.backup("stick", &disk).expect("a backup").snapshot;
    medium.remove(ObjectName::new(ObjectKind::Snapshot, forgotten));
    let (storage, other) = (medium.clone(), machine.after_a_restart(medium.another_process()));
    let packs: Vec<_> = medium.names(ObjectKind::Pack).into_iter().filter_map(ObjectName::id).collect();
    let deed = move || {
        let repository = other.repository().expect("opens");
        retired::publish(&repository, &Retirement::new(1, packs, vec![])).expect("condemned");
        storage.names(ObjectKind::Session).into_iter().for_each(|lease| drop(storage.remove(lease)));
    };
    let here = machine.after_a_restart(Interposed::new(&medium, Moment::Stored(ObjectKind::Snapshot), deed));
    let error = here.backup("stick", &disk).expect_err("its chunks are about to go");
    assert!(chain(&error).contains("session"), "{}", chain(&error));
    assert_eq!(medium.names(ObjectKind::Snapshot), [], "and no snapshot relies on them");
}

/// A disk whose bytes from an offset on are read only when it is told to go on.
struct Withheld {
    disk: Vec<u8>,
    from: u64,
    go_on: Mutex<Receiver<()>>,
}

impl ReadAt for Withheld {
    fn size(&self) -> u64 {
        ReadAt::size(&self.disk)
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        if offset.0 + buffer.len() as u64 > self.from {
            // The sender is dropped when it may go on. A backup that publishes nothing fails the test rather than waiting for ever.
            _ = self.go_on.lock().expect("no panic before").recv_timeout(Duration::from_secs(300));
        }
        self.disk.read_at(offset, buffer)
    }
}

/// The processes of a machine share an index: in it one finds packs that another has stored, has not listed, and never will.
#[test]
fn what_a_backup_relies_on_is_listed_when_it_commits() {
    // Packs for many segments, so that two are published whatever is read behind it.
    let own = noise(2, 16 << 20);
    let common = noise(1, 600_000);
    for packs in [1, 4, 8] {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.another_process());
        let dies = medium.another_process();
        let process = dies.clone();
        let dies = Interposed::of(dies, Moment::Stored(ObjectKind::Pack), move || {
            process.fail_at(process.writes() + packs - 1, Fault::Crash);
        });
        let (other, third) = (machine.after_a_restart(dies), machine.after_a_restart(medium.another_process()));
        let content = common.clone();
        let deed = move || {
            assert!(other.backup("other", &content).is_err());
            // Whatever needs the index brings it up to date.
            let reader = third.repository().expect("opens");
            drop(prepare(reader, SessionKind::Reads, "test", &third.cache(), &Silent).expect("an index"));
        };
        // With its own segment the backup sees what others have added. That is done when the next comes.
        let (sender, go_on) = channel();
        let here = Interposed::new(&medium, Moment::Stored(ObjectKind::Index), deed).then(move || drop(sender));
        let disk = [own.clone(), common.clone()].concat();
        let withheld = Withheld { disk: disk.clone(), from: own.len() as u64, go_on: Mutex::new(go_on) };
        let here = machine.after_a_restart(here);
        let made = here.backup("stick", &withheld).unwrap_or_else(|error| panic!("{packs}: {}", chain(&error)));
        assert!(made.counts.bytes_new < disk.len() as u64 - 20_000, "{packs}: it found what the other had stored");
        let findings = Fixture::open(medium.clone()).check(Depth::Structure).unwrap().findings;
        assert!(findings.is_empty(), "{packs}: {findings:#?}");
        machine.assert_sound(&[(made.snapshot, &disk)], &format!("{packs}"));
    }
}

#[test]
fn a_backup_that_ends_while_another_process_lists_does_not_cost_their_common_cache() {
    for kind in [ObjectKind::Index, ObjectKind::Pack] {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.another_process());
        machine.backup("before", &noise(1, 200_000)).expect("a backup");
        let other = machine.after_a_restart(medium.another_process());
        let deed = move || drop(other.backup("other", &noise(2, 200_000)).expect("a backup"));
        let interposed = Interposed::new(&medium, Moment::Listed(kind), deed);
        let here = machine.after_a_restart(interposed);
        let (store, report) =
            prepare(here.repository().unwrap(), SessionKind::Reads, "test", &here.cache(), &Silent).expect("an index");
        assert!(!report.rebuilt && report.missing_packs.is_empty(), "{kind:?}: {report:?}");
        assert_eq!(store.index.chunk_count().unwrap(), machine.packs().chunks.len() as u64, "{kind:?}");
    }
}

#[test]
fn a_cache_that_another_process_makes_anew_is_read_rightly_by_those_who_have_it_open() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    machine.backup("stick", &noise(1, 700_000)).expect("a backup");
    let open = machine.store().expect("an index");
    let chunks: Vec<_> = machine.packs().chunks.into_keys().collect();
    let places = |index: &Arc<Index>| {
        let reader = index.reader().expect("a reader");
        chunks.iter().map(|id| reader.locate(id).ok().map(|found| (found.pack, found.offset))).collect::<Vec<_>>()
    };
    let before = places(&open.index);
    // A pack is lost, so that the next process that looks numbers the packs anew.
    let lost = before[0].expect("located").0;
    medium.remove(ObjectName::pack(lost)).expect("the pack");
    let other = machine.after_a_restart(medium.another_process());
    let (_, report) =
        prepare(other.repository().unwrap(), SessionKind::Reads, "test", &other.cache(), &Silent).expect("an index");
    assert!(report.rebuilt && report.missing_packs == [lost]);
    let expected: Vec<_> = before.into_iter().map(|place| place.filter(|(pack, _)| *pack != lost)).collect();
    assert!(places(&open.index) == expected);
}

#[test]
fn a_backup_goes_on_beside_one_that_dies() {
    // What the victim alone has is more than 13 packs, whoever stores what both have.
    for write in [0, 3, 6, 9, 13] {
        let medium = SimStorage::new();
        let survivor = Fixture::make(medium.another_process());
        let process = medium.another_process();
        process.fail_at(write, Fault::Crash);
        let victim = survivor.after_a_restart(process);
        let disks = [noise(1, 900_000), [noise(1, 500_000), noise(2, 900_000)].concat()];
        let made = std::thread::scope(|scope| {
            let victim = scope.spawn(|| victim.backup("victim", &disks[1]));
            let made = survivor.backup("survivor", &disks[0]).map_err(|error| chain(&error));
            victim.join().expect("no panic").expect_err("its storage is gone");
            made.unwrap().snapshot
        });
        let when = format!("the other died at write {write}");
        survivor.assert_sound(&[(made, &disks[0])], &when);
        let next = survivor.backup("victim", &disks[1]).expect("a backup").snapshot;
        survivor.assert_sound(&[(made, &disks[0]), (next, &disks[1])], &when);
    }
}

#[test]
fn a_repository_that_cannot_be_written_to_is_checked_and_restores_without_an_attempt_to_write_but_a_lease() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.another_process());
    let disk = noise(1, 400_000);
    let snapshot = machine.backup("stick", &disk).expect("a backup").snapshot;
    // Also with packs that no segment lists, which a writer would list.
    for segment in medium.names(ObjectKind::Index) {
        medium.remove(segment);
    }
    let process = medium.another_process();
    process.set_read_only(true);
    let reader = Fixture::open(process.clone());
    assert!(reader.restore(snapshot).expect("a restore") == disk);
    assert!(!reader.check(Depth::Data(100)).expect("a check").is_ok(), "the index is incomplete");
    assert_eq!(reader.snapshots().len(), 1);
    // But for a lease, without which a reader goes on.
    let is_lease =
        |operation: &Operation| matches!(operation, Operation::Put(name) if name.kind() == ObjectKind::Session);
    let writes: Vec<_> = process.operations().into_iter().filter(|operation| operation.is_write()).collect();
    assert!(writes.iter().all(is_lease), "{writes:?}");
    let error = reader.backup("stick", &noise(2, 10_000)).expect_err("nothing can be written");
    assert!(process.operations().iter().any(|operation| matches!(operation, Operation::Put(_))));
    let sheaf::ops::OpsError::Repo(sheaf::repo::RepoError::Storage(error)) = error else { panic!("{error}") };
    assert_eq!(error.io_kind(), Some(ErrorKind::ReadOnlyFilesystem));
}
