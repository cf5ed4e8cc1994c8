//! Volumes that mkntfs made and ntfscp filled (ntfs-3g), held against what was put in.

use std::io::{Seek, SeekFrom, Write};

use crate::judge::{bytes, claims, contents, extents, notes, unclaimed};
use crate::look::{all_of, open, reads_the_same, tree};
use crate::scale::Image;
use crate::tools::{Mounted, make, run};
use sheaf::disk::ReadAt;
use sheaf::layout::Content;
use sheaf::layout::files::FileSystem;
use sheaf::layout::ntfs::NtfsVolume;

#[test]
fn what_ntfscp_put_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    for (cluster, sector) in [(512, 512), (4096, 512), (4096, 4096), (65536, 512), (2 << 20, 512)] {
        if !make(&path, if cluster > 1 << 20 { 512 << 20 } else { 64 << 20 }, cluster, sector) {
            return;
        }
        let mut files = Vec::new();
        for (index, length) in [4095, 4096, 4097, 65_536, 100_001, 1_234_567].into_iter().enumerate() {
            let file = folder.path().join("file");
            let content = bytes(index as u64 + cluster, length);
            std::fs::write(&file, &content).unwrap();
            let name = format!("file {index}");
            let done = run("ntfscp", &["-q", "-f", path.to_str().unwrap(), file.to_str().unwrap(), &name]);
            if done.is_none() {
                eprintln!("skipped: ntfscp is not there");
                return;
            }
            assert_eq!(done, Some(true), "ntfscp, clusters of {cluster}");
            files.push(content);
        }
        let image = Image::open(&path);
        let volume = NtfsVolume::open(&image).unwrap().expect("NTFS");
        let facts = volume.facts();
        assert_eq!((facts.cluster_size, facts.sector_size, facts.version), (cluster, sector, (3, 1)));
        assert_eq!((facts.label.as_deref(), facts.is_dirty), (Some("Sheaf"), false));
        let claims = claims(&image);
        assert_eq!((notes(&claims), claims.doubts_free()), (Vec::new(), false), "{cluster}");
        let streams = contents(&claims, Content::File, &image);
        for content in files {
            assert!(streams.contains(&content), "{cluster}: {} bytes", content.len());
        }
        // What nobody claims is what lies behind the last whole cluster, but for the boot sector's copy.
        let left = unclaimed(&claims, image.size());
        let behind = image.size() - facts.clusters * cluster - sector;
        assert_eq!(left, behind, "{cluster}: {:?}", extents(&claims).last());
    }
}

#[test]
fn fragmented_sparse_and_named_content_of_a_mounted_volume() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mount) = (folder.path().join("volume"), folder.path().join("mount"));
    std::fs::create_dir(&mount).unwrap();
    // Small enough that the large file fills the gaps between the small ones.
    if !make(&path, 33 << 20, 4096, 512) {
        return;
    }
    let Some(mounted) = Mounted::new(&path, &mount, "streams_interface=windows") else { return };
    let mut kept = Vec::new();
    for index in 0..5000 {
        let content = bytes(index, 4096);
        std::fs::write(mount.join(format!("file {index}")), &content).unwrap();
    }
    for index in (0..5000).step_by(2) {
        std::fs::remove_file(mount.join(format!("file {index}"))).unwrap();
    }
    // As much as there is room for, so that the gaps are filled, and then a little less.
    let mut large = bytes(99, 24 << 20);
    let mut file = std::fs::File::create(mount.join("large")).unwrap();
    let written = large.chunks(64 << 10).take_while(|piece| file.write_all(piece).is_ok()).count() * (64 << 10);
    large.truncate(written - (256 << 10) + 13);
    file.set_len(large.len() as u64).unwrap();
    drop(file);
    let mut sparse = std::fs::File::create(mount.join("sparse")).unwrap();
    let (head, tail) = (bytes(100, 5000), bytes(101, 9000));
    sparse.write_all(&head).unwrap();
    sparse.seek(SeekFrom::Start(8 << 20)).unwrap();
    sparse.write_all(&tail).unwrap();
    drop(sparse);
    let named = bytes(102, 7000);
    std::fs::write(mount.join("large:stream"), &named).unwrap();
    std::fs::create_dir(mount.join("folder")).unwrap();
    kept.extend((1..5000).step_by(2).map(|index| bytes(index, 4096)));
    drop(mounted);

    let image = Image::open(&path);
    let claims = claims(&image);
    assert_eq!((notes(&claims), claims.doubts_free()), (Vec::new(), false));
    let streams: std::collections::BTreeSet<_> = contents(&claims, Content::File, &image).into_iter().collect();
    assert!(streams.contains(&large) && streams.contains(&named), "the large file or its stream");
    assert!(kept.iter().all(|content| streams.contains(content)), "small files");
    // The sparse file's runs: whole clusters of the first part, then the second one's bytes.
    let with_zeros = [&head[..], &[0; 8192 - 5000], &tail[..]].concat();
    assert!(streams.contains(&with_zeros), "the sparse file");
    let most = claims.streams().map(|(_, extents)| extents.len()).max().unwrap();
    assert!(most * 3 > 1024, "the large file is in {most} runs only, which one record could hold");

    // And as files.
    let files = open(&path);
    let tree = tree(&files);
    let content = |name: &str| files.open(tree[name].0, None).unwrap();
    reads_the_same(&*content("/large"), &large);
    assert_eq!(tree["/large"].1.size, large.len() as u64);
    let sparse = [&head[..], &vec![0; (8 << 20) - 5000], &tail].concat();
    reads_the_same(&*content("/sparse"), &sparse);
    assert!(tree["/sparse"].1.allocated < 32 << 10, "{:?}", tree["/sparse"].1);
    reads_the_same(&*files.open(tree["/large"].0, Some("stream")).unwrap(), &named);
    for (kept, index) in kept.iter().zip((1..5000).step_by(2)) {
        assert!(all_of(&*content(&format!("/file {index}"))) == *kept, "file {index}");
    }
}
