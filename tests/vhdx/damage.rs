//! Truncation and flipped bits: a clear error or the right bytes, and never a panic.

use std::sync::Arc;

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::image::vhdx::{VhdxDisk, VhdxError};

use crate::build::{Entry, METADATA, Parents, TABLE, Write, child, data_id, image, make_pending, put};
use crate::model::{MIB, Model, assert_same, bytes, check_runs};

/// A file that ends early, or has one bit turned.
#[derive(Clone)]
struct Damaged {
    file: Arc<Vec<u8>>,
    length: u64,
    flipped: Option<(u64, u8)>,
}

impl ReadAt for Damaged {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let end = offset.0.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(ReadError::BeyondEnd { offset, length: buffer.len() as u64, size: self.length });
        }
        self.file.read_at(offset, buffer)?;
        if let Some((at, bit)) = self.flipped
            && let Some(byte) = at.checked_sub(offset.0).and_then(|inside| buffer.get_mut(inside as usize))
        {
            *byte ^= bit;
        }
        Ok(())
    }
}

/// Files to damage, what they read as, and the parents that they need.
fn subjects() -> Vec<(Arc<Vec<u8>>, Model, Parents)> {
    let mut model = Model::with_data(4 * MIB + 512, 5);
    let plain = image(&model, MIB, 512, false);
    let mut pending = plain.clone();
    let table = pending[TABLE as usize..][..4096].to_vec();
    put(&mut pending, TABLE, &bytes(1, 4096));
    let size = pending.len() as u64;
    let writes = vec![Write::Data(TABLE, table), Write::Zero(TABLE + 4096, 8192)];
    make_pending(
        &mut pending,
        &[Entry { sequence: 3, position: 4096, tail: 4096, flushed: size - MIB, last: size, writes }],
    );
    let whole = model.clone();
    model.write(MIB + 512, &bytes(6, 1024));
    let differencing = child(&model, &[MIB + 512..MIB + 1536], MIB, 512, 1, 0);
    let base: Arc<dyn ReadAt> = Arc::new(plain.clone());
    let parents = Parents([(data_id(0).0, base)].into());
    vec![
        (Arc::new(plain), whole.clone(), Parents::default()),
        (Arc::new(pending), whole, Parents::default()),
        (Arc::new(differencing), model, parents),
    ]
}

/// Opens a damaged file and reads all of it. Whatever it says of itself, its runs and its bytes agree.
fn read(damaged: &Damaged, parents: &Parents) -> Result<VhdxDisk, VhdxError> {
    let disk = VhdxDisk::open(Arc::new(damaged.clone()), parents)?;
    if disk.size() <= 64 * MIB {
        check_runs(&disk, damaged);
    }
    Ok(disk)
}

/// Whether an error names the byte, as each must.
fn names_an_offset(error: &VhdxError) -> bool {
    let mut words = error.to_string();
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        words += &source.to_string();
        error = source;
    }
    words.contains("offset ") || words.contains("parent") || words.contains("needs")
}

#[test]
fn truncation_at_any_byte_is_an_error() {
    for (file, model, parents) in subjects() {
        let size = file.len() as u64;
        let strided = (0..size).step_by(9973);
        let fine =
            [0, 512, 64 << 10, 128 << 10, 192 << 10, 256 << 10, MIB, METADATA, METADATA + (64 << 10), TABLE, size]
                .into_iter()
                .flat_map(|border: u64| border.saturating_sub(70)..(border + 70).min(size));
        for length in strided.chain(fine) {
            let damaged = Damaged { file: Arc::clone(&file), length, flipped: None };
            match read(&damaged, &parents) {
                // The log says how long the file was, and adds the zeros that follow.
                Ok(disk) => assert_same(&disk, &model),
                Err(error) => assert!(names_an_offset(&error), "{length}: {error}"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_under_a_checksum_is_an_error_or_changes_nothing() {
    for (file, model, parents) in subjects() {
        let headers = (64 << 10..(64 << 10) + 128).chain(128 << 10..(128 << 10) + 128);
        let tables = (192 << 10..(192 << 10) + 100).chain(256 << 10..(256 << 10) + 100);
        let log = (MIB + 4096..MIB + 4096 + 200).chain((MIB + 8192..MIB + 12288).step_by(37));
        let strided = (0..MIB).step_by(1021);
        for at in (0..20).chain(headers).chain(tables).chain(log).chain(strided) {
            let damaged =
                Damaged { file: Arc::clone(&file), length: file.len() as u64, flipped: Some((at, 1 << (at % 8))) };
            match read(&damaged, &parents) {
                Ok(disk) => assert_same(&disk, &model),
                Err(error) => assert!(names_an_offset(&error), "{at}: {error}"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_elsewhere_never_panics_and_errors_name_it() {
    // Metadata and block table have no checksum: some of these are other disks, and sound ones.
    for (file, _, parents) in subjects() {
        let table = METADATA..METADATA + 32 + 6 * 32;
        let items = (METADATA + (64 << 10)..METADATA + (64 << 10) + 40)
            .chain(METADATA + (128 << 10)..METADATA + (128 << 10) + 400);
        let blocks = (TABLE..TABLE + 48).chain(TABLE + 32768..TABLE + 32776);
        for at in table.chain(items).chain(blocks) {
            for bit in 0..8 {
                let damaged =
                    Damaged { file: Arc::clone(&file), length: file.len() as u64, flipped: Some((at, 1 << bit)) };
                if let Err(error) = read(&damaged, &parents) {
                    assert!(names_an_offset(&error), "{at}: {error}");
                }
            }
        }
    }
}

/// Some bytes of the file below fail, as bad sectors do.
struct BadSector(Arc<Vec<u8>>, std::ops::Range<u64>);

impl ReadAt for BadSector {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        if offset.0 < self.1.end && offset.0 + length > self.1.start {
            return Err(ReadError::Unreadable { offset, length, source: std::io::Error::from_raw_os_error(5) });
        }
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn bad_sectors_below_are_told_in_the_disks_own_offsets() {
    let (file, model, _) = subjects().swap_remove(0);
    // The fourth block of the disk that is there; its place follows the table.
    let bad = 4 * MIB + MIB + 8192..4 * MIB + MIB + 12288;
    let disk = VhdxDisk::open(Arc::new(BadSector(Arc::clone(&file), bad)), &Parents::default()).unwrap();
    let mut buffer = vec![0; 4096];
    let error = disk.read_at(DiskOffset(MIB + 8192 + 512), &mut buffer[..512]).expect_err("bad");
    assert!(
        matches!(error, ReadError::Unreadable { offset: DiskOffset(at), length: 512, .. } if at == MIB + 8192 + 512)
    );
    disk.read_at(DiskOffset(MIB + 4096), &mut buffer).unwrap();
    let mut expected = vec![0; 4096];
    model.read_at(DiskOffset(MIB + 4096), &mut expected).unwrap();
    assert_eq!(buffer, expected);
    // A header that cannot be read is as good as a bad one.
    let disk = VhdxDisk::open(Arc::new(BadSector(Arc::clone(&file), 64 << 10..65 << 10)), &Parents::default()).unwrap();
    assert_same(&disk, &model);
    assert_eq!(disk.warnings().len(), 1);
    // The block table is there once only.
    let error = VhdxDisk::open(Arc::new(BadSector(file, TABLE..TABLE + 512)), &Parents::default()).expect_err("bad");
    assert!(
        error.to_string().contains("the block allocation table at offset 3145728 of the VHDX file cannot be read"),
        "{error}"
    );
}
