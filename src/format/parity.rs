//! Parity of one object: how the object is cut into codewords, and what a parity object says of it (format-spec/parity.md).
//!
//! Always true here:
//! - A [`Layout`] is one that a writer may choose: its numbers agree with one another, and all that follows from them fits
//!   into 64 bits.
//! - What stands in front of the parity sectors stands behind them again, so that one lost run leaves a good copy. Each copy has its
//!   own checksum, and says all that is needed to mend the object: no config, no key.
//! - The table is believed where its checksum holds, and still proves nothing: what was mended is compared with the hash of the whole
//!   object by whoever mends.

use super::object::{HEADER_LENGTH, Header, Magic};
use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};
use crate::names::ObjectKind;
use std::ops::Range;

const STRUCTURE: &str = "parity";
/// Bytes of the fixed part of each copy: header, parameters, hash, checksum.
pub const HEAD_LENGTH: usize = 128;
/// Bytes of the hash of one sector.
pub const SUM_LENGTH: usize = 8;
/// Bytes of a sector of an object that has at least as many.
pub const SECTOR_LENGTH: u32 = 4096;
/// The sector of a smaller object is as long as the object, rounded up to a multiple of this.
pub const BLOCK_LENGTH: u32 = 64;
/// Parity sectors of a codeword, but for an object of fewer sectors.
pub const PARITY_SECTORS: u16 = 4;
/// The smallest number of data sectors of a codeword in an object of more than [`PARITY_SECTORS`] sectors.
pub const LEAST_DATA_SECTORS: u16 = 5;
/// The largest number of data sectors of a codeword.
pub const MAX_DATA_SECTORS: u16 = 248;
/// Bytes that an object with parity has at most.
pub const MAX_COVERED: u64 = 1 << 30;
/// Bytes that a parity object has at most.
pub const MAX_LENGTH: u64 = 1 << 30;

const CHECKSUM_LENGTH: usize = 32;
const COVERED_BY_CHECKSUM: usize = HEAD_LENGTH - CHECKSUM_LENGTH;

/// The first bytes of the BLAKE3 of a sector.
pub type Sum = [u8; SUM_LENGTH];

/// The hash by which a damaged sector is found.
pub fn sum(sector: &[u8]) -> Sum {
    let mut sum = Sum::default();
    sum.copy_from_slice(&blake3::hash(sector).as_bytes()[..SUM_LENGTH]);
    sum
}

/// How an object is cut: into sectors, and these into interleaved codewords. Sector i is in codeword i mod J, at place i div J.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    length: u64,
    sector_length: u32,
    codewords: u32,
    data: u16,
    parity: u16,
}

impl Layout {
    /// How a writer cuts an object of `length` bytes, with at most `4 * ratio` data sectors in a codeword.
    ///
    /// # Errors
    /// [`FormatError::Field`] for an empty object, one that is too long for parity, and a ratio that no config has.
    pub fn new(length: u64, ratio: u16) -> Result<Self, FormatError> {
        if !(2..=MAX_DATA_SECTORS / PARITY_SECTORS).contains(&ratio) {
            return Err(FormatError::field(STRUCTURE, "ratio", "2 to 62", ratio.into()));
        }
        let count = sectors_of(length)?.div_ceil(u64::from(PARITY_SECTORS * ratio));
        Self::with_codewords(length, u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The layout of an object of `length` bytes in this many codewords.
    fn with_codewords(length: u64, codewords: u32) -> Result<Self, FormatError> {
        let sectors = sectors_of(length)?;
        let field = |field, expected, found| Err(FormatError::field(STRUCTURE, field, expected, found));
        if codewords == 0 {
            return field("codewords", "at least 1", 0);
        }
        let data = sectors.div_ceil(codewords.into());
        let is_small = sectors <= u64::from(PARITY_SECTORS);
        if is_small && codewords != 1 {
            return field("codewords", "1 for so small an object", codewords.into());
        }
        match u16::try_from(data) {
            Ok(data) if is_small => {
                Ok(Self { length, sector_length: sector_of(length), codewords, data, parity: data })
            }
            Ok(data) if (LEAST_DATA_SECTORS..=MAX_DATA_SECTORS).contains(&data) => {
                Ok(Self { length, sector_length: SECTOR_LENGTH, codewords, data, parity: PARITY_SECTORS })
            }
            _ => field("data sectors", "5 to 248 for each codeword", data),
        }
    }

    /// Bytes of the object.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of a sector; what the last one lacks counts as zeros.
    pub const fn sector_length(&self) -> u32 {
        self.sector_length
    }

    /// J: codewords.
    pub const fn codewords(&self) -> u32 {
        self.codewords
    }

    /// K: data sectors of a codeword; one that the object does not have counts as zeros.
    pub const fn data_sectors(&self) -> u16 {
        self.data
    }

    /// M: parity sectors of a codeword, which is the number of its sectors that may be lost.
    pub const fn parity_sectors(&self) -> u16 {
        self.parity
    }

    /// Sectors of the object.
    pub const fn sectors(&self) -> u64 {
        self.length.div_ceil(self.sector_length as u64)
    }

    /// Parity sectors of all codewords: M · J.
    pub const fn all_parity_sectors(&self) -> u64 {
        self.parity as u64 * self.codewords as u64
    }

    /// Where sector `index` lies in the object, in bytes.
    pub fn sector(&self, index: u64) -> Range<u64> {
        let length = u64::from(self.sector_length);
        let start = index.saturating_mul(length).min(self.length);
        start..start.saturating_add(length).min(self.length)
    }

    /// What is promised: one lost run of this many bytes, wherever it begins, is mended. It touches at most M · J sectors one behind
    /// the other, and of those no codeword has more than M.
    pub fn promise(&self) -> u64 {
        let lost = self.all_parity_sectors();
        if lost >= self.sectors() { self.length } else { (lost - 1) * u64::from(self.sector_length) + 1 }
    }

    /// Bytes of the table.
    const fn table_length(&self) -> u64 {
        (self.sectors() + self.all_parity_sectors()) * SUM_LENGTH as u64
    }

    /// Bytes of a copy of head and table.
    pub const fn copy_length(&self) -> u64 {
        HEAD_LENGTH as u64 + self.table_length()
    }

    /// Bytes of all parity sectors.
    pub const fn parity_length(&self) -> u64 {
        self.all_parity_sectors() * self.sector_length as u64
    }

    /// Bytes of the parity object.
    pub const fn object_length(&self) -> u64 {
        2 * self.copy_length() + self.parity_length()
    }
}

const fn sector_of(length: u64) -> u32 {
    if length < SECTOR_LENGTH as u64 { (length as u32).next_multiple_of(BLOCK_LENGTH) } else { SECTOR_LENGTH }
}

fn sectors_of(length: u64) -> Result<u64, FormatError> {
    if length == 0 || length > MAX_COVERED {
        return Err(FormatError::field(STRUCTURE, "length", "1 to 1073741824", length));
    }
    Ok(length.div_ceil(sector_of(length).into()))
}

/// What a parity object says of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The header.
    pub header: Header,
    /// The kind of the object.
    pub kind: ObjectKind,
    /// How it is cut.
    pub layout: Layout,
    /// The BLAKE3 of the whole object.
    pub hash: [u8; 32],
    /// One a data sector, then one a parity sector: [`Layout::sectors`] and [`Layout::all_parity_sectors`] of them.
    pub sums: Vec<Sum>,
}

impl Head {
    /// The copy in front of the parity sectors, and the one behind them.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let layout = &self.layout;
        let mut writer = Writer::new();
        writer.bytes(&self.header.encode(Magic::Parity));
        writer.u64(layout.length).u32(layout.sector_length).u32(layout.codewords).u16(layout.data).u16(layout.parity);
        // A kind without a letter has no parity.
        writer.u8(Magic::of(self.kind).map_or(0, |magic| magic as u8)).bytes(&[0; 11]).bytes(&self.hash);
        let mut head = writer.into_bytes();
        let table = self.sums.as_flattened();
        let checksum = checksum(&head, table);
        head.extend_from_slice(&checksum);
        ([&head, table].concat(), [table, &head].concat())
    }

    /// Reads the copy with which a parity object begins.
    ///
    /// # Errors
    /// [`FormatError`]: another kind of object, a newer version, a layout that cannot be, too few bytes, the checksum.
    pub fn decode_front(object: &[u8]) -> Result<Self, FormatError> {
        let fixed = object.first_chunk::<HEAD_LENGTH>();
        Self::decode(fixed.unwrap_or(&[0; HEAD_LENGTH]), |length| object.get(HEAD_LENGTH..)?.get(..length))
    }

    /// Reads the copy with which a parity object ends.
    ///
    /// # Errors
    /// As [`Self::decode_front`].
    pub fn decode_back(object: &[u8]) -> Result<Self, FormatError> {
        let (before, fixed) = object.split_last_chunk::<HEAD_LENGTH>().unwrap_or((&[], &[0; HEAD_LENGTH]));
        Self::decode(fixed, |length| before.get(before.len().checked_sub(length)?..))
    }

    fn decode<'a>(
        fixed: &[u8; HEAD_LENGTH],
        table: impl FnOnce(usize) -> Option<&'a [u8]>,
    ) -> Result<Self, FormatError> {
        let field = |field, expected, found| Err(FormatError::field(STRUCTURE, field, expected, found));
        let mut reader = Reader::new(fixed);
        let header = Header::decode(Magic::Parity, &mut reader)?;
        let length = reader.u64("length").within(STRUCTURE)?;
        let sector_length = reader.u32("sector length").within(STRUCTURE)?;
        let codewords = reader.u32("codewords").within(STRUCTURE)?;
        let data = reader.u16("data sectors").within(STRUCTURE)?;
        let parity = reader.u16("parity sectors").within(STRUCTURE)?;
        let layout = Layout::with_codewords(length, codewords)?;
        if sector_length != layout.sector_length {
            return field("sector length", "4096, or as long as a smaller object", sector_length.into());
        }
        if data != layout.data {
            return field("data sectors", "the object's sectors for each codeword", data.into());
        }
        if parity != layout.parity {
            return field("parity sectors", "4, or as many as a smaller object has", parity.into());
        }
        let letter = reader.u8("kind").within(STRUCTURE)?;
        let covered = ObjectKind::ALL.into_iter().filter(|kind| kind.has_parity());
        let of_letter = |kind: &ObjectKind| Magic::of(*kind).is_some_and(|magic| magic as u8 == letter);
        let Some(kind) = covered.into_iter().find(of_letter) else {
            return field("kind", "the letter of a kind that has parity", letter.into());
        };
        if reader.array::<11>("reserved").within(STRUCTURE)? != [0; 11] {
            return field("reserved", "0", 1);
        }
        let hash = reader.array("hash").within(STRUCTURE)?;
        let lacking = || FormatError::field(STRUCTURE, "table length", "within the object", layout.table_length());
        let table = usize::try_from(layout.table_length()).ok().and_then(table).ok_or_else(lacking)?;
        if checksum(&fixed[..COVERED_BY_CHECKSUM], table) != fixed[COVERED_BY_CHECKSUM..] {
            return Err(FormatError::Checksum { structure: STRUCTURE });
        }
        Ok(Self { header, kind, layout, hash, sums: table.as_chunks().0.to_vec() })
    }

    /// The hash of a data sector.
    pub fn data_sum(&self, sector: u64) -> Option<&Sum> {
        usize::try_from(sector).ok().filter(|_| sector < self.layout.sectors()).and_then(|index| self.sums.get(index))
    }

    /// The hash of a parity sector.
    pub fn parity_sum(&self, sector: u64) -> Option<&Sum> {
        usize::try_from(self.layout.sectors() + sector).ok().and_then(|index| self.sums.get(index))
    }
}

fn checksum(fixed: &[u8], table: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    *blake3::Hasher::new().update(fixed).update(table).finalize().as_bytes()
}

const _: () = assert!(HEADER_LENGTH + 8 + 4 + 4 + 2 + 2 + 1 + 11 + 32 == COVERED_BY_CHECKSUM);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RepositoryId;

    fn head(length: u64, ratio: u16) -> Head {
        let layout = Layout::new(length, ratio).expect("a layout");
        let count = layout.sectors() + layout.all_parity_sectors();
        Head {
            header: Header::new(RepositoryId::new([3; 16])),
            kind: ObjectKind::Pack,
            layout,
            hash: [7; 32],
            sums: (0..count).map(u64::to_le_bytes).collect(),
        }
    }

    #[test]
    fn both_copies_say_the_same_whatever_lies_between() {
        for (length, ratio) in [(1, 2), (4095, 33), (4096, 33), (16_384, 2), (16_385, 62), (1 << 20, 2)] {
            let head = head(length, ratio);
            let (front, back) = head.encode();
            assert_eq!((front.len() as u64, back.len()), (head.layout.copy_length(), front.len()));
            for between in [0, 1, 5000] {
                let object = [&front, &vec![0xee; between][..], &back].concat();
                assert_eq!(Head::decode_front(&object), Ok(head.clone()));
                assert_eq!(Head::decode_back(&object), Ok(head.clone()));
            }
        }
    }

    #[test]
    fn any_flipped_bit_and_any_truncation_is_refused() {
        let (front, back) = head(20_000, 2).encode();
        for bit in 0..front.len() * 8 {
            // The optional features stand in the checksum, too.
            let mut changed = front.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::decode_front(&changed).is_err(), "bit {bit}");
            let mut changed = back.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::decode_back(&changed).is_err(), "bit {bit}");
        }
        for length in 0..front.len() {
            assert!(Head::decode_front(&front[..length]).is_err(), "length {length}");
            assert!(Head::decode_back(&back[back.len() - length..]).is_err(), "length {length}");
        }
    }

    /// Every field out of its limits, with the checksum made right again.
    #[test]
    fn a_layout_that_no_writer_makes_is_refused() {
        let (front, _) = head(1 << 20, 8).encode();
        let spoil: [(&str, usize, &[u8]); 9] = [
            ("length", 32, &0_u64.to_le_bytes()),
            ("length", 32, &(MAX_COVERED + 1).to_le_bytes()),
            ("codewords", 44, &0_u32.to_le_bytes()),
            ("data sectors", 44, &1_u32.to_le_bytes()),
            ("data sectors", 44, &u32::MAX.to_le_bytes()),
            ("sector length", 40, &4032_u32.to_le_bytes()),
            ("data sectors", 48, &31_u16.to_le_bytes()),
            ("parity sectors", 50, &5_u16.to_le_bytes()),
            ("kind", 52, b"R"),
        ];
        for (expected, at, value) in spoil {
            let mut changed = front.clone();
            changed[at..at + value.len()].copy_from_slice(value);
            let sum = checksum(&changed[..COVERED_BY_CHECKSUM], &changed[HEAD_LENGTH..]);
            changed[COVERED_BY_CHECKSUM..HEAD_LENGTH].copy_from_slice(&sum);
            let error = Head::decode_front(&changed).expect_err(expected);
            assert!(matches!(error, FormatError::Field { field, .. } if field == expected), "{expected}: {error}");
        }
        let mut longer = front.clone();
        longer[32..40].copy_from_slice(&((1_u64 << 20) + 4096).to_le_bytes());
        let error = Head::decode_front(&longer).expect_err("a longer object");
        assert!(matches!(error, FormatError::Field { field: "table length" | "data sectors", .. }), "{error}");
    }

    /// Every length up to some codewords, and every ratio: the numbers agree, and a run of the promised length stays within what each
    /// codeword can lose, wherever it begins. One byte more does not.
    #[test]
    fn the_promise_is_what_the_codewords_can_lose_and_no_byte_more() {
        let sector = u64::from(SECTOR_LENGTH);
        for ratio in [2, 3, 33, 62] {
            for sectors in 1..600_u64 {
                for length in [(sectors - 1) * sector + 1, sectors * sector - 63, sectors * sector] {
                    let layout = Layout::new(length, ratio).expect("a layout");
                    assert_eq!(layout.sectors(), sectors, "{length}");
                    assert_eq!(layout.sector_length() % BLOCK_LENGTH, 0);
                    let (data, parity) = (u64::from(layout.data_sectors()), u64::from(layout.parity_sectors()));
                    let codewords = u64::from(layout.codewords());
                    assert_eq!(data, sectors.div_ceil(codewords), "{length}");
                    assert_eq!(parity, sectors.min(4), "{length}");
                    assert!(data <= 4 * u64::from(ratio), "{length}");
                    let most_lost = |run: Range<u64>| {
                        let step = u64::from(layout.sector_length());
                        let touched = run.start / step..run.end.div_ceil(step);
                        (0..codewords)
                            .map(|word| touched.clone().filter(|sector| sector % codewords == word).count() as u64)
                            .max()
                            .unwrap_or(0)
                    };
                    let promise = layout.promise();
                    assert!(promise <= length);
                    if sectors > 40 && sectors % 7 != 0 {
                        continue;
                    }
                    for start in [0, 1, sector - 1, sector, length / 2, length - promise] {
                        let start = start.min(length - promise);
                        assert!(most_lost(start..start + promise) <= parity, "{length} {ratio} {start}");
                    }
                    if promise < length {
                        let most =
                            (0..length - promise).step_by(4095).map(|start| most_lost(start..start + promise + 1));
                        assert!(most.max() > Some(parity), "{length} {ratio}: more could be promised");
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_objects_have_a_layout_whose_parity_fits() {
        for ratio in 2..=62 {
            let layout = Layout::new(MAX_COVERED, ratio).expect("a layout");
            assert!(layout.object_length() <= MAX_LENGTH);
        }
        for (length, ratio) in [(0, 33), (MAX_COVERED + 1, 33), (1, 1), (1, 63), (1, 0)] {
            assert!(Layout::new(length, ratio).is_err());
        }
    }
}
