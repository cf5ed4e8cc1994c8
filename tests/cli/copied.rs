//! `sheaf copy`: into a repository with another password, in words and in JSON.

use super::support::{OTHER, PASSWORD, Run, World, has, noise};

/// A repository with two sticks, and another one that cuts as the options say, with another password.
fn world(options: &[&str]) -> World {
    let world = World::new();
    sheaf::ops::demo::make_stick(&world.path("ana.img"), 3).unwrap();
    world.file("ben.img", &noise(400_000, 4));
    world.json(&["backup", "-r", "repo", "ana.img", "--stick", "ana", "--tag", "weekly"], 0);
    world.backup("ben.img", "ben");
    let init = [&["init", "-r", "other", "--password-memory", "8"], options].concat();
    World::finish(world.command(&init).env("SHEAF_PASSWORD", OTHER)).ends_with(0);
    world
}

fn copy(world: &World, more: &[&str]) -> Run {
    let arguments = [&["copy", "-r", "repo", "--to", "other"], more].concat();
    World::finish(world.command(&arguments).env("SHEAF_TO_PASSWORD", OTHER))
}

fn in_other(world: &World, arguments: &[&str]) -> Run {
    World::finish(world.command(&[arguments, &["-r", "other"]].concat()).env("SHEAF_PASSWORD", OTHER))
}

#[test]
fn snapshots_are_copied_once_and_come_back_byte_for_byte() {
    for (options, cuts_anew) in [(&["--like", "repo"][..], false), (&["--chunk-size", "16"], true)] {
        let world = world(options);
        let planned = copy(&world, &["--dry-run", "--json"]).ends_with(0).document();
        assert_eq!((planned["planned"].as_array().unwrap().len(), &planned["cuts_anew"]), (2, &cuts_anew.into()));
        assert_eq!(in_other(&world, &["snapshots"]).ends_with(0).out, "No snapshots.\n");

        let run = copy(&world, &["--json"]);
        let done = run.ends_with(0).document();
        assert_eq!(run.err.contains("the target cuts differently: chunks are cut anew"), cuts_anew, "{run:?}");
        let keys = [("dry_run", "flag"), ("from", "text"), ("to", "text"), ("cuts_anew", "flag"), ("planned", "list")];
        has(&done, &keys);
        has(&done, &[("copied", "list"), ("already_there", "list"), ("failed", "list"), ("packs_recovered", "count")]);
        let row = [("source", "text"), ("snapshot", "text"), ("stick", "text"), ("bytes_kept", "count")];
        has(&done["copied"][0], &row);
        has(&done["copied"][0], &[("chunks", "count"), ("chunks_new", "count"), ("packs_written", "count")]);
        for stick in ["ana", "ben"] {
            let restore = ["restore", &format!("{stick}:latest"), "--to", "back.img", "--force"];
            in_other(&world, &restore).ends_with(0);
            assert!(world.read("back.img") == world.read(&format!("{stick}.img")), "{stick}");
        }
        in_other(&world, &["check", "--read-data"]).ends_with(0);
        world.run(&["check", "-r", "repo", "--read-data"]).ends_with(0);

        // What is there is said, and where it came from.
        let again = copy(&world, &[]);
        assert!(again.ends_with(0).out.contains("0 snapshots copied, 2 there already"), "{again:?}");
        let shown = in_other(&world, &["snapshots", "--json"]).ends_with(0).document();
        let from = &shown[0]["copied_from"];
        assert_eq!(from["repository"], done["from"]);
        let source = done["copied"].as_array().unwrap().iter().find(|row| row["snapshot"] == shown[0]["id"]).unwrap();
        assert_eq!((&from["snapshot"], &from["label"]), (&source["source"], &"admin".into()));
        let details = in_other(&world, &["snapshots", "ana:latest"]);
        assert!(details.ends_with(0).out.contains("Copied from:"), "{details:?}");

        // Both logs tell of it, and nothing is amiss in either.
        let log = in_other(&world, &["audit", "--verify", "--json"]).ends_with(0).document();
        let entry = log["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "backup").unwrap();
        assert_eq!(entry["snapshots"].as_array().unwrap().len(), 2);
        assert!(entry["detail"].as_str().unwrap().contains(done["from"].as_str().unwrap()), "{entry}");
        let log = world.json(&["audit", "-r", "repo", "--verify"], 0);
        let copies: Vec<_> =
            log["entries"].as_array().unwrap().iter().filter(|entry| entry["action"] == "copy").collect();
        assert_eq!((copies.len(), copies[0]["snapshots"].as_array().unwrap().len()), (2, 2));
    }
}

#[test]
fn what_is_copied_can_be_chosen() {
    let world = world(&["--like", "repo"]);
    let planned = |more: &[&str]| {
        let document = copy(&world, &[more, &["-n", "--json"]].concat()).ends_with(0).document();
        document["planned"].as_array().unwrap().len()
    };
    assert_eq!(
        [planned(&[]), planned(&["--stick", "ben"]), planned(&["--tag", "weekly"]), planned(&["--tag", "x"])],
        [2, 1, 1, 0]
    );
    assert_eq!([planned(&["latest"]), planned(&["ana:latest", "ben:latest", "latest"])], [1, 2]);
    copy(&world, &["nobody:latest"]).ends_with(6).complains(&["no snapshot"]);
    copy(&world, &["latest", "--stick", "ana"]).ends_with(2);
    copy(&world, &["ana:latest"]).ends_with(0);
    assert_eq!(planned(&[]), 1);
}

#[test]
fn the_target_has_a_password_of_its_own() {
    let world = world(&["--like", "repo"]);
    let bare = ["copy", "-r", "repo", "--to", "other"];
    world.run(&bare).ends_with(2).complains(&["no password of the target", "SHEAF_TO_PASSWORD", "--to-key-file"]);
    World::finish(world.command(&bare).env("SHEAF_TO_PASSWORD", PASSWORD)).ends_with(5).complains(&["wrong password"]);
    World::finish(world.command(&bare).env("SHEAF_TO_PASSWORD", "")).ends_with(2).complains(&["empty"]);
    world
        .run(&["copy", "-r", "repo", "--to", "nowhere"])
        .ends_with(6)
        .complains(&["there is no repository at", "nowhere"]);
    let itself = ["copy", "-r", "repo", "--to", "repo"];
    World::finish(world.command(&itself).env("SHEAF_TO_PASSWORD", PASSWORD)).ends_with(2).complains(&["copied from"]);
    world.file("other.password", OTHER.as_bytes());
    world.run(&[&bare[..], &["--to-password-file", "other.password", "ben:latest"]].concat()).ends_with(0);
    world.run(&[&bare[..], &["--to-password-command", "cat other.password", "ana:latest"]].concat()).ends_with(0);
    let generated = world.json(&["key", "generate", "ana.key"], 0);
    let public = generated["public_key"].as_str().unwrap();
    in_other(&world, &["key", "add", "--role", "owner", "--label", "ana", "--to-key", public]).ends_with(0);
    let by_key = [&bare[..], &["--to-key-file", "ana.key"]].concat();
    // This owner sees nothing of what the admin copied.
    assert_eq!(world.json(&by_key, 0)["copied"].as_array().unwrap().len(), 2);
    assert_eq!(world.json(&by_key, 0)["copied"].as_array().unwrap().len(), 0);
}

#[test]
fn damage_is_told_and_the_rest_is_copied() {
    let world = world(&["--like", "repo"]);
    // The packs that ben's backup made are those of whose chunks ana has none.
    let of_ben = |path: &std::path::Path| std::fs::read(path).unwrap().len() > 380_000;
    let mut packs = Vec::new();
    for folder in std::fs::read_dir(world.path("repo/packs")).unwrap() {
        packs.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    packs.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
    let pack = packs.iter().rev().find(|path| of_ben(path)).unwrap();
    let mut bytes = std::fs::read(pack).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(pack, bytes).unwrap();
    let id = pack.file_name().unwrap().to_str().unwrap();
    let parity = world.path(&format!("repo/parity/{}/{id}", &id[..2]));
    std::fs::rename(&parity, world.path("parity")).unwrap();
    let run = copy(&world, &["--json"]);
    let done = run.ends_with(3).document();
    assert_eq!((done["copied"].as_array().unwrap().len(), &done["failed"][0]["stick"]), (1, &"ben".into()));
    run.complains(&["cannot be copied", "chunk", id]);
    copy(&world, &["ben:latest"]).ends_with(1).complains(&[id]);
    in_other(&world, &["check", "--read-data"]).ends_with(0);
    in_other(&world, &["audit", "--verify"]).ends_with(0);

    // What parity can mend is no loss.
    std::fs::rename(world.path("parity"), &parity).unwrap();
    copy(&world, &["ben:latest"]).ends_with(0).complains(&[id, "as its parity mends it"]);
    in_other(&world, &["restore", "ben:latest", "--to", "back.img"]).ends_with(0);
    assert!(world.read("back.img") == world.read("ben.img"));
}
