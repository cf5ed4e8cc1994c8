//! Snapshots as a folder of the machine, read-only: their images, and the files in them.
//!
//! What is shown comes from a [`Shelf`], and is laid out as `tree.rs` says. Linux does it by FUSE: its kernel sends each request to
//! this process, which answers.
//!
//! Always true here:
//! - Nothing below the mount point can be written to or run, and no link in it leads out of it.
//! - When [`Mount::run`] returns, the folder is empty again. Programs that still have something open keep it open for as long as this
//!   process runs.

mod answers;
mod cache;
mod catalog;
mod content;
mod extended;
mod facts;
mod fuse;
mod handles;
mod inodes;
mod links;
mod listing;
mod names;
mod node;
mod opened;
mod point;
mod pool;
mod shelf;
mod tree;
mod troubles;

pub use shelf::{OpenSnapshot, Shelf, ShelfEntry, ShelfError};

use crate::layout::files::Moment;
use answers::Shared;
use fuse::Fuse;
use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
use point::Device;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tree::Tree;

/// How often it is asked whether to stop.
const ASKED: Duration = Duration::from_millis(100);

/// How long programs are waited for that still use the mount when it ends.
const GRACE: Duration = Duration::from_secs(2);

/// The name that the mount has in lists of mounts.
const NAME: &str = "sheaf";

/// How to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// Lets all users of the machine in, not only the one who mounts. Who is not root needs `user_allow_other` in `/etc/fuse.conf`.
    pub allow_other: bool,
}

/// Why something is not mounted, or not any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The folder to mount on cannot be used.
    #[error("{} cannot be mounted on: it must be an empty folder", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is something in the folder, which would be hidden; often another mount.
    #[error("{} is not empty: what is in it would be hidden, or something is mounted there already", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// A mount lies on the folder whose program has ended, and it cannot be taken away.
    #[error("a dead mount lies on {} and cannot be taken away", dir.display())]
    Dead {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The snapshots cannot be listed.
    #[error("the snapshots cannot be listed")]
    Shelf(#[source] ShelfError),
    /// The system does not mount.
    #[error("{} cannot be mounted on: is there /dev/fuse, and for those who are not root, fusermount3?", dir.display())]
    Refused {
        /// The folder.
        dir: PathBuf,
        /// What it says.
        #[source]
        source: io::Error,
    },
    /// The mount ended, but not because it was asked to.
    #[error("the mount has ended")]
    Ended(#[source] io::Error),
    /// The mount was to end, and cannot be taken away.
    #[error("{} cannot be unmounted", dir.display())]
    Stuck {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Snapshots that are mounted. They are served by [`Mount::run`]; dropped without that, they are unmounted.
pub struct Mount {
    session: Session<Fuse>,
    unmounter: SessionUnmounter,
    threads: Vec<JoinHandle<()>>,
    dir: PathBuf,
    device: Option<Device>,
}

impl Mount {
    /// Mounts the snapshots of a shelf on an empty folder. What is asked of it waits until [`Mount::run`].
    ///
    /// # Errors
    /// [`MountError`].
    pub fn new(shelf: Arc<dyn Shelf>, dir: &Path, options: MountOptions) -> Result<Self, MountError> {
        let dir = point::prepare(dir)?;
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = Moment { seconds: began.as_secs().cast_signed(), nanoseconds: began.subsec_nanos() };
        let tree = Tree::new(shelf, began).map_err(MountError::Shelf)?;
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let refused = |source| MountError::Refused { dir: dir.clone(), source };
        let (fuse, threads) = Fuse::start(Shared::new(tree, uid, gid)).map_err(refused)?;
        let mut session = Session::new(fuse, &dir, &config(options)).map_err(refused)?;
        let unmounter = session.unmount_callable();
        let device = Device::of(&dir, NAME);
        Ok(Self { session, unmounter, threads, dir, device })
    }

    /// The folder that is mounted on, in full.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Serves until `stop` says so, which is asked every 100 ms, or until somebody unmounts.
    ///
    /// Where programs still use the mount then, it is taken out of sight, and they have two seconds to end before this returns.
    ///
    /// # Errors
    /// [`MountError::Ended`] and [`MountError::Stuck`].
    pub fn run(self, stop: &dyn Fn() -> bool) -> Result<(), MountError> {
        let Self { session, mut unmounter, threads, dir, device } = self;
        let (over, is_over) = channel();
        let serve = move || {
            // Nobody listens where the caller has gone.
            let _ = over.send(session.run());
        };
        Builder::new().name("mount".to_owned()).spawn(serve).map_err(MountError::Ended)?;
        if let Some(device) = device {
            device.read_ahead();
        }
        let result = loop {
            match is_over.recv_timeout(ASKED) {
                Ok(result) => break result.map_err(MountError::Ended),
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(MountError::Ended(io::Error::other("its thread failed")));
                }
                Err(RecvTimeoutError::Timeout) if stop() => break end(&mut unmounter, &dir, device, &is_over),
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        // Threads end when they are done with what they have; one that waits for a slow disk is left alone.
        let began = Instant::now();
        while began.elapsed() < GRACE && threads.iter().any(|thread| !thread.is_finished()) {
            sleep(Duration::from_millis(5));
        }
        result
    }
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Unmounts, and waits for the session's end.
fn end(
    unmounter: &mut SessionUnmounter,
    dir: &Path,
    device: Option<Device>,
    is_over: &Receiver<io::Result<()>>,
) -> Result<(), MountError> {
    let stuck = |source| MountError::Stuck { dir: dir.to_owned(), source };
    // It fails where the mount is in use, and then goes out of sight.
    if unmounter.unmount().is_err() {
        point::detach(dir).map_err(stuck)?;
    }
    if let Ok(result) = is_over.recv_timeout(GRACE) {
        return result.map_err(MountError::Ended);
    }
    // Somebody still has something open.
    if let Some(device) = device {
        if Device::of(dir, NAME) == Some(device) {
            return Err(stuck(io::Error::other("it is still there")));
        }
        device.abort();
        let _ = is_over.recv_timeout(ASKED);
    }
    Ok(())
}

fn config(options: MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(NAME.to_owned()),
        MountOption::Subtype(NAME.to_owned()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config
}
