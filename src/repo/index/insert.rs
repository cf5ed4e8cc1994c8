//! Adding packs to the local index, and keeping the filter in front of it true.
//!
//! Always true here:
//! - A segment and the layer of the filter that covers its ids are committed in one transaction.
//! - A chunk that is in two packs keeps its first place.

use super::super::RepoError;
use super::super::filter::{LAYER_KEYS, Layer};
use super::{
    ADOPTED, CHUNKS, FILTER, FILTER_MEMORY, Index, PACK_NUMBERS, PACKS, SEGMENTS, SUPERSEDED, cache_error, cached,
    guarded,
};
use crate::disk::PackOffset;
use crate::format::index::{IndexSegment, IndexedPack};
use crate::format::pack::{PackEntry, with_offsets};
use crate::ids::{ChunkId, ObjectId};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, WriteTransaction};
use std::sync::PoisonError;

/// Small layers are left alone up to this many.
const FEW_LAYERS: usize = 8;
/// Beyond that they are folded into the base when they hold more than one part in this many of all ids,
const FOLD_SHARE: u64 = 4;
/// or when there are this many.
const MANY_LAYERS: usize = 256;

/// A row of the table of chunks: its id, and where it lies.
type Row = ([u8; 32], [u8; 16]);

/// Which segment lists packs that come into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// This one, of which the database then knows everything.
    By(ObjectId),
    /// One of which the database does not know everything.
    Partly,
    /// None.
    Nowhere,
}

impl Index {
    /// Adds a segment that is published.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn insert_segment(&self, id: ObjectId, segment: &IndexSegment) -> Result<(), RepoError> {
        guarded(&self.path, || {
            self.note_superseded(id, &segment.supersedes)?;
            self.insert(&[(Listed::By(id), segment.packs.as_slice())])
        })
    }

    /// Notes which segments one replaces.
    pub(super) fn note_superseded(&self, by: ObjectId, superseded: &[ObjectId]) -> Result<(), RepoError> {
        if superseded.is_empty() {
            return Ok(());
        }
        let transaction = cached!(self, self.database()?.begin_write())?;
        {
            let mut table = cached!(self, transaction.open_table(SUPERSEDED))?;
            for id in superseded {
                cached!(self, table.insert(id.as_bytes(), by.as_bytes()))?;
            }
        }
        cached!(self, transaction.commit())
    }

    /// Adds packs that no segment lists.
    ///
    /// # Errors
    /// [`RepoError::Cache`].
    pub fn adopt(&self, packs: &[IndexedPack]) -> Result<(), RepoError> {
        guarded(&self.path, || self.insert(&[(Listed::Nowhere, packs)]))
    }

    /// Adds packs in one transaction. Many at once are much cheaper than one by one: the rows are sorted, and the database
    /// is synced once.
    pub(super) fn insert(&self, additions: &[(Listed, &[IndexedPack])]) -> Result<(), RepoError> {
        let transaction = cached!(self, self.database()?.begin_write())?;
        {
            let mut rows = self.insert_packs(&transaction, additions)?;
            rows.sort_unstable();
            let mut chunks = cached!(self, transaction.open_table(CHUNKS))?;
            for (id, value) in &rows {
                // The first place wins: whoever inserts says by the order which packs are to be preferred.
                let before = cached!(self, chunks.insert(id, value))?.map(|before| before.value());
                if let Some(before) = before {
                    cached!(self, chunks.insert(id, &before))?;
                }
            }
            let mut ids: Vec<ChunkId> = rows.iter().map(|(id, _)| ChunkId::new(*id)).collect();
            ids.dedup();
            let mut filter = cached!(self, transaction.open_table(FILTER))?;
            self.extend_filter(&mut filter, &chunks, &ids)?;
        }
        cached!(self, transaction.commit())?;
        self.load_filter()
    }

    /// Notes segments and packs, and gives the rows of the chunks in packs that were not known.
    fn insert_packs(
        &self,
        transaction: &WriteTransaction,
        additions: &[(Listed, &[IndexedPack])],
    ) -> Result<Vec<Row>, RepoError> {
        let mut segments = cached!(self, transaction.open_table(SEGMENTS))?;
        let mut numbers = cached!(self, transaction.open_table(PACK_NUMBERS))?;
        let mut pack_table = cached!(self, transaction.open_table(PACKS))?;
        let mut adopted = cached!(self, transaction.open_table(ADOPTED))?;
        let mut next = cached!(self, pack_table.last())?.map_or(0, |(number, _)| number.value() + 1);
        let mut rows = Vec::new();
        for (listed, packs) in additions {
            if let Listed::By(id) = listed {
                let count: u64 = packs.iter().map(|pack| pack.entries.len() as u64).sum();
                if cached!(self, segments.insert(id.as_bytes(), count))?.is_some() {
                    // Another process was faster.
                    continue;
                }
            }
            for pack in *packs {
                if *listed != Listed::Nowhere {
                    cached!(self, adopted.remove(pack.id.as_bytes()))?;
                }
                if cached!(self, numbers.get(pack.id.as_bytes()))?.is_some() {
                    continue;
                }
                if *listed == Listed::Nowhere {
                    cached!(self, adopted.insert(pack.id.as_bytes(), ()))?;
                }
                let mut value = [0; 40];
                value[..32].copy_from_slice(pack.id.as_bytes());
                value[32..].copy_from_slice(&pack.size.to_le_bytes());
                cached!(self, numbers.insert(pack.id.as_bytes(), next))?;
                cached!(self, pack_table.insert(next, value))?;
                rows.extend(
                    with_offsets(&pack.entries).map(|(offset, entry)| (*entry.id.as_bytes(), row(next, offset, entry))),
                );
                next += 1;
            }
        }
        Ok(rows)
    }

    /// Adds new ids as a layer, or builds all layers anew when the small ones have grown.
    fn extend_filter(
        &self,
        filter: &mut redb::Table<'_, u32, Vec<u8>>,
        chunks: &redb::Table<'_, [u8; 32], [u8; 16]>,
        new: &[ChunkId],
    ) -> Result<(), RepoError> {
        let Some(layer) = Layer::build(new) else { return Ok(()) };
        let (mut last, mut small, mut small_keys, mut all_keys) = (None, 0, 0, layer.keys());
        for row in cached!(self, filter.iter())? {
            let (number, bytes) = cached!(self, row)?;
            let keys = Layer::from_bytes(&bytes.value()).map_or(0, |layer| layer.keys());
            last = Some(number.value());
            all_keys += keys;
            if keys < LAYER_KEYS as u64 / 2 {
                small += 1;
                small_keys += keys;
            }
        }
        // Building anew reads every id: worth it when the small layers are many and a good part of all.
        if small < FEW_LAYERS || small_keys < all_keys / FOLD_SHARE && small < MANY_LAYERS {
            cached!(self, filter.insert(last.map_or(0, |last| last + 1), layer.to_bytes()))?;
            return Ok(());
        }
        let old: Vec<u32> = cached!(self, filter.iter())?
            .map(|row| cached!(self, row).map(|(number, _)| number.value()))
            .collect::<Result<_, _>>()?;
        for number in old {
            cached!(self, filter.remove(number))?;
        }
        let mut ids = Vec::new();
        let mut number = 0;
        let mut rows = cached!(self, chunks.iter())?;
        loop {
            let row = rows.next();
            let ended = row.is_none();
            if let Some(row) = row {
                ids.push(ChunkId::new(cached!(self, row)?.0.value()));
            }
            if ended || ids.len() == LAYER_KEYS {
                if let Some(layer) = Layer::build(&ids) {
                    cached!(self, filter.insert(number, layer.to_bytes()))?;
                    number += 1;
                }
                ids.clear();
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Reads the layers; without a filter that is complete and within its memory, the database answers all.
    pub(super) fn load_filter(&self) -> Result<(), RepoError> {
        let transaction = cached!(self, self.database()?.begin_read())?;
        let table = cached!(self, transaction.open_table(FILTER))?;
        let chunks = cached!(self, transaction.open_table(CHUNKS))?;
        let mut layers = Vec::new();
        let (mut memory, mut keys, mut usable) = (0, 0, true);
        for row in cached!(self, table.iter())? {
            let bytes = cached!(self, row)?.1.value();
            memory += bytes.len();
            match Layer::from_bytes(&bytes) {
                Some(layer) if memory <= FILTER_MEMORY => {
                    keys += layer.keys();
                    layers.push(layer);
                }
                _ => usable = false,
            }
        }
        // A filter that knows fewer ids than there are would give a false "no", which stores a chunk twice.
        usable &= keys >= cached!(self, chunks.len())?;
        *self.layers.write().unwrap_or_else(PoisonError::into_inner) = usable.then_some(layers);
        Ok(())
    }
}

fn row(pack: u32, offset: PackOffset, entry: &PackEntry) -> [u8; 16] {
    let mut value = [0; 16];
    value[..4].copy_from_slice(&pack.to_le_bytes());
    // A pack has at most 1 GiB, which its decoder checks.
    value[4..8].copy_from_slice(&u32::try_from(offset.0).unwrap_or(u32::MAX).to_le_bytes());
    value[8..12].copy_from_slice(&entry.sealed_length.to_le_bytes());
    value[12..].copy_from_slice(&entry.plain_length.to_le_bytes());
    value
}
