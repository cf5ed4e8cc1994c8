//! The clusters of files that are looked into: the table, for several threads. FAT and exFAT have it in common.
//!
//! Always true here: no chain is followed in a circle, or beyond the clusters that are asked for. What is in front of a break is told.

use super::heap::{Heap, Visited};
use super::table::{Next, Table};
use crate::disk::{Extent, ReadAt};
use crate::layout::LayoutError;
use crate::layout::files::Listing;
use std::sync::{Arc, Mutex, PoisonError};

/// The bytes of clusters, and why they are not more; that may be for the reason that no more were asked for.
pub(in crate::layout) type Found = (Vec<Extent>, Option<LayoutError>);

/// Where clusters are, and which one follows which.
pub(in crate::layout) struct Clusters {
    pub(in crate::layout) heap: Heap,
    table: Mutex<Table<Arc<dyn ReadAt>>>,
}

impl Clusters {
    pub(in crate::layout) fn new(heap: Heap, table: Table<Arc<dyn ReadAt>>) -> Self {
        Self { heap, table: Mutex::new(table) }
    }

    /// All of them.
    pub(in crate::layout) fn whole(&self) -> Extent {
        self.heap.extent(2, u64::from(self.heap.clusters))
    }

    /// The clusters from `first` on, at most as many as are needed for `most` bytes.
    pub(in crate::layout) fn chain(&self, first: u32, most: u64) -> Found {
        let most = most.div_ceil(self.heap.cluster);
        let (mut extents, mut visited) = (Vec::new(), Visited::new(&self.heap));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = table.follow(&self.heap, &mut visited, first, most, &mut extents).err();
        (extents, broken.map(|broken| broken.cause))
    }

    /// The cluster that the table has behind another one; `None` where there is none.
    pub(in crate::layout) fn next(&self, cluster: u32) -> Result<Option<u32>, LayoutError> {
        let next = self.table.lock().unwrap_or_else(PoisonError::into_inner).next(cluster)?;
        Ok(if let Next::Cluster(next) = next { Some(next) } else { None })
    }
}

/// What was listed of a folder, and why there may be more of it.
///
/// # Errors
/// What is wrong, when nothing of the folder was read.
pub(in crate::layout) fn listed(
    mut listing: Listing,
    was_read: bool,
    broken: Option<LayoutError>,
) -> Result<Listing, LayoutError> {
    if let Some(broken) = broken {
        listing.tell(broken)?;
    }
    match listing.problems.pop() {
        Some(problem) if !was_read => Err(problem),
        problem => {
            listing.problems.extend(problem);
            Ok(listing)
        }
    }
}
