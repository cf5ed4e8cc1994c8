//! Partition tables made by sfdisk and sgdisk, and what sfdisk says of them.
//!
//! A test that needs a program that is not installed says so and passes. `SHEAF_TEST_DISKS`, a list of paths with colons between them,
//! names further images to compare.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

use serde_json::Value;
use sheaf::disk::{DiskOffset, Part, ReadAt};
use sheaf::image::RawDisk;
use sheaf::layout::exfat::ExFatVolume;
use sheaf::layout::fat::FatVolume;
use sheaf::layout::partitions::{PartitionKind, PartitionTable, Scheme, partitions, volume_kind};
use sheaf::layout::{Claims, Identity, identify};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program with an input and gives what it printed; `None`, and a word about it, where it is not installed.
fn run(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: `{program}` does not run here");
        return None;
    };
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {text}{error}", arguments.join(" "));
    Some(text)
}

/// A table in the way sfdisk tells it: number, first byte, bytes, type, name, and the GUID of the partition.
type Row = (u64, u64, u64, String, Option<String>, Option<String>);

fn by_sfdisk(path: &str, sector_size: u64) -> Option<Vec<Row>> {
    let text = run("sfdisk", &["--json", path], "")?;
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let rows = json["partitiontable"]["partitions"].as_array().expect("partitions").iter().filter_map(|row| {
        let number = row["node"].as_str()?.strip_prefix(path)?.trim_start_matches('p').parse().ok()?;
        let text = |key: &str| row[key].as_str().map(str::to_lowercase);
        let kind = text("type")?;
        let (start, size) = (row["start"].as_u64()?, row["size"].as_u64()?);
        let name = row["name"].as_str().map(str::to_owned);
        Some((number, start * sector_size, size * sector_size, kind, name, text("uuid")))
    });
    // Extended partitions hold others and are not told here.
    let mut rows: Vec<Row> = rows.filter(|row| !matches!(row.3.as_str(), "5" | "f" | "85")).collect();
    rows.sort_by_key(|row| row.1);
    Some(rows)
}

fn by_us(table: &PartitionTable) -> Vec<Row> {
    let rows = table.partitions.iter().map(|partition| {
        let (kind, id) = match partition.kind {
            PartitionKind::Mbr(byte) => (format!("{byte:x}"), None),
            PartitionKind::Gpt(guid) => (Identity::Gpt(guid).to_string().replacen("gpt-", "", 1), partition.id),
        };
        let id = id.map(|id| Identity::Gpt(id).to_string().replacen("gpt-", "", 1));
        let extent = partition.extent;
        (u64::from(partition.number), extent.start.0, extent.length, kind, partition.name.clone(), id)
    });
    rows.collect()
}

/// Reads the table of an image and compares. The GUIDs of partitions in an MBR are made up by sfdisk, and left out.
fn compare(path: &str) -> Option<PartitionTable> {
    let disk = RawDisk::open(Path::new(path)).expect("opens");
    let table = partitions(&disk).expect("readable");
    let mut theirs = by_sfdisk(path, u64::from(table.sector_size))?;
    if table.scheme == Scheme::Mbr {
        theirs.iter_mut().for_each(|row| row.5 = None);
    }
    assert_eq!(by_us(&table), theirs, "{path}");
    assert!(table.notes.is_empty(), "{:?}", table.notes);
    Some(table)
}

fn image(size: u64) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    File::create(&path).and_then(|file| file.set_len(size)).expect("created");
    let path = path.to_str().expect("text").to_owned();
    (folder, path)
}

#[test]
fn tables_of_sfdisk_are_read_as_it_reads_them() {
    let gpt =
        "label: gpt\nsize=4MiB,name=\"First\"\nsize=1MiB,type=uefi,name=\"Größe\"\n7: start=20MiB,size=3MiB\nsize=+\n";
    let mbr = "label: dos\nsize=4MiB,type=c,bootable\nsize=20MiB,type=5\nsize=1MiB,type=83\nsize=5MiB,type=7\nsize=2MiB,type=83\n\
               size=3MiB,type=b\nsize=4MiB,type=82\n";
    let linear = "label: dos\n4: start=2048,size=4096,type=7\n2: start=10240,size=40960,type=f\n5: size=4096,type=7\n";
    for (script, scheme) in [(gpt, Scheme::Gpt), (mbr, Scheme::Mbr), (linear, Scheme::Mbr)] {
        let (_folder, path) = image(64 << 20);
        let Some(_) = run("sfdisk", &["--quiet", &path], script) else { return };
        let Some(table) = compare(&path) else { return };
        assert_eq!((table.scheme, table.sector_size), (scheme, 512), "{script}");
        let disk = RawDisk::open(Path::new(&path)).expect("opens");
        assert_ne!(identify(&disk).expect("readable"), Identity::None);
    }
}

#[test]
fn tables_of_sgdisk_are_read_from_either_copy() {
    let (_folder, path) = image(32 << 20);
    let arguments = ["-n", "3:2048:4095", "-c", "3:Third", "-n", "1:8192:+4M", "-t", "1:ef00", "-h", "1:EE", &path];
    let Some(_) = run("sgdisk", &arguments, "") else { return };
    let disk = RawDisk::open(Path::new(&path)).expect("opens");
    let hybrid = partitions(&disk).expect("readable");
    assert_eq!((hybrid.scheme, hybrid.partitions.len(), hybrid.notes.len()), (Scheme::Hybrid, 2, 1));
    let file = File::options().write(true).open(&path).expect("opens");
    sheaf::disk::file_write_all_at(&file, &[0; 512], 512).expect("written");
    let copy = partitions(&disk).expect("readable");
    assert_eq!((copy.scheme, &copy.partitions), (Scheme::Hybrid, &hybrid.partitions));
    assert_eq!(copy.notes.len(), 2, "{:?}", copy.notes);
    sheaf::disk::file_write_all_at(&file, &[0; 512], (32 << 20) - 512).expect("written");
    let none = partitions(&disk).expect("readable");
    assert_eq!((none.scheme, none.partitions.len()), (Scheme::Unknown, 0));
}

/// Images that are named from outside; the FAT and exFAT volumes on them are claimed, too.
#[test]
fn named_disks_are_read_as_sfdisk_reads_them() {
    let Ok(paths) = std::env::var("SHEAF_TEST_DISKS") else {
        eprintln!("skipped: SHEAF_TEST_DISKS names no images");
        return;
    };
    for path in paths.split(':') {
        let Some(table) = compare(path) else { return };
        let disk = RawDisk::open(Path::new(path)).expect("opens");
        eprintln!("{path}: {:?}, sectors of {} bytes", table.scheme, table.sector_size);
        for partition in &table.partitions {
            let part = Part::new(&disk, partition.extent);
            let kind = volume_kind(&part).expect("readable");
            let mut claims = Claims::new();
            let fat = FatVolume::open(&part).expect("sound");
            let exfat = ExFatVolume::open(&part).expect("sound");
            if let Some(fat) = &fat {
                fat.claim(&mut claims).expect("claimed");
                eprintln!("  {:?}", fat.facts());
            } else if let Some(exfat) = &exfat {
                exfat.claim(&mut claims).expect("claimed");
                eprintln!("  {:?}", exfat.facts());
            }
            let bytes = |extents: &[sheaf::disk::Extent]| extents.iter().map(|extent| extent.length).sum::<u64>();
            let streams: u64 = claims.streams().map(|(_, extents)| bytes(extents)).sum();
            eprintln!(
                "  {} {:?}: {kind}; {} streams of {streams} bytes, slack {}, free {}, in doubt: {}, notes: {:?}",
                partition.number,
                partition.extent,
                claims.streams().count(),
                bytes(claims.slack_extents()),
                bytes(claims.free_extents()),
                claims.doubts_free(),
                claims.notes()
            );
            let mut first = [0; 1];
            part.read_at(DiskOffset(0), &mut first).expect("inside");
        }
    }
}
