//! Hives that hivexregedit (hivex) makes of text, read here; and hives made here, read by hivexget.

use crate::hive::{Hive, text};
use crate::{KEPT, told};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program and gives what it prints; `None`, which is said, where it is not there.
fn run(name: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(name).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(_) => {
            eprintln!("skipped: {name} is not there");
            None
        }
    }
}

fn hives() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/windows/hives")
}

/// A hive that holds what a text file of the registry editor says.
fn made(registry: &Path) -> Option<Vec<u8>> {
    let mut empty = Hive::new();
    let root = empty.key("ROOT", &[], &[]);
    let folder = tempfile::tempdir().unwrap();
    let hive = folder.path().join("SOFTWARE");
    std::fs::write(&hive, empty.finish(root)).unwrap();
    run("hivexregedit", &["--merge", hive.to_str().unwrap(), registry.to_str().unwrap()])?;
    Some(std::fs::read(&hive).unwrap())
}

/// With `UPDATE_HIVES` set, the hives that are kept are written again.
#[test]
fn hives_of_hivexregedit_are_read() {
    for (name, _, expected) in KEPT {
        let Some(hive) = made(&hives().join(format!("{name}.reg"))) else { return };
        if std::env::var_os("UPDATE_HIVES").is_some() {
            std::fs::write(hives().join(format!("{name}.hive")), &hive).unwrap();
        }
        assert_eq!(told(Some(&hive), None).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn a_hive_of_many_keys_is_read() {
    // Hundreds that hints tell apart, and values with names longer than those that are looked for.
    let mut registry = String::from("Windows Registry Editor Version 5.00\n\n[\\Microsoft]\n\n");
    for number in 0..700 {
        registry += &format!("[\\Microsoft\\W{number}]\n\n");
    }
    registry += "[\\Microsoft\\Windows NT]\n\n[\\Microsoft\\Windows NT\\CurrentVersion]\n";
    for number in 0..300 {
        registry += &format!("\"A value with a long name that nobody looks for {number}\"=\"x\"\n");
    }
    registry +=
        "\"ProductName\"=\"Windows Server 2019 Standard\"\n\"currentbuild\"=\"17763\"\n\"Ubr\"=dword:00000001\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.reg");
    std::fs::write(&path, registry).unwrap();
    let Some(hive) = made(&path) else { return };
    assert_eq!(told(Some(&hive), None).as_deref(), Some("Windows Server 2019 Standard, build 17763.1"));
}

#[test]
fn hives_made_here_are_hives() {
    let mut hive = Hive::new();
    let values = [
        hive.value("ProductName", 1, &text("Windows 7 Professional")),
        hive.wide_value("CSDVersion", 1, &text("Service Pack 1")),
        hive.value("CurrentBuildNumber", 1, &text("7601")),
        hive.value("Short", 1, &text("x")),
        hive.value("UBR", 4, &24_545_u32.to_le_bytes()),
    ];
    let bytes = hive.with(&values);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("SOFTWARE");
    std::fs::write(&path, &bytes).unwrap();
    let get = |name| run("hivexget", &[path.to_str().unwrap(), "Microsoft\\Windows NT\\CurrentVersion", name]);
    assert_eq!(told(Some(&bytes), None).as_deref(), Some("Windows 7 Professional Service Pack 1, build 7601.24545"));
    for (name, expected) in
        [("ProductName", "Windows 7 Professional"), ("CSDVersion", "Service Pack 1"), ("Short", "x")]
    {
        let Some(value) = get(name) else { return };
        assert_eq!(value.trim_end(), expected);
    }
}
