//! Retirements: what a prune has condemned (format-spec/retired.md).
//!
//! Always true here: ids rise and stand once, so that a retirement has one encoding.

use super::{FormatError, InStructure};
use crate::codec::{Reader, Writer};
use crate::ids::ObjectId;

const STRUCTURE: &str = "retirement";
/// The largest retirement that is read, in bytes.
pub const MAX_LENGTH: u64 = 64 << 20;

/// What is condemned together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retirement {
    /// When, in milliseconds since 1970-01-01 UTC, by the clock of the machine that pruned; for people.
    pub time_ms: u64,
    /// Packs whose chunks count as absent for whoever stores.
    pub packs: Vec<ObjectId>,
    /// Index segments that others have superseded.
    pub segments: Vec<ObjectId>,
}

impl Retirement {
    /// A retirement of these, in order.
    pub fn new(time_ms: u64, mut packs: Vec<ObjectId>, mut segments: Vec<ObjectId>) -> Self {
        for ids in [&mut packs, &mut segments] {
            ids.sort_unstable();
            ids.dedup();
        }
        Self { time_ms, packs, segments }
    }

    /// The retirement's plaintext.
    pub fn encode(&self) -> Vec<u8> {
        let count = |ids: &[ObjectId]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let mut writer = Writer::new();
        writer.u64(self.time_ms).u32(count(&self.packs)).u32(count(&self.segments));
        for id in self.packs.iter().chain(&self.segments) {
            writer.bytes(id.as_bytes());
        }
        writer.into_bytes()
    }

    /// Reads an opened retirement.
    ///
    /// # Errors
    /// [`FormatError`]: counts that do not fit the bytes, ids that do not rise.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let time_ms = reader.u64("time").within(STRUCTURE)?;
        let packs = reader.u32("pack count").within(STRUCTURE)?;
        let segments = reader.u32("segment count").within(STRUCTURE)?;
        let mut ids = |count, field| {
            let table = reader.table::<32>(count, field).within(STRUCTURE)?;
            if table.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(FormatError::record(STRUCTURE, "the ids do not rise"));
            }
            Ok(table.iter().map(|id| ObjectId::new(*id)).collect())
        };
        let (packs, segments) = (ids(packs, "packs")?, ids(segments, "segments")?);
        reader.finish().within(STRUCTURE)?;
        Ok(Self { time_ms, packs, segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_truncation_at_every_length_is_refused() {
        let id = |byte| ObjectId::new([byte; 32]);
        let retirement = Retirement::new(7, vec![id(2), id(1), id(2)], vec![id(9)]);
        assert_eq!(retirement.packs, [id(1), id(2)]);
        let bytes = retirement.encode();
        assert_eq!(Retirement::decode(&bytes), Ok(retirement));
        for length in 0..bytes.len() {
            assert!(Retirement::decode(&bytes[..length]).is_err(), "length {length}");
        }
        let mut falling = bytes.clone();
        falling[16] = 3;
        assert!(matches!(Retirement::decode(&falling), Err(FormatError::Record { .. })));
        let mut hostile = bytes;
        hostile[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Retirement::decode(&hostile), Err(FormatError::Layout { .. })));
    }
}
