//! Sealing and opening one chunk (format-spec/chunk.md).
//!
//! Always true here:
//! - `stored = nonce ‖ AES-256-GCM(K, nonce, packed, I ‖ plain length ‖ sealed length) ‖ tag`.
//! - Opening derives the key again from the plaintext and compares: a chunk that was sealed under the right key but with
//!   other content does not pass.

use super::RepoError;
use super::keyring::{Domain, KeyRing};
use crate::chunk::compress::{Compressor, Decompressor};
use crate::crypto::aead::{self, NONCE_LENGTH, TAG_LENGTH};
use crate::format::pack::PackEntry;
use crate::ids::{ChunkId, ChunkKey};
use crate::names::ObjectName;

fn associated(id: &ChunkId, plain_length: u32, sealed_length: u32) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(id.as_bytes());
    bytes[32..36].copy_from_slice(&plain_length.to_le_bytes());
    bytes[36..].copy_from_slice(&sealed_length.to_le_bytes());
    bytes
}

/// Packs and seals a chunk whose key and id are known.
///
/// # Errors
/// [`RepoError::Crypto`] without random numbers.
pub fn seal_chunk(
    key: &ChunkKey,
    id: ChunkId,
    plain: &[u8],
    compressor: &mut Compressor,
) -> Result<(PackEntry, Vec<u8>), RepoError> {
    let mut sealed = Vec::with_capacity(NONCE_LENGTH + 1 + plain.len() + TAG_LENGTH);
    sealed.extend_from_slice(&[0; NONCE_LENGTH]);
    compressor.pack(plain, &mut sealed);
    sealed.extend_from_slice(&[0; TAG_LENGTH]);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let entry = PackEntry { id, sealed_length: length(&sealed), plain_length: length(plain) };
    aead::seal_buffer(key.expose(), &associated(&id, entry.plain_length, entry.sealed_length), &mut sealed)?;
    Ok((entry, sealed))
}

/// Opens chunks; holds the keys and the working memory of one thread.
pub struct ChunkOpener<'a> {
    /// The keys.
    pub keys: &'a KeyRing,
    /// zstd's memory.
    pub unpacker: &'a mut Decompressor,
}

impl ChunkOpener<'_> {
    /// Opens `sealed`, which lies in `pack` as `entry` says, in place; unpacks it into `plain`, which has the recorded length;
    /// and verifies it.
    ///
    /// # Errors
    /// [`RepoError::ChunkDamaged`] naming chunk and pack; `plain` must then not be used.
    pub fn open(
        &mut self,
        (domain, key): (Domain, &ChunkKey),
        entry: &PackEntry,
        pack: ObjectName,
        sealed: &mut [u8],
        plain: &mut [u8],
    ) -> Result<(), RepoError> {
        let damaged = |reason: String| RepoError::ChunkDamaged { id: entry.id, pack, reason };
        let associated = associated(&entry.id, entry.plain_length, entry.sealed_length);
        let packed =
            aead::open_buffer(key.expose(), &associated, sealed).map_err(|error| damaged(error.to_string()))?;
        self.unpacker.unpack(packed, plain).map_err(|error| damaged(error.to_string()))?;
        if self.keys.chunk_key(domain, plain)? != *key {
            return Err(damaged("its content is not what its key was derived from".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::derive;
    use crate::format::keys::KeyRecord;
    use crate::ids::RepositoryId;

    fn keys() -> KeyRing {
        let record: KeyRecord = KeyRing::new_admin(RepositoryId::new([1; 16]), "test", 0, &[]).expect("random");
        KeyRing::from_record(&record, RepositoryId::new([1; 16])).expect("complete")
    }

    #[test]
    fn a_chunk_opens_only_as_what_it_is() {
        let keys = keys();
        let mut unpacker = Decompressor::new().expect("memory");
        let mut compressor = Compressor::new(3).expect("memory");
        let plain = vec![5; 1000];
        let key = keys.chunk_key(Domain::Data, &plain).expect("admin");
        let id = derive::chunk_id(&key);
        let (entry, sealed) = seal_chunk(&key, id, &plain, &mut compressor).expect("sealed");
        let pack = ObjectName::pack(crate::ids::ObjectId::new([1; 32]));
        let mut open = |domain, entry: &PackEntry, mut sealed: Vec<u8>| {
            let mut out = vec![0; entry.plain_length as usize];
            let mut opener = ChunkOpener { keys: &keys, unpacker: &mut unpacker };
            opener.open((domain, &key), entry, pack, &mut sealed, &mut out).map(|()| out)
        };
        assert_eq!(open(Domain::Data, &entry, sealed.clone()).expect("opens"), plain);
        assert!(open(Domain::Reference, &entry, sealed.clone()).is_err(), "another domain");
        for bit in (0..sealed.len() * 8).step_by(7) {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(Domain::Data, &entry, changed).is_err(), "bit {bit}");
        }
        let longer = PackEntry { plain_length: 1001, ..entry };
        assert!(open(Domain::Data, &longer, sealed.clone()).is_err(), "another length");
        // A poisoned chunk: sealed rightly under the key of other content.
        let (entry, sealed) = seal_chunk(&key, id, &vec![6; 1000], &mut compressor).expect("sealed");
        assert!(open(Domain::Data, &entry, sealed).is_err(), "other content under the same key");
    }
}
