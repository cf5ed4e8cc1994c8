//! Reading ahead: chunks that a reader who goes forward will want next, opened by other threads meanwhile.
//!
//! Always true here:
//! - It changes no answer: what it does not bring, or cannot, the reader fetches for itself and hears of any damage then.
//! - Jobs that wait are bounded, as are the threads; both are shared by all readers of a process, and begin when one first goes forward.
//! - Who jumps about is not read ahead for: it takes [`IN_ORDER`] reads in a row.

use super::cache::ChunkCache;
use super::index::Index;
use super::keyring::Domain;
use super::open::Repository;
use super::reader::ReadSession;
use crate::crypto::derive;
use crate::ids::ChunkKey;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of the disk that are read ahead of a reader.
const WINDOW: u64 = 16 << 20;
/// Reads in a row that make one a reader in order.
const IN_ORDER: u32 = 3;
/// How far a read may lie from where the one before ended and still follow it: those of several threads come in any order.
const NEARBY: u64 = 1 << 20;
/// Readers of one disk that are followed at once.
const READERS: usize = 16;
/// Jobs that wait.
const JOBS: usize = 1024;
/// Threads at most.
const THREADS: usize = 8;

/// The readers in order of one disk.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Vec<Follower>>);

/// One of them. Offsets are bytes of the disk.
#[derive(Debug, Clone, Copy)]
struct Follower {
    /// Where the next read is expected.
    next: u64,
    /// Up to where was read ahead.
    ahead: u64,
    reads: u32,
}

impl Readers {
    /// Takes note of a read. Returns what should be read ahead now, of a disk of `size` bytes.
    pub(super) fn note(&self, read: Range<u64>, size: u64) -> Option<Range<u64>> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = readers.iter().position(|reader| reader.next.abs_diff(read.start) <= NEARBY);
        let mut reader = match known {
            Some(index) => readers.remove(index),
            None => Follower { next: read.start, ahead: read.start, reads: 0 },
        };
        reader.next = reader.next.max(read.end);
        reader.reads = reader.reads.saturating_add(1);
        let from = reader.ahead.max(reader.next);
        let to = reader.next.saturating_add(WINDOW).min(size);
        // In large steps, so that most reads ask for nothing.
        let due = reader.reads >= IN_ORDER && from < to && (to - from >= WINDOW / 4 || to == size);
        if due {
            reader.ahead = to;
        }
        // Those that were heard of last come first.
        readers.insert(0, reader);
        readers.truncate(READERS);
        due.then_some(from..to)
    }
}

/// A chunk that may be wanted soon.
struct Job {
    domain: Domain,
    key: ChunkKey,
}

/// The threads, and the way to them.
#[derive(Default)]
pub(super) struct Ahead(OnceLock<Option<Sender<Job>>>);

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ahead").field(&self.0.get().is_some()).finish()
    }
}

impl Ahead {
    /// Asks for a chunk; false when enough are asked for already.
    pub(super) fn ask(
        &self,
        (domain, key): (Domain, &ChunkKey),
        repository: &Arc<Repository>,
        index: &Arc<Index>,
        cache: &Arc<ChunkCache>,
    ) -> bool {
        let sender = self.0.get_or_init(|| start(repository, index, cache));
        sender.as_ref().is_some_and(|sender| sender.try_send(Job { domain, key: key.clone() }).is_ok())
    }
}

/// Starts the threads. They end when the sender is gone.
fn start(repository: &Arc<Repository>, index: &Arc<Index>, cache: &Arc<ChunkCache>) -> Option<Sender<Job>> {
    let (sender, jobs) = bounded::<Job>(JOBS);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(THREADS);
    let mut running = 0;
    for _ in 0..threads {
        let Ok(session) = ReadSession::new(Arc::clone(repository), index) else { continue };
        let (jobs, cache) = (jobs.clone(), Arc::clone(cache));
        let (repository, index) = (Arc::clone(repository), Arc::clone(index));
        let spawned = std::thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || work(session, &jobs, &cache, &repository, &index));
        running += usize::from(spawned.is_ok());
    }
    (running > 0).then_some(sender)
}

fn work(
    mut session: ReadSession,
    jobs: &Receiver<Job>,
    cache: &ChunkCache,
    repository: &Arc<Repository>,
    index: &Arc<Index>,
) {
    for Job { domain, key } in jobs {
        // The reader meets the same error and tells it. It may be that the chunk is newer than the state of the index that is asked.
        if cache.get(derive::chunk_id(&key), || session.bring(domain, &key)).is_err()
            && let Ok(newer) = ReadSession::new(Arc::clone(repository), index)
        {
            session = newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 100 << 20;

    #[test]
    fn who_goes_forward_is_read_ahead_for_in_large_steps() {
        let readers = Readers::default();
        let mut asked = Vec::new();
        for at in (0..SIZE).step_by(64 << 10) {
            asked.extend(readers.note(at..at + (64 << 10), SIZE));
        }
        assert_eq!(asked.first(), Some(&(3 * (64 << 10)..WINDOW + 3 * (64 << 10))));
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "each byte once: {asked:?}");
        assert_eq!(asked.last().map(|range| range.end), Some(SIZE));
        assert!(asked.len() < 100, "{}", asked.len());
    }

    #[test]
    fn who_jumps_about_is_not() {
        let readers = Readers::default();
        for step in 0..1000_u64 {
            let at = step * 7919 % 97 * (1 << 20) * 3 / 2;
            assert_eq!(readers.note(at..at + 4096, u64::MAX), None);
        }
        assert!(readers.0.lock().expect("whole").len() <= READERS);
    }

    #[test]
    fn readers_at_several_places_are_told_apart() {
        let readers = Readers::default();
        let mut asked = 0;
        for step in 0..100 {
            for place in [0, 1 << 40, 1 << 50] {
                let at = place + step * 65536;
                asked += u32::from(readers.note(at..at + 65536, u64::MAX).is_some());
            }
        }
        assert!((3..30).contains(&asked), "{asked}");
    }
}
