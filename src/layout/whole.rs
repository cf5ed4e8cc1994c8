//! A whole disk laid out: its table, each volume by its file system, virtual disks in files, and what is left.
//!
//! Always true here:
//! - The division has each byte of the disk exactly once. This is checked at the end; a disk for which it were not so is kept in disk
//!   order.
//! - What a reader does not believe or cannot read costs the smallest unit around it, and is told; only a disk that is gone ends it.
//! - Depth and size are bounded: disks in disks to [`DEPTH`], records of the division to [`MOST_RECORDS`].

use super::claims::Claims;
use super::coverage::{Coverage, Keep, Kind, resolve};
use super::exfat::ExFatVolume;
use super::extents::Sorted;
use super::fat::FatVolume;
use super::nested::{self, FileDisk, OpenInner, Translation};
use super::ntfs::{NtfsFiles, NtfsOptions, NtfsVolume};
use super::partitions::{Scheme, VolumeKind, partitions, volume_kind};
use super::windows::windows_version;
use super::{LayoutError, Note};
use crate::disk::{DiskOffset, Extent, Part, ReadAt, ReadError};
use std::sync::Arc;

/// How deep disks in disks are laid out.
pub const DEPTH: u32 = 3;
/// The most records of a division; a disk map holds twice as many, and zeros take some.
pub const MOST_RECORDS: usize = 6 << 20;
/// Smaller files are not asked whether they are virtual disks, in bytes.
const SMALLEST_DISK: u64 = 1 << 20;

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFacts {
    /// The number of its partition; `None` where the disk has no table.
    pub number: Option<u32>,
    /// Where it lies on its disk.
    pub extent: Extent,
    /// What the table says that it is for: a GUID, or a byte as in `0x07`.
    pub purpose: Option<String>,
    /// The partition's name.
    pub name: Option<String>,
    /// The file system, such as `NTFS`; `unknown` where it is not known.
    pub file_system: String,
    /// The file system's label.
    pub label: Option<String>,
    /// The file system's serial number.
    pub serial: Option<String>,
    /// The Windows on it, for people; `None` where there is none, or it does not say.
    pub windows: Option<String>,
    /// Whether it was laid out along its files.
    pub by_files: bool,
    /// How many disks lie around its own: 0 on the disk itself.
    pub depth: u32,
}

/// A disk laid out.
#[derive(Debug, Default)]
pub struct DiskLayout {
    /// The division.
    pub coverage: Coverage,
    /// The volumes, in disk order; those of disks in a file behind the volume that holds it.
    pub volumes: Vec<VolumeFacts>,
    /// What a person should hear of.
    pub notes: Vec<String>,
}

impl DiskLayout {
    /// A disk of `size` bytes in disk order, without a look at what is on it.
    pub fn none(size: u64) -> Self {
        Self { coverage: Coverage::whole(size), ..Self::default() }
    }
}

/// Lays a disk out.
///
/// # Errors
/// [`ReadError`] when the disk is gone, or not what it was.
pub fn lay_out(disk: &Arc<dyn ReadAt>, keep: Keep, inner: &dyn OpenInner) -> Result<DiskLayout, ReadError> {
    let mut layout = LayOut { keep, inner, notes: Vec::new(), volumes: Vec::new() };
    let coverage = layout.disk(disk, 0, "")?;
    let LayOut { mut notes, volumes, .. } = layout;
    let size = disk.size();
    let coverage = if coverage.records() > MOST_RECORDS {
        notes.push(format!("the layout has more than {MOST_RECORDS} parts: the disk is kept in disk order"));
        Coverage::whole(size)
    } else if coverage.covers(size) {
        coverage.sort()
    } else {
        notes.push("the layout does not come out even, a defect of sheaf: the disk is kept in disk order".to_owned());
        Coverage::whole(size)
    };
    Ok(DiskLayout { coverage, volumes, notes })
}

struct LayOut<'a> {
    keep: Keep,
    inner: &'a dyn OpenInner,
    notes: Vec<String>,
    volumes: Vec<VolumeFacts>,
}

impl LayOut<'_> {
    fn note(&mut self, place: &str, note: &Note) {
        self.notes.push(format!("{place}{}: {}", note.consequence, chain(&note.cause)));
    }

    /// The division of one disk, in its own offsets. `place` says which disk it is, for notes.
    fn disk(&mut self, disk: &Arc<dyn ReadAt>, depth: u32, place: &str) -> Result<Coverage, ReadError> {
        let table = partitions(&**disk)?;
        table.notes.iter().for_each(|note| self.note(place, note));
        let size = disk.size();
        let whole = Extent { start: DiskOffset(0), length: size };
        let mut coverage = Coverage::default();
        let mut taken = Vec::new();
        let purposes = table.partitions.iter().map(|partition| {
            let purpose = Some(partition.kind.to_string());
            (partition.extent, Some(partition.number), purpose, partition.name.clone())
        });
        let alone = (table.scheme == Scheme::Volume).then_some((whole, None, None, None));
        for (extent, number, purpose, name) in purposes.chain(alone).collect::<Vec<_>>() {
            let place = number.map_or_else(|| place.to_owned(), |number| format!("{place}partition {number}: "));
            let facts = VolumeFacts {
                number,
                extent,
                purpose,
                name,
                file_system: VolumeKind::Unknown.to_string(),
                label: None,
                serial: None,
                windows: None,
                by_files: false,
                depth,
            };
            let volume = self.volume(disk, extent, facts, &place)?;
            let shift = Translation::of_file(&[extent]);
            coverage.append(shift.map_all(&volume));
            taken.push(extent);
        }
        let taken = Sorted::new(taken);
        let records = Sorted::new(table.records).inside(size).without(&taken);
        let claimed = records.with(&taken);
        records.iter().for_each(|extent| coverage.push(Kind::Records, &[extent]));
        claimed.gaps(size).into_iter().for_each(|gap| coverage.push(Kind::Other, &[gap]));
        Ok(coverage)
    }

    /// The division of one volume, in its own offsets.
    fn volume(
        &mut self,
        disk: &Arc<dyn ReadAt>,
        extent: Extent,
        mut facts: VolumeFacts,
        place: &str,
    ) -> Result<Coverage, ReadError> {
        let part: Arc<dyn ReadAt> = Arc::new(Part::new(Arc::clone(disk), extent));
        let size = part.size();
        let depth = facts.depth;
        let claims = match volume_kind(&*part) {
            Ok(kind) => {
                facts.file_system = kind.to_string();
                self.claims(&part, kind, &mut facts)
            }
            Err(error @ ReadError::Unreadable { .. }) => {
                Err(LayoutError::Read { what: "the first sector of the volume", offset: DiskOffset(0), source: error })
            }
            Err(error) => return Err(error),
        };
        let claims = match claims {
            Ok(claims) => claims,
            Err(LayoutError::Read { source, .. }) if !matches!(source, ReadError::Unreadable { .. }) => {
                return Err(source);
            }
            Err(cause) => {
                self.note(place, &Note { consequence: "the volume is kept in disk order", cause });
                None
            }
        };
        facts.by_files = claims.is_some();
        self.volumes.push(facts);
        let Some(claims) = claims else { return Ok(Coverage::whole(size)) };
        let left_out = claims.notes_left_out;
        let (coverage, notes) = resolve(claims, size, self.keep);
        notes.iter().for_each(|note| self.note(place, note));
        if left_out > 0 {
            self.notes.push(format!("{place}{left_out} more notes of this kind are left out"));
        }
        if depth < DEPTH { self.with_inner(disk, extent, &coverage, depth, place) } else { Ok(coverage) }
    }

    /// What the reader of a file system claims; `None` where there is no reader for it.
    fn claims(
        &self,
        part: &Arc<dyn ReadAt>,
        kind: VolumeKind,
        facts: &mut VolumeFacts,
    ) -> Result<Option<Claims>, LayoutError> {
        let mut claims = Claims::new();
        match kind {
            // A copy of its boot sector may be left where the first one is gone.
            VolumeKind::Ntfs | VolumeKind::Unknown => {
                let Some(volume) = NtfsVolume::open(&**part)? else { return Ok(None) };
                facts.file_system = VolumeKind::Ntfs.to_string();
                facts.label.clone_from(&volume.facts().label);
                facts.serial = Some(format!("{:016x}", volume.facts().serial));
                facts.windows = windows_on(part);
                volume.claim(&mut claims, &NtfsOptions { include_scratch: self.keep.scratch })?;
            }
            VolumeKind::Fat12 | VolumeKind::Fat16 | VolumeKind::Fat32 => {
                let Some(volume) = FatVolume::open(&**part)? else { return Ok(None) };
                facts.label.clone_from(&volume.facts().label);
                facts.serial = Some(format!("{:08x}", volume.facts().serial));
                volume.claim(&mut claims)?;
            }
            VolumeKind::ExFat => {
                let Some(volume) = ExFatVolume::open(&**part)? else { return Ok(None) };
                facts.label.clone_from(&volume.facts().label);
                facts.serial = Some(format!("{:08x}", volume.facts().serial));
                volume.claim(&mut claims)?;
            }
            VolumeKind::BitLocker | VolumeKind::Other(_) => return Ok(None),
        }
        Ok(Some(claims))
    }

    /// Divides files that hold disks along what is in them.
    fn with_inner(
        &mut self,
        disk: &Arc<dyn ReadAt>,
        volume: Extent,
        coverage: &Coverage,
        depth: u32,
        place: &str,
    ) -> Result<Coverage, ReadError> {
        let mut divided = Coverage::default();
        for (kind, extents) in coverage.streams() {
            let length: u64 = extents.iter().map(|extent| extent.length).sum();
            let inside = match kind {
                Kind::File if length >= SMALLEST_DISK => self.inside(disk, volume, extents, length, depth, place)?,
                _ => None,
            };
            match inside {
                Some(inside) => divided.append(Translation::of_file(extents).map_all(&inside)),
                None => divided.push(kind, extents),
            }
        }
        coverage.holes().iter().for_each(|(why, extent)| divided.push_hole(*why, *extent));
        Ok(divided)
    }

    /// The division of a file that holds a disk, in the file's offsets; `None` for all other files.
    fn inside(
        &mut self,
        disk: &Arc<dyn ReadAt>,
        volume: Extent,
        extents: &[Extent],
        length: u64,
        depth: u32,
        place: &str,
    ) -> Result<Option<Coverage>, ReadError> {
        let shift = Translation::of_file(&[volume]);
        let on_disk: Vec<Extent> = extents.iter().flat_map(|extent| shift.map(*extent)).collect();
        let file: Arc<dyn ReadAt> = Arc::new(FileDisk::new(Arc::clone(disk), &on_disk));
        if !may_be_a_disk(&*file) {
            return Ok(None);
        }
        let Some(inner) = self.inner.open(file) else { return Ok(None) };
        let place = format!("{place}in a {} file: ", inner.format);
        let (volumes, notes) = (self.volumes.len(), self.notes.len());
        let inside = match self.disk(&inner.disk, depth + 1, &place) {
            Ok(inside) => nested::of_file(&inside, &inner.places, length),
            Err(ReadError::Unreadable { .. } | ReadError::BeyondEnd { .. } | ReadError::Damaged { .. }) => None,
            Err(gone @ ReadError::Gone { .. }) => return Err(gone),
        };
        if inside.is_none() {
            self.volumes.truncate(volumes);
            self.notes.truncate(notes);
        }
        Ok(inside)
    }
}

/// The Windows on an NTFS volume. What cannot be read here is met again, and told, where the volume is claimed or backed up.
fn windows_on(volume: &Arc<dyn ReadAt>) -> Option<String> {
    let files = NtfsFiles::open(Arc::clone(volume)).ok()??;
    windows_version(&files).map(|version| version.to_string())
}

/// A cheap first look: the mark of a VHDX at the start, or that of a VHD at the start or the end.
fn may_be_a_disk(file: &dyn ReadAt) -> bool {
    let has = |at: u64, marks: &[&[u8; 8]]| {
        let mut bytes = [0; 8];
        file.read_at(DiskOffset(at), &mut bytes).is_ok() && marks.contains(&&bytes)
    };
    let end = file.size();
    has(0, &[b"vhdxfile", b"conectix"])
        || has(end.saturating_sub(512), &[b"conectix"])
        || has(end.saturating_sub(511), &[b"conectix"])
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
