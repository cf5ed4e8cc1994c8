//! Tables made by hand, sound and hostile.

use super::{Partition, PartitionKind, PartitionTable, Scheme, VolumeKind, gpt, partitions, volume_kind};
use crate::disk::{DiskOffset, Extent, Part, ReadAt, ReadError};
use std::io;

const SECTORS: u64 = 256;

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

fn extent(start: u64, length: u64) -> Extent {
    Extent { start: DiskOffset(start), length }
}

/// One entry of 128 bytes: type, first and last sector, name.
fn gpt_entry(kind: u8, first: u64, last: u64, name: &str) -> Vec<u8> {
    let mut entry = vec![kind; 16];
    entry.extend([kind ^ 0xff; 16]);
    entry.extend(first.to_le_bytes());
    entry.extend(last.to_le_bytes());
    entry.extend([0; 8]);
    entry.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
    entry.resize(128, 0);
    entry
}

/// What a header says beyond its own place.
struct Made {
    sector: usize,
    usable: (u64, u64),
    count: u32,
    entry_size: u32,
    entries: Vec<Vec<u8>>,
}

impl Made {
    fn new(sector: usize, entries: &[(u8, u64, u64, &str)]) -> Self {
        let entries = entries.iter().map(|(kind, first, last, name)| gpt_entry(*kind, *first, *last, name)).collect();
        let array = (128 * 128 / sector) as u64;
        Self { sector, usable: (2 + array, SECTORS - 2 - array), count: 128, entry_size: 128, entries }
    }

    /// A disk with both copies and a protective master boot record.
    fn disk(&self) -> Vec<u8> {
        let mut disk = vec![0; self.sector * SECTORS as usize];
        put(&mut disk, 510, &[0x55, 0xaa]);
        put(&mut disk, 446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 255, 0, 0, 0]);
        let mut array: Vec<u8> = Vec::new();
        for entry in &self.entries {
            array.extend(entry);
            array.resize(array.len().next_multiple_of(self.entry_size as usize), 0);
        }
        array.resize((self.entry_size as usize * self.count as usize).min(self.sector * 200), 0);
        let whole = array.len().div_ceil(self.sector) as u64;
        let last = SECTORS - 1;
        for (own, other, entries) in [(1, last, 2), (last, 1, last - whole)] {
            let mut header = b"EFI PART\0\0\x01\0".to_vec();
            header.extend(92_u32.to_le_bytes());
            header.extend([0; 8]);
            for field in [own, other, self.usable.0, self.usable.1] {
                header.extend(field.to_le_bytes());
            }
            header.extend([7; 16]);
            header.extend(entries.to_le_bytes());
            for field in [self.count, self.entry_size, gpt::crc32(&array)] {
                header.extend(field.to_le_bytes());
            }
            let crc = gpt::crc32(&header);
            put(&mut header, 16, &crc.to_le_bytes());
            put(&mut disk, own as usize * self.sector, &header);
            put(&mut disk, entries as usize * self.sector, &array);
        }
        disk
    }
}

/// The table of a disk, after a look at what always holds.
fn read_table(disk: &[u8]) -> PartitionTable {
    let table = partitions(&disk.to_vec()).expect("in memory");
    let mut all: Vec<Extent> = table.partitions.iter().map(|partition| partition.extent).collect();
    assert!(all.is_sorted());
    assert!(table.records.is_sorted());
    all.extend(&table.records);
    all.sort_unstable();
    let mut end = DiskOffset(0);
    for extent in all {
        assert!(extent.start >= end && extent.length > 0, "{extent:?}");
        end = extent.end().expect("inside");
    }
    assert!(end.0 <= disk.len() as u64);
    table
}

/// The numbers of the partitions.
fn numbers(table: &PartitionTable) -> Vec<u32> {
    table.partitions.iter().map(|partition| partition.number).collect()
}

fn notes(table: &PartitionTable) -> String {
    table.notes.iter().map(|note| format!("{}: {}\n", note.cause, note.consequence)).collect()
}

#[test]
fn a_gpt_is_read_with_either_sector_size_and_from_either_copy() {
    for sector in [512, 4096] {
        let size = sector as u64;
        let disk = Made::new(sector, &[(1, 100, 109, "Second"), (2, 50, 99, "")]).disk();
        let sound = read_table(&disk);
        assert_eq!((sound.scheme, u64::from(sound.sector_size)), (Scheme::Gpt, size), "{}", notes(&sound));
        assert_eq!(numbers(&sound), [2, 1]);
        assert_eq!(sound.partitions[1].extent, extent(100 * size, 10 * size));
        assert_eq!(sound.partitions[1].name.as_deref(), Some("Second"));
        assert_eq!(sound.partitions[1].kind, PartitionKind::Gpt([1; 16]));
        assert_eq!(sound.partitions[1].id, Some([0xfe; 16]));
        assert_eq!(sound.partitions[0].name, None);
        let array = 128 * 128;
        let behind = (SECTORS - 1) * size - array;
        assert_eq!(sound.records, [extent(0, 2 * size + array), extent(behind, array + size)]);
        assert!(sound.notes.is_empty());
        let last = (SECTORS - 1) as usize * sector;
        // In turn: signature, own place, checksum of the header, one of an entry.
        for at in [0, 24, 60, sector + 40] {
            let mut damaged = disk.clone();
            damaged[sector + at] ^= 1;
            let table = read_table(&damaged);
            assert_eq!((table.scheme, &table.partitions), (Scheme::Gpt, &sound.partitions), "{at}");
            assert_eq!(table.notes.len(), 1, "{}", notes(&table));
            assert!(notes(&table).contains("the other copy of the GPT is followed"));
            let copy = if at < sector { last + at } else { behind as usize + 40 };
            damaged[copy] ^= 1;
            let table = read_table(&damaged);
            assert_eq!(table.scheme, Scheme::Unknown);
            assert!(table.partitions.is_empty() && table.records.is_empty());
            assert!(notes(&table).contains("the disk is kept as a whole"));
            damaged[sector + at] ^= 1;
            assert_eq!(read_table(&damaged).partitions, sound.partitions);
        }
    }
}

#[test]
fn entries_that_contradict_are_left_out_with_a_note() {
    let disk = Made::new(
        512,
        &[
            (1, 40, 60, "overlaps the next"),
            (1, 60, 70, "overlaps the one before"),
            (1, 71, 80, "sound"),
            (1, 90, 89, "ends before it begins"),
            (1, 10, 20, "on the table"),
            (1, 200, 250, "on the copy"),
            (1, 0, u64::MAX, "everything"),
            (1, u64::MAX, u64::MAX, "beyond"),
            (1, 100, 150, "around another"),
            (1, 110, 120, "inside of another"),
            (1, 150, 155, "touches the one that is around another"),
        ],
    )
    .disk();
    let table = read_table(&disk);
    assert_eq!(numbers(&table), [3], "{}", notes(&table));
    assert_eq!(table.notes.len(), 10);
    // The header may say that its own sectors are usable: they are not, for all that.
    let mut lying = Made::new(512, &[(1, 0, 3, ""), (1, 220, 255, ""), (1, 100, 101, "")]);
    lying.usable = (0, u64::MAX);
    assert_eq!(numbers(&read_table(&lying.disk())), [3]);
}

#[test]
fn entries_may_be_long_but_not_of_any_length_nor_of_any_count() {
    for (entry_size, count, sound) in [
        (256, 16, true),
        (512, 4, true),
        (128, 1, true),
        (64, 4, false),
        (384, 4, false),
        (0, 4, false),
        (128, 0, false),
        (128, u32::MAX, false),
        (u32::MAX, u32::MAX, false),
        (1 << 31, 2, false),
    ] {
        let mut made = Made::new(512, &[(1, 100, 101, "a")]);
        (made.entry_size, made.count) = (entry_size, count);
        let disk = if entry_size == 0 {
            // The maker needs a size: it is written over, in both copies.
            made.entry_size = 128;
            let mut disk = made.disk();
            for start in [512, 255 * 512] {
                put(&mut disk, start + 84, &[0; 4]);
                put(&mut disk, start + 16, &[0; 4]);
                let crc = gpt::crc32(&disk[start..start + 92]);
                put(&mut disk, start + 16, &crc.to_le_bytes());
            }
            disk
        } else if u64::from(entry_size) * u64::from(count) > 1 << 20 {
            made.count = 1;
            made.entry_size = made.entry_size.min(1 << 20);
            let mut disk = made.disk();
            for start in [512, 255 * 512] {
                put(&mut disk, start + 80, &[count.to_le_bytes(), entry_size.to_le_bytes()].concat());
                put(&mut disk, start + 16, &[0; 4]);
                let crc = gpt::crc32(&disk[start..start + 92]);
                put(&mut disk, start + 16, &crc.to_le_bytes());
            }
            disk
        } else {
            made.disk()
        };
        let table = read_table(&disk);
        assert_eq!(table.scheme == Scheme::Gpt, sound, "{entry_size} {count}: {}", notes(&table));
        assert_eq!(table.partitions.len(), usize::from(sound));
    }
}

#[test]
fn a_hybrid_and_a_missing_protection_are_told() {
    let mut disk = Made::new(512, &[(1, 100, 109, "a")]).disk();
    put(&mut disk, 446 + 16, &[0, 0, 0, 0, 0x0c, 0, 0, 0, 100, 0, 0, 0, 10, 0, 0, 0]);
    let table = read_table(&disk);
    assert_eq!((table.scheme, numbers(&table)), (Scheme::Hybrid, vec![1]));
    assert!(notes(&table).contains("a partition of type 0x0c"), "{}", notes(&table));
    disk[510] = 0;
    let table = read_table(&disk);
    assert_eq!((table.scheme, numbers(&table)), (Scheme::Gpt, vec![1]));
    assert!(notes(&table).contains("expected a protective MBR, found none"), "{}", notes(&table));
}

#[test]
fn copies_that_differ_are_told_and_the_first_counts() {
    let mut disk = Made::new(512, &[(1, 100, 109, "a")]).disk();
    let other = Made::new(512, &[(1, 120, 129, "b")]).disk();
    disk[200 * 512..].copy_from_slice(&other[200 * 512..]);
    let table = read_table(&disk);
    assert_eq!(table.partitions[0].extent, extent(100 * 512, 5120));
    assert!(notes(&table).contains("what the other copy says"), "{}", notes(&table));
    // A disk that was copied to a longer one: the copy is where the header says.
    let mut longer = Made::new(512, &[(1, 100, 109, "a")]).disk();
    longer.resize(longer.len() * 2, 0);
    assert!(read_table(&longer).notes.is_empty());
    longer.truncate(150 * 512);
    let table = read_table(&longer);
    assert_eq!(numbers(&table), [1]);
    assert!(notes(&table).contains("expected a copy of the header, found none"), "{}", notes(&table));
}

fn mbr_entry(kind: u8, start: u32, length: u32) -> Vec<u8> {
    [&[0, 0, 0, 0, kind, 0, 0, 0][..], &start.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// Writes a boot record to a sector of 512 bytes.
fn boot_record(disk: &mut [u8], sector: usize, entries: &[(u8, u32, u32)]) {
    for (index, (kind, start, length)) in entries.iter().enumerate() {
        put(disk, sector * 512 + 446 + index * 16, &mbr_entry(*kind, *start, *length));
    }
    put(disk, sector * 512 + 510, &[0x55, 0xaa]);
}

fn mbr_disk(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut disk = vec![0; 512 * SECTORS as usize];
    boot_record(&mut disk, 0, entries);
    disk
}

#[test]
fn an_mbr_has_primary_and_logical_partitions() {
    for kind in [0x05, 0x0f, 0x85] {
        let mut disk = mbr_disk(&[(7, 10, 10), (0, 1, 1), (kind, 100, 100), (0x83, 30, 20)]);
        boot_record(&mut disk, 100, &[(0x83, 1, 9), (5, 20, 30)]);
        boot_record(&mut disk, 120, &[(0x07, 2, 8), (5, 50, 50)]);
        boot_record(&mut disk, 150, &[(0x0c, 1, 49)]);
        let table = read_table(&disk);
        assert_eq!(table.scheme, Scheme::Mbr);
        assert_eq!(numbers(&table), [1, 4, 5, 6, 7], "{}", notes(&table));
        assert_eq!(table.partitions[3].extent, extent(122 * 512, 8 * 512));
        assert_eq!(table.partitions[3].kind, PartitionKind::Mbr(7));
        assert_eq!(table.records, [0, 100, 120, 150].map(|sector| extent(sector * 512, 512)));
        assert!(table.notes.is_empty());
    }
}

#[test]
fn chains_that_loop_leave_or_lack_a_record_end_there() {
    // The link of the second record; it counts from sector 100.
    for (link, expected) in [
        ((5, 0, 10), "a loop"),
        ((5, 20, 10), "a loop"),
        ((5, 100, 10), "one that leaves it"),
        ((5, u32::MAX, 10), "one that leaves it"),
        ((5, 60, 10), "expected 0xaa55, found 0x0000"),
    ] {
        let mut disk = mbr_disk(&[(5, 100, 100)]);
        boot_record(&mut disk, 100, &[(0x83, 1, 9), (5, 20, 30)]);
        boot_record(&mut disk, 120, &[(0x83, 1, 9), link]);
        let table = read_table(&disk);
        assert_eq!(numbers(&table), [5, 6]);
        assert!(notes(&table).contains(expected), "{}", notes(&table));
    }
    let mut disk = vec![0; 512 * 1000];
    boot_record(&mut disk, 0, &[(5, 10, 900)]);
    for index in 0..400 {
        boot_record(&mut disk, 10 + index * 2, &[(0x83, 1, 1), (5, index as u32 * 2 + 2, 2)]);
    }
    let table = read_table(&disk);
    assert_eq!(table.partitions.len(), 256);
    assert!(notes(&table).contains("more than 256 extended boot records"), "{}", notes(&table));
}

#[test]
fn mbr_entries_that_contradict_are_left_out() {
    let mut disk = mbr_disk(&[(7, 200, 57), (7, 0, 5), (5, 100, 50), (7, 50, 50)]);
    // On its own record; beyond the extended partition; a third entry has no meaning.
    boot_record(&mut disk, 100, &[(7, 0, 5), (5, 10, 5), (7, 20, 5)]);
    boot_record(&mut disk, 110, &[(7, 1, 40), (5, 20, 5)]);
    boot_record(&mut disk, 120, &[(7, 1, 4)]);
    let table = read_table(&disk);
    assert_eq!(numbers(&table), [4, 7], "{}", notes(&table));
    assert_eq!(table.notes.len(), 4);
    // An extended partition that overlaps a primary one is not looked into.
    let mut disk = mbr_disk(&[(7, 50, 51), (5, 100, 50)]);
    boot_record(&mut disk, 100, &[(7, 10, 5)]);
    assert_eq!(numbers(&read_table(&disk)), []);
}

#[test]
fn an_mbr_of_a_disk_with_long_sectors_is_known_by_what_its_partitions_hold() {
    let mut disk = vec![0; 4096 * 64];
    boot_record(&mut disk, 0, &[(7, 16, 32)]);
    assert_eq!(read_table(&disk).sector_size, 512);
    put(&mut disk, 16 * 4096 + 3, b"NTFS    ");
    put(&mut disk, 16 * 4096 + 510, &[0x55, 0xaa]);
    let table = read_table(&disk);
    assert_eq!((table.sector_size, table.partitions[0].extent), (4096, extent(16 * 4096, 32 * 4096)));
    assert_eq!(table.records, [extent(0, 4096)]);
    let part = Part::new(&disk, table.partitions[0].extent);
    assert_eq!(volume_kind(&part).expect("in memory"), VolumeKind::Ntfs);
}

#[test]
fn volumes_without_a_table_are_told_by_their_content() {
    let marks: [(usize, &[u8], VolumeKind); 8] = [
        (3, b"NTFS    ", VolumeKind::Ntfs),
        (3, b"EXFAT   ", VolumeKind::ExFat),
        (3, b"-FVE-FS-", VolumeKind::BitLocker),
        (1080, &[0x53, 0xef], VolumeKind::Other("ext")),
        (0, b"XFSB", VolumeKind::Other("XFS")),
        (65600, b"_BHRfS_M", VolumeKind::Other("Btrfs")),
        (3, b"ReFS\0\0\0\0", VolumeKind::Other("ReFS")),
        (3, b"NOTHING ", VolumeKind::Unknown),
    ];
    for (at, mark, kind) in marks {
        let mut disk = vec![0; 128 << 10];
        put(&mut disk, at, mark);
        if at == 3 {
            put(&mut disk, 510, &[0x55, 0xaa]);
        }
        assert_eq!(volume_kind(&disk).expect("in memory"), kind);
        let table = read_table(&disk);
        let expected = match kind {
            // The signature alone is an empty master boot record.
            VolumeKind::Unknown => Scheme::Mbr,
            _ => Scheme::Volume,
        };
        assert_eq!(table.scheme, expected, "{kind}");
        assert!(table.partitions.is_empty());
    }
    // BitLocker To Go: a FAT32 volume to those who do not know it.
    let mut disk = vec![0; 4096];
    put(&mut disk, 0, b"\xeb\x58\x90MSWIN4.1\x00\x02\x08");
    put(&mut disk, 82, b"FAT32   ");
    let id = [0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01];
    put(&mut disk, 0x1a8, &id);
    put(&mut disk, 510, &[0x55, 0xaa]);
    assert_eq!(volume_kind(&disk).expect("in memory"), VolumeKind::BitLocker);
    assert_eq!(read_table(&disk).scheme, Scheme::Volume);
}

#[test]
fn short_disks_and_any_fill_give_an_answer() {
    let disk = Made::new(512, &[(1, 100, 109, "a")]).disk();
    for size in [0, 1, 511, 512, 513, 1023, 1024, 4096, 8191, 8192, 20_000] {
        read_table(&disk[..size]);
        for fill in [0, 0x55, 0xff] {
            assert_eq!(read_table(&vec![fill; size]).partitions, [] as [Partition; 0]);
        }
    }
}

/// A disk whose sector at an offset is unreadable.
struct Scratched(Vec<u8>, u64);

impl ReadAt for Scratched {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        if (offset.0..offset.0 + length).contains(&self.1) {
            return Err(ReadError::Unreadable { offset, length, source: io::Error::from_raw_os_error(5) });
        }
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn unreadable_sectors_are_told_and_passed_by() {
    let disk = Made::new(512, &[(1, 100, 109, "a")]).disk();
    for at in [0, 512, 1024, 255 * 512, 255 * 512 - 600] {
        let table = partitions(&Scratched(disk.clone(), at)).expect("passed by");
        assert_eq!((numbers(&table), table.notes.len()), (vec![1], 1), "{at}: {}", notes(&table));
        assert!(notes(&table).contains("cannot be read"));
    }
    let mut disk = mbr_disk(&[(5, 100, 100), (7, 10, 10)]);
    boot_record(&mut disk, 100, &[(0x83, 1, 9), (5, 20, 30)]);
    let table = partitions(&Scratched(disk, 120 * 512)).expect("passed by");
    assert_eq!((numbers(&table), table.notes.len()), (vec![2, 5], 1), "{}", notes(&table));
}
