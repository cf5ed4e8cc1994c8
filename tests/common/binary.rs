//! The real program: running it, and killing it at a chosen system call.
//!
//! Always true here: the program sees a password, a cache and a repository that belong to the test, and nothing of the person's who
//! runs it.

use super::PASSWORD;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program, set up for one repository and one cache.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub repo: PathBuf,
    pub cache: PathBuf,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The document on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Fails the test unless this is the exit status.
    pub(crate) fn expect(self, status: i32, what: &str) -> Self {
        assert_eq!(self.status, Some(status), "{what}: {self:#?}");
        assert!(!self.stderr.contains("panicked"), "{what}: {self:#?}");
        self
    }
}

impl Program {
    fn arguments(&self, arguments: &[&OsStr]) -> Vec<std::ffi::OsString> {
        let mut all = vec!["--json".into(), "--repo".into(), self.repo.clone().into()];
        all.extend(["--cache-dir".into(), self.cache.clone().into()]);
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        all
    }

    /// The program with these arguments, not started yet; `before` is a program that starts it, with its arguments.
    pub(crate) fn command(&self, before: &[&OsStr], arguments: &[&OsStr]) -> Command {
        let program = env!("CARGO_BIN_EXE_sheaf");
        let mut command = match before.split_first() {
            None => Command::new(program),
            Some((starter, its_own)) => {
                let mut command = Command::new(starter);
                command.args(its_own).arg(program);
                command
            }
        };
        for variable in ["SHEAF_REPOSITORY", "SHEAF_CACHE", "XDG_CACHE_HOME", "HOME"] {
            command.env_remove(variable);
        }
        command.env("SHEAF_PASSWORD", PASSWORD).args(self.arguments(arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&OsStr]) -> Ended {
        Ended::of(&self.command(&[], arguments).output().expect("the program starts"))
    }

    /// Runs the program under strace with these options.
    pub(crate) fn traced(&self, options: &[&str], arguments: &[&OsStr]) -> Ended {
        let mut before: Vec<&OsStr> = ["strace", "-f", "-qq", "-o", "/dev/null"].map(OsStr::new).to_vec();
        before.extend(options.iter().map(OsStr::new));
        Ended::of(&self.command(&before, arguments).output().expect("strace starts"))
    }

    /// Backs an image up.
    pub(crate) fn backup(&self, image: &Path, stick: &str) -> Ended {
        self.run(&backup(image, stick))
    }

    /// Restores a snapshot to a new file.
    pub(crate) fn restore(&self, snapshot: &str, to: &Path) -> Ended {
        self.run(&["restore".as_ref(), snapshot.as_ref(), "--force".as_ref(), "--to".as_ref(), to.as_os_str()])
    }

    /// Checks everything.
    pub(crate) fn check(&self) -> Ended {
        self.run(&["check".as_ref(), "--read-data".as_ref()])
    }
}

/// The arguments of a backup.
pub(crate) fn backup<'a>(image: &'a Path, stick: &'a str) -> [&'a OsStr; 4] {
    ["backup".as_ref(), "--stick".as_ref(), stick.as_ref(), image.as_os_str()]
}

/// True when strace is there and may trace; says so when not.
pub(crate) fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("left out: strace is not there or may not trace");
    }
    can
}

/// A small file system in memory, mounted for one test; unmounted with this.
#[derive(Debug)]
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts one of this size, as `size=` takes it; says so when that may not be done here.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "sheaf-test"])
            .arg(folder.path())
            .output();
        if made.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("left out: this user may not mount a small disk");
        None
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        let output = command.args(["-o", &format!("remount,{options}")]).arg(self.path()).output().expect("mount");
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have a file open there.
        _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}
