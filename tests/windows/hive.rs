//! Makes hives of the registry by hand, in all the shapes that keys, lists and values may have.
//!
//! Always true here: offsets are those of the specification, from the start of the hive bins data. There is one bin, as long as it
//! must be.

/// The offset of nothing.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// A hive in the making.
pub(crate) struct Hive {
    /// The hive bins data: a bin's header, and cells.
    bins: Vec<u8>,
    /// A security descriptor, which all keys have.
    security: u32,
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The checksum of a base block, put where it belongs.
pub(crate) fn seal(hive: &mut [u8]) {
    let Some(block) = hive.first_chunk_mut::<512>() else { return };
    let words = block[..508].as_chunks::<4>().0.iter();
    let sum = words.fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    let sum = if sum == u32::MAX { u32::MAX - 1 } else { sum.max(1) };
    put(block, 508, &sum.to_le_bytes());
}

/// Text as a value has it.
pub(crate) fn text(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// The hash of a name in a hash leaf.
pub(crate) fn hash(name: &str) -> u32 {
    name.to_uppercase().encode_utf16().fold(0, |hash, unit| hash.wrapping_mul(37).wrapping_add(unit.into()))
}

impl Hive {
    pub(crate) fn new() -> Self {
        let mut hive = Self { bins: vec![0; 32], security: 0 };
        put(&mut hive.bins, 0, b"hbin");
        // A list of one, whose neighbours are itself, and the smallest descriptor that there is.
        let mut descriptor = vec![0; 40];
        put(&mut descriptor, 0, b"sk");
        put(&mut descriptor, 12, &1_u32.to_le_bytes());
        put(&mut descriptor, 16, &20_u32.to_le_bytes());
        put(&mut descriptor, 20, &[1, 0, 0, 0x80]);
        let at = hive.cell(&descriptor);
        hive.put(at, 4, &at.to_le_bytes());
        hive.put(at, 8, &at.to_le_bytes());
        hive.security = at;
        hive
    }

    /// A cell in use with this data, and where it is.
    pub(crate) fn cell(&mut self, data: &[u8]) -> u32 {
        let at = self.bins.len();
        let size = (data.len() + 4).next_multiple_of(8);
        self.bins.extend((-(size as i32)).to_le_bytes());
        self.bins.extend(data);
        self.bins.resize(at + size, 0);
        at as u32
    }

    /// Writes over the data of a cell.
    pub(crate) fn put(&mut self, cell: u32, at: usize, value: &[u8]) {
        put(&mut self.bins, cell as usize + 4 + at, value);
    }

    /// Writes over the size of a cell.
    pub(crate) fn resize(&mut self, cell: u32, size: i32) {
        put(&mut self.bins, cell as usize, &size.to_le_bytes());
    }

    /// A value. Four bytes and less stand in it.
    pub(crate) fn value(&mut self, name: &str, kind: u32, data: &[u8]) -> u32 {
        let mut cell = vec![0; 20];
        put(&mut cell, 0, b"vk");
        put(&mut cell, 2, &(name.len() as u16).to_le_bytes());
        let mut size = data.len() as u32;
        if data.len() <= 4 {
            size |= 1 << 31;
            put(&mut cell, 8, data);
        } else {
            let at = self.cell(data);
            put(&mut cell, 8, &at.to_le_bytes());
        }
        put(&mut cell, 4, &size.to_le_bytes());
        put(&mut cell, 12, &kind.to_le_bytes());
        put(&mut cell, 16, &1_u16.to_le_bytes());
        cell.extend(name.bytes());
        self.cell(&cell)
    }

    /// A value whose name is in UTF-16.
    pub(crate) fn wide_value(&mut self, name: &str, kind: u32, data: &[u8]) -> u32 {
        let at = self.value("", kind, data);
        let mut cell = self.bins[at as usize + 4..][..20].to_vec();
        put(&mut cell, 2, &(2 * name.len() as u16).to_le_bytes());
        put(&mut cell, 16, &[0, 0]);
        cell.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        self.cell(&cell)
    }

    /// A list of keys, whose names are those given, or of lists.
    pub(crate) fn list(&mut self, kind: &[u8; 2], elements: &[(u32, &str)]) -> u32 {
        let mut cell = kind.to_vec();
        cell.extend((elements.len() as u16).to_le_bytes());
        for (at, name) in elements {
            cell.extend(at.to_le_bytes());
            match kind {
                b"lf" => {
                    let mut start = [0; 4];
                    start.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
                    cell.extend(start);
                }
                b"lh" => cell.extend(hash(name).to_le_bytes()),
                _ => {}
            }
        }
        self.cell(&cell)
    }

    /// A key with a list of keys.
    pub(crate) fn key_over(&mut self, name: &str, list: u32, count: u32, values: &[u32]) -> u32 {
        let mut cell = vec![0; 76];
        put(&mut cell, 0, b"nk");
        put(&mut cell, 2, &0x20_u16.to_le_bytes());
        put(&mut cell, 20, &count.to_le_bytes());
        put(&mut cell, 28, &list.to_le_bytes());
        put(&mut cell, 32, &NOWHERE.to_le_bytes());
        put(&mut cell, 36, &(values.len() as u32).to_le_bytes());
        let list = match values {
            [] => NOWHERE,
            values => self.cell(&values.iter().flat_map(|at| at.to_le_bytes()).collect::<Vec<_>>()),
        };
        put(&mut cell, 40, &list.to_le_bytes());
        put(&mut cell, 44, &self.security.to_le_bytes());
        put(&mut cell, 48, &NOWHERE.to_le_bytes());
        put(&mut cell, 72, &(name.len() as u16).to_le_bytes());
        cell.extend(name.bytes());
        self.cell(&cell)
    }

    /// A key with these keys in a hash leaf.
    pub(crate) fn key(&mut self, name: &str, keys: &[(u32, &str)], values: &[u32]) -> u32 {
        let list = if keys.is_empty() { NOWHERE } else { self.list(b"lh", keys) };
        self.key_over(name, list, keys.len() as u32, values)
    }

    /// The whole file.
    pub(crate) fn finish(mut self, root: u32) -> Vec<u8> {
        let flags = [0x2c, 0];
        self.put(root, 2, &flags);
        let (used, size) = (self.bins.len(), (self.bins.len() + 8).next_multiple_of(4096));
        self.bins.extend(((size - used) as i32).to_le_bytes());
        self.bins.resize(size, 0);
        put(&mut self.bins, 8, &(size as u32).to_le_bytes());
        let mut file = vec![0; 4096];
        put(&mut file, 0, b"regf");
        for (at, number) in [(4, 1), (8, 1), (20, 1), (24, 5), (28, 0), (32, 1), (36, root), (40, size as u32), (44, 1)]
        {
            put(&mut file, at, &number.to_le_bytes());
        }
        seal(&mut file);
        file.extend(self.bins);
        file
    }

    /// The whole file of a hive with one path down to these values.
    pub(crate) fn with(mut self, values: &[u32]) -> Vec<u8> {
        let version = self.key("CurrentVersion", &[], values);
        let system = self.key("Windows NT", &[(version, "CurrentVersion")], &[]);
        let vendor = self.key("Microsoft", &[(system, "Windows NT")], &[]);
        let root = self.key("ROOT", &[(vendor, "Microsoft")], &[]);
        self.finish(root)
    }
}
