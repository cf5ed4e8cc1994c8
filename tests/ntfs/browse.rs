//! Folders and files of volumes that ntfs-3g made, held against what its mount says of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::judge::bytes;
use crate::look::{all_of, open, reads_the_same, tree};
use crate::tools::{Mounted, make};
use rustix::fs::{XattrFlags, setxattr};
use sheaf::layout::FileSystem;
use sheaf::layout::files::NodeKind;
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

#[test]
fn a_folder_of_many_names_in_many_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mount) = (folder.path().join("volume"), folder.path().join("mount"));
    fs::create_dir(&mount).unwrap();
    if !make(&path, 96 << 20, 4096, 512) {
        return;
    }
    let Some(mounted) = Mounted::new(&path, &mount, "noatime") else { return };
    let inside = mount.join("many");
    fs::create_dir(&inside).unwrap();
    let name = |number: usize| match number % 5 {
        0 => format!("{number}"),
        1 => format!("{number} {}", "é€漢\u{1f600}".repeat(number % 13)),
        2 => format!("{}{number}", "x".repeat(240)),
        3 => format!("{number} with some.spaces and.dots"),
        _ => format!("Ünïcödé {number}"),
    };
    let mut expected: Vec<String> = (0..20_000).map(name).collect();
    for name in &expected {
        fs::write(inside.join(name), []).unwrap();
    }
    // Every third is gone again, so that there are index records out of use.
    for name in expected.iter().step_by(3) {
        fs::remove_file(inside.join(name)).unwrap();
    }
    let mut index = 0;
    expected.retain(|_| {
        index += 1;
        index % 3 != 1
    });
    drop(mounted);

    let files = open(&path);
    let listing = files.entries(files.root()).unwrap();
    assert_eq!((listing.entries.len(), listing.problems.len()), (1, 0));
    let listing = files.entries(listing.entries[0].node).unwrap();
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    // In the order of the format: by the capital letters of ASCII at least.
    let plain: Vec<&str> = listing
        .entries
        .iter()
        .map(|entry| &*entry.name)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    assert!(plain.is_sorted() && plain.len() > 2000);
    let mut names: Vec<String> = listing.entries.into_iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert!(names == expected, "{} and {} names", names.len(), expected.len());
}

#[test]
fn links_streams_and_short_names() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mount) = (folder.path().join("volume"), folder.path().join("mount"));
    fs::create_dir(&mount).unwrap();
    if !make(&path, 64 << 20, 4096, 512) {
        return;
    }
    let Some(mounted) = Mounted::new(&path, &mount, "streams_interface=windows") else { return };
    let set = |path: &str, name: &str, value: &[u8]| {
        setxattr(mount.join(path), name, value, XattrFlags::empty())
            .unwrap_or_else(|error| panic!("{path} {name}: {error}"));
    };
    // As many names as take several records.
    fs::create_dir_all(mount.join("links/deeper")).unwrap();
    fs::write(mount.join("A long name.text"), b"short").unwrap();
    set("A long name.text", "system.ntfs_dos_name", b"ALONGN~1.TEX");
    fs::hard_link(mount.join("A long name.text"), mount.join("links/again")).unwrap();
    fs::write(mount.join("links/0"), b"linked").unwrap();
    for number in 1..300 {
        fs::hard_link(mount.join("links/0"), mount.join(format!("links/{number} {}", "y".repeat(100)))).unwrap();
    }
    let streams: Vec<(String, Vec<u8>)> =
        (0..60).map(|number| (format!("stream {number}"), bytes(number, number as usize * 301))).collect();
    fs::write(mount.join("streams"), b"beside them").unwrap();
    for (name, content) in &streams {
        fs::write(mount.join(format!("streams:{name}")), content).unwrap();
    }
    fs::write(mount.join("links:of a folder"), b"too").unwrap();
    // A symbolic link and a junction, and a tag that nobody knows.
    let name = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let point = |tag: u32, flags: &[u8], target: &str, print: &str| {
        let (target, print) = (name(target), name(print));
        let lengths =
            [0, target.len() as u16, target.len() as u16 + 2, print.len() as u16].map(u16::to_le_bytes).concat();
        let data = [&lengths, flags, &target, &[0, 0], &print, &[0, 0]].concat();
        [&tag.to_le_bytes()[..], &(data.len() as u32).to_le_bytes(), &data].concat()
    };
    fs::write(mount.join("symbolic"), []).unwrap();
    set("symbolic", "system.ntfs_reparse_data", &point(0xa000_000c, &[1, 0, 0, 0], r"links\0", r"links\0"));
    fs::create_dir(mount.join("junction")).unwrap();
    set("junction", "system.ntfs_reparse_data", &point(0xa000_0003, &[], r"\??\C:\links", r"C:\links"));
    fs::write(mount.join("tagged"), b"tagged").unwrap();
    set("tagged", "system.ntfs_reparse_data", &[0x1b, 0, 0, 0x80, 4, 0, 0, 0, 1, 2, 3, 4]);
    drop(mounted);

    let files = open(&path);
    let tree = tree(&files);
    let of = |path: &str| &tree[&format!("/{path}")];
    assert_eq!(tree.len(), 6 + 2 + 300, "{:?}", tree.keys().filter(|name| name.len() < 50).collect::<Vec<_>>());
    let (node, facts) = of("A long name.text");
    assert_eq!((facts.links, of("links/again").0), (2, *node));
    assert_eq!((of("links/0").1.links, of("links/0").1.size), (300, 6));
    reads_the_same(&*files.open(of("links/0").0, None).unwrap(), b"linked");
    let (node, facts) = of("streams");
    assert_eq!(facts.size, 11);
    let mut told: Vec<_> = files.streams(*node).unwrap().into_iter().map(|told| (told.name, told.size)).collect();
    told.sort_unstable();
    let mut expected: Vec<_> = streams.iter().map(|(name, content)| (name.clone(), content.len() as u64)).collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
    for (name, content) in &streams {
        reads_the_same(&*files.open(*node, Some(name)).unwrap(), content);
    }
    reads_the_same(&*files.open(of("links").0, Some("of a folder")).unwrap(), b"too");
    let link = |path: &str| match &of(path).1.kind {
        NodeKind::Link(link) => (link.target.clone(), link.is_relative, link.is_junction),
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(link("symbolic"), (r"links\0".to_owned(), true, false));
    assert_eq!(link("junction"), (r"\??\C:\links".to_owned(), false, true));
    assert_eq!((&of("tagged").1.kind, of("tagged").1.reparse_tag), (&NodeKind::File, Some(0x8000_001b)));
    reads_the_same(&*files.open(of("tagged").0, None).unwrap(), b"tagged");
}
