//! Partition tables: whatever they say, the partitions that are told lie inside the disk, apart from one another and the table.
//!
//! The input is a recipe: a disk with a GPT or a master boot record, and what is written over it.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bit 0: GPT; 1: sectors of 4096 bytes; 2: make the checksums right; 3: without the copy; bits 4 to 7: partitions |
//! | 8, repeated | a structure, an offset in it of two bytes, how many bytes, and those; or a boot record's entry |
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::disk::{DiskOffset, Extent, ReadAt};
use sheaf::layout::identify;
use sheaf::layout::partitions::{Scheme, partitions, volume_kind};

const SECTORS: u64 = 128;
/// Sectors of the array of entries, of 512 bytes.
const ENTRIES: usize = 16;

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
        field.copy_from_slice(value);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |field| u32::from_le_bytes(field.try_into().expect("four")))
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn gpt(disk: &mut [u8], size: usize, copy: bool, count: u64) {
    let last = SECTORS - 1;
    let whole = (ENTRIES * 512 / size) as u64;
    put(disk, 446, &[0, 0, 2, 0, 0xee, 0, 0, 0, 1, 0, 0, 0, 127, 0, 0, 0]);
    for (own, other, entries) in [(1, last, 2), (last, 1, last - whole)] {
        if own != 1 && !copy {
            continue;
        }
        let start = own as usize * size;
        put(disk, start, b"EFI PART\0\0\x01\0\x5c\0\0\0");
        for (index, field) in [own, other, 2 + whole, last - whole - 1].into_iter().enumerate() {
            put(disk, start + 24 + index * 8, &field.to_le_bytes());
        }
        put(disk, start + 56, &[7; 16]);
        put(disk, start + 72, &entries.to_le_bytes());
        put(disk, start + 80, &(ENTRIES as u32 * 4).to_le_bytes());
        put(disk, start + 84, &128_u32.to_le_bytes());
        for index in 0..count {
            let at = entries as usize * size + index as usize * 128;
            put(disk, at, &[1; 32]);
            put(disk, at + 32, &(20 + index * 5).to_le_bytes());
            put(disk, at + 40, &(24 + index * 5).to_le_bytes());
        }
    }
}

/// Makes the checksums of a GPT right, as far as its lengths can be followed.
fn seal(disk: &mut [u8], size: usize) {
    for start in [size, (SECTORS as usize - 1) * size] {
        let Some(header) = disk.get(start..start + size).map(<[u8]>::to_vec) else { continue };
        let entries = u64::from(u32_at(&header, 72)) * size as u64;
        let length = u64::from(u32_at(&header, 80)) * u64::from(u32_at(&header, 84));
        if let Some(array) = disk.get(entries as usize..).and_then(|rest| rest.get(..length as usize)) {
            let crc = crc32(array);
            put(disk, start + 88, &crc.to_le_bytes());
        }
        put(disk, start + 16, &[0; 4]);
        let length = (u32_at(&header, 12) as usize).min(size);
        let crc = crc32(&disk[start..start + length]);
        put(disk, start + 16, &crc.to_le_bytes());
    }
}

fn mbr(disk: &mut [u8], size: usize) {
    let entry = |kind: u8, start: u32, length: u32| {
        [&[0, 0, 0, 0, kind, 0, 0, 0][..], &start.to_le_bytes(), &length.to_le_bytes()].concat()
    };
    put(disk, 440, &[1, 2, 3, 4]);
    put(disk, 446, &[entry(7, 10, 10), entry(0x0c, 20, 20), entry(5, 64, 64)].concat());
    put(disk, 64 * size + 446, &[entry(0x83, 1, 7), entry(5, 16, 16)].concat());
    put(disk, 80 * size + 446, &[entry(0x83, 1, 7), entry(5, 32, 16)].concat());
    put(disk, 96 * size + 446, &entry(0x83, 1, 7));
    for sector in [64, 80, 96] {
        put(disk, sector * size + 510, &[0x55, 0xaa]);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, operations)) = data.split_first() else { return };
    let size = if choice & 2 == 0 { 512 } else { 4096 };
    let mut disk = vec![0; SECTORS as usize * size];
    put(&mut disk, 510, &[0x55, 0xaa]);
    match choice & 1 {
        1 => gpt(&mut disk, size, choice & 8 == 0, u64::from(choice >> 4)),
        _ => mbr(&mut disk, size),
    }
    let last = SECTORS as usize - 1;
    let (operations, rest) = operations.as_chunks::<8>();
    for [structure, low, high, count, bytes @ ..] in operations {
        let places = [446, 1, 2, last, last - ENTRIES * 512 / size, 64, 80, 96, 10, 0];
        let at = match usize::from(*structure) % places.len() {
            0 => 446,
            8 => 10 * size,
            index => places[index] * size + if (5..8).contains(&index) { 446 } else { 0 },
        };
        let at = at + usize::from(u16::from_le_bytes([*low, *high]));
        put(&mut disk, at, &bytes[..usize::from(*count) % 5]);
    }
    if choice & 4 != 0 {
        seal(&mut disk, size);
    }
    if let [low, high, ..] = rest {
        disk.truncate(usize::from(u16::from_le_bytes([*low, *high])) * 64);
    }

    let table = partitions(&disk).expect("in memory");
    let mut all: Vec<Extent> = table.partitions.iter().map(|partition| partition.extent).collect();
    assert!(all.is_sorted() && table.records.is_sorted());
    all.extend(&table.records);
    all.sort_unstable();
    let mut end = DiskOffset(0);
    for extent in all {
        assert!(extent.start >= end && extent.length > 0, "{extent:?}");
        end = extent.end().expect("in 64 bits");
    }
    assert!(end.0 <= disk.size());
    assert!(table.partitions.is_empty() || !matches!(table.scheme, Scheme::Unknown | Scheme::Volume));
    assert!(table.notes.iter().all(|note| !note.cause.to_string().is_empty()));
    let mut numbers: Vec<u32> = table.partitions.iter().map(|partition| partition.number).collect();
    numbers.sort_unstable();
    assert!(numbers.array_windows().all(|[one, other]| one < other), "{numbers:?}");
    volume_kind(&disk).expect("in memory");
    identify(&disk).expect("in memory");
});
