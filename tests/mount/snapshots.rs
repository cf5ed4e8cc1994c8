//! The folders above the files: sticks, times, ids, images.

use super::fake::{FakeShelf, FakeSnapshot, OFFSET_S, WHEN_MS, entry, id};
use super::mounted::{EIO, ENOENT, EROFS, Mounted, can_mount, failure, names};
use sheaf::serve::mount::ShelfEntry;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

fn image(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 512) as u8 ^ at as u8).collect()
}

fn snapshot() -> FakeSnapshot {
    FakeSnapshot {
        images: vec![
            ("disk.img".to_owned(), Arc::new(image(3_000_001))),
            ("disk.vhd".to_owned(), Arc::new(image(0))),
            ("files".to_owned(), Arc::new(image(5))),
        ],
        volumes: vec![("partition-1".to_owned(), None)],
    }
}

#[test]
fn a_snapshot_is_found_by_stick_and_by_id() {
    if !can_mount() {
        return;
    }
    let shelf = FakeShelf::of(snapshot());
    shelf.put(entry("bbbbbbbb", "oak", WHEN_MS + 3_600_000), snapshot());
    shelf.put(entry("cccccccc", "a/b", WHEN_MS), snapshot());
    shelf.put(entry("dddddddd", "a\0b", WHEN_MS), snapshot());
    let mounted = Mounted::new(&shelf);
    assert_eq!(names(mounted.root()), ["by-id", "by-stick"]);
    assert_eq!(names(&mounted.path("by-id")), ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"].map(id));
    assert_eq!(names(&mounted.path("by-stick")), ["a\u{fffd}b", "a\u{fffd}b-2", "oak"]);
    let oak = mounted.path("by-stick/oak");
    assert_eq!(names(&oak), ["2026-03-02T18.04.11", "2026-03-02T19.04.11", "latest"]);
    assert_eq!(fs::read_link(oak.join("latest")).unwrap().to_str(), Some("2026-03-02T19.04.11"));
    let all = ["disk.img", "disk.vhd", "files", "files-2"];
    assert_eq!(names(&oak.join("latest/")), all);
    assert_eq!(names(&mounted.path("by-id/aaaaaaaa0")), all);
    assert_eq!(names(&mounted.path("by-id/BBBBBBBB")), all);
    assert_eq!(failure(fs::metadata(mounted.path("by-id/aaaaaaa"))), ENOENT);
    assert_eq!(failure(fs::metadata(mounted.path("by-id/eeeeeeee"))), ENOENT);
    assert_eq!(failure(fs::metadata(oak.join("2026-03-02T18.04.12"))), ENOENT);
    assert_eq!(shelf.opened.load(std::sync::atomic::Ordering::Relaxed), 2, "each snapshot is opened once");
}

#[test]
fn images_are_the_bytes_of_the_disk() {
    if !can_mount() {
        return;
    }
    let mounted = Mounted::new(&FakeShelf::of(snapshot()));
    let path = mounted.path("by-stick/oak/latest/disk.img");
    assert!(fs::read(&path).unwrap() == image(3_000_001));
    let facts = fs::metadata(&path).unwrap();
    assert_eq!((facts.size(), facts.blocks(), facts.mode(), facts.nlink()), (3_000_001, 5860, 0o100_444, 1));
    assert_eq!((facts.mtime(), facts.mtime_nsec()), (WHEN_MS / 1000, 500_000_000));
    assert_eq!(facts.uid(), fs::metadata("/proc/self").unwrap().uid());
    let disk = fs::File::open(&path).unwrap();
    let mut bytes = [0; 1000];
    disk.read_exact_at(&mut bytes, 2_999_001).unwrap();
    assert!(bytes == image(3_000_001)[2_999_001..]);
    assert_eq!(disk.read_at(&mut bytes, 3_000_001).unwrap(), 0);
    assert_eq!(fs::read(mounted.path("by-id/aaaaaaaa/disk.vhd")).unwrap(), b"");
    assert_eq!(fs::read(mounted.path("by-id/aaaaaaaa/files-2")).unwrap(), image(5));
    let folder = fs::metadata(mounted.path("by-id/aaaaaaaa")).unwrap();
    assert_eq!((folder.mode(), folder.mtime()), (0o040_555, WHEN_MS / 1000));
}

#[test]
fn nothing_can_be_written() {
    if !can_mount() {
        return;
    }
    let mounted = Mounted::new(&FakeShelf::of(snapshot()));
    let snapshot = mounted.path("by-id/aaaaaaaa");
    assert_eq!(failure(fs::write(snapshot.join("disk.img"), "x")), EROFS);
    assert_eq!(failure(fs::write(snapshot.join("new"), "x")), EROFS);
    assert_eq!(failure(fs::remove_file(snapshot.join("disk.img"))), EROFS);
    assert_eq!(failure(fs::create_dir(mounted.path("new"))), EROFS);
    let options = fs::read_to_string("/proc/self/mounts").unwrap();
    let root = mounted.root().canonicalize().unwrap();
    let line = options.lines().find(|line| line.split(' ').nth(1) == root.to_str()).unwrap();
    for option in ["ro", "nosuid", "nodev", "noexec", "default_permissions"] {
        assert!(line.split([' ', ',']).any(|word| word == option), "{option}: {line}");
    }
    assert!(line.starts_with("sheaf "), "{line}");
}

#[test]
fn what_cannot_be_opened_is_an_error_and_is_told() {
    if !can_mount() {
        return;
    }
    let shelf = FakeShelf::of(snapshot());
    shelf.list.lock().unwrap().push(entry("bbbbbbbb", "oak", WHEN_MS));
    let mounted = Mounted::new(&shelf);
    assert_eq!(failure(fs::read_dir(mounted.path("by-id/bbbbbbbb"))), EIO);
    assert!(shelf.was_told(&format!("{0}: {0} is damaged", id("bbbbbbbb"))));
    // It is in the list of volumes, as the snapshot says.
    assert_eq!(names(&mounted.path("by-id/aaaaaaaa/files")), ["partition-1"]);
    assert_eq!(failure(fs::read_dir(mounted.path("by-id/aaaaaaaa/files/partition-1"))), EIO);
    assert!(shelf.was_told("aaaaaaaa0000/files/partition-1: no file system that is known"));
}

#[test]
fn a_new_snapshot_appears_and_an_old_one_goes() {
    if !can_mount() {
        return;
    }
    let shelf = FakeShelf::of(snapshot());
    let mounted = Mounted::new(&shelf);
    assert_eq!(names(&mounted.path("by-id")), [id("aaaaaaaa")]);
    let open = fs::File::open(mounted.path("by-id/aaaaaaaa/disk.img")).unwrap();
    shelf.list.lock().unwrap().clear();
    let new = ShelfEntry { utc_offset_s: OFFSET_S + 1800, ..entry("bbbbbbbb", "elm", WHEN_MS) };
    shelf.put(new, snapshot());
    // It is not asked when it appears, but that it does.
    while names(&mounted.path("by-id")) != [id("bbbbbbbb")] {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(names(&mounted.path("by-stick/elm")), ["2026-03-02T18.34.11", "latest"]);
    while mounted.path("by-stick/oak").exists() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let mut bytes = vec![0; 1000];
    open.read_exact_at(&mut bytes, 1_000_000).unwrap();
    assert!(bytes == image(3_000_001)[1_000_000..1_001_000]);
}
