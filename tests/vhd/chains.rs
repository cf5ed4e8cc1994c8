//! Differencing disks: chains that are read right, and chains that are refused.

use super::make::{Chain, Folder, Image, Parent};
use super::{read_all, tools};
use sheaf::disk::{DiskOffset, ReadAt, is_zero};
use sheaf::image::container::Place;
use sheaf::image::vhd::{Kind, VhdDisk, VhdError, VhdWarning};
use std::sync::Arc;

/// The disk as its runs tell it, through the chain; the last file is the disk's own.
fn by_runs(disk: &VhdDisk, files: &[Vec<u8>]) -> Vec<u8> {
    let (file, parents) = files.split_last().expect("it has a file");
    let parent = disk.parent().map(|parent| by_runs(parent, parents));
    let mut bytes = Vec::new();
    for run in disk.runs(0..disk.size()) {
        let run = run.expect("told");
        assert_eq!(run.start.0, bytes.len() as u64);
        let start = match run.place {
            Place::File(offset) => offset.0 as usize,
            Place::Zero | Place::Parent => bytes.len(),
        };
        let range = start..start + run.length as usize;
        match (run.place, &parent) {
            (Place::File(_), _) => bytes.extend(&file[range]),
            (Place::Parent, Some(parent)) => bytes.extend(&parent[range]),
            (Place::Zero, None) => bytes.extend(range.map(|_| 0)),
            (place, _) => panic!("{place:?} at {}", run.start),
        }
    }
    bytes
}

#[test]
fn chains_read_as_what_was_written_last() {
    for (depth, kind) in [(0, 2), (0, 3), (1, 2), (1, 3), (5, 2), (5, 3), (31, 3)] {
        for seed in 1..4 {
            let chain = Chain::new(depth, kind, seed);
            let (child, folder) = chain.files();
            let disk = VhdDisk::open(Arc::clone(&child), &folder).expect("sound");
            assert_eq!(disk.warnings(), []);
            assert!(read_all(&disk) == chain.disk, "depth {depth}, kind {kind}, seed {seed}");
            for (start, end) in [(1, 2), (511, 513), (65_000, 70_000), (511_999, 512_000), (3, 511_997)] {
                let mut part = vec![0xaa; end - start];
                disk.read_at(DiskOffset(start as u64), &mut part).expect("inside");
                assert!(part == chain.disk[start..end], "depth {depth}, kind {kind}, seed {seed}: {start}");
            }
            // What is no data is zeros.
            let mut at = 0;
            while let Some(data) = disk.next_data(DiskOffset(at)).expect("told") {
                assert!(data.start >= at && data.end > data.start);
                assert!(is_zero(&chain.disk[at as usize..data.start as usize]));
                at = data.end;
            }
            assert!(is_zero(&chain.disk[at as usize..]));
            let files: Vec<_> = chain.images.iter().map(Image::bytes).collect();
            assert!(by_runs(&disk, &files) == chain.disk);
            let facts = disk.facts();
            assert_eq!(facts.kind == Kind::Differencing, depth > 0);
            if depth > 0 {
                let hint = facts.parent.expect("it has one");
                let name = format!("level-{}.vhd", depth - 1);
                assert_eq!(hint.paths, [format!(".\\{name}"), name.clone(), format!("C:\\disks\\{name}")]);
                assert_eq!(hint.identifier, [depth as u8; 16]);
            }
        }
    }
}

/// libvhdi (20260901) takes every sector for the child's own that follows such a one in the same byte of a bitmap, and
/// takes the padding of bitmaps for sectors. So runs end with a byte here, and bitmaps have no padding.
#[test]
fn libvhdi_reads_the_same_chains() {
    for (depth, kind) in [(1, 2), (1, 3), (5, 3)] {
        let chain = Chain::shaped(depth, kind, 77, 2 << 20, 10_000, 8);
        let folder = tempfile::tempdir().expect("folder");
        let mut paths = Vec::new();
        for (level, image) in chain.images.iter().enumerate() {
            let path = folder.path().join(format!("level-{level}.vhd"));
            std::fs::write(&path, image.bytes()).expect("written");
            paths.insert(0, path);
        }
        let paths: Vec<_> = paths.iter().map(std::path::PathBuf::as_path).collect();
        let Some(read) = tools::read_by_libvhdi(folder.path(), &paths) else {
            return;
        };
        assert!(read == chain.disk, "depth {depth}, kind {kind}");
    }
}

/// A chain of depth 2 with a change, and what is said of it.
fn broken(change: impl Fn(&mut Vec<Image>)) -> VhdError {
    let mut chain = Chain::new(2, 3, 5);
    change(&mut chain.images);
    let (child, folder) = chain.files();
    VhdDisk::open(child, &folder).expect_err("refused")
}

#[test]
fn a_parent_that_is_not_the_right_one_is_refused() {
    let missing = broken(|images| images[2].parent.as_mut().expect("it has one").name = "gone.vhd".into());
    let said = missing.to_string();
    assert!(matches!(missing, VhdError::NoParent { .. }));
    assert!(said.contains("identifier 02020202020202020202020202020202, was not found"), "{said}");
    assert!(said.contains("\".\\\\gone.vhd\", \"gone.vhd\", \"C:\\\\disks\\\\gone.vhd\""), "{said}");

    let wrong = broken(|images| images[1].identifier = [9; 16]);
    assert!(matches!(wrong, VhdError::WrongParent { expected, found } if expected == [2; 16] && found == [9; 16]));
    // One generation up, it is the parent that is not sound.
    let above = broken(|images| images[0].identifier = [9; 16]);
    assert!(matches!(above, VhdError::WrongParent { expected, found } if expected == [1; 16] && found == [9; 16]));
    let size = broken(|images| images[1].size += 512);
    assert!(matches!(size, VhdError::ParentSize { expected: 512_000, found: 512_512 }), "{size}");
    let damaged = broken(|images| images[0].block_size = 3 << 10);
    let VhdError::InParent { identifier, source } = damaged else { panic!("{damaged}") };
    assert_eq!(identifier, [2; 16]);
    assert!(matches!(*source, VhdError::InParent { identifier, .. } if identifier == [1; 16]));
}

#[test]
fn loops_and_endless_chains_are_refused() {
    // The base is a child of the youngest.
    let round = broken(|images| {
        let parent = Parent { identifier: [3; 16], time_stamp: 1002, name: "level-2.vhd".into() };
        (images[0].kind, images[0].parent) = (4, Some(parent));
    });
    assert!(matches!(round, VhdError::Loop { identifier } if identifier == [3; 16]), "{round}");
    let own = broken(|images| {
        let parent = Parent { identifier: [3; 16], time_stamp: 1002, name: "level-2.vhd".into() };
        images[2].parent = Some(parent);
    });
    assert!(matches!(own, VhdError::Loop { .. }), "{own}");
    let (child, folder) = Chain::new(32, 3, 1).files();
    let long = VhdDisk::open(child, &folder).expect_err("refused");
    assert!(matches!(long, VhdError::ChainTooLong { limit: 32 }), "{long}");
}

#[test]
fn a_parent_with_another_time_stamp_is_read_with_a_warning() {
    let mut chain = Chain::new(3, 2, 3);
    chain.images[2].time_stamp = 5;
    let (child, folder) = chain.files();
    let disk = VhdDisk::open(child, &folder).expect("sound");
    assert_eq!(disk.warnings(), [VhdWarning::ParentTimeStamp { expected: 1002, found: 5 }]);
    assert!(read_all(&disk) == chain.disk);
    // A parent's warnings are the child's, too.
    chain.images[1].time_stamp = 6;
    let mut files: Vec<_> = chain.images.iter().map(Image::bytes).collect();
    files[1][0] ^= 1;
    let folder = Folder::of(files);
    let disk = VhdDisk::open(Arc::clone(&folder.0["level-3.vhd"]), &folder).expect("sound");
    let said: Vec<_> = disk.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said.iter().any(|said| said.starts_with("in the parent disk with the identifier 0303")), "{said:?}");
}
