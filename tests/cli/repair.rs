//! `sheaf repair` and `sheaf restore --allow-damaged`: statuses, words, and what lies on the disk afterwards.

use super::support::{World, noise};
use std::fs;
use std::path::PathBuf;

/// The files of all packs, the largest last.
fn packs(world: &World) -> Vec<PathBuf> {
    let folders = fs::read_dir(world.path("repo/packs")).unwrap().map(|folder| folder.unwrap().path());
    let mut packs: Vec<_> =
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|pack| pack.unwrap().path())).collect();
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    packs
}

/// A repository of whose objects nothing is stored twice.
fn without_parity() -> World {
    let world = World::empty();
    world.run(&["init", "-r", "repo", "--password-memory", "8", "--parity", "0"]).ends_with(0);
    world
}

/// A repository with a stick, one byte of whose pack of data is wrong.
fn damaged() -> (World, Vec<u8>) {
    let world = without_parity();
    let disk = noise(2 << 20, 8);
    world.file("disk.img", &disk);
    world.backup("disk.img", "ana");
    let pack = packs(&world).pop().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 4;
    let mut permissions = fs::metadata(&pack).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "a test's own file")]
    permissions.set_readonly(false);
    fs::set_permissions(&pack, permissions).unwrap();
    fs::write(&pack, bytes).unwrap();
    (world, disk)
}

#[test]
fn damage_is_planned_repaired_from_the_stick_and_gone() {
    let (world, disk) = damaged();
    let before = packs(&world);
    let planned = world.run(&["repair", "-r", "repo", "--dry-run"]);
    planned.ends_with(4);
    for words in [
        "pack-damaged: packs/",
        "1 missing",
        " anew, which are good; 1 that are needed are not",
        "aside: its bytes",
        "stays broken",
    ] {
        assert!(planned.out.contains(words), "{words}: {planned:?}");
    }
    assert!(planned.out.contains("LOST: ") && planned.out.contains(" bytes at offset "), "{planned:?}");
    assert!(packs(&world) == before && !world.path("repo/damaged").exists(), "a dry run changes nothing");

    let refused = world.run(&["restore", "-r", "repo", "latest", "--to", "back.img"]);
    refused.ends_with(1).complains(&["is damaged", "--allow-damaged"]);
    let partial = world.json(
        &[
            "restore",
            "-r",
            "repo",
            "latest",
            "--to",
            "back.img",
            "--allow-damaged",
            "--verify",
            "--lost-list",
            "lost.txt",
        ],
        3,
    );
    let ranges = partial["lost"]["ranges"].as_array().unwrap();
    assert_eq!(ranges.len(), 1, "{partial}");
    let (start, length) =
        (ranges[0]["start"].as_u64().unwrap() as usize, ranges[0]["length"].as_u64().unwrap() as usize);
    assert_eq!(String::from_utf8(world.read("lost.txt")).unwrap(), format!("{start} {length}\n"));
    let mut expected = disk.clone();
    expected[start..start + length].fill(0);
    assert!(world.read("back.img") == expected, "outside of what is lost it is the same");

    let report = world.json(&["repair", "-r", "repo", "--from", "disk.img"], 0);
    assert_eq!((&report["ok"], &report["applied"], &report["chunks_missing"]), (&true.into(), &true.into(), &0.into()));
    let steps: Vec<_> = report["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["salvage", "from-source", "list-packs", "set-aside", "set-aside"], "{report}");
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
    world.run(&["restore", "-r", "repo", "latest", "--to", "whole.img"]).ends_with(0);
    assert!(world.read("whole.img") == disk);

    let aside = || fs::read_dir(world.path("repo/damaged")).unwrap().count();
    assert_eq!(aside(), 2);
    let nothing = world.run(&["repair", "-r", "repo"]);
    nothing.ends_with(0);
    assert!(nothing.out.contains("No damage") && aside() == 2, "{nothing:?}");
    world.run(&["repair", "-r", "repo", "--delete-damaged"]).ends_with(0);
    assert_eq!(aside(), 0);
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
    let log = world.run(&["audit", "-r", "repo"]);
    assert!(log.ends_with(0).out.contains("repair"), "{log:?}");
}

#[test]
fn damage_that_stays_gives_status_4_and_names_what_is_lost() {
    let (world, disk) = damaged();
    let run = world.run(&["repair", "-r", "repo"]);
    run.ends_with(4);
    for words in ["Moved 2 objects aside", "of ana stays broken", "chunk-missing: snapshots/", "--from DISK"] {
        assert!(run.out.contains(words), "{words}: {run:?}");
    }
    world.run(&["repair", "-r", "repo"]).ends_with(4);
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--allow-damaged"]).ends_with(3);
    // The next backup of the stick mends it.
    world.backup("disk.img", "ana");
    world.run(&["repair", "-r", "repo"]).ends_with(0);
    world.run(&["restore", "-r", "repo", "latest", "--to", "whole.img"]).ends_with(0);
    assert!(world.read("whole.img") == disk);
    let mut plain = world.read("back.img");
    assert_eq!(plain.len(), disk.len());
    plain.iter_mut().zip(&disk).filter(|(byte, _)| **byte == 0).for_each(|(byte, own)| *byte = *own);
    assert!(plain == disk);
}

#[test]
fn a_lost_config_is_put_back() {
    let world = without_parity();
    world.file("disk.img", &noise(10_000, 3));
    world.backup("disk.img", "ana");
    let config = world.read("repo/config");
    fs::remove_file(world.path("repo/config")).unwrap();
    let refused = world.run(&["snapshots", "-r", "repo"]);
    refused.ends_with(1).complains(&["lost its config", "sheaf repair"]);
    let run = world.run(&["repair", "-r", "repo"]);
    run.ends_with(0);
    assert!(run.out.contains("put the config of a key bundle there"), "{run:?}");
    assert!(world.read("repo/config") == config);
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let world = World::new();
    world.run(&["repair", "-r", "repo", "--from", "missing.img"]).ends_with(1);
    world.run(&["repair", "-r", "nowhere"]).ends_with(6);
    world.run(&["restore", "-r", "repo", "latest", "--to", "x", "--lost-list", "y"]).ends_with(2);
}

#[test]
fn parity_mends_what_it_can_to_the_same_bytes() {
    let world = World::new();
    let disk = noise(3 << 20, 8);
    world.file("disk.img", &disk);
    world.backup("disk.img", "ana");
    let mut objects = packs(&world);
    for folder in ["index", "snapshots", "keys", "audit"] {
        objects.extend(fs::read_dir(world.path(&format!("repo/{folder}"))).unwrap().map(|entry| entry.unwrap().path()));
    }
    objects.push(world.path("repo/config"));
    let before: Vec<Vec<u8>> = objects.iter().map(|path| fs::read(path).unwrap()).collect();
    for (path, bytes) in objects.iter().zip(&before) {
        // A run of lost sectors, at the end of small objects all of them.
        let mut changed = bytes.clone();
        let half = changed.len() / 2;
        changed[half..].iter_mut().take(9_000).for_each(|byte| *byte ^= 0x55);
        fs::remove_file(path).unwrap();
        fs::write(path, changed).unwrap();
    }
    // Whoever only reads mends on the way, and changes nothing.
    let restored = world.run(&["restore", "-r", "repo", "ana:latest", "--to", "back.img"]);
    restored.ends_with(0).complains(&[
        "warning: config is damaged",
        "warning: packs/",
        "`sheaf repair` mends it for good",
    ]);
    assert!(world.read("back.img") == disk);
    world.run(&["snapshots", "-r", "repo"]).ends_with(0).complains(&["warning: keys/", "warning: snapshots/"]);
    let repaired = world.run(&["repair", "-r", "repo", "--json"]).ends_with(0).document();
    let mended = repaired["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "from-parity").count();
    assert_eq!((mended, repaired["remaining"].as_array().unwrap().len()), (objects.len(), 0), "{repaired}");
    for (path, bytes) in objects.iter().zip(&before) {
        assert!(fs::read(path).unwrap() == *bytes, "{}", path.display());
    }
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
    assert!(fs::read_dir(world.path("repo/damaged")).unwrap().count() >= objects.len(), "nothing is deleted");

    // The one key is told of as what it is.
    let key = objects.iter().find(|path| path.parent().unwrap().ends_with("keys")).unwrap();
    fs::remove_file(key).unwrap();
    fs::write(key, b"garbage").unwrap();
    let refused = world.run(&["backup", "-r", "repo", "disk.img"]);
    refused.ends_with(1).complains(&["no usable key bundle", "`sheaf repair` mends one"]);
    let repaired = world.run(&["repair", "-r", "repo"]);
    assert!(repaired.ends_with(0).out.ends_with("All damage is mended.\n"), "{repaired:?}");
    world.backup("disk.img", "ana");
}
