//! From the runs of an attribute to claims.
//!
//! Always true here:
//! - Each attribute becomes at most one stream, in the order of its clusters; holes are left out.
//! - Slack is claimed only where the n-th byte of the clusters is the n-th byte of the value.
//! - Of a volume that was opened by the copy of its boot sector, only streams are claimed: what looks like NTFS may be the rest of a
//!   volume that was formatted anew, and nothing of it may be left out.

use super::attribute::Sizes;
use super::boot::Boot;
use super::role::{Head, Role, Scratch, Treatment};
use super::runs::Run;
use super::value::{head, split};
use crate::disk::{Extent, ReadAt, ReadError, is_zero};
use crate::layout::{Claims, Content, LayoutError, Note};

/// Hibernation files whose heads are read. There is one; more of them are kept like any other file.
const MOST_HIBERNATIONS: u32 = 4;
/// Bytes of the head of a hibernation file that are looked at.
const HEAD: u64 = 4096;

/// What is done with the clusters of something that is not believed.
pub(super) const IN_DISK_ORDER: &str = "its clusters are kept in disk order";
const KEPT: &str = "the hibernation file is kept";

/// An attribute that was put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<'a> {
    pub(super) kind: u32,
    pub(super) name: &'a [u8],
    pub(super) is_plain: bool,
    pub(super) sizes: Sizes,
    pub(super) runs: &'a [Run],
    /// Where its header is, in bytes of the volume.
    pub(super) at: u64,
}

/// Takes attributes and claims their clusters.
pub(super) struct Sink<'a> {
    pub(super) volume: &'a dyn ReadAt,
    pub(super) boot: &'a Boot,
    pub(super) claims: &'a mut Claims,
    /// Scratch files are kept.
    pub(super) include_scratch: bool,
    /// Only streams are claimed.
    pub(super) streams_only: bool,
    extents: Vec<Extent>,
    slack: Vec<Extent>,
    hibernations: u32,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        volume: &'a dyn ReadAt,
        boot: &'a Boot,
        claims: &'a mut Claims,
        include_scratch: bool,
        streams_only: bool,
    ) -> Self {
        let (extents, slack) = (Vec::new(), Vec::new());
        Self { volume, boot, claims, include_scratch, streams_only, extents, slack, hibernations: 0 }
    }

    /// Notes why something is not claimed.
    pub(super) fn refuse(&mut self, cause: LayoutError) {
        self.claims.note(Note { consequence: IN_DISK_ORDER, cause });
    }

    /// Claims an attribute.
    ///
    /// # Errors
    /// [`LayoutError::TooMany`], or a disk that is gone.
    pub(super) fn take(&mut self, role: &Role, whole: &Whole<'_>) -> Result<(), LayoutError> {
        match role.treatment(whole.kind, whole.name) {
            Treatment::Leave => Ok(()),
            Treatment::Records => self.stream(Content::Records, whole.runs, u64::MAX),
            Treatment::Scratch(scratch) if self.is_scratch(scratch, whole)? => {
                for extent in whole.runs.iter().filter_map(|run| run.extent(self.boot)) {
                    self.claims.scratch(extent)?;
                }
                Ok(())
            }
            Treatment::File | Treatment::Scratch(_) => {
                let valid = if whole.is_plain { whole.sizes.initialized } else { u64::MAX };
                self.stream(Content::File, whole.runs, valid)
            }
        }
    }

    /// Claims a stream of the first `valid` bytes, and slack behind them.
    pub(super) fn stream(&mut self, content: Content, runs: &[Run], valid: u64) -> Result<(), LayoutError> {
        self.extents.clear();
        self.slack.clear();
        let mut position = 0_u64;
        for run in runs {
            if let Some(extent) = run.extent(self.boot) {
                let (inside, behind) = split(extent, position, valid);
                self.extents.push(inside);
                self.slack.push(behind);
            }
            position = position.saturating_add(run.clusters.saturating_mul(self.boot.cluster));
        }
        self.claims.stream(content, &self.extents)?;
        for extent in self.slack.iter().filter(|extent| extent.length > 0 && !self.streams_only) {
            self.claims.slack(*extent)?;
        }
        Ok(())
    }

    fn is_scratch(&mut self, scratch: Scratch, whole: &Whole<'_>) -> Result<bool, LayoutError> {
        if self.include_scratch || self.streams_only {
            return Ok(false);
        }
        if scratch == Scratch::Paging {
            return Ok(true);
        }
        self.hibernations += 1;
        let head = match head(whole.runs, whole.sizes.initialized.min(HEAD), self.volume, self.boot) {
            Ok(head) => head,
            Err(error) if is_final(&error) => return Err(error),
            Err(cause) => {
                self.claims.note(Note { consequence: KEPT, cause });
                return Ok(false);
            }
        };
        let wrong = |expected| {
            let found = head.first_chunk::<4>().unwrap_or(&[0; 4]).escape_ascii().to_string();
            LayoutError::malformed("the head of hiberfil.sys", whole.at, expected, found)
        };
        match Head::of(&head) {
            // Compressed, its head is not what stands in its first cluster.
            Head::Stale if self.hibernations <= MOST_HIBERNATIONS && (whole.is_plain || is_zero(&head)) => Ok(true),
            Head::Live => {
                // The sleeping system may have handed out clusters that the volume does not know of yet.
                self.claims.doubt_free(wrong("a system that is not asleep"));
                let cause = wrong("zeros or \"wake\", as after a resume");
                self.claims.note(Note { consequence: KEPT, cause });
                Ok(false)
            }
            Head::Stale | Head::Unknown => {
                let cause = wrong("one of the known signatures, once");
                self.claims.note(Note { consequence: KEPT, cause });
                Ok(false)
            }
        }
    }
}

/// True for an error behind which nothing more is to be had from this disk.
pub(super) const fn is_final(error: &LayoutError) -> bool {
    match error {
        LayoutError::Read { source, .. } => matches!(source, ReadError::Gone { .. } | ReadError::BeyondEnd { .. }),
        LayoutError::TooMany { .. } => true,
        LayoutError::Malformed { .. } | LayoutError::Unsupported { .. } => false,
    }
}
