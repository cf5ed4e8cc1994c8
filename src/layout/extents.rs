//! Sets of bytes as sorted extents.
//!
//! Always true here: a [`Sorted`] has its extents in rising order, none empty, none touching the next. Each operation is one pass.

use crate::disk::{DiskOffset, Extent};

/// Groups of extents in one list: each has a head, with how many of them are its own.
pub(super) fn grouped<'a, K: Copy>(
    heads: &'a [(K, u32)],
    extents: &'a [Extent],
) -> impl Iterator<Item = (K, &'a [Extent])> {
    let mut rest = extents;
    heads.iter().map(move |(head, count)| {
        let (own, behind) = rest.split_at((*count as usize).min(rest.len()));
        rest = behind;
        (*head, own)
    })
}

/// Adds a group; empty extents are left out, neighbours are joined, and a group of none is none.
pub(super) fn push_group<K>(heads: &mut Vec<(K, u32)>, all: &mut Vec<Extent>, head: K, extents: &[Extent]) {
    let before = all.len();
    for extent in extents.iter().filter(|extent| extent.length > 0) {
        match all[before..].last_mut() {
            Some(last) if last.end() == Some(extent.start) => last.length = last.length.saturating_add(extent.length),
            _ => all.push(*extent),
        }
    }
    let count = all.len() - before;
    if count > 0 {
        heads.push((head, u32::try_from(count).unwrap_or(u32::MAX)));
    }
}

/// A set of bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sorted(Vec<Extent>);

impl Sorted {
    /// The bytes of all of these extents. What ends beyond 64 bits ends there.
    pub(super) fn new(mut extents: Vec<Extent>) -> Self {
        extents.retain(|extent| extent.length > 0);
        extents.sort_unstable();
        let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
        for extent in extents {
            match joined.last_mut() {
                Some(last) if extent.start.0 <= end(last) => {
                    last.length = end(last).max(end(&extent)) - last.start.0;
                }
                _ => joined.push(Extent { start: extent.start, length: end(&extent) - extent.start.0 }),
            }
        }
        Self(joined)
    }

    /// Those below `size`.
    pub(super) fn inside(mut self, size: u64) -> Self {
        self.0.retain_mut(|extent| {
            extent.length = end(extent).min(size).saturating_sub(extent.start.0);
            extent.length > 0
        });
        self
    }

    /// The first byte that both have.
    pub(super) fn first_common(&self, other: &Self) -> Option<u64> {
        let mut others = other.0.iter().peekable();
        for extent in &self.0 {
            while others.next_if(|other| end(other) <= extent.start.0).is_some() {}
            match others.peek() {
                Some(other) if other.start.0 < end(extent) => return Some(other.start.0.max(extent.start.0)),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }

    /// Those that `other` has not.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut next = 0;
        for extent in &self.0 {
            let mut at = extent.start.0;
            while other.0.get(next).is_some_and(|other| end(other) <= at) {
                next += 1;
            }
            let mut index = next;
            while let Some(taken) = other.0.get(index).filter(|taken| taken.start.0 < end(extent)) {
                if taken.start.0 > at {
                    left.push(Extent { start: DiskOffset(at), length: taken.start.0 - at });
                }
                at = end(taken);
                index += 1;
            }
            if at < end(extent) {
                left.push(Extent { start: DiskOffset(at), length: end(extent) - at });
            }
        }
        Self(left)
    }

    /// The bytes of both.
    pub(super) fn with(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).copied().collect())
    }

    /// The extents.
    pub(super) fn iter(&self) -> impl Iterator<Item = Extent> + '_ {
        self.0.iter().copied()
    }

    /// What is missing below `size`, in rising order.
    pub(super) fn gaps(&self, size: u64) -> Vec<Extent> {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut at = 0;
        for extent in &self.0 {
            let start = extent.start.0.min(size);
            if start > at {
                gaps.push(Extent { start: DiskOffset(at), length: start - at });
            }
            at = end(extent).max(at);
        }
        if at < size {
            gaps.push(Extent { start: DiskOffset(at), length: size - at });
        }
        gaps
    }

    /// The parts of this set that lie in `range`.
    pub(super) fn within(&self, range: Extent) -> impl Iterator<Item = Extent> + '_ {
        let from = self.0.partition_point(|extent| end(extent) <= range.start.0);
        let stop = end(&range);
        self.0[from..].iter().take_while(move |extent| extent.start.0 < stop).map(move |extent| {
            let start = extent.start.0.max(range.start.0);
            Extent { start: DiskOffset(start), length: end(extent).min(stop) - start }
        })
    }
}

fn end(extent: &Extent) -> u64 {
    extent.start.0.saturating_add(extent.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(pairs: &[(u64, u64)]) -> Sorted {
        Sorted::new(pairs.iter().map(|(start, length)| Extent { start: DiskOffset(*start), length: *length }).collect())
    }

    fn has(set: &[Extent], at: u64) -> bool {
        set.iter().any(|extent| extent.start.0 <= at && at < end(extent))
    }

    proptest! {
        #[test]
        fn operations_say_of_each_byte_what_they_mean(
            one in prop::collection::vec((0..100_u64, 0..20_u64), 0..10), other in prop::collection::vec((0..100_u64, 0..20_u64), 0..10),
            size in 0..110_u64, range in (0..100_u64, 0..50_u64),
        ) {
            let (a, b) = (set(&one), set(&other));
            prop_assert!(a.0.windows(2).all(|pair| end(&pair[0]) < pair[1].start.0));
            let (without, gaps, inside) = (a.without(&b), a.gaps(size), a.clone().inside(size));
            let within: Vec<Extent> = a.within(Extent { start: DiskOffset(range.0), length: range.1 }).collect();
            for at in 0..130 {
                let (in_a, in_b) = (has(&a.0, at), has(&b.0, at));
                prop_assert_eq!(in_a, one.iter().any(|(start, length)| (*start..start + length).contains(&at)));
                prop_assert_eq!(has(&without.0, at), in_a && !in_b);
                prop_assert_eq!(has(&gaps, at), at < size && !in_a);
                prop_assert_eq!(has(&inside.0, at), at < size && in_a);
                prop_assert_eq!(has(&within, at), in_a && (range.0..range.0 + range.1).contains(&at));
            }
            let common = (0..130).find(|at| has(&a.0, *at) && has(&b.0, *at));
            prop_assert_eq!(a.first_common(&b), common);
        }
    }
}
