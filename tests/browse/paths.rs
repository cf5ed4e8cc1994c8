//! From paths to files.

use crate::fake::Fake;
use sheaf::ops::Cancel;
use sheaf::ops::browse::{BrowseError, Browser, DiskPath, Pattern, Target, find, resolve};

fn disk() -> Browser {
    let mut fake = Fake::new();
    let users = fake.folder(0, "Users");
    let ana = fake.folder(users, "ana");
    fake.file(ana, "Notes.txt", b"notes");
    fake.file(ana, "a", b"small");
    fake.file(ana, "A", b"capital");
    fake.link(0, "Documents and Settings", "\\??\\C:\\Users", false);
    fake.link(ana, "up", "..\\..\\Users\\ana\\Notes.txt", true);
    fake.link(ana, "far", "..\\..\\..\\..\\Users", true);
    fake.link(0, "round", "round", true);
    fake.link(0, "dangling", "nowhere", true);
    fake.name(ana, "lost", 99);
    fake.disk(Some(3))
}

fn found(disk: &Browser, path: &str, follow: bool) -> Result<String, BrowseError> {
    match resolve(disk, &DiskPath::parse(path)?, follow, false)? {
        Target::Node(found) => Ok(found.path),
        Target::Disk(..) => Ok("the disk".to_owned()),
    }
}

#[test]
fn names_are_found_whatever_their_case_and_links_are_followed() {
    let disk = disk();
    let at = |path| found(&disk, path, true).unwrap();
    assert_eq!(at(""), "the disk");
    assert_eq!(at("3:"), "3:/");
    assert_eq!(at("\\USERS\\ANA\\notes.TXT"), "3:/Users/ana/Notes.txt");
    assert_eq!(at("3:/users/ana/A"), "3:/Users/ana/A");
    assert_eq!(at("3:/users/ana/a"), "3:/Users/ana/a");
    assert_eq!(at("c:\\Documents and Settings\\ana"), "3:/Users/ana");
    assert_eq!(at("/Users/ana/up"), "3:/Users/ana/Notes.txt");
    assert_eq!(at("/Users/ana/far/ana"), "3:/Users/ana");
    assert_eq!(found(&disk, "/Users/ana/up", false).unwrap(), "3:/Users/ana/up");
}

#[test]
fn what_is_not_there_is_told_with_the_place() {
    let disk = disk();
    let error = |path| found(&disk, path, true).unwrap_err().to_string();
    assert_eq!(error("/users/bob/x"), "there is no `bob` in 3:/Users");
    assert_eq!(error("4:/users"), "there is no partition 4; there are: 3");
    assert_eq!(error("/users/ana/notes.txt/x"), "3:/Users/ana/Notes.txt is neither a folder nor a virtual disk");
    assert_eq!(error("/round"), "3:/round: more than 32 links lead on from one to the next");
    assert_eq!(error("/dangling/x"), "there is no `nowhere` in 3:/");
    assert_eq!(error("/users/ana/lost"), "3:/Users/ana/lost cannot be read");
    let mut fake = Fake::new();
    fake.file(0, "aB", b"");
    fake.file(0, "Ab", b"");
    let error = found(&fake.disk(None), "/ab", true).unwrap_err();
    assert_eq!(error.to_string(), "several names in / are `ab` but for upper and lower case");
}

#[test]
fn files_are_found_by_pattern() {
    let disk = disk();
    let search = |pattern| {
        let search = find(&disk, &Pattern::new(pattern), &Cancel::default()).unwrap();
        assert_eq!(search.problems.len(), 1, "the one that is lost: {:?}", search.problems);
        search.files.into_iter().map(|file| file.path).collect::<Vec<_>>()
    };
    assert_eq!(search("note*.TXT"), ["3:/Users/ana/Notes.txt"]);
    assert_eq!(search("\\users\\*\\a"), ["3:/Users/ana/A", "3:/Users/ana/a"]);
    assert_eq!(search("ana"), ["3:/Users/ana"]);
    assert_eq!(search("nobody"), Vec::<String>::new());
}
