//! NTFS volumes: whatever the bytes say, a volume is refused, or its claims are few and lie in the volume.
//!
//! Inputs are recipes, as [`ntfs_recipe`] has them; its bit 3 keeps scratch.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/ntfs/build.rs"]
mod build;
#[allow(dead_code)]
#[path = "../../tests/ntfs/judge.rs"]
mod judge;
mod ntfs_recipe;
#[allow(dead_code)]
#[path = "../../tests/ntfs/shapes.rs"]
mod shapes;

use std::sync::LazyLock;

use build::Build;
use libfuzzer_sys::fuzz_target;
use ntfs_recipe::{Worn, cook, operate, volumes};
use sheaf::disk::ReadAt;
use sheaf::layout::Claims;
use sheaf::layout::ntfs::{NtfsOptions, NtfsVolume};

static VOLUMES: LazyLock<[Build; 4]> = LazyLock::new(|| volumes(0));

fuzz_target!(|data: &[u8]| {
    let Some((choices, image)) = cook(&VOLUMES, data, operate) else { return };
    let worn;
    let volume: &dyn ReadAt = if choices & 16 != 0 {
        worn = Worn(image);
        &worn
    } else {
        &image
    };
    let Ok(Some(opened)) = NtfsVolume::open(volume) else { return };
    let facts = opened.facts();
    assert!(facts.clusters.checked_mul(facts.cluster_size).is_some_and(|end| end <= volume.size()));
    assert!(facts.records <= volume.size() / 512);
    let mut claims = Claims::new();
    let whole = opened.claim(&mut claims, &NtfsOptions { include_scratch: choices & 8 != 0 });
    // 2000 records of at most 4 KiB hold no more runs than that.
    assert!(whole.is_ok(), "in memory, and few");
    let all = judge::extents(&claims);
    assert!(all.len() <= 1 << 20);
    assert!(all.iter().all(|extent| extent.length > 0 && extent.end().is_some_and(|end| end.0 <= volume.size())));
    assert!(claims.notes().len() <= Claims::MOST_NOTES);
    assert!(claims.notes().iter().all(|note| !note.cause.to_string().is_empty()));
    assert!(choices & 8 == 0 || claims.scratch_extents().is_empty());
    for pair in claims.free_extents().windows(2) {
        assert!(pair[0].end().is_some_and(|end| end < pair[1].start));
    }
});
