//! Disks: anything that has a size in bytes and can be read at an offset.
//!
//! Always true here:
//! - A disk's size does not change while it is open; a source whose size changes is an error, not a
//!   shorter answer. [`ReadAt::read_at`] fills the whole buffer or fails.
//! - An offset on a disk, an offset among the kept bytes of a snapshot and an offset in a pack are types
//!   of their own; none converts into another without being taken apart.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

macro_rules! offset_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

offset_type! {
    /// Bytes from the start of a disk.
    DiskOffset
}
offset_type! {
    /// Bytes from the start of a snapshot's kept bytes: all streams, one behind the other.
    KeptOffset
}
offset_type! {
    /// Bytes from the start of a pack object.
    PackOffset
}

/// A run of bytes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// Where it begins.
    pub start: DiskOffset,
    /// How many bytes it has; an extent in a checked map is never empty.
    pub length: u64,
}

impl Extent {
    /// The first offset behind the extent, or `None` where that is beyond 64 bits.
    pub const fn end(&self) -> Option<DiskOffset> {
        match self.start.0.checked_add(self.length) {
            Some(end) => Some(DiskOffset(end)),
            None => None,
        }
    }
}

/// Why a disk could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The medium or the system refused these bytes; others may be readable.
    Unreadable {
        /// Where the read began.
        offset: DiskOffset,
        /// How many bytes were asked for.
        length: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The disk ends before the bytes that were asked for.
    BeyondEnd {
        /// Where the read began.
        offset: DiskOffset,
        /// How many bytes were asked for.
        length: u64,
        /// How many bytes the disk has now.
        size: u64,
    },
    /// The disk went away: unplugged, deleted, or replaced.
    Gone {
        /// What shows that it is gone.
        reason: String,
    },
    /// Stored bytes that this disk is made of are damaged or missing.
    Damaged {
        /// Where the read began.
        offset: DiskOffset,
        /// What is wrong, naming the object.
        reason: String,
    },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { offset, length, .. } => write!(f, "{length} bytes at offset {offset} cannot be read"),
            Self::BeyondEnd { offset, length, size } => write!(
                f,
                "{length} bytes were expected at offset {offset}, but the disk now ends at {size} bytes: it shrank while it was read"
            ),
            Self::Gone { reason } => write!(f, "the disk is gone: {reason}"),
            Self::Damaged { offset, reason } => {
                write!(f, "the bytes at offset {offset} are damaged in the repository: {reason}")
            }
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A disk that can be read at any offset, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// The disk's size in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes that begin at `offset`.
    ///
    /// # Errors
    /// [`ReadError`]; the buffer's content is then unspecified.
    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError>;

    /// The next run of bytes at or behind `from` that may hold anything but zeros, or `None` when only zeros
    /// follow. What is outside such runs reads as zeros and need not be read.
    ///
    /// # Errors
    /// [`ReadError`] where the system cannot say.
    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        Ok((from.0 < self.size()).then(|| from.0..self.size()))
    }

    /// The smallest unit in which the medium fails, in bytes: a power of two, 512 where nothing is known.
    fn sector_size(&self) -> u32 {
        512
    }

    /// Fails with [`ReadError::Gone`] when the disk is no longer there; asked after a failed read, so that
    /// an unplugged disk is not read around sector by sector.
    ///
    /// # Errors
    /// [`ReadError::Gone`] or [`ReadError::BeyondEnd`].
    fn still_there(&self) -> Result<(), ReadError> {
        Ok(())
    }
}

macro_rules! read_through {
    ($pointer:ty) => {
        impl<D: ReadAt + ?Sized> ReadAt for $pointer {
            fn size(&self) -> u64 {
                (**self).size()
            }

            fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
                (**self).read_at(offset, buffer)
            }

            fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
                (**self).next_data(from)
            }

            fn sector_size(&self) -> u32 {
                (**self).sector_size()
            }

            fn still_there(&self) -> Result<(), ReadError> {
                (**self).still_there()
            }
        }
    };
}

read_through!(&D);
read_through!(Arc<D>);

/// A run of a disk, as a disk of its own: a partition, for one.
pub struct Part<D> {
    disk: D,
    extent: Extent,
}

impl<D: ReadAt> Part<D> {
    /// The part of `disk` that `extent` names, without what lies behind the disk's end.
    pub fn new(disk: D, extent: Extent) -> Self {
        let start = extent.start.0.min(disk.size());
        let length = extent.length.min(disk.size() - start);
        Self { disk, extent: Extent { start: DiskOffset(start), length } }
    }

    /// Where on the whole disk it lies.
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// An error of the whole disk, told in offsets of the part.
    fn told(&self, error: ReadError) -> ReadError {
        let inside = |offset: DiskOffset| DiskOffset(offset.0.saturating_sub(self.extent.start.0));
        match error {
            ReadError::Unreadable { offset, length, source } => {
                ReadError::Unreadable { offset: inside(offset), length, source }
            }
            ReadError::Damaged { offset, reason } => ReadError::Damaged { offset: inside(offset), reason },
            ReadError::BeyondEnd { offset, length, size } => {
                let size = size.saturating_sub(self.extent.start.0);
                ReadError::BeyondEnd { offset: inside(offset), length, size }
            }
            gone @ ReadError::Gone { .. } => gone,
        }
    }
}

impl<D> std::fmt::Debug for Part<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("extent", &self.extent).finish_non_exhaustive()
    }
}

impl<D: ReadAt> ReadAt for Part<D> {
    fn size(&self) -> u64 {
        self.extent.length
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.extent.length)?;
        self.disk.read_at(DiskOffset(self.extent.start.0 + offset.0), buffer).map_err(|error| self.told(error))
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        if from.0 >= self.extent.length {
            return Ok(None);
        }
        let start = self.extent.start.0;
        let data = self.disk.next_data(DiskOffset(start + from.0)).map_err(|error| self.told(error))?;
        let inside = data.map(|data| data.start.saturating_sub(start)..(data.end - start).min(self.extent.length));
        Ok(inside.filter(|data| data.start < self.extent.length))
    }

    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.disk.still_there().map_err(|error| self.told(error))
    }
}

/// Checks that a read of `length` bytes at `offset` lies on a disk of `size` bytes.
///
/// # Errors
/// [`ReadError::BeyondEnd`].
pub fn check_range(offset: DiskOffset, length: u64, size: u64) -> Result<(), ReadError> {
    match offset.0.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(ReadError::BeyondEnd { offset, length, size }),
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let beyond = || ReadError::BeyondEnd { offset, length: buffer.len() as u64, size: self.len() as u64 };
        let start = usize::try_from(offset.0).map_err(|_| beyond())?;
        let end = start.checked_add(buffer.len()).ok_or_else(beyond)?;
        buffer.copy_from_slice(self.get(start..end).ok_or_else(beyond)?);
        Ok(())
    }
}

/// Reads at `offset` without moving a shared cursor; returns how many bytes were read, 0 at the end.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn file_read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// Reads at `offset`; returns how many bytes were read, 0 at the end.
///
/// # Errors
/// What the system says.
#[cfg(windows)]
pub fn file_read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// Writes the whole buffer at `offset`.
///
/// # Errors
/// What the system says; some of the bytes may have been written.
pub fn file_write_all_at(file: &File, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        #[cfg(unix)]
        let result = std::os::unix::fs::FileExt::write_at(file, buffer, offset);
        #[cfg(windows)]
        let result = std::os::windows::fs::FileExt::seek_write(file, buffer, offset);
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                buffer = &buffer[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` from `offset` on, or says how many bytes there were.
///
/// # Errors
/// What the system says.
pub fn file_read_full_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file_read_at(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// True when every byte is zero. Runs at memory speed.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Blocks of 64 bytes OR-ed together: the compiler turns the inner loop into vector instructions.
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| block.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_seen_at_every_length_and_position() {
        for length in 0..200 {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for position in 0..length {
                bytes[position] = 1;
                assert!(!is_zero(&bytes), "length {length}, position {position}");
                bytes[position] = 0;
            }
        }
    }

    #[test]
    fn a_part_is_a_disk_that_ends_where_it_ends() {
        let disk = vec![1_u8, 2, 3, 4, 5];
        let part = Part::new(&disk, Extent { start: DiskOffset(1), length: 3 });
        let mut two = [0; 2];
        part.read_at(DiskOffset(1), &mut two).expect("inside");
        assert_eq!(two, [3, 4]);
        assert!(matches!(part.read_at(DiskOffset(2), &mut two), Err(ReadError::BeyondEnd { size: 3, .. })));
        assert_eq!(part.next_data(DiskOffset(1)).expect("known"), Some(1..3));
        assert_eq!(part.next_data(DiskOffset(3)).expect("known"), None);
        let beyond = Part::new(&disk, Extent { start: DiskOffset(4), length: u64::MAX });
        assert_eq!((beyond.size(), beyond.extent().start), (1, DiskOffset(4)));
        assert_eq!(Part::new(&disk, Extent { start: DiskOffset(9), length: 1 }).size(), 0);
    }

    #[test]
    fn a_vector_is_a_disk_with_an_end() {
        let disk = vec![1_u8, 2, 3];
        let mut two = [0; 2];
        disk.read_at(DiskOffset(1), &mut two).expect("inside");
        assert_eq!(two, [2, 3]);
        assert!(matches!(disk.read_at(DiskOffset(2), &mut two), Err(ReadError::BeyondEnd { size: 3, .. })));
        assert!(matches!(disk.read_at(DiskOffset(u64::MAX), &mut two), Err(ReadError::BeyondEnd { .. })));
        assert_eq!(disk.next_data(DiskOffset(3)).expect("known"), None);
    }
}
