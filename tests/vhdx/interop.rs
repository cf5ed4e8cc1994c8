//! Files of QEMU read by Sheaf, and files of Sheaf read by QEMU, libvhdi and dissect.hypervisor.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use sheaf::disk::{DiskOffset, ReadAt, file_write_all_at};
use sheaf::image::RawDisk;
use sheaf::image::container::Composed;
use sheaf::image::vhdx::{VhdxDisk, VhdxLayout};

use crate::build::{Parents, parameters};
use crate::model::{GIB, MIB, Model, assert_same, bytes, check_runs};

/// Whether a program is there; says so where it is not.
pub fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("skipped: {program} is not installed");
    }
    is_there
}

/// A Python that has a module; says so where there is none.
pub fn python(module: &str) -> Option<OsString> {
    let named = std::env::var_os("SHEAF_TEST_PYTHON");
    let python = named.unwrap_or_else(|| "python3".into());
    let output = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {} has no module {module}", python.display());
    None
}

/// Runs `qemu-img` or `qemu-io`, and fails with what it said.
pub fn qemu(program: &str, arguments: &[&str], files: &[&Path]) -> Output {
    let output = Command::new(program).args(arguments).args(files).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?} {files:?}: {output:?}");
    output
}

pub fn open_file(path: &Path) -> VhdxDisk {
    VhdxDisk::open(Arc::new(RawDisk::open(path).unwrap()), &Parents::default()).unwrap()
}

/// Writes a disk to a file, with holes where it has none of its data.
pub fn write_raw(disk: &dyn ReadAt, path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(disk.size()).unwrap();
    let mut at = 0;
    while let Some(data) = disk.next_data(DiskOffset(at)).unwrap() {
        at = data.end.min(data.start + 4 * MIB);
        let mut buffer = vec![0; (at - data.start) as usize];
        disk.read_at(DiskOffset(data.start), &mut buffer).unwrap();
        file_write_all_at(&file, &buffer, data.start).unwrap();
    }
}

/// Writes a composed file as a restore would: each part where it belongs, holes left out.
pub fn write_composed(disk: &dyn ReadAt, layout: &VhdxLayout, path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(layout.file_size()).unwrap();
    for (at, bytes) in layout.metadata() {
        file_write_all_at(&file, bytes, at.0).unwrap();
    }
    let mut at = 0;
    while let Some(data) = disk.next_data(DiskOffset(at)).unwrap() {
        let (place, length) = layout.place(DiskOffset(data.start));
        at = data.end.min(data.start + length.min(4 * MIB));
        let mut buffer = vec![0; (at - data.start) as usize];
        disk.read_at(DiskOffset(data.start), &mut buffer).unwrap();
        file_write_all_at(&file, &buffer, place.unwrap().0).unwrap();
    }
}

/// A disk of some size with data at its start, its end, and across the borders of blocks of every size.
fn disk() -> Model {
    let mut model = Model::with_data(261 * MIB + 512, 11);
    for at in [MIB, 2 * MIB, 32 * MIB, 256 * MIB] {
        model.write(at - 3000, &bytes(at, 7000));
    }
    model
}

const BLOCK_SIZES: [(&str, u64); 4] = [("1M", MIB), ("2M", 2 * MIB), ("32M", 32 * MIB), ("256M", 256 * MIB)];

#[test]
fn what_qemu_makes_is_read_as_qemu_reads_it() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let model = disk();
    write_raw(&model, &path("raw"));
    for subformat in ["dynamic", "fixed"] {
        for (block_size, bytes) in BLOCK_SIZES {
            let options = format!("subformat={subformat},block_size={block_size}");
            let (made, back) = (path("made.vhdx"), path("back"));
            qemu("qemu-img", &["convert", "-f", "raw", "-O", "vhdx", "-o", &options], &[&path("raw"), &made]);
            qemu("qemu-img", &["convert", "-f", "vhdx", "-O", "raw"], &[&made, &back]);
            let disk = open_file(&made);
            assert_same(&disk, &RawDisk::open(&back).unwrap());
            assert_same(&disk, &model);
            check_runs(&disk, &RawDisk::open(&made).unwrap());
            assert_eq!(disk.warnings().len(), 0, "{:?}", disk.warnings());
            assert_eq!((u64::from(disk.facts().block_size), disk.facts().is_fixed), (bytes, subformat == "fixed"));
            assert!(disk.facts().creator.starts_with("QEMU"), "{:?}", disk.facts());
        }
    }
}

#[test]
fn what_qemu_writes_into_a_file_later_is_read() {
    if !has("qemu-img") || !has("qemu-io") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.vhdx");
    // 16 blocks of 256 MiB share a bitmap: the table's entries for bitmaps lie in between.
    qemu("qemu-img", &["create", "-f", "vhdx", "-o", "subformat=dynamic,block_size=256M"], &[&path, Path::new("9G")]);
    let writes = ["write -P 1 8G 64k", "write -P 2 0 4k", "write -P 3 4G 1M", "write -P 4 4095M 2M", "write -z 4G 64k"];
    for write in writes {
        qemu("qemu-io", &["-f", "vhdx", "-c", write], &[&path]);
    }
    let mut model = Model::new(9 * GIB);
    model.write(8 * GIB, &[1; 64 << 10]);
    model.write(0, &[2; 4 << 10]);
    model.write(4 * GIB, &[3; 1 << 20]);
    model.write(4095 * MIB, &[4; 2 << 20]);
    model.write(4 * GIB, &[0; 64 << 10]);
    assert_same(&open_file(&path), &model);
}

#[test]
fn what_sheaf_composes_is_read_by_qemu() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let model = disk();
    write_raw(&model, &path("raw"));
    for is_fixed in [false, true] {
        for (_, block_size) in BLOCK_SIZES {
            let layout = VhdxLayout::new(model.size(), model.ranges(), parameters(block_size, 512, is_fixed)).unwrap();
            let made = path("made.vhdx");
            write_composed(&model, &layout, &made);
            qemu("qemu-img", &["check", "-f", "vhdx"], &[&made]);
            qemu("qemu-img", &["compare", "-f", "raw", "-F", "vhdx"], &[&path("raw"), &made]);
            assert_same(&open_file(&made), &model);
        }
    }
}

#[test]
fn the_largest_composed_disk_opens_in_qemu() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.vhdx");
    let mut model = Model::new(64 << 40);
    model.write(0, &bytes(1, 4096));
    model.write((64 << 40) - 4096, &bytes(2, 4096));
    let layout = VhdxLayout::new(model.size(), model.ranges(), parameters(32 * MIB, 512, false)).unwrap();
    write_composed(&model, &layout, &path);
    qemu("qemu-img", &["check", "-f", "vhdx"], &[&path]);
    let info = qemu("qemu-img", &["info", "--output=json", "-f", "vhdx"], &[&path]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("\"virtual-size\": 70368744177664"));
}

#[test]
fn a_composed_file_can_be_written_to_by_qemu() {
    if !has("qemu-img") || !has("qemu-io") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.vhdx");
    let mut model = Model::with_data(100 * MIB, 4);
    let layout = VhdxLayout::new(model.size(), model.ranges(), parameters(2 * MIB, 512, false)).unwrap();
    write_composed(&model, &layout, &path);
    // The first of them needs a new block, and so the log.
    for (at, value) in [(40 * MIB, 7), (0, 8)] {
        qemu("qemu-io", &["-f", "vhdx", "-c", &format!("write -P {value} {at} 64k")], &[&path]);
        model.write(at, &[value; 64 << 10]);
    }
    qemu("qemu-img", &["check", "-f", "vhdx"], &[&path]);
    assert_same(&open_file(&path), &model);
}

/// Composes disks of both kinds and sector sizes, has a script read each into a raw file, and compares.
fn read_by(module: &str, script: &str) {
    let Some(python) = python(module) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (size, block_size, sector, is_fixed) in [
        (40 * MIB + 512, MIB, 512, false),
        (40 * MIB + 512, 2 * MIB, 512, true),
        (40 * MIB, 32 * MIB, 4096, false),
        (40 * MIB, 256 * MIB, 512, false),
    ] {
        let model = Model::with_data(size, 21);
        let layout = VhdxLayout::new(size, model.ranges(), parameters(block_size, sector, is_fixed)).unwrap();
        write_composed(&model, &layout, &path("made.vhdx"));
        let output =
            Command::new(&python).args(["-c", script]).arg(path("made.vhdx")).arg(path("raw")).output().unwrap();
        assert!(output.status.success(), "{module}: {output:?}");
        assert_same(&std::fs::read(path("raw")).unwrap(), &model);
    }
}

#[test]
fn what_sheaf_composes_is_read_by_libvhdi() {
    read_by(
        "pyvhdi",
        "import sys, pyvhdi\nd = pyvhdi.file()\nd.open(sys.argv[1])\n\
         open(sys.argv[2], 'wb').write(d.read_buffer_at_offset(d.get_media_size(), 0))",
    );
}

#[test]
fn what_sheaf_composes_is_read_by_dissect() {
    read_by(
        "dissect.hypervisor",
        "import sys\nfrom dissect.hypervisor.disk.vhdx import VHDX\nd = VHDX(open(sys.argv[1], 'rb'))\n\
         assert str(d.id) == '1d1d1d1d-1d1d-1d1d-1d1d-1d1d1d1d1d1d'\nopen(sys.argv[2], 'wb').write(d.read(d.size))",
    );
}
