//! VHDX files: whatever the bytes say, a file is refused, or its disk reads the same in every way.
//!
//! A file has at least 3 MiB before its first block, so the input is a recipe: which of four sound files is taken, what is
//! written over it, where it is cut off, and whether checksums are made right again, so that what lies behind them is
//! reached.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bits 0 and 1: which file; 2: seal the headers; 3: the region tables; 4: the log's entries; 5: cut the file off |
//! | 2 | where it is cut off, in units of 512 bytes; only with bit 5 |
//! | 4 and more, repeated | which structure, an offset in it of two bytes, how many bytes (at most 32), those bytes |
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/vhdx/build.rs"]
mod build;
#[allow(dead_code)]
#[path = "../../tests/vhdx/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use build::{
    Entry, HEADERS, LOG, LOG_LENGTH, METADATA, Parents, TABLE, Write, child, data_id, image, make_pending, put,
};
use libfuzzer_sys::fuzz_target;
use model::{MIB, Model, bytes};
use sheaf::disk::{DiskOffset, ReadAt, ReadError, is_zero};
use sheaf::image::container::Place;
use sheaf::image::vhdx::{VhdxDisk, crc, is_vhdx};

/// Bytes that are read at a place of the disk.
const READ: u64 = 8 << 10;
/// Runs that are looked at.
const RUNS: usize = 200;
/// Where the structures of the files begin. The last but two are the locator, the bitmap's entry, and the bitmap.
const STRUCTURES: [u64; 14] = [
    0,
    HEADERS[0],
    HEADERS[1],
    192 << 10,
    256 << 10,
    LOG,
    LOG + LOG_LENGTH - (64 << 10),
    METADATA,
    METADATA + (64 << 10),
    TABLE,
    METADATA + (128 << 10),
    TABLE + 4096 * 8,
    7 * MIB,
    4 * MIB,
];

/// The sound files, in the order of the recipe's choice.
static FILES: LazyLock<[Arc<Vec<u8>>; 4]> = LazyLock::new(|| {
    let mut model = Model::new(5 * MIB + 512);
    for at in [0, 2 * MIB - 600, 5 * MIB] {
        model.write(at, &bytes(at, 512));
    }
    let dynamic = image(&model, MIB, 512, false);
    let fixed = image(&model, 2 * MIB, 512, true);

    let mut pending = dynamic.clone();
    let table = pending[TABLE as usize..][..4096].to_vec();
    put(&mut pending, TABLE, &bytes(1, 4096));
    let size = pending.len() as u64;
    let entry = |sequence, position, writes| Entry {
        sequence,
        position,
        tail: LOG_LENGTH - 8192,
        flushed: size,
        last: size + MIB,
        writes,
    };
    let first = vec![Write::Zero(TABLE, 4096), Write::Zero(TABLE + 8192, 4096)];
    let second = vec![Write::Data(TABLE, table), Write::Data(TABLE + 4096, vec![0; 4096])];
    make_pending(&mut pending, &[entry(7, LOG_LENGTH - 8192, first), entry(8, LOG_LENGTH - 4096, second)]);

    // In parts: the first block and the last one.
    let differencing = child(&model, &[512..2048, MIB..2 * MIB, 5 * MIB..5 * MIB + 512], MIB, 512, 1, 0);
    [dynamic, fixed, pending, differencing].map(Arc::new)
});

/// A sound file with something written over it.
struct Patched {
    file: Arc<Vec<u8>>,
    length: u64,
    /// By their place; the later of two at one byte counts.
    patches: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let (start, length) = (offset.0, buffer.len() as u64);
        if start.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(ReadError::BeyondEnd { offset, length, size: self.length });
        }
        self.file.read_at(offset, buffer)?;
        for (at, patch) in &self.patches {
            let (from, to) = (start.max(*at), (start + length).min(at + patch.len() as u64));
            if from < to {
                let bytes = &patch[(from - at) as usize..(to - at) as usize];
                buffer[(from - start) as usize..(to - start) as usize].copy_from_slice(bytes);
            }
        }
        Ok(())
    }
}

impl Patched {
    fn bytes(&self, at: u64, length: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.read_at(DiskOffset(at), &mut bytes).ok().map(|()| bytes)
    }

    /// Makes a checksum right.
    fn seal(&mut self, at: u64, length: u64) {
        if let Some(mut bytes) = self.bytes(at, length) {
            crc::seal(&mut bytes);
            self.patches.push((at + 4, bytes[4..8].to_vec()));
        }
    }

    /// Makes the checksums of the log's entries right, those that wrap around its end too.
    fn seal_log(&mut self) {
        let sectors = (0..16).chain(LOG_LENGTH / 4096 - 16..LOG_LENGTH / 4096);
        for position in sectors.map(|sector| sector * 4096) {
            let Some(header) = self.bytes(LOG + position, 64) else { continue };
            let length = u64::from(u32::from_le_bytes([header[8], header[9], header[10], header[11]]));
            if !header.starts_with(b"loge") || !(4096..=16 * 4096).contains(&length) || length % 4096 != 0 {
                continue;
            }
            let places = (0..length / 4096).map(|sector| LOG + (position + sector * 4096) % LOG_LENGTH);
            let Some(sectors) = places.map(|at| self.bytes(at, 4096)).collect::<Option<Vec<_>>>() else { continue };
            let mut entry = sectors.concat();
            crc::seal(&mut entry);
            self.patches.push((LOG + position + 4, entry[4..8].to_vec()));
        }
    }
}

/// Follows the recipe.
fn file(mut recipe: &[u8]) -> Option<(Patched, usize)> {
    let mut next = |count: usize| recipe.split_off(..count);
    let choices = next(1)?[0];
    let kind = usize::from(choices & 3);
    let file = Arc::clone(&FILES[kind]);
    let mut length = file.len() as u64;
    if choices & 32 != 0 {
        length = length.min(u64::from(u16::from_le_bytes(next(2)?.try_into().ok()?)) * 512);
    }
    let mut patched = Patched { file, length, patches: Vec::new() };
    while let Some(&[structure, low, high, count]) = next(4) {
        let at = STRUCTURES[usize::from(structure) % STRUCTURES.len()] + u64::from(u16::from_le_bytes([low, high]));
        let Some(bytes) = next(usize::from(count) % 33) else { break };
        patched.patches.push((at, bytes.to_vec()));
    }
    if choices & 4 != 0 {
        HEADERS.into_iter().for_each(|at| patched.seal(at, 4096));
    }
    if choices & 8 != 0 {
        [192 << 10, 256 << 10].into_iter().for_each(|at| patched.seal(at, 64 << 10));
    }
    if choices & 16 != 0 {
        patched.seal_log();
    }
    Some((patched, kind))
}

fuzz_target!(|data: &[u8]| {
    let Some((patched, kind)) = file(data) else { return };
    let patched = Arc::new(patched);
    let parents = Parents(BTreeMap::from([(data_id(0).0, Arc::clone(&FILES[0]) as Arc<dyn ReadAt>)]));
    let Ok(disk) = VhdxDisk::open(Arc::clone(&patched) as Arc<dyn ReadAt>, &parents) else { return };
    assert!(is_vhdx(&*patched).expect("in memory"));
    assert!(disk.size() > 0 && disk.size() <= 64 << 40);
    assert!(disk.parent().is_none() || kind == 3 || !patched.patches.is_empty());
    assert!(disk.warnings().iter().all(|warning| !warning.to_string().is_empty()));

    let read = |start: u64, length: u64| {
        let mut bytes = vec![0xaa; length as usize];
        disk.read_at(DiskOffset(start), &mut bytes).expect("what opened in memory is read");
        bytes
    };

    // The runs cover the disk, and say where its bytes are.
    let mut at = 0;
    for run in disk.runs(0..u64::MAX).take(RUNS) {
        // Only bytes that the log writes into a block have no run.
        let Ok(run) = run else { return };
        assert!(run.start.0 == at && run.length > 0 && run.length <= disk.size() - at);
        at += run.length;
        let length = run.length.min(READ);
        for start in [run.start.0, at - length] {
            let mut expected = vec![0; length as usize];
            match run.place {
                Place::Zero => {}
                Place::File(place) => {
                    let place = DiskOffset(place.0 + (start - run.start.0));
                    patched.read_at(place, &mut expected).expect("in the file");
                }
                Place::Parent => {
                    disk.parent().expect("a parent").read_at(DiskOffset(start), &mut expected).expect("in memory");
                }
            }
            assert_eq!(read(start, length), expected);
        }
    }

    // What is no data is zeros, and the search moves on.
    let mut at = 0;
    for _ in 0..RUNS {
        let data = disk.next_data(DiskOffset(at)).expect("in memory");
        let end = data.as_ref().map_or(disk.size(), |data| data.start);
        assert!(end >= at && end <= disk.size());
        let length = READ.min(end - at);
        assert!(is_zero(&read(at, length)) && is_zero(&read(end - length, length)));
        let Some(data) = data else { break };
        assert!(data.end > data.start && data.end <= disk.size());
        at = data.end;
    }

    // A read across everything is what its parts are.
    let length = (4 * READ).min(disk.size());
    for start in [0, disk.size() / 2 - length / 2, disk.size() - length] {
        let whole = read(start, length);
        let parts: Vec<u8> =
            (0..length).step_by(1021).flat_map(|part| read(start + part, 1021.min(length - part))).collect();
        assert_eq!(whole, parts);
    }
});
