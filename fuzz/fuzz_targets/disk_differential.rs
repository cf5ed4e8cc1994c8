//! VHD and VHDX files against libvhdi: a disk that both read has the same size and the same bytes.
//!
//! The input makes a file, of either format and of every kind, with its parent where it has one; then it edits a few bytes
//! of them, in block tables, bitmaps, data, and anywhere else; then the checksums are made right again, mostly. What the two
//! readers refuse is counted and not compared: each is strict in its own way. Where they read other bytes, the
//! specification decides; what libvhdi is known to read wrongly is left out, in `vhd::is_excused`, `vhdx::is_excused` and
//! `compare` below, with the section that says so.
//!
//! Not compared besides: a VHDX with a pending log, which libvhdi does not replay.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/vhdx/build.rs"]
mod build;
#[path = "differential/image.rs"]
mod image;
#[path = "differential/input.rs"]
mod input;
#[path = "differential/libvhdi.rs"]
mod libvhdi;
#[allow(dead_code)]
#[path = "../../tests/vhdx/model.rs"]
mod model;
#[path = "differential/vhd.rs"]
mod vhd;
#[path = "differential/vhdx.rs"]
mod vhdx;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use image::{Image, Shown};
use input::Input;
use libfuzzer_sys::fuzz_target;
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::image::ImageError;
use sheaf::image::container::{FindParent, ParentHint};
use sheaf::image::vhd::{VhdDisk, VhdWarning};
use sheaf::image::vhdx::VhdxDisk;

/// Bytes that are read on either side of a place.
const READ: u64 = 4 << 10;
/// Edits of one input.
const EDITS: usize = 6;
/// Bytes that libvhdi is asked for at once, from a multiple of them on. In a VHD with blocks of less than 2 MiB it takes the
/// padding behind a block's bitmap for bits of that block (libvhdi_block_descriptor_read_sector_bitmap_data), and so reads on
/// behind the block's end in what is not the next block; "Block Allocation Table (BAT) and Data Blocks" pads the bitmap to a
/// sector boundary, and its bits are the block's sectors. No block that it reads is smaller than this.
const PIECE: u64 = 4096;
/// How often the counts are shown, in inputs.
const SHOW: u64 = 10_000;

/// How many inputs or sectors came to what.
struct Counts {
    inputs: AtomicU64,
    compared: AtomicU64,
    only_sheaf: AtomicU64,
    only_libvhdi: AtomicU64,
    neither: AtomicU64,
    other_size: AtomicU64,
    left_out: AtomicU64,
    sectors: AtomicU64,
    excused: AtomicU64,
    unread: AtomicU64,
}

static COUNTS: Counts = Counts {
    inputs: AtomicU64::new(0),
    compared: AtomicU64::new(0),
    only_sheaf: AtomicU64::new(0),
    only_libvhdi: AtomicU64::new(0),
    neither: AtomicU64::new(0),
    other_size: AtomicU64::new(0),
    left_out: AtomicU64::new(0),
    sectors: AtomicU64::new(0),
    excused: AtomicU64::new(0),
    unread: AtomicU64::new(0),
};

fn count(what: &AtomicU64) -> u64 {
    what.fetch_add(1, Ordering::Relaxed) + 1
}

fn show() {
    let Counts { compared, only_sheaf, only_libvhdi, neither, other_size, left_out, sectors, excused, unread, .. } =
        &COUNTS;
    let [compared, only_sheaf, only_libvhdi, neither, other_size, left_out, sectors, excused, unread] =
        [compared, only_sheaf, only_libvhdi, neither, other_size, left_out, sectors, excused, unread]
            .map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "inputs: {compared} compared, {only_sheaf} opened by Sheaf alone, {only_libvhdi} by libvhdi alone, \
         {neither} by neither, {other_size} with two sizes, {left_out} left out; \
         sectors: {sectors} the same, {excused} excused, {unread} not read by libvhdi"
    );
}

/// The one parent that there is, whoever asks for it.
struct Parent(Option<Arc<Image>>);

impl FindParent for Parent {
    fn find(&self, _: &ParentHint) -> Result<Option<Arc<dyn ReadAt>>, ImageError> {
        Ok(self.0.clone().map(|file| file as Arc<dyn ReadAt>))
    }
}

enum Disk {
    Vhd(Box<VhdDisk>),
    Vhdx(Box<VhdxDisk>),
}

impl Disk {
    fn open(images: &[Arc<Image>], is_vhdx: bool) -> Option<Self> {
        let file = Arc::clone(&images[0]) as Arc<dyn ReadAt>;
        let parent = Parent(images.get(1).cloned());
        if is_vhdx {
            VhdxDisk::open(file, &parent).ok().map(Box::new).map(Self::Vhdx)
        } else {
            VhdDisk::open(file, &parent).ok().map(Box::new).map(Self::Vhd)
        }
    }

    fn as_read(&self) -> &dyn ReadAt {
        match self {
            Self::Vhd(disk) => &**disk,
            Self::Vhdx(disk) => &**disk,
        }
    }

    /// Whether libvhdi cannot be expected to see this disk.
    fn is_left_out(&self, images: &[Arc<Image>]) -> bool {
        match self {
            // "Hard Disk Footer Format": a footer whose checksum is wrong is corrupt, and its copy counts. libvhdi checks no
            // checksum, and goes by the corrupt one.
            Self::Vhd(disk) => disk.warnings().iter().any(|warning| {
                let in_parent = |warning: &VhdWarning| matches!(warning, VhdWarning::FooterDamaged { .. });
                in_parent(warning) || matches!(warning, VhdWarning::InParent { warning, .. } if in_parent(warning))
            }),
            Self::Vhdx(disk) => {
                let has_log = |disk: &VhdxDisk| disk.facts().replayed_entries > 0;
                has_log(disk)
                    || disk.parent().is_some_and(has_log)
                    || images.iter().any(|image| vhdx::has_users_metadata(image))
            }
        }
    }

    /// Whether the sector at an offset is known to be another one to libvhdi.
    fn is_excused(&self, images: &[Arc<Image>], offset: u64) -> bool {
        match self {
            Self::Vhd(_) => vhd::is_excused(images, offset),
            Self::Vhdx(disk) => {
                let chain: Vec<_> = std::iter::successors(Some(&**disk), |disk| disk.parent()).collect();
                let blocks: Vec<u64> = chain.iter().map(|disk| disk.facts().block_size.into()).collect();
                let is_fixed = chain.last().is_some_and(|disk| disk.facts().is_fixed);
                vhdx::is_excused(images, &blocks, disk.sector_size().into(), is_fixed, offset)
            }
        }
    }
}

/// Parts of the disk that are worth reading: all of a small one, or its ends, the borders of the blocks where something is,
/// and a part in each of these, `inside` sectors from its start.
fn parts(images: &[Arc<Image>], size: u64, inside: u64) -> Vec<Range<u64>> {
    if size <= 16 * READ {
        return std::iter::once(0..size).collect();
    }
    let mut middles = BTreeSet::from([0, size]);
    for image in images {
        for block in &image.blocks {
            let start = block * image.block;
            middles.extend([start, start + inside * 512 % image.block, start + image.block]);
        }
    }
    let parts = middles.into_iter().map(|at| at.saturating_sub(READ).min(size)..(at + READ).min(size));
    parts.filter(|part| !part.is_empty()).collect()
}

fn compare(disk: &Disk, other: &libvhdi::Disk, images: &[Arc<Image>], part: Range<u64>) {
    let mut bytes = vec![0xaa; (part.end - part.start) as usize];
    disk.as_read().read_at(DiskOffset(part.start), &mut bytes).expect("what opened in memory is read");
    let mut at = part.start;
    while at < part.end {
        let end = ((at / PIECE + 1) * PIECE).min(part.end);
        let found = &bytes[(at - part.start) as usize..(end - part.start) as usize];
        let mut read = vec![0x55; found.len()];
        if other.read(at, &mut read) {
            for (sector, (found, read)) in found.chunks(512).zip(read.chunks(512)).enumerate() {
                let offset = at + sector as u64 * 512;
                if found == read {
                    count(&COUNTS.sectors);
                } else if disk.is_excused(images, offset) {
                    count(&COUNTS.excused);
                } else {
                    panic!("the sector at {offset} is {found:02x?} to Sheaf and {read:02x?} to libvhdi");
                }
            }
        } else {
            count(&COUNTS.unread);
        }
        at = end;
    }
}

static SHOWN: LazyLock<[Shown; 2]> = LazyLock::new(|| [Shown::new(), Shown::new()]);

fuzz_target!(|data: &[u8]| {
    if count(&COUNTS.inputs).is_multiple_of(SHOW) {
        show();
    }
    let mut input = Input::new(data);
    let choices = input.byte();
    let is_vhdx = choices & 1 != 0;
    let mut images = if is_vhdx { vhdx::make(&mut input) } else { vhd::make(&mut input) };
    let mut is_edited = [false; 2];
    for _ in 0..EDITS {
        if input.is_empty() {
            break;
        }
        let which = usize::from(input.byte()) % images.len();
        is_edited[which] = true;
        let edit = if is_vhdx { vhdx::edit } else { vhd::edit };
        edit(&mut images[which], &mut input);
    }
    for (image, _) in images.iter_mut().zip(is_edited).filter(|(_, is_edited)| *is_edited && choices & 6 != 0) {
        if is_vhdx { vhdx::seal(image) } else { vhd::seal(image) }
    }
    let images: Vec<Arc<Image>> = images.into_iter().map(Arc::new).collect();
    let disk = Disk::open(&images, is_vhdx);

    let _leaks = libvhdi::LeaksAllowed::new();
    let mut other = None;
    if !images.iter().any(|image| vhdx::is_harmful(image)) {
        for (image, shown) in images.iter().zip(&*SHOWN).rev() {
            shown.show(image);
            let parent = other.take();
            other = libvhdi::Disk::open(&shown.path(), parent);
            if other.is_none() {
                break;
            }
        }
    }
    match (disk, other) {
        (Some(disk), Some(other)) => {
            let size = disk.as_read().size();
            if disk.is_left_out(&images) {
                count(&COUNTS.left_out);
            } else if other.size() != Some(size) {
                count(&COUNTS.other_size);
            } else {
                count(&COUNTS.compared);
                for part in parts(&images, size, input.inside) {
                    compare(&disk, &other, &images, part);
                }
            }
        }
        (disk, other) => {
            // What was only made is sound to both.
            assert!(is_edited != [false; 2], "Sheaf: {}, libvhdi: {}", disk.is_some(), other.is_some());
            count(match (disk, other) {
                (Some(_), _) => &COUNTS.only_sheaf,
                (None, Some(_)) => &COUNTS.only_libvhdi,
                (None, None) => &COUNTS.neither,
            });
        }
    }
});
