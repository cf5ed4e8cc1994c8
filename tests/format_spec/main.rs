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

mod examples;
mod markdown;

use examples::{Example, Given, Repository, chunk_associated};
use markdown::{Block, blocks, chapters, tables};
use sheaf::crypto::derive::{self, RecordKind, Rotated};
use sheaf::crypto::password::{self, Password, PasswordCost, password_key};
use sheaf::crypto::recipient::{self, SealedKey};
use sheaf::crypto::sign::{self, Purpose, SigningKey};
use sheaf::crypto::{CryptoError, Secret, aead};
use sheaf::disk::{DiskOffset, Extent, KeptOffset};
use sheaf::format::audit::{AuditFacts, AuditObject, AuditRecord};
use sheaf::format::certificate::{Role, SignedCertificate};
use sheaf::format::config::{CHUNKER_FASTCDC_2020, Chunking, Config};
use sheaf::format::index::IndexSegment;
use sheaf::format::keys::{KeyRecord, Protection, SealedBundle};
use sheaf::format::manifest::{DiskMap, HoleKind, MapRecord, Origin, Segment};
use sheaf::format::object::{HEADER_LENGTH, Magic, SealedObject, SealedTo};
use sheaf::format::pack::{self, Footer, PackEntry, PackKind};
use sheaf::format::parity::Head;
use sheaf::format::retired::Retirement;
use sheaf::format::session::{HolderRecord, SessionKind, SessionRecord};
use sheaf::format::signature::{self, SignatureBlock};
use sheaf::format::snapshot::{OperatorRecord, PrivateRecord, RecipientSlot, SnapshotObject};
use sheaf::format::tree::{self, TreeEntry, TreeNode, TreeRoot};
use sheaf::format::{FormatError, audit, config, index, keys, manifest, object, parity, retired, session, snapshot};
use sheaf::ids::{ChunkId, ChunkKey, RecipientId, to_hex};
use sheaf::names::{ObjectKind, ObjectName};
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

/// Opens a stored chunk as chunk.md says.
fn open_chunk(secret: &Secret, key: &ChunkKey, entry: &PackEntry, stored: &[u8]) -> Vec<u8> {
    assert_eq!(derive::chunk_id(key), entry.id);
    assert_eq!(stored.len(), entry.sealed_length as usize);
    let packed = aead::open(key.expose(), &chunk_associated(entry), stored).expect("opened");
    let (compression, packed) = packed.split_first().expect("a compression byte");
    let plaintext = match compression {
        0 => packed.to_vec(),
        1 => zstd::bulk::decompress(packed, entry.plain_length as usize).expect("one frame"),
        other => panic!("compression {other}"),
    };
    assert_eq!(plaintext.len(), entry.plain_length as usize);
    assert_eq!(&derive::chunk_key(secret, &plaintext), key);
    plaintext
}

/// Opens a text that was sealed to a public key, as object.md says.
fn open_with(private: &Secret, info: &[u8], associated: &[u8], text: &[u8]) -> Vec<u8> {
    let SealedTo { encapsulated, ciphertext, sealed } = SealedTo::decode("example", text).expect("decodes");
    let key = recipient::open(private, info, associated, &SealedKey { encapsulated, ciphertext }).expect("opened");
    aead::open(key.expose(), associated, sealed).expect("opened")
}

/// An object without its signature, which is that of the key in this bundle, as signature.md says.
fn verified<'a>(object: &'a [u8], purpose: Purpose, record: &KeyRecord) -> &'a [u8] {
    let (signed, block) = SignatureBlock::split(object).expect("a signature");
    let hash = derive::object_id(signed);
    let secret = |field: &minicbor::bytes::ByteVec| Secret::new(field.as_slice().try_into().expect("32 bytes"));
    let key = derive::record_key(&secret(&record.index_key), RecordKind::Signature);
    let maker = aead::open(key.expose(), hash.as_bytes(), block.maker).expect("opened");
    let catalog = secret(record.catalog_key.as_ref().expect("there"));
    let certificate = open_with(&catalog, examples::MAKER_INFO, hash.as_bytes(), block.certificate);
    let certificate = SignedCertificate::decode(&certificate).expect("decodes").certificate().expect("decodes");
    assert_eq!(certificate.key.as_bytes()[..], maker[..32]);
    let signature = maker[32..].try_into().expect("64 bytes");
    sign::verify(&certificate.key, purpose, signed, signature).expect("signed by this key");
    signed
}

// --- The chapters as a whole ---------------------------------------------------------------------------

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

// --- names.md, object.md, config.md, keys.md -----------------------------------------------------------

#[test]
fn names_are_read_as_names_and_strangers_are_left_alone() {
    let mut kinds = Vec::new();
    for path in block("names-example").lines {
        let name = ObjectName::parse(&path).unwrap_or_else(|| panic!("{path} is a name"));
        assert_eq!(name.path(), path);
        kinds.push(name.kind());
    }
    assert_eq!(kinds, ObjectKind::ALL);
    let strangers = block("names-strangers").lines;
    assert!(strangers.len() >= 5);
    for path in strangers {
        assert_eq!(ObjectName::parse(&path), None, "{path}");
    }
    // The table of kinds says which are named by their content and which fan out.
    let rows = tables(&chapters()["names"], &["path", "object", "named by"]).remove(0);
    assert_eq!(rows.len(), ObjectKind::ALL.len());
    for (row, kind) in rows.iter().zip(ObjectKind::ALL) {
        assert!(row[0].starts_with(&format!("`{}", kind.folder())), "{row:?}");
        assert_eq!(row[0].contains("<xx>"), kind.fanned_out(), "{row:?}");
        assert_eq!(row[2].contains("BLAKE3"), kind.named_by_content(), "{row:?}");
        assert!(row[1].contains(kind.noun()), "{row:?}");
    }
}

#[test]
fn object_the_header() {
    let bytes = shown("object-example");
    let header = SealedObject::decode(Magic::Index, &bytes).expect("decodes").header;
    assert_eq!(header.repository.to_string(), "000102030405060708090a0b0c0d0e0f");
    assert_eq!((header.optional_features, bytes.len()), (0, HEADER_LENGTH));
    assert_eq!(header.encode(Magic::Index)[..], bytes);
    let rows = tables(&chapters()["object"], &["byte 5", "kind"]).remove(0);
    let kinds = [
        Magic::Config,
        Magic::Key,
        Magic::Pack,
        Magic::Index,
        Magic::Snapshot,
        Magic::Audit,
        Magic::Session,
        Magic::Retired,
        Magic::Parity,
    ];
    assert_eq!(rows.len(), kinds.len());
    for (row, kind) in rows.iter().zip(kinds) {
        assert_eq!(row[0], format!("{:02x} `{}`", kind as u8, char::from(kind as u8)));
    }
}

#[test]
fn parity_heads_and_the_one_sector_of_the_example() {
    let bytes = shown("parity-example");
    let config = shown("config-example");
    let (front, back) = (Head::decode_front(&bytes).expect("decodes"), Head::decode_back(&bytes).expect("decodes"));
    assert_eq!(front, back);
    let layout = front.layout;
    assert_eq!((layout.length(), layout.sectors(), layout.codewords()), (config.len() as u64, 1, 1));
    assert_eq!((layout.sector_length(), layout.promise()), (128, layout.length()));
    assert_eq!((front.kind, front.hash), (ObjectKind::Config, *blake3::hash(&config).as_bytes()));
    assert_eq!(front.data_sum(0), Some(&parity::sum(&config)));
    let sector = &bytes[layout.copy_length() as usize..][..128];
    assert_eq!(front.parity_sum(0), Some(&parity::sum(sector)));
    // A codeword of one place: the polynomial is a constant, and so its parity is its data.
    assert_eq!(sector[..config.len()], config);
    assert_eq!(sector[config.len()..], [0; 128][config.len()..]);
    let context = "sheaf v1 2026-11 parity of the config";
    let id = blake3::derive_key(context, b"");
    assert_eq!(ObjectName::CONFIG_PARITY.as_bytes(), &id);
    assert!(chapters()["parity"].contains(context) && chapters()["parity"].contains(&to_hex(&id)));
}

#[test]
fn config_the_whole_object() {
    let bytes = shown("config-example");
    let config = Config::decode(&bytes).expect("decodes");
    assert_eq!(config.record.created_ms, 1_795_000_000_000);
    let Chunking { algorithm, min, average, max, normalization } = config.record.chunking;
    assert_eq!((algorithm, min, average, max, normalization), (1, 32_768, 65_536, 262_144, 1));
    assert_eq!((config.record.pack_size, config.record.compression_level, config.record.parity), (67_108_864, 3, 0));
    assert_eq!(config.record.tool, "sheaf 0.1.0");
    assert_eq!(config.encode(), bytes);
}

/// Puts `bytes` in the place of the config's record and makes the checksum right.
fn config_with_record(record: &[u8]) -> Vec<u8> {
    let header = &shown("config-example")[..HEADER_LENGTH];
    let covered = [header, record].concat();
    [&covered[..], derive::object_id(&covered).as_bytes()].concat()
}

/// README.md, "Records": what a reader of CBOR takes and what it refuses.
#[test]
fn records_are_read_as_the_readme_says() {
    let bytes = shown("config-example");
    let config = Config::decode(&bytes).expect("decodes");
    let record = &bytes[HEADER_LENGTH..bytes.len() - 32];
    assert_eq!(record[0], 0xa6, "a map of six pairs");
    let with = |count: u8, more: &[u8]| config_with_record(&[&[0xa0 | count], &record[1..], more].concat());

    assert_eq!(Config::decode(&with(7, &[0x18, 40, 0x82, 1, 2])).as_ref(), Ok(&config), "an unknown key is skipped");
    let indefinite = [&[0xbf], &record[1..], &[0xff]].concat();
    assert_eq!(Config::decode(&config_with_record(&indefinite)).as_ref(), Ok(&config), "an indefinite map");
    let twice = Config::decode(&with(7, &[3, 9])).expect("a key that stands twice");
    assert_eq!(twice.record.compression_level, 9, "the last one counts");
    let refused = |bytes: &[u8]| matches!(Config::decode(bytes), Err(FormatError::Record { .. }));
    assert!(refused(&with(6, &[0])), "bytes behind the record");
    assert!(refused(&with(7, &[])), "a map that is too short");
    assert!(refused(&with(7, &[4, 0x20])), "a negative number where there is none");
    assert!(refused(&config_with_record(&[0xa0])), "a required field that is missing");
}

#[test]
fn keys_the_bundle_opens_with_the_password() {
    let bytes = shown("keys-example");
    let bundle = SealedBundle::decode(&bytes).expect("decodes");
    let Protection::Password { memory_kib, passes, lanes, salt } = bundle.protection else {
        panic!("a password was expected");
    };
    assert_eq!((memory_kib, passes, lanes, salt), (64, 1, 1, [0x44; 16]));
    assert_eq!(bundle.outer.len(), 64 + 4 + bundle.card.len() + 80);
    let (encapsulated, ciphertext) = bundle.escrow;
    let escrow = SealedKey { encapsulated, ciphertext };
    let (admins, _) = examples::recipient();
    let escrow = recipient::open(&admins, examples::ESCROW_INFO, &bytes[..32], &escrow).expect("opened");
    let card = open_with(&examples::catalog().0, examples::CARD_INFO, &bytes[..32], bundle.card);
    assert_eq!(card, shown("certificate-example"));
    let cost = PasswordCost { memory_kib, passes, lanes };
    let key = password_key(&Password::new(b"correct horse battery staple".to_vec()), &salt, cost).expect("hashed");
    let chapter = &chapters()["keys"];
    assert_eq!(escrow, key, "the admins have the key of the record as well");
    assert!(chapter.contains(&to_hex(key.expose())), "keys.md does not show {}", to_hex(key.expose()));
    let opened = aead::open(key.expose(), bundle.outer, bundle.sealed).expect("opened");
    assert_eq!(opened, shown("keys-record-example"));
    let record = KeyRecord::decode(&opened).expect("decodes");
    assert_eq!(record.certificate[..], shown("certificate-example"));
    assert_eq!(record.config[..], shown("config-example"));
    assert_eq!(record.encode()[..], opened);

    // Costs and salt are bound: each changed byte of the outer part spoils the seal.
    for position in 0..bundle.outer.len() {
        let mut outer = bundle.outer.to_vec();
        outer[position] ^= 1;
        assert_eq!(aead::open(key.expose(), &outer, bundle.sealed), Err(CryptoError::Authentication));
    }
}

#[test]
fn certificate_the_authority_signed_it() {
    let signed = SignedCertificate::decode(&shown("certificate-example")).expect("decodes");
    assert_eq!(signed.record[..], shown("certificate-record-example"));
    let certificate = signed.certificate().expect("decodes");
    assert_eq!((certificate.role, certificate.label.as_str()), (Role::Admin, "first key"));
    assert_eq!(certificate.key, SigningKey::from_seed(&examples::signing_seed()).id());
    let authority = SigningKey::from_seed(&examples::authority_seed()).id();
    let chapter = &chapters()["certificate"];
    assert!(chapter.contains(&authority.to_string()), "certificate.md does not show {authority}");
    sign::verify(&authority, Purpose::Certificate, &signed.record, &signed.signature).expect("verified");
    assert_eq!(signed.encode(), shown("certificate-example"));
    assert_eq!(certificate.encode(), shown("certificate-record-example"));
}

#[test]
fn keys_every_derivation_has_its_known_answer() {
    let rows = tables(&chapters()["keys"], &["derived", "context", "known answer"]).remove(0);
    let secret = Secret::new([0x11; 32]);
    let key = derive::chunk_key(&secret, b"sheaf");
    let rotated = |what| to_hex(derive::rotated(&secret, &secret, what).expose());
    let expected = [
        ("", to_hex(key.expose())),
        ("sheaf v1 2026-11 chunk id", derive::chunk_id(&key).to_string()),
        ("sheaf v1 2026-11 reference secret", to_hex(derive::reference_secret(&secret).expose())),
        ("sheaf v1 2026-11 pack trailer", to_hex(derive::record_key(&secret, RecordKind::PackTrailer).expose())),
        ("sheaf v1 2026-11 index segment", to_hex(derive::record_key(&secret, RecordKind::IndexSegment).expose())),
        ("sheaf v1 2026-11 signature", to_hex(derive::record_key(&secret, RecordKind::Signature).expose())),
        ("sheaf v1 2026-11 session", to_hex(derive::record_key(&secret, RecordKind::Session).expose())),
        ("sheaf v1 2026-11 retirement", to_hex(derive::record_key(&secret, RecordKind::Retirement).expose())),
        ("sheaf v1 2026-11 audit facts", to_hex(derive::record_key(&secret, RecordKind::AuditFacts).expose())),
        ("sheaf v1 2026-11 rotation: index key", rotated(Rotated::IndexKey)),
        ("sheaf v1 2026-11 rotation: dedup secret", rotated(Rotated::DedupSecret)),
        ("sheaf v1 2026-11 rotation: admins' key", rotated(Rotated::AdminsKey)),
        ("sheaf v1 2026-11 rotation: catalog key", rotated(Rotated::CatalogKey)),
        ("sheaf v1 2026-11 rotation: audit key", rotated(Rotated::AuditKey)),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (context, answer)) in rows.iter().zip(expected) {
        assert_eq!(row[2].trim_matches('`'), answer, "{row:?}");
        if !context.is_empty() {
            assert_eq!(row[1].trim_matches('`'), context);
            // BLAKE3's own definition of derive_key, not ours.
            let material = match context {
                _ if context.ends_with("chunk id") => key.expose().to_vec(),
                _ if context.contains("rotation") => [*secret.expose(); 2].concat(),
                _ => secret.expose().to_vec(),
            };
            assert_eq!(to_hex(&blake3::derive_key(context, &material)), answer);
        }
    }
}

// --- chunk.md, pack.md, index.md -----------------------------------------------------------------------

#[test]
fn chunks_open_by_hand_and_are_bound_to_id_and_lengths() {
    let repository = repository();
    let secret = examples::dedup_secret();
    let chapter = &chapters()["chunk"];
    let cases = [("chunk-raw-example", b"sheaf".to_vec(), 34), ("chunk-zstd-example", examples::file_content(), 0)];
    for (chunk, (name, plaintext, sealed_length)) in repository.chunks.iter().zip(cases) {
        let stored = shown(name);
        assert_eq!(open_chunk(&secret, &chunk.key, &chunk.entry, &stored), plaintext);
        assert!(sealed_length == 0 || chunk.entry.sealed_length == sealed_length);
        for shown in [to_hex(chunk.key.expose()), chunk.entry.id.to_string(), format!("| {} |", stored.len())] {
            assert!(chapter.contains(&shown), "chunk.md does not show {shown}");
        }
        let spoil: [fn(&mut PackEntry); 3] =
            [|e| e.id = ChunkId::new([0; 32]), |e| e.plain_length += 1, |e| e.sealed_length += 1];
        for spoil in spoil {
            let mut entry = chunk.entry;
            spoil(&mut entry);
            let opened = aead::open(chunk.key.expose(), &chunk_associated(&entry), &stored);
            assert_eq!(opened, Err(CryptoError::Authentication));
        }
        // Sealed by hand with the nonce that stands there, the bytes are the same.
        let packed = aead::open(chunk.key.expose(), &chunk_associated(&chunk.entry), &stored).expect("opened");
        assert_eq!(examples::chunk(&secret, stored[0], &plaintext, &packed).stored, stored);
    }
    assert_eq!(shown("chunk-zstd-packed")[..5], [1, 0x28, 0xb5, 0x2f, 0xfd], "a zstd frame (RFC 8878, 3.1.1)");
}

fn open_pack(bytes: &[u8]) -> (PackKind, Vec<PackEntry>) {
    let (id, kind) = pack::decode_header(bytes).expect("decodes");
    assert_eq!(id, examples::repository());
    let footer = Footer::decode(bytes.last_chunk().expect("a footer"), bytes.len() as u64).expect("decodes");
    assert_eq!(footer.encode()[..], bytes[bytes.len() - 32..]);
    let trailer = &bytes[footer.body_length as usize..][..footer.trailer_length as usize];
    let key = derive::record_key(&examples::index_key(), RecordKind::PackTrailer);
    let listing = aead::open(key.expose(), &bytes[..64], trailer).expect("opened");
    let entries = pack::decode_listing(&listing).expect("decodes");
    assert_eq!(pack::encode_listing(&entries), listing);
    pack::check_body(&entries, &footer).expect("the chunks fill the body");
    (kind, entries)
}

#[test]
fn packs_open_with_the_index_key() {
    let bytes = shown("pack-example");
    let (kind, entries) = open_pack(&bytes);
    assert_eq!((kind, entries.len()), (PackKind::Data, 2));
    assert_eq!(pack::encode_listing(&entries), shown("pack-listing-example"));
    let (kind, entries) = open_pack(&shown("pack-meta-example"));
    assert_eq!((kind, entries.len()), (PackKind::Meta, 3));
    let chapter = &chapters()["pack"];
    for name in ["pack-example", "pack-meta-example"] {
        let id = derive::object_id(&shown(name)).to_string();
        assert!(chapter.contains(&id), "pack.md does not show {id}");
    }
    let offsets: Vec<u64> = pack::with_offsets(&entries).map(|(offset, _)| offset.0).collect();
    assert_eq!(offsets, [64, 181, 402]);
}

#[test]
fn index_segments_open_with_the_index_key() {
    let bytes = shown("index-object-example");
    let (bytes, _) = SignatureBlock::split(&bytes).expect("a signature");
    let object = SealedObject::decode(Magic::Index, bytes).expect("decodes");
    let key = derive::record_key(&examples::index_key(), RecordKind::IndexSegment);
    let opened = aead::open(key.expose(), &bytes[..32], object.sealed).expect("opened");
    assert_eq!(opened, shown("index-example"));
    let segment = IndexSegment::decode(&opened).expect("decodes");
    assert_eq!((segment.supersedes.len(), segment.packs.len(), segment.chunk_count()), (1, 2, 5));
    for (indexed, name) in segment.packs.iter().zip(["pack-example", "pack-meta-example"]) {
        let pack = shown(name);
        assert_eq!((indexed.id, indexed.size), (derive::object_id(&pack), pack.len() as u64));
        assert_eq!((indexed.kind, indexed.entries.clone()), open_pack(&pack));
    }
    assert_eq!(segment.encode(), opened);
}

// --- tree.md, manifest.md, snapshot.md -----------------------------------------------------------------

#[test]
fn tree_the_node_and_the_root() {
    let bytes = shown("tree-node-example");
    let node = TreeNode::decode(&bytes, 0).expect("decodes");
    let spans: Vec<u64> = node.entries.iter().map(|entry| entry.span).collect();
    assert_eq!((spans, node.span()), (vec![5, 4096], 4101));
    assert_eq!(node.encode(), bytes);
    let bytes = shown("tree-root-example");
    let root: TreeRoot = minicbor::decode(&bytes).expect("decodes");
    assert_eq!((root.span, root.depth), (4101, 1));
    let top = root.top().expect("sound").expect("not empty");
    assert_eq!(top.key, derive::chunk_key(&examples::dedup_secret(), &node.encode()));
    assert_eq!(minicbor::to_vec(&root).expect("encodes"), bytes);
    assert_eq!(
        minicbor::to_vec(&TreeRoot::EMPTY).expect("encodes"),
        [0xa2, 0, 0, 1, 0],
        "tree.md shows the empty root"
    );
}

/// Builds a tree as tree.md says, and counts the nodes that were closed on each level.
struct TreeBuilder {
    secret: Secret,
    open: Vec<Vec<TreeEntry>>,
    closed: Vec<Vec<usize>>,
}

impl TreeBuilder {
    fn push(&mut self, level: usize, entry: TreeEntry) {
        if self.open.len() == level {
            self.open.push(Vec::new());
            self.closed.push(Vec::new());
        }
        let closes = entry.closes_node();
        self.open[level].push(entry);
        let count = self.open[level].len();
        if count >= tree::MIN_ENTRIES && closes || count == tree::MAX_ENTRIES {
            self.close(level);
        }
    }

    fn close(&mut self, level: usize) {
        let node = TreeNode { level: level as u8, entries: std::mem::take(&mut self.open[level]) };
        self.closed[level].push(node.entries.len());
        let bytes = node.encode();
        assert_eq!(TreeNode::decode(&bytes, level as u8).as_ref(), Ok(&node));
        self.push(level + 1, TreeEntry { key: derive::chunk_key(&self.secret, &bytes), span: node.span() });
    }

    /// The lines of one known answer.
    fn build(title: &str, chunks: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
        let mut builder = Self { secret: examples::dedup_secret(), open: Vec::new(), closed: Vec::new() };
        for chunk in chunks {
            let entry = TreeEntry { key: derive::chunk_key(&builder.secret, &chunk), span: chunk.len() as u64 };
            builder.push(0, entry);
        }
        let mut level = 0;
        while level + 1 < builder.open.len() || builder.open[level].len() != 1 {
            if !builder.open[level].is_empty() {
                builder.close(level);
            }
            level += 1;
        }
        let root = TreeRoot::new(level as u8, &builder.open[level][0]);
        let top = root.top().expect("sound").expect("not empty");
        let mut lines = vec![format!("{title}: span {}, depth {}", root.span, root.depth)];
        for (level, nodes) in builder.closed.iter().enumerate().filter(|(_, nodes)| !nodes.is_empty()) {
            let counts: Vec<String> = nodes.iter().map(usize::to_string).collect();
            lines.push(format!("  level {level}: {}", counts.join(" ")));
        }
        lines.push(format!("  top {}", to_hex(top.key.expose())));
        lines
    }
}

fn tree_known_answers() -> Vec<String> {
    let numbers = |count: u64| (0..count).map(|number| number.to_le_bytes().to_vec());
    [
        TreeBuilder::build("1 chunk", numbers(1)),
        TreeBuilder::build("2 chunks", numbers(2)),
        TreeBuilder::build("10000 chunks", numbers(10_000)),
        TreeBuilder::build("5000 equal chunks", std::iter::repeat_n(7_u64.to_le_bytes().to_vec(), 5000)),
    ]
    .concat()
}

/// Cuts records that close a chunk with `closes`, and gives the records of each chunk.
fn cuts(closes: impl Iterator<Item = u32>) -> Vec<String> {
    const AT_LEAST: usize = 256;
    const AT_MOST: usize = 4096;
    const MASK: u32 = 0x3ff;
    let mut chunks = vec![0];
    for closes in closes {
        let last = chunks.last_mut().expect("one at least");
        *last += 1;
        if *last >= AT_LEAST && closes & MASK == 0 || *last == AT_MOST {
            chunks.push(0);
        }
    }
    if chunks.last() == Some(&0) {
        chunks.pop();
    }
    let counts: Vec<String> = chunks.iter().map(usize::to_string).collect();
    counts.chunks(16).map(|line| line.join(" ")).collect()
}

fn first_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn manifest_known_cuts() -> Vec<String> {
    let record = |number: u64| {
        let extent = Extent { start: DiskOffset(number * 4096), length: 4096 };
        MapRecord::Hole(HoleKind::Zero, extent).encode()
    };
    cuts((0..20_000).map(|number| first_u32(blake3::hash(&record(number)).as_bytes())))
}

fn reference_known_cuts() -> Vec<String> {
    let id = |number: u64| derive::chunk_id(&derive::chunk_key(&examples::dedup_secret(), &number.to_le_bytes()));
    cuts((0..10_000).map(|number| first_u32(id(number).as_bytes())))
}

#[test]
fn trees_maps_and_reference_lists_are_cut_as_the_known_answers_say() {
    assert_eq!(block("tree-known-answers").lines, tree_known_answers());
    assert_eq!(block("manifest-known-cuts").lines, manifest_known_cuts());
    assert_eq!(block("reference-known-cuts").lines, reference_known_cuts());
}

#[test]
fn manifest_the_map_covers_the_disk_once() {
    let bytes = shown("manifest-example");
    let records: Vec<MapRecord> =
        bytes.as_chunks().0.iter().map(|record| MapRecord::decode(record).expect("decodes")).collect();
    assert_eq!(records, examples::map_records());
    assert_eq!(records.iter().flat_map(MapRecord::encode).collect::<Vec<u8>>(), bytes);
    let map = DiskMap::check(records, 16_384).expect("covers");
    assert_eq!(map.kept(), 4101);
    let segment = |start, length, origin| Segment { extent: Extent { start: DiskOffset(start), length }, origin };
    assert_eq!(
        map.segments(),
        [
            segment(0, 5, Origin::Kept(KeptOffset(0))),
            segment(5, 4091, Origin::Hole(HoleKind::Zero)),
            segment(4096, 2048, Origin::Kept(KeptOffset(2053))),
            segment(6144, 2048, Origin::Hole(HoleKind::Free)),
            segment(8192, 2048, Origin::Kept(KeptOffset(5))),
            segment(10_240, 6144, Origin::Hole(HoleKind::Scratch)),
        ]
    );
}

#[test]
fn snapshot_the_records() {
    let bytes = shown("snapshot-operator-example");
    let operator = OperatorRecord::decode(&bytes).expect("decodes");
    assert_eq!((operator.stick.as_str(), operator.host.as_str(), operator.size), ("ana", "desk", 16_384));
    assert_eq!((operator.time_ms, operator.utc_offset_s), (1_795_000_000_000, 3600));
    assert_eq!((operator.references.span, operator.references.depth), (128, 0));
    assert_eq!(operator.encode()[..], bytes);
    let bytes = shown("snapshot-private-example");
    let private = PrivateRecord::decode(&bytes).expect("decodes");
    assert_eq!((private.data.span, private.data.depth, private.map.span), (4101, 1, 192));
    assert_eq!((private.disk.sector_size, private.disk.source.as_str()), (512, "/dev/sdb"));
    assert_eq!(private.encode()[..], bytes);
}

#[test]
fn audit_the_entry_opens_and_is_signed() {
    let bytes = shown("audit-example");
    let (object, _) = SignatureBlock::split(&bytes).expect("a signature");
    let AuditObject { previous, subjects, chain, facts, bound, body, .. } =
        AuditObject::decode(object).expect("decodes");
    assert_eq!((previous.len(), subjects, chain.len(), bound.len()), (0, 1, 36, 36 + 37 + 32));
    let key = derive::record_key(&examples::index_key(), RecordKind::AuditFacts);
    let facts = aead::open(key.expose(), derive::object_id(chain).as_bytes(), facts).expect("opened");
    assert_eq!(facts, shown("audit-facts-example"));
    let snapshot = derive::object_id(&shown("snapshot-example"));
    assert_eq!(AuditFacts::decode(&facts, subjects), Ok(examples::audit_facts(&snapshot)));
    let associated = derive::object_id(bound);
    let record = open_with(&examples::audit().0, examples::AUDIT_INFO, associated.as_bytes(), &body.encode());
    assert_eq!(record, shown("audit-record-example"));
    let record = AuditRecord::decode(&record).expect("decodes");
    assert_eq!((record.action.as_str(), record.result.as_str(), record.host.as_str()), ("backup", "done", "desk"));
    assert_eq!(record, examples::audit_record());
    let keys = KeyRecord::decode(&shown("keys-record-example")).expect("decodes");
    assert_eq!(verified(&bytes, Purpose::AuditEntry, &keys), object);
}

#[test]
fn retired_the_table_opens_and_is_signed() {
    let bytes = shown("retired-object-example");
    let (object, _) = SignatureBlock::split(&bytes).expect("a signature");
    let sealed = SealedObject::decode(Magic::Retired, object).expect("decodes").sealed;
    let key = derive::record_key(&examples::index_key(), RecordKind::Retirement);
    let opened = aead::open(key.expose(), &object[..32], sealed).expect("opened");
    assert_eq!(opened, shown("retired-example"));
    let retirement = Retirement::decode(&opened).expect("decodes");
    let [pack, segment] = ["pack-example", "index-object-example"].map(|name| derive::object_id(&shown(name)));
    assert_eq!((&retirement.packs[..], &retirement.segments[..]), (&[pack][..], &[segment][..]));
    assert_eq!(retirement.time_ms, 1_795_086_400_000);
    assert_eq!(retirement.encode(), opened);
    let keys = KeyRecord::decode(&shown("keys-record-example")).expect("decodes");
    assert_eq!(verified(&bytes, Purpose::Retirement, &keys), object);
}

#[test]
fn session_the_lease_opens_with_the_index_key_and_its_holder_with_the_catalog_key() {
    let bytes = shown("session-example");
    let sealed = SealedObject::decode(Magic::Session, &bytes).expect("decodes").sealed;
    let key = derive::record_key(&examples::index_key(), RecordKind::Session);
    let opened = aead::open(key.expose(), &bytes[..32], sealed).expect("opened");
    assert_eq!(opened, shown("session-record-example"));
    let record = SessionRecord::decode(&opened).expect("decodes");
    assert_eq!((*record.nonce, record.renewal, record.kind), ([0xdd; 32], 1, SessionKind::Writes as u8));
    let retirement = derive::object_id(&shown("retired-object-example"));
    assert_eq!(record.known().collect::<Vec<_>>(), [retirement]);
    assert_eq!(record.encode(), opened);
    let holder = open_with(&examples::catalog().0, examples::HOLDER_INFO, &record.nonce[..], &record.holder);
    assert_eq!(holder, shown("session-holder-example"));
    let holder = HolderRecord::decode(&holder).expect("decodes");
    assert_eq!(holder, examples::holder_record());
    assert_eq!((holder.host.as_str(), holder.process, holder.command.as_str()), ("desk", 4711, "backup"));

    let kinds = [(SessionKind::Writes, "stores"), (SessionKind::Reads, "reads"), (SessionKind::Prunes, "prunes")];
    for (kind, says) in kinds {
        let says = format!("{}: it {says}", kind as u8);
        assert!(chapters()["session"].contains(&says), "session.md does not say {says}");
    }
}

/// The whole way, with nothing but the password and the objects that the chapters show.
#[test]
fn the_example_repository_restores_from_its_password() {
    // The password opens the key bundle, and the bundle vouches for the config.
    let bundle = shown("keys-example");
    let bundle = SealedBundle::decode(&bundle).expect("decodes");
    let Protection::Password { memory_kib, passes, lanes, salt } = bundle.protection else {
        panic!("a password was expected");
    };
    let password = Password::new(examples::PASSWORD.to_vec());
    let key = password_key(&password, &salt, PasswordCost { memory_kib, passes, lanes }).expect("hashed");
    let record = KeyRecord::decode(&aead::open(key.expose(), bundle.outer, bundle.sealed).expect("opened"));
    let record = record.expect("decodes");
    assert_eq!(record.config[..], shown("config-example"));
    let secret = |field: &minicbor::bytes::ByteVec| Secret::new(field.as_slice().try_into().expect("32 bytes"));
    let optional = |field: &Option<minicbor::bytes::ByteVec>| secret(field.as_ref().expect("there"));
    let (index_key, dedup_secret) = (secret(&record.index_key), optional(&record.dedup_secret));
    let (private_key, catalog_key) = (optional(&record.private_key), optional(&record.catalog_key));

    // The index says where each chunk lies.
    let object = shown("index-object-example");
    let object = verified(&object, Purpose::IndexSegment, &record);
    let sealed = SealedObject::decode(Magic::Index, object).expect("decodes").sealed;
    let segment_key = derive::record_key(&index_key, RecordKind::IndexSegment);
    let segment = aead::open(segment_key.expose(), &object[..32], sealed).expect("opened");
    let segment = IndexSegment::decode(&segment).expect("decodes");
    let packs = [shown("pack-example"), shown("pack-meta-example")];
    let mut located = BTreeMap::new();
    for indexed in &segment.packs {
        let pack = packs.iter().find(|pack| derive::object_id(pack) == indexed.id).expect("the pack is there");
        for (offset, entry) in pack::with_offsets(&indexed.entries) {
            let stored = &pack[offset.0 as usize..][..entry.sealed_length as usize];
            located.insert(entry.id, (*entry, stored));
        }
    }
    let open = |secret: &Secret, entry: &TreeEntry| {
        let (stored, bytes) = located[&derive::chunk_id(&entry.key)];
        open_chunk(secret, &entry.key, &stored, bytes)
    };

    // The catalog's key opens the operator's part, and the index key the reference list, and nothing more.
    let bytes = shown("snapshot-example");
    let bytes = verified(&bytes, Purpose::Snapshot, &record);
    let object = SnapshotObject::decode(bytes).expect("decodes");
    let operator = open_with(&catalog_key, examples::OPERATOR_INFO, &bytes[..32], object.operator);
    assert_eq!(operator, shown("snapshot-operator-example"));
    let operator = OperatorRecord::decode(&operator).expect("decodes");
    let references = operator.references.top().expect("sound").expect("not empty");
    let references = open(&derive::reference_secret(&index_key), &references);
    let named: BTreeSet<ChunkId> = references.as_chunks().0.iter().map(|id| ChunkId::new(*id)).collect();
    let data_and_meta: BTreeSet<ChunkId> = located.keys().copied().collect();
    let unnamed: Vec<ChunkId> = data_and_meta.difference(&named).copied().collect();
    let own = derive::chunk_id(&operator.references.top().expect("sound").expect("not empty").key);
    assert_eq!(unnamed, [own], "the list names every chunk but itself");

    // The private key opens the content key, and that the private part.
    let associated = derive::object_id(object.bound);
    assert_eq!(associated.as_bytes()[..], shown("snapshot-bound-hash"));
    let slot = &object.recipients[0];
    assert_eq!(to_hex(slot.recipient.as_bytes()), examples::RECIPIENT[1]);
    let sealed = SealedKey { encapsulated: slot.encapsulated, ciphertext: slot.ciphertext };
    let content_key = recipient::open(&private_key, examples::INFO, associated.as_bytes(), &sealed).expect("opened");
    assert_eq!(content_key, examples::content_key());
    let private = aead::open(content_key.expose(), associated.as_bytes(), object.private).expect("opened");
    assert_eq!(private, shown("snapshot-private-example"));
    let private = PrivateRecord::decode(&private).expect("decodes");
    assert_eq!(private.operator, operator, "both parts say the same");
    assert_eq!(private.maker[..], shown("certificate-example"));

    // Map and data, and from both the disk.
    let map = open(&dedup_secret, &private.map.top().expect("sound").expect("not empty"));
    let records = map.as_chunks().0.iter().map(|record| MapRecord::decode(record).expect("decodes"));
    let map = DiskMap::check(records, operator.size).expect("covers");
    let node = open(&dedup_secret, &private.data.top().expect("sound").expect("not empty"));
    let node = TreeNode::decode(&node, private.data.depth - 1).expect("decodes");
    let kept: Vec<u8> = node.entries.iter().flat_map(|entry| open(&dedup_secret, entry)).collect();
    assert_eq!((kept.len() as u64, kept.len() as u64), (map.kept(), private.data.span));
    let mut disk = Vec::new();
    for segment in map.segments() {
        let length = segment.extent.length as usize;
        match segment.origin {
            Origin::Kept(offset) => disk.extend_from_slice(&kept[offset.0 as usize..][..length]),
            Origin::Hole(_) => disk.resize(disk.len() + length, 0),
        }
    }

    let mut expected = vec![0; 16_384];
    expected[..5].copy_from_slice(b"sheaf");
    expected[8192..10_240].fill(b'a');
    expected[4096..6144].fill(b'b');
    assert!(disk == expected, "the disk differs");
    let id = derive::object_id(&disk).to_string();
    assert!(chapters()["README"].contains(&id), "README.md does not show the disk's BLAKE3 {id}");
}

// --- Writing -------------------------------------------------------------------------------------------

/// The seeds of each fuzz target: the examples that are its structures in the clear.
const SEEDS: [(&str, &[&str]); 12] = [
    ("config", &["config-example"]),
    ("key_bundle", &["keys-example", "keys-record-example", "certificate-example", "certificate-record-example"]),
    ("pack", &["pack-example", "pack-meta-example", "pack-listing-example"]),
    ("index_segment", &["index-example"]),
    ("parity", &["parity-example"]),
    ("tree_node", &["tree-node-example"]),
    ("disk_map", &["manifest-example"]),
    ("snapshot", &["snapshot-example", "snapshot-operator-example", "snapshot-private-example"]),
    ("names", &["names-example"]),
    ("session", &["session-example", "session-record-example", "session-holder-example"]),
    ("retired", &["retired-object-example", "retired-example"]),
    ("audit_entry", &["audit-example", "audit-facts-example", "audit-record-example"]),
];

/// The files of `fuzz/seeds` with their bytes.
fn seeds(repository: &Repository) -> BTreeMap<String, Vec<u8>> {
    let examples: BTreeMap<&str, Example> =
        repository.examples().into_iter().map(|example| (example.name, example)).collect();
    let mut seeds = BTreeMap::new();
    for (target, names) in SEEDS {
        for name in names {
            match examples.get(name) {
                // An object, its length before it, and its parity.
                Some(example) if target == "parity" => {
                    let config = examples["config-example"].bytes();
                    let seed = [&(config.len() as u16).to_le_bytes()[..], &config, &example.bytes()].concat();
                    seeds.insert(format!("{target}/{name}"), seed);
                }
                Some(example) => drop(seeds.insert(format!("{target}/{name}"), example.bytes())),
                None => {
                    for (number, line) in block(name).lines.into_iter().enumerate() {
                        seeds.insert(format!("{target}/{name}-{number}"), line.into_bytes());
                    }
                }
            }
        }
    }
    seeds
}

#[test]
fn the_seeds_of_the_fuzz_targets_are_the_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut found = BTreeMap::new();
    for target in std::fs::read_dir(folder).expect("fuzz/seeds is there") {
        let target = target.expect("an entry");
        // Seeds of targets that are no stored structure are their own.
        if !SEEDS.iter().any(|(name, _)| target.file_name() == *name) {
            continue;
        }
        for file in std::fs::read_dir(target.path()).expect("a folder") {
            let file = file.expect("an entry");
            let name = Path::new(&target.file_name()).join(file.file_name());
            found.insert(name.to_str().expect("a name").to_owned(), std::fs::read(file.path()).expect("a seed"));
        }
    }
    assert_eq!(found, seeds(&repository()));
}

/// Puts `lines` into the block `name` of a chapter.
fn replace(chapter: &str, name: &str, lines: &[String]) {
    let path = markdown::folder().join(format!("{chapter}.md"));
    let text = std::fs::read_to_string(&path).expect("a chapter");
    let marker = format!(" name={name}\n");
    let start = text.find(&marker).unwrap_or_else(|| panic!("{chapter}.md has no block {name}")) + marker.len();
    let end = start + text[start..].find("```").expect("the block ends");
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path, format!("{}{lines}{}", &text[..start], &text[end..])).expect("written");
}

#[test]
#[ignore = "rewrites the examples in format-spec and the seeds of the fuzz targets"]
fn write_the_examples() {
    // What is shown already stays as long as it is right, so that a change shows only what it changes.
    let (private, public) = examples::recipient();
    let slot = |associated: &[u8; 32]| {
        let bytes = shown("snapshot-example");
        let object = SignatureBlock::split(&bytes).map_or(&bytes[..], |(object, _)| object);
        let shown = SnapshotObject::decode(object).ok().and_then(|object| object.recipients.first().cloned());
        let still_opens = |slot: &RecipientSlot| {
            let sealed = SealedKey { encapsulated: slot.encapsulated, ciphertext: slot.ciphertext };
            recipient::open(&private, examples::INFO, associated, &sealed) == Ok(examples::content_key())
        };
        shown.filter(still_opens).unwrap_or_else(|| {
            let sealed =
                recipient::seal(&public, examples::INFO, associated, &examples::content_key()).expect("sealed");
            RecipientSlot { recipient: public, encapsulated: sealed.encapsulated, ciphertext: sealed.ciphertext }
        })
    };
    let content = examples::file_content();
    let frame = shown("chunk-zstd-packed").get(1..).unwrap_or_default().to_vec();
    let frame = match zstd::bulk::decompress(&frame, content.len()) {
        Ok(plaintext) if plaintext == content => frame,
        _ => zstd::bulk::compress(&content, 3).expect("compressed"),
    };
    // The sealed key that is shown, where it still opens, and a new one where it does not.
    let key_to = |pair: (Secret, RecipientId), shown: Option<&[u8]>, info: &[u8], associated: &[u8], key: Secret| {
        let (private, public) = pair;
        let shown = shown.and_then(|text| SealedTo::decode("example", text).ok());
        let shown = shown.map(|text| SealedKey { encapsulated: text.encapsulated, ciphertext: text.ciphertext });
        let opens = |sealed: &SealedKey| recipient::open(&private, info, associated, sealed) == Ok(key.clone());
        let sealed = shown.filter(opens);
        sealed.unwrap_or_else(|| recipient::seal(&public, info, associated, &key).expect("sealed"))
    };
    let key = |shown: Option<&[u8]>, info: &[u8], associated: &[u8], key: Secret| {
        key_to(examples::catalog(), shown, info, associated, key)
    };
    let audit = |associated: &[u8]| {
        let bytes = shown("audit-example");
        let object = SignatureBlock::split(&bytes).map_or(&bytes[..], |(object, _)| object);
        let shown = AuditObject::decode(object).ok().map(|object| object.body.encode());
        key_to(examples::audit(), shown.as_deref(), examples::AUDIT_INFO, associated, examples::maker_certificate_key())
    };
    let operator = |associated: &[u8]| {
        let bytes = shown("snapshot-example");
        let object = SignatureBlock::split(&bytes).map_or(&bytes[..], |(object, _)| object);
        let object = SnapshotObject::decode(object).ok();
        let text = object.as_ref().map(|object| object.operator);
        key(text, examples::OPERATOR_INFO, associated, examples::operator_key())
    };
    let card = |associated: &[u8]| {
        let bytes = shown("keys-example");
        let bundle = SealedBundle::decode(&bytes).ok();
        key(bundle.as_ref().map(|bundle| bundle.card), examples::CARD_INFO, associated, examples::card_key())
    };
    let escrow = |associated: &[u8]| {
        let bytes = shown("keys-example");
        let shown = SealedBundle::decode(&bytes).ok().map(|bundle| [&bundle.escrow.0[..], &bundle.escrow.1].concat());
        let password = Password::new(examples::PASSWORD.to_vec());
        let bundle_key = password_key(&password, &[0x44; 16], examples::COST).expect("hashed");
        key_to(examples::recipient(), shown.as_deref(), examples::ESCROW_INFO, associated, bundle_key)
    };
    let maker = |name: &str, associated: &[u8]| {
        let bytes = shown(name);
        let block = SignatureBlock::split(&bytes).ok().map(|(_, block)| block.certificate.to_vec());
        key(block.as_deref(), examples::MAKER_INFO, associated, examples::maker_certificate_key())
    };
    let snapshot_maker = |associated: &[u8]| maker("snapshot-example", associated);
    let index_maker = |associated: &[u8]| maker("index-object-example", associated);
    let audit_maker = |associated: &[u8]| maker("audit-example", associated);
    let retired_maker = |associated: &[u8]| maker("retired-object-example", associated);
    let holder = |associated: &[u8]| {
        let record = SessionRecord::decode(&shown("session-record-example")).ok();
        let text = record.as_ref().map(|record| &record.holder[..]);
        key(text, examples::HOLDER_INFO, associated, examples::holder_key())
    };
    let given = Given {
        frame,
        slot: &slot,
        operator: &operator,
        card: &card,
        escrow: &escrow,
        snapshot_maker: &snapshot_maker,
        index_maker: &index_maker,
        audit_maker: &audit_maker,
        audit: &audit,
        retired_maker: &retired_maker,
        holder: &holder,
    };
    let repository = Repository::build(&given);
    for example in repository.examples() {
        replace(example.chapter, example.name, &example.dump());
    }
    replace("tree", "tree-known-answers", &tree_known_answers());
    replace("manifest", "manifest-known-cuts", &manifest_known_cuts());
    replace("snapshot", "reference-known-cuts", &reference_known_cuts());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, bytes) in seeds(&repository) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}
