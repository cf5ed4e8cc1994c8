//! A disk whose bytes are a regular file's or a block device's own.
//!
//! Always true here:
//! - The file is open for reading only. Every read names its offset; the file's cursor is moved by questions about
//!   size and holes alone, and nothing depends on where it stands. So threads share one open file.
//! - The size is that of the moment of opening. Bytes that are no longer there are [`ReadError::BeyondEnd`],
//!   never zeros: a hole counts as zeros only while the file still reaches behind it.
//! - A device is told from another that took its name later. A regular file that was unlinked or replaced
//!   is still read, since the open file holds its bytes.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{DataRun, ImageError, Kind, SourceFacts, open, present_size, system};
use crate::disk::{DiskOffset, ReadAt, ReadError, check_range, file_read_full_at};

/// The sector size where none is known, in bytes.
const DEFAULT_SECTOR: u32 = 512;

/// A regular file or block device, read as it is.
#[derive(Debug)]
pub struct RawDisk {
    file: File,
    /// As resolved when it was opened: a link such as `/dev/disk/by-id/…` may go and come back meanwhile.
    path: PathBuf,
    kind: Kind,
    metadata: Metadata,
    size: u64,
    sector_size: u32,
    mark: system::DeviceMark,
}

impl RawDisk {
    /// Opens a file or device for reading.
    ///
    /// # Errors
    /// [`ImageError::Open`], [`ImageError::NotADisk`] for directories, pipes and the like,
    /// [`ImageError::NoMedium`] for a device without bytes, and [`ImageError::System`].
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let (file, kind, metadata) = open(path)?;
        let failed = |action, source| ImageError::System { action, path: path.to_owned(), source };
        let size = present_size(&file, kind).map_err(|source| failed("asking the size", source))?;
        let mut sector_size = DEFAULT_SECTOR;
        if kind == Kind::BlockDevice {
            if size == 0 {
                return Err(ImageError::NoMedium { path: path.to_owned() });
            }
            sector_size = system::sector_size(&file).map_err(|source| failed("asking the sector size", source))?;
            if !sector_size.is_power_of_two() {
                sector_size = DEFAULT_SECTOR;
            }
        }
        system::advise_sequential(&file);
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mark = system::DeviceMark::of(&metadata);
        Ok(Self { file, path, kind, metadata, size, sector_size, mark })
    }

    /// The file or device, with links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is a block device and not a regular file.
    pub fn is_block_device(&self) -> bool {
        self.kind == Kind::BlockDevice
    }

    /// What the system said of the open file when it was opened.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What the system tells about the device, asked now.
    pub fn source_facts(&self) -> SourceFacts {
        let found = system::facts(&self.metadata);
        SourceFacts {
            is_block_device: self.is_block_device(),
            sector_size: self.sector_size,
            serial: found.serial,
            model: found.model,
            mounted: found.mounted,
        }
    }

    /// The present size; a device without bytes, or a file that does not answer, is gone.
    fn size_now(&self) -> Result<u64, ReadError> {
        match present_size(&self.file, self.kind) {
            Ok(0) if self.is_block_device() => {
                Err(ReadError::Gone { reason: format!("{} has a size of 0 bytes now", self.path.display()) })
            }
            Ok(size) => Ok(size),
            Err(error) => Err(self.gone(&error)),
        }
    }

    fn gone(&self, error: &io::Error) -> ReadError {
        ReadError::Gone { reason: format!("{}: {error}", self.path.display()) }
    }
}

impl ReadAt for RawDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.size)?;
        match file_read_full_at(&self.file, buffer, offset.0) {
            Ok(count) if count == buffer.len() => Ok(()),
            Ok(count) => match self.size_now()? {
                // The file ended inside the read, yet reaches behind it now: someone writes to it. A retry decides.
                size if size >= offset.0 + length => Err(ReadError::Unreadable {
                    offset,
                    length,
                    source: io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("only {count} bytes were given, though the file is {size} bytes long"),
                    ),
                }),
                size => Err(ReadError::BeyondEnd { offset, length, size }),
            },
            Err(error) if system::is_gone(&error) => Err(self.gone(&error)),
            Err(source) => Err(ReadError::Unreadable { offset, length, source }),
        }
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        if from.0 >= self.size {
            return Ok(None);
        }
        let run = match self.kind {
            Kind::File => system::next_data(&self.file, from.0),
            // A device has no holes that the system would tell.
            Kind::BlockDevice | Kind::Other(_) => Ok(DataRun::Unknown),
        };
        match run {
            Ok(DataRun::Run(start, end)) if start >= from.0 && start < end => {
                Ok((start < self.size).then(|| start..end.min(self.size)))
            }
            Ok(DataRun::NoMore) => match self.size_now()? {
                // Also the answer for an offset behind the end: a file that shrank must not pass for zeros.
                size if size < self.size => {
                    Err(ReadError::BeyondEnd { offset: from, length: self.size - from.0, size })
                }
                _ => Ok(None),
            },
            Ok(DataRun::Run(..) | DataRun::Unknown) => Ok(Some(from.0..self.size)),
            Err(error) if system::is_gone(&error) => Err(self.gone(&error)),
            Err(source) => Err(ReadError::Unreadable { offset: from, length: self.size - from.0, source }),
        }
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn still_there(&self) -> Result<(), ReadError> {
        let size = self.size_now()?;
        if self.is_block_device()
            && let Some(reason) = self.mark.lost(&self.path)
        {
            return Err(ReadError::Gone { reason });
        }
        if size < self.size {
            return Err(ReadError::BeyondEnd { offset: DiskOffset(size), length: self.size - size, size });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn files_of_any_size_are_disks() {
        for size in [0_usize, 1, 3, 511, 512, 4097] {
            let bytes: Vec<u8> = (0..size).map(|i| i as u8 | 1).collect();
            let file = file_of(&bytes);
            let disk = RawDisk::open(file.path()).expect("opens");
            assert_eq!((disk.size(), disk.sector_size(), disk.is_block_device()), (size as u64, 512, false));
            let mut read = vec![0; size];
            disk.read_at(DiskOffset(0), &mut read).expect("all of it");
            assert_eq!(read, bytes);
            let mut one = [0];
            let beyond = disk.read_at(DiskOffset(size as u64), &mut one);
            assert!(matches!(beyond, Err(ReadError::BeyondEnd { size: end, .. }) if end == size as u64));
            assert!(matches!(disk.read_at(DiskOffset(u64::MAX), &mut one), Err(ReadError::BeyondEnd { .. })));
            disk.still_there().expect("there");
        }
    }

    #[test]
    fn a_shrunk_file_is_an_error_and_not_zeros() {
        let file = file_of(&[7; 9000]);
        let disk = RawDisk::open(file.path()).expect("opens");
        file.as_file().set_len(5000).expect("cut");
        let mut buffer = [0; 4096];
        disk.read_at(DiskOffset(0), &mut buffer).expect("still inside");
        let cut = disk.read_at(DiskOffset(4096), &mut buffer);
        assert!(matches!(cut, Err(ReadError::BeyondEnd { size: 5000, length: 4096, .. })));
        assert!(matches!(disk.still_there(), Err(ReadError::BeyondEnd { size: 5000, length: 4000, .. })));
        file.as_file().set_len(0).expect("cut");
        let holes = disk.next_data(DiskOffset(0));
        // Where holes are not known, it is the read that tells.
        assert!(matches!(holes, Err(ReadError::BeyondEnd { size: 0, .. })) || holes.is_ok_and(|run| run.is_some()));
    }

    #[test]
    fn an_unlinked_file_is_still_a_disk() {
        let file = file_of(&[7; 10]);
        let disk = RawDisk::open(file.path()).expect("opens");
        drop(file);
        let mut buffer = [0; 10];
        disk.read_at(DiskOffset(0), &mut buffer).expect("the open file holds its bytes");
        disk.still_there().expect("there");
    }

    #[test]
    fn holes_are_not_read_and_the_end_stays_where_it_was() {
        const MIB: u64 = 1 << 20;
        let file = file_of(b"");
        file.as_file().set_len(8 * MIB).expect("sparse");
        crate::disk::file_write_all_at(file.as_file(), &[1; 4096], 4 * MIB).expect("written");
        let disk = RawDisk::open(file.path()).expect("opens");
        // A file that grows while it is read keeps the size that it had.
        crate::disk::file_write_all_at(file.as_file(), &[1; 4096], 8 * MIB).expect("written");
        let mut from = 0;
        let mut data = 0;
        while let Some(run) = disk.next_data(DiskOffset(from)).expect("known") {
            assert!(run.start >= from && run.start < run.end && run.end <= 8 * MIB, "{run:?}");
            data += run.end - run.start;
            // Whatever is left out reads as zeros.
            let mut skipped = vec![1; (run.start - from) as usize];
            disk.read_at(DiskOffset(from), &mut skipped).expect("inside");
            assert!(crate::disk::is_zero(&skipped));
            from = run.end;
        }
        assert!((4096..=8 * MIB).contains(&data));
        assert_eq!(disk.next_data(DiskOffset(8 * MIB)).expect("known"), None);
        assert_eq!(disk.next_data(DiskOffset(u64::MAX)).expect("known"), None);
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let directory = RawDisk::open(folder.path()).expect_err("a directory");
        assert!(directory.to_string().contains("is a directory; a regular file or a block device"), "{directory}");
        let missing = RawDisk::open(&folder.path().join("missing"));
        assert!(matches!(missing, Err(ImageError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound));
    }
}
