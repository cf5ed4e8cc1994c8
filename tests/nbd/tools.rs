//! Programs that speak the protocol: libnbd's tools and qemu's.

use crate::support::{MIB, Running, TestDisk, spotted};
use sheaf::serve::nbd::{Export, Options, Overlay};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Whether a program is there; says so where it is not.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Runs a program that must do its work, and gives what it printed.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
    assert!(output.status.success(), "{program} {}: {text}{error}", arguments.join(" "));
    text
}

#[test]
fn nbdinfo_tells_what_there_is() {
    if !has("nbdinfo") {
        return;
    }
    let exports = vec![
        Export::read_only("disk", "Evidence of 2031", Arc::new(spotted())),
        Export::read_only("other", "", Arc::new(TestDisk::new(77, &[]))),
    ];
    let server = Running::start(exports, Options::default());
    let text = run("nbdinfo", &["--json", &server.uri("")]);
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&found["protocol"], &found["structured"]), (&"newstyle-fixed".into(), &true.into()));
    let export = &found["exports"][0];
    assert_eq!(export["description"], "Evidence of 2031");
    assert_eq!(export["export-size"], 6 * MIB + 1234);
    assert_eq!(export["contexts"][0], "base:allocation");
    for (fact, value) in
        [("is_read_only", true), ("can_multi_conn", true), ("can_df", true), ("can_flush", true), ("can_trim", false)]
    {
        assert_eq!(export[fact], value, "{fact}");
    }
    assert_eq!((&export["block_size_minimum"], &export["block_size_maximum"]), (&1.into(), &(32 << 20).into()));
    let text = run("nbdinfo", &["--json", "--list", &server.uri("")]);
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&found["exports"][0]["export-name"], &found["exports"][1]["export-name"]),
        (&"disk".into(), &"other".into())
    );
    let text = run("nbdinfo", &["--json", "--map", &server.uri("disk")]);
    let map: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let kinds: Vec<_> = map.as_array().unwrap().iter().map(|run| run["type"].as_u64().unwrap()).collect();
    assert_eq!(kinds, [0, 3, 0, 3, 0, 3, 0]);
    let refused = Command::new("nbdinfo").arg(server.uri("third")).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("No such file or directory for export: third"), "{said}");
}

#[test]
fn nbdcopy_copies_all_of_it() {
    if !has("nbdcopy") {
        return;
    }
    let server = Running::disk(spotted());
    let file = server.folder.path().join("copy");
    // Four connections, 64 requests on each.
    run("nbdcopy", &[OsStr::new(&server.uri("")), file.as_os_str()]);
    assert!(fs::read(&file).unwrap() == spotted().bytes);
    let damaged = Running::disk(spotted().damaged(&[2 * MIB..2 * MIB + 1]));
    let refused = Command::new("nbdcopy").arg(damaged.uri("")).arg(&file).output().unwrap();
    assert!(!refused.status.success());
}

#[test]
fn qemu_reads_compares_and_maps() {
    if !has("qemu-img") {
        return;
    }
    let server = Running::disk(spotted());
    let folder = server.folder.path();
    let (copy, raw) = (folder.join("copy.qcow2"), folder.join("raw"));
    fs::write(&raw, spotted().bytes).unwrap();
    let uri = server.uri("");
    let paths = [copy.to_str().unwrap(), raw.to_str().unwrap()];
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &uri, paths[0]]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, paths[1]]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", &uri, paths[0]]);
    let text = run("qemu-img", &["map", "--output=json", "-f", "raw", &uri]);
    let map: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let runs: Vec<_> = map
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["start"].as_u64().unwrap(), run["length"].as_u64().unwrap(), run["data"].as_bool().unwrap()))
        .collect();
    assert_eq!(runs[..3], [(0, 12_288, true), (12_288, MIB - 12_288, false), (MIB, 2 * MIB + 4096, true)]);
    let refused = Command::new("qemu-io").args(["-f", "raw", "-c", "write 0 512", &uri]).output().unwrap();
    assert!(!refused.status.success(), "it is read-only");
}

#[test]
fn qemu_writes_to_an_overlay() {
    if !has("qemu-io") || !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let size = 8 * MIB;
    let disk = || TestDisk::new(size, &[0..3 * MIB]);
    let mut model = disk().bytes;
    let server = Running::overlay(&path, disk());
    let commands = [
        "write -P 0x11 1000 5000",
        "write -P 0x22 -f 65536 65536",
        "write -z 131072 262144",
        "write -z -u 2097152 65536",
        "discard 3145728 65536",
        "discard 1048576 65536",
        "flush",
        "read -P 0x11 1000 5000",
        "read -P 0 131072 262144",
        "read -P 0 1048576 65536",
    ];
    let mut arguments = vec!["-f", "raw"];
    for command in commands {
        arguments.extend(["-c", command]);
    }
    let uri = server.uri("");
    arguments.push(&uri);
    let said = run("qemu-io", &arguments);
    assert!(!said.contains("failed") && !said.contains("error"), "{said}");
    model[1000..6000].fill(0x11);
    model[65_536..131_072].fill(0x22);
    for (start, length) in [(131_072, 262_144), (2_097_152, 65_536), (1_048_576, 65_536)] {
        model[start..start + length].fill(0);
    }
    server.stop().unwrap();
    // A second server finds it all again, and others agree on it.
    let server = Running::overlay(&path, disk());
    let raw = folder.path().join("raw");
    fs::write(&raw, &model).unwrap();
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &server.uri(""), raw.to_str().unwrap()]);
    server.stop().unwrap();
    // A whole image is put in, with holes where it has them.
    let other = spotted().bytes;
    fs::write(&raw, &other).unwrap();
    File::options().write(true).open(&raw).unwrap().set_len(size).unwrap();
    let overlay = Arc::new(Overlay::open(&path, Arc::new(disk()), [7; 32]).unwrap());
    let server = Running::start(vec![Export::writable("disk", "", overlay)], Options::default());
    run("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", raw.to_str().unwrap(), &server.uri("")]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &server.uri(""), raw.to_str().unwrap()]);
    if has("nbdcopy") {
        fs::write(&raw, &model).unwrap();
        run("nbdcopy", &["--flush", raw.to_str().unwrap(), &server.uri("")]);
        run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &server.uri(""), raw.to_str().unwrap()]);
    }
}

#[test]
fn nbdfuse_makes_a_file_of_it() {
    if !has("nbdfuse") || !std::path::Path::new("/dev/fuse").exists() {
        return;
    }
    let server = Running::disk(spotted());
    let folder = server.folder.path().join("mounted");
    fs::create_dir(&folder).unwrap();
    let mut mount = Command::new("nbdfuse").arg("-r").arg(&folder).arg(server.uri("")).spawn().unwrap();
    let file = folder.join("nbd");
    while !file.exists() {
        if mount.try_wait().unwrap().is_some() {
            eprintln!("skipped: nbdfuse does not mount here");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let found = fs::read(&file);
    let unmounted = Command::new("fusermount3").arg("-u").arg(&folder).status().is_ok_and(|status| status.success());
    if !unmounted {
        let _ = mount.kill();
    }
    let _ = mount.wait();
    assert!(found.unwrap() == spotted().bytes);
}
