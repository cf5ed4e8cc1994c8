//! The folder that is mounted on, and taking a mount away from it.
//!
//! Always true here:
//! - Only an empty folder is mounted on. A mount whose server is dead is taken away first: nobody can reach anything through it.
//! - Taking a mount away that somebody uses takes it out of sight at once; what is open stays open until it is closed.

use super::MountError;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Mounts that may lie on each other at one place, all dead.
const MOST_DEAD: usize = 16;

/// What a read of a whole stretch takes from the kernel at once, in KiB.
const READ_AHEAD: &str = "1024";

/// Checks the folder, takes dead mounts away, and gives its full path.
///
/// # Errors
/// [`MountError`] of the folder.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, MountError> {
    let mut result = fs::metadata(dir);
    for _ in 0..MOST_DEAD {
        match &result {
            Err(error) if is_dead(error) => {
                detach(dir).map_err(|source| MountError::Dead { dir: dir.to_owned(), source })?;
                result = fs::metadata(dir);
            }
            _ => break,
        }
    }
    let folder = |source| MountError::Folder { dir: dir.to_owned(), source };
    if !result.map_err(folder)?.is_dir() {
        return Err(folder(io::ErrorKind::NotADirectory.into()));
    }
    match fs::read_dir(dir).map_err(folder)?.next() {
        None => fs::canonicalize(dir).map_err(folder),
        Some(_) => Err(MountError::NotEmpty { dir: dir.to_owned() }),
    }
}

/// True for what the kernel says of a mount whose server has ended without unmounting.
fn is_dead(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error())
}

/// Takes the mount at `dir` away, in use or not.
///
/// # Errors
/// What the system says, or the helper that may do it for those who are not root.
pub(super) fn detach(dir: &Path) -> io::Result<()> {
    match rustix::mount::unmount(dir, rustix::mount::UnmountFlags::DETACH) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::PERM) => {
            helper("fusermount3", dir).or_else(|first| helper("fusermount", dir).map_err(|_| first))
        }
        Err(error) => Err(error.into()),
    }
}

fn helper(program: &str, dir: &Path) -> io::Result<()> {
    let arguments = [OsStr::new("-u"), OsStr::new("-z"), OsStr::new("--"), dir.as_os_str()];
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// The device of a mount, as the kernel counts them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Device {
    major: u32,
    minor: u32,
}

impl Device {
    /// That of the mount at `dir`, without asking its server.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let found = statx(CWD, dir, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).ok()?;
        Some(Self { major: found.stx_dev_major, minor: found.stx_dev_minor })
    }

    /// Lets the kernel read ahead by more than it does on its own: what is read costs one request, whether it is large or small. Only
    /// root may; without it reading is slower.
    pub(super) fn read_ahead(self) {
        let _ = fs::write(format!("/sys/class/bdi/{}:{}/read_ahead_kb", self.major, self.minor), READ_AHEAD);
    }

    /// Has the kernel answer all that is still asked with an error, where it lets us.
    pub(super) fn abort(self) {
        let _ = fs::write(format!("/sys/fs/fuse/connections/{}/abort", self.minor), "1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_folder_is_mounted_on() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(prepare(folder.path()).unwrap(), folder.path().canonicalize().unwrap());
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(matches!(prepare(folder.path()), Err(MountError::NotEmpty { .. })));
        let refused = |path: &Path| match prepare(path) {
            Err(MountError::Folder { source, .. }) => source.kind(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&folder.path().join("file")), io::ErrorKind::NotADirectory);
        assert_eq!(refused(&folder.path().join("nothing")), io::ErrorKind::NotFound);
    }
}
