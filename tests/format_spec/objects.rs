//! names.md, object.md, parity.md, config.md, keys.md and certificate.md.

use super::markdown::{chapters, tables};
use super::opening::{bundle_key, open_with};
use super::{block, examples, shown};
use sheaf::crypto::derive::{self, RecordKind, Rotated};
use sheaf::crypto::recipient::{self, SealedKey};
use sheaf::crypto::sign::{self, Purpose, SigningKey};
use sheaf::crypto::{CryptoError, Secret, aead};
use sheaf::format::FormatError;
use sheaf::format::certificate::{Role, SignedCertificate};
use sheaf::format::config::{Chunking, Config};
use sheaf::format::keys::{KeyRecord, Protection, SealedBundle};
use sheaf::format::object::{HEADER_LENGTH, Magic, SealedObject};
use sheaf::format::parity::{self, Head};
use sheaf::ids::to_hex;
use sheaf::names::{ObjectKind, ObjectName};

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
    let costs = Protection::Password { memory_kib: 64, passes: 1, lanes: 1, salt: [0x44; 16] };
    assert_eq!(bundle.protection, costs);
    assert_eq!(bundle.outer.len(), 64 + 4 + bundle.card.len() + 80);
    let (encapsulated, ciphertext) = bundle.escrow;
    let escrow = SealedKey { encapsulated, ciphertext };
    let (admins, _) = examples::recipient();
    let escrow = recipient::open(&admins, examples::ESCROW_INFO, &bytes[..32], &escrow).expect("opened");
    let card = open_with(&examples::catalog().0, examples::CARD_INFO, &bytes[..32], bundle.card);
    assert_eq!(card, shown("certificate-example"));
    let key = bundle_key(&bundle);
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
