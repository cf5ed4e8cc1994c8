//! What an exFAT volume calls free: the bits of its bitmap that are 0.
//!
//! Always true here: free clusters are told in rising order, and a part of the bitmap that cannot be read calls none free.
//!
//! Structures: Microsoft exFAT specification, section 7.1.5.

use super::ExFatVolume;
use crate::disk::Extent;
use crate::layout::fat::directory::pieces;
use crate::layout::fat::heap::{Visited, note, read, total};
use crate::layout::{Claims, LayoutError};

const WHAT: &str = "the bitmap of an exFAT volume";

impl ExFatVolume<'_> {
    /// Claims the clusters that the bitmap calls free. Bad clusters are not among them: their bit is 1.
    pub(super) fn claim_free(
        &self,
        (extents, length): &(Vec<Extent>, u64),
        visited: &Visited,
        claims: &mut Claims,
    ) -> Result<(), LayoutError> {
        let heap = &self.geometry.heap;
        let needed = u64::from(heap.clusters).div_ceil(8);
        if total(extents) < needed || *length < needed {
            let at = extents.first().map_or(0, |extent| extent.start.0);
            let cause = LayoutError::malformed(WHAT, at, format_args!("at least {needed} bytes"), length);
            return note(claims, "no cluster is taken for free", cause);
        }
        // The first cluster of the run of free ones that is not claimed yet.
        let mut run: Option<u32> = None;
        let mut cluster: u32 = 2;
        let mut contradicted = false;
        let mut buffer = Vec::new();
        let end_run = |run: &mut Option<u32>, end: u32, claims: &mut Claims| match run.take() {
            Some(first) => claims.free(heap.extent(first, u64::from(end.saturating_sub(first)))),
            None => Ok(()),
        };
        for piece in pieces(extents) {
            buffer.resize(piece.length as usize, 0);
            if let Err(error) = read(self.volume, WHAT, piece.start.0, &mut buffer) {
                note(claims, "clusters that are free there are kept", error)?;
                end_run(&mut run, cluster, claims)?;
                cluster = cluster.saturating_add(u32::try_from(piece.length * 8).unwrap_or(u32::MAX));
                continue;
            }
            for (at, byte) in (piece.start.0..).zip(&buffer) {
                for bit in 0..8 {
                    if !heap.holds(cluster) {
                        break;
                    }
                    if byte >> bit & 1 == 1 {
                        end_run(&mut run, cluster, claims)?;
                    } else {
                        run.get_or_insert(cluster);
                        if visited.has(cluster) && !contradicted {
                            contradicted = true;
                            let found = format_args!("cluster {cluster} free, which something uses");
                            claims.doubt_free(LayoutError::malformed(WHAT, at, "a bit for each used cluster", found));
                        }
                    }
                    cluster += 1;
                }
            }
        }
        end_run(&mut run, cluster.min(heap.clusters + 2), claims)
    }
}
