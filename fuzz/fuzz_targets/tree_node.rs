//! A node of a tree. The root of a tree is a part of the snapshot's records: see `snapshot`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::tree::{MAX_ENTRIES, TreeNode};

fuzz_target!(|data: &[u8]| {
    let level = data.get(2).copied().unwrap_or(0);
    if let Ok(node) = TreeNode::decode(data, level) {
        // This structure has one encoding only.
        assert_eq!(node.encode(), data);
        assert!((1..=MAX_ENTRIES).contains(&node.entries.len()));
        assert!(node.entries.iter().all(|entry| entry.span > 0 && entry.span <= node.span()));
    }
});
