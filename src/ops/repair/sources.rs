//! Chunks that disks still have.
//!
//! Always true here:
//! - A disk is gone through as a backup goes through it. As nobody knows with which options it was backed up, it is tried in each of the
//!   ways that there are, as long as something is missing.
//! - A disk that has changed gives other chunks where it has, and the same ones elsewhere.

use super::needs::Overlay;
use super::{Found, FoundChunks, RepairSource, Wanted};
use crate::format::pack::PackKind;
use crate::ids::ChunkId;
use crate::layout::Keep;
use crate::ops::backup::{BackupPlan, Content, ScannedChunk, scan};
use crate::ops::monitor::{Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use crate::repo::open::Repository;
use std::collections::BTreeMap;

/// Looks for what is wanted and not found yet on one source; `overlay` gets the nodes that were found.
pub(super) fn look(
    repository: &Repository,
    (number, source): (usize, &RepairSource),
    wanted: &BTreeMap<ChunkId, Wanted>,
    found: &mut FoundChunks,
    overlay: &mut Overlay,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<(), OpsError> {
    let gone = |error| OpsError::Source { source_name: source.name.clone(), source: error };
    for way in 0..3 {
        let missing: std::collections::HashSet<ChunkId> =
            wanted.keys().copied().filter(|id| !found.contains_key(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let plan = match way {
            0 => BackupPlan::make(&source.disk, Keep::default()).map_err(gone)?,
            1 => BackupPlan::none(&*source.disk),
            _ => BackupPlan::make(&source.disk, Keep { free: true, scratch: true }).map_err(gone)?,
        };
        monitor.begin(Phase::Search, Some(source.disk.size()));
        let mut take = |chunk: ScannedChunk| {
            let ScannedChunk { id, key, domain, content } = chunk;
            let kind = match &content {
                Content::Bytes(bytes) => {
                    overlay.insert(id, bytes.clone());
                    PackKind::Meta
                }
                Content::OnSource(_) => PackKind::Data,
            };
            found.entry(id).or_insert(Found::OnSource { source: number, kind, domain, key, content });
        };
        let is_wanted = |id: &ChunkId| missing.contains(id);
        scan(repository, (&*source.disk, &source.name), &plan, &is_wanted, &mut take, monitor, cancel)?;
    }
    Ok(())
}
