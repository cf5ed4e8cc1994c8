//! Opening and verifying by hand, as the chapters say it.

use super::examples::{self, chunk_associated};
use sheaf::crypto::derive::{self, RecordKind};
use sheaf::crypto::password::{Password, PasswordCost, password_key};
use sheaf::crypto::recipient::{self, SealedKey};
use sheaf::crypto::sign::{self, Purpose};
use sheaf::crypto::{Secret, aead};
use sheaf::format::certificate::SignedCertificate;
use sheaf::format::keys::{KeyRecord, Protection, SealedBundle};
use sheaf::format::object::SealedTo;
use sheaf::format::pack::PackEntry;
use sheaf::format::signature::SignatureBlock;
use sheaf::ids::ChunkKey;

/// The key that the example's password gives to a bundle, as keys.md says.
pub(crate) fn bundle_key(bundle: &SealedBundle<'_>) -> Secret {
    let Protection::Password { memory_kib, passes, lanes, salt } = bundle.protection else {
        panic!("a password was expected");
    };
    let password = Password::new(examples::PASSWORD.to_vec());
    password_key(&password, &salt, PasswordCost { memory_kib, passes, lanes }).expect("hashed")
}

/// Opens a stored chunk as chunk.md says.
pub(crate) fn open_chunk(secret: &Secret, key: &ChunkKey, entry: &PackEntry, stored: &[u8]) -> Vec<u8> {
    assert_eq!(derive::chunk_id(key), entry.id);
    assert_eq!(stored.len(), entry.sealed_length as usize);
    let packed = aead::open(key.expose(), &chunk_associated(entry), stored).expect("opened");
    let (compression, packed) = packed.split_first().expect("a compression byte");
    let plaintext = match compression {
        0 => packed.to_vec(),
        1 => zstd::bulk::decompress(packed, entry.plain_length as usize).expect("one frame"),
        other => panic!("compression {other}"),
    };
    assert_eq!(plaintext.len(), entry.plain_length as usize);
    assert_eq!(&derive::chunk_key(secret, &plaintext), key);
    plaintext
}

/// Opens a text that was sealed to a public key, as object.md says.
pub(crate) fn open_with(private: &Secret, info: &[u8], associated: &[u8], text: &[u8]) -> Vec<u8> {
    let SealedTo { encapsulated, ciphertext, sealed } = SealedTo::decode("example", text).expect("decodes");
    let key = recipient::open(private, info, associated, &SealedKey { encapsulated, ciphertext }).expect("opened");
    aead::open(key.expose(), associated, sealed).expect("opened")
}

/// An object without its signature, which is that of the key in this bundle, as signature.md says.
pub(crate) fn verified<'a>(object: &'a [u8], purpose: Purpose, record: &KeyRecord) -> &'a [u8] {
    let (signed, block) = SignatureBlock::split(object).expect("a signature");
    let hash = derive::object_id(signed);
    let secret = |field: &minicbor::bytes::ByteVec| Secret::new(field.as_slice().try_into().expect("32 bytes"));
    let key = derive::record_key(&secret(&record.index_key), RecordKind::Signature);
    let maker = aead::open(key.expose(), hash.as_bytes(), block.maker).expect("opened");
    let catalog = secret(record.catalog_key.as_ref().expect("there"));
    let certificate = open_with(&catalog, examples::MAKER_INFO, hash.as_bytes(), block.certificate);
    let certificate = SignedCertificate::decode(&certificate).expect("decodes").certificate().expect("decodes");
    assert_eq!(certificate.key.as_bytes()[..], maker[..32]);
    let signature = maker[32..].try_into().expect("64 bytes");
    sign::verify(&certificate.key, purpose, signed, signature).expect("signed by this key");
    signed
}
