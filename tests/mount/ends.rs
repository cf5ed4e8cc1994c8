//! How a mount begins and ends: where it may be, by its own stop, by others, and after a server that was killed.

use super::fake::{FakeFiles, FakeShelf, Gate};
use super::mounted::{ENOTCONN, Mounted, can_mount, failure, names};
use sheaf::serve::mount::{Mount, MountError, MountOptions};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Says to a child of this test where to mount.
const CHILD: &str = "SHEAF_TEST_MOUNT_ON";

fn shelf() -> Arc<FakeShelf> {
    let mut files = FakeFiles::new();
    files.file(0, "file", vec![3; 1 << 20]);
    FakeShelf::of_files(files)
}

fn refused(folder: &Path) -> MountError {
    Mount::new(shelf(), folder, MountOptions::default()).expect_err("refused")
}

#[test]
fn a_mount_ends_when_it_is_told_to() {
    if !can_mount() {
        return;
    }
    let mut mounted = Mounted::new(&shelf());
    assert_eq!(fs::read(mounted.inside("file")).unwrap().len(), 1 << 20);
    mounted.stop().unwrap();
    assert_eq!(names(mounted.root()), [""; 0]);
}

#[test]
fn a_mount_ends_when_somebody_unmounts_it() {
    if !can_mount() {
        return;
    }
    let mut mounted = Mounted::new(&shelf());
    assert_eq!(names(&mounted.inside("")), ["file"]);
    assert!(matches!(refused(mounted.root()), MountError::NotEmpty { .. }));
    let unmounted = Command::new("fusermount3").arg("-u").arg(mounted.root()).status().unwrap();
    assert!(unmounted.success());
    mounted.wait().unwrap();
    assert_eq!(names(mounted.root()), [""; 0]);
}

#[test]
fn a_mount_that_is_in_use_goes_out_of_sight() {
    if !can_mount() {
        return;
    }
    let mut mounted = Mounted::new(&shelf());
    let file = File::open(mounted.inside("file")).unwrap();
    let mut bytes = [0; 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    mounted.stop().unwrap();
    assert_eq!(names(mounted.root()), [""; 0]);
    // Something else can be mounted there at once, and what is open does no harm.
    let folder = tempfile::tempdir().unwrap();
    drop(Mounted::on(folder, &shelf()));
    drop(file);
}

#[test]
fn a_read_that_hangs_does_not_keep_a_mount_from_ending() {
    if !can_mount() {
        return;
    }
    let (gate, is_waiting, go) = Gate::new();
    let mut files = FakeFiles::new();
    files.disk(0, "slow", Arc::new(gate));
    let mut mounted = Mounted::new(&FakeShelf::of_files(files));
    let slow = mounted.inside("slow");
    let reader = std::thread::spawn(move || fs::read(slow));
    is_waiting.recv().unwrap();
    mounted.stop().unwrap();
    assert_eq!(names(mounted.root()), [""; 0]);
    // It is answered when it can be, or the connection is gone by then; either way the program goes on.
    go.send(()).unwrap();
    if let Ok(content) = reader.join().unwrap() {
        assert!(content == vec![9; 4096]);
    }
}

#[test]
fn a_mount_that_is_not_served_is_unmounted() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::new(shelf(), folder.path(), MountOptions { allow_other: true }).unwrap();
    assert_eq!(mount.dir(), folder.path().canonicalize().unwrap());
    drop(mount);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn only_an_empty_folder_is_mounted_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(refused(folder.path()), MountError::NotEmpty { .. }));
    assert!(matches!(refused(&folder.path().join("file")), MountError::Folder { .. }));
    assert!(matches!(refused(&folder.path().join("none")), MountError::Folder { .. }));
}

/// Not a test of its own: mounts and serves where the test below says, until it is killed.
#[test]
fn child_that_serves_until_it_is_killed() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let mount = Mount::new(shelf(), Path::new(&folder), MountOptions::default()).unwrap();
        mount.run(&|| false).unwrap();
    }
}

#[test]
fn a_mount_whose_server_was_killed_is_replaced() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends::child_that_serves_until_it_is_killed"])
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while names(folder.path()).is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "the child has ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(failure(fs::metadata(folder.path())), ENOTCONN);
    let mut mounted = Mounted::on(folder, &shelf());
    assert_eq!(names(&mounted.inside("")), ["file"]);
    mounted.stop().unwrap();
    assert_eq!(names(mounted.root()), [""; 0]);
}
