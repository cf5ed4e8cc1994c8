//! What is known of a disk besides its bytes: of a source, to tell sticks apart and to warn; of a restore target, to
//! refuse what would be lost.
//!
//! Always true here:
//! - Looking changes nothing, on the target least of all.
//! - "Nothing there" is said of a target only after its first and last bytes were read and were zeros. What is not known
//!   counts as content.

use std::io;
use std::path::{Path, PathBuf};

use super::{ImageError, RawDisk, system};
use crate::disk::{DiskOffset, ReadAt, ReadError, is_zero};

/// Bytes that are looked at from a target's start: a little over 64 KiB, to where Btrfs has its signature.
const HEAD: u64 = 68 << 10;
/// Bytes that are looked at from a target's end, where a GPT keeps its copy.
const TAIL: u64 = 64 << 10;

/// What the system tells about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// Whether it is a block device and not a regular file.
    pub is_block_device: bool,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// The serial number that the hardware gives, trimmed.
    pub serial: Option<String>,
    /// The model that the hardware gives, trimmed.
    pub model: Option<String>,
    /// Where the disk, a partition of it, or anything built upon it is mounted now. A mounted source changes
    /// while it is read.
    pub mounted: Vec<PathBuf>,
}

/// What the system modules find out; a source's and a target's facts are made of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) serial: Option<String>,
    pub(super) model: Option<String>,
    pub(super) mounted: Vec<PathBuf>,
}

/// What a restore target is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// Nothing has that name yet; a regular file can be made.
    Missing,
    /// A regular file.
    File,
    /// A block device.
    BlockDevice,
}

/// What a restore would overwrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetContent {
    /// There are no bytes: the target is missing, or an empty file.
    Nothing,
    /// The first 68 KiB and the last 64 KiB are zeros.
    Zeros,
    /// A GUID partition table, at the start or the end.
    Gpt,
    /// A master boot record with at least one partition.
    Mbr,
    /// A signature of a file system, or of another structure that fills a disk; its name.
    FileSystem(&'static str),
    /// Bytes that are not zero and say nothing that is known here.
    Unknown,
}

impl std::fmt::Display for TargetContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Zeros => f.write_str("zeros at its start and end"),
            Self::Gpt => f.write_str("a GUID partition table"),
            Self::Mbr => f.write_str("an MBR partition table"),
            Self::FileSystem(name) => f.write_str(name),
            Self::Unknown => f.write_str("unknown data"),
        }
    }
}

/// What is known of a restore target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// What it is.
    pub kind: TargetKind,
    /// Bytes that it has now; 0 when it is missing.
    pub size: u64,
    /// Logical sector size in bytes; 512 for files.
    pub sector_size: u32,
    /// The serial number that the hardware gives, to show before it is overwritten.
    pub serial: Option<String>,
    /// The model that the hardware gives.
    pub model: Option<String>,
    /// Where it, a partition of it, or anything built upon it is mounted. Not complete: other name spaces are not
    /// seen.
    pub mounted: Vec<PathBuf>,
    /// Whether the system itself uses it, for a mount of any name space, swap, RAID, LVM or a loop device. Writing
    /// then destroys what is in use.
    pub claimed: bool,
    /// What would be overwritten.
    pub content: TargetContent,
}

/// Looks at a restore target without changing it.
///
/// # Errors
/// [`ImageError`]; a missing target is an error only among the device nodes, where a mistyped device would become a
/// file in memory.
pub fn target_facts(path: &Path) -> Result<TargetFacts, ImageError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(path),
        _ => {}
    }
    let disk = RawDisk::open(path)?;
    let found = system::facts(disk.metadata());
    let claimed = system::is_claimed(path, disk.metadata()).map_err(|source| ImageError::System {
        action: "asking for exclusive use",
        path: path.to_owned(),
        source,
    })?;
    let content = content(&disk).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    Ok(TargetFacts {
        kind: if disk.is_block_device() { TargetKind::BlockDevice } else { TargetKind::File },
        size: disk.size(),
        sector_size: disk.sector_size(),
        serial: found.serial,
        model: found.model,
        mounted: found.mounted,
        claimed,
        content,
    })
}

fn missing(path: &Path) -> Result<TargetFacts, ImageError> {
    if system::in_device_folder(path) {
        return Err(ImageError::NoSuchDevice { path: path.to_owned() });
    }
    Ok(TargetFacts {
        kind: TargetKind::Missing,
        size: 0,
        sector_size: 512,
        serial: None,
        model: None,
        mounted: Vec::new(),
        claimed: false,
        content: TargetContent::Nothing,
    })
}

/// What a disk holds, by its first and last bytes.
///
/// # Errors
/// [`ReadError`] of those bytes.
pub fn content(disk: &dyn ReadAt) -> Result<TargetContent, ReadError> {
    let size = disk.size();
    if size == 0 {
        return Ok(TargetContent::Nothing);
    }
    let read = |start: u64, length: u64| {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        disk.read_at(DiskOffset(start), &mut bytes).map(|()| bytes)
    };
    let head = read(0, size.min(HEAD))?;
    if let Some(known) = signature(&head) {
        return Ok(known);
    }
    let tail = read(size - size.min(TAIL), size.min(TAIL))?;
    // The copy of a GPT's header is in the last sector, of either size.
    if [512, 4096].iter().any(|back| tail.len().checked_sub(*back).is_some_and(|at| has(&tail, at, b"EFI PART"))) {
        return Ok(TargetContent::Gpt);
    }
    Ok(if is_zero(&head) && is_zero(&tail) { TargetContent::Zeros } else { TargetContent::Unknown })
}

fn has(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|bytes| bytes.starts_with(magic))
}

/// Where structures that fill a disk have which bytes. What is more telling comes first.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (3, b"-FVE-FS-", "a BitLocker volume"),
    (3, b"ReFS\0\0\0\0", "a ReFS file system"),
    (82, b"FAT32   ", "a FAT32 file system"),
    (54, b"FAT16   ", "a FAT16 file system"),
    (54, b"FAT12   ", "a FAT12 file system"),
    (54, b"FAT     ", "a FAT file system"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"XFSB", "an XFS file system"),
    (0, b"hsqs", "a SquashFS file system"),
    (0, b"conectix", "a dynamic VHD file"),
    (0, b"vhdxfile", "a VHDX file"),
    (0, b"QFI\xfb", "a QCOW file"),
    (32, b"NXSB", "an APFS container"),
    (512, b"LABELONE", "an LVM physical volume"),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (1024, b"H+\0\x04", "an HFS+ file system"),
    (1024, b"HX\0\x05", "an HFS+ file system"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (4096, b"\xfc\x4e\x2b\xa9", "a member of a Linux RAID"),
    (4086, b"SWAPSPACE2", "Linux swap space"),
    (32769, b"CD001", "an ISO 9660 file system"),
    (65600, b"_BHRfS_M", "a Btrfs file system"),
];

/// The first thing that is known in a disk's first bytes.
fn signature(head: &[u8]) -> Option<TargetContent> {
    if [512, 4096].iter().any(|at| has(head, *at, b"EFI PART")) {
        return Some(TargetContent::Gpt);
    }
    if let Some((_, _, name)) = SIGNATURES.iter().find(|(at, magic, _)| has(head, *at, magic)) {
        return Some(TargetContent::FileSystem(name));
    }
    let (entries, _) = head.get(446..510)?.as_chunks::<16>();
    let is_used = |entry: &[u8; 16]| entry[0] & 0x7f == 0 && entry[4] != 0;
    (has(head, 510, b"\x55\xaa") && entries.iter().any(is_used)).then_some(TargetContent::Mbr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_of(disk: &[u8]) -> TargetContent {
        content(&disk.to_vec()).expect("a vector is readable")
    }

    fn with(size: usize, at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut disk = vec![0; size];
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        disk
    }

    #[test]
    fn zeros_are_zeros_and_a_byte_at_either_end_is_content() {
        assert_eq!(content_of(&[]), TargetContent::Nothing);
        for size in [1, 3, 511, 4097, 70_000, 1 << 20] {
            assert_eq!(content_of(&vec![0; size]), TargetContent::Zeros, "{size}");
            assert_eq!(content_of(&with(size, 0, &[1])), TargetContent::Unknown, "{size}");
            assert_eq!(content_of(&with(size, size - 1, &[1])), TargetContent::Unknown, "{size}");
        }
    }

    #[test]
    fn every_signature_is_found_at_its_place() {
        for (at, magic, name) in SIGNATURES {
            let found = content_of(&with(1 << 18, *at, magic));
            assert_eq!(found, TargetContent::FileSystem(name));
            // Cut off, it is still content.
            assert_eq!(content_of(&with(at + magic.len(), *at, magic)), found);
            assert_ne!(content_of(&with(at + 1, *at, &magic[..1])), TargetContent::Zeros);
        }
    }

    #[test]
    fn partition_tables_are_told_apart() {
        for size in [512, 4096] {
            assert_eq!(content_of(&with(1 << 18, size, b"EFI PART")), TargetContent::Gpt);
            assert_eq!(content_of(&with(1 << 18, (1 << 18) - size, b"EFI PART")), TargetContent::Gpt);
        }
        let mut mbr = with(1 << 18, 510, b"\x55\xaa");
        assert_eq!(content_of(&mbr), TargetContent::Unknown);
        mbr[446 + 16 + 4] = 7;
        assert_eq!(content_of(&mbr), TargetContent::Mbr);
    }

    #[test]
    fn a_missing_target_can_be_made_and_a_file_is_looked_into() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("target");
        let facts = target_facts(&path).expect("missing is fine");
        assert_eq!((facts.kind, facts.size, facts.content), (TargetKind::Missing, 0, TargetContent::Nothing));
        assert!(!path.exists(), "looking makes no file");
        std::fs::write(&path, with(5000, 3, b"NTFS    ")).expect("written");
        let facts = target_facts(&path).expect("a file");
        assert_eq!((facts.kind, facts.size, facts.claimed), (TargetKind::File, 5000, false));
        assert_eq!(facts.content.to_string(), "an NTFS file system");
        assert!(matches!(target_facts(folder.path()), Err(ImageError::NotADisk { .. })));
    }
}
