//! Folders of volumes: hostile names, loops, links, many entries.

use super::fake::{FakeFiles, FakeShelf, FakeSnapshot};
use super::mounted::{EIO, ELOOP, ENOENT, Mounted, can_mount, failure, names};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

#[test]
fn hostile_names_are_safe_and_lead_to_their_files() {
    if !can_mount() {
        return;
    }
    let mut files = FakeFiles::new();
    let long = ["x".repeat(300), format!("{}1.docx", "é".repeat(200)), format!("{}2.docx", "é".repeat(200))];
    let hostile =
        ["..", ".", "", "../../etc/passwd", "nul\0byte", "same", "same", "same-2", "line\nend", "Case", "cASE"];
    for name in hostile.into_iter().chain(long.iter().map(String::as_str)) {
        files.file(0, name, format!("of {name}"));
    }
    let shelf = FakeShelf::of_files(files);
    let mounted = Mounted::new(&shelf);
    let root = mounted.inside("");
    let found: Vec<_> = fs::read_dir(&root).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), hostile.len() - 3 + long.len());
    // Each file is reached by what the folder shows, and no two show the same.
    let contents: BTreeSet<String> = found.iter().map(|entry| fs::read_to_string(entry.path()).unwrap()).collect();
    let expected = hostile.iter().skip(3).map(|name| format!("of {name}"));
    assert_eq!(contents, expected.chain(long.iter().map(|name| format!("of {name}"))).collect());
    assert_eq!(found.iter().map(fs::DirEntry::file_name).collect::<BTreeSet<_>>().len(), found.len());
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read("..\u{fffd}..\u{fffd}etc\u{fffd}passwd"), "of ../../etc/passwd");
    assert_eq!(
        (read("same"), read("same-2"), read("same-3")),
        ("of same".into(), "of same-2".into(), "of same".into())
    );
    assert_eq!((read("Case"), read("cASE"), read("SAME-3")), ("of Case".into(), "of cASE".into(), "of same".into()));
    // Two differ from this in case alone.
    assert_eq!(failure(fs::metadata(root.join("CASE"))), ENOENT);
    assert!(shelf.was_told("3 entries have names that name nothing"));
}

#[test]
fn folders_that_are_in_themselves_end() {
    if !can_mount() {
        return;
    }
    let mut files = FakeFiles::new();
    let outer = files.folder(0, "outer");
    let inner = files.folder(outer, "inner");
    files.name(inner, "again", outer);
    files.name(inner, "top", 0);
    files.name(inner, "self", inner);
    files.name(0, "other way", inner);
    files.file(inner, "file", "here");
    let shelf = FakeShelf::of_files(files);
    let mounted = Mounted::new(&shelf);
    let inner = mounted.inside("outer/inner");
    assert_eq!(names(&inner), ["again", "file", "self", "top"]);
    for name in ["again", "self", "top"] {
        assert_eq!(failure(fs::metadata(inner.join(name))), ELOOP, "{name}");
        assert_eq!(failure(fs::read_dir(inner.join(name))), ELOOP, "{name}");
    }
    // The other way to it is no loop, until it has come round.
    let other = mounted.inside("other way");
    assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "here");
    assert_eq!(names(&other.join("again")), ["inner"]);
    assert_eq!(failure(fs::metadata(other.join("again/inner"))), ELOOP);
    assert_eq!(fs::read_to_string(inner.join("file")).unwrap(), "here");
    assert!(shelf.was_told("outer/inner/self: this folder is in itself"));
    let seen = walk(&mounted.inside(""), 0);
    assert_eq!(seen, 12, "a walk ends");
}

/// Counts all entries below a folder, those that lead nowhere as well.
fn walk(folder: &Path, depth: usize) -> usize {
    assert!(depth < 20);
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let below = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => walk(&entry.path(), depth + 1),
        false => 0,
    };
    entries.map(|entry| 1 + below(entry.unwrap())).sum()
}

#[test]
fn links_lead_to_the_same_place_of_their_volume() {
    if !can_mount() {
        return;
    }
    let mut files = FakeFiles::new();
    let users = files.folder(0, "Users");
    let public = files.folder(users, "Public");
    files.file(public, "notes.txt", "notes");
    files.link(users, "All Users", r"\??\C:\Users\Public", false);
    files.link(public, "up", r"..\public\NOTES.TXT", true);
    files.link(public, "out", r"..\..\..\..\..\..\..\..\etc\passwd", true);
    files.link(public, "root", r"\??\C:\", false);
    files.link(0, "away", r"\??\UNC\server\share", false);
    files.link(public, "loop", "loop", true);
    let mounted = Mounted::new(&FakeShelf::of_files(files));
    let root = mounted.inside("").canonicalize().unwrap();
    let target = |name: &str| fs::read_link(root.join(name)).unwrap().to_str().unwrap().to_owned();
    assert_eq!(target("Users/All Users"), "../Users/Public");
    assert_eq!(target("Users/Public/out"), "../../etc/passwd");
    assert_eq!(fs::read_to_string(root.join("Users/All Users/notes.txt")).unwrap(), "notes");
    assert_eq!(fs::read_to_string(root.join("Users/Public/up")).unwrap(), "notes");
    assert_eq!(fs::canonicalize(root.join("Users/Public/root")).unwrap(), root);
    assert_eq!(failure(fs::metadata(root.join("Users/Public/out"))), ENOENT);
    assert_eq!(failure(fs::metadata(root.join("away"))), ENOENT);
    assert_eq!(failure(fs::metadata(root.join("Users/Public/loop"))), ELOOP);
    let link = fs::symlink_metadata(root.join("Users/All Users")).unwrap();
    assert!(link.is_symlink() && link.size() == 15);
    // A folder says truly that it is a link, though the volume calls it a folder.
    let shown =
        fs::read_dir(root.join("Users")).unwrap().map(Result::unwrap).find(|entry| entry.file_name() == "All Users");
    assert!(shown.unwrap().file_type().unwrap().is_symlink());
}

#[test]
fn a_folder_of_twenty_thousand_files_is_whole() {
    if !can_mount() {
        return;
    }
    const COUNT: usize = 20_000;
    let mut files = FakeFiles::new();
    let folder = files.folder(0, "WinSxS");
    for number in 0..COUNT {
        files.file(folder, &format!("amd64_component_{number:06}_of_some_length"), number.to_string());
    }
    let mounted = Mounted::new(&FakeShelf::of_files(files));
    let folder = mounted.inside("WinSxS");
    for _ in 0..2 {
        let found: BTreeSet<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(found.len(), COUNT);
    }
    // And with what each of them is, as `ls -l` asks for it.
    let sizes = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!(sizes.sum::<u64>(), (0..COUNT).map(|number| number.to_string().len() as u64).sum());
    for number in (0..COUNT).step_by(1999) {
        let read = fs::read_to_string(folder.join(format!("AMD64_component_{number:06}_of_some_length"))).unwrap();
        assert_eq!(read, number.to_string());
    }
}

#[test]
fn damage_to_one_file_leaves_the_others() {
    if !can_mount() {
        return;
    }
    let mut files = FakeFiles::new();
    files.file(0, "good", "good");
    let bad = files.file(0, "bad", "bad");
    let folder = files.folder(0, "bad folder");
    for node in [bad, folder] {
        files.0[node as usize].is_damaged = true;
    }
    let volumes = vec![("C: / \"Windows\"".to_owned(), Some(Arc::new(files))), ("broken".to_owned(), None)];
    let shelf = FakeShelf::of(FakeSnapshot { volumes, ..FakeSnapshot::default() });
    let mounted = Mounted::new(&shelf);
    let files = mounted.path("by-id/aaaaaaaa/files");
    assert_eq!(names(&files), ["C: \u{fffd} \"Windows\"", "broken"]);
    let volume = files.join("C: \u{fffd} \"Windows\"");
    assert_eq!(names(&volume), ["bad", "bad folder", "good"]);
    assert_eq!(failure(fs::metadata(volume.join("bad"))), EIO);
    assert_eq!(failure(fs::read_dir(volume.join("bad folder"))), EIO);
    assert_eq!(fs::read_to_string(volume.join("good")).unwrap(), "good");
    assert!(shelf.was_told("/bad: a record at offset 2: expected FILE, found BAAD"));
}
