//! Folders and facts of volumes that were built here: sound ones, and those that contradict themselves.

use std::sync::Arc;

use crate::build::{Attr, BITMAP, Body, Build, HOLE, INDEX, ROOT, Rec, file_name, put, reference};
use crate::folders::{contents, entry, last, node, reparse, root, root_reference, standard, tree};
use crate::look::{files, names, reads_the_same};
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::layout::files::{FileSystem, Moment, NodeId, NodeKind};
use sheaf::layout::ntfs::NtfsFiles;

pub const FOLDER: NodeId = NodeId(reference(36, 1));

pub fn built(cluster: u64, change: impl Fn(&mut Build)) -> NtfsFiles {
    let mut build = Build::new(cluster, 1024, (1 << 20 >> cluster.trailing_zeros()).max(500));
    tree(&mut build);
    change(&mut build);
    files(build.image())
}

pub fn attr(build: &mut Build, number: u64, index: usize) -> &mut Attr {
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
    for other in ["Stream", "", "stream\0"] {
        files.open(NodeId(reference(33, 1)), Some(other)).map(|_| ()).unwrap_err();
    }
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
fn the_copy_of_the_boot_sector_is_enough() {
    let mut build = Build::new(4096, 1024, 200);
    tree(&mut build);
    let mut image = build.image();
    image[..512].fill(0);
    assert_eq!(names(&files(image), NodeId(root_reference())).len(), 7);
    assert!(NtfsFiles::open(Arc::new(vec![0; 100_000])).unwrap().is_none());
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
            let _ = content.read_at(DiskOffset(content.size() - some.len() as u64), &mut some);
            let _ = content.next_data(DiskOffset(0)).unwrap();
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
}
