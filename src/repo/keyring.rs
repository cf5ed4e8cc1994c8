//! The keys that an unlocked repository holds, and what follows from them.
//!
//! Always true here:
//! - Which keys are there decides what can be done; what is missing gives [`RepoError::KeyLacks`], which says which roles could.
//! - The certificate of the holder's own key was verified: the authority, which the bundle names, has signed it for this repository.

use super::RepoError;
use super::epochs::{Epoch, secret};
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::sign::{self, Purpose, SigningKey};
use crate::crypto::{CryptoError, Secret, aead, recipient};
use crate::format::FormatError;
use crate::format::certificate::{Certificate, Role, SignedCertificate};
use crate::format::keys::KeyRecord;
use crate::ids::{ChunkKey, KeyId, RecipientId, RepositoryId};
use minicbor::bytes::ByteVec;

/// Which secret the keys of chunks follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Data and manifests: the dedup secret.
    Data,
    /// Reference lists: the secret that follows from the index key.
    Reference,
}

/// What is done with keys, and who can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Find out what is stored, and store more of it.
    Store,
    /// Read the disks of snapshots.
    ReadSnapshots,
    /// See which snapshots there are.
    ListSnapshots,
    /// Say in the index which packs hold which chunks.
    ListPacks,
    /// Mend what is damaged, and move it aside.
    Repair,
    /// Take away what no snapshot needs.
    Prune,
    /// See all snapshots and what they need, as checking and counting does, and the keys that there are.
    KeepRepository,
    /// Let snapshots go, and say of any that it is to be kept.
    ForgetSnapshots,
    /// Say of a snapshot that it is to be kept: of those of this key, or of any.
    PinSnapshots,
    /// Make keys, and take them away.
    ManageKeys,
    /// Say in the audit log what was done.
    Log,
    /// Read the audit log.
    ReadLog,
}

impl Action {
    const fn words(self) -> &'static str {
        match self {
            Self::Store => "back up",
            Self::ReadSnapshots => "read what is in snapshots",
            Self::ListSnapshots => "list snapshots",
            Self::ListPacks => "list packs in the index",
            Self::Repair => "repair the repository",
            Self::Prune => "prune",
            Self::KeepRepository => "see all snapshots, and the keys that there are",
            Self::ForgetSnapshots => "forget snapshots",
            Self::PinSnapshots => "pin snapshots",
            Self::ManageKeys => "manage keys",
            Self::Log => "write to the audit log",
            Self::ReadLog => "read the audit log",
        }
    }

    /// The roles whose keys can.
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Store => &[Role::Depositor, Role::Owner, Role::Admin],
            Self::ReadSnapshots => &[Role::Owner, Role::Admin],
            Self::ListSnapshots => &[Role::Owner, Role::Operator, Role::Auditor, Role::Admin],
            Self::ListPacks => &[Role::Depositor, Role::Owner, Role::Operator, Role::Admin],
            Self::Repair | Self::Prune => &[Role::Operator, Role::Admin],
            Self::KeepRepository => &[Role::Operator, Role::Auditor, Role::Admin],
            Self::ForgetSnapshots => &[Role::Operator, Role::Admin],
            Self::PinSnapshots => &[Role::Owner, Role::Operator, Role::Admin],
            Self::ManageKeys => &[Role::Admin],
            Self::Log => &Role::ALL,
            Self::ReadLog => &[Role::Auditor, Role::Admin],
        }
    }

    /// The roles in a sentence, as in "an owner or admin".
    pub fn could(self) -> String {
        let names: Vec<&str> = self.roles().iter().map(|role| role.name()).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words())
    }
}

/// What a new key is made for.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its role.
    pub role: Role,
    /// What a person calls it.
    pub label: String,
    /// When it is made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// For a depositor: the owner who may read what it deposits.
    pub owner: Option<RecipientId>,
}

/// Keys in use. Wipes itself; prints nothing.
pub struct KeyRing {
    /// The newest first; there is one at least.
    epochs: Vec<Epoch>,
    recipients: Vec<RecipientId>,
    /// The private keys of this holder, with their public ones.
    privates: Vec<(Secret, RecipientId)>,
    catalog: RecipientId,
    authority: KeyId,
    authority_seed: Option<Secret>,
    audit: RecipientId,
    signing: SigningKey,
    certificate: Certificate,
    certificate_bytes: Vec<u8>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("role", &self.certificate.role).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The keys of an opened bundle of this repository.
    ///
    /// # Errors
    /// [`FormatError`] for a certificate that does not decode, is not this key's or repository's, or was not signed by the
    /// authority.
    pub fn from_record(record: &KeyRecord, repository: RepositoryId) -> Result<Self, FormatError> {
        let public = |bytes: &ByteVec| <[u8; 32]>::try_from(bytes.as_slice()).unwrap_or_default();
        let wrong = |reason: &str| FormatError::record("key bundle", reason);
        let authority = KeyId::new(public(&record.authority));
        let certificate = verified(&authority, repository, &record.certificate)?;
        let signing = SigningKey::from_seed(&secret(&record.signing_key));
        if certificate.key != signing.id() {
            return Err(wrong("its certificate is that of another key"));
        }
        let epochs = Epoch::of_record(record);
        let privates = epochs.iter().filter_map(|epoch| epoch.private.as_ref()).map(|private| {
            let public = recipient::public_key(private).map_err(|_| wrong("its private key is none"))?;
            Ok((private.clone(), public))
        });
        Ok(Self {
            privates: privates.collect::<Result<_, FormatError>>()?,
            epochs,
            recipients: record.recipients.iter().map(|key| RecipientId::new(public(key))).collect(),
            catalog: RecipientId::new(public(&record.catalog)),
            authority,
            authority_seed: record.authority_key.as_ref().map(secret),
            audit: RecipientId::new(public(&record.audit)),
            signing,
            certificate,
            certificate_bytes: record.certificate.to_vec(),
        })
    }

    /// The error of an action for which these keys are not enough.
    pub fn lacks(&self, action: Action) -> RepoError {
        RepoError::KeyLacks { role: self.role(), action }
    }

    /// Says whether these keys are enough, before anything is begun.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`].
    pub fn require(&self, action: Action) -> Result<(), RepoError> {
        let newest = self.newest();
        let enough = match action {
            Action::Store => newest.dedup.is_some() && !self.recipients.is_empty(),
            Action::ReadSnapshots => newest.private.is_some() && newest.dedup.is_some(),
            Action::ListSnapshots => newest.catalog.is_some() || newest.private.is_some(),
            Action::ListPacks => Action::ListPacks.roles().contains(&self.role()),
            Action::Repair | Action::Prune => newest.catalog.is_some() && action.roles().contains(&self.role()),
            Action::KeepRepository => newest.catalog.is_some(),
            // No secret lets objects be deleted: it is the word of a key of such a role in the log that makes it right.
            Action::ForgetSnapshots | Action::PinSnapshots => action.roles().contains(&self.role()),
            Action::ManageKeys => self.authority_seed.is_some(),
            Action::Log => true,
            Action::ReadLog => newest.audit.is_some(),
        };
        if enough { Ok(()) } else { Err(self.lacks(action)) }
    }

    /// The secrets that seal.
    #[allow(clippy::indexing_slicing, reason = "a record has one epoch at least, by its type")]
    fn newest(&self) -> &Epoch {
        &self.epochs[0]
    }

    /// All secrets, the newest first.
    pub(super) fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The key under which records of this kind are sealed.
    pub fn record_key(&self, kind: RecordKind) -> &Secret {
        self.newest().record_key(kind)
    }

    /// Opens a record of this kind, of whatever epoch.
    ///
    /// # Errors
    /// [`CryptoError`] where no epoch's key opens it.
    pub fn open_record(&self, kind: RecordKind, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut failure = CryptoError::Authentication;
        for epoch in &self.epochs {
            match aead::open(epoch.record_key(kind).expose(), associated, sealed) {
                Ok(plain) => return Ok(plain),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The key of the chunk with this content.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] without the dedup secret.
    pub fn chunk_key(&self, domain: Domain, plain: &[u8]) -> Result<ChunkKey, RepoError> {
        let secret = match domain {
            Domain::Reference => &self.newest().reference,
            Domain::Data => self.newest().dedup.as_ref().ok_or_else(|| self.lacks(Action::ReadSnapshots))?,
        };
        Ok(derive::chunk_key(secret, plain))
    }

    /// The keys that the chunk with this content has in each epoch whose secret is there, the newest first, with the number of the epoch.
    pub fn chunk_keys(&self, domain: Domain, plain: &[u8]) -> impl Iterator<Item = (usize, ChunkKey)> {
        let secrets = self.epochs.iter().enumerate().filter_map(move |(number, epoch)| match domain {
            Domain::Reference => Some((number, &epoch.reference)),
            Domain::Data => epoch.dedup.as_ref().map(|secret| (number, secret)),
        });
        secrets.map(move |(number, secret)| (number, derive::chunk_key(secret, plain)))
    }

    /// Says whether this is the key of the chunk with this content, in whatever epoch.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] without a dedup secret.
    pub fn is_key_of(&self, domain: Domain, plain: &[u8], key: &ChunkKey) -> Result<bool, RepoError> {
        let secrets = self.epochs.iter().filter_map(|epoch| match domain {
            Domain::Reference => Some(&epoch.reference),
            Domain::Data => epoch.dedup.as_ref(),
        });
        let mut secrets = secrets.peekable();
        if secrets.peek().is_none() {
            return Err(self.lacks(Action::ReadSnapshots));
        }
        Ok(secrets.any(|secret| derive::chunk_key(secret, plain) == *key))
    }

    /// The public keys to which snapshots are sealed.
    pub fn recipients(&self) -> &[RecipientId] {
        &self.recipients
    }

    /// The private keys of this holder, and their public ones.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] where there is none.
    pub fn privates(&self) -> Result<&[(Secret, RecipientId)], RepoError> {
        if self.privates.is_empty() { Err(self.lacks(Action::ReadSnapshots)) } else { Ok(&self.privates) }
    }

    /// The public key to which the operator's parts of snapshots are sealed.
    pub const fn catalog(&self) -> &RecipientId {
        &self.catalog
    }

    /// The private keys that open the operator's parts of snapshots; none where the role has none.
    pub fn catalog_keys(&self) -> impl Iterator<Item = &Secret> {
        self.epochs.iter().filter_map(|epoch| epoch.catalog.as_ref())
    }

    /// The public key to which the records of audit entries are sealed.
    pub const fn audit(&self) -> &RecipientId {
        &self.audit
    }

    /// The private keys that open the records of audit entries; none where the role has none.
    pub fn audit_keys(&self) -> impl Iterator<Item = &Secret> {
        self.epochs.iter().filter_map(|epoch| epoch.audit.as_ref())
    }

    /// The seed of the authority's key, where it is there.
    pub(super) const fn authority_seed(&self) -> Option<&Secret> {
        self.authority_seed.as_ref()
    }

    /// The authority's public key, with which certificates are checked.
    pub const fn authority(&self) -> &KeyId {
        &self.authority
    }

    /// What the authority says of this key.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The bytes of this key's certificate, with the authority's signature.
    pub fn certificate_bytes(&self) -> &[u8] {
        &self.certificate_bytes
    }

    /// The key that signs for this holder.
    pub(super) const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.certificate.role
    }
}

/// Reads a certificate and checks that the authority signed it, for this repository.
///
/// # Errors
/// [`FormatError`].
pub fn verified(authority: &KeyId, repository: RepositoryId, bytes: &[u8]) -> Result<Certificate, FormatError> {
    let signed = SignedCertificate::decode(bytes)?;
    sign::verify(authority, Purpose::Certificate, &signed.record, &signed.signature)
        .map_err(|error| FormatError::record("certificate", error))?;
    let certificate = signed.certificate()?;
    if certificate.repository != repository {
        return Err(FormatError::record("certificate", format!("it is for repository {}", certificate.repository)));
    }
    Ok(certificate)
}
