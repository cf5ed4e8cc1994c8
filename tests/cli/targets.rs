//! Sources and targets: what is taken, what is refused, and that what is refused is left as it was.

use super::support::{Drive, World, noise};
use std::fs;

#[test]
fn disks_of_any_size_come_back() {
    let world = World::new();
    for size in [0, 1, 3, 511, 512, 4097, 100_000] {
        let bytes = noise(size, size as u64);
        world.file("disk.img", &bytes);
        world.backup("disk.img", "ana");
        world.run(&["restore", "-r", "repo", "ana:latest", "--to", "back.img", "--force", "--verify"]).ends_with(0);
        assert_eq!(world.read("back.img"), bytes, "{size} bytes");
    }
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
}

#[test]
fn an_existing_file_is_replaced_only_by_force() {
    let world = World::new();
    world.file("disk.img", &noise(9000, 1));
    world.backup("disk.img", "ana");
    world.file("back.img", b"precious");
    let run = world.run(&["restore", "-r", "repo", "latest", "--to", "back.img"]);
    run.ends_with(1).complains(&["back.img exists already", "--force"]);
    assert_eq!(world.read("back.img"), b"precious");
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--force"]).ends_with(0);
    assert_eq!(world.read("back.img"), noise(9000, 1));
    let left: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
}

#[test]
fn places_that_cannot_be_restored_to_are_named() {
    let world = World::new();
    world.file("disk.img", b"bytes");
    world.backup("disk.img", "ana");
    fs::create_dir(world.path("folder")).unwrap();
    let to = |target: &str| world.run(&["restore", "-r", "repo", "latest", "--to", target]);
    to("no/such/folder/x.img").ends_with(1).complains(&["there is no folder no/such/folder"]);
    to("folder").ends_with(1).complains(&["folder is a directory"]);
    to("disk.img/x.img").ends_with(1).complains(&["disk.img"]);
    #[cfg(target_os = "linux")]
    {
        to("/dev/no-such-drive").ends_with(1).complains(&["/dev/no-such-drive does not exist"]);
        to("/dev/null").ends_with(1).complains(&["/dev/null", "a block device was expected"]);
    }
    let run = world.run(&["restore", "-r", "repo", "latest", "--to", "folder", "--force"]);
    run.ends_with(1).complains(&["folder is a directory"]);
}

#[test]
fn sources_that_are_no_disks_are_named() {
    let world = World::new();
    fs::create_dir(world.path("folder")).unwrap();
    let from = |source: &str| world.run(&["backup", "-r", "repo", source]);
    from("folder").ends_with(1).complains(&["folder is a directory", "a regular file or a block device was expected"]);
    from("missing.img").ends_with(1).complains(&["missing.img cannot be opened"]);
    #[cfg(target_os = "linux")]
    from("/dev/null").ends_with(1).complains(&["/dev/null"]);
    assert_eq!(world.json(&["snapshots", "-r", "repo"], 0), serde_json::json!([]));
}

#[test]
fn a_drive_that_is_too_small_is_refused_with_both_numbers() {
    let world = World::new();
    world.file("disk.img", &noise(1 << 20, 1));
    world.backup("disk.img", "ana");
    world.file("small", &noise(512 << 10, 2));
    let Some(drive) = Drive::attach(&world.path("small")) else { return };
    for force in [&[][..], &["--force"]] {
        let arguments = ["restore", "-r", "repo", "latest", "--to", drive.name()];
        let run = world.run(&[arguments.as_slice(), force].concat());
        run.ends_with(1).complains(&["524288 bytes", "needs 1048576", drive.name()]);
    }
    drop(drive);
    assert_eq!(world.read("small"), noise(512 << 10, 2));
}

#[test]
fn a_drive_that_holds_something_is_overwritten_only_by_force() {
    let world = World::new();
    world.file("disk.img", &noise(1 << 20, 1));
    world.backup("disk.img", "ana");
    sheaf::ops::demo::make_stick(&world.path("used"), 7).unwrap();
    let before = world.read("used");
    let Some(drive) = Drive::attach(&world.path("used")) else { return };
    let arguments = ["restore", "-r", "repo", "latest", "--to", drive.name()];
    world.run(&arguments).ends_with(1).complains(&["holds an MBR partition table", "--force"]);
    let run = world.run(&[arguments.as_slice(), &["--force", "--verify"]].concat());
    run.ends_with(0).complains(&["is larger than the disk", "63.0 MiB"]);
    drop(drive);
    let after = world.read("used");
    assert_eq!(after[..1 << 20], noise(1 << 20, 1));
    assert_eq!(after[1 << 20..], before[1 << 20..], "what lies behind the disk stays");
}

#[test]
fn a_drive_is_a_source_like_a_file() {
    let world = World::new();
    sheaf::ops::demo::make_stick(&world.path("stick.img"), 9).unwrap();
    let Some(drive) = Drive::attach(&world.path("stick.img")) else { return };
    let backup = world.json(&["backup", "-r", "repo", drive.name()], 0);
    assert_eq!((&backup["stick"], &backup["bytes_source"]), (&"mbr-00000009".into(), &(64 << 20).into()));
    drop(drive);
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img"]).ends_with(0);
    assert!(world.read("back.img") == world.read("stick.img"), "the same, byte for byte");
}
