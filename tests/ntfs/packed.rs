//! Content that ntfs-3g compressed, and content that wimlib packed, held against what was put in.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::judge::bytes;
use crate::look::{open, reads_the_same, tree};
use crate::tools::{Mounted, make, run};
use rustix::fs::{XattrFlags, setxattr};
use sheaf::layout::files::{FileSystem, NodeKind};

/// Bytes that compress: words, numbers, stretches of one byte, and noise, by the seed.
fn mixed(seed: u64, length: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let noise = bytes(seed + 1, length);
    let mut at = 0;
    while content.len() < length {
        let choice = noise[at % length];
        let count = usize::from(noise[(at + 1) % length]) * 40;
        match choice % 5 {
            0 => content.extend_from_slice(&noise[at % length..(at + count).min(length)]),
            1 => content.extend(std::iter::repeat_n(choice, count)),
            2 => content.extend(std::iter::repeat_n(0, count * 16)),
            _ => (0..count / 8).for_each(|number| content.extend(format!("line {number} of {choice}\n").bytes())),
        }
        at += 7;
    }
    content.truncate(length);
    content
}

#[test]
fn what_ntfs_3g_compressed_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mount) = (folder.path().join("volume"), folder.path().join("mount"));
    fs::create_dir(&mount).unwrap();
    for cluster in [512, 1024, 4096] {
        if !make(&path, 64 << 20, cluster, 512) {
            return;
        }
        let Some(mounted) = Mounted::new(&path, &mount, "compression") else { return };
        let inside = mount.join("packed");
        fs::create_dir(&inside).unwrap();
        setxattr(&inside, "system.ntfs_attrib_be", &0x800_u32.to_be_bytes(), XattrFlags::empty()).unwrap();
        let mut contents = Vec::new();
        for (index, length) in [1, 600, 4096, 65_535, 65_536, 65_537, 200_000, 1_234_567].into_iter().enumerate() {
            contents.push((format!("mixed {index}"), mixed(cluster + index as u64, length)));
        }
        contents.push(("zeros".to_owned(), vec![0; 300_001]));
        contents.push(("noise".to_owned(), bytes(9, 300_001)));
        for (name, content) in &contents {
            fs::write(inside.join(name), content).unwrap();
        }
        // Written in pieces that end anywhere, and with a hole.
        let mut appended = Vec::new();
        for index in 0..60 {
            let piece = mixed(index, 1 + index as usize * 531 % 9000);
            let mut file = OpenOptions::new().append(true).create(true).open(inside.join("appended")).unwrap();
            file.write_all(&piece).unwrap();
            appended.extend_from_slice(&piece);
        }
        let (head, tail) = (mixed(70, 100_000), mixed(71, 77_777));
        let mut file = File::create(inside.join("holed")).unwrap();
        file.write_all(&head).unwrap();
        file.seek(SeekFrom::Start(700_000)).unwrap();
        file.write_all(&tail).unwrap();
        drop(file);
        let holed = [&head[..], &vec![0; 600_000], &tail].concat();
        contents.extend([("appended".to_owned(), appended), ("holed".to_owned(), holed)]);
        drop(mounted);

        let files = open(&path);
        let tree = tree(&files);
        let mut smaller = 0;
        for (name, content) in &contents {
            let (node, facts) = &tree[&format!("/packed/{name}")];
            assert_eq!((facts.size, facts.attributes & 0x800), (content.len() as u64, 0x800), "{name}");
            reads_the_same(&*files.open(*node, None).unwrap(), content);
            smaller += usize::from(facts.allocated < facts.size);
        }
        assert!(smaller > 5, "nothing was compressed: {smaller}");
    }
}

/// The stored bytes of a WIM's resources, by how many bytes they are when unpacked; none of those that are not compressed.
fn resources(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let wim = fs::read(path).unwrap();
    let number = |at: usize| u64::from_le_bytes(wim[at..at + 8].try_into().unwrap());
    let place = |at: usize| (number(at) & ((1 << 56) - 1), number(at + 8), number(at + 16), wim[at + 7]);
    // The table of resources: 50 bytes each.
    let (length, start, _, _) = place(48);
    let entries = (start as usize..(start + length) as usize).step_by(50).map(place);
    let packed = entries.filter(|(.., flags)| flags & 6 == 4);
    packed.map(|(length, start, size, _)| (size, wim[start as usize..(start + length) as usize].to_vec())).collect()
}

/// What packs, and the number of it that the overlay filter has, by the arguments of wimcapture.
const FORMATS: [(&str, &str, u32); 4] =
    [("XPRESS", "4096", 0), ("LZX", "32768", 1), ("XPRESS", "8192", 2), ("XPRESS", "16384", 3)];

#[test]
fn what_the_overlay_filter_keeps_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mount) = (folder.path().join("volume"), folder.path().join("mount"));
    let (source, wim) = (folder.path().join("source"), folder.path().join("wim"));
    fs::create_dir(&mount).unwrap();
    fs::create_dir(&source).unwrap();
    let lengths = [5000, 32_768, 32_769, 65_536, 100_000, 999_999, 3_000_000];
    let contents: Vec<Vec<u8>> = lengths.into_iter().map(|length| mixed(length as u64, length)).collect();
    for content in &contents {
        fs::write(source.join(content.len().to_string()), content).unwrap();
    }
    if !make(&path, 64 << 20, 4096, 512) {
        return;
    }
    let Some(mounted) = Mounted::new(&path, &mount, "streams_interface=windows") else { return };
    let mut made = Vec::new();
    for (codec, chunk, algorithm) in FORMATS {
        let (codec, chunk) = (format!("--compress={codec}"), format!("--chunk-size={chunk}"));
        let arguments = ["capture", source.to_str().unwrap(), wim.to_str().unwrap(), &codec, &chunk, "--no-acls"];
        match run("wimlib-imagex", &arguments) {
            Some(true) => {}
            Some(false) => panic!("wimlib-imagex {arguments:?}"),
            None => return eprintln!("skipped: wimlib-imagex is not there"),
        }
        // A resource of a WIM is what the filter has in the stream, table and all.
        for (size, packed) in resources(&wim) {
            let Some(content) = contents.iter().find(|content| content.len() as u64 == size) else { continue };
            let name = format!("{algorithm} {size}");
            let file = mount.join(&name);
            File::create(&file).unwrap().set_len(size).unwrap();
            fs::write(mount.join(format!("{name}:WofCompressedData")), &packed).unwrap();
            fs::write(mount.join(format!("{name}:beside")), b"beside").unwrap();
            let data = [0x8000_0017, 16, 1, 2, 1, algorithm].map(u32::to_le_bytes).concat();
            setxattr(&file, "system.ntfs_reparse_data", &data, XattrFlags::empty()).unwrap();
            made.push((name, content, packed.len() as u64));
        }
        fs::remove_file(&wim).unwrap();
    }
    drop(mounted);
    assert_eq!(made.len(), contents.len() * FORMATS.len(), "some content did not compress");

    let files = open(&path);
    let tree = tree(&files);
    for (name, content, packed) in made {
        let (node, facts) = &tree[&format!("/{name}")];
        assert_eq!((&facts.kind, facts.reparse_tag), (&NodeKind::File, Some(0x8000_0017)));
        assert_eq!(facts.size, content.len() as u64);
        assert_eq!(facts.allocated, if packed < 700 { 0 } else { packed.next_multiple_of(4096) }, "{name}");
        let streams: Vec<_> = files.streams(*node).unwrap().into_iter().map(|stream| stream.name).collect();
        assert_eq!(streams, ["beside"]);
        reads_the_same(&*files.open(*node, None).unwrap(), content);
    }
}
