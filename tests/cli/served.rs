//! Snapshots as disks and folders for other programs: the binary serves, QEMU and the kernel look.
//!
//! Always true here: a test whose tools are missing says so and is skipped.

use super::support::{PASSWORD, World, noise};
use super::windows::{container, disk, volume};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The binary at work; killed when it is dropped.
struct Serving {
    child: Child,
    first_line: String,
}

impl Serving {
    /// Starts it and waits for its first line.
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        if first_line.is_empty() {
            let output = child.wait_with_output().unwrap();
            panic!("{arguments:?} ended: {}", String::from_utf8_lossy(&output.stderr));
        }
        Self { child, first_line }
    }

    /// Asks it to end, and returns its exit status and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        assert!(!said.contains("panicked") && !said.contains(PASSWORD), "{said}");
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Runs a tool; `None`, said on standard error, where it is missing.
fn tool(world: &World, program: &str, arguments: &[&str]) -> Option<bool> {
    let output = Command::new(program).args(arguments).current_dir(world.path("")).output();
    let Ok(output) = output else {
        eprintln!("skipped: {program} is not there");
        return None;
    };
    if !output.status.success() {
        eprintln!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Some(output.status.success())
}

fn fill(top: &Path) {
    fs::create_dir_all(top.join("Folder")).unwrap();
    fs::write(top.join("Folder/file.bin"), noise(700_000, 3)).unwrap();
    fs::write(top.join("small"), b"small").unwrap();
}

/// A repository with one stick, all of whose bytes are kept, and the stick.
fn world() -> Option<(World, Vec<u8>)> {
    let world = World::new();
    let bytes = disk(&volume(&world, fill)?);
    world.file("ana.img", &bytes);
    let keep = ["--include-free", "--include-scratch"];
    world.run(&[&["backup", "-r", "repo", "ana.img", "--stick", "ana"][..], &keep].concat()).ends_with(0);
    Some((world, bytes))
}

#[test]
fn a_disk_is_served_as_it_was_and_an_overlay_takes_what_is_written() {
    let Some((world, bytes)) = world() else { return };
    let socket = world.path("socket").display().to_string();
    let listen = format!("unix:{socket}");
    let uri = format!("nbd+unix:///?socket={socket}");
    let serving = Serving::start(&world, &["serve-nbd", "-r", "repo", "latest", "--listen", &listen]);
    assert!(serving.first_line.contains(&uri), "{}", serving.first_line);
    let same = tool(&world, "qemu-img", &["compare", "-f", "raw", "-F", "raw", "ana.img", &uri]);
    assert_ne!(same, Some(false));
    if let Some(copied) = tool(&world, "nbdcopy", &[&uri, "copy.img"]) {
        assert!(copied && world.read("copy.img") == bytes);
    }
    let part = format!("nbd+unix:///{}-partition-1?socket={socket}", &short(&world));
    if let Some(copied) = tool(&world, "nbdcopy", &[&part, "part.img"]) {
        assert!(copied && world.read("part.img") == bytes[1 << 20..]);
    }
    // Whoever asks for more than one reads is told, and a second server at the same place is refused.
    let second = world.run(&["serve-nbd", "-r", "repo", "latest", "--listen", &listen]);
    second.ends_with(1).complains(&["answers"]);
    assert_eq!(
        serving.end(),
        (Some(0), "stopping; what is stored stays usable (press again to stop at once)\n".to_owned())
    );

    let with_overlay = ["serve-nbd", "-r", "repo", "latest", "--listen", &listen, "--writable-overlay", "overlay"];
    let serving = Serving::start(&world, &with_overlay);
    let written = tool(&world, "qemu-io", &["-f", "raw", "-c", "write -P 7 2M 64K", "-c", "flush", &uri]);
    assert_ne!(written, Some(false));
    assert_eq!(serving.end().0, Some(0));
    let serving = Serving::start(&world, &with_overlay);
    if written.is_some() {
        assert_eq!(
            tool(&world, "qemu-io", &["-f", "raw", "-c", "read -P 7 2M 64K", &uri]),
            Some(true),
            "kept over runs"
        );
    }
    drop(serving);
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "--verify"]).ends_with(0);
    assert!(world.read("back.img") == bytes, "the repository was not touched");
    world.backup("ana.img", "other");
    world
        .run(&["serve-nbd", "-r", "repo", "other:latest", "--listen", &listen, "--writable-overlay", "overlay"])
        .ends_with(1);
}

fn short(world: &World) -> String {
    world.json(&["snapshots", "-r", "repo"], 0)[0]["id"].as_str().unwrap()[..8].to_owned()
}

#[test]
fn what_other_machines_could_reach_needs_tls() {
    let world = World::new();
    world.file("disk.img", &noise(10_000, 1));
    world.backup("disk.img", "disk");
    let serve = |listen: &str| world.run(&["serve-nbd", "-r", "repo", "latest", "--listen", listen]);
    serve("tcp:0.0.0.0:0").ends_with(1).complains(&["needs TLS"]);
    serve("tcp:nowhere").ends_with(2);
    serve("file").ends_with(2);
    world.run(&["serve-nbd", "-r", "repo"]).ends_with(2);
    let two = ["serve-nbd", "-r", "repo", "latest", "latest", "--writable-overlay", "x"];
    world.run(&two).ends_with(2).complains(&["one snapshot"]);
}

#[test]
fn snapshots_are_mounted_as_images_and_files() {
    let Some((world, bytes)) = world() else { return };
    if fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        eprintln!("skipped: no /dev/fuse");
        return;
    }
    let Some(inner) = volume(&world, fill) else { return };
    let vhdx = container(&disk(&inner));
    let Some(outer) = volume(&world, |top| fs::write(top.join("win.vhdx"), vhdx).unwrap()) else { return };
    world.file("boot.img", &disk(&outer));
    fs::create_dir(world.path("mnt")).unwrap();
    let serving = Serving::start(&world, &["mount", "-r", "repo", "mnt"]);
    assert!(serving.first_line.contains("1 snapshot"), "{}", serving.first_line);
    let latest = world.path("mnt/by-stick/ana/latest");
    assert!(fs::read(latest.join("disk.img")).unwrap() == bytes);
    assert!(fs::read(latest.join("partition-1.img")).unwrap() == bytes[1 << 20..]);
    for (image, format) in [("disk.vhd", "vpc"), ("disk.vhdx", "vhdx")] {
        let image = format!("mnt/by-stick/ana/latest/{image}");
        assert_ne!(tool(&world, "qemu-img", &["compare", "-f", "raw", "-F", format, "ana.img", &image]), Some(false));
    }
    assert!(fs::read(latest.join("files/partition-1/Folder/file.bin")).unwrap() == noise(700_000, 3));
    fs::write(latest.join("files/partition-1/new"), b"x").unwrap_err();

    // A snapshot that is made meanwhile is there when somebody looks for it by its id.
    let id = world.backup("boot.img", "boot");
    let inside = format!("mnt/by-id/{id}/files/partition-1, win.vhdx, partition-1/Folder/file.bin");
    let found = loop {
        match fs::read(world.path(&inside)) {
            Ok(found) => break found,
            // It is not asked when it appears, but that it does.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(200)),
        }
    };
    assert!(found == noise(700_000, 3));

    // Killed, it leaves a dead mount, which the next one takes away.
    drop(serving);
    let serving = Serving::start(&world, &["mount", "-r", "repo", "mnt", "--stick", "boot"]);
    assert!(serving.first_line.contains("1 snapshot"), "{}", serving.first_line);
    assert!(world.path("mnt/by-stick/boot").exists() && !world.path("mnt/by-stick/ana").exists());
    world.run(&["mount", "-r", "repo", "mnt"]).ends_with(1).complains(&["not empty"]);
    assert_eq!(serving.end().0, Some(0));
    assert_eq!(fs::read_dir(world.path("mnt")).unwrap().count(), 0);
}
