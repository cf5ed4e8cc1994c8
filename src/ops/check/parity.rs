//! The check of parity: which objects have some, whether it is whole, and whether it mends what was found damaged.
//!
//! Always true here:
//! - An object without parity is no finding: a writer that died leaves one, and a repair gives it its parity. It is counted.
//! - Without the check of data, parity objects are only listed; one is read where its size is not what the size of its object says.

use super::{CheckReport, Depth, Finding, FindingKind, Findings};
use crate::format::parity::Layout;
use crate::names::{ObjectKind, ObjectName};
use crate::ops::monitor::{Advance, Monitor, Phase};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::open::Repository;
use crate::repo::parity::{self, Condition, Coverage, ParityCondition};
use crate::storage::{Listed, Storage};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::BTreeSet;

pub(super) fn check(
    repository: &Repository,
    depth: Depth,
    findings: &mut Findings,
    report: &mut CheckReport,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<(), OpsError> {
    let ratio = repository.config().record.parity;
    if ratio == 0 {
        return Ok(());
    }
    let storage = &**repository.storage();
    let Coverage { with, without, orphans } = parity::coverage(storage)?;
    report.without_parity = without.len();
    let read = match depth {
        Depth::Structure => BTreeSet::new(),
        Depth::Data(percent) => sample(&with, percent)?,
    };
    if !read.is_empty() {
        let bytes = with.iter().filter(|(object, _)| read.contains(&object.name)).map(|(_, size)| size).sum();
        monitor.begin(Phase::CheckParity, Some(bytes));
    }
    let results: Vec<(ObjectName, String)> = with
        .par_iter()
        .map(|(object, size)| {
            cancel.check()?;
            let is_read = read.contains(&object.name);
            let fits = Layout::new(object.size, ratio).is_ok_and(|layout| layout.object_length() == *size);
            if !is_read && fits {
                return Ok(None);
            }
            let condition = parity::inspect_parity(storage, object.name).map_err(RepoError::from)?;
            if is_read {
                monitor.advance(Advance { bytes: *size, ..Advance::default() });
            }
            Ok(match condition {
                ParityCondition::Damaged { reason } => Some((object.name, reason)),
                ParityCondition::Whole | ParityCondition::Missing => None,
            })
        })
        .filter_map(Result::transpose)
        .collect::<Result<_, OpsError>>()?;
    report.parity_read = read.len();
    for (object, reason) in results {
        if let Some(name) = object.parity() {
            let finding = findings.add(FindingKind::ParityDamaged, name, || reason);
            // It can be made again where its object is whole, or what is left of it is enough for that.
            finding.mendable = Some(parity::inspect(storage, object).map_err(RepoError::from)?.is_recoverable());
        }
    }
    for orphan in orphans {
        cancel.check()?;
        let Some(object) = parity::covered_by(storage, orphan).map_err(RepoError::from)? else { continue };
        if !findings.0.keys().any(|(_, name)| *name == object) {
            findings.add(FindingKind::ObjectMissing, object, || {
                format!("it is not there, and its parity is, as {orphan}; deleting takes parity away first")
            });
        }
    }
    for finding in findings.0.values_mut().filter(|finding| finding.mendable.is_none()) {
        cancel.check()?;
        finding.mendable = mendable(storage, finding)?;
    }
    Ok(())
}

/// A share of the objects with parity, chosen by chance; at least one where there are any.
fn sample(with: &[(Listed, u64)], percent: u8) -> Result<BTreeSet<ObjectName>, OpsError> {
    let mut names: Vec<ObjectName> = with.iter().map(|(object, _)| object.name).collect();
    if percent < 100 {
        let seed: [u8; 32] = crate::crypto::random_bytes().map_err(RepoError::from)?;
        names.sort_by_cached_key(|name| *blake3::keyed_hash(&seed, name.path().as_bytes()).as_bytes());
        names.truncate((names.len() * usize::from(percent)).div_ceil(100));
    }
    Ok(names.into_iter().collect())
}

/// Whether parity mends the object at fault; `None` where that is not the question: its bytes are what was written, or no object
/// is at fault.
///
/// # Errors
/// [`OpsError::Repo`] where storage fails in another way than not giving an object's bytes.
pub fn mendable(storage: &dyn Storage, finding: &Finding) -> Result<Option<bool>, OpsError> {
    let stored_wrong = match finding.kind {
        FindingKind::ConfigDamaged
        | FindingKind::KeyDamaged
        | FindingKind::KeyMissing
        | FindingKind::IndexDamaged
        | FindingKind::PackMissing
        | FindingKind::PackSize
        | FindingKind::PackListing
        | FindingKind::PackDamaged
        | FindingKind::SnapshotDamaged
        | FindingKind::SnapshotMissing
        | FindingKind::AuditDamaged
        | FindingKind::AuditMissing
        | FindingKind::ObjectMissing => true,
        FindingKind::ParityDamaged
        | FindingKind::IndexIncomplete
        | FindingKind::ChunkMissing
        | FindingKind::SnapshotSealed
        | FindingKind::SnapshotRevoked
        | FindingKind::SnapshotReturned
        | FindingKind::KeyReplaced
        | FindingKind::ReferencesDamaged
        | FindingKind::ManifestDamaged => false,
    };
    if !stored_wrong || finding.object.kind() == ObjectKind::Parity {
        return Ok(None);
    }
    Ok(match parity::inspect(storage, finding.object).map_err(RepoError::from)? {
        Condition::Whole => None,
        condition => Some(condition.is_recoverable()),
    })
}
