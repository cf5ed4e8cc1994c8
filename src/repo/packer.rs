//! Filling packs (format-spec/pack.md).
//!
//! Always true here:
//! - A pack is complete before it is given away: header, chunks, sealed trailer, footer, and a name that is the
//!   hash of all of it. Nothing is written here.
//! - A pack has at least one chunk, and stays within its target size unless one chunk alone is larger.

use super::RepoError;
use super::keyring::KeyRing;
use crate::crypto::aead;
use crate::crypto::derive::{self, RecordKind};
use crate::format::index::IndexedPack;
use crate::format::pack::{self, Footer, PACK_HEADER_LENGTH, PackEntry, PackKind};
use crate::ids::RepositoryId;
use crate::names::ObjectName;
use crate::storage::Storage;

/// A pack that is being filled.
#[derive(Debug)]
pub struct Packer {
    repository: RepositoryId,
    kind: PackKind,
    target: usize,
    bytes: Vec<u8>,
    entries: Vec<PackEntry>,
}

/// A pack that is complete and not yet stored.
#[derive(Debug)]
pub struct FinishedPack {
    /// What the index will say of it.
    pub indexed: IndexedPack,
    bytes: Vec<u8>,
}

impl FinishedPack {
    /// Stores the pack. When this returns, the pack is durable.
    ///
    /// # Errors
    /// [`RepoError::Storage`].
    pub fn store(&self, storage: &dyn Storage) -> Result<(), RepoError> {
        storage.put(ObjectName::pack(self.indexed.id), &[&self.bytes])?;
        Ok(())
    }

    /// The buffer, for use in another pack.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

impl Packer {
    /// An empty pack that aims at `target` bytes; `buffer` is memory to use.
    pub fn new(repository: RepositoryId, kind: PackKind, target: u32, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { repository, kind, target: target as usize, bytes: buffer, entries: Vec::new() }
    }

    /// True when there is no chunk in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when a chunk of this many sealed bytes should go into the next pack.
    pub fn is_full_for(&self, sealed_length: usize) -> bool {
        !self.is_empty() && self.bytes.len() + sealed_length > self.target
    }

    /// Appends a sealed chunk.
    pub fn add(&mut self, entry: PackEntry, sealed: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&pack::encode_header(self.repository, self.kind));
        }
        self.bytes.extend_from_slice(sealed);
        self.entries.push(entry);
    }

    /// Completes the pack; `None` when there is no chunk in it.
    ///
    /// # Errors
    /// [`RepoError::Crypto`] without random numbers.
    pub fn finish(mut self, keys: &KeyRing) -> Result<Option<FinishedPack>, RepoError> {
        if self.is_empty() {
            return Ok(None);
        }
        let body_length = self.bytes.len() as u64;
        let listing = pack::encode_listing(&self.entries);
        let key = keys.record_key(RecordKind::PackTrailer);
        let trailer = aead::seal(key.expose(), &self.bytes[..PACK_HEADER_LENGTH], &listing)?;
        let trailer_length = u32::try_from(trailer.len()).unwrap_or(u32::MAX);
        let footer = Footer { body_length, trailer_length, parity_length: 0 };
        self.bytes.extend_from_slice(&trailer);
        self.bytes.extend_from_slice(&footer.encode());
        let id = derive::object_id(&self.bytes);
        let indexed = IndexedPack { id, kind: self.kind, size: self.bytes.len() as u64, entries: self.entries };
        Ok(Some(FinishedPack { indexed, bytes: self.bytes }))
    }
}

/// Reads what a stored pack says of itself: header, footer and trailer, but not the chunks.
///
/// # Errors
/// [`RepoError`] naming the pack: whatever does not decode, does not open or does not add up.
pub fn read_listing(
    storage: &dyn Storage,
    keys: &KeyRing,
    repository: RepositoryId,
    name: ObjectName,
) -> Result<IndexedPack, RepoError> {
    let malformed = |source| RepoError::Malformed { name, source };
    let size = storage.size(name)?;
    if size > pack::MAX_LENGTH {
        return Err(crate::storage::StorageError::TooLarge { name, size, limit: pack::MAX_LENGTH }.into());
    }
    let mut header = [0; PACK_HEADER_LENGTH];
    storage.get_range(name, 0, &mut header)?;
    let (owner, kind) = pack::decode_header(&header).map_err(malformed)?;
    if owner != repository {
        return Err(RepoError::ForeignObject { name, expected: repository.to_string(), found: owner.to_string() });
    }
    let mut footer = [0; pack::FOOTER_LENGTH];
    storage.get_range(name, size.saturating_sub(pack::FOOTER_LENGTH as u64), &mut footer)?;
    let footer = Footer::decode(&footer, size).map_err(malformed)?;
    let mut trailer = vec![0; footer.trailer_length as usize];
    storage.get_range(name, footer.body_length, &mut trailer)?;
    let entries = open_listing(keys, name, &header, &trailer, &footer)?;
    let id = name.id().unwrap_or(crate::ids::ObjectId::new([0; 32]));
    Ok(IndexedPack { id, kind, size, entries })
}

/// Opens a pack's trailer.
fn open_listing(
    keys: &KeyRing,
    name: ObjectName,
    header: &[u8; PACK_HEADER_LENGTH],
    trailer: &[u8],
    footer: &Footer,
) -> Result<Vec<PackEntry>, RepoError> {
    let listing = keys.open_record(RecordKind::PackTrailer, header, trailer).map_err(|source| RepoError::Sealed {
        name,
        part: "trailer",
        source,
    })?;
    let entries = pack::decode_listing(&listing).map_err(|source| RepoError::Malformed { name, source })?;
    pack::check_body(&entries, footer).map_err(|source| RepoError::Malformed { name, source })?;
    Ok(entries)
}
