//! Programs that make volumes, fill them and read them.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program; `None` when it is not there.
pub fn run(name: &str, arguments: &[&str]) -> Option<bool> {
    let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new(name);
    command.args(arguments).env("PATH", paths).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().ok().map(|status| status.success())
}

pub fn make(path: &Path, size: u64, cluster: u64, sector: u64) -> bool {
    std::fs::File::create(path).unwrap().set_len(size).unwrap();
    let (cluster, sector) = (cluster.to_string(), sector.to_string());
    let path = path.to_str().unwrap();
    let arguments =
        ["-F", "-Q", "-q", "-T", "-L", "Sheaf", "-c", &cluster, "-s", &sector, "-p", "0", "-H", "0", "-S", "0", path];
    match run("mkntfs", &arguments) {
        Some(true) => true,
        Some(false) => panic!("mkntfs {arguments:?}"),
        None => {
            eprintln!("skipped: mkntfs is not there");
            false
        }
    }
}

/// Mounted by ntfs-3g; unmounted when it is dropped.
pub struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// `None` when it cannot be.
    pub fn new(volume: &Path, mount: &'a Path, options: &str) -> Option<Self> {
        if run("ntfs-3g", &["-o", options, volume.to_str().unwrap(), mount.to_str().unwrap()]) == Some(true) {
            return Some(Self(mount));
        }
        eprintln!("skipped: ntfs-3g does not mount here");
        None
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // What writes is done when the program that mounted it is.
        let done = run("fusermount3", &["-u", self.0.to_str().unwrap()]);
        if done != Some(true) {
            run("umount", &[self.0.to_str().unwrap()]);
        }
    }
}
