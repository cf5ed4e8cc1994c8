//! Trees out of volumes that mean no good.

use crate::fake::{Content, Fake};
use sheaf::ops::browse::{Browser, DiskPath, ExtractReport, ExtractRequest, Found, Target, extract, resolve};
use sheaf::ops::monitor::Silent;
use sheaf::ops::{Cancel, OpsError};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use tempfile::TempDir;

struct Out {
    folder: TempDir,
    force: bool,
    streams: bool,
}

impl Out {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), force: false, streams: false }
    }

    /// The target is a folder in a folder, so that what leaves it is seen.
    fn to(&self) -> PathBuf {
        self.folder.path().join("to")
    }

    fn extract(&self, disk: &Browser, path: &str) -> ExtractReport {
        self.try_extract(disk, path).unwrap()
    }

    fn try_extract(&self, disk: &Browser, path: &str) -> Result<ExtractReport, OpsError> {
        let found = match resolve(disk, &DiskPath::parse(path)?, false, false)? {
            Target::Node(found) => *found,
            Target::Disk(disk, prefix) => Found::top_of(&disk.volumes()[0], &prefix)?,
        };
        let request = ExtractRequest { to: self.to(), force: self.force, streams: self.streams };
        let report = extract(&found, &request, &Silent, &Cancel::default());
        let beside: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["to"], "something was written outside of the target");
        report
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.to().join(name)).ok()
    }
}

fn refused(report: &ExtractReport) -> Vec<(String, String)> {
    assert_eq!(report.refused_count, report.refused.len() as u64);
    report.refused.iter().map(|refusal| (refusal.path.clone(), refusal.reason.clone())).collect()
}

fn has(report: &ExtractReport, path: &str, reason: &str) {
    let refused = refused(report);
    assert!(refused.iter().any(|(at, why)| at == path && why.contains(reason)), "{path}: {reason}: {refused:?}");
}

#[test]
fn names_that_lead_elsewhere_are_refused_and_the_rest_is_extracted() {
    let mut fake = Fake::new();
    let folder = fake.folder(0, "a");
    for name in ["..", ".", "", "../outside", "/outside", "x/../../outside", "nul\0nul"] {
        fake.file(folder, name, b"bad");
    }
    let up = fake.folder(folder, "..");
    fake.file(up, "outside", b"bad");
    fake.file(folder, &"n".repeat(300), b"long");
    for (name, bytes) in [("CON", b"1"), ("good", b"2"), ("Good", b"3"), ("a\nb", b"4"), ("back\\slash", b"5")] {
        fake.file(folder, name, bytes);
    }
    fake.file(folder, "good", b"again");
    let out = Out::new();
    let report = out.extract(&fake.disk(Some(1)), "/a");
    assert_eq!(report.files, 5);
    for (name, byte) in [("CON", b"1"), ("good", b"2"), ("Good", b"3"), ("a\nb", b"4"), ("back\\slash", b"5")] {
        assert_eq!(out.read(&format!("a/{name}")).as_deref(), Some(&byte[..]), "{name}");
    }
    assert_eq!(report.refused_count, 10);
    has(&report, "1:/a/..", "stands for another folder");
    has(&report, "1:/a/../outside", "has a separator");
    has(&report, "1:/a//outside", "has a separator");
    has(&report, "1:/a/", "empty");
    has(&report, "1:/a/nul\0nul", "NUL");
    has(&report, &format!("1:/a/{}", "n".repeat(300)), "name too long");
    has(&report, "1:/a/good", "exists already");
}

#[test]
fn loops_end_and_no_folder_is_entered_twice() {
    let mut fake = Fake::new();
    let a = fake.folder(0, "a");
    fake.name(a, "loop", a);
    fake.name(a, "top", 0);
    // Each folder holds the next one twice: 2^40 paths, were they all walked.
    let mut last = a;
    for _ in 0..40 {
        let next = fake.folder(last, "x");
        fake.name(last, "y", next);
        last = next;
    }
    fake.file(last, "deep", b"deep");
    let out = Out::new();
    let report = out.extract(&fake.disk(None), "/");
    assert_eq!((report.files, report.folders), (1, 41));
    has(&report, "/a/loop", "met before");
    has(&report, "/a/top", "met before");
}

#[test]
fn links_stay_inside_and_nothing_is_written_through_them() {
    let mut fake = Fake::new();
    let a = fake.folder(0, "a");
    let b = fake.folder(a, "b");
    fake.file(b, "file", b"content");
    fake.link(a, "good", "b\\file", true);
    fake.link(a, "junction", "\\??\\C:\\a\\b", false);
    fake.link(a, "out", "..\\..\\..\\..\\..\\etc", true);
    fake.link(a, "absolute", "/etc", true);
    fake.link(a, "beside", "\\??\\C:\\other", false);
    // A link, and a folder of the same name with a file in it.
    fake.link(0, "trap", "\\??\\C:\\..\\..\\..\\tmp", false);
    let trap = fake.folder(0, "trap");
    fake.file(trap, "through", b"bad");
    let out = Out::new();
    let disk = fake.disk(Some(3));
    let report = out.extract(&disk, "/a");
    assert_eq!(report.links, 2);
    assert_eq!(out.read("a/good").as_deref(), Some(&b"content"[..]));
    assert_eq!(out.read("a/junction/file").as_deref(), Some(&b"content"[..]));
    has(&report, "3:/a/absolute", "not among what is extracted");
    has(&report, "3:/a/out", "above the top");
    has(&report, "3:/a/beside", "not among what is extracted");
    let out = Out::new();
    let report = out.extract(&disk, "3:/");
    has(&report, "3:/trap", "above the top");
    assert_eq!(out.read("trap/through").as_deref(), Some(&b"bad"[..]), "a real folder in the target");
}

#[test]
fn a_link_that_is_there_already_is_not_followed() {
    let mut fake = Fake::new();
    let a = fake.folder(0, "a");
    fake.file(a, "file", b"content");
    let disk = fake.disk(None);
    for force in [false, true] {
        let out = Out { force, ..Out::new() };
        let elsewhere = tempfile::tempdir().unwrap();
        fs::create_dir(out.to()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), out.to().join("a")).unwrap();
        let report = out.extract(&disk, "/a");
        has(&report, "/a", "no folder");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_cannot_be_read_is_not_there_in_part() {
    let mut fake = Fake::new();
    fake.content(0, "damaged", Content::Damaged(3 << 20));
    fake.file(0, "sound", b"sound");
    fake.name(0, "lost", 77);
    let out = Out::new();
    let report = out.extract(&fake.disk(None), "/");
    assert_eq!((report.files, out.read("damaged"), out.read("sound")), (1, None, Some(b"sound".to_vec())));
    has(&report, "/damaged", "a chunk is gone");
    has(&report, "/lost", "one that is there");
}

#[test]
fn times_holes_further_names_and_streams_are_kept() {
    let mut fake = Fake::new();
    let folder = fake.folder(0, "f");
    fake.content(folder, "sparse", Content::Sparse(1 << 40, vec![7; 100]));
    let twice = fake.file(folder, "one", b"twice");
    fake.name(folder, "two", twice);
    fake.0[twice as usize].links = 2;
    fake.0[twice as usize].streams.push(("Zone.Identifier".to_owned(), b"zone".to_vec()));
    let disk = fake.disk(None);
    let out = Out::new();
    let report = out.extract(&disk, "/f");
    assert_eq!((report.files, report.streams_left_out), (3, 1));
    let facts = fs::metadata(out.to().join("f/sparse")).unwrap();
    assert_eq!((facts.len(), facts.mtime(), facts.mtime_nsec()), (1 << 40, 1_700_000_000, 123_456_700));
    assert!(facts.blocks() < 100, "holes stay holes");
    assert_eq!(fs::metadata(out.to().join("f")).unwrap().mtime(), 1_700_000_000);
    let inode = |name| fs::metadata(out.to().join(name)).unwrap().ino();
    assert_eq!(inode("f/one"), inode("f/two"));

    let again = out.extract(&disk, "/f");
    assert_eq!((again.files, again.refused_count), (0, 3), "nothing is replaced unasked");
    let out = Out { force: true, streams: true, ..out };
    let report = out.extract(&disk, "/f");
    assert_eq!((report.files, report.refused_count), (3, 0));
    assert_eq!(out.read("f/one:Zone.Identifier").as_deref(), Some(&b"zone"[..]));
    let out = Out::new();
    assert_eq!(out.extract(&disk, "/f/one").files, 1);
    assert_eq!(out.read("one").as_deref(), Some(&b"twice"[..]));
}
