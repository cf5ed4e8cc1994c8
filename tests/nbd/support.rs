//! Disks to serve, and a server in a thread.

use sheaf::disk::{DiskOffset, ReadAt, ReadError, check_range};
use sheaf::serve::nbd::{Export, Listen, NbdError, Options, Overlay, Server};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ (self.0 >> 29)) >> 11
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}

/// A disk in memory that has data at some runs and zeros elsewhere, and parts that cannot be read.
pub(crate) struct TestDisk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) data: Vec<Range<u64>>,
    pub(crate) damaged: Vec<Range<u64>>,
}

impl TestDisk {
    /// A disk of `size` bytes with data at runs; no byte of the data is zero.
    pub(crate) fn new(size: u64, data: &[Range<u64>]) -> Self {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let mut dice = Dice(size);
        for run in data {
            for byte in &mut bytes[usize::try_from(run.start).unwrap()..usize::try_from(run.end).unwrap()] {
                *byte = u8::try_from(dice.below(255) + 1).unwrap();
            }
        }
        Self { bytes, data: data.to_vec(), damaged: Vec::new() }
    }

    pub(crate) fn damaged(mut self, damaged: &[Range<u64>]) -> Self {
        self.damaged = damaged.to_vec();
        self
    }
}

impl ReadAt for TestDisk {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        check_range(offset, buffer.len() as u64, self.size())?;
        let end = offset.0 + buffer.len() as u64;
        if self.damaged.iter().any(|run| run.start < end && run.end > offset.0) {
            return Err(ReadError::Damaged { offset, reason: "the pack was eaten".into() });
        }
        self.bytes.read_at(offset, buffer)
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        Ok(self.data.iter().find(|run| run.end > from.0).map(|run| run.start.max(from.0)..run.end))
    }
}

/// A disk with data and holes of different sizes, for most tests: 6 MiB and a bit.
pub(crate) fn spotted() -> TestDisk {
    TestDisk::new(
        6 * MIB + 1234,
        &[0..5000, 8192..12_288, MIB..3 * MIB + 77, 5 * MIB..5 * MIB + 1, 6 * MIB..6 * MIB + 1234],
    )
}

pub(crate) const MIB: u64 = 1 << 20;

/// A server that runs.
pub(crate) struct Running {
    pub(crate) folder: TempDir,
    pub(crate) place: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), NbdError>>>,
}

impl Running {
    pub(crate) fn start(exports: Vec<Export>, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = Listen::socket(&folder.path().join("s"));
        Self::start_at(folder, &listen, exports, options)
    }

    pub(crate) fn start_at(folder: TempDir, listen: &Listen, exports: Vec<Export>, options: Options) -> Self {
        let server = Server::bind(listen, exports, options).unwrap();
        let place = server.local_description();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || server.run(&|| told.load(Ordering::Relaxed))));
        Self { folder, place, stop, thread }
    }

    /// One disk that can be read only.
    pub(crate) fn disk(disk: impl ReadAt + 'static) -> Self {
        Self::start(vec![Export::read_only("disk", "A disk", Arc::new(disk))], Options::default())
    }

    /// One disk that can be written to; the overlay lies in a folder of the caller.
    pub(crate) fn overlay(path: &Path, disk: impl ReadAt + 'static) -> Self {
        let overlay = Overlay::open(path, Arc::new(disk), [7; 32]).unwrap();
        Self::start(vec![Export::writable("disk", "A disk", Arc::new(overlay))], Options::default())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place.strip_prefix("unix:").expect("a socket").into()
    }

    /// The address as programs take it.
    pub(crate) fn uri(&self, export: &str) -> String {
        format!("nbd+unix:///{export}?socket={}", self.socket().display())
    }

    pub(crate) fn stop(mut self) -> Result<(), NbdError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.unwrap().is_ok(), "the server failed");
        }
    }
}
