//! Finding the footer: at the end of the file, in its old short form, or by its copy at the start.
//!
//! Always true here:
//! - The footer at the end decides. The copy is used only when that one is not sound, as "Hard Disk Footer Format" has it,
//!   and only for kinds of disks that have a copy: what lies at the start of a fixed one is the disk's own.
//! - Whatever is wrong with the one that was not needed is a warning.

use super::super::container::FileOffset;
use super::error::{VhdError, VhdWarning};
use super::footer::{COOKIE, FOOTER_LENGTH, Footer, Kind, OLD_FOOTER_LENGTH};
use super::raw::read;
use crate::disk::ReadAt;

/// A footer, and where the file's bytes end that may belong to anything else.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) footer: Footer,
    /// Where the footer at the end begins, sound or not; the file's size when nothing there looks like one.
    pub(super) data_end: u64,
    pub(super) warnings: Vec<VhdWarning>,
}

/// The bytes where a footer should be.
struct Candidate {
    bytes: [u8; FOOTER_LENGTH],
    length: usize,
    at: FileOffset,
}

impl Candidate {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn has_cookie(&self) -> bool {
        self.bytes.starts_with(COOKIE)
    }
}

/// The last bytes of the file: 511 when a footer of that length begins there, or else 512.
fn at_end(file: &dyn ReadAt) -> Result<Candidate, VhdError> {
    let at = FileOffset(file.size().saturating_sub(FOOTER_LENGTH as u64));
    let mut bytes = [0; FOOTER_LENGTH];
    read(file, at, "footer", &mut bytes)?;
    if !bytes.starts_with(COOKIE) && bytes[1..].starts_with(COOKIE) {
        // "Hard Disk Footer Format": versions before Virtual PC 2004 left the last reserved byte out.
        bytes.rotate_left(1);
        bytes[OLD_FOOTER_LENGTH] = 0;
        return Ok(Candidate { bytes, length: OLD_FOOTER_LENGTH, at: FileOffset(at.0 + 1) });
    }
    Ok(Candidate { bytes, length: FOOTER_LENGTH, at })
}

fn at_start(file: &dyn ReadAt) -> Result<Candidate, VhdError> {
    let mut bytes = [0; FOOTER_LENGTH];
    read(file, FileOffset(0), "footer copy", &mut bytes)?;
    Ok(Candidate { bytes, length: FOOTER_LENGTH, at: FileOffset(0) })
}

/// The copy, which only disks have that grow.
fn decode_copy(copy: &Candidate) -> Result<Footer, VhdError> {
    let footer = Footer::decode(copy.bytes(), copy.at)?;
    if footer.kind == Kind::Fixed {
        return Err(VhdError::Field {
            field: "disk type in the footer's copy",
            offset: FileOffset(60),
            expected: "3 (dynamic) or 4 (differencing)".into(),
            found: "2 (fixed)".into(),
        });
    }
    Ok(footer)
}

/// The footer that counts.
///
/// # Errors
/// [`VhdError::NoFooter`] when neither is sound; [`VhdError::Truncated`] for a file that is too short for one;
/// [`VhdError::Read`].
pub(super) fn locate(file: &dyn ReadAt) -> Result<Located, VhdError> {
    let end = at_end(file)?;
    let start = at_start(file)?;
    let copy = decode_copy(&start);
    match Footer::decode(end.bytes(), end.at) {
        Ok(footer) => {
            let warning = match copy {
                _ if footer.kind == Kind::Fixed => None,
                Err(error) => Some(VhdWarning::CopyDamaged { reason: error.to_string() }),
                Ok(copy) if copy != footer => Some(VhdWarning::CopyDiffers),
                Ok(_) => None,
            };
            Ok(Located { footer, data_end: end.at.0, warnings: warning.into_iter().collect() })
        }
        Err(error) => match copy {
            Ok(footer) => Ok(Located {
                footer,
                data_end: if end.has_cookie() { end.at.0 } else { file.size() },
                warnings: vec![VhdWarning::FooterDamaged { reason: error.to_string() }],
            }),
            Err(start) => Err(VhdError::NoFooter { end: Box::new(error), start: Box::new(start) }),
        },
    }
}

/// Whether a file is a VHD, by its content alone, and of which kind.
///
/// A file that has a footer's cookie where a footer belongs is one, though nothing else of it may be right: such a file is
/// refused by [`super::VhdDisk::open`], which says what is wrong, and is not silently taken for a raw disk. The kind is then
/// what the damaged bytes say.
///
/// # Errors
/// [`VhdError::Read`].
pub fn is_vhd(file: &dyn ReadAt) -> Result<Option<Kind>, VhdError> {
    if file.size() < FOOTER_LENGTH as u64 {
        return Ok(None);
    }
    let end = at_end(file)?;
    let start = at_start(file)?;
    if let Ok(footer) = Footer::decode(end.bytes(), end.at) {
        return Ok(Some(footer.kind));
    }
    if let Ok(footer) = decode_copy(&start) {
        return Ok(Some(footer.kind));
    }
    let claimed = |candidate: &Candidate, otherwise| Footer::claimed_kind(candidate.bytes()).unwrap_or(otherwise);
    if end.has_cookie() {
        return Ok(Some(claimed(&end, Kind::Fixed)));
    }
    Ok(start.has_cookie().then(|| claimed(&start, Kind::Dynamic)))
}

/// The unique identifier of a VHD, in the order of the file, without a look at the rest; `None` where no footer is sound.
pub fn identifier(file: &dyn ReadAt) -> Option<[u8; 16]> {
    locate(file).ok().map(|located| located.footer.identifier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::vhd::footer::NO_DATA_OFFSET;
    use crate::image::vhd::geometry::Geometry;

    fn footer(kind: Kind) -> Footer {
        Footer {
            temporary: false,
            data_offset: if kind == Kind::Fixed { NO_DATA_OFFSET } else { 512 },
            time_stamp: 1,
            creator_application: *b"win ",
            creator_version: 0,
            creator_host_os: *b"Wi2k",
            original_size: 1024,
            size: 1024,
            geometry: Geometry::of(2),
            kind,
            identifier: [9; 16],
            saved_state: false,
        }
    }

    /// A file with a copy, 1024 bytes, and a footer.
    fn file(kind: Kind, end: usize) -> Vec<u8> {
        let bytes = footer(kind).encode();
        [&bytes[..], &[0x11; 1024], &bytes[..end]].concat()
    }

    #[test]
    fn both_lengths_are_found() {
        for kind in [Kind::Fixed, Kind::Dynamic, Kind::Differencing] {
            for length in [511, 512] {
                let file = file(kind, length);
                let located = locate(&file).expect("sound");
                assert_eq!((located.footer, located.data_end), (footer(kind), 1536));
                assert_eq!(located.warnings, []);
                assert_eq!(is_vhd(&file).expect("read"), Some(kind));
            }
        }
    }

    #[test]
    fn one_of_two_is_enough_and_none_is_not() {
        let mut damaged = file(Kind::Dynamic, 512);
        damaged[1536 + 100] ^= 1;
        let located = locate(&damaged).expect("by the copy");
        assert_eq!((located.footer.kind, located.data_end), (Kind::Dynamic, 1536));
        assert!(matches!(&located.warnings[..], [VhdWarning::FooterDamaged { .. }]));
        damaged[1536] ^= 1;
        assert_eq!(locate(&damaged).expect("by the copy").data_end, 2048);
        damaged[100] ^= 1;
        let error = locate(&damaged).expect_err("none").to_string();
        assert!(
            error.contains("at the end of the file, the footer's cookie at file offset 1536 is \"bonectix\""),
            "{error}"
        );
        assert!(error.contains("at its start, the checksum of the footer, at file offset 64, is"), "{error}");
        assert_eq!(is_vhd(&damaged).expect("read"), Some(Kind::Dynamic));
        damaged[0] ^= 1;
        assert_eq!(is_vhd(&damaged).expect("read"), None);

        let mut copy = file(Kind::Differencing, 512);
        copy[100] ^= 1;
        assert!(matches!(&locate(&copy).expect("by the footer").warnings[..], [VhdWarning::CopyDamaged { .. }]));
        let other = Footer { time_stamp: 2, ..footer(Kind::Differencing) };
        copy[..512].copy_from_slice(&other.encode());
        assert_eq!(locate(&copy).expect("by the footer").warnings, [VhdWarning::CopyDiffers]);
    }

    #[test]
    fn a_fixed_disk_has_no_copy() {
        let mut fixed = file(Kind::Fixed, 512);
        fixed[1536 + 100] ^= 1;
        let error = locate(&fixed).expect_err("none").to_string();
        assert!(error.contains("the disk type in the footer's copy at file offset 60 is 2 (fixed)"), "{error}");
        assert_eq!(is_vhd(&fixed).expect("read"), Some(Kind::Fixed));
    }

    #[test]
    fn what_is_too_short_is_none() {
        for size in [0, 1, 511] {
            assert!(matches!(locate(&vec![0; size]), Err(VhdError::Truncated { needed: 512, .. })));
            assert_eq!(is_vhd(&vec![0; size]).expect("read"), None);
        }
        assert_eq!(is_vhd(&vec![0; 4096]).expect("read"), None);
    }
}
