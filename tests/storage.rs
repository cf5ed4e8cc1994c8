//! What every storage must do, held to each of them, and to those that wrap one; then what only a folder does.
//! What the simulated storage promises beyond that is tested where it stands.
//!
//! Always true here:
//! - The tests of the first part know nothing but the trait; a new backend is one line in [`on_every_backend`].
//! - Tests need no rights and no special file system, but one that needs a small disk says so when it has none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use sheaf::ids::ObjectId;
use sheaf::names::{AsideName, ObjectKind, ObjectName};
use sheaf::storage::clock::{ManualClock, Pauses};
use sheaf::storage::limited::{Limited, Limits};
use sheaf::storage::local::LocalStorage;
use sheaf::storage::patient::{Patience, Patient};
use sheaf::storage::sim::{Flaky, SimStorage};
use sheaf::storage::{Listed, Put, Storage, StorageError};

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

/// The temporary files that a folder holds.
fn temporaries(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("tmp")).expect("the folder of temporary files");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name != "publishing")).collect()
}

// ---- Every backend ----

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

// ---- A folder ----

/// Everything below a folder.
fn everything(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        }
        found.insert(path);
    }
    found
}

#[test]
fn opening_and_reading_a_folder_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pack = name(ObjectKind::Pack, 1);
    LocalStorage::create(folder.path()).unwrap().put(pack, &[b"content"]).unwrap();
    // As copied by a tool that leaves out empty folders.
    for empty in ["tmp", "keys", "retired"] {
        fs::remove_dir(folder.path().join(empty)).unwrap();
    }
    let before = everything(folder.path());
    let storage = LocalStorage::open(folder.path()).unwrap();
    assert_eq!(storage.get(pack, 10).unwrap(), b"content");
    assert_eq!(storage.list(ObjectKind::Key).unwrap(), []);
    assert!(storage.get(ObjectName::CONFIG, 10).unwrap_err().is_not_found());
    assert_eq!(storage.remove_stale_temporaries().unwrap(), 0);
    assert_eq!(everything(folder.path()), before);

    // Where the config shows that the repository is here, the folders that a write needs come back.
    assert_eq!(storage.put(name(ObjectKind::Key, 1), &[b"key"]).unwrap_err().io_kind(), Some(ErrorKind::NotFound));
    fs::write(folder.path().join("config"), b"config").unwrap();
    assert_eq!(storage.put(name(ObjectKind::Key, 1), &[b"key"]).unwrap(), Put::Stored);
}

#[test]
fn opening_what_is_no_folder_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    assert_eq!(LocalStorage::open(&path).unwrap_err().io_kind(), Some(ErrorKind::NotFound));
    fs::write(&path, b"").unwrap();
    assert_eq!(LocalStorage::open(&path).unwrap_err().io_kind(), Some(ErrorKind::NotADirectory));
    assert!(LocalStorage::create(&path).is_err());
}

#[test]
fn creating_where_a_repository_is_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = LocalStorage::create(folder.path()).unwrap();
    first.put(ObjectName::CONFIG, &[b"config"]).unwrap();
    let before = everything(folder.path());
    let second = LocalStorage::create(folder.path()).unwrap();
    assert_eq!(second.get(ObjectName::CONFIG, 10).unwrap(), b"config");
    assert_eq!(everything(folder.path()), before);
}

#[test]
fn a_listing_leaves_out_strangers_temporaries_and_what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::create(folder.path()).unwrap();
    let (pack, key) = (name(ObjectKind::Pack, 0xab), name(ObjectKind::Key, 0xab));
    storage.put(pack, &[b"pack"]).unwrap();
    storage.put(key, &[b"key"]).unwrap();
    let hex = ObjectId::new([0xcd; 32]).to_string();
    fs::create_dir_all(folder.path().join("packs/cd")).unwrap();
    for stranger in [
        format!("packs/{hex}"),
        format!("packs/ab/{hex}"),
        format!("packs/cd/{hex}.tmp"),
        format!("keys/{hex}~"),
        format!("keys/{}", hex.to_uppercase()),
        format!("tmp/{hex}"),
        "keys/.DS_Store".to_owned(),
        "packs/desktop.ini".to_owned(),
        "README".to_owned(),
    ] {
        fs::write(folder.path().join(stranger), b"stranger").unwrap();
    }
    // Named like objects, but folders.
    fs::create_dir(folder.path().join(format!("packs/cd/{hex}"))).unwrap();
    fs::create_dir(folder.path().join(format!("keys/{hex}"))).unwrap();
    for (kind, expected) in [(ObjectKind::Pack, pack), (ObjectKind::Key, key)] {
        let names: Vec<_> = storage.list(kind).unwrap().into_iter().map(|listed| listed.name).collect();
        assert_eq!(names, [expected]);
        // Such a folder is an error to read or replace, not a missing object.
        let blocked = name(kind, 0xcd);
        assert!(storage.get(blocked, 10).unwrap_err().io_kind().is_some());
        assert!(storage.put(blocked, &[b"x"]).unwrap_err().io_kind().is_some());
    }
    assert!(everything(folder.path()).contains(&folder.path().join("keys/.DS_Store")));
}

/// An unplugged disk must not look like an empty repository: a prune would believe it.
#[test]
fn a_vanished_folder_is_an_error_and_not_an_empty_repository() {
    for leave_mount_point in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("disk");
        let storage = LocalStorage::create(&root).unwrap();
        storage.put(name(ObjectKind::Snapshot, 1), &[b"snapshot"]).unwrap();
        fs::rename(&root, folder.path().join("elsewhere")).unwrap();
        if leave_mount_point {
            fs::create_dir(&root).unwrap();
        }
        for object in one_of_each() {
            for error in [
                storage.list(object.kind()).unwrap_err(),
                storage.get(object, 10).unwrap_err(),
                storage.get_range(object, 0, &mut [0]).unwrap_err(),
                storage.size(object).unwrap_err(),
                storage.put(object, &[b"x"]).unwrap_err(),
                storage.delete(object).unwrap_err(),
            ] {
                assert_eq!(error.io_kind(), Some(ErrorKind::NotFound), "{error:?}");
                assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
                assert!(error.is_place_gone() && !error.is_passing());
            }
        }
        assert!(!leave_mount_point || everything(&root).is_empty(), "something was written below the mount point");
    }
}

#[test]
fn stale_temporaries_go_and_a_locked_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::create(folder.path()).unwrap();
    let in_tmp = |file: &str| folder.path().join("tmp").join(file);
    fs::write(in_tmp("put-1-0000000000000000-0"), b"left over").unwrap();
    fs::write(in_tmp("a stranger"), b"stays").unwrap();
    let alive = fs::File::create(in_tmp("put-1-0000000000000001-0")).unwrap();
    alive.lock().unwrap();
    assert_eq!(storage.remove_stale_temporaries().unwrap(), 1);
    assert!(in_tmp("a stranger").exists() && in_tmp("put-1-0000000000000001-0").exists());
    drop(alive);
    assert_eq!(storage.remove_stale_temporaries().unwrap(), 1);
    assert_eq!(temporaries(folder.path()), [in_tmp("a stranger")]);
}

const CHILD_REPOSITORY: &str = "SHEAF_TEST_STORAGE_CHILD";
const CHILD_OBJECT_SIZE: usize = 48 << 20;

/// A child process that does not outlive its test, however that ends.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// No test of its own: the process that `a_killed_writer_leaves_nothing_half_done` starts and kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(root) = std::env::var_os(CHILD_REPOSITORY) else { return };
    let storage = LocalStorage::open(Path::new(&root)).unwrap();
    for number in 0..=255 {
        storage.put(name(ObjectKind::Pack, number), &[&vec![number; CHILD_OBJECT_SIZE]]).unwrap();
    }
}

#[test]
fn a_killed_writer_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::create(folder.path()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_it_is_killed"])
        .env(CHILD_REPOSITORY, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = Child(child.unwrap());
    // Killed in the middle of a file, after removers ran beside it.
    while !temporaries(folder.path()).iter().any(|path| path.metadata().is_ok_and(|data| data.len() > 1 << 20)) {
        assert_eq!(storage.remove_stale_temporaries().unwrap(), 0, "a living writer's file was taken");
        assert_eq!(child.0.try_wait().unwrap(), None, "the writer ended by itself");
    }
    drop(child);
    for listed in storage.list(ObjectKind::Pack).unwrap() {
        let bytes = storage.get(listed.name, u64::MAX).unwrap();
        assert_eq!(bytes.len(), CHILD_OBJECT_SIZE);
        assert!(bytes.iter().all(|byte| *byte == listed.name.id().unwrap().as_bytes()[0]));
    }
    let left_over = temporaries(folder.path()).len();
    assert_eq!(storage.remove_stale_temporaries().unwrap(), left_over);
    assert_eq!(temporaries(folder.path()), Vec::<PathBuf>::new());
}

/// A small disk of its own, or nothing where this process may not mount one.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount() -> Option<Self> {
        let disk = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(disk.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(disk))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_and_leaves_what_was_there() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: this process may not mount a small tmpfs");
        return;
    };
    let storage = LocalStorage::create(disk.0.path()).unwrap();
    let (fits, too_big) = (name(ObjectKind::Pack, 1), name(ObjectKind::Pack, 2));
    storage.put(fits, &[&vec![1; 400 << 10]]).unwrap();
    for _ in 0..3 {
        let error = storage.put(too_big, &[&vec![2; 300 << 10], &vec![2; 900 << 10]]).unwrap_err();
        assert_eq!(error.io_kind(), Some(ErrorKind::StorageFull), "{error:?}");
        // Where it was written, and what.
        let text = error.to_string();
        assert!(text.contains(disk.0.path().join("tmp").to_str().unwrap()) && text.contains(&too_big.path()), "{text}");
        assert_eq!(temporaries(disk.0.path()), Vec::<PathBuf>::new());
    }
    assert_eq!(storage.list(ObjectKind::Pack).unwrap(), [Listed { name: fits, size: 400 << 10 }]);
    assert_eq!(storage.put(too_big, &[&vec![2; 300 << 10]]).unwrap(), Put::Stored);
}
