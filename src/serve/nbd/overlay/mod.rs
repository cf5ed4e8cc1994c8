//! A disk that can be written to, over one that cannot: what is written is kept in a file of its own, and the disk below stays as it is.
//!
//! Always true here:
//! - The file belongs to one disk, of one identity and size, and to one process at a time. The system's lock on it ends with the process.
//! - A block's state says where it is only after its bytes are there, and a state becomes durable only after the bytes that it speaks of:
//!   [`Overlay::flush`] makes the blocks durable, then the map.
//! - What was flushed survives whatever ends the process or the machine. What was written after that may be there or not, each
//!   block for itself, as on a disk with a cache.
//! - After a failed sync nothing is called durable any more until the overlay is opened anew: the system may have dropped what it could not
//!   write, and would say of the next sync that it succeeded.

mod error;
mod format;
mod map;
mod system;

pub use error::{OverlayError, Problem, WriteError};

use super::lock;
use crate::disk::{DiskOffset, ReadAt, ReadError, check_range, file_read_full_at, file_write_all_at, is_zero};
use format::{BLOCK, Geometry};
use map::{Map, Page, State};
use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A disk over another one.
pub struct Overlay {
    path: PathBuf,
    file: File,
    below: Arc<dyn ReadAt>,
    geometry: Geometry,
    map: RwLock<Map>,
    /// Held while blocks change, so that two writes to parts of a block do not undo each other.
    writing: Mutex<()>,
    /// Held while blocks and map are made durable; true once that failed.
    flushing: Mutex<bool>,
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("path", &self.path).field("size", &self.geometry.size).finish_non_exhaustive()
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Closing the file ends the lock only when no process that is about to be started has the file open as well.
        _ = self.file.unlock();
    }
}

impl Overlay {
    /// Opens the overlay in the file at `path` over `below`, and makes it where there is none or an empty file. `identity` tells the disk
    /// below from all others; an overlay that was made for another one is refused.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn open(path: &Path, below: Arc<dyn ReadAt>, identity: [u8; 32]) -> Result<Self, OverlayError> {
        Self::try_open(path, below, &identity).map_err(|problem| OverlayError { path: path.to_owned(), problem })
    }

    fn try_open(path: &Path, below: Arc<dyn ReadAt>, identity: &[u8; 32]) -> Result<Self, Problem> {
        let size = below.size();
        let geometry = Geometry::new(size).ok_or(Problem::TooLarge { size })?;
        let file = system::open(path).map_err(|source| Problem::Io { action: "it cannot be opened", source })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Problem::Busy),
            Err(TryLockError::Error(source)) => return Err(Problem::Io { action: "it cannot be locked", source }),
        }
        let length = file.metadata().map_err(|source| Problem::Io { action: "it cannot be measured", source })?.len();
        let reading = |source| Problem::Io { action: "it cannot be read", source };
        let mut first = [0; BLOCK as usize];
        file_read_full_at(&file, &mut first, 0).map_err(reading)?;
        let mut map = Map::new(geometry.blocks);
        // A header of zeros is one that was about to be written: nothing was promised to anybody yet, and the map tells whether that is so.
        let is_new = length == 0 || length == geometry.file_length() && is_zero(&first);
        if !is_new {
            format::check_header(&first, &geometry, identity)?;
            if length != geometry.file_length() {
                return Err(Problem::Damaged { reason: "the file does not have the length that it should have" });
            }
        }
        let pages = if length == 0 { 0 } else { usize::try_from(geometry.pages).unwrap_or(0) };
        for index in 0..pages {
            let mut page: Page = [0; BLOCK as usize];
            let count = file_read_full_at(&file, &mut page, geometry.page(index as u64)).map_err(reading)?;
            if count < page.len() || is_new && !is_zero(&page) {
                return Err(Problem::NotAnOverlay);
            }
            map.load(index, &page)?;
        }
        if is_new {
            create(path, &file, &geometry, identity)
                .map_err(|source| Problem::Io { action: "it cannot be made", source })?;
        }
        let path = path.to_owned();
        let (map, writing, flushing) = (RwLock::new(map), Mutex::new(()), Mutex::new(false));
        Ok(Self { path, file, below, geometry, map, writing, flushing })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, action: &'static str, source: io::Error) -> OverlayError {
        OverlayError { path: self.path.clone(), problem: Problem::Io { action, source } }
    }

    fn run(&self, block: u64) -> (State, u64) {
        self.map.read().unwrap_or_else(PoisonError::into_inner).run(block)
    }

    fn set(&self, blocks: Range<u64>, state: State) {
        self.map.write().unwrap_or_else(PoisonError::into_inner).set(blocks, state);
    }

    /// Puts bytes where they belong in the file.
    fn store(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        file_write_all_at(&self.file, bytes, self.geometry.place(offset))
            .map_err(|source| WriteError::Overlay(self.failed("it cannot be written to", source)))
    }

    /// Writes bytes. They are durable after the next [`Self::flush`].
    ///
    /// # Errors
    /// [`WriteError`]; some of the bytes may have been written.
    pub fn write_at(&self, offset: DiskOffset, bytes: &[u8]) -> Result<(), WriteError> {
        check_range(offset, bytes.len() as u64, self.geometry.size).map_err(WriteError::Range)?;
        let _one = lock(&self.writing);
        let (mut at, mut rest) = (offset.0, bytes);
        while !rest.is_empty() {
            let left = rest.len() as u64;
            // The disk may end inside a block, which is whole then as far as it goes.
            let whole = match (at % BLOCK, at + left == self.geometry.size) {
                (0, true) => left,
                (0, false) => left - left % BLOCK,
                _ => 0,
            };
            let now = if whole > 0 { whole } else { left.min(BLOCK - at % BLOCK) };
            let (part, behind) = rest.split_at(usize::try_from(now).unwrap_or(rest.len()));
            if whole > 0 {
                self.store(at, part)?;
                self.set(at / BLOCK..(at + now).div_ceil(BLOCK), State::Here);
            } else {
                self.write_part(at, part)?;
            }
            (at, rest) = (at + now, behind);
        }
        Ok(())
    }

    /// Writes bytes inside of one block, and the rest of the block from below where it is not here yet.
    fn write_part(&self, at: u64, part: &[u8]) -> Result<(), WriteError> {
        let block = at / BLOCK;
        let (state, _) = self.run(block);
        if state == State::Here {
            return self.store(at, part);
        }
        let start = block * BLOCK;
        let mut bytes = [0; BLOCK as usize];
        let length = usize::try_from(BLOCK.min(self.geometry.size - start)).unwrap_or(bytes.len());
        let whole = bytes.get_mut(..length).unwrap_or(&mut []);
        if state == State::Below {
            self.below.read_at(DiskOffset(start), whole).map_err(WriteError::Below)?;
        }
        let inside = usize::try_from(at - start).unwrap_or(0);
        if let Some(place) = whole.get_mut(inside..inside + part.len()) {
            place.copy_from_slice(part);
        }
        self.store(start, whole)?;
        self.set(block..block + 1, State::Here);
        Ok(())
    }

    /// The whole blocks inside of a range.
    fn whole_blocks(&self, offset: u64, end: u64) -> Range<u64> {
        let last = if end == self.geometry.size { self.geometry.blocks } else { end / BLOCK };
        let first = offset.div_ceil(BLOCK);
        first..last.max(first)
    }

    /// Makes whole blocks zeros, and gives the space that they took back.
    fn zero_blocks(&self, blocks: Range<u64>) {
        let mut at = blocks.start;
        while at < blocks.end {
            let (state, next) = self.run(at);
            let next = next.min(blocks.end);
            if state != State::Zero {
                self.set(at..next, State::Zero);
            }
            if state == State::Here {
                system::give_back(&self.file, self.geometry.place(at * BLOCK), (next - at) * BLOCK);
            }
            at = next;
        }
    }

    /// Makes a range zeros, which takes no space but at its ends.
    ///
    /// # Errors
    /// [`WriteError`]; some of the bytes may be zeros then.
    pub fn zero(&self, offset: DiskOffset, length: u64) -> Result<(), WriteError> {
        check_range(offset, length, self.geometry.size).map_err(WriteError::Range)?;
        const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
        let end = offset.0 + length;
        let _one = lock(&self.writing);
        let blocks = self.whole_blocks(offset.0, end);
        let edge = |from: u64, to: u64| {
            if from >= to || self.run(from / BLOCK).0 == State::Zero {
                return Ok(());
            }
            self.write_part(from, ZEROS.get(..usize::try_from(to - from).unwrap_or(0)).unwrap_or(&ZEROS))
        };
        if blocks.is_empty() {
            // It may cross from one block into the next.
            let middle = (blocks.start * BLOCK).clamp(offset.0, end);
            edge(offset.0, middle)?;
            return edge(middle, end);
        }
        edge(offset.0, blocks.start * BLOCK)?;
        edge(blocks.end * BLOCK, end)?;
        self.zero_blocks(blocks);
        Ok(())
    }

    /// Forgets what is in a range: the whole blocks inside of it become zeros, and the rest stays.
    ///
    /// # Errors
    /// [`WriteError::Range`].
    pub fn trim(&self, offset: DiskOffset, length: u64) -> Result<(), WriteError> {
        check_range(offset, length, self.geometry.size).map_err(WriteError::Range)?;
        let _one = lock(&self.writing);
        self.zero_blocks(self.whole_blocks(offset.0, offset.0 + length));
        Ok(())
    }

    /// Makes everything durable that was written before this was called.
    ///
    /// # Errors
    /// [`OverlayError`]. After a sync that failed this fails always, with [`Problem::InDoubt`]; for lack of space it can be tried again.
    pub fn flush(&self) -> Result<(), OverlayError> {
        let mut failed = lock(&self.flushing);
        if *failed {
            return Err(OverlayError { path: self.path.clone(), problem: Problem::InDoubt });
        }
        let mut sync = || {
            let synced = self.file.sync_data();
            *failed |= synced.is_err();
            synced.map_err(|source| self.failed("it cannot be made durable", source))
        };
        // The bytes of every block whose state is in these copies have been written; the sync after this makes them durable.
        let pages = self.map.write().unwrap_or_else(PoisonError::into_inner).take_changed();
        sync()?;
        if pages.is_empty() {
            return Ok(());
        }
        let write =
            |(index, page): &(usize, Page)| file_write_all_at(&self.file, page, self.geometry.page(*index as u64));
        if let Err(source) = pages.iter().try_for_each(write) {
            let indices = pages.iter().map(|(index, _)| *index);
            self.map.write().unwrap_or_else(PoisonError::into_inner).mark_changed(indices);
            return Err(self.failed("its map cannot be written", source));
        }
        sync()
    }
}

/// Makes a new overlay: its length first, then its header, then its name, each durable before the next.
fn create(path: &Path, file: &File, geometry: &Geometry, identity: &[u8; 32]) -> io::Result<()> {
    file.set_len(geometry.file_length())?;
    file.sync_all()?;
    file_write_all_at(file, &format::header(geometry, identity), 0)?;
    file.sync_all()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where a folder cannot be opened, it cannot be synced either, and need not be.
    File::open(parent).map_or(Ok(()), |folder| folder.sync_all())
}

impl ReadAt for Overlay {
    fn size(&self) -> u64 {
        self.geometry.size
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        check_range(offset, buffer.len() as u64, self.geometry.size)?;
        let (mut at, mut rest) = (offset.0, buffer);
        while !rest.is_empty() {
            let (state, next) = self.run(at / BLOCK);
            let now = usize::try_from(next * BLOCK - at).map_or(rest.len(), |now| now.min(rest.len()));
            let (part, behind) = rest.split_at_mut(now);
            match state {
                State::Below => self.below.read_at(DiskOffset(at), part)?,
                State::Zero => part.fill(0),
                State::Here => {
                    let length = part.len() as u64;
                    let failed = |source| ReadError::Unreadable { offset: DiskOffset(at), length, source };
                    let count = file_read_full_at(&self.file, part, self.geometry.place(at)).map_err(failed)?;
                    if count < part.len() {
                        return Err(ReadError::Gone { reason: "the overlay's file became shorter".into() });
                    }
                }
            }
            (at, rest) = (at + now as u64, behind);
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let mut at = from.0;
        // What the disk below said last, which may serve several runs.
        let mut below: Option<Option<Range<u64>>> = None;
        while at < self.geometry.size {
            let (state, next) = self.run(at / BLOCK);
            let end = (next * BLOCK).min(self.geometry.size);
            match state {
                State::Zero => {}
                State::Here => return Ok(Some(at..end)),
                State::Below => {
                    let known = match below.take() {
                        Some(Some(data)) if data.start >= at => Some(data),
                        Some(None) => None,
                        _ => self.below.next_data(DiskOffset(at))?,
                    };
                    if let Some(data) = known.as_ref().filter(|data| data.start < end && data.end > at) {
                        return Ok(Some(data.start.max(at)..data.end.min(end)));
                    }
                    below = Some(known);
                }
            }
            at = end;
        }
        Ok(None)
    }

    fn sector_size(&self) -> u32 {
        self.below.sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.below.still_there()
    }
}
