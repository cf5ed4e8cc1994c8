//! What the simulated storage promises beyond the contract of all storage.
//!
//! Always true here: each test makes a medium of its own.

use super::{Fault, Flaky, Operation, SimStorage};
use crate::ids::ObjectId;
use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::storage::{Put, Storage, StorageError};
use std::io::ErrorKind;

const FIRST: ObjectName = ObjectName::pack(ObjectId::new([1; 32]));
const SECOND: ObjectName = ObjectName::pack(ObjectId::new([2; 32]));

/// Each fault at a put and at a delete: what it answers, what it leaves, and whether the process lives.
#[test]
fn each_fault_does_what_the_contract_says() {
    for (fault, done, dies) in [
        (Fault::Error, false, false),
        (Fault::ErrorAfter, true, false),
        (Fault::Crash, false, true),
        (Fault::CrashAfter, true, true),
    ] {
        let storage = SimStorage::new();
        storage.fail_at(1, fault);
        storage.fail_at(2, fault);
        storage.put(FIRST, &[b"1"]).unwrap();
        assert!(storage.put(SECOND, &[b"2"]).unwrap_err().io_kind().is_some(), "{fault:?}");
        assert_eq!(storage.peek(SECOND).is_some(), done, "{fault:?}");
        assert_eq!(storage.is_crashed(), dies, "{fault:?}");
        if dies {
            let before = (storage.operations(), storage.writes());
            assert!(storage.get(FIRST, 9).unwrap_err().io_kind().is_some());
            assert!(storage.get_range(FIRST, 0, &mut []).unwrap_err().io_kind().is_some());
            assert!(storage.size(FIRST).unwrap_err().io_kind().is_some());
            assert!(storage.list(ObjectKind::Pack).unwrap_err().io_kind().is_some());
            assert!(storage.clone().put(FIRST, &[]).unwrap_err().io_kind().is_some());
            assert!(storage.delete(FIRST).unwrap_err().io_kind().is_some());
            assert_eq!((storage.operations(), storage.writes()), before, "a dead process reached the storage");
            assert_eq!(storage.another_process().get(FIRST, 9).unwrap(), b"1");
            storage.restart();
        }
        storage.delete(FIRST).unwrap_err();
        assert_eq!(storage.peek(FIRST).is_none(), done, "{fault:?}");
        storage.restart();
        // The faults are spent.
        let expected = if done { Put::AlreadyThere } else { Put::Stored };
        assert_eq!(storage.put(SECOND, &[b"2"]).unwrap(), expected);
        storage.delete(FIRST).unwrap();
        assert_eq!(storage.objects().into_iter().collect::<Vec<_>>(), [(SECOND, b"2".to_vec())]);
    }
}

#[test]
fn a_full_medium_takes_nothing_new_until_it_is_freed() {
    let storage = SimStorage::new();
    storage.put(FIRST, &[b"1"]).unwrap();
    storage.fail_at(1, Fault::Full);
    for process in [&storage, &storage.another_process()] {
        assert_eq!(process.put(SECOND, &[]).unwrap_err().io_kind(), Some(ErrorKind::StorageFull));
    }
    assert_eq!(storage.put(FIRST, &[]).unwrap(), Put::AlreadyThere);
    assert_eq!(storage.get(FIRST, 9).unwrap(), b"1");
    storage.delete(FIRST).unwrap();
    assert!(storage.put(FIRST, &[]).is_err());
    storage.free();
    assert_eq!(storage.put(SECOND, &[b"2"]).unwrap(), Put::Stored);
}

#[test]
fn an_unreadable_object_is_there_but_cannot_be_read() {
    let storage = SimStorage::from_objects([(FIRST, b"1".to_vec()), (SECOND, b"2".to_vec())]);
    storage.fail_reads(FIRST);
    for error in [storage.get(FIRST, 9).unwrap_err(), storage.get_range(FIRST, 0, &mut []).unwrap_err()] {
        assert!(error.io_kind().is_some() && !error.is_not_found());
    }
    assert_eq!(storage.size(FIRST).unwrap(), 1);
    assert_eq!(storage.list(ObjectKind::Pack).unwrap().len(), 2);
    assert_eq!(storage.put(FIRST, &[]).unwrap(), Put::AlreadyThere);
    assert_eq!(storage.get(SECOND, 9).unwrap(), b"2");
    storage.heal_reads(FIRST);
    assert_eq!(storage.get(FIRST, 9).unwrap(), b"1");
}

#[test]
fn an_object_that_is_unreadable_in_a_place_gives_its_other_bytes() {
    let storage = SimStorage::from_objects([(FIRST, b"0123456789".to_vec())]);
    storage.fail_reads_within(FIRST, 4..6);
    assert!(storage.get(FIRST, 99).unwrap_err().is_unreadable());
    for (start, length, is_read) in
        [(0, 4, true), (6, 4, true), (0, 5, false), (5, 5, false), (4, 1, false), (0, 10, false)]
    {
        let mut buffer = vec![0; length];
        match storage.get_range(FIRST, start, &mut buffer) {
            Ok(()) => assert!(is_read && buffer[0] == b'0' + start as u8, "{start} {length}"),
            Err(error) => assert!(!is_read && error.is_unreadable(), "{start} {length}"),
        }
    }
    // A range that is not there is not there, whatever the medium reads.
    assert!(matches!(storage.get_range(FIRST, 9, &mut [0; 2]), Err(StorageError::Range { .. })));
}

#[test]
fn a_read_only_process_reads_and_every_write_of_it_fails() {
    let storage = SimStorage::from_objects([(FIRST, b"1".to_vec())]);
    storage.set_read_only(true);
    for error in [
        storage.put(FIRST, &[]).unwrap_err(),
        storage.put(SECOND, &[]).unwrap_err(),
        storage.delete(FIRST).unwrap_err(),
        storage.delete(SECOND).unwrap_err(),
    ] {
        assert_eq!(error.io_kind(), Some(ErrorKind::ReadOnlyFilesystem));
    }
    assert_eq!(storage.get(FIRST, 9).unwrap(), b"1");
    assert_eq!(storage.another_process().put(SECOND, &[]).unwrap(), Put::Stored);
}

#[test]
fn operations_are_recorded_in_order_and_damage_is_not() {
    let storage = SimStorage::new();
    storage.put(FIRST, &[b"123"]).unwrap();
    storage.put(FIRST, &[b"4"]).unwrap();
    storage.overwrite(SECOND, b"damaged".to_vec());
    assert_eq!(storage.names(ObjectKind::Pack), [FIRST, SECOND]);
    assert_eq!(storage.remove(SECOND), Some(b"damaged".to_vec()));
    storage.get(SECOND, 1).unwrap_err();
    storage.get_range(FIRST, 1, &mut [0; 2]).unwrap();
    storage.size(FIRST).unwrap();
    storage.list(ObjectKind::Key).unwrap();
    storage.delete(FIRST).unwrap();
    let expected = [
        Operation::Put(FIRST),
        Operation::Put(FIRST),
        Operation::Get(SECOND),
        Operation::GetRange { name: FIRST, start: 1, length: 2 },
        Operation::Size(FIRST),
        Operation::List(ObjectKind::Key),
        Operation::Delete(FIRST),
    ];
    assert_eq!(storage.operations(), expected);
    assert_eq!(storage.writes(), 3);
    assert_eq!(storage.operations().iter().filter(|operation| operation.is_write()).count(), 3);
    storage.forget_operations();
    assert_eq!((storage.operations(), storage.writes()), (vec![], 3));
}

#[test]
fn a_flaky_process_gets_each_operation_done_after_its_failures() {
    let storage = SimStorage::new();
    let error = || ErrorKind::TimedOut.into();
    for is_done in [false, true] {
        storage.set_flaky(Some(Flaky { which: Operation::is_write, times: 2, error, is_done }));
        for attempt in 0..2 {
            assert_eq!(storage.put(FIRST, &[b"1"]).unwrap_err().io_kind(), Some(ErrorKind::TimedOut));
            assert_eq!(storage.peek(FIRST).is_some(), is_done, "{attempt}");
        }
        let put = if is_done { Put::AlreadyThere } else { Put::Stored };
        assert_eq!(storage.put(FIRST, &[b"1"]).unwrap(), put);
        assert_eq!(storage.get(FIRST, 1).unwrap(), b"1");
        storage.another_process().delete(FIRST).unwrap();
    }
    storage.set_flaky(Some(Flaky { which: |_| true, times: 1, error, is_done: false }));
    storage.size(FIRST).unwrap_err();
    storage.list(ObjectKind::Pack).unwrap_err();
    assert!(storage.size(FIRST).unwrap_err().is_not_found());
    storage.set_flaky(None);
    storage.put(FIRST, &[]).unwrap();
}

#[test]
fn a_move_aside_is_a_write_like_others_and_takes_a_bad_sector_with_it() {
    let storage = SimStorage::from_objects([(FIRST, b"1".to_vec())]);
    storage.fail_reads(FIRST);
    storage.fill();
    storage.fail_at(0, Fault::Error);
    storage.fail_at(2, Fault::CrashAfter);
    storage.set_aside(FIRST).unwrap_err();
    assert!(storage.peek(FIRST).is_some());
    let aside = AsideName { object: FIRST, number: 1 };
    assert_eq!(storage.set_aside(FIRST).unwrap(), Some(aside), "also on a full medium");
    storage.free();
    storage.another_process().put(FIRST, &[b"2"]).unwrap();
    assert_eq!(storage.get(FIRST, 9).unwrap(), b"2");
    storage.set_aside(FIRST).unwrap_err();
    assert!(storage.is_crashed() && storage.list_aside().is_err());
    let second = AsideName { object: FIRST, number: 2 };
    assert_eq!(storage.aside().into_iter().collect::<Vec<_>>(), [(aside, b"1".to_vec()), (second, b"2".to_vec())]);
    let moves = storage.operations().into_iter().filter(|operation| *operation == Operation::SetAside(FIRST));
    assert_eq!((moves.count(), storage.writes()), (3, 3));
    let other = storage.another_process();
    other.set_read_only(true);
    assert_eq!(other.delete_aside(aside).unwrap_err().io_kind(), Some(ErrorKind::ReadOnlyFilesystem));
}
