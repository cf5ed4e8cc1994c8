//! Differencing disks: what a chain reads, and which parents are refused.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;

use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::image::container::MAX_CHAIN;
use sheaf::image::vhdx::{Guid, VhdxDisk, VhdxError};

use crate::build::{METADATA, Parents, TABLE, child, data_id, image, put, u64_at};
use crate::counting::{Asked, Counting};
use crate::interop::python;
use crate::model::{GIB, MIB, Model, assert_same, bytes, check_runs};

/// The files of a chain, the base first, and what each of them reads as.
struct Chain {
    files: Vec<Vec<u8>>,
    models: Vec<Model>,
}

/// A base and `depth` children. Each child writes a whole block, parts of others, and single sectors.
fn chain(depth: u8, size: u64, block_size: u64, sector: u64) -> Chain {
    let mut model = Model::with_data(size, 50);
    let mut chain = Chain { files: vec![image(&model, block_size, sector as u32, false)], models: vec![model.clone()] };
    for number in 1..=depth {
        let start = block_size * u64::from(number % 3);
        let mut writes: Vec<Range<u64>> = vec![start..start + block_size];
        let mut next = start + block_size + sector * u64::from(number);
        for length in [1, 8, 63, 1] {
            writes.push(next..next + length * sector);
            next += (length + u64::from(number) % 2 + 1) * sector;
        }
        writes.push(size - sector..size);
        for (index, range) in (0_u64..).zip(&writes) {
            let seed = u64::from(number) * 100 + index;
            // One of the writes is zeros over the parent's data.
            let bytes = if index == 2 {
                vec![0; (range.end - range.start) as usize]
            } else {
                bytes(seed, (range.end - range.start) as usize)
            };
            model.write(range.start, &bytes);
        }
        chain.files.push(child(&model, &writes, block_size, sector, number, number - 1));
        chain.models.push(model.clone());
    }
    chain
}

impl Chain {
    fn open(&self) -> Result<VhdxDisk, VhdxError> {
        self.open_as(|file| Arc::new(file))
    }

    /// Opens the chain, each file as what `source` makes of it.
    fn open_as(&self, source: impl Fn(Vec<u8>) -> Arc<dyn ReadAt>) -> Result<VhdxDisk, VhdxError> {
        let (top, below) = self.files.split_last().unwrap();
        let parents = (0..).zip(below).map(|(number, file)| (data_id(number).0, source(file.clone()))).collect();
        VhdxDisk::open(source(top.clone()), &Parents(parents))
    }

    fn refused(&self) -> String {
        let mut error: &dyn std::error::Error = &self.open().expect_err("refused");
        let mut words = error.to_string();
        while let Some(source) = error.source() {
            words += &format!(": {source}");
            error = source;
        }
        words
    }
}

/// The kinds of chains that are tried: depth, size, block size, sector size.
const KINDS: [(u8, u64, u64, u64); 5] = [
    (1, 20 * MIB, MIB, 512),
    (1, 20 * MIB + 4096, 2 * MIB, 4096),
    (5, 20 * MIB, MIB, 512),
    (5, 20 * MIB, 2 * MIB, 4096),
    (5, 70 * MIB + 512, 16 * MIB, 512),
];

#[test]
fn a_chain_reads_as_its_writes_were_made() {
    for (depth, size, block_size, sector) in KINDS {
        let chain = chain(depth, size, block_size, sector);
        let disk = chain.open().unwrap();
        assert_same(&disk, chain.models.last().unwrap());
        check_runs(&disk, chain.files.last().unwrap());
        let mut below = disk.parent();
        for number in (0..depth).rev() {
            let parent = below.expect("a parent");
            assert_same(parent, &chain.models[usize::from(number)]);
            below = parent.parent();
        }
        assert!(below.is_none());
        let parent = disk.facts().parent.clone().expect("a parent");
        assert_eq!(parent.identifier, data_id(depth - 1).0);
        assert_eq!(parent.paths[0], format!(r".\parent-{}.vhdx", depth - 1));
        assert!(!disk.facts().is_fixed);
    }
}

/// Has a script read chains of at most some depth into raw files, and compares. The script gets the folder, the number of
/// the last child, and the raw file's name.
fn read_by(module: &str, deepest: u8, script: &str) {
    let Some(python) = python(module) else { return };
    for (depth, size, block_size, sector) in KINDS.into_iter().filter(|kind| kind.0 <= deepest) {
        let chain = chain(depth, size, block_size, sector);
        let folder = tempfile::tempdir().unwrap();
        for (number, file) in chain.files.iter().enumerate() {
            std::fs::write(folder.path().join(format!("parent-{number}.vhdx")), file).unwrap();
        }
        let raw = folder.path().join("raw");
        let script = ["-c", script];
        let output =
            Command::new(&python).args(script).arg(folder.path()).arg(depth.to_string()).arg(&raw).output().unwrap();
        assert!(output.status.success(), "{module}: {output:?}");
        assert_same(&std::fs::read(raw).unwrap(), chain.models.last().unwrap());
    }
}

/// libvhdi is a reader that knows nothing of Sheaf.
#[test]
fn libvhdi_reads_the_same_chains() {
    read_by(
        "pyvhdi",
        5,
        "import sys, pyvhdi\nfolder, depth, raw = sys.argv[1:]\nbelow = None\nfor n in range(int(depth) + 1):\n \
         d = pyvhdi.file()\n d.open(f'{folder}/parent-{n}.vhdx')\n if below: d.set_parent(below)\n below = d\n\
         open(raw, 'wb').write(d.read_buffer_at_offset(d.get_media_size(), 0))",
    );
}

/// So is dissect.hypervisor, which finds parents by their paths. It reads whole blocks of one child rightly (version 3.21
/// loses sectors where a block of a parent is there in part and is not read as a whole).
#[test]
fn dissect_reads_the_same_children() {
    read_by(
        "dissect.hypervisor",
        1,
        "import sys, pathlib\nfrom dissect.hypervisor.disk.vhdx import VHDX\nfolder, depth, raw = sys.argv[1:]\n\
         d = VHDX(pathlib.Path(folder) / f'parent-{depth}.vhdx')\nper, all = d._sectors_per_block, d.size // d.sector_size\n\
         out = open(raw, 'wb')\nfor s in range(0, all, per): out.write(d.read_sectors(s, min(per, all - s)))",
    );
}

#[test]
fn a_chain_crosses_the_borders_of_bitmaps() {
    // 4096 blocks of 1 MiB share a bitmap.
    let size = 8 * GIB + 3 * MIB;
    let mut model = Model::new(size);
    let base = image(&model, MIB, 512, false);
    let mut writes = Vec::new();
    for at in [0, 4 * GIB - 512, 4 * GIB, 4 * GIB + 1024, 8 * GIB - 1024, 8 * GIB + 2 * MIB] {
        model.write(at, &bytes(at, 512));
        writes.push(at..at + 512);
    }
    let file = child(&model, &writes, MIB, 512, 1, 0);
    let chain = Chain { files: vec![base, file], models: vec![model] };
    let disk = chain.open().unwrap();
    assert_same(&disk, &chain.models[0]);
    check_runs(&disk, &chain.files[1]);
    assert_eq!(disk.next_data(DiskOffset(MIB)).unwrap(), Some(4 * GIB - 512..4 * GIB + 512));
}

#[test]
fn a_child_of_an_empty_parent_has_its_own_sectors_and_holes() {
    let mut model = Model::new(4 * MIB);
    let base = image(&model, MIB, 512, false);
    model.write(MIB + 512, &bytes(1, 1024));
    let file = child(&model, &[MIB + 512..MIB + 1536], MIB, 512, 1, 0);
    let disk = Chain { files: vec![base, file], models: vec![] }.open().unwrap();
    assert_eq!(disk.next_data(DiskOffset(0)).unwrap(), Some(MIB + 512..MIB + 1536));
    assert_eq!(disk.next_data(DiskOffset(MIB + 1536)).unwrap(), None);
}

#[test]
fn zeros_of_a_child_hide_the_parent() {
    let model = Model::with_data(4 * MIB, 3);
    let base = image(&model, MIB, 512, false);
    // Zero, unmapped and undefined blocks are the child's.
    for state in [1_u64, 2, 3] {
        let mut file = child(&Model::new(4 * MIB), &[], MIB, 512, 1, 0);
        put(&mut file, TABLE, &state.to_le_bytes());
        let disk = Chain { files: vec![base.clone(), file], models: vec![] }.open().unwrap();
        let mut block = vec![1; MIB as usize];
        disk.read_at(DiskOffset(0), &mut block).unwrap();
        assert!(sheaf::disk::is_zero(&block));
        disk.read_at(DiskOffset(MIB), &mut block).unwrap();
        let mut expected = vec![0; MIB as usize];
        model.read_at(DiskOffset(MIB), &mut expected).unwrap();
        assert_eq!(block, expected);
    }
}

#[test]
fn a_missing_or_wrong_parent_is_refused() {
    let mut sound = chain(2, 4 * MIB, MIB, 512);
    let alone = VhdxDisk::open(Arc::new(sound.files[2].clone()), &Parents::default());
    let error = alone.expect_err("no parent").to_string();
    assert!(error.contains(&data_id(1).to_string()) && error.contains(r".\parent-1.vhdx, \\?\c:\sticks"), "{error}");

    // Written to since the child was made.
    let good = sound.files[1].clone();
    crate::build::change_headers(&mut sound.files[1], 32, &[9; 16]);
    let error = sound.refused();
    assert!(
        error.contains(&format!("expected a file with the data identity {}, found {}", data_id(1), Guid([9; 16]))),
        "{error}"
    );

    // Something else under that name.
    for other in [b"vhdxfil".to_vec(), vec![0; 4096]] {
        sound.files[1] = other;
        assert!(sound.refused().starts_with("the parent of a differencing disk cannot be read: the "));
    }
    sound.files[1] = good.clone();

    // Of another size, or with other sectors.
    sound.files[0] = image(&Model::new(5 * MIB), MIB, 512, false);
    let error = sound.refused();
    assert!(error.contains("expected a size of 4194304 bytes as the child has, found 5242880"), "{error}");
    sound.files[0] = image(&Model::new(4 * MIB), MIB, 4096, false);
    assert!(sound.refused().contains("logical sector size of 512 bytes"));

    // A damaged grandparent is named as the parent of the parent.
    sound.files[0] = vec![0; 9];
    let error = sound.refused();
    assert_eq!(error.matches("the parent of a differencing disk cannot be read").count(), 2, "{error}");
}

#[test]
fn loops_and_endless_chains_are_refused() {
    // Its own parent.
    let model = Model::with_data(2 * MIB, 1);
    let file: Arc<dyn ReadAt> = Arc::new(child(&model, &[], MIB, 512, 7, 7));
    let parents = Parents([(data_id(7).0, Arc::clone(&file))].into());
    assert!(
        matches!(VhdxDisk::open(file, &parents), Err(VhdxError::Parent(inner)) if matches!(*inner, VhdxError::Loop(_)))
    );

    // A circle of three.
    let circle: Vec<Arc<dyn ReadAt>> =
        (0..3_u8).map(|n| Arc::new(child(&model, &[], MIB, 512, n + 1, (n + 1) % 3 + 1)) as Arc<dyn ReadAt>).collect();
    let parents = Parents((0_u8..).zip(&circle).map(|(n, file)| (data_id(n + 1).0, Arc::clone(file))).collect());
    let error = VhdxDisk::open(Arc::clone(&circle[0]), &parents).expect_err("a loop");
    assert!(format!("{error:?}").contains("Loop"), "{error:?}");

    // The longest chain, and one more.
    for (depth, is_right) in [(MAX_CHAIN, true), (MAX_CHAIN + 1, false)] {
        let mut files = vec![image(&model, MIB, 512, false)];
        files.extend((1..=depth as u8).map(|number| child(&model, &[], MIB, 512, number, number - 1)));
        let opened = Chain { files, models: vec![] }.open();
        match opened {
            Ok(disk) => {
                assert!(is_right);
                assert_same(&disk, &model);
            }
            Err(error) => assert!(!is_right && format!("{error:?}").contains("ChainTooLong"), "{error:?}"),
        }
    }
}

#[test]
fn a_block_in_part_needs_its_bitmap_in_a_place_of_its_own() {
    let sound = chain(1, 4 * MIB, MIB, 512);
    let bitmap = TABLE + 4096 * 8;
    let place = u64_at(&sound.files[1], bitmap);
    assert_eq!(place % MIB, 6);
    for (entry, expected) in [
        (0, "the state of a sector bitmap at offset 3178496 of the VHDX file: expected 6, for the block at offset"),
        (place ^ 6 ^ 5, "expected 0 or 6, found 5"),
        (4 * MIB | 6, "which touches a sector bitmap at 4194304..5242880"),
        (2 * MIB | 6, "which touches the metadata region"),
        (99 * MIB | 6, "expected 1048576 bytes for a sector bitmap"),
        (place | 8, "zeros in its bits 3 to 19"),
    ] {
        let mut chain = Chain { files: sound.files.clone(), models: vec![] };
        put(&mut chain.files[1], bitmap, &u64::to_le_bytes(entry));
        let error = chain.refused();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_locator_that_names_no_parent_is_refused() {
    let sound = chain(1, 4 * MIB, MIB, 512);
    let item = METADATA + (128 << 10);
    for (at, value, expected) in [
        (item, &[0; 16][..], "the type of the parent locator"),
        (item + 18, &[0, 0], "the key parent_linkage"),
        (item + 18, &[255, 255], "the number of keys in the parent locator"),
        (item + 20 + 4, &[255; 4], "a value of the parent locator"),
        (item + 20 + 10, &[2, 0], "the identity of the parent"),
        (METADATA + 10, &[5, 0], "an entry for the parent locator, as the file has a parent, found none"),
    ] {
        let mut chain = Chain { files: sound.files.clone(), models: vec![] };
        put(&mut chain.files[1], at, value);
        let error = chain.refused();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn children_that_cut_one_another_into_sectors_cost_what_they_hold() {
    // Each of them has every second sector, so that each level cuts what the level above asks of it.
    let size = 2 * MIB;
    let mut model = Model::with_data(size, 1);
    let mut files = vec![image(&model, MIB, 512, false)];
    for number in 1..=12_u8 {
        let first = u64::from(number) % 2;
        let writes: Vec<Range<u64>> =
            (0..size / 1024).map(|pair| (pair * 2 + first) * 512).map(|at| at..at + 512).collect();
        for range in &writes {
            model.write(range.start, &bytes(u64::from(number) + range.start, 512));
        }
        files.push(child(&model, &writes, MIB, 512, number, number - 1));
    }
    let chain = Chain { files, models: vec![] };
    let asked = Asked::default();
    let disk = chain.open_as(|file| Arc::new(Counting(file, asked.clone()))).unwrap();
    assert_same(&disk, &model);
    let mut at = 0;
    while let Some(data) = disk.next_data(DiskOffset(at)).unwrap() {
        assert!(data.end - data.start >= MIB || data.end == size);
        at = data.end;
    }
    // The sectors that they wrote are 24,576.
    assert!(asked.questions() < 20_000, "{asked:?}");
    assert!(asked.bytes() < 8 * MIB, "{asked:?}");
}
