//! The disk map of a manifest: streams, their extents, and holes (format-spec/manifest.md).
//!
//! Always true here:
//! - A checked [`DiskMap`] covers each byte of the disk exactly once, by an extent or by a hole, and never
//!   overflows.
//! - The kept bytes are the streams' bytes in the order of the records; the data tree spans exactly these.
//! - The map is a sequence of fixed 24-byte records without positions that shift, so that two maps of a stick share most
//!   of their chunks.

use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};
use crate::disk::{DiskOffset, Extent, KeptOffset};

const STRUCTURE: &str = "disk map";
/// Bytes of one record.
pub const RECORD_LENGTH: usize = 24;
/// The most records that a map may have: 16 million, which take 512 MiB when checked.
pub const MAX_RECORDS: u64 = 16 << 20;

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StreamKind {
    /// Bytes in disk order that nothing else claimed; the whole disk where no layout is known.
    Other = 0,
    /// A file's data.
    File = 1,
    /// Records of a file system or a partition table.
    Metadata = 2,
    /// Slack behind the ends of files.
    Slack = 3,
}

/// Why a run of bytes is not kept. A restore writes zeros there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HoleKind {
    /// The bytes are zeros.
    Zero = 0,
    /// The file system says that the clusters are free.
    Free = 1,
    /// Content that is only scratch, such as a page file.
    Scratch = 2,
    /// The source could not be read there: content was lost before the backup.
    Unreadable = 3,
}

/// One record of the map, decoded but not yet checked against the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapRecord {
    /// A stream, which the next `extents` records make up.
    Stream {
        /// What it holds.
        kind: StreamKind,
        /// Extent records that follow.
        extents: u32,
        /// Bytes in all of them.
        length: u64,
    },
    /// The next extent of the stream before.
    Extent(Extent),
    /// A run that is not kept.
    Hole(HoleKind, Extent),
}

const TAG_STREAM: u8 = 1;
const TAG_EXTENT: u8 = 2;
const TAG_HOLE: u8 = 3;

impl MapRecord {
    /// The record's bytes.
    pub fn encode(&self) -> [u8; RECORD_LENGTH] {
        let (tag, kind, count, a, b) = match *self {
            Self::Stream { kind, extents, length } => (TAG_STREAM, kind as u8, extents, length, 0),
            Self::Extent(extent) => (TAG_EXTENT, 0, 0, extent.start.0, extent.length),
            Self::Hole(kind, extent) => (TAG_HOLE, kind as u8, 0, extent.start.0, extent.length),
        };
        let mut writer = Writer::new();
        writer.u8(tag).u8(kind).u16(0).u32(count).u64(a).u64(b);
        let mut record = [0; RECORD_LENGTH];
        record.copy_from_slice(&writer.into_bytes());
        record
    }

    /// Reads one record.
    ///
    /// # Errors
    /// [`FormatError::Field`]: an unknown tag or kind, a reserved field that is not zero, an empty extent, one that
    /// ends beyond 64 bits.
    pub fn decode(bytes: &[u8; RECORD_LENGTH]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.u8("tag").within(STRUCTURE)?;
        let kind = reader.u8("kind").within(STRUCTURE)?;
        let reserved = reader.u16("reserved").within(STRUCTURE)?;
        let count = reader.u32("extents").within(STRUCTURE)?;
        let a = reader.u64("first").within(STRUCTURE)?;
        let b = reader.u64("second").within(STRUCTURE)?;
        let wrong = |field, expected, found| Err(FormatError::field(STRUCTURE, field, expected, found));
        if reserved != 0 {
            return wrong("reserved", "zero", reserved.into());
        }
        let extent = Extent { start: DiskOffset(a), length: b };
        match tag {
            TAG_STREAM if b != 0 => wrong("reserved", "zero", b),
            TAG_STREAM => Ok(Self::Stream { kind: stream_kind(kind)?, extents: count, length: a }),
            TAG_EXTENT | TAG_HOLE if count != 0 => wrong("extents", "zero in an extent or hole", count.into()),
            TAG_EXTENT | TAG_HOLE if b == 0 || extent.end().is_none() => {
                wrong("length", "more than 0, with an end within 64 bits", b)
            }
            TAG_EXTENT if kind != 0 => wrong("kind", "zero in an extent", kind.into()),
            TAG_EXTENT => Ok(Self::Extent(extent)),
            TAG_HOLE => Ok(Self::Hole(hole_kind(kind)?, extent)),
            _ => wrong("tag", "1 (stream), 2 (extent) or 3 (hole)", tag.into()),
        }
    }
}

fn stream_kind(value: u8) -> Result<StreamKind, FormatError> {
    [StreamKind::Other, StreamKind::File, StreamKind::Metadata, StreamKind::Slack]
        .into_iter()
        .find(|kind| *kind as u8 == value)
        .ok_or(FormatError::field(STRUCTURE, "stream kind", "0 to 3", value.into()))
}

fn hole_kind(value: u8) -> Result<HoleKind, FormatError> {
    [HoleKind::Zero, HoleKind::Free, HoleKind::Scratch, HoleKind::Unreadable]
        .into_iter()
        .find(|kind| *kind as u8 == value)
        .ok_or(FormatError::field(STRUCTURE, "hole kind", "0 to 3", value.into()))
}

/// Where a run of the disk comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Kept bytes, beginning at this offset among them.
    Kept(KeptOffset),
    /// A hole: zeros.
    Hole(HoleKind),
}

/// A run of the disk with its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The run.
    pub extent: Extent,
    /// Where its bytes come from.
    pub origin: Origin,
}

/// A map that was checked: its segments, in disk order, cover the disk exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskMap {
    segments: Vec<Segment>,
    size: u64,
    kept: u64,
}

impl DiskMap {
    /// Checks the records of a map of a disk of `size` bytes.
    ///
    /// # Errors
    /// [`FormatError`]: whatever keeps the records from covering each byte exactly once, and a stream whose extents do
    /// not give its length.
    pub fn check(records: impl IntoIterator<Item = MapRecord>, size: u64) -> Result<Self, FormatError> {
        let wrong = |field, expected, found| Err(FormatError::field(STRUCTURE, field, expected, found));
        let mut segments = Vec::new();
        let mut kept = 0_u64;
        let (mut extents_left, mut bytes_left) = (0_u32, 0_u64);
        let mut count = 0_u64;
        for record in records {
            count += 1;
            if count > MAX_RECORDS {
                return wrong("records", "at most 16777216", count);
            }
            if let MapRecord::Extent(extent) | MapRecord::Hole(_, extent) = record
                && (extent.length == 0 || extent.end().is_none())
            {
                return wrong("length", "more than 0, with an end within 64 bits", extent.length);
            }
            match record {
                MapRecord::Stream { .. } | MapRecord::Hole(..) if extents_left > 0 || bytes_left > 0 => {
                    return wrong("extents", "as many as their stream says", extents_left.into());
                }
                MapRecord::Stream { extents, length, .. } => (extents_left, bytes_left) = (extents, length),
                MapRecord::Extent(extent) => {
                    if extents_left == 0 || extent.length > bytes_left {
                        return wrong("extent", "one that its stream counts", extent.start.0);
                    }
                    extents_left -= 1;
                    bytes_left -= extent.length;
                    segments.push(Segment { extent, origin: Origin::Kept(KeptOffset(kept)) });
                    let Some(sum) = kept.checked_add(extent.length) else {
                        return wrong("kept bytes", "a sum within 64 bits", extent.length);
                    };
                    kept = sum;
                }
                MapRecord::Hole(kind, extent) => segments.push(Segment { extent, origin: Origin::Hole(kind) }),
            }
        }
        if extents_left > 0 || bytes_left > 0 {
            return wrong("extents", "as many as their stream says", extents_left.into());
        }
        segments.sort_unstable_by_key(|segment| segment.extent.start);
        let mut next = DiskOffset(0);
        for segment in &segments {
            if segment.extent.start != next {
                return wrong("coverage", "each byte of the disk exactly once", segment.extent.start.0.min(next.0));
            }
            next = segment.extent.end().unwrap_or(DiskOffset(u64::MAX));
        }
        if next.0 != size {
            return wrong("coverage", "each byte of the disk exactly once", next.0);
        }
        Ok(Self { segments, size, kept })
    }

    /// The segments in disk order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The disk's size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in all streams.
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    /// The position, among the segments, of the one that holds `offset`; the count of segments for an offset at
    /// or behind the end.
    pub fn find(&self, offset: DiskOffset) -> usize {
        self.segments.partition_point(|segment| segment.extent.end().is_some_and(|end| end <= offset))
    }

    /// The holes of one kind, in disk order.
    pub fn holes(&self, kind: HoleKind) -> impl Iterator<Item = Extent> + '_ {
        self.segments.iter().filter(move |segment| segment.origin == Origin::Hole(kind)).map(|segment| segment.extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, length: u64) -> Extent {
        Extent { start: DiskOffset(start), length }
    }

    fn stream(extents: u32, length: u64) -> MapRecord {
        MapRecord::Stream { kind: StreamKind::Other, extents, length }
    }

    fn good() -> Vec<MapRecord> {
        vec![
            stream(2, 30),
            MapRecord::Extent(extent(50, 10)),
            MapRecord::Extent(extent(0, 20)),
            MapRecord::Hole(HoleKind::Zero, extent(20, 30)),
            stream(0, 0),
            MapRecord::Hole(HoleKind::Unreadable, extent(60, 4)),
        ]
    }

    #[test]
    fn records_round_trip() {
        for record in good() {
            assert_eq!(MapRecord::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn a_good_map_is_sorted_and_searched() {
        let map = DiskMap::check(good(), 64).expect("good");
        assert_eq!(map.kept(), 30);
        let starts: Vec<u64> = map.segments().iter().map(|segment| segment.extent.start.0).collect();
        assert_eq!(starts, [0, 20, 50, 60]);
        assert_eq!(map.segments()[0].origin, Origin::Kept(KeptOffset(10)));
        assert_eq!(
            [0, 19, 20, 59, 60, 63, 64, 99].map(|offset| map.find(DiskOffset(offset))),
            [0, 0, 1, 2, 3, 3, 4, 4]
        );
        assert_eq!(map.holes(HoleKind::Unreadable).collect::<Vec<_>>(), [extent(60, 4)]);
    }

    #[test]
    fn an_empty_disk_has_an_empty_map() {
        assert_eq!(DiskMap::check([], 0).map(|map| map.kept()), Ok(0));
    }

    #[test]
    fn whatever_is_not_covered_exactly_once_is_refused() {
        let cases: [(&str, Vec<MapRecord>, u64); 8] = [
            ("gap at the end", good(), 65),
            ("beyond the end", good(), 63),
            ("gap", vec![MapRecord::Hole(HoleKind::Zero, extent(1, 3))], 4),
            (
                "overlap",
                vec![MapRecord::Hole(HoleKind::Zero, extent(0, 3)), MapRecord::Hole(HoleKind::Zero, extent(2, 2))],
                4,
            ),
            ("extent without a stream", vec![MapRecord::Extent(extent(0, 4))], 4),
            ("stream too long", vec![stream(1, 5), MapRecord::Extent(extent(0, 4))], 4),
            ("stream too short", vec![stream(1, 3), MapRecord::Extent(extent(0, 4))], 4),
            ("extent missing", vec![stream(2, 4), MapRecord::Extent(extent(0, 4))], 4),
        ];
        for (name, records, size) in cases {
            assert!(DiskMap::check(records, size).is_err(), "{name}");
        }
    }

    #[test]
    fn records_that_were_made_and_not_decoded_are_checked_as_well() {
        let hole = |start, length| MapRecord::Hole(HoleKind::Zero, extent(start, length));
        assert!(DiskMap::check([hole(0, 0), hole(0, 4)], 4).is_err(), "an empty hole");
        assert!(
            DiskMap::check([stream(1, 0), MapRecord::Extent(extent(0, 0)), hole(0, 4)], 4).is_err(),
            "an empty extent"
        );
        assert!(DiskMap::check([hole(0, 4), hole(4, u64::MAX)], u64::MAX).is_err(), "an end beyond 64 bits");
    }

    #[test]
    fn more_records_than_the_limit_are_refused() {
        let records = std::iter::repeat_n(stream(0, 0), MAX_RECORDS as usize);
        assert_eq!(DiskMap::check(records.clone(), 0).map(|map| map.kept()), Ok(0));
        let more = records.chain([stream(0, 0)]);
        assert!(matches!(DiskMap::check(more, 0), Err(FormatError::Field { field: "records", .. })));
    }

    #[test]
    fn records_that_cannot_be_are_refused() {
        let mut bytes = MapRecord::Extent(extent(1, 2)).encode();
        bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(MapRecord::decode(&bytes).is_err(), "end beyond 64 bits");
        for (position, name) in [(0, "tag"), (1, "kind"), (2, "reserved"), (4, "count")] {
            let mut bytes = MapRecord::Extent(extent(1, 2)).encode();
            bytes[position] = 9;
            assert!(MapRecord::decode(&bytes).is_err(), "{name}");
        }
    }
}
