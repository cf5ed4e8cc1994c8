//! What a file is, by its number, its names and its head, and so how each of its attributes is claimed.
//!
//! Always true here:
//! - A file is scratch only when it has no name but that of a scratch file in the root directory.
//! - A hibernation file is scratch only when its head says that nothing is asleep in it.
//!
//! Numbers of system files: Linux-NTFS project, "Files". Hibernation: see [`Head`].

use super::attribute::{BITMAP, DATA, FILE_NAME, INDEX_ALLOCATION};
use super::field::{array_at, part, spells, u64_at};
use super::record::{Record, Reference};
use crate::disk::is_zero;

/// Records below this one are the system's.
pub(super) const FIRST_FREE: u64 = 16;
/// `$MFT`.
pub(super) const MFT: u64 = 0;
/// `$LogFile`.
pub(super) const LOG_FILE: u64 = 2;
/// `$Volume`.
pub(super) const VOLUME: u64 = 3;
/// The root directory.
pub(super) const ROOT: u64 = 5;
/// `$Bitmap`.
pub(super) const CLUSTER_BITMAP: u64 = 6;
/// `$BadClus`.
const BAD_CLUSTERS: u64 = 8;
/// `$Extend`, the folder of further system files.
const EXTEND: u64 = 11;
/// The name space of names that Windows made for old programs.
const DOS_NAMES: u8 = 2;

/// Files whose content is worth nothing once Windows does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scratch {
    /// `pagefile.sys` and `swapfile.sys`.
    Paging,
    /// `hiberfil.sys`, unless something is asleep in it.
    Hibernation,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    number: u64,
    is_system: bool,
    scratch: Option<Scratch>,
}

/// How an attribute is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is not.
    Leave,
    /// As records: all its clusters.
    Records,
    /// As a file's content.
    File,
    /// As content of a scratch file.
    Scratch(Scratch),
}

impl Role {
    /// Looks at the names that a file has in this record.
    pub(super) fn of(record: &Record<'_>) -> Self {
        let number = record.reference.number();
        let mut role = Self { number, is_system: number < FIRST_FREE, scratch: None };
        let mut is_other = false;
        for attribute in record.attributes().filter(|attribute| attribute.kind == FILE_NAME) {
            let Some((parent, name)) = attribute.resident().and_then(file_name) else { continue };
            role.is_system |= parent == EXTEND;
            let scratch = scratch(name).filter(|_| parent == ROOT);
            is_other |= scratch.is_none();
            role.scratch = role.scratch.or(scratch);
        }
        if is_other {
            role.scratch = None;
        }
        role
    }

    /// The role of a file that has names in records that were not looked at.
    pub(super) const fn with_other_names(self) -> Self {
        Self { scratch: None, ..self }
    }

    /// How an attribute of the file is claimed.
    pub(super) fn treatment(&self, kind: u32, name: &[u8]) -> Treatment {
        match (self.number, kind) {
            // The MFT was found before the walk and is claimed from there.
            (MFT, DATA) if name.is_empty() => Treatment::Leave,
            // Its runs are the clusters that cannot be read: there is nothing to put in order.
            (BAD_CLUSTERS, DATA) if !name.is_empty() => Treatment::Leave,
            // The log is written round and round in long stretches: nearly all of what was written is new, and what was not is
            // long. Small pieces at fixed places would only make it cost more.
            (LOG_FILE, DATA) => Treatment::File,
            // Written at its end and cut off at its front, so that what remains shifts within the stream.
            _ if self.is_system && kind == DATA && spells(name, "$J") => Treatment::File,
            (_, INDEX_ALLOCATION | BITMAP) => Treatment::Records,
            _ if self.is_system => Treatment::Records,
            (_, DATA) if name.is_empty() => self.scratch.map_or(Treatment::File, Treatment::Scratch),
            _ => Treatment::File,
        }
    }
}

/// The number of the folder, and the name, of a name that is not one for old programs.
fn file_name(value: &[u8]) -> Option<(u64, &[u8])> {
    let parent = Reference(u64_at(value, 0)?).number();
    let [length, space] = array_at(value, 64)?;
    let name = part(value, 66, usize::from(length) * 2)?;
    (space != DOS_NAMES).then_some((parent, name))
}

fn scratch(name: &[u8]) -> Option<Scratch> {
    if spells(name, "pagefile.sys") || spells(name, "swapfile.sys") {
        return Some(Scratch::Paging);
    }
    spells(name, "hiberfil.sys").then_some(Scratch::Hibernation)
}

/// What the first bytes of a hibernation file say.
///
/// The signature is "hibr" or "HIBR" while a memory image waits to be resumed; "wake" or "WAKE" once it was resumed; "RSTR" while it
/// is being restored. Windows 8 and later put zeros over the header instead. Sources: ntfs-3g, `ntfs_volume_check_hiberfile`, which
/// takes "hibr" and "HIBR" for a sleeping system and all else for none; Volatility, "Hiber Address Space" ("hibr", "wake", a
/// header of zeros); Sylve, Marziale and Richard, "Modern Windows hibernation file analysis" (2016), for the capital ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A system sleeps in the file, or may be waking up from it.
    Live,
    /// What is in the file was used.
    Stale,
    /// It cannot be told.
    Unknown,
}

impl Head {
    /// Looks at the first sector or page of a hibernation file.
    pub(super) fn of(head: &[u8]) -> Self {
        let signature = array_at::<4>(head, 0).unwrap_or_default();
        match &signature.map(|letter| letter.to_ascii_lowercase()) {
            b"hibr" | b"rstr" => Self::Live,
            b"wake" => Self::Stale,
            _ if is_zero(head) => Self::Stale,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hibernation_file_is_stale_only_when_it_says_so() {
        let cases: [(&[u8], Head); 9] = [
            (b"hibr\0", Head::Live),
            (b"HIBR", Head::Live),
            (b"RSTR", Head::Live),
            (b"rstr", Head::Live),
            (b"wake", Head::Stale),
            (b"WAKE\0", Head::Stale),
            (&[0; 4096], Head::Stale),
            (b"\0\0\0\0\x01", Head::Unknown),
            (b"LINK", Head::Unknown),
        ];
        for (head, expected) in cases {
            assert_eq!(Head::of(head), expected, "{head:?}");
        }
    }

    #[test]
    fn system_files_are_records_but_for_what_is_appended_to() {
        let role = |number, is_system| Role { number, is_system, scratch: None };
        let name: Vec<u8> = "$J".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(role(LOG_FILE, true).treatment(DATA, &[]), Treatment::File);
        assert_eq!(role(9, true).treatment(DATA, b"$\0S\0"), Treatment::Records);
        assert_eq!(role(40, true).treatment(DATA, &name), Treatment::File);
        assert_eq!(role(BAD_CLUSTERS, true).treatment(DATA, &name), Treatment::Leave);
        assert_eq!(role(40, false).treatment(INDEX_ALLOCATION, &name), Treatment::Records);
        assert_eq!(role(40, false).treatment(0xc0, &[]), Treatment::File);
    }
}
