//! A sparse disk in memory, and the comparison of disks.

use std::collections::BTreeMap;
use std::ops::Range;

use sheaf::disk::{DiskOffset, ReadAt, ReadError, is_zero};
use sheaf::image::container::{Place, Run};
use sheaf::image::vhdx::VhdxDisk;

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
const PAGE: u64 = 4096;

/// A disk that keeps the pages that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    size: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Model {
    pub fn new(size: u64) -> Self {
        Self { size, pages: BTreeMap::new() }
    }

    /// A disk with some bytes near its start, its end, and a few places in between, which depend on the seed.
    pub fn with_data(size: u64, seed: u64) -> Self {
        let mut model = Self::new(size);
        model.write(0, &bytes(seed, 5000.min(size as usize)));
        model.write(size - 700.min(size), &bytes(seed + 1, 700.min(size as usize)));
        for part in 1..8 {
            let at = size / 8 * part;
            let length = (3 * MIB / part).min(size - at) as usize;
            if part != 3 && part != 6 {
                model.write(at, &bytes(seed + 1 + part, length));
            }
        }
        model
    }

    pub fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let mut at = offset;
        assert!(offset + bytes.len() as u64 <= self.size);
        while !bytes.is_empty() {
            let inside = (at % PAGE) as usize;
            let count = bytes.len().min(PAGE as usize - inside);
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![0; PAGE as usize]);
            page[inside..inside + count].copy_from_slice(&bytes[..count]);
            at += count as u64;
            bytes = &bytes[count..];
        }
    }

    /// Where data may be, in rising order.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        let pages = self.pages.iter().filter(|(_, page)| !is_zero(page));
        pages.map(|(page, _)| page * PAGE..(page * PAGE + PAGE).min(self.size)).collect()
    }
}

impl ReadAt for Model {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        assert!(offset.0 + buffer.len() as u64 <= self.size);
        let mut at = offset.0;
        let mut rest = buffer;
        while !rest.is_empty() {
            let inside = (at % PAGE) as usize;
            let count = rest.len().min(PAGE as usize - inside);
            let (piece, behind) = rest.split_at_mut(count);
            match self.pages.get(&(at / PAGE)) {
                Some(page) => piece.copy_from_slice(&page[inside..inside + count]),
                None => piece.fill(0),
            }
            at += count as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        if from.0 >= self.size {
            return Ok(None);
        }
        let next = self.pages.range(from.0 / PAGE..).next();
        Ok(next.map(|(page, _)| (page * PAGE).max(from.0)..(page * PAGE + PAGE).min(self.size)))
    }
}

/// Bytes that depend on a seed, none of them zero.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8 | 1
        })
        .collect()
}

/// Whether both disks have the same bytes. What both call empty is not read.
pub fn assert_same(found: &dyn ReadAt, expected: &dyn ReadAt) {
    assert_eq!(found.size(), expected.size());
    let mut at = 0;
    while at < found.size() {
        let next = [found, expected].map(|disk| disk.next_data(DiskOffset(at)).unwrap());
        let Some(start) = next.into_iter().flatten().map(|data| data.start).min() else { break };
        let length = MIB.min(found.size() - start) as usize;
        let mut both = [vec![1; length], vec![2; length]];
        found.read_at(DiskOffset(start), &mut both[0]).unwrap();
        expected.read_at(DiskOffset(start), &mut both[1]).unwrap();
        if both[0] != both[1] {
            let difference = both[0].iter().zip(&both[1]).position(|(found, expected)| found != expected);
            panic!("the byte at {:?} differs", difference.map(|index| start + index as u64));
        }
        at = start + length as u64;
    }
}

/// Checks that the runs of a disk cover it once, are not to be merged, and say where its bytes are.
pub fn check_runs(disk: &VhdxDisk, file: &dyn ReadAt) {
    let runs: Vec<Run> = disk.runs(0..u64::MAX).map(Result::unwrap).collect();
    let mut at = 0;
    for run in &runs {
        assert_eq!((run.start.0, run.length > 0), (at, true));
        at += run.length;
        let length = run.length.min(64 << 10) as usize;
        for start in [run.start.0, at - length as u64] {
            let (mut found, mut expected) = (vec![1; length], vec![0; length]);
            disk.read_at(DiskOffset(start), &mut found).unwrap();
            match run.place {
                Place::Zero => {}
                Place::File(place) => {
                    file.read_at(DiskOffset(place.0 + start - run.start.0), &mut expected).unwrap();
                }
                Place::Parent => disk.parent().unwrap().read_at(DiskOffset(start), &mut expected).unwrap(),
            }
            assert_eq!(found, expected, "{run:?}");
        }
    }
    assert_eq!(at, disk.size());
    for pair in runs.windows(2) {
        let goes_on = match (pair[0].place, pair[1].place) {
            (Place::File(first), Place::File(second)) => first.0 + pair[0].length == second.0,
            (first, second) => first == second,
        };
        assert!(!goes_on, "{pair:?}");
    }
    // A part of the disk gives the same runs, cut.
    let (start, end) = (disk.size() / 3, disk.size() / 3 * 2);
    let part = disk.runs(start..end).map(Result::unwrap);
    let cut = runs.iter().filter_map(|run| {
        let (from, to) = (run.start.0.max(start), (run.start.0 + run.length).min(end));
        let place = match run.place {
            Place::File(place) => {
                Place::File(sheaf::image::container::FileOffset(place.0 + from.saturating_sub(run.start.0)))
            }
            place => place,
        };
        (from < to).then(|| Run { start: DiskOffset(from), length: to - from, place })
    });
    assert_eq!(part.collect::<Vec<_>>(), cut.collect::<Vec<_>>());
}
