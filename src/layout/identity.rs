//! The name that a disk carries in its partition table, by which a stick is known again in any port and any machine.
//!
//! Always true here:
//! - An identity comes from a structure that checks out: a GPT header by its CRC32 and its own place, a master boot record
//!   by its signature and its partition entries. Boot code that stands where a disk signature would is not one: all
//!   sticks formatted alike would bear the same name.
//! - "None" is said only of bytes that were read. When a sector was unreadable and nothing else gave a name, that
//!   is the error.
//!
//! Structures: UEFI specification 2.10, chapter 5.2 (master boot record) and 5.3.2 (GPT header).

use std::fmt;

use super::field::write_guid;
use super::partitions::mbr::{FirstSector, first_sector};
use super::partitions::{Bytes, gpt, read};
use crate::disk::{ReadAt, ReadError};

/// A disk's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The disk GUID of a GUID partition table, in the order of bytes in which it is stored.
    Gpt([u8; 16]),
    /// The disk signature of a master boot record; never 0.
    Mbr(u32),
    /// The disk has no name of its own.
    None,
}

/// `gpt-` and the GUID in its usual text form, `mbr-` and 8 hexadecimal digits, or `none`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt(guid) => {
                f.write_str("gpt-")?;
                write_guid(f, guid)
            }
            Self::Mbr(signature) => write!(f, "mbr-{signature:08x}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Finds the name of a disk.
///
/// # Errors
/// [`ReadError::Unreadable`] when no name was found and not all places could be read; every other [`ReadError`] at
/// once.
pub fn identify(disk: &dyn ReadAt) -> Result<Identity, ReadError> {
    let mut failed = None;
    let first = match sector(disk, 0, 512, &mut failed)? {
        Some(bytes) => first_sector(&bytes),
        None => FirstSector::Absent,
    };
    let found = match first {
        FirstSector::Legacy { signature: 0 } | FirstSector::Volume => Identity::None,
        FirstSector::Legacy { signature } => Identity::Mbr(signature),
        FirstSector::Absent | FirstSector::Protective => gpt_name(disk, &mut failed)?,
    };
    match failed {
        Some(error) if found == Identity::None => Err(error),
        _ => Ok(found),
    }
}

/// The name of a disk whose bytes are these. For fuzzing: any bytes give an answer.
pub fn parse(bytes: &[u8]) -> Identity {
    identify(&bytes.to_vec()).unwrap_or(Identity::None)
}

/// The GUID of the first header that checks out and has one: the primary ones, then the copies at the end. The table of partitions
/// is not checked: a disk keeps its name when an entry is damaged.
fn gpt_name(disk: &dyn ReadAt, failed: &mut Option<ReadError>) -> Result<Identity, ReadError> {
    for (size, number) in gpt::places(disk.size()) {
        if let Some(bytes) = sector(disk, number, size, failed)?
            && let Ok(Some(header)) = gpt::header(&bytes, number)
            && header.disk != [0; 16]
        {
            return Ok(Identity::Gpt(header.disk));
        }
    }
    Ok(Identity::None)
}

/// Reads a sector by its number; `None` when the disk is too short, or when it is unreadable, which is kept in `failed`.
fn sector(
    disk: &dyn ReadAt,
    number: u64,
    size: u32,
    failed: &mut Option<ReadError>,
) -> Result<Option<Vec<u8>>, ReadError> {
    let Some(start) = number.checked_mul(u64::from(size)) else { return Ok(None) };
    match read(disk, start, size as usize)? {
        Bytes::Read(bytes) => Ok(Some(bytes)),
        Bytes::Beyond => Ok(None),
        Bytes::Unreadable(error) => {
            failed.get_or_insert(error);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskOffset;
    use gpt::crc32;
    use std::io;

    const GUID: [u8; 16] =
        [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
    const GPT_NAME: &str = "gpt-c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    /// A GPT header for the sector `number`, by the table of UEFI 5.3.2.
    fn header(number: u64, other: u64, guid: [u8; 16]) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend_from_slice(b"EFI PART");
        header.extend_from_slice(&[0, 0, 1, 0]);
        header.extend_from_slice(&92_u32.to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        for field in [number, other, 34, 222] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        header.extend_from_slice(&guid);
        header.extend_from_slice(&2_u64.to_le_bytes());
        for field in [128_u32, 128, 0] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header
    }

    fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A disk of 256 sectors with a protective master boot record and both headers.
    fn gpt_disk(sector: usize) -> Vec<u8> {
        let mut disk = vec![0; 256 * sector];
        put(&mut disk, 510, &[0x55, 0xaa]);
        put(&mut disk, 440, &[1, 2, 3, 4]);
        disk[446 + 4] = 0xee;
        put(&mut disk, sector, &header(1, 255, GUID));
        put(&mut disk, 255 * sector, &header(255, 1, GUID));
        disk
    }

    fn mbr_disk() -> Vec<u8> {
        let mut disk = vec![0; 1 << 17];
        put(&mut disk, 510, &[0x55, 0xaa]);
        put(&mut disk, 440, &[0x0d, 0xf0, 0xad, 0x8b]);
        put(&mut disk, 446, &[0x80, 0, 2, 0, 7, 0, 0, 0]);
        disk
    }

    fn name(disk: &[u8]) -> String {
        parse(disk).to_string()
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_gpt_names_the_disk_with_either_sector_size() {
        for sector in [512, 4096] {
            let mut disk = gpt_disk(sector);
            assert_eq!(name(&disk), GPT_NAME);
            // Any damage to the primary leaves the copy; damage to both leaves nothing, the MBR's signature least of all.
            for damaged in [0, 11, 12, 17, 24, 56, 91] {
                let mut disk = disk.clone();
                disk[sector + damaged] ^= 1;
                assert_eq!(name(&disk), GPT_NAME, "{damaged}");
                disk[255 * sector + damaged] ^= 1;
                assert_eq!(name(&disk), "none", "{damaged}");
            }
            // Part of a sector behind the last whole one changes nothing.
            disk[sector] = 0;
            disk.extend_from_slice(&[9; 100]);
            assert_eq!(name(&disk), GPT_NAME);
        }
    }

    #[test]
    fn a_gpt_counts_without_its_protection_but_not_behind_an_mbr_or_a_volume() {
        let mut disk = gpt_disk(512);
        disk[..512].fill(0);
        assert_eq!(name(&disk), GPT_NAME);
        disk[..512].copy_from_slice(&mbr_disk()[..512]);
        assert_eq!(name(&disk), "mbr-8badf00d");
        put(&mut disk, 3, b"NTFS    ");
        assert_eq!(name(&disk), "none");
    }

    #[test]
    fn a_header_elsewhere_or_without_guid_does_not_count() {
        let mut disk = gpt_disk(512);
        put(&mut disk, 512, &header(2, 255, GUID));
        put(&mut disk, 255 * 512, &header(255, 1, [0; 16]));
        assert_eq!(name(&disk), "none");
    }

    #[test]
    fn a_header_may_be_longer_but_not_than_its_sector() {
        for (length, counts) in [(91_u32, false), (92, true), (512, true), (513, false), (u32::MAX, false)] {
            let mut disk = gpt_disk(512);
            disk.truncate(100 * 512);
            put(&mut disk, 512 + 12, &length.to_le_bytes());
            put(&mut disk, 512 + 16, &[0; 4]);
            let covered = (length as usize).min(4096);
            let crc = crc32(&disk[512..512 + covered]);
            put(&mut disk, 512 + 16, &crc.to_le_bytes());
            assert_eq!(name(&disk) == GPT_NAME, counts, "{length}");
        }
    }

    #[test]
    fn an_mbr_names_the_disk_by_its_signature() {
        let mut disk = mbr_disk();
        assert_eq!(name(&disk), "mbr-8badf00d");
        assert_eq!(name(&disk[..512]), "mbr-8badf00d");
        assert_eq!(name(&disk[..511]), "none");
        disk[446 + 16] = 0x20;
        assert_eq!(name(&disk), "none", "boot code is no table");
        disk[446 + 16] = 0;
        disk[440..444].fill(0);
        assert_eq!(name(&disk), "none");
    }

    #[test]
    fn any_bytes_give_an_answer() {
        for size in [0, 1, 3, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 8191, 8192] {
            for fill in [0, 0x55, 0xff] {
                assert_eq!(name(&vec![fill; size]), "none", "{size}");
            }
            let disk = gpt_disk(512);
            parse(&disk[..size]);
        }
    }

    /// A disk that is unreadable in ranges: first byte, and the byte behind the last one.
    struct Scratched(Vec<u8>, Vec<(u64, u64)>);

    impl ReadAt for Scratched {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            let length = buffer.len() as u64;
            if self.1.iter().any(|(start, end)| *start < offset.0 + length && offset.0 < *end) {
                return Err(ReadError::Unreadable { offset, length, source: io::Error::from_raw_os_error(5) });
            }
            self.0.read_at(offset, buffer)
        }
    }

    #[test]
    fn unreadable_sectors_are_passed_by_and_told_when_nothing_else_names_the_disk() {
        let end = 256 * 512;
        let named = |scratches: &[(u64, u64)]| {
            identify(&Scratched(gpt_disk(512), scratches.to_vec())).map(|identity| identity.to_string())
        };
        assert_eq!(named(&[(0, 1)]).expect("primary"), GPT_NAME);
        assert_eq!(named(&[(0, 8192)]).expect("copy"), GPT_NAME);
        assert!(matches!(
            named(&[(0, 8192), (end - 1, end)]),
            Err(ReadError::Unreadable { offset: DiskOffset(0), .. })
        ));
        assert!(matches!(
            named(&[(512, 513), (end - 1, end)]),
            Err(ReadError::Unreadable { offset: DiskOffset(512), .. })
        ));
    }
}
