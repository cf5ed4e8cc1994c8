//! Many files: time and memory. And the claims on an image that is named from outside, to be held against other tools.
//!
//! Both are run by hand, in release:
//!
//!     SHEAF_NTFS_FILES=1000000 cargo test --release --test ntfs -- --ignored --nocapture many
//!     SHEAF_NTFS_IMAGE=disk.img@122683392 SHEAF_NTFS_CLAIMS=claims.txt \
//!         cargo test --release --test ntfs -- --ignored --nocapture of_an_image

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use crate::build::{Attr, Body, Build, DATA, ROOT, Rec, file_name};
use crate::judge::disjoint;
use sheaf::disk::{DiskOffset, Extent, Part, ReadAt, ReadError, file_read_at, file_write_all_at};
use sheaf::layout::Claims;
use sheaf::layout::ntfs::{NtfsOptions, NtfsVolume};

/// A file as a disk.
pub struct Image(File, u64);

impl Image {
    pub fn open(path: &std::path::Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Self(file, size)
    }
}

impl ReadAt for Image {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: DiskOffset, mut buffer: &mut [u8]) -> Result<(), ReadError> {
        let (mut at, length) = (offset.0, buffer.len() as u64);
        while !buffer.is_empty() {
            match file_read_at(&self.0, buffer, at) {
                Ok(0) => return Err(ReadError::BeyondEnd { offset, length, size: self.1 }),
                Ok(count) => (buffer, at) = (&mut buffer[count..], at + count as u64),
                Err(source) => return Err(ReadError::Unreadable { offset, length, source }),
            }
        }
        Ok(())
    }
}

/// A line of `/proc/self/status`, in KiB; 0 where there is none.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Writes a volume of that many files, each of two clusters with some slack, every tenth in two runs. Only its structures are
/// written; the files are holes of the image.
fn write_volume(file: &File, files: u64) -> u64 {
    let cluster = 4096;
    let records = files + 64;
    let mut build = Build::new(cluster, 1024, records * 5 + 10_000);
    build.mft = vec![build.take(records.div_ceil(4))];
    let own = build.take(records.div_ceil(8 * cluster));
    let mft = vec![Attr::there(DATA, 1, &build.mft, cluster), Attr::there(0xb0, 3, &[own], cluster)];
    build.records.get_mut(&0).unwrap().attrs = mft;
    let base = build.take(records * 3 + 10).0;
    let head = build.head();
    file.set_len(build.clusters * cluster + 512).unwrap();
    for (at, bytes) in &head {
        file_write_all_at(file, bytes, *at).unwrap();
    }
    let mut block = Vec::new();
    for number in 64..records {
        let at = base + number * 3;
        let mut data = Attr::there(DATA, 1, &[(at, 2)], cluster).sized(cluster + 1000, cluster + 1000);
        if number % 10 == 0 {
            let Body::There(clusters) = &mut data.body else { panic!("in clusters") };
            clusters.runs = vec![(at + 1, 1), (at, 1)];
        }
        let names = [file_name(ROOT, "LONGNA~1.TXT"), file_name(ROOT, "a long name of a file.txt")];
        let [short, long] = names;
        let rec = Rec::new(vec![Attr::here(0x10, 0, [0; 72]), short, long, data]);
        block.extend_from_slice(&rec.encode(number, 1024));
        if block.len() >= 1 << 20 || number + 1 == records {
            let end = build.mft[0].0 * cluster + (number + 1) * 1024;
            file_write_all_at(file, &block, end - block.len() as u64).unwrap();
            block.clear();
        }
    }
    build.clusters * cluster + 512
}

#[test]
#[ignore = "takes a while; its figures are read by a person"]
fn many_files() {
    let files = std::env::var("SHEAF_NTFS_FILES").map_or(100_000, |text| text.parse().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    write_volume(file.as_file(), files);
    let image = Image::open(file.path());
    let before = status("VmHWM:");
    let start = Instant::now();
    let volume = NtfsVolume::open(&image).unwrap().unwrap();
    let mut claims = Claims::new();
    volume.claim(&mut claims, &NtfsOptions::default()).unwrap();
    let elapsed = start.elapsed();
    eprintln!(
        "{files} files: {:.3} s, {} streams, {} slack, {} free; peak {} MiB, {} MiB before",
        elapsed.as_secs_f64(),
        claims.streams().count(),
        claims.slack_extents().len(),
        claims.free_extents().len(),
        status("VmHWM:") >> 10,
        before >> 10,
    );
    for note in crate::judge::notes(&claims) {
        eprintln!("  {note}");
    }
    assert!(claims.streams().count() as u64 > files);
}

#[test]
#[ignore = "needs an image that is named"]
fn the_claims_of_an_image() {
    let name = std::env::var("SHEAF_NTFS_IMAGE").expect("SHEAF_NTFS_IMAGE=path@offset[+length]");
    let (path, place) = name.rsplit_once('@').unwrap_or((&name, "0"));
    let (start, length) = place.split_once('+').unwrap_or((place, "18446744073709551615"));
    let extent = Extent { start: DiskOffset(start.parse().unwrap()), length: length.parse().unwrap() };
    let image = Image::open(path.as_ref());
    let part = Part::new(&image, extent);
    let start = Instant::now();
    let volume = NtfsVolume::open(&part).unwrap().expect("NTFS");
    let mut claims = Claims::new();
    volume.claim(&mut claims, &NtfsOptions::default()).unwrap();
    eprintln!("{:.3} s, peak {} MiB; {:?}", start.elapsed().as_secs_f64(), status("VmHWM:") >> 10, volume.facts());
    eprintln!("doubts free: {}; unclaimed: {}", claims.doubts_free(), crate::judge::unclaimed(&claims, part.size()));
    for note in crate::judge::notes(&claims) {
        eprintln!("  {note}");
    }
    if let Ok(path) = std::env::var("SHEAF_NTFS_CLAIMS") {
        let mut out = BufWriter::new(File::create(path).unwrap());
        let base = part.extent().start.0;
        let text = |extents: &[Extent]| {
            let parts = extents.iter().map(|extent| format!("{}+{}", base + extent.start.0, extent.length));
            parts.collect::<Vec<_>>().join(" ")
        };
        for (content, extents) in claims.streams() {
            writeln!(out, "{content:?} {}", text(extents)).unwrap();
        }
        writeln!(out, "slack {}", text(claims.slack_extents())).unwrap();
        writeln!(out, "scratch {}", text(claims.scratch_extents())).unwrap();
        writeln!(out, "free {}", text(claims.free_extents())).unwrap();
    }
    disjoint(&claims, part.size());
}
