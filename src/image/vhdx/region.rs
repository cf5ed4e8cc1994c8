//! The region table: where the block table and the metadata are ([MS-VHDX] §2.2.3).
//!
//! Always true here: the regions of a table that was checked are aligned to 1 MiB, lie behind the header section and in
//! the file, and touch neither one another nor the log; a region that must be known is known.

use super::super::container::FileOffset;
use super::error::{VhdxError, VhdxWarning};
use super::field::{guid_at, put, u32_at, u64_at};
use super::header::{LogPlace, check_sealed};
use super::replayed::ReplayedFile;
use super::{Guid, HEADER_SECTION, MIB, REGION_TABLES, crc};

/// Bytes of a region table.
const TABLE_LENGTH: usize = 64 << 10;
const SIGNATURE: [u8; 4] = *b"regi";
const ENTRY_COUNT: usize = 8;
const ENTRIES: usize = 16;
const MAX_ENTRIES: u32 = 2047;
const ENTRY_LENGTH: usize = 32;
const FILE_OFFSET: usize = 16;
const LENGTH: usize = 24;
const REQUIRED: usize = 28;

const BAT: Guid = Guid::new(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
const METADATA: Guid = Guid::new(0x8b7ca206_4790_4b9a_b8fe_575f050f886e);
const BAT_NAME: &str = "the block allocation table";
const METADATA_NAME: &str = "the metadata region";

/// Bytes of the file that belong to one structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occupied {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) what: &'static str,
    /// Where the place is named.
    pub(super) named_at: FileOffset,
}

impl Occupied {
    /// The error that the two lie on one another.
    pub(super) fn overlap(&self, other: &Self) -> VhdxError {
        VhdxError::Overlap {
            what: self.what,
            offset: self.named_at,
            place: (FileOffset(self.start), FileOffset(self.end)),
            other: other.what,
            other_place: (FileOffset(other.start), FileOffset(other.end)),
        }
    }
}

/// A region whose place was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: FileOffset,
    pub(super) length: u64,
}

/// What a region table says, checked.
#[derive(Debug)]
pub(super) struct Regions {
    pub(super) bat: Region,
    pub(super) metadata: Region,
    /// Everything but blocks that has a place in the file, in rising order: header section, log, and all regions.
    pub(super) occupied: Vec<Occupied>,
}

/// Reads both copies of the region table, and checks the one that is used.
///
/// # Errors
/// [`VhdxError`].
pub(super) fn read(
    file: &ReplayedFile,
    log: Option<&LogPlace>,
    warnings: &mut Vec<VhdxWarning>,
) -> Result<Regions, VhdxError> {
    const WHAT: &str = "the region table";
    let copies = REGION_TABLES.map(|at| {
        let bytes = file.structure(WHAT, at, TABLE_LENGTH)?;
        check_sealed("the signature of a region table", SIGNATURE, "the checksum of a region table", &bytes, at)?;
        Ok(bytes)
    });
    let (bytes, at) = match copies {
        [Ok(first), Ok(second)] => {
            if first != second {
                warnings.push(VhdxWarning::RegionTablesDiffer { offsets: REGION_TABLES.into() });
            }
            (first, REGION_TABLES[0])
        }
        [Ok(good), Err(reason)] => {
            warnings.push(VhdxWarning::OneCopy { what: WHAT, reason: Box::new(reason) });
            (good, REGION_TABLES[0])
        }
        [Err(reason), Ok(good)] => {
            warnings.push(VhdxWarning::OneCopy { what: WHAT, reason: Box::new(reason) });
            (good, REGION_TABLES[1])
        }
        [Err(first), Err(second)] => {
            return Err(VhdxError::BothCopies { what: WHAT, first: Box::new(first), second: Box::new(second) });
        }
    };
    check(&bytes, at, file.size(), log)
}

/// Checks a table whose checksum holds.
fn check(bytes: &[u8], at: FileOffset, file_size: u64, log: Option<&LogPlace>) -> Result<Regions, VhdxError> {
    let count = u32_at(bytes, ENTRY_COUNT);
    if count > MAX_ENTRIES {
        let field = FileOffset(at.0 + ENTRY_COUNT as u64);
        return Err(VhdxError::wrong("the number of regions", field, format_args!("at most {MAX_ENTRIES}"), count));
    }
    let mut occupied = vec![Occupied { start: 0, end: HEADER_SECTION, what: "the header section", named_at: at }];
    if let Some(log) = log {
        let (start, end) = (log.offset.0, log.offset.0 + log.length);
        occupied.push(Occupied { start, end, what: "the log", named_at: log.named_at });
    }
    let (mut bat, mut metadata) = (None, None);
    let mut kinds = Vec::new();
    let entries = bytes[ENTRIES..].as_chunks::<ENTRY_LENGTH>().0.iter().take(count as usize);
    for (index, entry) in entries.enumerate() {
        let entry_at = at.0 + (ENTRIES + index * ENTRY_LENGTH) as u64;
        let kind = guid_at(entry, 0);
        kinds.push((kind, entry_at));
        let (what, slot) = match kind {
            BAT => (BAT_NAME, Some(&mut bat)),
            METADATA => (METADATA_NAME, Some(&mut metadata)),
            _ if u32_at(entry, REQUIRED) & 1 == 1 => {
                return Err(VhdxError::UnknownRequired { what: "region", id: kind, offset: FileOffset(entry_at) });
            }
            _ => ("a region of a kind that is not known here", None),
        };
        let (start, length) = (u64_at(entry, FILE_OFFSET), u64::from(u32_at(entry, LENGTH)));
        if start < HEADER_SECTION || !start.is_multiple_of(MIB) {
            let field = FileOffset(entry_at + FILE_OFFSET as u64);
            return Err(VhdxError::wrong("the place of a region", field, "a multiple of 1 MiB other than 0", start));
        }
        if !length.is_multiple_of(MIB) {
            let field = FileOffset(entry_at + LENGTH as u64);
            return Err(VhdxError::wrong("the length of a region", field, "a multiple of 1 MiB", length));
        }
        let end = start.checked_add(length).filter(|end| *end <= file_size);
        let Some(end) = end else {
            return Err(VhdxError::Truncated { what, offset: FileOffset(start), length, size: file_size });
        };
        if let Some(slot) = slot {
            *slot = Some(Region { start: FileOffset(start), length });
        }
        if length > 0 {
            occupied.push(Occupied { start, end, what, named_at: FileOffset(entry_at + FILE_OFFSET as u64) });
        }
    }
    kinds.sort_unstable();
    if let Some(pair) = kinds.array_windows().find(|pair: &&[_; 2]| pair[0].0 == pair[1].0) {
        return Err(VhdxError::wrong("a region's kind", FileOffset(pair[1].1), "each kind once", pair[1].0));
    }
    occupied.sort_by_key(|place| (place.start, place.end));
    if let Some(pair) = occupied.array_windows().find(|pair: &&[_; 2]| pair[1].start < pair[0].end) {
        return Err(pair[1].overlap(&pair[0]));
    }
    let missing = |what| VhdxError::wrong("the region table", at, format_args!("an entry for {what}"), "none");
    Ok(Regions {
        bat: bat.ok_or_else(|| missing(BAT_NAME))?,
        metadata: metadata.ok_or_else(|| missing(METADATA_NAME))?,
        occupied,
    })
}

/// The region table of a new file; each region by its start and its length.
pub(super) fn encode(bat: (u64, u32), metadata: (u64, u32)) -> Vec<u8> {
    let mut bytes = vec![0; TABLE_LENGTH];
    put(&mut bytes, 0, &SIGNATURE);
    put(&mut bytes, ENTRY_COUNT, &2_u32.to_le_bytes());
    for (index, (kind, (start, length))) in [(BAT, bat), (METADATA, metadata)].into_iter().enumerate() {
        let at = ENTRIES + index * ENTRY_LENGTH;
        put(&mut bytes, at, &kind.0);
        put(&mut bytes, at + FILE_OFFSET, &start.to_le_bytes());
        put(&mut bytes, at + LENGTH, &length.to_le_bytes());
        put(&mut bytes, at + REQUIRED, &1_u32.to_le_bytes());
    }
    crc::seal(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: FileOffset = REGION_TABLES[0];
    const LOG: LogPlace = LogPlace { named_at: FileOffset(65608), offset: FileOffset(MIB), length: MIB, pending: None };

    /// Checks a sound table of which one field was changed, in a file of 8 MiB.
    fn changed(at: usize, value: &[u8]) -> Result<Regions, String> {
        let mut bytes = encode((3 * MIB, 1 << 20), (2 * MIB, 1 << 20));
        put(&mut bytes, at, value);
        check(&bytes, AT, 8 * MIB, Some(&LOG)).map_err(|error| error.to_string())
    }

    fn entry(index: usize, field: usize) -> usize {
        ENTRIES + index * ENTRY_LENGTH + field
    }

    #[test]
    fn a_sound_table_gives_its_regions() {
        let regions = changed(0, &SIGNATURE).expect("sound");
        assert_eq!(regions.bat, Region { start: FileOffset(3 * MIB), length: MIB });
        assert_eq!(regions.metadata, Region { start: FileOffset(2 * MIB), length: MIB });
        assert_eq!(regions.occupied.len(), 4);
    }

    #[test]
    fn what_a_table_may_not_say_is_named_with_its_offset() {
        let mib = |count: u64| (count * MIB).to_le_bytes();
        let cases: [(usize, &[u8], &str); 12] = [
            (
                ENTRY_COUNT,
                &[0, 8, 0, 0],
                "the number of regions at offset 196616 of the VHDX file: expected at most 2047",
            ),
            (ENTRY_COUNT, &[1, 0, 0, 0], "expected an entry for the metadata region, found none"),
            (ENTRY_COUNT, &[0, 0, 0, 0], "expected an entry for the block allocation table, found none"),
            (entry(0, 0), &[1; 16], "the region 01010101-0101-0101-0101-010101010101 named at offset 196624"),
            (entry(1, 0), &BAT.0, "expected each kind once"),
            (entry(0, FILE_OFFSET), &mib(0), "the place of a region at offset 196640"),
            (entry(0, FILE_OFFSET), &[1], "the place of a region at offset 196640"),
            (entry(0, FILE_OFFSET), &mib(1), "which touches"),
            (entry(0, FILE_OFFSET), &mib(2), "which touches"),
            (entry(0, FILE_OFFSET), &mib(8), "it is truncated"),
            (entry(0, FILE_OFFSET), &[0, 0, 0xf0, 255, 255, 255, 255, 255], "it is truncated"),
            (entry(0, LENGTH), &[1], "the length of a region at offset 196648"),
        ];
        for (at, value, expected) in cases {
            let error = changed(at, value).expect_err(expected);
            assert!(error.contains(expected), "{at}: {error}");
        }
    }

    #[test]
    fn an_unknown_region_that_need_not_be_known_only_takes_its_place() {
        let mut bytes = encode((3 * MIB, 1 << 20), (2 * MIB, 1 << 20));
        put(&mut bytes, ENTRY_COUNT, &[3, 0, 0, 0]);
        put(&mut bytes, entry(2, 0), &[7; 16]);
        put(&mut bytes, entry(2, FILE_OFFSET), &(4 * MIB).to_le_bytes());
        put(&mut bytes, entry(2, LENGTH), &(2_u32 << 20).to_le_bytes());
        let regions = check(&bytes, AT, 8 * MIB, None).expect("sound");
        assert_eq!(regions.occupied.iter().map(|place| place.end / MIB).collect::<Vec<_>>(), [1, 3, 4, 6]);
        put(&mut bytes, entry(2, FILE_OFFSET), &(3 * MIB).to_le_bytes());
        assert!(matches!(check(&bytes, AT, 8 * MIB, None), Err(VhdxError::Overlap { .. })));
    }
}
