//! The target of a restore: a new file, or a block device.
//!
//! Always true here:
//! - A file is written beside its name and takes the name in one step when it is durable.
//! - On a file, holes stay holes; on a device, zeros are written, by the device's own means where it has them.
//! - A container is written from its start to its end: its structures go in between the disk's bytes where they lie.

use crate::disk::{DiskOffset, Extent, file_read_full_at, file_write_all_at};
use crate::image::container::{Composed, FileOffset};
use crate::image::{forget_cached, zero_range};
use crate::ops::{Cancel, OpsError};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros are written in pieces of this many bytes.
const ZEROS: usize = 1 << 20;
/// A run of zeros is asked of the system in pieces of this many bytes, so that a stop is heard.
const ZERO_STEP: u64 = 1 << 30;

/// An open target.
pub(super) struct Target {
    file: File,
    path: PathBuf,
    /// The name that the file takes in the end; none for a device.
    publish_as: Option<PathBuf>,
    /// Where the disk's bytes go; `None` where an offset on the disk is one in the target.
    layout: Option<Box<dyn Composed>>,
    /// Structures of the container that were written.
    structures: usize,
    zeros: Vec<u8>,
    zero_by_system: bool,
}

/// Where a file is written before it takes its name.
pub(super) fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".sheaf-partial");
    path.with_file_name(name)
}

impl Target {
    pub(super) fn open(
        path: &Path,
        is_device: bool,
        layout: Option<Box<dyn Composed>>,
        file_size: u64,
    ) -> Result<Self, OpsError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let publish_as = (!is_device).then(|| path.to_owned());
        let path = if is_device { path.to_owned() } else { partial_name(path) };
        let failed = |action, source| OpsError::Io { action, path: path.clone(), source };
        if !is_device {
            options.create(true).truncate(true);
        }
        let file = options.open(&path).map_err(|error| failed("opening", error))?;
        let target = Self {
            file,
            path: path.clone(),
            publish_as,
            layout,
            structures: 0,
            zeros: Vec::new(),
            zero_by_system: true,
        };
        if !is_device {
            target.file.set_len(file_size).map_err(|error| failed("setting the size of", error))?;
        }
        Ok(target)
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> OpsError {
        OpsError::Io { action, path: self.path.clone(), source }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a run of the disk lies in the target, piece by piece; a piece without a place is zeros there.
    pub(super) fn places(&self, run: Extent) -> Places<'_> {
        Places { layout: self.layout.as_deref(), run }
    }

    /// Writes bytes of the disk. Calls come in the order of the disk.
    pub(super) fn write(&mut self, start: DiskOffset, bytes: &[u8]) -> Result<(), OpsError> {
        if self.layout.is_none() {
            return self.write_at(start.0, bytes);
        }
        let mut rest = bytes;
        let places: Vec<_> = self.places(Extent { start, length: bytes.len() as u64 }).collect();
        for (place, _, length) in places {
            let (piece, behind) = rest.split_at(usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
            rest = behind;
            let Some(place) = place else {
                // What is kept has a place, since the layout was made of what is kept.
                return Err(self.failed("finding a place in", std::io::ErrorKind::InvalidInput.into()));
            };
            self.write_structures(place)?;
            self.write_at(place, piece)?;
        }
        Ok(())
    }

    fn write_at(&self, place: u64, bytes: &[u8]) -> Result<(), OpsError> {
        file_write_all_at(&self.file, bytes, place).map_err(|error| self.failed("writing to", error))
    }

    /// Writes the container's structures that lie before a place in the file.
    fn write_structures(&mut self, before: u64) -> Result<(), OpsError> {
        while let Some((at, bytes)) = self.structures().get(self.structures).filter(|(at, _)| at.0 < before) {
            self.write_at(at.0, bytes)?;
            self.structures += 1;
        }
        Ok(())
    }

    /// The container's own structures, with their places in the file.
    pub(super) fn structures(&self) -> &[(FileOffset, Arc<[u8]>)] {
        self.layout.as_ref().map_or(&[], |layout| layout.metadata())
    }

    /// Writes what of a container lies behind the disk's last byte.
    pub(super) fn finish(&mut self) -> Result<(), OpsError> {
        self.write_structures(u64::MAX)
    }

    /// Reads bytes of the disk back.
    pub(super) fn read(&self, start: DiskOffset, buffer: &mut [u8]) -> Result<(), OpsError> {
        let mut rest = buffer;
        for (place, at, length) in self.places(Extent { start, length: rest.len() as u64 }) {
            let (piece, behind) = rest.split_at_mut(usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
            rest = behind;
            match place {
                None => piece.fill(0),
                Some(place) => {
                    if !self.read_at(place, piece)? {
                        return Err(OpsError::Verify { path: self.path.clone(), offset: at });
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads bytes of the target; false where it ends before.
    pub(super) fn read_at(&self, place: u64, buffer: &mut [u8]) -> Result<bool, OpsError> {
        let count = file_read_full_at(&self.file, buffer, place).map_err(|error| self.failed("reading back", error))?;
        Ok(count == buffer.len())
    }

    /// Makes a run read as zeros.
    pub(super) fn zero(&mut self, extent: Extent, cancel: &Cancel) -> Result<(), OpsError> {
        if self.publish_as.is_some() {
            return Ok(());
        }
        let (mut start, mut left) = (extent.start.0, extent.length);
        while left > 0 {
            cancel.check()?;
            let step = left.min(ZERO_STEP);
            if self.zero_by_system {
                self.zero_by_system =
                    zero_range(&self.file, start, step).map_err(|error| self.failed("zeroing a part of", error))?;
            }
            if !self.zero_by_system {
                self.write_zeros(start, step, cancel)?;
            }
            start += step;
            left -= step;
        }
        Ok(())
    }

    fn write_zeros(&mut self, start: u64, length: u64, cancel: &Cancel) -> Result<(), OpsError> {
        self.zeros.resize(ZEROS, 0);
        let mut done = 0;
        while done < length {
            cancel.check()?;
            let count = usize::try_from(length - done).unwrap_or(ZEROS).min(ZEROS);
            self.write_at(start + done, &self.zeros[..count])?;
            done += count as u64;
        }
        Ok(())
    }

    /// A second handle, for pushing what was written on to the medium.
    pub(super) fn pusher(&self) -> Result<File, OpsError> {
        self.file.try_clone().map_err(|error| self.failed("opening", error))
    }

    /// Makes everything durable, and makes sure that a read that follows asks the medium.
    pub(super) fn sync(&self) -> Result<(), OpsError> {
        self.file.sync_all().map_err(|error| self.failed("syncing", error))?;
        forget_cached(&self.file);
        Ok(())
    }

    /// Gives a file its name.
    pub(super) fn publish(mut self) -> Result<(), OpsError> {
        let Some(name) = self.publish_as.take() else { return Ok(()) };
        std::fs::rename(&self.path, &name).map_err(|source| OpsError::Io {
            action: "renaming the finished file to",
            path: name.clone(),
            source,
        })?;
        // The name is durable when its folder is; a system that cannot open a folder has other means.
        if let Ok(folder) = File::open(super::folder_of(&name)) {
            _ = folder.sync_all();
        }
        Ok(())
    }
}

/// See [`Target::places`]: place in the target, offset on the disk, bytes.
pub(super) struct Places<'a> {
    layout: Option<&'a dyn Composed>,
    run: Extent,
}

impl Iterator for Places<'_> {
    type Item = (Option<u64>, DiskOffset, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let Extent { start, length: left } = self.run;
        if left == 0 {
            return None;
        }
        let (place, length) = match self.layout {
            None => (Some(start.0), left),
            Some(layout) => {
                let (place, length) = layout.place(start);
                // A length of 0 is said of what lies behind the disk's end.
                (place.map(|place| place.0), if length == 0 { left } else { length.min(left) })
            }
        };
        self.run = Extent { start: DiskOffset(start.0.saturating_add(length)), length: left - length };
        Some((place, start, length))
    }
}

impl Drop for Target {
    /// An unfinished file is of no use to anybody.
    fn drop(&mut self) {
        if self.publish_as.is_some() {
            _ = std::fs::remove_file(&self.path);
        }
    }
}
