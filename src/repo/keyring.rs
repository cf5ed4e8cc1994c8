//! The keys that an unlocked repository holds, and what follows from them.
//!
//! Always true here:
//! - Which keys are there decides what can be done; what is missing gives [`RepoError::KeyLacks`], which says which roles could.
//! - The certificate of the holder's own key was verified: the authority, which the bundle names, has signed it for this repository.

use super::RepoError;
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::sign::{self, Purpose, SigningKey};
use crate::crypto::{CryptoError, Secret, recipient};
use crate::format::FormatError;
use crate::format::certificate::{Certificate, Role, SignedCertificate};
use crate::format::keys::KeyRecord;
use crate::ids::{ChunkKey, KeyId, RecipientId, RepositoryId};
use minicbor::bytes::ByteVec;
use zeroize::Zeroize;

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
    /// See all snapshots and what they need, as checking and counting does, and the keys that there are.
    KeepRepository,
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
            Self::KeepRepository => "see all snapshots, and the keys that there are",
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
            Self::KeepRepository => &[Role::Operator, Role::Auditor, Role::Admin],
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
    index: Secret,
    reference: Secret,
    trailer: Secret,
    segment: Secret,
    signature: Secret,
    dedup: Option<Secret>,
    recipients: Vec<RecipientId>,
    private: Option<(Secret, RecipientId)>,
    catalog: RecipientId,
    catalog_key: Option<Secret>,
    authority: KeyId,
    authority_seed: Option<Secret>,
    audit: RecipientId,
    audit_key: Option<Secret>,
    signing: SigningKey,
    certificate: Certificate,
    certificate_bytes: Vec<u8>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("role", &self.certificate.role).finish_non_exhaustive()
    }
}

/// What all bundles of a repository have in common, and all that an admin has.
struct Roots<'a> {
    index: &'a Secret,
    dedup: &'a Secret,
    admin: &'a Secret,
    catalog: &'a Secret,
    authority: &'a Secret,
    audit: &'a Secret,
}

impl Roots<'_> {
    /// A bundle's record with what its role needs, and nothing else.
    fn issue(&self, new: &NewKey, repository: RepositoryId, config: &[u8]) -> Result<KeyRecord, CryptoError> {
        let admin = recipient::public_key(self.admin)?;
        let seed = Secret::random()?;
        // A new owner has a key of its own; all admins share the one that opens everything.
        let own = match new.role {
            Role::Owner => Some(recipient::generate()?.0),
            Role::Admin => Some(self.admin.clone()),
            Role::Depositor | Role::Operator | Role::Auditor => None,
        };
        let owner = match new.role {
            Role::Owner => own.as_ref().map(recipient::public_key).transpose()?,
            Role::Depositor => new.owner,
            Role::Operator | Role::Auditor | Role::Admin => None,
        };
        let certificate = Certificate {
            key: SigningKey::from_seed(&seed).id(),
            role: new.role,
            label: new.label.clone(),
            created_ms: new.created_ms,
            owner,
            repository,
        };
        let authority = SigningKey::from_seed(self.authority);
        let record = certificate.encode();
        let signature = authority.sign(Purpose::Certificate, &record);
        let signed = SignedCertificate { record: record.into(), signature: signature.into() };
        let bytes = |secret: &Secret| ByteVec::from(secret.expose().to_vec());
        let stores = Action::Store.roles().contains(&new.role);
        let keeps = Action::KeepRepository.roles().contains(&new.role);
        let recipients = [Some(admin), owner].into_iter().flatten().filter(|_| stores);
        Ok(KeyRecord {
            certificate: signed.encode().into(),
            config: config.to_vec().into(),
            authority: authority.id().as_bytes().to_vec().into(),
            signing_key: bytes(&seed),
            index_key: bytes(self.index),
            catalog: recipient::public_key(self.catalog)?.as_bytes().to_vec().into(),
            recipients: recipients.map(|key| key.as_bytes().to_vec().into()).collect(),
            dedup_secret: stores.then(|| bytes(self.dedup)),
            private_key: own.as_ref().map(bytes),
            catalog_key: keeps.then(|| bytes(self.catalog)),
            authority_key: (new.role == Role::Admin).then(|| bytes(self.authority)),
            audit: recipient::public_key(self.audit)?.as_bytes().to_vec().into(),
            audit_key: Action::ReadLog.roles().contains(&new.role).then(|| bytes(self.audit)),
        })
    }
}

impl KeyRing {
    /// The first keys of a new repository: those of an admin.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn new_admin(
        repository: RepositoryId,
        label: &str,
        created_ms: i64,
        config: &[u8],
    ) -> Result<KeyRecord, CryptoError> {
        let [index, dedup, authority] = [Secret::random()?, Secret::random()?, Secret::random()?];
        let [admin, catalog, audit] = [recipient::generate()?.0, recipient::generate()?.0, recipient::generate()?.0];
        let roots = Roots {
            index: &index,
            dedup: &dedup,
            admin: &admin,
            catalog: &catalog,
            authority: &authority,
            audit: &audit,
        };
        let new = NewKey { role: Role::Admin, label: label.to_owned(), created_ms, owner: None };
        roots.issue(&new, repository, config)
    }

    /// The keys of another bundle, made with those of an admin.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] for the keys of another role, [`RepoError::Crypto`].
    pub fn issue(&self, new: &NewKey, config: &[u8]) -> Result<KeyRecord, RepoError> {
        let lacks = || self.lacks(Action::ManageKeys);
        let roots = Roots {
            index: &self.index,
            dedup: self.dedup.as_ref().ok_or_else(lacks)?,
            admin: self.private.as_ref().map(|(private, _)| private).ok_or_else(lacks)?,
            catalog: self.catalog_key.as_ref().ok_or_else(lacks)?,
            authority: self.authority_seed.as_ref().ok_or_else(lacks)?,
            audit: self.audit_key.as_ref().ok_or_else(lacks)?,
        };
        Ok(roots.issue(new, self.certificate.repository, config)?)
    }

    /// The keys of an opened bundle of this repository.
    ///
    /// # Errors
    /// [`FormatError`] for a certificate that does not decode, is not this key's or repository's, or was not signed by the
    /// authority.
    pub fn from_record(record: &KeyRecord, repository: RepositoryId) -> Result<Self, FormatError> {
        let secret = |bytes: &ByteVec| {
            // Decoding has checked the length.
            let mut array = <[u8; 32]>::try_from(bytes.as_slice()).unwrap_or_default();
            let secret = Secret::new(array);
            array.zeroize();
            secret
        };
        let optional = |field: &Option<ByteVec>| field.as_ref().map(secret);
        let public = |bytes: &ByteVec| <[u8; 32]>::try_from(bytes.as_slice()).unwrap_or_default();
        let wrong = |reason: &str| FormatError::record("key bundle", reason);
        let authority = KeyId::new(public(&record.authority));
        let certificate = verified(&authority, repository, &record.certificate)?;
        let signing = SigningKey::from_seed(&secret(&record.signing_key));
        if certificate.key != signing.id() {
            return Err(wrong("its certificate is that of another key"));
        }
        let private = match optional(&record.private_key) {
            Some(private) => {
                let public = recipient::public_key(&private).map_err(|_| wrong("its private key is none"))?;
                Some((private, public))
            }
            None => None,
        };
        let index = secret(&record.index_key);
        Ok(Self {
            reference: derive::reference_secret(&index),
            trailer: derive::record_key(&index, RecordKind::PackTrailer),
            segment: derive::record_key(&index, RecordKind::IndexSegment),
            signature: derive::record_key(&index, RecordKind::Signature),
            index,
            dedup: optional(&record.dedup_secret),
            recipients: record.recipients.iter().map(|key| RecipientId::new(public(key))).collect(),
            private,
            catalog: RecipientId::new(public(&record.catalog)),
            catalog_key: optional(&record.catalog_key),
            authority,
            authority_seed: optional(&record.authority_key),
            audit: RecipientId::new(public(&record.audit)),
            audit_key: optional(&record.audit_key),
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
        let enough = match action {
            Action::Store => self.dedup.is_some() && !self.recipients.is_empty(),
            Action::ReadSnapshots => self.private.is_some() && self.dedup.is_some(),
            Action::ListSnapshots => self.catalog_key.is_some() || self.private.is_some(),
            Action::KeepRepository => self.catalog_key.is_some(),
            Action::ManageKeys => self.authority_seed.is_some(),
            Action::Log => true,
            Action::ReadLog => self.audit_key.is_some(),
        };
        if enough { Ok(()) } else { Err(self.lacks(action)) }
    }

    /// The key for records of this kind.
    pub const fn record_key(&self, kind: RecordKind) -> &Secret {
        match kind {
            RecordKind::PackTrailer => &self.trailer,
            RecordKind::IndexSegment => &self.segment,
            RecordKind::Signature => &self.signature,
        }
    }

    /// The key of the chunk with this content.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] without the dedup secret.
    pub fn chunk_key(&self, domain: Domain, plain: &[u8]) -> Result<ChunkKey, RepoError> {
        let secret = match domain {
            Domain::Reference => &self.reference,
            Domain::Data => self.dedup.as_ref().ok_or_else(|| self.lacks(Action::ReadSnapshots))?,
        };
        Ok(derive::chunk_key(secret, plain))
    }

    /// The public keys to which snapshots are sealed.
    pub fn recipients(&self) -> &[RecipientId] {
        &self.recipients
    }

    /// The private key of this holder, and its public one.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] where there is none.
    pub fn private(&self) -> Result<(&Secret, RecipientId), RepoError> {
        let (private, public) = self.private.as_ref().ok_or_else(|| self.lacks(Action::ReadSnapshots))?;
        Ok((private, *public))
    }

    /// The public key to which the operator's parts of snapshots are sealed.
    pub const fn catalog(&self) -> &RecipientId {
        &self.catalog
    }

    /// The private key that opens the operator's parts of snapshots, where it is there.
    pub const fn catalog_key(&self) -> Option<&Secret> {
        self.catalog_key.as_ref()
    }

    /// The public key to which the records of audit entries are sealed.
    pub const fn audit(&self) -> &RecipientId {
        &self.audit
    }

    /// The private key that opens the records of audit entries, where it is there.
    pub const fn audit_key(&self) -> Option<&Secret> {
        self.audit_key.as_ref()
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
