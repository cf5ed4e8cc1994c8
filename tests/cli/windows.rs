//! Which Windows is on a stick, as a list of snapshots shows it. The volumes are made by mkntfs and filled through ntfs-3g; without those
//! the tests are skipped.

use super::build;
use super::hive::{Hive, text};
use super::model::{MIB, Model};
use super::support::World;
use super::tools::{Mounted, make};
use serde_json::Value;
use std::fs;
use std::path::Path;

const HIVE: &[u8] = include_bytes!("../windows/hives/windows-11.hive");
const SAID: &str = "Windows 11 Pro 23H2, build 22631.3007";

/// An NTFS volume of 16 MiB that was filled by `fill`, given its folder at the top.
pub(crate) fn volume(world: &World, fill: impl FnOnce(&Path)) -> Option<Vec<u8>> {
    let (path, mount) = (world.path("volume"), world.path("mount"));
    fs::create_dir_all(&mount).unwrap();
    if !make(&path, 16 << 20, 4096, 512) {
        return None;
    }
    let mounted = Mounted::new(&path, &mount, "rw")?;
    fill(&mount);
    drop(mounted);
    Some(fs::read(path).unwrap())
}

/// Puts a hive where Windows has it.
fn install(top: &Path, hive: &[u8]) {
    let folder = top.join("Windows/System32/config");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("SOFTWARE"), hive).unwrap();
}

/// A disk with a master boot record and one partition of this content at 1 MiB.
pub(crate) fn disk(partition: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; MIB as usize];
    disk[446 + 4] = 7;
    disk[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    disk[446 + 12..446 + 16].copy_from_slice(&(partition.len() as u32 / 512).to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(partition);
    disk
}

/// A VHDX that holds a disk.
pub(crate) fn container(disk: &[u8]) -> Vec<u8> {
    let mut model = Model::new(disk.len() as u64);
    for (index, bytes) in disk.chunks(1 << 20).enumerate().filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)) {
        model.write(index as u64 * MIB, bytes);
    }
    build::image(&model, MIB, 512, false)
}

fn volumes(world: &World) -> Vec<Value> {
    world.json(&["snapshots", "-r", "repo", "latest"], 0)["disk"]["volumes"].as_array().unwrap().clone()
}

#[test]
fn the_windows_on_a_partition_is_shown() {
    let world = World::new();
    let Some(volume) = volume(&world, |top| install(top, HIVE)) else { return };
    world.file("ana.img", &disk(&volume));
    world.backup("ana.img", "ana");
    assert_eq!(volumes(&world)[0]["windows"], SAID);
    assert_eq!(world.json(&["snapshots", "-r", "repo"], 0)[0]["disk"]["volumes"][0]["windows"], SAID);
    let run = world.run(&["snapshots", "-r", "repo", "latest"]);
    let line = format!("1: NTFS \"Sheaf\", 16.0 MiB, {SAID}\n");
    assert!(run.ends_with(0).out.contains(&line), "{}", run.out);
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--verify"]).ends_with(0);
}

#[test]
fn the_windows_on_a_disk_in_a_file_is_shown() {
    let world = World::new();
    let Some(inner) = volume(&world, |top| install(top, HIVE)) else { return };
    let container = container(&disk(&inner));
    let Some(outer) = volume(&world, |top| fs::write(top.join("disk.vhdx"), container).unwrap()) else { return };
    world.file("ana.img", &disk(&outer));
    world.backup("ana.img", "ana");
    let shown: Vec<_> =
        volumes(&world).iter().map(|volume| (volume["depth"].as_u64(), volume["windows"].clone())).collect();
    assert_eq!(shown, [(Some(0), Value::Null), (Some(1), SAID.into())]);
    let run = world.run(&["snapshots", "-r", "repo", "latest"]);
    assert!(run.ends_with(0).out.contains(&format!("{SAID}, on a disk in a file\n")), "{}", run.out);
}

#[test]
fn what_a_volume_says_cannot_steer_a_terminal() {
    let world = World::new();
    let mut hive = Hive::new();
    let product = hive.value("ProductName", 1, &text("Windows\u{1b}[2J 9"));
    let hive = hive.with(&[product]);
    let Some(volume) = volume(&world, |top| install(top, &hive)) else { return };
    world.file("ana.img", &volume);
    world.backup("ana.img", "ana");
    assert_eq!(volumes(&world)[0]["windows"], "Windows\u{1b}[2J 9");
    let run = world.run(&["snapshots", "-r", "repo", "latest"]);
    assert!(run.ends_with(0).out.contains(", Windows\u{fffd}[2J 9\n") && !run.out.contains('\u{1b}'), "{}", run.out);
}

#[test]
fn a_volume_without_windows_or_with_a_broken_one_shows_none() {
    let world = World::new();
    let Some(volume) = volume(&world, |top| install(top, &HIVE[..5000])) else { return };
    world.file("ana.img", &volume);
    world.backup("ana.img", "ana");
    let shown = volumes(&world);
    assert_eq!((&shown[0]["file_system"], &shown[0]["windows"]), (&"NTFS".into(), &Value::Null));
}
