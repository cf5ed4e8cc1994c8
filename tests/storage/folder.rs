//! What only a folder does: its temporary files, what lies in it that is none of its own, writers that are killed, and a full disk.
//!
//! Always true here: tests need no rights and no special file system, but one that needs a small disk says so when it has none.

use super::{name, one_of_each};
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::storage::local::LocalStorage;
use sheaf::storage::{Listed, Put, Storage};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The temporary files that a folder holds.
fn temporaries(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("tmp")).expect("the folder of temporary files");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name != "publishing")).collect()
}

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
    // Closing the file would not do: a process that another test is about to start may have it open as well.
    alive.unlock().unwrap();
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
        .args(["--exact", "folder::child_that_writes_until_it_is_killed"])
        .env(CHILD_REPOSITORY, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = Child(child.unwrap());
    // Killed in the middle of a file, after removers ran beside it. They may take a file that its writer has just made and not
    // locked yet, and none that has bytes: such a one goes only when it has become an object.
    let mut begun = BTreeSet::new();
    loop {
        let sizes = |path: PathBuf| path.metadata().ok().map(|data| (path, data.len()));
        let sizes: Vec<(PathBuf, u64)> = temporaries(folder.path()).into_iter().filter_map(sizes).collect();
        begun.extend(sizes.iter().filter(|(_, size)| *size > 0).map(|(path, _)| path.clone()));
        if sizes.iter().any(|(_, size)| *size > 1 << 20) {
            break;
        }
        storage.remove_stale_temporaries().unwrap();
        let gone = begun.iter().filter(|path| !path.exists()).count();
        assert!(gone <= storage.list(ObjectKind::Pack).unwrap().len(), "a living writer's file was taken");
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
    const ALONE: &str = "SHEAF_TEST_STORAGE_ALONE";
    // In a process of its own. Beside other tests, a process that one of them is about to start may still have the file open
    // that was given up and deleted here, and its room is not free before that is closed as well.
    if std::env::var_os(ALONE).is_none() {
        let this = ["--exact", "folder::a_full_disk_is_reported_and_leaves_what_was_there", "--nocapture"];
        let alone = Command::new(std::env::current_exe().unwrap()).args(this).env(ALONE, "1").output().unwrap();
        let told = [alone.stdout, alone.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat();
        assert!(alone.status.success() && told.contains("1 passed"), "{told}");
        eprint!("{told}");
        return;
    }
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
