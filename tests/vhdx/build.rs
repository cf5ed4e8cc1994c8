//! Files to read. Sheaf composes them; logs and parents are written into them here, byte by byte as [MS-VHDX] says.

use std::collections::BTreeMap;
use std::sync::Arc;

use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::image::ImageError;
use sheaf::image::container::{Composed, FindParent, ParentHint};
use sheaf::image::vhdx::{Guid, VhdxDisk, VhdxError, VhdxIdentity, VhdxLayout, VhdxParameters, crc};

use crate::model::{MIB, Model};

/// Where Sheaf's layout has things.
pub const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
pub const LOG: u64 = MIB;
pub const LOG_LENGTH: u64 = MIB;
pub const METADATA: u64 = 2 * MIB;
pub const TABLE: u64 = 3 * MIB;

pub const LOG_ID: Guid = Guid([0x4c; 16]);

/// The identity of the disk's content in files that are made here.
pub fn data_id(number: u8) -> Guid {
    Guid([0xd0 + number; 16])
}

pub fn parameters(block_size: u64, sector: u32, is_fixed: bool) -> VhdxParameters {
    VhdxParameters {
        block_size: block_size as u32,
        is_fixed,
        logical_sector_size: sector,
        physical_sector_size: 4096,
        identity: VhdxIdentity {
            creator: "Sheaf tests".into(),
            disk_id: Guid([0x1d; 16]),
            file_write_id: Guid([0xf0; 16]),
            data_write_id: data_id(0),
        },
    }
}

/// The file of a layout over a disk; what no one writes is zeros.
pub fn compose(disk: &dyn ReadAt, layout: &VhdxLayout) -> Vec<u8> {
    let mut file = vec![0; layout.file_size() as usize];
    let mut before = 0;
    for (at, bytes) in layout.metadata() {
        assert!(at.0 >= before, "metadata in rising order, and none on another");
        before = at.0 + bytes.len() as u64;
        file[at.0 as usize..before as usize].copy_from_slice(bytes);
    }
    let mut at = 0;
    while at < disk.size() {
        let (place, length) = layout.place(DiskOffset(at));
        assert!(length > 0 && at + length <= disk.size());
        if let Some(place) = place {
            assert!(place.0 >= before, "the disk behind the metadata, in rising order");
            before = place.0 + length;
            let bytes = &mut file[place.0 as usize..before as usize];
            disk.read_at(DiskOffset(at), bytes).unwrap();
        }
        at += length;
    }
    assert_eq!(layout.place(DiskOffset(at)), (None, 0));
    file
}

/// A composed file of a disk.
pub fn image(model: &Model, block_size: u64, sector: u32, is_fixed: bool) -> Vec<u8> {
    let layout = VhdxLayout::new(model.size(), model.ranges(), parameters(block_size, sector, is_fixed)).unwrap();
    compose(model, &layout)
}

/// The parents that a test has, by their data identity.
#[derive(Default)]
pub struct Parents(pub BTreeMap<[u8; 16], Arc<dyn ReadAt>>);

impl FindParent for Parents {
    fn find(&self, hint: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        assert!(!hint.paths.is_empty());
        Ok(self.0.get(&hint.identifier).cloned())
    }
}

pub fn open(file: impl ReadAt + 'static) -> Result<VhdxDisk, VhdxError> {
    VhdxDisk::open(Arc::new(file), &Parents::default())
}

pub fn put(file: &mut [u8], at: u64, bytes: &[u8]) {
    file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
}

pub fn u64_at(file: &[u8], at: u64) -> u64 {
    u64::from_le_bytes(file[at as usize..at as usize + 8].try_into().unwrap())
}

/// Changes a field of both headers, and makes their checksums right.
pub fn change_headers(file: &mut [u8], field: u64, value: &[u8]) {
    for header in HEADERS {
        put(file, header + field, value);
        crc::seal(&mut file[header as usize..header as usize + 4096]);
    }
}

// ---- Logs ----

/// What a log entry does.
#[derive(Clone)]
pub enum Write {
    /// Overwrites the 4 KiB at this file offset.
    Data(u64, Vec<u8>),
    /// Writes zeros: offset and length.
    Zero(u64, u64),
}

/// A log entry (§2.3.1).
pub struct Entry {
    pub sequence: u64,
    /// Where the entry is in the log; beyond the log's end it wraps.
    pub position: u64,
    /// Where the sequence begins.
    pub tail: u64,
    pub flushed: u64,
    pub last: u64,
    pub writes: Vec<Write>,
}

impl Entry {
    pub fn encode(&self, id: Guid) -> Vec<u8> {
        let data = self.writes.iter().filter(|write| matches!(write, Write::Data(..))).count();
        let descriptor_sectors = (64 + self.writes.len() * 32).div_ceil(4096);
        let mut entry = vec![0; (descriptor_sectors + data) * 4096];
        let length = entry.len() as u32;
        put(&mut entry, 0, b"loge");
        put(&mut entry, 8, &length.to_le_bytes());
        put(&mut entry, 12, &(self.tail as u32).to_le_bytes());
        put(&mut entry, 16, &self.sequence.to_le_bytes());
        put(&mut entry, 24, &(self.writes.len() as u32).to_le_bytes());
        put(&mut entry, 32, &id.0);
        put(&mut entry, 48, &self.flushed.to_le_bytes());
        put(&mut entry, 56, &self.last.to_le_bytes());
        let mut sector = descriptor_sectors as u64 * 4096;
        for (index, write) in self.writes.iter().enumerate() {
            let descriptor = 64 + index as u64 * 32;
            put(&mut entry, descriptor + 24, &self.sequence.to_le_bytes());
            match write {
                Write::Zero(at, length) => {
                    put(&mut entry, descriptor, b"zero");
                    put(&mut entry, descriptor + 8, &length.to_le_bytes());
                    put(&mut entry, descriptor + 16, &at.to_le_bytes());
                }
                Write::Data(at, bytes) => {
                    assert_eq!(bytes.len(), 4096);
                    put(&mut entry, descriptor, b"desc");
                    put(&mut entry, descriptor + 4, &bytes[4092..]);
                    put(&mut entry, descriptor + 8, &bytes[..8]);
                    put(&mut entry, descriptor + 16, &at.to_le_bytes());
                    put(&mut entry, sector, b"data");
                    put(&mut entry, sector + 4, &((self.sequence >> 32) as u32).to_le_bytes());
                    put(&mut entry, sector + 8, &bytes[8..4092]);
                    put(&mut entry, sector + 4092, &(self.sequence as u32).to_le_bytes());
                    sector += 4096;
                }
            }
        }
        crc::seal(&mut entry);
        entry
    }

    /// Bytes that the entry takes.
    pub fn length(&self) -> u64 {
        self.encode(LOG_ID).len() as u64
    }
}

/// Writes an encoded entry into the log.
pub fn put_in_log(file: &mut [u8], position: u64, entry: &[u8]) {
    for (index, sector) in entry.chunks(4096).enumerate() {
        put(file, LOG + (position + index as u64 * 4096) % LOG_LENGTH, sector);
    }
}

/// Writes entries into the log, and says in the headers that it must be replayed.
pub fn make_pending(file: &mut [u8], entries: &[Entry]) {
    for entry in entries {
        put_in_log(file, entry.position, &entry.encode(LOG_ID));
    }
    change_headers(file, 48, &LOG_ID.0);
}

// ---- Differencing disks ----

/// A child's file: `writes` is what it has of the disk, in whole sectors. Blocks that are written as a whole are fully
/// present, others partially. `number` is its own data identity, `parent` that of its parent.
pub fn child(
    model: &Model,
    writes: &[std::ops::Range<u64>],
    block_size: u64,
    sector: u64,
    number: u8,
    parent: u8,
) -> Vec<u8> {
    let size = model.size();
    let mut own = parameters(block_size, sector as u32, false);
    own.identity.data_write_id = data_id(number);
    own.identity.file_write_id = Guid([number; 16]);
    let layout = VhdxLayout::new(size, writes.to_vec(), own).unwrap();
    // Sectors that the bitmap leaves to the parent may hold anything.
    let mut file = compose(model, &layout);
    let mut present = std::collections::BTreeSet::new();
    for range in writes {
        assert!(range.start.is_multiple_of(sector) && range.end.is_multiple_of(sector));
        present.extend(range.start / sector..range.end / sector);
    }
    add_locator(&mut file, parent);

    let chunk = (1 << 23) * sector / block_size;
    let per_block = block_size / sector;
    let mut bitmaps: BTreeMap<u64, u64> = BTreeMap::new();
    for block in 0..size.div_ceil(block_size) {
        let entry = TABLE + (block + block / chunk) * 8;
        let place = u64_at(&file, entry);
        if place == 0 {
            continue;
        }
        let sectors = block * per_block..((block + 1) * per_block).min(size.div_ceil(sector));
        let count = present.range(sectors.clone()).count() as u64;
        if count == sectors.end - sectors.start {
            continue;
        }
        put(&mut file, entry, &(place | 7).to_le_bytes());
        for missing in sectors.filter(|sector| !present.contains(sector)) {
            let at = (place & !0xf_ffff) + missing % per_block * sector;
            put(&mut file, at, &vec![0xee; sector as usize]);
        }
        bitmaps.entry(block / chunk).or_insert_with(|| {
            let at = (file.len() as u64).next_multiple_of(MIB);
            file.resize((at + MIB) as usize, 0);
            put(&mut file, TABLE + ((block / chunk + 1) * (chunk + 1) - 1) * 8, &(at | 6).to_le_bytes());
            at
        });
    }
    for (chunk, at) in bitmaps {
        for bit in present.range(chunk << 23..(chunk + 1) << 23).map(|sector| sector % (1 << 23)) {
            file[(at + bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    file
}

/// Says in the metadata that the file has a parent, and which.
pub fn add_locator(file: &mut [u8], parent: u8) {
    let linkage = format!("{{{}}}", data_id(parent));
    let path = format!("parent-{parent}.vhdx");
    let pairs = [
        ("parent_linkage", linkage),
        ("absolute_win32_path", format!(r"\\?\c:\sticks\{path}")),
        ("relative_path", format!(r".\{path}")),
    ];
    let mut item = Guid::parse("b04aefb7-d19e-4a81-b789-25b8e9445913").unwrap().0.to_vec();
    item.extend([0, 0, pairs.len() as u8, 0]);
    let mut texts: Vec<u8> = Vec::new();
    let base = 20 + pairs.len() * 12;
    for (key, value) in &pairs {
        let [key, value] =
            [*key, value.as_str()].map(|text| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        let at = (base + texts.len()) as u32;
        item.extend(at.to_le_bytes());
        item.extend((at + key.len() as u32).to_le_bytes());
        item.extend((key.len() as u16).to_le_bytes());
        item.extend((value.len() as u16).to_le_bytes());
        texts.extend(key);
        texts.extend(value);
    }
    item.extend(texts);
    // The sixth entry of the table; its item is 128 KiB into the region.
    let entry = METADATA + 32 + 5 * 32;
    put(file, METADATA + 10, &6_u16.to_le_bytes());
    put(file, entry, &Guid::parse("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").unwrap().0);
    put(file, entry + 16, &(128_u32 << 10).to_le_bytes());
    put(file, entry + 20, &(item.len() as u32).to_le_bytes());
    put(file, entry + 24, &4_u32.to_le_bytes());
    put(file, METADATA + (128 << 10), &item);
    // The file parameters are the first item: block size, then flags.
    put(file, METADATA + (64 << 10) + 4, &2_u32.to_le_bytes());
}
