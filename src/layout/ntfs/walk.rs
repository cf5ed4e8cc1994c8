//! One pass over the MFT, in the order of its records.
//!
//! Always true here:
//! - Each record is read once, in pieces of [`PIECE`] bytes; holes of the medium are not read.
//! - A record that may be in use and cannot be believed makes free space doubtful: it may be the owner of clusters that look free.

use std::ops::Range;

use super::attribute::{Attribute, NonResident};
use super::boot::Boot;
use super::fixup;
use super::mft::Mft;
use super::record::Record;
use super::role::Role;
use super::runs::Run;
use super::sink::{Sink, Whole, is_final};
use super::value::{Value, check_sizes, decode_part};
use super::waiting::Waiting;
use crate::disk::{DiskOffset, ReadAt};
use crate::layout::LayoutError;

/// Bytes that are read at once; a multiple of a record.
const PIECE: u64 = 1 << 20;
/// Unreadable records behind which an unreadable piece is not tried record by record any more.
const MOST_UNREADABLE: u64 = 4096;
const WHAT: &str = "records of the MFT";

/// A pass under way.
pub(super) struct Walk<'a, 's> {
    mft: &'a Mft,
    sink: &'s mut Sink<'a>,
    waiting: Waiting,
    runs: Vec<Run>,
    medium: Medium,
    /// Which records are in use, as the MFT itself says.
    in_use: Option<Value>,
    unreadable: u64,
}

impl<'a, 's> Walk<'a, 's> {
    pub(super) fn new(mft: &'a Mft, in_use: Option<Value>, sink: &'s mut Sink<'a>) -> Self {
        let medium = Medium { data: 0..0, hole: 0..0 };
        Self { mft, sink, waiting: Waiting::default(), runs: Vec::new(), medium, in_use, unreadable: 0 }
    }

    /// Claims all files.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`], or a disk that is gone.
    pub(super) fn run(mut self) -> Result<(), LayoutError> {
        let boot = self.sink.boot;
        let total = self.mft.records.saturating_mul(boot.record);
        let mut buffer = vec![0; usize::try_from(PIECE.min(total)).unwrap_or_default()];
        let mut at = 0;
        while at < total {
            let length = PIECE.min(total - at);
            if !self.is_hole(at, length) {
                let count = usize::try_from(length).unwrap_or_default().min(buffer.len());
                let (piece, _) = buffer.split_at_mut(count);
                self.piece(at, piece)?;
            }
            at += length;
        }
        self.waiting.settle(self.sink)
    }

    fn piece(&mut self, at: u64, piece: &mut [u8]) -> Result<(), LayoutError> {
        let (boot, volume) = (self.sink.boot, self.sink.volume);
        let record = usize::try_from(boot.record).unwrap_or(usize::MAX);
        let first = at / boot.record;
        match self.mft.places.read(WHAT, at, piece, volume, boot) {
            Ok(()) => {
                for (number, bytes) in (first..).zip(piece.chunks_exact_mut(record)) {
                    self.record(number, bytes)?;
                }
            }
            Err(error) => {
                self.must_go_on(error)?;
                if self.unreadable > MOST_UNREADABLE {
                    return Ok(());
                }
                // Around the sectors that cannot be read.
                for (number, bytes) in (first..).zip(piece.chunks_exact_mut(record)) {
                    match self.mft.places.read(WHAT, number * boot.record, bytes, volume, boot) {
                        Ok(()) => self.record(number, bytes)?,
                        Err(error) => self.must_go_on(error)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Doubts what is free because of something unreadable, or gives up when the disk is gone.
    fn must_go_on(&mut self, error: LayoutError) -> Result<(), LayoutError> {
        if is_final(&error) {
            return Err(error);
        }
        if let LayoutError::Read { offset, .. } = &error {
            let (what, offset) = (WHAT, *offset);
            self.sink.volume.still_there().map_err(|source| LayoutError::Read { what, offset, source })?;
        }
        self.unreadable += 1;
        self.sink.claims.doubt_free(error);
        Ok(())
    }

    fn record(&mut self, number: u64, bytes: &mut [u8]) -> Result<(), LayoutError> {
        let boot = self.sink.boot;
        let place = self.mft.places.find(number * boot.record, boot);
        let origin = place.and_then(|(place, _)| place).unwrap_or_default().0;
        match Record::parse(bytes, number, origin) {
            Ok(None) => Ok(()),
            Ok(Some(record)) if record.base.is_some() || record.has_list => self.waiting.add(&record, self.sink),
            Ok(Some(record)) => self.file(&record),
            Err(cause) => {
                if fixup::is_signed(bytes, b"FILE") || self.is_in_use(number) {
                    self.sink.claims.doubt_free(cause);
                }
                Ok(())
            }
        }
    }

    /// Claims a file that is all in one record.
    fn file(&mut self, record: &Record<'_>) -> Result<(), LayoutError> {
        let mut role = None;
        for attribute in record.attributes() {
            let Some(part) = attribute.non_resident() else { continue };
            let role = role.get_or_insert_with(|| Role::of(record));
            match self.decode(record, &attribute, &part) {
                Ok(()) => {
                    let whole = Whole {
                        kind: attribute.kind,
                        name: attribute.name,
                        is_plain: attribute.is_plain(part.unit),
                        sizes: part.sizes,
                        runs: &self.runs,
                        at: record.origin + attribute.at as u64,
                    };
                    self.sink.take(role, &whole)?;
                }
                Err(error) => self.sink.refuse(error),
            }
        }
        Ok(())
    }

    fn decode(
        &mut self,
        record: &Record<'_>,
        attribute: &Attribute<'_>,
        part: &NonResident<'_>,
    ) -> Result<(), LayoutError> {
        let at = record.origin + attribute.at as u64;
        if part.lowest != 0 {
            let expected = "one that begins at cluster 0, for the file has no list";
            return Err(LayoutError::malformed("an attribute", at, expected, part.lowest));
        }
        self.runs.clear();
        let clusters = decode_part(part, record.origin, self.sink.boot, &mut self.runs)?;
        check_sizes(&part.sizes, clusters, at, self.sink.boot)
    }

    /// Whether the MFT calls a record in use; so it is when that cannot be told.
    fn is_in_use(&self, number: u64) -> bool {
        let Some(bits) = &self.in_use else { return true };
        let mut byte = [0];
        let (volume, boot) = (self.sink.volume, self.sink.boot);
        match bits.read("the map of used records", number / 8, &mut byte, volume, boot) {
            Ok(()) => byte.iter().any(|byte| byte >> (number % 8) & 1 == 1),
            Err(_) => true,
        }
    }

    /// True when a piece of the MFT is in a hole, of the MFT or of the medium.
    fn is_hole(&mut self, at: u64, length: u64) -> bool {
        let Self { mft, sink, medium, .. } = self;
        match mft.places.find(at, sink.boot) {
            Some((place, left)) if left >= length => {
                place.is_none_or(|place| medium.is_hole(place.0, length, sink.volume, sink.boot))
            }
            _ => false,
        }
    }
}

/// What is known of the medium's holes around where it was last asked.
struct Medium {
    data: Range<u64>,
    hole: Range<u64>,
}

impl Medium {
    fn is_hole(&mut self, start: u64, length: u64, volume: &dyn ReadAt, boot: &Boot) -> bool {
        if self.data.contains(&start) {
            return false;
        }
        if !self.hole.contains(&start) {
            match volume.next_data(DiskOffset(start)) {
                Ok(Some(data)) => (self.hole, self.data) = (start..data.start.max(start), data),
                Ok(None) => self.hole = start..u64::MAX,
                // It reads as it reads.
                Err(_) => self.data = start..start.saturating_add(boot.cluster),
            }
        }
        self.hole.contains(&start) && self.hole.end - start >= length
    }
}
