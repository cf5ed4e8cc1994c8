//! New secrets for what is stored from now on (format-spec/keys.md, "Rotation").
//!
//! Always true here:
//! - The admin's own bundle is first: once the new secrets are in it, a rotation that is cut short is finished by the next one.
//! - The new secrets follow from the old ones and what admins alone have: two rotations at once have the same, and no data is sealed under
//!   secrets that somebody's bundle has not.
//! - Every bundle keeps its protection, its certificate and its holder's own key. Nobody has to be asked for a password.
//! - Nothing that is stored is touched; who could read it before still can.

use super::RepoError;
use super::bundles::{self, Bundle};
use super::keyring::{Action, KeyRing};
use super::open::Repository;
use crate::crypto::Secret;
use crate::format::certificate::Certificate;
use crate::format::keys::{KeyRecord, Protection};
use crate::names::ObjectName;

/// A bundle that will be written anew.
struct Step {
    old: ObjectName,
    certificate: Certificate,
    record: KeyRecord,
    protection: Protection,
    key: Secret,
}

/// What a rotation will do. Nothing is done until [`Self::apply`].
pub struct Rotation {
    /// True where some bundles have other secrets than the admin's own: an earlier rotation is finished, and no new one is begun.
    pub finishes: bool,
    own: Step,
    others: Vec<Step>,
}

impl std::fmt::Debug for Rotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotation").field("finishes", &self.finishes).field("keys", &(self.others.len() + 1)).finish()
    }
}

/// A bundle that was written anew.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// What the authority says of its key.
    pub certificate: Certificate,
    /// The bundle.
    pub bundle: ObjectName,
}

impl Rotation {
    /// Plans a rotation; opens every bundle that there is.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] for other keys than an admin's; [`RepoError`] naming a bundle that cannot be opened: a rotation that
    /// left one out would lock its holder out of what is stored later.
    pub fn plan(repository: &Repository) -> Result<Self, RepoError> {
        repository.keys().require(Action::ManageKeys)?;
        let list = bundles::list(repository)?;
        if let Some((_, error)) = list.damaged.into_iter().next() {
            return Err(error);
        }
        let step = |Bundle { name, certificate, .. }: Bundle| {
            let (record, protection, key) = bundles::open_escrow(repository, name)?;
            Ok::<_, RepoError>(Step { old: name, certificate, record, protection, key })
        };
        let steps = list.bundles.into_iter().map(step).collect::<Result<Vec<_>, _>>()?;
        let (mut own, others): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.old == repository.bundle());
        let missing = || RepoError::NoSuchKey { name: repository.keys().certificate().label.clone() };
        let own = own.pop().ok_or_else(missing)?;
        let finishes = others.iter().any(|step| step.record.index_key != own.record.index_key);
        Ok(Self { finishes, own, others })
    }

    /// The keys whose bundles are written anew.
    pub fn keys(&self) -> impl Iterator<Item = &Certificate> {
        let own = Some(&self.own).filter(|_| !self.finishes);
        let is_behind = |step: &&Step| !self.finishes || step.record.index_key != self.own.record.index_key;
        own.into_iter().chain(self.others.iter().filter(is_behind)).map(|step| &step.certificate)
    }

    /// Writes the bundles, the admin's own first; `told` hears of each.
    ///
    /// # Errors
    /// [`RepoError::Storage`], [`RepoError::Crypto`], and what `told` fails with. What is done then stays; another rotation does the
    /// rest.
    pub fn apply(
        &self,
        repository: &Repository,
        told: &mut dyn FnMut(Renewed) -> Result<(), RepoError>,
    ) -> Result<(), RepoError> {
        let own = &self.own;
        // A plan of before another rotation is not for now.
        repository.storage().size(own.old)?;
        let (mut record, mut bundle) = (own.record.clone(), own.old);
        if !self.finishes {
            record = repository.keys().begin_epoch(own.old, &own.record)?;
            bundle = bundles::replace(repository, own.old, &record, (&own.protection, &own.key))?;
        }
        // Also where an earlier rotation wrote it: that may have ended before it could tell.
        told(Renewed { certificate: own.certificate.clone(), bundle })?;
        let malformed = |source| RepoError::Malformed { name: own.old, source };
        let keys = KeyRing::from_record(&record, repository.id()).map_err(malformed)?;
        for step in self.others.iter().filter(|step| step.record.index_key != record.index_key) {
            let renewed = keys.renew(step.old, &step.record)?;
            let bundle = bundles::replace(repository, step.old, &renewed, (&step.protection, &step.key))?;
            told(Renewed { certificate: step.certificate.clone(), bundle })?;
        }
        Ok(())
    }
}
