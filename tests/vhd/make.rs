//! A writer of VHDs of its own, for tests: it shares no line with the library, so that a field that both read and write
//! wrongly is seen.

use sheaf::disk::ReadAt;
use sheaf::image::ImageError;
use sheaf::image::container::{FindParent, ParentHint};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A number generator that gives the same on every machine (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.next().to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}

/// What a differencing disk says of its parent.
#[derive(Clone)]
pub(crate) struct Parent {
    pub(crate) identifier: [u8; 16],
    pub(crate) time_stamp: u32,
    /// The name beside the child.
    pub(crate) name: String,
}

/// A VHD to be written.
#[derive(Clone)]
pub(crate) struct Image {
    /// 2, 3 or 4, as in the disk type field.
    pub(crate) kind: u32,
    pub(crate) size: u64,
    pub(crate) block_size: u32,
    pub(crate) identifier: [u8; 16],
    pub(crate) time_stamp: u32,
    pub(crate) parent: Option<Parent>,
    /// What the image keeps, by sector.
    pub(crate) sectors: BTreeMap<u64, [u8; 512]>,
    /// Blocks lie in the file in falling order.
    pub(crate) is_backwards: bool,
}

fn checksum(bytes: &[u8], at: usize) -> u32 {
    let mut sum = 0_u32;
    for (index, byte) in bytes.iter().enumerate() {
        if !(at..at + 4).contains(&index) {
            sum = sum.wrapping_add(u32::from(*byte));
        }
    }
    !sum
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

impl Image {
    fn footer(&self) -> Vec<u8> {
        let mut footer = Vec::new();
        footer.extend(b"conectix");
        footer.extend(2_u32.to_be_bytes());
        footer.extend(0x0001_0000_u32.to_be_bytes());
        footer.extend(if self.kind == 2 { u64::MAX } else { 512 }.to_be_bytes());
        footer.extend(self.time_stamp.to_be_bytes());
        footer.extend(b"win \0\x06\0\x01Wi2k");
        footer.extend(self.size.to_be_bytes());
        footer.extend(self.size.to_be_bytes());
        footer.extend([0, 9, 4, 17]);
        footer.extend(self.kind.to_be_bytes());
        footer.extend([0; 4]);
        footer.extend(self.identifier);
        footer.resize(512, 0);
        let sum = checksum(&footer, 64);
        footer[64..68].copy_from_slice(&sum.to_be_bytes());
        footer
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let footer = self.footer();
        if self.kind == 2 {
            let mut bytes = vec![0; self.size as usize];
            for (sector, content) in &self.sectors {
                bytes[*sector as usize * 512..][..512].copy_from_slice(content);
            }
            return [bytes, footer].concat();
        }
        let per_block = u64::from(self.block_size) / 512;
        let blocks = self.size.div_ceil(self.block_size.into());
        let mut table = vec![u32::MAX; blocks as usize];

        // Copy, header, table, locators, blocks, footer.
        let locators: Vec<(&[u8; 4], Vec<u8>)> = self
            .parent
            .iter()
            .flat_map(|parent| {
                [
                    (b"W2ku", utf16(&format!("C:\\disks\\{}", parent.name))),
                    (b"W2ru", utf16(&format!(".\\{}", parent.name))),
                ]
            })
            .collect();
        let locators_at = 1536 + (blocks as usize * 4).next_multiple_of(512);
        let mut data = Vec::new();
        for (_, text) in &locators {
            data.extend(text);
            data.resize(data.len().next_multiple_of(512), 0);
        }
        let mut used: Vec<u64> = self.sectors.keys().map(|sector| sector / per_block).collect();
        used.dedup();
        if self.is_backwards {
            used.reverse();
        }
        for block in used {
            table[block as usize] = ((locators_at + data.len()) / 512) as u32;
            let mut bitmap = vec![0_u8; (per_block as usize).div_ceil(8).next_multiple_of(512)];
            let mut content = vec![0_u8; self.block_size as usize];
            for (sector, bytes) in self.sectors.range(block * per_block..(block + 1) * per_block) {
                let inside = (sector % per_block) as usize;
                bitmap[inside / 8] |= 0x80 >> (inside % 8);
                content[inside * 512..][..512].copy_from_slice(bytes);
            }
            data.extend(bitmap);
            data.extend(content);
        }

        let mut header = Vec::new();
        header.extend(b"cxsparse");
        header.extend(u64::MAX.to_be_bytes());
        header.extend(1536_u64.to_be_bytes());
        header.extend(0x0001_0000_u32.to_be_bytes());
        header.extend((blocks as u32).to_be_bytes());
        header.extend(self.block_size.to_be_bytes());
        header.extend([0; 4]);
        if let Some(parent) = &self.parent {
            header.extend(parent.identifier);
            header.extend(parent.time_stamp.to_be_bytes());
            header.extend([0; 4]);
            header.extend(parent.name.encode_utf16().flat_map(u16::to_be_bytes));
        }
        header.resize(576, 0);
        let mut at = locators_at;
        for (code, text) in &locators {
            header.extend(*code);
            header.extend(512_u32.to_be_bytes());
            header.extend((text.len() as u32).to_be_bytes());
            header.extend([0; 4]);
            header.extend((at as u64).to_be_bytes());
            at += text.len().next_multiple_of(512);
        }
        header.resize(1024, 0);
        let sum = checksum(&header, 36);
        header[36..40].copy_from_slice(&sum.to_be_bytes());

        let mut bytes = [footer.clone(), header].concat();
        bytes.extend(table.iter().flat_map(|entry| entry.to_be_bytes()));
        bytes.resize(locators_at, 0xff);
        bytes.extend(data);
        bytes.extend(footer);
        bytes
    }
}

/// A base and children over one another, each with sectors of its own, and the disk that they make together.
pub(crate) struct Chain {
    /// The base first.
    pub(crate) images: Vec<Image>,
    pub(crate) disk: Vec<u8>,
}

impl Chain {
    /// `depth` children over a base of this kind. The last block is not whole.
    pub(crate) fn new(depth: usize, kind: u32, seed: u64) -> Self {
        Self::shaped(depth, kind, seed, 64 << 10, 1000, 1)
    }

    /// A chain with blocks of this size and this many sectors, of which those that were written lie in runs that end at
    /// multiples of `unit`.
    pub(crate) fn shaped(depth: usize, kind: u32, seed: u64, block_size: u32, count: u64, unit: u64) -> Self {
        let mut random = Random(seed);
        let mut disk = vec![0; count as usize * 512];
        let mut images: Vec<Image> = Vec::new();
        for level in 0..=depth {
            let parent = images.last().map(|parent: &Image| Parent {
                identifier: parent.identifier,
                time_stamp: parent.time_stamp,
                name: format!("level-{}.vhd", level - 1),
            });
            let mut sectors = BTreeMap::new();
            // A few runs, and a few sectors alone.
            for index in 0..20 {
                let start = random.below(count);
                let end = start + if index % 2 == 0 { random.below(40) } else { 1 };
                for sector in start..end.next_multiple_of(unit).min(count) {
                    let mut content = [0; 512];
                    // Some of what a child wrote is zeros: they hide what its parent has.
                    if random.below(4) > 0 {
                        random.fill(&mut content);
                    }
                    sectors.insert(sector, content);
                    disk[sector as usize * 512..][..512].copy_from_slice(&content);
                }
            }
            images.push(Image {
                kind: if level == 0 { kind } else { 4 },
                size: count * 512,
                block_size,
                identifier: [level as u8 + 1; 16],
                time_stamp: 1000 + level as u32,
                parent,
                sectors,
                is_backwards: level % 2 == 1,
            });
        }
        Self { images, disk }
    }

    /// The youngest child, and a folder with all of them.
    pub(crate) fn files(&self) -> (Arc<dyn ReadAt>, Folder) {
        let folder = Folder::of(self.images.iter().map(Image::bytes));
        let (_, child) = folder.0.iter().max_by_key(|(name, _)| (name.len(), *name)).expect("there is a base");
        (Arc::clone(child), Folder(folder.0.clone()))
    }
}

/// Files by their names.
pub(crate) struct Folder(pub(crate) BTreeMap<String, Arc<dyn ReadAt>>);

impl Folder {
    pub(crate) fn of(files: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let named = files.into_iter().enumerate();
        Self(named.map(|(level, bytes)| (format!("level-{level}.vhd"), Arc::new(bytes) as Arc<dyn ReadAt>)).collect())
    }
}

impl FindParent for Folder {
    fn find(&self, hint: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        let name = |path: &str| path.rsplit('\\').next().map(str::to_owned);
        Ok(hint.paths.iter().filter_map(|path| name(path)).find_map(|name| self.0.get(&name).cloned()))
    }
}
