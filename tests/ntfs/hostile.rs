//! Volumes that contradict themselves: what is not believed claims nothing, and nothing panics or goes on for ever.

use crate::build::{Attr, Build, DATA, HOLE, LIST, ROOT, Rec, entry, file_name, put, reference};
use crate::counting::{Asked, Counting};
use crate::judge::{any_claims, bytes, contents, notes};
use crate::shapes::{scattered, split};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::layout::ntfs::{NtfsOptions, NtfsVolume};
use sheaf::layout::{Claims, Content};

/// Breaks a volume with a file in three records in one way; the file is not believed, and something is noted of it.
fn breaks_split(what: &str, note: &str, change: impl Fn(&mut Build)) {
    let mut build = Build::new(4096, 1024, 1024);
    let content = split(&mut build, false);
    change(&mut build);
    let image = build.image();
    let claims = any_claims(&image, false);
    assert!(!contents(&claims, Content::File, &image).contains(&content), "{what}");
    let streams = contents(&claims, Content::File, &image);
    assert_eq!(streams.len(), 1, "{what}: only the log");
    assert!(notes(&claims).iter().any(|found| found.contains(note)), "{what}: {:?}", notes(&claims));
}

fn attr(build: &mut Build, number: u64, index: usize) -> &mut Attr {
    &mut build.records.get_mut(&number).unwrap().attrs[index]
}

#[test]
fn a_split_file_that_contradicts_itself_is_not_claimed() {
    let list = |entries: &[(u64, u64)]| {
        let all =
            entries.iter().map(|(lowest, reference)| entry(DATA, "", *lowest, *reference, u16::from(*lowest == 0)));
        Attr::here(LIST, 7, all.collect::<Vec<_>>().concat())
    };
    let [first, second, third] = [(0, reference(50, 1)), (2, reference(52, 1)), (5, reference(45, 1))];
    breaks_split("a part is missing", "that the list of", |build| drop(build.records.remove(&52)));
    breaks_split("the last part is missing", "as the list says", |build| drop(build.records.remove(&45)));
    breaks_split("a gap", "one that begins at cluster 1", |build| attr(build, 50, 3).clusters().runs[0].1 = 1);
    breaks_split("an overlap", "one that begins at cluster 3", |build| attr(build, 50, 3).clusters().runs[0].1 = 3);
    breaks_split("a foreign part", "that the list of", |build| *attr(build, 50, 1) = list(&[first, second]));
    breaks_split("a list without parts", "that the list of", |build| *attr(build, 50, 1) = list(&[]));
    breaks_split("a part named twice", "that the list of", |build| {
        *attr(build, 50, 1) = list(&[first, second, second, third]);
    });
    breaks_split("a wrong record", "that the list of", |build| {
        *attr(build, 50, 1) = list(&[first, (2, reference(45, 1)), (5, reference(52, 1))]);
    });
    breaks_split("a part of an older file", "that the list of", |build| {
        *attr(build, 50, 1) = list(&[first, (2, reference(52, 2)), third]);
    });
    breaks_split("an older base", "no such file", |build| build.records.get_mut(&50).unwrap().sequence = 2);
    breaks_split("too small a size", "the runs of an attribute", |build| {
        attr(build, 50, 3).clusters().allocated = 4096;
    });
    breaks_split("a broken list", "an entry of an attribute list", |build| {
        *attr(build, 50, 1) = Attr::here(LIST, 7, [1; 40]);
    });
    breaks_split("a list that is too large", "an attribute list", |build| {
        *attr(build, 50, 1) = Attr::there(LIST, 7, &[(700, 65)], 4096);
    });
    breaks_split("a run outside", "a run", |build| attr(build, 52, 0).clusters().runs[0].0 = 1022);
}

#[test]
fn an_attribute_that_contradicts_itself_is_not_claimed() {
    let breaks = |what: &str, change: &dyn Fn(&mut Attr)| {
        let mut build = Build::new(4096, 1024, 1024);
        let file = bytes(1, 5000);
        build.file(40, ROOT, "a", &file);
        change(attr(&mut build, 40, 1));
        let image = build.image();
        let claims = any_claims(&image, false);
        assert_eq!(contents(&claims, Content::File, &image).len(), 1, "{what}: only the log");
        assert!(notes(&claims)[0].starts_with("its clusters are kept in disk order: "), "{:?}", notes(&claims));
    };
    breaks("behind the end", &|attr| attr.clusters().runs[0].0 = 1023);
    breaks("far away", &|attr| attr.clusters().runs[0].0 = 1 << 62);
    breaks("before the start", &|attr| attr.clusters().runs.push((HOLE - 3, 1)));
    breaks("not all allocated", &|attr| attr.clusters().allocated += 4096);
    breaks("longer than allocated", &|attr| attr.clusters().data = 8193);
    breaks("valid beyond the end", &|attr| attr.clusters().valid = 5001);
    breaks("from the middle", &|attr| attr.clusters().lowest = 1);
    breaks("more than 64 bits", &|attr| attr.clusters().runs.push((HOLE, 1 << 52)));
}

#[test]
fn an_mft_that_cannot_be_put_together_is_an_error() {
    let opens = |change: &dyn Fn(&mut Build)| {
        let mut build = scattered(4096, 1024);
        change(&mut build);
        NtfsVolume::open(&build.image()).map(|volume| volume.is_some())
    };
    assert!(opens(&|_| {}).unwrap());
    opens(&|build| drop(build.records.remove(&15))).unwrap_err();
    opens(&|build| build.records.get_mut(&20).unwrap().base = reference(0, 2)).unwrap_err();
    opens(&|build| attr(build, 15, 0).clusters().lowest = 5).unwrap_err();
    opens(&|build| attr(build, 0, 1).clusters().allocated = 1 << 40).unwrap_err();
    // The part that tells of the third part lies in the third part.
    opens(&|build| {
        let list = [
            entry(DATA, "", 0, reference(0, 1), 1),
            entry(DATA, "", 4, reference(15, 1), 1),
            entry(DATA, "", 8, reference(40, 1), 1),
        ];
        attr(build, 0, 0).body = Attr::here(LIST, 9, list.concat()).body;
        let part = build.records.remove(&20).unwrap();
        build.records.insert(40, part);
    })
    .unwrap_err();
}

#[test]
fn a_loop_of_records_ends() {
    let mut build = Build::new(4096, 1024, 1024);
    let list = |of: u64| Attr::here(LIST, 7, entry(DATA, "", 0, reference(of, 1), 0));
    let data = |run| Attr::there(DATA, 0, &[run], 4096);
    let (one, two, three) = (build.take(1), build.take(1), build.take(1));
    build.records.insert(40, Rec::of(41, vec![list(41), data(one)]));
    build.records.insert(41, Rec::of(40, vec![list(40), data(two)]));
    build.add(42, vec![list(42), file_name(ROOT, "itself"), data(three)]);
    build.records.insert(43, Rec::of(43, vec![list(43), data(three)]));
    let image = build.image();
    let claims = any_claims(&image, false);
    assert_eq!(contents(&claims, Content::File, &image).len(), 2, "the log, and the one that is its own record");
}

#[test]
fn any_byte_of_a_structure_may_be_anything() {
    let mut build = scattered(4096, 1024);
    split(&mut build, true);
    build.file(42, ROOT, "hiberfil.sys", &bytes(4, 6000));
    let sound = build.image();
    let mut image = sound.clone();
    let mut structures = vec![(0, 80)];
    for number in [0, 2, 3, 6, 15, 20, 42, 45, 50, 52] {
        structures.push((build.place(number).unwrap(), 1024));
    }
    for (at, length) in structures {
        for offset in 0..length {
            for value in [0, 0xff, sound[at + offset] ^ 1, sound[at + offset] ^ 0x80] {
                image[at + offset] = value;
                if let Ok(Some(volume)) = NtfsVolume::open(&image) {
                    let mut claims = Claims::new();
                    volume.claim(&mut claims, &NtfsOptions::default()).expect("few");
                    let all = crate::judge::extents(&claims);
                    assert!(all.iter().all(|extent| extent.end().is_some_and(|end| end.0 <= image.len() as u64)));
                }
            }
            image[at + offset] = sound[at + offset];
        }
    }
}

/// A volume of any size that holds a small one's bytes at its front and zeros behind.
struct Vast(Vec<u8>, u64);

impl ReadAt for Vast {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let start = usize::try_from(offset.0).unwrap().min(self.0.len());
        let count = buffer.len().min(self.0.len() - start);
        buffer[..count].copy_from_slice(&self.0[start..start + count]);
        buffer[count..].fill(0);
        Ok(())
    }

    fn next_data(&self, from: DiskOffset) -> Result<Option<std::ops::Range<u64>>, ReadError> {
        Ok((from.0 < self.0.len() as u64).then_some(from.0..self.0.len() as u64))
    }
}

#[test]
fn an_mft_as_large_as_a_vast_volume_does_not_cost_much() {
    let size = 8_u64 << 40;
    for (gib, is_too_many) in [(60_u64, false), (4096, true)] {
        let mut build = Build::new(4096, 1024, 1024);
        let clusters = gib << 18;
        let mft = build.mft[0].0;
        let data = Attr::there(DATA, 1, &[(mft, clusters)], 4096);
        build.records.get_mut(&0).unwrap().attrs[0] = data;
        // The map of clusters would not fit.
        build.records.remove(&6);
        build.records.get_mut(&0).unwrap().attrs.truncate(1);
        let mut image = build.image();
        put(&mut image, 40, &(size / 512 - 8).to_le_bytes());
        let asked = Asked::default();
        let vast = Counting(Vast(image, size), asked.clone());
        match NtfsVolume::open(&vast) {
            Ok(volume) => {
                let mut claims = Claims::new();
                volume.unwrap().claim(&mut claims, &NtfsOptions::default()).expect("few");
                assert!(claims.doubts_free() && !is_too_many);
            }
            Err(error) => assert!(is_too_many, "{error}"),
        }
        assert!(asked.questions() < 100 && asked.bytes() < 8 << 20, "{asked:?}");
    }
}
