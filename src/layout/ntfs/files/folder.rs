//! What is in a folder: a walk through its index.
//!
//! Always true here:
//! - Each index record is taken once, so that a loop of them ends; at most [`MOST_RECORDS`] are looked at, [`MOST_DEPTH`] are in memory
//!   at once, and [`MOST_PROBLEMS`] things are told.
//! - Behind a damaged index record nothing is lost but its own names: records below it are found by the folder's own map.

use std::collections::HashSet;

use super::index::{self, Entries, Name, Shape};
use super::node::Node;
use super::pieces::Pieces;
use super::plain::Plain;
use super::reparse::text;
use crate::disk::{DiskOffset, ReadAt, ReadError};
use crate::layout::LayoutError;
use crate::layout::files::{Entry, Listing, MOST_ENTRIES, NodeId};
use crate::layout::ntfs::attribute::{BITMAP, INDEX_ALLOCATION, INDEX_ROOT};
use crate::layout::ntfs::record::Reference;
use crate::layout::ntfs::role::FIRST_FREE;
use crate::layout::ntfs::value::Value;

/// The name of the index of names.
const NAMES: &[u8] = b"$\0I\x003\x000\0";
/// Bytes of the index that are read at once.
const PIECE: u64 = 64 << 10;
/// How many such pieces are kept while a folder is read.
const MOST_PIECES: usize = 16;
/// The most index records of a folder that are looked at, and the most bytes of them: 8 GiB of 4 KiB each.
const MOST_RECORDS: usize = 2 << 20;
const MOST_BYTES: u64 = 8 << 30;
/// How deep an index may be. One of a thousand million names is six deep.
const MOST_DEPTH: usize = 64;
/// How much is told of what is wrong with a folder. Behind that it is not read any further.
const MOST_PROBLEMS: usize = 1000;
/// The most bytes of the first entries: a record holds fewer.
const MOST_ROOT: u64 = 64 << 10;

/// Reads a folder.
///
/// # Errors
/// [`LayoutError`]: it is none, the beginning of its index cannot be had, or the disk is gone.
pub(super) fn list(node: &Node<'_>) -> Result<Listing, LayoutError> {
    let boot = &node.shared.boot;
    let origin = node.record.origin;
    let wrong = |found| LayoutError::malformed("a folder", origin, "an index of names", found);
    if !node.record.is_folder {
        return Err(wrong("a file"));
    }
    let root = node.attribute(INDEX_ROOT, NAMES)?.ok_or_else(|| wrong("none"))?;
    let bytes = node.small("the index of a folder", &root, MOST_ROOT)?.ok_or_else(|| wrong("one that is too large"))?;
    let (shape, entries) = index::root(bytes, root.at, boot)?;
    let mut walk = Walk { node, shape, records: None, taken: HashSet::new(), found: Found::default(), is_whole: true };
    match node.attribute(INDEX_ALLOCATION, NAMES) {
        Ok(Some(records)) if !records.is_plain() => walk.tell(wrong("one that is compressed or encrypted"))?,
        Ok(Some(records)) => match records.value {
            Value::NonResident(places, sizes) => {
                walk.records = Some(Pieces::new(node.shared.plain(places, &sizes), PIECE, MOST_PIECES));
            }
            Value::Resident(_) => walk.tell(wrong("index records in the record of the folder"))?,
        },
        Ok(None) => {}
        Err(error) => walk.tell(error)?,
    }
    let done = walk.from(entries).and_then(|()| if walk.is_whole { Ok(()) } else { walk.rest() });
    match done {
        Ok(()) | Err(Stop::Enough) => Ok(walk.found.listing()),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Why a walk does not go on.
enum Stop {
    /// What was told is enough.
    Enough,
    /// The disk is gone.
    Failed(LayoutError),
}

impl From<Stop> for LayoutError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Enough => Self::TooMany { what: "damaged parts of a folder", limit: MOST_PROBLEMS as u64 },
            Stop::Failed(error) => error,
        }
    }
}

/// What was found at the place of an index record.
enum Look {
    Entries(Entries),
    Damaged(LayoutError),
    /// It was taken before.
    Again,
}

/// A walk under way.
struct Walk<'n> {
    node: &'n Node<'n>,
    shape: Shape,
    records: Option<Pieces<Plain>>,
    /// Places of the index records that were looked at, in bytes of the index.
    taken: HashSet<u64>,
    found: Found,
    /// Whether all records could be taken so far.
    is_whole: bool,
}

impl Walk<'_> {
    /// Goes through the index in the order of its names, beginning with its root.
    fn from(&mut self, root: Entries) -> Result<(), Stop> {
        // The nodes that the walk is in, and whether the sub-node of the present entry was gone through.
        let mut path = vec![(root, false)];
        while let Some((entries, is_below_done)) = path.last_mut() {
            let entry = match entries.entry() {
                Ok(entry) => entry,
                Err(error) => {
                    path.pop();
                    self.tell(error)?;
                    continue;
                }
            };
            if let Some(below) = entry.node.filter(|_| !*is_below_done) {
                *is_below_done = true;
                if path.len() >= MOST_DEPTH {
                    self.tell(LayoutError::TooMany {
                        what: "index records below one another",
                        limit: MOST_DEPTH as u64,
                    })?;
                } else if let Some(entries) = self.node_at(below)? {
                    path.push((entries, false));
                }
                continue;
            }
            match entry.name {
                Some(name) => {
                    self.found.take(&name)?;
                    entries.advance();
                    *is_below_done = false;
                }
                None => drop(path.pop()),
            }
        }
        Ok(())
    }

    /// Takes the sub-node of this number.
    fn node_at(&mut self, number: u64) -> Result<Option<Entries>, Stop> {
        let inside = self.records.as_ref().map_or(0, ReadAt::size);
        let place = self.shape.place(number).filter(|place| place.is_multiple_of(self.shape.record));
        let place = place.filter(|place| place.checked_add(self.shape.record).is_some_and(|end| end <= inside));
        let Some(place) = place else {
            let origin = self.node.record.origin;
            let expected = format_args!("one in {inside} bytes of index records");
            let error =
                LayoutError::malformed("a sub-node of an index", origin, expected, format_args!("number {number}"));
            return self.tell(error).map(|()| None);
        };
        match self.record(place)? {
            Look::Entries(entries) => Ok(Some(entries)),
            Look::Damaged(error) => self.tell(error).map(|()| None),
            Look::Again => {
                let error = LayoutError::malformed("an index record", self.origin(place), "one above it", "several");
                self.tell(error).map(|()| None)
            }
        }
    }

    /// Takes the index record at a place of the index.
    fn record(&mut self, place: u64) -> Result<Look, Stop> {
        let Some(records) = &self.records else { return Ok(Look::Again) };
        let limit = (MOST_BYTES / self.shape.record).min(MOST_RECORDS as u64);
        if self.taken.len() as u64 >= limit {
            let error = LayoutError::TooMany { what: "index records of a folder", limit };
            self.found.problems.push(error);
            return Err(Stop::Enough);
        }
        if !self.taken.insert(place) {
            return Ok(Look::Again);
        }
        let what = "an index record";
        let offset = records.disk().place(place).unwrap_or_default();
        let mut bytes = vec![0; usize::try_from(self.shape.record).unwrap_or_default()];
        let read = records.read_at(DiskOffset(place), &mut bytes);
        let read = read.map_err(|source| LayoutError::Read { what, offset, source });
        let entries = read.and_then(|()| index::node(bytes, place, offset.0, &self.shape));
        Ok(entries.map_or_else(Look::Damaged, Look::Entries))
    }

    fn origin(&self, place: u64) -> u64 {
        self.records.as_ref().and_then(|records| records.disk().place(place)).unwrap_or_default().0
    }

    /// Takes the names of all index records that are in use and were not reached.
    fn rest(&mut self) -> Result<(), Stop> {
        let Some(size) = self.records.as_ref().map(ReadAt::size) else { return Ok(()) };
        let in_use = match self.in_use() {
            Ok(in_use) => in_use,
            Err(error) => return self.tell(error),
        };
        let folder = self.node.record.reference;
        let mut next = 0;
        while let Some(start) = self.records.as_ref().and_then(|records| records.disk().behind_hole(next)) {
            let number = start / self.shape.record;
            let place = number * self.shape.record;
            next = match place.checked_add(self.shape.record) {
                Some(end) if end <= size => end,
                _ => break,
            };
            let Some(byte) = usize::try_from(number / 8).ok().and_then(|at| in_use.get(at)) else { break };
            if byte >> (number % 8) & 1 == 0 {
                continue;
            }
            let mut entries = match self.record(place)? {
                Look::Entries(entries) => entries,
                Look::Damaged(error) => {
                    self.tell(error)?;
                    continue;
                }
                Look::Again => continue,
            };
            loop {
                match entries.entry() {
                    // Not those of a folder that had these clusters before.
                    Ok(entry) => match entry.name {
                        Some(name) if Reference(name.parent) == folder => self.found.take(&name)?,
                        Some(_) => {}
                        None => break,
                    },
                    Err(error) => {
                        self.tell(error)?;
                        break;
                    }
                }
                entries.advance();
            }
        }
        Ok(())
    }

    /// The folder's map of index records in use, as much of it as counts.
    fn in_use(&self) -> Result<Vec<u8>, LayoutError> {
        let what = "the map of a folder's index records";
        let node = self.node;
        let Some(map) = node.attribute(BITMAP, NAMES)? else {
            return Err(LayoutError::malformed(what, node.record.origin, "one", "none"));
        };
        let length = map.value.valid().min(MOST_RECORDS as u64 / 8);
        if !map.is_plain() {
            return Err(LayoutError::malformed(what, map.at, "plain bytes", format_args!("flags {:#06x}", map.flags)));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        map.value.read(what, 0, &mut bytes, &*node.shared.volume, &node.shared.boot)?;
        Ok(bytes)
    }

    /// Tells of something that was not believed.
    fn tell(&mut self, error: LayoutError) -> Result<(), Stop> {
        self.is_whole = false;
        if let LayoutError::Read { source: ReadError::Gone { .. }, .. } = error {
            return Err(Stop::Failed(error));
        }
        self.found.problems.push(error);
        if self.found.problems.len() < MOST_PROBLEMS {
            return Ok(());
        }
        self.found.problems.push(LayoutError::from(Stop::Enough));
        Err(Stop::Enough)
    }
}

/// What was found in a folder.
#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    /// Which of the entries are names for old programs, in rising order.
    dos: Vec<usize>,
    problems: Vec<LayoutError>,
}

impl Found {
    fn take(&mut self, name: &Name<'_>) -> Result<(), Stop> {
        // Its own files, and the root that names itself.
        if Reference(name.file).number() < FIRST_FREE {
            return Ok(());
        }
        if self.entries.len() >= MOST_ENTRIES {
            self.problems.push(LayoutError::TooMany { what: "names in a folder", limit: MOST_ENTRIES as u64 });
            return Err(Stop::Enough);
        }
        if name.is_dos {
            self.dos.push(self.entries.len());
        }
        self.entries.push(Entry { name: text(name.text), node: NodeId(name.file), is_folder: name.is_folder });
        Ok(())
    }

    /// Without names for old programs of what has another name here.
    fn listing(self) -> Listing {
        let Self { mut entries, dos, problems } = self;
        if !dos.is_empty() {
            let mut is_dos = vec![false; entries.len()];
            for at in dos {
                if let Some(is_dos) = is_dos.get_mut(at) {
                    *is_dos = true;
                }
            }
            let named = entries.iter().zip(&is_dos).filter(|(_, is_dos)| !**is_dos);
            let named: HashSet<NodeId> = named.map(|(entry, _)| entry.node).collect();
            let mut is_dos = is_dos.into_iter();
            entries.retain(|entry| !(is_dos.next().unwrap_or_default() && named.contains(&entry.node)));
        }
        Listing { entries, problems }
    }
}
