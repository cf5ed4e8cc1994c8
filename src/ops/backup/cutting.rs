//! The second stage of a backup: cutting blocks into chunks.
//!
//! Always true here:
//! - Cuts restart at each stream and at each run of data in it, and are the same however the run lies across blocks: the bytes behind
//!   the last certain cut of a block are carried into the headroom of the next.
//! - A file is cut into chunks that are larger on the average than those of a disk that nothing is known of: its cuts restart with it,
//!   so that small chunks find little more that is the same, and large ones compress better (benches/RESULTS.md).
//! - Records are cut at multiples of [`RECORDS`] bytes of their stream: they change in place and never shift.
//! - A batch owns the buffer that its chunks lie in, so that nothing but the carried bytes is copied.

use super::blocks::{BLOCK, Block, Piece, RunOfData};
use crate::chunk::ChunkError;
use crate::chunk::cdc::Cutter;
use crate::format::config::Chunking;
use crate::format::manifest::StreamKind;
use std::ops::Range;

/// Bytes of a chunk of records: few enough that a change of one stores little again. Four times as many would save 0.3 % over
/// backups between which whole programs change (benches/RESULTS.md), and lose it on days on which little does.
pub(in crate::ops) const RECORDS: usize = 16 << 10;
const _: () = assert!(BLOCK.is_multiple_of(RECORDS));

/// Chunks of one buffer, and what was learned of the disk on the way.
#[derive(Debug, Default)]
pub(in crate::ops) struct Batch {
    pub sequence: u64,
    pub buffer: Option<Vec<u8>>,
    pub chunks: Vec<Range<usize>>,
    pub pieces: Vec<Piece>,
    pub bytes_read: u64,
    /// Bytes of the disk that are behind us with this batch.
    pub bytes_passed: u64,
    /// Nothing follows: the source was read to its end.
    pub is_last: bool,
}

/// How many times larger the chunks of files are than the repository's parameters say.
const FILES: u32 = 8;

/// Cutters for what the repository's parameters say and for files.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Cutters {
    other: Cutter,
    files: Cutter,
}

impl Cutters {
    /// # Errors
    /// [`ChunkError`]: the parameters are not legal ones.
    pub(in crate::ops) fn new(chunking: &Chunking) -> Result<Self, ChunkError> {
        let Chunking { min, average, max, normalization, .. } = *chunking;
        // As far as the chunker goes.
        let limits = [(Chunking::MAX, max), (Chunking::LARGEST_MIN, min), (Chunking::LARGEST_AVERAGE, average)];
        let times = limits.iter().fold(FILES, |times, (limit, size)| times.min(limit / size.max(&1))).max(1);
        Ok(Self {
            other: Cutter::new(min, average, max, normalization)?,
            files: Cutter::new(min * times, average * times, max * times, normalization)?,
        })
    }

    /// The largest chunk in bytes.
    pub(in crate::ops) const fn max(&self) -> usize {
        self.files.max()
    }
}

/// Cuts blocks in their order.
pub(in crate::ops) struct BlockCutter {
    cutters: Cutters,
    carried: Vec<u8>,
    /// What the carried bytes are of.
    carried_kind: StreamKind,
    sequence: u64,
}

impl BlockCutter {
    pub(in crate::ops) fn new(cutters: Cutters) -> Self {
        let carried = Vec::with_capacity(cutters.max());
        Self { cutters, carried, carried_kind: StreamKind::Other, sequence: 0 }
    }

    /// Cuts what is certain.
    pub(in crate::ops) fn cut(&mut self, block: Block) -> Batch {
        let Block { mut buffer, runs, pieces, bytes_read, passed, .. } = block;
        let mut batch = Batch { pieces, bytes_read, bytes_passed: passed, ..self.batch() };
        let headroom = self.cutters.max();
        let carried = headroom - self.carried.len();
        buffer[carried..headroom].copy_from_slice(&self.carried);
        let is_open = !self.carried.is_empty();
        self.carried.clear();
        if is_open && !runs.first().is_some_and(|run| run.continues) {
            // It ended with the block before, which did not know.
            self.cut_run(self.carried_kind, &buffer, carried..headroom, true, &mut batch.chunks);
        }
        for run in &runs {
            let RunOfData { range, kind, offset, continues, ends } = run;
            let range = headroom + range.start..headroom + range.end;
            if *kind == StreamKind::Metadata {
                cut_records(range, *offset, &mut batch.chunks);
                continue;
            }
            let from = if *continues { carried } else { range.start };
            let rest = self.cut_run(*kind, &buffer, from..range.end, *ends, &mut batch.chunks);
            self.carried.extend_from_slice(&buffer[rest]);
            self.carried_kind = *kind;
        }
        batch.buffer = Some(buffer);
        batch
    }

    /// Cuts what was carried, when the source is at its end.
    pub(in crate::ops) fn finish(&mut self) -> Batch {
        let mut batch = Batch { is_last: true, ..self.batch() };
        let buffer = std::mem::take(&mut self.carried);
        self.cut_run(self.carried_kind, &buffer, 0..buffer.len(), true, &mut batch.chunks);
        batch.buffer = Some(buffer);
        batch
    }

    fn batch(&mut self) -> Batch {
        self.sequence += 1;
        Batch { sequence: self.sequence - 1, ..Batch::default() }
    }

    /// Cuts a run; returns what is left uncut when the run may go on.
    fn cut_run(
        &self,
        kind: StreamKind,
        buffer: &[u8],
        mut run: Range<usize>,
        run_ends: bool,
        chunks: &mut Vec<Range<usize>>,
    ) -> Range<usize> {
        let cutter = if kind == StreamKind::File { &self.cutters.files } else { &self.cutters.other };
        while let Some(length) = cutter.first_chunk(&buffer[run.clone()], run_ends) {
            chunks.push(run.start..run.start + length);
            run.start += length;
        }
        run
    }
}

/// Cuts records. A block ends at a multiple of their size in the stream, so that nothing is carried.
fn cut_records(mut run: Range<usize>, offset: u64, chunks: &mut Vec<Range<usize>>) {
    let mut phase = usize::try_from(offset % RECORDS as u64).unwrap_or_default();
    while !run.is_empty() {
        let end = run.end.min(run.start + (RECORDS - phase));
        chunks.push(run.start..end);
        run.start = end;
        phase = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::config::CHUNKER_FASTCDC_2020;
    use crate::ops::Cancel;
    use crate::ops::backup::blocks::BlockReader;
    use crate::ops::backup::plan::BackupPlan;

    fn chunks_of(disk: &Vec<u8>) -> (Vec<Vec<u8>>, Vec<Piece>) {
        let chunking =
            Chunking { algorithm: CHUNKER_FASTCDC_2020, min: 1024, average: 4096, max: 16384, normalization: 1 };
        let cutters = Cutters::new(&chunking).expect("legal");
        let (cancel, plan) = (Cancel::default(), BackupPlan::none(disk));
        let mut reader = BlockReader::new(disk, &plan, "test", &cancel, cutters.max());
        let mut blocks = BlockCutter::new(cutters);
        let (mut chunks, mut pieces) = (Vec::new(), Vec::new());
        let mut take = |batch: Batch| {
            let buffer = batch.buffer.unwrap_or_default();
            chunks.extend(batch.chunks.iter().map(|range| buffer[range.clone()].to_vec()));
            pieces.extend(batch.pieces);
        };
        while let Some(block) = reader.next(&mut None).expect("readable") {
            take(blocks.cut(block));
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
                    let (Piece::Data(extent) | Piece::Hole(_, extent)) = piece else { continue };
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
