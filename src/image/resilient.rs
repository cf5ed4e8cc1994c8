//! Reading around what a medium does not give back.
//!
//! Always true here:
//! - A read either fills the whole buffer and names every byte that it could not read, or fails. Bytes that are
//!   named are zeros in the buffer; no other byte is made up.
//! - Only [`ReadError::Unreadable`] is worked around. After each such failure the disk is asked whether it is still
//!   there: an unplugged stick is an error at once, and never a disk full of bad sectors.
//! - The effort is bounded twice: no byte is asked for more often than [`Effort::retries`] + [`Effort::sector_retries`] + 3
//!   times; and once [`Effort::patience`] failures were met on the whole disk, a piece of [`Effort::step`] bytes that
//!   fails once is given up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{DiskOffset, Extent, ReadAt, ReadError};

/// The sector size that is used when the disk names one that makes no sense, in bytes.
const DEFAULT_SECTOR: usize = 512;

/// How much is tried for bytes that do not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// How often a read is repeated as a whole before it is taken apart.
    pub retries: u32,
    /// The size of the pieces that a failed read is cut into first, in bytes.
    pub step: usize,
    /// How often a single sector is repeated.
    pub sector_retries: u32,
    /// How many failed reads are met with all of the above, over the whole disk. A failing drive takes seconds
    /// for each; without a bound, a dead region of some gigabytes would take months.
    pub patience: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { retries: 2, step: 64 << 10, sector_retries: 1, patience: 20_000 }
    }
}

/// Reads a disk, and goes around what is unreadable. Several threads may share one.
pub struct ResilientReader<'a> {
    disk: &'a dyn ReadAt,
    effort: Effort,
    sector: usize,
    failures: AtomicU64,
}

impl std::fmt::Debug for ResilientReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResilientReader")
            .field("effort", &self.effort)
            .field("sector", &self.sector)
            .finish_non_exhaustive()
    }
}

impl<'a> ResilientReader<'a> {
    /// Reads `disk` with the usual effort.
    pub fn new(disk: &'a dyn ReadAt) -> Self {
        Self::with_effort(disk, Effort::default())
    }

    /// Reads `disk` with an effort of the caller's choice; a step below one sector counts as one sector.
    pub fn with_effort(disk: &'a dyn ReadAt, effort: Effort) -> Self {
        let sector = usize::try_from(disk.sector_size()).ok().filter(|size| size.is_power_of_two());
        Self { disk, effort, sector: sector.unwrap_or(DEFAULT_SECTOR), failures: AtomicU64::new(0) }
    }

    /// How many reads have failed so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Fills `buffer` from `offset` on. What stays unreadable is zeros there, and is given to `unreadable`: whole
    /// sectors as far as the buffer reaches, in rising order, never two that touch. Nothing is given when the read fails.
    ///
    /// # Errors
    /// Every [`ReadError`] but [`ReadError::Unreadable`]; the buffer's content is then unspecified.
    pub fn read(
        &self,
        offset: DiskOffset,
        buffer: &mut [u8],
        unreadable: &mut dyn FnMut(Extent),
    ) -> Result<(), ReadError> {
        if self.attempt(offset, buffer, self.effort.retries)? {
            return Ok(());
        }
        let mut lost: Vec<Extent> = Vec::new();
        self.read_in_pieces(offset, buffer, self.effort.step.max(self.sector), &mut lost)?;
        lost.into_iter().for_each(unreadable);
        Ok(())
    }

    /// Reads piece by piece. A piece ends where a multiple of `size` on the disk does, so that sectors stay whole.
    fn read_in_pieces(
        &self,
        offset: DiskOffset,
        buffer: &mut [u8],
        size: usize,
        lost: &mut Vec<Extent>,
    ) -> Result<(), ReadError> {
        let smallest = size <= self.sector;
        let mut at = offset.0;
        let mut rest = buffer;
        while !rest.is_empty() {
            // Both fit: the remainder is below `size`.
            let length = (size - (at % size as u64) as usize).min(rest.len());
            let (piece, behind) = rest.split_at_mut(length);
            rest = behind;
            if !self.attempt(DiskOffset(at), piece, if smallest { self.effort.sector_retries } else { 0 })? {
                if smallest || self.is_patience_gone() {
                    piece.fill(0);
                    push(lost, Extent { start: DiskOffset(at), length: length as u64 });
                } else {
                    self.read_in_pieces(DiskOffset(at), piece, self.sector, lost)?;
                }
            }
            at = at.saturating_add(length as u64);
        }
        Ok(())
    }

    /// Whether the bytes came, after at most `retries` further reads.
    fn attempt(&self, offset: DiskOffset, buffer: &mut [u8], retries: u32) -> Result<bool, ReadError> {
        for _ in 0..=retries {
            match self.disk.read_at(offset, buffer) {
                Ok(()) => return Ok(true),
                Err(ReadError::Unreadable { .. }) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    self.disk.still_there()?;
                    if self.is_patience_gone() {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn is_patience_gone(&self) -> bool {
        self.failures() > self.effort.patience
    }
}

/// Adds an extent behind all others, merged with the last one when they touch.
fn push(extents: &mut Vec<Extent>, next: Extent) {
    match extents.last_mut() {
        Some(last) if last.end() == Some(next.start) => last.length += next.length,
        _ => extents.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::Mutex;

    /// A disk in memory with faults:
    /// - `bad` sectors fail that many times each, `u32::MAX` for ever; a read fails when it touches a failing one, and
    ///   uses up one failure of every sector that it touches.
    /// - After `gone_after` reads every read is unreadable, and only `still_there` tells why.
    /// - After `shrinks_after` reads the disk ends at half its size.
    struct FaultyDisk {
        bytes: Vec<u8>,
        /// The sector size that the faults have.
        sector: u64,
        /// The sector size that the disk names.
        named_sector: u32,
        bad: Mutex<BTreeMap<u64, u32>>,
        reads: AtomicU64,
        gone_after: u64,
        shrinks_after: u64,
    }

    impl FaultyDisk {
        fn new(size: usize, bad: &[(u64, u32)]) -> Self {
            Self {
                bytes: (0..size).map(|i| (i % 251) as u8 + 1).collect(),
                sector: 512,
                named_sector: 512,
                bad: Mutex::new(bad.iter().copied().collect()),
                reads: AtomicU64::new(0),
                gone_after: u64::MAX,
                shrinks_after: u64::MAX,
            }
        }

        fn reads(&self) -> u64 {
            self.reads.load(Ordering::Relaxed)
        }
    }

    impl ReadAt for FaultyDisk {
        fn size(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn sector_size(&self) -> u32 {
            self.named_sector
        }

        fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            let reads = self.reads.fetch_add(1, Ordering::Relaxed);
            let length = buffer.len() as u64;
            let unreadable = || ReadError::Unreadable { offset, length, source: io::Error::from_raw_os_error(5) };
            if reads >= self.gone_after {
                return Err(unreadable());
            }
            let size = self.size() / 2;
            if reads >= self.shrinks_after && offset.0 + length > size {
                return Err(ReadError::BeyondEnd { offset, length, size });
            }
            let sector = self.sector;
            let mut bad = self.bad.lock().expect("no panic in here");
            let mut fails = false;
            for (_, left) in bad.range_mut(offset.0 / sector..(offset.0 + length).div_ceil(sector)) {
                fails |= *left > 0;
                if *left != u32::MAX {
                    *left = left.saturating_sub(1);
                }
            }
            if fails { Err(unreadable()) } else { self.bytes.read_at(offset, buffer) }
        }

        fn still_there(&self) -> Result<(), ReadError> {
            if self.reads() >= self.gone_after {
                return Err(ReadError::Gone { reason: "unplugged".into() });
            }
            Ok(())
        }
    }

    /// The bytes, and where what was lost begins and how long it is.
    type Read = (Vec<u8>, Vec<(u64, u64)>);

    fn read(disk: &FaultyDisk, offset: u64, length: usize) -> Result<Read, ReadError> {
        let mut buffer = vec![0xaa; length];
        let mut lost = Vec::new();
        let reader = ResilientReader::new(disk);
        reader.read(DiskOffset(offset), &mut buffer, &mut |extent| lost.push((extent.start.0, extent.length)))?;
        Ok((buffer, lost))
    }

    const FOREVER: u32 = u32::MAX;
    const MIB: usize = 1 << 20;

    #[test]
    fn a_sound_disk_is_read_once() {
        let disk = FaultyDisk::new(MIB, &[]);
        assert_eq!(read(&disk, 5, MIB - 5).expect("sound"), (disk.bytes[5..].to_vec(), vec![]));
        assert_eq!(read(&disk, MIB as u64, 0).expect("nothing"), (vec![], vec![]));
        assert_eq!(disk.reads(), 2);
    }

    #[test]
    fn bad_sectors_are_zeros_and_named_and_all_else_is_kept() {
        for sector in [512_u64, 4096] {
            // Two that touch across the border of a step, and one alone.
            let border = 65536 / sector;
            let mut disk = FaultyDisk::new(MIB, &[(border - 1, FOREVER), (border, FOREVER), (border + 7, FOREVER)]);
            (disk.sector, disk.named_sector) = (sector, sector as u32);
            let (bytes, lost) = read(&disk, 0, MIB).expect("around them");
            assert_eq!(lost, [(65536 - sector, 2 * sector), (65536 + 7 * sector, sector)]);
            let mut expected = disk.bytes.clone();
            for (start, length) in lost {
                expected[start as usize..(start + length) as usize].fill(0);
            }
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn an_unaligned_read_names_no_byte_outside_its_buffer() {
        let disk = FaultyDisk::new(10_000, &[(1, FOREVER), (3, FOREVER)]);
        let (bytes, lost) = read(&disk, 700, 1000).expect("around them");
        assert_eq!(lost, [(700, 324), (1536, 164)]);
        assert_eq!(bytes[..324], [0; 324]);
        assert_eq!(bytes[324..836], disk.bytes[1024..1536]);
        assert_eq!(bytes[836..], [0; 164]);
        // The last sector of a disk of odd size.
        let disk = FaultyDisk::new(1025, &[(2, FOREVER)]);
        assert_eq!(read(&disk, 0, 1025).expect("around it").1, [(1024, 1)]);
    }

    #[test]
    fn what_fails_a_few_times_is_read_whole() {
        // 3 tries of the whole, one of the step, 2 of the sector: the sixth succeeds.
        for failures in 1..=5 {
            let disk = FaultyDisk::new(MIB, &[(9, failures), (700, failures)]);
            assert_eq!(read(&disk, 0, MIB).expect("after retries"), (disk.bytes.clone(), vec![]), "{failures}");
        }
        let disk = FaultyDisk::new(MIB, &[(9, 6)]);
        assert_eq!(read(&disk, 0, MIB).expect("given up").1, [(9 * 512, 512)]);
    }

    #[test]
    fn an_unplugged_disk_is_gone_wherever_it_happens() {
        for gone_after in 0..400 {
            let mut disk = FaultyDisk::new(MIB, &[(3, FOREVER), (400, FOREVER)]);
            disk.gone_after = gone_after;
            match read(&disk, 0, MIB) {
                Err(ReadError::Gone { .. }) => assert!(disk.reads() <= gone_after + 1),
                // Done before it was unplugged.
                Ok(_) => assert!(gone_after > 250),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_disk_that_shrinks_is_an_error() {
        for shrinks_after in 0..10 {
            let mut disk = FaultyDisk::new(MIB, &[(3, FOREVER)]);
            disk.shrinks_after = shrinks_after;
            let mut named = 0;
            let result = ResilientReader::new(&disk).read(DiskOffset(0), &mut vec![0; MIB], &mut |_| named += 1);
            assert!(matches!(result, Err(ReadError::BeyondEnd { .. })), "{shrinks_after}: {result:?}");
            assert_eq!(named, 0);
        }
    }

    #[test]
    fn a_dead_disk_costs_bounded_effort_and_is_named_whole() {
        let all: Vec<_> = (0..2048).map(|sector| (sector, FOREVER)).collect();
        let disk = FaultyDisk::new(MIB, &all);
        assert_eq!(read(&disk, 0, MIB).expect("zeros"), (vec![0; MIB], vec![(0, MIB as u64)]));
        assert_eq!(disk.reads(), 3 + 16 + 2 * 2048);

        let disk = FaultyDisk::new(MIB, &all);
        let effort = Effort { patience: 100, ..Effort::default() };
        let reader = ResilientReader::with_effort(&disk, effort);
        let mut lost = Vec::new();
        reader.read(DiskOffset(0), &mut vec![1; MIB], &mut |extent| lost.push(extent)).expect("zeros");
        assert_eq!(lost, [Extent { start: DiskOffset(0), length: MIB as u64 }]);
        // The first step uses the patience up; its other sectors and the other steps are tried once.
        assert!(disk.reads() < 100 + 128 + 16, "{}", disk.reads());
        assert_eq!(reader.failures(), disk.reads());
    }

    #[test]
    fn a_sector_size_that_makes_no_sense_ends_nothing() {
        for (named, lost) in [(0, 512), (3, 512), (1, 512), (1 << 30, 4096)] {
            let mut disk = FaultyDisk::new(4096, &[(0, FOREVER)]);
            disk.named_sector = named;
            assert_eq!(read(&disk, 0, 4096).expect("around it").1, [(0, lost)], "{named}");
        }
    }
}
