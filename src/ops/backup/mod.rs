//! Backup: a source disk into the repository.
//!
//! Always true here:
//! - The order of durability is packs, then index, then snapshot. Until the snapshot is stored, nothing that was there
//!   before has changed, and what was stored is used by the next run.
//! - Memory is bounded by the number of block buffers and open packs, whatever the source's size.
//! - A chunk that the repository has, or that this run is storing, is neither compressed nor sealed again.
//!
//! The pipeline: reader → cutter → workers (hash, look up, compress, seal) → this thread (order, trees, packs) → writer.

pub(super) mod blocks;
pub(super) mod commit;
pub(super) mod cutting;
pub(super) mod known;
pub(super) mod manifest;
mod pipeline;
mod plan;
mod reading;
mod scan;
pub(super) mod store;

use crate::crypto::randomness;
use crate::disk::{Extent, ReadAt};
use crate::format::snapshot::{Counts, DiskFacts, OperatorRecord, PrivateRecord};
use crate::ids::ObjectId;
use crate::ops::monitor::{Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::keyring::Action;
use crate::repo::reader::ChunkStore;
use known::Known;
use pipeline::Pipeline;
pub use plan::BackupPlan;
pub(super) use scan::{Content, ScannedChunk, scan};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::PackStore;
pub(super) use store::store_chunks;

/// What a snapshot is to say of itself.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// The stick.
    pub stick: String,
    /// Tags; sorted and made unique here.
    pub tags: Vec<String>,
    /// The machine.
    pub host: String,
    /// When the backup begins.
    pub time: WallTime,
    /// What is known of the disk.
    pub disk: DiskFacts,
    /// The program and its version.
    pub tool: String,
}

/// A moment with the zone in which a person read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WallTime {
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: i64,
    /// Local time minus UTC, in seconds.
    pub utc_offset_s: i32,
    /// The IANA name of the zone, where known.
    pub zone: Option<String>,
}

/// What a backup did.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The new snapshot.
    pub snapshot: ObjectId,
    /// What was counted.
    pub counts: Counts,
    /// Packs that were written.
    pub packs_written: u64,
    /// Packs of interrupted backups that were put into the index.
    pub packs_adopted: usize,
    /// Runs that could not be read; the first thousand.
    pub unreadable: Vec<Extent>,
}

/// Backs `source` up as `plan` divides it, and commits a snapshot.
///
/// # Errors
/// [`OpsError::Source`] when the source shrinks or goes away, [`OpsError::Interrupted`], [`OpsError::Repo`]. Whatever
/// the error: no snapshot was made, and the repository is sound.
pub fn backup(
    store: &ChunkStore,
    source: &dyn ReadAt,
    plan: &BackupPlan,
    request: BackupRequest,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<BackupReport, OpsError> {
    store.repository.keys().require(Action::Store)?;
    let began = Instant::now();
    let session = store.running().ok_or(RepoError::NoSession { needs: "stores" })?;
    let packs_adopted = store::publish_adopted(store, session)?;
    let known = Known::new(store.index.clone(), Arc::clone(session));
    let (mut packs, writer) = PackStore::new(store, &known);
    monitor.begin(Phase::Backup, Some(source.size()));
    let pipeline = Pipeline { store, known: &known, source, plan, source_name: &request.disk.source, monitor, cancel };
    let stored = std::thread::scope(|scope| {
        let randomness = randomness::fork();
        scope.spawn(move || {
            randomness.enter();
            store::write_packs(store, &writer);
        });
        let stored = pipeline.run(&mut packs);
        let finished = match &stored {
            // Somebody stopped us, or the source did: what was read so far is worth keeping for the next run.
            Ok(_) | Err(OpsError::Interrupted | OpsError::Source { .. }) => {
                monitor.begin(Phase::Commit, None);
                packs.finish()
            }
            Err(_) => Ok(()),
        };
        packs.hang_up();
        finished.and(stored)
    })?;
    cancel.check()?;
    let pipeline::Stored { counts, roots, unreadable } = stored;
    // In a simulator everything follows from a seed.
    let elapsed = if cfg!(feature = "simulator") { Duration::ZERO } else { began.elapsed() };
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let counts = Counts { bytes_stored: packs.bytes_stored, duration_ms, ..counts };
    let mut tags = request.tags;
    tags.sort_unstable();
    tags.dedup();
    let operator = OperatorRecord {
        stick: request.stick,
        time_ms: request.time.unix_ms,
        utc_offset_s: request.time.utc_offset_s,
        time_zone: request.time.zone,
        host: request.host,
        tags,
        size: source.size(),
        references: roots.references,
        tool: request.tool,
        counts,
        origin: None,
    };
    let maker = store.repository.keys().certificate_bytes().to_vec().into();
    let disk = DiskFacts { volumes: plan.records(), ..request.disk };
    let private = PrivateRecord { data: roots.data, map: roots.map, disk, operator, maker };
    let snapshot = commit::commit(store, session, &private)?;
    Ok(BackupReport { snapshot, counts, packs_written: packs.packs_written, packs_adopted, unreadable })
}
