//! FAT and exFAT volumes: made by hand, hostile ones among them, and made by the tools that there are.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

mod build;
mod check;
mod exfat;
mod exfat_files;
mod exfat_trees;
mod fat;
mod fat_files;
mod named;
mod tools;
mod trees;
mod walk;

use sheaf::disk::{DiskOffset, Extent, ReadAt};
use sheaf::layout::{Claims, Content};

/// The bytes that each file's stream goes through, in the order of the claims.
fn files(volume: &dyn ReadAt, claims: &Claims) -> Vec<Vec<u8>> {
    let streams = claims.streams().filter(|(content, _)| *content == Content::File);
    let read = |extent: &Extent| {
        let mut bytes = vec![0; extent.length as usize];
        volume.read_at(extent.start, &mut bytes).expect("inside the volume");
        bytes
    };
    streams.map(|(_, extents)| extents.iter().flat_map(read).collect()).collect()
}

fn total(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.length).sum()
}

fn notes(claims: &Claims) -> String {
    claims.notes().iter().map(|note| format!("{}: {}\n", note.cause, note.consequence)).collect()
}

fn extent(start: usize, length: usize) -> Extent {
    Extent { start: DiskOffset(start as u64), length: length as u64 }
}
