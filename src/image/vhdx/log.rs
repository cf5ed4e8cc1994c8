//! The log: which of its entries must be replayed, and what they write ([MS-VHDX] §2.3).
//!
//! Always true here:
//! - An entry counts only when every field, every descriptor, every data sector and the checksum hold. What is torn,
//!   old or of another identity ends a sequence and is no error by itself.
//! - A log of more than [`LOG_LIMIT`] bytes is not replayed; so no more than that is held while it is searched, and
//!   about as much for as long as the file is open.
//! - The search takes time in proportion to the log. A sector begins an entry, goes on with descriptors or holds data,
//!   and its first bytes say which; so entries that pass their checks do not overlap, but for the padding behind them.

use super::super::container::FileOffset;
use super::error::VhdxError;
use super::field::{guid_at, u32_at, u64_at};
use super::header::LogPlace;
use super::patches::{PatchBuilder, Patches};
use super::replayed::ReplayedFile;
use super::{Guid, LOG_SECTOR, REGION_TABLES, crc};

/// Bytes of the largest log that is replayed; Windows and QEMU make logs of 1 MiB.
pub const LOG_LIMIT: u64 = 64 << 20;

/// Bytes of the largest file that a log may ask for. No system has larger ones, and offsets below it never overflow.
const MAX_FILE_SIZE: u64 = i64::MAX as u64;

const ENTRY_SIGNATURE: &[u8; 4] = b"loge";
const ENTRY_LENGTH: usize = 8;
const TAIL: usize = 12;
const SEQUENCE_NUMBER: usize = 16;
const DESCRIPTOR_COUNT: usize = 24;
const LOG_GUID: usize = 32;
const FLUSHED_FILE_OFFSET: usize = 48;
const LAST_FILE_OFFSET: usize = 56;
/// Bytes of an entry's header; descriptors follow.
const ENTRY_HEADER: usize = 64;

const DESCRIPTOR_LENGTH: usize = 32;
const ZERO_SIGNATURE: &[u8; 4] = b"zero";
const ZERO_LENGTH: usize = 8;
const DATA_SIGNATURE: &[u8; 4] = b"desc";
const TRAILING_BYTES: usize = 4;
const LEADING_BYTES: usize = 8;
const FILE_OFFSET: usize = 16;
const DESCRIPTOR_SEQUENCE: usize = 24;

const SECTOR_SIGNATURE: &[u8; 4] = b"data";
const SEQUENCE_HIGH: usize = 4;
const SEQUENCE_LOW: usize = 4092;

/// Most bytes that an entry may have behind its last sector. Writers may align entries to more than 4 KiB, up to the
/// sector size of the host's disk, and 64 KiB is the most that the format withstands (§2.2.2, §2.3.1).
const PADDING: usize = (64 << 10) - LOG_SECTOR;

/// What replaying a log does to the file.
pub(super) struct Replay {
    pub(super) patches: Patches,
    /// Bytes that the file has at least, afterwards.
    pub(super) last: u64,
    /// How many entries were replayed.
    pub(super) entries: usize,
}

/// The log's bytes, as the ring that they are.
struct Ring<'a> {
    bytes: &'a [u8],
    id: Guid,
}

/// A valid entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where it begins in the log.
    position: usize,
    length: usize,
    /// Where the sequence that ends with it begins in the log.
    tail: usize,
    sequence: u64,
    descriptors: usize,
    flushed: u64,
    last: u64,
}

/// A descriptor, of which signature, alignment and sequence number hold.
enum Descriptor<'a> {
    Zero { offset: u64, length: u64 },
    Data { offset: u64, descriptor: &'a [u8] },
}

impl<'a> Ring<'a> {
    /// The sector that is `index` sectors behind `position`.
    fn sector(&self, position: usize, index: usize) -> &'a [u8] {
        let start = (position + index * LOG_SECTOR) % self.bytes.len();
        &self.bytes[start..start + LOG_SECTOR]
    }

    /// The valid entry at a position, if there is one.
    fn entry(&self, position: usize) -> Option<Entry> {
        let header = self.sector(position, 0);
        if !header.starts_with(ENTRY_SIGNATURE) || guid_at(header, LOG_GUID) != self.id {
            return None;
        }
        let entry = Entry {
            position,
            length: u32_at(header, ENTRY_LENGTH) as usize,
            tail: u32_at(header, TAIL) as usize,
            sequence: u64_at(header, SEQUENCE_NUMBER),
            descriptors: u32_at(header, DESCRIPTOR_COUNT) as usize,
            flushed: u64_at(header, FLUSHED_FILE_OFFSET),
            last: u64_at(header, LAST_FILE_OFFSET),
        };
        let is_placed = |bytes: usize| bytes.is_multiple_of(LOG_SECTOR) && bytes <= self.bytes.len();
        if entry.sequence == 0 || entry.length == 0 || !is_placed(entry.length) || !is_placed(entry.tail) {
            return None;
        }
        // Before any of them is looked at, so that a count that is made up costs nothing.
        let sectors = entry.length / LOG_SECTOR;
        if entry.descriptors > entry.length / DESCRIPTOR_LENGTH || entry.descriptor_sectors() > sectors {
            return None;
        }
        let mut data = entry.descriptor_sectors();
        for index in 0..entry.descriptors {
            if let Descriptor::Data { .. } = self.descriptor(&entry, index)? {
                let holds = data < sectors && {
                    let sector = self.sector(position, data);
                    sector.starts_with(SECTOR_SIGNATURE)
                        && u32_at(sector, SEQUENCE_HIGH) == (entry.sequence >> 32) as u32
                        && u32_at(sector, SEQUENCE_LOW) == entry.sequence as u32
                };
                if !holds {
                    return None;
                }
                data += 1;
            }
        }
        let padding = entry.length - data * LOG_SECTOR;
        (padding <= PADDING && self.checksum(&entry) == crc::stored(header)).then_some(entry)
    }

    fn checksum(&self, entry: &Entry) -> u32 {
        let header = self.sector(entry.position, 0);
        let mut crc = crc::Crc32c::default();
        crc.update(&header[..4]);
        crc.update(&[0; 4]);
        crc.update(&header[8..]);
        for index in 1..entry.length / LOG_SECTOR {
            crc.update(self.sector(entry.position, index));
        }
        crc.value()
    }

    /// A descriptor of an entry; `None` when it does not hold.
    fn descriptor(&self, entry: &Entry, index: usize) -> Option<Descriptor<'a>> {
        let at = ENTRY_HEADER + index * DESCRIPTOR_LENGTH;
        let sector = self.sector(entry.position, at / LOG_SECTOR);
        let descriptor = &sector[at % LOG_SECTOR..][..DESCRIPTOR_LENGTH];
        let offset = u64_at(descriptor, FILE_OFFSET);
        if !offset.is_multiple_of(LOG_SECTOR as u64) || u64_at(descriptor, DESCRIPTOR_SEQUENCE) != entry.sequence {
            return None;
        }
        if descriptor.starts_with(DATA_SIGNATURE) {
            return Some(Descriptor::Data { offset, descriptor });
        }
        let length = u64_at(descriptor, ZERO_LENGTH);
        (descriptor.starts_with(ZERO_SIGNATURE) && length.is_multiple_of(LOG_SECTOR as u64))
            .then_some(Descriptor::Zero { offset, length })
    }

    /// The newest valid and complete sequence, from its tail to its head; empty when there is none (§2.3.3).
    fn active_sequence(&self) -> Vec<Entry> {
        let mut newest: Vec<Entry> = Vec::new();
        let mut start = 0;
        while start < self.bytes.len() {
            let Some(first) = self.entry(start) else {
                start += LOG_SECTOR;
                continue;
            };
            let mut sequence = vec![first];
            let mut head = first;
            let mut end = start + first.length;
            while let Some(next) = self.entry(end % self.bytes.len()) {
                if head.sequence.checked_add(1) != Some(next.sequence) {
                    break;
                }
                sequence.push(next);
                head = next;
                end += next.length;
            }
            // Entries before the head's tail are written to their places already, and what is there now may be
            // something else: the sequence is what lies between tail and head (§2.3.2), and only that.
            let tail = sequence.iter().position(|entry| entry.position == head.tail);
            if let Some(tail) = tail
                && newest.last().is_none_or(|newest| newest.sequence < head.sequence)
            {
                newest = sequence.split_off(tail);
            }
            // Where the tail is not among them, it is not among fewer of them either: all are passed over.
            start = end;
        }
        newest
    }
}

impl Entry {
    /// Sectors that the header and the descriptors take.
    const fn descriptor_sectors(&self) -> usize {
        (ENTRY_HEADER + self.descriptors * DESCRIPTOR_LENGTH).div_ceil(LOG_SECTOR)
    }
}

/// Finds out what must be replayed.
///
/// # Errors
/// [`VhdxError::TooLarge`], [`VhdxError::NoLogSequence`], [`VhdxError::Read`]; [`VhdxError::Truncated`] when the file is
/// shorter than it was when the log was written, and [`VhdxError::Wrong`] when the log writes where no log may.
pub(super) fn replay(file: &ReplayedFile, log: &LogPlace, id: Guid, limit: u64) -> Result<Replay, VhdxError> {
    if log.length > limit {
        let limit = format!("{limit} bytes of log that must be replayed");
        return Err(VhdxError::TooLarge { what: "the log", offset: log.offset, limit });
    }
    // It fits: the limit is far below 32 bits.
    let bytes = file.structure("the log", log.offset, log.length as usize)?;
    let ring = Ring { bytes: &bytes, id };
    let sequence = ring.active_sequence();
    let Some(head) = sequence.last() else {
        return Err(VhdxError::NoLogSequence { offset: log.offset, length: log.length, id });
    };
    if file.size() < head.flushed {
        let what = "what the log says was written";
        return Err(VhdxError::Truncated { what, offset: FileOffset(0), length: head.flushed, size: file.size() });
    }
    if head.last > MAX_FILE_SIZE {
        let at = FileOffset(log.offset.0 + (head.position + LAST_FILE_OFFSET) as u64);
        let expected = format_args!("at most {MAX_FILE_SIZE}");
        return Err(VhdxError::wrong("the size that a log entry gives the file", at, expected, head.last));
    }
    let mut builder = PatchBuilder::default();
    for entry in &sequence {
        let mut data = entry.descriptor_sectors();
        for index in 0..entry.descriptors {
            match ring.descriptor(entry, index) {
                Some(Descriptor::Zero { offset, length }) => {
                    check_target(log, entry, offset, length)?;
                    builder.zeros(offset, length);
                }
                Some(Descriptor::Data { offset, descriptor }) => {
                    check_target(log, entry, offset, LOG_SECTOR as u64)?;
                    let mut sector = [0; LOG_SECTOR];
                    sector.copy_from_slice(ring.sector(entry.position, data));
                    sector[..8].copy_from_slice(&descriptor[LEADING_BYTES..LEADING_BYTES + 8]);
                    sector[SEQUENCE_LOW..].copy_from_slice(&descriptor[TRAILING_BYTES..TRAILING_BYTES + 4]);
                    builder.data(offset, &sector);
                    data += 1;
                }
                // It held when the entry was checked.
                None => {}
            }
        }
    }
    Ok(Replay { patches: builder.build(), last: head.last, entries: sequence.len() })
}

/// The log may write anything but the file type identifier, the headers and itself (§2.2.1, §2.2.2).
fn check_target(log: &LogPlace, entry: &Entry, offset: u64, length: u64) -> Result<(), VhdxError> {
    let (start, end) = (log.offset.0, log.offset.0 + log.length);
    let is_allowed = offset
        .checked_add(length)
        .filter(|target| *target <= MAX_FILE_SIZE)
        .is_some_and(|target| length == 0 || (offset >= REGION_TABLES[0].0 && (target <= start || offset >= end)));
    if is_allowed {
        return Ok(());
    }
    let at = FileOffset(start + entry.position as u64);
    let expected = format_args!("writes behind offset {}, and none to {start}..{end}", REGION_TABLES[0].0);
    Err(VhdxError::wrong("a log entry", at, expected, format_args!("{length} bytes at {offset}")))
}
