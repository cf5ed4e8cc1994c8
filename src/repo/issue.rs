//! Making the record of a key: what its role needs, and nothing from which more could be derived (format-spec/keys.md).
//!
//! Always true here: a role's secrets are chosen in one place, for a new key and for one that a rotation brings up to date.

use super::RepoError;
use super::epochs::{Epoch, bytes, secret};
use super::keyring::{Action, KeyRing, NewKey, verified};
use crate::crypto::sign::{Purpose, SigningKey};
use crate::crypto::{CryptoError, Secret, recipient};
use crate::format::certificate::{Certificate, Role, SignedCertificate};
use crate::format::keys::KeyRecord;
use crate::ids::{RecipientId, RepositoryId};
use crate::names::ObjectName;

/// All that an admin has.
struct Roots<'a> {
    epochs: &'a [Epoch],
    authority: &'a Secret,
    repository: RepositoryId,
    config: &'a [u8],
}

/// What is a key's own.
struct Own {
    seed: Secret,
    certificate: Vec<u8>,
    role: Role,
    /// The public key to which its snapshots are sealed beside the admins'.
    owner: Option<RecipientId>,
    /// An owner's private key.
    private: Option<Secret>,
}

impl Roots<'_> {
    /// Makes what is a new key's own.
    fn own(&self, new: &NewKey) -> Result<Own, CryptoError> {
        let seed = Secret::random()?;
        let pair = if new.role == Role::Owner { Some(recipient::generate()?) } else { None };
        let (private, public) = pair.map_or((None, None), |(private, public)| (Some(private), Some(public)));
        let owner = if new.role == Role::Depositor { new.owner } else { public };
        let certificate = Certificate {
            key: SigningKey::from_seed(&seed).id(),
            role: new.role,
            label: new.label.clone(),
            created_ms: new.created_ms,
            owner,
            repository: self.repository,
        };
        let record = certificate.encode();
        let signature = SigningKey::from_seed(self.authority).sign(Purpose::Certificate, &record);
        let certificate = SignedCertificate { record: record.into(), signature: signature.into() }.encode();
        Ok(Own { seed, certificate, role: new.role, owner, private })
    }

    /// The record of a key.
    fn record(&self, own: &Own) -> Result<KeyRecord, CryptoError> {
        let role = own.role;
        let [stores, reads, is_admin, keeps, audits] =
            [Action::Store, Action::ReadSnapshots, Action::ManageKeys, Action::KeepRepository, Action::ReadLog]
                .map(|action| action.roles().contains(&role));
        let (newest, earlier) = self.epochs.split_first().ok_or(CryptoError::InvalidPublicKey)?;
        let public = |private: &Option<Secret>| {
            private.as_ref().ok_or(CryptoError::InvalidPublicKey).and_then(recipient::public_key)
        };
        let some = |secret: &Option<Secret>, wanted: bool| secret.as_ref().filter(|_| wanted).map(bytes);
        let recipients = [Some(public(&newest.private)?), own.owner].into_iter().flatten();
        Ok(KeyRecord {
            certificate: own.certificate.clone().into(),
            config: self.config.to_vec().into(),
            authority: SigningKey::from_seed(self.authority).id().as_bytes().to_vec().into(),
            signing_key: bytes(&own.seed),
            index_key: bytes(&newest.index),
            catalog: public(&newest.catalog)?.as_bytes().to_vec().into(),
            recipients: recipients.map(|key| key.as_bytes().to_vec().into()).collect(),
            dedup_secret: some(&newest.dedup, stores),
            // All admins share the key that opens everything; an owner has one of its own.
            private_key: some(&newest.private, is_admin).or_else(|| own.private.as_ref().map(bytes)),
            catalog_key: some(&newest.catalog, keeps),
            authority_key: is_admin.then(|| bytes(self.authority)),
            audit: public(&newest.audit)?.as_bytes().to_vec().into(),
            audit_key: some(&newest.audit, audits),
            earlier: earlier.iter().map(|epoch| epoch.earlier([reads, is_admin, keeps, audits])).collect(),
        })
    }
}

impl KeyRing {
    /// The first key of a new repository: that of an admin.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn new_admin(
        repository: RepositoryId,
        label: &str,
        created_ms: i64,
        config: &[u8],
    ) -> Result<KeyRecord, CryptoError> {
        let (epochs, authority) = ([Epoch::random()?], Secret::random()?);
        let roots = Roots { epochs: &epochs, authority: &authority, repository, config };
        let new = NewKey { role: Role::Admin, label: label.to_owned(), created_ms, owner: None };
        roots.record(&roots.own(&new)?)
    }

    fn roots<'a>(&'a self, epochs: &'a [Epoch], config: &'a [u8]) -> Result<Roots<'a>, RepoError> {
        let authority = self.authority_seed().ok_or_else(|| self.lacks(Action::ManageKeys))?;
        Ok(Roots { epochs, authority, repository: self.certificate().repository, config })
    }

    /// The record of another key, made with those of an admin.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] for the keys of another role, [`RepoError::Crypto`].
    pub fn issue(&self, new: &NewKey, config: &[u8]) -> Result<KeyRecord, RepoError> {
        let roots = self.roots(self.epochs(), config)?;
        Ok(roots.record(&roots.own(new)?)?)
    }

    /// The record of a key that is there, with the secrets as an admin has them now.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] for the keys of another role; [`RepoError::Malformed`] for a record whose certificate is none of this
    /// repository's.
    pub(super) fn renew(&self, name: ObjectName, record: &KeyRecord) -> Result<KeyRecord, RepoError> {
        let roots = self.roots(self.epochs(), &record.config)?;
        Ok(roots.record(&self.own_of(name, record)?)?)
    }

    /// The record of the key in use, with a new epoch before all others.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub(super) fn begin_epoch(&self, name: ObjectName, record: &KeyRecord) -> Result<KeyRecord, RepoError> {
        let mut epochs = Epoch::of_record(record);
        let seed = self.authority_seed().ok_or_else(|| self.lacks(Action::ManageKeys))?;
        let next = epochs.first().map(|newest| newest.next(seed));
        epochs.splice(0..0, next);
        let roots = self.roots(&epochs, &record.config)?;
        Ok(roots.record(&self.own_of(name, record)?)?)
    }

    fn own_of(&self, name: ObjectName, record: &KeyRecord) -> Result<Own, RepoError> {
        let certificate = verified(self.authority(), self.certificate().repository, &record.certificate)
            .map_err(|source| RepoError::Malformed { name, source })?;
        let private = record.private_key.as_ref().filter(|_| certificate.role == Role::Owner).map(secret);
        Ok(Own {
            seed: secret(&record.signing_key),
            certificate: record.certificate.to_vec(),
            role: certificate.role,
            owner: certificate.owner,
            private,
        })
    }
}
