//! A second reader, in Python, that knows nothing but `format-spec/`, reads what the program writes.
//!
//! `restore.py` beside this file shares no code with the program. That it restores the same bytes shows that the chapters are
//! enough, and that the program writes what they say. It runs with `SHEAF_TEST_PYTHON`, an interpreter that has its packages
//! (`pip install cryptography blake3 argon2-cffi zstandard` in an environment of its own), or else with `python3`.
//!
//! Always true here:
//! - Repositories are made through the binary, with a password, a cache and a home that belong to the test.
//! - The reader ends with the disk, or with status 1 and one line that begins with `refused:`, and then with no file. Anything
//!   else, such as an exception of Python's, fails the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use sheaf::ops::demo::{make_stick, use_stick};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

mod roles;
mod sessions;

const PASSWORD: &str = "correct horse battery staple";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/independent");
const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/format-spec");

/// A Python with the packages of the reader; says so where there is none.
fn python() -> Option<OsString> {
    let python = std::env::var_os("SHEAF_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(&python).args(["-c", "import cryptography, blake3, argon2, zstandard"]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {} lacks cryptography, blake3, argon2-cffi or zstandard", python.display());
    None
}

/// A folder with a repository, `repo`, that the binary made, and the other reader.
struct World {
    folder: TempDir,
    python: OsString,
}

impl World {
    /// `None` where the other reader does not run.
    fn new(init: &[&str]) -> Option<Self> {
        let world = Self { python: python()?, folder: TempDir::with_prefix("sheaf-independent-").unwrap() };
        world.sheaf(&[&["init", "--password-memory", "8"], init].concat());
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary, which must do its work, and gives its JSON document.
    fn sheaf(&self, arguments: &[&str]) -> serde_json::Value {
        self.sheaf_as(&[("SHEAF_PASSWORD", PASSWORD)], arguments)
    }

    /// The same with other secrets in its environment.
    fn sheaf_as(&self, secrets: &[(&str, &str)], arguments: &[&str]) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf"));
        command.arg("--json").args(["--repo", "repo", "--cache-dir", "cache"]).args(arguments);
        command.current_dir(self.folder.path()).env_clear().env("HOME", self.folder.path());
        let output = command.envs(secrets.iter().copied()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Backs a disk up and gives the snapshot's id.
    fn backup(&self, disk: &str, more: &[&str]) -> String {
        let document = self.sheaf(&[&["backup", disk], more].concat());
        document["snapshot"].as_str().unwrap().to_owned()
    }

    /// What the binary restores.
    fn restored(&self, snapshot: &str) -> Vec<u8> {
        self.sheaf(&["restore", snapshot, "--to", "ours.img", "--force"]);
        fs::read(self.path("ours.img")).unwrap()
    }

    /// What the other reader restores, or why it refuses.
    fn read_by_another(&self, snapshot: &str) -> Result<Vec<u8>, String> {
        self.read_as(&[("SHEAF_PASSWORD", PASSWORD)], snapshot)
    }

    /// The same with other secrets in its environment.
    fn read_as(&self, secrets: &[(&str, &str)], snapshot: &str) -> Result<Vec<u8>, String> {
        let out = self.path("theirs.img");
        let read = self.ask_another(secrets, &[snapshot.as_ref(), out.as_os_str()]);
        assert_eq!(out.exists(), read.is_ok(), "whether there is a file after: {read:?}");
        read.map(|_| {
            let bytes = fs::read(&out).unwrap();
            fs::remove_file(&out).unwrap();
            bytes
        })
    }

    /// What the other reader prints about the repository, or why it refuses.
    fn ask_another(&self, secrets: &[(&str, &str)], arguments: &[&OsStr]) -> Result<String, String> {
        let mut command = reader(&self.python);
        command.arg(self.path("repo")).args(arguments).current_dir(self.folder.path());
        command.env_remove("SHEAF_PASSWORD").env_remove("SHEAF_KEY_FILE").envs(secrets.iter().copied());
        let output = command.output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        let error = String::from_utf8(output.stderr).unwrap();
        let is_one_line = error.starts_with("refused: ") && error.lines().count() == 1;
        assert!(output.status.code() == Some(1) && is_one_line, "{}: {error}", output.status);
        Err(error)
    }

    /// Every object of the repository, by its path.
    fn objects(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.path("repo")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

/// The other reader, which leaves no compiled files behind.
fn reader(python: &OsString) -> Command {
    let mut command = Command::new(python);
    command.arg("-B").arg(Path::new(FOLDER).join("restore.py"));
    command
}

/// Fails where two disks differ, and says where, instead of printing them.
#[track_caller]
fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    let differs = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!((differs, found.len()), (None, expected.len()), "{what}: the first byte that differs, and the length");
}

/// Bytes that look random and are the same each time.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(step).collect();
    bytes.truncate(count);
    bytes
}

/// A disk without any file system: noise, zeros, text, the same noise again, and an odd end.
fn plain_disk(megabytes: usize) -> Vec<u8> {
    let part = noise(megabytes << 20, 7);
    let text = b"a line of text that compresses well\n".repeat(9000);
    [part.as_slice(), &vec![0; 700_000], &text, &part[..part.len() / 2], &[0; 4096], &noise(1235, 8)].concat()
}

#[test]
fn another_reader_restores_the_snapshots_of_a_stick() {
    let Some(world) = World::new(&[]) else { return };
    let stick = world.path("stick.img");
    make_stick(&stick, 0x1234_abcd).unwrap();
    // The end of the disk is neither that of a block nor that of a sector.
    fs::File::options().append(true).open(&stick).unwrap().write_all(&noise(1235, 3)).unwrap();
    let first = world.backup("stick.img", &["--stick", "ana", "--tag", "weekly"]);
    use_stick(&stick).unwrap();
    let second = world.backup("stick.img", &["--stick", "ana"]);
    let everything = world.backup("stick.img", &["--stick", "ben", "--include-free", "--label", "Ben's"]);

    let mut disks = BTreeMap::new();
    for snapshot in [&first, &second, &everything] {
        let found = world.read_by_another(&snapshot[..12]).unwrap();
        assert_same(&found, &world.restored(snapshot), snapshot);
        disks.insert(snapshot, found);
    }
    assert_ne!(disks[&first], disks[&second]);
    assert_same(&disks[&everything], &fs::read(stick).unwrap(), "with everything that is free");
}

#[test]
fn another_reader_restores_high_trees_and_a_container() {
    // Small chunks and packs make a data tree of two levels, many packs, and a reference list of several chunks.
    let Some(world) = World::new(&["--chunk-size", "4", "--pack-size", "1"]) else { return };
    let disk = plain_disk(8);
    fs::write(world.path("plain.img"), &disk).unwrap();
    let snapshot = world.backup("plain.img", &["--layout", "none"]);
    assert!(world.objects().len() > 10, "{:?}", world.objects());
    assert_same(&world.read_by_another(&snapshot).unwrap(), &disk, "a disk without a file system");

    // A container holds whole sectors.
    fs::write(world.path("sectors.img"), &disk[..disk.len() / 512 * 512]).unwrap();
    let snapshot = world.backup("sectors.img", &[]);
    world.sheaf(&["restore", &snapshot, "--to", "disk.vhdx"]);
    let in_container = world.backup("disk.vhdx", &[]);
    assert_same(&world.read_by_another(&in_container).unwrap(), &disk[..disk.len() / 512 * 512], "a VHDX");
}

#[test]
fn another_reader_computes_the_same_parity() {
    // By finding the polynomial, where the program transforms: objects of less than a sector, of a few, and of several codewords.
    let Some(world) = World::new(&["--parity", "30"]) else { return };
    fs::write(world.path("plain.img"), noise(150_000, 4)).unwrap();
    world.backup("plain.img", &[]);
    let said = world.ask_another(&[], &["--parity".as_ref()]).unwrap();
    let shapes: Vec<Vec<&str>> = said.lines().map(|line| line.split(' ').collect()).collect();
    for kind in ["config", "keys", "packs", "index", "snapshots", "audit"] {
        assert!(shapes.iter().any(|shape| shape[0] == kind), "no parity of {kind}: {said}");
    }
    let several = |shape: &Vec<&str>| shape[0] == "packs" && shape[2] == "4" && shape[3] == "10";
    assert!(shapes.iter().any(several), "no pack of four codewords: {said}");

    let pack = world.objects().into_iter().find(|path| path.components().any(|part| part.as_os_str() == "packs"));
    fs::remove_file(pack.unwrap()).unwrap();
    let error = world.ask_another(&[], &["--parity".as_ref()]).unwrap_err();
    assert!(error.contains("of no object"), "{error}");
}

#[test]
fn another_reader_restores_an_empty_disk_of_zeros() {
    let Some(world) = World::new(&[]) else { return };
    fs::write(world.path("zeros.img"), vec![0; 100_001]).unwrap();
    let snapshot = world.backup("zeros.img", &[]);
    assert_same(&world.read_by_another(&snapshot).unwrap(), &[0; 100_001], "zeros");
}

#[test]
fn another_reader_gives_no_wrong_bytes_after_damage() {
    let Some(world) = World::new(&[]) else { return };
    let disk = plain_disk(1);
    fs::write(world.path("plain.img"), &disk).unwrap();
    let snapshot = world.backup("plain.img", &[]);
    fs::write(world.path("other.img"), noise(5000, 9)).unwrap();
    world.backup("other.img", &[]);
    let read = || world.read_by_another(&snapshot);
    assert_same(&read().unwrap(), &disk, "before any damage");

    let mut refused = BTreeMap::new();
    for object in world.objects() {
        let bytes = fs::read(&object).unwrap();
        let kind = object.strip_prefix(world.path("repo")).unwrap().components().next().unwrap();
        let kind = kind.as_os_str().to_str().unwrap().to_owned();
        // Its parity has the same id, and a reader that mends nothing has no use for that.
        let is_asked_for = kind == "snapshots" && object.ends_with(&snapshot);
        let at_risk = ["config", "keys", "index", "audit"].contains(&kind.as_str()) || is_asked_for;
        for at in [8, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let what = format!("byte {at} of {}", object.display());
            fs::write(&object, &damaged).unwrap();
            refused.entry(kind.clone()).or_insert(0);
            match read() {
                Ok(found) => {
                    assert_same(&found, &disk, &what);
                    assert!(!at_risk, "{what} is not noticed");
                }
                Err(_) => *refused.get_mut(&kind).unwrap() += 1,
            }
            // With the name that goes with its bytes, the seals have to notice.
            if kind != "config" {
                let forged = object.with_file_name(blake3::hash(&damaged).to_hex().as_str());
                fs::rename(&object, &forged).unwrap();
                let prefix = if is_asked_for { forged.file_name().unwrap() } else { snapshot.as_ref() };
                match world.read_by_another(prefix.to_str().unwrap()) {
                    Ok(found) => {
                        assert_same(&found, &disk, &format!("{what}, forged"));
                        assert!(!at_risk, "{what}, forged, is not noticed");
                    }
                    Err(_) => *refused.get_mut(&kind).unwrap() += 1,
                }
                fs::remove_file(&forged).unwrap();
            }
            fs::write(&object, &bytes).unwrap();
        }
    }
    for kind in ["config", "keys", "packs", "index", "snapshots", "audit"] {
        assert!(refused.get(kind).is_some_and(|&count| count > 0), "no damage in `{kind}` was refused: {refused:?}");
    }
    assert_same(&read().unwrap(), &disk, "after all damage was undone");
}

#[test]
fn another_reader_wants_the_password() {
    let Some(world) = World::new(&[]) else { return };
    fs::write(world.path("small.img"), noise(5000, 9)).unwrap();
    let snapshot = world.backup("small.img", &[]);
    let error = world.read_as(&[("SHEAF_PASSWORD", "another one")], &snapshot).unwrap_err();
    assert!(error.contains("the seal does not open"), "{error}");
}

#[test]
fn another_reader_refuses_the_example_with_any_byte_changed() {
    let Some(python) = python() else { return };
    let output = reader(&python).arg("--damage").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    eprintln!("{}", String::from_utf8_lossy(&output.stdout).trim());
}

/// Runs the comparison with the chapters in a folder.
fn vectors(python: &OsString, spec: &Path) -> Output {
    reader(python).arg("--vectors").arg(spec).output().unwrap()
}

#[test]
fn another_reader_agrees_with_every_example_and_known_answer() {
    let Some(python) = python() else { return };
    let output = vectors(&python, Path::new(SPEC));
    assert!(output.status.success(), "{output:?}");
    eprintln!("{}", String::from_utf8_lossy(&output.stdout).trim());
}

#[test]
fn a_chapter_that_says_something_else_is_noticed() {
    let Some(python) = python() else { return };
    // Of each chapter one thing: a digit of a dump, a constant, a known answer, a number in a sentence, a new example.
    let changes = [
        ("README", "`fa1eaa53", "`fa1eaa54"),
        ("audit", "bytes of `bb`", "bytes of `ba`"),
        ("certificate", "bytes of `77`", "bytes of `78`"),
        ("chunk", "24 94 cc", "24 94 cd"),
        ("config", "| 8388608 |", "| 8388607 |"),
        ("index", "of `99`", "of `98`"),
        ("keys", "`0d7355a8", "`0d7355a9"),
        ("manifest", "1224 2205", "1224 2206"),
        ("names", "sessions/4d", "session/4d"),
        ("object", "1 | kind", "1 | kind |\n\n```hex name=object-new\n0000  00\n```\n\n| "),
        ("pack", "at 64, 181", "at 64, 182"),
        ("retired", "A retirement of 1 795", "A retirement of 1 796"),
        ("session", "Process 4711", "Process 4712"),
        ("parity", "(1002d)", "(1002b)"),
        ("signature", "signature: index segment", "signature: segment"),
        ("snapshot", "394 559", "394 560"),
        ("tree", "spans 5 and 4096", "spans 5 and 4097"),
    ];
    for (chapter, old, new) in changes {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(SPEC).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let path = folder.path().join(format!("{chapter}.md"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{chapter} has no `{old}`");
        fs::write(&path, text.replacen(old, new, 1)).unwrap();
        let output = vectors(&python, folder.path());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("differs: "), "{chapter}, {old}: {output:?}");
    }
}
