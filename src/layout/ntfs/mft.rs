//! The master file table, as far as it must be found before it can be walked.
//!
//! Always true here:
//! - The table's places were put together from records that check out; of a fragmented table, each later part is named by a record
//!   that lies in an earlier one.
//! - It has at most [`MOST_RECORDS`] records, and at most as many bytes as the volume.
//!
//! Structure: Linux-NTFS project, "$MFT" and "$MFTMirr".

use super::attribute::DATA;
use super::boot::Boot;
use super::record::Record;
use super::value::{Places, Value, assemble};
use crate::disk::{DiskOffset, ReadAt};
use crate::layout::LayoutError;

/// The most records that are looked at: 64 GiB of 1 KiB each.
pub(super) const MOST_RECORDS: u64 = 64 << 20;
/// Records that the mirror holds at least.
const MIRRORED: u64 = 4;

/// Where the MFT is.
#[derive(Debug)]
pub(super) struct Mft {
    /// Its clusters; never a resident value.
    pub(super) places: Places,
    /// Records, in use or not.
    pub(super) records: u64,
    /// Why the first record was taken from the mirror.
    pub(super) mirrored: Option<String>,
}

impl Mft {
    /// Finds the MFT.
    ///
    /// # Errors
    /// [`LayoutError`]: neither the first record nor its mirror leads to all of it.
    pub(super) fn open(volume: &dyn ReadAt, boot: &Boot) -> Result<Self, LayoutError> {
        match Self::from_record_at(boot.mft, volume, boot) {
            Ok(mft) => Ok(mft),
            Err(error @ LayoutError::TooMany { .. }) => Err(error),
            // Told is what is wrong with the first record, also when the mirror is no better.
            Err(first) => match Self::from_record_at(boot.mirror, volume, boot) {
                Ok(mft) => Ok(Self { mirrored: Some(first.to_string()), ..mft }),
                Err(_) => Err(first),
            },
        }
    }

    fn from_record_at(cluster: u64, volume: &dyn ReadAt, boot: &Boot) -> Result<Self, LayoutError> {
        let what = "the record of the MFT";
        let mut bytes = vec![0; usize::try_from(boot.record).unwrap_or_default()];
        let Some(at) = cluster.checked_mul(boot.cluster).filter(|_| cluster < boot.clusters) else {
            let expected = format_args!("one of {} clusters", boot.clusters);
            return Err(LayoutError::malformed("the place of the MFT", 0, expected, cluster));
        };
        let offset = DiskOffset(at);
        volume.read_at(offset, &mut bytes).map_err(|source| LayoutError::Read { what, offset, source })?;
        let unlike = |found: &str| LayoutError::malformed(what, at, "a record in use with content in clusters", found);
        let record = Record::parse(&mut bytes, 0, at)?.ok_or_else(|| unlike("one that is not in use"))?;
        let mut read = |places: &Places, number, bytes: &mut [u8]| fetch(places, number, bytes, volume, boot);
        let value = assemble(&record, DATA, volume, boot, &mut read)?;
        let Some(Value::NonResident(places, sizes)) = value else { return Err(unlike("none")) };
        if sizes.allocated > volume.size() {
            let expected = format_args!("at most {}", volume.size());
            return Err(LayoutError::malformed("the size of the MFT", at, expected, sizes.allocated));
        }
        let records = sizes.initialized / boot.record;
        if records > MOST_RECORDS {
            return Err(LayoutError::TooMany { what: "MFT records", limit: MOST_RECORDS });
        }
        Ok(Self { places, records, mirrored: None })
    }

    /// An attribute without a name of a record that the format gives a fixed number.
    ///
    /// # Errors
    /// [`LayoutError`]: the record or the attribute contradicts itself, or cannot be read.
    pub(super) fn value(
        &self,
        number: u64,
        kind: u32,
        volume: &dyn ReadAt,
        boot: &Boot,
    ) -> Result<Option<Value>, LayoutError> {
        let of = |bytes: &mut [u8], origin| {
            let Some(record) = Record::parse(bytes, number, origin)? else { return Ok(None) };
            let mut read = |_: &Places, number, bytes: &mut [u8]| fetch(&self.places, number, bytes, volume, boot);
            assemble(&record, kind, volume, boot, &mut read)
        };
        let mut bytes = vec![0; usize::try_from(boot.record).unwrap_or_default()];
        let first = fetch(&self.places, number, &mut bytes, volume, boot).and_then(|origin| of(&mut bytes, origin));
        let first = match first {
            Err(first) if number < MIRRORED => first,
            result => return result,
        };
        let at = boot.mirror.checked_mul(boot.cluster).and_then(|at| at.checked_add(number * boot.record));
        let Some(at) = at else { return Err(first) };
        match volume.read_at(DiskOffset(at), &mut bytes) {
            Ok(()) => of(&mut bytes, at).map_err(|_| first),
            Err(_) => Err(first),
        }
    }
}

/// Fetches a record by its number; returns where it begins, in bytes of the volume.
///
/// # Errors
/// [`LayoutError`].
pub(super) fn fetch(
    places: &Places,
    number: u64,
    bytes: &mut [u8],
    volume: &dyn ReadAt,
    boot: &Boot,
) -> Result<u64, LayoutError> {
    let what = "an MFT record";
    let offset = number.checked_mul(boot.record);
    let place = offset.and_then(|offset| Some((offset, places.find(offset, boot)?)));
    let Some((offset, (place, _))) = place else {
        let expected = format_args!("one in the MFT's {} clusters", places.clusters());
        return Err(LayoutError::malformed(what, 0, expected, format_args!("record {number}")));
    };
    places.read(what, offset, bytes, volume, boot)?;
    Ok(place.unwrap_or_default().0)
}
