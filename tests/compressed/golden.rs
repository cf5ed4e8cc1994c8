//! Vectors that are stored beside this file, and what becomes of them when they are cut short or changed.
//!
//! | vectors | from |
//! |---|---|
//! | `*.xpress`, `*.lzx` | wimlib 1.13.6 (`wimlib_compress`), at level 100; `mixed-quick` at level 20 |
//! | `*-kinds.lzx` | an encoder of our own, as wimlib has no uncompressed blocks; wimlib decompresses them to the same |
//! | `blocks.xpress` | an encoder of our own, as wimlib has no more than one block; dissect.util 3.24 gives the same from it |
//! | `*.lznt1` | clusters that ntfs-3g 2022.10.3 wrote, up to the header of zeros |
//!
//! `mixed-kinds` has seven blocks of all three kinds, two of them uncompressed with an odd length; `calls` is x86-64 code
//! of 95 calls; `stored` has a chunk of LZNT1 that is not compressed between two that are;
//! `blocks` has a code for its first 64 KiB and another one for what follows.

use super::{Codec, Codecs};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

struct Golden {
    name: String,
    codec: Codec,
    compressed: Vec<u8>,
    plain: Vec<u8>,
}

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/compressed/golden").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What vectors of this name have in them.
fn plain(name: &str) -> Vec<u8> {
    match name {
        "zeros" => vec![0; 32768],
        "abc" => b"abc".iter().copied().cycle().take(32768).collect(),
        "random" => read("random")[..600].to_vec(),
        "blocks" => [b"abc".repeat(21_334)[..64_000].to_vec(), read("text")].concat(),
        "stored" => [&read("mixed")[..4096], &read("random"), &read("text")[..1000]].concat(),
        _ => read(name),
    }
}

fn golden() -> Vec<Golden> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/compressed/golden");
    let names = fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable").file_name());
    let mut all = Vec::new();
    for name in names {
        let name = name.to_str().expect("text");
        let Some((stem, ending)) = name.split_once('.') else { continue };
        let codec = Codec::of(ending).unwrap_or_else(|| panic!("{name} is of no codec"));
        let own = stem.split_once('-').map_or(stem, |(own, _)| own);
        all.push(Golden { name: name.to_owned(), codec, compressed: read(name), plain: plain(own) });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// A vector of this name, and how much it gives.
pub(crate) fn vector(name: &str) -> (Vec<u8>, usize) {
    let golden = golden().into_iter().find(|golden| golden.name == name).expect("it is there");
    (golden.compressed, golden.plain.len())
}

#[test]
fn they_decompress_to_what_went_in() {
    let mut codecs = Codecs::new();
    let mut counts = BTreeMap::new();
    for golden in golden() {
        let mut out = vec![0xaa; golden.plain.len()];
        match codecs.run(golden.codec, &golden.compressed, &mut out) {
            Ok(length) => assert!(length == out.len() && out == golden.plain, "{}: {length} bytes", golden.name),
            Err(error) => panic!("{}: {error}", golden.name),
        }
        *counts.entry(golden.codec).or_insert(0) += 1;
    }
    assert_eq!(Vec::from_iter(counts), [(Codec::Lznt1, 5), (Codec::Xpress, 6), (Codec::Lzx, 10)], "all of them");
}

#[test]
fn what_is_cut_short_is_told_or_has_no_bytes_of_its_own() {
    let mut codecs = Codecs::new();
    for golden in golden() {
        let mut told = 0;
        for length in 0..golden.compressed.len() {
            let mut out = vec![0xaa; golden.plain.len()];
            match codecs.run(golden.codec, &golden.compressed[..length], &mut out) {
                Ok(filled) => {
                    // Only LZNT1 may end early, and only bits behind the last symbol are needless.
                    assert!(filled == out.len() || golden.codec == Codec::Lznt1, "{} {length}", golden.name);
                    assert_eq!(out[..filled], golden.plain[..filled], "{} {length}", golden.name);
                }
                Err(_) => told += 1,
            }
        }
        assert!(told > golden.compressed.len() / 2, "{}: {told}", golden.name);
    }
}

#[test]
fn a_changed_bit_gives_an_error_or_output_and_the_same_each_time() {
    let mut codecs = Codecs::new();
    let (mut refused, mut other, mut same) = (0, 0, 0);
    for golden in golden() {
        let mut input = golden.compressed;
        let mut out = vec![0; golden.plain.len()];
        for bit in 0..input.len() * 8 {
            input[bit / 8] ^= 1 << (bit % 8);
            let result = codecs.run(golden.codec, &input, &mut out);
            match &result {
                Ok(length) if out[..*length] == golden.plain => same += 1,
                Ok(_) => other += 1,
                Err(_) => refused += 1,
            }
            if bit % 61 == 0 {
                let mut again = vec![0xaa; golden.plain.len()];
                let second = Codecs::new().run(golden.codec, &input, &mut again);
                assert_eq!(format!("{result:?}"), format!("{second:?}"), "{} {bit}", golden.name);
                if let Ok(length) = second {
                    assert_eq!(out[..length], again[..length], "{} {bit}", golden.name);
                }
            }
            input[bit / 8] ^= 1 << (bit % 8);
        }
    }
    eprintln!("bits changed: {refused} refused, {other} decompress to something else, {same} to the same");
    assert!(refused > 10_000 && other > 10_000, "{refused} {other} {same}");
}
