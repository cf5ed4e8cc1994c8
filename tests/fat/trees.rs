//! Trees of files that mtools put into FAT volumes, and what mtools finds there.

use super::tools::{content, run, sparse};
use super::walk::{self, Walk, bytes};
use sheaf::disk::{DiskOffset, Extent, Part};
use sheaf::image::RawDisk;
use sheaf::layout::FileSystem;
use sheaf::layout::fat::FatFiles;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Everything in a volume that has no problems.
pub(super) fn all(files: &dyn FileSystem) -> Walk {
    let walk = walk::walk(files, 100, usize::MAX);
    assert!(walk.problems.is_empty(), "{:?}", walk.problems);
    walk
}

/// Compares each file with that of a folder: bytes, and whole seconds of when they were written; `apart` are the seconds that those
/// may be apart. Gives how many files and folders there are.
pub(super) fn same_as_folder(walk: &Walk, folder: &Path, apart: i64) -> (usize, usize) {
    let mut there = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = format!("/{}", path.strip_prefix(folder).expect("inside").to_str().expect("text"));
            if path.is_dir() {
                folders.push(path.clone());
            }
            there.insert(name, path);
        }
    }
    let mut counts = (0, 0);
    for found in &walk.found {
        let path = there.remove(&found.path).unwrap_or_else(|| panic!("{} is not in the folder", found.path));
        assert_eq!(path.is_dir(), found.content.is_none(), "{}", found.path);
        let Some(content) = &found.content else {
            counts.1 += 1;
            continue;
        };
        counts.0 += 1;
        assert!(fs::read(&path).expect("readable") == bytes(&**content), "{} has other bytes", found.path);
        let modified = path.metadata().and_then(|facts| facts.modified()).expect("a time");
        let seconds = modified.duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs() as i64;
        let told = found.facts.modified.expect("a time").seconds;
        assert!((told - seconds).abs() <= apart, "{}: {told}, not {seconds}", found.path);
    }
    assert!(there.is_empty(), "not found: {:?}", there.keys());
    counts
}

/// Compares a FAT volume with what mtools finds there: names, bytes, times and attributes. Gives how many files and folders there are.
pub(super) fn same_as_mtools(image: &Path, volume: Extent) -> Option<(usize, usize)> {
    let name = format!("{}@@{}", image.to_str().expect("text"), volume.start);
    let disk = RawDisk::open(image).expect("opens");
    let walk = all(&FatFiles::open(Arc::new(Part::new(disk, volume))).expect("sound").expect("FAT"));
    if walk.found.is_empty() {
        return run("mdir", &["-a", "-i", &name])?.contains("No files").then_some((0, 0));
    }
    let out = tempfile::tempdir().expect("a folder");
    run("mcopy", &["-s", "-m", "-n", "-i", &name, "::/", out.path().to_str().expect("text")])?;
    // "  A   HR     ::/some/file".
    for line in run("mattrib", &["-/", "-i", &name, "::*"])?.lines() {
        let (letters, path) = line.split_once("::").expect("a path");
        let expected = [('A', 0x20), ('S', 4), ('H', 2), ('R', 1)];
        let expected = expected.iter().filter(|(letter, _)| letters.contains(*letter)).map(|(_, bit)| bit).sum::<u32>();
        let found = walk.found.iter().find(|found| found.path == path).unwrap_or_else(|| panic!("no {path}"));
        assert_eq!(found.facts.attributes & 0x27, expected, "{path}");
    }
    Some(same_as_folder(&walk, out.path(), 0))
}

/// Makes a tree, puts it into a volume, takes some of it away, and puts more into the gaps.
fn made_by_mtools(options: &[&str], size: u64) -> Option<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("fat.img");
    let name = image.to_str().expect("text");
    sparse(&image, size);
    run("mkfs.fat", &[options, &["-n", "STICK", name]].concat())?;
    let tree = folder.path().join("tree");
    let deep = (0..20).fold(tree.join("deep"), |path, level| path.join(format!("level {level}")));
    for folder in ["UPPER", "Straße nach Łódź", "日本語 Кириллица", "many files"]
        .map(|name| tree.join(name))
        .iter()
        .chain([&deep])
    {
        fs::create_dir_all(folder).expect("made");
    }
    let mut seed = 0;
    let mut write = |path: &Path, length: usize| {
        seed += 1;
        fs::write(path, content(seed, length)).expect("written");
        // An even second, which is what FAT can say; a different one each.
        let time = UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000 + seed as u64 * 1_234_568);
        fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
    };
    // A longer name does not fit into the one cluster by which mtools makes a directory longer.
    let names = [
        "A",
        "B.C",
        "NAME.TXT",
        "name.txt",
        "Name.ext",
        "NAME2.txt",
        ".hidden",
        "no.ext.at.all",
        "Grüße.txt",
        "ÄÖÜ.TXT",
        "ñandú grande",
        "文字.データ",
        "with  blanks  inside",
        "+,;=[]",
        "exactly13char",
        "exactly twenty-six chars..",
        &"n".repeat(150),
    ];
    for (index, file) in names.into_iter().enumerate() {
        write(&tree.join(file), index * 301);
        write(&tree.join("日本語 Кириллица").join(file), index * 37);
    }
    for (index, length) in [0, 1, 511, 512, 513, 4096, 65_537, 100_001].into_iter().enumerate() {
        write(&deep.join(format!("Some file {index}.bin")), length);
    }
    (0..250).for_each(|index| {
        write(&tree.join("many files").join(format!("One of many files, number {index}.txt")), index % 5);
    });
    for index in 0..40 {
        write(&tree.join(format!("hole {index}")), 5000);
        write(&tree.join("UPPER").join(format!("kept {index}")), 3000);
    }
    write(&folder.path().join("in parts"), 150_000);
    let copy = |from: &[&Path]| {
        let from: Vec<&str> = from.iter().map(|path| path.to_str().expect("text")).collect();
        run("mcopy", &[&["-s", "-m", "-n", "-i", name], &from[..], &["::"]].concat())
    };
    let mut entries: Vec<_> =
        fs::read_dir(&tree).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    // FAT has no two names that are the same but for case.
    entries.retain(|path| !path.ends_with("name.txt"));
    copy(&entries.iter().map(PathBuf::as_path).filter(|path| !path.ends_with("日本語 Кириллица")).collect::<Vec<_>>())?;
    fs::remove_file(tree.join("日本語 Кириллица/NAME.TXT")).expect("removed");
    copy(&[&tree.join("日本語 Кириллица")])?;
    for path in entries.iter().filter(|path| path.to_str().is_some_and(|path| path.contains("hole"))).step_by(2) {
        run("mdel", &["-i", name, &format!("::{}", path.file_name().and_then(|name| name.to_str()).expect("text"))])?;
    }
    if options.contains(&"32") {
        // The hint of where to look for free clusters, which is behind all holes.
        let file = fs::File::options().write(true).open(&image).expect("opens");
        sheaf::disk::file_write_all_at(&file, &[0xff; 4], 512 + 492).expect("written");
    }
    copy(&[&folder.path().join("in parts")])?;
    run("mattrib", &["+r", "+h", "-a", "-i", name, "::in parts"])?;
    run("mattrib", &["+s", "-i", name, "::Name.ext"])?;

    let whole = Extent { start: DiskOffset(0), length: size };
    assert_eq!(same_as_mtools(&image, whole)?, (2 * 17 - 2 + 8 + 250 + 80 - 20 + 1, 25));
    let walk = all(&FatFiles::open(Arc::new(RawDisk::open(&image).expect("opens"))).expect("sound").expect("FAT"));
    let parts = walk.found.iter().find(|found| found.path == "/in parts").expect("there");
    assert!(parts.facts.attributes == 3 && (150_000..200_000).contains(&parts.facts.allocated), "{:?}", parts.facts);
    Some(())
}

#[test]
fn trees_in_fat_volumes_are_what_mtools_finds() {
    made_by_mtools(&["-F", "12", "-s", "4", "-r", "512"], 8 << 20);
    made_by_mtools(&["-F", "16", "-s", "1", "-r", "512"], 16 << 20);
    made_by_mtools(&["-F", "32", "-s", "1"], 64 << 20);
    made_by_mtools(&["-F", "32", "-s", "8"], 300 << 20);
}
