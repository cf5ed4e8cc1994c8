//! The version of a program: the number in the fixed part of its version resource.
//!
//! Always true here:
//! - What does not check out is as if it were not there.
//! - There is no way in circles: the tree of resources is gone down three levels, as deep as it is in a sound file.
//! - What is read is bounded: the headers, at most [`MOST_SECTIONS`] sections, [`MOST_ENTRIES`] entries of one folder of resources,
//!   and a few fields.
//!
//! Structures: Microsoft "PE Format", whose sections are named below, and for the resource itself the pages on `VS_VERSIONINFO` and
//! `VS_FIXEDFILEINFO` of the Windows API.

use crate::disk::{DiskOffset, ReadAt};
use crate::layout::field::{u16_at, u32_at};

/// The most sections of a file; section "COFF File Header": the loader takes no more either.
const MOST_SECTIONS: u16 = 96;
/// The most entries of a folder of resources that are looked at.
const MOST_ENTRIES: usize = 4096;
/// The type of version resources, `RT_VERSION`.
const VERSION: u32 = 16;
/// Which of the data directories is that of resources; section "Optional Header Data Directories".
const RESOURCES: usize = 2;
/// In an entry of a folder of resources: it leads to another folder.
const IS_FOLDER: u32 = 1 << 31;

/// Bytes from where a program's first byte would stand in memory.
#[derive(Debug, Clone, Copy)]
struct MemoryOffset(u32);

/// A section, as far as the file has it; section "Section Table".
struct Section {
    memory: u32,
    file: u32,
    length: u32,
}

/// The four parts of a program's version, such as 10.0.19041.1; `None` where it is no program or has none.
pub(super) fn file_version(file: &dyn ReadAt) -> Option<[u16; 4]> {
    let (sections, resources) = headers(file)?;
    let place = |at: MemoryOffset| {
        let section = sections.iter().find_map(|section| {
            let inside = at.0.checked_sub(section.memory).filter(|inside| *inside < section.length)?;
            Some(u64::from(section.file) + u64::from(inside))
        });
        section.map(DiskOffset)
    };
    // Section "The .rsrc Section": folders by type, by name and by language, and then the place of the data.
    let root = place(resources)?;
    let names = entry(file, root, DiskOffset(root.0), Some(VERSION))?;
    let languages = entry(file, root, folder(root, names)?, None)?;
    let leaf = entry(file, root, folder(root, languages)?, None)?;
    if leaf & IS_FOLDER != 0 {
        return None;
    }
    let data: [u8; 16] = read(file, DiskOffset(root.0 + u64::from(leaf)))?;
    // `VS_VERSIONINFO`: three lengths and kinds, its name with a NUL, two bytes up to a multiple of four, `VS_FIXEDFILEINFO`.
    let version: [u8; 40 + 52] = read(file, place(MemoryOffset(u32_at(&data, 0)))?)?;
    let name = version[6..].as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    if !name.take(16).eq("VS_VERSION_INFO\0".encode_utf16()) || u32_at(&version, 40) != 0xfeef_04bd {
        return None;
    }
    Some([u16_at(&version, 50), u16_at(&version, 48), u16_at(&version, 54), u16_at(&version, 52)])
}

/// The sections, and where the resources are.
fn headers(file: &dyn ReadAt) -> Option<(Vec<Section>, MemoryOffset)> {
    // Section "MS-DOS Stub": the place of the signature stands at 0x3c.
    let stub: [u8; 64] = read(file, DiskOffset(0))?;
    let start = u64::from(u32_at(&stub, 0x3c));
    // Sections "Signature" and "COFF File Header".
    let coff: [u8; 24] = read(file, DiskOffset(start))?;
    if !stub.starts_with(b"MZ") || !coff.starts_with(b"PE\0\0") {
        return None;
    }
    let (count, optional_length) = (u16_at(&coff, 6), u16_at(&coff, 20));
    let mut optional = vec![0; usize::from(optional_length)];
    file.read_at(DiskOffset(start + 24), &mut optional).ok()?;
    // Section "Optional Header": how many data directories there are stands before the first one.
    let directories = match u16_at(&optional, 0) {
        0x10b => 96,
        0x20b => 112,
        _ => return None,
    };
    let resources = directories + RESOURCES * 8;
    if u32_at(&optional, directories - 4) as usize <= RESOURCES
        || optional.len() < resources + 8
        || count > MOST_SECTIONS
    {
        return None;
    }
    let mut table = vec![0; usize::from(count) * 40];
    file.read_at(DiskOffset(start + 24 + u64::from(optional_length)), &mut table).ok()?;
    let section = |header: &[u8; 40]| Section {
        memory: u32_at(header, 12),
        file: u32_at(header, 20),
        length: u32_at(header, 16),
    };
    Some((table.as_chunks::<40>().0.iter().map(section).collect(), MemoryOffset(u32_at(&optional, resources))))
}

/// The folder to which an entry leads.
fn folder(root: DiskOffset, entry: u32) -> Option<DiskOffset> {
    (entry & IS_FOLDER != 0).then(|| DiskOffset(root.0 + u64::from(entry & !IS_FOLDER)))
}

/// Where the entry of a number leads, or the first one of all; sections "Resource Directory Table" and "… Entries".
fn entry(file: &dyn ReadAt, root: DiskOffset, folder: DiskOffset, number: Option<u32>) -> Option<u32> {
    debug_assert!(folder >= root, "offsets count from the root");
    let head: [u8; 16] = read(file, folder)?;
    // Those with names stand before those with numbers.
    let count = usize::from(u16_at(&head, 12)) + usize::from(u16_at(&head, 14));
    let mut entries = vec![0; count.min(MOST_ENTRIES) * 8];
    file.read_at(DiskOffset(folder.0 + 16), &mut entries).ok()?;
    let mut entries = entries.as_chunks::<8>().0.iter().map(|entry| (u32_at(entry, 0), u32_at(entry, 4)));
    entries.find(|(own, _)| number.is_none_or(|number| number == *own)).map(|(_, leads)| leads)
}

fn read<const N: usize>(file: &dyn ReadAt, at: DiskOffset) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_at(at, &mut bytes).ok().map(|()| bytes)
}
