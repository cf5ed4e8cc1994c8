//! Every command of the README is run, in its order, and prints what the README shows.
//!
//! Always true here:
//! - After a change of what is printed, `UPDATE_README=1 cargo test --test readme` writes the new output into the README.
//! - A command that is not run, or whose output is not compared, stands in a list here with the reason. A list's entry that
//!   meets nothing fails the test, and so does a command that fails.
//! - `/dev/sdb`, `/mnt/backups` and `/root` of the README lie in a temporary folder. Drives are small image files there,
//!   `sudo` runs what follows it, and the password comes from the environment, since there is no terminal.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod page;

use page::{Part, Step, code, links, mask, parse, same};
use sheaf::ops::demo::{make_stick, use_stick};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const PAGE: &str = include_str!("../../README.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SHEAF: &str = env!("CARGO_BIN_EXE_sheaf");
const PASSWORD: &str = "correct horse battery staple";

/// Commands that are not run.
const NOT_RUN: [(&str, &str); 6] = [
    ("sudo sheaf mount -r /mnt/backups/sticks /mnt/look", "serves until it is stopped; tests/cli mounts"),
    (
        "sudo sheaf serve-nbd -r /mnt/backups/sticks ana:latest --writable-overlay night.overlay",
        "serves until it is stopped; tests/cli serves",
    ),
    ("cargo test", "this test is a part of it"),
    ("cargo build --release", "the binary was built for this test"),
    ("fuzz/run 60", "needs a nightly compiler and a quarter of an hour"),
    (
        "cargo test --release --features simulator --test simulator until -- --ignored --nocapture",
        "runs until it is stopped; .ci/run runs 2,000 seeds",
    ),
];

/// Commands whose output is not compared.
const NOT_COMPARED: [(&str, &str); 1] =
    [("lsblk -o NAME,SIZE,MODEL,SERIAL,MOUNTPOINTS", "shows the drives of this machine, and there may be none")];

/// What stands in a command of the README, and what is run in its place. `{}` is the temporary folder.
const STANDS_FOR: [(&str, &str); 6] = [
    ("cargo run --release --", "sheaf"),
    ("target/release/sheaf", SHEAF),
    ("/usr/local/bin/", "{}/usr/local/bin/"),
    ("/dev/sdb", "{}/dev/sdb"),
    ("/mnt/backups", "{}/mnt/backups"),
    ("/root/", "{}/root/"),
];

/// Something that happens outside of the commands.
type Event = fn(&World);

/// What happens in the world when the reader comes to a line that begins like this.
const EVENTS: [(&str, Event); 4] = [
    ("## Getting a stick back", World::a_stick_was_lost),
    ("## The first backup", World::nothing_is_backed_up_yet),
    ("A day later", World::a_day_of_use),
    ("## Several sticks", World::another_stick),
];

/// The machine of the reader.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: TempDir::with_prefix("sheaf-readme-").unwrap() };
        for folder in ["bin", "usr/local/bin", "dev", "mnt/backups", "root", "work"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        symlink(SHEAF, world.path("bin/sheaf")).unwrap();
        fs::write(world.path("bin/sudo"), "#!/bin/sh\nexec \"$@\"\n").unwrap();
        fs::set_permissions(world.path("bin/sudo"), fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn drive(&self) -> PathBuf {
        self.path("dev/sdb")
    }

    fn real(&self, command: &str) -> String {
        let folder = self.folder.path().to_str().unwrap();
        STANDS_FOR
            .iter()
            .fold(command.to_owned(), |command, (shown, real)| command.replace(shown, &real.replace("{}", folder)))
    }

    /// Runs commands as one session of a shell, and gives what each printed, with its exit status.
    fn session(&self, commands: &[&str]) -> Vec<(String, i32)> {
        // Behind each command a line that no command prints, with the status, which the next command sees as well.
        let script: String = commands
            .iter()
            .map(|command| format!("{}\n__s=$?; printf '\\001%s\\n' $__s; (exit $__s)\n", self.real(command)))
            .collect();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.path("work"))
            .env_clear()
            .env("PATH", format!("{}:{}:{path}", self.path("bin").display(), self.path("usr/local/bin").display()))
            .env("HOME", self.path("root"))
            .env("TZ", "UTC")
            .env("SHEAF_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap().replace(self.folder.path().to_str().unwrap(), "");
        let mut results = Vec::new();
        let mut rest = text.as_str();
        while let Some((printed, behind)) = rest.split_once('\u{1}') {
            let (status, behind) = behind.split_once('\n').unwrap();
            results.push((printed.to_owned(), status.parse().unwrap()));
            rest = behind;
        }
        assert_eq!(results.len(), commands.len(), "the session ended early: {text}");
        results
    }

    fn setup(&self, command: &str) {
        let result = self.session(&[command]).remove(0);
        assert_eq!(result.1, 0, "{command}: {}", result.0);
    }

    /// What a reader has who lost a stick: a repository, and a new stick that is empty.
    fn a_stick_was_lost(&self) {
        self.setup("sheaf init -r /mnt/backups/sticks");
        make_stick(&self.drive(), 1).unwrap();
        self.setup("sheaf backup -r /mnt/backups/sticks /dev/sdb --stick ana");
        make_stick(&self.path("dev/ben"), 2).unwrap();
        self.setup(&format!("sheaf backup -r /mnt/backups/sticks {} --stick ben", self.path("dev/ben").display()));
        use_stick(&self.drive()).unwrap();
        self.setup("sheaf backup -r /mnt/backups/sticks /dev/sdb --stick ana");
        fs::rename(self.drive(), self.path("dev/lost")).unwrap();
    }

    /// Another reader, on another machine.
    fn nothing_is_backed_up_yet(&self) {
        let same = |restored: &str| fs::read(self.path(restored)).unwrap() == fs::read(self.path("dev/lost")).unwrap();
        assert!(same("dev/sdb") && same("work/ana.img"), "what came back is not what was lost");
        fs::remove_dir_all(self.path("mnt/backups/sticks")).unwrap();
        fs::remove_dir_all(self.path("root/.cache")).unwrap();
        make_stick(&self.drive(), 1).unwrap();
    }

    fn a_day_of_use(&self) {
        use_stick(&self.drive()).unwrap();
    }

    fn another_stick(&self) {
        make_stick(&self.drive(), 2).unwrap();
    }
}

fn hostname() -> String {
    let output = Command::new("uname").arg("-n").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The machine of the README is called `desk`; lists of snapshots show that.
fn rename(command: &str, line: &str) -> String {
    let is_list = [" snapshots ", " audit "].iter().any(|word| command.contains(word));
    let host = hostname();
    let words = line.split(' ').map(|word| if is_list && word == host { "desk" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// A step that did not go as the page says.
struct Problem {
    step: Step,
    /// What it printed; none when it failed.
    found: Option<Vec<String>>,
    words: String,
}

/// Runs one block; gives what is wrong.
fn run(world: &World, steps: &[Step], met: &mut BTreeSet<String>) -> Vec<Problem> {
    let listed = |list: &[(&str, &str)], command: &str| list.iter().any(|(listed, _)| *listed == command);
    let chosen: Vec<&Step> = steps.iter().filter(|step| !listed(&NOT_RUN, &step.command)).collect();
    let commands: Vec<&str> = chosen.iter().map(|step| step.command.as_str()).collect();
    let mut problems = Vec::new();
    met.extend(steps.iter().map(|step| step.command.clone()));
    for (step, (printed, status)) in chosen.into_iter().zip(world.session(&commands)) {
        let Step { line, command, output } = step;
        let found: Vec<String> = printed.lines().map(|line| rename(command, line)).collect();
        if listed(&NOT_COMPARED, command) {
            continue;
        }
        if status != 0 {
            let words = format!("line {line}: `{command}` ended with {status}: {printed}");
            problems.push(Problem { step: step.clone(), found: None, words });
        } else if !same(output, &found) {
            let words =
                format!("line {line}: `{command}` printed\n{}\nand not\n{}", found.join("\n"), output.join("\n"));
            problems.push(Problem { step: step.clone(), found: Some(found), words });
        }
    }
    problems
}

/// Puts what was printed into the page.
fn update(problems: &[Problem]) {
    let mut lines: Vec<String> = PAGE.lines().map(str::to_owned).collect();
    for Problem { step, found, .. } in problems.iter().rev() {
        if let Some(found) = found {
            lines.splice(step.line..step.line + step.output.len(), found.iter().cloned());
        }
    }
    fs::write(Path::new(ROOT).join("README.md"), lines.join("\n") + "\n").unwrap();
}

#[test]
fn every_command_prints_what_is_shown() {
    let world = World::new();
    let (mut met, mut problems) = (BTreeSet::new(), Vec::new());
    let mut events: Vec<_> = EVENTS.to_vec();
    for part in parse(PAGE).unwrap() {
        match part {
            Part::Session(steps) => problems.extend(run(&world, &steps, &mut met)),
            Part::Prose(line) => {
                if let Some(index) = events.iter().position(|(begin, _)| line.starts_with(begin)) {
                    (events.remove(index).1)(&world);
                }
            }
        }
    }
    if std::env::var_os("UPDATE_README").is_some() {
        update(&problems);
    }
    let words: Vec<_> = problems.into_iter().map(|problem| problem.words).collect();
    assert!(words.is_empty(), "\n{}\n", words.join("\n\n"));
    let left: Vec<_> = events.iter().map(|(begin, _)| begin).collect();
    assert!(left.is_empty(), "the README has no such lines any more: {left:?}");
    for (command, reason) in NOT_RUN.iter().chain(&NOT_COMPARED) {
        assert!(met.contains(*command), "the README has no `{command}` any more, which was left out: {reason}");
    }
    let all: String = met.into_iter().collect();
    for (shown, _) in STANDS_FOR.iter().filter(|(shown, _)| *shown != "/root/") {
        assert!(all.contains(shown), "the README has no `{shown}` any more");
    }
}

#[test]
fn commands_in_the_prose_exist() {
    let help = Command::new(SHEAF).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut seen = 0;
    for part in parse(PAGE).unwrap() {
        let Part::Prose(line) = part else { continue };
        for text in code(&line) {
            let mut words = text.split_whitespace();
            if words.next() != Some("sheaf") {
                continue;
            }
            let command = words.next().unwrap_or("--help");
            assert!(help.contains(&format!("\n  {command} ")), "`{text}`: there is no such command");
            let own = Command::new(SHEAF).args([command, "--help"]).output().unwrap();
            let own = String::from_utf8(own.stdout).unwrap();
            for option in words.filter(|word| word.starts_with("--")) {
                assert!(own.contains(option), "`{text}`: there is no such option");
            }
            seen += 1;
        }
    }
    assert!(seen >= 3, "the prose was not read");
}

#[test]
fn links_lead_somewhere() {
    let prose = PAGE.lines().flat_map(links).filter(|target| !target.starts_with("https://"));
    let targets: Vec<&str> = prose.collect();
    assert!(targets.len() >= 4, "{targets:?}");
    for target in targets {
        assert!(Path::new(ROOT).join(target).exists(), "{target} is not there");
    }
}

#[test]
fn masks_hide_only_what_varies() {
    assert_eq!(mask(" 2b9f8361  2026-03-02 18:04  ana    64.0 MiB"), mask("c01d77e5 2027-01-01 00:59 ana 64.0 MiB"));
    assert_eq!(mask("Snapshot 2b9f8361 of ana: 64.0 MiB in 0.5 s."), "Snapshot ID of ana: 64.0 MiB in SECONDS s.");
    assert_eq!(mask("in 0.4 s; read back"), "in SECONDS s; read back");
    assert_eq!(mask("Snapshot 49154511, after a day"), "Snapshot ID, after a day");
    assert_eq!(mask("  \"seconds\": 0.031"), "\"seconds\": SECONDS");
    assert_eq!(mask("  \"bytes_source\": 67108864,"), "\"bytes_source\": 67108864,");
    assert_eq!(mask("/tmp/sheaf-demo-1155/repo"), "/tmp/sheaf-demo-PROCESS/repo");
    let same = |shown: &str, found: &str| same(&[shown.to_owned()], &[found.to_owned()]);
    assert!(same("became 3.5 MiB in 2 packs.", "became 3.6 MiB in 2 packs.") && same("512.1 KiB.", "500.0 KiB."));
    assert!(!same("became 3.5 MiB in 2 packs.", "became 3.5 MiB in 3 packs."));
    assert!(!same("3.5 MiB", "3.5 KiB") && !same("3.5 MiB", "4.0 MiB") && !same("of ana", "of ben"));
}

#[test]
fn a_page_that_would_hide_a_command_is_refused() {
    assert!(parse("```sh\nls\n```").unwrap_err().contains("line 1"));
    assert!(parse("```\nls\n```").is_err());
    assert!(parse("```console\nout\n```").unwrap_err().contains("line 2"));
    assert!(parse("```console\n$ ls").is_err());
    let parts = parse("a `b`\n```console\n$ one\nout\n$ two\n```\n").unwrap();
    let Part::Session(steps) = &parts[1] else { panic!("{parts:?}") };
    let step = |line, command: &str, output: &[&str]| Step {
        line,
        command: command.to_owned(),
        output: output.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(*steps, [step(3, "one", &["out"]), step(5, "two", &[])]);
    let world = World::new();
    let mut met = BTreeSet::new();
    for wrong in [step(1, "echo other", &["word"]), step(1, "false", &[]), step(1, "no-such-command", &[])] {
        assert_eq!(run(&world, &[wrong], &mut met).len(), 1);
    }
    assert!(run(&world, &[step(1, "X=1", &[]), step(2, "echo $X", &["1"])], &mut met).is_empty());
}
