//! Files whose content is worth nothing, and those that only look like it.

use crate::build::{Build, ROOT, file_name};
use crate::judge::{any_claims, bytes, claims, contents, notes};
use sheaf::layout::Content;

fn scratch_of(name: &str, parent: u64, head: &[u8]) -> (u64, Vec<String>, bool, bool) {
    let mut build = Build::new(4096, 1024, 1024);
    let mut content = bytes(5, 10_000);
    content[..head.len()].copy_from_slice(head);
    build.file(40, parent, name, &content);
    let image = build.image();
    let claims = claims(&image);
    let is_kept = contents(&claims, Content::File, &image).contains(&content);
    let scratch = claims.scratch_extents().iter().map(|extent| extent.length).sum();
    let with = any_claims(&image, true);
    assert!(with.scratch_extents().is_empty() && contents(&with, Content::File, &image).contains(&content));
    (scratch, notes(&claims), is_kept, claims.doubts_free())
}

#[test]
fn page_files_in_the_root_are_scratch() {
    for name in ["pagefile.sys", "SwapFile.SYS", "PAGEFILE.SYS"] {
        assert_eq!(scratch_of(name, ROOT, &[]), (3 * 4096, Vec::new(), false, false), "{name}");
    }
    for (name, parent) in [("pagefile.sys", 39), ("pagefile.sys", 0), ("pagefile.sys2", ROOT), ("pagefile", ROOT)] {
        assert_eq!(scratch_of(name, parent, &[]), (0, Vec::new(), true, false), "{name} in {parent}");
    }
}

#[test]
fn a_page_file_with_another_name_is_content() {
    let mut build = Build::new(4096, 1024, 1024);
    build.file(40, ROOT, "pagefile.sys", &bytes(1, 5000));
    build.records.get_mut(&40).unwrap().attrs.insert(0, file_name(39, "precious"));
    assert!(claims(&build.image()).scratch_extents().is_empty());
}

#[test]
fn a_hibernation_file_is_scratch_once_it_was_used() {
    for head in [&b"wake"[..], b"WAKE", &[0; 4096]] {
        assert_eq!(scratch_of("hiberfil.sys", ROOT, head), (3 * 4096, Vec::new(), false, false), "{head:?}");
    }
    for (head, is_live) in
        [(&b"hibr"[..], true), (b"HIBR", true), (b"RSTR", true), (b"rstr", true), (b"what", false), (&[0; 4], false)]
    {
        let (scratch, notes, is_kept, is_doubted) = scratch_of("hiberfil.sys", ROOT, head);
        assert_eq!((scratch, is_kept, is_doubted), (0, true, is_live), "{head:?}");
        assert!(notes.iter().any(|note| note.starts_with("the hibernation file is kept: the head of hiberfil.sys")));
    }
}
