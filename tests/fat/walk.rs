//! What holds for the files of any volume, sound or not, as far as they are walked through.

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::FileSystem;
use sheaf::layout::exfat::ExFatFiles;
use sheaf::layout::fat::FatFiles;
use sheaf::layout::files::{Entry, NodeFacts, NodeKind};
use std::io;
use std::sync::Arc;

/// Bytes of a content that are read at most.
const MOST_READ: u64 = 64 << 10;

/// Something in a folder.
pub(crate) struct Found {
    /// From the root directory, with `/` between.
    pub(crate) path: String,
    pub(crate) facts: NodeFacts,
    /// `None` for a folder.
    pub(crate) content: Option<Arc<dyn ReadAt>>,
}

/// What a walk comes to.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) found: Vec<Found>,
    /// What was wrong with a folder, and which one.
    pub(crate) problems: Vec<(String, String)>,
}

/// Opens a volume as what it is; `None` when it is refused as a whole.
pub(crate) fn open(volume: &Arc<dyn ReadAt>) -> Option<Box<dyn FileSystem>> {
    match (FatFiles::open(Arc::clone(volume)), ExFatFiles::open(Arc::clone(volume))) {
        (Ok(Some(fat)), _) => Some(Box::new(fat)),
        (_, Ok(Some(exfat))) => Some(Box::new(exfat)),
        (fat, exfat) => {
            for error in [fat.err(), exfat.err()].into_iter().flatten() {
                assert!(!error.to_string().is_empty());
            }
            None
        }
    }
}

/// Goes through the folders, down to a depth and up to a number of nodes, and looks at what each one says.
pub(crate) fn walk(files: &dyn FileSystem, depth: usize, most: usize) -> Walk {
    let mut walk = Walk::default();
    let root = files.root();
    let facts = files.facts(root).expect("the root directory");
    assert_eq!((facts.kind, facts.size, facts.links), (NodeKind::Folder, 0, 1));
    let mut folders = vec![(String::new(), root, 0)];
    while let Some((path, folder, above)) = folders.pop() {
        let listing = match files.entries(folder) {
            Ok(listing) => listing,
            Err(error) => {
                walk.problems.push((path, error.to_string()));
                continue;
            }
        };
        walk.problems.extend(listing.problems.iter().map(|problem| (path.clone(), problem.to_string())));
        for entry in listing.entries {
            if walk.found.len() == most {
                return walk;
            }
            let found = look(files, &path, &entry);
            if entry.is_folder && above < depth {
                folders.push((found.path.clone(), entry.node, above + 1));
            }
            walk.found.push(found);
        }
    }
    walk
}

/// Looks at one node.
fn look(files: &dyn FileSystem, folder: &str, entry: &Entry) -> Found {
    let facts = files.facts(entry.node).expect("what was listed is there");
    assert_eq!(facts.kind, if entry.is_folder { NodeKind::Folder } else { NodeKind::File }, "{}", entry.name);
    assert_eq!(facts.attributes & 0x10 != 0, entry.is_folder);
    assert!(facts.links == 1 && facts.changed.is_none() && facts.reparse_tag.is_none());
    let moments = [facts.created, facts.modified, facts.accessed];
    assert!(moments.into_iter().flatten().all(|moment| moment.nanoseconds < 1_000_000_000));
    assert!(files.streams(entry.node).expect("there").is_empty());
    files.open(entry.node, Some("stream")).err().expect("there are no streams");
    let content = files.open(entry.node, None);
    if entry.is_folder {
        assert!(content.is_err() && facts.size == 0);
    } else {
        files.entries(entry.node).expect_err("not a folder");
    }
    let content = (!entry.is_folder).then(|| content.expect("a content"));
    if let Some(content) = &content {
        assert_eq!(content.size(), facts.size);
        check_content(&**content);
    }
    Found { path: format!("{folder}/{}", entry.name), facts, content }
}

/// A content says the same however it is read, and what it calls holes are zeros.
fn check_content(content: &dyn ReadAt) {
    let size = content.size();
    let read = |from: u64, length: u64| {
        let mut bytes = vec![0xee; length as usize];
        content.read_at(DiskOffset(from), &mut bytes).map(|()| bytes)
    };
    read(size, 0).expect("nothing, at the end");
    assert!(read(size, 1).is_err() && read(u64::MAX, 1).is_err());
    for from in [0, size.saturating_sub(MOST_READ), size / 2] {
        let length = MOST_READ.min(size - from);
        let Ok(whole) = read(from, length) else { continue };
        let (middle, end) = (length / 3, length - length / 3);
        let parts = [read(from, middle), read(from + middle, end)].map(|part| part.expect("part of what was read"));
        assert!(whole == parts.concat(), "{size} bytes from {from}");
    }
    let mut from = 0;
    for _ in 0..32 {
        let data = content.next_data(DiskOffset(from)).expect("known");
        let hole = from..data.as_ref().map_or(size, |data| data.start);
        let zeros = read(hole.start, (hole.end - hole.start).min(MOST_READ)).expect("a hole is there");
        assert!(zeros.iter().all(|byte| *byte == 0), "not a hole: {hole:?}");
        let Some(data) = data else { return };
        assert!(data.start >= from && data.end > data.start && data.end <= size, "{data:?} of {size} from {from}");
        from = data.end;
    }
}

/// All of a content.
pub(crate) fn bytes(content: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; content.size() as usize];
    content.read_at(DiskOffset(0), &mut bytes).expect("readable");
    bytes
}

/// A volume with bytes that cannot be read, or one that was unplugged.
pub(crate) struct Bad {
    pub(crate) bytes: Vec<u8>,
    pub(crate) unreadable: std::ops::Range<u64>,
    pub(crate) gone: bool,
}

impl ReadAt for Bad {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        if offset.0 >= self.unreadable.end || offset.0 + length <= self.unreadable.start {
            return self.bytes.read_at(offset, buffer);
        }
        if self.gone {
            return Err(ReadError::Gone { reason: "unplugged".to_owned() });
        }
        let offset = DiskOffset(offset.0.max(self.unreadable.start));
        Err(ReadError::Unreadable { offset, length, source: io::Error::other("a bad sector") })
    }
}
