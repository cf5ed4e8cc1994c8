//! Trees of files put into exFAT volumes of mkfs.exfat, which fsck.exfat finds sound: there is no tool that fills one.

use super::build::{ExFat, File, file_set, put};
use super::tools::{content, run, sparse};
use super::trees::all;
use super::walk::bytes;
use sheaf::image::RawDisk;
use sheaf::layout::exfat::ExFatFiles;
use sheaf::layout::files::Moment;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// 2024-01-01 19:26:58, and half a second for the first; two hours ahead of UTC.
const STAMPS: [u8; 17] =
    [0x5d, 0x9b, 0x21, 0x58, 0x5d, 0x9b, 0x21, 0x58, 0x5d, 0x9b, 0x21, 0x58, 50, 0, 0x88, 0x88, 0x88];
const SECONDS: i64 = 1_704_137_218 - 7200;

/// Puts content into a volume.
struct Writer {
    volume: ExFat,
    /// The next cluster that is free.
    next: u32,
    /// What is in the volume, by path: a file's bytes, or `None` for a folder.
    expected: BTreeMap<String, Option<Vec<u8>>>,
}

impl Writer {
    /// Takes clusters for content, in a row or with gaps between, and writes it; gives the first one.
    fn store(&mut self, content: &[u8], length: usize, contiguous: bool) -> u32 {
        let (size, step) = (self.volume.cluster, if contiguous { 1 } else { 2 });
        let count = length.div_ceil(size) as u32;
        let clusters: Vec<u32> = (0..count).map(|index| self.next + index * step).collect();
        self.next += count * step;
        if contiguous {
            clusters.iter().for_each(|cluster| self.volume.use_cluster(*cluster, true));
        } else {
            self.volume.chain(&clusters);
        }
        for (cluster, part) in clusters.iter().zip(content.chunks(size)) {
            let at = self.volume.at(*cluster);
            put(&mut self.volume.bytes, at, part);
        }
        clusters.first().copied().unwrap_or_default()
    }

    /// Makes a folder with files and a folder below it; gives the set of the folder.
    fn folder(&mut self, path: &str, name: &str, level: usize) -> Vec<u8> {
        let path = format!("{path}/{name}");
        let size = self.volume.cluster;
        let lengths = [(0, 0), (1, 1), (3 * size, 3 * size), (2 * size + 1, size + 3), (size, 0)];
        let mut sets = Vec::new();
        for (number, (length, written)) in lengths.into_iter().enumerate() {
            let name = format!("Größe {length}, Номер {number} {}.txt", "😀".repeat(level * 20 + 1));
            let mut bytes = content(level * 10 + number, written);
            let contiguous = number % 2 == 0 && length > 0;
            let first = self.store(&bytes, length, contiguous);
            let file = File { contiguous, first, valid: written as u64, length: length as u64, directory: false };
            sets.extend(file_set(&name, &STAMPS, &file));
            bytes.resize(length, 0);
            self.expected.insert(format!("{path}/{name}"), Some(bytes));
        }
        if level < 4 {
            sets.extend(self.folder(&path, "below", level + 1));
        }
        let (length, contiguous) = (sets.len().next_multiple_of(size), level.is_multiple_of(2));
        let first = self.store(&sets, length, contiguous);
        self.expected.insert(path, None);
        let folder = File { directory: true, contiguous, first, valid: length as u64, length: length as u64 };
        file_set(name, &STAMPS, &folder)
    }
}

fn made(cluster: &str, size: u64) -> Option<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("exfat.img");
    let name = image.to_str().expect("text");
    sparse(&image, size);
    run("mkfs.exfat", &["-c", cluster, name])?;
    let volume = ExFat::of(fs::read(&image).expect("readable"));
    let root = volume.at(volume.bytes[96..].first_chunk().map_or(0, |field| u32::from_le_bytes(*field)));
    let mut writer = Writer { next: volume.clusters / 2, volume, expected: BTreeMap::new() };
    let top = writer.folder("", "top", 0);
    let entries = writer.volume.bytes[root..].as_chunks::<32>().0.iter();
    let used = entries.take_while(|entry| entry[0] != 0).count();
    put(&mut writer.volume.bytes, root + used * 32, &top);
    fs::write(&image, &writer.volume.bytes).expect("written");
    // "exfat.img: clean. directories 6, files 25".
    let report = run("fsck.exfat", &["-n", name])?;
    assert!(report.contains("clean. directories 6, files 25"), "{report}");

    let files = ExFatFiles::open(Arc::new(RawDisk::open(&image).expect("opens"))).expect("sound").expect("exFAT");
    let size = writer.volume.cluster as u64;
    let mut expected = writer.expected;
    for found in all(&files).found {
        let content = expected.remove(&found.path).unwrap_or_else(|| panic!("{} was not put in", found.path));
        assert_eq!(found.content.map(|content| bytes(&*content)), content, "{}", found.path);
        assert_eq!(found.facts.created, Some(Moment { seconds: SECONDS, nanoseconds: 500_000_000 }));
        assert_eq!(
            [found.facts.modified, found.facts.accessed],
            [Some(Moment { seconds: SECONDS, nanoseconds: 0 }); 2]
        );
        let needed = content.map(|content| (content.len() as u64).next_multiple_of(size));
        assert!(needed.is_none_or(|needed| needed == found.facts.allocated), "{}", found.path);
    }
    assert!(expected.is_empty(), "not found: {:?}", expected.keys());
    Some(())
}

#[test]
fn files_in_exfat_volumes_are_what_was_put_in() {
    made("512", 8 << 20);
    made("4K", 16 << 20);
    made("32K", 64 << 20);
}
