//! The folder that is mounted on, and taking a mount away from it.
//!
//! Always true here:
//! - Only an empty folder is mounted on. A mount whose server is dead is taken away first: nobody can reach anything through it.
//! - Taking a mount away that somebody uses takes it out of sight at once; what is open stays open until it is closed.

use super::MountError;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
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
    let mut looked = is_empty_folder(dir);
    for _ in 0..MOST_DEAD {
        match &looked {
            Err(error) if is_dead(error) => {
                detach(dir).map_err(|source| MountError::Dead { dir: dir.to_owned(), source })?;
                looked = is_empty_folder(dir);
            }
            _ => break,
        }
    }
    let folder = |source| MountError::Folder { dir: dir.to_owned(), source };
    match looked.map_err(folder)? {
        true => fs::canonicalize(dir).map_err(folder),
        false => Err(MountError::NotEmpty { dir: dir.to_owned() }),
    }
}

/// Whether nothing is in a folder. The kernel may still know what a dead mount was, so that only a look into it tells.
fn is_empty_folder(dir: &Path) -> io::Result<bool> {
    if !fs::metadata(dir)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    fs::read_dir(dir)?.next().transpose().map(|first| first.is_none())
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

/// A mount of ours, as the kernel counts devices: two that are there at the same time have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    major: u32,
    minor: u32,
}

impl Device {
    /// That of the mount of this name that lies on `dir`, without asking its server; none where there is none.
    pub(super) fn of(dir: &Path, name: &str) -> Option<Self> {
        Self::listed(&String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").ok()?), dir, name)
    }

    /// As [`Device::of`], in a list of mounts (`proc_pid_mountinfo(5)`): the fields of a line are the mount's number, that of the one
    /// above, the device, the part that is mounted, the place, options …, `-`, the type, the name. The last line for a place is on top.
    fn listed(mounts: &str, dir: &Path, name: &str) -> Option<Self> {
        let place =
            |line: &&str| line.split(' ').nth(4).is_some_and(|place| unescaped(place) == dir.as_os_str().as_bytes());
        let line = mounts.lines().rfind(place)?;
        let (_, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        if !kind.next()?.starts_with("fuse") || kind.next()? != name {
            return None;
        }
        let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// Lets the kernel read ahead by more than it does on its own: a request costs the same, whether it is large or small. Only root
    /// may; without it reading is slower.
    pub(super) fn read_ahead(self) {
        let _ = fs::write(format!("/sys/class/bdi/{}:{}/read_ahead_kb", self.major, self.minor), READ_AHEAD);
    }

    /// Has the kernel answer all that is still asked with an error, where it lets us.
    pub(super) fn abort(self) {
        let _ = fs::write(format!("/sys/fs/fuse/connections/{}/abort", self.minor), "1");
    }
}

/// A field of a list of mounts, in which blanks and the like are written as `\` and three octal digits.
fn unescaped(field: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = after.get(if octal.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    bytes
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

    #[test]
    fn our_own_mount_is_told_from_what_lies_below_and_above() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                      40 22 0:39 / /mnt/my\\040sticks ro,nosuid shared:5 - fuse sheaf ro,user_id=0\n\
                      41 22 0:40 / /mnt/other ro - fuse.sheaf sheaf ro,user_id=0\n\
                      42 22 0:41 / /mnt/covered ro - fuse sheaf ro\n\
                      43 42 8:17 / /mnt/covered rw - fuseblk sheaf rw\n\
                      44 42 8:18 / /mnt/covered rw - vfat sheaf rw\n\
                      45 22 0:x / /mnt/odd ro - fuse sheaf ro\n\
                      46\n";
        let device = |dir| Device::listed(mounts, Path::new(dir), "sheaf").map(|device| (device.major, device.minor));
        assert_eq!(device("/mnt/my sticks"), Some((0, 39)));
        assert_eq!(device("/mnt/other"), Some((0, 40)));
        for none in ["/", "/mnt/covered", "/mnt", "/mnt/my\\040sticks", "/mnt/odd"] {
            assert_eq!(device(none), None, "{none}");
        }
        assert_eq!(Device::listed(mounts, Path::new("/mnt/other"), "another"), None);
        assert_eq!(unescaped(r"a\134b\04\999\"), b"a\\b\\04\\999\\");
    }
}
