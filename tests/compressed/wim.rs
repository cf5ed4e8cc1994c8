//! WIM files that wimlib made: their resources are chunks of the same codecs that system compression has.
//!
//! Of the format only what finds the chunks is read ("Windows Imaging File Format", Microsoft 2007): in the header, the
//! chunks' size and where the table of resources is; in an entry of 50 bytes, where a resource is and how long it is; and
//! before its chunks, where each of them but the first begins.

use super::{Codec, Codecs, code, mixture, noise, run};
use std::collections::BTreeMap;
use std::fs;

const IS_COMPRESSED: u8 = 4;

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte))
}

/// Where a resource is in the file, how many bytes it takes and how many it has, and its flags.
fn resource(wim: &[u8], at: usize) -> (usize, usize, usize, u8) {
    (number(wim, at + 8, 8), number(wim, at, 7), number(wim, at + 16, 8), wim[at + 7])
}

/// A resource, in chunks: the bytes of each, and how many they give.
struct Resource {
    length: usize,
    chunks: Vec<(Vec<u8>, usize)>,
}

/// All resources of a file.
fn resources(wim: &[u8], chunk: usize) -> Vec<Resource> {
    assert_eq!((&wim[..8], number(wim, 20, 4)), (&b"MSWIM\0\0\0"[..], chunk));
    let (table, size, ..) = resource(wim, 48);
    let read = |entry: usize| {
        let (at, stored, length, flags) = resource(wim, entry);
        let bytes = &wim[at..at + stored];
        if flags & IS_COMPRESSED == 0 {
            let chunks = bytes.chunks(chunk).map(|bytes| (bytes.to_vec(), bytes.len())).collect();
            return Resource { length, chunks };
        }
        let others = length.div_ceil(chunk) - 1;
        let data = &bytes[others * 4..];
        let starts = [0].into_iter().chain((0..others).map(|of| number(bytes, of * 4, 4)));
        let starts: Vec<usize> = starts.chain([data.len()]).collect();
        let one = |index: usize| (data[starts[index]..starts[index + 1]].to_vec(), chunk.min(length - index * chunk));
        Resource { length, chunks: (0..=others).map(one).collect() }
    };
    (table..table + size).step_by(50).map(read).collect()
}

/// The chunks that wimlib compresses these files to, the metadata's among them; `None` when it is not there.
fn captured(files: &[Vec<u8>], name: &str, chunk: usize, level: u32) -> Option<Vec<Resource>> {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, wim) = (folder.path().join("source"), folder.path().join("all.wim"));
    fs::create_dir(&source).expect("a folder");
    for file in files {
        fs::write(source.join(file.len().to_string()), file).expect("written");
    }
    let (compress, size) = (format!("--compress={name}:{level}"), format!("--chunk-size={chunk}"));
    let names = [source.to_str().expect("text"), wim.to_str().expect("text")];
    run("wimcapture", &[names[0], names[1], &compress, &size, "--threads=1"])?;
    Some(resources(&fs::read(&wim).expect("there"), chunk))
}

/// The chunks of one file of code and text that are compressed, for measuring.
pub(crate) fn compressed_chunks(name: &str, chunk: usize) -> Option<Vec<(Vec<u8>, usize)>> {
    let file = [code(), include_bytes!("../../README.md").to_vec(), code()].concat();
    let all = captured(&[file], name, chunk, 50)?.into_iter().flat_map(|resource| resource.chunks);
    Some(all.filter(|(input, length)| input.len() < *length).collect())
}

/// Files of lengths that differ, of all kinds of content.
fn files() -> Vec<Vec<u8>> {
    let text = include_bytes!("../../README.md");
    vec![
        text.to_vec(),
        text.iter().copied().cycle().take(200_001).collect(),
        code(),
        code()[..32768].to_vec(),
        vec![0; 100_002],
        noise(1, 50_003),
        mixture(2, 400_004),
        mixture(3, 4_097),
        mixture(4, 65_536),
        b"abc".repeat(30_001),
        noise(5, 90_000).iter().map(|byte| byte % 5).collect(),
        b"a".to_vec(),
        b"a short one".to_vec(),
    ]
}

fn come_out_again(codec: Codec, name: &str, chunk: usize) {
    let files = files();
    let mut codecs = Codecs::new();
    for level in [20, 50, 100] {
        let Some(resources) = captured(&files, name, chunk, level) else { return };
        let (mut count, mut contents) = (0, BTreeMap::new());
        for resource in resources {
            let mut out = vec![0; resource.length];
            for (index, (out, (input, length))) in out.chunks_mut(chunk).zip(&resource.chunks).enumerate() {
                if input.len() == *length {
                    out.copy_from_slice(input);
                    continue;
                }
                let result = codecs.run(codec, input, out);
                result.unwrap_or_else(|error| panic!("chunk {index} of {}: {error}", resource.length));
                count += 1;
            }
            contents.insert(resource.length, out);
        }
        for file in &files {
            let out = contents.get(&file.len()).expect("each file is a resource");
            assert!(out == file, "{name}, chunks of {chunk}, level {level}: a file of {} bytes", file.len());
        }
        eprintln!("{name}, level {level}: {count} chunks of {chunk} bytes");
        assert!(count > 20);
    }
}

#[test]
fn xpress_with_the_chunks_of_system_compression() {
    for chunk in [4096, 8192, 16384] {
        come_out_again(Codec::Xpress, "xpress", chunk);
    }
}

#[test]
fn xpress_with_the_largest_chunks() {
    come_out_again(Codec::Xpress, "xpress", 65536);
}

#[test]
fn lzx_with_the_chunks_of_system_compression() {
    come_out_again(Codec::Lzx, "lzx", 32768);
}
