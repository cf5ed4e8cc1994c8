//! An NTFS volume from the outside: is it one, what does it say about itself, what does it claim.
//!
//! Always true here:
//! - A volume that opened has a boot sector that checks out and an MFT of which all parts were found.
//! - By the copy of the boot sector alone, nothing is ever called free, slack or scratch.

use super::attribute::{BITMAP, DATA, VOLUME_INFORMATION, VOLUME_NAME};
use super::boot::Boot;
use super::field::{array_at, u16_at};
use super::mft::Mft;
use super::opening::find;
use super::role;
use super::sink::{Sink, is_final};
use super::value::Value;
use super::walk::Walk;
use super::{bitmap, log};
use crate::disk::{DiskOffset, Extent, ReadAt};
use crate::layout::{Claims, Content, LayoutError, Note};

/// The volume was in use, or repairs are due ([MS-FSCC], `VOLUME_IS_DIRTY`).
const IS_DIRTY: u16 = 1;
/// The most bytes of a label: 128 characters of UTF-16, with room to spare.
const MOST_LABEL: usize = 512;
/// The most bytes of the MFT's own map that are counted: those for the most records.
const MOST_MAP: u64 = super::mft::MOST_RECORDS / 8;

/// What a volume says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NtfsFacts {
    /// Bytes of a cluster: 512 B to 2 MiB.
    pub cluster_size: u64,
    /// Bytes of a sector: 512 to 4096.
    pub sector_size: u64,
    /// Bytes of an MFT record: 1024, or 4096 on disks with sectors of that size.
    pub mft_record_size: u64,
    /// Bytes of an index record of a directory, as the boot sector says.
    pub index_record_size: u64,
    /// Whole clusters of the volume.
    pub clusters: u64,
    /// The serial number.
    pub serial: u64,
    /// The label; `None` where it has none, or where it could not be read.
    pub label: Option<String>,
    /// The version of the format, such as (3, 1); (0, 0) where it could not be read.
    pub version: (u8, u8),
    /// Whether the volume calls itself dirty, or could not be asked.
    pub is_dirty: bool,
    /// MFT records, in use or not.
    pub records: u64,
    /// Records in use, as the MFT's own map tells: files, folders and system files, and one more for each further record that a
    /// file needs. 0 where the map could not be read.
    pub files: u64,
}

/// What is asked of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NtfsOptions {
    /// Page files and spent hibernation files are content, like any other file.
    pub include_scratch: bool,
}

/// An NTFS volume.
pub struct NtfsVolume<'a> {
    volume: &'a dyn ReadAt,
    boot: Boot,
    mft: Mft,
    facts: NtfsFacts,
    /// What is wrong with the first boot sector, when its copy was used.
    by_copy: Option<String>,
    /// Why `$Volume` does not say whether the volume is in order.
    unasked: Option<String>,
}

impl std::fmt::Debug for NtfsVolume<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NtfsVolume").field("facts", &self.facts).field("by_copy", &self.by_copy).finish_non_exhaustive()
    }
}

impl<'a> NtfsVolume<'a> {
    /// Opens a volume whose first byte is that of its boot sector; `None` when there is no NTFS.
    ///
    /// The copy of the boot sector in the last sector is used when the first one is unreadable, empty or contradicts itself, but not
    /// when another file system's boot sector stands there.
    ///
    /// # Errors
    /// [`LayoutError`]: the volume says that it is NTFS, and its MFT cannot be found; or the disk is gone.
    pub fn open(volume: &'a dyn ReadAt) -> Result<Option<Self>, LayoutError> {
        find(volume, |boot, by_copy| Self::with_boot(volume, boot, by_copy))
    }

    fn with_boot(volume: &'a dyn ReadAt, boot: Boot, by_copy: Option<String>) -> Result<Self, LayoutError> {
        let mft = Mft::open(volume, &boot)?;
        let mut facts = NtfsFacts {
            cluster_size: boot.cluster,
            sector_size: boot.sector,
            mft_record_size: boot.record,
            index_record_size: boot.index_record,
            clusters: boot.clusters,
            serial: boot.serial,
            label: None,
            version: (0, 0),
            is_dirty: true,
            records: mft.records,
            files: 0,
        };
        let mut unasked = None;
        match resident(mft.value(role::VOLUME, VOLUME_INFORMATION, volume, &boot)) {
            Ok(value) => match (array_at(&value, 8), u16_at(&value, 10)) {
                (Some([major, minor]), Some(flags)) => {
                    (facts.version, facts.is_dirty) = ((major, minor), flags & IS_DIRTY != 0);
                }
                _ => unasked = Some("too short".to_owned()),
            },
            Err(found) => unasked = Some(found),
        }
        let label = resident(mft.value(role::VOLUME, VOLUME_NAME, volume, &boot)).unwrap_or_default();
        if !label.is_empty() && label.len() <= MOST_LABEL {
            let units = label.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
            facts.label =
                Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect());
        }
        if let Ok(Some(map)) = mft.value(role::MFT, BITMAP, volume, &boot) {
            facts.files = count_bits(&map, mft.records, volume, &boot).unwrap_or_default();
        }
        Ok(Self { volume, boot, mft, facts, by_copy, unasked })
    }

    /// What the volume says about itself.
    pub const fn facts(&self) -> &NtfsFacts {
        &self.facts
    }

    /// Claims what the volume knows of its bytes.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`], or a disk that is gone. What was claimed so far stands; nothing was called free.
    pub fn claim(&self, claims: &mut Claims, options: &NtfsOptions) -> Result<(), LayoutError> {
        let Self { volume, boot, mft, .. } = self;
        self.note_doubts(claims)?;
        // The boot sector's copy lies behind the last cluster.
        let copy = Extent { start: DiskOffset(boot.sectors * boot.sector), length: boot.sector };
        if copy.end().is_some_and(|end| end.0 <= volume.size()) {
            claims.stream(Content::Records, &[copy])?;
        }
        let mut sink = Sink::new(*volume, boot, claims, options.include_scratch, self.by_copy.is_some());
        sink.stream(Content::Records, mft.places.runs(), u64::MAX)?;
        let in_use = mft.value(role::MFT, BITMAP, *volume, boot);
        let in_use = in_use.ok().flatten().filter(|map| map.valid() >= mft.records.div_ceil(8));
        Walk::new(mft, in_use, &mut sink).run()?;
        if self.by_copy.is_none() {
            self.claim_free(claims)?;
        }
        Ok(())
    }

    fn claim_free(&self, claims: &mut Claims) -> Result<(), LayoutError> {
        let Self { volume, boot, mft, .. } = self;
        let map = mft.value(role::CLUSTER_BITMAP, DATA, *volume, boot);
        let map = map.and_then(|map| map.ok_or_else(|| missing("the map of used clusters")));
        match map.and_then(|map| bitmap::claim(&map, *volume, boot, claims)) {
            Err(error) if is_final(&error) => Err(error),
            Err(cause) => {
                claims.doubt_free(cause);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Tells what was met while opening, and why free space is in doubt.
    fn note_doubts(&self, claims: &mut Claims) -> Result<(), LayoutError> {
        let Self { volume, boot, mft, .. } = self;
        if let Some(found) = &self.by_copy {
            let cause = LayoutError::malformed("the boot sector, whose copy is used", 0, "one of NTFS", found);
            claims.doubt_free(cause);
        }
        if let Some(found) = &mft.mirrored {
            let cause = LayoutError::malformed("the first MFT record", boot.mft * boot.cluster, "a sound one", found);
            claims.note(Note { consequence: "its mirror is used", cause });
        }
        if let Some(found) = &self.unasked {
            claims.doubt_free(LayoutError::malformed("the state of the volume", 0, "a version and flags", found));
        } else if self.facts.is_dirty {
            claims.doubt_free(LayoutError::malformed("the state of the volume", 0, "clean", "dirty"));
        }
        let log = mft.value(role::LOG_FILE, DATA, *volume, boot).and_then(|log| log.ok_or_else(|| missing("the log")));
        match log.and_then(|log| log::check(&log, *volume, boot)) {
            Err(error) if is_final(&error) => return Err(error),
            Err(cause) => claims.doubt_free(cause),
            Ok(()) => {}
        }
        Ok(())
    }
}

fn missing(what: &'static str) -> LayoutError {
    LayoutError::malformed(what, 0, "its content", "none")
}

/// The bytes of a value that is always in the record, or what is there instead.
fn resident(value: Result<Option<Value>, LayoutError>) -> Result<Vec<u8>, String> {
    match value {
        Ok(Some(Value::Resident(bytes))) => Ok(bytes),
        Ok(Some(Value::NonResident(..))) => Err("one in clusters".to_owned()),
        Ok(None) => Err("none".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// How many of the first bits are set.
fn count_bits(map: &Value, bits: u64, volume: &dyn ReadAt, boot: &Boot) -> Result<u64, LayoutError> {
    let length = bits.div_ceil(8).min(map.valid()).min(MOST_MAP);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    map.read("the map of used records", 0, &mut bytes, volume, boot)?;
    Ok(bytes.iter().map(|byte| u64::from(byte.count_ones())).sum())
}
