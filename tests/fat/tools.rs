//! Volumes made by dosfstools, mtools and exfatprogs. A test that needs one that is not installed says so and passes.

use super::check::assert_disjoint;
use super::{files, notes, total};
use sheaf::disk::file_write_all_at;
use sheaf::image::RawDisk;
use sheaf::layout::Claims;
use sheaf::layout::exfat::ExFatVolume;
use sheaf::layout::fat::{FatKind, FatVolume};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// Runs a program and gives what it printed; `None`, and a word about it, where it is not installed.
pub(super) fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    // A label with an umlaut is one in this locale, whatever the machine's is; FAT has no time zones.
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("MTOOLS_SKIP_CHECK", "1");
    let Ok(output) = command.output() else {
        eprintln!("skipped: `{program}` does not run here");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {text}", arguments.join(" "));
    Some(text)
}

pub(super) fn sparse(path: &Path, size: u64) {
    File::create(path).and_then(|file| file.set_len(size)).expect("created");
}

/// Bytes that occur once: a count, and a seed in each line.
pub(super) fn content(seed: usize, length: usize) -> Vec<u8> {
    (0..).flat_map(|line| format!("file {seed} line {line}\n").into_bytes()).take(length).collect()
}

/// Makes a volume with files in several directories, some of them in parts, and compares.
fn made_by_mtools(options: &[&str], size: u64, kind: FatKind) -> Option<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("fat.img");
    let image_name = image.to_str().expect("text");
    sparse(&image, size);
    let mut arguments = vec!["-n", "STICK", "-i", "1234abcd"];
    arguments.extend(options);
    arguments.push(image_name);
    run("mkfs.fat", &arguments)?;
    let put = |index: usize, length: usize, name: &str| {
        let source = folder.path().join("source");
        fs::write(&source, content(index, length)).expect("written");
        run("mcopy", &["-o", "-i", image_name, source.to_str().expect("text"), &format!("::{name}")])
    };
    run("mmd", &["-i", image_name, "::one", "::one/two", "::Long name of a directory"])?;
    let lengths = [1, 511, 512, 513, 2048, 4096, 5000, 20_000, 65_536, 100_001];
    let mut kept = Vec::new();
    for (index, length) in lengths.into_iter().enumerate() {
        for (place, folder) in ["", "one/", "one/two/", "Long name of a directory/"].into_iter().enumerate() {
            let number = index * 10 + place;
            put(number, length, &format!("{folder}Some file {number}.txt"))?;
            kept.push((number, length, format!("{folder}Some file {number}.txt")));
        }
    }
    // Holes that longer files go into, in parts.
    for (number, _, name) in kept.extract_if(.., |(number, length, _)| *number % 10 == 1 && *length < 50_000) {
        assert!(number > 0);
        run("mdel", &["-i", image_name, &format!("::{name}")])?;
    }
    if kind == FatKind::Fat32 {
        // The hint of where to look for free clusters, which is behind all holes. 4096 is the other size of a sector here.
        let sector = if options.contains(&"4096") { 4096 } else { 512 };
        let file = File::options().write(true).open(&image).expect("opens");
        file_write_all_at(&file, &[0xff; 4], sector + 492).expect("written");
    }
    put(900, 150_000, "in parts.bin")?;
    kept.push((900, 150_000, String::new()));
    put(901, 0, "empty.txt")?;
    let many: Vec<usize> = (1000..1200).collect();
    for number in &many {
        fs::write(folder.path().join(format!("many {number}")), content(*number, 600)).expect("written");
        kept.push((*number, 600, String::new()));
    }
    let sources: Vec<_> = many.iter().map(|number| folder.path().join(format!("many {number}"))).collect();
    let mut arguments = vec!["-i", image_name];
    arguments.extend(sources.iter().map(|path| path.to_str().expect("text")));
    arguments.push("::one/two");
    run("mcopy", &arguments)?;

    let disk = RawDisk::open(&image).expect("opens");
    let volume = FatVolume::open(&disk).expect("sound").expect("FAT");
    let facts = volume.facts();
    assert_eq!((facts.kind, facts.serial, facts.label.as_deref()), (kind, 0x1234_abcd, Some("STICK")));
    let mut claims = Claims::new();
    volume.claim(&mut claims).expect("claimed");
    assert_disjoint(&claims, size);
    assert!(!claims.doubts_free() && claims.notes().is_empty(), "{}", notes(&claims));
    let mut found = files(&disk, &claims);
    let mut expected: Vec<_> = kept.iter().map(|(number, length, _)| content(*number, *length)).collect();
    found.sort();
    expected.sort();
    assert!(found == expected, "{} files, expected {}", found.len(), expected.len());
    assert!(claims.streams().any(|(_, extents)| extents.len() > 2), "no file is in parts");

    // "image: 242 files, 700/8167 clusters".
    let report = run("fsck.fat", &["-n", image_name])?;
    let used = report.lines().find_map(|line| line.strip_suffix(" clusters")?.rsplit(' ').next());
    let (used, all) = used.and_then(|used| used.split_once('/')).expect("a count of clusters");
    let (used, all): (u64, u64) = (used.parse().expect("a number"), all.parse().expect("a number"));
    assert_eq!(u64::from(facts.clusters), all);
    assert_eq!(total(claims.free_extents()), (all - used) * u64::from(facts.cluster_size), "{report}");
    Some(())
}

#[test]
fn fat_volumes_of_the_usual_tools_are_read() {
    made_by_mtools(&["-F", "12", "-s", "4"], 8 << 20, FatKind::Fat12);
    made_by_mtools(&["-F", "16", "-s", "1"], 16 << 20, FatKind::Fat16);
    made_by_mtools(&["-F", "16", "-s", "4", "-f", "1"], 64 << 20, FatKind::Fat16);
    made_by_mtools(&["-F", "32", "-s", "1"], 64 << 20, FatKind::Fat32);
    // mtools takes a FAT32 with fewer clusters for a FAT16.
    made_by_mtools(&["-F", "32", "-s", "8"], 300 << 20, FatKind::Fat32);
    made_by_mtools(&["-F", "32", "-S", "4096", "-s", "1"], 300 << 20, FatKind::Fat32);
}

#[test]
fn exfat_volumes_of_the_usual_tools_are_read() {
    for (options, size, cluster) in [
        (&["-c", "4K"][..], 64_u64 << 20, 4096),
        (&["-c", "32K", "-b", "1M"], 256 << 20, 32768),
        (&["-c", "512"], 8 << 20, 512),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("exfat.img");
        let name = image.to_str().expect("text");
        sparse(&image, size);
        let arguments = [options, &["-L", "Stöck", name]].concat();
        let Some(_) = run("mkfs.exfat", &arguments) else { return };
        let disk = RawDisk::open(&image).expect("opens");
        let volume = ExFatVolume::open(&disk).expect("sound").expect("exFAT");
        let facts = volume.facts();
        assert_eq!((facts.cluster_size, facts.label.as_deref()), (cluster, Some("Stöck")));
        let mut claims = Claims::new();
        volume.claim(&mut claims).expect("claimed");
        assert_disjoint(&claims, size);
        assert!(!claims.doubts_free() && claims.notes().is_empty(), "{}", notes(&claims));
        let Some(report) = run("dump.exfat", &[name]) else { return };
        let free = report.lines().find_map(|line| line.strip_prefix("Free Clusters:")).expect("a count").trim();
        assert_eq!(total(claims.free_extents()), free.parse::<u64>().expect("a number") * cluster, "{report}");
    }
}
