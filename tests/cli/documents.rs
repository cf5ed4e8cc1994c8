//! What scripts read: one JSON document on standard output, whatever happens, with keys that stay.
//!
//! Always true here: a key that is listed may not be renamed or change its type; more keys may come.

use super::support::{World, has, noise};
use std::fs;

const ERROR: [(&str, &str); 2] = [("error", "text"), ("status", "count")];

#[test]
fn each_command_prints_its_document() {
    let world = World::empty();
    let init = world.json(&["init", "-r", "repo", "--password-memory", "8"], 0);
    has(&init, &[("repository", "text"), ("path", "text")]);
    assert_eq!(init["repository"].as_str().unwrap().len(), 32);

    let mut disk = noise(300_000, 1);
    disk.resize(1 << 20, 0);
    world.file("disk.img", &disk);
    let backup = world.json(&["backup", "-r", "repo", "disk.img", "--stick", "ana", "--tag", "t"], 0);
    let keys = [
        ("snapshot", "text"),
        ("stick", "text"),
        ("bytes_source", "count"),
        ("bytes_read", "count"),
        ("bytes_new", "count"),
        ("bytes_stored", "count"),
        ("chunks", "count"),
        ("chunks_new", "count"),
        ("unreadable", "count"),
        ("unreadable_ranges", "list"),
        ("seconds", "number"),
    ];
    has(&backup, &keys);
    assert_eq!((&backup["stick"], &backup["bytes_source"]), (&"ana".into(), &(1 << 20).into()));
    assert!(backup["bytes_new"].as_u64().unwrap() >= 300_000 && backup["chunks"] == backup["chunks_new"]);
    let again = world.json(&["backup", "-r", "repo", "disk.img", "--stick", "ana"], 0);
    assert_eq!((&again["bytes_new"], &again["chunks_new"]), (&0.into(), &0.into()));
    assert_eq!(again["chunks"], backup["chunks"]);

    let snapshots = world.json(&["snapshots", "-r", "repo"], 0);
    let keys = [("id", "text"), ("time", "text"), ("stick", "text"), ("size", "count"), ("tags", "list")];
    assert_eq!(snapshots.as_array().unwrap().len(), 2);
    snapshots.as_array().unwrap().iter().for_each(|one| has(one, &keys));
    assert_eq!((&snapshots[0]["id"], &snapshots[1]["id"]), (&backup["snapshot"], &again["snapshot"]));
    assert_eq!((&snapshots[0]["tags"], &snapshots[1]["tags"]), (&["t"].as_slice().into(), &serde_json::json!([])));

    let check = world.json(&["check", "-r", "repo", "--read-data"], 0);
    has(&check, &[("ok", "flag"), ("findings", "list"), ("chunks_opened", "count"), ("bytes_read", "count")]);
    has(&check, &[("without_parity", "count"), ("parity_read", "count")]);
    assert!(check["parity_read"].as_u64() > Some(3) && check["without_parity"] == 0, "{check}");
    assert_eq!((&check["ok"], check["findings"].as_array().unwrap().len()), (&true.into(), 0));

    let stats = world.json(&["stats", "-r", "repo"], 0);
    let keys = [
        ("snapshots", "count"),
        ("bytes_logical", "count"),
        ("bytes_unique", "count"),
        ("bytes_stored", "count"),
        ("chunks", "count"),
        ("packs", "count"),
    ];
    has(&stats, &keys);
    assert_eq!((&stats["snapshots"], &stats["bytes_logical"]), (&2.into(), &(2 << 20).into()));

    let restore = world.json(&["restore", "-r", "repo", "latest", "--to", "back.img", "--verify"], 0);
    let keys = [
        ("snapshot", "text"),
        ("stick", "text"),
        ("target", "text"),
        ("bytes", "count"),
        ("bytes_written", "count"),
        ("verified", "flag"),
        ("unreadable", "count"),
        ("seconds", "number"),
    ];
    has(&restore, &keys);
    assert_eq!((&restore["snapshot"], &restore["verified"]), (&again["snapshot"], &true.into()));
    assert_eq!(world.read("back.img"), disk);
}

#[test]
fn so_do_the_commands_around_it() {
    let world = World::new();
    world.file("disk.img", &noise(10_000, 2));
    world.backup("disk.img", "ana");
    let shown = world.json(&["cache", "show"], 0);
    has(&shown[0], &[("repository", "text"), ("path", "text"), ("bytes", "count")]);
    let rebuilt = world.json(&["cache", "rebuild", "-r", "repo"], 0);
    has(&rebuilt, &[("path", "text"), ("segments", "count"), ("segments_damaged", "count"), ("chunks", "count")]);
    let removed = world.json(&["cache", "remove"], 0);
    has(&removed, &[("removed", "list")]);
    assert_eq!(removed["removed"].as_array().unwrap().len(), 1);
    assert_eq!(world.json(&["cache", "show"], 0), serde_json::json!([]));
    // A cache that is gone is made again, and nothing else is lost with it.
    assert_eq!(world.json(&["check", "-r", "repo"], 0)["ok"], true);

    let demo = world.json(&["demo"], 0);
    has(&demo, &[("ok", "flag"), ("snapshots", "list"), ("bytes_new", "list"), ("bytes_stored", "list")]);
    let script = world.json(&["completions", "bash"], 0);
    has(&script, &[("shell", "text"), ("script", "text")]);
}

#[test]
fn a_failure_is_a_document_too() {
    let world = World::new();
    world.file("disk.img", b"bytes");
    let failures: [(&[&str], i32); 9] = [
        (&["restore", "-r", "repo", "latest", "--to", "x"], 6),
        (&["snapshots", "-r", "nowhere"], 6),
        (&["snapshots"], 2),
        (&["init", "-r", "repo"], 1),
        (&["backup", "-r", "repo", "missing.img"], 1),
        (&["backup", "-r", "repo", "disk.img", "--stick", "a:b"], 2),
        (&["backup", "-r", "repo"], 2),
        (&["check", "-r", "repo", "--read-data=0%"], 2),
        (&["no-such-command"], 2),
    ];
    for (arguments, status) in failures {
        let run = world.run(&[arguments, &["--json"]].concat());
        run.ends_with(status);
        let document = run.document();
        has(&document, &ERROR);
        assert_eq!(document["status"], status, "{arguments:?}");
        assert!(!document["error"].as_str().unwrap().contains('\n'), "{document}");
        // A person who reads along learns the same.
        assert!(!run.err.is_empty());
    }
}

#[test]
fn progress_and_warnings_are_json_lines_on_standard_error() {
    let world = World::new();
    world.file("disk.img", &noise(10_000, 3));
    world.file("open.password", super::support::PASSWORD.as_bytes());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(world.path("open.password"), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let run = world.run(&["backup", "-r", "repo", "disk.img", "--json", "--password-file", "open.password"]);
    run.ends_with(0);
    let lines: Vec<serde_json::Value> =
        run.err.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    #[cfg(unix)]
    assert!(lines[0]["warning"].as_str().unwrap().contains("chmod 600"), "{lines:?}");
}

#[test]
fn damage_is_a_document_with_findings() {
    let world = World::new();
    world.file("disk.img", &noise(100_000, 4));
    let snapshot = world.backup("disk.img", "ana");
    // The pack of data is the largest file; the other one holds the snapshot's tables.
    let folders = fs::read_dir(world.path("repo/packs")).unwrap().map(|folder| folder.unwrap().path());
    let packs = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|pack| pack.unwrap().path()));
    fs::remove_file(packs.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()).unwrap();
    let report = world.json(&["check", "-r", "repo"], 4);
    assert_eq!(report["ok"], false);
    let findings = report["findings"].as_array().unwrap();
    assert!(!findings.is_empty());
    for finding in findings {
        has(finding, &[("kind", "text"), ("object", "text"), ("snapshots", "list"), ("sticks", "list")]);
    }
    let missing = findings.iter().find(|one| one["kind"] == "pack-missing").expect("the pack is missed");
    assert!(missing["mendable"].is_boolean(), "a repository has parity unless it was made without: {missing}");
    assert!(missing["object"].as_str().unwrap().starts_with("packs/"));
    assert_eq!(missing["snapshots"], serde_json::json!([snapshot]));
    assert_eq!(missing["sticks"], serde_json::json!(["ana"]));
    let words = world.run(&["check", "-r", "repo", "--quiet"]);
    words.ends_with(4);
    assert!(words.out.contains("pack-missing: packs/") && words.out.contains("ana"), "{words:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn unreadable_bytes_give_status_3_and_are_listed() {
    let world = World::new();
    world.file("disk.img", &noise(64 << 10, 5));
    // Each read of the image fails, as on a disk that is dead.
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=pread64:error=EIO", "-P"]).arg(world.path("disk.img"));
    strace.arg(env!("CARGO_BIN_EXE_sheaf")).args(["backup", "-r", "repo", "--json", "--stick", "dead"]);
    strace.arg(world.path("disk.img")).current_dir(world.path(""));
    strace.env("SHEAF_PASSWORD", super::support::PASSWORD).env("SHEAF_CACHE", world.path("cache"));
    let Ok(output) = strace.output() else {
        return eprintln!("skipped: strace is not installed");
    };
    if output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).contains("strace:") {
        return eprintln!("skipped: strace may not trace here");
    }
    let run = super::support::Run::of(&output);
    run.ends_with(3);
    let backup = run.document();
    assert_eq!(backup["unreadable"], 65_536);
    assert_eq!(backup["unreadable_ranges"], serde_json::json!([{ "start": 0, "length": 65_536 }]));
    assert_eq!(world.json(&["snapshots", "-r", "repo"], 0)[0]["unreadable"], 65_536);
    let restore = world.json(&["restore", "-r", "repo", "dead:latest", "--to", "back.img"], 3);
    assert_eq!(restore["unreadable"], 65_536);
    assert_eq!(world.read("back.img"), vec![0; 64 << 10]);
}
