//! What is in FAT volumes that were made by hand.

use super::build::{Fat, long_name, put};
use super::check::claim;
use super::files as claimed;
use super::walk::{Bad, Found, Walk, bytes, walk};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::FileSystem;
use sheaf::layout::fat::FatFiles;
use sheaf::layout::files::{MOST_PROBLEMS, Moment, NodeId};
use std::sync::Arc;

fn open(volume: impl ReadAt + 'static) -> FatFiles {
    FatFiles::open(Arc::new(volume)).expect("sound").expect("FAT")
}

fn walked(fat: &Fat) -> Walk {
    walk(&open(fat.bytes.clone()), 8, 1000)
}

fn names(fat: &Fat) -> Vec<String> {
    let listing = open(fat.bytes.clone()).entries(NodeId(0)).expect("a folder");
    assert!(listing.problems.is_empty());
    listing.entries.into_iter().map(|entry| entry.name).collect()
}

fn units(name: &str) -> Vec<u16> {
    name.encode_utf16().collect()
}

/// Writes entries one behind the other into the root directory.
fn place(fat: &mut Fat, entries: &[[u8; 32]]) {
    let root = fat.root;
    put(&mut fat.bytes, root, &entries.concat());
}

/// An entry of an empty file.
fn short(name: &[u8; 11], case: u8) -> [u8; 32] {
    let mut entry = [0; 32];
    put(&mut entry, 0, name);
    put(&mut entry, 11, &[0x20, case]);
    entry
}

/// Clusters 5, 6 and 9 are a file in the root directory; 7 and 8 a folder with a file in 10 and 11, and a folder in 12.
fn volume(bits: u32) -> Fat {
    let mut fat = Fat::new(bits, if bits == 16 { 4100 } else { 100 }, 512);
    fat.chain(&[5, 6, 9]);
    fat.chain(&[7, 8]);
    fat.chain(&[10, 11]);
    fat.chain(&[12]);
    for (cluster, fill) in [(5, 1), (6, 2), (9, 3), (10, 4), (11, 5)] {
        let at = fat.at(cluster);
        put(&mut fat.bytes, at, &[fill; 512]);
    }
    let (root, directory, inner) = (fat.root, fat.at(7), fat.at(12));
    fat.entry(root, 0, b"\xe5ELETED TXT", 0x20, 20, 99);
    fat.entry(root, 1, b"ROOT LABEL ", 0x08, 0, 0);
    fat.entry(root, 2, b"A       TXT", 0x27, 5, 1100);
    put(&mut fat.bytes, root + 64 + 13, &[150, 0x5d, 0x9b, 0x21, 0x58, 0x22, 0x58]);
    put(&mut fat.bytes, root + 64 + 22, &[0, 0, 0x21, 0]);
    fat.entry(root, 3, b"EMPTY      ", 0x20, 0, 0);
    fat.entry(root, 4, b"DIR        ", 0x10, 7, 0);
    fat.entry(directory, 0, b".          ", 0x10, 7, 0);
    fat.entry(directory, 1, b"..         ", 0x10, 0, 0);
    for (index, part) in long_name(&units("B with a long name.text"), b"BWITHA~1TEX").iter().enumerate() {
        put(&mut fat.bytes, directory + (14 + index) * 32, part);
    }
    (2..14).for_each(|index| fat.entry(directory, index, b"\xe5          ", 0, 0, 0));
    fat.entry(directory, 16, b"BWITHA~1TEX", 0x20, 10, 1024);
    fat.entry(directory, 17, b"INNER      ", 0x10, 12, 0);
    fat.entry(inner, 0, b".          ", 0x10, 12, 0);
    fat.entry(inner, 1, b"..         ", 0x10, 7, 0);
    fat
}

fn find<'a>(walk: &'a Walk, path: &str) -> &'a Found {
    walk.found.iter().find(|found| found.path == path).unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn folders_files_facts_and_content_are_told() {
    for bits in [12, 16, 32] {
        let fat = volume(bits);
        let walk = walked(&fat);
        assert!(walk.problems.is_empty(), "{:?}", walk.problems);
        let paths: Vec<&str> = walk.found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, ["/A.TXT", "/EMPTY", "/DIR", "/DIR/B with a long name.text", "/DIR/INNER"]);
        let facts = &find(&walk, "/A.TXT").facts;
        assert_eq!((facts.size, facts.allocated, facts.attributes), (1100, 1536, 0x27));
        // 2024-01-01 19:26:58 and one and a half seconds; 2024-01-02; the third has a month of 1 and no time.
        let created = Moment { seconds: 1_704_137_219, nanoseconds: 500_000_000 };
        assert_eq!(
            (facts.created, facts.accessed),
            (Some(created), Some(Moment { seconds: 1_704_153_600, nanoseconds: 0 }))
        );
        assert_eq!(facts.modified, Some(Moment { seconds: 315_532_800, nanoseconds: 0 }));
        let empty = &find(&walk, "/EMPTY").facts;
        assert_eq!((empty.size, empty.allocated, empty.created, empty.modified), (0, 0, None, None));
        assert_eq!(find(&walk, "/DIR").facts.allocated, 1024);
        // What is claimed as a file is what a file reads as.
        let mut content: Vec<_> =
            walk.found.iter().filter_map(|found| found.content.as_ref()).map(|one| bytes(&**one)).collect();
        content.retain(|bytes| !bytes.is_empty());
        assert_eq!(content, claimed(&fat.bytes, &claim(&fat.bytes).expect("FAT")));
        assert_eq!(content, [[vec![1; 512], vec![2; 512], vec![3; 76]].concat(), [[4; 512], [5; 512]].concat()]);
    }
}

#[test]
fn long_names_are_whole_and_belong_to_their_entry() {
    let name = b"SHORT   TXT";
    let good = long_name(&units("A name of more than two parts.txt"), name);
    let wrong: [(&str, Vec<[u8; 32]>); 8] = [
        ("a part is missing", good[1..].to_vec()),
        ("another one is missing", vec![good[0], good[2]]),
        ("the first part is missing", good[..2].to_vec()),
        ("not in order", vec![good[0], good[2], good[1]]),
        ("of another entry", long_name(&units("A name of more than two parts.txt"), b"OTHER   TXT")),
        ("parts of two names", vec![good[0], good[1], long_name(&units("one"), b"OTHER   TXT")[0]]),
        ("something between", vec![good[0], good[1], good[2], short(b"\xe5ELETED TXT", 0)]),
        ("longer than a name may be", long_name(&[u16::from(b'x'); 256], name)),
    ];
    for (what, parts) in wrong {
        let mut fat = Fat::new(12, 100, 512);
        place(&mut fat, &[parts, vec![short(name, 0), short(b"NEXT       ", 0)]].concat());
        assert_eq!(names(&fat), ["SHORT.TXT", "NEXT"], "{what}");
    }
    let right: [(Vec<u16>, String); 6] = [
        (units("A name of more than two parts.txt"), "A name of more than two parts.txt".to_owned()),
        (units("exactly thirt"), "exactly thirt".to_owned()),
        (units("Grüße 😀 \u{212b}/\\..\n"), "Grüße 😀 \u{212b}/\\..\n".to_owned()),
        (vec![u16::from(b'a'), 0xd800, u16::from(b'b')], "a\u{fffd}b".to_owned()),
        (vec![u16::from(b'x'); 255], "x".repeat(255)),
        // Nothing at all is no name.
        (vec![0, 0xffff], "SHORT.TXT".to_owned()),
    ];
    for (units, expected) in right {
        let mut fat = Fat::new(12, 100, 512);
        place(&mut fat, &[long_name(&units, name), vec![short(name, 0), short(b"NEXT       ", 0)]].concat());
        assert_eq!(names(&fat), [expected.as_str(), "NEXT"]);
    }
}

#[test]
fn short_names_have_their_case_and_code_page() {
    let mut fat = Fat::new(16, 4100, 512);
    let entries = [
        short(b"NAME    TXT", 0x08),
        short(b"NAME    TXT", 0x10),
        short(b"NAME    TXT", 0x18),
        short(b"\x05\x8e\x99\x80\x81\xff\x9e\xe4   ", 0),
        short(b"\x8e\x99B     T\xa5X", 0x18),
        short(b"A B     C  ", 0),
        short(b"        X  ", 0),
        short(b"X.Y.    ...", 0),
    ];
    place(&mut fat, &entries);
    let expected = ["name.TXT", "NAME.txt", "name.txt", "σÄÖÇü\u{a0}₧Σ", "äöb.tñx", "A B.C", ".X", "X.Y....."];
    assert_eq!(names(&fat), expected);
}

#[test]
fn labels_deleted_entries_and_what_is_behind_the_end_are_left_out() {
    let mut fat = Fat::new(32, 100, 512);
    let mut strange = short(b"STRANGE    ", 0);
    strange[11] = 0x1f;
    let mut label = short(b"LABEL      ", 0);
    label[11] = 0x28;
    let entries = [label, strange, short(b".          ", 0), short(b"..         ", 0), short(b"... A      ", 0)];
    place(&mut fat, &[&entries[..], &[[0; 32], short(b"BEHIND     ", 0)]].concat());
    assert_eq!(names(&fat), ["... A"]);
}

#[test]
fn a_damaged_chain_costs_what_is_behind_the_damage() {
    for bits in [12, 16, 32] {
        let bad = Fat::new(bits, 100, 512).end() - 8;
        // What the entry of cluster 6 is, or of 5: how many bytes there are, and what is told of the rest.
        for (cluster, value, held, expected) in [
            (6, 0, 1024, "found a free cluster"),
            (5, 5, 512, "found cluster 5, to which something else leads"),
            (6, 5, 1024, "found cluster 5, to which something else leads"),
            (6, 1, 1024, "expected a cluster from 2 to"),
            (6, bad - 1, 1024, "expected a cluster from 2 to"),
            (6, bad, 1024, "found a bad cluster"),
            (5, bad + 8, 512, "its clusters are too few"),
        ] {
            let mut fat = volume(bits);
            fat.set(cluster, value);
            let walk = walked(&fat);
            assert!(walk.problems.is_empty());
            let found = find(&walk, "/A.TXT");
            assert_eq!((found.facts.size, found.facts.allocated), (1100, held));
            let content = found.content.as_ref().expect("a file");
            let mut beginning = vec![0; held as usize];
            content.read_at(DiskOffset(0), &mut beginning).expect("readable");
            assert_eq!(beginning, [[1; 512], [2; 512]].concat()[..held as usize]);
            let error = content.read_at(DiskOffset(held - 1), &mut [0; 2]).expect_err(expected);
            let ReadError::Unreadable { offset, length: 2, source } = error else { panic!("{error}") };
            assert!(offset.0 == held - 1 && source.to_string().contains(expected), "{source}");
            assert_eq!(content.next_data(DiskOffset(held)).expect("known"), Some(held..1100));
        }
        // First cluster and size: how many bytes can be read.
        for (first, size, held) in [(0, 1, 0), (1, 600, 0), (0xfff5, 600, 0), (5, u32::MAX, 1536), (20, 600, 512)] {
            let mut fat = volume(bits);
            let root = fat.root;
            fat.entry(root, 2, b"A       TXT", 0x20, first, size);
            let walk = walked(&fat);
            let content = find(&walk, "/A.TXT").content.as_ref().expect("a file");
            content.read_at(DiskOffset(0), &mut vec![0; held]).expect("readable");
            content.read_at(DiskOffset(held as u64), &mut [0]).expect_err("not readable");
        }
    }
}

#[test]
fn folders_with_damage_tell_what_can_be_read() {
    for bits in [12, 16, 32] {
        // In a circle of its own, behind the entries.
        let mut fat = volume(bits);
        fat.set(8, 7);
        let walk = walked(&fat);
        assert_eq!(walk.found.len(), 5);
        let [(folder, problem)] = &walk.problems[..] else { panic!("{:?}", walk.problems) };
        assert!(folder == "/DIR" && problem.contains("found cluster 7, to which something else leads"), "{problem}");
        // Cut off between the parts of a name: they are not those of what is in the other cluster.
        fat.set(7, fat.end());
        assert_eq!(walked(&fat).found.len(), 3);
        // Nothing of it is there.
        for (first, expected) in [(0, "expected a cluster from 2"), (0xfff5, "expected a cluster from 2")] {
            let mut fat = volume(bits);
            let root = fat.root;
            fat.entry(root, 4, b"DIR        ", 0x10, first, 0);
            let walk = walked(&fat);
            assert!(walk.found.len() == 3 && walk.problems[0].1.contains(expected), "{:?}", walk.problems);
        }
        // Folders that lead to themselves and to the one above go on for as long as the one who walks wants.
        let mut fat = volume(bits);
        let inner = fat.at(12);
        fat.entry(inner, 2, b"SELF       ", 0x10, 12, 0);
        fat.entry(inner, 3, b"UP         ", 0x10, 7, 0);
        let walk = super::walk::walk(&open(fat.bytes), 6, 100_000);
        assert!(walk.problems.is_empty() && walk.found.len() > 30, "{}", walk.found.len());
    }
    // Longer than a directory may be.
    let mut fat = Fat::new(32, 6000, 512);
    fat.chain(&Vec::from_iter(2..5000));
    (0..4998 * 16).for_each(|index| fat.entry(fat.heap, index, b"EMPTY      ", 0, 0, 0));
    let listing = open(fat.bytes).entries(NodeId(0)).expect("its beginning");
    assert_eq!((listing.entries.len(), listing.problems.len()), (65536, 1));
    assert!(listing.problems[0].to_string().contains("expected at most 4096 clusters, found more"));
}

#[test]
fn what_the_disk_does_not_give_is_told() {
    let fat = volume(32);
    let [first, second, data] = [fat.at(7), fat.at(8), fat.at(10)].map(|at| at as u64);
    let bad = |unreadable, gone| open(Bad { bytes: fat.bytes.clone(), unreadable, gone });
    let node = |files: &FatFiles, folder, index: usize| files.entries(folder).expect("read").entries[index].node;
    // All of the folder, in one read.
    let files = bad(second..second + 1, false);
    let folder = node(&files, NodeId(0), 2);
    assert!(files.entries(folder).expect_err("one piece").to_string().contains("a directory at offset"));
    // The table: the chain of the folder breaks at once.
    let files = bad(fat.table as u64..fat.table as u64 + 1, false);
    assert_eq!(files.entries(NodeId(0)).expect("its first cluster").problems.len(), 1);
    // The content: in the offsets of the file.
    let files = bad(data + 700..data + 701, false);
    let file = node(&files, node(&files, NodeId(0), 2), 0);
    let content = files.open(file, None).expect("a file");
    content.read_at(DiskOffset(0), &mut [0; 700]).expect("in front");
    let error = content.read_at(DiskOffset(10), &mut [0; 1000]).expect_err("a bad sector");
    assert!(matches!(error, ReadError::Unreadable { offset: DiskOffset(700), .. }), "{error:?}");
    // An unplugged disk is not a problem of a part.
    let files = bad(first..first + 1, true);
    let folder = node(&files, NodeId(0), 2);
    assert!(matches!(
        files.entries(folder),
        Err(sheaf::layout::LayoutError::Read { source: ReadError::Gone { .. }, .. })
    ));
    // A folder in many pieces, none of which can be read, but for the last: so many problems, and one that says that there are more.
    let mut fat = Fat::new(32, 6000, 512);
    let chain: Vec<u32> = (0..300).map(|index| 2 + index * 2).collect();
    fat.chain(&chain);
    let last = fat.at(chain[299]);
    (0..16).for_each(|index| fat.entry(last, index, b"LAST       ", 0x20, 0, 0));
    let unreadable = fat.at(2) as u64..last as u64;
    let listing = open(Bad { bytes: fat.bytes, unreadable, gone: false }).entries(NodeId(0)).expect("the last piece");
    assert_eq!((listing.entries.len(), listing.problems.len()), (16, MOST_PROBLEMS + 1));
    assert!(listing.problems[MOST_PROBLEMS].to_string().contains("more than 100 problems of a folder"));
}

#[test]
fn nodes_that_are_none_are_refused() {
    for bits in [12, 16, 32] {
        let fat = volume(bits);
        let files = open(fat.bytes.clone());
        let file = files.entries(NodeId(0)).expect("a folder").entries[0].node;
        assert_eq!(file, NodeId(fat.root as u64 + 64));
        let end = (fat.at(fat.clusters + 2)) as u64;
        let others =
            [1, 32, file.0 + 1, file.0 - 32, file.0 - 64, file.0 + 3 * 32, end, end + 32, u64::MAX, u64::MAX - 31];
        for at in others {
            assert!(files.facts(NodeId(at)).is_err(), "{at}");
            assert!(files.entries(NodeId(at)).is_err() && files.open(NodeId(at), None).is_err(), "{at}");
        }
        files.open(NodeId(0), None).err().expect("a folder");
    }
    assert!(FatFiles::open(Arc::new(vec![0; 1024])).expect("something else").is_none());
    let mut fat = volume(12);
    fat.bytes.pop();
    FatFiles::open(Arc::new(fat.bytes)).expect_err("shorter than it says");
}
