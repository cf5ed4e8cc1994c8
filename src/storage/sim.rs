//! Storage in memory that fails when it is told to: what tests and simulators of crashes run on.
//!
//! A [`SimStorage`] is a handle: one process's way to one medium. Its clones are the same process;
//! [`SimStorage::another_process`] is another one at the same medium. **Writes** are puts, deletes and moves aside; a process's writes are
//! numbered from 0 in the order in which they reach the storage, also those that find their object there or fail.
//!
//! The faults, each planned for one write of one process with [`SimStorage::fail_at`]:
//!
//! | fault | the write's effect | the write's answer | afterwards |
//! |---|---|---|---|
//! | [`Fault::Error`] | none | error | as before |
//! | [`Fault::ErrorAfter`] | whole | error: the acknowledgement is lost | as before |
//! | [`Fault::Crash`] | none | error | every operation of this process fails until [`SimStorage::restart`] |
//! | [`Fault::CrashAfter`] | whole | error | every operation of this process fails until [`SimStorage::restart`] |
//! | [`Fault::Full`] | none, if a put of a new object | `StorageFull` | the same for every process until [`SimStorage::free`] |
//!
//! And these, which last until they are taken back:
//! - [`SimStorage::fail_reads`]: the medium cannot read one object. `get` and `get_range` of it fail for every process; it is
//!   listed, has a size, can be deleted and counts as there for a put. [`SimStorage::fail_reads_within`]: the same for the
//!   reads that touch a range of its bytes.
//! - [`SimStorage::set_flaky`]: for this process, operations fail as often as that says, counted for each operation (of one kind, at
//!   one object or range) apart, and then works: so that whoever tries again often enough gets on, whatever order threads run in.
//! - [`SimStorage::set_read_only`]: this process may not write. Every write fails with `ReadOnlyFilesystem`, also
//!   the put of an object that is there, so that a test sees every attempt.
//!
//! Always true here:
//! - No write is ever torn, as the contract of [`Storage`] says: an object is there whole or not at all.
//! - Faults hit once, at their number; a retry is another write. On a full medium deletes and moves aside work, and a put of
//!   what is there says so.
//! - Calls made in one order give one result: there is no clock and no randomness.
//! - Operations that a crashed process tries never reach the storage: they are neither recorded nor counted.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::storage::{Listed, Put, Storage, StorageError};

/// What goes wrong with a write; the head of this file says what each does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The write fails and does nothing.
    Error,
    /// The write is done, but answers with an error.
    ErrorAfter,
    /// The process dies before the write.
    Crash,
    /// The process dies after the write.
    CrashAfter,
    /// From this write on the medium has no room for new objects.
    Full,
}

/// How a flaky medium fails; the head of this file says when.
#[derive(Debug, Clone, Copy)]
pub struct Flaky {
    /// Which operations fail.
    pub which: fn(Operation) -> bool,
    /// Failures of each.
    pub times: u64,
    /// What the system says.
    pub error: fn() -> io::Error,
    /// Writes are done, and only their answer is lost.
    pub is_done: bool,
}

/// One call that reached the storage, whether it failed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Storage::put`].
    Put(ObjectName),
    /// [`Storage::get`].
    Get(ObjectName),
    /// [`Storage::get_range`].
    GetRange {
        /// The object.
        name: ObjectName,
        /// Where the range begins, in bytes.
        start: u64,
        /// Bytes asked for.
        length: u64,
    },
    /// [`Storage::size`].
    Size(ObjectName),
    /// [`Storage::list`].
    List(ObjectKind),
    /// [`Storage::delete`].
    Delete(ObjectName),
    /// [`Storage::set_aside`].
    SetAside(ObjectName),
    /// [`Storage::replace`].
    Replace(ObjectName),
    /// [`Storage::list_aside`].
    ListAside,
    /// [`Storage::delete_aside`].
    DeleteAside(AsideName),
}

impl Operation {
    /// True for puts, deletes and moves aside.
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Put(_) | Self::Delete(_) | Self::SetAside(_) | Self::Replace(_) | Self::DeleteAside(_))
    }
}

/// What all processes share.
#[derive(Default)]
struct Medium {
    objects: BTreeMap<ObjectName, Vec<u8>>,
    aside: BTreeMap<AsideName, Vec<u8>>,
    unreadable: BTreeMap<ObjectName, Range<u64>>,
    full: bool,
}

/// What the clones of one handle share.
#[derive(Default)]
struct Process {
    operations: Vec<Operation>,
    writes: u64,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
    read_only: bool,
    flaky: Option<Flaky>,
    /// How often each operation has failed because of that.
    failures: HashMap<Operation, u64>,
}

/// What is to be done with a write that reached the storage.
struct Verdict {
    done: bool,
    answer: Option<io::Error>,
}

/// Storage in memory, for tests: deterministic, counted, and failing as planned.
#[derive(Clone, Default)]
pub struct SimStorage {
    medium: Arc<Mutex<Medium>>,
    process: Arc<Mutex<Process>>,
}

impl std::fmt::Debug for SimStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let writes = self.process().writes;
        f.debug_struct("SimStorage").field("objects", &self.medium().objects.len()).field("writes", &writes).finish()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked in another thread must not hide its own message behind one of ours.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place_of(name: &impl std::fmt::Display) -> String {
    format!("memory:{name}")
}

fn failed(action: &'static str, name: ObjectName, source: io::Error) -> StorageError {
    StorageError::Io { action, place: place_of(&name), source }
}

impl SimStorage {
    /// An empty medium and its first process.
    pub fn new() -> Self {
        Self::default()
    }

    /// A medium that holds these objects, and its first process. Of two objects of one name the later stays.
    pub fn from_objects(objects: impl IntoIterator<Item = (ObjectName, Vec<u8>)>) -> Self {
        let storage = Self::default();
        storage.medium().objects.extend(objects);
        storage
    }

    /// Another process at the same medium: with no faults planned, nothing recorded, alive and allowed to write.
    pub fn another_process(&self) -> Self {
        Self { medium: Arc::clone(&self.medium), process: Arc::default() }
    }

    /// Plans a fault for this process's write of this number, counted from 0 since the handle was made.
    /// A fault that was planned for it before is replaced.
    pub fn fail_at(&self, write: u64, fault: Fault) {
        self.process().faults.insert(write, fault);
    }

    /// The number that this process's next write has: how many writes reached the storage so far.
    pub fn writes(&self) -> u64 {
        self.process().writes
    }

    /// Every operation of this process that reached the storage, in order.
    pub fn operations(&self) -> Vec<Operation> {
        self.process().operations.clone()
    }

    /// Forgets what was recorded; the count of writes goes on.
    pub fn forget_operations(&self) {
        self.process().operations.clear();
    }

    /// True since a planned crash and until [`Self::restart`].
    pub fn is_crashed(&self) -> bool {
        self.process().crashed
    }

    /// Brings a crashed process back; faults that are still planned stay so.
    pub fn restart(&self) {
        self.process().crashed = false;
    }

    /// Fills the medium now, for every process.
    pub fn fill(&self) {
        self.medium().full = true;
    }

    /// Makes room on a full medium.
    pub fn free(&self) {
        self.medium().full = false;
    }

    /// Lets this process write, or not.
    pub fn set_read_only(&self, read_only: bool) {
        self.process().read_only = read_only;
    }

    /// Lets this process's operations fail a few times each, or no longer.
    pub fn set_flaky(&self, flaky: Option<Flaky>) {
        let mut process = self.process();
        (process.flaky, process.failures) = (flaky, HashMap::new());
    }

    /// Makes an object unreadable for every process.
    pub fn fail_reads(&self, name: ObjectName) {
        self.fail_reads_within(name, 0..u64::MAX);
    }

    /// Makes a range of an object's bytes unreadable for every process; the range that was so before is readable again.
    pub fn fail_reads_within(&self, name: ObjectName, range: Range<u64>) {
        self.medium().unreadable.insert(name, range);
    }

    /// Makes an object readable again.
    pub fn heal_reads(&self, name: ObjectName) {
        self.medium().unreadable.remove(&name);
    }

    /// A copy of everything on the medium, whatever the processes' state. Not recorded.
    pub fn objects(&self) -> BTreeMap<ObjectName, Vec<u8>> {
        self.medium().objects.clone()
    }

    /// The object's bytes, or `None` when it is not there. Not recorded, never fails.
    pub fn peek(&self, name: ObjectName) -> Option<Vec<u8>> {
        self.medium().objects.get(&name).cloned()
    }

    /// The names of a kind, sorted. Not recorded, never fails.
    pub fn names(&self, kind: ObjectKind) -> Vec<ObjectName> {
        self.medium().objects.keys().filter(|name| name.kind() == kind).copied().collect()
    }

    /// A copy of everything that was moved aside. Not recorded.
    pub fn aside(&self) -> BTreeMap<AsideName, Vec<u8>> {
        self.medium().aside.clone()
    }

    /// Damages the medium: the object now has these bytes, whether it was there or not. Not recorded, never fails.
    pub fn overwrite(&self, name: ObjectName, bytes: Vec<u8>) {
        self.medium().objects.insert(name, bytes);
    }

    /// Damages the medium: the object is gone; its bytes are the answer. Not recorded, never fails.
    pub fn remove(&self, name: ObjectName) -> Option<Vec<u8>> {
        self.medium().objects.remove(&name)
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        locked(&self.medium)
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        locked(&self.process)
    }

    /// Records a read, unless the process is dead.
    fn begin_read(&self, operation: Operation) -> io::Result<()> {
        let mut process = self.process();
        process.record(operation)?;
        process.flakiness(operation).map_or(Ok(()), |(error, _)| Err(error))
    }

    /// Records a write, and says what the plan has for it. The medium is locked by the caller, so that the numbers of the
    /// writes are the order in which they take effect.
    fn begin_write(&self, operation: Operation, medium: &mut Medium) -> io::Result<Verdict> {
        let mut process = self.process();
        process.record(operation)?;
        let number = process.writes;
        process.writes += 1;
        let fault = process.faults.remove(&number);
        let simulated = || Some(io::Error::other("simulated failure"));
        if let Some(Fault::Crash | Fault::CrashAfter) = fault {
            process.crashed = true;
        }
        if fault == Some(Fault::Full) {
            medium.full = true;
        }
        let done = !matches!(fault, Some(Fault::Error | Fault::Crash));
        Ok(match fault {
            // A process that may not write changes nothing, whatever else was planned.
            _ if process.read_only => Verdict { done: false, answer: Some(io::ErrorKind::ReadOnlyFilesystem.into()) },
            Some(Fault::Crash | Fault::CrashAfter) => Verdict { done, answer: Some(crash()) },
            Some(Fault::Error | Fault::ErrorAfter) => Verdict { done, answer: simulated() },
            Some(Fault::Full) | None => match process.flakiness(operation) {
                Some((error, done)) => Verdict { done, answer: Some(error) },
                None => Verdict { done, answer: None },
            },
        })
    }
}

impl Process {
    fn record(&mut self, operation: Operation) -> io::Result<()> {
        if self.crashed {
            return Err(crash());
        }
        self.operations.push(operation);
        Ok(())
    }

    /// The error of an operation that is to fail now, and whether it is done all the same.
    fn flakiness(&mut self, operation: Operation) -> Option<(io::Error, bool)> {
        let flaky = self.flaky.filter(|flaky| (flaky.which)(operation))?;
        let failures = self.failures.entry(operation).or_default();
        (*failures < flaky.times).then(|| {
            *failures += 1;
            ((flaky.error)(), flaky.is_done)
        })
    }
}

impl Medium {
    fn find(&self, name: ObjectName) -> Result<&Vec<u8>, StorageError> {
        self.objects.get(&name).ok_or_else(|| StorageError::NotFound { name, place: "memory".to_owned() })
    }

    /// A bad sector goes with the object that lies on it.
    fn set_aside(&mut self, name: ObjectName) -> Option<AsideName> {
        let bytes = self.objects.remove(&name)?;
        self.unreadable.remove(&name);
        let aside =
            (1..).map(|number| AsideName { object: name, number }).find(|aside| !self.aside.contains_key(aside))?;
        self.aside.insert(aside, bytes);
        Some(aside)
    }

    fn read(&self, name: ObjectName, start: u64, length: u64) -> Result<&Vec<u8>, StorageError> {
        let bytes = self.find(name)?;
        let bad = self.unreadable.get(&name);
        if bad.is_some_and(|bad| bad.start < start.saturating_add(length.max(1)) && bad.end > start) {
            return Err(failed("reading", name, io::Error::from_raw_os_error(super::codes::UNREADABLE[0])));
        }
        Ok(bytes)
    }
}

fn crash() -> io::Error {
    io::Error::other("simulated crash of the process")
}

impl Storage for SimStorage {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let fail = |error| failed("writing", name, error);
        let mut medium = self.medium();
        let verdict = self.begin_write(Operation::Put(name), &mut medium).map_err(fail)?;
        let there = medium.objects.contains_key(&name);
        if verdict.done && !there {
            if medium.full {
                return Err(fail(verdict.answer.unwrap_or_else(|| io::ErrorKind::StorageFull.into())));
            }
            medium.objects.insert(name, parts.concat());
        }
        match verdict.answer {
            Some(error) => Err(fail(error)),
            None if there => Ok(Put::AlreadyThere),
            None => Ok(Put::Stored),
        }
    }

    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
        self.begin_read(Operation::Get(name)).map_err(|error| failed("reading", name, error))?;
        let medium = self.medium();
        let bytes = medium.read(name, 0, u64::MAX)?;
        let size = bytes.len() as u64;
        if size > limit {
            return Err(StorageError::TooLarge { name, size, limit });
        }
        Ok(bytes.clone())
    }

    fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let length = buffer.len() as u64;
        self.begin_read(Operation::GetRange { name, start, length }).map_err(|error| failed("reading", name, error))?;
        let medium = self.medium();
        let bytes = medium.read(name, start, length)?;
        let beyond = StorageError::Range { name, start, length, size: bytes.len() as u64 };
        let range = usize::try_from(start).ok().and_then(|start| Some(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(range.and_then(|range| bytes.get(range)).ok_or(beyond)?);
        Ok(())
    }

    fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
        self.begin_read(Operation::Size(name)).map_err(|error| failed("looking for", name, error))?;
        self.medium().find(name).map(|bytes| bytes.len() as u64)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<Listed>, StorageError> {
        self.begin_read(Operation::List(kind)).map_err(|source| StorageError::Io {
            action: "listing",
            place: place_of(&kind.folder()),
            source,
        })?;
        let medium = self.medium();
        let of_kind = medium.objects.iter().filter(|(name, _)| name.kind() == kind);
        Ok(of_kind.map(|(name, bytes)| Listed { name: *name, size: bytes.len() as u64 }).collect())
    }

    fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        let fail = |error| failed("deleting", name, error);
        let mut medium = self.medium();
        let verdict = self.begin_write(Operation::Delete(name), &mut medium).map_err(fail)?;
        if verdict.done {
            medium.objects.remove(&name);
        }
        verdict.answer.map_or(Ok(()), |error| Err(fail(error)))
    }

    fn set_aside(&self, name: ObjectName) -> Result<Option<AsideName>, StorageError> {
        let fail = |error| failed("moving aside", name, error);
        let mut medium = self.medium();
        let verdict = self.begin_write(Operation::SetAside(name), &mut medium).map_err(fail)?;
        let moved = if verdict.done { medium.set_aside(name) } else { None };
        verdict.answer.map_or(Ok(moved), |error| Err(fail(error)))
    }

    fn replace(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
        let fail = |error| failed("replacing", name, error);
        let mut medium = self.medium();
        let verdict = self.begin_write(Operation::Replace(name), &mut medium).map_err(fail)?;
        let mut moved = None;
        if verdict.done {
            if medium.full {
                return Err(fail(verdict.answer.unwrap_or_else(|| io::ErrorKind::StorageFull.into())));
            }
            moved = medium.set_aside(name);
            medium.objects.insert(name, parts.concat());
        }
        verdict.answer.map_or(Ok(moved), |error| Err(fail(error)))
    }

    fn list_aside(&self) -> Result<Vec<(AsideName, u64)>, StorageError> {
        self.begin_read(Operation::ListAside).map_err(|source| StorageError::Io {
            action: "listing",
            place: place_of(&AsideName::FOLDER),
            source,
        })?;
        Ok(self.medium().aside.iter().map(|(name, bytes)| (*name, bytes.len() as u64)).collect())
    }

    fn delete_aside(&self, name: AsideName) -> Result<(), StorageError> {
        let fail = |error| failed("deleting", name.object, error);
        let mut medium = self.medium();
        let verdict = self.begin_write(Operation::DeleteAside(name), &mut medium).map_err(fail)?;
        if verdict.done {
            medium.aside.remove(&name);
        }
        verdict.answer.map_or(Ok(()), |error| Err(fail(error)))
    }
}

#[cfg(test)]
mod tests;
