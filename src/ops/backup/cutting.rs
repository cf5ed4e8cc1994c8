//! The second stage of a backup: cutting blocks into chunks.
//!
//! Always true here:
//! - Cuts restart at each run of data, and are the same however the run lies across blocks: the bytes behind the last certain
//!   cut of a block are carried into the headroom of the next.
//! - A batch owns the buffer that its chunks lie in, so that nothing but the carried bytes is copied.

use super::blocks::{Block, Part, Step};
use crate::chunk::cdc::Cutter;
use crate::disk::{DiskOffset, Extent};
use crate::format::manifest::HoleKind;
use std::ops::Range;

/// A run of the disk in disk order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Extent),
    Hole(HoleKind, Extent),
}

/// Chunks of one buffer, and what was learned of the disk on the way.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub sequence: u64,
    pub buffer: Option<Vec<u8>>,
    pub chunks: Vec<Range<usize>>,
    pub pieces: Vec<Piece>,
    pub bytes_read: u64,
    /// Bytes of the disk that are behind us with this batch.
    pub bytes_passed: u64,
}

/// Cuts blocks in their order.
pub(super) struct BlockCutter {
    cutter: Cutter,
    headroom: usize,
    carried: Vec<u8>,
    sequence: u64,
}

impl BlockCutter {
    pub(super) fn new(cutter: Cutter, headroom: usize) -> Self {
        Self { cutter, headroom, carried: Vec::with_capacity(headroom), sequence: 0 }
    }

    /// Cuts what is certain.
    pub(super) fn cut(&mut self, step: Step) -> Batch {
        let mut batch = match step {
            Step::Skipped(extent) => {
                let mut batch = self.flush();
                batch.pieces.push(Piece::Hole(HoleKind::Zero, extent));
                batch.bytes_passed = extent.length;
                batch
            }
            Step::Block(block) => self.cut_block(block),
        };
        batch.sequence = self.sequence;
        self.sequence += 1;
        batch
    }

    /// Cuts what was carried, when the source is at its end.
    pub(super) fn finish(&mut self) -> Batch {
        let mut batch = self.flush();
        batch.sequence = self.sequence;
        self.sequence += 1;
        batch
    }

    fn flush(&mut self) -> Batch {
        let mut batch = Batch::default();
        if !self.carried.is_empty() {
            let buffer = std::mem::replace(&mut self.carried, Vec::with_capacity(self.headroom));
            self.cut_run(&buffer, 0..buffer.len(), true, &mut batch.chunks);
            batch.buffer = Some(buffer);
        }
        batch
    }

    fn cut_block(&mut self, block: Block) -> Batch {
        let Block { offset, mut buffer, length, parts, bytes_read } = block;
        let carried = self.carried.len();
        buffer[self.headroom - carried..self.headroom].copy_from_slice(&self.carried);
        self.carried.clear();
        let mut batch = Batch { bytes_read, bytes_passed: length as u64, ..Batch::default() };
        let mut open = (carried > 0).then_some(self.headroom - carried);
        let mut rest = None;
        for part in &parts {
            let (Part::Data(range) | Part::Hole(_, range)) = part;
            let start = DiskOffset(offset.0 + range.start as u64);
            let extent = Extent { start, length: range.len() as u64 };
            match part {
                Part::Data(range) => {
                    batch.pieces.push(Piece::Data(extent));
                    let from = open.take().unwrap_or(self.headroom + range.start);
                    let ends = range.end < length;
                    rest = self.cut_run(&buffer, from..self.headroom + range.end, ends, &mut batch.chunks);
                }
                Part::Hole(kind, _) => {
                    batch.pieces.push(Piece::Hole(*kind, extent));
                    if let Some(from) = open.take() {
                        self.cut_run(&buffer, from..self.headroom, true, &mut batch.chunks);
                    }
                }
            }
        }
        if let Some(rest) = rest {
            self.carried.extend_from_slice(&buffer[rest]);
        }
        batch.buffer = Some(buffer);
        batch
    }

    /// Cuts a run; returns what is left uncut when the run may go on.
    fn cut_run(
        &self,
        buffer: &[u8],
        mut run: Range<usize>,
        run_ends: bool,
        chunks: &mut Vec<Range<usize>>,
    ) -> Option<Range<usize>> {
        while let Some(length) = self.cutter.first_chunk(&buffer[run.clone()], run_ends) {
            chunks.push(run.start..run.start + length);
            run.start += length;
        }
        (!run.is_empty()).then_some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Cancel;
    use crate::ops::backup::blocks::{BLOCK, BlockReader};

    fn chunks_of(disk: &Vec<u8>) -> (Vec<Vec<u8>>, Vec<Piece>) {
        let cutter = Cutter::new(1024, 4096, 16384, 1).expect("legal");
        let cancel = Cancel::default();
        let mut reader = BlockReader::new(disk, "test", &cancel, cutter.max());
        let mut blocks = BlockCutter::new(cutter, cutter.max());
        let (mut chunks, mut pieces) = (Vec::new(), Vec::new());
        let mut take = |batch: Batch| {
            let buffer = batch.buffer.unwrap_or_default();
            chunks.extend(batch.chunks.iter().map(|range| buffer[range.clone()].to_vec()));
            pieces.extend(batch.pieces);
        };
        while let Some(step) = reader.next(&mut None).expect("readable") {
            take(blocks.cut(step));
        }
        take(blocks.finish());
        (chunks, pieces)
    }

    #[test]
    fn chunks_and_pieces_give_the_disk_back_wherever_zeros_lie() {
        let noise: Vec<u8> = (0..(3 * BLOCK) as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8 | 1).collect();
        let cases: Vec<Vec<Range<usize>>> = vec![
            vec![],
            vec![0..BLOCK],
            vec![BLOCK - 40_960..BLOCK + 40_960],
            vec![BLOCK - 4096..BLOCK + 4096],
            vec![BLOCK..BLOCK + 65_536, 2 * BLOCK - 65_536..2 * BLOCK],
            vec![100_000..200_000, 2 * BLOCK + 1..3 * BLOCK],
        ];
        for (case, zeros) in cases.into_iter().enumerate() {
            for size in [3 * BLOCK, 3 * BLOCK - 1, 2 * BLOCK + 3] {
                let mut disk = noise[..size].to_vec();
                for range in &zeros {
                    disk[range.start.min(size)..range.end.min(size)].fill(0);
                }
                let (chunks, pieces) = chunks_of(&disk);
                let kept: Vec<u8> = chunks.concat();
                let (mut back, mut taken) = (vec![0; size], 0);
                let mut next = 0;
                for piece in pieces {
                    let (Piece::Data(extent) | Piece::Hole(_, extent)) = piece;
                    assert_eq!(extent.start.0, next, "case {case}");
                    next += extent.length;
                    if let Piece::Data(extent) = piece {
                        let (start, length) = (extent.start.0 as usize, extent.length as usize);
                        back[start..start + length].copy_from_slice(&kept[taken..taken + length]);
                        taken += length;
                    }
                }
                assert_eq!((next, taken), (size as u64, kept.len()), "case {case}");
                assert!(back == disk, "case {case}, size {size}");
                assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= 16384));
            }
        }
    }
}
