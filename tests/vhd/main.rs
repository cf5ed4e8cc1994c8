//! VHDs against the other programs that read and write them, against a writer of their own, and damaged.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

mod chains;
mod damage;
mod make;
mod tools;

use make::{Chain, Folder, Random};
use sheaf::disk::{DiskOffset, ReadAt, file_write_all_at};
use sheaf::image::RawDisk;
use sheaf::image::composed::ComposedFile;
use sheaf::image::container::Composed;
use sheaf::image::vhd::{Geometry, Kind, VhdDisk, VhdIdentity, VhdLayout, is_vhd};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// All bytes of a disk.
fn read_all(disk: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0xaa; disk.size() as usize];
    disk.read_at(DiskOffset(0), &mut bytes).expect("read");
    bytes
}

/// A disk in a file: data at its start, its end, and where a generator says; zeros and holes else.
fn raw_disk(path: &Path, size: u64) -> Arc<dyn ReadAt> {
    let file = File::create(path).expect("created");
    file.set_len(size).expect("sparse");
    let mut random = Random(size);
    let mut write = |start: u64, length: u64| {
        let mut bytes = vec![0; length as usize];
        random.fill(&mut bytes);
        file_write_all_at(&file, &bytes, start).expect("written");
        random.next()
    };
    let mut place = write(0, 700.min(size));
    for _ in 0..6 {
        let start = place % size;
        place = write(start, (place % 100_000).min(size - start));
    }
    write(size - 300.min(size), 300.min(size));
    Arc::new(RawDisk::open(path).expect("opens"))
}

fn ranges(disk: &dyn ReadAt) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    while let Some(next) = disk.next_data(DiskOffset(ranges.last().map_or(0, |range| range.end))).expect("told") {
        ranges.push(next);
    }
    ranges
}

/// Whether two disks are the same, without looking at what is a hole in both.
fn assert_same(one: &dyn ReadAt, other: &dyn ReadAt, what: &str) {
    assert_eq!(one.size(), other.size(), "{what}");
    let mut wanted = [ranges(one), ranges(other)].concat();
    wanted.sort_by_key(|range| range.start);
    let (mut left, mut right) = (vec![0; MIB as usize], vec![1; MIB as usize]);
    for range in wanted {
        for start in range.clone().step_by(MIB as usize) {
            let length = (range.end - start).min(MIB) as usize;
            one.read_at(DiskOffset(start), &mut left[..length]).expect("read");
            other.read_at(DiskOffset(start), &mut right[..length]).expect("read");
            assert!(left[..length] == right[..length], "{what}: at {start}");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name of the tests")
}

fn open(path: &Path) -> VhdDisk {
    let disk = VhdDisk::open(Arc::new(RawDisk::open(path).expect("opens")), &Folder::of([])).expect("sound");
    assert_eq!(disk.warnings(), []);
    disk
}

#[test]
fn images_of_qemu_read_as_qemu_reads_them() {
    if !tools::has_qemu_img() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let (raw, vhd, back) = (folder.path().join("raw"), folder.path().join("vhd"), folder.path().join("back"));
    for sectors in [1, 2, 3, 4095, 4096, 4097, 13_673, 131_071, 131_072, 2 * GIB / 512 + 1] {
        for (options, kind) in [("subformat=fixed", Kind::Fixed), ("subformat=dynamic", Kind::Dynamic)] {
            for force in [",force_size=on", ""] {
                raw_disk(&raw, sectors * 512);
                let options = format!("{options}{force}");
                tools::run("qemu-img", &["convert", "-f", "raw", "-O", "vpc", "-o", &options, text(&raw), text(&vhd)]);
                tools::run("qemu-img", &["convert", "-f", "vpc", "-O", "raw", text(&vhd), text(&back)]);
                let disk = open(&vhd);
                let facts = disk.facts();
                assert_eq!(facts.kind, kind);
                assert_eq!(is_vhd(&RawDisk::open(&vhd).expect("opens")).expect("read"), Some(kind));
                if force.is_empty() {
                    assert!(facts.size >= sectors * 512, "qemu rounds up to a geometry");
                } else {
                    assert_eq!(facts.size, sectors * 512);
                }
                let expected = RawDisk::open(&back).expect("opens");
                assert_same(&disk, &expected, &format!("{sectors} sectors, {options}"));
            }
        }
    }
}

/// Writes a layout over a disk into a sparse file, as a restore does.
fn write(path: &Path, disk: &Arc<dyn ReadAt>, layout: VhdLayout) {
    let size = layout.file_size();
    let composed = ComposedFile::new(Arc::clone(disk), Box::new(layout)).expect("sound");
    assert_eq!(composed.size(), size);
    let file = File::create(path).expect("created");
    file.set_len(size).expect("sparse");
    let mut buffer = vec![0; 4 * MIB as usize];
    for range in ranges(&composed) {
        for start in range.clone().step_by(buffer.len()) {
            let part = &mut buffer[..((range.end - start) as usize).min(4 * MIB as usize)];
            composed.read_at(DiskOffset(start), part).expect("read");
            file_write_all_at(&file, part, start).expect("written");
        }
    }
}

const IDENTITY: VhdIdentity =
    VhdIdentity { identifier: *b"0123456789abcdef", time_stamp: 800_000_000, geometry: None, creator: None };

fn composed(folder: &Path, disk: &Arc<dyn ReadAt>) -> Vec<(String, PathBuf)> {
    let mut images = Vec::new();
    let fixed = VhdLayout::fixed(disk.size(), IDENTITY).expect("a layout");
    images.push(("fixed".to_owned(), fixed));
    for block in [512 << 10, 2 << 20, 32 << 20] {
        let dynamic = VhdLayout::dynamic(disk.size(), ranges(&**disk), block, IDENTITY).expect("a layout");
        images.push((format!("dynamic in blocks of {block}"), dynamic));
    }
    let name = |index: usize| folder.join(format!("composed-{index}.vhd"));
    let written = images.into_iter().enumerate().map(|(index, (what, layout))| {
        write(&name(index), disk, layout);
        (what, name(index))
    });
    written.collect()
}

#[test]
fn images_of_ours_read_the_same_everywhere() {
    let folder = tempfile::tempdir().expect("folder");
    let raw = folder.path().join("raw");
    for sectors in [1, 7, 1025, 4096, 4097, 13_673, 131_073] {
        let disk = raw_disk(&raw, sectors * 512);
        for (what, path) in composed(folder.path(), &disk) {
            let what = format!("{sectors} sectors, {what}");
            let opened = open(&path);
            assert_eq!(opened.facts().geometry, Geometry::of(sectors));
            assert_same(&opened, &*disk, &what);
            if tools::has_qemu_img() {
                compare_by_qemu(&raw, &path, sectors * 512);
            }
            let expected = read_all(&*disk);
            if let Some(read) = tools::read_by_libvhdi(folder.path(), &[&path]) {
                assert!(read == expected, "libvhdi: {what}");
            }
            if let Some(read) = tools::read_by_dissect(folder.path(), &path) {
                assert!(read == expected, "dissect.hypervisor: {what}");
            }
        }
    }
}

/// Where the geometry ends and where the format does.
#[test]
fn large_images_of_ours_have_their_size_to_the_byte() {
    let folder = tempfile::tempdir().expect("folder");
    let raw = folder.path().join("raw");
    for size in [127 * GIB + 512, 200 * GIB + 1536, 2040 * GIB - 512, 2040 * GIB] {
        let disk = raw_disk(&raw, size);
        let dynamic = VhdLayout::dynamic(size, ranges(&*disk), 2 << 20, IDENTITY).expect("a layout");
        let fixed = VhdLayout::fixed(size, IDENTITY).expect("a layout");
        for layout in [dynamic, fixed] {
            let path = folder.path().join("vhd");
            write(&path, &disk, layout);
            assert_same(&open(&path), &*disk, &format!("{size} bytes"));
            if tools::has_qemu_img() {
                compare_by_qemu(&raw, &path, size);
            }
        }
    }
}

fn compare_by_qemu(raw: &Path, vhd: &Path, size: u64) {
    let info = tools::run("qemu-img", &["info", "-f", "vpc", "--output=json", text(vhd)]);
    assert!(info.contains(&format!("\"virtual-size\": {size},")), "{size}: {info}");
    tools::run("qemu-img", &["compare", "-f", "raw", "-F", "vpc", text(raw), text(vhd)]);
}

/// The seeds of the fuzz target by their names.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    for (name, depth, kind) in
        [("fixed", 0, 2), ("dynamic", 0, 3), ("child-of-fixed", 1, 2), ("child-of-dynamic", 1, 3)]
    {
        let mut chain = Chain::shaped(depth, kind, 4, 4096, 60, 1);
        for image in &mut chain.images {
            image.sectors.retain(|sector, _| sector % 5 < 2 && sector / 8 % 2 == 0);
        }
        let mut files: Vec<_> = chain.images.iter().rev().map(make::Image::bytes).collect();
        files.resize(2, Vec::new());
        let length = (files[0].len() as u32).to_le_bytes();
        // The first byte has checksums put right, so that changed bytes get further.
        seeds.insert(name.to_owned(), [&[1], &length[..], &files[0], &files[1]].concat());
    }
    seeds
}

fn seed_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/vhd")
}

#[test]
fn the_seeds_of_the_fuzz_target_are_those_of_the_writer() {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(seed_folder()).expect("it is there") {
        let file = file.expect("an entry");
        let name = file.file_name().into_string().expect("a name");
        found.insert(name, std::fs::read(file.path()).expect("a seed"));
    }
    // Not `assert_eq`, which would print all of them.
    assert!(found == seeds(), "write them anew: cargo test --test vhd -- --ignored write_the_seeds");
}

#[test]
#[ignore = "writes into the repository"]
fn write_the_seeds() {
    for (name, seed) in seeds() {
        std::fs::write(seed_folder().join(name), seed).expect("written");
    }
}
