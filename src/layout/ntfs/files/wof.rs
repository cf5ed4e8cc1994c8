//! Files that Windows keeps compressed in a stream of theirs ("Compact OS").
//!
//! Always true here:
//! - The content is as long as the file's own, which is a hole; the table of its chunks lies inside of the stream and is read as far as
//!   it is needed.
//! - A chunk takes at most as many bytes as come out of it.
//!
//! Structure: [MS-FSCC] §2.1.2.1 (`IO_REPARSE_TAG_WOF`); Windows driver documentation, `WOF_EXTERNAL_INFO` and
//! `FILE_PROVIDER_EXTERNAL_INFO_V1`; wimlib, "Known values of the WOF protocol" and its table of chunk offsets, which has 8 bytes
//! for each chunk where the file has 4 GiB or more, and else 4.

use std::sync::{Arc, Mutex, PoisonError};

use super::blocks::{Blocks, Unpacked, told, unsound};
use super::pieces::Pieces;
use super::reparse::Reparse;
use crate::disk::{DiskOffset, ReadAt, ReadError};
use crate::layout::LayoutError;
use crate::layout::compressed::{CompressedError, Lzx, Xpress};
use crate::layout::ntfs::field::u32_at;

const TAG: u32 = 0x8000_0017;
/// The name of the stream with the compressed bytes.
pub(super) const STREAM: &[u8] = b"W\0o\0f\0C\0o\0m\0p\0r\0e\0s\0s\0e\0d\0D\0a\0t\0a\0";
/// The version of either structure, and the provider whose files hold their own bytes. Another one has them in an archive.
const VERSION: u32 = 1;
const OWN_BYTES: u32 = 2;
/// Bytes that are read at once, and how many such pieces are kept: of the table and of the chunks.
const PIECE: u64 = 256 << 10;
const MOST_PIECES: usize = 3;
/// What unpacks, kept for the next chunk, at most.
const MOST_IDLE: usize = 4;

/// Whether a reparse point says that the content is kept this way.
pub(super) fn is_one(reparse: Option<&Reparse>) -> bool {
    reparse.is_some_and(|reparse| reparse.tag == TAG)
}

/// Content in a stream.
struct Chunks {
    stream: Pieces<Arc<dyn ReadAt>>,
    size: u64,
    /// Bytes of a chunk, other than the last.
    chunk: u64,
    codec: Codec,
}

/// What unpacks chunks. Each reader takes one, so that they do not wait for each other.
enum Codec {
    Xpress(Idle<Xpress>),
    Lzx(Idle<Lzx>),
}

struct Idle<C>(Mutex<Vec<Box<C>>>);

impl<C> Idle<C> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn with<T>(&self, new: impl FnOnce() -> C, work: impl FnOnce(&mut C) -> T) -> T {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut codec = idle.unwrap_or_else(|| Box::new(new()));
        let result = work(&mut codec);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(codec);
        }
        result
    }
}

impl Codec {
    fn decompress(&self, input: &[u8], out: &mut [u8]) -> Result<(), CompressedError> {
        match self {
            Self::Xpress(idle) => idle.with(Xpress::new, |codec| codec.decompress(input, out)),
            Self::Lzx(idle) => idle.with(Lzx::new, |codec| codec.decompress(input, out)),
        }
    }
}

/// Opens content of so many bytes that lies compressed in a stream, as its reparse point says. `at` is where the file's record is.
///
/// # Errors
/// [`LayoutError::Unsupported`] where the bytes are in an archive or packed in a way that is not known; [`LayoutError::Malformed`]
/// where the stream is too short for its table.
pub(super) fn open(
    reparse: &Reparse,
    stream: Arc<dyn ReadAt>,
    size: u64,
    at: u64,
) -> Result<Arc<dyn ReadAt>, LayoutError> {
    let field = |at| u32_at(reparse.data(), at).unwrap_or_default();
    let unsupported = |what, number| {
        Err(LayoutError::Unsupported { what: "the content of a file", reason: format!("{what} {number} is not known") })
    };
    if (field(0), field(8)) != (VERSION, VERSION) {
        return unsupported("its overlay of version", field(0));
    }
    if field(4) != OWN_BYTES {
        return unsupported("its overlay by provider", field(4));
    }
    let xpress = || Codec::Xpress(Idle::new());
    let (chunk, codec) = match field(12) {
        0 => (4 << 10, xpress()),
        1 => (32 << 10, Codec::Lzx(Idle::new())),
        2 => (8 << 10, xpress()),
        3 => (16 << 10, xpress()),
        other => return unsupported("its compression by algorithm", other),
    };
    let chunks = Chunks { stream: Pieces::new(stream, PIECE, MOST_PIECES), size, chunk, codec };
    let (table, bytes) = (chunks.table(), chunks.stream.size());
    if table.is_none_or(|table| table > bytes) {
        let expected = format_args!("a table for {size} bytes in chunks of {chunk}");
        return Err(LayoutError::malformed(
            "the compressed bytes of a file",
            at,
            expected,
            format_args!("{bytes} bytes"),
        ));
    }
    Ok(Arc::new(Unpacked::new(chunks)))
}

impl Chunks {
    /// Bytes of an entry of the table.
    const fn entry(&self) -> u64 {
        if self.size > u32::MAX as u64 { 8 } else { 4 }
    }

    /// Bytes of the table: where each chunk but the first begins, counted from the end of the table.
    const fn table(&self) -> Option<u64> {
        self.size.div_ceil(self.chunk).saturating_sub(1).checked_mul(self.entry())
    }

    /// Where a chunk begins, counted from the end of the table.
    fn start(&self, number: u64) -> Result<u64, ReadError> {
        let Some(index) = number.checked_sub(1) else { return Ok(0) };
        let mut bytes = [0; 8];
        let (entry, _) = bytes.split_at_mut(usize::try_from(self.entry()).unwrap_or_default().min(8));
        self.stream.read_at(DiskOffset(index.saturating_mul(self.entry())), entry)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Where the bytes of a chunk lie in the stream.
    fn place(&self, number: u64) -> Result<std::ops::Range<u64>, ReadError> {
        let table = self.table().unwrap_or(u64::MAX);
        let is_last = number + 1 >= self.size.div_ceil(self.chunk);
        let start = table.saturating_add(self.start(number)?);
        let end = if is_last { self.stream.size() } else { table.saturating_add(self.start(number + 1)?) };
        Ok(start..end)
    }
}

impl Blocks for Chunks {
    fn size(&self) -> u64 {
        self.size
    }

    fn block(&self) -> u64 {
        self.chunk
    }

    fn unpack(&self, number: u64, out: &mut [u8]) -> Result<(), ReadError> {
        let (start, length) = (number.saturating_mul(self.chunk), out.len() as u64);
        let place = self.place(number).map_err(|error| told(error, start, length))?;
        let packed = place.end.checked_sub(place.start).filter(|packed| (1..=length).contains(packed));
        let Some(packed) = packed.filter(|_| place.end <= self.stream.size()) else {
            let reason = format!("a chunk of {length} bytes is said to be at {} to {}", place.start, place.end);
            return Err(unsound(start, length, reason));
        };
        let at = DiskOffset(place.start);
        if packed == length {
            return self.stream.read_at(at, out).map_err(|error| told(error, start, length));
        }
        let mut bytes = vec![0; usize::try_from(packed).unwrap_or_default()];
        self.stream.read_at(at, &mut bytes).map_err(|error| told(error, start, length))?;
        self.codec.decompress(&bytes, out).map_err(|error| unsound(start, length, error))
    }

    fn medium(&self) -> &dyn ReadAt {
        &self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 32 << 10;

    fn byte(at: u64) -> u8 {
        (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }

    /// A stream whose chunks are all stored as they are, with a table of entries of so many bytes.
    struct Stored {
        size: u64,
        entry: u64,
    }

    impl Stored {
        fn table(&self) -> u64 {
            (self.size.div_ceil(CHUNK) - 1) * self.entry
        }
    }

    impl ReadAt for Stored {
        fn size(&self) -> u64 {
            self.table() + self.size
        }

        fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            for (at, to) in (offset.0..).zip(buffer) {
                let start = (at / self.entry + 1) * CHUNK;
                *to = match at.checked_sub(self.table()) {
                    Some(inside) => byte(inside),
                    None => start.to_le_bytes()[(at % self.entry) as usize],
                };
            }
            Ok(())
        }
    }

    fn lzx() -> Reparse {
        let data = [1, 2, 1, 1].map(u32::to_le_bytes).concat();
        Reparse::parse(&[&TAG.to_le_bytes()[..], &[16, 0, 0, 0], &data].concat()).expect("sound")
    }

    #[test]
    fn entries_of_the_table_are_larger_from_4_gib_on() {
        for (size, entry) in [(u64::from(u32::MAX), 4), (1 << 32, 8), ((5 << 30) + 77, 8)] {
            let content = open(&lzx(), Arc::new(Stored { size, entry }), size, 0).expect("sound");
            assert_eq!(content.size(), size);
            for at in [0, CHUNK - 10, 123 * CHUNK + 5, size / 2, size - CHUNK - 50, size - 100] {
                let mut some = [0; 100];
                content.read_at(DiskOffset(at), &mut some).expect("sound");
                assert!(some.iter().zip(at..).all(|(found, at)| *found == byte(at)), "{size} {at}");
            }
        }
    }

    #[test]
    fn an_empty_file_has_no_chunks_and_a_short_stream_no_table() {
        let content = open(&lzx(), Arc::new(Vec::new()), 0, 0).expect("sound");
        assert_eq!((content.size(), content.next_data(DiskOffset(0)).expect("known")), (0, None));
        content.read_at(DiskOffset(0), &mut []).expect("nothing");
        assert!(open(&lzx(), Arc::new(vec![0; 3]), CHUNK + 1, 0).is_err());
        assert!(open(&lzx(), Arc::new(vec![0; 100]), u64::MAX, 0).is_err());
    }
}
