//! The keys that an unlocked repository holds, and what follows from them.
//!
//! Always true here: which keys are there decides what can be done; what is missing gives
//! [`RepoError::KeyLacks`], which says what would be needed.

use super::RepoError;
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::{CryptoError, Secret, recipient};
use crate::format::FormatError;
use crate::format::keys::KeyRecord;
use crate::ids::{ChunkKey, RecipientId};
use zeroize::Zeroize;

/// Which secret the keys of chunks follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Data and manifests: the dedup secret.
    Data,
    /// Reference lists: the secret that follows from the index key.
    Reference,
}

/// Keys in use. Wipes itself; prints nothing.
pub struct KeyRing {
    dedup: Option<Secret>,
    reference: Secret,
    trailer: Secret,
    segment: Secret,
    operator: Secret,
    recipients: Vec<RecipientId>,
    private: Option<Secret>,
    role: String,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("role", &self.role).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The first keys of a new repository: those of an admin.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn new_admin(label: &str, created_ms: i64, config: Vec<u8>) -> Result<KeyRecord, CryptoError> {
        let (private, public) = recipient::generate()?;
        let bytes = |secret: &Secret| Some(secret.expose().to_vec().into());
        Ok(KeyRecord {
            role: "admin".to_owned(),
            label: label.to_owned(),
            created_ms,
            config: config.into(),
            index_key: bytes(&Secret::random()?),
            dedup_secret: bytes(&Secret::random()?),
            recipients: vec![public.as_bytes().to_vec().into()],
            private_key: bytes(&private),
        })
    }

    /// The keys of an opened bundle.
    ///
    /// # Errors
    /// [`FormatError::Field`] when the index key, which every role has, is not there.
    pub fn from_record(record: &KeyRecord) -> Result<Self, FormatError> {
        let secret = |bytes: &[u8]| {
            let mut array = <[u8; 32]>::try_from(bytes).ok()?;
            let secret = Secret::new(array);
            array.zeroize();
            Some(secret)
        };
        let optional = |field: &Option<minicbor::bytes::ByteVec>| field.as_ref().and_then(|bytes| secret(bytes));
        let missing =
            FormatError::Field { structure: "key bundle", field: "index key", expected: "32 bytes", found: 0 };
        let index_key = optional(&record.index_key).ok_or(missing)?;
        let recipients = record.recipients.iter().filter_map(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
        Ok(Self {
            dedup: optional(&record.dedup_secret),
            reference: derive::reference_secret(&index_key),
            trailer: derive::record_key(&index_key, RecordKind::PackTrailer),
            segment: derive::record_key(&index_key, RecordKind::IndexSegment),
            operator: derive::record_key(&index_key, RecordKind::SnapshotOperator),
            recipients: recipients.map(RecipientId::new).collect(),
            private: optional(&record.private_key),
            role: record.role.clone(),
        })
    }

    /// The key for records of this kind.
    pub const fn record_key(&self, kind: RecordKind) -> &Secret {
        match kind {
            RecordKind::PackTrailer => &self.trailer,
            RecordKind::IndexSegment => &self.segment,
            RecordKind::SnapshotOperator => &self.operator,
        }
    }

    /// The key of the chunk with this content.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] without the dedup secret.
    pub fn chunk_key(&self, domain: Domain, plain: &[u8]) -> Result<ChunkKey, RepoError> {
        let secret = match domain {
            Domain::Reference => &self.reference,
            Domain::Data => self
                .dedup
                .as_ref()
                .ok_or(RepoError::KeyLacks { action: "store or verify data", lacks: "dedup secret" })?,
        };
        Ok(derive::chunk_key(secret, plain))
    }

    /// The public keys to which snapshots are sealed.
    pub fn recipients(&self) -> &[RecipientId] {
        &self.recipients
    }

    /// The private key of this holder.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] where there is none.
    pub fn private(&self) -> Result<&Secret, RepoError> {
        self.private.as_ref().ok_or(RepoError::KeyLacks { action: "read snapshots", lacks: "private key" })
    }

    /// The role, in words.
    pub fn role(&self) -> &str {
        &self.role
    }
}
