//! A file or folder by its records.
//!
//! Always true here:
//! - A node is the first record of a file and was asked for by the sequence number that it has now. What is found in further records
//!   is in those that its list names, and they name it as theirs.
//! - Looking through a node takes each of its records once, and there are no more of them than entries fit a list.

use std::sync::Arc;

use super::pieces::Pieces;
use super::plain::Plain;
use crate::disk::{DiskOffset, ReadAt};
use crate::layout::LayoutError;
use crate::layout::files::NodeId;
use crate::layout::ntfs::attribute::{ATTRIBUTE_LIST, Attribute, DATA, Sizes};
use crate::layout::ntfs::boot::Boot;
use crate::layout::ntfs::list::{self, Entry};
use crate::layout::ntfs::mft::Mft;
use crate::layout::ntfs::record::{Record, Reference};
use crate::layout::ntfs::value::{Assembled, Places, Value, assemble_any, part_of, read_list};

/// Bytes of the MFT that are read at once.
const PIECE: u64 = 64 << 10;
/// How many such pieces are kept: those of 16,000 files of 1 KiB each.
const MOST_PIECES: usize = 256;

/// What all of a volume's files share.
pub(super) struct Shared {
    pub(super) volume: Arc<dyn ReadAt>,
    pub(super) boot: Boot,
    mft: Pieces<Plain>,
}

impl Shared {
    /// Of a volume whose MFT was found.
    pub(super) fn new(volume: Arc<dyn ReadAt>, boot: Boot, mft: Mft) -> Self {
        let length = mft.records.saturating_mul(boot.record);
        let sizes = Sizes { allocated: length, data: length, initialized: length };
        let mft = Plain::new(&volume, boot, mft.places, &sizes);
        Self { volume, boot, mft: Pieces::new(mft, PIECE, MOST_PIECES) }
    }

    /// Fetches a record by its number; returns where it begins, in bytes of the volume.
    fn fetch(&self, number: u64, bytes: &mut [u8]) -> Result<u64, LayoutError> {
        let what = "an MFT record";
        let records = self.mft.size() / self.boot.record;
        let Some(at) = number.checked_mul(self.boot.record).filter(|_| number < records) else {
            return Err(LayoutError::malformed(
                what,
                0,
                format_args!("one of {records}"),
                format_args!("number {number}"),
            ));
        };
        let offset = self.mft.disk().place(at).unwrap_or_default();
        self.mft.read_at(DiskOffset(at), bytes).map_err(|source| LayoutError::Read { what, offset, source })?;
        Ok(offset.0)
    }

    fn buffer(&self) -> Vec<u8> {
        vec![0; usize::try_from(self.boot.record).unwrap_or_default()]
    }

    /// Finds a node and looks at it.
    ///
    /// # Errors
    /// Those of `look`; [`LayoutError`] when there is no such node, or when its record is damaged or cannot be read.
    pub(super) fn with_node<T>(
        &self,
        node: NodeId,
        look: impl FnOnce(&Node<'_>) -> Result<T, LayoutError>,
    ) -> Result<T, LayoutError> {
        let reference = Reference(node.0);
        let mut bytes = self.buffer();
        let origin = self.fetch(reference.number(), &mut bytes)?;
        let record = Record::parse(&mut bytes, reference.number(), origin)?;
        let Some(record) = record.filter(|record| record.reference == reference && record.base.is_none()) else {
            let found = record.map_or("one that is not in use".to_owned(), |record| match record.base {
                Some(base) => format!("a part of {base}"),
                None => record.reference.to_string(),
            });
            return Err(LayoutError::malformed("the record of a file", origin, reference, found));
        };
        let list = match record.attributes().find(|attribute| attribute.kind == ATTRIBUTE_LIST) {
            None => None,
            Some(list) => {
                let bytes = read_list(&list, origin, &*self.volume, &self.boot)?;
                let mut entries = list::parse(&bytes, origin)?;
                entries.sort_unstable();
                entries.dedup();
                Some(entries)
            }
        };
        look(&Node { shared: self, record, list })
    }

    /// The reference of a record in use, whatever its sequence number is.
    pub(super) fn reference(&self, number: u64) -> Result<Option<NodeId>, LayoutError> {
        let mut bytes = self.buffer();
        let origin = self.fetch(number, &mut bytes)?;
        Ok(Record::parse(&mut bytes, number, origin)?.map(|record| NodeId(record.reference.0)))
    }

    /// Bytes of an attribute in clusters, as a disk.
    pub(super) fn plain(&self, places: Places, sizes: &Sizes) -> Plain {
        Plain::new(&self.volume, self.boot, places, sizes)
    }
}

/// A file or folder.
pub(super) struct Node<'a> {
    pub(super) shared: &'a Shared,
    pub(super) record: Record<'a>,
    /// Sorted, each entry once.
    list: Option<Vec<Entry>>,
}

impl Node<'_> {
    /// Sees the attributes of some kinds; of one in several parts, the first part.
    ///
    /// # Errors
    /// [`LayoutError`]: a record of the file cannot be had.
    pub(super) fn each(
        &self,
        is_wanted: impl Fn(u32) -> bool,
        mut see: impl FnMut(&Attribute<'_>),
    ) -> Result<(), LayoutError> {
        let Some(list) = &self.list else {
            self.record.attributes().filter(|attribute| is_wanted(attribute.kind)).for_each(|found| see(&found));
            return Ok(());
        };
        let mut wanted: Vec<&Entry> = list.iter().filter(|entry| entry.lowest == 0 && is_wanted(entry.kind)).collect();
        wanted.sort_by_key(|entry| entry.reference);
        let mut bytes = self.shared.buffer();
        for entries in wanted.chunk_by(|one, other| one.reference == other.reference) {
            let Some(reference) = entries.first().map(|entry| entry.reference) else { continue };
            let named = |attribute: &Attribute<'_>| {
                let is_it = |entry: &&Entry| {
                    (entry.kind, entry.id, &*entry.name) == (attribute.kind, attribute.id, attribute.name)
                };
                entries.iter().any(is_it)
            };
            if reference == self.record.reference {
                self.record.attributes().filter(named).for_each(|found| see(&found));
                continue;
            }
            let origin = self.shared.fetch(reference.number(), &mut bytes)?;
            let record = part_of(&self.record, reference, &mut bytes, origin)?;
            record.attributes().filter(named).for_each(|found| see(&found));
        }
        Ok(())
    }

    /// Puts an attribute together.
    ///
    /// # Errors
    /// As [`assemble_any`].
    pub(super) fn attribute(&self, kind: u32, name: &[u8]) -> Result<Option<Assembled>, LayoutError> {
        let Shared { volume, boot, .. } = self.shared;
        let mut read = |_: &Places, number, bytes: &mut [u8]| self.shared.fetch(number, bytes);
        assemble_any(&self.record, (kind, name), &**volume, boot, &mut read)
    }

    /// The content, or that of a named stream.
    ///
    /// # Errors
    /// As [`assemble_any`].
    pub(super) fn data(&self, name: &[u8]) -> Result<Option<Assembled>, LayoutError> {
        self.attribute(DATA, name)
    }

    /// A small value as a whole, at most so many bytes; `None` where it has more, or where they are not plain.
    ///
    /// # Errors
    /// As [`Value::read`].
    pub(super) fn small(
        &self,
        what: &'static str,
        found: &Assembled,
        most: u64,
    ) -> Result<Option<Vec<u8>>, LayoutError> {
        match &found.value {
            Value::Resident(bytes) => Ok((bytes.len() as u64 <= most).then(|| bytes.clone())),
            Value::NonResident(_, sizes) if sizes.data > most || !found.is_plain() => Ok(None),
            Value::NonResident(_, sizes) => {
                let mut bytes = vec![0; usize::try_from(sizes.data).unwrap_or_default()];
                let valid = usize::try_from(found.value.valid()).unwrap_or_default().min(bytes.len());
                let (valid, _) = bytes.split_at_mut(valid);
                found.value.read(what, 0, valid, &*self.shared.volume, &self.shared.boot)?;
                Ok(Some(bytes))
            }
        }
    }
}
