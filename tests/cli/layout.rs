//! Disks cut along their files: the options, what is shown of volumes, and what a stick costs.

use super::ntfs::{Build, ROOT};
use super::support::{World, noise};

/// An NTFS volume with two files, a page file, and noise in free clusters.
fn volume(seed: u64) -> Vec<u8> {
    let mut volume = Build::new(4096, 1024, 1024);
    volume.file(40, ROOT, "shared", &noise(200_000, 1));
    volume.file(41, ROOT, "own", &noise(150_000, seed));
    volume.file(42, ROOT, "pagefile.sys", &noise(100_000, seed + 1));
    let free = volume.take(50);
    volume.content.push((free.0, noise(50 * 4096, seed + 2)));
    volume.image()
}

#[test]
fn what_is_left_out_is_said_and_can_be_kept() {
    let world = World::new();
    world.file("ana.img", &volume(10));
    let by_files = world.json(&["backup", "-r", "repo", "ana.img", "--stick", "ana"], 0);
    assert!(by_files["left_out"]["free"].as_u64().unwrap() >= 50 * 4096, "{by_files}");
    assert!(by_files["left_out"]["scratch"].as_u64().unwrap() >= 100_000, "{by_files}");
    assert!(by_files["kept"]["files"].as_u64().unwrap() >= 350_000, "{by_files}");
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--verify"]).ends_with(0);
    assert!(world.read("back.img") != volume(10) && world.read("back.img").len() == volume(10).len());

    let kept =
        world.json(&["backup", "-r", "repo", "ana.img", "--stick", "ana", "--include-free", "--include-scratch"], 0);
    assert_eq!((&kept["left_out"]["free"], &kept["left_out"]["scratch"]), (&0.into(), &0.into()));
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--force"]).ends_with(0);
    assert!(world.read("back.img") == volume(10));

    let whole = world.json(&["backup", "-r", "repo", "ana.img", "--stick", "ana", "--layout", "none"], 0);
    assert_eq!((&whole["kept"]["files"], &whole["left_out"]["free"]), (&0.into(), &0.into()));
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--force"]).ends_with(0);
    assert!(world.read("back.img") == volume(10));
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
}

#[test]
fn volumes_are_shown() {
    let world = World::new();
    world.file("ana.img", &volume(10));
    world.backup("ana.img", "ana");
    let volumes = &world.json(&["snapshots", "-r", "repo", "latest"], 0)["disk"]["volumes"];
    assert_eq!((&volumes[0]["file_system"], &volumes[0]["label"]), (&"NTFS".into(), &"L".into()));
    let text = world.run(&["snapshots", "-r", "repo", "latest"]);
    assert!(text.ends_with(0).out.contains("NTFS \"L\", 4.0 MiB"), "{}", text.out);
}

#[test]
fn a_doubtful_volume_is_kept_whole_and_that_is_said() {
    let world = World::new();
    let mut bytes = volume(10);
    // The first record of the MFT, behind boot sector, mirror, bitmap and map.
    let mft = bytes.windows(4).rposition(|bytes| bytes == b"FILE").unwrap();
    bytes[mft + 100] ^= 0xff;
    bytes[mft + 510] ^= 0xff;
    world.file("torn.img", &bytes);
    let run = world.run(&["backup", "-r", "repo", "torn.img", "--stick", "torn"]);
    run.ends_with(0).complains(&["free clusters are kept"]);
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--verify"]).ends_with(0);
}

#[test]
fn a_sticks_costs_are_told_alone_and_beside_others() {
    let world = World::new();
    world.file("ana.img", &volume(10));
    world.file("ben.img", &volume(20));
    world.backup("ana.img", "ana");
    let alone = world.json(&["stats", "-r", "repo", "--stick", "ana"], 0);
    assert_eq!((&alone["bytes_shared"], &alone["bytes_own"]), (&0.into(), &alone["bytes_alone"]));
    world.backup("ben.img", "ben");
    let beside = world.json(&["stats", "-r", "repo", "--stick", "ana"], 0);
    assert_eq!(beside["bytes_alone"], alone["bytes_alone"]);
    let (own, shared) = (beside["bytes_own"].as_u64().unwrap(), beside["bytes_shared"].as_u64().unwrap());
    // One file of each kind, and records.
    assert!((150_000..200_000).contains(&own) && (200_000..230_000).contains(&shared), "{beside}");
    let text = world.run(&["stats", "-r", "repo", "--stick", "ana"]);
    assert!(text.ends_with(0).out.contains("that other sticks need as well"), "{}", text.out);
    world.run(&["stats", "-r", "repo", "--stick", "nobody"]).ends_with(6).complains(&["nobody"]);
    let all = world.json(&["stats", "-r", "repo"], 0);
    assert!(all["kept"]["files"].as_u64().unwrap() >= 700_000, "{all}");
}
