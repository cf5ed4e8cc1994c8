//! What holds for the claims on any volume, sound or not.

use sheaf::disk::{DiskOffset, Extent, ReadAt};
use sheaf::layout::Claims;
use sheaf::layout::exfat::ExFatVolume;
use sheaf::layout::fat::FatVolume;

/// Opens a volume as what it is and claims it; `None` when it is refused as a whole.
pub(crate) fn claim(volume: &dyn ReadAt) -> Option<Claims> {
    let mut claims = Claims::new();
    let whole = match (FatVolume::open(volume), ExFatVolume::open(volume)) {
        (Ok(Some(fat)), _) => {
            let facts = fat.facts();
            assert!(facts.clusters > 0 && facts.cluster_size >= 512);
            fat.claim(&mut claims)
        }
        (_, Ok(Some(exfat))) => {
            assert!(exfat.facts().cluster_size >= 512);
            exfat.claim(&mut claims)
        }
        (fat, exfat) => {
            for error in [fat.err(), exfat.err()].into_iter().flatten() {
                assert!(!error.to_string().is_empty());
            }
            return None;
        }
    };
    if let Err(error) = whole {
        assert!(!error.to_string().is_empty());
    }
    assert_disjoint(&claims, volume.size());
    Some(claims)
}

/// Nothing leaves the volume, nothing is claimed twice, and what is called free is not used, unless that is in doubt.
pub(crate) fn assert_disjoint(claims: &Claims, size: u64) {
    let mut used: Vec<Extent> = claims.streams().flat_map(|(_, extents)| extents.to_vec()).collect();
    used.extend(claims.slack_extents());
    assert_apart(&mut used, size, "used");
    let mut free = claims.free_extents().to_vec();
    assert!(free.is_sorted(), "free extents are not in order");
    assert_apart(&mut free, size, "free");
    if !claims.doubts_free() {
        used.extend(&free);
        assert_apart(&mut used, size, "used and free");
    }
    for note in claims.notes() {
        assert!(!note.cause.to_string().is_empty() && !note.consequence.is_empty());
    }
}

fn assert_apart(extents: &mut [Extent], size: u64, what: &str) {
    extents.sort_unstable();
    let mut end = DiskOffset(0);
    for extent in &*extents {
        assert!(extent.start >= end && extent.length > 0, "{what}: {extent:?} begins before {end}");
        end = extent.end().expect("in 64 bits");
    }
    assert!(end.0 <= size, "{what}: up to {end} of {size}");
}
