//! Chunks of damaged packs that are still good.
//!
//! Always true here: a chunk counts as good when it opens with its key and is what the key was derived from. In a pack whose bytes are not
//! those of its name nothing else proves a chunk, so that who has no key of it salvages nothing.

use super::survey::{BadPack, Survey};
use super::{Found, FoundChunks, Wanted};
use crate::chunk::compress::Decompressor;
use crate::format::pack::{PackEntry, PackKind, with_offsets};
use crate::ids::{ChunkId, ChunkKey, ObjectId};
use crate::names::ObjectName;
use crate::ops::{Cancel, OpsError};
use crate::repo::RepoError;
use crate::repo::chunks::ChunkOpener;
use crate::repo::keyring::Domain;
use crate::repo::open::Repository;
use std::collections::BTreeMap;

/// A chunk in a damaged pack.
#[derive(Debug, Clone)]
pub(super) struct InPack {
    pub pack: ObjectId,
    pub kind: PackKind,
    pub offset: u64,
    pub entry: PackEntry,
    pub domain: Domain,
    pub key: ChunkKey,
}

/// Opens chunks where they lie.
pub(super) struct Salvager<'a> {
    repository: &'a Repository,
    unpacker: Decompressor,
    plain: Vec<u8>,
}

impl<'a> Salvager<'a> {
    pub(super) fn new(repository: &'a Repository) -> Result<Self, OpsError> {
        Ok(Self { repository, unpacker: Decompressor::new().map_err(RepoError::from)?, plain: Vec::new() })
    }

    /// The sealed bytes of a chunk that opens; `None` where it does not.
    pub(super) fn sealed(&mut self, place: &InPack) -> Result<Option<Vec<u8>>, OpsError> {
        let pack = ObjectName::pack(place.pack);
        let mut sealed = vec![0; place.entry.sealed_length as usize];
        let read = self.repository.storage().get_range(pack, place.offset, &mut sealed).map_err(RepoError::from);
        let opened = read.and_then(|()| {
            self.plain.resize(place.entry.plain_length as usize, 0);
            // Opening is done in place.
            let mut copy = sealed.clone();
            let mut opener = ChunkOpener { keys: self.repository.keys(), unpacker: &mut self.unpacker };
            opener.open((place.domain, &place.key), &place.entry, pack, &mut copy, &mut self.plain)
        });
        match opened {
            Ok(()) => Ok(Some(sealed)),
            Err(error) if error.is_damage() || matches!(error, RepoError::KeyLacks { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Looks for wanted chunks in all damaged packs.
pub(super) fn salvage(
    survey: &Survey,
    wanted: &BTreeMap<ChunkId, Wanted>,
    found: &mut FoundChunks,
    cancel: &Cancel,
) -> Result<(), OpsError> {
    let mut salvager = Salvager::new(&survey.store.repository)?;
    for (pack, BadPack { listings, .. }) in survey.bad.iter().filter(|(_, bad)| bad.why.is_some()) {
        for listing in listings {
            for (offset, entry) in with_offsets(&listing.entries) {
                let Some(Wanted { key: Some((domain, key)) }) = wanted.get(&entry.id) else { continue };
                if found.contains_key(&entry.id) {
                    continue;
                }
                cancel.check()?;
                let place = InPack {
                    pack: *pack,
                    kind: listing.kind,
                    offset: offset.0,
                    entry: *entry,
                    domain: *domain,
                    key: key.clone(),
                };
                if salvager.sealed(&place)?.is_some() {
                    found.insert(entry.id, Found::InPack(place));
                }
            }
        }
    }
    Ok(())
}
