//! Other programs that read and write VHDs. A test that needs one that is not installed says so and passes.
//!
//! `apt-get install qemu-utils` gives qemu-img. The Python readers are found through `SHEAF_TEST_PYTHON`, an interpreter
//! that has them (`pip install libvhdi-python dissect.hypervisor` in an environment of its own), or else `python3`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Whether a program can be run at all; says so where it cannot.
pub(crate) fn has(program: &str, arguments: &[&str]) -> bool {
    let found = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: `{program} {}` does not run here", arguments.join(" "));
    }
    found
}

pub(crate) fn has_qemu_img() -> bool {
    has("qemu-img", &["--version"])
}

/// Runs a program that must do its work, and gives what it printed.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
    assert!(output.status.success(), "{program} {}: {text}{error}", arguments.join(" "));
    text
}

fn interpreter() -> String {
    std::env::var("SHEAF_TEST_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// libvhdi's reader: the output, the child, its parent, and so on.
const LIBVHDI: &str = "
import sys, pyvhdi
files = []
for path in sys.argv[2:]:
    file = pyvhdi.file()
    file.open(path)
    files.append(file)
for child, parent in zip(files, files[1:]):
    child.set_parent(parent)
left = files[0].get_media_size()
with open(sys.argv[1], 'wb') as out:
    while left:
        part = files[0].read_buffer(min(left, 1 << 20))
        assert part
        out.write(part)
        left -= len(part)
";

/// dissect's reader: the output and a disk without a parent.
const DISSECT: &str = "
import sys
from dissect.hypervisor.disk.vhd import VHD
with open(sys.argv[2], 'rb') as file, open(sys.argv[1], 'wb') as out:
    disk = VHD(file)
    left = disk.size
    while left:
        part = disk.read(min(left, 1 << 20))
        assert part
        out.write(part)
        left -= len(part)
";

/// What libvhdi reads from a chain, the child first.
pub(crate) fn read_by_libvhdi(folder: &Path, chain: &[&Path]) -> Option<Vec<u8>> {
    python("pyvhdi", LIBVHDI, folder, chain)
}

/// What dissect.hypervisor reads from a disk without a parent.
pub(crate) fn read_by_dissect(folder: &Path, disk: &Path) -> Option<Vec<u8>> {
    python("dissect.hypervisor.disk.vhd", DISSECT, folder, &[disk])
}

fn python(module: &str, script: &str, folder: &Path, files: &[&Path]) -> Option<Vec<u8>> {
    let python = interpreter();
    if !has(&python, &["-c", &format!("import {module}")]) {
        return None;
    }
    let out = folder.join("read-by-python.raw");
    let mut arguments = vec![OsStr::new("-c"), OsStr::new(script), out.as_os_str()];
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    run(&python, &arguments);
    Some(std::fs::read(&out).expect("it was written"))
}
