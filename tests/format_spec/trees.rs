//! tree.md and manifest.md, and where lists are cut.

use super::{block, examples, shown};
use sheaf::crypto::{Secret, derive};
use sheaf::disk::{DiskOffset, Extent, KeptOffset};
use sheaf::format::manifest::{DiskMap, HoleKind, MapRecord, Origin, Segment};
use sheaf::format::tree::{self, TreeEntry, TreeNode, TreeRoot};
use sheaf::ids::to_hex;

#[test]
fn tree_the_node_and_the_root() {
    let bytes = shown("tree-node-example");
    let node = TreeNode::decode(&bytes, 0).expect("decodes");
    let spans: Vec<u64> = node.entries.iter().map(|entry| entry.span).collect();
    assert_eq!((spans, node.span()), (vec![5, 4096], 4101));
    assert_eq!(node.encode(), bytes);
    let bytes = shown("tree-root-example");
    let root: TreeRoot = minicbor::decode(&bytes).expect("decodes");
    assert_eq!((root.span, root.depth), (4101, 1));
    let top = root.top().expect("sound").expect("not empty");
    assert_eq!(top.key, derive::chunk_key(&examples::dedup_secret(), &node.encode()));
    assert_eq!(minicbor::to_vec(&root).expect("encodes"), bytes);
    assert_eq!(
        minicbor::to_vec(&TreeRoot::EMPTY).expect("encodes"),
        [0xa2, 0, 0, 1, 0],
        "tree.md shows the empty root"
    );
}

/// Builds a tree as tree.md says, and counts the nodes that were closed on each level.
struct TreeBuilder {
    secret: Secret,
    open: Vec<Vec<TreeEntry>>,
    closed: Vec<Vec<usize>>,
}

impl TreeBuilder {
    fn push(&mut self, level: usize, entry: TreeEntry) {
        if self.open.len() == level {
            self.open.push(Vec::new());
            self.closed.push(Vec::new());
        }
        let closes = entry.closes_node();
        self.open[level].push(entry);
        let count = self.open[level].len();
        if count >= tree::MIN_ENTRIES && closes || count == tree::MAX_ENTRIES {
            self.close(level);
        }
    }

    fn close(&mut self, level: usize) {
        let node = TreeNode { level: level as u8, entries: std::mem::take(&mut self.open[level]) };
        self.closed[level].push(node.entries.len());
        let bytes = node.encode();
        assert_eq!(TreeNode::decode(&bytes, level as u8).as_ref(), Ok(&node));
        self.push(level + 1, TreeEntry { key: derive::chunk_key(&self.secret, &bytes), span: node.span() });
    }

    /// The lines of one known answer.
    fn build(title: &str, chunks: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
        let mut builder = Self { secret: examples::dedup_secret(), open: Vec::new(), closed: Vec::new() };
        for chunk in chunks {
            let entry = TreeEntry { key: derive::chunk_key(&builder.secret, &chunk), span: chunk.len() as u64 };
            builder.push(0, entry);
        }
        let mut level = 0;
        while level + 1 < builder.open.len() || builder.open[level].len() != 1 {
            if !builder.open[level].is_empty() {
                builder.close(level);
            }
            level += 1;
        }
        let root = TreeRoot::new(level as u8, &builder.open[level][0]);
        let top = root.top().expect("sound").expect("not empty");
        let mut lines = vec![format!("{title}: span {}, depth {}", root.span, root.depth)];
        for (level, nodes) in builder.closed.iter().enumerate().filter(|(_, nodes)| !nodes.is_empty()) {
            let counts: Vec<String> = nodes.iter().map(usize::to_string).collect();
            lines.push(format!("  level {level}: {}", counts.join(" ")));
        }
        lines.push(format!("  top {}", to_hex(top.key.expose())));
        lines
    }
}

pub(crate) fn tree_known_answers() -> Vec<String> {
    let numbers = |count: u64| (0..count).map(|number| number.to_le_bytes().to_vec());
    [
        TreeBuilder::build("1 chunk", numbers(1)),
        TreeBuilder::build("2 chunks", numbers(2)),
        TreeBuilder::build("10000 chunks", numbers(10_000)),
        TreeBuilder::build("5000 equal chunks", std::iter::repeat_n(7_u64.to_le_bytes().to_vec(), 5000)),
    ]
    .concat()
}

/// Cuts records that close a chunk with `closes`, and gives the records of each chunk.
fn cuts(closes: impl Iterator<Item = u32>) -> Vec<String> {
    const AT_LEAST: usize = 256;
    const AT_MOST: usize = 4096;
    const MASK: u32 = 0x3ff;
    let mut chunks = vec![0];
    for closes in closes {
        let last = chunks.last_mut().expect("one at least");
        *last += 1;
        if *last >= AT_LEAST && closes & MASK == 0 || *last == AT_MOST {
            chunks.push(0);
        }
    }
    if chunks.last() == Some(&0) {
        chunks.pop();
    }
    let counts: Vec<String> = chunks.iter().map(usize::to_string).collect();
    counts.chunks(16).map(|line| line.join(" ")).collect()
}

fn first_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(crate) fn manifest_known_cuts() -> Vec<String> {
    let record = |number: u64| {
        let extent = Extent { start: DiskOffset(number * 4096), length: 4096 };
        MapRecord::Hole(HoleKind::Zero, extent).encode()
    };
    cuts((0..20_000).map(|number| first_u32(blake3::hash(&record(number)).as_bytes())))
}

pub(crate) fn reference_known_cuts() -> Vec<String> {
    let id = |number: u64| derive::chunk_id(&derive::chunk_key(&examples::dedup_secret(), &number.to_le_bytes()));
    cuts((0..10_000).map(|number| first_u32(id(number).as_bytes())))
}

#[test]
fn trees_maps_and_reference_lists_are_cut_as_the_known_answers_say() {
    assert_eq!(block("tree-known-answers").lines, tree_known_answers());
    assert_eq!(block("manifest-known-cuts").lines, manifest_known_cuts());
    assert_eq!(block("reference-known-cuts").lines, reference_known_cuts());
}

#[test]
fn manifest_the_map_covers_the_disk_once() {
    let bytes = shown("manifest-example");
    let records: Vec<MapRecord> =
        bytes.as_chunks().0.iter().map(|record| MapRecord::decode(record).expect("decodes")).collect();
    assert_eq!(records, examples::map_records());
    assert_eq!(records.iter().flat_map(MapRecord::encode).collect::<Vec<u8>>(), bytes);
    let map = DiskMap::check(records, 16_384).expect("covers");
    assert_eq!(map.kept(), 4101);
    let segment = |start, length, origin| Segment { extent: Extent { start: DiskOffset(start), length }, origin };
    assert_eq!(
        map.segments(),
        [
            segment(0, 5, Origin::Kept(KeptOffset(0))),
            segment(5, 4091, Origin::Hole(HoleKind::Zero)),
            segment(4096, 2048, Origin::Kept(KeptOffset(2053))),
            segment(6144, 2048, Origin::Hole(HoleKind::Free)),
            segment(8192, 2048, Origin::Kept(KeptOffset(5))),
            segment(10_240, 6144, Origin::Hole(HoleKind::Scratch)),
        ]
    );
}
