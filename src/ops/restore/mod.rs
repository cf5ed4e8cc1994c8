//! Restore: a snapshot onto a file or a block device.
//!
//! Always true here:
//! - Nothing is opened for writing before the plan has passed: size, mounts, and what the target holds.
//! - The target is written in its own order, each byte once, and only with bytes that were verified.
//! - What cannot be read stops the restore, unless losses are allowed: then it is zeros, and the report names each run of it.
//! - A file appears under its name only when it is complete and durable; until then it is `NAME.sheaf-partial`, which a later run
//!   begins anew.

mod batches;
mod target;
mod verify;

use crate::disk::Extent;
use crate::format::manifest::HoleKind;
use crate::image::container::Composed;
use crate::image::{TargetContent, TargetFacts, TargetKind, free_space, target_facts};
use crate::ops::container::{self, TargetFormat};
use crate::ops::monitor::{Advance, Monitor, Phase};
use crate::ops::{Cancel, OpsError, worker_count};
use crate::repo::view::SnapshotDisk;
use batches::{Batch, Batches, Filled, Filler};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use target::Target;

/// Batches between planning and writing: read-ahead and memory bound in one.
const IN_FLIGHT: usize = 8;
/// Bytes after which what was written is pushed on to the medium. Left to itself a system gathers gigabytes and writes
/// them when the restore seems done, with the medium idle until then.
const PUSH_EVERY: u64 = 64 << 20;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// A file, or a block device.
    pub target: PathBuf,
    /// What to make of it.
    pub format: TargetFormat,
    /// Bytes of a block of a VHD or VHDX, where the usual size is not wanted.
    pub block_size: Option<u32>,
    /// Overwrite a file, or a device that holds something.
    pub force: bool,
    /// Read the target back and compare.
    pub verify: bool,
    /// Go on where the repository has lost something; zeros stand in its place.
    pub allow_damaged: bool,
}

/// What will be done.
pub struct RestorePlan {
    request: RestoreRequest,
    facts: TargetFacts,
    /// How the disk lies in a container; `None` where the target's bytes are the disk's.
    layout: Option<Box<dyn Composed>>,
    /// Bytes of the file that is made, or of the disk on a device.
    pub file_size: u64,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes of it that are written from chunks.
    pub kept: u64,
    /// Bytes of the target device behind the disk, which stay as they are.
    pub left_over: u64,
    /// Runs that the backup could not read; they come back as zeros.
    pub unreadable: Vec<Extent>,
}

/// What was done.
#[derive(Debug)]
pub struct RestoreReport {
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes of the file that was made, or of the disk on a device.
    pub file_size: u64,
    /// Bytes written from chunks.
    pub kept: u64,
    /// True when the target was read back and is the same.
    pub verified: bool,
    /// Runs that the backup could not read; they are zeros now.
    pub unreadable: Vec<Extent>,
    /// Runs that the repository has lost, in disk order; they are zeros now. Empty unless that was allowed.
    pub lost: Vec<Extent>,
}

impl std::fmt::Debug for RestorePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestorePlan")
            .field("request", &self.request)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl RestorePlan {
    /// Looks at snapshot and target and decides whether it can be done.
    ///
    /// # Errors
    /// [`OpsError::TargetTooSmall`], [`OpsError::TargetMounted`], [`OpsError::TargetInUse`],
    /// [`OpsError::TargetFolderMissing`], [`OpsError::Image`], [`OpsError::Container`], [`OpsError::ContainerOnDevice`].
    pub fn make(disk: &SnapshotDisk, request: RestoreRequest) -> Result<Self, OpsError> {
        let facts = target_facts(&request.target)?;
        let (size, kept) = (disk.map().size(), disk.map().kept());
        let path = request.target.clone();
        if facts.kind == TargetKind::BlockDevice && request.format != TargetFormat::Raw {
            return Err(OpsError::ContainerOnDevice { path, format: request.format });
        }
        let layout = container::compose(disk, request.format, request.block_size)?;
        let structures = |layout: &dyn Composed| layout.metadata().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let needed = kept.saturating_add(layout.as_deref().map_or(0, structures));
        if !facts.mounted.is_empty() {
            let mounted = facts.mounted.iter().map(|place| place.display().to_string()).collect();
            return Err(OpsError::TargetMounted { path, mounted });
        }
        if facts.claimed {
            return Err(OpsError::TargetMounted {
                path,
                mounted: vec!["a place that the system does not name".to_owned()],
            });
        }
        let in_use = |holds: String| OpsError::TargetInUse { path: path.clone(), holds };
        let mut left_over = 0;
        match facts.kind {
            TargetKind::BlockDevice => {
                if facts.size < size {
                    return Err(OpsError::TargetTooSmall { path, has: facts.size, needs: size });
                }
                left_over = facts.size - size;
                let is_blank = matches!(facts.content, TargetContent::Nothing | TargetContent::Zeros);
                if !request.force && !is_blank {
                    return Err(in_use(format!("holds {}", facts.content)));
                }
            }
            TargetKind::File if !request.force => return Err(in_use("exists already".to_owned())),
            TargetKind::File | TargetKind::Missing => {
                let folder = folder_of(&request.target);
                if !folder.is_dir() {
                    return Err(OpsError::TargetFolderMissing { path: folder.to_owned() });
                }
                let reusable =
                    std::fs::metadata(target::partial_name(&request.target)).map_or(0, |partial| partial.len());
                if let Some(free) = free_space(folder).map(|free| free.saturating_add(reusable))
                    && free < needed
                    && !request.force
                {
                    return Err(OpsError::TargetTooSmall { path: folder.to_owned(), has: free, needs: needed });
                }
            }
        }
        let unreadable = disk.map().holes(HoleKind::Unreadable).collect();
        let file_size = layout.as_ref().map_or(size, |layout| layout.file_size());
        Ok(Self { request, facts, layout, file_size, size, kept, left_over, unreadable })
    }

    /// Writes the target.
    ///
    /// # Errors
    /// [`OpsError::Repo`] naming a damaged object, [`OpsError::Io`], [`OpsError::Verify`], [`OpsError::Interrupted`]. A file is
    /// then not there under its name; a device holds a part.
    pub fn apply(self, disk: &SnapshotDisk, monitor: &dyn Monitor, cancel: &Cancel) -> Result<RestoreReport, OpsError> {
        let is_device = self.facts.kind == TargetKind::BlockDevice;
        let mut target = Target::open(&self.request.target, is_device, self.layout, self.file_size)?;
        monitor.begin(Phase::Restore, Some(self.size));
        let allow = self.request.allow_damaged;
        let lost = write(disk, &mut target, allow, monitor, cancel)?;
        target.finish()?;
        target.sync()?;
        if self.request.verify {
            monitor.begin(Phase::Verify, Some(self.size));
            verify::verify(disk, &target, allow.then_some(lost.as_slice()), monitor, cancel)?;
        }
        target.publish()?;
        let Self { request, file_size, size, kept, unreadable, .. } = self;
        Ok(RestoreReport { size, file_size, kept, verified: request.verify, unreadable, lost })
    }
}

/// Runs in rising order, neighbours joined.
fn joined(mut runs: Vec<Extent>) -> Vec<Extent> {
    runs.sort_unstable();
    let mut joined: Vec<Extent> = Vec::with_capacity(runs.len());
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.end() == Some(run.start) => last.length += run.length,
            _ => joined.push(run),
        }
    }
    joined
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// planner → workers (fetch, open, verify) → this thread (order, write)
fn write(
    disk: &SnapshotDisk,
    target: &mut Target,
    allow_losses: bool,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<Vec<Extent>, OpsError> {
    std::thread::scope(|scope| {
        let (free_sender, free) = bounded::<Vec<u8>>(IN_FLIGHT);
        let (batch_sender, batches) = bounded::<(u64, Batch, Vec<u8>)>(IN_FLIGHT);
        let (filled_sender, filled) = bounded::<Result<(u64, Filled), OpsError>>(IN_FLIGHT);
        for _ in 0..IN_FLIGHT {
            _ = free_sender.send(Vec::new());
        }
        let planner_errors = filled_sender.clone();
        scope.spawn(move || {
            if let Err(error) = plan(disk, allow_losses, cancel, &free, &batch_sender) {
                _ = planner_errors.send(Err(error));
            }
        });
        for _ in 0..worker_count() {
            let (batches, filled_sender) = (batches.clone(), filled_sender.clone());
            scope.spawn(move || {
                if let Err(error) = fill(disk, allow_losses, &batches, &filled_sender) {
                    _ = filled_sender.send(Err(error));
                }
            });
        }
        drop((batches, filled_sender));
        let (push, pushes) = bounded::<()>(1);
        let pusher = target.pusher()?;
        // A failure to sync shows again in the last sync, which is the one that counts.
        scope.spawn(move || pushes.iter().take_while(|()| pusher.sync_data().is_ok()).count());
        let (mut waiting, mut next, mut unpushed) = (BTreeMap::new(), 0, 0);
        let mut lost = Vec::new();
        for result in filled {
            let (sequence, batch) = result?;
            waiting.insert(sequence, batch);
            while let Some(batch) = waiting.remove(&next) {
                next += 1;
                let Filled { batch, buffer } = batch;
                for hole in batch.zeros() {
                    target.zero(hole, cancel)?;
                }
                lost.extend(batch.losses());
                for (start, range) in batch.writes() {
                    unpushed += range.len() as u64;
                    target.write(start, &buffer[range])?;
                }
                if unpushed >= PUSH_EVERY && push.try_send(()).is_ok() {
                    unpushed = 0;
                }
                monitor.advance(Advance { bytes: batch.passed, ..Advance::default() });
                _ = free_sender.try_send(buffer);
            }
        }
        if waiting.is_empty() { Ok(joined(lost)) } else { Err(OpsError::WorkerLost) }
    })
}

fn plan(
    disk: &SnapshotDisk,
    allow_losses: bool,
    cancel: &Cancel,
    free: &Receiver<Vec<u8>>,
    out: &Sender<(u64, Batch, Vec<u8>)>,
) -> Result<(), OpsError> {
    for (sequence, batch) in (0..).zip(Batches::new(disk, allow_losses)?) {
        cancel.check()?;
        let Ok(buffer) = free.recv() else { return Ok(()) };
        if out.send((sequence, batch?, buffer)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn fill(
    disk: &SnapshotDisk,
    allow_losses: bool,
    batches: &Receiver<(u64, Batch, Vec<u8>)>,
    out: &Sender<Result<(u64, Filled), OpsError>>,
) -> Result<(), OpsError> {
    let mut filler = Filler::new(disk, allow_losses)?;
    for (sequence, batch, buffer) in batches {
        let filled = filler.fill(batch, buffer)?;
        if out.send(Ok((sequence, filled))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
