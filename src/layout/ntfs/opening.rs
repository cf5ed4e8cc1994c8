//! Which boot sector a volume is opened by.
//!
//! Always true here:
//! - Another file system's boot sector in the first place means that there is no NTFS, whatever the last sector holds.
//! - The copy is taken only where it counts as many sectors as lie in front of it.

use super::boot::{self, Boot, Sector};
use super::sink::is_final;
use crate::disk::{DiskOffset, ReadAt, ReadError};
use crate::layout::LayoutError;

/// Opens a volume by its boot sector, or by the copy in the last sector when the first one is unreadable, empty or contradicts itself.
/// `open` is told what is wrong with the first one where it gets the copy. `None` when there is no NTFS.
///
/// # Errors
/// Those of `open`, of what it makes of the first boot sector; [`LayoutError`] for a boot sector that says it is one of NTFS and
/// cannot be believed; or the disk is gone.
pub(super) fn find<T>(
    volume: &dyn ReadAt,
    open: impl Fn(Boot, Option<String>) -> Result<T, LayoutError>,
) -> Result<Option<T>, LayoutError> {
    let first = look(volume, 0)?;
    let (by_copy, broken) = match first {
        Look::Sector(Sector::Ntfs(boot)) => return open(boot, None).map(Some),
        Look::Sector(Sector::Foreign) | Look::Outside => return Ok(None),
        Look::Sector(Sector::Broken(error)) => (error.to_string(), Some(error)),
        Look::Sector(Sector::Other) => ("no boot sector".to_owned(), None),
        Look::Unreadable(error) => (error.to_string(), Some(error)),
    };
    for size in [512, 1024, 2048, 4096] {
        let Some(at) = (volume.size() / size).checked_sub(1).and_then(|last| last.checked_mul(size)) else {
            continue;
        };
        let Look::Sector(Sector::Ntfs(boot)) = look(volume, at)? else { continue };
        // The copy lies in the sector behind those that it counts.
        if boot.sector != size || boot.sectors.checked_mul(size) != Some(at) {
            continue;
        }
        match open(boot, Some(by_copy.clone())) {
            Ok(volume) => return Ok(Some(volume)),
            Err(error) if is_final(&error) => return Err(error),
            // What was left behind by a volume that is gone says nothing.
            Err(_) => {}
        }
    }
    broken.map_or(Ok(None), Err)
}

/// What is found at the place of a boot sector.
enum Look {
    Sector(Sector),
    Unreadable(LayoutError),
    Outside,
}

fn look(volume: &dyn ReadAt, at: u64) -> Result<Look, LayoutError> {
    let mut bytes = [0; boot::LENGTH];
    if at.checked_add(boot::LENGTH as u64).is_none_or(|end| end > volume.size()) {
        return Ok(Look::Outside);
    }
    let offset = DiskOffset(at);
    match volume.read_at(offset, &mut bytes) {
        Ok(()) => Ok(Look::Sector(boot::look(&bytes, at, volume.size()))),
        Err(source @ (ReadError::Gone { .. } | ReadError::BeyondEnd { .. })) => {
            Err(LayoutError::Read { what: "a boot sector", offset, source })
        }
        Err(source) => Ok(Look::Unreadable(LayoutError::Read { what: "a boot sector", offset, source })),
    }
}
