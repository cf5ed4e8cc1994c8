//! How snapshots and sticks are named, listed and found.

use super::support::{World, noise};
use std::collections::BTreeMap;

#[test]
fn sticks_have_the_name_that_was_given_or_one_of_their_own() {
    let world = World::new();
    sheaf::ops::demo::make_stick(&world.path("stick.img"), 0x0a0a_5ea5).unwrap();
    world.file("a b:ü\t.img", b"no partition table");
    let name = |file: &str| world.json(&["backup", "-r", "repo", file], 0)["stick"].clone();
    assert_eq!(name("stick.img"), "mbr-0a0a5ea5");
    assert_eq!(name("a b:ü\t.img"), "file-a b-ü-.img");
    for odd in ["ana maría", "it's \"7\"", "ana/2", "😀", "latest"] {
        let run = world.json(&["backup", "-r", "repo", "a b:ü\t.img", &format!("--stick={odd}")], 0);
        assert_eq!(run["stick"], odd);
        let list = world.json(&["snapshots", "-r", "repo", &format!("--stick={odd}")], 0);
        assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &run["snapshot"]));
        let restore = world.json(&["restore", "-r", "repo", &format!("{odd}:latest"), "--to", "x", "--force"], 0);
        assert_eq!(restore["snapshot"], run["snapshot"]);
    }
    for bad in ["", " ", "a:b", ":", "a\nb", "a\u{1b}[31m"] {
        let run = world.run(&["backup", "-r", "repo", "stick.img", &format!("--stick={bad}")]);
        run.ends_with(2).complains(&["a stick's name must not be empty, and has no `:`"]);
    }
}

#[test]
fn tags_are_sorted_and_choose_snapshots() {
    let world = World::new();
    world.file("disk.img", b"bytes");
    let with = |tags: &[&str]| {
        let mut arguments = vec!["backup", "-r", "repo", "disk.img", "--stick", "ana"];
        tags.iter().for_each(|tag| arguments.extend(["--tag", tag]));
        world.json(&arguments, 0)["snapshot"].clone()
    };
    let (both, one, none) = (with(&["weekly", "office", "weekly"]), with(&["weekly"]), with(&[]));
    let chosen = |more: &[&str]| {
        let list = world.json(&[["snapshots", "-r", "repo"].as_slice(), more].concat(), 0);
        list.as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(world.json(&["snapshots", "-r", "repo"], 0)[0]["tags"], serde_json::json!(["office", "weekly"]));
    assert_eq!(chosen(&[]), [both.clone(), one.clone(), none]);
    assert_eq!(chosen(&["--tag", "weekly"]), [both.clone(), one]);
    assert_eq!(chosen(&["--tag", "weekly", "--tag", "office"]), [both]);
    assert_eq!(chosen(&["--tag", "week"]), [""; 0]);
    assert_eq!(chosen(&["--stick", "ben"]), [""; 0]);
    for bad in ["", "a\nb"] {
        world.run(&["backup", "-r", "repo", "disk.img", "--tag", bad]).ends_with(2).complains(&["tag"]);
    }
}

#[test]
fn snapshots_are_found_by_prefix_and_by_latest() {
    let world = World::new();
    world.file("ana.img", &noise(5000, 1));
    world.file("ben.img", &noise(5000, 2));
    world.backup("ana.img", "ana");
    let ana = world.backup("ana.img", "ana");
    let ben = world.backup("ben.img", "ben");
    let found =
        |name: &str| world.json(&["restore", "-r", "repo", name, "--to", "back.img", "--force"], 0)["snapshot"].clone();
    assert_eq!(found("latest"), *ben);
    assert_eq!(found("ana:latest"), *ana);
    assert_eq!(found("ben:latest"), *ben);
    assert_eq!(found(&ana), *ana);
    assert_eq!(found(&ana.to_uppercase()), *ana);
    assert_eq!(found(&ben[..16]), *ben);
    assert_eq!(world.read("back.img"), noise(5000, 2));

    for missing in ["carl:latest", "0123456789abcdef0123", "", ":", "ana", "latest:", "zz"] {
        let run = world.run(&["restore", "-r", "repo", missing, "--to", "none.img"]);
        run.ends_with(6).complains(&["no snapshot", "sheaf snapshots"]);
    }
    assert!(!world.path("none.img").exists());
}

#[test]
fn an_ambiguous_prefix_names_its_candidates() {
    let world = World::new();
    world.file("disk.img", b"bytes");
    // Among 17 ids, two begin with the same digit.
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let (digit, one, other) = (0..17)
        .find_map(|_| {
            let id = world.backup("disk.img", "ana");
            let digit = id[..1].to_owned();
            first.insert(digit.clone(), id.clone()).map(|before| (digit, before, id))
        })
        .expect("two of 17 share a digit");
    let run = world.run(&["restore", "-r", "repo", &digit, "--to", "none.img"]);
    run.ends_with(1).complains(&[&one[..12], &other[..12], "more digits"]);
    assert!(!world.path("none.img").exists());
}
