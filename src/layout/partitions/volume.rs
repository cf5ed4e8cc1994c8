//! What begins at the first byte of a partition, or of a disk without a table.
//!
//! Always true here: the answer is by content alone; what a partition table says of a partition is not asked. It is a first look:
//! the reader of the file system decides whether it holds.

use super::{Bytes, read};
use crate::disk::{ReadAt, ReadError};
use crate::layout::fat::{FatKind, Geometry};
use crate::layout::field::{array_at, guid, u16_at};
use std::fmt;

/// What a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeKind {
    /// NTFS.
    Ntfs,
    /// FAT with entries of 12 bits.
    Fat12,
    /// FAT with entries of 16 bits.
    Fat16,
    /// FAT with entries of 32 bits.
    Fat32,
    /// exFAT.
    ExFat,
    /// Encrypted by `BitLocker`, also on removable media ("To Go").
    BitLocker,
    /// Something else that has a name, but no reader here.
    Other(&'static str),
    /// Nothing that is known here.
    Unknown,
}

impl fmt::Display for VolumeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ntfs => "NTFS",
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
            Self::ExFat => "exFAT",
            Self::BitLocker => "BitLocker",
            Self::Other(name) => name,
            Self::Unknown => "unknown",
        })
    }
}

/// The GUID that a volume of `BitLocker` To Go bears at [`FVE_GUID_AT`]; to systems that do not know it, it is a FAT32 volume.
const FVE_GUID: [u8; 16] = guid(0x4967d63b_2e29_4ad8_8399_f6a339e3d001);
const FVE_GUID_AT: usize = 0x1a8;

/// Marks of file systems and containers that have no reader here: offset in bytes of the volume, mark, name. A boot signature is
/// asked for where the mark alone is short.
const OTHERS: [(u64, &[u8], &str); 13] = [
    (3, b"ReFS\0\0\0\0", "ReFS"),
    (0, b"XFSB", "XFS"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (32, b"NXSB", "APFS"),
    (512, b"LABELONE", "LVM"),
    (0, b"hsqs", "SquashFS"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
    (1024, b"H+\0\x04", "HFS+"),
    (1024, b"HX\0\x05", "HFSX"),
    (1080, &[0x53, 0xef], "ext"),
    (4086, b"SWAPSPACE2", "Linux swap"),
    (32769, b"CD001", "ISO 9660"),
    (65600, b"_BHRfS_M", "Btrfs"),
];

/// Tells what begins at the first byte of a volume.
///
/// # Errors
/// [`ReadError`] when its first sector cannot be read, or the disk is gone. Other sectors that are unreadable tell nothing.
pub fn volume_kind(volume: &dyn ReadAt) -> Result<VolumeKind, ReadError> {
    let first = match read(volume, 0, 512)? {
        Bytes::Read(bytes) => bytes,
        Bytes::Beyond => return Ok(VolumeKind::Unknown),
        Bytes::Unreadable(error) => return Err(error),
    };
    if let Some(kind) = boot_sector(&first) {
        return Ok(kind);
    }
    for (at, mark, name) in OTHERS {
        if let Bytes::Read(bytes) = read(volume, at, mark.len())?
            && bytes == mark
        {
            return Ok(VolumeKind::Other(name));
        }
    }
    Ok(VolumeKind::Unknown)
}

/// What a boot sector of 512 bytes says that its volume is, of those that have a boot sector with a signature.
pub(super) fn boot_sector(first: &[u8]) -> Option<VolumeKind> {
    if u16_at(first, 510) != super::mbr::SIGNATURE {
        return None;
    }
    match &array_at(first, 3) {
        b"NTFS    " => return Some(VolumeKind::Ntfs),
        b"EXFAT   " => return Some(VolumeKind::ExFat),
        b"-FVE-FS-" => return Some(VolumeKind::BitLocker),
        b"MSWIN4.1" if array_at(first, FVE_GUID_AT) == FVE_GUID => return Some(VolumeKind::BitLocker),
        _ => {}
    }
    let geometry = Geometry::parse(first).ok()??;
    Some(match geometry.kind() {
        FatKind::Fat12 => VolumeKind::Fat12,
        FatKind::Fat16 => VolumeKind::Fat16,
        FatKind::Fat32 => VolumeKind::Fat32,
    })
}
