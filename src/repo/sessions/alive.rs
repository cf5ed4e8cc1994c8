//! Whether a session of this machine is alive: a file below the cache folder that its process holds locked.
//!
//! Always true here: the lock ends with the process, however that ends. A file whose lock can be had has no session: that, and no
//! clock, tells a dead one.

use crate::ids::to_hex;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const EXTENSION: &str = "live";

/// A lock that says that a session is alive; dropping it removes the file, unless the lease is still there.
#[derive(Debug)]
pub(super) struct Alive {
    path: PathBuf,
    stays: AtomicBool,
    file: File,
}

/// What this machine knows of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// Its process runs.
    Alive,
    /// It was of this machine, and its process has ended.
    Dead,
    /// It is not of this machine, or has another cache folder.
    Unknown,
}

fn path(folder: &Path, nonce: &[u8; 32]) -> PathBuf {
    folder.join(format!("{}.{EXTENSION}", to_hex(nonce)))
}

impl Alive {
    /// Makes and locks the file; `None` where that cannot be done, and the session counts by its lease alone.
    pub(super) fn new(folder: &Path, nonce: &[u8; 32]) -> Option<Self> {
        std::fs::create_dir_all(folder).ok()?;
        let path = path(folder, nonce);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).ok()?;
        match file.try_lock() {
            Ok(()) => Some(Self { path, stays: AtomicBool::new(false), file }),
            Err(_) => {
                _ = std::fs::remove_file(&path);
                None
            }
        }
    }
}

impl Alive {
    /// The file stays, so that this machine finds the session dead.
    pub(super) fn leave(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.stays.load(Ordering::Relaxed) {
            _ = std::fs::remove_file(&self.path);
        }
        // Closing the file ends the lock only when no process that is about to be started has the file open as well.
        _ = self.file.unlock();
    }
}

/// Asks for a session of this nonce.
pub(super) fn liveness(folder: &Path, nonce: &[u8; 32]) -> Liveness {
    let Ok(file) = OpenOptions::new().write(true).open(path(folder, nonce)) else { return Liveness::Unknown };
    match file.try_lock() {
        Ok(()) => Liveness::Dead,
        Err(TryLockError::WouldBlock) => Liveness::Alive,
        Err(TryLockError::Error(_)) => Liveness::Unknown,
    }
}

/// The files of sessions that are dead now. To be asked for before leases are listed: a lease that comes
/// behind that listing is of no session that was dead before it.
pub(super) fn dead(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    files.filter(|path| OpenOptions::new().write(true).open(path).is_ok_and(|file| file.try_lock().is_ok())).collect()
}

/// Removes files of dead sessions of which there is no lease.
pub(super) fn sweep(folder: &Path, dead: &BTreeSet<PathBuf>, there: &BTreeSet<[u8; 32]>) {
    let there: BTreeSet<PathBuf> = there.iter().map(|nonce| path(folder, nonce)).collect();
    for path in dead.difference(&there) {
        // One that is being made is not locked yet for a moment; whoever finds it gone goes by the lease alone.
        _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_alive_while_its_lock_is_held_and_dead_when_only_the_file_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let nonce = [7; 32];
        assert_eq!(liveness(folder.path(), &nonce), Liveness::Unknown);
        let alive = Alive::new(folder.path(), &nonce).expect("locks");
        assert_eq!(liveness(folder.path(), &nonce), Liveness::Alive);
        drop(alive);
        assert_eq!(liveness(folder.path(), &nonce), Liveness::Unknown);
        std::fs::write(path(folder.path(), &nonce), b"").expect("a file");
        assert_eq!(liveness(folder.path(), &nonce), Liveness::Dead);
        sweep(folder.path(), &dead(folder.path()), &BTreeSet::from([nonce]));
        assert_eq!(liveness(folder.path(), &nonce), Liveness::Dead);
        sweep(folder.path(), &dead(folder.path()), &BTreeSet::new());
        assert_eq!(liveness(folder.path(), &nonce), Liveness::Unknown);
        std::fs::write(path(folder.path(), &nonce), b"").expect("a file");
        sweep(folder.path(), &dead(folder.path()), &BTreeSet::new());
        assert_eq!(liveness(folder.path(), &nonce), Liveness::Unknown);
    }

    #[test]
    fn a_dead_session_is_forgotten_only_when_no_lease_of_it_was_listed_since() {
        let folder = tempfile::tempdir().expect("a folder");
        let [renewed, ended, lives] = [[1; 32], [2; 32], [3; 32]];
        for nonce in [&renewed, &ended] {
            Alive::new(folder.path(), nonce).expect("locks").leave();
        }
        let _alive = Alive::new(folder.path(), &lives).expect("locks");
        let dead = dead(folder.path());
        assert_eq!(dead, BTreeSet::from([path(folder.path(), &renewed), path(folder.path(), &ended)]));
        // It put another lease before it died, which only the listing behind that shows.
        sweep(folder.path(), &dead, &BTreeSet::from([renewed]));
        assert_eq!(liveness(folder.path(), &renewed), Liveness::Dead);
        assert_eq!(liveness(folder.path(), &ended), Liveness::Unknown);
        assert_eq!(liveness(folder.path(), &lives), Liveness::Alive);
    }
}
