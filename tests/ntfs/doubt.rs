//! What makes free space doubtful, and volumes of which a part is damaged.

use crate::build::{Build, DATA, ROOT, protect, put};
use crate::judge::{any_claims, bytes, claims, contents, notes};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::Content;
use sheaf::layout::ntfs::NtfsVolume;

/// A restart page: its signature, the log's version, the sequence number, the client in use, and the flags.
fn restart(signature: &[u8; 4], major: u16, sequence: u64, client: u16, flags: u16) -> Vec<u8> {
    let mut page = vec![0; 4096];
    put(&mut page, 0, signature);
    put(&mut page, 4, &[30, 0, 9, 0]);
    put(&mut page, 8, &sequence.to_le_bytes());
    put(&mut page, 16, &4096_u32.to_le_bytes());
    put(&mut page, 20, &4096_u32.to_le_bytes());
    put(&mut page, 24, &48_u16.to_le_bytes());
    put(&mut page, 28, &major.to_le_bytes());
    put(&mut page, 48, &sequence.to_le_bytes());
    put(&mut page, 60, &client.to_le_bytes());
    put(&mut page, 62, &flags.to_le_bytes());
    protect(&mut page);
    page
}

fn is_doubted(pages: &[Vec<u8>]) -> bool {
    let mut build = Build::new(4096, 1024, 1024);
    let log = build.content[0].0;
    for (index, page) in pages.iter().enumerate() {
        build.content.push((log + index as u64, page.clone()));
    }
    claims(&build.image()).doubts_free()
}

#[test]
fn the_log_says_whether_the_volume_was_in_use() {
    let clean = |sequence| restart(b"RSTR", 1, sequence, 0, 2);
    let open = |sequence| restart(b"RSTR", 1, sequence, 0, 0);
    let closed = restart(b"RSTR", 1, 5, 0xffff, 0);
    let mut torn = clean(5);
    torn[510] ^= 1;
    assert!(!is_doubted(&[]), "an empty log is in order");
    assert!(!is_doubted(&[clean(5), clean(5)]));
    assert!(!is_doubted(&[closed.clone(), closed]));
    assert!(!is_doubted(&[restart(b"CHKD", 1, 5, 0, 2)]));
    assert!(is_doubted(&[open(5), open(5)]));
    assert!(is_doubted(&[clean(5), open(6)]), "the later page counts");
    assert!(!is_doubted(&[open(5), clean(6)]));
    assert!(is_doubted(&[restart(b"RSTR", 2, 5, 0, 2)]), "Windows has it in use");
    assert!(is_doubted(&[torn.clone()]) && is_doubted(&[vec![0; 4096]]));
    assert!(!is_doubted(&[torn, clean(5)]), "one sound page is enough");
    assert!(is_doubted(&[b"RCRD".to_vec()]));
    assert!(is_doubted(&[restart(b"RSTR", 1, 5, 0, 2)[..40].to_vec()]));
}

#[test]
fn a_dirty_volume_and_one_without_facts_are_doubted() {
    let mut build = Build::new(4096, 1024, 1024);
    build.records.get_mut(&3).unwrap().attrs[1] =
        crate::build::Attr::here(0x70, 3, [0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 1, 0]);
    let image = build.image();
    assert!(NtfsVolume::open(&image).unwrap().unwrap().facts().is_dirty && claims(&image).doubts_free());
    build.records.get_mut(&3).unwrap().attrs.pop();
    assert!(claims(&build.image()).doubts_free());
}

#[test]
fn a_map_of_clusters_that_is_too_short_frees_nothing() {
    let mut build = Build::new(4096, 1024, 1024);
    build.records.get_mut(&6).unwrap().attrs[0] = build.records[&6].attrs[0].clone().sized(1024 / 8 - 1, 1024 / 8 - 1);
    let claims = claims(&build.image());
    assert!(claims.doubts_free() && claims.free_extents().is_empty());
    assert!(notes(&claims)[0].contains("expected 128 bytes for 1024 clusters, found 127"));
    build.records.remove(&6);
    assert!(crate::judge::claims(&build.image()).free_extents().is_empty());
}

#[test]
fn a_torn_record_in_use_is_not_believed_and_one_out_of_use_not_missed() {
    let mut build = Build::new(4096, 1024, 1024);
    let file = bytes(1, 5000);
    build.file(40, ROOT, "a", &file);
    let mut image = build.image();
    let at = build.place(40).unwrap();
    image[at + 1023] ^= 1;
    let torn = claims(&image);
    assert!(torn.doubts_free() && !contents(&torn, Content::File, &image).contains(&file));
    assert!(notes(&torn)[0].contains("a fix-up of a record"));
    build.records.get_mut(&40).unwrap().flags = 0;
    let mut image = build.image();
    image[at + 1023] ^= 1;
    assert!(!claims(&image).doubts_free());
    // Without a signature, the map of records decides.
    image[at..at + 4].copy_from_slice(b"BAAD");
    assert!(!claims(&image).doubts_free());
    build.records.get_mut(&40).unwrap().flags = 1;
    let mut image = build.image();
    image[at..at + 4].copy_from_slice(b"BAAD");
    assert!(claims(&image).doubts_free());
}

#[test]
fn the_copy_of_the_boot_sector_gives_streams_alone() {
    let mut build = Build::new(4096, 1024, 1024);
    let file = bytes(1, 5000);
    build.file(40, ROOT, "pagefile.sys", &file);
    let sound = build.image();
    for (at, value) in [(0..512, 0), (11..13, 0), (510..511, 0)] {
        let mut image = sound.clone();
        image[at].fill(value);
        let claims = claims(&image);
        assert!(claims.doubts_free() && contents(&claims, Content::File, &image).contains(&file));
        assert!(
            claims.free_extents().is_empty()
                && claims.slack_extents().is_empty()
                && claims.scratch_extents().is_empty()
        );
    }
    // Another file system's boot sector is not overruled, nor is a copy without an MFT believed.
    let mut image = sound.clone();
    put(&mut image, 3, b"MSDOS5.0");
    assert!(NtfsVolume::open(&image).unwrap().is_none());
    let mut image = sound.clone();
    image[..512].fill(0);
    let (mft, mirror) = (build.place(0).unwrap(), 2 * 4096);
    (image[mft], image[mirror]) = (0, 0);
    assert!(NtfsVolume::open(&image).unwrap().is_none());
    let mut image = sound;
    image[mft] = 0;
    assert!(notes(&claims(&image)).iter().any(|note| note.starts_with("its mirror is used")));
    image[mirror] = 0;
    NtfsVolume::open(&image).unwrap_err();
    for size in [0, 1, 511, 512, 4096] {
        assert!(NtfsVolume::open(&vec![0; size]).unwrap().is_none());
    }
}

/// A volume of which some bytes cannot be read.
struct Bad(Vec<u8>, std::ops::Range<u64>);

impl ReadAt for Bad {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        if offset.0 < self.1.end && offset.0 + length > self.1.start {
            return Err(ReadError::Unreadable { offset, length, source: std::io::Error::other("a bad sector") });
        }
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn unreadable_records_are_read_around() {
    let mut build = Build::new(4096, 1024, 1024);
    let (one, two) = (bytes(1, 5000), bytes(2, 5000));
    build.file(40, ROOT, "a", &one);
    build.file(41, ROOT, "b", &two);
    let image = build.image();
    let at = build.place(40).unwrap() as u64;
    let bad = Bad(image.clone(), at + 512..at + 1024);
    let found = claims(&bad);
    let files = contents(&found, Content::File, &image);
    assert!(found.doubts_free() && files.contains(&two) && !files.contains(&one));
    // The first sector, the head of a hibernation file, the map of clusters, the volume's state.
    assert!(claims(&Bad(image.clone(), 0..512)).doubts_free());
    let bitmap = build.records.get_mut(&6).unwrap().attrs[0].clusters().runs[0].0 * 4096;
    assert!(claims(&Bad(image.clone(), bitmap..bitmap + 1)).free_extents().is_empty());
    let mut hibernation = build.clone();
    let run = hibernation.file(42, ROOT, "hiberfil.sys", &[0; 5000]);
    let bad = Bad(hibernation.image(), run.0 * 4096..run.0 * 4096 + 512);
    assert!(any_claims(&bad, false).scratch_extents().is_empty());
    assert_eq!(DATA, 0x80);
}
