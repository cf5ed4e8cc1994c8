//! The questions to the operating system, answered without one: only regular files are disks, no hole is known, and
//! no device is known to be mounted. The same functions as in `linux.rs`.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use super::facts::Found;
use super::{DataRun, Kind};

/// Tells a device from another that took its name later; no devices are known here.
#[derive(Debug)]
pub(super) struct DeviceMark;

impl DeviceMark {
    pub(super) const fn of(_: &Metadata) -> Self {
        Self
    }

    pub(super) const fn lost(&self, _: &Path) -> Option<String> {
        None
    }
}

pub(super) fn kind(metadata: &Metadata) -> Kind {
    if metadata.is_file() {
        Kind::File
    } else if metadata.is_dir() {
        Kind::Other("a directory")
    } else {
        Kind::Other("a device or another special file, which this build cannot read")
    }
}

pub(super) fn sector_size(_: &File) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn next_data(_: &File, _: u64) -> io::Result<DataRun> {
    Ok(DataRun::Unknown)
}

pub(super) const fn zero_range(_: &File, _: u64, _: u64) -> io::Result<bool> {
    Ok(false)
}

pub(super) const fn free_space(_: &Path) -> Option<u64> {
    None
}

pub(super) const fn forget_cached(_: &File) {}

pub(super) const fn advise_sequential(_: &File) {}

/// By the names that the standard library has for a medium that went away.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

pub(super) fn facts(_: &Metadata) -> Found {
    Found::default()
}

pub(super) fn is_claimed(_: &Path, _: &Metadata) -> io::Result<bool> {
    Ok(false)
}

pub(super) const fn in_device_folder(_: &Path) -> bool {
    false
}
