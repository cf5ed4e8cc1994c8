//! Small NTFS volumes, written here from the documentation and independent of the reader.

use std::collections::BTreeMap;

pub const DATA: u32 = 0x80;
pub const LIST: u32 = 0x20;
pub const NAME: u32 = 0x30;
pub const INDEX: u32 = 0xa0;
pub const BITMAP: u32 = 0xb0;
pub const HOLE: u64 = u64::MAX;
pub const ROOT: u64 = 5;

/// Clusters one behind the other: the first one, or [`HOLE`], and how many.
pub type Run = (u64, u64);

#[derive(Debug, Clone)]
pub struct Clusters {
    pub lowest: u64,
    pub runs: Vec<Run>,
    pub unit: u8,
    pub allocated: u64,
    pub data: u64,
    pub valid: u64,
}

#[derive(Debug, Clone)]
pub enum Body {
    Here(Vec<u8>),
    There(Clusters),
}

#[derive(Debug, Clone)]
pub struct Attr {
    pub kind: u32,
    pub name: String,
    pub flags: u16,
    pub id: u16,
    pub body: Body,
}

impl Attr {
    pub fn here(kind: u32, id: u16, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind, name: String::new(), flags: 0, id, body: Body::Here(bytes.into()) }
    }

    /// Whole clusters, all of them valid, from the first one of the attribute on.
    pub fn there(kind: u32, id: u16, runs: &[Run], cluster: u64) -> Self {
        let bytes = runs.iter().map(|run| run.1).sum::<u64>() * cluster;
        let runs = runs.to_vec();
        let clusters = Clusters { lowest: 0, runs, unit: 0, allocated: bytes, data: bytes, valid: bytes };
        Self { kind, name: String::new(), flags: 0, id, body: Body::There(clusters) }
    }

    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Sets the length and the valid length.
    pub fn sized(mut self, data: u64, valid: u64) -> Self {
        self.clusters().data = data;
        self.clusters().valid = valid;
        self
    }

    pub fn clusters(&mut self) -> &mut Clusters {
        match &mut self.body {
            Body::There(clusters) => clusters,
            Body::Here(_) => panic!("a resident attribute"),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let name: Vec<u8> = self.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let header = if matches!(self.body, Body::Here(_)) { 24 } else { 64 };
        let value_at = (header + name.len()).next_multiple_of(8);
        let mut bytes = vec![0; value_at];
        bytes[header..header + name.len()].copy_from_slice(&name);
        put(&mut bytes, 0, &self.kind.to_le_bytes());
        bytes[9] = (name.len() / 2) as u8;
        put(&mut bytes, 10, &(header as u16).to_le_bytes());
        put(&mut bytes, 12, &self.flags.to_le_bytes());
        put(&mut bytes, 14, &self.id.to_le_bytes());
        match &self.body {
            Body::Here(value) => {
                put(&mut bytes, 16, &(value.len() as u32).to_le_bytes());
                put(&mut bytes, 20, &(value_at as u16).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            Body::There(clusters) => {
                bytes[8] = 1;
                let end = clusters.lowest + clusters.runs.iter().map(|run| run.1).sum::<u64>();
                put(&mut bytes, 16, &clusters.lowest.to_le_bytes());
                put(&mut bytes, 24, &end.wrapping_sub(1).to_le_bytes());
                put(&mut bytes, 32, &(value_at as u16).to_le_bytes());
                bytes[34] = clusters.unit;
                put(&mut bytes, 40, &clusters.allocated.to_le_bytes());
                put(&mut bytes, 48, &clusters.data.to_le_bytes());
                put(&mut bytes, 56, &clusters.valid.to_le_bytes());
                bytes.extend_from_slice(&run_list(&clusters.runs));
            }
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let length = bytes.len() as u32;
        put(&mut bytes, 4, &length.to_le_bytes());
        bytes
    }
}

#[derive(Debug, Clone)]
pub struct Rec {
    pub sequence: u16,
    /// 1 is in use, 2 a directory.
    pub flags: u16,
    pub base: u64,
    pub attrs: Vec<Attr>,
}

impl Rec {
    pub fn new(attrs: Vec<Attr>) -> Self {
        Self { sequence: 1, flags: 1, base: 0, attrs }
    }

    /// A record that continues another one.
    pub fn of(base: u64, attrs: Vec<Attr>) -> Self {
        Self { base: reference(base, 1), ..Self::new(attrs) }
    }

    /// Bytes that its attributes take; for the fuzz target.
    #[allow(dead_code)]
    pub fn encode_length(&self) -> usize {
        self.attrs.iter().map(|attr| attr.encode().len()).sum()
    }

    pub fn encode(&self, number: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        let count = size / 512 + 1;
        let first = (48 + count * 2).next_multiple_of(8);
        let mut attrs: Vec<u8> = self.attrs.iter().flat_map(Attr::encode).collect();
        attrs.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        put(&mut bytes, 0, b"FILE");
        put(&mut bytes, 4, &48_u16.to_le_bytes());
        put(&mut bytes, 6, &(count as u16).to_le_bytes());
        put(&mut bytes, 16, &self.sequence.to_le_bytes());
        put(&mut bytes, 18, &1_u16.to_le_bytes());
        put(&mut bytes, 20, &(first as u16).to_le_bytes());
        put(&mut bytes, 22, &self.flags.to_le_bytes());
        put(&mut bytes, 24, &((first + attrs.len()) as u32).to_le_bytes());
        put(&mut bytes, 28, &(size as u32).to_le_bytes());
        put(&mut bytes, 32, &self.base.to_le_bytes());
        put(&mut bytes, 44, &(number as u32).to_le_bytes());
        put(&mut bytes, first, &attrs);
        protect(&mut bytes);
        bytes
    }
}

pub const fn reference(number: u64, sequence: u16) -> u64 {
    number | (sequence as u64) << 48
}

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Puts fix-ups into a record that says where they go, if there is room.
pub fn protect(bytes: &mut [u8]) {
    let at = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    if at + bytes.len() / 512 * 2 + 2 > 510 {
        return;
    }
    put(bytes, at, &[0x34, 0x12]);
    for block in 0..bytes.len() / 512 {
        let end = block * 512 + 510;
        let own = [bytes[end], bytes[end + 1]];
        put(bytes, at + 2 + block * 2, &own);
        put(bytes, end, &[0x34, 0x12]);
    }
}

/// An integer in as few bytes as keep its sign.
fn signed(value: i64) -> Vec<u8> {
    let bytes = value.to_le_bytes();
    let fits = |length: &usize| value << (64 - length * 8) >> (64 - length * 8) == value;
    bytes[..(1..8).find(fits).unwrap_or(8)].to_vec()
}

pub fn run_list(runs: &[Run]) -> Vec<u8> {
    let (mut list, mut last) = (Vec::new(), 0);
    for (lcn, count) in runs {
        let count = signed(*count as i64);
        let place = if *lcn == HOLE { Vec::new() } else { signed(*lcn as i64 - last) };
        if *lcn != HOLE {
            last = *lcn as i64;
        }
        list.push((place.len() << 4 | count.len()) as u8);
        list.extend_from_slice(&count);
        list.extend_from_slice(&place);
    }
    list.push(0);
    list
}

/// One entry of an attribute list.
pub fn entry(kind: u32, name: &str, lowest: u64, reference: u64, id: u16) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![0; (26 + name.len()).next_multiple_of(8)];
    let length = bytes.len() as u16;
    put(&mut bytes, 0, &kind.to_le_bytes());
    put(&mut bytes, 4, &length.to_le_bytes());
    (bytes[6], bytes[7]) = ((name.len() / 2) as u8, 26);
    put(&mut bytes, 8, &lowest.to_le_bytes());
    put(&mut bytes, 16, &reference.to_le_bytes());
    put(&mut bytes, 24, &id.to_le_bytes());
    put(&mut bytes, 26, &name);
    bytes
}

pub fn file_name(parent: u64, name: &str) -> Attr {
    let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![0; 66];
    put(&mut bytes, 0, &reference(parent, parent as u16).to_le_bytes());
    (bytes[64], bytes[65]) = ((text.len() / 2) as u8, 1);
    bytes.extend_from_slice(&text);
    Attr::here(NAME, 2, bytes)
}

/// A volume to be.
#[derive(Debug, Clone)]
pub struct Build {
    pub cluster: u64,
    pub record: usize,
    pub clusters: u64,
    pub mft: Vec<Run>,
    pub records: BTreeMap<u64, Rec>,
    /// What lies in which clusters.
    pub content: Vec<(u64, Vec<u8>)>,
    next: u64,
}

impl Build {
    /// A volume with its system files, 64 records, an empty log, and nothing else.
    pub fn new(cluster: u64, record: usize, clusters: u64) -> Self {
        let mut build =
            Self { cluster, record, clusters, mft: Vec::new(), records: BTreeMap::new(), content: Vec::new(), next: 0 };
        let fit = |bytes: u64| bytes.div_ceil(cluster);
        let boot = build.take(fit(8192));
        let mirror = build.take(fit(4 * record as u64));
        let bitmap = build.take(fit(clusters.div_ceil(64) * 8));
        let own = build.take(1);
        build.mft = vec![build.take(fit(64 * record as u64))];
        let log = build.take(fit(64 << 10));
        build.content.push((log.0, vec![0xff; (log.1 * cluster) as usize]));
        let there = |runs: &[Run]| Attr::there(DATA, 1, runs, cluster);
        let mft = vec![there(&build.mft), Attr::there(BITMAP, 3, &[own], cluster)];
        build.add(0, mft);
        build.add(1, vec![there(&[mirror])]);
        build.add(2, vec![there(&[log])]);
        build.add(
            3,
            vec![Attr::here(0x60, 1, b"L\0".to_vec()), Attr::here(0x70, 3, [0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0])],
        );
        build.add(ROOT, Vec::new());
        build.add(6, vec![there(&[bitmap])]);
        build.add(7, vec![there(&[boot])]);
        build.add(
            8,
            vec![Attr::here(DATA, 1, []), there(&[(HOLE, clusters)]).named("$Bad").sized(clusters * cluster, 0)],
        );
        build
    }

    pub fn add(&mut self, number: u64, attrs: Vec<Attr>) {
        self.records.insert(number, Rec::new(attrs));
    }

    /// The next clusters that nothing uses.
    pub fn take(&mut self, count: u64) -> Run {
        let run = (self.next, count);
        self.next += count;
        assert!(self.next <= self.clusters, "the volume is too small");
        run
    }

    /// A file in one run.
    pub fn file(&mut self, number: u64, parent: u64, name: &str, bytes: &[u8]) -> Run {
        let run = self.take((bytes.len() as u64).div_ceil(self.cluster));
        self.content.push((run.0, bytes.to_vec()));
        let data = Attr::there(DATA, 1, &[run], self.cluster).sized(bytes.len() as u64, bytes.len() as u64);
        self.add(number, vec![file_name(parent, name), data]);
        run
    }

    /// Where a record lies, if its first byte is in the MFT.
    pub fn place(&self, number: u64) -> Option<usize> {
        let mut offset = number * self.record as u64;
        for (lcn, count) in &self.mft {
            if offset < count * self.cluster {
                return Some((lcn * self.cluster + offset) as usize);
            }
            offset -= count * self.cluster;
        }
        None
    }

    fn boot(&self) -> Vec<u8> {
        let mut boot = vec![0; 512];
        let code = |bytes: u64| match bytes / self.cluster {
            0 => (bytes.trailing_zeros() as u8).wrapping_neg(),
            clusters => clusters as u8,
        };
        put(&mut boot, 0, &[0xeb, 0x52, 0x90]);
        put(&mut boot, 3, b"NTFS    ");
        put(&mut boot, 11, &512_u16.to_le_bytes());
        let sectors = self.cluster / 512;
        boot[13] = if sectors <= 128 { sectors as u8 } else { (sectors.trailing_zeros() as u8).wrapping_neg() };
        put(&mut boot, 40, &(self.clusters * sectors).to_le_bytes());
        put(&mut boot, 48, &self.mft[0].0.to_le_bytes());
        let mirror = 8192_u64.div_ceil(self.cluster);
        put(&mut boot, 56, &mirror.to_le_bytes());
        (boot[64], boot[68]) = (code(self.record as u64), code(4096));
        put(&mut boot, 72, &0x1234_5678_9abc_def0_u64.to_le_bytes());
        put(&mut boot, 510, &[0x55, 0xaa]);
        boot
    }

    /// The bytes of the volume, with the boot sector's copy in a sector of its own behind the last cluster.
    pub fn image(&self) -> Vec<u8> {
        let mut image = vec![0; (self.clusters * self.cluster) as usize + 512];
        for (at, bytes) in self.head() {
            let at = (at as usize).min(image.len());
            let count = bytes.len().min(image.len() - at);
            put(&mut image, at, &bytes[..count]);
        }
        image
    }

    /// All that is written to the volume, by its place in bytes; what comes later counts.
    pub fn head(&self) -> Vec<(u64, Vec<u8>)> {
        let mut pieces: Vec<(u64, Vec<u8>)> =
            self.content.iter().map(|(cluster, bytes)| (cluster * self.cluster, bytes.clone())).collect();
        pieces.extend([(0, self.boot()), (self.clusters * self.cluster, self.boot())]);
        let start_of = |number: u64, kind: u32| {
            let attr = self.records.get(&number)?.attrs.iter().find(|attr| attr.kind == kind)?;
            match &attr.body {
                // A hostile volume may say anything of where its maps are.
                Body::There(clusters) => Some(clusters.runs.first()?.0.saturating_mul(self.cluster)),
                Body::Here(_) => None,
            }
        };
        let mirror = start_of(1, DATA);
        let mut used = vec![0_u8; self.clusters.div_ceil(64) as usize * 8];
        let records: u64 = self.mft.iter().map(|run| run.1 * self.cluster / self.record as u64).sum();
        let mut own = vec![0_u8; records.div_ceil(64) as usize * 8];
        let sectors = Self { record: 512, ..self.clone_places() };
        for (number, rec) in &self.records {
            let bytes = rec.encode(*number, self.record);
            // A record may be larger than a cluster, and so lie in several runs.
            for (index, sector) in bytes.chunks(512).enumerate() {
                if let Some(at) = sectors.place(number * (self.record as u64 / 512) + index as u64) {
                    pieces.push((at as u64, sector.to_vec()));
                }
            }
            if let Some(mirror) = mirror.filter(|_| *number < 4) {
                pieces.push((mirror.saturating_add(number * self.record as u64), bytes));
            }
            if let Some(byte) = own.get_mut(*number as usize / 8) {
                *byte |= (rec.flags as u8 & 1) << (number % 8);
            }
            for attr in &rec.attrs {
                let Body::There(clusters) = &attr.body else { continue };
                for run in clusters.runs.iter().filter(|run| run.0 < self.clusters) {
                    for cluster in run.0..(run.0 + run.1).min(self.clusters) {
                        used[cluster as usize / 8] |= 1 << (cluster % 8);
                    }
                }
            }
        }
        for beyond in self.clusters..used.len() as u64 * 8 {
            used[beyond as usize / 8] |= 1 << (beyond % 8);
        }
        pieces.extend(start_of(6, DATA).map(|at| (at, used)));
        pieces.extend(start_of(0, BITMAP).map(|at| (at, own)));
        pieces
    }

    fn clone_places(&self) -> Self {
        Self { records: BTreeMap::new(), content: Vec::new(), mft: self.mft.clone(), ..*self }
    }
}
