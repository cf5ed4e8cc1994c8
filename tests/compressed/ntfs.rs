//! A volume that ntfs-3g wrote compressed files to. Where their clusters are is asked of `ntfsinfo`.
#![cfg(target_os = "linux")]

use super::{code, mixture, noise, run};
use rustix::fs::{XattrFlags, setxattr};
use sheaf::layout::compressed::lznt1;
use std::fs;
use std::path::Path;

const CLUSTER: usize = 4096;

/// What is compressed as one: 16 clusters.
const UNIT: usize = 16 * CLUSTER;

/// Mounted by ntfs-3g; unmounted when it is dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let path = self.0.to_str().expect("text");
        if run("fusermount3", &["-u", path]).is_none() {
            run("umount", &[path]);
        }
    }
}

/// The clusters of a file's units, as far as they are there.
fn units(image: &[u8], listing: &str) -> Vec<Vec<u8>> {
    let data = listing.split_once("attribute $DATA").expect("it has content").1;
    let runs = data.split_once("Runlist:").expect("it is not in the record").1;
    let hexadecimal = |word: &str| usize::from_str_radix(word.trim_start_matches("0x"), 16).expect("a number");
    let mut units: Vec<Vec<u8>> = Vec::new();
    for line in runs.lines().skip(1).take_while(|line| line.starts_with('\t')) {
        let [vcn, lcn, length] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("a run: {line}") };
        for cluster in 0..hexadecimal(length) {
            let unit = (hexadecimal(vcn) + cluster) * CLUSTER / UNIT;
            units.resize(units.len().max(unit + 1), Vec::new());
            if lcn != "<HOLE>" {
                let at = (hexadecimal(lcn) + cluster) * CLUSTER;
                units[unit].extend(&image[at..at + CLUSTER]);
            }
        }
    }
    units
}

#[test]
fn what_ntfs_3g_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (image, mount) = (folder.path().join("volume"), folder.path().join("mount"));
    let (image_name, mount_name) = (image.to_str().expect("text"), mount.to_str().expect("text"));
    fs::create_dir(&mount).expect("a folder");
    fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("created");
    let make = ["-F", "-Q", "-q", "-c", "4096", "-s", "512", "-p", "0", "-H", "0", "-S", "0", image_name];
    if run("mkntfs", &make).is_none() || run("ntfs-3g", &["-o", "compression", image_name, mount_name]).is_none() {
        return;
    }
    let text = include_bytes!("../../README.md").repeat(20);
    let stored = [&text[..8192], &noise(1, 8192), &text[..30_000], &noise(2, 5000), &[0; 12_384]].concat();
    let files = [text, code(), mixture(2, 300_001), stored, b"abc".repeat(50_000), vec![0; 70_000], noise(3, 65_536)];
    let mounted = Mounted(&mount);
    fs::create_dir(mount.join("folder")).expect("a folder");
    // What is made in a folder that is compressed is compressed; the number's highest byte is first.
    let attributes = 0x0000_0800_u32.to_be_bytes();
    setxattr(mount.join("folder"), "system.ntfs_attrib_be", &attributes, XattrFlags::empty()).expect("allowed");
    for (index, file) in files.iter().enumerate() {
        fs::write(mount.join(format!("folder/{index}")), file).expect("written");
    }
    drop(mounted);
    let volume = fs::read(&image).expect("there");
    let (mut compressed, mut whole, mut holes) = (0, 0, 0);
    for (index, file) in files.iter().enumerate() {
        let Some(listing) = run("ntfsinfo", &["-v", "-F", &format!("folder/{index}"), image_name]) else { return };
        let units = units(&volume, &listing);
        assert_eq!(units.len(), file.len().div_ceil(UNIT));
        for (unit, expected) in units.iter().zip(file.chunks(UNIT)) {
            let mut out = vec![0; UNIT];
            match unit.len() {
                0 => holes += 1,
                UNIT => {
                    out.copy_from_slice(unit);
                    whole += 1;
                }
                _ => {
                    let length = lznt1(unit, &mut out).expect("sound");
                    assert!(length >= expected.len(), "{length} of {} bytes", expected.len());
                    out[length..].fill(0);
                    compressed += 1;
                }
            }
            assert!(out[..expected.len()] == *expected, "file {index}");
        }
    }
    eprintln!("units of 64 KiB: {compressed} compressed, {whole} as they are, {holes} of zeros");
    assert!(compressed > 10 && whole > 0 && holes > 0);
}
