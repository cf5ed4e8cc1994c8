//! What the actors do: they back up, forget, prune, check and restore, each with processes of its own.
//!
//! Always true here: an actor that fails although nothing befell its process, and its lease was not taken, is a violation. What it got is compared with what
//! it should have got.

use crate::arbiter::Chance;
use crate::common::chain;
use crate::world::{Process, World, now_ms, set_clock};
use crate::{disks, scene};
use sheaf::crypto::randomness;
use sheaf::format::session::{HolderRecord, SessionKind};
use sheaf::format::snapshot::DiskFacts;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::backup::{BackupPlan, BackupRequest, WallTime, backup};
use sheaf::ops::monitor::Silent;
use sheaf::ops::prune::{MaxUnused, Prune, PruneOptions, PruneReport, Surroundings};
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::RepoError;
use sheaf::repo::index::Index;
use sheaf::repo::keyring::Domain;
use sheaf::repo::open::Repository;
use sheaf::repo::reader::ChunkStore;
use sheaf::repo::sessions::Session;
use sheaf::repo::snapshots;
use sheaf::repo::view::SnapshotDisk;
use sheaf::storage::Storage;
use std::path::Path;
use std::sync::Arc;

/// A machine: its index, and its wrong clock.
pub(crate) struct Machine {
    pub index: Arc<Index>,
    pub wrong_by_ms: i64,
    pub folder: std::path::PathBuf,
}

/// What went wrong.
pub(crate) type Violation = String;

/// One actor: a machine on which one thing is done behind the other.
pub(crate) struct Actor {
    pub number: usize,
    pub world: Arc<World>,
    pub machine: Machine,
    pub chance: Chance,
    /// True where mostly is pruned.
    pub prunes: bool,
}

/// Opens the repository in a process, begins a session, and brings the machine's index up to date.
pub(crate) fn open(process: &Process, machine: &Machine, kind: SessionKind) -> Result<ChunkStore, OpsError> {
    let storage: Arc<dyn Storage> = Arc::new(process.clone());
    let repository = Arc::new(Repository::open(storage)?.unlock(&crate::common::password())?);
    let holder = HolderRecord { host: "m".to_owned(), process: 0, command: "sim".to_owned(), began_ms: now_ms() };
    let session = Session::begin(&repository, kind, &holder, None)?;
    machine.index.sync(&repository)?;
    Ok(ChunkStore::new(repository, Arc::clone(&machine.index)).following().during(Arc::new(session)))
}

/// Reads a snapshot as a disk, chunk by chunk.
pub(crate) fn read(store: &ChunkStore, id: ObjectId) -> Result<Vec<u8>, OpsError> {
    let snapshot = snapshots::read(&store.repository, id)?;
    let disk = SnapshotDisk::open(store.clone(), snapshot)?;
    let mut bytes = vec![0; usize::try_from(disk.map().size()).expect("small")];
    let (mut leaves, mut session) = (disk.leaves()?, store.session()?);
    let mut kept = Vec::new();
    let mut position = 0;
    while let Some(leaf) = leaves.leaf_at(position)? {
        kept.extend(session.read(Domain::Data, &leaf.entry.key)?);
        position = leaf.start + leaf.entry.span;
    }
    for segment in disk.map().segments() {
        if let sheaf::format::manifest::Origin::Kept(from) = segment.origin {
            let (to, from) =
                (usize::try_from(segment.extent.start.0).expect("small"), usize::try_from(from.0).expect("small"));
            let length = usize::try_from(segment.extent.length).expect("small");
            bytes[to..to + length].copy_from_slice(&kept[from..from + length]);
        }
    }
    Ok(bytes)
}

/// Backs a disk up.
pub(crate) fn back_up(process: &Process, machine: &Machine, disk: usize) -> Result<ObjectId, OpsError> {
    back_up_into(&open(process, machine, SessionKind::Writes)?, process, disk)
}

/// The same, with what was known when the store was opened.
pub(crate) fn back_up_into(store: &ChunkStore, process: &Process, disk: usize) -> Result<ObjectId, OpsError> {
    process.backs_up(disk);
    let bytes = &disks()[disk];
    let request = BackupRequest {
        stick: format!("stick {}", disk % 3),
        tags: Vec::new(),
        host: "m".to_owned(),
        time: WallTime { unix_ms: now_ms(), utc_offset_s: 0, zone: None },
        disk: DiskFacts {
            sector_size: 512,
            source: String::new(),
            table_id: None,
            serial: None,
            model: None,
            label: None,
            container: None,
            volumes: None,
        },
        tool: "simulator".to_owned(),
    };
    let report = backup(store, bytes, &BackupPlan::none(bytes), request, &Silent, &Cancel::default())?;
    process.was_told(report.snapshot);
    Ok(report.snapshot)
}

/// Prunes.
pub(crate) fn prune(process: &Process, machine: &Machine, options: PruneOptions) -> Result<PruneReport, OpsError> {
    let store = open(process, machine, SessionKind::Prunes)?;
    let surroundings = Surroundings { sessions: Some(machine.folder.clone()), now_ms };
    let cancel = Cancel::default();
    Prune::plan(&store, options, surroundings, &Silent, &cancel)?.apply()
}

impl Actor {
    /// Does a few things, and says what should not have happened.
    pub(crate) fn run(mut self) -> Result<(), Violation> {
        set_clock(&self.world, self.machine.wrong_by_ms);
        randomness::set(Some(self.chance.bytes()));
        self.world.arbiter.pause(self.number);
        let mut result = Ok(());
        for _ in 0..1 + self.chance.below(3) {
            result = self.deed();
            if result.is_err() {
                break;
            }
            if self.chance.one_in(8) {
                // Somebody emptied the cache folder.
                self.machine.index = Arc::new(Index::in_memory().expect("memory"));
            }
        }
        self.world.arbiter.end(self.number);
        result
    }

    fn deed(&mut self) -> Result<(), Violation> {
        let process = Process::new(&self.world, Some(self.number));
        // Of three worlds one is of those who clean up.
        let deeds = if self.prunes { [2, 3, 8] } else { [4, 6, 8] };
        match self.chance.below(10) {
            deed if deed < deeds[0] => {
                let disk = usize::try_from(self.chance.below(disks().len() as u64)).expect("small");
                let made = back_up(&process, &self.machine, disk).map(drop);
                self.judge(&process, "a backup", made)
            }
            deed if deed < deeds[1] => self.forget(&process),
            deed if deed < deeds[2] => {
                let max_unused = if self.chance.one_in(3) { MaxUnused::Unlimited } else { MaxUnused::Bytes(0) };
                let max_repack = self.chance.one_in(4).then_some(40_000);
                let pruned = prune(&process, &self.machine, PruneOptions { max_unused, max_repack });
                self.judge(&process, "a prune", pruned.map(drop))
            }
            8 if self.chance.one_in(3) => self.check(&process),
            _ => self.restore(&process),
        }
    }

    /// Says whether something could fail.
    fn judge(&self, process: &Process, what: &str, result: Result<(), OpsError>) -> Result<(), Violation> {
        match result {
            Ok(()) => Ok(()),
            Err(OpsError::Repo(RepoError::SessionLost { .. })) => Ok(()),
            Err(_) if process.was_disturbed() || process.has_lost_its_lease() => Ok(()),
            Err(error) => Err(format!("{what} of actor {} failed: {}", self.number, chain(&error))),
        }
    }

    fn forget(&mut self, process: &Process) -> Result<(), Violation> {
        let Ok(listed) = process.list(ObjectKind::Snapshot) else { return Ok(()) };
        if listed.len() < 2 {
            return Ok(());
        }
        let chosen = listed[usize::try_from(self.chance.below(listed.len() as u64)).expect("small")];
        _ = process.delete(chosen.name);
        Ok(())
    }

    fn restore(&mut self, process: &Process) -> Result<(), Violation> {
        let opened = open(process, &self.machine, SessionKind::Reads);
        let store = match opened {
            Ok(store) => store,
            Err(error) => return self.judge(process, "opening", Err(error)),
        };
        let Ok(listed) = process.list(ObjectKind::Snapshot) else { return Ok(()) };
        if listed.is_empty() {
            return Ok(());
        }
        let chosen = listed[usize::try_from(self.chance.below(listed.len() as u64)).expect("small")];
        let id = chosen.name.id().expect("an id");
        let Some(committed) = self.world.state().snapshots.get(&id).cloned() else { return Ok(()) };
        match read(&store, id) {
            Ok(bytes) if bytes == disks()[committed.disk] => Ok(()),
            Ok(_) => Err(format!("snapshot {} restores to other bytes", id.short())),
            // Forgotten between the listing and the reading of the object itself.
            Err(OpsError::Repo(RepoError::Storage(error)))
                if error.is_not_found() && error.to_string().contains(&chosen.name.path()) =>
            {
                Ok(())
            }
            Err(error) => {
                let counts = self.world.state().snapshots.get(&id).is_some_and(|committed| committed.counts);
                if counts { self.judge(process, "a restore", Err(error)) } else { Ok(()) }
            }
        }
    }

    fn check(&mut self, process: &Process) -> Result<(), Violation> {
        let storage: Arc<dyn Storage> = Arc::new(process.clone());
        let checked = scene::check(storage, &self.machine.folder);
        let is_clean = {
            let state = self.world.state();
            state.torn.is_empty() && state.snapshots.values().all(|committed| committed.counts)
        };
        match checked {
            Ok(findings)
                if findings.is_empty() || !is_clean || process.was_disturbed() || process.has_lost_its_lease() =>
            {
                Ok(())
            }
            Ok(findings) => Err(format!("a check of actor {} finds {findings:#?}", self.number)),
            Err(error) => self.judge(process, "a check", Err(error)),
        }
    }
}

/// Takes a snapshot away, in a process of its own to which nothing happens.
pub(crate) fn forget_calmly(world: &Arc<World>, id: ObjectId) {
    let process = Process::new(world, None);
    process.delete(ObjectName::new(ObjectKind::Snapshot, id)).expect("nothing happens");
}

/// A machine with this number, whose files lie below this folder.
pub(crate) fn machine(folder: &Path, number: usize, wrong_by_ms: i64) -> Machine {
    let folder = folder.join(format!("machine-{number}"));
    Machine { index: Arc::new(Index::in_memory().expect("memory")), wrong_by_ms, folder }
}
