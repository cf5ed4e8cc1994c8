//! Virtual disks at the two ends of the store: what a snapshot keeps of the container that a disk came in, and the container that a
//! snapshot is restored into.
//!
//! Always true here:
//! - What is kept of a container says nothing about the disk's bytes: the same disk from another container is cut alike.
//! - What a snapshot says of a container is checked again when a new one is made of it; what does not fit is as if it were not kept.
//! - A new container has a place for each byte of the disk that is not a hole.

use super::OpsError;
use crate::crypto::{derive, random_bytes};
use crate::disk::ReadAt;
use crate::format::manifest::{DiskMap, Origin};
use crate::format::snapshot::{ContainerFacts, DiskFacts};
use crate::ids::ObjectId;
use crate::image::Container;

use crate::image::composed::ComposedFile;
use crate::image::container::Composed;
use crate::image::vhd::{self, Geometry, Kind, VhdCreator, VhdIdentity, VhdLayout};
use crate::image::vhdx::{self, Guid, VhdxIdentity, VhdxLayout, VhdxParameters};
use crate::repo::RepoError;
use crate::repo::view::SnapshotDisk;
use minicbor::bytes::ByteArray;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The block of a new dynamic VHDX, in bytes, up to disks of [`VHDX_BLOCKS`] times as much. Windows takes 32 MiB; a file of small
/// blocks is about as large as the disk's data, however scattered that is, also where files have no holes.
const VHDX_BLOCK: u32 = 2 << 20;
/// The number of blocks beyond which they are made larger, so that the block table keeps to 8 MiB.
const VHDX_BLOCKS: u64 = 1 << 20;

/// Seconds from 1970-01-01 to 2000-01-01 UTC, from which a VHD counts.
const VHD_EPOCH_S: i64 = 946_684_800;

/// What a snapshot is restored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetFormat {
    /// The disk's bytes and nothing else.
    #[default]
    Raw,
    /// A dynamic VHD: blocks that hold data.
    Vhd,
    /// A fixed VHD: the disk's bytes and a footer.
    VhdFixed,
    /// A dynamic VHDX: blocks that hold data.
    Vhdx,
    /// A fixed VHDX: every block.
    VhdxFixed,
}

impl TargetFormat {
    /// What a file of that name is expected to be.
    pub fn of_name(path: &Path) -> Self {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("vhd") => Self::Vhd,
            Some("vhdx") => Self::Vhdx,
            _ => Self::Raw,
        }
    }

    /// Whether it has blocks whose size can be chosen.
    pub const fn has_blocks(self) -> bool {
        matches!(self, Self::Vhd | Self::Vhdx | Self::VhdxFixed)
    }
}

impl std::fmt::Display for TargetFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Vhd => "vhd",
            Self::VhdFixed => "vhd-fixed",
            Self::Vhdx => "vhdx",
            Self::VhdxFixed => "vhdx-fixed",
        })
    }
}

/// What a snapshot keeps of the container that its disk came in.
pub fn facts_to_keep(container: &Container) -> ContainerFacts {
    match container {
        Container::Vhd(facts) => ContainerFacts {
            format: ContainerFacts::VHD.to_owned(),
            kind: match facts.kind {
                Kind::Fixed => "fixed",
                Kind::Dynamic => "dynamic",
                Kind::Differencing => "differencing",
            }
            .to_owned(),
            disk_id: ByteArray::from(facts.identifier),
            creator: facts.creator_application.escape_ascii().to_string(),
            creator_version: Some(facts.creator_version),
            creator_system: Some(facts.creator_host_os.escape_ascii().to_string()),
            block_size: facts.block_size,
            time_stamp: Some(facts.time_stamp),
            geometry: Some(facts.geometry.to_field()),
            logical_sector_size: None,
            physical_sector_size: None,
            content_id: None,
            parent_id: facts.parent.as_ref().map(|parent| ByteArray::from(parent.identifier)),
        },
        Container::Vhdx(facts) => ContainerFacts {
            format: ContainerFacts::VHDX.to_owned(),
            kind: match (&facts.parent, facts.is_fixed) {
                (Some(_), _) => "differencing",
                (None, true) => "fixed",
                (None, false) => "dynamic",
            }
            .to_owned(),
            disk_id: ByteArray::from(facts.disk_id.0),
            creator: facts.creator.clone(),
            creator_version: None,
            creator_system: None,
            block_size: Some(facts.block_size),
            time_stamp: None,
            geometry: None,
            logical_sector_size: Some(facts.logical_sector_size),
            physical_sector_size: Some(facts.physical_sector_size),
            content_id: Some(ByteArray::from(facts.data_write_id.0)),
            parent_id: facts.parent.as_ref().map(|parent| ByteArray::from(parent.identifier)),
        },
    }
}

/// Where identifiers of a new container come from.
enum Identifiers<'a> {
    /// Each container is another disk.
    Random,
    /// All views of a snapshot are the same one, whoever opens them and when.
    Of(&'a ObjectId, u8),
}

impl Identifiers<'_> {
    fn next<const N: usize>(&mut self) -> Result<[u8; N], OpsError> {
        match self {
            Self::Random => random_bytes().map_err(|error| RepoError::from(error).into()),
            Self::Of(snapshot, count) => {
                *count = count.wrapping_add(1);
                let hash = derive::object_id_of_parts(&[b"identifier of a view", snapshot.as_bytes(), &[*count]]);
                Ok(std::array::from_fn(|index| hash.as_bytes()[index % ObjectId::LENGTH]))
            }
        }
    }

    /// A GUID, marked as a random one (RFC 9562 §5.4; in the file's order the version stands in byte 7).
    fn next_guid(&mut self) -> Result<Guid, OpsError> {
        let mut bytes: [u8; 16] = self.next()?;
        bytes[7] = bytes[7] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Guid(bytes))
    }
}

/// A snapshot as the file that a restore would write: nothing is materialised, and it reads the same each time.
///
/// # Errors
/// As [`compose`].
pub fn view(disk: &Arc<SnapshotDisk>, format: TargetFormat) -> Result<Arc<dyn ReadAt>, OpsError> {
    let shared = Arc::clone(disk) as Arc<dyn ReadAt>;
    match compose_with(disk, format, None, Identifiers::Of(&disk.snapshot().id, 0))? {
        None => Ok(shared),
        Some(layout) => match ComposedFile::new(shared, layout) {
            Ok(file) => Ok(Arc::new(file)),
            Err(error) => Err(OpsError::Container { format, source: Box::new(error) }),
        },
    }
}

/// Lays a snapshot out as a container; `None` for [`TargetFormat::Raw`]. `block_size` is in bytes; without one it is that of the
/// container that the disk came in, where it has the same format, or else 2 MiB, and more for a VHDX beyond 2 TiB.
///
/// # Errors
/// [`OpsError::Container`] where the format has no such disk; [`OpsError::Repo`] where the machine gives no random bytes.
pub fn compose(
    disk: &SnapshotDisk,
    format: TargetFormat,
    block_size: Option<u32>,
) -> Result<Option<Box<dyn Composed>>, OpsError> {
    compose_with(disk, format, block_size, Identifiers::Random)
}

fn compose_with(
    disk: &SnapshotDisk,
    format: TargetFormat,
    block_size: Option<u32>,
    mut identifiers: Identifiers<'_>,
) -> Result<Option<Box<dyn Composed>>, OpsError> {
    let facts = &disk.private().disk;
    let kept = |format: &str| facts.container.as_ref().filter(|container| container.format == format);
    let made = |source| OpsError::Container { format, source };
    Ok(match format {
        TargetFormat::Raw => None,
        TargetFormat::Vhd | TargetFormat::VhdFixed => {
            let kept = kept(ContainerFacts::VHD);
            let identity = vhd_identity(kept, disk.snapshot().record.time_ms, &mut identifiers)?;
            let layout = if format == TargetFormat::VhdFixed {
                VhdLayout::fixed(disk.size(), identity)
            } else {
                let usual = kept.and_then(|kept| kept.block_size).filter(|size| vhd_block_fits(*size, disk.size()));
                let block_size = block_size.or(usual).unwrap_or(vhd::DEFAULT_BLOCK_SIZE);
                VhdLayout::dynamic(disk.size(), data(disk.map()), block_size, identity)
            };
            Some(Box::new(layout.map_err(|error| made(Box::new(error)))?))
        }
        TargetFormat::Vhdx | TargetFormat::VhdxFixed => {
            let parameters = vhdx_parameters(
                kept(ContainerFacts::VHDX),
                facts,
                disk,
                format == TargetFormat::VhdxFixed,
                block_size,
                &mut identifiers,
            )?;
            let layout = VhdxLayout::new(disk.size(), data(disk.map()), parameters);
            Some(Box::new(layout.map_err(|error| made(Box::new(error)))?))
        }
    })
}

/// Runs of the disk that are not holes, in the order of the disk.
fn data(map: &DiskMap) -> impl Iterator<Item = Range<u64>> + '_ {
    let kept = map.segments().iter().filter(|segment| matches!(segment.origin, Origin::Kept(_)));
    kept.map(|segment| segment.extent.start.0..segment.extent.start.0 + segment.extent.length)
}

fn vhd_identity(
    kept: Option<&ContainerFacts>,
    time_ms: i64,
    identifiers: &mut Identifiers<'_>,
) -> Result<VhdIdentity, OpsError> {
    let made = u32::try_from(time_ms / 1000 - VHD_EPOCH_S).unwrap_or_default();
    let Some(kept) = kept else {
        return Ok(VhdIdentity { identifier: identifiers.next()?, time_stamp: made, geometry: None, creator: None });
    };
    let four = |text: &str| <[u8; 4]>::try_from(text.as_bytes()).ok();
    let creator = four(&kept.creator).and_then(|application| {
        let host_os = kept.creator_system.as_deref().and_then(four)?;
        VhdCreator::whose_size_counts(application, kept.creator_version?, host_os)
    });
    Ok(VhdIdentity {
        identifier: *kept.disk_id,
        time_stamp: kept.time_stamp.unwrap_or(made),
        geometry: kept.geometry.map(Geometry::from_field),
        creator,
    })
}

fn vhd_block_fits(size: u32, disk: u64) -> bool {
    size.is_power_of_two() && size >= 512 && disk.div_ceil(size.into()) <= 1 << 24
}

/// The block size for a disk of `size` bytes: at most 64 MiB, for 64 TiB.
fn vhdx_block(size: u64) -> u32 {
    let mut block = VHDX_BLOCK;
    while u64::from(block) * VHDX_BLOCKS < size && block < vhdx::DEFAULT_BLOCK_SIZE * 2 {
        block *= 2;
    }
    block
}

fn vhdx_parameters(
    kept: Option<&ContainerFacts>,
    facts: &DiskFacts,
    disk: &SnapshotDisk,
    is_fixed: bool,
    block_size: Option<u32>,
    identifiers: &mut Identifiers<'_>,
) -> Result<VhdxParameters, OpsError> {
    let sector = |size: Option<u32>| size.filter(|size| matches!(size, 512 | 4096));
    let fits = |size: &u32| disk.size().is_multiple_of(u64::from(*size));
    let logical = sector(kept.and_then(|kept| kept.logical_sector_size))
        .or(sector(Some(facts.sector_size)))
        .filter(fits)
        .unwrap_or(512);
    // What Windows says of a new disk: drives of today write 4096 bytes at once.
    let physical = sector(kept.and_then(|kept| kept.physical_sector_size)).unwrap_or(4096);
    let usual = kept
        .and_then(|kept| kept.block_size)
        .filter(|size| size.is_power_of_two() && (1 << 20..=256 << 20).contains(size));
    // Its content is no longer what children were made from where bytes were lost.
    let content = kept.and_then(|kept| kept.content_id.as_ref()).filter(|_| disk.unreadable() == 0);
    Ok(VhdxParameters {
        block_size: block_size.or(usual).unwrap_or_else(|| vhdx_block(disk.size())),
        is_fixed,
        logical_sector_size: logical,
        physical_sector_size: physical,
        identity: VhdxIdentity {
            creator: kept.map_or_else(|| disk.snapshot().record.tool.clone(), |kept| kept.creator.clone()),
            disk_id: match kept {
                Some(kept) => Guid(*kept.disk_id),
                None => identifiers.next_guid()?,
            },
            file_write_id: identifiers.next_guid()?,
            data_write_id: match content {
                Some(id) => Guid(**id),
                None => identifiers.next_guid()?,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_expected() {
        for (name, format) in [
            ("a.vhd", TargetFormat::Vhd),
            ("a.VHDX", TargetFormat::Vhdx),
            ("a.img", TargetFormat::Raw),
            ("vhd", TargetFormat::Raw),
            ("a.vhd.bak", TargetFormat::Raw),
        ] {
            assert_eq!(TargetFormat::of_name(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn blocks_grow_with_the_disk() {
        let sizes = [1, 60 << 30, 2 << 40, (2 << 40) + 1, 64 << 40].map(vhdx_block);
        assert_eq!(sizes, [2 << 20, 2 << 20, 2 << 20, 4 << 20, 64 << 20]);
    }

    #[test]
    fn random_identifiers_are_marked_as_such() {
        let mut random = Identifiers::Random;
        let (one, other) = (random.next_guid().expect("random"), random.next_guid().expect("random"));
        assert_ne!(one, other);
        assert_eq!(one.to_string().as_bytes()[14], b'4');
        let snapshot = ObjectId::new([7; 32]);
        let of = || {
            let mut identifiers = Identifiers::Of(&snapshot, 0);
            [identifiers.next_guid().expect("derived"), identifiers.next_guid().expect("derived")]
        };
        assert!(of() == of() && of()[0] != of()[1]);
    }
}
