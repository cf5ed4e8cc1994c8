//! Lost runs in the words of people: partitions and files.

use super::{Fixture, plan};
use sheaf::crypto::derive::chunk_id;
use sheaf::disk::ReadAt;
use sheaf::format::manifest::Origin;
use sheaf::format::pack::with_offsets;
use sheaf::layout::Keep;
use sheaf::names::ObjectName;
use sheaf::ops::Cancel;
use sheaf::ops::backup::BackupPlan;
use sheaf::ops::browse::Browser;
use sheaf::ops::demo::{DOCUMENT, make_stick};
use sheaf::ops::losses::{self, Losses};
use sheaf::repo::packer::read_listing;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

#[test]
fn the_file_whose_chunk_is_lost_is_named_with_its_partition() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.clone());
    let path = machine.path("stick.img");
    make_stick(&path, 4).expect("an image");
    let image = std::fs::read(&path).expect("the image");
    let disk: Arc<dyn ReadAt> = Arc::new(image.clone());
    let made = BackupPlan::make(&disk, Keep::default()).expect("readable");
    let snapshot = machine.backup_planned("ana", &*disk, &made).expect("a backup").snapshot;
    // The chunk of the document's first byte.
    let snapshot_disk = Arc::new(machine.disk(snapshot).expect("sound"));
    let browser = Browser::open(Arc::clone(&snapshot_disk) as _).expect("a table");
    let volume = browser.volumes().first().expect("a volume");
    let files = volume.files.as_ref().expect("files");
    let mut node = files.root();
    for name in DOCUMENT.trim_start_matches('/').split('/') {
        let listing = files.entries(node).expect("a folder");
        node = listing.entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name)).expect(name).node;
    }
    let mut start = vec![0; 512];
    files.open(node, None).expect("a file").read_at(sheaf::disk::DiskOffset(0), &mut start).expect("readable");
    let at = image.windows(512).position(|window| window == start).expect("on the disk") as u64;
    let segment = snapshot_disk.map().segments()[snapshot_disk.map().find(sheaf::disk::DiskOffset(at))];
    let Origin::Kept(kept) = segment.origin else { panic!("it is kept") };
    let mut leaves = snapshot_disk.leaves().expect("sound");
    let leaf = leaves.leaf_at(kept.0 + at - segment.extent.start.0).expect("sound").expect("inside");
    let id = chunk_id(&leaf.entry.key);
    let location = machine.store().expect("an index").index.reader().expect("open").locate(&id).expect("there");
    let pack = ObjectName::pack(location.pack);
    let mut bytes = medium.peek(pack).expect("there");
    let repository = machine.repository().expect("sound");
    let listing = read_listing(&medium, repository.keys(), repository.id(), pack).expect("a listing");
    let (offset, entry) = with_offsets(&listing.entries).find(|(_, entry)| entry.id == id).expect("in it");
    bytes[offset.0 as usize + entry.sealed_length as usize / 2] ^= 1;
    medium.overwrite(pack, bytes);

    let made = plan(&medium, &machine, Vec::new()).expect("a plan");
    let broken = made.broken(&Cancel::default()).expect("known");
    let losses = broken[0].losses.as_ref().expect("an admin sees it");
    assert!(losses.ranges.iter().any(|run| run.start.0 <= at && at < run.start.0 + run.length), "{losses:?}");
    let [volume] = losses.volumes.as_slice() else { panic!("{losses:?}") };
    assert_eq!((volume.number, volume.bytes), (Some(1), losses.bytes()));
    assert!(volume.file_system.starts_with("FAT"), "{volume:?}");
    let document = losses.files.iter().find(|file| file.path.eq_ignore_ascii_case(&format!("1:{DOCUMENT}")));
    let document = document.unwrap_or_else(|| panic!("{losses:?}"));
    assert!(document.bytes > 0 && document.bytes <= document.size.next_multiple_of(2048), "{document:?}");
    // Of a file's chunks only those are lost that are: the files together have lost no more than the disk has.
    assert!(losses.files.iter().map(|file| file.bytes).sum::<u64>() <= losses.bytes(), "{losses:?}");
}

#[test]
fn where_the_tables_of_a_volume_are_lost_that_is_said() {
    let medium = SimStorage::new();
    let machine = Fixture::make(medium.clone());
    let path = machine.path("stick.img");
    make_stick(&path, 4).expect("an image");
    let disk: Arc<dyn ReadAt> = Arc::new(std::fs::read(&path).expect("the image"));
    let made = BackupPlan::make(&disk, Keep::default()).expect("readable");
    let snapshot = machine.backup_planned("ana", &*disk, &made).expect("a backup").snapshot;
    let disk = Arc::new(machine.disk(snapshot).expect("sound"));
    let run = |start, length| sheaf::disk::Extent { start: sheaf::disk::DiskOffset(start), length };
    let boot = Losses::of(&disk, vec![run(1 << 20, 512)], &Cancel::default()).expect("known");
    assert!(boot.files.is_empty() && boot.problems.len() == 1, "{boot:?}");
    assert_eq!(boot.volumes.len(), 1, "the snapshot knows its volumes all the same");
    let table = Losses::of(&disk, vec![run(0, 512)], &Cancel::default()).expect("known");
    assert!(table.files.is_empty() && table.volumes.is_empty() && table.problems.len() == 1, "{table:?}");
    // Chunks that nobody lost.
    let none = losses::ranges(&disk, &|_| Ok(false), &Cancel::default()).expect("known");
    assert!(none.is_empty() && Losses::of(&disk, none, &Cancel::default()).expect("known").is_empty());
    let all = losses::ranges(&disk, &|_| Ok(true), &Cancel::default()).expect("known");
    assert_eq!(all.iter().map(|run| run.length).sum::<u64>(), disk.map().kept());
}
