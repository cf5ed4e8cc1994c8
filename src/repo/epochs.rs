//! The secrets of a repository, and those that a rotation replaced (format-spec/keys.md, "Rotation").
//!
//! Always true here: the newest epoch comes first, and it alone seals; the others open what was sealed before.

use crate::crypto::derive::{self, RecordKind, Rotated};
use crate::crypto::{CryptoError, Secret, recipient};
use crate::format::keys::{EarlierSecrets, KeyRecord};
use minicbor::bytes::ByteVec;
use zeroize::Zeroize;

/// The secrets of one epoch, as far as a role has them, and what follows from them.
pub(super) struct Epoch {
    pub index: Secret,
    pub dedup: Option<Secret>,
    /// The private key of this holder: the admins', which changes, or an owner's own.
    pub private: Option<Secret>,
    pub catalog: Option<Secret>,
    pub audit: Option<Secret>,
    pub reference: Secret,
    trailer: Secret,
    segment: Secret,
    signature: Secret,
    session: Secret,
    retirement: Secret,
    facts: Secret,
}

impl Epoch {
    /// An epoch of these secrets.
    fn new(index: Secret, [dedup, private, catalog, audit]: [Option<Secret>; 4]) -> Self {
        Self {
            reference: derive::reference_secret(&index),
            trailer: derive::record_key(&index, RecordKind::PackTrailer),
            segment: derive::record_key(&index, RecordKind::IndexSegment),
            signature: derive::record_key(&index, RecordKind::Signature),
            session: derive::record_key(&index, RecordKind::Session),
            retirement: derive::record_key(&index, RecordKind::Retirement),
            facts: derive::record_key(&index, RecordKind::AuditFacts),
            index,
            dedup,
            private,
            catalog,
            audit,
        }
    }

    /// New secrets, as an admin has them.
    pub(super) fn random() -> Result<Self, CryptoError> {
        let private = || recipient::generate().map(|(private, _)| Some(private));
        Ok(Self::new(Secret::random()?, [Some(Secret::random()?), private()?, private()?, private()?]))
    }

    /// The secrets that come behind these, as an admin has them.
    pub(super) fn next(&self, authority_seed: &Secret) -> Self {
        let new = |what| derive::rotated(authority_seed, &self.index, what);
        let others = [Rotated::DedupSecret, Rotated::AdminsKey, Rotated::CatalogKey, Rotated::AuditKey];
        Self::new(new(Rotated::IndexKey), others.map(|what| Some(new(what))))
    }

    /// The epochs of an opened bundle, newest first.
    pub(super) fn of_record(record: &KeyRecord) -> Vec<Self> {
        let optional = |field: &Option<ByteVec>| field.as_ref().map(secret);
        let newest = [&record.dedup_secret, &record.private_key, &record.catalog_key, &record.audit_key];
        let newest = Self::new(secret(&record.index_key), newest.map(optional));
        let earlier = record.earlier.iter().map(|earlier| {
            let keys = [&earlier.dedup_secret, &earlier.private_key, &earlier.catalog_key, &earlier.audit_key];
            Self::new(secret(&earlier.index_key), keys.map(optional))
        });
        std::iter::once(newest).chain(earlier).collect()
    }

    /// The epoch as a bundle keeps it once it is over: for those who read data, who are admins, who keep the repository, who read the
    /// log.
    pub(super) fn earlier(&self, [reads, is_admin, keeps, audits]: [bool; 4]) -> EarlierSecrets {
        let kept = |secret: &Option<Secret>, wanted: bool| secret.as_ref().filter(|_| wanted).map(bytes);
        EarlierSecrets {
            index_key: bytes(&self.index),
            dedup_secret: kept(&self.dedup, reads),
            private_key: kept(&self.private, is_admin),
            catalog_key: kept(&self.catalog, keeps),
            audit_key: kept(&self.audit, audits),
        }
    }

    /// The key for records of this kind.
    pub(super) const fn record_key(&self, kind: RecordKind) -> &Secret {
        match kind {
            RecordKind::PackTrailer => &self.trailer,
            RecordKind::IndexSegment => &self.segment,
            RecordKind::Signature => &self.signature,
            RecordKind::Session => &self.session,
            RecordKind::Retirement => &self.retirement,
            RecordKind::AuditFacts => &self.facts,
        }
    }
}

/// A secret of a record whose lengths were checked when it was decoded.
pub(super) fn secret(bytes: &ByteVec) -> Secret {
    let mut array = <[u8; 32]>::try_from(bytes.as_slice()).unwrap_or_default();
    let secret = Secret::new(array);
    array.zeroize();
    secret
}

/// A secret's bytes, for a record that wipes itself.
pub(super) fn bytes(secret: &Secret) -> ByteVec {
    ByteVec::from(secret.expose().to_vec())
}
