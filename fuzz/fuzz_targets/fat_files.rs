//! What is in FAT and exFAT volumes: whatever their structures say, each folder, fact and content is told in bounded time and memory,
//! and what is told does not contradict itself; see `walk`.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | where bytes cannot be read, in units of 16 bytes |
//! | 1 | how many of them, in units of 256 bytes |
//! | 2 | a node that was never told, in units of 32 bytes |
//! | the rest | a recipe for the volume; see `volumes/recipe.rs` |
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/fat/build.rs"]
mod build;
#[path = "volumes/recipe.rs"]
mod recipe;
#[allow(dead_code)]
#[path = "../../tests/fat/walk.rs"]
mod walk;

use libfuzzer_sys::fuzz_target;
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::layout::files::NodeId;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Some(([low, high, length, node_low, node_high], recipe)) = data.split_first_chunk() else { return };
    let Some(bytes) = recipe::volume(recipe) else { return };
    let start = u64::from(u16::from_le_bytes([*low, *high])) * 16;
    let unreadable = start..start + u64::from(*length) * 256;
    let volume: Arc<dyn ReadAt> = Arc::new(walk::Bad { bytes, unreadable, gone: false });
    let Some(files) = walk::open(&volume) else { return };
    for problem in walk::walk(&*files, 4, 60).problems {
        assert!(!problem.1.is_empty());
    }
    // Whatever is there is read as an entry, or refused.
    let node = NodeId(u64::from(u16::from_le_bytes([*node_low, *node_high])) * 32);
    let _ = (files.facts(node), files.entries(node));
    if let Ok(content) = files.open(node, None) {
        let _ = content.read_at(DiskOffset(0), &mut vec![0; content.size().min(4096) as usize]);
    }
});
