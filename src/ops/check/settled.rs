//! A check beside others that forget and prune: what went away by the rules is no finding.
//!
//! Always true here:
//! - What is lost is found: a look in which nothing changed is believed, and only what the rules let go is excused.
//! - The number of looks is bounded, whatever others do.

use super::structure::{self, Checked};
use super::{CheckReport, Depth, FindingKind, Findings, data};
use crate::ids::ObjectId;
use crate::names::{ObjectKind, ObjectName};
use crate::ops::monitor::Monitor;
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::open::Repository;
use crate::repo::sessions::Session;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// How often the structure is looked at where something is found and something has changed meanwhile.
const LOOKS: usize = 8;
/// The same for all data, which takes long.
const LOOKS_AT_DATA: usize = 3;

/// What is checked, and for whom.
pub(super) struct Subject<'a> {
    pub repository: &'a Arc<Repository>,
    /// A folder for an index, which the caller removes.
    pub scratch: &'a Path,
    /// The session of the check.
    pub session: Option<&'a Session>,
    pub monitor: &'a dyn Monitor,
    pub cancel: &'a Cancel,
}

impl Subject<'_> {
    /// Checks structure, and data where that is asked for.
    pub(super) fn check(
        &self,
        depth: Depth,
        findings: &mut Findings,
        report: &mut CheckReport,
    ) -> Result<Checked, OpsError> {
        let mut look = 1;
        loop {
            (*findings, *report) = (Findings::default(), CheckReport::default());
            let Self { repository, scratch, monitor, cancel, .. } = self;
            let checked = structure::check(repository, scratch, findings, report, *monitor, cancel)?;
            let mut is_believed = self.is_believed(&checked, findings, look >= LOOKS)?;
            if let Depth::Data(percent) = depth
                && is_believed
            {
                data::check(&checked, &checked.packs, percent, findings, report, *monitor, cancel)?;
                is_believed = self.is_believed(&checked, findings, look >= LOOKS_AT_DATA)?;
            }
            if is_believed {
                return Ok(checked);
            }
            look += 1;
            drop(checked);
            std::fs::remove_dir_all(scratch).map_err(|source| RepoError::Cache {
                path: scratch.display().to_string(),
                source: source.to_string().into(),
            })?;
        }
    }

    /// Takes away findings that only say that something went by the rules; false where a later look may find less, since what was moved from
    /// one pack into another meanwhile is there then.
    fn is_believed(&self, checked: &Checked, findings: &mut Findings, is_last: bool) -> Result<bool, RepoError> {
        if findings.0.is_empty() {
            return Ok(true);
        }
        let gone = Gone::since(checked, self.session)?;
        gone.excuse(findings);
        Ok(findings.0.is_empty() || !gone.has_changed || is_last)
    }
}

/// What was there and is not any more.
struct Gone {
    snapshots: HashSet<ObjectId>,
    /// Packs that were condemned when the session began. No other one is taken away by the rules while it lasts.
    pruned: HashSet<ObjectId>,
    /// True where anything is gone, or the index has other segments.
    has_changed: bool,
}

impl Gone {
    fn since(checked: &Checked, session: Option<&Session>) -> Result<Self, RepoError> {
        let storage = checked.store.repository.storage();
        let mut there = HashSet::new();
        for kind in [ObjectKind::Snapshot, ObjectKind::Index, ObjectKind::Pack] {
            there.extend(storage.list(kind)?.into_iter().map(|listed| listed.name));
        }
        let has_new_segment =
            there.iter().any(|name| name.kind() == ObjectKind::Index && !checked.there.contains(name));
        let gone: Vec<ObjectName> = checked.there.difference(&there).copied().collect();
        let of_kind = |kind| gone.iter().filter(move |name| name.kind() == kind).filter_map(|name| name.id());
        let condemned = |pack: &ObjectId| session.is_some_and(|session| session.condemned().packs().contains(pack));
        Ok(Self {
            snapshots: of_kind(ObjectKind::Snapshot).collect(),
            pruned: of_kind(ObjectKind::Pack).filter(condemned).collect(),
            has_changed: has_new_segment || !gone.is_empty(),
        })
    }

    /// Takes away findings that only say so. Whether a snapshot may be gone is for the log to say.
    fn excuse(&self, findings: &mut Findings) {
        findings.0.retain(|(kind, object), finding| {
            let had_some = !finding.snapshots.is_empty();
            finding.snapshots.retain(|snapshot| !self.snapshots.contains(snapshot));
            let is_gone = match object.kind() {
                ObjectKind::Snapshot => object.id().is_some_and(|id| self.snapshots.contains(&id)),
                ObjectKind::Pack => object.id().is_some_and(|id| self.pruned.contains(&id)),
                _ => false,
            };
            let is_about_need = matches!(kind, FindingKind::PackMissing | FindingKind::IndexIncomplete);
            let is_needed_by_none = had_some && finding.snapshots.is_empty() && is_about_need;
            !(is_gone || is_needed_by_none)
        });
    }
}
