//! Small FAT and exFAT volumes by a recipe: which one is taken, and what is written over it.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | which of five volumes; bit 7: make the checksums of exFAT's boot regions right in the end |
//! | 8, repeated | an operation, and what it takes; see [`apply`] and [`apply_exfat`] |
//! | 2 to 7 | the first two: how many times 16 bytes there are in the end |

use super::build::{BITMAP, ExFat, Fat, File, ROOT, file_set, long_name, put, seal_set};

/// The kinds of volumes, by the bits of their entries; 64 and 65 stand for exFAT with one table and with two.
const KINDS: [u32; 5] = [12, 32, 64, 65, 16];

fn fat(bits: u32) -> Fat {
    let mut fat = Fat::new(bits, if bits == 16 { 4100 } else { 120 }, if bits == 12 { 1024 } else { 512 });
    fat.chain(&[5, 6, 9]);
    fat.chain(&[7]);
    fat.chain(&[10, 11]);
    let root = fat.root;
    fat.entry(root, 0, b"LABEL      ", 8, 0, 0);
    fat.entry(root, 1, b"A       TXT", 0x20, 5, 1100);
    fat.entry(root, 2, b"DIR        ", 0x10, 7, 0);
    let directory = fat.at(7);
    fat.entry(directory, 0, b".          ", 0x10, 7, 0);
    fat.entry(directory, 1, b"..         ", 0x10, 0, 0);
    named(&mut fat, directory, 2, "A name in two parts", 10, 600);
    fat
}

/// Writes an entry with a long name and times; gives the index behind.
fn named(fat: &mut Fat, directory: usize, index: usize, name: &str, first: u32, size: u32) -> usize {
    let parts = long_name(&name.encode_utf16().collect::<Vec<_>>(), b"ANAME~1    ");
    let end = index + parts.len();
    for (at, part) in (index..).zip(&parts) {
        put(&mut fat.bytes, directory + at * 32, part);
    }
    fat.entry(directory, end, b"ANAME~1    ", 0x20, first, size);
    put(&mut fat.bytes, directory + end * 32 + 13, &[150, 0x5d, 0x9b, 0x21, 0x58, 0x22, 0x58]);
    end + 1
}

/// A name of some units, with the second half of a pair in some.
fn name(length: u8, letter: u8) -> String {
    (0..length % 50).map(|index| if index == letter % 64 { '😀' } else { char::from(letter) }).collect()
}

fn exfat(tables: usize) -> ExFat {
    let mut volume = ExFat::new(200, 512, tables);
    volume.chain(&[5, 6, 9]);
    volume.chain(&[7]);
    (10..14).for_each(|cluster| volume.use_cluster(cluster, true));
    let (root, directory) = (volume.at(ROOT), volume.at(7));
    volume.file(root, 3, &File { first: 5, valid: 1000, length: 1300, ..File::default() });
    volume.file(root, 6, &File { directory: true, first: 7, valid: 512, length: 512, contiguous: true });
    volume.file(directory, 0, &File { first: 10, valid: 2000, length: 2000, contiguous: true, ..File::default() });
    // A folder whose only set goes on in its other clusters.
    volume.chain(&[20, 22, 24]);
    volume.file(root, 9, &File { directory: true, first: 20, valid: 1536, length: 1536, contiguous: false });
    let file = File { first: 5, valid: 1000, length: 1300, ..File::default() };
    let set = file_set(&"x".repeat(255), &[0x58; 17], &file);
    let folder = volume.at(20);
    (0..15).for_each(|index| put(&mut volume.bytes, folder + index * 32, &[1]));
    for (at, part) in [(folder + 480, &set[..32]), (volume.at(22), &set[32..544]), (volume.at(24), &set[544..])] {
        put(&mut volume.bytes, at, part);
    }
    volume
}

/// A number of 32 bits out of one byte: small ones, and the ones at the upper end.
fn number(byte: u8) -> u32 {
    match byte {
        0..=0xdf => u32::from(byte),
        _ => u32::MAX - u32::from(byte - 0xe0),
    }
}

/// Does an operation to a FAT volume.
fn apply(fat: &mut Fat, [operation, a, b, c, d, e, f, g]: [u8; 8]) {
    let cluster = u32::from(a) % fat.clusters;
    match operation % 6 {
        0 => fat.set(cluster, number(b)),
        1 => fat.set_in(usize::from(b) % 2, cluster, u32::from_le_bytes([c, d, e, f])),
        2 => {
            let directory = if a == 0 { fat.root } else { fat.at(cluster) };
            let name = if g == 0 { b"..         " } else { b"NAME    TXT" };
            fat.entry(directory, usize::from(b) % 32, name, c, number(d), u32::from(e) << (f % 32));
        }
        3 => {
            let directory = if a == 0 { fat.root } else { fat.at(cluster) };
            let end = named(fat, directory, usize::from(b) % 16, &name(c, d), number(d), 700);
            // A byte of it, changed.
            put(&mut fat.bytes, directory + usize::from(e) % (end * 32), &[f][..usize::from(g) % 2]);
        }
        _ => put(&mut fat.bytes, usize::from(u16::from_le_bytes([a, b])), &[c, d, e, f][..usize::from(g) % 5]),
    }
}

/// Does an operation to an exFAT volume.
fn apply_exfat(volume: &mut ExFat, [operation, a, b, c, d, e, f, g]: [u8; 8]) {
    let cluster = u32::from(a) % volume.clusters;
    match operation % 7 {
        0 => volume.set(cluster, number(b)),
        1 => volume.use_cluster(cluster, b & 1 == 1),
        2 => {
            let flags = (c & 1 == 1, c & 2 == 2);
            let (valid, length) = (u64::from(e) << (f % 64), u64::from(g) << (f / 64 * 8));
            let file = File { directory: flags.0, contiguous: flags.1, first: number(d), valid, length };
            let directory = volume.at(cluster.max(BITMAP));
            volume.file(directory, usize::from(b) % 16, &file);
        }
        3 => volume.special(usize::from(a), 0x81 + b % 3, number(c), u64::from(d) << (e % 64)),
        4 => {
            // A byte of a set, with its checksum made right again.
            let at = volume.at(cluster.max(BITMAP)) + usize::from(b) % 16 * 32;
            let length = (usize::from(c) % 19 + 1) * 32;
            if let Some(set) = volume.bytes.get_mut(at..at + length) {
                put(set, usize::from(d), &[e, f]);
                seal_set(set);
            }
        }
        5 => {
            // A set with a longer name and times, the second part of which may be elsewhere.
            let file =
                File { first: number(e), valid: 700, length: 1100, contiguous: f & 1 == 1, directory: f & 2 == 2 };
            let set = file_set(&name(c, d), &[f; 17], &file);
            let index = usize::from(b) % 16;
            let (first, second) = set.split_at(set.len().min(512 - index * 32));
            let at = volume.at(cluster.max(BITMAP)) + index * 32;
            let other = if g == 0 { cluster + 1 } else { u32::from(g) };
            let other = volume.at(other);
            put(&mut volume.bytes, at, first);
            put(&mut volume.bytes, other, second);
        }
        _ => put(&mut volume.bytes, usize::from(u16::from_le_bytes([a, b])), &[c, d, e, f][..usize::from(g) % 5]),
    }
}

/// The volume of a recipe.
pub(crate) fn volume(data: &[u8]) -> Option<Vec<u8>> {
    let (choice, operations) = data.split_first()?;
    let (operations, rest) = operations.as_chunks::<8>();
    let mut bytes = match KINDS[usize::from(choice & 0x7f) % KINDS.len()] {
        kind @ (12 | 16 | 32) => {
            let mut volume = fat(kind);
            operations.iter().for_each(|operation| apply(&mut volume, *operation));
            volume.bytes
        }
        kind => {
            let mut volume = exfat(kind as usize - 63);
            operations.iter().for_each(|operation| apply_exfat(&mut volume, *operation));
            if choice & 0x80 != 0 {
                volume.seal();
            }
            volume.bytes
        }
    };
    if let [low, high, ..] = rest {
        bytes.truncate(usize::from(u16::from_le_bytes([*low, *high])) * 16);
    }
    Some(bytes)
}
