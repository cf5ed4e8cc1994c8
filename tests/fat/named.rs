//! Volumes that are named from outside, compared with what other programs find there.

use super::trees::{all, same_as_folder, same_as_mtools};
use super::walk;
use sheaf::disk::ReadAt;
use sheaf::image::RawDisk;
use sheaf::layout::fat::FatVolume;
use sheaf::layout::partitions;
use std::path::Path;
use std::sync::Arc;

/// The FAT volumes of the images in `SHEAF_TEST_DISKS`, with `:` between: as mtools reads them.
#[test]
fn named_disks_have_the_files_that_mtools_finds() {
    let Ok(paths) = std::env::var("SHEAF_TEST_DISKS") else {
        eprintln!("skipped: SHEAF_TEST_DISKS names no images");
        return;
    };
    for path in paths.split(':') {
        let disk = RawDisk::open(Path::new(path)).expect("opens");
        for partition in partitions(&disk).expect("readable").partitions {
            let part = sheaf::disk::Part::new(&disk, partition.extent);
            if FatVolume::open(&part).is_ok_and(|volume| volume.is_some()) {
                let Some((files, folders)) = same_as_mtools(Path::new(path), partition.extent) else { return };
                eprintln!("{path}, partition {}: {files} files in {folders} folders", partition.number);
            }
        }
    }
}

/// Images of one volume each, and the folder where another program has it or where it was copied to: `SHEAF_TEST_TREES` is
/// `image=folder`, with `:` between. Times may be two seconds apart.
#[test]
fn named_volumes_have_the_files_of_a_folder() {
    let Ok(pairs) = std::env::var("SHEAF_TEST_TREES") else {
        eprintln!("skipped: SHEAF_TEST_TREES names no images");
        return;
    };
    for (image, folder) in pairs.split(':').map(|pair| pair.split_once('=').expect("image=folder")) {
        let volume: Arc<dyn ReadAt> = Arc::new(RawDisk::open(Path::new(image)).expect("opens"));
        let files = walk::open(&volume).expect("FAT or exFAT");
        let (files, folders) = same_as_folder(&all(&*files), Path::new(folder), 2);
        eprintln!("{image}: {files} files in {folders} folders");
    }
}
