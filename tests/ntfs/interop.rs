//! Volumes that mkntfs made and ntfscp filled (ntfs-3g), held against what was put in.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::judge::{bytes, claims, contents, extents, notes, unclaimed};
use crate::scale::Image;
use sheaf::disk::ReadAt;
use sheaf::layout::Content;
use sheaf::layout::ntfs::NtfsVolume;

/// Runs a program; `None` when it is not there.
fn run(name: &str, arguments: &[&str]) -> Option<bool> {
    let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new(name);
    command.args(arguments).env("PATH", paths).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().ok().map(|status| status.success())
}

fn make(path: &Path, size: u64, cluster: u64, sector: u64) -> bool {
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

#[test]
fn what_ntfscp_put_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    for (cluster, sector) in [(512, 512), (4096, 512), (4096, 4096), (65536, 512), (2 << 20, 512)] {
        if !make(&path, if cluster > 1 << 20 { 512 << 20 } else { 64 << 20 }, cluster, sector) {
            return;
        }
        let mut files = Vec::new();
        for (index, length) in [4095, 4096, 4097, 65_536, 100_001, 1_234_567].into_iter().enumerate() {
            let file = folder.path().join("file");
            let content = bytes(index as u64 + cluster, length);
            std::fs::write(&file, &content).unwrap();
            let name = format!("file {index}");
            let done = run("ntfscp", &["-q", "-f", path.to_str().unwrap(), file.to_str().unwrap(), &name]);
            if done.is_none() {
                eprintln!("skipped: ntfscp is not there");
                return;
            }
            assert_eq!(done, Some(true), "ntfscp, clusters of {cluster}");
            files.push(content);
        }
        let image = Image::open(&path);
        let volume = NtfsVolume::open(&image).unwrap().expect("NTFS");
        let facts = volume.facts();
        assert_eq!((facts.cluster_size, facts.sector_size, facts.version), (cluster, sector, (3, 1)));
        assert_eq!((facts.label.as_deref(), facts.is_dirty), (Some("Sheaf"), false));
        let claims = claims(&image);
        assert_eq!((notes(&claims), claims.doubts_free()), (Vec::new(), false), "{cluster}");
        let streams = contents(&claims, Content::File, &image);
        for content in files {
            assert!(streams.contains(&content), "{cluster}: {} bytes", content.len());
        }
        // What nobody claims is what lies behind the last whole cluster, but for the boot sector's copy.
        let left = unclaimed(&claims, image.size());
        let behind = image.size() - facts.clusters * cluster - sector;
        assert_eq!(left, behind, "{cluster}: {:?}", extents(&claims).last());
    }
}
