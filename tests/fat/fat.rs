//! FAT volumes made by hand.

use super::build::{Fat, put};
use super::check::claim;
use super::{extent, files, notes};
use sheaf::layout::fat::{FatKind, FatVolume};
use sheaf::layout::{Claims, Content, LayoutError, VolumeKind, volume_kind};

const KINDS: [(u32, u32, FatKind, VolumeKind); 3] = [
    (12, 100, FatKind::Fat12, VolumeKind::Fat12),
    (16, 4100, FatKind::Fat16, VolumeKind::Fat16),
    (32, 100, FatKind::Fat32, VolumeKind::Fat32),
];

/// A volume with a file in the root directory, clusters 5, 6 and 9, and a directory in cluster 7 with a file in 10 and 11.
fn volume(bits: u32) -> Fat {
    let mut fat = Fat::new(bits, if bits == 16 { 4100 } else { 100 }, 512);
    fat.chain(&[5, 6, 9]);
    fat.chain(&[7]);
    fat.chain(&[10, 11]);
    for (cluster, fill) in [(5, 1), (6, 2), (9, 3), (10, 4), (11, 5)] {
        let at = fat.at(cluster);
        put(&mut fat.bytes, at, &[fill; 512]);
    }
    let (root, directory) = (fat.root, fat.at(7));
    fat.entry(root, 0, b"\xe5ELETED TXT", 0x20, 20, 99);
    fat.entry(root, 1, b"ROOT LABEL ", 0x08, 0, 0);
    fat.entry(root, 2, b"Aa.\0t\0x\0t\0\0", 0x0f, 0, 0);
    fat.entry(root, 3, b"A       TXT", 0x20, 5, 1100);
    fat.entry(root, 4, b"EMPTY   TXT", 0x20, 0, 0);
    fat.entry(root, 5, b"DIR        ", 0x10, 7, 0);
    fat.entry(directory, 0, b".          ", 0x10, 7, 0);
    fat.entry(directory, 1, b"..         ", 0x10, 0, 0);
    fat.entry(directory, 2, b"B       TXT", 0x20, 10, 1024);
    fat
}

fn claims(fat: &Fat) -> Claims {
    claim(&fat.bytes).expect("a FAT volume")
}

#[test]
fn files_directories_slack_and_free_clusters_are_claimed() {
    for (bits, clusters, kind, as_volume) in KINDS {
        let fat = volume(bits);
        assert_eq!(volume_kind(&fat.bytes).expect("in memory"), as_volume);
        let opened = FatVolume::open(&fat.bytes).expect("sound").expect("FAT");
        let facts = opened.facts();
        assert_eq!((facts.kind, facts.cluster_size, facts.clusters), (kind, 512, clusters));
        assert_eq!((facts.serial, facts.label.as_deref()), (0x1234_5678, Some("ROOT LABEL")));
        let claims = claims(&fat);
        assert!(!claims.doubts_free(), "{}", notes(&claims));
        assert!(claims.notes().is_empty(), "{}", notes(&claims));
        let a = [vec![1; 512], vec![2; 512], vec![3; 76]].concat();
        let b = [vec![4; 512], vec![5; 512]].concat();
        assert_eq!(files(&fat.bytes, &claims), [a, b]);
        assert_eq!(claims.slack_extents(), [extent(fat.at(9) + 76, 436)]);
        // The first cluster is the root directory of FAT32.
        let first = if bits == 32 { 3 } else { 2 };
        let last = fat.clusters + 2;
        let runs = [(first, 5), (8, 9), (12, last)];
        let free = runs.map(|(from, to)| extent(fat.at(from), fat.at(to) - fat.at(from)));
        assert_eq!(claims.free_extents(), free);
        let records: Vec<_> = claims.streams().filter(|(content, _)| *content == Content::Records).collect();
        assert_eq!(records[0].1, [extent(0, fat.table)]);
        assert_eq!(records[1].1, [extent(fat.table, fat.table_length)]);
        assert_eq!(records[2].1, [extent(fat.table + fat.table_length, fat.table_length)]);
        let root_length = if bits == 32 { 512 } else { 1024 };
        assert_eq!(records[3].1, [extent(fat.root, root_length)]);
        assert_eq!(records[4].1, [extent(fat.at(7), 512)]);
    }
}

/// How many files are claimed, whether free clusters are in doubt, and the notes.
fn told(fat: &Fat) -> (usize, bool, String) {
    let claims = claims(fat);
    (files(&fat.bytes, &claims).len(), claims.doubts_free(), notes(&claims))
}

#[test]
fn chains_that_are_not_sound_are_not_claimed() {
    for (bits, ..) in KINDS {
        let bad = Fat::new(bits, 100, 512).end() - 8;
        let outside = bad - 1;
        // The entry of cluster 6, or of 5: what is found.
        for (cluster, value, doubt, expected) in [
            (6, 0, true, "found a free cluster"),
            (5, 5, false, "found cluster 5, to which something else leads"),
            (6, 5, false, "found cluster 5, to which something else leads"),
            (6, 1, false, "expected a cluster from 2 to"),
            (6, outside, false, "expected a cluster from 2 to"),
            (6, bad, false, "found a bad cluster"),
            (5, bad + 8, false, "expected clusters for 1100 bytes, found clusters of 512 bytes"),
        ] {
            let mut fat = volume(bits);
            fat.set(cluster, value);
            let (count, doubts, notes) = told(&fat);
            assert_eq!((count, doubts), (1, doubt), "{bits} {cluster} {value}: {notes}");
            assert!(notes.contains(expected), "{bits}: {notes}");
        }
        // Into the directory, and into the other file: whoever comes first has them.
        let mut fat = volume(bits);
        fat.set(9, 11);
        assert_eq!(told(&fat).0, 1);
        assert!(told(&fat).2.contains("found cluster 11, to which something else leads"));
    }
}

#[test]
fn entries_that_are_not_sound_lead_to_nothing() {
    for (bits, ..) in KINDS {
        // First cluster and size of the file in the root directory.
        for (first, size, expected) in [
            (0, 1, "expected clusters for 1 bytes, found none"),
            (1, 600, "expected a cluster from 2"),
            (0xfff5, 600, "expected a cluster from 2"),
            (5, 1537, "expected clusters for 1537 bytes"),
            (5, u32::MAX, "expected clusters for 4294967295 bytes"),
            (20, 600, "found a free cluster"),
        ] {
            let mut fat = volume(bits);
            let root = fat.root;
            fat.entry(root, 3, b"A       TXT", 0x20, first, size);
            let (count, _, notes) = told(&fat);
            assert!(count == 1 && notes.contains(expected), "{bits} {first}: {count} {notes}");
        }
        // More clusters than the size needs: kept for what will be written.
        let mut fat = volume(bits);
        let root = fat.root;
        fat.entry(root, 3, b"A       TXT", 0x20, 5, 10);
        assert_eq!(files(&fat.bytes, &claims(&fat))[0], [1; 10]);
        assert_eq!(super::total(claims(&fat).slack_extents()), 3 * 512 - 10);
    }
}

#[test]
fn directories_that_lead_in_a_circle_are_looked_into_once() {
    for (bits, ..) in KINDS {
        let mut fat = volume(bits);
        let directory = fat.at(7);
        fat.entry(directory, 3, b"SELF       ", 0x10, 7, 0);
        fat.entry(directory, 4, b"NOTHING    ", 0x10, 0, 0);
        fat.entry(directory, 5, b"FILE       ", 0x10, 5, 0);
        let (count, doubts, notes) = told(&fat);
        assert_eq!((count, doubts), (2, false), "{notes}");
        assert_eq!(notes.lines().count(), 3, "{notes}");
        // A chain that is its own successor.
        fat.set(7, 7);
        assert_eq!(told(&fat).0, 1);
    }
    let mut fat = Fat::new(32, 6000, 512);
    fat.chain(&Vec::from_iter(2..5000));
    (0..4998 * 16).for_each(|index| fat.entry(fat.heap, index, b"EMPTY      ", 0, 0, 0));
    let (_, _, notes) = told(&fat);
    assert!(notes.contains("expected at most 4096 clusters, found more"), "{notes}");
}

#[test]
fn a_volume_that_was_in_use_or_whose_tables_differ_is_doubted() {
    for (bits, ..) in KINDS {
        let boot_mark = if bits == 32 { 65 } else { 37 };
        for mark in [1, 2] {
            let mut fat = volume(bits);
            fat.bytes[boot_mark] = mark;
            assert!(told(&fat).1);
        }
        for clean in [1 << (bits - 1), 1 << (bits - 2)].map(|bit| if bits == 32 { bit >> 4 } else { bit }) {
            let mut fat = volume(bits);
            fat.set(1, fat.end() & !clean);
            assert_eq!(told(&fat).1, bits != 12, "{bits} {clean:#x}");
        }
        let mut fat = volume(bits);
        fat.set_in(1, 50, 51);
        let (count, doubts, notes) = told(&fat);
        assert!(count == 2 && doubts && notes.contains("what the first table says"), "{notes}");
        // Only FAT32 can say that one of them counts.
        if bits == 32 {
            put(&mut fat.bytes, 40, &[0x81]);
            let claims = claims(&fat);
            assert!(!claims.doubts_free());
            let used = extent(fat.at(50), 512);
            assert!(claims.free_extents().iter().all(|free| free.start > used.start || free.end() <= Some(used.start)));
            put(&mut fat.bytes, 40, &[0x82]);
            let error = FatVolume::open(&fat.bytes).expect_err("there are two");
            assert!(error.to_string().contains("expected one of 2 tables as the active one, found number 2"));
        }
    }
}

#[test]
fn boot_sectors_that_contradict_themselves_are_refused() {
    // What no FAT volume says: it is something else.
    let others: [(usize, &[u8]); 9] = [
        (510, &[0]),
        (0, &[0]),
        (2, &[0]),
        (11, &[0, 1]),
        (11, &[0, 32]),
        (13, &[3]),
        (14, &[0, 0]),
        (16, &[0]),
        (21, &[0xf1]),
    ];
    for (at, value) in others {
        let mut fat = volume(32);
        put(&mut fat.bytes, at, value);
        assert!(FatVolume::open(&fat.bytes).expect("something else").is_none(), "{at}");
    }
    let wrong: [(u32, usize, &[u8], &str); 8] = [
        (32, 16, &[5], "at most 4 file allocation tables, found 5"),
        (32, 36, &[0; 4], "a file allocation table of at least one sector"),
        (32, 36, &[255; 4], "before the first cluster"),
        (32, 42, &[1], "version 0 of FAT32"),
        (32, 17, &[1], "version 0 of FAT32"),
        (16, 17, &[0, 0], "a root directory of at least one sector"),
        (16, 32, &[20, 0, 0, 0], "before the first cluster"),
        (16, 32, &[255; 4], "which the volume has, found"),
    ];
    for (bits, at, value, expected) in wrong {
        let mut fat = volume(bits);
        put(&mut fat.bytes, at, value);
        let error = FatVolume::open(&fat.bytes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{at}: {error}");
    }
    let mut fat = volume(12);
    fat.bytes.pop();
    assert!(matches!(FatVolume::open(&fat.bytes), Err(LayoutError::Malformed { .. })));
    assert!(FatVolume::open(&vec![0xeb; 511]).expect("short").is_none());
}

#[test]
fn a_table_that_is_too_short_counts_for_its_clusters_alone() {
    let mut fat = volume(32);
    // One sector of table has 128 entries.
    let total = u32::from_le_bytes(fat.bytes[32..36].try_into().expect("four")) + 1000;
    put(&mut fat.bytes, 32, &total.to_le_bytes());
    fat.bytes.resize(total as usize * 512, 7);
    let facts = FatVolume::open(&fat.bytes).expect("sound").expect("FAT").facts();
    assert_eq!(facts.clusters, 126);
    claims(&fat);
}
