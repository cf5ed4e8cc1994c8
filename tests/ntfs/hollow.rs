//! Folders and files of volumes that were built here: sound ones, and those that contradict themselves.

use std::sync::Arc;

use crate::build::{Attr, BITMAP, Body, Build, DATA, HOLE, INDEX, LIST, ROOT, Rec, file_name, put, reference};
use crate::folders::{contents, entry, folder, last, node, overlay, reparse, root, root_reference, standard, tree};
use crate::judge::bytes;
use crate::look::{files, names, reads_the_same};
use crate::shapes::{scattered, split};
use sheaf::disk::ReadAt;
use sheaf::layout::files::{FileSystem, Moment, NodeId, NodeKind};
use sheaf::layout::ntfs::NtfsFiles;

const FOLDER: NodeId = NodeId(reference(36, 1));

fn built(cluster: u64, change: impl Fn(&mut Build)) -> NtfsFiles {
    let mut build = Build::new(cluster, 1024, (1 << 20 >> cluster.trailing_zeros()).max(500));
    tree(&mut build);
    change(&mut build);
    files(build.image())
}

fn attr(build: &mut Build, number: u64, index: usize) -> &mut Attr {
    &mut build.records.get_mut(&number).unwrap().attrs[index]
}

/// Where the index records of the folder lie, in clusters.
fn nodes(build: &Build) -> u64 {
    match &build.records[&36].attrs[3].body {
        Body::There(clusters) => clusters.runs[0].0,
        Body::Here(_) => panic!("in clusters"),
    }
}

fn change_nodes(build: &mut Build, change: impl Fn(&mut [u8])) {
    let at = nodes(build);
    change(&mut build.content.iter_mut().find(|(cluster, _)| *cluster == at).unwrap().1);
}

/// The names of the folder, and what is told of it.
fn listing(files: &NtfsFiles) -> (Vec<String>, Vec<String>) {
    let listing = files.entries(FOLDER).unwrap();
    let problems = listing.problems.iter().map(ToString::to_string).collect();
    (listing.entries.into_iter().map(|entry| entry.name).collect(), problems)
}

fn numbers(numbers: impl Iterator<Item = u64>) -> Vec<String> {
    numbers.map(|number| format!("{number:03}")).collect()
}

#[test]
fn folders_and_files_of_every_size_of_clusters() {
    for cluster in [512, 1024, 4096, 8192] {
        let files = built(cluster, |_| {});
        let listing = files.entries(files.root()).unwrap();
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
        let folders: Vec<bool> = listing.entries.iter().map(|entry| entry.is_folder).collect();
        assert_eq!(folders, [false, false, false, false, false, false, true]);
        for (entry, (name, content)) in listing.entries.iter().zip(contents(cluster)) {
            let facts = files.facts(entry.node).unwrap();
            assert_eq!((&*entry.name, &facts.kind, facts.size), (name, &NodeKind::File, content.len() as u64));
            reads_the_same(&*files.open(entry.node, None).unwrap(), &content);
        }
        assert_eq!(listing.entries[6].node, FOLDER);
        assert_eq!(self::listing(&files), (numbers(0..20), Vec::new()), "{cluster}");
    }
}

#[test]
fn facts_are_those_of_the_record() {
    let files = built(4096, |build| {
        let times = [1_u64 << 63, 116_444_736_000_000_001, 0, 116_444_736_000_000_002];
        attr(build, 30, 0).body = standard(times, 0x3000_0021).body;
        let short = {
            let mut name = file_name(ROOT, "ONE~1");
            let Body::Here(bytes) = &mut name.body else { panic!("resident") };
            bytes[65] = 2;
            name
        };
        build.records.get_mut(&30).unwrap().attrs.extend([short, file_name(36, "hard link")]);
    });
    let facts = files.facts(NodeId(reference(30, 1))).unwrap();
    let at = |nanoseconds| Some(Moment { seconds: 0, nanoseconds });
    assert_eq!((facts.created, facts.modified, facts.changed, facts.accessed), (None, at(100), None, at(200)));
    assert_eq!((facts.attributes, facts.links, facts.size, facts.allocated), (0x21, 2, 30, 0));
    let of = |number| files.facts(NodeId(reference(number, 1))).unwrap();
    let allocated = |number| (of(number).allocated, of(number).attributes, of(number).reparse_tag);
    assert_eq!(allocated(35), (3 * 4096, 0x620, Some(0x8000_0017)));
    assert_eq!((of(36).kind, of(36).attributes, of(36).size), (NodeKind::Folder, 0x10, 0));
    assert_eq!(files.facts(files.root()).unwrap().links, 1);
    let streams = |number| files.streams(NodeId(reference(number, 1))).unwrap();
    let stream = &streams(33)[0];
    assert_eq!((streams(33).len(), &*stream.name, stream.size), (1, "stream", 6));
    assert!(streams(30).is_empty() && streams(35).is_empty());
    let beside = files.open(NodeId(reference(33, 1)), Some("stream")).unwrap();
    reads_the_same(&*beside, b"beside");
    files.open(NodeId(reference(33, 1)), Some("Stream")).map(|_| ()).unwrap_err();
}

#[test]
fn a_node_is_known_by_its_sequence_number() {
    let files = built(4096, |build| {
        build.records.insert(37, Rec::of(30, Vec::new()));
        build.records.insert(38, Rec { flags: 0, ..Rec::new(Vec::new()) });
    });
    assert_eq!(files.root(), NodeId(root_reference()));
    for node in [reference(30, 2), reference(30, 0), reference(37, 1), reference(38, 1), reference(39, 1), 64 | 1 << 48]
    {
        let node = NodeId(node);
        files.facts(node).unwrap_err();
        files.entries(node).unwrap_err();
        files.streams(node).unwrap_err();
        files.open(node, None).map(|_| ()).unwrap_err();
    }
    files.facts(NodeId(u64::MAX)).unwrap_err();
    assert!(files.entries(NodeId(reference(30, 1))).is_err(), "a file is no folder");
    assert!(files.open(FOLDER, None).is_err(), "a folder has no content");
}

#[test]
fn links_are_read_and_other_reparse_points_left_as_they_are() {
    let name = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let target = name(r"\??\C:\Users");
    let link = [&[0, 0, target.len() as u8, 0, 0, 0, 0, 0][..], &target].concat();
    let mut symbolic = link.clone();
    symbolic.splice(8..8, [1, 0, 0, 0]);
    let (link, symbolic) = (&link, &symbolic);
    let files = built(4096, |build| {
        for (number, point) in [
            (30, reparse(0xa000_000c, symbolic)),
            (31, reparse(0xa000_000c, &symbolic[..30])),
            (32, reparse(0x8000_001b, link)),
            (36, reparse(0xa000_0003, link)),
        ] {
            build.records.get_mut(&number).unwrap().attrs.push(point);
        }
    });
    let of = |number| files.facts(NodeId(reference(number, 1))).unwrap();
    let NodeKind::Link(found) = of(30).kind else { panic!("a link") };
    assert_eq!((&*found.target, found.is_relative, found.is_junction), (r"\??\C:\Users", true, false));
    let NodeKind::Link(found) = of(36).kind else { panic!("a link") };
    assert_eq!((&*found.target, found.is_relative, found.is_junction), (r"\??\C:\Users", false, true));
    assert_eq!((of(30).size, of(30).reparse_tag), (0, Some(0xa000_000c)));
    assert_eq!((of(31).kind, of(31).size, of(31).reparse_tag), (NodeKind::File, 31, Some(0xa000_000c)), "cut off");
    assert_eq!((of(32).kind, of(32).reparse_tag), (NodeKind::File, Some(0x8000_001b)));
}

#[test]
fn names_for_old_programs_are_left_out_beside_another_name() {
    let files = built(4096, |build| {
        let entry = |number, name: &str, space| entry(reference(number, 1), root_reference(), name, space, false, None);
        let names = [
            entry(2, "$LogFile", 3),
            entry(30, "LONGNA~1", 2),
            entry(31, "ONLYON~1", 2),
            entry(30, "a long name", 1),
            entry(32, "Case", 0),
            entry(32, "case", 0),
            entry(5, ".", 3),
            last(None),
        ];
        *attr(build, ROOT, 0) = root(4096, &names);
    });
    assert_eq!(names(&files, files.root()), ["ONLYON~1", "a long name", "Case", "case"]);
}

#[test]
fn what_is_no_text_is_told_by_its_replacement() {
    let files = built(4096, |build| {
        let mut broken = entry(reference(30, 1), root_reference(), "a?b", 1, false, None);
        put(&mut broken, 16 + 66 + 2, &[0x00, 0xd8]);
        *attr(build, ROOT, 0) = root(4096, &[broken, last(None)]);
    });
    assert_eq!(names(&files, files.root()), ["a\u{fffd}b"]);
}

#[test]
fn behind_a_damaged_index_record_the_rest_is_read() {
    let damaged = |change: &dyn Fn(&mut Build)| listing(&built(4096, change));
    // The fix-up of the middle record: its own name is lost, and those below it are found.
    let (found, problems) = damaged(&|build| change_nodes(build, |bytes| bytes[510] ^= 1));
    assert_eq!(found, numbers((0..10).chain(11..20)));
    assert!(problems.len() == 1 && problems[0].starts_with("a fix-up of a record"), "{problems:?}");
    // One below it.
    let (found, problems) = damaged(&|build| change_nodes(build, |bytes| bytes[4096 + 1022] ^= 1));
    assert_eq!((found, problems.len()), (numbers(10..20), 1));
    // It says that it is another one.
    let (found, problems) = damaged(&|build| change_nodes(build, |bytes| bytes[16] ^= 1));
    assert_eq!((found, problems.len()), (numbers((0..10).chain(11..20)), 1));
    // No signature.
    let (found, problems) = damaged(&|build| change_nodes(build, |bytes| bytes[8192] = 0));
    assert_eq!((found, problems.len()), (numbers(0..11), 1));
    // An entry of no length: what was read before it is kept.
    let (found, problems) = damaged(&|build| change_nodes(build, |bytes| bytes[4096 + 64 + 8 + 88] = 0));
    assert_eq!((found, problems.len()), (numbers((0..1).chain(10..20)), 1));
    // A record that the folder's map does not have is not looked for.
    let (found, problems) = damaged(&|build| {
        change_nodes(build, |bytes| bytes[510] ^= 1);
        attr(build, 36, 4).body = Body::Here(vec![5, 0, 0, 0, 0, 0, 0, 0]);
    });
    assert_eq!((found, problems.len()), (numbers(11..20), 1));
    // Nor are names of a folder that was there before.
    let (found, _) = damaged(&|build| {
        let stale = node(4096, 1, &[entry(reference(30, 1), reference(36, 9), "stale", 1, false, None), last(None)]);
        change_nodes(build, |bytes| {
            bytes[510] ^= 1;
            put(bytes, 4096, &stale);
        });
    });
    assert_eq!(found, numbers(11..20));
    // Without a map, that is told as well.
    let (found, problems) = damaged(&|build| {
        change_nodes(build, |bytes| bytes[510] ^= 1);
        build.records.get_mut(&36).unwrap().attrs.truncate(4);
    });
    assert_eq!((found.len(), problems.len()), (0, 2));
    let (found, problems) = damaged(&|build| build.records.get_mut(&36).unwrap().attrs.truncate(3));
    assert_eq!((found.len(), problems.len()), (0, 1), "{problems:?}");
}

#[test]
fn loops_in_an_index_end() {
    let own = |name: &str, node| entry(reference(30, 1), reference(36, 1), name, 1, false, node);
    for (first, second, expected) in [(0, 0, vec!["a", "b"]), (1, 0, vec!["c", "a", "b"]), (1, 1, vec!["c", "a", "b"])]
    {
        let files = built(4096, |build| {
            let records = [
                node(4096, 0, &[own("a", Some(first)), own("b", Some(second)), last(Some(0))]),
                node(4096, 1, &[own("c", Some(0)), last(Some(1))]),
            ];
            change_nodes(build, |bytes| put(bytes, 0, &records.concat()));
        });
        let (mut found, problems) = listing(&files);
        // The third record is in use by the map, and found by it.
        found.truncate(expected.len());
        assert_eq!(found, expected);
        assert!(problems.len() >= 3, "{problems:?}");
    }
    // Deeper than any index.
    let files = built(4096, |build| {
        let run = build.take(200);
        let records = (0..200).map(|at| node(4096, at, &[own("x", None), last(Some(at + 1))]));
        build.content.push((run.0, records.collect::<Vec<_>>().concat()));
        *attr(build, 36, 3) = Attr::there(INDEX, 12, &[run], 4096).named("$I30");
        attr(build, 36, 4).body = Body::Here(vec![0xff; 32]);
    });
    let (found, problems) = listing(&files);
    assert_eq!((found.len(), problems.len()), (200, 1), "{problems:?}");
}

#[test]
fn an_index_of_nothing_but_damage_is_given_up() {
    let files = built(4096, |build| {
        let own = entry(reference(30, 1), reference(36, 1), "x", 1, false, Some(1 << 50));
        let run = build.take(100);
        let full = |at| (0..30).map(|_| own.clone()).chain([last(Some(at + 1))]).collect::<Vec<_>>();
        build.content.push((run.0, (0..100).flat_map(|at| node(4096, at, &full(at))).collect()));
        *attr(build, 36, 3) = Attr::there(INDEX, 12, &[run, (HOLE, 1 << 50)], 4096).named("$I30");
        attr(build, 36, 4).body = Body::Here(vec![0xff; 16]);
    });
    let (found, problems) = listing(&files);
    assert!(problems.len() == 1001 && found.len() < 1100, "{} {}", problems.len(), found.len());
    assert_eq!(problems.last().unwrap(), "more than 1000 damaged parts of a folder");
}

#[test]
fn a_file_in_several_records_is_read() {
    for is_list_there in [false, true] {
        let mut build = Build::new(4096, 1024, 1024);
        let content = split(&mut build, is_list_there);
        let files = files(build.image());
        let node = NodeId(reference(50, 1));
        assert_eq!(files.facts(node).unwrap().size, content.len() as u64);
        reads_the_same(&*files.open(node, None).unwrap(), &content);
    }
    let mut build = scattered(4096, 1024);
    let content = bytes(3, 5000);
    build.file(60, ROOT, "late", &content);
    let files = files(build.image());
    reads_the_same(&*files.open(NodeId(reference(60, 1)), None).unwrap(), &content);
}

#[test]
fn the_copy_of_the_boot_sector_is_enough() {
    let mut build = Build::new(4096, 1024, 200);
    tree(&mut build);
    let mut image = build.image();
    image[..512].fill(0);
    assert_eq!(names(&files(image), NodeId(root_reference())).len(), 7);
    assert!(NtfsFiles::open(Arc::new(vec![0; 100_000])).unwrap().is_none());
}

#[test]
fn what_cannot_be_unpacked_is_told_and_the_rest_is_read() {
    let open = |number: u64, change: &dyn Fn(&mut Build)| {
        let files = built(4096, change);
        files.open(NodeId(reference(number, 1)), None).map_err(|error| error.to_string())
    };
    let refused = |number, change: &dyn Fn(&mut Build)| open(number, change).map(|_| ()).unwrap_err();
    let flags = |flags| move |build: &mut Build| attr(build, 34, 2).flags = flags;
    assert!(refused(34, &flags(0x4000)).ends_with("it is encrypted"));
    assert!(refused(34, &flags(2)).contains("algorithm 2"));
    for unit in [0, 9, 63, 64, 255] {
        let error = refused(34, &|build| attr(build, 34, 2).clusters().unit = unit);
        assert!(error.starts_with("the compression unit of a file"), "{error}");
    }
    // The second unit is damaged.
    let packed = open(34, &|build| {
        let at = build.content.iter().position(|(_, bytes)| bytes.starts_with(&[3, 0xb0])).unwrap();
        build.content[at].1[1] = 0;
    });
    let (packed, unit) = (packed.unwrap(), 16 * 4096);
    let mut some = [0; 100];
    let mut read = |at: u64| packed.read_at(sheaf::disk::DiskOffset(at), &mut some);
    read(unit - 100).unwrap();
    read(unit - 99).unwrap_err();
    read(2 * unit - 1).unwrap_err();
    read(2 * unit).unwrap();

    assert!(refused(35, &|build| *attr(build, 35, 4) = overlay(4)).contains("algorithm 4"));
    let provider = |data: [u32; 4]| {
        refused(35, &|build| *attr(build, 35, 4) = reparse(0x8000_0017, &data.map(u32::to_le_bytes).concat()))
    };
    assert!(provider([1, 1, 1, 0]).contains("provider 1"));
    assert!(provider([2, 2, 1, 0]).contains("version 2"));
    refused(35, &|build| attr(build, 35, 3).name = "Other".to_owned());
    refused(35, &|build| drop(build.records.get_mut(&35).unwrap().attrs.remove(2)));
    assert!(refused(35, &|build| attr(build, 35, 3).body = Body::Here(vec![0; 7])).contains("a table for 10000 bytes"));
    // The second chunk begins before the first one, or behind the end.
    for start in [0_u32, u32::MAX] {
        let overlaid = open(35, &|build| {
            let at = build.content.iter().position(|(_, bytes)| bytes.starts_with(&[0, 16, 0, 0, 0, 32])).unwrap();
            put(&mut build.content[at].1, 0, &start.to_le_bytes());
        });
        let overlaid = overlaid.unwrap();
        let mut read = |at: u64| overlaid.read_at(sheaf::disk::DiskOffset(at), &mut some);
        read(0).unwrap_err();
        read(4096).unwrap_err();
        read(8192).unwrap();
    }
}

#[test]
fn sizes_that_no_volume_has_take_no_memory() {
    let huge = (1_u64 << 63) - 4096;
    let files = built(4096, |build| {
        let run = build.take(1);
        let mut sparse = Attr::there(DATA, 1, &[run, (HOLE, (huge >> 12) - 1)], 4096);
        sparse.flags = 0x8000;
        build.add(40, vec![sparse.clone()]);
        sparse.flags = 1;
        sparse.clusters().unit = 4;
        build.add(41, vec![sparse]);
        let hole = Attr::there(DATA, 1, &[(HOLE, huge >> 12)], 4096);
        let stream = Attr::there(DATA, 2, &[run, (HOLE, (huge >> 12) - 1)], 4096).named("WofCompressedData");
        build.add(42, vec![hole, stream, overlay(1)]);
    });
    for (number, is_sound) in [(40, true), (41, true), (42, false)] {
        let node = NodeId(reference(number, 1));
        assert_eq!(files.facts(node).unwrap().size, huge);
        let content = files.open(node, None).unwrap();
        assert_eq!(content.size(), huge);
        let mut some = [9; 100];
        for at in [1 << 20, huge / 2 + 7, huge - 100] {
            let read = content.read_at(sheaf::disk::DiskOffset(at), &mut some);
            assert_eq!(read.is_ok(), is_sound, "{number} {at}");
            assert!(!is_sound || some == [0; 100]);
        }
        let data = content.next_data(sheaf::disk::DiskOffset(1 << 20)).unwrap();
        assert_eq!(data.is_none(), is_sound, "{number}");
    }
}

#[test]
fn records_that_name_each_other_end() {
    let files = built(4096, |build| {
        let list = |of: &[u64]| {
            let entries = of.iter().map(|of| crate::build::entry(DATA, "", 0, reference(*of, 1), 0));
            Attr::here(LIST, 7, entries.collect::<Vec<_>>().concat())
        };
        let data = |run| Attr::there(DATA, 0, &[run], 4096);
        let run = build.take(1);
        build.add(40, vec![list(&[41]), data(run)]);
        build.records.insert(41, Rec::of(40, vec![list(&[40]), data(run)]));
        build.add(42, vec![list(&[42; 20]), data(run)]);
        build.add(43, vec![list(&[44, 45]), data(run)]);
    });
    for number in 40..44 {
        let node = NodeId(reference(number, 1));
        let _ = (files.facts(node), files.streams(node), files.open(node, None).map(|_| ()));
    }
    assert!(files.open(NodeId(reference(40, 1)), None).is_ok(), "the other record is its own");
    files.open(NodeId(reference(42, 1)), None).map(|_| ()).unwrap_err();
    files.facts(NodeId(reference(43, 1))).unwrap_err();
}

#[test]
fn any_byte_of_a_folder_or_file_may_be_anything() {
    let mut build = Build::new(1024, 1024, 400);
    tree(&mut build);
    let sound = build.image();
    let mut structures: Vec<(usize, usize)> = Vec::new();
    for number in [ROOT, 33, 34, 35, 36] {
        structures.push((build.place(number).unwrap(), 1024));
    }
    structures.push((nodes(&build) as usize * 1024, 400));
    structures.push((nodes(&build) as usize * 1024 + 4096, 300));
    let mut image = sound.clone();
    for (at, length) in structures {
        for offset in 0..length {
            for value in [0, 0xff, sound[at + offset] ^ 1, sound[at + offset] ^ 0x80] {
                image[at + offset] = value;
                look_at_all(&files(image.clone()));
            }
            image[at + offset] = sound[at + offset];
        }
    }
}

/// Looks at what is in the root and in the folder, and reads a little of each file.
fn look_at_all(files: &NtfsFiles) {
    for folder in [files.root(), FOLDER] {
        let Ok(listing) = files.entries(folder) else { continue };
        assert!(listing.entries.len() < 200);
        for entry in listing.entries.iter().take(10) {
            let Ok(facts) = files.facts(entry.node) else { continue };
            assert!(facts.links >= 1);
            let _ = files.streams(entry.node);
            let Ok(content) = files.open(entry.node, None) else { continue };
            let mut some = vec![0; content.size().min(5000) as usize];
            let _ = content.read_at(sheaf::disk::DiskOffset(content.size() - some.len() as u64), &mut some);
            let _ = content.next_data(sheaf::disk::DiskOffset(0)).unwrap();
        }
    }
}

#[test]
fn the_map_of_a_folder_is_in_clusters_as_well() {
    let files = built(512, |build| {
        let map = build.take(1);
        build.content.push((map.0, vec![7]));
        change_nodes(build, |bytes| bytes[510] ^= 1);
        *attr(build, 36, 4) = Attr::there(BITMAP, 13, &[map], 512).named("$I30").sized(8, 8);
    });
    assert_eq!(listing(&files).0, numbers((0..10).chain(11..20)));
    folder(&mut Build::new(512, 1024, 400), 36, Vec::new());
}
