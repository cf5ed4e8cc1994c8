//! Files of volumes: what is told of them, their bytes, damage and holes, and several readers at once.

use super::fake::{FakeFiles, FakeShelf, FakeSnapshot, Gate, Torn};
use super::mounted::{EIO, ENODATA, ENXIO, EOPNOTSUPP, ERANGE, Mounted, can_mount, failure};
use rustix::fs::{SeekFrom, getxattr, listxattr, seek};
use rustix::io::Errno;
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn facts_are_those_of_the_volume() {
    if !can_mount() {
        return;
    }
    let mut files = FakeFiles::new();
    let folder = files.folder(0, "folder");
    let file = files.file(folder, "one name", vec![1; 10_000]);
    files.name(0, "another name", file);
    files.0[file as usize].facts.links = 2;
    files.0[file as usize].facts.allocated = 4096;
    let secret = files.file(0, "secret", "encrypted");
    files.0[secret as usize].facts.attributes |= 0x4000;
    let mounted = Mounted::new(&FakeShelf::of_files(files));
    let facts = fs::metadata(mounted.inside("folder/one name")).unwrap();
    assert_eq!((facts.size(), facts.blocks(), facts.mode(), facts.nlink()), (10_000, 8, 0o100_444, 2));
    assert_eq!((facts.mtime(), facts.mtime_nsec()), (1_100_000_000, 123_456_700));
    assert_eq!((facts.atime(), facts.atime_nsec()), (1_200_000_000, 999_999_900));
    assert_eq!((facts.ctime(), facts.ctime_nsec()), (-11_644_473_600, 0));
    assert_eq!(facts.ino(), fs::metadata(mounted.inside("another name")).unwrap().ino());
    // The same file by the other way to the snapshot.
    let by_stick = mounted.path("by-stick/oak/latest/files/partition-3/another name");
    assert_eq!(facts.ino(), fs::metadata(by_stick).unwrap().ino());
    assert_ne!(facts.ino(), fs::metadata(mounted.inside("secret")).unwrap().ino());
    let folder = fs::metadata(mounted.inside("folder")).unwrap();
    assert_eq!((folder.mode(), folder.nlink(), folder.mtime()), (0o040_555, 1, 1_100_000_000));
    assert_eq!(failure(File::open(mounted.inside("secret"))), EOPNOTSUPP);
}

#[test]
fn damage_is_an_error_there_and_nowhere_else() {
    if !can_mount() {
        return;
    }
    const PAGE: u64 = 4096;
    let mut files = FakeFiles::new();
    let torn =
        Torn { size: 4 << 20, damaged: vec![10 * PAGE + 5..10 * PAGE + 6, 800 * PAGE..810 * PAGE], holes: vec![] };
    files.disk(0, "torn", Arc::new(torn));
    let shelf = FakeShelf::of_files(files);
    let mounted = Mounted::new(&shelf);
    let file = File::open(mounted.inside("torn")).unwrap();
    let mut bytes = vec![0; PAGE as usize];
    for page in 0..1024 {
        let is_damaged = page == 10 || (800..810).contains(&page);
        match file.read_exact_at(&mut bytes, page * PAGE) {
            Ok(()) => assert!(!is_damaged && bytes.iter().all(|byte| *byte == 7), "page {page}"),
            Err(error) => assert!(is_damaged && error.raw_os_error() == Some(EIO), "page {page}: {error}"),
        }
    }
    assert_eq!(failure(fs::read(mounted.inside("torn"))), EIO);
    assert!(shelf.was_told("partition-3/torn: the bytes at offset"));
    assert_eq!(fs::metadata(mounted.inside("torn")).unwrap().len(), 4 << 20);
}

fn holes(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let hole = seek(&file, SeekFrom::Hole(at)).unwrap();
        at = seek(&file, SeekFrom::Data(hole)).unwrap_or(size);
        if hole < at {
            found.push((hole, at));
        }
    }
    found
}

#[test]
fn holes_are_seen_by_those_who_look_for_them() {
    if !can_mount() {
        return;
    }
    let torn = || Torn { size: 5 << 30, damaged: vec![], holes: vec![0..1 << 20, 2 << 20..3 << 30, 4 << 30..5 << 30] };
    let mut files = FakeFiles::new();
    files.disk(0, "sparse", Arc::new(torn()));
    files.file(0, "full", "full");
    let images: Vec<(String, Arc<dyn ReadAt>)> = vec![("disk.img".into(), Arc::new(torn()))];
    let volumes = vec![("partition-3".to_owned(), Some(Arc::new(files)))];
    let mounted = Mounted::new(&FakeShelf::of(FakeSnapshot { images, volumes }));
    let expected = [(0, 1 << 20), (2 << 20, 3 << 30), (4 << 30, 5 << 30)];
    assert_eq!(holes(&mounted.inside("sparse")), expected);
    assert_eq!(holes(&mounted.path("by-id/aaaaaaaa/disk.img")), expected);
    assert_eq!(holes(&mounted.inside("full")), []);
    let full = File::open(mounted.inside("full")).unwrap();
    assert_eq!(seek(&full, SeekFrom::Hole(1)).unwrap(), 4);
    assert_eq!(seek(&full, SeekFrom::Data(4)).unwrap_err().raw_os_error(), ENXIO);
    let mut bytes = [1; 8];
    File::open(mounted.inside("sparse")).unwrap().read_exact_at(&mut bytes, (1 << 20) - 4).unwrap();
    assert_eq!(bytes, [0, 0, 0, 0, 7, 7, 7, 7]);
}

#[test]
fn streams_and_attributes_are_extended_attributes() {
    if !can_mount() {
        return;
    }
    let mut files = FakeFiles::new();
    let file = files.file(0, "file", "content");
    let streams = [
        ("Zone.Identifier", b"[ZoneTransfer]".to_vec()),
        ("empty", Vec::new()),
        ("64 KiB", vec![7; 64 << 10]),
        ("too large", vec![7; (64 << 10) + 1]),
        ("nul\0", b"x".to_vec()),
        ("Zone.Identifier", b"again".to_vec()),
    ];
    files.0[file as usize].streams = streams.map(|(name, content)| (name.to_owned(), content)).into();
    files.0[file as usize].streams.push(("x".repeat(244), b"x".to_vec()));
    files.link(0, "link", "file", true);
    let mounted = Mounted::new(&FakeShelf::of_files(files));
    let file = mounted.inside("file");
    let list = |path: &Path| {
        let mut names = vec![0; 64 << 10];
        let length = listxattr(path, &mut names[..]).unwrap();
        let names = String::from_utf8(names[..length].to_vec()).unwrap();
        names.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
    };
    let value = |name: &str| {
        let mut value = vec![0; 64 << 10];
        getxattr(&file, name, &mut value[..]).map(|length| value[..length].to_vec()).map_err(Errno::raw_os_error)
    };
    assert_eq!(
        list(&file),
        ["user.ntfs_attrib", "user.stream.Zone.Identifier", "user.stream.empty", "user.stream.64 KiB"]
    );
    assert_eq!(list(&mounted.inside("")), ["user.ntfs_attrib"]);
    assert_eq!(list(&mounted.path("by-id")), [""; 0]);
    assert_eq!(value("user.ntfs_attrib").unwrap(), b"0x00000021");
    assert_eq!(value("user.stream.Zone.Identifier").unwrap(), b"[ZoneTransfer]");
    assert_eq!(value("user.stream.empty").unwrap(), b"");
    assert!(value("user.stream.64 KiB").unwrap() == vec![7; 64 << 10]);
    for name in ["user.stream.too large", "user.stream.nothing", "user.other", "security.capability"] {
        assert_eq!(value(name), Err(ENODATA), "{name}");
    }
    let mut short = [0; 3];
    assert_eq!(getxattr(&file, "user.ntfs_attrib", &mut short[..]).unwrap_err().raw_os_error(), ERANGE);
}

#[test]
fn a_slow_read_keeps_nobody_waiting() {
    if !can_mount() {
        return;
    }
    let (gate, is_waiting, go) = Gate::new();
    let mut files = FakeFiles::new();
    files.disk(0, "slow", Arc::new(gate));
    for number in 0..100 {
        files.file(0, &format!("file {number}"), vec![number; 300_000]);
    }
    let mounted = Mounted::new(&FakeShelf::of_files(files));
    let slow = mounted.inside("slow");
    let reader = std::thread::spawn(move || fs::read(slow).unwrap());
    is_waiting.recv().unwrap();
    // The read hangs now, and everything else goes on: four at once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..100 {
                    let content = fs::read(mounted.inside(&format!("file {number}"))).unwrap();
                    assert!(content == vec![number; 300_000], "file {number}");
                }
                assert_eq!(fs::read_dir(mounted.inside("")).unwrap().count(), 101);
            });
        }
    });
    go.send(()).unwrap();
    assert!(reader.join().unwrap() == vec![9; 4096]);
}

/// A disk whose reading code fails, the first time.
struct Panics(AtomicBool);

impl ReadAt for Panics {
    fn size(&self) -> u64 {
        5
    }

    fn read_at(&self, _: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        if self.0.swap(false, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("a test"));
        }
        buffer.fill(b'x');
        Ok(())
    }
}

#[test]
fn a_fault_in_one_read_ends_that_read_alone() {
    if !can_mount() {
        return;
    }
    let mut files = FakeFiles::new();
    for number in 0..20 {
        files.disk(0, &number.to_string(), Arc::new(Panics(AtomicBool::new(true))));
    }
    let mounted = Mounted::new(&FakeShelf::of_files(files));
    // More often than there are threads.
    for number in 0..20 {
        let file = File::open(mounted.inside(&number.to_string())).unwrap();
        let mut bytes = [0; 5];
        // The kernel may have asked twice for the first read, which then succeeds.
        let _ = file.read_exact_at(&mut bytes, 0);
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"xxxxx");
    }
}
