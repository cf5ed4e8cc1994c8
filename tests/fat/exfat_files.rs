//! What is in exFAT volumes that were made by hand.

use super::build::{ExFat, File, ROOT, file_set, put, seal_set};
use super::check::claim;
use super::files as claimed;
use super::walk::{Bad, Found, Walk, bytes, walk};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::exfat::ExFatFiles;
use sheaf::layout::files::{MOST_PROBLEMS, Moment, NodeFacts, NodeId};
use sheaf::layout::{FileSystem, LayoutError};
use std::sync::Arc;

const NO_STAMPS: [u8; 17] = [0; 17];

fn open(volume: impl ReadAt + 'static) -> ExFatFiles {
    ExFatFiles::open(Arc::new(volume)).expect("sound").expect("exFAT")
}

fn walked(volume: &ExFat) -> Walk {
    walk(&open(volume.bytes.clone()), 8, 1000)
}

fn find<'a>(walk: &'a Walk, path: &str) -> &'a Found {
    walk.found.iter().find(|found| found.path == path).unwrap_or_else(|| panic!("no {path}"))
}

/// Writes a set into a directory, from an entry of it on.
fn place(volume: &mut ExFat, directory: usize, index: usize, set: &[u8]) {
    put(&mut volume.bytes, directory + index * 32, set);
}

/// A file of 1300 bytes, 1000 of them written, in clusters 5, 6 and 9. A folder in 20, 22 and 24, and one in 30 to 32, each with a
/// file in 10 to 13 whose set goes on in the second cluster and in the third.
fn volume(tables: usize) -> ExFat {
    let mut volume = ExFat::new(200, 512, tables);
    volume.chain(&[5, 6, 9]);
    volume.chain(&[20, 22, 24]);
    (10..14).chain(30..33).for_each(|cluster| volume.use_cluster(cluster, true));
    for (cluster, fill) in [(5, 1), (6, 2), (9, 3), (10, 4), (11, 5), (12, 6), (13, 7)] {
        let at = volume.at(cluster);
        put(&mut volume.bytes, at, &[fill; 512]);
    }
    let root = volume.at(ROOT);
    let file = File { first: 5, valid: 1000, length: 1300, ..File::default() };
    place(&mut volume, root, 3, &file_set("Grüße 😀 in two parts.txt", &NO_STAMPS, &file));
    volume.file(root, 7, &File::default());
    let folder = File { directory: true, first: 20, valid: 1536, length: 1536, contiguous: false };
    place(&mut volume, root, 10, &file_set("chained", &NO_STAMPS, &folder));
    place(&mut volume, root, 13, &file_set("in a row", &NO_STAMPS, &File { first: 30, contiguous: true, ..folder }));
    // 18 entries for the name and 2 in front: from the last one of the first cluster, over all of the second, into the third.
    let file = File { first: 10, valid: 2000, length: 2000, contiguous: true, ..File::default() };
    let set = file_set(&"x".repeat(255), &NO_STAMPS, &file);
    assert_eq!(set.len(), 19 * 32);
    for clusters in [[20, 22, 24], [30, 31, 32]] {
        let directory = volume.at(clusters[0]);
        (0..15).for_each(|index| place(&mut volume, directory, index, &[1]));
        for (cluster, part) in clusters.into_iter().zip([&set[..32], &set[32..544], &set[544..]]) {
            let at = volume.at(cluster) + if part.len() == 32 { 480 } else { 0 };
            put(&mut volume.bytes, at, part);
        }
    }
    volume
}

#[test]
fn folders_files_facts_and_content_are_told() {
    for tables in [1, 2] {
        let volume = volume(tables);
        let walk = walked(&volume);
        assert!(walk.problems.is_empty(), "{:?}", walk.problems);
        let long = "x".repeat(255);
        let (chained, row) = (format!("/chained/{long}"), format!("/in a row/{long}"));
        let paths: Vec<&str> = walk.found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(
            paths,
            ["/Grüße 😀 in two parts.txt", "/a", "/chained", "/in a row", row.as_str(), chained.as_str()]
        );
        let first = find(&walk, "/Grüße 😀 in two parts.txt");
        assert_eq!((first.facts.size, first.facts.allocated, first.facts.attributes), (1300, 1536, 0x20));
        assert_eq!((first.facts.created, first.facts.modified, first.facts.accessed), (None, None, None));
        let content = first.content.as_ref().expect("a file");
        assert_eq!(bytes(&**content), [vec![1; 512], vec![2; 488], vec![0; 300]].concat());
        assert_eq!(content.next_data(DiskOffset(1000)).expect("known"), None);
        let empty = &find(&walk, "/a").facts;
        assert_eq!((empty.size, empty.allocated), (0, 0));
        assert_eq!(find(&walk, "/chained").facts.allocated, 1536);
        for path in [chained, row] {
            let found = find(&walk, &path);
            assert_eq!((found.facts.size, found.facts.allocated), (2000, 2048));
            let expected = [vec![4; 512], vec![5; 512], vec![6; 512], vec![7; 464]].concat();
            assert_eq!(bytes(&**found.content.as_ref().expect("a file")), expected);
        }
    }
    // What is claimed as a file is what a file reads as, but for zeros behind what was written.
    let mut volume = volume(1);
    let root = volume.at(ROOT);
    volume.file(root, 13, &File::default());
    let walk = walked(&volume);
    let mut content: Vec<_> =
        walk.found.iter().filter_map(|one| one.content.as_ref()).map(|one| bytes(&**one)).collect();
    content[0].truncate(1000);
    content.retain(|bytes| !bytes.is_empty());
    assert_eq!(content, claimed(&volume.bytes, &claim(&volume.bytes).expect("exFAT")));
}

#[test]
fn times_have_hundredths_and_zones() {
    // 2024-01-01 19:26:58.
    let stamp = 0x5821_9b5d_u32.to_le_bytes();
    let facts = |hundredths: [u8; 2], zones: [u8; 3]| -> NodeFacts {
        let mut volume = ExFat::new(200, 512, 1);
        let stamps = [&stamp.repeat(3)[..], &hundredths, &zones].concat();
        let root = volume.at(ROOT);
        place(&mut volume, root, 3, &file_set("a", stamps.first_chunk().expect("17"), &File::default()));
        find(&walked(&volume), "/a").facts.clone()
    };
    let utc = 1_704_137_218;
    let at = |seconds, nanoseconds| Some(Moment { seconds, nanoseconds });
    let told = facts([150, 7], [0, 0, 0]);
    assert_eq!(told.created, at(utc + 1, 500_000_000));
    assert_eq!((told.modified, told.accessed), (at(utc, 70_000_000), at(utc, 0)));
    // An hour, -9 hours and 30 minutes, and 14 hours ahead.
    let told = facts([0, 0], [0x84, 0x80 | 0x7f & (-38_i8) as u8, 0xb8]);
    assert_eq!(told.created, at(utc - 3600, 0));
    assert_eq!(told.modified, at(utc + 34_200, 0));
    assert_eq!(told.accessed, at(utc - 50_400, 0));
    // A number that is not said to be valid.
    assert_eq!(facts([0, 0], [0x04, 0x7f, 0]).modified, at(utc, 0));
}

#[test]
fn sets_are_believed_as_a_whole_and_others_are_told() {
    // An offset in the set of the first file, what is written, whether its checksum is made right, and what is told.
    let cases: [(usize, &[u8], bool, &str); 9] = [
        (40, &[9], false, "expected the checksum"),
        (2, &[0, 0], false, "expected the checksum"),
        (1, &[0], true, "expected entries that belong to it, found none"),
        (1, &[4], true, "expected 5 entries, found 4"),
        (32, &[0xc1], true, "expected a stream entry behind it, found 0xc1"),
        (96, &[0x41], true, "expected 4 entries, found 3"),
        (35, &[0], true, "expected a name of 1 or more units, here of 0, found entries for 0 of them"),
        (35, &[31], true, "expected a name of 1 or more units, here of 31, found entries for 30 of them"),
        (64, &[0xc2], true, "found entries for 0 of them"),
    ];
    for (at, value, seal, expected) in cases {
        let mut volume = volume(1);
        let set = volume.at(ROOT) + 96;
        put(&mut volume.bytes, set + at, value);
        if seal {
            seal_set(&mut volume.bytes[set..set + 128]);
        }
        let walk = walked(&volume);
        let [(folder, problem)] = &walk.problems[..] else { panic!("{expected}: {:?}", walk.problems) };
        assert!(folder.is_empty() && problem.contains(expected), "{problem}");
        assert_eq!(walk.found.len(), 5);
    }
    // Deleted entries are nothing.
    let mut volume = volume(1);
    let set = volume.at(ROOT) + 96;
    [0, 32, 64, 96].into_iter().for_each(|entry| volume.bytes[set + entry] &= 0x7f);
    let walk = walked(&volume);
    assert!(walk.found.len() == 5 && walk.problems.is_empty(), "{:?}", walk.problems);
    // Entries of other kinds in a set belong to it; units that are no text do not end a name.
    let mut set = file_set("abcd", &NO_STAMPS, &File::default());
    set[1] = 3;
    put(&mut set, 66, &[0, 0xd8]);
    set.extend([0xe0; 32]);
    seal_set(&mut set);
    let mut volume = ExFat::new(200, 512, 1);
    let root = volume.at(ROOT);
    place(&mut volume, root, 3, &set);
    find(&walked(&volume), "/\u{fffd}bcd");
    // A set that the end of the directory cuts.
    let mut volume = ExFat::new(200, 512, 1);
    (3..15).for_each(|index| place(&mut volume, root, index, &[1]));
    place(&mut volume, root, 15, &file_set("a", &NO_STAMPS, &File::default()));
    let walk = walked(&volume);
    assert!(walk.found.is_empty() && walk.problems[0].1.contains("expected 3 entries, found 1"), "{:?}", walk.problems);
}

#[test]
fn files_with_damaged_clusters_have_a_beginning() {
    let cases = [
        (File { first: 5, valid: 1537, length: 1537, ..File::default() }, 1536, "its clusters are too few"),
        (File { first: 5, valid: u64::MAX, length: u64::MAX, ..File::default() }, 1536, "its clusters are too few"),
        (File { first: 0, valid: 9, length: 9, ..File::default() }, 0, "clusters for 9 bytes, found none"),
        (File { first: 1, valid: 9, length: 9, ..File::default() }, 0, "expected a cluster from 2 to 201, found 1"),
        (File { first: 202, valid: 9, length: 9, contiguous: true, ..File::default() }, 0, "found clusters 202 to 202"),
        (File { first: 1, valid: 9, length: 9, contiguous: true, ..File::default() }, 0, "found clusters 1 to 1"),
        (
            File { first: 200, valid: 2000, length: 2000, contiguous: true, ..File::default() },
            1024,
            "found clusters 200 to",
        ),
        (
            File { first: u32::MAX, valid: u64::MAX, length: u64::MAX, contiguous: true, ..File::default() },
            0,
            "found clusters 4294967295 to",
        ),
    ];
    for (file, held, expected) in cases {
        let mut volume = volume(1);
        let root = volume.at(ROOT);
        place(&mut volume, root, 3, &file_set("Grüße 😀 in two parts.txt", &NO_STAMPS, &file));
        let walk = walked(&volume);
        let found = find(&walk, "/Grüße 😀 in two parts.txt");
        let whole = 200 * 512;
        assert!(found.facts.size == file.length && found.facts.allocated <= whole, "{:?}", found.facts);
        let content = found.content.as_ref().expect("a file");
        content.read_at(DiskOffset(0), &mut vec![0; held]).expect("its beginning");
        let error = content.read_at(DiskOffset(held as u64), &mut [0]).expect_err(expected);
        let ReadError::Unreadable { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains(expected), "{source}");
    }
    // What was not written needs no clusters: zeros behind a valid length, as far as they go.
    let mut volume = volume(1);
    let root = volume.at(ROOT);
    let file = File { first: 5, valid: 10, length: 1 << 62, ..File::default() };
    place(&mut volume, root, 3, &file_set("Grüße 😀 in two parts.txt", &NO_STAMPS, &file));
    let walk = walked(&volume);
    let content = find(&walk, "/Grüße 😀 in two parts.txt").content.as_ref().expect("a file");
    let mut bytes = [1; 20];
    content.read_at(DiskOffset((1 << 62) - 20), &mut bytes).expect("zeros");
    assert_eq!(bytes, [0; 20]);
    // More was written than there is: refused with the set.
    let file = File { first: 5, valid: 11, length: 10, ..File::default() };
    place(&mut volume, root, 3, &file_set("Grüße 😀 in two parts.txt", &NO_STAMPS, &file));
    assert!(walked(&volume).problems[0].1.contains("at most 10 bytes that were written, found 11"));
}

#[test]
fn folders_with_damage_tell_what_can_be_read() {
    // Entries of the table that make the folder's chain a circle, break it, or end it early: its set is not whole then.
    for (cluster, value, expected) in [
        (22, 20, "found cluster 20, to which something else leads"),
        (22, 0, "found a free cluster"),
        (22, 1, "expected a cluster from 2"),
        (22, u32::MAX, "clusters for 1536 bytes"),
    ] {
        let mut volume = volume(1);
        volume.set(cluster, value);
        let walk = walked(&volume);
        let problems: Vec<_> =
            walk.problems.iter().map(|(folder, problem)| (folder.as_str(), problem.as_str())).collect();
        let [("/chained", cut), ("/chained", problem)] = problems[..] else { panic!("{problems:?}") };
        assert!(cut.contains("expected 19 entries, found 17") && problem.contains(expected), "{problems:?}");
        assert_eq!(walk.found.len(), 5);
    }
    // Folders that are too long, or lie nowhere; nothing of them can be read.
    let folder = File { directory: true, first: 20, valid: 512, length: 512, contiguous: false };
    for (folder, expected) in [
        (File { first: 0, ..folder }, "clusters for 512 bytes, found none"),
        (File { first: 1, ..folder }, "expected a cluster from 2"),
        (File { first: 500, contiguous: true, ..folder }, "found clusters 500 to 500"),
    ] {
        let mut volume = volume(1);
        let root = volume.at(ROOT);
        place(&mut volume, root, 10, &file_set("chained", &NO_STAMPS, &folder));
        let walk = walked(&volume);
        assert!(walk.found.len() == 5 && walk.problems[0].1.contains(expected), "{:?}", walk.problems);
    }
    let mut volume = volume(1);
    let (root, row) = (volume.at(ROOT), volume.at(30));
    // Nothing is in a folder that takes nothing, and only the beginning is read of one that is too long.
    place(&mut volume, root, 10, &file_set("chained", &NO_STAMPS, &File { first: 0, valid: 0, length: 0, ..folder }));
    let long = File { first: 30, valid: 0, length: (256 << 20) + 1, contiguous: true, ..folder };
    place(&mut volume, root, 13, &file_set("in a row", &NO_STAMPS, &long));
    place(&mut volume, row, 0, &file_set("itself", &NO_STAMPS, &long));
    let walk = walk(&open(volume.bytes), 3, 1000);
    assert_eq!(walk.found.iter().filter(|found| found.path.ends_with("/itself")).count(), 4 - 1);
    assert!(walk.problems.iter().all(|(_, problem)| problem.contains("clusters for 268435457 bytes")));
    assert_eq!(walk.problems.len(), 4 - 1);
}

#[test]
fn what_the_disk_does_not_give_is_told() {
    let volume = volume(1);
    let [second, third] = [volume.at(22), volume.at(24)].map(|at| at as u64);
    let bad = |unreadable, gone| open(Bad { bytes: volume.bytes.clone(), unreadable, gone });
    let folder = |files: &ExFatFiles| files.entries(NodeId(0)).expect("read").entries[2].node;
    // The set in the other two clusters is given up where a piece is missing: not all of it is behind.
    let files = bad(second..second + 1, false);
    let listing = files.entries(folder(&files)).expect("two pieces");
    assert!(listing.entries.is_empty() && listing.problems.len() == 1, "{listing:?}");
    let files = bad(third..third + 1, true);
    let error = files.entries(folder(&files)).expect_err("unplugged");
    assert!(matches!(error, LayoutError::Read { source: ReadError::Gone { .. }, .. }));
    // Sets without end: so many problems, and one that says that there are more.
    let mut many = ExFat::new(200, 4096, 1);
    let root = many.at(ROOT);
    (3..128).for_each(|index| place(&mut many, root, index, &[0x85, 2]));
    let listing = open(many.bytes).entries(NodeId(0)).expect("a folder");
    assert_eq!(listing.problems.len(), MOST_PROBLEMS + 1);
    assert!(listing.problems[MOST_PROBLEMS].to_string().contains("more than 100 problems of a folder"));
}

#[test]
fn nodes_that_are_none_are_refused() {
    let volume = volume(1);
    let files = open(volume.bytes.clone());
    let file = files.entries(NodeId(0)).expect("a folder").entries[0].node;
    assert_eq!(file, NodeId(volume.at(ROOT) as u64 + 96));
    let end = volume.at(202) as u64;
    for at in
        [1, 32, file.0 + 1, file.0 - 32, file.0 + 32, volume.at(200) as u64, end, end + 32, u64::MAX, u64::MAX - 31]
    {
        assert!(files.facts(NodeId(at)).is_err(), "{at}");
        assert!(files.entries(NodeId(at)).is_err() && files.open(NodeId(at), None).is_err(), "{at}");
    }
    files.open(NodeId(0), None).err().expect("a folder");
    assert!(ExFatFiles::open(Arc::new(vec![0; 1024])).expect("something else").is_none());
    // A set at the end of the last cluster goes on nowhere, whichever way.
    let mut volume = volume;
    let last = volume.at(201) + 480;
    put(&mut volume.bytes, last, &[0x85, 255]);
    for next in [0, u32::MAX, 200, 201, 5] {
        volume.set(201, next);
        assert!(open(volume.bytes.clone()).facts(NodeId(last as u64)).is_err());
    }
}
