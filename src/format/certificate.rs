//! Certificates: what the repository's authority says of a key (format-spec/certificate.md).
//!
//! Always true here:
//! - What is signed are the record's bytes as they are stored; they are not encoded again.
//! - A certificate that decoded is not verified: who uses one checks its signature with the authority's key.

use super::{FormatError, decode_record, encode_record};
use crate::ids::{KeyId, RecipientId};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

const STRUCTURE: &str = "certificate";

/// What the holder of a key is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Adds snapshots; reads nothing.
    Depositor,
    /// Adds snapshots, and reads those that were sealed to its own key.
    Owner,
    /// Keeps the repository: checks, counts, lets go; reads no data.
    Operator,
    /// Checks everything and reads the audit log; changes nothing and reads no data.
    Auditor,
    /// Everything, keys included.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Depositor, Self::Owner, Self::Operator, Self::Auditor, Self::Admin];

    /// The role as it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Depositor => "depositor",
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// Reads a role's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the authority says of a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CertificateRecord {
    /// The key's identity.
    #[n(0)]
    pub key: ByteArray<32>,
    /// Its role, by name.
    #[n(1)]
    pub role: String,
    /// What a person calls it.
    #[n(2)]
    pub label: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    #[n(3)]
    pub created_ms: i64,
    /// The X25519 public key to which snapshots are sealed for an owner: its own, or for a depositor that of the one it works for.
    #[n(4)]
    pub owner: Option<ByteArray<32>>,
    /// The identity of the repository.
    #[n(5)]
    pub repository: ByteArray<16>,
}

/// A certificate: a record, and the authority's signature of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignedCertificate {
    /// The bytes of a [`CertificateRecord`].
    #[n(0)]
    pub record: ByteVec,
    /// The signature of these bytes.
    #[n(1)]
    pub signature: ByteArray<64>,
}

/// A certificate whose fields are understood. Its signature is another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The key's identity.
    pub key: KeyId,
    /// Its role.
    pub role: Role,
    /// What a person calls it.
    pub label: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// To whom its snapshots are sealed beside the admin, if to anybody.
    pub owner: Option<RecipientId>,
    /// The identity of the repository.
    pub repository: crate::ids::RepositoryId,
}

impl Certificate {
    /// The record's bytes, to be signed.
    pub fn encode(&self) -> Vec<u8> {
        encode_record(&CertificateRecord {
            key: (*self.key.as_bytes()).into(),
            role: self.role.name().to_owned(),
            label: self.label.clone(),
            created_ms: self.created_ms,
            owner: self.owner.map(|owner| (*owner.as_bytes()).into()),
            repository: (*self.repository.as_bytes()).into(),
        })
    }
}

impl SignedCertificate {
    /// The bytes of both.
    pub fn encode(&self) -> Vec<u8> {
        encode_record(self)
    }

    /// Reads a certificate with its signature.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode_record(STRUCTURE, bytes)
    }

    /// What the record says.
    ///
    /// # Errors
    /// [`FormatError`]: a record that does not decode, or a role that this program does not know.
    pub fn certificate(&self) -> Result<Certificate, FormatError> {
        let record: CertificateRecord = decode_record(STRUCTURE, &self.record)?;
        let role = Role::parse(&record.role).ok_or_else(|| {
            FormatError::record(STRUCTURE, format!("the role `{}` is not known", record.role.escape_debug()))
        })?;
        Ok(Certificate {
            key: KeyId::new(*record.key),
            role,
            label: record.label,
            created_ms: record.created_ms,
            owner: record.owner.map(|owner| RecipientId::new(*owner)),
            repository: crate::ids::RepositoryId::new(*record.repository),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        Certificate {
            key: KeyId::new([1; 32]),
            role: Role::Owner,
            label: "ana".to_owned(),
            created_ms: 5,
            owner: Some(RecipientId::new([2; 32])),
            repository: crate::ids::RepositoryId::new([3; 16]),
        }
    }

    #[test]
    fn certificates_round_trip_and_an_unknown_role_is_refused() {
        let signed = SignedCertificate { record: certificate().encode().into(), signature: [4; 64].into() };
        let again = SignedCertificate::decode(&signed.encode()).expect("decodes");
        assert_eq!((again.certificate(), &again), (Ok(certificate()), &signed));
        let strange = String::from_utf8_lossy(&signed.record).into_owned();
        assert!(strange.contains("owner"));
        let at = signed.record.windows(5).position(|window| window == b"owner").expect("the role");
        let mut record = signed.record.to_vec();
        record[at] = b'X';
        let strange = SignedCertificate { record: record.into(), signature: [4; 64].into() };
        assert!(matches!(strange.certificate(), Err(FormatError::Record { .. })));
    }

    #[test]
    fn every_role_reads_back() {
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.name()) == Some(role)));
        assert_eq!(Role::parse("root"), None);
    }
}
