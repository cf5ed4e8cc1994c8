//! What holds for the claims on any volume.

use sheaf::disk::{Extent, ReadAt};
use sheaf::layout::ntfs::{NtfsOptions, NtfsVolume};
use sheaf::layout::{Claims, Content};

/// What a sound volume claims; its claims must not overlap.
pub fn claims(volume: &dyn ReadAt) -> Claims {
    let claims = any_claims(volume, false);
    disjoint(&claims, volume.size());
    claims
}

/// What any volume claims.
pub fn any_claims(volume: &dyn ReadAt, include_scratch: bool) -> Claims {
    let opened = NtfsVolume::open(volume).expect("opens").expect("is NTFS");
    let mut claims = Claims::new();
    opened.claim(&mut claims, &NtfsOptions { include_scratch }).expect("not too many");
    claims
}

/// All that is claimed, sorted.
pub fn extents(claims: &Claims) -> Vec<Extent> {
    let streams = claims.streams().flat_map(|(_, extents)| extents);
    let others = [claims.slack_extents(), claims.scratch_extents(), claims.free_extents()];
    let mut all: Vec<Extent> = streams.chain(others.into_iter().flatten()).copied().collect();
    all.sort();
    all
}

/// Checks that no byte is claimed twice, and none outside of the volume.
pub fn disjoint(claims: &Claims, size: u64) {
    let all = extents(claims);
    for pair in all.windows(2) {
        assert!(pair[0].end().unwrap() <= pair[1].start, "{pair:?}");
    }
    assert!(all.iter().all(|extent| extent.length > 0 && extent.end().is_some_and(|end| end.0 <= size)));
}

/// Bytes that nobody claims.
pub fn unclaimed(claims: &Claims, size: u64) -> u64 {
    size - extents(claims).iter().map(|extent| extent.length).sum::<u64>()
}

/// The content of each stream of a kind.
pub fn contents(claims: &Claims, kind: Content, volume: &dyn ReadAt) -> Vec<Vec<u8>> {
    let streams = claims.streams().filter(|(content, _)| *content == kind);
    streams.map(|(_, extents)| content(extents, volume)).collect()
}

pub fn content(extents: &[Extent], volume: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = Vec::new();
    for extent in extents {
        let at = bytes.len();
        bytes.resize(at + extent.length as usize, 0);
        volume.read_at(extent.start, &mut bytes[at..]).expect("inside");
    }
    bytes
}

/// What was noted, in words.
pub fn notes(claims: &Claims) -> Vec<String> {
    claims.notes().iter().map(|note| format!("{}: {}", note.consequence, note.cause)).collect()
}

/// Bytes that differ from one another.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
