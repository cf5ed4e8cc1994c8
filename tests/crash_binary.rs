//! The real program dies, is stopped, runs out of room, or finds a medium that it may not write to.
//!
//! strace kills it at a chosen system call of a chosen kind: writing a pack, syncing it, giving it its name, and the same for
//! the local index. Where strace is not there, and beside it, the program is killed when a number of packs has appeared.
//! After each death, with the cache as the dead program left it:
//! - a check that reads everything finds nothing, and what was committed before restores byte for byte;
//! - the next backup completes and stores no chunk that was durable again, and nothing is left in `tmp/`.
//!
//! Always true here: whenever a signal arrives, the assertions hold; a run that was faster than the signal has to have
//! committed. Tests that need strace, or to mount a small disk, say so where they cannot.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::binary::{Ended, Program, SmallDisk, backup, can_trace};
use common::sources::noise;
use common::{Fixture, PACK_SIZE, copy_folder, pace};
use sheaf::ids::ObjectId;
use sheaf::storage::local::LocalStorage;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A repository in a folder with one snapshot, and an image that is to be backed up next.
struct Scene {
    machine: Fixture,
    repo: PathBuf,
    cache: PathBuf,
    image: PathBuf,
    old: (ObjectId, Vec<u8>),
    disk: Vec<u8>,
    copies: u32,
    /// Bytes of packs, and chunks, after the next backup when nothing happens to it.
    clean: (u64, usize),
}

impl Scene {
    fn new(new_bytes: usize) -> Self {
        let place = common::folder();
        let repo = place.path().join("repo");
        let machine = Fixture::make(LocalStorage::create(&repo).expect("a folder"));
        let repo_kept = machine.path("repo");
        let old = noise(1, 200_000);
        let snapshot = machine.backup("old", &old).expect("a backup").snapshot;
        let disk = [&old[50_000..], &vec![0; 300_000], &noise(2, new_bytes)].concat();
        let image = machine.path("new.img");
        std::fs::write(&image, &disk).expect("an image");
        copy_folder(&repo, &repo_kept);
        let cache = machine.cache();
        let mut scene =
            Self { machine, repo: repo_kept, cache, image, old: (snapshot, old), disk, copies: 0, clean: (0, 0) };
        let (program, machine) = scene.copy();
        program.backup(&scene.image, "new").expect(0, "nothing happens");
        let packs = machine.packs();
        scene.clean = (packs.bytes, packs.chunks.len());
        scene
    }

    /// A copy of repository and cache, and a machine that looks at it from outside.
    fn copy(&mut self) -> (Program, Fixture) {
        self.copies += 1;
        let program = Program {
            repo: self.machine.path(&format!("repo-{}", self.copies)),
            cache: self.machine.path(&format!("cache-{}", self.copies)),
        };
        copy_folder(&self.repo, &program.repo);
        copy_folder(&self.cache, &program.cache);
        let machine = Fixture::open(LocalStorage::open(&program.repo).expect("a repository"));
        (program, machine)
    }

    /// What has to hold after a backup has ended in whatever way.
    fn assert_recovers(&self, program: &Program, machine: &Fixture, when: &str) {
        program.check().expect(0, when);
        machine.assert_sound(&[(self.old.0, &self.old.1)], when);
        for snapshot in machine.snapshots() {
            let expected = if snapshot.id == self.old.0 { &self.old.1 } else { &self.disk };
            assert!(machine.restore(snapshot.id).expect(when) == *expected, "{when}");
        }
        let next = program.backup(&self.image, "new").expect(0, when).json();
        let next = ObjectId::parse(next["snapshot"].as_str().expect("an id")).expect("an id");
        let report = machine.assert_sound(&[(self.old.0, &self.old.1), (next, &self.disk)], when);
        assert_eq!(report.unlisted_packs, 0, "{when}");
        let packs = machine.packs();
        assert_eq!((packs.stored_twice(), packs.chunks.len()), (0, self.clean.1), "{when}");
        assert!(packs.bytes <= self.clean.0 + u64::from(PACK_SIZE), "{when}: {} of {:?}", packs.bytes, self.clean);
        assert_eq!(left_over(&program.repo), Vec::<PathBuf>::new(), "{when}");
        let restored = program.cache.join("restored.img");
        program.restore("new:latest", &restored).expect(0, when);
        assert!(std::fs::read(&restored).expect("a file") == self.disk, "{when}");
        for folder in [&program.repo, &program.cache] {
            std::fs::remove_dir_all(folder).expect("a folder");
        }
    }
}

fn left_over(repo: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repo.join("tmp")).expect("a folder").flatten().map(|entry| entry.path());
    entries.filter(|path| path.file_name().is_some_and(|name| name != "publishing")).collect()
}

fn packs_in(repo: &Path) -> usize {
    let folders = std::fs::read_dir(repo.join("packs")).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().count()).sum()
}

/// Starts a backup and waits until so many packs are there, or until it has ended.
fn start_and_wait(program: &Program, image: &Path, packs: usize) -> Child {
    let before = packs_in(&program.repo);
    let mut child = program.command(&[], &backup(image, "new")).spawn().expect("the program starts");
    while packs_in(&program.repo) < before + packs && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    child
}

#[test]
fn a_program_that_is_killed_at_any_system_call_leaves_a_sound_repository() {
    if !can_trace() {
        return;
    }
    let mut scene = Scene::new(1_000_000);
    let mut kills = 0;
    // Every call of each kind in a thread up to some number, then in steps: the local index alone makes hundreds.
    let series: [(&str, Vec<u32>); 7] = [
        ("write", (1..=14).collect()),
        ("fsync", (1..=40).step_by(3).collect()),
        ("link,linkat", (1..=20).collect()),
        ("unlink,unlinkat", (1..=10).step_by(3).collect()),
        ("pwrite64", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89].to_vec()),
        ("fdatasync", (1..=12).collect()),
        ("mkdir", (1..=9).step_by(4).collect()),
    ];
    for (calls, numbers) in series {
        for number in numbers.into_iter().step_by(pace()) {
            let when = format!("killed at {calls} number {number}");
            let (program, machine) = scene.copy();
            let inject = format!("inject={calls}:signal=SIGKILL:when={number}");
            let ended = program.traced(&["-e", &format!("trace={calls}"), "-e", &inject], &backup(&scene.image, "new"));
            let is_killed = ended.status.is_none();
            if is_killed {
                kills += 1;
            } else {
                ended.expect(0, &when);
            }
            scene.assert_recovers(&program, &machine, &when);
            if !is_killed {
                // No thread makes so many of these calls.
                break;
            }
        }
    }
    assert!(kills >= 30 / pace(), "only {kills} runs were killed");
}

#[test]
fn a_program_that_is_killed_when_some_packs_are_there_leaves_a_sound_repository() {
    let mut scene = Scene::new(2_000_000);
    for packs in [1, 2, 4, 7, 11, 16, 17, 22, 28, 31] {
        let (program, machine) = scene.copy();
        let mut child = start_and_wait(&program, &scene.image, packs);
        child.kill().expect("a signal");
        child.wait().expect("an end");
        scene.assert_recovers(&program, &machine, &format!("killed at pack {packs}"));
    }
}

#[test]
fn a_program_that_is_stopped_keeps_what_it_stored_and_exits_with_130() {
    let mut scene = Scene::new(12_000_000);
    if can_trace() {
        // Once, and then at each further pack: the second request ends it at once.
        for when in ["3", "3+"] {
            let (program, machine) = scene.copy();
            let before = packs_in(&program.repo);
            let inject = format!("inject=link,linkat:signal=SIGINT:when={when}");
            let ended = program.traced(&["-e", "trace=link,linkat", "-e", &inject], &backup(&scene.image, "new"));
            let ended = ended.expect(130, when);
            assert!(ended.stderr.contains("what is stored stays usable"), "{ended:#?}");
            assert_eq!(machine.snapshots().len(), 1, "{when}");
            assert!(packs_in(&program.repo) >= before + 2, "{when}: what was stored stays");
            scene.assert_recovers(&program, &machine, &format!("stopped at {when}"));
        }
    }
    let (program, machine) = scene.copy();
    let child = start_and_wait(&program, &scene.image, 1);
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let ended = Ended::of(&child.wait_with_output().expect("an end"));
    if signalled.is_ok_and(|status| status.success()) && ended.status != Some(0) {
        let document = ended.json();
        assert_eq!(document["error"], "interrupted");
        ended.expect(130, "stopped at the first pack");
        assert_eq!(machine.snapshots().len(), 1);
    }
    scene.assert_recovers(&program, &machine, "stopped at the first pack");
}

#[test]
fn two_programs_at_once_with_one_cache_both_commit() {
    let mut scene = Scene::new(1_500_000);
    let other = scene.machine.path("other.img");
    let other_disk = [noise(3, 700_000), noise(2, 900_000)].concat();
    std::fs::write(&other, &other_disk).expect("an image");
    for round in 0..4 {
        let (program, machine) = scene.copy();
        if round % 2 == 1 {
            // Both make the cache.
            std::fs::remove_dir_all(&program.cache).expect("a folder");
        }
        let runs = [(&scene.image, "one"), (&other, "two"), (&scene.image, "three")];
        let children: Vec<_> = runs
            .iter()
            .map(|(image, stick)| program.command(&[], &backup(image, stick)).spawn().expect("the program starts"))
            .collect();
        let made: Vec<_> = children
            .into_iter()
            .map(|child| Ended::of(&child.wait_with_output().expect("an end")).expect(0, "two at once").json())
            .collect();
        let id = |number: usize| ObjectId::parse(made[number]["snapshot"].as_str().expect("an id")).expect("an id");
        let expected = [(id(0), &scene.disk), (id(1), &other_disk), (id(2), &scene.disk)];
        machine.assert_sound(&expected, &format!("round {round}"));
        let restored = program.cache.join("restored.img");
        program.restore("two:latest", &restored).expect(0, "with the common cache");
        assert!(std::fs::read(&restored).expect("a file") == other_disk);
    }
}

/// Runs the backup on small disks, each larger than the one before, until it fits; says how often it did not.
fn fill_up(sizes: impl IntoIterator<Item = u32>, put_on: fn(&mut Program, &Path), expected: &str) {
    let mut scene = Scene::new(1_000_000);
    let mut failures = 0;
    for kilobytes in sizes.into_iter().step_by(pace()) {
        let when = format!("{kilobytes} KiB");
        let Some(small) = SmallDisk::mount(&format!("{kilobytes}k")) else { return };
        let (mut program, _) = scene.copy();
        put_on(&mut program, small.path());
        let machine = Fixture::open(LocalStorage::open(&program.repo).expect("a repository"));
        let ended = program.backup(&scene.image, "new");
        if ended.status == Some(0) {
            break;
        }
        failures += 1;
        let ended = ended.expect(1, &when);
        assert!(ended.stderr.contains("No space left") && ended.stderr.contains(expected), "{when}: {ended:#?}");
        assert_eq!(ended.json()["status"], 1, "{when}");
        machine.assert_sound(&[(scene.old.0, &scene.old.1)], &when);
        assert_eq!(left_over(&program.repo), Vec::<PathBuf>::new(), "{when}: only whole packs take room");
        small.remount("size=32m");
        scene.assert_recovers(&program, &machine, &when);
    }
    assert!(failures >= 10 / pace(), "{failures} disks were too small");
}

#[test]
fn a_medium_that_is_full_is_named_and_room_lets_the_same_command_complete() {
    let put_on = |program: &mut Program, disk: &Path| {
        copy_folder(&program.repo, &disk.join("repo"));
        program.repo = disk.join("repo");
    };
    // From just enough for what is there, with the 256 KiB that it keeps in reserve, in steps of about a pack.
    fill_up((556..).step_by(72), put_on, "make room");
}

#[test]
fn a_cache_without_room_ends_the_backup_and_harms_nothing() {
    let put_on = |program: &mut Program, disk: &Path| program.cache = disk.join("cache");
    fill_up((16..).step_by(12), put_on, "local index");
}

#[test]
fn a_restore_to_a_full_disk_leaves_no_file() {
    let mut scene = Scene::new(1_000_000);
    let Some(small) = SmallDisk::mount("500k") else { return };
    let (program, _) = scene.copy();
    program.backup(&scene.image, "new").expect(0, "a backup");
    let target = small.path().join("restored.img");
    let restore = ["restore".as_ref(), "latest".as_ref(), "--to".as_ref(), target.as_os_str()];
    let ended = program.run(&restore).expect(1, "planned");
    assert!(ended.stderr.contains("larger target"), "{ended:#?}");
    let ended = program.restore("latest", &target).expect(1, "forced");
    assert!(ended.stderr.contains("No space left"), "{ended:#?}");
    assert_eq!(std::fs::read_dir(small.path()).expect("a folder").count(), 0);
}

#[test]
fn a_repository_on_a_read_only_medium_is_listed_checked_and_restored() {
    let mut scene = Scene::new(300_000);
    let Some(small) = SmallDisk::mount("16m") else { return };
    let (mut program, _) = scene.copy();
    copy_folder(&program.repo, &small.path().join("repo"));
    program.repo = small.path().join("repo");
    program.backup(&scene.image, "new").expect(0, "while it can be written to");
    // As it is after a copy that leaves empty folders out.
    std::fs::remove_dir_all(program.repo.join("sessions")).expect("a folder");
    small.remount("ro");
    for is_new in [false, true] {
        if is_new {
            program.cache = scene.machine.path("another cache");
        }
        program.check().expect(0, "check");
        let restored = scene.machine.path("restored.img");
        program.restore("new:latest", &restored).expect(0, "restore");
        assert!(std::fs::read(&restored).expect("a file") == scene.disk);
        let listed = program.run(&["snapshots".as_ref()]).expect(0, "snapshots").json();
        assert!(listed.to_string().contains(&scene.old.0.to_string()), "{listed:#}");
        program.run(&["stats".as_ref()]).expect(0, "stats");
    }
    // With a cache there as well, reading goes on. Whatever has to write says what would help.
    let elsewhere = Program { cache: small.path().join("cache"), ..program.clone() };
    let restored = scene.machine.path("restored.img");
    std::fs::write(&restored, b"another").expect("a file");
    let ended = elsewhere.restore("new:latest", &restored).expect(0, "no place for a cache");
    assert!(ended.stderr.contains("local index") && ended.stderr.contains("in memory"), "{ended:#?}");
    assert!(std::fs::read(&restored).expect("a file") == scene.disk);
    let ended = elsewhere.check().expect(1, "no place for a cache");
    assert!(ended.stderr.contains("local index") && ended.stderr.contains("--cache-dir"), "{ended:#?}");
    let ended = program.backup(&scene.image, "new").expect(1, "a backup");
    assert!(ended.stderr.contains("Read-only file system") && ended.stderr.contains("cannot be written"), "{ended:#?}");
}

/// The same files at another place, where they stay when the first is unmounted.
struct Second(tempfile::TempDir);

impl Second {
    fn of(small: &SmallDisk) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bound = Command::new("mount").arg("--bind").args([small.path(), folder.path()]).status();
        assert!(bound.expect("mount").success());
        Self(folder)
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_medium_that_goes_away_is_named_and_no_snapshot_is_made_and_nothing_is_written_below() {
    let mut scene = Scene::new(12_000_000);
    for packs in [1, 20] {
        let Some(small) = SmallDisk::mount("64m") else { return };
        let second = Second::of(&small);
        let (mut program, _) = scene.copy();
        copy_folder(&program.repo, &small.path().join("repo"));
        program.repo = small.path().join("repo");
        let child = start_and_wait(&program, &scene.image, packs);
        let gone = Command::new("umount").arg("--lazy").arg(small.path()).status();
        assert!(gone.expect("umount").success());
        let ended = Ended::of(&child.wait_with_output().expect("an end"));
        program.repo = second.0.path().join("repo");
        let machine = Fixture::open(LocalStorage::open(&program.repo).expect("a repository"));
        let when = format!("gone at pack {packs}");
        if ended.status != Some(0) {
            let ended = ended.expect(1, &when);
            let text = &ended.stderr;
            assert!(text.contains("unplugged or unmounted") && text.contains("mount it again"), "{when}: {ended:#?}");
            assert!(text.contains("(for packs/") || text.contains("(for index/"), "{when}: {ended:#?}");
            assert_eq!(machine.snapshots().len(), 1, "{when}");
        }
        assert_eq!(std::fs::read_dir(small.path()).expect("a folder").count(), 0, "{when}: the mount point is empty");
        scene.assert_recovers(&program, &machine, &when);
    }
}

#[test]
fn a_medium_that_fails_now_and_then_is_tried_again_and_told() {
    if !can_trace() {
        return;
    }
    let mut scene = Scene::new(300_000);
    // Counted in each thread: the one that writes packs syncs nothing else.
    for (calls, error, when) in [("fsync", "EIO", "1"), ("fsync", "ETIMEDOUT", "3..4")] {
        let (program, machine) = scene.copy();
        let inject = format!("inject={calls}:error={error}:when={when}");
        let ended = program.traced(&["-e", &format!("trace={calls}"), "-e", &inject], &backup(&scene.image, "new"));
        let ended = ended.expect(0, &inject);
        let text = &ended.stderr;
        assert!(text.contains("writing failed") && text.contains("(2 of 6)") && text.contains("packs/"), "{ended:#?}");
        scene.assert_recovers(&program, &machine, &inject);
    }
}

#[test]
fn a_limited_backup_is_a_backup_like_any_other() {
    let mut scene = Scene::new(300_000);
    let (program, machine) = scene.copy();
    let limited = [["--limit-upload", "1G"], ["--limit-download", "500M"]].concat();
    let arguments: Vec<&OsStr> = limited.iter().map(OsStr::new).chain(backup(&scene.image, "new")).collect();
    program.run(&arguments).expect(0, "limited");
    scene.assert_recovers(&program, &machine, "limited");
    let (program, _) = scene.copy();
    let arguments: Vec<&OsStr> =
        ["--limit-upload", "0"].iter().map(OsStr::new).chain(backup(&scene.image, "new")).collect();
    program.run(&arguments).expect(2, "no rate");
}
