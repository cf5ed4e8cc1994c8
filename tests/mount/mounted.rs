//! A shelf that is mounted on a folder of its own, and unmounted at the end.
//!
//! Always true here:
//! - The mount is served by a thread of the test and ends when the value is dropped, whatever the test does.

use super::fake::FakeShelf;
use sheaf::serve::mount::{Mount, MountError, MountOptions};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// True where this machine mounts; else says why not.
pub(crate) fn can_mount() -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let helper = Command::new("fusermount3").arg("--version").output();
    match (device, helper) {
        (Ok(_), Ok(_)) => true,
        (Err(error), _) => {
            eprintln!("skipped: /dev/fuse: {error}");
            false
        }
        (_, Err(error)) => {
            eprintln!("skipped: fusermount3: {error}");
            false
        }
    }
}

pub(crate) struct Mounted {
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<Result<(), MountError>>>,
    folder: tempfile::TempDir,
}

impl Mounted {
    pub(crate) fn new(shelf: &Arc<FakeShelf>) -> Self {
        Self::on(tempfile::tempdir().unwrap(), shelf)
    }

    pub(crate) fn on(folder: tempfile::TempDir, shelf: &Arc<FakeShelf>) -> Self {
        let mount = Mount::new(Arc::<FakeShelf>::clone(shelf), folder.path(), MountOptions::default()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let server = std::thread::spawn(move || mount.run(&|| is_stopped.load(Ordering::Relaxed)));
        Self { stop, server: Some(server), folder }
    }

    /// A path below the mount point.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// A path in the volume of [`FakeShelf::of_files`].
    pub(crate) fn inside(&self, below: &str) -> PathBuf {
        self.path("by-id/aaaaaaaa/files/partition-3").join(below)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for the server's end without stopping it.
    pub(crate) fn wait(&mut self) -> Result<(), MountError> {
        self.server.take().unwrap().join().unwrap()
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(&mut self) -> Result<(), MountError> {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The number of an operation's failure.
pub(crate) fn failure<T>(result: std::io::Result<T>) -> i32 {
    result.err().expect("a failure").raw_os_error().expect("a failure of the system")
}

/// The failures that are looked for, by the numbers of Linux.
pub(crate) const ENOENT: i32 = 2;
pub(crate) const EIO: i32 = 5;
pub(crate) const ENXIO: i32 = 6;
pub(crate) const EROFS: i32 = 30;
pub(crate) const ERANGE: i32 = 34;
pub(crate) const ELOOP: i32 = 40;
pub(crate) const ENODATA: i32 = 61;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const ENOTCONN: i32 = 107;
