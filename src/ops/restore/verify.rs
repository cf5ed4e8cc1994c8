//! Reading a restored target back.
//!
//! Always true here: the target is compared with what the snapshot's keys say, by hashing what stands there; only where a chunk
//! is in parts is it fetched again. Holes, and what is lost, must read as zeros, and a container's own structures as they were composed.

use super::batches::{Batch, Batches, Filler};
use super::target::Target;
use crate::disk::{DiskOffset, Extent, ReadAt, is_zero};
use crate::image::RawDisk;
use crate::ops::monitor::{Advance, Monitor};
use crate::ops::{Cancel, OpsError, worker_count};
use crate::repo::keyring::Domain;
use crate::repo::view::SnapshotDisk;
use crossbeam_channel::{Receiver, bounded};

/// Holes are read in pieces of this many bytes.
const STEP: usize = 1 << 20;

/// Compares the whole target; `lost` is what is lost and stands there as zeros, where that is allowed.
pub(super) fn verify(
    disk: &SnapshotDisk,
    target: &Target,
    lost: Option<&[Extent]>,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<(), OpsError> {
    let medium = RawDisk::open(target.path())?;
    for (at, bytes) in target.structures() {
        cancel.check()?;
        let mut read = vec![0; bytes.len()];
        if !target.read_at(at.0, &mut read)? || read[..] != bytes[..] {
            return Err(OpsError::VerifyContainer { path: target.path().to_owned(), offset: at.0 });
        }
    }
    std::thread::scope(|scope| {
        let (sender, batches) = bounded::<Batch>(4);
        let medium = &medium;
        let workers: Vec<_> = (0..worker_count())
            .map(|_| {
                let batches = batches.clone();
                scope.spawn(move || {
                    compare_batches(disk, (target, medium), lost.unwrap_or_default(), monitor, cancel, &batches)
                })
            })
            .collect();
        drop(batches);
        let mut planned = Ok(());
        for batch in Batches::new(disk, lost.is_some())? {
            // A failed send means that a worker found something: its own words are better.
            match batch.map(|batch| sender.send(batch)) {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break,
                Err(error) => {
                    planned = Err(error);
                    break;
                }
            }
        }
        drop(sender);
        for worker in workers {
            worker.join().map_err(|_| OpsError::WorkerLost).flatten()?;
        }
        planned
    })
}

fn compare_batches(
    disk: &SnapshotDisk,
    (target, medium): (&Target, &RawDisk),
    lost: &[Extent],
    monitor: &dyn Monitor,
    cancel: &Cancel,
    batches: &Receiver<Batch>,
) -> Result<(), OpsError> {
    let mut filler = Filler::new(disk, !lost.is_empty())?;
    let mut buffer = Vec::new();
    for batch in batches {
        cancel.check()?;
        for piece in &batch.pieces {
            if is_lost(lost, piece.start) {
                compare_zeros(target, medium, piece.extent(), cancel, &mut buffer)?;
                continue;
            }
            buffer.resize(piece.part.len(), 0);
            target.read(piece.start, &mut buffer)?;
            let same = if piece.part.len() == piece.chunk_length {
                disk.store().repository.keys().is_key_of(Domain::Data, &buffer, &piece.key)?
            } else {
                filler.chunk(piece)?[piece.part.clone()] == buffer
            };
            if !same {
                return Err(OpsError::Verify { path: target.path().to_owned(), offset: piece.start });
            }
        }
        for hole in batch.zeros() {
            compare_zeros(target, medium, hole, cancel, &mut buffer)?;
        }
        monitor.advance(Advance { bytes: batch.passed, ..Advance::default() });
    }
    Ok(())
}

/// True where a byte lies in one of these runs, which are in rising order. A piece is lost in full or not at all.
fn is_lost(lost: &[Extent], at: DiskOffset) -> bool {
    let behind = lost.partition_point(|run| run.start <= at);
    lost[..behind].last().is_some_and(|run| at.0 - run.start.0 < run.length)
}

/// What a file does not even have on its medium is zeros and need not be read.
fn compare_zeros(
    target: &Target,
    medium: &RawDisk,
    hole: Extent,
    cancel: &Cancel,
    buffer: &mut Vec<u8>,
) -> Result<(), OpsError> {
    for (place, at, length) in target.places(hole) {
        // Without a place there is nothing that could be wrong.
        let Some(place) = place else { continue };
        let end = place + length;
        let mut position = place;
        let source_name = || target.path().display().to_string();
        while position < end {
            cancel.check()?;
            let data = medium
                .next_data(DiskOffset(position))
                .map_err(|source| OpsError::Source { source_name: source_name(), source })?;
            let Some(data) = data.filter(|data| data.start < end) else { break };
            position = position.max(data.start);
            let count = usize::try_from(data.end.min(end).saturating_sub(position)).unwrap_or(STEP).clamp(1, STEP);
            buffer.resize(count, 0);
            if !target.read_at(position, buffer)? || !is_zero(buffer) {
                let offset = DiskOffset(at.0 + (position - place));
                return Err(OpsError::Verify { path: target.path().to_owned(), offset });
            }
            position += count as u64;
        }
    }
    Ok(())
}
