//! Damage: a file that was cut anywhere, and every bit of its metadata flipped. A disk is then refused with a reason, or
//! it is read right; it never is something else.

use super::make::{Chain, Folder, Image};
use super::read_all;
use sheaf::disk::ReadAt;
use sheaf::image::vhd::{VhdDisk, is_vhd};
use std::sync::Arc;

fn small(kind: u32) -> Chain {
    let mut chain = Chain::new(if kind == 4 { 1 } else { 0 }, if kind == 4 { 3 } else { kind }, 9);
    // 24 blocks of 4 KiB, of which some are there.
    for image in &mut chain.images {
        (image.size, image.block_size) = (97 * 512, 4096);
        let kept = image.sectors.iter().map(|(sector, bytes)| (sector % 97, *bytes)).collect();
        image.sectors = kept;
        image.sectors.retain(|sector, _| sector % 7 < 3 && sector / 8 % 3 > 0);
    }
    let mut disk = vec![0; 97 * 512];
    for image in &chain.images {
        for (sector, bytes) in &image.sectors {
            disk[*sector as usize * 512..][..512].copy_from_slice(bytes);
        }
    }
    Chain { images: chain.images, disk }
}

/// The youngest file of a chain, and how to open another in its place.
fn opener(chain: &Chain) -> (Vec<u8>, impl Fn(Vec<u8>) -> Option<Vec<u8>>) {
    let (folder, file) = (chain.files().1, chain.images.last().map(Image::bytes).expect("there is one"));
    let open = move |bytes: Vec<u8>| {
        let file: Arc<dyn ReadAt> = Arc::new(bytes);
        is_vhd(&*file).expect("it can be read");
        let result = VhdDisk::open(file, &Folder(folder.0.clone()));
        match result {
            Ok(disk) => Some(read_all(&disk)),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                None
            }
        }
    };
    (file, open)
}

#[test]
fn a_file_that_was_cut_is_refused_or_read_right() {
    for kind in [2, 3, 4] {
        let chain = small(kind);
        let (file, open) = opener(&chain);
        assert!(open(file.clone()).expect("sound") == chain.disk);
        let mut read = 0;
        for length in 0..file.len() {
            if let Some(disk) = open(file[..length].to_vec()) {
                assert!(disk == chain.disk, "kind {kind}, cut to {length}");
                read += 1;
            }
        }
        // Only a footer that lost its last byte is one still; others have a copy, which serves until a block is cut.
        assert_eq!(read, if kind == 2 { 1 } else { 512 }, "kind {kind}");
    }
}

#[test]
fn every_flipped_bit_of_the_metadata_is_refused_or_read_right() {
    for kind in [2, 3, 4] {
        let chain = small(kind);
        let (file, open) = opener(&chain);
        let table_end = 1536 + 512;
        let locators_end = table_end + if kind == 4 { 1024 } else { 0 };
        let start = if kind == 2 { 0..0 } else { 0..locators_end };
        for byte in start.chain(file.len() - 512..file.len()) {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[byte] ^= 1 << bit;
                if let Some(disk) = open(flipped) {
                    assert!(disk == chain.disk, "kind {kind}, byte {byte}, bit {bit}");
                }
            }
        }
    }
}

/// The bitmap of a differencing disk has no checksum: a flipped bit takes a sector from the other disk, and no more.
#[test]
fn a_flipped_bit_of_a_bitmap_costs_one_sector() {
    let chain = small(4);
    let (file, open) = opener(&chain);
    let first = 1536 + 512 + 1024;
    for block in (first..file.len() - 512).step_by(512 + 4096) {
        for bit in 0..512 * 8 {
            let mut flipped = file.clone();
            flipped[block + bit / 8] ^= 1 << (bit % 8);
            let disk = open(flipped).expect("nothing tells");
            let differing = disk.chunks(512).zip(chain.disk.chunks(512)).filter(|(one, other)| one != other).count();
            assert!(differing <= usize::from(bit < 8));
        }
    }
}
