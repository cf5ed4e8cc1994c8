//! The boot sector: how large sectors, clusters and records are, and where the MFT begins.
//!
//! Always true here:
//! - A boot sector that was taken describes a volume that fits the bytes that are there; its sizes are powers of two, and the
//!   MFT begins inside of it. Arithmetic on its clusters does not overflow.
//!
//! Structure: Linux-NTFS project, "$Boot"; libfsntfs documentation, chapter 3.1 "Boot record". The sizes above 64 KiB: libfsntfs,
//! "sectors per cluster block".

use super::field::{array_at, u16_at, u64_at};
use crate::layout::LayoutError;

/// Bytes of a boot sector that have a meaning.
pub(super) const LENGTH: usize = 512;
/// The least and the greatest size of a sector, in bytes.
const SECTOR: std::ops::RangeInclusive<u64> = 512..=4096;
/// The least and the greatest size of a cluster, in bytes.
const CLUSTER: std::ops::RangeInclusive<u64> = 512..=2 << 20;
/// The least and the greatest size of an MFT record, in bytes. In use are 1 and 4 KiB.
const RECORD: std::ops::RangeInclusive<u64> = 512..=64 << 10;

const OEM: usize = 3;
const BYTES_PER_SECTOR: usize = 11;
const SECTORS_PER_CLUSTER: usize = 13;
const SECTORS: usize = 40;
const MFT: usize = 48;
const MIRROR: usize = 56;
const RECORD_SIZE: usize = 64;
const INDEX_RECORD_SIZE: usize = 68;
const SERIAL: usize = 72;
const SIGNATURE: usize = 510;

/// What a boot sector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boot {
    /// Bytes of a sector.
    pub(super) sector: u64,
    /// Sectors of the volume, without its last one, which holds the copy of the boot sector.
    pub(super) sectors: u64,
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    /// Whole clusters of the volume.
    pub(super) clusters: u64,
    /// The first cluster of the MFT.
    pub(super) mft: u64,
    /// The first cluster of the copy of the MFT's first records; it may lie outside of the volume.
    pub(super) mirror: u64,
    /// Bytes of an MFT record.
    pub(super) record: u64,
    /// Bytes of an index record.
    pub(super) index_record: u64,
    /// The volume's serial number.
    pub(super) serial: u64,
}

/// What a first or last sector is.
#[derive(Debug)]
pub(super) enum Sector {
    /// That of an NTFS volume.
    Ntfs(Boot),
    /// It says that it is, and contradicts itself.
    Broken(LayoutError),
    /// It bears the signature of a boot sector, and is one of something else.
    Foreign,
    /// It is no boot sector.
    Other,
}

/// Looks at the sector that begins at `at`, in bytes of the volume.
pub(super) fn look(bytes: &[u8; LENGTH], at: u64, volume: u64) -> Sector {
    let is_signed = array_at(bytes, SIGNATURE) == Some([0x55, 0xaa]);
    match array_at(bytes, OEM) == Some(*b"NTFS    ") {
        false if is_signed => Sector::Foreign,
        false => Sector::Other,
        true if !is_signed => {
            let found = u16_at(bytes, SIGNATURE).unwrap_or_default();
            let name = "the signature of the boot sector";
            Sector::Broken(LayoutError::malformed(name, at + SIGNATURE as u64, "0xaa55", format_args!("{found:#06x}")))
        }
        true => parse(bytes, at, volume).map_or_else(Sector::Broken, Sector::Ntfs),
    }
}

fn parse(bytes: &[u8; LENGTH], at: u64, volume: u64) -> Result<Boot, LayoutError> {
    let wrong = |what, field: usize, expected: &str, found: u64| {
        Err(LayoutError::malformed(what, at + field as u64, expected, found))
    };
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let number = |at| u64_at(bytes, at).unwrap_or_default();

    let sector = u64::from(u16_at(bytes, BYTES_PER_SECTOR).unwrap_or_default());
    if !sector.is_power_of_two() || !SECTOR.contains(&sector) {
        return wrong("bytes per sector", BYTES_PER_SECTOR, "a power of two from 512 to 4096", sector);
    }
    let per_cluster = byte(SECTORS_PER_CLUSTER);
    let cluster = match per_cluster {
        0..=0x80 => Some(u64::from(per_cluster)),
        // Above 128 it is the negative exponent: 0xf4 is 2 to the power of 12.
        _ => 1_u64.checked_shl(256 - u32::from(per_cluster)),
    };
    let cluster = cluster.and_then(|sectors| sectors.checked_mul(sector)).unwrap_or_default();
    if !cluster.is_power_of_two() || !CLUSTER.contains(&cluster) {
        let expected = "a power of two that makes clusters of 512 B to 2 MiB";
        return wrong("sectors per cluster", SECTORS_PER_CLUSTER, expected, per_cluster.into());
    }
    let sectors = number(SECTORS);
    let clusters = sectors / (cluster / sector);
    if clusters == 0 || sectors.checked_mul(sector).is_none_or(|end| end > volume) {
        return wrong("sectors of the volume", SECTORS, &format!("at most {volume} bytes"), sectors);
    }
    let mft = number(MFT);
    if mft >= clusters {
        return wrong("the first cluster of the MFT", MFT, &format!("less than {clusters}"), mft);
    }
    let record = record_size(byte(RECORD_SIZE), cluster).unwrap_or_default();
    if !record.is_power_of_two() || !RECORD.contains(&record) {
        let expected = "a power of two from 512 B to 64 KiB";
        return wrong("the size of an MFT record", RECORD_SIZE, expected, byte(RECORD_SIZE).into());
    }
    let index_record = record_size(byte(INDEX_RECORD_SIZE), cluster).unwrap_or_default();
    let (mirror, serial) = (number(MIRROR), number(SERIAL));
    Ok(Boot { sector, sectors, cluster, clusters, mft, mirror, record, index_record, serial })
}

/// Clusters when positive, else the negative exponent of a power of two in bytes.
fn record_size(code: u8, cluster: u64) -> Option<u64> {
    match code.cast_signed() {
        exponent @ ..0 => 1_u64.checked_shl(exponent.unsigned_abs().into()),
        clusters => cluster.checked_mul(u64::from(clusters.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(per_cluster: u8, sectors: u64, record: u8) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[OEM..OEM + 8].copy_from_slice(b"NTFS    ");
        bytes[BYTES_PER_SECTOR + 1] = 2;
        bytes[SECTORS_PER_CLUSTER] = per_cluster;
        bytes[SECTORS..SECTORS + 8].copy_from_slice(&sectors.to_le_bytes());
        bytes[MFT] = 4;
        (bytes[RECORD_SIZE], bytes[INDEX_RECORD_SIZE]) = (record, 0xf4);
        bytes[SIGNATURE..].copy_from_slice(&[0x55, 0xaa]);
        bytes
    }

    fn boot(per_cluster: u8, sectors: u64, record: u8) -> Option<Boot> {
        match look(&sector(per_cluster, sectors, record), 0, 1 << 40) {
            Sector::Ntfs(boot) => Some(boot),
            _ => None,
        }
    }

    #[test]
    fn sizes_are_numbers_or_negative_exponents() {
        let sizes = |per_cluster, record| boot(per_cluster, 1 << 20, record).map(|boot| (boot.cluster, boot.record));
        assert_eq!(sizes(8, 0xf6), Some((4096, 1024)));
        assert_eq!(sizes(1, 2), Some((512, 1024)));
        assert_eq!(sizes(0x80, 0xf4), Some((64 << 10, 4096)));
        assert_eq!(sizes(0xf4, 0xf6), Some((2 << 20, 1024)));
        for (per_cluster, record) in
            [(0, 0xf6), (3, 0xf6), (0xf3, 0xf6), (0x81, 0xf6), (8, 0), (8, 3), (8, 0x80), (8, 0xef)]
        {
            assert_eq!(sizes(per_cluster, record), None, "{per_cluster} {record}");
        }
    }

    #[test]
    fn a_volume_that_does_not_fit_is_refused() {
        assert!(boot(8, 0, 0xf6).is_none() && boot(8, 7, 0xf6).is_none() && boot(8, 32, 0xf6).is_none());
        assert_eq!(boot(8, 47, 0xf6).map(|boot| boot.clusters), Some(5));
        assert!(boot(8, (1 << 31) + 1, 0xf6).is_none() && boot(8, u64::MAX, 0xf6).is_none());
        assert!(matches!(look(&[0; LENGTH], 0, 1 << 20), Sector::Other));
    }
}
