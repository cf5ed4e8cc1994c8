//! Files of NTFS volumes: whatever the bytes say, folders are listed and files are read without end or harm, and what is read does not
//! depend on how it is asked for.
//!
//! Inputs are recipes, as [`ntfs_recipe`] has them, with the further operations of [`follow`]; its bit 3 reads in small pieces first.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/ntfs/build.rs"]
mod build;
#[allow(dead_code)]
#[path = "../../tests/ntfs/folders.rs"]
mod folders;
#[allow(dead_code)]
#[path = "../../tests/ntfs/judge.rs"]
mod judge;
mod ntfs_recipe;
#[allow(dead_code)]
#[path = "../../tests/ntfs/shapes.rs"]
mod shapes;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use build::{Attr, Body, Build, reference};
use folders::{INDEX_ROOT, REPARSE, entry, last, node, reparse, root, tree};
use libfuzzer_sys::fuzz_target;
use ntfs_recipe::{Patch, Recipe, Worn, clusters, cook, operate, volumes};
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::layout::files::{FileSystem, NodeId, NodeKind};
use sheaf::layout::ntfs::NtfsFiles;

static VOLUMES: LazyLock<[Build; 4]> = LazyLock::new(|| {
    let mut volumes = volumes(200);
    volumes.iter_mut().for_each(tree);
    volumes
});

/// The tags that mean something, and one that does not.
const TAGS: [u32; 4] = [0xa000_000c, 0xa000_0003, 0x8000_0017, 0x1234];
/// How many nodes are looked at, and how many bytes of each are read.
const MOST_NODES: usize = 40;
const BYTES: usize = 70_000;

/// Entries of an index, each of four bytes: the file, the name, and what it is; the rest of the recipe is left.
fn entries(recipe: &mut Recipe<'_>, folder: u64) -> Option<Vec<Vec<u8>>> {
    let count = recipe.byte()? % 12;
    let mut entries: Vec<Vec<u8>> = (0..count)
        .map_while(|_| {
            let [file, name, kind, below] = recipe.take()?;
            let below = (kind & 8 != 0).then_some(u64::from(below));
            let name = "ab~\u{e4}/".repeat(usize::from(name % 5)) + &name.to_string();
            let (space, is_folder) = (kind & 3, kind & 4 != 0);
            Some(entry(reference(u64::from(file % 64), 1), reference(folder, 1), &name, space, is_folder, below))
        })
        .collect();
    let below = recipe.byte()?;
    entries.push(last((below & 1 != 0).then_some(u64::from(below >> 1))));
    Some(entries)
}

/// Follows one operation: those of the index, of reparse points and of compression here, all others as for claims.
fn follow(build: &mut Build, recipe: &mut Recipe<'_>, patches: &mut Vec<Patch>) -> Option<()> {
    let operation = *recipe.0.first()?;
    if operation < 0xc0 {
        return operate(build, recipe, patches);
    }
    recipe.byte()?;
    let number = u64::from(recipe.byte()? % 64);
    let rec = build.records.get(&number)?;
    match operation % 8 {
        // The entries in a folder's record.
        0 => {
            let index = root(4096, &entries(recipe, number)?);
            let rec = build.records.get_mut(&number)?;
            rec.flags |= 2;
            rec.attrs.retain(|attr| attr.kind != INDEX_ROOT);
            rec.attrs.push(index);
        }
        // Those of an index record of the folder with three of them; such a record has room for them.
        1 | 2 => {
            let per = if build.cluster > 4096 { 8 } else { 4096 / build.cluster };
            let index = number % 3;
            let bytes = node(4096, index * per, &entries(recipe, 36)?);
            let content = build.content.iter_mut().find(|(_, bytes)| bytes.starts_with(b"INDX"))?;
            content.1[index as usize * 4096..][..4096].copy_from_slice(&bytes);
        }
        3 => {
            let [tag, count] = recipe.take()?;
            let count = usize::from(count % 64).min(recipe.0.len());
            let (data, rest) = recipe.0.split_at(count);
            recipe.0 = rest;
            let point = reparse(TAGS[usize::from(tag % 4)], data);
            let rec = build.records.get_mut(&number)?;
            rec.attrs.retain(|attr| attr.kind != REPARSE);
            rec.attrs.push(point);
        }
        // Flags and the compression unit of an attribute.
        4 => {
            let [index, low, high, unit] = recipe.take()?;
            let index = usize::from(index) % rec.attrs.len().max(1);
            build.records.get_mut(&number)?.attrs.get_mut(index)?.flags = u16::from_le_bytes([low % 4, high & 0xc0]);
            clusters(build, number, index)?.unit = unit % 24;
        }
        // Bytes of what lies in clusters: of packed content, of tables, of names.
        5 | 6 => {
            let at = usize::from(u16::from_le_bytes(recipe.take()?));
            let count = usize::from(recipe.byte()? % 33).min(recipe.0.len());
            let (bytes, rest) = recipe.0.split_at(count);
            recipe.0 = rest;
            let index = number as usize % build.content.len().max(1);
            let content = &mut build.content.get_mut(index)?.1;
            let at = at % content.len().max(1);
            let count = bytes.len().min(content.len() - at);
            content[at..at + count].copy_from_slice(&bytes[..count]);
        }
        // A resident attribute of any kind.
        _ => {
            let [kind, name, count] = recipe.take()?;
            let count = usize::from(count % 64).min(recipe.0.len());
            let (data, rest) = recipe.0.split_at(count);
            recipe.0 = rest;
            let name = ["", "$I30", "WofCompressedData", "stream"][usize::from(name % 4)];
            let attr = Attr::here(u32::from(kind % 16) << 4, 20, data).named(name);
            let attrs = &mut build.records.get_mut(&number)?.attrs;
            if attrs.iter().all(|attr| matches!(attr.body, Body::There(_))) || kind & 16 != 0 {
                attrs.insert(0, attr);
            } else {
                attrs.push(attr);
            }
        }
    }
    Some(())
}

/// Reads some of a content, and again in another way.
fn read(content: &dyn ReadAt, is_small_first: bool) {
    let size = content.size();
    let mut starts = vec![0, size / 3, size.saturating_sub(BYTES as u64)];
    let mut at = 0;
    for _ in 0..32 {
        let Ok(Some(data)) = content.next_data(DiskOffset(at)) else { break };
        assert!(data.start >= at && data.start < data.end && data.end <= size, "{data:?} behind {at} of {size}");
        starts.push(data.start);
        at = data.end;
    }
    starts.truncate(4);
    for start in starts {
        let length = (size - start).min(BYTES as u64) as usize;
        let (mut whole, mut parts) = (vec![1; length], vec![2; length]);
        let small = |parts: &mut [u8]| {
            parts
                .chunks_mut(7777)
                .zip(0..)
                .all(|(part, index)| content.read_at(DiskOffset(start + index * 7777), part).is_ok())
        };
        let (is_read, is_read_small) = if is_small_first {
            let is_small = small(&mut parts);
            (content.read_at(DiskOffset(start), &mut whole).is_ok(), is_small)
        } else {
            let is_whole = content.read_at(DiskOffset(start), &mut whole).is_ok();
            (is_whole, small(&mut parts))
        };
        // A unit or piece around the bytes that were asked for may be what cannot be read.
        if is_read && is_read_small {
            assert!(whole == parts, "what is read depends on how it is asked for");
        }
    }
    assert!(content.read_at(DiskOffset(size), &mut [0]).is_err());
}

fuzz_target!(|data: &[u8]| {
    let Some((choices, image)) = cook(&VOLUMES, data, follow) else { return };
    let length = image.len();
    let volume: Arc<dyn ReadAt> = if choices & 16 != 0 { Arc::new(Worn(image)) } else { Arc::new(image) };
    let Ok(Some(files)) = NtfsFiles::open(volume) else { return };
    // Also nodes that no folder leads to.
    let mut waiting: Vec<NodeId> = (0..64).rev().map(|number| NodeId(reference(number, 1))).collect();
    waiting.push(files.root());
    let mut seen = HashSet::new();
    while let Some(node) = waiting.pop() {
        if !seen.insert(node) || seen.len() > MOST_NODES {
            continue;
        }
        let Ok(facts) = files.facts(node) else { continue };
        assert!(facts.links >= 1 && facts.kind != NodeKind::Folder || facts.size == 0);
        if let Ok(listing) = files.entries(node) {
            assert!(listing.entries.len() <= length / 16 && listing.problems.len() <= 1001);
            assert!(listing.problems.iter().all(|problem| !problem.to_string().is_empty()));
            waiting.extend(listing.entries.iter().rev().take(20).map(|entry| entry.node));
        }
        let streams = files.streams(node).unwrap_or_default();
        let names = streams.iter().take(3).map(|stream| Some(&*stream.name));
        for name in names.chain([None]) {
            if let Ok(content) = files.open(node, name) {
                read(&*content, choices & 8 != 0);
            }
        }
    }
});
