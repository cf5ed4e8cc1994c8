//! FAT and exFAT volumes: whatever their structures say, what is claimed lies inside the volume and is claimed once.
//!
//! The input is a recipe: which of five small volumes with some files is taken, and what is written over it.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | which volume; bit 7: make the checksums of exFAT's boot regions right in the end |
//! | 8, repeated | an operation, and what it takes; see [`apply`] |
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/fat/build.rs"]
mod build;
#[path = "../../tests/fat/check.rs"]
mod check;

use build::{BITMAP, ExFat, Fat, File, ROOT, put, seal_set};
use libfuzzer_sys::fuzz_target;

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
    fat.entry(directory, 2, b"B       TXT", 0x20, 10, 600);
    fat
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
    match operation % 4 {
        0 => fat.set(cluster, number(b)),
        1 => fat.set_in(usize::from(b) % 2, cluster, u32::from_le_bytes([c, d, e, f])),
        2 => {
            let directory = if a == 0 { fat.root } else { fat.at(cluster) };
            let name = if g == 0 { b"..         " } else { b"NAME    TXT" };
            fat.entry(directory, usize::from(b) % 32, name, c, number(d), u32::from(e) << (f % 32));
        }
        _ => put(&mut fat.bytes, usize::from(u16::from_le_bytes([a, b])), &[c, d, e, f][..usize::from(g) % 5]),
    }
}

/// Does an operation to an exFAT volume.
fn apply_exfat(volume: &mut ExFat, [operation, a, b, c, d, e, f, g]: [u8; 8]) {
    let cluster = u32::from(a) % volume.clusters;
    match operation % 6 {
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
        _ => put(&mut volume.bytes, usize::from(u16::from_le_bytes([a, b])), &[c, d, e, f][..usize::from(g) % 5]),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, operations)) = data.split_first() else { return };
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
    check::claim(&bytes);
});
