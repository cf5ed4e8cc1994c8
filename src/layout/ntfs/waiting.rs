//! Files whose attributes are spread over several records: what is known of them while the MFT is walked, and what comes of it.
//!
//! Always true here:
//! - All that waits takes at most [`MOST_BYTES`] bytes of memory.
//! - An attribute is claimed only when the file's list names exactly the parts that were found, each in the record where it was
//!   found, when that record names the file by number and sequence number as its own, and when the parts follow one another
//!   without gap or overlap from the first cluster to the last. So no loop, and no record of a file that is gone, gets in.

use std::mem::{size_of, take};

use super::attribute::{ATTRIBUTE_LIST, Attribute, FILE_NAME, NonResident, Sizes};
use super::list::{self, Entry};
use super::record::{Record, Reference};
use super::role::Role;
use super::runs::Run;
use super::sink::{Sink, Whole, is_final};
use super::value::{check_sizes, decode_part, read_list};
use crate::layout::LayoutError;

/// The most memory that is taken, in bytes. A part of a badly fragmented file takes about 2 KiB for each record of 1 KiB, so that
/// files with a hundred thousand records wait at once.
const MOST_BYTES: usize = 192 << 20;
/// What an allocation takes beyond its bytes, about.
const ALLOCATION: usize = 32;

/// A part of an attribute that was found in a record.
#[derive(Debug)]
struct Piece {
    /// The file.
    base: Reference,
    kind: u32,
    name: Box<[u8]>,
    lowest: u64,
    end: u64,
    /// The record that it was found in.
    reference: Reference,
    id: u16,
    is_plain: bool,
    sizes: Sizes,
    /// Where its header is, in bytes of the volume.
    at: u64,
    runs: std::ops::Range<usize>,
}

impl Piece {
    fn same_attribute(&self, other: &Self) -> bool {
        (self.base, self.kind, &self.name) == (other.base, other.kind, &other.name)
    }

    fn is_named_by(&self, entry: &Entry) -> bool {
        (self.lowest, self.reference, self.id) == (entry.lowest, entry.reference, entry.id)
    }
}

/// A file that has an attribute list.
#[derive(Debug)]
struct Base {
    reference: Reference,
    role: Role,
    /// Sorted.
    entries: Vec<Entry>,
}

/// What waits for the end of the walk.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bases: Vec<Base>,
    pieces: Vec<Piece>,
    runs: Vec<Run>,
    bytes: usize,
}

impl Waiting {
    /// Takes a record that has a list, or that another record's list names.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`], or a disk that is gone.
    pub(super) fn add(&mut self, record: &Record<'_>, sink: &mut Sink<'_>) -> Result<(), LayoutError> {
        if record.base.is_none() && !self.add_base(record, sink)? {
            return Ok(());
        }
        for attribute in record.attributes().filter(|attribute| attribute.kind != ATTRIBUTE_LIST) {
            if let Some(part) = attribute.non_resident() {
                self.add_part(record, &attribute, &part, sink)?;
            }
        }
        Ok(())
    }

    /// Takes a file and its list; false when the list is not believed.
    fn add_base(&mut self, record: &Record<'_>, sink: &mut Sink<'_>) -> Result<bool, LayoutError> {
        let Some(attribute) = record.attributes().find(|attribute| attribute.kind == ATTRIBUTE_LIST) else {
            return Ok(false);
        };
        let bytes = read_list(&attribute, record.origin, sink.volume, sink.boot);
        let mut entries = match bytes.and_then(|bytes| list::parse(&bytes, record.origin)) {
            Ok(entries) => entries,
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                sink.refuse(error);
                return Ok(false);
            }
        };
        entries.sort_unstable();
        entries.shrink_to_fit();
        let names: usize =
            entries.iter().filter(|entry| !entry.name.is_empty()).map(|entry| entry.name.len() + ALLOCATION).sum();
        self.weigh(size_of::<Base>() + ALLOCATION + entries.len() * size_of::<Entry>() + names)?;
        let has_other_names =
            entries.iter().any(|entry| entry.kind == FILE_NAME && entry.reference != record.reference);
        let role = Role::of(record);
        let role = if has_other_names { role.with_other_names() } else { role };
        self.bases.push(Base { reference: record.reference, role, entries });
        // The list itself is not named by itself.
        if let Some(part) = attribute.non_resident() {
            let mut runs = Vec::new();
            decode_part(&part, record.origin, sink.boot, &mut runs)?;
            let (name, at) = (attribute.name, record.origin + attribute.at as u64);
            let is_plain = attribute.is_plain(part.unit);
            let whole = Whole { kind: ATTRIBUTE_LIST, name, is_plain, sizes: part.sizes, runs: &runs, at };
            sink.take(&role, &whole)?;
        }
        Ok(true)
    }

    fn add_part(
        &mut self,
        record: &Record<'_>,
        attribute: &Attribute<'_>,
        part: &NonResident<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), LayoutError> {
        let before = self.runs.len();
        if let Err(error) = decode_part(part, record.origin, sink.boot, &mut self.runs) {
            self.runs.truncate(before);
            sink.refuse(error);
            return Ok(());
        }
        let runs = before..self.runs.len();
        self.weigh(size_of::<Piece>() + attribute.name.len() + ALLOCATION + runs.len() * size_of::<Run>())?;
        self.pieces.push(Piece {
            base: record.base.unwrap_or(record.reference),
            kind: attribute.kind,
            name: attribute.name.into(),
            lowest: part.lowest,
            end: part.end,
            reference: record.reference,
            id: attribute.id,
            is_plain: attribute.is_plain(part.unit),
            sizes: part.sizes,
            at: record.origin + attribute.at as u64,
            runs,
        });
        Ok(())
    }

    fn weigh(&mut self, bytes: usize) -> Result<(), LayoutError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= MOST_BYTES {
            return Ok(());
        }
        Err(LayoutError::TooMany { what: "bytes for files in several records", limit: MOST_BYTES as u64 })
    }

    /// Puts together what was found, and claims it.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`], or a disk that is gone.
    pub(super) fn settle(&mut self, sink: &mut Sink<'_>) -> Result<(), LayoutError> {
        let Self { mut bases, mut pieces, runs, .. } = take(self);
        bases.sort_unstable_by_key(|base| base.reference);
        pieces.sort_unstable_by(|a, b| (a.base, a.kind, &a.name, a.lowest).cmp(&(b.base, b.kind, &b.name, b.lowest)));
        let mut joined = Vec::new();
        for attribute in pieces.chunk_by(Piece::same_attribute) {
            let Some(first) = attribute.first() else { continue };
            let base = bases.binary_search_by_key(&first.base, |base| base.reference).ok();
            let Some(base) = base.and_then(|index| bases.get(index)) else {
                let expected = format_args!("a list in {}", first.base);
                sink.refuse(LayoutError::malformed("a part of an attribute", first.at, expected, "no such file"));
                continue;
            };
            joined.clear();
            match join(attribute, first, base, &runs, sink, &mut joined) {
                Ok(()) => {
                    let Piece { kind, is_plain, sizes, at, .. } = *first;
                    sink.take(&base.role, &Whole { kind, name: &first.name, is_plain, sizes, runs: &joined, at })?;
                }
                Err(error) => sink.refuse(error),
            }
        }
        Ok(())
    }
}

/// Checks the parts of an attribute against the file's list and one another, and joins their runs.
fn join(
    pieces: &[Piece],
    first: &Piece,
    base: &Base,
    runs: &[Run],
    sink: &Sink<'_>,
    joined: &mut Vec<Run>,
) -> Result<(), LayoutError> {
    let key = (first.kind, &first.name);
    let start = base.entries.partition_point(|entry| (entry.kind, &entry.name) < key);
    let entries = base.entries.get(start..).unwrap_or_default();
    let entries = entries.iter().take_while(|entry| (entry.kind, &entry.name) == key);
    let mut end = 0;
    let mut named = entries.clone();
    for piece in pieces {
        if !named.next().is_some_and(|entry| piece.is_named_by(entry)) {
            let expected = format_args!("one that the list of {} names", base.reference);
            let found = format_args!("one in {}", piece.reference);
            return Err(LayoutError::malformed("a part of an attribute", piece.at, expected, found));
        }
        if piece.lowest != end {
            let expected = format_args!("one that begins at cluster {end}");
            return Err(LayoutError::malformed("a part of an attribute", piece.at, expected, piece.lowest));
        }
        end = piece.end;
        joined.extend_from_slice(runs.get(piece.runs.clone()).unwrap_or_default());
    }
    if let Some(entry) = named.next() {
        let expected = format_args!("one in {}, as the list says", entry.reference);
        return Err(LayoutError::malformed("a part of an attribute", first.at, expected, "none"));
    }
    check_sizes(&first.sizes, end, first.at, sink.boot)
}
