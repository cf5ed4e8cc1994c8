//! chunk.md, pack.md and index.md.

use super::examples::{self, chunk_associated};
use super::markdown::chapters;
use super::opening::open_chunk;
use super::{repository, shown};
use sheaf::crypto::derive::{self, RecordKind};
use sheaf::crypto::{CryptoError, aead};
use sheaf::format::index::IndexSegment;
use sheaf::format::object::{Magic, SealedObject};
use sheaf::format::pack::{self, Footer, PackEntry, PackKind};
use sheaf::format::signature::SignatureBlock;
use sheaf::ids::{ChunkId, to_hex};

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
