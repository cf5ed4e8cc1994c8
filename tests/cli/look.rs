//! Files in snapshots: listed, written out, extracted, found and compared by the binary. Volumes are made by mkntfs and filled through
//! ntfs-3g; without those the tests are skipped.

use super::support::{World, has, noise};
use super::windows::{container, disk, volume};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the two sticks have: a few files in a folder.
fn fill(top: &Path, notes: &[u8]) {
    let folder = top.join("Users/ana");
    fs::create_dir_all(folder.join("Pictures")).unwrap();
    fs::write(folder.join("Notes.txt"), notes).unwrap();
    fs::write(folder.join("Pictures/one.jpg"), noise(300_000, 1)).unwrap();
    fs::write(folder.join("empty"), b"").unwrap();
    std::os::unix::fs::symlink("Notes.txt", folder.join("unix link")).unwrap();
}

/// A repository with a stick twice, its notes changed in between.
fn world() -> Option<(World, [String; 2])> {
    let world = World::new();
    let mut ids = Vec::new();
    for notes in [&b"first"[..], b"second, and longer"] {
        let bytes = disk(&volume(&world, |top| fill(top, notes))?);
        world.file("ana.img", &bytes);
        ids.push(world.backup("ana.img", "ana"));
    }
    Some((world, ids.try_into().unwrap()))
}

fn names(document: &Value) -> Vec<String> {
    let entries = document["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_in_a_snapshot_is_listed() {
    let Some((world, _)) = world() else { return };
    let listed = world.json(&["ls", "-r", "repo", "latest:\\users\\ANA"], 0);
    assert_eq!(names(&listed)[..3], ["1:/Users/ana/empty", "1:/Users/ana/Notes.txt", "1:/Users/ana/Pictures"]);
    let notes = &listed["entries"][1];
    has(notes, &[("path", "text"), ("kind", "text"), ("size", "count"), ("modified", "text"), ("links", "count")]);
    assert_eq!((&notes["kind"], &notes["size"]), (&"file".into(), &18.into()));
    let all = world.json(&["ls", "-r", "repo", "-R", "ana:latest:1:/"], 0);
    assert!(names(&all).contains(&"1:/Users/ana/Pictures/one.jpg".to_owned()), "{all}");
    let plain = world.run(&["ls", "-r", "repo", "ana:latest:/Users"]);
    assert_eq!(plain.ends_with(0).out, "ana/\n");
    let long = world.run(&["ls", "-r", "repo", "-l", "latest:/Users/ana/Notes.txt"]);
    assert!(long.ends_with(0).out.contains("           18  20") && long.out.ends_with("  Notes.txt\n"), "{}", long.out);
    // One volume alone needs no number; a disk with a table shows what there is.
    assert!(world.run(&["ls", "-r", "repo", "latest"]).ends_with(0).out.contains("Users/\n"));

    world.run(&["ls", "-r", "repo", "latest:/nowhere"]).ends_with(1).complains(&["there is no `nowhere` in 1:/"]);
    world.run(&["ls", "-r", "repo", "latest:7:/"]).ends_with(1).complains(&["there is no partition 7; there are: 1"]);
    world.run(&["ls", "-r", "repo", "bob:latest:/"]).ends_with(6);
}

#[test]
fn files_come_out_one_by_one_and_as_trees() {
    let Some((world, [first, _])) = world() else { return };
    let dumped = world.run(&["dump", "-r", "repo", "latest:\\USERS\\ana\\notes.TXT"]);
    assert_eq!(dumped.ends_with(0).out, "second, and longer");
    let old = world.run(&["dump", "-r", "repo", &format!("{first}:/Users/ana/Notes.txt")]);
    assert_eq!(old.ends_with(0).out, "first");
    let written = world.json(&["dump", "-r", "repo", "latest:/Users/ana/Pictures/one.jpg", "--to", "one.jpg"], 0);
    assert_eq!((&written["bytes"], world.read("one.jpg") == noise(300_000, 1)), (&300_000.into(), true));
    world.run(&["dump", "-r", "repo", "latest:/Users/ana/empty", "--to", "one.jpg"]).ends_with(1);
    assert!(world.read("one.jpg") == noise(300_000, 1), "a file that is there is not touched");
    world.run(&["dump", "-r", "repo", "latest:/Users"]).ends_with(1).complains(&["is not a file"]);
    world.run(&["dump", "-r", "repo", "latest:/Users/ana/empty", "--json"]).ends_with(2);
    world.run(&["dump", "-r", "repo", "latest"]).ends_with(2);

    let report = world.json(&["extract", "-r", "repo", "latest:/Users", "--to", "out"], 0);
    has(&report, &[("files", "count"), ("folders", "count"), ("bytes", "count"), ("refused", "list")]);
    assert_eq!(world.read("out/Users/ana/Notes.txt"), b"second, and longer");
    assert!(world.read("out/Users/ana/Pictures/one.jpg") == noise(300_000, 1));
    let shown = world.json(&["ls", "-r", "repo", "latest:/Users/ana/Notes.txt"], 0);
    let modified = fs::metadata(world.path("out/Users/ana/Notes.txt")).unwrap().mtime();
    let modified = jiff::Timestamp::from_second(modified).unwrap().to_string();
    assert!(shown["entries"][0]["modified"].as_str().unwrap().starts_with(&modified[..13]), "{shown} {modified}");
    let again = world.json(&["extract", "-r", "repo", "latest:/Users", "--to", "out"], 3);
    assert!(again["refused_count"].as_u64().unwrap() >= 3, "{again}");
    world.json(&["extract", "-r", "repo", "latest:/Users", "--to", "out", "--force"], 0);
}

#[test]
fn versions_are_found_and_differences_told() {
    let Some((world, [first, second])) = world() else { return };
    let found = world.json(&["find", "-r", "repo", "NOTES.*"], 0);
    assert_eq!(found["snapshots_searched"], 2);
    let versions = found["files"][0]["versions"].as_array().unwrap();
    let held: Vec<_> = versions.iter().map(|version| (&version["size"], &version["snapshots"][0]["id"])).collect();
    assert_eq!(held, [(&5.into(), &first.clone().into()), (&18.into(), &second.clone().into())]);
    assert_eq!(world.json(&["find", "-r", "repo", "notes.*", "--stick", "bob"], 0)["snapshots_searched"], 0);
    assert!(
        world.run(&["find", "-r", "repo", "/users/**/ONE.jpg"]).ends_with(0).out.starts_with("ana  1:/Users/ana/P")
    );

    let told = world.json(&["diff", "-r", "repo", &first, &second], 0);
    let notes = told["files"].as_array().unwrap().iter().find(|file| file["path"] == "1:/Users/ana/Notes.txt");
    assert_eq!(notes.unwrap()["change"], "modified");
    assert!(told["bytes"]["differing"].as_u64().unwrap() > 0, "{told}");
    let same = world.json(&["diff", "-r", "repo", &first, &first], 0);
    assert_eq!((&same["files"], &same["bytes"]["differing"]), (&Value::Array(Vec::new()), &0.into()));
    assert_eq!(same["bytes"]["compared"], 0, "chunks that both have are not read");
    let one = world.json(
        &["diff", "-r", "repo", &format!("{first}:/Users/ana/Notes.txt"), &format!("{second}:/Users/ana/Notes.txt")],
        0,
    );
    assert_eq!((&one["files"][0]["change"], &one["bytes"]), (&"modified".into(), &Value::Null));
}

#[test]
fn files_in_a_virtual_disk_on_a_stick_are_reached() {
    let world = World::new();
    let Some(inner) = volume(&world, |top| fill(top, b"inside")) else { return };
    let vhdx = container(&disk(&inner));
    let Some(outer) = volume(&world, |top| fs::write(top.join("Win.vhdx"), &vhdx).unwrap()) else { return };
    world.file("boot.img", &disk(&outer));
    world.backup("boot.img", "boot");
    let inside = "latest:1:\\win.VHDX\\1:\\users\\ana";
    let listed = world.json(&["ls", "-r", "repo", inside], 0);
    assert!(names(&listed).contains(&"1:/Win.vhdx/1:/Users/ana/Notes.txt".to_owned()), "{listed}");
    assert_eq!(names(&world.json(&["ls", "-r", "repo", "latest:/win.vhdx"], 0)), ["1:/Win.vhdx"]);
    assert!(world.run(&["ls", "-r", "repo", "latest:/win.vhdx/"]).ends_with(0).out.contains("Users/"));
    let dumped = world.run(&["dump", "-r", "repo", "latest:/Win.vhdx/Users/ana/Notes.txt"]);
    assert_eq!(dumped.ends_with(0).out, "inside");
    world.json(&["extract", "-r", "repo", inside, "--to", "out"], 0);
    assert!(world.read("out/ana/Pictures/one.jpg") == noise(300_000, 1));
    world.run(&["dump", "-r", "repo", "latest:/Win.vhdx", "--to", "back.vhdx"]).ends_with(0);
    assert!(world.read("back.vhdx") == vhdx, "the container itself, as it was");
}
