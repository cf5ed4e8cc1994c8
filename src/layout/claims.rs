//! What the reader of one volume, or of a partition table, says about its bytes; nothing of it is believed yet.
//!
//! Always true here:
//! - Offsets are bytes of the volume, from its first one. What is claimed may overlap, leave the volume or be absurd: that is found
//!   out when the claims are resolved, not by the reader.
//! - The memory that claims take is bounded: behind [`Claims::MOST_EXTENTS`] extents a reader is told to give up.
//! - To claim nothing is always right: bytes that nobody claims are kept in disk order.

use super::LayoutError;
use super::extents::{grouped, push_group};
use crate::disk::Extent;

/// What a stream holds, as far as cutting it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The valid bytes of a file, or of another attribute that is written like one.
    File,
    /// Records that change in place and never shift: partition tables, file allocation tables, the MFT, directories, bitmaps.
    Records,
}

/// Something that the reader met and that a person should hear of. The bytes are kept all the same.
#[derive(Debug)]
pub struct Note {
    /// What is done because of it, as in "the file is kept in disk order".
    pub consequence: &'static str,
    /// What is wrong.
    pub cause: LayoutError,
}

/// The claims on one volume.
#[derive(Debug, Default)]
pub struct Claims {
    /// Kind of each stream, and how many of `extents` are its own.
    pub(super) streams: Vec<(Content, u32)>,
    pub(super) extents: Vec<Extent>,
    pub(super) slack: Vec<Extent>,
    pub(super) scratch: Vec<Extent>,
    pub(super) free: Vec<Extent>,
    pub(super) doubts_free: bool,
    pub(super) notes: Vec<Note>,
    /// Notes beyond those that are kept.
    pub(super) notes_left_out: u64,
}

impl Claims {
    /// The most extents that are taken in all.
    pub const MOST_EXTENTS: usize = 8 << 20;
    /// The most notes that are kept; the others are counted.
    pub const MOST_NOTES: usize = 100;

    /// Claims nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Claims a stream: these extents, in the order in which its content goes through them. Empty extents are left out.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`]: the reader gives up, and what it claimed so far stands.
    pub fn stream(&mut self, content: Content, extents: &[Extent]) -> Result<(), LayoutError> {
        push_group(&mut self.streams, &mut self.extents, content, extents);
        self.room()
    }

    /// Claims bytes of a file's clusters that are not its content: behind its end, or behind its valid length.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`].
    pub fn slack(&mut self, extent: Extent) -> Result<(), LayoutError> {
        push_joined(&mut self.slack, extent);
        self.room()
    }

    /// Claims bytes whose content is worth nothing to anybody, such as a page file's.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`].
    pub fn scratch(&mut self, extent: Extent) -> Result<(), LayoutError> {
        push_joined(&mut self.scratch, extent);
        self.room()
    }

    /// Says that no file uses these bytes. Told in rising order, neighbours are joined.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`].
    pub fn free(&mut self, extent: Extent) -> Result<(), LayoutError> {
        push_joined(&mut self.free, extent);
        self.room()
    }

    /// Says that what is called free may not be free: a journal that was not played back, a volume that was in use, a map of the
    /// used clusters that contradicts the files. Everything is kept then.
    pub fn doubt_free(&mut self, cause: LayoutError) {
        self.doubts_free = true;
        self.note(Note { consequence: "free clusters are kept", cause });
    }

    /// Tells something that a person should hear of.
    pub fn note(&mut self, note: Note) {
        if self.notes.len() < Self::MOST_NOTES {
            self.notes.push(note);
        } else {
            self.notes_left_out += 1;
        }
    }

    /// What was noted so far.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The streams that were claimed so far, in the order in which they were.
    pub fn streams(&self) -> impl Iterator<Item = (Content, &[Extent])> {
        grouped(&self.streams, &self.extents)
    }

    /// What was called free so far, in the order in which it was.
    pub fn free_extents(&self) -> &[Extent] {
        &self.free
    }

    /// What was called slack so far.
    pub fn slack_extents(&self) -> &[Extent] {
        &self.slack
    }

    /// What was called scratch so far.
    pub fn scratch_extents(&self) -> &[Extent] {
        &self.scratch
    }

    /// Whether what is called free is in doubt.
    pub const fn doubts_free(&self) -> bool {
        self.doubts_free
    }

    fn room(&self) -> Result<(), LayoutError> {
        let count = self.extents.len() + self.slack.len() + self.scratch.len() + self.free.len();
        if count <= Self::MOST_EXTENTS {
            return Ok(());
        }
        Err(LayoutError::TooMany { what: "extents", limit: Self::MOST_EXTENTS as u64 })
    }
}

fn push_joined(list: &mut Vec<Extent>, extent: Extent) {
    match list.last_mut() {
        _ if extent.length == 0 => {}
        Some(last) if last.end() == Some(extent.start) => last.length = last.length.saturating_add(extent.length),
        _ => list.push(extent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskOffset;

    fn extent(start: u64, length: u64) -> Extent {
        Extent { start: DiskOffset(start), length }
    }

    #[test]
    fn neighbours_are_joined_inside_of_a_stream_and_not_across() {
        let mut claims = Claims::new();
        claims.stream(Content::File, &[extent(0, 4), extent(4, 4), extent(8, 0), extent(20, 1)]).expect("room");
        claims.stream(Content::Records, &[extent(21, 9)]).expect("room");
        claims.stream(Content::File, &[extent(5, 0)]).expect("room");
        let streams: Vec<_> = claims.streams().map(|(content, extents)| (content, extents.to_vec())).collect();
        assert_eq!(
            streams,
            [(Content::File, vec![extent(0, 8), extent(20, 1)]), (Content::Records, vec![extent(21, 9)])]
        );
    }
}
