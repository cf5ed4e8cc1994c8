//! What is tried again, how long, and what is not; on a clock that nobody waits for.

use super::{Listener, PIECE, Patience, Patient};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use crate::storage::clock::{Clock, ManualClock, Pauses};
use crate::storage::sim::{Flaky, Operation, SimStorage};
use crate::storage::{Put, Storage, StorageError};
use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PACK: ObjectName = ObjectName::pack(ObjectId::new([1; 32]));

/// A patient storage, and all that can be seen of it.
struct Bench {
    sim: SimStorage,
    patient: Patient,
    clock: Arc<ManualClock>,
    told: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

fn bench(patience: Patience) -> Bench {
    let (sim, clock) = (SimStorage::new(), Arc::new(ManualClock::default()));
    let (told, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let (asked, hears) = (Arc::clone(&stop), Arc::clone(&told));
    let pauses = Pauses::new(Arc::clone(&clock) as _, Arc::new(move || asked.load(Ordering::SeqCst)));
    let listener: Listener = Arc::new(move |delay| hears.lock().unwrap().push(delay.to_string()));
    let patient = Patient::new(Arc::new(sim.clone()), patience, pauses, listener);
    Bench { sim, patient, clock, told, stop }
}

fn flaky(times: u64, error: fn() -> Error) -> Option<Flaky> {
    Some(Flaky { which: |_| true, times, error, is_done: false })
}

/// Every operation, with what it says when it works.
fn all_work(storage: &dyn Storage) {
    assert_eq!(storage.put(PACK, &[b"ab", b"c"]).unwrap(), Put::Stored);
    assert_eq!(storage.get(PACK, 9).unwrap(), b"abc");
    let mut range = [0; 2];
    storage.get_range(PACK, 1, &mut range).unwrap();
    assert_eq!(&range, b"bc");
    assert_eq!(storage.size(PACK).unwrap(), 3);
    assert_eq!(storage.list(ObjectKind::Pack).unwrap().len(), 1);
    storage.delete(PACK).unwrap();
}

#[test]
fn what_passes_is_waited_for_and_each_wait_is_told() {
    let errors: [fn() -> Error; 9] = [
        || ErrorKind::TimedOut.into(),
        || ErrorKind::Interrupted.into(),
        || ErrorKind::WouldBlock.into(),
        || ErrorKind::ResourceBusy.into(),
        || ErrorKind::StaleNetworkFileHandle.into(),
        || ErrorKind::ConnectionReset.into(),
        || ErrorKind::HostUnreachable.into(),
        || ErrorKind::NotConnected.into(),
        || ErrorKind::BrokenPipe.into(),
    ];
    for error in errors {
        let bench = bench(Patience::default());
        bench.sim.set_flaky(flaky(5, error));
        all_work(&bench.patient);
        let told = bench.told.lock().unwrap().clone();
        assert_eq!(told.len(), 6 * 5);
        let expected = format!("{PACK} at memory: writing failed ({}); trying again in 4.0 s (4 of 6)", error());
        assert_eq!(told[2], expected);
        // 1, 2, 4, 8 and 16 seconds for each operation.
        assert_eq!(bench.clock.now(), Duration::from_secs(6 * 31));
    }
}

#[test]
fn waits_are_bounded_in_length_number_and_sum() {
    let patience = Patience { attempts: 50, longest_wait: Duration::from_secs(3), ..Patience::default() };
    let bench = bench(Patience { total: Duration::from_secs(100), ..patience });
    bench.sim.set_flaky(flaky(1000, || ErrorKind::TimedOut.into()));
    bench.patient.size(PACK).unwrap_err();
    // 1, 2, and then 3 seconds each.
    assert_eq!((bench.clock.now(), bench.sim.operations().len()), (Duration::from_secs(99), 2 + 32 + 1));
    // A medium that was given up is not waited for again, until it has worked.
    bench.patient.list(ObjectKind::Pack).unwrap_err();
    assert_eq!(bench.clock.now(), Duration::from_secs(99));
    bench.sim.set_flaky(None);
    bench.patient.put(PACK, &[b"1"]).unwrap();
    bench.sim.set_flaky(flaky(2, || ErrorKind::TimedOut.into()));
    assert_eq!(bench.patient.size(PACK).unwrap(), 1);
    assert_eq!(bench.clock.now(), Duration::from_secs(99 + 3));
}

#[test]
fn what_does_not_pass_fails_at_once() {
    let errors: [fn() -> Error; 8] = [
        || ErrorKind::StorageFull.into(),
        || ErrorKind::QuotaExceeded.into(),
        || ErrorKind::PermissionDenied.into(),
        || ErrorKind::ReadOnlyFilesystem.into(),
        || ErrorKind::NotFound.into(),
        || ErrorKind::NotADirectory.into(),
        || ErrorKind::OutOfMemory.into(),
        || Error::other("whatever"),
    ];
    for error in errors {
        let bench = bench(Patience::default());
        bench.sim.set_flaky(flaky(1, error));
        assert_eq!(bench.patient.put(PACK, &[b"1"]).unwrap_err().io_kind(), Some(error().kind()));
        assert_eq!((bench.sim.operations().len(), bench.clock.now()), (1, Duration::ZERO), "{error:?}");
    }
    let bench = bench(Patience::default());
    assert!(bench.patient.get(PACK, 9).unwrap_err().is_not_found());
    bench.patient.put(PACK, &[b"123"]).unwrap();
    assert!(matches!(bench.patient.get(PACK, 2), Err(StorageError::TooLarge { .. })));
    assert!(matches!(bench.patient.get_range(PACK, 3, &mut [0]), Err(StorageError::Range { .. })));
    assert_eq!(bench.clock.now(), Duration::ZERO);
}

#[test]
fn a_bad_sector_is_read_once_more_and_no_oftener() {
    let bad_sector = || Error::from_raw_os_error(crate::storage::codes::UNREADABLE[0]);
    let bench = bench(Patience::default());
    bench.patient.put(PACK, &[b"123"]).unwrap();
    bench.sim.set_flaky(flaky(1, bad_sector));
    assert_eq!(bench.patient.get(PACK, 9).unwrap(), b"123");
    bench.sim.forget_operations();
    bench.sim.set_flaky(flaky(1000, bad_sector));
    assert!(bench.patient.get_range(PACK, 0, &mut [0]).unwrap_err().is_unreadable());
    let range = Operation::GetRange { name: PACK, start: 0, length: 1 };
    assert_eq!((bench.sim.operations(), bench.clock.now()), (vec![range; 2], Duration::ZERO));
    // Writing anew is another matter.
    bench.sim.set_flaky(flaky(3, bad_sector));
    bench.patient.put(ObjectName::CONFIG, &[b"config"]).unwrap();
    bench.patient.list(ObjectKind::Pack).unwrap();
    bench.patient.size(PACK).unwrap();
    bench.patient.delete(PACK).unwrap();
    assert_eq!(bench.clock.now(), Duration::from_secs(4 * 7));
}

#[test]
fn a_put_whose_answers_are_lost_is_stored_when_its_bytes_are_there() {
    for name in [PACK, ObjectName::CONFIG] {
        let bench = bench(Patience::default());
        let lost = || ErrorKind::ConnectionReset.into();
        bench.sim.set_flaky(Some(Flaky { which: |_| true, times: 1, error: lost, is_done: true }));
        let large = vec![7; PIECE + 5];
        assert_eq!(bench.patient.put(name, &[&large, b"", b"end"]).unwrap(), Put::Stored);
        assert_eq!(bench.sim.writes(), 2);
        // A first attempt is believed as it is.
        bench.sim.set_flaky(None);
        assert_eq!(bench.patient.put(name, &[b"other"]).unwrap(), Put::AlreadyThere);
    }
}

#[test]
fn a_put_that_finds_other_bytes_after_a_failure_is_told_for_what_it_is() {
    for (there, is_size) in [(b"torn".as_slice(), false), (b"right sizE", true)] {
        let bench = bench(Patience::default());
        bench.sim.overwrite(PACK, there.to_vec());
        bench.sim.overwrite(ObjectName::CONFIG, there.to_vec());
        bench.sim.set_flaky(flaky(1, || ErrorKind::TimedOut.into()));
        let error = bench.patient.put(PACK, &[b"right ", b"size"]).unwrap_err();
        assert_eq!(error.io_kind(), Some(ErrorKind::InvalidData), "{is_size}");
        assert!(error.to_string().contains(&PACK.to_string()), "{error}");
        // Of what is not named by its content, somebody else's was first.
        assert_eq!(bench.patient.put(ObjectName::CONFIG, &[b"right ", b"size"]).unwrap(), Put::AlreadyThere);
    }
}

#[test]
fn who_waits_can_be_stopped_and_nothing_is_tried_after_that() {
    let bench = bench(Patience::default());
    bench.sim.set_flaky(flaky(1, || ErrorKind::TimedOut.into()));
    bench.stop.store(true, Ordering::SeqCst);
    assert!(matches!(bench.patient.put(PACK, &[b"1"]), Err(StorageError::Stopped { .. })));
    assert_eq!((bench.sim.writes(), bench.clock.now()), (1, Duration::ZERO));
}

#[test]
fn waits_differ_by_chance_between_half_and_all() {
    #[derive(Debug)]
    struct Chance(u32);
    impl Clock for Chance {
        fn now(&self) -> Duration {
            Duration::ZERO
        }
        fn sleep(&self, _: Duration) {}
        fn chance(&self) -> u32 {
            self.0
        }
    }
    let wait = |chance| {
        Pauses::new(Arc::new(Chance(chance)), Arc::new(|| false)).jittered(Duration::from_secs(8)).as_secs_f64()
    };
    assert_eq!((wait(0), wait(u32::MAX)), (4.0, 8.0));
    assert!((5.9..6.1).contains(&wait(u32::MAX / 2)));
}
