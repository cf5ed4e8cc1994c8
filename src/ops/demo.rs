//! A small stick image for `sheaf demo` and for tests: an MBR, programs, documents, and much free space.
//!
//! Always true here: the same seed gives the same bytes on every machine; there is no file system inside, only content
//! that behaves like one's: text that compresses, photos that do not, copies, and zeros.

use crate::disk::file_write_all_at;
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes of the image.
pub const SIZE: u64 = 64 << 20;

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

/// A master boot record with one NTFS partition from 1 MiB on.
fn boot_record(signature: u32) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[440..444].copy_from_slice(&signature.to_le_bytes());
    // Boot flag, type 7, first sector 2048, sectors up to the end.
    sector[446] = 0x80;
    sector[450] = 7;
    sector[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    sector[458..462].copy_from_slice(&((SIZE / 512) as u32 - 2048).to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

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
    file_write_all_at(&file, &programs.text(6 << 20), 1 << 20)?;
    file_write_all_at(&file, &programs.bytes(4 << 20), 8 << 20)?;
    file_write_all_at(&file, &documents.text(3 << 20), 20 << 20)?;
    file_write_all_at(&file, &documents.bytes(3 << 20), 30 << 20)?;
    file.sync_all()
}

/// Changes the image as a day of use would: a document is edited, a photo is added.
///
/// # Errors
/// What the system says.
pub fn use_stick(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let mut day = Noise(0x5ea5_da71);
    file_write_all_at(&file, b"a line that was edited", (20 << 20) + 70_000)?;
    file_write_all_at(&file, &day.bytes(512 << 10), 40 << 20)?;
    file.sync_all()
}
