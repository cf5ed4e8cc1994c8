//! The files of an image that is named from outside, against a list of their sums; and how long many files take. By hand, in release:
//!
//!     SHEAF_NTFS_IMAGE=disk.img@122683392 SHEAF_NTFS_SUMS=disk.sha256 \
//!         cargo test --release --test ntfs -- --ignored --nocapture sums_of_an_image
//!
//! Without a list, every file is read and nothing is compared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::scale::Image;
use aws_lc_rs::digest::{Context, SHA256};
use sheaf::disk::{DiskOffset, Extent, Part, ReadAt};
use sheaf::layout::files::{FileSystem, NodeFacts, NodeId, NodeKind};
use sheaf::layout::ntfs::NtfsFiles;

fn sum(content: &dyn ReadAt, buffer: &mut [u8]) -> String {
    let mut context = Context::new(&SHA256);
    let mut at = 0;
    while at < content.size() {
        let count = (content.size() - at).min(buffer.len() as u64);
        let piece = &mut buffer[..count as usize];
        content.read_at(DiskOffset(at), piece).unwrap();
        context.update(piece);
        at += count;
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn walk(files: &NtfsFiles, folder: NodeId, at: &str, found: &mut BTreeMap<String, (NodeId, NodeFacts)>) {
    let listing = files.entries(folder).unwrap();
    assert!(listing.problems.is_empty(), "{at}: {:?}", listing.problems);
    for entry in listing.entries {
        let path = if at.is_empty() { entry.name } else { format!("{at}/{}", entry.name) };
        let facts = files.facts(entry.node).unwrap();
        if facts.kind == NodeKind::Folder {
            walk(files, entry.node, &path, found);
        }
        found.insert(path, (entry.node, facts));
    }
}

#[test]
#[ignore = "needs an image that is named"]
fn the_sums_of_an_image() {
    let name = std::env::var("SHEAF_NTFS_IMAGE").expect("SHEAF_NTFS_IMAGE=path@offset");
    let (path, start) = name.rsplit_once('@').unwrap_or((&name, "0"));
    let extent = Extent { start: DiskOffset(start.parse().unwrap()), length: u64::MAX };
    let start = Instant::now();
    let files = NtfsFiles::open(Arc::new(Part::new(Image::open(path.as_ref()), extent))).unwrap().expect("NTFS");
    let mut found = BTreeMap::new();
    walk(&files, files.root(), "", &mut found);
    let listed = start.elapsed();
    let folders = found.values().filter(|(_, facts)| facts.kind == NodeKind::Folder).count();
    eprintln!("{} nodes, {folders} of them folders, listed in {:.3} s", found.len(), listed.as_secs_f64());
    found.retain(|_, (_, facts)| facts.kind == NodeKind::File);

    let (start, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    let bytes: u64 = found.values().map(|(_, facts)| facts.size).sum();
    let mut sums = BTreeMap::new();
    for (path, (node, facts)) in &found {
        let content = files.open(*node, None).unwrap();
        assert_eq!(content.size(), facts.size, "{path}");
        sums.insert(path.clone(), sum(&*content, &mut buffer));
    }
    let elapsed = start.elapsed().as_secs_f64();
    eprintln!("{} files, {bytes} bytes, read in {elapsed:.3} s, {:.0} MB/s", found.len(), bytes as f64 / elapsed / 1e6);
    let Ok(list) = std::env::var("SHEAF_NTFS_SUMS") else { return };
    let list = std::fs::read_to_string(list).unwrap();
    let expected: BTreeMap<_, _> = list
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, path)| (path.to_owned(), sum.to_owned()))
        .collect();
    let differing: Vec<&String> =
        expected.iter().filter(|(path, sum)| sums.get(*path) != Some(*sum)).map(|(path, _)| path).collect();
    let more: Vec<&String> = sums.keys().filter(|path| !expected.contains_key(*path)).collect();
    eprintln!(
        "{} sums expected, {} differ: {differing:?}; files that have none: {more:?}",
        expected.len(),
        differing.len()
    );
    assert!(differing.is_empty() && !expected.is_empty());
}
