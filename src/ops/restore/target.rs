//! The target of a restore: a new file, or a block device.
//!
//! Always true here:
//! - A file is written beside its name and takes the name in one step when it is durable.
//! - On a file, holes stay holes; on a device, zeros are written, by the device's own means where it has them.

use crate::disk::{DiskOffset, Extent, file_write_all_at};
use crate::image::{forget_cached, zero_range};
use crate::ops::{Cancel, OpsError};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// Zeros are written in pieces of this many bytes.
const ZEROS: usize = 1 << 20;
/// A run of zeros is asked of the system in pieces of this many bytes, so that a stop is heard.
const ZERO_STEP: u64 = 1 << 30;

/// An open target.
#[derive(Debug)]
pub(super) struct Target {
    file: File,
    path: PathBuf,
    /// The name that the file takes in the end; none for a device.
    publish_as: Option<PathBuf>,
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
    pub(super) fn open(path: &Path, is_device: bool, size: u64) -> Result<Self, OpsError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let publish_as = (!is_device).then(|| path.to_owned());
        let path = if is_device { path.to_owned() } else { partial_name(path) };
        let failed = |action, source| OpsError::Io { action, path: path.clone(), source };
        if !is_device {
            options.create(true).truncate(true);
        }
        let file = options.open(&path).map_err(|error| failed("opening", error))?;
        let target = Self { file, path: path.clone(), publish_as, zeros: Vec::new(), zero_by_system: true };
        if !is_device {
            target.file.set_len(size).map_err(|error| failed("setting the size of", error))?;
        }
        Ok(target)
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> OpsError {
        OpsError::Io { action, path: self.path.clone(), source }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn write(&self, start: DiskOffset, bytes: &[u8]) -> Result<(), OpsError> {
        file_write_all_at(&self.file, bytes, start.0).map_err(|error| self.failed("writing to", error))
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
            self.write(DiskOffset(start + done), &self.zeros[..count])?;
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

impl Drop for Target {
    /// An unfinished file is of no use to anybody.
    fn drop(&mut self) {
        if self.publish_as.is_some() {
            _ = std::fs::remove_file(&self.path);
        }
    }
}
