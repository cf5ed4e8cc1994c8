//! VHD and VHDX at both ends: backed up as the disks that they hold, and made of any snapshot.

use super::build;
use super::make::Chain;
use super::model::{MIB, Model};
use super::support::{World, noise};
use sheaf::disk::{DiskOffset, ReadAt};
use std::fs;
use std::path::Path;
use std::process::Command;

const SIZE: usize = 20 << 20;

/// A disk with data at its start, its end, and across borders of blocks; zeros between.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; SIZE];
    for (at, length, seed) in
        [(0, 300_000, 1), ((2 << 20) - 5000, 9000, 2), (11 << 20, 1 << 20, 3), (SIZE - 700, 700, 4)]
    {
        disk[at..at + length].copy_from_slice(&noise(length, seed));
    }
    disk
}

/// Runs a program that must do its work; false where it is not installed, which is said.
fn tool(program: &str, arguments: &[&str], folder: &Path) -> bool {
    match Command::new(program).args(arguments).current_dir(folder).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
            true
        }
        Err(_) => {
            eprintln!("skipped: {program} is not installed");
            false
        }
    }
}

/// A Python that has both readers, if there is one.
fn python() -> Option<String> {
    let python = std::env::var("SHEAF_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python).args(["-c", "import pyvhdi, dissect.hypervisor"]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {python} lacks pyvhdi or dissect.hypervisor");
    None
}

/// Restores the last snapshot, and gives the JSON document.
fn restore(world: &World, to: &str, more: &[&str]) -> serde_json::Value {
    world.json(&[&["restore", "-r", "repo", "latest", "--to", to, "--verify", "--force"], more].concat(), 0)
}

const FORMATS: [(&str, &str, &str); 4] =
    [("vhd", "vpc", "vhd"), ("vhd-fixed", "vpc", "vhd"), ("vhdx", "vhdx", "vhdx"), ("vhdx-fixed", "vhdx", "vhdx")];

#[test]
fn any_snapshot_becomes_any_container_and_every_container_shares_its_chunks() {
    let world = World::new();
    world.file("disk.img", &disk());
    let first = world.json(&["backup", "-r", "repo", "disk.img", "--stick", "ana"], 0);
    assert_eq!(first["source_format"], "raw");
    for (format, qemu, extension) in FORMATS {
        let made = format!("made-{format}.{extension}");
        let document = restore(&world, &made, &["--format", format]);
        assert_eq!((&document["format"], document["verified"].as_bool()), (&format.into(), Some(true)));
        assert_eq!(document["bytes_file"], fs::metadata(world.path(&made)).unwrap().len());
        let folder = world.path("");
        if tool("qemu-img", &["compare", "-f", "raw", "-F", qemu, "disk.img", &made], &folder) && qemu == "vhdx" {
            tool("qemu-img", &["check", "-f", "vhdx", &made], &folder);
        }
        // By its content, whatever it is called.
        fs::rename(world.path(&made), world.path("nameless")).unwrap();
        let again = world.json(&["backup", "-r", "repo", "nameless", "--stick", "ana"], 0);
        assert_eq!((&again["chunks_new"], &again["source_format"]), (&0.into(), &extension.into()), "{format}");
        assert_eq!((&again["chunks"], &again["bytes_kept"]), (&first["chunks"], &first["bytes_kept"]));
        restore(&world, "back.img", &[]);
        assert!(world.read("back.img") == disk(), "{format}");
    }
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
}

#[test]
fn other_readers_see_the_same_disk() {
    let Some(python) = python() else { return };
    let world = World::new();
    world.file("disk.img", &disk());
    world.backup("disk.img", "ana");
    let libvhdi = "import sys, pyvhdi\nd = pyvhdi.file()\nd.open(sys.argv[1])\n\
                   assert d.read_buffer_at_offset(d.get_media_size(), 0) == open('disk.img', 'rb').read()";
    let dissect = "import sys\nfrom dissect.hypervisor.disk.vhd import VHD\nfrom dissect.hypervisor.disk.vhdx import VHDX\n\
                   d = (VHDX if sys.argv[1].endswith('x') else VHD)(open(sys.argv[1], 'rb'))\n\
                   assert d.read(d.size) == open('disk.img', 'rb').read()";
    for (format, _, extension) in FORMATS {
        let made = format!("made.{extension}");
        restore(&world, &made, &["--format", format]);
        for script in [libvhdi, dissect] {
            assert!(tool(&python, &["-c", script, &made], &world.path("")), "it ran a moment ago");
        }
    }
}

#[test]
fn the_targets_name_says_the_format_and_block_sizes_are_kept_to() {
    let world = World::new();
    world.file("disk.img", &disk());
    world.backup("disk.img", "ana");
    for (name, format) in [("a.vhd", "vhd"), ("a.VHDX", "vhdx"), ("a.img", "raw"), ("a", "raw")] {
        assert_eq!(restore(&world, name, &[])["format"], format);
    }
    assert!(world.read("a") == disk());
    assert!(world.read("a.VHDX").starts_with(b"vhdxfile"));
    assert!(world.read("a.vhd").starts_with(b"conectix"));
    // Only blocks that hold data are there: 1 + 2 + 1 + 1 of 1 MiB, behind 4 MiB of structures.
    let sizes = |format: &str, size: &str| {
        restore(&world, "b", &["--format", format, "--block-size", size])["bytes_file"].as_u64().unwrap()
    };
    assert_eq!(sizes("vhdx", "1M"), (4 + 5) << 20);
    assert_eq!(sizes("vhdx", "32M"), (4 + 32) << 20);
    assert!(sizes("vhd", "512K") < 5 << 20);
    for (arguments, words) in [
        (&["--format", "raw", "--block-size", "1M"][..], "--block-size is for"),
        (&["--format", "vhd-fixed", "--block-size", "1M"], "--block-size is for"),
        (&["--format", "vhdx", "--block-size", "3M"], "a power of two such as"),
        (&["--format", "qcow2"], "possible values"),
    ] {
        let run = world.run(&[&["restore", "-r", "repo", "latest", "--to", "c"], arguments].concat());
        run.ends_with(2).complains(&[words]);
    }
    let run = world.run(&["restore", "-r", "repo", "latest", "--to", "c", "--format", "vhdx", "--block-size", "512K"]);
    run.ends_with(1).complains(&["a block size of 524288: expected a power of two from 1 MiB to 256 MiB"]);
    assert!(!world.path("c").exists() && !world.path("c.sheaf-partial").exists());
}

#[test]
fn what_a_format_cannot_hold_is_refused_before_anything_is_written() {
    let world = World::new();
    world.file("odd.img", &noise(1000, 1));
    world.backup("odd.img", "odd");
    for format in ["vhd", "vhd-fixed", "vhdx"] {
        let run = world.run(&["restore", "-r", "repo", "odd:latest", "--to", "x", "--format", format]);
        run.ends_with(1).complains(&["512", "1000", "--format raw"]);
    }
    let large = fs::File::create(world.path("large.img")).unwrap();
    large.set_len((2040 << 30) + 512).unwrap();
    world.backup("large.img", "large");
    for format in ["vhd", "vhd-fixed"] {
        let run = world.run(&["restore", "-r", "repo", "large:latest", "--to", "x", "--format", format]);
        run.ends_with(1).complains(&["2040 GiB", "VHDX"]);
    }
    world.run(&["restore", "-r", "repo", "large:latest", "--to", "x.vhdx", "--verify"]).ends_with(0);
    assert!(!world.path("x").exists() && !world.path("x.sheaf-partial").exists());
}

#[test]
fn a_container_comes_back_as_the_one_that_it_was() {
    let world = World::new();
    let mut model = Model::new(20 * MIB);
    model.write(5 * MIB, &noise(100_000, 1));
    world.file("a.vhdx", &build::image(&model, 2 * MIB, 4096, false));
    world.backup("a.vhdx", "ana");
    let shown = &world.json(&["snapshots", "-r", "repo", "latest"], 0)["disk"]["container"];
    assert_eq!((&shown["format"], &shown["kind"]), (&"vhdx".into(), &"dynamic".into()));
    assert_eq!((&shown["logical_sector_size"], &shown["block_size"]), (&4096.into(), &(2 << 20).into()));
    let restored = restore(&world, "b.vhdx", &[]);
    assert_eq!(restored["format"], "vhdx");
    world.backup("b.vhdx", "ana");
    let again = &world.json(&["snapshots", "-r", "repo", "latest"], 0)["disk"]["container"];
    assert_eq!(again, shown, "identifiers, sector sizes, block size and creator");

    let chain = Chain::new(0, 3, 7);
    world.file("a.vhd", &chain.images[0].bytes());
    world.backup("a.vhd", "ben");
    let shown = &world.json(&["snapshots", "-r", "repo", "ben:latest"], 0)["disk"]["container"];
    assert_eq!(shown["disk_id"], "01".repeat(16));
    restore(&world, "b.vhd", &[]);
    world.backup("b.vhd", "ben");
    let again = &world.json(&["snapshots", "-r", "repo", "ben:latest"], 0)["disk"]["container"];
    for kept in ["format", "kind", "disk_id", "time_stamp", "geometry", "block_size"] {
        assert_eq!(again[kept], shown[kept], "{kept}");
    }
    let text = world.run(&["snapshots", "-r", "repo", "ben:latest"]);
    assert!(text.ends_with(0).out.contains("dynamic VHD"), "{}", text.out);
    // Another format has another identity.
    restore(&world, "c.vhdx", &[]);
}

#[test]
fn differencing_disks_are_read_with_their_parents_and_refused_without() {
    let world = World::new();
    for depth in [1, 5] {
        let chain = Chain::new(depth, 3, 40 + depth as u64);
        fs::create_dir_all(world.path("elsewhere")).unwrap();
        for (level, image) in chain.images.iter().enumerate() {
            world.file(&format!("level-{level}.vhd"), &image.bytes());
        }
        let child = format!("level-{depth}.vhd");
        world.backup(&child, "chain");
        restore(&world, "back.img", &[]);
        assert!(world.read("back.img") == chain.disk, "depth {depth}");

        fs::rename(world.path("level-0.vhd"), world.path("elsewhere/base.vhd")).unwrap();
        let run = world.run(&["backup", "-r", "repo", &child, "--stick", "orphan"]);
        run.ends_with(1).complains(&["was not found", "level-0.vhd", "--parent"]);
        world.run(&["backup", "-r", "repo", &child, "--parent", "elsewhere/base.vhd"]).ends_with(0);
        // A wrong one is not taken.
        world.file("elsewhere/base.vhd", &Chain::new(0, 3, 99).images[0].bytes());
        let mut wrong = Chain::new(0, 3, 99).images[0].clone();
        wrong.identifier = [0x77; 16];
        world.file("elsewhere/base.vhd", &wrong.bytes());
        let run = world.run(&["backup", "-r", "repo", &child, "--parent", "elsewhere/base.vhd", "--stick", "orphan"]);
        run.ends_with(1).complains(&["identifier", "7777"]);
    }
    let list = world.json(&["snapshots", "-r", "repo", "--stick", "orphan"], 0);
    assert_eq!(list.as_array().map(Vec::len), Some(0), "nothing was stored");
}

#[test]
fn a_chain_of_vhdx_is_read() {
    let world = World::new();
    let mut model = Model::with_data(9 * MIB, 5);
    let mut base = build::parameters(MIB, 512, false);
    base.identity.data_write_id = build::data_id(0);
    let layout = sheaf::image::vhdx::VhdxLayout::new(model.size(), model.ranges(), base).unwrap();
    world.file("parent-0.vhdx", &build::compose(&model, &layout));
    for level in 1..=5_u8 {
        let at = u64::from(level) * 1_200_000 / 512 * 512;
        model.write(at, &noise(51_200, u64::from(level)));
        let own = std::slice::from_ref(&(at..at + 51_200)).to_vec();
        let file = build::child(&model, &own, MIB, 512, level, level - 1);
        world.file(&format!("parent-{level}.vhdx"), &file);
    }
    world.backup("parent-5.vhdx", "chain");
    restore(&world, "back.img", &[]);
    let mut expected = vec![0; model.size() as usize];
    model.read_at(DiskOffset(0), &mut expected).unwrap();
    assert!(world.read("back.img") == expected);
    fs::remove_file(world.path("parent-2.vhdx")).unwrap();
    let run = world.run(&["backup", "-r", "repo", "parent-5.vhdx", "--stick", "orphan"]);
    run.ends_with(1).complains(&["parent-2.vhdx", "--parent"]);
}

#[test]
fn a_broken_container_is_refused_before_anything_is_stored_and_raw_is_the_way_out() {
    let world = World::new();
    let whole = build::image(&Model::with_data(3 * MIB, 8), MIB, 512, false);
    for length in [8, 100_000, 1 << 20, (3 << 20) + 5, whole.len() - 1] {
        world.file("cut.vhdx", &whole[..length]);
        let run = world.run(&["backup", "-r", "repo", "cut.vhdx"]);
        run.ends_with(1).complains(&["cut.vhdx is not a VHDX that can be read", "offset", "--source-format raw"]);
    }
    let mut vhd = Chain::new(0, 3, 7).images[0].bytes();
    let end = vhd.len() - 512;
    vhd[end + 100] ^= 1;
    vhd[100] ^= 1;
    world.file("both.vhd", &vhd);
    world.run(&["backup", "-r", "repo", "both.vhd"]).ends_with(1).complains(&["checksum", "--source-format raw"]);
    vhd[100] ^= 1;
    world.file("one.vhd", &vhd);
    let run = world.run(&["backup", "-r", "repo", "one.vhd", "--stick", "one"]);
    run.ends_with(0).complains(&["its copy at the start of the file was used"]);
    world.file("raw.vhd", &vhd);
    world.run(&["backup", "-r", "repo", "raw.vhd", "--source-format", "raw", "--stick", "raw"]).ends_with(0);
    restore(&world, "back", &["--format", "raw"]);
    assert!(world.read("back") == vhd, "as it stands, footer and all");
    let list = world.json(&["snapshots", "-r", "repo"], 0);
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    world.file("plain.img", &disk());
    let run = world.run(&["backup", "-r", "repo", "plain.img", "--source-format", "vhdx"]);
    run.ends_with(1).complains(&["plain.img is not a VHDX"]);
}

#[test]
fn a_far_sparse_disk_costs_what_it_holds() {
    let world = World::new();
    let mut model = Model::new(60 << 30);
    for part in 0..16 {
        model.write(part * (3 << 30), &noise(1 << 20, part));
    }
    world.file("sparse.vhdx", &build::image(&model, MIB, 512, false));
    let document = world.json(&["backup", "-r", "repo", "sparse.vhdx"], 0);
    assert_eq!(document["bytes_source"], 60_u64 << 30);
    assert!(document["bytes_read"].as_u64().unwrap() <= 16 << 20, "{document}");
    let restored = restore(&world, "back.vhdx", &[]);
    // Structures, and the blocks.
    assert!(restored["bytes_file"].as_u64().unwrap() <= 21 << 20, "{restored}");
    let back = fs::File::open(world.path("back.vhdx")).unwrap();
    assert!(back.metadata().unwrap().len() <= 21 << 20);
}
