//! Check: is everything there that snapshots need, and is it what it was?
//!
//! Always true here:
//! - Nothing of the machine's own index is believed: check builds an index of its own from the segments, in a folder that
//!   it removes again.
//! - Nothing is changed but a lease, which goes again, and a repository that cannot be written to can be checked.
//! - Each finding has a kind, the object that is at fault, and the snapshots and sticks that it touches.

mod data;
mod parity;
mod settled;
mod structure;

pub use parity::mendable;

use crate::format::session::SessionKind;
use crate::ids::ObjectId;
use crate::names::ObjectName;
use crate::ops::monitor::Monitor;
use crate::ops::{Cancel, OpsError, audit, session};
use crate::repo::open::Repository;
use crate::repo::snapshots::Snapshot;
pub(super) use data::PackFault;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The config is missing or damaged: nothing else can be checked.
    ConfigDamaged,
    /// A key bundle is damaged.
    KeyDamaged,
    /// No key bundle is left that could open the repository, or one that the audit log tells of is gone.
    KeyMissing,
    /// An index segment is damaged. Its packs can be listed again from themselves.
    IndexDamaged,
    /// Chunks that snapshots need are only in a pack that no index segment lists.
    IndexIncomplete,
    /// A pack that the index lists is not there.
    PackMissing,
    /// A pack has another size than the index says.
    PackSize,
    /// A pack's header, trailer or footer does not read, or its listing is not the index's.
    PackListing,
    /// A pack's bytes are not what its name says, or chunks in it do not open.
    PackDamaged,
    /// A chunk that a snapshot needs is in no pack.
    ChunkMissing,
    /// A snapshot object is damaged.
    SnapshotDamaged,
    /// A snapshot was sealed so that an admin's key does not open it.
    SnapshotSealed,
    /// The audit log says that a snapshot was made, and it is not there.
    SnapshotMissing,
    /// The audit log says that a snapshot was forgotten, and it is there.
    SnapshotReturned,
    /// A snapshot was made with a key that had been taken away.
    SnapshotRevoked,
    /// A key bundle that was replaced or taken away is back.
    KeyReplaced,
    /// An audit entry is damaged.
    AuditDamaged,
    /// An audit entry that others follow, or that this machine has seen, is not there.
    AuditMissing,
    /// A snapshot's reference list cannot be read to its end.
    ReferencesDamaged,
    /// A snapshot's disk map or data tree cannot be read, or contradicts itself.
    ManifestDamaged,
    /// A parity object is damaged: its object has less protection, or none.
    ParityDamaged,
    /// The parity of an object is there, and the object is not.
    ObjectMissing,
}

impl FindingKind {
    /// The kind in the words of `--json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConfigDamaged => "config-damaged",
            Self::KeyDamaged => "key-damaged",
            Self::KeyMissing => "key-missing",
            Self::IndexDamaged => "index-damaged",
            Self::IndexIncomplete => "index-incomplete",
            Self::PackMissing => "pack-missing",
            Self::PackSize => "pack-size",
            Self::PackListing => "pack-listing",
            Self::PackDamaged => "pack-damaged",
            Self::ChunkMissing => "chunk-missing",
            Self::SnapshotDamaged => "snapshot-damaged",
            Self::SnapshotSealed => "snapshot-sealed",
            Self::SnapshotMissing => "snapshot-missing",
            Self::SnapshotReturned => "snapshot-returned",
            Self::SnapshotRevoked => "snapshot-revoked",
            Self::KeyReplaced => "key-replaced",
            Self::AuditDamaged => "audit-damaged",
            Self::AuditMissing => "audit-missing",
            Self::ReferencesDamaged => "references-damaged",
            Self::ManifestDamaged => "manifest-damaged",
            Self::ParityDamaged => "parity-damaged",
            Self::ObjectMissing => "object-missing",
        }
    }
}

/// One finding.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The object at fault.
    pub object: ObjectName,
    /// What was found, for a person.
    pub detail: String,
    /// Snapshots that it touches.
    pub snapshots: BTreeSet<ObjectId>,
    /// Sticks of these snapshots.
    pub sticks: BTreeSet<String>,
    /// Whether parity mends the object. `None` where the repository has no parity, and where the object is as it was written.
    pub mendable: Option<bool>,
}

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// That everything is there, and that objects other than packs are intact.
    Structure,
    /// Also packs, of which this share in percent is read and opened: 1 to 100.
    Data(u8),
}

/// What was checked and found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Findings, by kind and object.
    pub findings: Vec<Finding>,
    /// Snapshots looked at.
    pub snapshots: usize,
    /// Packs that the index lists.
    pub packs: usize,
    /// Chunks in them, each counted once.
    pub chunks: u64,
    /// Packs that no segment lists and no snapshot needs: left by an interrupted backup, used by the next one.
    pub unlisted_packs: usize,
    /// Packs read in full.
    pub packs_read: usize,
    /// Bytes of packs read.
    pub bytes_read: u64,
    /// Chunks opened and verified.
    pub chunks_opened: u64,
    /// Packs that a segment lists, that are not there, and of which no snapshot needs anything: a writer died while it listed what a
    /// prune took away.
    pub stale_packs: usize,
    /// Entries of the audit log.
    pub audit_entries: usize,
    /// Objects that have no parity though the repository makes some: whole, but not protected until a repair.
    pub without_parity: usize,
    /// Parity objects read in full.
    pub parity_read: usize,
}

impl CheckReport {
    /// True when nothing was found.
    pub const fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Findings while they are collected: one a kind and object.
#[derive(Debug, Default)]
struct Findings(BTreeMap<(FindingKind, ObjectName), Finding>);

impl Findings {
    fn add(&mut self, kind: FindingKind, object: ObjectName, detail: impl FnOnce() -> String) -> &mut Finding {
        self.0.entry((kind, object)).or_insert_with(|| Finding {
            kind,
            object,
            detail: detail(),
            snapshots: BTreeSet::new(),
            sticks: BTreeSet::new(),
            mendable: None,
        })
    }

    /// Drops findings of a kind that touch no snapshot, and says how many there were.
    fn forget_untouched(&mut self, kind: FindingKind) -> usize {
        let before = self.0.len();
        self.0.retain(|(of, _), finding| *of != kind || !finding.snapshots.is_empty());
        before - self.0.len()
    }

    fn touch(&mut self, kind: FindingKind, object: ObjectName, snapshot: &Snapshot, detail: impl FnOnce() -> String) {
        let finding = self.add(kind, object, detail);
        finding.snapshots.insert(snapshot.id);
        finding.sticks.insert(snapshot.record.stick.clone());
    }
}

/// Checks a repository. `scratch` is a folder in which an index is built; it is removed again. `memory` is the cache folder, where this
/// machine remembers what it has seen of the audit log.
///
/// # Errors
/// Only what keeps the check itself from being done: storage that cannot be listed, no room in `scratch`,
/// [`OpsError::Interrupted`]. Damage is in the report.
pub fn check(
    repository: &Arc<Repository>,
    scratch: &Path,
    memory: Option<&Path>,
    depth: Depth,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<CheckReport, OpsError> {
    let mut findings = Findings::default();
    let mut report = CheckReport::default();
    // While it lasts, nothing goes away that is needed now, but what was condemned before: that is in other packs then.
    let session = session::begin(repository, SessionKind::Reads, "check", memory, monitor)?;
    let subject = settled::Subject { repository, scratch, session: session.as_deref(), monitor, cancel };
    let result = subject.check(depth, &mut findings, &mut report).and_then(|checked| {
        let audited = audit::verify(repository, memory, &checked.snapshots)?;
        report.audit_entries = audited.log.entries.len();
        for finding in audited.findings {
            findings.0.entry((finding.kind, finding.object)).or_insert(finding);
        }
        parity::check(repository, depth, &mut findings, &mut report, monitor, cancel)
    });
    // The folder holds nothing but what was just built.
    _ = std::fs::remove_dir_all(scratch);
    result?;
    report.findings = findings.0.into_values().collect();
    Ok(report)
}

/// What a repair begins with: a check of everything, also of packs that no segment lists.
pub(super) struct Survey {
    pub snapshots: Vec<Snapshot>,
    pub findings: Vec<Finding>,
    /// Packs whose bytes or chunks are not what they were, of those that are there and list themselves.
    pub damaged: HashMap<ObjectId, PackFault>,
}

/// Checks everything, for a repair; `scratch` is for an index, which the caller removes.
pub(super) fn survey(
    repository: &Arc<Repository>,
    scratch: &Path,
    memory: &Path,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<Survey, OpsError> {
    let mut findings = Findings::default();
    let mut report = CheckReport::default();
    let checked = structure::check(repository, scratch, &mut findings, &mut report, monitor, cancel)?;
    let audited = audit::verify(repository, Some(memory), &checked.snapshots)?;
    for finding in audited.findings {
        findings.0.entry((finding.kind, finding.object)).or_insert(finding);
    }
    let packs = [checked.packs.as_slice(), &checked.adopted].concat();
    let damaged = data::check(&checked, &packs, 100, &mut findings, &mut report, monitor, cancel)?;
    Ok(Survey { snapshots: checked.snapshots, findings: findings.0.into_values().collect(), damaged })
}
