//! Sound volumes.

use crate::build::{Attr, BITMAP, Build, DATA, HOLE, INDEX, ROOT, file_name};
use crate::judge::{bytes, claims, contents, notes, unclaimed};
use crate::shapes::{scattered, split};
use sheaf::layout::Content;
use sheaf::layout::ntfs::NtfsVolume;

#[test]
fn every_size_of_clusters_and_records() {
    for cluster in (9..=21).map(|exponent| 1_u64 << exponent) {
        for record in [1024, 4096] {
            let mut build = Build::new(cluster, record, (8 << 20 >> cluster.trailing_zeros()).max(24));
            let file = bytes(cluster, 3 * 1024 + 77);
            let run = build.file(40, ROOT, "a", &file);
            let image = build.image();
            let volume = NtfsVolume::open(&image).unwrap().expect("NTFS");
            let facts = volume.facts();
            assert_eq!(
                (facts.cluster_size, facts.mft_record_size, facts.index_record_size),
                (cluster, record as u64, 4096)
            );
            assert_eq!((facts.label.as_deref(), facts.version, facts.is_dirty), (Some("L"), (3, 1), false));
            assert_eq!((facts.serial, facts.sector_size, facts.files), (0x1234_5678_9abc_def0, 512, 9));
            let claims = claims(&image);
            assert!(!claims.doubts_free() && notes(&claims).is_empty(), "{:?}", notes(&claims));
            assert!(contents(&claims, Content::File, &image).contains(&file));
            // All but the cut is claimed: each cluster is somebody's or free.
            assert_eq!(unclaimed(&claims, image.len() as u64), 0, "{cluster}");
            let slack = run.1 * cluster - file.len() as u64;
            assert_eq!(claims.slack_extents().iter().map(|extent| extent.length).sum::<u64>(), slack);
        }
    }
}

#[test]
fn content_goes_up_to_the_valid_length_and_holes_are_left_out() {
    let mut build = Build::new(4096, 1024, 1024);
    let (a, _, b) = (build.take(2), build.take(1), build.take(3));
    let (one, two) = (bytes(1, 8192), bytes(2, 3 * 4096));
    build.content.extend([(a.0, one.clone()), (b.0, two.clone())]);
    let data = Attr::there(DATA, 1, &[b, (HOLE, 5), a], 4096).sized(10 * 4096 - 5, 9 * 4096 + 1);
    build.add(40, vec![file_name(ROOT, "sparse"), data]);
    let image = build.image();
    let claims = claims(&image);
    let expected = [&two[..], &one[..4097]].concat();
    assert!(contents(&claims, Content::File, &image).contains(&expected));
    let slack = claims.slack_extents();
    assert_eq!((slack.len(), slack[0].start.0, slack[0].length), (1, (a.0 + 1) * 4096 + 1, 4095));
}

#[test]
fn compressed_and_encrypted_bytes_are_kept_as_they_stand() {
    for (flags, unit, is_cut) in
        [(1, 4, false), (0x4000, 0, false), (0x8000, 4, true), (0x8001, 4, false), (0, 0, true)]
    {
        let mut build = Build::new(4096, 1024, 1024);
        let run = build.take(2);
        let mut data = Attr::there(DATA, 1, &[run, (HOLE, 14)], 4096).sized(100, 100);
        (data.flags, data.clusters().unit) = (flags, unit);
        build.add(40, vec![file_name(ROOT, "a"), data]);
        let image = build.image();
        let claims = claims(&image);
        assert_eq!(claims.slack_extents().len(), usize::from(is_cut), "{flags:#x}");
        let length = if is_cut { 100 } else { 8192 };
        assert!(contents(&claims, Content::File, &image).iter().any(|stream| stream.len() == length));
    }
}

#[test]
fn directories_are_records_and_named_streams_files() {
    let mut build = Build::new(4096, 1024, 1024);
    let (index, bits, stream, journal) = (build.take(2), build.take(1), build.take(1), build.take(2));
    let there = |kind, run| Attr::there(kind, 1, &[run], 4096);
    build.add(
        40,
        vec![
            file_name(ROOT, "folder"),
            there(DATA, stream).named("stream"),
            there(INDEX, index).named("$I30"),
            there(BITMAP, bits).named("$I30"),
        ],
    );
    let trimmed = Attr::there(DATA, 3, &[(HOLE, 100), journal], 4096).named("$J");
    build.add(41, vec![file_name(11, "$UsnJrnl"), trimmed, there(DATA, build.clone().take(1)).named("$Max")]);
    let image = build.image();
    let claims = claims(&image);
    let kind_at = |cluster: u64| {
        claims.streams().find(|(_, extents)| extents[0].start.0 == cluster * 4096).map(|(content, _)| content)
    };
    assert_eq!(kind_at(index.0), Some(Content::Records));
    assert_eq!(kind_at(bits.0), Some(Content::Records));
    assert_eq!(kind_at(stream.0), Some(Content::File));
    assert_eq!(kind_at(journal.0), Some(Content::File));
    assert_eq!(kind_at(journal.0 + 2), Some(Content::Records));
}

#[test]
fn a_file_in_several_records_is_put_together() {
    for is_list_there in [false, true] {
        let mut build = Build::new(4096, 1024, 1024);
        let content = split(&mut build, is_list_there);
        let image = build.image();
        let claims = claims(&image);
        assert!(contents(&claims, Content::File, &image).contains(&content));
        assert_eq!(notes(&claims), [""; 0]);
        // One cluster lies between the parts, and is free.
        assert_eq!(unclaimed(&claims, image.len() as u64), 0);
    }
}

#[test]
fn the_later_parts_of_the_mft_are_found_through_the_earlier_ones() {
    let mut build = scattered(4096, 1024);
    let file = bytes(3, 5000);
    build.file(60, ROOT, "late", &file);
    let image = build.image();
    let claims = claims(&image);
    assert_eq!(notes(&claims), [""; 0]);
    assert!(contents(&claims, Content::File, &image).contains(&file));
    assert!(contents(&claims, Content::Records, &image).iter().any(|stream| stream.len() == 16 * 4096));
}
