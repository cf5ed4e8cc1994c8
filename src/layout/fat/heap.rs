//! Clusters: where they lie, which ones were met, and how the ones of a file are claimed. FAT and exFAT have it in common.
//!
//! Always true here: clusters are numbered from 2. No cluster is met twice: what leads to one that was met before is refused, so no
//! walk goes in circles, and its length is bounded by the size of the volume.

use crate::disk::{DiskOffset, Extent, ReadAt, ReadError};
use crate::layout::{Claims, Content, LayoutError, Note};

/// Directories that are looked into.
pub(in crate::layout) const MOST_DIRECTORIES: u64 = 1 << 20;
/// Entries of directories that are looked at in all.
pub(in crate::layout) const MOST_ENTRIES: u64 = 1 << 26;

/// Where the clusters lie; inside the volume.
#[derive(Debug, Clone, Copy)]
pub(in crate::layout) struct Heap {
    /// Where cluster 2 begins, in bytes of the volume.
    pub(in crate::layout) start: u64,
    /// Bytes of a cluster.
    pub(in crate::layout) cluster: u64,
    /// How many there are.
    pub(in crate::layout) clusters: u32,
}

impl Heap {
    pub(in crate::layout) const fn holds(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.clusters
    }

    /// The bytes of `count` clusters from `first` on.
    pub(in crate::layout) fn extent(&self, first: u32, count: u64) -> Extent {
        let before = u64::from(first.saturating_sub(2)).saturating_mul(self.cluster);
        let start = DiskOffset(self.start.saturating_add(before));
        Extent { start, length: count.saturating_mul(self.cluster) }
    }
}

/// One bit for each cluster: which ones something leads to. Those that nothing leads to take next to no memory.
#[derive(Debug)]
pub(in crate::layout) struct Visited {
    /// Each for [`PAGE`] clusters, from the first one that is met.
    pages: Vec<Option<Box<[u64; WORDS]>>>,
    clusters: u32,
}

const WORDS: usize = 512;
const PAGE: u32 = 64 * WORDS as u32;

impl Visited {
    /// None yet. Callers have bounded the number of clusters.
    pub(in crate::layout) fn new(heap: &Heap) -> Self {
        Self { pages: (0..heap.clusters.div_ceil(PAGE)).map(|_| None).collect(), clusters: heap.clusters }
    }

    /// Whether a cluster was met.
    pub(in crate::layout) fn has(&self, cluster: u32) -> bool {
        let index = cluster.wrapping_sub(2);
        let page = self.pages.get((index / PAGE) as usize).and_then(Option::as_ref);
        let word = page.and_then(|page| page.get((index % PAGE / 64) as usize));
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Notes a cluster as met; false when it was met before, or does not exist.
    pub(in crate::layout) fn meet(&mut self, cluster: u32) -> bool {
        let index = cluster.wrapping_sub(2);
        let Some(page) = self.pages.get_mut((index / PAGE) as usize).filter(|_| index < self.clusters) else {
            return false;
        };
        let page = page.get_or_insert_with(|| Box::new([0; WORDS]));
        let Some(word) = page.get_mut((index % PAGE / 64) as usize) else { return false };
        let bit = 1 << (index % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// Appends an extent, joined with the last one where they touch.
pub(in crate::layout) fn push(extents: &mut Vec<Extent>, extent: Extent) {
    match extents.last_mut() {
        Some(last) if last.end() == Some(extent.start) => last.length = last.length.saturating_add(extent.length),
        _ => extents.push(extent),
    }
}

/// Bytes of extents in all.
pub(in crate::layout) fn total(extents: &[Extent]) -> u64 {
    extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.length))
}

/// Claims a file whose content is the first `valid` bytes of its extents; what follows is slack.
pub(in crate::layout) fn claim_file(
    claims: &mut Claims,
    mut extents: Vec<Extent>,
    valid: u64,
) -> Result<(), LayoutError> {
    let (mut left, mut slack) = (valid, Vec::new());
    for extent in &mut extents {
        let inside = extent.length.min(left);
        left -= inside;
        if inside < extent.length {
            let start = DiskOffset(extent.start.0.saturating_add(inside));
            slack.push(Extent { start, length: extent.length - inside });
            extent.length = inside;
        }
    }
    claims.stream(Content::File, &extents)?;
    slack.into_iter().try_for_each(|extent| claims.slack(extent))
}

/// Reads a structure.
pub(in crate::layout) fn read(
    volume: &dyn ReadAt,
    what: &'static str,
    at: u64,
    buffer: &mut [u8],
) -> Result<(), LayoutError> {
    let offset = DiskOffset(at);
    volume.read_at(offset, buffer).map_err(|source| LayoutError::Read { what, offset, source })
}

/// Notes what is wrong with one thing of a volume, or fails where the volume as a whole cannot be read on.
pub(in crate::layout) fn note(
    claims: &mut Claims,
    consequence: &'static str,
    cause: LayoutError,
) -> Result<(), LayoutError> {
    match cause {
        LayoutError::Malformed { .. } | LayoutError::Read { source: ReadError::Unreadable { .. }, .. } => {
            claims.note(Note { consequence, cause });
            Ok(())
        }
        error => Err(error),
    }
}
