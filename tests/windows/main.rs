//! Which Windows is on a volume: hives that another program made, hives and programs made by hand, hostile ones among them.
//!
//! Always true here:
//! - The hives in `hives/` were made by hivexregedit from the text files beside them; where it is installed, they are made again and
//!   must say the same.
//! - What a volume says costs a bounded number of reads; each look in these tests is held to that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

mod files;
mod hive;
mod hostile;
mod interop;
mod pe;
mod shapes;

use files::Volume;
use sheaf::layout::windows_version;

/// The hives that are kept, and what they say.
pub(crate) const KEPT: [(&str, &[u8], &str); 2] = [
    ("windows-10", include_bytes!("hives/windows-10.hive"), "Windows 10 Pro 22H2, build 19045.3930"),
    ("windows-11", include_bytes!("hives/windows-11.hive"), "Windows 11 Pro 23H2, build 22631.3007"),
];

/// What is told of a volume with these two files.
pub(crate) fn told(hive: Option<&[u8]>, kernel: Option<&[u8]>) -> Option<String> {
    let volume = Volume::new(hive, kernel);
    let told = windows_version(&volume).map(|version| version.to_string());
    volume.hold();
    assert!(told.as_ref().is_none_or(|text| text.chars().count() <= sheaf::layout::windows::MOST_TEXT));
    told
}

#[test]
fn the_kept_hives_say_what_they_are() {
    for (name, bytes, expected) in KEPT {
        assert_eq!(told(Some(bytes), None).as_deref(), Some(expected), "{name}");
        assert!(bytes.len() <= 16 << 10);
    }
}

#[test]
fn the_registry_is_believed_before_the_kernel() {
    let kernel = pe::program([10, 0, 22621, 3007]);
    let (_, hive, expected) = KEPT[1];
    assert_eq!(told(Some(hive), Some(&kernel)).as_deref(), Some(expected));
    let of_kernel = Some("Windows, build 10.0.22621.3007");
    assert_eq!(told(None, Some(&kernel)).as_deref(), of_kernel);
    assert_eq!(told(Some(b"hbin, but no hive"), Some(&kernel)).as_deref(), of_kernel);
    let mut empty = hive::Hive::new();
    let root = empty.key("ROOT", &[], &[]);
    assert_eq!(told(Some(&empty.finish(root)), Some(&kernel)).as_deref(), of_kernel);
    assert_eq!(told(None, None), None);
}

#[test]
fn names_of_folders_may_be_in_any_case() {
    let (_, hive, expected) = KEPT[0];
    for names in [["WINDOWS", "system32", "Config", "software", ""], ["windows", "SYSTEM32", "CONFIG", "Software", ""]]
    {
        let volume = Volume::new(Some(hive), None).named(names);
        assert_eq!(windows_version(&volume).map(|version| version.to_string()).as_deref(), Some(expected));
    }
    for names in
        [["Windows.old", "System32", "config", "SOFTWARE", ""], ["Windows", "System32", "config", "SOFTWARE.LOG", ""]]
    {
        assert_eq!(windows_version(&Volume::new(Some(hive), None).named(names)), None, "{names:?}");
    }
}
