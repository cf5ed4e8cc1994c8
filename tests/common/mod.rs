//! What tests of whole repositories share: a repository with small chunks and small packs, on storage of the test's choice.
//!
//! Always true here:
//! - A [`Fixture`] is one machine: it has a cache folder of its own and reaches one storage. Another machine at the same
//!   storage is another fixture; [`Fixture::after_a_restart`] is the same machine with another process.
//! - [`Fixture::restore`] restores in both ways that there are, to a file and by reading the snapshot as a disk, and fails the test
//!   when they differ. Bytes that it returns were read, not made up: an error is returned as one.
//! - Nothing here looks at the clock: snapshots are a second apart because a counter says so.

#![allow(dead_code, reason = "each program of tests uses a part")]

pub(crate) mod binary;
pub(crate) mod interposed;
pub(crate) mod sources;

use sheaf::crypto::password::{Password, PasswordCost};
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::format::audit::AuditRecord;
use sheaf::format::config::{CHUNKER_FASTCDC_2020, Chunking, ConfigRecord};
use sheaf::format::session::SessionKind;
use sheaf::format::snapshot::DiskFacts;
use sheaf::ids::{ChunkId, ObjectId};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::backup::{BackupPlan, BackupReport, BackupRequest, WallTime, backup};
use sheaf::ops::check::{CheckReport, Depth, check};
use sheaf::ops::container::TargetFormat;
use sheaf::ops::monitor::{Monitor, Silent};
use sheaf::ops::restore::{RestorePlan, RestoreRequest};
use sheaf::ops::{Cancel, OpsError, session};
use sheaf::repo::RepoError;
use sheaf::repo::open::{InitOptions, Repository};
use sheaf::repo::packer::read_listing;
use sheaf::repo::reader::ChunkStore;
use sheaf::repo::view::SnapshotDisk;
use sheaf::repo::{segments, snapshots};
use sheaf::storage::Storage;
use sheaf::storage::local::LocalStorage;
use sheaf::storage::sim::SimStorage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

/// The password of every repository that is made here.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The size at which [`small_config`] closes a pack, in bytes.
pub(crate) const PACK_SIZE: u32 = 64 << 10;

/// A repository's parameters for tests: chunks of about 4 KiB, packs of 64 KiB, so that a megabyte of noise is some 250 chunks in
/// 17 packs and more than one index segment.
pub(crate) fn small_config() -> ConfigRecord {
    ConfigRecord {
        created_ms: 1_795_000_000_000,
        chunking: Chunking {
            algorithm: CHUNKER_FASTCDC_2020,
            min: 1 << 10,
            average: 4 << 10,
            max: 16 << 10,
            normalization: 1,
        },
        pack_size: PACK_SIZE,
        compression_level: 1,
        parity: 0,
        tool: "sheaf tests".to_owned(),
    }
}

/// What guessing the password of a test's repository costs: nothing.
pub(crate) const CHEAP: PasswordCost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };

/// The password, as the library takes it.
pub(crate) fn password() -> Password {
    Password::new(PASSWORD.as_bytes().to_vec())
}

/// A folder in memory, where the system has one with room.
fn memory() -> Option<&'static Path> {
    let memory = Path::new("/dev/shm");
    sheaf::image::free_space(memory).is_some_and(|bytes| bytes > 1 << 30).then_some(memory)
}

/// 1 where syncing a file costs nothing. Elsewhere tests that go through hundreds of cases take each seventh.
pub(crate) fn pace() -> usize {
    if memory().is_some() { 1 } else { 7 }
}

/// A temporary folder, in memory where the system has such a place with room: syncing a file there costs nothing.
pub(crate) fn folder() -> TempDir {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("sheaf-test-");
        builder
    };
    let made = memory().map_or_else(|| builder().tempdir(), |memory| builder().tempdir_in(memory));
    made.or_else(|_| builder().tempdir()).expect("a temporary folder")
}

/// A machine with a repository.
pub(crate) struct Fixture {
    storage: Arc<dyn Storage>,
    folder: Arc<TempDir>,
    clock: Arc<AtomicI64>,
    password: Password,
}

impl Fixture {
    /// Makes a repository on this storage, and a machine that uses it.
    pub(crate) fn make(storage: impl Storage + 'static) -> Self {
        Self::make_with(storage, small_config())
    }

    /// As [`Self::make`], with other parameters.
    pub(crate) fn make_with(storage: impl Storage + 'static, config: ConfigRecord) -> Self {
        let fixture = Self::open(storage);
        let options = InitOptions { config, label: "test".to_owned(), cost: CHEAP };
        Repository::init(Arc::clone(&fixture.storage), options, &password()).expect("a new repository");
        fixture
    }

    /// A machine, new to the repository on this storage.
    pub(crate) fn open(storage: impl Storage + 'static) -> Self {
        Self {
            storage: Arc::new(storage),
            folder: Arc::new(folder()),
            clock: Arc::new(AtomicI64::new(0)),
            password: password(),
        }
    }

    /// The same machine with the cache as it is now, and with another process at the storage.
    pub(crate) fn after_a_restart(&self, storage: impl Storage + 'static) -> Self {
        Self {
            storage: Arc::new(storage),
            folder: Arc::clone(&self.folder),
            clock: Arc::clone(&self.clock),
            password: self.password.clone(),
        }
    }

    /// The same machine, used with another password.
    pub(crate) fn with_password(&self, password: Password) -> Self {
        Self {
            storage: Arc::clone(&self.storage),
            folder: Arc::clone(&self.folder),
            clock: Arc::clone(&self.clock),
            password,
        }
    }

    /// A machine whose cache is a copy of this one's, at another storage.
    pub(crate) fn twin(&self, storage: impl Storage + 'static) -> Self {
        let twin = Self::open(storage);
        twin.clock.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        copy_folder(&self.cache(), &twin.cache());
        twin
    }

    /// The folder of local indexes.
    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// A path for a file of the test, which is removed with the fixture.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens and unlocks the repository.
    pub(crate) fn repository(&self) -> Result<Arc<Repository>, RepoError> {
        Ok(Arc::new(Repository::open(Arc::clone(&self.storage))?.unlock(&self.password)?))
    }

    /// The repository with its index brought up to date, to read from.
    pub(crate) fn store(&self) -> Result<ChunkStore, OpsError> {
        Ok(session::prepare(self.repository()?, SessionKind::Reads, "test", &self.cache(), &Silent)?.0)
    }

    /// The same, to store into.
    pub(crate) fn writer(&self) -> Result<ChunkStore, OpsError> {
        Ok(session::prepare(self.repository()?, SessionKind::Writes, "test", &self.cache(), &Silent)?.0)
    }

    /// Backs a disk up under this stick's name.
    pub(crate) fn backup(&self, stick: &str, disk: &dyn ReadAt) -> Result<BackupReport, OpsError> {
        self.backup_with(stick, disk, &Silent, &Cancel::default())
    }

    /// As [`Self::backup`], with somebody who listens and may stop it.
    pub(crate) fn backup_with(
        &self,
        stick: &str,
        disk: &dyn ReadAt,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<BackupReport, OpsError> {
        backup(&self.writer()?, disk, &BackupPlan::none(disk), self.request(stick), monitor, cancel)
    }

    /// As [`Self::backup`], divided as a plan says.
    pub(crate) fn backup_planned(
        &self,
        stick: &str,
        disk: &dyn ReadAt,
        plan: &BackupPlan,
    ) -> Result<BackupReport, OpsError> {
        backup(&self.writer()?, disk, plan, self.request(stick), &Silent, &Cancel::default())
    }

    /// What a snapshot of this stick is to say of itself.
    pub(crate) fn request(&self, stick: &str) -> BackupRequest {
        let second = self.clock.fetch_add(1, Ordering::Relaxed);
        BackupRequest {
            stick: stick.to_owned(),
            tags: Vec::new(),
            host: "test".to_owned(),
            time: WallTime { unix_ms: 1_795_000_000_000 + second * 1000, utc_offset_s: 0, zone: None },
            disk: DiskFacts {
                sector_size: 512,
                source: format!("{stick}.img"),
                table_id: None,
                serial: None,
                model: None,
                label: None,
                container: None,
                volumes: None,
            },
            tool: "sheaf tests".to_owned(),
        }
    }

    /// The snapshots that are there and readable, oldest first.
    pub(crate) fn snapshots(&self) -> Vec<snapshots::Snapshot> {
        snapshots::list(&self.repository().expect("a sound repository")).expect("a listing").snapshots
    }

    /// A snapshot as a disk.
    pub(crate) fn disk(&self, snapshot: ObjectId) -> Result<SnapshotDisk, OpsError> {
        let store = self.store()?;
        let snapshot = snapshots::read(&store.repository, snapshot)?;
        Ok(SnapshotDisk::open(store, snapshot)?)
    }

    /// The bytes of a snapshot, restored to a file and read as a disk. After an error no file is there.
    pub(crate) fn restore(&self, snapshot: ObjectId) -> Result<Vec<u8>, OpsError> {
        let disk = self.disk(snapshot)?;
        let target = self.path(&format!("restored-{}", snapshot.short()));
        let request = RestoreRequest {
            target: target.clone(),
            format: TargetFormat::Raw,
            block_size: None,
            force: true,
            verify: true,
            allow_damaged: false,
        };
        let restored = RestorePlan::make(&disk, request)?.apply(&disk, &Silent, &Cancel::default());
        let mut read = vec![0; usize::try_from(disk.size()).expect("a small disk")];
        let as_disk = disk.read_at(DiskOffset(0), &mut read);
        match restored {
            Ok(report) => {
                as_disk.expect("what restores to a file can be read as a disk");
                assert!(
                    report.verified && std::fs::read(&target).expect("the restored file") == read,
                    "both ways agree"
                );
                std::fs::remove_file(&target).expect("the restored file");
                Ok(read)
            }
            Err(error) => {
                assert!(as_disk.is_err(), "what does not restore to a file cannot be read as a disk: {error}");
                let names: Vec<_> = std::fs::read_dir(self.folder.path()).expect("the folder").flatten().collect();
                let left = names.iter().find(|entry| entry.file_name().to_string_lossy().starts_with("restored-"));
                assert!(left.is_none(), "a restore that failed leaves {left:?}");
                Err(error)
            }
        }
    }

    /// Checks the repository.
    pub(crate) fn check(&self, depth: Depth) -> Result<CheckReport, OpsError> {
        let scratch = self.path("check");
        let report = check(&self.repository()?, &scratch, Some(&self.cache()), depth, &Silent, &Cancel::default());
        assert!(!scratch.exists(), "a check leaves nothing behind");
        report
    }

    /// Fails the test unless a check of everything finds nothing and these snapshots restore byte for byte.
    pub(crate) fn assert_sound(&self, expected: &[(ObjectId, &Vec<u8>)], when: &str) -> CheckReport {
        let report = self.check(Depth::Data(100)).unwrap_or_else(|error| panic!("{when}: the check fails: {error}"));
        assert!(report.is_ok(), "{when}: {:#?}", report.findings);
        for (snapshot, bytes) in expected {
            let restored = self.restore(*snapshot).unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
            assert!(restored == **bytes, "{when}: {} restores to other bytes", snapshot.short());
        }
        report
    }

    /// What the packs on storage hold.
    pub(crate) fn packs(&self) -> Packs {
        let repository = self.repository().expect("a sound repository");
        let mut packs = Packs::default();
        for listed in self.storage.list(ObjectKind::Pack).expect("a listing") {
            let listing = read_listing(&*self.storage, repository.keys(), repository.id(), listed.name);
            packs.bytes += listed.size;
            packs.count += 1;
            for entry in listing.expect("a sound pack").entries {
                *packs.chunks.entry(entry.id).or_default() += 1;
            }
        }
        packs
    }

    /// The packs that index segments list, with how many segments do.
    pub(crate) fn listed_packs(&self) -> BTreeMap<ObjectName, usize> {
        let repository = self.repository().expect("a sound repository");
        let mut packs = BTreeMap::new();
        for listed in self.storage.list(ObjectKind::Index).expect("a listing") {
            let segment = segments::read(&repository, listed.name.id().expect("an id")).expect("a sound segment");
            for pack in segment.packs {
                *packs.entry(ObjectName::pack(pack.id)).or_default() += 1;
            }
        }
        packs
    }
}

/// What the packs of a repository hold.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    /// Packs.
    pub count: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// How often each chunk is stored.
    pub chunks: BTreeMap<ChunkId, usize>,
}

impl Packs {
    /// Chunks that are stored more than once.
    pub(crate) fn stored_twice(&self) -> usize {
        self.chunks.values().filter(|times| **times > 1).count()
    }
}

/// What an entry of the log says of this action, for people.
pub(crate) fn record(action: &str) -> AuditRecord {
    AuditRecord {
        action: action.to_owned(),
        result: AuditRecord::DONE.to_owned(),
        host: "desk".to_owned(),
        key: None,
        detail: None,
        bundle: None,
    }
}

/// An error with its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// Copies the files of a folder, and of the folders in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Writes a medium's objects to the folder of a new repository.
pub(crate) fn write_to(medium: &SimStorage, folder: &Path) {
    LocalStorage::create(folder).expect("a folder");
    for (name, bytes) in medium.objects() {
        let path = folder.join(name.path());
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
}
