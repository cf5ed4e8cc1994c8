//! A composed container read as a file of its own: its metadata, the disk's bytes in place, zeros between.
//!
//! Always true here:
//! - The layout was checked when the file was opened: metadata and runs of the disk rise, stay inside of the file, and do
//!   not overlap. So every byte of the file has one origin, and a pass over the file reads the disk from its start to its
//!   end.
//! - Nothing is stored: memory grows with the number of stretches, not with the disk.

use super::container::{Composed, FileOffset};
use super::data_search::{DataSearch, joined};
use crate::disk::{DiskOffset, ReadAt, ReadError, check_range};
use std::ops::Range;
use std::sync::Arc;

/// Why a layout is not one of a file: a fault of what composed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the layout of the new container is not sound: {problem} at file offset {}", offset.0)]
pub struct ComposeError {
    /// What is wrong.
    pub problem: &'static str,
    /// Where in the container file.
    pub offset: FileOffset,
}

/// A run of the disk in the file.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    file: u64,
    disk: u64,
    length: u64,
}

/// Where a byte of the file comes from.
enum Origin<'a> {
    Metadata(&'a [u8]),
    Disk(DiskOffset),
    Nothing,
}

/// A composed container as a disk of its own.
pub struct ComposedFile {
    disk: Arc<dyn ReadAt>,
    layout: Box<dyn Composed>,
    /// By file offset, and by disk offset as well.
    stretches: Vec<Stretch>,
}

impl ComposedFile {
    /// Puts a layout over its disk.
    ///
    /// # Errors
    /// [`ComposeError`] when the layout overlaps itself, leaves the file, does not rise or does not move on.
    pub fn new(disk: Arc<dyn ReadAt>, layout: Box<dyn Composed>) -> Result<Self, ComposeError> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut at = 0;
        while at < disk.size() {
            let (place, length) = layout.place(DiskOffset(at));
            let length = length.min(disk.size() - at);
            if length == 0 {
                let offset = place.unwrap_or_default();
                return Err(ComposeError { problem: "a stretch of the disk without bytes", offset });
            }
            if let Some(file) = place {
                match stretches.last_mut() {
                    Some(last) if last.file + last.length == file.0 && last.disk + last.length == at => {
                        last.length += length;
                    }
                    _ => stretches.push(Stretch { file: file.0, disk: at, length }),
                }
            }
            at += length;
        }
        let composed = Self { disk, layout, stretches };
        composed.check()?;
        Ok(composed)
    }

    /// Walks over everything that has a place, in the order of the file.
    fn check(&self) -> Result<(), ComposeError> {
        let wrong = |problem, offset| Err(ComposeError { problem, offset: FileOffset(offset) });
        let metadata = self.layout.metadata().iter().map(|(offset, bytes)| (offset.0, bytes.len() as u64));
        let mut metadata = metadata.peekable();
        let mut stretches = self.stretches.iter().map(|stretch| (stretch.file, stretch.length)).peekable();
        let mut end = 0;
        loop {
            let next = match (metadata.peek(), stretches.peek()) {
                (Some(one), Some(other)) if one.0 <= other.0 => metadata.next(),
                (_, Some(_)) => stretches.next(),
                (_, None) => metadata.next(),
            };
            let Some((start, length)) = next else {
                return Ok(());
            };
            if start < end {
                return wrong("bytes that overlap others or do not rise", start);
            }
            end = match start.checked_add(length) {
                Some(end) if end <= self.size() => end,
                _ => return wrong("bytes beyond the end of the file", start),
            };
        }
    }

    /// Where the byte at `at` comes from, and the end of what has the same origin.
    fn origin(&self, at: u64) -> (Origin<'_>, u64) {
        let metadata = self.layout.metadata();
        let next = metadata.partition_point(|(start, bytes)| start.0 + bytes.len() as u64 <= at);
        let mut end = self.size();
        if let Some((start, bytes)) = metadata.get(next) {
            if start.0 <= at {
                let inside = usize::try_from(at - start.0).unwrap_or(usize::MAX);
                return (Origin::Metadata(bytes.get(inside..).unwrap_or_default()), start.0 + bytes.len() as u64);
            }
            end = end.min(start.0);
        }
        let next = self.stretches.partition_point(|stretch| stretch.file + stretch.length <= at);
        if let Some(stretch) = self.stretches.get(next) {
            if stretch.file <= at {
                return (Origin::Disk(DiskOffset(stretch.disk + (at - stretch.file))), stretch.file + stretch.length);
            }
            end = end.min(stretch.file);
        }
        (Origin::Nothing, end)
    }

    /// The first run of data in a range of the file.
    fn first_data(&self, range: &Range<u64>, search: &mut DataSearch<'_>) -> Result<Option<Range<u64>>, ReadError> {
        let mut at = range.start;
        while at < range.end {
            let (origin, end) = self.origin(at);
            let end = end.min(range.end);
            match origin {
                Origin::Metadata(_) => return Ok(Some(at..end)),
                Origin::Disk(disk) => {
                    let found = search.first_in(&(disk.0..disk.0 + (end - at))).map_err(|error| moved(error, at))?;
                    if let Some(data) = found {
                        return Ok(Some(at + (data.start - disk.0)..at + (data.end - disk.0)));
                    }
                }
                Origin::Nothing => {}
            }
            at = end;
        }
        Ok(None)
    }
}

impl ReadAt for ComposedFile {
    fn size(&self) -> u64 {
        self.layout.file_size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        check_range(offset, length, self.size())?;
        let (mut at, mut rest) = (offset.0, buffer);
        while !rest.is_empty() {
            let (origin, end) = self.origin(at);
            let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(rest.len());
            let (part, behind) = rest.split_at_mut(count);
            match origin {
                Origin::Metadata(bytes) => part.copy_from_slice(bytes.get(..count).unwrap_or_default()),
                Origin::Disk(disk) => self.disk.read_at(disk, part).map_err(|error| moved(error, at))?,
                Origin::Nothing => part.fill(0),
            }
            at += count as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<Range<u64>>, ReadError> {
        let mut search = DataSearch::new(&*self.disk);
        joined(from.0, self.size(), |range| self.first_data(&range, &mut search))
    }

    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn still_there(&self) -> Result<(), ReadError> {
        self.disk.still_there()
    }
}

/// An error of the disk, told of the file: it begins where the reading of the disk began.
fn moved(error: ReadError, at: u64) -> ReadError {
    match error {
        ReadError::Unreadable { length, source, .. } => {
            ReadError::Unreadable { offset: DiskOffset(at), length, source }
        }
        ReadError::Damaged { reason, .. } => ReadError::Damaged { offset: DiskOffset(at), reason },
        // Sizes are the disk's own; its offsets go with them.
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A disk of blocks, kept or left out, each kept one behind a byte of metadata, and one such byte at the end.
    struct Blocks {
        block: u64,
        kept: Vec<bool>,
        metadata: Vec<(FileOffset, Arc<[u8]>)>,
        size: u64,
    }

    impl Blocks {
        fn new(block: u64, kept: &[bool]) -> Self {
            let count = kept.iter().filter(|kept| **kept).count() as u64;
            let metadata = (0..=count).map(|i| (FileOffset(i * (block + 1)), Arc::from([0xee]))).collect();
            Self { block, kept: kept.to_vec(), metadata, size: count * (block + 1) + 1 }
        }
    }

    impl Composed for Blocks {
        fn file_size(&self) -> u64 {
            self.size
        }

        fn metadata(&self) -> &[(FileOffset, Arc<[u8]>)] {
            &self.metadata
        }

        fn place(&self, offset: DiskOffset) -> (Option<FileOffset>, u64) {
            let (index, inside) = (offset.0 / self.block, offset.0 % self.block);
            let before = self.kept[..index as usize].iter().filter(|kept| **kept).count() as u64;
            let place = self.kept[index as usize].then_some(FileOffset(before * (self.block + 1) + 1 + inside));
            (place, self.block - inside)
        }
    }

    proptest! {
        #[test]
        fn every_range_reads_as_the_whole_file_says(
            kept in prop::collection::vec(any::<bool>(), 1..20), cut in 0..7_usize, from in 0..200_usize, length in 0..200_usize,
        ) {
            let disk: Vec<u8> = (0..kept.len() * 7 - cut).map(|i| i as u8 | 1).collect();
            let mut expected = vec![0xee];
            for (chunk, _) in disk.chunks(7).zip(&kept).filter(|(_, kept)| **kept) {
                let mut chunk = chunk.to_vec();
                chunk.resize(7, 0);
                expected.extend(chunk);
                expected.push(0xee);
            }
            let file = ComposedFile::new(Arc::new(disk), Box::new(Blocks::new(7, &kept))).expect("sound");
            prop_assert_eq!(file.size(), expected.len() as u64);
            let from = from.min(expected.len());
            let length = length.min(expected.len() - from);
            let mut read = vec![1; length];
            file.read_at(DiskOffset(from as u64), &mut read).expect("inside");
            prop_assert_eq!(&read[..], &expected[from..from + length]);
            // What is left out is zeros.
            let mut at = from as u64;
            while let Some(run) = file.next_data(DiskOffset(at)).expect("told") {
                prop_assert!(run.start >= at && run.start < run.end && run.end <= file.size());
                prop_assert!(expected[at as usize..run.start as usize].iter().all(|byte| *byte == 0));
                at = run.end;
            }
            prop_assert!(expected[at as usize..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        let disk: Arc<dyn ReadAt> = Arc::new(vec![1; 21]);
        let faults: [fn(&mut Blocks); 4] = [
            |layout| layout.size -= 1,
            |layout| layout.metadata[1].0.0 += 1,
            |layout| layout.metadata.swap(0, 1),
            |layout| layout.metadata[0].1 = Arc::from([0; 2]),
        ];
        for fault in faults {
            let mut layout = Blocks::new(7, &[true; 3]);
            fault(&mut layout);
            assert!(ComposedFile::new(Arc::clone(&disk), Box::new(layout)).is_err());
        }
    }

    #[test]
    fn a_read_beyond_the_end_is_an_error() {
        let file = ComposedFile::new(Arc::new(vec![1; 7]), Box::new(Blocks::new(7, &[true]))).expect("sound");
        let beyond = file.read_at(DiskOffset(8), &mut [0; 2]);
        assert!(matches!(beyond, Err(ReadError::BeyondEnd { size: 9, .. })));
        assert!(matches!(file.read_at(DiskOffset(u64::MAX), &mut [0]), Err(ReadError::BeyondEnd { .. })));
    }
}
