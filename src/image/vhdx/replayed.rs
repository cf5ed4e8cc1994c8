//! The container file as it is once its log is replayed, without a byte of it being written.
//!
//! Always true here:
//! - A byte comes from the log where the log wrote it, else from the file; between the file's end and the end that
//!   the log gives it, from nowhere: it is zero ([MS-VHDX] §2.3.3).
//! - Nothing is read that is known to be zero.

use std::ops::Range;
use std::sync::Arc;

use super::super::container::FileOffset;
use super::error::VhdxError;
use super::patches::Patches;
use crate::disk::{DiskOffset, ReadAt, ReadError};

/// The file with its log's changes.
pub(super) struct ReplayedFile {
    file: Arc<dyn ReadAt>,
    /// Bytes that the file has.
    stored: u64,
    /// Bytes that it has once the log is replayed.
    size: u64,
    patches: Patches,
}

/// Where bytes of the replayed file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    /// In the file, where they belong.
    File,
    /// Nowhere.
    Zero,
    /// Among the patches, from this index on.
    Log(usize),
}

impl ReplayedFile {
    /// The file as it is.
    pub(super) fn new(file: Arc<dyn ReadAt>) -> Self {
        let stored = file.size();
        Self { file, stored, size: stored, patches: Patches::default() }
    }

    /// Puts a log's changes over the file. `last` is the size that the log says the file has at least.
    pub(super) fn replay(&mut self, patches: Patches, last: u64) {
        self.size = self.stored.max(patches.end()).max(last);
        self.patches = patches;
    }

    /// Bytes of the file, with what the log adds.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// The file as it is.
    pub(super) fn raw(&self) -> &dyn ReadAt {
        &*self.file
    }

    /// Where the byte at an offset is, and for how many bytes that holds; at least one.
    pub(super) fn locate(&self, at: FileOffset) -> (Bytes, u64) {
        match self.patches.find(at.0) {
            Ok(piece) => {
                let inside = at.0 - piece.start;
                // A piece with bytes is at most a sector long.
                let bytes = piece.bytes.map_or(Bytes::Zero, |from| Bytes::Log(from + inside as usize));
                (bytes, piece.length - inside)
            }
            Err(gap) if at.0 >= self.stored => (Bytes::Zero, gap),
            Err(gap) => (Bytes::File, gap.min(self.stored - at.0)),
        }
    }

    /// Fills the buffer. Errors speak of file offsets.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::BeyondEnd`] behind the replayed size.
    pub(super) fn read(&self, at: FileOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        if at.0.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(ReadError::BeyondEnd { offset: DiskOffset(at.0), length, size: self.size });
        }
        let mut at = at.0;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (bytes, run) = self.locate(FileOffset(at));
            let count = usize::try_from(run).unwrap_or(usize::MAX).min(rest.len());
            let (piece, behind) = rest.split_at_mut(count);
            match bytes {
                Bytes::File => self.file.read_at(DiskOffset(at), piece)?,
                Bytes::Zero => piece.fill(0),
                Bytes::Log(from) => piece.copy_from_slice(self.patches.bytes(from, count)),
            }
            at += count as u64;
            rest = behind;
        }
        Ok(())
    }

    /// The first run of bytes in `range` that may be anything but zeros.
    ///
    /// # Errors
    /// [`ReadError`] where the system cannot say.
    pub(super) fn data_in(&self, range: Range<u64>) -> Result<Option<Range<u64>>, ReadError> {
        let mut at = range.start;
        while at < range.end {
            let (bytes, run) = self.locate(FileOffset(at));
            let end = at.saturating_add(run).min(range.end);
            match bytes {
                Bytes::Zero => {}
                Bytes::Log(_) => return Ok(Some(at..end)),
                Bytes::File => match self.file.next_data(DiskOffset(at))? {
                    // An answer that lies before what was asked says nothing.
                    Some(data) if data.end <= at => return Ok(Some(at..end)),
                    Some(data) if data.start < end => return Ok(Some(data.start.max(at)..data.end.min(end))),
                    Some(_) | None => {}
                },
            }
            at = end;
        }
        Ok(None)
    }

    /// Reads a structure as a whole.
    ///
    /// # Errors
    /// [`VhdxError::Truncated`] before anything is allocated, and [`VhdxError::Read`].
    pub(super) fn structure(
        &self,
        what: &'static str,
        offset: FileOffset,
        length: usize,
    ) -> Result<Vec<u8>, VhdxError> {
        let end = offset.0.checked_add(length as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(VhdxError::Truncated { what, offset, length: length as u64, size: self.size });
        }
        let mut bytes = vec![0; length];
        self.read(offset, &mut bytes).map_err(|source| VhdxError::Read { what, offset, source })?;
        Ok(bytes)
    }

    /// Reads a structure of a length that is known here.
    ///
    /// # Errors
    /// [`VhdxError::Truncated`] and [`VhdxError::Read`].
    pub(super) fn fixed<const N: usize>(
        &self,
        what: &'static str,
        offset: FileOffset,
    ) -> Result<Box<[u8; N]>, VhdxError> {
        let bytes = self.structure(what, offset, N)?.into_boxed_slice();
        bytes.try_into().map_err(|_| VhdxError::Truncated { what, offset, length: N as u64, size: self.size })
    }
}
