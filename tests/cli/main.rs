//! The command line as scripts and people meet it: the real binary, its exit statuses and what it prints.
//!
//! Always true here:
//! - Options and exit statuses that are tested here are promises to scripts: a change of them is a change of the interface.
//! - Nothing depends on how long a run takes, on a network, or on the user; what needs a loop device or a tracer is left out
//!   where there is none, and says so.

#![allow(unreachable_pub, reason = "modules of other programs of tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../vhdx/build.rs"]
#[allow(dead_code, reason = "shared with the tests of VHDX, which use all of it")]
mod build;
mod containers;
mod copied;
mod documents;
mod forget;
#[path = "../windows/hive.rs"]
#[allow(dead_code, reason = "shared with the tests of Windows, which use all of it")]
mod hive;
mod layout;
mod look;
#[path = "../vhd/make.rs"]
#[allow(dead_code, reason = "shared with the tests of VHD, which use all of it")]
mod make;
#[path = "../vhdx/model.rs"]
#[allow(dead_code, reason = "shared with the tests of VHDX, which use all of it")]
mod model;
#[path = "../ntfs/build.rs"]
#[allow(dead_code, reason = "shared with the tests of NTFS, which use all of it")]
mod ntfs;
mod passwords;
mod repair;
mod roles;
mod served;
mod snapshots;
mod support;
mod targets;
#[path = "../ntfs/tools.rs"]
mod tools;
mod windows;

use std::fs;
use std::process::Stdio;
use support::{Run, World, noise};

/// Every command, as `--help` lists them.
const COMMANDS: [&str; 24] = [
    "init",
    "backup",
    "snapshots",
    "restore",
    "ls",
    "find",
    "dump",
    "extract",
    "diff",
    "mount",
    "serve-nbd",
    "copy",
    "check",
    "forget",
    "pin",
    "prune",
    "repair",
    "audit",
    "key",
    "stats",
    "cache",
    "completions",
    "demo",
    "help",
];

#[test]
fn every_command_explains_itself() {
    let world = World::empty();
    let top = world.run(&["--help"]);
    top.ends_with(0);
    let (_, list) = top.out.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\nOptions:").unwrap();
    let listed: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, COMMANDS);
    for command in COMMANDS.iter().filter(|command| **command != "help") {
        for arguments in [[*command, "--help"], ["help", *command]] {
            let run = world.run(&arguments);
            run.ends_with(0);
            assert!(run.out.contains("Usage: sheaf") && run.err.is_empty(), "{run:?}");
            // What is the command's own is not lost among what all have.
            let (own, common) = run.out.split_once("\nOptions of every command:\n").unwrap();
            assert!(
                !own.contains("--repo <") && common.contains("--repo <") && !common.contains("--dry-run"),
                "{}",
                run.out
            );
        }
    }
    for action in ["show", "rebuild", "remove"] {
        world.run(&["cache", action, "--help"]).ends_with(0);
    }
    for action in ["add", "list", "show", "passwd", "revoke", "rotate", "export", "import", "generate"] {
        world.run(&["key", action, "--help"]).ends_with(0);
    }
    let version = world.run(&["--version"]);
    assert_eq!(version.ends_with(0).out, format!("sheaf {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_cannot_be_meant_ends_with_2() {
    let world = World::new();
    world.file("disk.img", b"bytes");
    let wrong: [&[&str]; 19] = [
        &[],
        &["frobnicate"],
        &["backup"],
        &["backup", "-r", "repo"],
        &["backup", "-r", "repo", "disk.img", "another.img"],
        &["restore", "-r", "repo", "latest"],
        &["restore", "-r", "repo", "--to", "x"],
        &["check", "-r", "repo", "--read-data=0"],
        &["check", "-r", "repo", "--read-data=101%"],
        &["check", "-r", "repo", "--read-data=half"],
        &["snapshots"],
        &["init", "-r", "new", "--compression", "23"],
        &["completions", "cmd"],
        &["forget", "-r", "repo"],
        &["forget", "-r", "repo", "--keep-last", "0"],
        &["forget", "-r", "repo", "--keep-within", "soon"],
        &["forget", "-r", "repo", "--keep-last", "1", "0123"],
        &["forget", "-r", "repo", "--keep-last", "1", "--group-by", "colour"],
        &["pin", "-r", "repo"],
    ];
    for arguments in wrong {
        let run = world.run(arguments);
        run.ends_with(2);
        assert!(run.out.is_empty() && !run.err.is_empty(), "{arguments:?}: {run:?}");
    }
    assert!(!world.path("new").exists());
}

#[test]
fn a_repository_that_is_not_there_ends_with_6() {
    let world = World::empty();
    world.file("disk.img", b"bytes");
    fs::create_dir(world.path("empty")).unwrap();
    // No folder; an empty one, such as where a drive is not mounted; a file.
    for repo in ["nowhere", "empty", "disk.img"] {
        let commands: [&[&str]; 7] = [
            &["backup", "disk.img"],
            &["snapshots"],
            &["restore", "latest", "--to", "x"],
            &["check"],
            &["stats"],
            &["cache", "rebuild"],
            &["cache", "remove"],
        ];
        for arguments in commands {
            let run = world.run(&[arguments, &["-r", repo]].concat());
            run.ends_with(6).complains(&["there is no repository at", repo, "mounted"]);
        }
    }
    assert!(fs::read_dir(world.path("empty")).unwrap().next().is_none(), "looking makes nothing");
    assert!(!world.path("nowhere").exists());
}

#[test]
fn a_repository_is_made_once() {
    let world = World::new();
    let before = world.read("repo/config");
    let again = world.run(&["init", "-r", "repo"]);
    again.ends_with(1).complains(&["there is already a repository at", "repo"]);
    assert_eq!(world.read("repo/config"), before);
    assert_eq!(fs::read_dir(world.path("repo/keys")).unwrap().count(), 1, "no second key was made");
    world.run(&["init", "-r", "a/b/c", "--label", "anna", "--password-memory", "8"]).ends_with(0);
    world.run(&["snapshots", "-r", "a/b/c"]).ends_with(0);
}

#[test]
fn quiet_leaves_only_what_was_asked_for() {
    let world = World::empty();
    world.file("disk.img", &noise(5000, 1));
    let silent: [&[&str]; 4] = [
        &["init", "-r", "repo", "--password-memory", "8"],
        &["backup", "-r", "repo", "disk.img", "--stick", "ana"],
        &["restore", "-r", "repo", "latest", "--to", "back.img"],
        &["check", "-r", "repo", "--read-data=50%"],
    ];
    for arguments in silent {
        let run = world.run(&[arguments, &["--quiet"]].concat());
        run.ends_with(0);
        assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""), "{arguments:?}");
    }
    for (arguments, word) in [(["snapshots", "-r", "repo"], "ana"), (["stats", "-r", "repo"], "1 snapshot")] {
        let run = world.run(&[arguments.as_slice(), &["-q"]].concat());
        run.ends_with(0);
        assert!(run.out.contains(word) && run.err.is_empty(), "{run:?}");
    }
    // A plan is what a dry run is asked for.
    world.backup("disk.img", "ana");
    let plans: [(&[&str], &str); 4] = [
        (&["forget", "-r", "repo", "--keep-last", "1"], "Would forget 1 snapshot"),
        (&["prune", "-r", "repo"], "gives back"),
        (&["repair", "-r", "repo"], "No damage"),
        (&["key", "rotate", "-r", "repo"], "Would give"),
    ];
    for (arguments, word) in plans {
        let run = world.run(&[arguments, &["-q", "-n"]].concat());
        run.ends_with(0);
        assert!(run.out.contains(word) && run.err.is_empty(), "{run:?}");
    }
    // What is not there is said once.
    let run = world.run(&["backup", "-r", "none", "disk.img"]);
    assert!(
        run.ends_with(6).err.starts_with("sheaf: there is no repository") && !run.err.contains("warning"),
        "{run:?}"
    );
    // An error is never hidden.
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img", "-q"]).ends_with(1).complains(&["back.img"]);
}

#[test]
fn completions_are_printed_for_every_shell() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = world.run(&["completions", shell]);
        run.ends_with(0);
        assert!(run.out.contains("sheaf") && run.out.contains("restore"), "{shell}: {}", run.out.len());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new();
    for arguments in [["completions", "bash"].as_slice(), &["snapshots", "-r", "repo", "--json"]] {
        let mut child = world.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        Run::of(&child.wait_with_output().unwrap()).ends_with(0);
    }
}

#[test]
fn the_demo_does_all_and_keeps_only_what_it_is_asked_to_keep() {
    let world = World::empty();
    fs::create_dir(world.path("tmp")).unwrap();
    let run = World::finish(world.command(&["demo"]).env("TMPDIR", world.path("tmp")).env_remove("SHEAF_PASSWORD"));
    run.ends_with(0);
    for word in ["first backup", "after a day of use", "Checked all", "byte for byte", "sheaf restore"] {
        assert!(run.out.contains(word), "{word}: {}", run.out);
    }
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0, "a temporary folder is removed");
    world.run(&["demo", "try", "--quiet"]).ends_with(0);
    assert!(world.read("try/stick.img") == world.read("try/restored-2.img"), "the same, byte for byte");
    world.run(&["demo", "try"]).ends_with(1).complains(&["try"]);
    let list = World::finish(world.command(&["snapshots", "-r", "try/repo"]).env("SHEAF_PASSWORD", "demo"));
    list.ends_with(0);
}

#[test]
fn two_processes_back_up_at_once_with_one_cache() {
    let world = World::new();
    // Half of each disk is the other's as well.
    let shared = noise(2 << 20, 1);
    let disks = [[shared.clone(), noise(2 << 20, 2)].concat(), [shared, noise(2 << 20, 3)].concat()];
    for (name, disk) in ["ana.img", "ben.img"].iter().zip(&disks) {
        world.file(name, disk);
    }
    for round in 0..3 {
        let start = |stick: &str| {
            let file = format!("{stick}.img");
            let arguments = ["backup", "-r", "repo", &file, "--stick", stick, "--json"];
            world.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for child in [start("ana"), start("ben")] {
            Run::of(&child.wait_with_output().unwrap()).ends_with(0).document();
        }
        if round == 0 {
            // The next ones begin without a cache, which both then make.
            world.run(&["cache", "remove"]).ends_with(0);
        }
    }
    assert_eq!(world.json(&["snapshots", "-r", "repo"], 0).as_array().unwrap().len(), 6);
    world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);
    for (stick, disk) in ["ana", "ben"].iter().zip(&disks) {
        let name = format!("{stick}:latest");
        world.run(&["restore", "-r", "repo", &name, "--to", "back.img", "--force"]).ends_with(0);
        assert!(world.read("back.img") == *disk, "{stick} came back differently");
    }
}

#[test]
fn what_init_is_told_stands_in_the_config() {
    let world = World::empty();
    let options = ["--chunk-size", "16", "--pack-size", "2", "--compression", "7", "--password-memory", "8"];
    world.run(&[&["init", "-r", "chosen"][..], &options].concat()).ends_with(0);
    let bytes = world.read("chosen/config");
    let record = sheaf::format::config::Config::decode(&bytes).unwrap().record;
    let sizes = (record.chunking.min, record.chunking.average, record.chunking.max);
    assert_eq!(sizes, (8 << 10, 16 << 10, 64 << 10));
    assert_eq!((record.pack_size, record.compression_level), (2 << 20, 7));
    for (percent, ratio) in [(None, 33), (Some("0"), 0), (Some("1"), 62), (Some("10"), 10), (Some("50"), 2)] {
        let folder = format!("parity-{ratio}");
        let parity = percent.map(|percent| ["--parity", percent]);
        let parity = parity.iter().flatten().copied();
        let all: Vec<&str> = ["init", "-r", &folder, "--password-memory", "8"].into_iter().chain(parity).collect();
        world.run(&all).ends_with(0);
        let record = sheaf::format::config::Config::decode(&world.read(&format!("{folder}/config"))).unwrap().record;
        assert_eq!(record.parity, ratio, "{percent:?}");
    }
    world.run(&["init", "-r", "refused", "--parity", "51"]).ends_with(2);
    for wrong in [["--chunk-size", "3"], ["--chunk-size", "2049"], ["--pack-size", "0"], ["--pack-size", "257"]] {
        world.run(&[&["init", "-r", "refused"][..], &wrong].concat()).ends_with(2);
    }
}
