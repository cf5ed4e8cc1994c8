//! New secrets for what is stored from now on (format-spec/keys.md, "Rotation").
//!
//! Always true here:
//! - The admin's own bundle is first: once the new secrets are in it, a rotation that is cut short is finished by the next one.
//! - The new secrets follow from the old ones and what admins alone have: two rotations at once have the same, and no data is sealed under
//!   secrets that somebody's bundle has not.
//! - A bundle that was put back, of a key that was taken away or that is in another bundle since, gets nothing: whoever put it there
//!   would have the new secrets.
//! - Every bundle that the log stands by keeps its protection, its certificate and its holder's own key. Nobody has to be asked for a password.
//! - Nothing that is stored is touched; who could read it before still can.

use super::RepoError;
use super::audit::{self, KeyHistory, Standing};
use super::bundles::{self, Bundle};
use super::keyring::{Action, KeyRing};
use super::open::Repository;
use crate::crypto::Secret;
use crate::format::certificate::Certificate;
use crate::format::keys::{KeyRecord, Protection};
use crate::ids::ObjectId;
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
    /// Bundles that should not be there by the log, and whose keys are in other bundles or were taken away: they are deleted.
    pub deleted: Vec<Bundle>,
    /// Bundles that should not be there by the log, of keys whose right bundles are gone: they get no new secrets, and stay.
    pub left_out: Vec<Bundle>,
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
        let mut log = audit::read_all(repository, None)?;
        if let Some((_, error)) = log.damaged.pop() {
            return Err(error);
        }
        let history = KeyHistory::of(&log);
        let stands = |bundle: &Bundle| {
            let standing = history.standing(&bundle.certificate.key, bundle.name.id());
            bundle.name == repository.bundle() || standing == Standing::Current
        };
        let there: Vec<Option<ObjectId>> = list.bundles.iter().map(|bundle| bundle.name.id()).collect();
        let (bundles, strange): (Vec<_>, Vec<_>) = list.bundles.into_iter().partition(stands);
        let is_needless = |bundle: &Bundle| match history.standing(&bundle.certificate.key, bundle.name.id()) {
            Standing::Revoked => true,
            Standing::Replaced(current) => there.contains(&Some(current)),
            Standing::Current => false,
        };
        let (deleted, left_out) = strange.into_iter().partition(is_needless);
        let steps = bundles.into_iter().map(step).collect::<Result<Vec<_>, _>>()?;
        let (mut own, others): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.old == repository.bundle());
        let missing = || RepoError::NoSuchKey { name: repository.keys().certificate().label.clone() };
        let own = own.pop().ok_or_else(missing)?;
        let finishes = others.iter().any(|step| step.record.index_key != own.record.index_key);
        Ok(Self { finishes, deleted, left_out, own, others })
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
        let mut record = own.record.clone();
        let mut tell = |step: &Step, bundle| told(Renewed { certificate: step.certificate.clone(), bundle });
        if self.finishes {
            // The earlier rotation may have ended before it could tell.
            tell(own, own.old)?;
        } else {
            record = repository.keys().begin_epoch(own.old, &own.record)?;
            let place = (&own.protection, &own.key);
            bundles::replace(repository, own.old, &record, place, &mut |bundle| tell(own, bundle))?;
        }
        let malformed = |source| RepoError::Malformed { name: own.old, source };
        let keys = KeyRing::from_record(&record, repository.id()).map_err(malformed)?;
        for step in self.others.iter().filter(|step| step.record.index_key != record.index_key) {
            let renewed = keys.renew(step.old, &step.record)?;
            let place = (&step.protection, &step.key);
            bundles::replace(repository, step.old, &renewed, place, &mut |bundle| tell(step, bundle))?;
        }
        for bundle in &self.deleted {
            match repository.storage().delete(bundle.name) {
                Err(error) if error.is_not_found() => {}
                deleted => deleted?,
            }
        }
        Ok(())
    }
}
