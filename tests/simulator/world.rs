//! The medium that all actors share, and each process's unreliable way to it.
//!
//! What can happen to a write, once in so many:
//! - it fails and does nothing, or is done and its answer lost;
//! - the process dies before it, behind it, or while it is on its way: then it is done later, or never, or torn;
//! - its answer comes late, or it is done a second time before that, and others go on meanwhile;
//! - there is no room, for everybody, until somebody makes some.
//!
//! Listings are read in two parts, between which others go on; reads can fail. Time goes on with every step, and each machine has a clock of its own
//! that is wrong by days.
//!
//! Always true here: an object whose put was answered with success is there whole until somebody deletes it, and is in every listing that begins
//! behind that. That is the contract of `Storage`; whatever it does not say is left to chance.

use crate::arbiter::{Arbiter, Chance};
use sheaf::ids::ObjectId;
use sheaf::names::{AsideName, ObjectKind, ObjectName};
use sheaf::storage::{Listed, Put, Storage, StorageError};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a world treats those that live in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Climate {
    /// A fault befalls one write in so many; 0 is never.
    pub faults: u64,
    /// Milliseconds that a step takes at most.
    pub step_ms: u64,
}

/// A snapshot that reached the medium.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    /// Which disk it is of.
    pub disk: usize,
    /// True where the process was told that it is there, or held its lease when it came: then it must restore.
    pub counts: bool,
    /// True where somebody began to take it away.
    pub forgotten: bool,
}

/// What was done, for comparing two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub process: usize,
    pub what: &'static str,
    pub path: String,
}

pub(crate) struct State {
    pub objects: BTreeMap<ObjectName, Vec<u8>>,
    pub snapshots: BTreeMap<ObjectId, Committed>,
    /// Writes of dead processes that are on their way.
    late: Vec<(ObjectName, Option<Vec<u8>>)>,
    /// Objects that were torn when their process died.
    pub torn: BTreeSet<ObjectName>,
    full: bool,
    pub chance: Chance,
    pub time_ms: i64,
    pub steps: Vec<Step>,
    next_process: usize,
    climate: Climate,
}

/// The medium.
pub(crate) struct World {
    state: Mutex<State>,
    pub arbiter: Arbiter,
}

/// What befalls a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    DoneLate,
    DoneTwice,
    Fails,
    FailsAfter,
    Dies,
    DiesAfter,
    DiesMeanwhile,
    DiesTorn,
    Full,
}

fn failed(action: &'static str, name: &impl std::fmt::Display, kind: io::ErrorKind) -> StorageError {
    StorageError::Io { action, place: format!("simulated:{name}"), source: io::Error::new(kind, "simulated failure") }
}

impl World {
    pub(crate) fn new(objects: BTreeMap<ObjectName, Vec<u8>>, actors: usize, seed: u64, climate: Climate) -> Arc<Self> {
        let state = State {
            objects,
            snapshots: BTreeMap::new(),
            late: Vec::new(),
            torn: BTreeSet::new(),
            full: false,
            chance: Chance::new(seed ^ 0x5eed),
            time_ms: 1_795_000_000_000,
            steps: Vec::new(),
            next_process: 0,
            climate,
        };
        Arc::new(Self { state: Mutex::new(state), arbiter: Arbiter::new(actors, seed) })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing bad happens; what is on its way arrives or does not.
    pub(crate) fn calm(&self) {
        let mut state = self.state();
        state.climate.faults = 0;
        state.full = false;
        while state.arrive() {}
    }
}

impl State {
    /// One write that is on its way is done, or never.
    fn arrive(&mut self) -> bool {
        let Some((name, bytes)) = self.late.pop() else { return false };
        match bytes {
            _ if self.chance.one_in(2) => {}
            // Nobody can be told any more, and its lease is gone with its process sooner or later.
            Some(bytes) => self.put(name, bytes, None),
            None => _ = self.objects.remove(&name),
        }
        true
    }

    fn put(&mut self, name: ObjectName, bytes: Vec<u8>, by: Option<&Inner>) {
        if self.objects.contains_key(&name) {
            return;
        }
        if let (ObjectKind::Snapshot, Some(id)) = (name.kind(), name.id()) {
            let counts = by.is_some_and(|by| by.leases.iter().any(|lease| self.objects.contains_key(lease)));
            let disk = by.and_then(|by| by.disk);
            if let Some(disk) = disk {
                self.snapshots.entry(id).or_insert(Committed { disk, counts, forgotten: false });
            }
        }
        self.objects.insert(name, bytes);
    }

    fn step(&mut self, process: usize, what: &'static str, path: String) {
        self.steps.push(Step { process, what, path });
        let most = self.climate.step_ms;
        self.time_ms += i64::try_from(self.chance.below(most)).expect("small");
        if self.chance.one_in(20) {
            self.arrive();
        }
        if self.full && self.chance.one_in(30) {
            self.full = false;
        }
    }

    fn fate(&mut self) -> Fate {
        if self.climate.faults == 0 {
            return Fate::Done;
        }
        if self.chance.one_in(12) {
            return if self.chance.one_in(2) { Fate::DoneLate } else { Fate::DoneTwice };
        }
        if !self.chance.one_in(self.climate.faults) {
            return Fate::Done;
        }
        let fates = [
            Fate::Fails,
            Fate::FailsAfter,
            Fate::Dies,
            Fate::DiesAfter,
            Fate::DiesMeanwhile,
            Fate::DiesTorn,
            Fate::Full,
        ];
        fates[usize::try_from(self.chance.below(7)).expect("small")]
    }
}

/// One process's way to the medium.
#[derive(Clone)]
pub(crate) struct Process {
    world: Arc<World>,
    actor: Option<usize>,
    number: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    dead: bool,
    /// Faults that befell it.
    faults: usize,
    /// Leases that it put.
    leases: Vec<ObjectName>,
    /// The disk that it is backing up.
    disk: Option<usize>,
    /// Snapshots that it put.
    made: Vec<ObjectId>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Process {
    /// A new process of an actor; without one it is alone and nothing befalls it.
    pub(crate) fn new(world: &Arc<World>, actor: Option<usize>) -> Self {
        let mut state = world.state();
        let number = state.next_process;
        state.next_process += 1;
        Self { world: Arc::clone(world), actor, number, inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn backs_up(&self, disk: usize) {
        self.inner().disk = Some(disk);
    }

    /// The snapshot was promised to whoever asked for it.
    pub(crate) fn was_told(&self, snapshot: ObjectId) {
        if let Some(committed) = self.world.state().snapshots.get_mut(&snapshot) {
            committed.counts = true;
        }
    }

    /// True where something befell it, so that it may have failed.
    pub(crate) fn was_disturbed(&self) -> bool {
        let inner = self.inner();
        inner.dead || inner.faults > 0
    }

    /// True where somebody has taken away the lease that it holds.
    pub(crate) fn has_lost_its_lease(&self) -> bool {
        let inner = self.inner();
        let state = self.world.state();
        !inner.leases.is_empty() && !inner.leases.iter().any(|lease| state.objects.contains_key(lease))
    }

    fn pause(&self) {
        if let Some(actor) = self.actor {
            self.world.arbiter.pause(actor);
        }
    }

    /// Begins an operation; fails for a process that is dead.
    fn begin(&self, what: &'static str, path: String) -> io::Result<()> {
        self.pause();
        if self.inner().dead {
            return Err(io::Error::other("the process is dead"));
        }
        self.world.state().step(self.number, what, path);
        Ok(())
    }

    fn dead(&self, action: &'static str, name: ObjectName) -> StorageError {
        self.inner().dead = true;
        failed(action, &name, io::ErrorKind::Other)
    }

    fn fate(&self) -> Fate {
        let fate = if self.actor.is_some() { self.world.state().fate() } else { Fate::Done };
        if !matches!(fate, Fate::Done | Fate::DoneLate | Fate::DoneTwice) {
            self.inner().faults += 1;
        }
        fate
    }

    fn do_put(&self, name: ObjectName, bytes: &[u8]) -> Result<Put, StorageError> {
        let mut inner = self.inner();
        let mut state = self.world.state();
        if state.objects.contains_key(&name) {
            return Ok(Put::AlreadyThere);
        }
        if state.full && self.actor.is_some() {
            inner.faults += 1;
            return Err(failed("writing", &name, io::ErrorKind::StorageFull));
        }
        if name.kind() == ObjectKind::Session {
            inner.leases.push(name);
        }
        inner.made.extend(name.id().filter(|_| name.kind() == ObjectKind::Snapshot));
        state.put(name, bytes.to_vec(), Some(&inner));
        Ok(Put::Stored)
    }

    fn do_delete(&self, name: ObjectName) {
        self.world.state().objects.remove(&name);
    }

    /// A read fails now and then.
    fn read_fails(&self) -> bool {
        if self.actor.is_none() {
            return false;
        }
        let mut state = self.world.state();
        let faults = state.climate.faults;
        let fails = faults > 0 && state.chance.one_in(faults * 20);
        drop(state);
        if fails {
            self.inner().faults += 1;
        }
        fails
    }
}

impl Storage for Process {
    fn place(&self) -> String {
        "simulated".to_owned()
    }

    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let fails = |kind| failed("writing", &name, kind);
        self.begin("put", name.path()).map_err(|_| fails(io::ErrorKind::Other))?;
        let bytes = parts.concat();
        match self.fate() {
            Fate::Done => self.do_put(name, &bytes),
            Fate::DoneLate => {
                let put = self.do_put(name, &bytes);
                self.pause();
                put
            }
            Fate::DoneTwice => {
                let put = self.do_put(name, &bytes);
                self.pause();
                // By the time that it is done again somebody may have taken the object away.
                if put.is_ok() {
                    self.do_put(name, &bytes)?;
                }
                put
            }
            Fate::Fails => Err(fails(io::ErrorKind::Other)),
            Fate::FailsAfter => {
                self.do_put(name, &bytes)?;
                Err(fails(io::ErrorKind::Other))
            }
            Fate::Dies => Err(self.dead("writing", name)),
            Fate::DiesAfter => {
                _ = self.do_put(name, &bytes);
                Err(self.dead("writing", name))
            }
            // A snapshot that came when nobody holds a lease any more would be nobody's fault: the process checks that, if it lives.
            Fate::DiesMeanwhile if name.kind() != ObjectKind::Snapshot => {
                self.world.state().late.push((name, Some(bytes)));
                Err(self.dead("writing", name))
            }
            Fate::DiesTorn if matches!(name.kind(), ObjectKind::Pack | ObjectKind::Session | ObjectKind::Retired) => {
                let mut state = self.world.state();
                let length = usize::try_from(state.chance.below(bytes.len() as u64)).expect("small");
                state.torn.insert(name);
                state.objects.entry(name).or_insert_with(|| bytes[..length].to_vec());
                drop(state);
                Err(self.dead("writing", name))
            }
            Fate::DiesMeanwhile | Fate::DiesTorn => Err(self.dead("writing", name)),
            Fate::Full => {
                self.world.state().full = true;
                self.do_put(name, &bytes)
            }
        }
    }

    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
        self.begin("get", name.path()).map_err(|_| failed("reading", &name, io::ErrorKind::Other))?;
        if self.read_fails() {
            return Err(failed("reading", &name, io::ErrorKind::Other));
        }
        let state = self.world.state();
        let bytes = state.objects.get(&name).ok_or_else(|| StorageError::NotFound { name, place: self.place() })?;
        let size = bytes.len() as u64;
        if size > limit { Err(StorageError::TooLarge { name, size, limit }) } else { Ok(bytes.clone()) }
    }

    fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.begin("range", format!("{}@{start}", name.path()))
            .map_err(|_| failed("reading", &name, io::ErrorKind::Other))?;
        if self.read_fails() {
            return Err(failed("reading", &name, io::ErrorKind::Other));
        }
        let state = self.world.state();
        let bytes = state.objects.get(&name).ok_or_else(|| StorageError::NotFound { name, place: self.place() })?;
        let length = buffer.len() as u64;
        let beyond = StorageError::Range { name, start, length, size: bytes.len() as u64 };
        let range = usize::try_from(start).ok().and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(range.ok_or(beyond)?);
        Ok(())
    }

    fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
        self.begin("size", name.path()).map_err(|_| failed("looking for", &name, io::ErrorKind::Other))?;
        let state = self.world.state();
        let bytes = state.objects.get(&name).ok_or_else(|| StorageError::NotFound { name, place: self.place() })?;
        Ok(bytes.len() as u64)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<Listed>, StorageError> {
        let fails = |_| failed("listing", &kind.folder(), io::ErrorKind::Other);
        self.begin("list", kind.folder().to_owned()).map_err(fails)?;
        if self.read_fails() {
            return Err(failed("listing", &kind.folder(), io::ErrorKind::Other));
        }
        let page = |first: bool, pivot: u8| {
            let state = self.world.state();
            let of_kind = state.objects.iter().filter(|(name, _)| name.kind() == kind);
            let half = |name: &ObjectName| name.id().is_none_or(|id| id.as_bytes()[0] < pivot) == first;
            let half = of_kind.filter(|(name, _)| half(name));
            half.map(|(name, bytes)| Listed { name: *name, size: bytes.len() as u64 }).collect::<Vec<_>>()
        };
        let pivot = u8::try_from(self.world.state().chance.below(256)).expect("a byte");
        // The later part may be read first.
        let first = pivot.is_multiple_of(2);
        let mut listed = page(first, pivot);
        if self.actor.is_some() && kind != ObjectKind::Key && self.world.state().chance.one_in(2) {
            self.pause();
        }
        listed.extend(page(!first, pivot));
        listed.sort_unstable();
        Ok(listed)
    }

    fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
        self.delete(name).map(|()| None)
    }

    fn list_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError> {
        Ok(Vec::new())
    }

    fn delete_aside(&self, _: AsideName) -> Result<(), StorageError> {
        Ok(())
    }

    fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        let fails = || failed("deleting", &name, io::ErrorKind::Other);
        self.begin("delete", name.path()).map_err(|_| fails())?;
        let snapshot = name.id().filter(|_| name.kind() == ObjectKind::Snapshot);
        if let Some(id) = snapshot {
            self.world.state().snapshots.entry(id).and_modify(|committed| committed.forgotten = true);
        }
        match self.fate() {
            Fate::Done | Fate::Full => self.do_delete(name),
            Fate::DoneLate => {
                self.do_delete(name);
                self.pause();
            }
            Fate::DoneTwice => {
                self.do_delete(name);
                self.pause();
                self.do_delete(name);
            }
            Fate::Fails => return Err(fails()),
            Fate::FailsAfter => {
                self.do_delete(name);
                return Err(fails());
            }
            Fate::Dies | Fate::DiesTorn => return Err(self.dead("deleting", name)),
            Fate::DiesAfter => {
                self.do_delete(name);
                return Err(self.dead("deleting", name));
            }
            Fate::DiesMeanwhile => {
                self.world.state().late.push((name, None));
                return Err(self.dead("deleting", name));
            }
        }
        Ok(())
    }
}

thread_local! {
    static CLOCK: RefCell<Option<(Arc<World>, i64)>> = const { RefCell::new(None) };
}

/// From now on this thread's clock is that of a machine, which is wrong by so much.
pub(crate) fn set_clock(world: &Arc<World>, wrong_by_ms: i64) {
    CLOCK.with(|clock| *clock.borrow_mut() = Some((Arc::clone(world), wrong_by_ms)));
}

/// This thread's clock.
pub(crate) fn now_ms() -> i64 {
    CLOCK.with(|clock| clock.borrow().as_ref().map_or(0, |(world, wrong_by)| world.state().time_ms + wrong_by))
}
