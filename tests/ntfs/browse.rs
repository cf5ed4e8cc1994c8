//! Folders and files of volumes that ntfs-3g made, held against what its mount says of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::judge::bytes;
use crate::look::{all_of, open, tree};
use crate::tools::{Mounted, make};
use sheaf::layout::FileSystem;
use sheaf::layout::ntfs::NtfsFiles;

/// What a mount says: of each path, what it is and its content.
fn mounted_tree(mount: &Path) -> BTreeMap<String, (fs::Metadata, Option<Vec<u8>>)> {
    fn walk(folder: &Path, at: &str, found: &mut BTreeMap<String, (fs::Metadata, Option<Vec<u8>>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{at}/{}", entry.file_name().to_str().unwrap());
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            let content = metadata.is_file().then(|| fs::read(entry.path()).unwrap());
            if metadata.is_dir() {
                walk(&entry.path(), &path, found);
            }
            found.insert(path, (metadata, content));
        }
    }
    let mut found = BTreeMap::new();
    walk(mount, "", &mut found);
    found
}

/// Holds a volume against its mount.
fn same(files: &NtfsFiles, mount: &Path) -> usize {
    let (own, other) = (tree(files), mounted_tree(mount));
    assert_eq!(own.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for ((path, (node, facts)), (metadata, content)) in own.iter().zip(other.values()) {
        assert_eq!(node.0 & ((1 << 48) - 1), metadata.ino(), "{path}");
        let at = |moment: Option<sheaf::layout::files::Moment>| {
            moment.map(|moment| (moment.seconds, i64::from(moment.nanoseconds))).unwrap()
        };
        assert_eq!(at(facts.modified), (metadata.mtime(), metadata.mtime_nsec()), "{path}");
        assert_eq!(at(facts.accessed), (metadata.atime(), metadata.atime_nsec()), "{path}");
        assert_eq!(at(facts.changed), (metadata.ctime(), metadata.ctime_nsec()), "{path}");
        if let Some(content) = content {
            assert_eq!((facts.size, u64::from(facts.links)), (metadata.len(), metadata.nlink()), "{path}");
            let opened = files.open(*node, None).unwrap();
            assert_eq!(opened.size(), metadata.len());
            assert!(all_of(&*opened) == *content, "{path}");
        }
    }
    own.len()
}

#[test]
fn plain_files_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mount) = (folder.path().join("volume"), folder.path().join("mount"));
    fs::create_dir(&mount).unwrap();
    for cluster in [512, 4096, 65536] {
        if !make(&path, 64 << 20, cluster, 512) {
            return;
        }
        let Some(mounted) = Mounted::new(&path, &mount, "noatime") else { return };
        for (index, length) in [0, 1, 100, 700, 5000, 65536, 1_234_567].into_iter().enumerate() {
            fs::write(mount.join(format!("file {index}")), bytes(index as u64, length)).unwrap();
        }
        fs::create_dir_all(mount.join("a/b/c/d")).unwrap();
        for index in 0..1000 {
            fs::write(mount.join(format!("a/b/{:0>80}", index * 7919 % 1000)), [index as u8; 3]).unwrap();
        }
        fs::hard_link(mount.join("file 4"), mount.join("a/b/c/linked")).unwrap();
        drop(mounted);
        let Some(_mounted) = Mounted::new(&path, &mount, "ro") else { return };
        assert_eq!(same(&open(&path), &mount), 7 + 4 + 1000 + 1);
    }
}
