//! Signing objects, and finding out who made one (format-spec/signature.md).
//!
//! Always true here:
//! - Whoever has the index key sees that an object carries the signature of *some* key, and which; whoever keeps the repository sees
//!   that the authority knows that key, and its role.
//! - A key of a role that makes no such objects has not made one: its signature counts for nothing.

use super::RepoError;
use super::keyring::{Action, KeyRing, verified};
use super::open::Repository;
use super::sealing::{self, open_with, seal_to};
use crate::crypto::derive::{self, RecordKind};
use crate::crypto::sign::{self, Purpose, SIGNATURE_LENGTH};
use crate::crypto::{CryptoError, aead};
use crate::format::certificate::Certificate;
use crate::format::object::SealedTo;
use crate::format::signature::SignatureBlock;
use crate::ids::{KeyId, ObjectId};
use crate::names::ObjectName;

/// Signs an object: the block that goes behind its bytes.
pub(super) fn sign(keys: &KeyRing, purpose: Purpose, parts: &[&[u8]]) -> Result<Vec<u8>, CryptoError> {
    let hash = derive::object_id_of_parts(parts);
    let signing = keys.signing();
    let maker = [&signing.id().as_bytes()[..], &signing.sign_hash(purpose, hash.as_bytes())].concat();
    let maker = aead::seal(keys.record_key(RecordKind::Signature).expose(), hash.as_bytes(), &maker)?;
    let certificate = seal_to(keys.catalog(), sealing::Purpose::Maker, hash.as_bytes(), keys.certificate_bytes())?;
    Ok(SignatureBlock { maker: &maker, certificate: &certificate }.encode())
}

/// An object whose signature is that of some key.
#[derive(Debug)]
pub(super) struct Signed {
    bytes: Vec<u8>,
    length: usize,
    hash: ObjectId,
    /// The key that signed.
    pub key: KeyId,
}

impl Signed {
    /// What is signed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Splits an object, and verifies its signature.
    pub(super) fn verify(
        repository: &Repository,
        purpose: Purpose,
        name: ObjectName,
        bytes: Vec<u8>,
    ) -> Result<Self, RepoError> {
        let (signed, block) = SignatureBlock::split(&bytes).map_err(|source| RepoError::Malformed { name, source })?;
        let hash = derive::object_id(signed);
        let key = repository.keys().record_key(RecordKind::Signature);
        let maker = aead::open(key.expose(), hash.as_bytes(), block.maker).map_err(|source| RepoError::Sealed {
            name,
            part: "signature",
            source,
        })?;
        let wrong = || RepoError::Signature { name, source: CryptoError::Signature };
        let (key, signature) = maker.split_first_chunk::<32>().ok_or_else(wrong)?;
        let signature = <&[u8; SIGNATURE_LENGTH]>::try_from(signature).map_err(|_| wrong())?;
        let key = KeyId::new(*key);
        sign::verify_hash(&key, purpose, hash.as_bytes(), signature)
            .map_err(|source| RepoError::Signature { name, source })?;
        let length = signed.len();
        Ok(Self { bytes, length, hash, key })
    }

    /// The certificate of the key that signed, which must be one that may do this.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] without the catalog's key; [`RepoError`] naming the object.
    pub(super) fn maker(
        &self,
        repository: &Repository,
        name: ObjectName,
        may: Action,
    ) -> Result<Certificate, RepoError> {
        let keys = repository.keys();
        let catalog = keys.catalog_key().ok_or_else(|| keys.lacks(Action::KeepRepository))?;
        let malformed = |source| RepoError::Malformed { name, source };
        let (_, block) = SignatureBlock::split(&self.bytes).map_err(malformed)?;
        let sealed = SealedTo::decode("signature", block.certificate).map_err(malformed)?;
        let certificate = open_with(catalog, sealing::Purpose::Maker, self.hash.as_bytes(), &sealed)
            .map_err(|source| RepoError::Sealed { name, part: "maker's certificate", source })?;
        certified(repository, name, self.key, &certificate, may)
    }
}

/// What the authority says of the key that made an object.
pub(super) fn certified(
    repository: &Repository,
    name: ObjectName,
    key: KeyId,
    certificate: &[u8],
    may: Action,
) -> Result<Certificate, RepoError> {
    let certificate = verified(repository.keys().authority(), repository.id(), certificate)
        .map_err(|source| RepoError::Malformed { name, source })?;
    if certificate.key != key || !may.roles().contains(&certificate.role) {
        let Certificate { role, label, .. } = certificate;
        return Err(RepoError::NotEntitled { name, label, role });
    }
    Ok(certificate)
}
