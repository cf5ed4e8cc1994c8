//! Storage at a limited speed, so that a share or a line has room for others.
//!
//! Always true here:
//! - Until any moment, the bytes that were handed on for writing are at most the rate times the time since the first, and what one second
//!   may have on top: a put waits before it begins, until it has been saved up for. However large it is, it takes its time and no more.
//! - What was read is waited for behind the reading, since nobody knows before how much it will be.
//! - A put that finds its object there costs nothing.

use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::storage::clock::Pauses;
use crate::storage::{Listed, Put, Storage, StorageError, delegate};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes a second in each direction; `None` is as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// For writing.
    pub upload: Option<NonZeroU64>,
    /// For reading.
    pub download: Option<NonZeroU64>,
}

/// A bucket into which time flows. It holds one second.
#[derive(Debug)]
struct Bucket {
    rate: NonZeroU64,
    /// The moment at which all that was taken so far is paid for.
    paid: Mutex<Duration>,
}

impl Bucket {
    const SIZE: Duration = Duration::from_secs(1);

    const fn new(rate: NonZeroU64) -> Self {
        Self { rate, paid: Mutex::new(Duration::ZERO) }
    }

    /// What so many bytes cost.
    fn cost(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Takes so many bytes at this moment; gives how long they are to be waited for.
    fn take(&self, now: Duration, bytes: u64) -> Duration {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = (*paid).max(now).saturating_add(self.cost(bytes));
        paid.saturating_sub(now + Self::SIZE)
    }

    /// Puts back what was not used after all.
    fn give_back(&self, bytes: u64) {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = paid.saturating_sub(self.cost(bytes));
    }
}

/// A storage that is written to, or read from, at a limited speed.
#[derive(Debug)]
pub struct Limited {
    inner: Arc<dyn Storage>,
    upload: Option<Bucket>,
    download: Option<Bucket>,
    pauses: Pauses,
}

impl Limited {
    /// Limits `inner`.
    pub fn new(inner: Arc<dyn Storage>, limits: Limits, pauses: Pauses) -> Self {
        Self { inner, upload: limits.upload.map(Bucket::new), download: limits.download.map(Bucket::new), pauses }
    }

    fn pay(&self, bucket: Option<&Bucket>, bytes: usize) -> Result<(), StorageError> {
        let Some(bucket) = bucket else { return Ok(()) };
        let wait = bucket.take(self.pauses.now(), bytes as u64);
        if wait.is_zero() {
            return Ok(());
        }
        self.pauses.wait(wait, &|| self.inner.place())
    }
}

impl Storage for Limited {
    delegate!(inner: place, size, list, delete, set_aside, list_aside, delete_aside);

    fn put(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Put, StorageError> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        self.pay(self.upload.as_ref(), bytes)?;
        let put = self.inner.put(name, parts)?;
        if let (Some(bucket), Put::AlreadyThere) = (&self.upload, put) {
            bucket.give_back(bytes as u64);
        }
        Ok(put)
    }

    fn get(&self, name: ObjectName, limit: u64) -> Result<Vec<u8>, StorageError> {
        let bytes = self.inner.get(name, limit)?;
        self.pay(self.download.as_ref(), bytes.len())?;
        Ok(bytes)
    }

    fn get_range(&self, name: ObjectName, start: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.inner.get_range(name, start, buffer)?;
        self.pay(self.download.as_ref(), buffer.len())
    }

    fn replace(&self, name: ObjectName, parts: &[&[u8]]) -> Result<Option<AsideName>, StorageError> {
        self.pay(self.upload.as_ref(), parts.iter().map(|part| part.len()).sum())?;
        self.inner.replace(name, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ObjectId;
    use crate::storage::clock::{Clock, ManualClock};
    use crate::storage::sim::SimStorage;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn name(number: u8) -> ObjectName {
        ObjectName::pack(ObjectId::new([number; 32]))
    }

    fn limited(upload: Option<u64>, download: Option<u64>) -> (Limited, Arc<ManualClock>, Arc<AtomicBool>) {
        let (clock, stop) = (Arc::new(ManualClock::default()), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&stop);
        let pauses = Pauses::new(Arc::clone(&clock) as _, Arc::new(move || asked.load(Ordering::SeqCst)));
        let rate = |rate: Option<u64>| rate.and_then(NonZeroU64::new);
        let limits = Limits { upload: rate(upload), download: rate(download) };
        (Limited::new(Arc::new(SimStorage::new()), limits, pauses), clock, stop)
    }

    #[test]
    fn at_no_moment_was_more_written_than_the_rate_allows() {
        let (storage, clock, _) = limited(Some(1000), None);
        let mut written = 0;
        for (number, size) in [10, 500, 490, 1, 3000, 0, 999, 20_000, 7].into_iter().enumerate() {
            assert_eq!(storage.put(name(number as u8), &[&vec![0; size]]).unwrap(), Put::Stored);
            written += size;
            let seconds = clock.now().as_secs_f64();
            assert!(written as f64 <= 1000.0 * (seconds + 1.0) + 1.0, "{written} bytes after {seconds} s");
        }
        // And not much less.
        assert!(clock.now() < Duration::from_millis(written as u64), "{:?}", clock.now());
        // What was not used is saved up, but for one second at most.
        clock.advance(Duration::from_secs(3600));
        let before = clock.now();
        storage.put(name(100), &[&[0; 1000]]).unwrap();
        assert_eq!(clock.now(), before);
        storage.put(name(101), &[&[0; 1000]]).unwrap();
        assert_eq!(clock.now(), before + Duration::from_secs(1));
    }

    #[test]
    fn what_is_there_already_costs_nothing() {
        let (storage, clock, _) = limited(Some(1000), None);
        storage.put(name(1), &[&[0; 1000]]).unwrap();
        let before = clock.now();
        clock.advance(Duration::from_secs(1));
        for _ in 0..10 {
            storage.put(name(1), &[&[0; 1000]]).unwrap();
        }
        assert_eq!(clock.now(), before + Duration::from_secs(1));
    }

    #[test]
    fn reading_is_limited_apart_from_writing() {
        let (storage, clock, _) = limited(None, Some(1000));
        storage.put(name(1), &[&[7; 5000]]).unwrap();
        assert_eq!(clock.now(), Duration::ZERO);
        assert_eq!(storage.get(name(1), 5000).unwrap(), [7; 5000]);
        assert_eq!(clock.now(), Duration::from_secs(4));
        storage.get_range(name(1), 1000, &mut [0; 2000]).unwrap();
        assert_eq!(clock.now(), Duration::from_secs(6));
    }

    #[test]
    fn who_waits_can_be_stopped() {
        let (storage, _, stop) = limited(Some(1), None);
        stop.store(true, Ordering::SeqCst);
        assert!(matches!(storage.put(name(1), &[&[0; 5000]]), Err(StorageError::Stopped { .. })));
        assert!(storage.size(name(1)).unwrap_err().is_not_found());
    }
}
