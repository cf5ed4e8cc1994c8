//! A small stick image for `sheaf demo` and for tests: an MBR, and a FAT volume with programs, documents, and much free space.
//!
//! Always true here: the same seed gives the same bytes on every machine, and free clusters are zeros, so that a stick comes back byte for
//! byte. Content behaves like real content: text that compresses, photos that do not.
//!
//! Structures: Microsoft FAT specification 1.03 ("fatgen103"), as far as one fixed volume needs them.

use crate::disk::file_write_all_at;
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes of the image.
pub const SIZE: u64 = 64 << 20;
/// A document on each stick, as a path in a snapshot.
pub const DOCUMENT: &str = "/users/report.txt";

/// Where the partition begins.
const PARTITION: u64 = 1 << 20;
const SECTOR: u64 = 512;
const CLUSTER: u64 = 2048;
/// Sectors of each of the two tables: two bytes for each of 32,200 clusters.
const TABLE: u64 = 128;
/// Sectors in front of the first cluster: boot sector, two tables, 512 entries of the root directory.
const BEFORE: u64 = 1 + 2 * TABLE + 32;

/// xorshift64: noise that is the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }

    fn text(&mut self, count: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = ["stick ", "backup ", "windows ", "driver ", "\r\n", "update ", "the ", "of "];
        let mut text = String::with_capacity(count + 8);
        while text.len() < count {
            text.push_str(WORDS[(self.next() % 8) as usize]);
        }
        text.truncate(count);
        text.into_bytes()
    }
}

/// A master boot record with one FAT16 partition.
fn boot_record(signature: u32) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[440..444].copy_from_slice(&signature.to_le_bytes());
    // Boot flag, type 0x0e, first sector, sectors up to the end.
    sector[446] = 0x80;
    sector[450] = 0x0e;
    sector[454..458].copy_from_slice(&((PARTITION / SECTOR) as u32).to_le_bytes());
    sector[458..462].copy_from_slice(&(((SIZE - PARTITION) / SECTOR) as u32).to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The boot sector of the volume.
fn boot_sector(serial: u32) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..11].copy_from_slice(b"\xeb\x3c\x90MSDOS5.0");
    sector[11..13].copy_from_slice(&(SECTOR as u16).to_le_bytes());
    sector[13] = (CLUSTER / SECTOR) as u8;
    // One reserved sector, two tables, 512 entries in the root directory.
    sector[14..19].copy_from_slice(&[1, 0, 2, 0, 2]);
    sector[21] = 0xf8;
    sector[22..24].copy_from_slice(&(TABLE as u16).to_le_bytes());
    sector[28..32].copy_from_slice(&((PARTITION / SECTOR) as u32).to_le_bytes());
    sector[32..36].copy_from_slice(&(((SIZE - PARTITION) / SECTOR) as u32).to_le_bytes());
    sector[36..39].copy_from_slice(&[0x80, 0, 0x29]);
    sector[39..43].copy_from_slice(&serial.to_le_bytes());
    sector[43..62].copy_from_slice(b"STICK      FAT16   ");
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The day of a change, in March 2026 at six in the evening.
struct Day(u16);

/// Something in a directory.
struct Entry<'a> {
    /// Eight characters and three, as they are stored. They are shown in small letters.
    name: &'a [u8; 11],
    is_folder: bool,
    cluster: u16,
    size: u32,
    day: Day,
}

impl Entry<'_> {
    fn encode(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..11].copy_from_slice(self.name);
        bytes[11] = if self.is_folder { 0x10 } else { 0x20 };
        // Both parts of the name are in small letters, as Windows NT marks it.
        bytes[12] = 0x18;
        let (time, date) = (18_u16 << 11, 46 << 9 | 3 << 5 | self.day.0);
        for (at, value) in [(14, time), (16, date), (18, date), (22, time), (24, date), (26, self.cluster)] {
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes[28..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}

/// The volume while it is written.
struct Volume(File);

impl Volume {
    fn place(cluster: u16) -> u64 {
        PARTITION + BEFORE * SECTOR + (u64::from(cluster) - 2) * CLUSTER
    }

    fn table_entries(&self, first: u16, entries: &[u16]) -> io::Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        (0..2).try_for_each(|table| {
            let at = PARTITION + (1 + table * TABLE) * SECTOR + u64::from(first) * 2;
            file_write_all_at(&self.0, &bytes, at)
        })
    }

    /// Writes content to clusters that follow one another.
    fn content(&self, first: u16, bytes: &[u8]) -> io::Result<()> {
        file_write_all_at(&self.0, bytes, Self::place(first))?;
        let clusters = (bytes.len() as u64).div_ceil(CLUSTER) as u16;
        let mut chain: Vec<u16> = (1..clusters).map(|next| first + next).collect();
        chain.push(u16::MAX);
        self.table_entries(first, &chain)
    }

    /// Writes a folder, which takes one cluster and lies at the top.
    fn folder(&self, cluster: u16, entries: &[Entry<'_>]) -> io::Result<()> {
        let dots = [(b".          ", cluster), (b"..         ", 0)];
        let dots = dots.map(|(name, cluster)| Entry { name, is_folder: true, cluster, size: 0, day: Day(2) });
        let bytes: Vec<u8> = dots.iter().chain(entries).flat_map(Entry::encode).collect();
        self.content(cluster, &bytes)
    }

    /// The documents' folder; on the second day with one more photo.
    fn users(&self, day: u16) -> io::Result<()> {
        let file = |name, cluster, size, day| Entry { name, is_folder: false, cluster, size, day: Day(day) };
        let mut entries = vec![file(b"REPORT  TXT", REPORT, 3 << 20, day), file(b"PHOTO   JPG", PHOTO, 3 << 20, 2)];
        if day > 2 {
            entries.push(file(b"BEACH   JPG", BEACH, 512 << 10, day));
        }
        self.folder(USERS, &entries)
    }
}

/// The first clusters of what is on the volume.
const WINDOWS: u16 = 2;
const USERS: u16 = 3;
const PROGRAM: u16 = 16;
const DRIVER: u16 = 3200;
const REPORT: u16 = 8000;
const PHOTO: u16 = 12_000;
const BEACH: u16 = 16_000;

/// Makes the image of a stick with this MBR signature.
///
/// # Errors
/// What the system says.
pub fn make_stick(path: &Path, signature: u32) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(SIZE)?;
    // Programs are the same on every stick, documents are not.
    let mut programs = Noise(0x5ea5_0001);
    let mut documents = Noise(u64::from(signature) | 1 << 40);
    file_write_all_at(&file, &boot_record(signature), 0)?;
    file_write_all_at(&file, &boot_sector(signature), PARTITION)?;
    let volume = Volume(file);
    volume.table_entries(0, &[0xfff8, u16::MAX])?;
    let folder = |name, cluster| Entry { name, is_folder: true, cluster, size: 0, day: Day(2) };
    let top = [folder(b"WINDOWS    ", WINDOWS), folder(b"USERS      ", USERS)];
    let top: Vec<u8> = top.iter().flat_map(Entry::encode).collect();
    file_write_all_at(&volume.0, &top, PARTITION + (1 + 2 * TABLE) * SECTOR)?;
    let system = |name, cluster, size| Entry { name, is_folder: false, cluster, size, day: Day(1) };
    volume.folder(WINDOWS, &[system(b"PROGRAM EXE", PROGRAM, 6 << 20), system(b"DRIVER  SYS", DRIVER, 4 << 20)])?;
    volume.users(2)?;
    volume.content(PROGRAM, &programs.text(6 << 20))?;
    volume.content(DRIVER, &programs.bytes(4 << 20))?;
    volume.content(REPORT, &documents.text(3 << 20))?;
    volume.content(PHOTO, &documents.bytes(3 << 20))?;
    volume.0.sync_all()
}

/// Changes the image as a day of use would: a document is edited, a photo is added.
///
/// # Errors
/// What the system says.
pub fn use_stick(path: &Path) -> io::Result<()> {
    let volume = Volume(File::options().write(true).open(path)?);
    let mut day = Noise(0x5ea5_da71);
    file_write_all_at(&volume.0, b"a line that was edited", Volume::place(REPORT) + 70_000)?;
    volume.content(BEACH, &day.bytes(512 << 10))?;
    volume.users(3)?;
    volume.0.sync_all()
}
