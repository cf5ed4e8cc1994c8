//! The whole way, with nothing but the password and the objects that the chapters show.

use super::markdown::chapters;
use super::opening::{bundle_key, open_chunk, open_with, verified};
use super::{examples, shown};
use sheaf::crypto::derive::{self, RecordKind};
use sheaf::crypto::recipient::{self, SealedKey};
use sheaf::crypto::sign::Purpose;
use sheaf::crypto::{Secret, aead};
use sheaf::format::index::IndexSegment;
use sheaf::format::keys::{KeyRecord, SealedBundle};
use sheaf::format::manifest::{DiskMap, MapRecord, Origin};
use sheaf::format::object::{Magic, SealedObject};
use sheaf::format::pack;
use sheaf::format::snapshot::{OperatorRecord, PrivateRecord, SnapshotObject};
use sheaf::format::tree::{TreeEntry, TreeNode};
use sheaf::ids::{ChunkId, to_hex};
use std::collections::{BTreeMap, BTreeSet};

/// The whole way, with nothing but the password and the objects that the chapters show.
#[test]
fn the_example_repository_restores_from_its_password() {
    // The password opens the key bundle, and the bundle vouches for the config.
    let bundle = shown("keys-example");
    let bundle = SealedBundle::decode(&bundle).expect("decodes");
    let key = bundle_key(&bundle);
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
