//! The value of one attribute as something to read, put together from all its records. For the few files that must be read.
//!
//! Always true here:
//! - The parts of a value that was put together follow one another without gap or overlap, each is named by the attribute list and
//!   is in the record that the list names, and that record names the file as its own.
//! - The clusters of a value make up its allocated size, and its data fits them.

use super::attribute::{ATTRIBUTE_LIST, Attribute, Body, NonResident, Sizes, is_plain};
use super::boot::Boot;
use super::list;
use super::record::{Record, Reference};
use super::runs::{Run, decode};
use crate::disk::{DiskOffset, Extent, ReadAt};
use crate::layout::LayoutError;

/// The most runs that one attribute may have: 96 MiB of memory, and more than a full list of records of 1 KiB holds in practice.
const MOST_RUNS: usize = 4 << 20;

/// Where the clusters of an attribute lie.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    runs: Vec<Run>,
    /// For each run, the number of its first cluster within the attribute.
    firsts: Vec<u64>,
    clusters: u64,
}

impl Places {
    /// Takes runs that follow one another.
    pub(super) fn append(&mut self, runs: &[Run]) {
        for run in runs {
            self.firsts.push(self.clusters);
            self.clusters = self.clusters.saturating_add(run.clusters);
            self.runs.push(*run);
        }
    }

    /// How many clusters there are, holes counted.
    pub(super) const fn clusters(&self) -> u64 {
        self.clusters
    }

    /// The runs, in order.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Which run a cluster of the attribute is in, and how many of that run's clusters are before it.
    pub(super) fn run_at(&self, cluster: u64) -> Option<(usize, u64)> {
        let index = self.firsts.partition_point(|first| *first <= cluster).checked_sub(1)?;
        let inside = cluster - self.firsts.get(index)?;
        (inside < self.runs.get(index)?.clusters).then_some((index, inside))
    }

    /// Where the byte at an offset of the attribute lies, and how many bytes follow it there; the outer `None` is behind the end,
    /// the inner one a hole.
    pub(super) fn find(&self, offset: u64, boot: &Boot) -> Option<(Option<DiskOffset>, u64)> {
        let (index, inside) = self.run_at(offset / boot.cluster)?;
        let run = self.runs.get(index)?;
        let inside = inside * boot.cluster + offset % boot.cluster;
        let left = (run.clusters * boot.cluster).checked_sub(inside).filter(|left| *left > 0)?;
        Some((run.extent(boot).map(|extent| DiskOffset(extent.start.0 + inside)), left))
    }

    /// Fills the buffer from an offset of the attribute on.
    ///
    /// # Errors
    /// [`LayoutError::Read`] with the place on the volume; [`LayoutError::Malformed`] behind the last cluster.
    pub(super) fn read(
        &self,
        what: &'static str,
        mut offset: u64,
        mut buffer: &mut [u8],
        volume: &dyn ReadAt,
        boot: &Boot,
    ) -> Result<(), LayoutError> {
        while !buffer.is_empty() {
            let Some((place, left)) = self.find(offset, boot) else {
                return Err(LayoutError::malformed(
                    what,
                    0,
                    "clusters for all its bytes",
                    format_args!("{offset} bytes"),
                ));
            };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let (now, later) = buffer.split_at_mut(count);
            match place {
                Some(place) => {
                    volume.read_at(place, now).map_err(|source| LayoutError::Read { what, offset: place, source })?;
                }
                None => now.fill(0),
            }
            (buffer, offset) = (later, offset + count as u64);
        }
        Ok(())
    }
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// It is in the record.
    Resident(Vec<u8>),
    /// It is in clusters.
    NonResident(Places, Sizes),
}

impl Value {
    /// How many of its bytes were ever written.
    pub(super) fn valid(&self) -> u64 {
        match self {
            Self::Resident(bytes) => bytes.len() as u64,
            Self::NonResident(_, sizes) => sizes.initialized.min(sizes.data),
        }
    }

    /// Fills the buffer from an offset of the value on.
    ///
    /// # Errors
    /// As [`Places::read`].
    pub(super) fn read(
        &self,
        what: &'static str,
        offset: u64,
        buffer: &mut [u8],
        volume: &dyn ReadAt,
        boot: &Boot,
    ) -> Result<(), LayoutError> {
        match self {
            Self::Resident(bytes) => match usize::try_from(offset).ok().and_then(|start| bytes.get(start..)) {
                Some(bytes) if bytes.len() >= buffer.len() => {
                    buffer.copy_from_slice(bytes.split_at(buffer.len()).0);
                    Ok(())
                }
                _ => Err(LayoutError::malformed(what, 0, "more bytes", bytes.len())),
            },
            Self::NonResident(places, _) => places.read(what, offset, buffer, volume, boot),
        }
    }
}

/// Checks what the first part of an attribute says of the whole against the clusters that all parts have.
///
/// # Errors
/// [`LayoutError::Malformed`], at the given place.
pub(super) fn check_sizes(sizes: &Sizes, clusters: u64, at: u64, boot: &Boot) -> Result<(), LayoutError> {
    let bytes = clusters.checked_mul(boot.cluster);
    if bytes != Some(sizes.allocated) {
        let found = format_args!("{clusters} clusters of {} bytes", boot.cluster);
        return Err(LayoutError::malformed(
            "the runs of an attribute",
            at,
            format_args!("{} bytes", sizes.allocated),
            found,
        ));
    }
    if sizes.initialized > sizes.data || sizes.data > sizes.allocated {
        let found = format_args!("{}, {} and {} bytes", sizes.initialized, sizes.data, sizes.allocated);
        let expected = "a valid length within the length within the allocated one";
        return Err(LayoutError::malformed("the sizes of an attribute", at, expected, found));
    }
    Ok(())
}

/// Decodes the runs of a part and checks that they are as many clusters as it says.
///
/// # Errors
/// [`LayoutError::Malformed`].
pub(super) fn decode_part(
    part: &NonResident<'_>,
    origin: u64,
    boot: &Boot,
    runs: &mut Vec<Run>,
) -> Result<u64, LayoutError> {
    let at = origin + part.list_at as u64;
    let count = decode(part.list, at, boot, runs)?;
    // An attribute of several parts must fit 64 bits of bytes, too.
    if part.lowest.checked_add(count) != Some(part.end) || part.end.checked_mul(boot.cluster).is_none() {
        let expected = format_args!("clusters {} to {} of it", part.lowest, part.end);
        return Err(LayoutError::malformed("the runs of an attribute", at, expected, format_args!("{count} clusters")));
    }
    Ok(count)
}

/// Reads the attribute list of a record.
///
/// # Errors
/// [`LayoutError`], also for one that is larger than a list may be.
pub(super) fn read_list(
    attribute: &Attribute<'_>,
    origin: u64,
    volume: &dyn ReadAt,
    boot: &Boot,
) -> Result<Vec<u8>, LayoutError> {
    let at = origin + attribute.at as u64;
    let part = match attribute.body {
        Body::Resident(bytes) => return Ok(bytes.to_vec()),
        Body::NonResident(part) => part,
    };
    if part.lowest != 0 || part.sizes.data > list::MOST_BYTES || !attribute.is_plain(part.unit) {
        let expected = format_args!("one part of at most {} plain bytes", list::MOST_BYTES);
        return Err(LayoutError::malformed(
            "an attribute list",
            at,
            expected,
            format_args!("{} bytes", part.sizes.data),
        ));
    }
    let (mut runs, mut places) = (Vec::new(), Places::default());
    let clusters = decode_part(&part, origin, boot, &mut runs)?;
    check_sizes(&part.sizes, clusters, at, boot)?;
    places.append(&runs);
    let mut bytes = vec![0; usize::try_from(part.sizes.initialized).unwrap_or_default()];
    places.read("an attribute list", 0, &mut bytes, volume, boot)?;
    Ok(bytes)
}

/// Fetches the record of a number into a buffer, given the clusters that were found so far; returns where it begins on the volume.
pub(super) type ReadRecord<'f> = dyn FnMut(&Places, u64, &mut [u8]) -> Result<u64, LayoutError> + 'f;

/// An attribute that was put together.
#[derive(Debug, Clone)]
pub(super) struct Assembled {
    pub(super) value: Value,
    pub(super) flags: u16,
    /// The exponent of how many clusters are compressed together.
    pub(super) unit: u8,
    /// Where its header is, in bytes of the volume.
    pub(super) at: u64,
}

impl Assembled {
    /// As [`Attribute::is_plain`]; true of one in the record.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.value, Value::Resident(_)) || is_plain(self.flags, self.unit)
    }
}

/// Puts the value of a system file's attribute without a name together. `read` fetches a record by its number, given the clusters
/// that were found so far: those of the MFT itself are found that way.
///
/// # Errors
/// As [`assemble_any`]; [`LayoutError::Malformed`], also for a value in clusters that are not plain bytes.
pub(super) fn assemble(
    base: &Record<'_>,
    kind: u32,
    volume: &dyn ReadAt,
    boot: &Boot,
    read: &mut ReadRecord<'_>,
) -> Result<Option<Value>, LayoutError> {
    let Some(whole) = assemble_any(base, (kind, &[]), volume, boot, read)? else { return Ok(None) };
    if !whole.is_plain() {
        let flags = format_args!("flags {:#06x}", whole.flags);
        return Err(LayoutError::malformed("an attribute of a system file", whole.at, "plain bytes", flags));
    }
    Ok(Some(whole.value))
}

/// Puts an attribute of a kind and a name together, whatever its bytes are.
///
/// # Errors
/// [`LayoutError`]: the value contradicts itself, has too many runs, or a record of it cannot be had.
pub(super) fn assemble_any(
    base: &Record<'_>,
    (kind, name): (u32, &[u8]),
    volume: &dyn ReadAt,
    boot: &Boot,
    read: &mut ReadRecord<'_>,
) -> Result<Option<Assembled>, LayoutError> {
    let is_it = |attribute: &Attribute<'_>| attribute.kind == kind && attribute.name == name;
    let resident = |attribute: &Attribute<'_>, bytes: &[u8], origin: u64| {
        let (value, at) = (Value::Resident(bytes.to_vec()), origin + attribute.at as u64);
        Ok(Some(Assembled { value, flags: attribute.flags, unit: 0, at }))
    };
    let mut places = Places::default();
    let mut first = None;
    let mut take = |places: &mut Places, attribute: &Attribute<'_>, record: &Record<'_>| {
        let at = record.origin + attribute.at as u64;
        let part = attribute.non_resident().filter(|part| part.lowest == places.clusters());
        let Some(part) = part else {
            let expected = format_args!("one that goes on at cluster {}", places.clusters());
            return Err(LayoutError::malformed("a part of an attribute", at, expected, "another one"));
        };
        if part.lowest == 0 {
            first = Some((part.sizes, attribute.flags, part.unit, at));
        }
        let mut runs = Vec::new();
        decode_part(&part, record.origin, boot, &mut runs)?;
        if runs.len() > MOST_RUNS.saturating_sub(places.runs().len()) {
            return Err(LayoutError::TooMany { what: "runs of one attribute", limit: MOST_RUNS as u64 });
        }
        places.append(&runs);
        Ok(())
    };

    match base.attributes().find(|attribute| attribute.kind == ATTRIBUTE_LIST) {
        None => {
            let Some(attribute) = base.attributes().find(is_it) else { return Ok(None) };
            if let Some(bytes) = attribute.resident() {
                return resident(&attribute, bytes, base.origin);
            }
            take(&mut places, &attribute, base)?;
        }
        Some(list) => {
            let mut entries = list::parse(&read_list(&list, base.origin, volume, boot)?, base.origin)?;
            entries.retain(|entry| entry.kind == kind && *entry.name == *name);
            entries.sort_unstable();
            let mut bytes = vec![0; usize::try_from(boot.record).unwrap_or_default()];
            for entry in &entries {
                if entry.reference == base.reference {
                    let own = base.attributes().find(|own| is_it(own) && own.id == entry.id);
                    let own = own.ok_or_else(|| absent(entry.reference, base.origin))?;
                    if let (Some(value), 1) = (own.resident(), entries.len()) {
                        return resident(&own, value, base.origin);
                    }
                    take(&mut places, &own, base)?;
                    continue;
                }
                let origin = read(&places, entry.reference.number(), &mut bytes)?;
                let record = part_of(base, entry.reference, &mut bytes, origin)?;
                let other = record.attributes().find(|other| is_it(other) && other.id == entry.id);
                let other = other.ok_or_else(|| absent(entry.reference, origin))?;
                if let (Some(value), 1) = (other.resident(), entries.len()) {
                    return resident(&other, value, origin);
                }
                take(&mut places, &other, &record)?;
            }
        }
    }
    let Some((sizes, flags, unit, at)) = first else { return Ok(None) };
    check_sizes(&sizes, places.clusters(), at, boot)?;
    Ok(Some(Assembled { value: Value::NonResident(places, sizes), flags, unit, at }))
}

/// Takes a record that continues another one, as that one's list says.
///
/// # Errors
/// [`LayoutError::Malformed`]: it cannot be believed, or belongs to something else.
pub(super) fn part_of<'r>(
    base: &Record<'_>,
    reference: Reference,
    bytes: &'r mut [u8],
    origin: u64,
) -> Result<Record<'r>, LayoutError> {
    let record = Record::parse(bytes, reference.number(), origin)?;
    let belongs = |record: &Record<'_>| record.reference == reference && record.base == Some(base.reference);
    record.filter(belongs).ok_or_else(|| absent(reference, origin))
}

fn absent(reference: Reference, origin: u64) -> LayoutError {
    LayoutError::malformed("a part of an attribute", origin, format_args!("it in {reference}"), "none of this file")
}

/// The first bytes of what lies in these runs; fewer where they are fewer.
///
/// # Errors
/// As [`Places::read`].
pub(super) fn head(runs: &[Run], length: u64, volume: &dyn ReadAt, boot: &Boot) -> Result<Vec<u8>, LayoutError> {
    let mut places = Places::default();
    places.append(runs);
    let length = length.min(places.clusters().saturating_mul(boot.cluster));
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    places.read("the head of a file", 0, &mut bytes, volume, boot)?;
    Ok(bytes)
}

/// What of a run is inside of the first `valid` bytes of its attribute, and what is behind them, given where it begins there.
pub(super) fn split(extent: Extent, position: u64, valid: u64) -> (Extent, Extent) {
    let inside = valid.saturating_sub(position).min(extent.length);
    let behind = Extent { start: DiskOffset(extent.start.0 + inside), length: extent.length - inside };
    (Extent { start: extent.start, length: inside }, behind)
}
