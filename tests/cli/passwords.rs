//! Where passwords come from, and that a wrong one opens nothing.
//!
//! Always true here: [`World`] looks for the passwords in everything that is printed.

use super::support::{OTHER, PASSWORD, Run, World, noise};
use std::fs;

/// Runs without a password in the environment.
fn without(world: &World, arguments: &[&str]) -> Run {
    World::finish(world.command(arguments).env_remove("SHEAF_PASSWORD"))
}

fn private(world: &World, name: &str, content: &str) {
    world.file(name, content.as_bytes());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_wrong_password_ends_with_5_everywhere() {
    let world = World::new();
    world.file("disk.img", &noise(1000, 1));
    world.backup("disk.img", "ana");
    let commands: [&[&str]; 7] = [
        &["backup", "-r", "repo", "disk.img"],
        &["snapshots", "-r", "repo"],
        &["restore", "-r", "repo", "latest", "--to", "back.img"],
        &["check", "-r", "repo"],
        &["stats", "-r", "repo"],
        &["cache", "rebuild", "-r", "repo"],
        &["restore", "-r", "repo", "no-such-snapshot", "--to", "back.img"],
    ];
    for arguments in commands {
        let run = World::finish(world.command(arguments).env("SHEAF_PASSWORD", OTHER));
        run.ends_with(5).complains(&["wrong password"]);
        assert!(run.out.is_empty(), "{run:?}");
        let run = World::finish(world.command(arguments).arg("--json").env("SHEAF_PASSWORD", OTHER));
        assert_eq!(run.ends_with(5).document()["status"], 5);
    }
    assert!(!world.path("back.img").exists());
}

#[test]
fn files_and_commands_give_their_first_line() {
    let world = World::new();
    for (name, content) in [
        ("plain", PASSWORD.to_owned()),
        ("line", format!("{PASSWORD}\n")),
        ("windows", format!("{PASSWORD}\r\nmore\r\n")),
        ("lines", format!("{PASSWORD}\n{OTHER}\n")),
    ] {
        private(&world, name, &content);
        let run = without(&world, &["snapshots", "-r", "repo", "--password-file", name]);
        run.ends_with(0);
        assert_eq!(run.err, "", "{name}");
        without(&world, &["snapshots", "-r", "repo", "--password-command", &format!("cat {name}")]).ends_with(0);
    }
    // What was typed wins over the environment.
    private(&world, "wrong", OTHER);
    world.run(&["snapshots", "-r", "repo", "--password-file", "wrong"]).ends_with(5);
    world.run(&["snapshots", "-r", "repo", "--password-command", "cat wrong"]).ends_with(5);
}

#[test]
fn a_password_that_cannot_be_had_is_said() {
    let world = World::new();
    private(&world, "empty", "");
    private(&world, "blank", "\nsecond line\n");
    let list = ["snapshots", "-r", "repo"];
    let with = |more: &[&str]| without(&world, &[list.as_slice(), more].concat());
    with(&[]).ends_with(2).complains(&["no password", "SHEAF_PASSWORD", "--password-file"]);
    with(&["--password-file", "empty"]).ends_with(2).complains(&["empty"]);
    with(&["--password-file", "blank"]).ends_with(2).complains(&["empty"]);
    with(&["--password-file", "missing"]).ends_with(1).complains(&["missing"]);
    with(&["--password-command", "true"]).ends_with(2).complains(&["empty"]);
    with(&["--password-command", "echo word; exit 3"]).ends_with(1).complains(&["password command failed"]);
    with(&["--password-command", "true", "--password-file", "empty"]).ends_with(2);
    let empty = World::finish(world.command(&list).env("SHEAF_PASSWORD", ""));
    empty.ends_with(2).complains(&["empty"]);
    let made = World::finish(world.command(&["init", "-r", "second"]).env("SHEAF_PASSWORD", ""));
    made.ends_with(2).complains(&["empty"]);
    assert!(!world.path("second").exists(), "nothing is made without a password");
}

#[cfg(unix)]
#[test]
fn a_password_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    private(&world, "open", PASSWORD);
    fs::set_permissions(world.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let run = without(&world, &["snapshots", "-r", "repo", "--password-file", "open"]);
    run.ends_with(0).complains(&["warning: ", "chmod 600"]);
}

#[test]
fn the_repository_may_stand_in_the_environment() {
    let world = World::new();
    World::finish(world.command(&["snapshots"]).env("SHEAF_REPOSITORY", "repo")).ends_with(0);
    World::finish(world.command(&["snapshots", "-r", "nowhere"]).env("SHEAF_REPOSITORY", "repo")).ends_with(6);
}
