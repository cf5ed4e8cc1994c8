//! Whether the log says that the volume was taken out of use properly.
//!
//! Always true here: a log that is not understood counts as one of a volume that was in use.
//!
//! Structure and judgement: Linux-NTFS project, "$LogFile" (restart pages); ntfs-3g `ntfs_check_logfile` and
//! `ntfs_is_logfile_clean`. The log is in order when nobody has it open, or when it is open and marked clean, which Windows does
//! since XP. An empty log, filled with ones, was in order when it was emptied. Version 2.0 is what Windows 8 and later write while
//! they use a volume; they go back to 1.1 when they are done (ntfs-3g refuses it as "cached metadata").

use super::boot::Boot;
use super::field::{u16_at, u32_at, u64_at};
use super::fixup;
use super::value::Value;
use crate::disk::ReadAt;
use crate::layout::LayoutError;

/// Bytes at the front in which restart pages are looked for: two of the largest pages there are.
const FRONT: u64 = 128 << 10;
/// The least and the greatest size of a page.
const PAGE: std::ops::RangeInclusive<usize> = fixup::STRIDE..=64 << 10;
/// No client.
const NOBODY: u16 = 0xffff;
const IS_CLEAN: u16 = 2;
const WHAT: &str = "a restart page of the log";

/// What a restart page says.
#[derive(Debug, Clone, Copy)]
struct Restart {
    at: u64,
    /// The later of two pages counts.
    sequence: u64,
    is_clean: bool,
    major: u16,
}

/// Says nothing when the log is in order.
///
/// # Errors
/// [`LayoutError`]: why it is not, or why that cannot be told. Offsets are those of the log.
pub(super) fn check(log: &Value, volume: &dyn ReadAt, boot: &Boot) -> Result<(), LayoutError> {
    let mut front = vec![0; usize::try_from(log.valid().min(FRONT)).unwrap_or_default()];
    log.read("the log", 0, &mut front, volume, boot)?;
    let mut is_empty = true;
    let mut latest: Option<Restart> = None;
    let mut wrong = None;
    // A page begins at 0, the next one at the size of a page, which is a power of two.
    for at in std::iter::once(0).chain((9..17).map(|exponent| 1_usize << exponent)) {
        let Some(page) = front.get(at..).filter(|page| page.len() >= 4) else { break };
        match page.first_chunk::<4>() {
            Some([0xff, 0xff, 0xff, 0xff]) if is_empty => continue,
            Some([0xff, 0xff, 0xff, 0xff]) | None => break,
            _ => is_empty = false,
        }
        if fixup::is_signed(page, b"RCRD") {
            break;
        }
        if !fixup::is_signed(page, b"RSTR") && !fixup::is_signed(page, b"CHKD") {
            continue;
        }
        match restart(page, at) {
            Ok(found) if latest.is_none_or(|latest| found.sequence > latest.sequence) => latest = Some(found),
            Ok(_) => {}
            Err(error) => wrong = Some(error),
        }
    }
    match latest {
        None if is_empty && !front.is_empty() => Ok(()),
        None => Err(wrong.unwrap_or_else(|| LayoutError::malformed(WHAT, 0, "at least one", "none"))),
        Some(Restart { at, major, .. }) if major >= 2 => {
            Err(LayoutError::malformed("the version of the log", at, "1, as on a volume out of use", major))
        }
        Some(Restart { is_clean: true, .. }) => Ok(()),
        Some(Restart { at, .. }) => {
            Err(LayoutError::malformed("the state of the log", at, "one marked as clean", "one that is in use"))
        }
    }
}

/// Reads the page that begins at `at`, in bytes of the log.
fn restart(rest: &[u8], at: usize) -> Result<Restart, LayoutError> {
    let at = at as u64;
    let size = u32_at(rest, 16).and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
    let page = rest.get(..size).filter(|_| size.is_power_of_two() && PAGE.contains(&size));
    let Some(page) = page else {
        return Err(LayoutError::malformed("the size of a page of the log", at + 16, "512 B to 64 KiB", size));
    };
    let mut page = page.to_vec();
    // What chkdsk wrote may have no fix-ups.
    let is_rewritten = fixup::is_signed(&page, b"CHKD");
    if !is_rewritten || u16_at(&page, 6) != Some(0) {
        fixup::apply(&mut page, at)?;
    }
    let area_at = usize::from(u16_at(&page, 24).unwrap_or_default());
    let area = page.get(area_at..).filter(|area| area_at >= 30 && area.len() >= 48);
    let Some(area) = area else {
        return Err(LayoutError::malformed("the restart area of the log", at + 24, "a place in its page", area_at));
    };
    let half = |bytes: &[u8], at| u16_at(bytes, at).unwrap_or_default();
    let sequence = if is_rewritten { u64_at(&page, 8) } else { u64_at(area, 0) }.unwrap_or_default();
    let is_clean = half(area, 12) == NOBODY || half(area, 14) & IS_CLEAN != 0;
    Ok(Restart { at, sequence, is_clean, major: half(&page, 28) })
}
