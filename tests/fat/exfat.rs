//! exFAT volumes made by hand.

use super::build::{BITMAP, ExFat, File, ROOT, SECTOR, UP_CASE, put, seal_set};
use super::check::claim;
use super::{extent, files, notes};
use sheaf::layout::exfat::ExFatVolume;
use sheaf::layout::{Claims, Content, VolumeKind, volume_kind};

/// A file of 1300 bytes, 1000 of them written, in clusters 5, 6 and 9; a directory in 7, with a file in 10 to 13.
fn volume(tables: usize) -> ExFat {
    let mut volume = ExFat::new(200, 512, tables);
    volume.chain(&[5, 6, 9]);
    (10..14).chain([7]).for_each(|cluster| volume.use_cluster(cluster, true));
    for (cluster, fill) in [(5, 1), (6, 2), (9, 3), (10, 4), (11, 5), (12, 6), (13, 7)] {
        let at = volume.at(cluster);
        put(&mut volume.bytes, at, &[fill; 512]);
    }
    let (root, directory) = (volume.at(ROOT), volume.at(7));
    volume.file(root, 3, &File { first: 5, valid: 1000, length: 1300, ..File::default() });
    volume.file(root, 6, &File { directory: true, first: 7, valid: 512, length: 512, contiguous: true });
    volume.file(root, 9, &File::default());
    volume.file(directory, 0, &File { first: 10, valid: 2000, length: 2000, contiguous: true, ..File::default() });
    volume
}

fn claims(volume: &ExFat) -> Claims {
    claim(&volume.bytes).expect("an exFAT volume")
}

#[test]
fn files_directories_slack_and_free_clusters_are_claimed() {
    for tables in [1, 2] {
        let volume = volume(tables);
        assert_eq!(volume_kind(&volume.bytes).expect("in memory"), VolumeKind::ExFat);
        let facts = ExFatVolume::open(&volume.bytes).expect("sound").expect("exFAT").facts();
        assert_eq!((facts.cluster_size, facts.clusters, facts.serial), (512, volume.clusters, 0x1234_5678));
        assert_eq!(facts.label.as_deref(), Some("Åbc"));
        let claims = claims(&volume);
        assert!(!claims.doubts_free() && claims.notes().is_empty(), "{}", notes(&claims));
        let a = [vec![1; 512], vec![2; 488]].concat();
        let b = [vec![4; 512], vec![5; 512], vec![6; 512], vec![7; 464]].concat();
        assert_eq!(files(&volume.bytes, &claims), [a, b]);
        let slack = [(6, 488, 24), (9, 0, 512), (13, 464, 48)];
        assert_eq!(claims.slack_extents(), slack.map(|(cluster, at, length)| extent(volume.at(cluster) + at, length)));
        let free = [(8, 9), (14, 202)].map(|(from, to)| extent(volume.at(from), volume.at(to) - volume.at(from)));
        assert_eq!(claims.free_extents(), free);
        let records: Vec<_> = claims.streams().filter(|(content, _)| *content == Content::Records).collect();
        let mut expected = vec![extent(0, 12 * SECTOR), extent(12 * SECTOR, 12 * SECTOR)];
        expected
            .extend((0..tables).map(|table| extent(volume.table + table * volume.table_length, volume.table_length)));
        expected.extend([ROOT, BITMAP, UP_CASE, 7].map(|cluster| extent(volume.at(cluster), 512)));
        assert_eq!(records.iter().map(|(_, extents)| extents[0]).collect::<Vec<_>>(), expected);
    }
}

/// How many files are claimed, whether free clusters are in doubt, and the notes.
fn told(volume: &ExFat) -> (usize, bool, String) {
    let claims = claims(volume);
    (files(&volume.bytes, &claims).len(), claims.doubts_free(), notes(&claims))
}

#[test]
fn files_that_are_not_sound_are_not_claimed() {
    let cases = [
        (File { first: 5, valid: 1301, length: 1300, ..File::default() }, "at most 1300 bytes that were written"),
        (File { first: 5, valid: 9, length: 1537, ..File::default() }, "clusters for 1537 bytes, found 1536"),
        (File { first: 5, valid: 9, length: u64::MAX, ..File::default() }, "clusters for 18446744073709551615 bytes"),
        (File { first: 0, valid: 9, length: 9, ..File::default() }, "clusters for 9 bytes, found none"),
        (File { first: 1, valid: 9, length: 9, ..File::default() }, "expected a cluster from 2 to 201, found 1"),
        (File { first: 202, valid: 9, length: 9, ..File::default() }, "expected a cluster from 2 to 201, found 202"),
        (File { first: 4, valid: 9, length: 9, ..File::default() }, "found cluster 4, to which something else"),
        (File { first: 201, valid: 9, length: 513, contiguous: true, ..File::default() }, "found clusters 201 to 202"),
        (File { first: 1, valid: 9, length: 9, contiguous: true, ..File::default() }, "found clusters 1 to 1"),
        (
            File { first: u32::MAX, valid: 9, length: u64::MAX, contiguous: true, ..File::default() },
            "found clusters 4294967295 to",
        ),
        (File { first: 3, valid: 9, length: 9, contiguous: true, ..File::default() }, "found cluster 3, to which"),
        (
            File { directory: true, first: 5, valid: 0, length: (256 << 20) + 1, ..File::default() },
            "a directory of at most 268435456 bytes",
        ),
    ];
    for (file, expected) in cases {
        let mut volume = volume(1);
        let root = volume.at(ROOT);
        volume.file(root, 3, &file);
        let (count, _, notes) = told(&volume);
        assert!(count == 1 && notes.contains(expected), "{count}: {notes}");
    }
}

#[test]
fn sets_of_entries_are_believed_as_a_whole() {
    // An offset in the set of the first file, what is written, whether its checksum is made right, and what is told.
    let cases: [(usize, &[u8], bool, &str); 6] = [
        (40, &[9], false, "expected the checksum"),
        (2, &[0, 0], false, "expected the checksum"),
        (1, &[0], true, "expected entries that belong to it, found none"),
        (1, &[3], true, "expected 4 entries, found 3"),
        (32, &[0xc1], true, "expected a stream entry behind it, found 0xc1"),
        (64, &[0x41], true, "expected 3 entries, found 2"),
    ];
    for (at, value, seal, expected) in cases {
        let mut volume = volume(1);
        let set = volume.at(ROOT) + 96;
        put(&mut volume.bytes, set + at, value);
        if seal {
            seal_set(&mut volume.bytes[set..set + 96]);
        }
        let (count, doubts, notes) = told(&volume);
        assert!(count == 1 && !doubts && notes.contains(expected), "{count}: {notes}");
    }
    // Deleted entries lead nowhere.
    let mut volume = volume(1);
    let set = volume.at(ROOT) + 96;
    for (at, kind) in [(0, 0x05), (32, 0x40), (64, 0x41)] {
        volume.bytes[set + at] = kind;
    }
    assert_eq!(told(&volume), (1, false, String::new()));
}

#[test]
fn the_bitmap_is_doubted_when_something_uses_what_it_calls_free() {
    for cluster in [ROOT, 6, 7, 12] {
        let mut volume = volume(1);
        volume.use_cluster(cluster, false);
        let (count, doubts, notes) = told(&volume);
        assert!(count == 2 && doubts, "{notes}");
        assert!(notes.contains(&format!("cluster {cluster} free, which something uses")), "{notes}");
    }
    let mut short = volume(1);
    short.special(0, 0x81, BITMAP, 24);
    let claims = claims(&short);
    assert!(claims.free_extents().is_empty() && notes(&claims).contains("at least 25 bytes, found 24"));
    let mut none = volume(1);
    none.special(0, 0x81, 1000, 25);
    assert!(super::exfat::claims(&none).free_extents().is_empty());
}

#[test]
fn the_second_bitmap_belongs_to_the_second_table() {
    let mut volume = volume(2);
    let (second, root) = (volume.at(20), volume.at(ROOT));
    let mut bitmap = volume.bytes[volume.at(BITMAP)..][..25].to_vec();
    bitmap[2] |= 4;
    put(&mut volume.bytes, second, &bitmap);
    volume.use_cluster(20, true);
    volume.set(20, u32::MAX);
    volume.special(12, 0x81, 20, 25);
    put(&mut volume.bytes, root + 12 * 32 + 1, &[1]);
    let is_free = |volume: &ExFat, cluster: u32| {
        let at = volume.at(cluster) as u64;
        claims(volume).free_extents().iter().any(|free| free.start.0 <= at && free.end().is_some_and(|end| at < end.0))
    };
    assert!(!told(&volume).1, "{}", told(&volume).2);
    // Set in the second one alone: bit 30, which is cluster 32.
    put(&mut volume.bytes, second + 3, &[0x40]);
    assert!(is_free(&volume, 32));
    put(&mut volume.bytes, 106, &[1]);
    assert!(!told(&volume).1, "{}", told(&volume).2);
    assert!(!is_free(&volume, 32));
}

#[test]
fn a_volume_that_was_in_use_is_doubted() {
    for (flags, doubt) in [(0, false), (2, true), (4, true), (8, false)] {
        let mut volume = volume(1);
        put(&mut volume.bytes, 106, &[flags]);
        assert_eq!(told(&volume).1, doubt, "{flags}");
    }
}

#[test]
fn the_second_boot_region_stands_in_for_a_damaged_first_one() {
    for (at, value) in [(11 * SECTOR, 1), (100, 1), (SECTOR + 7, 1), (108, 12), (108, 77)] {
        let mut volume = volume(1);
        put(&mut volume.bytes, at, &[value]);
        let (count, doubts, notes) = told(&volume);
        assert!(count == 2 && doubts && notes.contains("the second one is followed"), "{at}: {notes}");
        put(&mut volume.bytes, 12 * SECTOR + 100, &[1]);
        assert!(ExFatVolume::open(&volume.bytes).is_err(), "{at}");
    }
}

#[test]
fn boot_sectors_that_contradict_themselves_are_refused() {
    let cases: [(usize, &[u8], &str); 11] = [
        (72, &[255; 8], "which the volume has, found"),
        (80, &[23, 0, 0, 0], "a place behind both boot regions, found 23"),
        (80, &[255; 4], "a place behind the tables"),
        (84, &[1, 0, 0, 0], "entries for 200 clusters, found 1"),
        (84, &[255; 4], "a place behind the tables"),
        (88, &[255; 4], "clusters that end in"),
        (92, &[255; 4], "more than 536870912 clusters"),
        (92, &[255, 0, 0, 0], "clusters that end in"),
        (105, &[2], "revision 1, found 2"),
        (109, &[17], "clusters of at most 2^25 bytes, found 17"),
        (110, &[3], "one or two file allocation tables, found 3"),
    ];
    for (at, value, expected) in cases {
        let mut volume = volume(1);
        put(&mut volume.bytes, at, value);
        volume.seal();
        let error = ExFatVolume::open(&volume.bytes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{at}: {error}");
    }
    for (at, value) in [(0, 0), (3, 0), (30, 1), (511, 0)] {
        let mut volume = volume(1);
        put(&mut volume.bytes, at, &[value]);
        assert!(ExFatVolume::open(&volume.bytes).expect("something else").is_none());
    }
    // A root directory that is not there leads to nothing.
    let mut volume = volume(1);
    put(&mut volume.bytes, 96, &[1, 0, 0, 0]);
    volume.seal();
    let (count, _, notes) = told(&volume);
    assert!(count == 0 && notes.contains("expected a cluster from 2 to 201, found 1"), "{notes}");
}
