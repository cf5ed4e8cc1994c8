//! Restoring what is left: lost runs are zeros and are named, all else is what it was.

use super::{Fixture, Scene, repair};
use sheaf::crypto::derive::chunk_id;
use sheaf::disk::{DiskOffset, Extent, ReadAt};
use sheaf::format::pack::with_offsets;
use sheaf::image::Source;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::Cancel;
use sheaf::ops::container::TargetFormat;
use sheaf::ops::monitor::Silent;
use sheaf::ops::restore::{RestorePlan, RestoreReport, RestoreRequest};
use sheaf::repo::packer::read_listing;
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::collections::BTreeMap;
use std::path::Path;

/// Where each chunk of red lies on its disk, which is one stream without holes.
fn chunks(scene: &Scene) -> Vec<(sheaf::ids::ChunkId, Extent)> {
    let machine = Fixture::open(scene.medium());
    let disk = machine.disk(scene.disks[0].1).expect("sound");
    assert_eq!(disk.map().kept(), disk.size());
    let (mut leaves, mut position, mut chunks) = (disk.leaves().expect("sound"), 0, Vec::new());
    while let Some(leaf) = leaves.leaf_at(position).expect("sound") {
        let extent = Extent { start: DiskOffset(leaf.start), length: leaf.entry.span };
        chunks.push((chunk_id(&leaf.entry.key), extent));
        position = leaf.start + leaf.entry.span;
    }
    chunks
}

fn restore(machine: &Fixture, scene: &Scene, target: &Path, format: TargetFormat) -> RestoreReport {
    let disk = machine.disk(scene.disks[0].1).expect("its map is whole");
    let request = RestoreRequest {
        target: target.to_owned(),
        format,
        block_size: None,
        force: false,
        verify: true,
        allow_damaged: true,
    };
    let plan = RestorePlan::make(&disk, request).expect("a plan");
    plan.apply(&disk, &Silent, &Cancel::default()).expect("restored")
}

/// The bytes of red with zeros in these runs.
fn without(scene: &Scene, lost: &[Extent]) -> Vec<u8> {
    let mut bytes = scene.disks[0].2.clone();
    for run in lost {
        bytes[run.start.0 as usize..][..run.length as usize].fill(0);
    }
    bytes
}

fn joined(mut runs: Vec<Extent>) -> Vec<Extent> {
    runs.sort_unstable();
    let mut joined: Vec<Extent> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.end() == Some(run.start) => last.length += run.length,
            _ => joined.push(run),
        }
    }
    joined
}

/// Flips a byte of some chunks in the largest pack of red's data; gives the runs that are lost by it.
fn flip(scene: &Scene, medium: &SimStorage, numbers: &[usize]) -> Vec<Extent> {
    let machine = Fixture::open(scene.medium());
    let repository = machine.repository().expect("sound");
    let name = scene.named("red data");
    let listing = read_listing(medium, repository.keys(), repository.id(), name).expect("a listing");
    let entries: Vec<_> = with_offsets(&listing.entries).collect();
    let (mut bytes, all) = (scene.objects[&name].clone(), chunks(scene));
    let mut lost = Vec::new();
    for number in numbers {
        let (offset, entry) = entries[*number];
        bytes[offset.0 as usize + entry.sealed_length as usize / 2] ^= 0x10;
        lost.extend(all.iter().filter(|(id, _)| *id == entry.id).map(|(_, extent)| *extent));
    }
    medium.overwrite(name, bytes);
    joined(lost)
}

#[test]
fn exactly_the_chunks_that_are_lost_are_zeros_in_every_format() {
    let scene = Scene::new();
    let medium = scene.medium();
    let lost = flip(&scene, &medium, &[0, 3, 4, 9]);
    assert!(lost.len() >= 3);
    let machine = Fixture::open(medium.clone());
    for when in ["damaged", "repaired"] {
        machine.restore(scene.disks[0].1).expect_err("not without being allowed");
        for (format, name) in [
            (TargetFormat::Raw, "back.img"),
            (TargetFormat::Vhd, "back.vhd"),
            (TargetFormat::VhdFixed, "fixed.vhd"),
            (TargetFormat::Vhdx, "back.vhdx"),
            (TargetFormat::VhdxFixed, "fixed.vhdx"),
        ] {
            let target = machine.path(&format!("{when}-{name}"));
            let report = restore(&machine, &scene, &target, format);
            assert_eq!(report.lost, lost, "{when}, {format}");
            assert!(report.verified);
            let source = Source::open(&target, None, &[]).expect("what was restored");
            let mut bytes = vec![9; scene.disks[0].2.len()];
            source.read_at(DiskOffset(0), &mut bytes).expect("readable");
            assert!(bytes == without(&scene, &lost), "{when}, {format}");
        }
        let report = repair(&medium, &machine, Vec::new(), when);
        let [broken] = report.broken.as_slice() else { panic!("{:?}", report.broken) };
        assert_eq!(broken.losses.as_ref().expect("an admin sees it").ranges, lost, "{when}");
        // The other stick has lost nothing.
        assert!(machine.restore(scene.disks[1].1).expect("whole") == scene.disks[1].2);
    }
}

/// A check of the file system makes files shorter, or longer.
#[test]
fn a_pack_of_another_size_loses_what_is_behind_its_new_end_and_no_more() {
    let scene = Scene::new();
    let machine = Fixture::open(scene.medium());
    let repository = machine.repository().expect("sound");
    let name = scene.named("red data");
    let listing = read_listing(&scene.medium(), repository.keys(), repository.id(), name).expect("a listing");
    let entries: Vec<_> = with_offsets(&listing.entries).collect();
    let all = chunks(&scene);
    let whole = scene.objects[&name].len();
    let begins = |number: usize| entries[number].0.0 as usize;
    for length in [0, 7, begins(1), begins(5), begins(5) + 1, begins(8) - 1, whole - 1, whole + 1, 3 * whole] {
        let medium = scene.medium();
        let mut bytes = scene.objects[&name].clone();
        bytes.resize(length, 0x55);
        medium.overwrite(name, bytes);
        let cut = entries.iter().filter(|(offset, entry)| offset.0 as usize + entry.sealed_length as usize > length);
        let cut: Vec<_> = cut.map(|(_, entry)| entry.id).collect();
        let lost = joined(all.iter().filter(|(id, _)| cut.contains(id)).map(|(_, extent)| *extent).collect());
        let machine = Fixture::open(medium.clone());
        assert_eq!(machine.restore(scene.disks[0].1).is_ok(), lost.is_empty(), "{length} bytes");
        let target = machine.path("back.img");
        assert_eq!(restore(&machine, &scene, &target, TargetFormat::Raw).lost, lost, "{length} bytes");
        assert!(std::fs::read(&target).expect("restored") == without(&scene, &lost), "{length} bytes");
        // Who stores does not count on such a pack: after a backup of the disk nobody needs it.
        machine.backup("red", &scene.disks[0].2).expect("backed up");
        medium.delete(name).expect("deleted");
        assert!(machine.restore(scene.disks[0].1).expect("whole") == scene.disks[0].2, "{length} bytes");
    }
}

/// Two machines that store the same at once do not know of each other's packs.
#[test]
fn a_chunk_that_lies_in_two_packs_is_lost_only_with_both() {
    let scene = Scene::new();
    let is_of_all = |name: &ObjectName| ["config", "own key", "other key"].contains(&scene.roles[name].as_str());
    let of_all: BTreeMap<_, _> = scene.objects.clone().into_iter().filter(|(name, _)| is_of_all(name)).collect();
    let other = SimStorage::from_objects(of_all);
    let twin = Fixture::open(other.clone()).backup("twin", &scene.disks[0].2).expect("a backup").snapshot;
    let packs = |medium: &SimStorage| medium.names(ObjectKind::Pack);
    let (ours, theirs) = (packs(&scene.medium()), packs(&other));
    let ours: Vec<_> = ours.into_iter().filter(|name| scene.roles[name].starts_with("red")).collect();
    let all: BTreeMap<_, _> = scene.objects.clone().into_iter().chain(other.objects()).collect();
    for (damaged, restores) in [(vec![&ours], true), (vec![&theirs], true), (vec![&ours, &theirs], false)] {
        for loss in ["zeros", "unreadable", "short", "gone"] {
            let medium = SimStorage::from_objects(all.clone());
            for name in damaged.iter().copied().flatten() {
                match loss {
                    "zeros" => medium.overwrite(*name, vec![0; all[name].len()]),
                    "short" => medium.overwrite(*name, all[name][..70].to_vec()),
                    "unreadable" => medium.fail_reads(*name),
                    _ => medium.delete(*name).expect("deleted"),
                }
            }
            let machine = Fixture::open(medium);
            for snapshot in [scene.disks[0].1, twin] {
                let restored = machine.restore(snapshot);
                assert_eq!(restored.is_ok(), restores, "{loss}: {restored:?}");
                assert!(restored.is_err() || restored.is_ok_and(|bytes| bytes == scene.disks[0].2), "{loss}");
            }
        }
    }
}

#[test]
fn every_chunk_alone_is_named_exactly() {
    let scene = Scene::new();
    let machine = Fixture::open(scene.medium());
    let repository = machine.repository().expect("sound");
    let listing = read_listing(&scene.medium(), repository.keys(), repository.id(), scene.named("red data"));
    for number in (0..listing.expect("a listing").entries.len()).step_by(3) {
        let medium = scene.medium();
        let lost = flip(&scene, &medium, &[number]);
        let machine = Fixture::open(medium.clone());
        let target = machine.path("back.img");
        assert_eq!(restore(&machine, &scene, &target, TargetFormat::Raw).lost, lost, "chunk {number}");
        assert!(std::fs::read(&target).expect("restored") == without(&scene, &lost), "chunk {number}");
        let plan = super::plan(&medium, &machine, Vec::new()).expect("a plan");
        let broken = plan.broken(&Cancel::default()).expect("known");
        assert_eq!(broken[0].losses.as_ref().expect("an admin sees it").ranges, lost, "chunk {number}");
    }
}

#[test]
fn below_a_lost_node_all_is_lost_and_without_its_map_nothing_is_left() {
    let scene = Scene::new();
    let machine = Fixture::open(scene.medium());
    let disk = machine.disk(scene.disks[0].1).expect("sound");
    let root = disk.private().data.top().expect("sound").expect("not empty");
    assert!(disk.private().data.depth == 1, "one node, with all of its chunks");
    let map = disk.private().map.top().expect("sound").expect("not empty");
    let repository = machine.repository().expect("sound");
    let name = scene.named("red meta");
    let listing = read_listing(&scene.medium(), repository.keys(), repository.id(), name).expect("a listing");
    for (key, is_map) in [(root.key, false), (map.key, true)] {
        let medium = scene.medium();
        let mut bytes = scene.objects[&name].clone();
        let (offset, entry) =
            with_offsets(&listing.entries).find(|(_, entry)| entry.id == chunk_id(&key)).expect("in this pack");
        bytes[offset.0 as usize + entry.sealed_length as usize / 2] ^= 1;
        medium.overwrite(name, bytes);
        let machine = Fixture::open(medium.clone());
        if is_map {
            machine.disk(scene.disks[0].1).expect_err("no map");
        } else {
            let target = machine.path("back.img");
            let whole = [Extent { start: DiskOffset(0), length: scene.disks[0].2.len() as u64 }];
            assert_eq!(restore(&machine, &scene, &target, TargetFormat::Raw).lost, whole);
            assert!(std::fs::read(&target).expect("restored").iter().all(|byte| *byte == 0));
        }
        let report = repair(&medium, &machine, Vec::new(), "a node of the tree");
        let losses = report.broken[0].losses.as_ref().expect("an admin sees it");
        assert_eq!(losses.whole.is_some(), is_map, "{losses:?}");
        // The keys of red's data stood in the node; the stick has them.
        let report = repair(&medium, &machine, scene.red(), "with the stick");
        assert!(report.remaining.is_empty());
        scene.assert_whole(&machine, "the node is back");
    }
}
