//! What reading a disk through a VHD or VHDX costs, beside reading the raw file.
//!
//! `cargo bench --bench containers -- IMAGE [ROUNDS]`
//!
//! Makes a dynamic VHD and VHDX of the image in the temporary folder, then reads the disk from each of the three files in turn, every byte
//! that may be data, in blocks of 4 MiB as a backup does, and prints the medians. All files are read once before, so that the page
//! cache serves all alike. Needs room for two copies of the image's data.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use sheaf::disk::{DiskOffset, ReadAt, file_write_all_at};
use sheaf::image::composed::ComposedFile;
use sheaf::image::container::Composed;
use sheaf::image::vhd::{self, VhdIdentity, VhdLayout};
use sheaf::image::vhdx::{self, Guid, VhdxIdentity, VhdxLayout, VhdxParameters};
use sheaf::image::{RawDisk, Source, SourceFormat};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const BLOCK: u64 = 4 << 20;

/// Calls for each piece of the disk that may be data.
fn pieces(disk: &dyn ReadAt, mut each: impl FnMut(u64, &[u8])) -> u64 {
    let (mut at, mut read, mut buffer) = (0, 0, vec![0; BLOCK as usize]);
    while let Some(Range { start, end }) = disk.next_data(DiskOffset(at)).unwrap() {
        at = end.min((start / BLOCK + 1) * BLOCK);
        let piece = &mut buffer[..(at - start) as usize];
        disk.read_at(DiskOffset(start), piece).unwrap();
        each(start, piece);
        read += at - start;
    }
    read
}

fn write(disk: &Arc<RawDisk>, layout: Box<dyn Composed>, path: &Path) {
    let composed = ComposedFile::new(Arc::clone(disk) as _, layout).unwrap();
    let file = File::create(path).unwrap();
    file.set_len(composed.size()).unwrap();
    pieces(&composed, |at, bytes| file_write_all_at(&file, bytes, at).unwrap());
    file.sync_all().unwrap();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(image) = arguments.first().map(Path::new) else {
        println!("nothing to do: cargo bench --bench containers -- IMAGE [ROUNDS]");
        return;
    };
    let rounds = arguments.get(1).map_or(9, |rounds| rounds.parse().expect("a number of rounds"));
    let disk = Arc::new(RawDisk::open(image).unwrap());
    let data: Vec<Range<u64>> = {
        let (mut at, mut data) = (0, Vec::new());
        while let Some(run) = disk.next_data(DiskOffset(at)).unwrap() {
            at = run.end;
            data.push(run);
        }
        data
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let identity = VhdIdentity { identifier: [1; 16], time_stamp: 1, geometry: None, creator: None };
    let layout = VhdLayout::dynamic(disk.size(), data.clone(), vhd::DEFAULT_BLOCK_SIZE, identity).unwrap();
    write(&disk, Box::new(layout), &path("disk.vhd"));
    let id = Guid([1; 16]);
    let parameters = VhdxParameters {
        block_size: vhdx::DEFAULT_BLOCK_SIZE,
        is_fixed: false,
        logical_sector_size: 512,
        physical_sector_size: 4096,
        identity: VhdxIdentity { creator: "bench".into(), disk_id: id, file_write_id: id, data_write_id: id },
    };
    let layout = VhdxLayout::new(disk.size(), data, parameters).unwrap();
    write(&disk, Box::new(layout), &path("disk.vhdx"));

    let sources = [
        ("raw", Source::open(image, Some(SourceFormat::Raw), &[]).unwrap()),
        ("vhd", Source::open(&path("disk.vhd"), None, &[]).unwrap()),
        ("vhdx", Source::open(&path("disk.vhdx"), None, &[]).unwrap()),
    ];
    let mut times = vec![Vec::new(); sources.len()];
    for round in 0..=rounds {
        for (source, times) in sources.iter().zip(&mut times) {
            let began = Instant::now();
            let read = pieces(&source.1, |_, bytes| _ = std::hint::black_box(bytes));
            // The first round fills the cache.
            if round > 0 {
                times.push((began.elapsed().as_secs_f64(), read));
            }
        }
    }
    let medians = times.iter_mut().map(|times| {
        times.sort_by(|one, other| one.0.total_cmp(&other.0));
        times[times.len() / 2]
    });
    let medians: Vec<(f64, u64)> = medians.collect();
    println!("median of {rounds} rounds; {} bytes of disk", disk.size());
    for ((name, _), (seconds, read)) in sources.iter().zip(&medians) {
        let rate = *read as f64 / f64::from(1 << 20) / seconds;
        println!(
            "{name:5} {seconds:8.3} s  {:6} MiB read  {rate:8.0} MiB/s  {:.3} of raw",
            read >> 20,
            seconds / medians[0].0
        );
    }
}
