//! From claims to a division of a volume that holds whatever was claimed.
//!
//! Always true here:
//! - A [`Coverage`] has each byte exactly once, in a stream or in a hole. It is made by sorting what was claimed and filling the
//!   gaps, so there is no claim that could break it.
//! - Claims that overlap one another, or leave the volume, are all dropped, each with its whole stream. Their bytes are kept in disk
//!   order, also where the file system calls them free.
//! - A byte is left out only where the file system is not in doubt: one file in a cluster that is called free keeps all free ones.

use super::LayoutError;
use super::claims::{Claims, Content, Note};
use super::extents::{Sorted, grouped, push_group};
use crate::disk::{DiskOffset, Extent};

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file's valid bytes, in the file's order.
    File,
    /// Records that change in place.
    Records,
    /// Clusters of files behind their ends, in disk order.
    Slack,
    /// What nobody claimed, in disk order and without gaps.
    Other,
}

/// Why bytes are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unkept {
    /// The file system says that nobody uses them.
    Free,
    /// Content that is only scratch.
    Scratch,
}

/// What is to be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Free clusters are kept.
    pub free: bool,
    /// Scratch files are kept.
    pub scratch: bool,
}

/// A division of a disk, or of a volume of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Kind of each stream, and how many of `extents` are its own; never 0.
    streams: Vec<(Kind, u32)>,
    extents: Vec<Extent>,
    holes: Vec<(Unkept, Extent)>,
}

impl Coverage {
    /// One stream in disk order.
    pub fn whole(size: u64) -> Self {
        let mut coverage = Self::default();
        coverage.push(Kind::Other, &[Extent { start: DiskOffset(0), length: size }]);
        coverage
    }

    /// The streams.
    pub fn streams(&self) -> impl Iterator<Item = (Kind, &[Extent])> {
        grouped(&self.streams, &self.extents)
    }

    /// What is left out.
    pub fn holes(&self) -> &[(Unkept, Extent)] {
        &self.holes
    }

    /// How many streams, extents and holes there are.
    pub fn records(&self) -> usize {
        self.streams.len() + self.extents.len() + self.holes.len()
    }

    /// Adds a stream; empty extents are left out, neighbours are joined.
    pub(super) fn push(&mut self, kind: Kind, extents: &[Extent]) {
        push_group(&mut self.streams, &mut self.extents, kind, extents);
    }

    /// Adds all of another division.
    pub(super) fn append(&mut self, mut other: Self) {
        self.streams.append(&mut other.streams);
        self.extents.append(&mut other.extents);
        self.holes.append(&mut other.holes);
    }

    pub(super) fn push_hole(&mut self, why: Unkept, extent: Extent) {
        match self.holes.last_mut() {
            _ if extent.length == 0 => {}
            Some((last_why, last)) if *last_why == why && last.end() == Some(extent.start) => {
                last.length += extent.length;
            }
            _ => self.holes.push((why, extent)),
        }
    }

    /// Puts streams that begin earlier on the disk first: they are read in this order.
    pub(super) fn sort(self) -> Self {
        let mut order: Vec<(DiskOffset, usize, Kind, u32)> = Vec::with_capacity(self.streams.len());
        let mut at = 0;
        for (kind, count) in &self.streams {
            let start = self.extents.get(at).map_or(DiskOffset(0), |extent| extent.start);
            order.push((start, at, *kind, *count));
            at += *count as usize;
        }
        order.sort_unstable();
        let mut sorted = Self { holes: self.holes, ..Self::default() };
        sorted.streams.reserve(order.len());
        sorted.extents.reserve(self.extents.len());
        for (_, at, kind, count) in order {
            sorted.streams.push((kind, count));
            sorted.extents.extend_from_slice(&self.extents[at..at + count as usize]);
        }
        sorted.holes.sort_unstable_by_key(|(_, extent)| extent.start);
        sorted
    }

    /// Checks that each byte of `size` is there exactly once. For tests, and for what others made.
    pub fn covers(&self, size: u64) -> bool {
        let holes = self.holes.iter().map(|(_, extent)| *extent);
        let mut all: Vec<Extent> = self.extents.iter().copied().chain(holes).collect();
        all.sort_unstable();
        let mut next = 0;
        for extent in all {
            match extent.end() {
                Some(end) if extent.length > 0 && extent.start.0 == next => next = end.0,
                _ => return false,
            }
        }
        next == size
    }
}

/// Who claimed an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Stream(u32),
    Slack,
    Scratch,
}

/// Resolves the claims on a volume of `size` bytes. Notes of the reader, and of what is found here, are given back.
pub fn resolve(mut claims: Claims, size: u64, keep: Keep) -> (Coverage, Vec<Note>) {
    let mut notes = std::mem::take(&mut claims.notes);
    let (rejected, accepted) = judge(&claims, size);
    let rejected_streams = rejected.streams.iter().filter(|rejected| **rejected).count();
    if rejected_streams > 0 || !rejected.extents.is_empty() {
        let found = format!("{rejected_streams} files or tables, the first at offset {}", rejected.first);
        let cause = LayoutError::malformed(
            "the clusters of files",
            rejected.first,
            "no two files in one cluster, all inside of the volume",
            found,
        );
        notes.push(Note { consequence: "these are kept in disk order", cause });
    }

    let mut coverage = Coverage::default();
    for (index, (content, extents)) in claims.streams().enumerate() {
        if !rejected.streams[index] {
            let kind = match content {
                Content::File => Kind::File,
                Content::Records => Kind::Records,
            };
            coverage.push(kind, extents);
        }
    }
    let mut slack: Vec<Extent> = accepted.slack;
    slack.sort_unstable();
    coverage.push(Kind::Slack, &slack);
    for extent in accepted.scratch {
        if keep.scratch {
            coverage.push(Kind::File, &[extent]);
        } else {
            coverage.push_hole(Unkept::Scratch, extent);
        }
    }

    let claimed = Sorted::new(accepted.all);
    let free = Sorted::new(std::mem::take(&mut claims.free)).inside(size);
    let mut leaves_free_out = !keep.free && !claims.doubts_free;
    if leaves_free_out && let Some(both) = claimed.first_common(&free) {
        leaves_free_out = false;
        let cause = LayoutError::malformed(
            "the map of used clusters",
            both,
            "the clusters of files in use",
            "one that is free",
        );
        notes.push(Note { consequence: "free clusters are kept", cause });
    }
    let must_stay = Sorted::new(rejected.extents).inside(size);
    let free = if leaves_free_out { free.without(&must_stay) } else { Sorted::default() };
    for gap in claimed.gaps(size) {
        let mut at = gap.start.0;
        let end = gap.start.0 + gap.length;
        for hole in free.within(gap) {
            coverage.push(Kind::Other, &[Extent { start: DiskOffset(at), length: hole.start.0 - at }]);
            coverage.push_hole(Unkept::Free, hole);
            at = hole.start.0 + hole.length;
        }
        coverage.push(Kind::Other, &[Extent { start: DiskOffset(at), length: end - at }]);
    }
    (coverage.sort(), notes)
}

/// Claims that do not hold.
struct Rejected {
    streams: Vec<bool>,
    /// Their bytes, which are kept.
    extents: Vec<Extent>,
    /// Where the first contradiction is.
    first: u64,
}

/// Claims that hold.
struct Accepted {
    slack: Vec<Extent>,
    scratch: Vec<Extent>,
    all: Vec<Extent>,
}

fn judge(claims: &Claims, size: u64) -> (Rejected, Accepted) {
    let streams = claims.streams().enumerate().flat_map(|(index, (_, extents))| {
        let owner = Owner::Stream(u32::try_from(index).unwrap_or(u32::MAX));
        extents.iter().map(move |extent| (*extent, owner))
    });
    let slack = claims.slack.iter().map(|extent| (*extent, Owner::Slack));
    let scratch = claims.scratch.iter().map(|extent| (*extent, Owner::Scratch));
    let mut all: Vec<(Extent, Owner)> = streams.chain(slack).chain(scratch).collect();
    all.sort_unstable_by_key(|(extent, _)| *extent);

    let mut bad = vec![false; all.len()];
    let mut first = None;
    let (mut reach, mut reaching) = (0, None);
    for (index, (extent, _)) in all.iter().enumerate() {
        let end = extent.end().map(|end| end.0).filter(|end| *end <= size);
        if end.is_none() {
            bad[index] = true;
            first = first.or(Some(extent.start.0));
        }
        if let Some(other) = reaching.filter(|_| extent.start.0 < reach) {
            bad[index] = true;
            bad[other] = true;
            first = first.or(Some(extent.start.0));
        }
        let end = extent.end().map_or(u64::MAX, |end| end.0);
        if end > reach {
            (reach, reaching) = (end, Some(index));
        }
    }
    let mut rejected =
        Rejected { streams: vec![false; claims.streams.len()], extents: Vec::new(), first: first.unwrap_or_default() };
    for ((_, owner), _) in all.iter().zip(&bad).filter(|(_, bad)| **bad) {
        if let Owner::Stream(index) = owner
            && let Some(stream) = rejected.streams.get_mut(*index as usize)
        {
            *stream = true;
        }
    }
    let mut accepted = Accepted { slack: Vec::new(), scratch: Vec::new(), all: Vec::new() };
    for ((extent, owner), bad) in all.into_iter().zip(bad) {
        let of_rejected = matches!(owner, Owner::Stream(index) if rejected.streams.get(index as usize) != Some(&false));
        if bad || of_rejected {
            rejected.extents.push(extent);
            continue;
        }
        accepted.all.push(extent);
        match owner {
            Owner::Stream(_) => {}
            Owner::Slack => accepted.slack.push(extent),
            Owner::Scratch => accepted.scratch.push(extent),
        }
    }
    (rejected, accepted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent((start, length): (u64, u64)) -> Extent {
        Extent { start: DiskOffset(start), length }
    }

    type Pairs = Vec<(u64, u64)>;

    fn claims(streams: &[Pairs], slack: &Pairs, scratch: &Pairs, free: &Pairs) -> Claims {
        let mut claims = Claims::new();
        for extents in streams {
            let extents: Vec<Extent> = extents.iter().copied().map(extent).collect();
            claims.stream(Content::File, &extents).expect("room");
        }
        slack.iter().for_each(|pair| claims.slack(extent(*pair)).expect("room"));
        scratch.iter().for_each(|pair| claims.scratch(extent(*pair)).expect("room"));
        free.iter().for_each(|pair| claims.free(extent(*pair)).expect("room"));
        claims
    }

    fn streams(coverage: &Coverage) -> Vec<(Kind, Pairs)> {
        let pairs = |extents: &[Extent]| extents.iter().map(|extent| (extent.start.0, extent.length)).collect();
        coverage.streams().map(|(kind, extents)| (kind, pairs(extents))).collect()
    }

    #[test]
    fn what_agrees_is_taken_as_it_is_claimed() {
        let claims = claims(&[vec![(40, 10), (10, 10)]], &vec![(50, 2)], &vec![(60, 10)], &vec![(0, 10), (70, 20)]);
        let (coverage, notes) = resolve(claims, 100, Keep::default());
        assert!(notes.is_empty() && coverage.covers(100));
        assert_eq!(
            streams(&coverage),
            [
                (Kind::Other, vec![(20, 20)]),
                (Kind::File, vec![(40, 10), (10, 10)]),
                (Kind::Slack, vec![(50, 2)]),
                (Kind::Other, vec![(52, 8)]),
                (Kind::Other, vec![(90, 10)]),
            ]
        );
        let holes: Vec<_> =
            coverage.holes().iter().map(|(why, extent)| (*why, extent.start.0, extent.length)).collect();
        assert_eq!(holes, [(Unkept::Free, 0, 10), (Unkept::Scratch, 60, 10), (Unkept::Free, 70, 20)]);
    }

    #[test]
    fn two_files_in_one_place_are_both_dropped_and_kept_even_where_they_are_free() {
        let claims = claims(
            &[vec![(0, 10), (30, 10)], vec![(35, 10)], vec![(50, 10)]],
            &vec![],
            &vec![],
            &vec![(0, 10), (60, 40)],
        );
        let (coverage, notes) = resolve(claims, 100, Keep::default());
        assert!(notes.len() == 1 && coverage.covers(100), "{notes:?}");
        assert!(notes[0].cause.to_string().contains("offset 35"), "{notes:?}");
        assert_eq!(streams(&coverage), [(Kind::Other, vec![(0, 50)]), (Kind::File, vec![(50, 10)])]);
        assert_eq!(coverage.holes(), [(Unkept::Free, extent((60, 40)))]);
    }

    #[test]
    fn a_file_in_a_free_cluster_keeps_all_free_ones() {
        let claims = claims(&[vec![(0, 10)]], &vec![], &vec![], &vec![(9, 10), (50, 10)]);
        let (coverage, notes) = resolve(claims, 100, Keep::default());
        assert!(notes.len() == 1 && coverage.holes().is_empty() && coverage.covers(100));
    }

    #[test]
    fn what_is_asked_for_is_kept() {
        let claims = || claims(&[vec![(0, 10)]], &vec![], &vec![(20, 10)], &vec![(50, 10)]);
        let (coverage, _) = resolve(claims(), 100, Keep { free: true, scratch: true });
        assert!(coverage.holes().is_empty() && coverage.covers(100));
        let mut doubtful = claims();
        doubtful.doubt_free(LayoutError::TooMany { what: "things", limit: 1 });
        let (coverage, notes) = resolve(doubtful, 100, Keep::default());
        assert_eq!((coverage.holes().len(), notes.len()), (1, 1));
        assert!(coverage.covers(100));
    }

    fn pairs() -> impl Strategy<Value = Pairs> {
        let pair = prop_oneof![
            8 => (0..1000_u64, 0..60_u64),
            1 => (any::<u64>(), any::<u64>()),
            1 => (900..1100_u64, 0..200_u64),
        ];
        prop::collection::vec(pair, 0..12)
    }

    proptest! {
        #[test]
        fn whatever_is_claimed_each_byte_is_there_once_and_only_free_or_scratch_is_left_out(
            streams in prop::collection::vec(pairs(), 0..8), slack in pairs(), scratch in pairs(), free in pairs(), size in 0..1100_u64,
        ) {
            let (coverage, _) = resolve(claims(&streams, &slack, &scratch, &free), size, Keep::default());
            prop_assert!(coverage.covers(size), "{coverage:?}");
            let claimed = |list: &Pairs, at: u64| list.iter().any(|(start, length)| *start <= at && at - start < *length);
            for (why, hole) in coverage.holes() {
                for at in hole.start.0..hole.start.0 + hole.length {
                    let by_file = streams.iter().any(|stream| claimed(stream, at));
                    prop_assert!(!by_file, "byte {at} of a file is left out");
                    let list = if *why == Unkept::Free { &free } else { &scratch };
                    prop_assert!(claimed(list, at));
                }
            }
        }
    }
}
