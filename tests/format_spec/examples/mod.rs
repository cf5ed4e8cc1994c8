//! The example repository of the specification, made from fixed keys and nonces.
//!
//! Always true here: what is sealed is sealed by hand, as the chapters say it, and not by the code that backups run.
//! Two parts are taken from the chapters and not made again: the zstd frame, since another release of zstd
//! may give other bytes, and the content key sealed with HPKE, which takes a random key each time.

mod build;
mod dump;

pub(crate) use build::{Given, Repository};
pub(crate) use dump::Example;
use sheaf::crypto::derive::{self, RecordKind};
use sheaf::crypto::password::PasswordCost;
use sheaf::crypto::recipient::SealedKey;
use sheaf::crypto::sign::{Purpose, SigningKey};
use sheaf::crypto::{Secret, aead};
use sheaf::disk::{DiskOffset, Extent};
use sheaf::format::audit::{self, AuditFacts, AuditRecord, EntryKind};
use sheaf::format::certificate::{Certificate, Role, SignedCertificate};
use sheaf::format::manifest::{HoleKind, MapRecord, StreamKind};
use sheaf::format::object::SealedTo;
use sheaf::format::pack::{Footer, PackEntry, PackKind, encode_header, encode_listing};
use sheaf::format::retired::Retirement;
use sheaf::format::session::{HolderRecord, SessionKind, SessionRecord};
use sheaf::format::signature::SignatureBlock;
use sheaf::ids::{ChunkKey, ObjectId, RecipientId, RepositoryId, from_hex};

/// `info` of HPKE for the content key of a snapshot.
pub(crate) const INFO: &[u8] = b"sheaf v1 snapshot content key";
/// `info` of HPKE for the key of a bundle in escrow.
pub(crate) const ESCROW_INFO: &[u8] = b"sheaf v1 bundle escrow";
/// `info` of HPKE for the key of an audit record.
pub(crate) const AUDIT_INFO: &[u8] = b"sheaf v1 audit entry";
/// `info` of HPKE for the key of a session's holder.
pub(crate) const HOLDER_INFO: &[u8] = b"sheaf v1 session holder";
/// `info` of HPKE for the key of a maker's certificate.
pub(crate) const MAKER_INFO: &[u8] = b"sheaf v1 maker";
/// `info` of HPKE for the key of a card.
pub(crate) const CARD_INFO: &[u8] = b"sheaf v1 key card";
/// `info` of HPKE for the key of an operator's part.
pub(crate) const OPERATOR_INFO: &[u8] = b"sheaf v1 snapshot operator key";
/// The password of the example repository.
pub(crate) const PASSWORD: &[u8] = b"correct horse battery staple";
/// The costs of the example's password: as small as they may be, so that a test is quick.
pub(crate) const COST: PasswordCost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };
/// The recipient's private and public key: RFC 9180, appendix A.1.1, `skRm` and `pkRm`.
pub(crate) const RECIPIENT: [&str; 2] = [
    "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
    "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
];
/// The catalog's private and public key: RFC 9180, appendix A.1.1, `skEm` and `pkEm`.
pub(crate) const CATALOG: [&str; 2] = [
    "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
    "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
];
/// When everything was made.
const TIME_MS: i64 = 1_795_000_000_000;

pub(crate) fn repository() -> RepositoryId {
    RepositoryId::new(std::array::from_fn(|index| index as u8))
}

/// The secrets of the example, each of 32 equal bytes.
macro_rules! secrets {
    ($($name:ident: $byte:literal,)+) => {
        $(pub(crate) fn $name() -> Secret {
            Secret::new([$byte; 32])
        })+
    };
}

secrets! {
    dedup_secret: 0x11,
    index_key: 0x22,
    content_key: 0x33,
    operator_key: 0x55,
    card_key: 0x88,
    maker_certificate_key: 0x99,
    holder_key: 0xcc,
    authority_seed: 0x66,
    signing_seed: 0x77,
}

fn pair(keys: [&str; 2]) -> (Secret, RecipientId) {
    let [private, public] = keys.map(|key| from_hex(key).expect("hex"));
    (Secret::new(private), RecipientId::new(public))
}

pub(crate) fn recipient() -> (Secret, RecipientId) {
    pair(RECIPIENT)
}

pub(crate) fn catalog() -> (Secret, RecipientId) {
    pair(CATALOG)
}

pub(crate) fn audit() -> (Secret, RecipientId) {
    let private = Secret::new([0xbb; 32]);
    let public = sheaf::crypto::recipient::public_key(&private).expect("a key");
    (private, public)
}

/// The facts of the example's audit entry.
pub(crate) fn audit_facts(snapshot: &ObjectId) -> AuditFacts {
    AuditFacts { kind: EntryKind::Backup, time_ms: TIME_MS + 12, subjects: vec![*snapshot] }
}

/// The record of the example's audit entry.
pub(crate) fn audit_record() -> AuditRecord {
    AuditRecord {
        action: AuditRecord::BACKUP.to_owned(),
        result: AuditRecord::DONE.to_owned(),
        host: "desk".to_owned(),
        key: None,
        detail: Some("ana".to_owned()),
        bundle: None,
    }
}

/// The retirement of the example: of this pack and this segment.
pub(crate) fn retirement(pack: ObjectId, segment: ObjectId) -> Retirement {
    Retirement::new(TIME_MS.unsigned_abs() + 86_400_000, vec![pack], vec![segment])
}

/// Who holds the example's session.
pub(crate) fn holder_record() -> HolderRecord {
    HolderRecord {
        host: "desk".to_owned(),
        process: 4711,
        command: "backup".to_owned(),
        began_ms: TIME_MS + 86_400_012,
    }
}

/// The record of the example's session, which knows this retirement.
pub(crate) fn session_record(retirement: &ObjectId, holder: Vec<u8>) -> SessionRecord {
    SessionRecord {
        nonce: [0xdd; 32].into(),
        renewal: 1,
        kind: SessionKind::Writes as u8,
        known: retirement.as_bytes().to_vec().into(),
        holder: holder.into(),
    }
}

/// The certificate of the example's key.
pub(crate) fn certificate() -> SignedCertificate {
    let certificate = Certificate {
        key: SigningKey::from_seed(&signing_seed()).id(),
        role: Role::Admin,
        label: "first key".to_owned(),
        created_ms: TIME_MS,
        owner: None,
        repository: repository(),
    };
    let record = certificate.encode();
    let signature = SigningKey::from_seed(&authority_seed()).sign(Purpose::Certificate, &record);
    SignedCertificate { record: record.into(), signature: signature.into() }
}

/// Seals with a nonce of twelve equal bytes.
pub(crate) fn seal(key: &[u8; 32], nonce: u8, associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut buffer = [&[0; aead::NONCE_LENGTH][..], plaintext, &[0; aead::TAG_LENGTH]].concat();
    aead::seal_with_nonce(key, [nonce; aead::NONCE_LENGTH], associated, &mut buffer).expect("sealed");
    buffer
}

/// A chunk as it lies in a pack (chunk.md).
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) key: ChunkKey,
    pub(crate) entry: PackEntry,
    pub(crate) stored: Vec<u8>,
}

/// Associated data of a chunk's seal.
pub(crate) fn chunk_associated(entry: &PackEntry) -> Vec<u8> {
    [&entry.id.as_bytes()[..], &entry.plain_length.to_le_bytes(), &entry.sealed_length.to_le_bytes()].concat()
}

/// Seals a chunk whose packed form is given.
pub(crate) fn chunk(secret: &Secret, nonce: u8, plaintext: &[u8], packed: &[u8]) -> Chunk {
    let key = derive::chunk_key(secret, plaintext);
    let entry = PackEntry {
        id: derive::chunk_id(&key),
        sealed_length: (packed.len() + aead::OVERHEAD) as u32,
        plain_length: plaintext.len() as u32,
    };
    let stored = seal(key.expose(), nonce, &chunk_associated(&entry), packed);
    Chunk { key, entry, stored }
}

/// Seals a chunk that is stored as it is.
fn raw_chunk(secret: &Secret, nonce: u8, plaintext: &[u8]) -> Chunk {
    chunk(secret, nonce, plaintext, &[&[0], plaintext].concat())
}

/// A whole pack (pack.md).
fn pack(kind: PackKind, nonce: u8, chunks: &[&Chunk]) -> Vec<u8> {
    let header = encode_header(repository(), kind);
    let entries: Vec<PackEntry> = chunks.iter().map(|chunk| chunk.entry).collect();
    let trailer_key = derive::record_key(&index_key(), RecordKind::PackTrailer);
    let trailer = seal(trailer_key.expose(), nonce, &header, &encode_listing(&entries));
    let mut bytes = header.to_vec();
    chunks.iter().for_each(|chunk| bytes.extend_from_slice(&chunk.stored));
    let footer = Footer { body_length: bytes.len() as u64, trailer_length: trailer.len() as u32, parity_length: 0 };
    [&bytes[..], &trailer, &footer.encode()].concat()
}

/// An object with the signature of the example's key behind it (signature.md). The certificate is sealed with a nonce one higher.
fn signed(object: &[u8], purpose: Purpose, nonce: u8, key: &dyn Fn(&[u8]) -> SealedKey) -> Vec<u8> {
    let hash = derive::object_id(object);
    let signing = SigningKey::from_seed(&signing_seed());
    let maker = [&signing.id().as_bytes()[..], &signing.sign(purpose, object)].concat();
    let maker_key = derive::record_key(&index_key(), RecordKind::Signature);
    let maker = seal(maker_key.expose(), nonce, hash.as_bytes(), &maker);
    let sealed = seal(maker_certificate_key().expose(), nonce, hash.as_bytes(), &certificate().encode());
    let SealedKey { encapsulated, ciphertext } = key(hash.as_bytes());
    let certificate = SealedTo { encapsulated, ciphertext, sealed: &sealed }.encode();
    let block = SignatureBlock { maker: &maker, certificate: &certificate };
    [object, &block.encode()].concat()
}

/// The records of the example's disk map.
pub(crate) fn map_records() -> Vec<MapRecord> {
    let extent = |start, length| Extent { start: DiskOffset(start), length };
    vec![
        MapRecord::Stream { kind: StreamKind::Metadata, extents: 1, length: 5 },
        MapRecord::Extent(extent(0, 5)),
        MapRecord::Stream { kind: StreamKind::File, extents: 2, length: 4096 },
        MapRecord::Extent(extent(8192, 2048)),
        MapRecord::Extent(extent(4096, 2048)),
        MapRecord::Hole(HoleKind::Zero, extent(5, 4091)),
        MapRecord::Hole(HoleKind::Free, extent(6144, 2048)),
        MapRecord::Hole(HoleKind::Scratch, extent(10_240, 6144)),
    ]
}

/// The second chunk's plaintext: the first half differs from the second, so that the order of extents shows.
pub(crate) fn file_content() -> Vec<u8> {
    [[b'a'; 2048], [b'b'; 2048]].concat()
}
