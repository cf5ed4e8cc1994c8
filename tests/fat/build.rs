//! Writers of FAT and exFAT volumes, for tests and for fuzzing: plain ones, that can be told to write nonsense.

pub(crate) const SECTOR: usize = 512;

pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
        field.copy_from_slice(value);
    }
}

/// A FAT volume with two tables, 512 bytes a sector.
pub(crate) struct Fat {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bits: u32,
    pub(crate) cluster: usize,
    pub(crate) table: usize,
    pub(crate) table_length: usize,
    /// Where the root directory begins.
    pub(crate) root: usize,
    /// Where cluster 2 begins.
    pub(crate) heap: usize,
    pub(crate) clusters: u32,
}

impl Fat {
    /// An empty volume. The kind follows from the number of clusters, but for FAT32, which may have few.
    pub(crate) fn new(bits: u32, clusters: u32, cluster: usize) -> Self {
        let reserved = if bits == 32 { 8 } else { 1 };
        let table_length = ((clusters as usize + 2) * bits as usize).div_ceil(8 * SECTOR);
        let root_length = if bits == 32 { 0 } else { 2 };
        let front = reserved + 2 * table_length + root_length;
        let sectors = front + clusters as usize * cluster / SECTOR;
        let mut fat = Self {
            bytes: vec![0; sectors * SECTOR],
            bits,
            cluster,
            table: reserved * SECTOR,
            table_length: table_length * SECTOR,
            root: (front - root_length) * SECTOR,
            heap: front * SECTOR,
            clusters,
        };
        let mut boot = b"\xeb\x58\x90MSDOS5.0".to_vec();
        boot.extend((SECTOR as u16).to_le_bytes());
        boot.push((cluster / SECTOR) as u8);
        boot.extend((reserved as u16).to_le_bytes());
        boot.push(2);
        boot.extend((root_length as u16 * 16).to_le_bytes());
        boot.extend([0, 0, 0xf8]);
        boot.extend(if bits == 32 { 0 } else { table_length as u16 }.to_le_bytes());
        boot.resize(32, 0);
        boot.extend((sectors as u32).to_le_bytes());
        let mut extended = 36;
        if bits == 32 {
            boot.extend((table_length as u32).to_le_bytes());
            boot.extend([0; 4]);
            boot.extend(2_u32.to_le_bytes());
            boot.extend([1, 0, 6, 0]);
            boot.resize(64, 0);
            extended = 64;
        }
        boot.extend([0x80, 0, 0x29, 0x78, 0x56, 0x34, 0x12]);
        boot.extend(b"BOOT LABEL ");
        boot.extend(if bits == 32 { b"FAT32   " } else { b"FAT     " });
        assert_eq!(boot.len(), extended + 26);
        put(&mut fat.bytes, 0, &boot);
        put(&mut fat.bytes, 510, &[0x55, 0xaa]);
        fat.set(0, 0x0fff_fff8);
        fat.set(1, u32::MAX);
        if bits == 32 {
            fat.set(2, fat.end());
            fat.root = fat.heap;
        }
        fat
    }

    pub(crate) fn end(&self) -> u32 {
        if self.bits == 32 { 0x0fff_ffff } else { (1 << self.bits) - 1 }
    }

    /// Writes an entry of one table.
    pub(crate) fn set_in(&mut self, table: usize, cluster: u32, value: u32) {
        let start = self.table + table * self.table_length;
        let cluster = cluster as usize;
        match self.bits {
            12 => {
                let at = start + cluster + cluster / 2;
                let (mask, value) = if cluster % 2 == 1 { (0x000f, value << 4) } else { (0xf000, value & 0xfff) };
                let old = u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]);
                put(&mut self.bytes, at, &(old & mask | value as u16).to_le_bytes());
            }
            16 => put(&mut self.bytes, start + cluster * 2, &(value as u16).to_le_bytes()),
            _ => put(&mut self.bytes, start + cluster * 4, &value.to_le_bytes()),
        }
    }

    /// Writes an entry of both tables.
    pub(crate) fn set(&mut self, cluster: u32, value: u32) {
        self.set_in(0, cluster, value);
        self.set_in(1, cluster, value);
    }

    /// Chains clusters one behind the other.
    pub(crate) fn chain(&mut self, clusters: &[u32]) {
        for pair in clusters.windows(2) {
            self.set(pair[0], pair[1]);
        }
        if let Some(last) = clusters.last() {
            self.set(*last, self.end());
        }
    }

    /// Where a cluster begins.
    pub(crate) fn at(&self, cluster: u32) -> usize {
        self.heap + (cluster as usize).saturating_sub(2) * self.cluster
    }

    /// Writes an entry of a directory that begins at `directory`.
    pub(crate) fn entry(
        &mut self,
        directory: usize,
        index: usize,
        name: &[u8; 11],
        attributes: u8,
        first: u32,
        size: u32,
    ) {
        let mut entry = name.to_vec();
        entry.push(attributes);
        entry.resize(20, 0);
        entry.extend(((first >> 16) as u16).to_le_bytes());
        entry.extend([0; 4]);
        entry.extend((first as u16).to_le_bytes());
        entry.extend(size.to_le_bytes());
        put(&mut self.bytes, directory + index * 32, &entry);
    }
}

/// The parts of a long name, as they stand in front of the entry with the short one.
pub(crate) fn long_name(name: &[u16], short: &[u8; 11]) -> Vec<[u8; 32]> {
    let checksum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let parts = name.chunks(13).enumerate().map(|(index, units)| {
        let mut units = units.to_vec();
        // A NUL, where there is room for it, and nothing behind.
        units.extend((units.len() < 13).then_some(0));
        units.resize(13, 0xffff);
        let bytes: Vec<u8> = units.into_iter().flat_map(u16::to_le_bytes).collect();
        let last = if (index + 1) * 13 >= name.len() { 0x40 } else { 0 };
        let mut part = [0; 32];
        put(&mut part, 0, &[(index as u8 + 1) | last]);
        put(&mut part, 1, &bytes[..10]);
        put(&mut part, 11, &[0x0f, 0, checksum]);
        put(&mut part, 14, &bytes[10..22]);
        put(&mut part, 28, &bytes[22..]);
        part
    });
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    parts
}

/// An exFAT volume with 512 bytes a sector; cluster 2 is the bitmap, 3 the up-case table, 4 the root directory.
pub(crate) struct ExFat {
    pub(crate) bytes: Vec<u8>,
    pub(crate) cluster: usize,
    pub(crate) table: usize,
    pub(crate) table_length: usize,
    pub(crate) heap: usize,
    pub(crate) clusters: u32,
    pub(crate) tables: usize,
}

/// The first clusters, which every volume uses.
pub(crate) const BITMAP: u32 = 2;
pub(crate) const UP_CASE: u32 = 3;
pub(crate) const ROOT: u32 = 4;

impl ExFat {
    /// An empty volume. The bitmap takes one cluster, so it has at most 8 times as many clusters as bytes in one.
    pub(crate) fn new(clusters: u32, cluster: usize, tables: usize) -> Self {
        let table = 32;
        let table_length = ((clusters as usize + 2) * 4).div_ceil(SECTOR);
        let heap = table + tables * table_length;
        let sectors = heap + clusters as usize * cluster / SECTOR;
        let mut volume = Self {
            bytes: vec![0; sectors * SECTOR],
            cluster,
            table: table * SECTOR,
            table_length: table_length * SECTOR,
            heap: heap * SECTOR,
            clusters,
            tables,
        };
        let mut boot = b"\xeb\x76\x90EXFAT   ".to_vec();
        boot.resize(72, 0);
        boot.extend((sectors as u64).to_le_bytes());
        for field in [table as u32, table_length as u32, heap as u32, clusters, ROOT, 0x1234_5678] {
            boot.extend(field.to_le_bytes());
        }
        boot.extend([0, 1, 0, 0, 9, (cluster / SECTOR).trailing_zeros() as u8, tables as u8, 0x80, 0xff]);
        for region in [0, 12 * SECTOR] {
            put(&mut volume.bytes, region, &boot);
            put(&mut volume.bytes, region + 510, &[0x55, 0xaa]);
            for sector in 1..9 {
                put(&mut volume.bytes, region + sector * SECTOR + 508, &[0, 0, 0x55, 0xaa]);
            }
        }
        volume.seal();
        for (entry, value) in
            [(0, 0xffff_fff8), (1, u32::MAX), (BITMAP, u32::MAX), (UP_CASE, u32::MAX), (ROOT, u32::MAX)]
        {
            volume.set(entry, value);
        }
        for cluster in [BITMAP, UP_CASE, ROOT] {
            volume.use_cluster(cluster, true);
        }
        let length = u64::from(clusters).div_ceil(8);
        volume.special(0, 0x81, BITMAP, length);
        volume.special(1, 0x82, UP_CASE, 100);
        let mut label = vec![0x83, 3];
        label.extend("Åbc".encode_utf16().flat_map(u16::to_le_bytes));
        let root = volume.at(ROOT);
        put(&mut volume.bytes, root + 64, &label);
        volume
    }

    /// A volume of some other program; it has sectors of 512 bytes and one table.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let field = |at: usize| bytes[at..].first_chunk().map_or(0, |field| u32::from_le_bytes(*field));
        let [table, table_length, heap, clusters] = [80, 84, 88, 92].map(field);
        let cluster = SECTOR << bytes[109];
        let [table, table_length, heap] = [table, table_length, heap].map(|sectors| sectors as usize * SECTOR);
        Self { bytes, cluster, table, table_length, heap, clusters, tables: 1 }
    }

    /// An entry of the root directory for the bitmap or the up-case table.
    pub(crate) fn special(&mut self, index: usize, kind: u8, first: u32, length: u64) {
        let mut entry = vec![kind];
        entry.resize(20, 0);
        entry.extend(first.to_le_bytes());
        entry.extend(length.to_le_bytes());
        let root = self.at(ROOT);
        put(&mut self.bytes, root + index * 32, &entry);
    }

    /// Makes the checksums of both boot regions right.
    pub(crate) fn seal(&mut self) {
        for region in [0, 12 * SECTOR] {
            let covered = self.bytes[region..region + 11 * SECTOR].iter().enumerate();
            let sum = covered
                .filter(|(at, _)| !matches!(at, 106 | 107 | 112))
                .fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
            let sector = sum.to_le_bytes().repeat(SECTOR / 4);
            put(&mut self.bytes, region + 11 * SECTOR, &sector);
        }
    }

    /// Where a cluster begins.
    pub(crate) fn at(&self, cluster: u32) -> usize {
        self.heap + (cluster as usize).saturating_sub(2) * self.cluster
    }

    /// Writes an entry of all tables.
    pub(crate) fn set(&mut self, cluster: u32, value: u32) {
        for table in 0..self.tables {
            let at = self.table + table * self.table_length + cluster as usize * 4;
            put(&mut self.bytes, at, &value.to_le_bytes());
        }
    }

    /// Writes the bit of a cluster.
    pub(crate) fn use_cluster(&mut self, cluster: u32, used: bool) {
        let bit = cluster.wrapping_sub(2) as usize;
        let at = self.at(BITMAP) + bit / 8;
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte = *byte & !(1 << (bit % 8)) | u8::from(used) << (bit % 8);
        }
    }

    /// Chains clusters one behind the other, and marks them as used.
    pub(crate) fn chain(&mut self, clusters: &[u32]) {
        for pair in clusters.windows(2) {
            self.set(pair[0], pair[1]);
        }
        if let Some(last) = clusters.last() {
            self.set(*last, u32::MAX);
        }
        clusters.iter().for_each(|cluster| self.use_cluster(*cluster, true));
    }

    /// Writes the entries of a file or a directory with the name `a`, three of them from `index` on.
    pub(crate) fn file(&mut self, directory: usize, index: usize, file: &File) {
        put(&mut self.bytes, directory + index * 32, &file_set("a", &[0; 17], file));
    }
}

/// The entries of a file or a directory. `stamps` are the bytes of the first one that say when: made, written and read, four bytes
/// each; hundredths of the first two; and the zones of all three.
pub(crate) fn file_set(name: &str, stamps: &[u8; 17], file: &File) -> Vec<u8> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let upper = |unit: u16| char::from_u32(u32::from(unit)).map_or(unit, |text| single_upper(text) as u16);
    let bytes = units.iter().flat_map(|unit| upper(*unit).to_le_bytes());
    let hash = bytes.fold(0_u16, |sum, byte| sum.rotate_right(1).wrapping_add(u16::from(byte)));
    let parts = units.chunks(15);
    let mut set = vec![0x85, 1 + parts.len() as u8, 0, 0, if file.directory { 0x10 } else { 0x20 }, 0, 0, 0];
    set.extend(stamps);
    set.resize(32, 0);
    set.extend([0xc0, if file.contiguous { 3 } else { 1 }, 0, units.len() as u8]);
    set.extend(hash.to_le_bytes());
    set.extend([0; 2]);
    set.extend(file.valid.to_le_bytes());
    set.extend([0; 4]);
    set.extend(file.first.to_le_bytes());
    set.extend(file.length.to_le_bytes());
    for (index, part) in parts.enumerate() {
        set.extend([0xc1, 0]);
        set.extend(part.iter().copied().flat_map(u16::to_le_bytes));
        set.resize(96 + index * 32, 0);
    }
    seal_set(&mut set);
    set
}

/// The letter in upper case, where that is one letter.
fn single_upper(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => letter,
    }
}

/// Makes the checksum of a set of entries right.
pub(crate) fn seal_set(set: &mut [u8]) {
    let covered = set.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    let sum = covered.fold(0_u16, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u16::from(*byte)));
    put(set, 2, &sum.to_le_bytes());
}

/// What the entries of a file or directory say.
#[derive(Clone, Copy, Default)]
pub(crate) struct File {
    pub(crate) directory: bool,
    pub(crate) contiguous: bool,
    pub(crate) first: u32,
    pub(crate) valid: u64,
    pub(crate) length: u64,
}
