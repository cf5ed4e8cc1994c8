//! Indexes of names, written here from the documentation and independent of the reader; and volumes with folders.

use crate::build::{Attr, BITMAP, Build, DATA, HOLE, INDEX, ROOT, Rec, file_name, protect, put, reference};
use crate::judge::bytes;

pub const INDEX_ROOT: u32 = 0x90;
pub const REPARSE: u32 = 0xc0;
const STANDARD: u32 = 0x10;

/// An entry with a name, and the sub-node with the names before it.
pub fn entry(file: u64, parent: u64, name: &str, space: u8, is_folder: bool, node: Option<u64>) -> Vec<u8> {
    let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut key = vec![0; 66];
    put(&mut key, 0, &parent.to_le_bytes());
    put(&mut key, 56, &(u32::from(is_folder) << 28).to_le_bytes());
    (key[64], key[65]) = ((text.len() / 2) as u8, space);
    key.extend_from_slice(&text);
    raw_entry(file, &key, 0, node)
}

/// The last entry of a node.
pub fn last(node: Option<u64>) -> Vec<u8> {
    raw_entry(0, &[], 2, node)
}

fn raw_entry(file: u64, key: &[u8], flags: u16, node: Option<u64>) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes.extend_from_slice(key);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(node.iter().flat_map(|node| node.to_le_bytes()));
    let length = bytes.len() as u16;
    put(&mut bytes, 0, &file.to_le_bytes());
    put(&mut bytes, 8, &length.to_le_bytes());
    put(&mut bytes, 10, &(key.len() as u16).to_le_bytes());
    put(&mut bytes, 12, &(flags | u16::from(node.is_some())).to_le_bytes());
    bytes
}

/// The root of an index, in the record of the folder.
pub fn root(record: u32, entries: &[Vec<u8>]) -> Attr {
    let entries = entries.concat();
    let mut bytes = vec![0; 32];
    put(&mut bytes, 0, &0x30_u32.to_le_bytes());
    put(&mut bytes, 4, &1_u32.to_le_bytes());
    put(&mut bytes, 8, &record.to_le_bytes());
    bytes[12] = 1;
    put(&mut bytes, 16, &16_u32.to_le_bytes());
    put(&mut bytes, 20, &(16 + entries.len() as u32).to_le_bytes());
    put(&mut bytes, 24, &(16 + entries.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&entries);
    Attr::here(INDEX_ROOT, 11, bytes).named("$I30")
}

/// An index record.
pub fn node(size: usize, number: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    let entries = entries.concat();
    let count = size / 512 + 1;
    let first = (40 + count * 2).next_multiple_of(8);
    let mut bytes = vec![0; size];
    put(&mut bytes, 0, b"INDX");
    put(&mut bytes, 4, &40_u16.to_le_bytes());
    put(&mut bytes, 6, &(count as u16).to_le_bytes());
    put(&mut bytes, 16, &number.to_le_bytes());
    put(&mut bytes, 24, &(first as u32 - 24).to_le_bytes());
    put(&mut bytes, 28, &((first + entries.len()) as u32 - 24).to_le_bytes());
    put(&mut bytes, 32, &(size as u32 - 24).to_le_bytes());
    put(&mut bytes, first, &entries);
    protect(&mut bytes);
    bytes
}

/// Times and attributes.
pub fn standard(times: [u64; 4], attributes: u32) -> Attr {
    let mut bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
    bytes.extend(attributes.to_le_bytes());
    bytes.resize(72, 0);
    Attr::here(STANDARD, 10, bytes)
}

/// A reparse point.
pub fn reparse(tag: u32, data: &[u8]) -> Attr {
    let mut bytes = tag.to_le_bytes().to_vec();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend_from_slice(data);
    Attr::here(REPARSE, 12, bytes)
}

/// The reparse point of a file that the overlay filter keeps.
pub fn overlay(algorithm: u32) -> Attr {
    reparse(0x8000_0017, &[1, 2, 1, algorithm].map(u32::to_le_bytes).concat())
}

/// Makes a record that of a folder.
pub fn folder(build: &mut Build, number: u64, attrs: Vec<Attr>) {
    build.records.insert(number, Rec { flags: 3, ..Rec::new(attrs) });
}

/// The reference of the root folder.
pub fn root_reference() -> u64 {
    reference(ROOT, 1)
}

/// What is in the files of [`tree`], by their names.
pub fn contents(cluster: u64) -> Vec<(&'static str, Vec<u8>)> {
    let zeros = |clusters: u64| vec![0; (clusters * cluster) as usize];
    let sparse = [zeros(14), bytes(33, 2 * cluster as usize), zeros(15), vec![0; 5]].concat();
    let packed = [bytes(34, 16 * cluster as usize), vec![b'a'; 16 * cluster as usize], zeros(15), vec![0; 9]].concat();
    vec![
        ("one", bytes(30, 30)),
        ("two", bytes(31, 31)),
        ("three", bytes(32, 32)),
        ("sparse", sparse),
        ("packed", packed),
        ("overlaid", bytes(35, 10_000)),
    ]
}

/// Puts a tree into a volume: the root has files 30 to 35 and the folder 36, whose names are in `nodes` index records.
pub fn tree(build: &mut Build) {
    let (cluster, root_ref) = (build.cluster, root_reference());
    let record = 4096_u64;
    // How sub-nodes are numbered.
    let per = if cluster > record { record / 512 } else { record / cluster };
    let mut names = Vec::new();
    for (number, name) in [(30, "one"), (31, "two"), (32, "three")] {
        build.add(
            number,
            vec![
                standard([number; 4], 0x20),
                file_name(ROOT, name),
                Attr::here(DATA, 1, bytes(number, number as usize)),
            ],
        );
        names.push(entry(reference(number, 1), root_ref, name, 1, false, None));
    }
    // Sparse, with a named stream.
    let run = build.take(2);
    build.content.push((run.0, bytes(33, 2 * cluster as usize)));
    let mut sparse =
        Attr::there(DATA, 1, &[(HOLE, 14), run, (HOLE, 16)], cluster).sized(31 * cluster + 5, 31 * cluster);
    (sparse.flags, sparse.clusters().unit) = (0x8000, 4);
    build.add(
        33,
        vec![
            standard([33; 4], 0x220),
            file_name(ROOT, "sparse"),
            sparse,
            Attr::here(DATA, 2, *b"beside").named("stream"),
        ],
    );
    names.push(entry(reference(33, 1), root_ref, "sparse", 1, false, None));
    // Compressed: a unit that is stored as it is, one that is compressed, and one that is zeros.
    let (raw, packed) = (build.take(16), build.take(1));
    build.content.push((raw.0, bytes(34, 16 * cluster as usize)));
    let chunk = [0x03, 0xb0, 0x02, b'a', 0xfc, 0x0f];
    build.content.push((packed.0, chunk.repeat(16 * cluster as usize / 4096)));
    let mut units =
        Attr::there(DATA, 1, &[raw, packed, (HOLE, 15), (HOLE, 16)], cluster).sized(47 * cluster + 9, 47 * cluster + 9);
    (units.flags, units.clusters().unit) = (1, 4);
    build.add(34, vec![standard([34; 4], 0x820), file_name(ROOT, "packed"), units]);
    names.push(entry(reference(34, 1), root_ref, "packed", 1, false, None));
    // Kept by the overlay filter, in chunks that are stored as they are.
    let content = bytes(35, 10_000);
    let stored = [&4096_u32.to_le_bytes()[..], &8192_u32.to_le_bytes(), &content].concat();
    let run = build.take((stored.len() as u64).div_ceil(cluster));
    build.content.push((run.0, stored.clone()));
    let length = stored.len() as u64;
    build.add(
        35,
        vec![
            standard([35; 4], 0x620),
            file_name(ROOT, "overlaid"),
            Attr::there(DATA, 1, &[(HOLE, 10_000_u64.div_ceil(cluster))], cluster).sized(10_000, 10_000),
            Attr::there(DATA, 2, &[run], cluster).sized(length, length).named("WofCompressedData"),
            overlay(0),
        ],
    );
    names.push(entry(reference(35, 1), root_ref, "overlaid", 1, false, None));
    names.push(entry(reference(36, 1), root_ref, "folder", 3, true, None));
    names.push(last(None));
    // A folder of three index records: one above the other two.
    let nodes = build.take((3 * record).div_ceil(cluster));
    let below = |numbers: std::ops::Range<u64>| -> Vec<Vec<u8>> {
        let file = |number: u64| {
            entry(reference(30 + number % 3, 1), reference(36, 1), &format!("{number:03}"), 1, false, None)
        };
        numbers.map(file).chain([last(None)]).collect()
    };
    let middle = entry(reference(30, 1), reference(36, 1), "010", 1, false, Some(per));
    let records = [
        node(4096, 0, &[middle, last(Some(2 * per))]),
        node(4096, per, &below(0..10)),
        node(4096, 2 * per, &below(11..20)),
    ];
    build.content.push((nodes.0, records.concat()));
    folder(
        build,
        36,
        vec![
            standard([36; 4], 0),
            file_name(ROOT, "folder"),
            root(4096, &[last(Some(0))]),
            Attr::there(INDEX, 12, &[nodes], cluster).named("$I30").sized(3 * record, 3 * record),
            Attr::here(BITMAP, 13, [7, 0, 0, 0, 0, 0, 0, 0]).named("$I30"),
        ],
    );
    folder(build, ROOT, vec![root(4096, &names)]);
}
