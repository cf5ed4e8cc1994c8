//! Role by command, through the binary: each cell works, or fails with its own message.
//!
//! Always true here: every command of the program stands in the table or in the list of those that take no key, so that a new one is
//! not forgotten.

use super::support::{OTHER, PASSWORD, Run, World, noise};
use sheaf::ops::demo::DOCUMENT;
use std::fs;

/// A role's password. The admin's is that of `init`.
fn word(role: &str) -> String {
    if role == "admin" { PASSWORD.to_owned() } else { format!("password of the {role}") }
}

const ROLES: [&str; 5] = ["depositor", "owner", "operator", "auditor", "admin"];
const STORE: &[&str] = &["depositor", "owner", "admin"];
const READ: &[&str] = &["owner", "admin"];
const LIST: &[&str] = &["owner", "operator", "auditor", "admin"];
const KEEP: &[&str] = &["operator", "auditor", "admin"];
const MANAGE: &[&str] = &["admin"];

/// Commands with the roles that can, and what a refusal says.
const TABLE: [(&[&str], &[&str], &str); 31] = [
    (&["backup", "disk.img", "--stick", "ROLE"], STORE, "cannot back up; one of role depositor, owner or admin can"),
    (&["snapshots"], LIST, "cannot list snapshots; one of role owner, operator, auditor or admin can"),
    (
        &["restore", "SNAPSHOT", "--to", "OUT/back.img"],
        READ,
        "cannot read what is in snapshots; one of role owner or admin can",
    ),
    (&["ls", "SNAPSHOT"], READ, "cannot read what is in snapshots"),
    (&["find", "nothing"], READ, "cannot read what is in snapshots"),
    (&["dump", "SNAPSHOT:/DOCUMENT"], READ, "cannot read what is in snapshots"),
    (&["extract", "SNAPSHOT:/", "--to", "OUT/tree"], READ, "cannot read what is in snapshots"),
    (&["diff", "SNAPSHOT", "SNAPSHOT"], READ, "cannot read what is in snapshots"),
    (&["mount", "OUT"], READ, "cannot read what is in snapshots"),
    (&["serve-nbd", "SNAPSHOT", "--listen", "unix:OUT/socket"], READ, "cannot read what is in snapshots"),
    (&["copy", "SNAPSHOT", "--to", "other"], READ, "cannot read what is in snapshots; one of role owner or admin can"),
    (
        &["check"],
        KEEP,
        "cannot see all snapshots, and the keys that there are; one of role operator, auditor or admin can",
    ),
    (&["check", "--read-data"], KEEP, "cannot see all snapshots"),
    (&["repair"], &["operator", "admin"], "cannot repair the repository; one of role operator or admin can"),
    (&["repair", "--dry-run"], &["operator", "admin"], "cannot repair the repository"),
    (&["stats"], KEEP, "cannot see all snapshots"),
    (&["stats", "--stick", "ana"], KEEP, "cannot see all snapshots"),
    (
        &["forget", "--keep-last", "100"],
        &["operator", "admin"],
        "cannot forget snapshots; one of role operator or admin can",
    ),
    (
        &["pin", "SNAPSHOT"],
        &["owner", "operator", "admin"],
        "cannot pin snapshots; one of role owner, operator or admin can",
    ),
    (&["pin", "--remove", "SNAPSHOT"], &["operator", "admin"], "cannot forget snapshots"),
    (&["prune"], &["operator", "admin"], "cannot prune; one of role operator or admin can"),
    (&["key", "list"], KEEP, "cannot see all snapshots, and the keys"),
    (&["key", "export", "admin", "--to", "OUT/bundle"], KEEP, "cannot see all snapshots, and the keys"),
    (
        &["key", "add", "--role", "auditor", "--label", "by ROLE", "--password-memory", "8"],
        MANAGE,
        "cannot manage keys; one of role admin can",
    ),
    (&["key", "revoke", "by ROLE"], MANAGE, "cannot manage keys"),
    (&["key", "rotate"], MANAGE, "cannot manage keys"),
    (&["audit"], &["auditor", "admin"], "cannot read the audit log; one of role auditor or admin can"),
    (&["audit", "--verify"], &["auditor", "admin"], "cannot read the audit log"),
    (&["key", "show"], &ROLES, ""),
    (&["key", "show", "admin"], KEEP, "cannot see all snapshots, and the keys"),
    (&["key", "rotate", "--dry-run"], MANAGE, "cannot manage keys"),
];

/// Commands that take no key, or that every key opens: they are tried by tests of their own.
const OTHERS: [&str; 5] = ["init", "cache", "completions", "demo", "help"];

fn as_role(world: &World, role: &str, arguments: &[&str]) -> Run {
    let mut command = world.command(arguments);
    command.env("SHEAF_PASSWORD", word(role)).env("SHEAF_NEW_PASSWORD", OTHER).env("SHEAF_TO_PASSWORD", PASSWORD);
    World::finish(&mut command)
}

/// A repository with a key of each role, called like it.
fn with_roles() -> World {
    let world = World::new();
    for role in ROLES.into_iter().filter(|role| *role != "admin") {
        let arguments = ["key", "add", "-r", "repo", "--role", role, "--label", role, "--password-memory", "8"];
        let run = World::finish(world.command(&arguments).env("SHEAF_NEW_PASSWORD", word(role)));
        run.ends_with(0);
        assert!(run.out.contains(role) && !run.out.contains(&word(role)) && run.err.is_empty(), "{run:?}");
    }
    world
}

#[test]
fn each_role_runs_its_commands_and_is_told_who_could_run_others() {
    let world = with_roles();
    world.run(&["init", "-r", "other", "--password-memory", "8"]).ends_with(0);
    // A volume with a file, so that there is something to list.
    sheaf::ops::demo::make_stick(&world.path("disk.img"), 5).unwrap();
    for role in ROLES {
        let out = format!("out-{role}");
        fs::create_dir(world.path(&out)).unwrap();
        let admin = world.backup("disk.img", "ana");
        // An owner sees its own snapshots alone.
        let snapshot = if role == "owner" {
            let run = as_role(&world, role, &["backup", "-r", "repo", "disk.img", "--stick", "mine", "--json"]);
            run.ends_with(0).document()["snapshot"].as_str().unwrap().to_owned()
        } else {
            admin
        };
        for (command, roles, refusal) in TABLE {
            let can = roles.contains(&role);
            // Those two go on until they are stopped, which tests of their own do.
            if can && ["mount", "serve-nbd"].contains(&command[0]) {
                continue;
            }
            let filled: Vec<String> = command
                .iter()
                .map(|word| {
                    word.replace("SNAPSHOT", &snapshot)
                        .replace("OUT", &out)
                        .replace("ROLE", role)
                        .replace("/DOCUMENT", DOCUMENT)
                })
                .collect();
            let mut arguments: Vec<&str> = filled.iter().map(String::as_str).collect();
            arguments.extend(["-r", "repo"]);
            let before = fs::read_dir(world.path(&out)).unwrap().count();
            let run = as_role(&world, role, &arguments);
            if can {
                run.ends_with(0);
            } else {
                run.ends_with(5).complains(&[&format!("a key of role {role}"), refusal]);
                assert!(run.out.is_empty(), "{role} {command:?}: {run:?}");
                assert_eq!(
                    fs::read_dir(world.path(&out)).unwrap().count(),
                    before,
                    "{role} {command:?} left something"
                );
            }
        }
        if role == "owner" {
            let run = as_role(&world, role, &["restore", "-r", "repo", "ana:latest", "--to", "not-hers.img"]);
            run.ends_with(6).complains(&["no snapshot"]);
        }
    }
    assert!(world.read("out-owner/back.img") == world.read("disk.img"));
}

#[test]
fn every_command_stands_in_the_table() {
    let world = World::empty();
    let help = world.run(&["--help"]);
    let commands = help.ends_with(0).out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names: Vec<&str> =
        commands.filter_map(|line| line.split_whitespace().next().filter(|_| !line.starts_with(' '))).collect();
    assert!(names.len() > 12, "{names:?}");
    for name in names {
        let known = OTHERS.contains(&name) || TABLE.iter().any(|(command, ..)| command[0] == name);
        assert!(known, "`{name}` stands nowhere in the table");
    }
}

#[test]
fn keys_are_made_shown_protected_and_taken_away() {
    let world = with_roles();
    let list = world.json(&["key", "list", "-r", "repo"], 0);
    let labels: Vec<&str> = list["keys"].as_array().unwrap().iter().map(|key| key["label"].as_str().unwrap()).collect();
    // The first key is called admin by `init`, so that making another of the name is refused.
    assert_eq!(labels.iter().filter(|label| **label == "admin").count(), 1);
    let run = world.run(&["key", "add", "-r", "repo", "--role", "owner", "--label", "owner", "--print"]);
    run.ends_with(1).complains(&["called `owner` already"]);

    // A key on paper opens; a typing mistake is told by its group.
    let run = world.run(&["key", "add", "-r", "repo", "--role", "admin", "--label", "paper", "--print"]);
    let paper = run.ends_with(0).out.lines().find(|line| line.starts_with("SHEAF-KEY-")).unwrap().to_owned();
    let with =
        |password: &str, arguments: &[&str]| World::finish(world.command(arguments).env("SHEAF_PASSWORD", password));
    let shown = with(&paper.to_lowercase(), &["key", "show", "-r", "repo", "--json"]);
    assert_eq!(shown.ends_with(0).document()["label"], "paper");
    let mut wrong = paper.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == '0' { '2' } else { '0' });
    with(&wrong, &["snapshots", "-r", "repo"]).ends_with(2).complains(&["group 8"]);
    let refused = world.run(&["key", "add", "-r", "repo", "--role", "admin", "--label", "x", "--print", "--json"]);
    refused.ends_with(2);

    // A key file, made elsewhere, to whose public key a bundle is sealed.
    let generated = world.json(&["key", "generate", "ana.key"], 0);
    let public = generated["public_key"].as_str().unwrap();
    world.run(&["key", "add", "-r", "repo", "--role", "owner", "--label", "ana", "--to-key", public]).ends_with(0);
    let run = World::finish(
        world.command(&["key", "show", "-r", "repo", "--key-file", "ana.key", "--json"]).env_remove("SHEAF_PASSWORD"),
    );
    assert_eq!((run.err.as_str(), &run.ends_with(0).document()["role"]), ("", &"owner".into()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(world.path("ana.key")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(world.path("ana.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let run = world.run(&["key", "show", "-r", "repo", "--key-file", "ana.key"]);
        run.ends_with(0).complains(&["other users can read the key file"]);
    }
    let by_variable = ["key", "show", "-r", "repo", "--json"];
    let run = World::finish(world.command(&by_variable).env_remove("SHEAF_PASSWORD").env("SHEAF_KEY_FILE", "ana.key"));
    assert_eq!(run.ends_with(0).document()["label"], "ana");
    // A dry run says what it would do, and does nothing.
    let before = world.json(&["key", "list", "-r", "repo"], 0);
    let planned = world.json(&["key", "rotate", "-r", "repo", "--dry-run"], 0);
    assert_eq!((&planned["dry_run"], planned["keys"].as_array().unwrap().len()), (&true.into(), 7));
    assert_eq!(world.json(&["key", "list", "-r", "repo"], 0), before);
    assert_eq!(world.json(&["key", "show", "-r", "repo", "ana"], 0)["role"], "owner");
    world.run(&["key", "generate", "ana.key"]).ends_with(1);
    let secret = fs::read_to_string(world.path("ana.key")).unwrap();
    let secret = secret.lines().find(|line| line.starts_with("SHEAF-KEY-")).unwrap();
    world.run(&["key", "generate", "ben.key"]).ends_with(0);
    let run = World::finish(
        world.command(&["snapshots", "-r", "repo", "--key-file", "ben.key"]).env_remove("SHEAF_PASSWORD"),
    );
    run.ends_with(5).complains(&["wrong key"]);
    for run in [shown, run] {
        assert!(!run.out.contains(&secret[20..]) && !run.err.contains(&secret[20..]), "a key was printed: {run:?}");
    }

    // Another password, and away.
    let change = ["key", "passwd", "-r", "repo", "--password-memory", "8"];
    as_role(&world, "depositor", &change).ends_with(0);
    as_role(&world, "depositor", &["key", "show", "-r", "repo"]).ends_with(5).complains(&["wrong password"]);
    with(OTHER, &["key", "show", "-r", "repo"]).ends_with(0);
    let planned = world.json(&["key", "revoke", "-r", "repo", "depositor", "-n"], 0);
    with(OTHER, &["key", "show", "-r", "repo"]).ends_with(0);
    let done = world.json(&["key", "revoke", "-r", "repo", "depositor"], 0);
    assert_eq!(planned["deleted"], done["deleted"]);
    with(OTHER, &["key", "show", "-r", "repo"]).ends_with(5);
    world
        .run(&["key", "revoke", "-r", "repo", "depositor"])
        .ends_with(6)
        .complains(&["no key `depositor`", "key list"]);

    // Kept elsewhere, and back.
    world.run(&["key", "export", "-r", "repo", "owner", "--to", "owner.bundle"]).ends_with(0);
    world.run(&["key", "revoke", "-r", "repo", "owner"]).ends_with(0).complains(&[]);
    as_role(&world, "owner", &["snapshots", "-r", "repo"]).ends_with(5);
    World::finish(world.command(&["key", "import", "-r", "repo", "owner.bundle"]).env_remove("SHEAF_PASSWORD"))
        .ends_with(0);
    as_role(&world, "owner", &["snapshots", "-r", "repo"]).ends_with(0);
    world.file("noise", &noise(1000, 3));
    world.run(&["key", "import", "-r", "repo", "noise"]).ends_with(1).complains(&["damaged"]);
}

/// A person with two keys and one password is not told that the other key would have been the right one.
#[test]
fn of_several_keys_with_one_password_the_one_that_can_is_taken() {
    let world = World::new();
    for role in ["operator", "owner", "auditor", "depositor"] {
        let add = ["key", "add", "-r", "repo", "--role", role, "--label", role, "--password-memory", "8"];
        World::finish(world.command(&add).env("SHEAF_NEW_PASSWORD", OTHER)).ends_with(0);
    }
    world.file("disk.img", &noise(5000, 9));
    let run = |arguments: &[&str]| World::finish(world.command(arguments).env("SHEAF_PASSWORD", OTHER));
    run(&["backup", "-r", "repo", "disk.img", "--stick", "mine"]).ends_with(0);
    run(&["check", "-r", "repo"]).ends_with(0);
    run(&["audit", "-r", "repo"]).ends_with(0);
    run(&["key", "revoke", "-r", "repo", "owner"]).ends_with(5).complains(&["cannot manage keys"]);
    run(&["snapshots", "-r", "repo"]).ends_with(0);
    // Whichever of the two that may has made the snapshot: the owner's key is the one that is asked.
    let restored = run(&["restore", "-r", "repo", "latest", "--to", "back.img"]);
    assert!([0, 6].contains(&restored.status), "{restored:?}");
}

#[test]
fn a_new_password_that_cannot_be_had_is_said() {
    let world = World::new();
    let add = ["key", "add", "-r", "repo", "--role", "auditor", "--label", "a"];
    world.run(&add).ends_with(2).complains(&["no new password", "SHEAF_NEW_PASSWORD", "--print"]);
    World::finish(world.command(&add).env("SHEAF_NEW_PASSWORD", "")).ends_with(2).complains(&["empty"]);
    world.run(&[&add[..], &["--new-password-file", "missing"]].concat()).ends_with(1).complains(&["missing"]);
    world.run(&[&add[..], &["--to-key", "SHEAF-PUB-1"]].concat()).ends_with(2).complains(&["8 groups"]);
    world.run(&["key", "add", "-r", "repo", "--role", "root", "--label", "a"]).ends_with(2).complains(&["auditor"]);
    let owned = ["key", "add", "-r", "repo", "--role", "auditor", "--label", "a", "--owner", "admin", "--print"];
    world.run(&owned).ends_with(2).complains(&["depositor"]);
    let owned = ["key", "add", "-r", "repo", "--role", "depositor", "--label", "a", "--owner", "admin", "--print"];
    world.run(&owned).ends_with(2).complains(&["an owner was expected"]);
    let list = world.json(&["key", "list", "-r", "repo"], 0);
    assert_eq!(list["keys"].as_array().unwrap().len(), 1, "nothing was made");
    assert_eq!(list["keys"][0]["used"], true);
    let last = world.run(&["key", "revoke", "-r", "repo", "admin"]);
    last.ends_with(1).complains(&["last key of role admin"]);
    assert_ne!(PASSWORD, OTHER);
}

#[test]
fn what_is_done_stands_in_the_log_and_what_is_missing_is_told() {
    let world = with_roles();
    sheaf::ops::demo::make_stick(&world.path("disk.img"), 6).unwrap();
    let run = as_role(&world, "depositor", &["backup", "-r", "repo", "disk.img", "--stick", "ana", "--json"]);
    let snapshot = run.ends_with(0).document()["snapshot"].as_str().unwrap().to_owned();
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img"]).ends_with(0);
    world.run(&["restore", "-r", "repo", "latest", "--to", "back.img"]).ends_with(1);
    as_role(&world, "operator", &["check", "-r", "repo"]).ends_with(0);
    let log = as_role(&world, "auditor", &["audit", "-r", "repo", "--verify", "--json"]).ends_with(0).document();
    let entries = log["entries"].as_array().unwrap();
    let told: Vec<[&str; 2]> =
        entries.iter().map(|entry| ["label", "action"].map(|field| entry[field].as_str().unwrap())).collect();
    let made = ["admin", "key add"];
    let expected = [
        ["admin", "init"],
        made,
        made,
        made,
        made,
        ["depositor", "backup"],
        ["admin", "restore"],
        ["admin", "restore"],
        ["operator", "check"],
    ];
    assert_eq!(told, expected);
    assert_eq!(entries[5]["snapshots"][0], snapshot);
    assert_eq!((entries[6]["result"].as_str(), entries[6]["snapshots"][0].as_str()), (Some("done"), Some(&*snapshot)));
    assert!(entries[7]["result"].as_str().unwrap().starts_with("failed: "), "{}", entries[7]);
    let shown = world.run(&["audit", "-r", "repo", "--last", "2"]);
    assert_eq!(shown.ends_with(0).out.lines().count(), 3, "{}", shown.out);

    // A snapshot is taken away behind everybody's back.
    fs::remove_file(world.path(&format!("repo/snapshots/{snapshot}"))).unwrap();
    let run = world.run(&["check", "-r", "repo"]);
    run.ends_with(4);
    assert!(run.out.contains("snapshot-missing") && run.out.contains("made by `depositor`"), "{}", run.out);
    world.run(&["audit", "-r", "repo", "--verify"]).ends_with(4);
    // An older repository, whole in itself: this machine remembers, and says so with whatever it does.
    for entry in fs::read_dir(world.path("repo/audit")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let run = as_role(&world, "depositor", &["backup", "-r", "repo", "disk.img", "--stick", "ana"]);
    run.ends_with(0).complains(&["entries of the audit log that this machine has seen are gone"]);
    let run = world.run(&["check", "-r", "repo"]);
    run.ends_with(4);
    assert!(run.out.contains("audit-missing"), "{}", run.out);
}

/// A log that cannot be written keeps nobody from getting data back.
#[cfg(unix)]
#[test]
fn a_repository_that_cannot_be_written_to_restores_and_says_that_it_could_not_log() {
    let world = World::new();
    world.file("disk.img", &noise(100_000, 8));
    world.backup("disk.img", "ana");
    // A file where the folder should be: it holds root back as well.
    fs::remove_dir_all(world.path("repo/audit")).unwrap();
    world.file("repo/audit", b"");
    let run = world.run(&["restore", "-r", "repo", "latest", "--to", "back.img"]);
    run.ends_with(0).complains(&["the audit log could not be written"]);
    assert!(world.read("back.img") == world.read("disk.img"));
}

/// A process that holds keys leaves no core, whatever ends it.
#[cfg(target_os = "linux")]
#[test]
fn a_process_that_holds_keys_is_not_dumped() {
    use std::os::unix::process::ExitStatusExt;
    let world = World::new();
    let run = |command: &str| {
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-c", &format!("ulimit -c unlimited; exec {command}")]).current_dir(world.path(""));
        shell.env("SHEAF", env!("CARGO_BIN_EXE_sheaf")).stdin(std::process::Stdio::null()).output().unwrap().status
    };
    // Another program that is ended so is dumped, where the machine does that at all.
    let other = run("sh -c 'kill -ABRT $$'");
    if !other.core_dumped() {
        eprintln!("skipped: this machine dumps no cores");
        return;
    }
    let status = run("\"$SHEAF\" snapshots -r repo --password-command 'kill -ABRT $PPID; sleep 1'");
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(!status.core_dumped(), "{status}");
}
