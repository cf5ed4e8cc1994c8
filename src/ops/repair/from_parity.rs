//! Mending from parity: objects to the bytes that they had, and parity that is damaged or missing.
//!
//! Always true here:
//! - What is put back is what the object's name says. It takes the place of the damaged bytes in one step, where the storage can, and those
//!   lie aside from then on.
//! - No key is needed. So what keeps a repository from being unlocked, its config and its key bundles, can be mended before there is one.

use super::Step;
use super::survey::Survey;
use crate::names::{AsideName, ObjectKind, ObjectName};
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::open::Repository;
use crate::repo::parity::{self, Condition, Coverage, ParityCondition};
use crate::storage::Storage;
use std::collections::BTreeSet;

/// Objects that are damaged or missing, and that parity mends.
pub(super) fn mendable(
    storage: &dyn Storage,
    coverage: &Coverage,
    survey: &Survey,
    cancel: &Cancel,
) -> Result<Vec<ObjectName>, OpsError> {
    let mut doubtful: BTreeSet<ObjectName> = survey.findings.iter().map(|finding| finding.object).collect();
    doubtful.extend(survey.bad.keys().map(|id| ObjectName::pack(*id)));
    doubtful.extend(survey.broken.iter().map(|(name, _)| *name));
    doubtful.insert(ObjectName::CONFIG);
    for orphan in coverage.orphans.iter().copied() {
        doubtful.extend(parity::covered_by(storage, orphan).map_err(RepoError::from)?);
    }
    let mut mendable = Vec::new();
    for object in doubtful.into_iter().filter(|object| object.parity().is_some()) {
        cancel.check()?;
        if let Condition::Mendable { .. } = parity::inspect(storage, object).map_err(RepoError::from)? {
            mendable.push(object);
        }
    }
    Ok(mendable)
}

/// Parity objects whose objects are gone and do not come back by them. They would be taken for a loss by every check, also when all that was
/// in the object is stored elsewhere.
pub(super) fn orphans(
    storage: &dyn Storage,
    coverage: &Coverage,
    cancel: &Cancel,
) -> Result<Vec<ObjectName>, OpsError> {
    let mut orphans = Vec::new();
    for parity in coverage.orphans.iter().copied() {
        cancel.check()?;
        if is_orphan(storage, parity)? {
            orphans.push(parity);
        }
    }
    Ok(orphans)
}

/// Whether a parity object that listings have no object for is of no use. That of the config is left: bundles hold that.
pub(super) fn is_orphan(storage: &dyn Storage, parity: ObjectName) -> Result<bool, OpsError> {
    match parity::covered_by(storage, parity).map_err(RepoError::from)? {
        None => Ok(true),
        Some(ObjectName::CONFIG) => Ok(false),
        Some(object) => Ok(!parity::inspect(storage, object).map_err(RepoError::from)?.is_recoverable()),
    }
}

/// Objects whose parity is to be made anew, but for those that go aside.
pub(super) fn without(
    repository: &Repository,
    coverage: &Coverage,
    steps: &[Step],
    cancel: &Cancel,
) -> Result<Vec<ObjectName>, OpsError> {
    if repository.config().record.parity == 0 {
        return Ok(Vec::new());
    }
    let storage = &**repository.storage();
    let going: BTreeSet<ObjectName> = steps
        .iter()
        .filter_map(|step| match step {
            Step::SetAside { object, .. } => Some(*object),
            _ => None,
        })
        .collect();
    let objects = coverage.with.iter().map(|(object, _)| object).chain(&coverage.without);
    let mut without = Vec::new();
    for object in objects.map(|listed| listed.name).filter(|name| !going.contains(name)) {
        cancel.check()?;
        let is_whole = parity::inspect_parity(storage, object).map_err(RepoError::from)? == ParityCondition::Whole;
        if !is_whole {
            without.push(object);
        }
    }
    Ok(without)
}

/// Gives an object the bytes back that it had; what was there lies aside.
pub(super) fn mend(storage: &dyn Storage, object: ObjectName) -> Result<Option<AsideName>, OpsError> {
    let bytes = parity::mend(storage, object).map_err(RepoError::from)?;
    Ok(storage.replace(object, &[&bytes]).map_err(RepoError::from)?)
}

/// Gives an object its parity; what was there lies aside. An object that is damaged beyond mending gets none.
pub(super) fn remake(storage: &dyn Storage, object: ObjectName) -> Result<Option<AsideName>, OpsError> {
    let Some(name) = object.parity() else { return Ok(None) };
    match parity::rebuild(storage, object) {
        Ok(bytes) => Ok(storage.replace(name, &[&bytes]).map_err(RepoError::from)?),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(RepoError::from(error).into()),
    }
}

/// Mends the config and key bundles, without which nothing else can be: gives those that were mended.
///
/// # Errors
/// [`OpsError::Repo`] for storage that fails. What parity cannot mend is left as it is.
pub fn mend_entrance(storage: &dyn Storage) -> Result<Vec<ObjectName>, OpsError> {
    let coverage = parity::coverage(storage).map_err(RepoError::from)?;
    let mut doubtful: BTreeSet<ObjectName> = coverage.with.iter().map(|(listed, _)| listed.name).collect();
    for orphan in coverage.orphans {
        doubtful.extend(parity::covered_by(storage, orphan).map_err(RepoError::from)?);
    }
    doubtful.insert(ObjectName::CONFIG);
    doubtful.retain(|name| matches!(name.kind(), ObjectKind::Config | ObjectKind::Key));
    let mut mended = Vec::new();
    for object in doubtful {
        if let Condition::Mendable { .. } = parity::inspect(storage, object).map_err(RepoError::from)? {
            mend(storage, object)?;
            mended.push(object);
        }
    }
    Ok(mended)
}
