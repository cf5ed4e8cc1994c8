//! The examples, part by part, as the chapters show them in hexadecimal.

use super::build::Repository;
use super::{Chunk, audit_facts, audit_record, certificate, holder_record, repository};
use sheaf::crypto::{aead, derive};
use sheaf::format::config::Config;
use sheaf::format::object::{HEADER_LENGTH, SEALED_TO_PREFIX};
use sheaf::format::pack::{PACK_HEADER_LENGTH, encode_listing};
use sheaf::format::signature::MAKER_LENGTH;
use sheaf::names::ObjectName;
use sheaf::repo::parity::ParityStorage;
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

/// The parts of a signature, for a dump.
fn signature_parts(block: &[u8]) -> Vec<(String, Vec<u8>)> {
    let of = |label: &str, bytes: &[u8]| {
        let parts = parts(bytes, &SEALED).into_iter();
        parts.map(|(part, bytes)| (format!("{label}: {part}"), bytes)).collect::<Vec<_>>()
    };
    let mut all = of("maker", &block[..MAKER_LENGTH]);
    let key = [("certificate: encapsulated key", 32), ("certificate: sealed key", 48)];
    all.extend(parts(&block[MAKER_LENGTH..MAKER_LENGTH + SEALED_TO_PREFIX], &key));
    all.extend(of("certificate", &block[MAKER_LENGTH + SEALED_TO_PREFIX..block.len() - 4]));
    all.push(("block length".to_owned(), block[block.len() - 4..].to_vec()));
    all
}

/// One example: its chapter, its name there, and its bytes with what each part is.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) chapter: &'static str,
    pub(crate) name: &'static str,
    pub(crate) parts: Vec<(String, Vec<u8>)>,
}

impl Example {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    /// The lines of the hex dump.
    pub(crate) fn dump(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut offset = 0;
        for (label, bytes) in &self.parts {
            for (row, bytes) in bytes.chunks(16).enumerate() {
                let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let line = format!("{offset:04x}  {:<47}  # {label}", hex.join(" "));
                let end = if row == 0 { line.len() } else { line.find(" #").unwrap_or(line.len()) };
                lines.push(line[..end].trim_end().to_owned());
                offset += bytes.len();
            }
        }
        lines
    }
}

/// Cuts `bytes` into labelled parts; a length of 0 is whatever the others leave.
fn parts(bytes: &[u8], labels: &[(&str, usize)]) -> Vec<(String, Vec<u8>)> {
    let fixed: usize = labels.iter().map(|(_, length)| length).sum();
    let mut rest = bytes;
    let mut parts = Vec::new();
    for (label, length) in labels {
        let length = if *length == 0 { bytes.len() - fixed } else { *length };
        let (part, behind) = rest.split_at(length);
        parts.push(((*label).to_owned(), part.to_vec()));
        rest = behind;
    }
    assert!(rest.is_empty(), "every byte has a label");
    parts
}

const HEADER: [(&str, usize); 5] =
    [("magic", 6), ("version", 2), ("required features", 4), ("optional features", 4), ("repository id", 16)];
const SEALED: [(&str, usize); 3] = [("nonce", 12), ("ciphertext", 0), ("tag", 16)];

/// Cuts a CBOR map into its pairs, each with its key's name.
fn pairs(bytes: &[u8], names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let count = decoder.map().expect("a map").expect("of known length");
    let mut parts = vec![(format!("map of {count} pairs"), bytes[..decoder.position()].to_vec())];
    for _ in 0..count {
        let start = decoder.position();
        let key = decoder.u8().expect("a key");
        decoder.skip().expect("a value");
        parts.push((format!("{key}: {}", names[usize::from(key)]), bytes[start..decoder.position()].to_vec()));
    }
    parts
}

impl Repository {
    /// Every example with its labels.
    pub(crate) fn examples(&self) -> Vec<Example> {
        let example = |chapter, name, parts| Example { chapter, name, parts };
        let header = |rest: &[(&'static str, usize)]| [&HEADER[..], rest].concat();
        let sealed = |label: &'static str, length: usize| {
            move |bytes: &[u8]| -> Vec<(String, Vec<u8>)> {
                assert_eq!(bytes.len(), length);
                parts(bytes, &SEALED).into_iter().map(|(part, bytes)| (format!("{label}: {part}"), bytes)).collect()
            }
        };
        let config = self.config.encode();
        let config_record = &config[32..config.len() - 32];
        let mut config_parts = parts(&config[..32], &HEADER);
        config_parts
            .extend(pairs(config_record, &["created", "chunking", "pack size", "zstd level", "parity", "tool"]));
        config_parts.push(("BLAKE3 of all bytes before".to_owned(), config[config.len() - 32..].to_vec()));

        // The parity object, as storage that makes parity stores it.
        let parity = {
            let medium = Arc::new(SimStorage::new());
            let storage = ParityStorage::new(medium.clone(), repository(), Config::DEFAULT_PARITY_RATIO);
            storage.put(ObjectName::CONFIG, &[&config]).expect("stored");
            medium.peek(ObjectName::CONFIG.parity().expect("a name")).expect("its parity")
        };
        let hashes = [("table: data sector", 8), ("parity sector", 8)];
        let fields = [
            ("length", 8),
            ("sector length", 4),
            ("codewords", 4),
            ("data sectors", 2),
            ("parity sectors", 2),
            ("kind: C", 1),
            ("reserved", 11),
            ("BLAKE3 of the object", 32),
            ("BLAKE3 of the 96 bytes before and of the table", 32),
        ];
        let mut parity_parts = parts(&parity[..128], &header(&fields));
        parity_parts.extend(parts(&parity[128..144], &hashes));
        parity_parts.extend(parts(&parity[144..272], &[("parity sector", 128)]));
        parity_parts.extend(parts(&parity[272..288], &hashes));
        parity_parts.extend(parts(&parity[288..], &header(&fields)));

        let outer = [("protection: password", 4), ("memory, KiB", 4), ("passes", 4), ("lanes", 4), ("salt", 16)];
        let sealed_card = self.key_record.certificate.len() + aead::OVERHEAD;
        let card_end = 68 + SEALED_TO_PREFIX + sealed_card;
        let card_key = [("card: encapsulated key", 32), ("card: sealed key", 48)];
        let mut bundle = parts(&self.bundle[..68], &header(&[&outer[..], &[("card length", 4)]].concat()));
        bundle.extend(parts(&self.bundle[68..68 + SEALED_TO_PREFIX], &card_key));
        bundle.extend(sealed("card", sealed_card)(&self.bundle[68 + SEALED_TO_PREFIX..card_end]));
        let escrow = [("escrow: encapsulated key", 32), ("escrow: sealed key", 48)];
        bundle.extend(parts(&self.bundle[card_end..], &[&escrow[..], &SEALED].concat()));
        let key_names = [
            "certificate",
            "config",
            "authority",
            "signing key",
            "index key",
            "catalog",
            "recipients",
            "dedup secret",
            "private key",
            "catalog key",
            "authority key",
            "audit",
            "audit key",
            "earlier",
        ];
        let certificate_names = ["key", "role", "label", "created", "owner", "repository"];

        let pack_parts = |pack: &[u8], labels: &[(&'static str, &Chunk)], count: usize| {
            let mut all = parts(&pack[..PACK_HEADER_LENGTH], &header(&[("pack kind", 1), ("reserved", 31)]));
            let mut offset = PACK_HEADER_LENGTH;
            for (label, chunk) in labels {
                let end = offset + chunk.stored.len();
                all.extend(sealed(label, chunk.stored.len())(&pack[offset..end]));
                offset = end;
            }
            let trailer = &pack[offset..pack.len() - 32];
            all.extend(sealed("trailer", 4 + 40 * count + aead::OVERHEAD)(trailer));
            let footer =
                [("body length", 8), ("trailer length", 4), ("parity kind", 4), ("parity length", 8), ("magic", 8)];
            all.extend(parts(&pack[pack.len() - 32..], &footer));
            all
        };
        let entry = [("chunk id", 32), ("sealed length", 4), ("plain length", 4)];
        let listing = encode_listing(&self.chunks.each_ref().map(|chunk| chunk.entry));
        let indexed = [("pack id", 32), ("pack size", 8), ("pack kind", 1), ("reserved", 3), ("chunk count", 4)];
        let segment = [
            &[("superseded count", 4), ("pack count", 4), ("superseded", 32)][..],
            &indexed,
            &entry,
            &entry,
            &indexed,
            &entry,
            &entry,
            &entry,
        ]
        .concat();
        let node = [("magic", 2), ("level", 1), ("reserved", 1), ("count", 4)];
        let node_entry = [("key", 32), ("span", 8)];
        let record = |bytes: &[u8]| match bytes[0] {
            1 => ["stream", "stream kind", "reserved", "extents", "length", "reserved"],
            2 => ["extent", "reserved", "reserved", "reserved", "start", "length"],
            _ => ["hole", "hole kind", "reserved", "reserved", "start", "length"],
        };
        let map = self.map_bytes();
        let map_parts = map.chunks(24).flat_map(|bytes| {
            let labels = record(bytes);
            [(labels[0], &bytes[..1]), (labels[1], &bytes[1..2]), (labels[2], &bytes[2..4]), (labels[3], &bytes[4..8])]
                .into_iter()
                .chain([(labels[4], &bytes[8..16]), (labels[5], &bytes[16..])])
                .map(|(label, bytes)| (label.to_owned(), bytes.to_vec()))
                .collect::<Vec<_>>()
        });
        let operator = self.operator.encode();
        let operator_names = [
            "stick",
            "time",
            "offset from UTC",
            "time zone",
            "host",
            "tags",
            "size",
            "references",
            "tool",
            "counts",
            "origin",
        ];
        let operator_length = SEALED_TO_PREFIX + operator.len() + aead::OVERHEAD;
        let private = self.private.encode();
        let mut snapshot = parts(&self.snapshot[..36], &header(&[("operator length", 4)]));
        let behind_key = 36 + SEALED_TO_PREFIX;
        let operator_key = [("operator part: encapsulated key", 32), ("operator part: sealed key", 48)];
        snapshot.extend(parts(&self.snapshot[36..behind_key], &operator_key));
        let sealed_length = operator_length - SEALED_TO_PREFIX;
        snapshot.extend(sealed("operator part", sealed_length)(&self.snapshot[behind_key..36 + operator_length]));
        let slots =
            [("recipients", 2), ("reserved", 2), ("recipient", 32), ("encapsulated key", 32), ("sealed key", 48)];
        let behind = &self.snapshot[36 + operator_length..];
        snapshot.extend(parts(&behind[..120], &[&slots[..], &[("private length", 4)]].concat()));
        let private_end = 120 + private.len() + aead::OVERHEAD;
        snapshot.extend(sealed("private part", private.len() + aead::OVERHEAD)(&behind[120..private_end]));
        snapshot.extend(signature_parts(&behind[private_end..]));
        let index_end = 32 + self.segment.encode().len() + aead::OVERHEAD;
        let mut index_object = parts(&self.index[..index_end], &header(&SEALED));
        index_object.extend(signature_parts(&self.index[index_end..]));

        let facts = audit_facts(&derive::object_id(&self.snapshot)).encode();
        let facts_end = 36 + facts.len() + aead::OVERHEAD;
        let record = audit_record().encode();
        let record_end = facts_end + SEALED_TO_PREFIX + record.len() + aead::OVERHEAD;
        let mut audit = parts(&self.audit[..36], &header(&[("previous count", 2), ("subject count", 2)]));
        audit.extend(sealed("facts", facts.len() + aead::OVERHEAD)(&self.audit[36..facts_end]));
        let audit_key = [("record: encapsulated key", 32), ("record: sealed key", 48)];
        audit.extend(parts(&self.audit[facts_end..facts_end + SEALED_TO_PREFIX], &audit_key));
        audit.extend(sealed("record", record.len() + aead::OVERHEAD)(
            &self.audit[facts_end + SEALED_TO_PREFIX..record_end],
        ));
        audit.extend(signature_parts(&self.audit[record_end..]));
        let audit_names = ["action", "result", "host", "key", "detail", "bundle"];

        let table = [("time", 8), ("pack count", 4), ("segment count", 4), ("pack", 32), ("segment", 32)];
        let retired_end = HEADER_LENGTH + self.retirement.encode().len() + aead::OVERHEAD;
        let mut retired = parts(&self.retired[..retired_end], &header(&SEALED));
        retired.extend(signature_parts(&self.retired[retired_end..]));
        let session_names = ["nonce", "renewal", "kind", "known", "holder"];
        let holder_names = ["host", "process", "command", "began"];

        vec![
            example("retired", "retired-example", parts(&self.retirement.encode(), &table)),
            example("retired", "retired-object-example", retired),
            example("session", "session-holder-example", pairs(&holder_record().encode(), &holder_names)),
            example("session", "session-record-example", pairs(&self.session_record.encode(), &session_names)),
            example("session", "session-example", parts(&self.session, &header(&SEALED))),
            example("audit", "audit-example", audit),
            example(
                "audit",
                "audit-facts-example",
                parts(&facts, &[("kind: backup", 1), ("time", 8), ("subject", 32)]),
            ),
            example("audit", "audit-record-example", pairs(&record, &audit_names)),
            example("object", "object-example", parts(&self.index[..32], &HEADER)),
            example("config", "config-example", config_parts),
            example("parity", "parity-example", parity_parts),
            example("keys", "keys-example", bundle),
            example("keys", "keys-record-example", pairs(&self.key_record.encode(), &key_names)),
            example("certificate", "certificate-example", pairs(&certificate().encode(), &["record", "signature"])),
            example("certificate", "certificate-record-example", pairs(&certificate().record, &certificate_names)),
            example("chunk", "chunk-raw-example", parts(&self.chunks[0].stored, &SEALED)),
            example("chunk", "chunk-zstd-packed", parts(&self.packed, &[("compression: zstd", 1), ("zstd frame", 0)])),
            example("chunk", "chunk-zstd-example", parts(&self.chunks[1].stored, &SEALED)),
            example(
                "pack",
                "pack-example",
                pack_parts(&self.packs[0], &[("chunk 1", &self.chunks[0]), ("chunk 2", &self.chunks[1])], 2),
            ),
            example("pack", "pack-listing-example", parts(&listing, &[&[("count", 4)][..], &entry, &entry].concat())),
            example(
                "pack",
                "pack-meta-example",
                pack_parts(
                    &self.packs[1],
                    &[("node", &self.node.1), ("disk map", &self.map), ("reference list", &self.references)],
                    3,
                ),
            ),
            example("index", "index-example", parts(&self.segment.encode(), &segment)),
            example("index", "index-object-example", index_object),
            example(
                "tree",
                "tree-node-example",
                parts(&self.node.0.encode(), &[&node[..], &node_entry, &node_entry].concat()),
            ),
            example(
                "tree",
                "tree-root-example",
                pairs(&minicbor::to_vec(&self.private.data).expect("encoded"), &["span", "depth", "key"]),
            ),
            example("manifest", "manifest-example", map_parts.collect()),
            example("snapshot", "snapshot-operator-example", pairs(&operator, &operator_names)),
            example(
                "snapshot",
                "snapshot-private-example",
                pairs(&private, &["data", "map", "disk", "operator", "maker"]),
            ),
            example(
                "snapshot",
                "snapshot-bound-hash",
                parts(&self.recipient_aad, &[("BLAKE3 of the bound bytes", 32)]),
            ),
            example("snapshot", "snapshot-example", snapshot),
        ]
    }
}
