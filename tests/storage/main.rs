//! What every storage must do, held to each of them, and to those that wrap one; [`folder`] has what only a folder does.
//! What the simulated storage promises beyond that is tested where it stands.
//!
//! Always true here: the tests know nothing but the trait; a new backend is one line in [`on_every_backend`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod folder;

use sheaf::ids::ObjectId;
use sheaf::names::{AsideName, ObjectKind, ObjectName};
use sheaf::storage::clock::{ManualClock, Pauses};
use sheaf::storage::limited::{Limited, Limits};
use sheaf::storage::local::LocalStorage;
use sheaf::storage::patient::{Patience, Patient};
use sheaf::storage::sim::{Flaky, SimStorage};
use sheaf::storage::{Listed, Put, Storage, StorageError};
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// The object of this kind and number.
fn name(kind: ObjectKind, number: u8) -> ObjectName {
    ObjectName::new(kind, ObjectId::new([number; 32]))
}

/// One object of every kind.
fn one_of_each() -> impl Iterator<Item = ObjectName> {
    ObjectKind::ALL.into_iter().map(|kind| name(kind, 7))
}

/// Runs the test on each backend, empty; a failure names the backend in the line before it.
fn on_every_backend(test: impl Fn(&dyn Storage)) {
    let folder = tempfile::tempdir().expect("a folder");
    let local: Arc<dyn Storage> = Arc::new(LocalStorage::create(&folder.path().join("d")).expect("a repository"));
    let flaky = SimStorage::new();
    let passing = || ErrorKind::ConnectionReset.into();
    flaky.set_flaky(Some(Flaky { which: |_| true, times: 2, error: passing, is_done: false }));
    // The threads of a test share one clock, which each wait moves on.
    let endless = Patience { total: Duration::MAX, ..Patience::default() };
    let pauses = || Pauses::new(Arc::new(ManualClock::default()), Arc::new(|| false));
    let limits = Limits { upload: NonZeroU64::new(100), download: NonZeroU64::new(100) };
    let backends: [Box<dyn Storage>; 5] = [
        Box::new(SimStorage::new()),
        Box::new(Patient::new(Arc::new(flaky), endless, pauses(), Arc::new(|_| ()))),
        Box::new(Limited::new(local, limits, pauses())),
        Box::new(LocalStorage::create(&folder.path().join("a/b")).expect("a repository")),
        Box::new(LocalStorage::create(&folder.path().join("c")).expect("a repository").without_hard_links()),
    ];
    for storage in backends {
        eprintln!("on {storage:?}");
        test(&*storage);
    }
}

#[test]
fn what_was_put_is_read_listed_measured_and_deleted() {
    on_every_backend(|storage| {
        for name in one_of_each() {
            assert_eq!(storage.list(name.kind()).unwrap(), []);
            assert_eq!(storage.put(name, &[b"ab", b"", b"cde"]).unwrap(), Put::Stored);
            assert_eq!(storage.get(name, 5).unwrap(), b"abcde");
            assert_eq!(storage.size(name).unwrap(), 5);
            assert_eq!(storage.list(name.kind()).unwrap(), [Listed { name, size: 5 }]);
            let mut middle = [0; 3];
            storage.get_range(name, 1, &mut middle).unwrap();
            assert_eq!(&middle, b"bcd");
        }
        for name in one_of_each() {
            storage.delete(name).unwrap();
            storage.delete(name).unwrap();
            assert_eq!(storage.list(name.kind()).unwrap(), []);
            assert!(storage.get_range(name, 0, &mut [0]).unwrap_err().is_not_found());
            assert_eq!(storage.put(name, &[b"again"]).unwrap(), Put::Stored);
            let mut whole = [0; 5];
            storage.get_range(name, 0, &mut whole).unwrap();
            assert_eq!(&whole, b"again");
        }
    });
}

#[test]
fn what_is_moved_aside_is_no_object_any_more_and_is_kept_until_it_is_deleted() {
    on_every_backend(|storage| {
        assert_eq!(storage.list_aside().unwrap(), []);
        for name in one_of_each() {
            assert_eq!(storage.set_aside(name).unwrap(), None, "{name} is not there");
            storage.put(name, &[b"first"]).unwrap();
            assert_eq!(storage.get_range(name, 0, &mut [0; 5]).map_err(|error| error.to_string()), Ok(()));
            let aside = |number| AsideName { object: name, number };
            assert_eq!(storage.set_aside(name).unwrap(), Some(aside(1)), "{name}");
            assert!(storage.get(name, 9).unwrap_err().is_not_found());
            assert!(storage.get_range(name, 0, &mut [0; 5]).unwrap_err().is_not_found());
            assert_eq!(storage.list(name.kind()).unwrap(), []);
            assert_eq!(storage.put(name, &[b"second one"]).unwrap(), Put::Stored);
            assert_eq!(storage.get(name, 99).unwrap(), b"second one");
            assert_eq!(storage.set_aside(name).unwrap(), Some(aside(2)));
            let ours = || {
                let all = storage.list_aside().unwrap();
                all.into_iter().filter(|(aside, _)| aside.object == name).collect::<Vec<_>>()
            };
            assert_eq!(ours(), [(aside(1), 5), (aside(2), 10)]);
            storage.delete_aside(aside(1)).unwrap();
            storage.delete_aside(aside(1)).unwrap();
            assert_eq!(ours(), [(aside(2), 10)]);
        }
    });
}

#[test]
fn a_second_put_leaves_the_first_bytes() {
    on_every_backend(|storage| {
        for name in one_of_each() {
            assert_eq!(storage.put(name, &[b"first"]).unwrap(), Put::Stored);
            assert_eq!(storage.put(name, &[b"the second"]).unwrap(), Put::AlreadyThere);
            assert_eq!(storage.get(name, 100).unwrap(), b"first");
        }
    });
}

#[test]
fn empty_objects_are_objects() {
    on_every_backend(|storage| {
        for (number, parts) in [&[][..], &[&b""[..], b""]].into_iter().enumerate() {
            let name = name(ObjectKind::Pack, number as u8);
            assert_eq!(storage.put(name, parts).unwrap(), Put::Stored);
            assert_eq!(storage.put(name, &[b"x"]).unwrap(), Put::AlreadyThere);
            assert_eq!(storage.get(name, 0).unwrap(), b"");
            storage.get_range(name, 0, &mut []).unwrap();
            assert!(storage.list(ObjectKind::Pack).unwrap().contains(&Listed { name, size: 0 }));
        }
    });
}

#[test]
fn a_range_beyond_the_end_is_refused_with_the_size() {
    on_every_backend(|storage| {
        let name = name(ObjectKind::Pack, 1);
        storage.put(name, &[b"12345"]).unwrap();
        storage.get_range(name, 5, &mut []).unwrap();
        for (start, length) in [(0, 6), (4, 2), (5, 1), (6, 0), (u64::MAX, 0), (u64::MAX, 2), (1 << 63, 1)] {
            let error = storage.get_range(name, start, &mut vec![0; length]).unwrap_err();
            let StorageError::Range { start: s, length: l, size: 5, .. } = error else { panic!("{error:?}") };
            assert_eq!((s, l), (start, length as u64));
            // The message is made without overflow.
            assert!(error.to_string().contains("has 5 bytes"));
        }
    });
}

#[test]
fn an_object_above_the_limit_is_refused_with_its_size() {
    on_every_backend(|storage| {
        let name = name(ObjectKind::Index, 1);
        storage.put(name, &[&[1; 1000]]).unwrap();
        assert!(matches!(storage.get(name, 999), Err(StorageError::TooLarge { size: 1000, limit: 999, .. })));
        assert_eq!(storage.get(name, 1000).unwrap().len(), 1000);
        assert_eq!(storage.get(name, u64::MAX).unwrap().len(), 1000);
    });
}

#[test]
fn a_missing_object_of_any_kind_is_not_found() {
    on_every_backend(|storage| {
        for missing in one_of_each() {
            if missing.id().is_some() {
                storage.put(name(missing.kind(), 8), &[b"a neighbour"]).unwrap();
            }
            for error in [
                storage.get(missing, 10).unwrap_err(),
                storage.get_range(missing, 0, &mut [0]).unwrap_err(),
                storage.get_range(missing, 0, &mut []).unwrap_err(),
                storage.size(missing).unwrap_err(),
            ] {
                assert!(error.is_not_found(), "{error:?}");
                assert!(error.to_string().contains(&missing.to_string()), "{error}");
                assert_eq!(error.io_kind(), None);
            }
            storage.delete(missing).unwrap();
        }
    });
}

#[test]
fn a_listing_is_sorted_and_of_one_kind() {
    on_every_backend(|storage| {
        for kind in [ObjectKind::Snapshot, ObjectKind::Pack, ObjectKind::Key] {
            for number in [200, 3, 255, 0, 16, 128] {
                storage.put(name(kind, number), &[&vec![0; usize::from(number)]]).unwrap();
            }
        }
        for kind in [ObjectKind::Snapshot, ObjectKind::Pack, ObjectKind::Key] {
            let expected =
                [0, 3, 16, 128, 200, 255].map(|number| Listed { name: name(kind, number), size: number.into() });
            assert_eq!(storage.list(kind).unwrap(), expected);
        }
        assert_eq!(storage.list(ObjectKind::Audit).unwrap(), []);
    });
}

#[test]
fn of_eight_writers_of_one_name_one_stores() {
    on_every_backend(|storage| {
        for round in 0..20 {
            let name = name(ObjectKind::Parity, round);
            let start = Barrier::new(8);
            let stored: Vec<u8> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..8_u8)
                    .map(|writer| {
                        let start = &start;
                        scope.spawn(move || {
                            start.wait();
                            let put = storage.put(name, &[&[writer; 5000], &[writer; 5000]]).unwrap();
                            // Whatever it was told, the object is there now.
                            assert_eq!(storage.size(name).unwrap(), 10_000);
                            (put == Put::Stored).then_some(writer)
                        })
                    })
                    .collect();
                writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
            });
            assert_eq!(stored.len(), 1, "these were all told that they stored it: {stored:?}");
            assert_eq!(storage.get(name, 10_000).unwrap(), vec![stored[0]; 10_000]);
        }
    });
}

/// More objects than a backend keeps open, read in ranges by many threads while others come and go.
#[test]
fn many_threads_read_ranges_of_many_objects() {
    on_every_backend(|storage| {
        let content = |number: u8| -> Vec<u8> { (0..2000_u32).map(|at| (at * 7) as u8 ^ number).collect() };
        for number in 0..100 {
            storage.put(name(ObjectKind::Pack, number), &[&content(number)]).unwrap();
        }
        std::thread::scope(|scope| {
            for thread in 0..6_u32 {
                scope.spawn(move || {
                    for step in 0..600_u32 {
                        let number = ((step * 37 + thread * 11) % 100) as u8;
                        let start = (step * 13 % 1900) as usize;
                        let mut range = [0; 100];
                        storage.get_range(name(ObjectKind::Pack, number), start as u64, &mut range).unwrap();
                        assert_eq!(range, content(number)[start..start + 100]);
                    }
                });
            }
            scope.spawn(|| {
                for number in 100..200 {
                    let name = name(ObjectKind::Pack, number);
                    storage.put(name, &[b"passing"]).unwrap();
                    storage.get_range(name, 0, &mut [0; 7]).unwrap();
                    storage.delete(name).unwrap();
                    assert!(storage.get_range(name, 0, &mut [0; 7]).unwrap_err().is_not_found());
                }
            });
        });
    });
}
