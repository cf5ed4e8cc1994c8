//! Content of files of volumes that were built here: sound ones, and those that contradict themselves.

use std::sync::{Arc, Mutex};

use crate::build::put;
use crate::build::{Attr, Body, Build, DATA, HOLE, LIST, ROOT, Rec, reference};
use crate::folders::{contents, overlay, reparse, tree};
use crate::judge::bytes;
use crate::look::{files, reads_the_same};
use crate::names::{FOLDER, attr, built};
use crate::shapes::{scattered, split};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::files::{FileSystem, NodeId};
use sheaf::layout::ntfs::NtfsFiles;

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
    let mut read = |at: u64| packed.read_at(DiskOffset(at), &mut some);
    read(unit - 100).unwrap();
    read(unit - 99).unwrap_err();
    read(2 * unit - 1).unwrap_err();
    read(2 * unit).unwrap();

    assert!(refused(35, &|build| *attr(build, 35, 4) = overlay(4)).contains("algorithm 4"));
    let provider = |data: [u32; 4]| {
        refused(35, &|build| *attr(build, 35, 4) = reparse(0x8000_0017, &data.map(u32::to_le_bytes).concat()))
    };
    // Only a hole, by what keeps the bytes elsewhere; and all that such a store has to do with.
    for (tag, is_hole) in [(0x9000_101a, true), (0x8000_0013, false), (0x8000_001b, false)] {
        let change = |build: &mut Build| {
            if is_hole {
                attr(build, 33, 2).clusters().runs = vec![(HOLE, 32)];
            }
            build.records.get_mut(&33).unwrap().attrs.push(reparse(tag, &[]));
        };
        let opened = open(33, &change).map(|_| ());
        assert_eq!(opened.is_ok(), tag == 0x8000_001b, "{opened:?}");
        assert!(opened.err().is_none_or(|error| error.ends_with(&format!("its reparse point {tag:#010x} says"))));
    }
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
        let mut read = |at: u64| overlaid.read_at(DiskOffset(at), &mut some);
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
            let read = content.read_at(DiskOffset(at), &mut some);
            assert_eq!(read.is_ok(), is_sound, "{number} {at}");
            assert!(!is_sound || some == [0; 100]);
        }
        let data = content.next_data(DiskOffset(1 << 20)).unwrap();
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

/// A volume that notes how it is read.
struct Noting(Vec<u8>, Arc<Mutex<Vec<usize>>>);

impl ReadAt for Noting {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.1.lock().unwrap().push(buffer.len());
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn many_small_reads_are_few_reads_of_the_volume() {
    let mut build = Build::new(4096, 1024, 2000);
    tree(&mut build);
    let content = bytes(50, 1 << 20);
    build.file(50, ROOT, "large", &content);
    let reads = Arc::new(Mutex::new(Vec::new()));
    let files = NtfsFiles::open(Arc::new(Noting(build.image(), Arc::clone(&reads)))).unwrap().unwrap();
    let took = || std::mem::take(&mut *reads.lock().unwrap());
    let node = |number| NodeId(reference(number, 1));
    for number in (30..37).chain([50]) {
        files.facts(node(number)).unwrap();
    }
    // Opening has read records on their own; the MFT is one piece by then.
    assert!(took().len() <= 12);
    files.facts(node(30)).unwrap();
    assert_eq!((files.entries(FOLDER).unwrap().entries.len(), took()), (20, vec![3 * 4096]));
    let large = files.open(node(50), None).unwrap();
    let mut buffer = vec![0; 1 << 20];
    large.read_at(DiskOffset(0), &mut buffer).unwrap();
    assert!(buffer == content && took() == [1 << 20]);
    let packed = files.open(node(34), None).unwrap();
    reads_the_same(&*packed, &contents(4096)[4].1);
    assert_eq!(took(), [17 * 4096]);
    let overlaid = files.open(node(35), None).unwrap();
    reads_the_same(&*overlaid, &contents(4096)[5].1);
    assert_eq!(took(), [10_008]);
}
