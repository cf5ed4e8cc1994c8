//! Looking into volumes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::scale::Image;
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::layout::FileSystem;
use sheaf::layout::files::{NodeFacts, NodeId, NodeKind};
use sheaf::layout::ntfs::NtfsFiles;

/// All bytes of a disk.
pub fn all_of(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; disk.size() as usize];
    for (index, piece) in bytes.chunks_mut(100_000).enumerate() {
        disk.read_at(DiskOffset(index as u64 * 100_000), piece).expect("can be read");
    }
    bytes
}

pub fn open(path: &Path) -> NtfsFiles {
    NtfsFiles::open(Arc::new(Image::open(path))).unwrap().expect("NTFS")
}

/// All that is in a volume, by its path.
pub fn tree(files: &dyn FileSystem) -> BTreeMap<String, (NodeId, NodeFacts)> {
    fn walk(files: &dyn FileSystem, folder: NodeId, at: &str, found: &mut BTreeMap<String, (NodeId, NodeFacts)>) {
        let listing = files.entries(folder).unwrap();
        assert!(listing.problems.is_empty(), "{at}: {:?}", listing.problems);
        for entry in listing.entries {
            let path = format!("{at}/{}", entry.name);
            let facts = files.facts(entry.node).unwrap();
            assert!(entry.is_folder || facts.kind != NodeKind::Folder, "{path}");
            if facts.kind == NodeKind::Folder {
                walk(files, entry.node, &path, found);
            }
            assert!(found.insert(path, (entry.node, facts)).is_none(), "twice");
        }
    }
    let mut found = BTreeMap::new();
    walk(files, files.root(), "", &mut found);
    found
}

/// The files of a volume in memory.
pub fn files(image: Vec<u8>) -> NtfsFiles {
    NtfsFiles::open(Arc::new(image)).unwrap().expect("NTFS")
}

/// The names in a folder, in their order.
pub fn names(files: &NtfsFiles, folder: NodeId) -> Vec<String> {
    files.entries(folder).unwrap().entries.into_iter().map(|entry| entry.name).collect()
}

/// Reads at many places and lengths; each read gives the same bytes.
pub fn reads_the_same(disk: &dyn ReadAt, content: &[u8]) {
    assert_eq!(disk.size(), content.len() as u64);
    assert!(all_of(disk) == content);
    let mut state = 1_u64;
    let mut next = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % (most + 1)
    };
    for most in [20, 5000, 70_000, 500_000] {
        for _ in 0..20 {
            let at = next(content.len());
            let mut buffer = vec![1; next(most.min(content.len() - at))];
            disk.read_at(DiskOffset(at as u64), &mut buffer).unwrap();
            assert!(buffer == content[at..at + buffer.len()], "{at} {}", buffer.len());
        }
    }
    disk.read_at(DiskOffset(content.len() as u64), &mut [0]).unwrap_err();
    // Outside of what it calls data there are zeros.
    let mut at = 0;
    while let Some(data) = disk.next_data(DiskOffset(at)).unwrap() {
        assert!(data.start >= at && data.end > data.start && data.end <= disk.size(), "{at} {data:?}");
        assert!(content[at as usize..data.start as usize].iter().all(|byte| *byte == 0));
        at = data.end;
    }
    assert!(content[at as usize..].iter().all(|byte| *byte == 0));
}
