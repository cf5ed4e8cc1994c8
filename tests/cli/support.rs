//! A folder, a repository in it, and the real binary, for tests of the command line.
//!
//! Always true here:
//! - Each test has a folder of its own, a clean environment, no terminal, and its cache inside of the folder.
//! - No run prints a password: [`World::finish`] looks at all that was printed, whatever the test is about.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The password of repositories here.
pub(crate) const PASSWORD: &str = "Tr0ub4dor&3-horse";
/// Another password, for whatever needs one.
pub(crate) const OTHER: &str = "0ther-Battery-Staple";

/// A folder with all that a test makes.
pub(crate) struct World {
    folder: TempDir,
}

/// What a run of the binary did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self { folder: TempDir::with_prefix("sheaf-cli-").unwrap() }
    }

    /// A folder with a repository, `repo`, whose password is cheap to try.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        world.run(&["init", "-r", "repo", "--password-memory", "8"]).ends_with(0);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of this content and gives its name.
    pub(crate) fn file<'a>(&self, name: &'a str, content: &[u8]) -> &'a str {
        fs::write(self.path(name), content).unwrap();
        name
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The binary with these arguments, ready to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.folder.path());
        command.env("SHEAF_PASSWORD", PASSWORD);
        command
    }

    /// Runs the binary with the password in the environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Self::finish(&mut self.command(arguments))
    }

    /// Runs it with `--json` as well, and reads the one document that it prints.
    pub(crate) fn json(&self, arguments: &[&str], status: i32) -> Value {
        let run = self.run(&[arguments, &["--json"]].concat());
        run.ends_with(status);
        run.document()
    }

    /// Backs a file up under a name and gives the snapshot's id.
    pub(crate) fn backup(&self, file: &str, stick: &str) -> String {
        let document = self.json(&["backup", "-r", "repo", file, "--stick", stick], 0);
        document["snapshot"].as_str().unwrap().to_owned()
    }

    /// Runs a command to its end.
    pub(crate) fn finish(command: &mut Command) -> Run {
        Run::of(&command.output().unwrap())
    }
}

impl Run {
    /// Takes what a process left.
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("what is printed is UTF-8");
        let run =
            Self { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
        for password in [PASSWORD, OTHER] {
            assert!(!run.out.contains(password) && !run.err.contains(password), "a password was printed: {run:?}");
        }
        assert!(!run.err.contains("panicked"), "{run:?}");
        run
    }

    /// Holds the run to its exit status.
    #[track_caller]
    pub(crate) fn ends_with(&self, status: i32) -> &Self {
        assert_eq!(self.status, status, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Holds the run to words on standard error.
    #[track_caller]
    pub(crate) fn complains(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON document: {error}: {self:?}"))
    }
}

/// Holds a JSON object to keys and the types of their values.
#[track_caller]
pub(crate) fn has(object: &Value, keys: &[(&str, &str)]) {
    for (key, expected) in keys {
        let found = match &object[*key] {
            Value::String(_) => "text",
            Value::Bool(_) => "flag",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
            Value::Number(number) if number.is_u64() => "count",
            Value::Number(_) => "number",
            Value::Null => "nothing",
        };
        // A number of seconds may be whole.
        let fits = found == *expected || (*expected, found) == ("number", "count");
        assert!(fits, "`{key}` is {found}, {expected} was expected: {object}");
    }
}

/// Bytes that look random and are the same each time.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A loop device over a file, as a stand-in for a drive.
pub(crate) struct Drive(String);

impl Drive {
    /// Attaches a file; `None`, said on standard error, where this machine or user cannot.
    pub(crate) fn attach(file: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        match output {
            Ok(output) if output.status.success() => {
                Some(Self(String::from_utf8(output.stdout).unwrap().trim().to_owned()))
            }
            _ => {
                eprintln!("skipped: no loop device can be had here");
                None
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}
