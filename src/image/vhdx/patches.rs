//! What replaying a log changes in a file, kept in memory ([MS-VHDX] §2.3.3).
//!
//! Always true here:
//! - Pieces are in rising order, never empty, and do not touch one another's bytes; what was applied later wins.
//! - Memory is bounded by the log: 4 KiB for each of its data sectors, and for each descriptor at most two pieces.

use std::collections::BTreeMap;

use super::LOG_SECTOR;

/// A run of the file that the log overwrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins in the file.
    pub(super) start: u64,
    /// Bytes.
    pub(super) length: u64,
    /// Where its bytes are in [`Patches::bytes`]; `None` where the log wrote zeros.
    pub(super) bytes: Option<usize>,
}

impl Piece {
    /// The file offset behind the piece.
    pub(super) const fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// All that the log overwrites.
#[derive(Debug, Default)]
pub(super) struct Patches {
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

impl Patches {
    /// What lies at a file offset: the piece, or how many bytes there are up to the next one.
    pub(super) fn find(&self, at: u64) -> Result<&Piece, u64> {
        let next = self.pieces.partition_point(|piece| piece.start <= at);
        match next.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some(piece) if at < piece.end() => Ok(piece),
            _ => Err(self.pieces.get(next).map_or(u64::MAX, |piece| piece.start) - at),
        }
    }

    /// The bytes of a piece from its byte `from` on; a piece of zeros has none.
    pub(super) fn bytes(&self, start: usize, length: usize) -> &[u8] {
        &self.bytes[start..start + length]
    }

    /// The file offset behind the last piece; 0 when there is none.
    pub(super) fn end(&self) -> u64 {
        self.pieces.last().map_or(0, Piece::end)
    }
}

/// Gathers patches in the order in which the log has them.
#[derive(Debug, Default)]
pub(super) struct PatchBuilder {
    /// By their start; `length` and `bytes` of each.
    pieces: BTreeMap<u64, (u64, Option<usize>)>,
    bytes: Vec<u8>,
}

impl PatchBuilder {
    /// Overwrites a sector. The caller has checked that it ends within 64 bits.
    pub(super) fn data(&mut self, start: u64, sector: &[u8; LOG_SECTOR]) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(sector);
        self.overwrite(start, LOG_SECTOR as u64, Some(at));
    }

    /// Overwrites a run with zeros. The caller has checked that it ends within 64 bits.
    pub(super) fn zeros(&mut self, start: u64, length: u64) {
        if length > 0 {
            self.overwrite(start, length, None);
        }
    }

    fn overwrite(&mut self, start: u64, length: u64, bytes: Option<usize>) {
        let end = start + length;
        // The piece before may reach into the new one, and even behind it.
        if let Some((&before, &(old, source))) = self.pieces.range(..start).next_back()
            && before + old > start
        {
            self.pieces.insert(before, (start - before, source));
            self.keep_behind(end, before, old, source);
        }
        let covered: Vec<u64> = self.pieces.range(start..end).map(|(from, _)| *from).collect();
        for from in covered {
            if let Some((old, source)) = self.pieces.remove(&from) {
                self.keep_behind(end, from, old, source);
            }
        }
        self.pieces.insert(start, (length, bytes));
    }

    /// Puts back what of an old piece lies behind `end`.
    fn keep_behind(&mut self, end: u64, from: u64, length: u64, source: Option<usize>) {
        if from + length > end {
            // Pieces with bytes are no longer than a sector, so the difference fits.
            let source = source.map(|at| at + (end - from) as usize);
            self.pieces.insert(end, (from + length - end, source));
        }
    }

    /// All of it, in rising order.
    pub(super) fn build(self) -> Patches {
        let pieces = self.pieces.into_iter().map(|(start, (length, bytes))| Piece { start, length, bytes }).collect();
        Patches { pieces, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn patches_are_what_writing_in_order_leaves(writes in prop::collection::vec((0_u64..16, 0_u64..8, any::<bool>()), 0..12)) {
            const SECTOR: u64 = LOG_SECTOR as u64;
            let mut builder = PatchBuilder::default();
            // What each sector holds: nothing, or the number of the write; 0 for zeros.
            let mut model = [None; 32];
            for (number, (start, length, is_data)) in writes.into_iter().enumerate() {
                let value = number as u8 + 1;
                if is_data {
                    builder.data(start * SECTOR, &[value; LOG_SECTOR]);
                    model[start as usize] = Some(value);
                } else {
                    builder.zeros(start * SECTOR, length * SECTOR);
                    model[start as usize..(start + length) as usize].fill(Some(0));
                }
            }
            let patches = builder.build();
            prop_assert_eq!(patches.end() / SECTOR, model.iter().rposition(Option::is_some).map_or(0, |last| last as u64 + 1));
            let mut at = 0;
            while at < 32 * SECTOR {
                let sector = (at / SECTOR) as usize;
                match patches.find(at) {
                    Ok(piece) => {
                        let value = piece.bytes.map_or(0, |from| patches.bytes(from + (at - piece.start) as usize, 1)[0]);
                        prop_assert_eq!(model[sector], Some(value));
                        at += SECTOR / 2;
                    }
                    Err(gap) => {
                        prop_assert_eq!(model[sector], None);
                        at += gap.min(SECTOR / 2);
                    }
                }
            }
        }
    }
}
