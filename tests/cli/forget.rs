//! Forgetting and pinning as people type it.

use super::support::{World, has, noise};
use std::fs;

fn ids(rows: &serde_json::Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

fn left(world: &World) -> Vec<String> {
    let list = world.json(&["snapshots", "-r", "repo"], 0);
    ids(&list).into_iter().map(str::to_owned).collect()
}

/// A repository with three snapshots of one stick and one of another, in the order in which they were made.
fn with_snapshots() -> (World, Vec<String>) {
    let world = World::new();
    world.file("disk.img", &noise(5000, 1));
    let made = ["ana", "ana", "ana", "ben"].map(|stick| world.backup("disk.img", stick));
    (world, made.to_vec())
}

#[test]
fn a_policy_is_shown_and_then_applied() {
    let (world, made) = with_snapshots();
    let policy = ["forget", "-r", "repo", "--keep-last", "2"];
    let planned = world.json(&[&policy[..], &["--dry-run"]].concat(), 0);
    has(
        &planned,
        &[("dry_run", "flag"), ("groups", "list"), ("named", "list"), ("kept", "count"), ("removed", "count")],
    );
    let ana = &planned["groups"][0];
    has(ana, &[("stick", "text"), ("key", "text"), ("label", "text"), ("keep", "list"), ("remove", "list")]);
    assert_eq!((ids(&ana["keep"]), ids(&ana["remove"])), (vec![&*made[1], &*made[2]], vec![&*made[0]]));
    assert_eq!(ana["keep"][0]["reasons"], serde_json::json!(["last snapshot"]));
    assert_eq!(left(&world), made, "a dry run changes nothing");
    let run = world.run(&policy);
    run.ends_with(0);
    for word in [
        "stick ana, key `admin`: keep 2, remove 1",
        "last snapshot",
        "no rule keeps it",
        "Forgot 1 snapshot.",
        "sheaf prune",
    ] {
        assert!(run.out.contains(word), "{word}: {}", run.out);
    }
    assert!(run.out.trim_end().lines().last().unwrap().ends_with("is given back by `sheaf prune`."));
    assert_eq!(left(&world), made[1..]);
    world.run(&["check", "-r", "repo"]).ends_with(0);
    let again = world.run(&policy);
    assert!(again.ends_with(0).out.contains("Nothing to forget."));
    // Both are told in the log, and so is that there was nothing.
    let log = world.json(&["audit", "-r", "repo", "--verify"], 0);
    let told: Vec<_> = log["entries"].as_array().unwrap().iter().filter(|entry| entry["action"] == "forget").collect();
    let result = |at: usize| (told[at]["result"].as_str().unwrap(), told[at]["snapshots"].as_array().unwrap().len());
    assert_eq!((told.len(), result(0), result(1), result(2)), (3, ("begun", 1), ("done", 1), ("done", 0)));
}

#[test]
fn the_last_of_a_stick_and_pinned_ones_go_only_where_that_is_asked_for() {
    let (world, made) = with_snapshots();
    let run = world.run(&["forget", "-r", "repo", &made[3][..12]]);
    run.ends_with(1).complains(&["no snapshot would be left of ben", "--allow-last"]);
    assert_eq!(left(&world), made);
    let run = world.run(&["forget", "-r", "repo", &made[0], &made[3], "--dry-run"]);
    run.ends_with(1).complains(&["ben"]);
    world.run(&["pin", "-r", "repo", &made[0], &made[1]]).ends_with(0);
    let list = world.run(&["snapshots", "-r", "repo"]);
    assert_eq!(list.out.lines().filter(|line| line.ends_with("pinned")).count(), 2, "{}", list.out);
    let rows = world.json(&["snapshots", "-r", "repo"], 0);
    assert_eq!((&rows[0]["pinned"], &rows[2]["pinned"]), (&true.into(), &false.into()));
    let planned = world.json(&["forget", "-r", "repo", "--keep-last", "1"], 0);
    assert_eq!(
        (&planned["removed"], &planned["groups"][0]["keep"][0]["reasons"]),
        (&0.into(), &serde_json::json!(["pinned"]))
    );
    world.run(&["forget", "-r", "repo", &made[0]]).ends_with(1).complains(&["pinned", "--allow-pinned"]);
    world.run(&["pin", "-r", "repo", "--remove", &made[1]]).ends_with(0);
    world.run(&["forget", "-r", "repo", &made[0], "--allow-pinned"]).ends_with(0);
    world.run(&["forget", "-r", "repo", "--keep-last", "1"]).ends_with(0);
    assert_eq!(left(&world), made[2..]);
    world.run(&["forget", "-r", "repo", &made[3], "--allow-last"]).ends_with(0);
    assert_eq!(left(&world), made[2..3]);
    world.run(&["forget", "-r", "repo", &made[3]]).ends_with(6).complains(&["no snapshot"]);
    let pinned = world.json(&["backup", "-r", "repo", "disk.img", "--stick", "ana", "--pin"], 0);
    world.backup("disk.img", "ana");
    world.run(&["forget", "-r", "repo", "--keep-last", "1"]).ends_with(0);
    assert!(left(&world).contains(&pinned["snapshot"].as_str().unwrap().to_owned()));
    world.run(&["check", "-r", "repo"]).ends_with(0);
}

#[test]
fn what_is_damaged_or_back_goes_by_its_id() {
    let (world, made) = with_snapshots();
    let path = |id: &str| world.path(&format!("repo/snapshots/{id}"));
    let kept = fs::read(path(&made[0])).unwrap();
    world.run(&["forget", "-r", "repo", &made[0]]).ends_with(0);
    fs::write(path(&made[0]), &kept).unwrap();
    let run = world.run(&["check", "-r", "repo"]);
    run.ends_with(4);
    assert!(run.out.contains("snapshot-returned") && run.out.contains("put it back"), "{}", run.out);
    let planned = world.json(&["forget", "-r", "repo", "--keep-last", "1", "--stick", "ana", "--dry-run"], 0);
    assert_eq!(planned["groups"][0]["keep"][0]["reasons"], serde_json::json!(["odd: was forgotten and is back"]));
    world.run(&["forget", "-r", "repo", &made[0]]).ends_with(0);
    world.run(&["check", "-r", "repo"]).ends_with(0);
    let mut bytes = fs::read(path(&made[1])).unwrap();
    bytes[100] ^= 1;
    fs::write(path(&made[1]), bytes).unwrap();
    world.run(&["forget", "-r", "repo", "--keep-last", "1"]).ends_with(0).complains(&["is damaged, and is kept"]);
    world.run(&["forget", "-r", "repo", &made[1][..12]]).ends_with(1).complains(&["by its whole id"]);
    world.run(&["forget", "-r", "repo", &made[1]]).ends_with(0);
    world.run(&["check", "-r", "repo"]).ends_with(0);
}
