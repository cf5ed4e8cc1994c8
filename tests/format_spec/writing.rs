//! What is written from the examples: the hex blocks of the chapters, and the seeds of the fuzz targets.

use super::examples::{self, Example, Given, Repository};
use super::trees::{manifest_known_cuts, reference_known_cuts, tree_known_answers};
use super::{block, markdown, repository, shown};
use sheaf::crypto::Secret;
use sheaf::crypto::password::{Password, password_key};
use sheaf::crypto::recipient::{self, SealedKey};
use sheaf::format::audit::AuditObject;
use sheaf::format::keys::SealedBundle;
use sheaf::format::object::SealedTo;
use sheaf::format::session::SessionRecord;
use sheaf::format::signature::SignatureBlock;
use sheaf::format::snapshot::{RecipientSlot, SnapshotObject};
use sheaf::ids::RecipientId;
use std::collections::BTreeMap;
use std::path::Path;

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
