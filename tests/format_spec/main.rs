//! The specification against the library: what `format-spec/` shows is decoded, compared with what its prose says, and
//! made again.
//!
//! Always true here:
//! - Every named block of every chapter is read by a test; a block that none reads fails one.
//! - Sealing and opening is done by hand, as the chapters say it.
//!
//! The hex blocks are written by `cargo test --test format_spec -- --ignored write_the_examples`; a change there
//! is a change of the format.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod content;
mod examples;
mod markdown;
mod objects;
mod opening;
mod records;
mod trees;
mod whole;
mod writing;

use examples::{Given, Repository};
use markdown::{Block, blocks, chapters, tables};
use sheaf::crypto::recipient::{self, SealedKey};
use sheaf::crypto::{aead, password};
use sheaf::format::audit::{self, AuditObject};
use sheaf::format::config::{self, CHUNKER_FASTCDC_2020, Chunking, Config};
use sheaf::format::keys::{self, SealedBundle};
use sheaf::format::object::{self, HEADER_LENGTH, SealedTo};
use sheaf::format::session::{self, SessionRecord};
use sheaf::format::signature::{self, SignatureBlock};
use sheaf::format::snapshot::{self, SnapshotObject};
use sheaf::format::{index, manifest, pack, parity, retired, tree};
use sheaf::ids::to_hex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every named block of every chapter, with its chapter.
fn all_blocks() -> BTreeMap<String, (String, Block)> {
    let mut all = BTreeMap::new();
    for (chapter, text) in chapters() {
        for block in blocks(&text) {
            let name = block.name.clone();
            assert!(all.insert(name.clone(), (chapter.clone(), block)).is_none(), "{name} is there twice");
        }
    }
    all
}

fn block(name: &str) -> Block {
    all_blocks().remove(name).unwrap_or_else(|| panic!("no chapter has a block {name}")).1
}

fn shown(name: &str) -> Vec<u8> {
    block(name).bytes()
}

/// The example repository, with the two parts that are not made again taken from the chapters.
fn repository() -> Repository {
    let key = |text: &[u8]| {
        let SealedTo { encapsulated, ciphertext, .. } = SealedTo::decode("example", text).expect("decodes");
        SealedKey { encapsulated, ciphertext }
    };
    let operator = |_: &[u8]| {
        let bytes = shown("snapshot-example");
        let (object, _) = SignatureBlock::split(&bytes).expect("a signature");
        key(SnapshotObject::decode(object).expect("decodes").operator)
    };
    let maker = |name: &str| {
        let bytes = shown(name);
        let (_, block) = SignatureBlock::split(&bytes).expect("a signature");
        key(block.certificate)
    };
    let snapshot_maker = |_: &[u8]| maker("snapshot-example");
    let index_maker = |_: &[u8]| maker("index-object-example");
    let card = |_: &[u8]| {
        let bytes = shown("keys-example");
        key(SealedBundle::decode(&bytes).expect("decodes").card)
    };
    let slot = |_: &[u8; 32]| {
        let bytes = shown("snapshot-example");
        let (object, _) = SignatureBlock::split(&bytes).expect("a signature");
        SnapshotObject::decode(object).expect("decodes").recipients[0].clone()
    };
    Repository::build(&Given {
        frame: shown("chunk-zstd-packed")[1..].to_vec(),
        slot: &slot,
        operator: &operator,
        card: &card,
        escrow: &|_| {
            let bytes = shown("keys-example");
            let (encapsulated, ciphertext) = SealedBundle::decode(&bytes).expect("decodes").escrow;
            SealedKey { encapsulated, ciphertext }
        },
        snapshot_maker: &snapshot_maker,
        index_maker: &index_maker,
        audit_maker: &|_| maker("audit-example"),
        audit: &|_| {
            let bytes = shown("audit-example");
            let (object, _) = SignatureBlock::split(&bytes).expect("a signature");
            let AuditObject { body, .. } = AuditObject::decode(object).expect("decodes");
            SealedKey { encapsulated: body.encapsulated, ciphertext: body.ciphertext }
        },
        retired_maker: &|_| maker("retired-object-example"),
        holder: &|_| key(&SessionRecord::decode(&shown("session-record-example")).expect("decodes").holder),
    })
}

#[test]
fn every_file_of_the_format_has_a_chapter_and_every_chapter_a_file() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/format");
    let mut expected: BTreeSet<String> = std::fs::read_dir(source)
        .expect("src/format is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name != "mod")
        .collect();
    // Names are needed below the format, by storage: src/names.rs.
    expected.extend(["README", "names", "chunk", "threats"].map(str::to_owned));
    let chapters = chapters();
    assert_eq!(chapters.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for name in expected.iter().filter(|name| *name != "README") {
        assert!(chapters["README"].contains(&format!("({name}.md)")), "README.md does not lead to {name}.md");
    }
}

#[test]
fn links_between_chapters_lead_somewhere() {
    let chapters = chapters();
    for (name, text) in &chapters {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let Some(file) = target.strip_suffix(".md") else {
                assert!(target.starts_with("https://"), "{name}.md leads to {target}");
                continue;
            };
            assert!(chapters.contains_key(file), "{name}.md leads to {target}");
        }
    }
}

#[test]
fn every_block_is_known_and_shows_what_the_library_writes() {
    let repository = repository();
    let mut blocks = all_blocks();
    for example in repository.examples() {
        let (chapter, block) = blocks.remove(example.name).unwrap_or_else(|| panic!("{} is missing", example.name));
        assert_eq!((chapter.as_str(), block.language.as_str()), (example.chapter, "hex"), "{}", example.name);
        assert_eq!(to_hex(&block.bytes()), to_hex(&example.bytes()), "{}", example.name);
        assert_eq!(block.lines, example.dump(), "{}", example.name);
    }
    let others: Vec<&str> = blocks.keys().map(String::as_str).collect();
    assert_eq!(
        others,
        ["manifest-known-cuts", "names-example", "names-strangers", "reference-known-cuts", "tree-known-answers"]
    );
}

#[test]
fn the_offsets_of_every_byte_table_are_the_sums_of_the_sizes() {
    let mut seen = 0;
    for (chapter, text) in chapters() {
        for table in tables(&text, &["offset", "size", "field"]) {
            let mut next = None;
            for row in &table {
                let (offset, size) = (row[0].parse::<u64>().ok(), row[1].parse::<u64>().ok());
                if let (Some(next), Some(offset)) = (next, offset) {
                    assert_eq!(offset, next, "{chapter}.md: `{}`", row[2]);
                }
                next = offset.zip(size).map(|(offset, size)| offset + size);
            }
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} byte tables were found");
}

#[test]
fn constants_of_the_chapters_are_those_of_the_code() {
    let mut expected: BTreeMap<(&str, String), String> = BTreeMap::new();
    macro_rules! constants {
        ($($chapter:literal: $($constant:expr),+;)+) => {
            $($(expected.insert(($chapter, stringify!($constant).replace(' ', "")), $constant.to_string());)+)+
        };
    }
    constants! {
        "object": object::VERSION, object::KNOWN_REQUIRED, HEADER_LENGTH, object::SEALED_TO_PREFIX;
        "config": config::MAX_LENGTH, CHUNKER_FASTCDC_2020, Chunking::MAX, Chunking::MIN, Chunking::LARGEST_MIN,
            Chunking::LARGEST_AVERAGE, Chunking::SMALLEST_MAX, Config::MAX_PACK_SIZE, Config::DEFAULT_PACK_SIZE,
            Config::LEAST_PARITY_RATIO, Config::LARGEST_PARITY_RATIO, Config::DEFAULT_PARITY_RATIO;
        "parity": parity::HEAD_LENGTH, parity::SUM_LENGTH, parity::SECTOR_LENGTH, parity::BLOCK_LENGTH,
            parity::PARITY_SECTORS, parity::LEAST_DATA_SECTORS, parity::MAX_DATA_SECTORS, parity::MAX_COVERED,
            parity::MAX_LENGTH;
        "keys": keys::MAX_LENGTH, keys::MAX_CARD_LENGTH, password::MAX_MEMORY_KIB, password::MAX_PASSES,
            password::MAX_LANES;
        "chunk": aead::NONCE_LENGTH, aead::TAG_LENGTH, aead::OVERHEAD, pack::CHUNK_OVERHEAD;
        "pack": pack::PACK_HEADER_LENGTH, pack::FOOTER_LENGTH, pack::ENTRY_LENGTH, pack::MAX_LENGTH,
            pack::CHUNK_OVERHEAD;
        "index": index::MAX_LENGTH;
        "session": session::MAX_LENGTH;
        "retired": retired::MAX_LENGTH;
        "audit": audit::MAX_LENGTH, audit::MAX_PREVIOUS, audit::MAX_SUBJECTS, audit::FACTS_LENGTH;
        "signature": signature::MAKER_LENGTH, signature::MAX_BLOCK_LENGTH;
        "tree": tree::ENTRY_LENGTH, tree::MAX_DEPTH, tree::MIN_ENTRIES, tree::MAX_ENTRIES, tree::CLOSING_MASK;
        "manifest": manifest::RECORD_LENGTH, manifest::MAX_RECORDS;
        "snapshot": snapshot::MAX_LENGTH, snapshot::MAX_RECIPIENTS, recipient::ENCAPSULATED_LENGTH,
            recipient::SEALED_LENGTH;
    }
    let chapters = chapters();
    let mut found = BTreeMap::new();
    for (chapter, text) in &chapters {
        for row in tables(text, &["constant", "value"]).iter().flatten() {
            found.insert((chapter.as_str(), row[0].trim_matches('`').to_owned()), row[1].clone());
        }
    }
    assert_eq!(found, expected);

    // A public number in src/format that no chapter names is a fact that is not specified.
    for (chapter, text) in &chapters {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/format/{chapter}.rs"));
        let Ok(source) = std::fs::read_to_string(path) else { continue };
        for line in source.lines() {
            let Some((name, kind)) = line.trim().strip_prefix("pub const ").and_then(|rest| rest.split_once(": "))
            else {
                continue;
            };
            let number = ["u8 ", "u16 ", "u32 ", "u64 ", "usize "].iter().any(|number| kind.starts_with(number));
            let known = expected.keys().any(|(at, constant)| at == chapter && constant.ends_with(name));
            assert!(!number || known, "{chapter}.md does not name {name}");
            assert!(!number || text.contains(name), "{chapter}.md does not name {name}");
        }
    }
}
