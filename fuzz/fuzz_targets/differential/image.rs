//! A file in memory that can be edited, and what of its disk is worth reading.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::image::container::Composed;

use crate::model::Model;

/// A file, and what its edits need to know.
pub struct Image {
    pub file: Model,
    /// Bytes of a block when it was made; an edit may have changed what the file says.
    pub block: u64,
    /// The blocks where something is.
    pub blocks: Vec<u64>,
}

impl Image {
    /// The file of a layout over a disk, with room for `more` bytes behind it.
    pub fn compose(disk: &Model, layout: &dyn Composed, more: u64, block: u64, blocks: Vec<u64>) -> Self {
        let mut file = Model::new(layout.file_size() + more);
        for (at, bytes) in layout.metadata() {
            file.write(at.0, bytes);
        }
        for range in disk.ranges() {
            let mut at = range.start;
            while at < range.end {
                let (place, length) = layout.place(DiskOffset(at));
                let mut bytes = vec![0; length.min(range.end - at) as usize];
                disk.read_at(DiskOffset(at), &mut bytes).expect("in memory");
                file.write(place.expect("data has a place").0, &bytes);
                at += bytes.len() as u64;
            }
        }
        Self { file, block, blocks }
    }

    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        if at.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.file.size()) {
            self.file.write(at, bytes);
        }
    }

    /// Bytes of the file, where it has them.
    pub fn bytes<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read_at(DiskOffset(at), &mut bytes).ok().map(|()| bytes)
    }

    pub fn byte(&self, at: u64) -> Option<u8> {
        self.bytes(at).map(|[byte]| byte)
    }
}

/// As the model, which is for readers that keep to its end; those of files need not.
impl ReadAt for Image {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let (length, size) = (buffer.len() as u64, self.size());
        if offset.0.checked_add(length).is_none_or(|end| end > size) {
            return Err(ReadError::BeyondEnd { offset, length, size });
        }
        self.file.read_at(offset, buffer)
    }
}

/// A file without a name in memory, where libvhdi finds an image.
pub struct Shown(File);

impl Shown {
    pub fn new() -> Self {
        let path = format!("/dev/shm/sheaf-fuzz-{}", std::process::id());
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("made in /dev/shm");
        std::fs::remove_file(&path).expect("unlinked");
        Self(file)
    }

    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    /// Makes it the image's file.
    pub fn show(&self, image: &Image) {
        self.0.set_len(0).expect("emptied");
        self.0.set_len(image.size()).expect("zeros");
        for range in image.file.ranges() {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            image.file.read_at(DiskOffset(range.start), &mut bytes).expect("in memory");
            self.0.write_all_at(&bytes, range.start).expect("written");
        }
    }
}
