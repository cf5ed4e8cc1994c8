//! The example repository of the specification, made from fixed keys and nonces.
//!
//! Always true here: what is sealed is sealed by hand, as the chapters say it, and not by the code that backups run.
//! Two parts are taken from the chapters and not made again: the zstd frame, since another release of zstd
//! may give other bytes, and the content key sealed with HPKE, which takes a random key each time.

use sheaf::crypto::derive::{self, RecordKind};
use sheaf::crypto::password::{Password, PasswordCost, password_key};
use sheaf::crypto::recipient::SealedKey;
use sheaf::crypto::sign::{Purpose, SigningKey};
use sheaf::crypto::{Secret, aead};
use sheaf::disk::{DiskOffset, Extent};
use sheaf::format::audit::{self, AuditFacts, AuditRecord, EntryKind};
use sheaf::format::certificate::{Certificate, Role, SignedCertificate};
use sheaf::format::config::{Chunking, Config, ConfigRecord};
use sheaf::format::index::{IndexSegment, IndexedPack};
use sheaf::format::keys::{KeyRecord, Protection, encode_outer};
use sheaf::format::manifest::{HoleKind, MapRecord, StreamKind};
use sheaf::format::object::{HEADER_LENGTH, Header, Magic, SEALED_TO_PREFIX, SealedTo};
use sheaf::format::pack::{Footer, PACK_HEADER_LENGTH, PackEntry, PackKind, encode_header, encode_listing};
use sheaf::format::retired::Retirement;
use sheaf::format::session::{HolderRecord, SessionKind, SessionRecord};
use sheaf::format::signature::{MAKER_LENGTH, SignatureBlock};
use sheaf::format::snapshot::{self, Counts, DiskFacts, OperatorRecord, PrivateRecord, RecipientSlot};
use sheaf::format::tree::{TreeEntry, TreeNode, TreeRoot};
use sheaf::ids::{ChunkId, ChunkKey, ObjectId, RecipientId, RepositoryId, from_hex};
use sheaf::names::ObjectName;
use sheaf::repo::parity::ParityStorage;
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

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

pub(crate) fn dedup_secret() -> Secret {
    Secret::new([0x11; 32])
}

pub(crate) fn index_key() -> Secret {
    Secret::new([0x22; 32])
}

pub(crate) fn content_key() -> Secret {
    Secret::new([0x33; 32])
}

pub(crate) fn operator_key() -> Secret {
    Secret::new([0x55; 32])
}

pub(crate) fn card_key() -> Secret {
    Secret::new([0x88; 32])
}

pub(crate) fn maker_certificate_key() -> Secret {
    Secret::new([0x99; 32])
}

pub(crate) fn holder_key() -> Secret {
    Secret::new([0xcc; 32])
}

pub(crate) fn authority_seed() -> Secret {
    Secret::new([0x66; 32])
}

pub(crate) fn signing_seed() -> Secret {
    Secret::new([0x77; 32])
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

/// Where the parts come from that are not made again.
pub(crate) struct Given<'a> {
    /// The zstd frame of [`file_content`].
    pub(crate) frame: Vec<u8>,
    /// The content key, sealed with this associated data.
    pub(crate) slot: &'a dyn Fn(&[u8; 32]) -> RecipientSlot,
    /// The key of the operator's part, sealed with the header as associated data.
    pub(crate) operator: &'a dyn Fn(&[u8]) -> SealedKey,
    /// The key of the card, sealed with the header as associated data.
    pub(crate) card: &'a dyn Fn(&[u8]) -> SealedKey,
    /// The bundle's key, sealed to the recipient with the header as associated data.
    pub(crate) escrow: &'a dyn Fn(&[u8]) -> SealedKey,
    /// The keys of the makers' certificates, sealed with the hash of what is signed as associated data.
    pub(crate) snapshot_maker: &'a dyn Fn(&[u8]) -> SealedKey,
    pub(crate) index_maker: &'a dyn Fn(&[u8]) -> SealedKey,
    pub(crate) audit_maker: &'a dyn Fn(&[u8]) -> SealedKey,
    pub(crate) retired_maker: &'a dyn Fn(&[u8]) -> SealedKey,
    /// The key of the session's holder, sealed with the session's nonce as associated data.
    pub(crate) holder: &'a dyn Fn(&[u8]) -> SealedKey,
    /// The key of the audit record, sealed with the hash of what is before it as associated data.
    pub(crate) audit: &'a dyn Fn(&[u8]) -> SealedKey,
}

/// Everything in the example repository.
pub(crate) struct Repository {
    pub(crate) config: Config,
    pub(crate) key_record: KeyRecord,
    pub(crate) bundle: Vec<u8>,
    pub(crate) chunks: [Chunk; 2],
    pub(crate) node: (TreeNode, Chunk),
    pub(crate) map: Chunk,
    pub(crate) references: Chunk,
    pub(crate) packs: [Vec<u8>; 2],
    pub(crate) segment: IndexSegment,
    pub(crate) index: Vec<u8>,
    pub(crate) operator: OperatorRecord,
    pub(crate) private: PrivateRecord,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) audit: Vec<u8>,
    pub(crate) retirement: Retirement,
    pub(crate) retired: Vec<u8>,
    pub(crate) session_record: SessionRecord,
    pub(crate) session: Vec<u8>,
    packed: Vec<u8>,
    recipient_aad: [u8; 32],
}

impl Repository {
    pub(crate) fn build(given: &Given<'_>) -> Self {
        let config = Config {
            repository: repository(),
            record: ConfigRecord {
                created_ms: TIME_MS,
                chunking: Chunking::DEFAULT,
                pack_size: Config::DEFAULT_PACK_SIZE,
                compression_level: 3,
                parity: 0,
                tool: "sheaf 0.1.0".to_owned(),
            },
        };
        let (private_key, public_key) = recipient();
        let key_record = KeyRecord {
            certificate: certificate().encode().into(),
            config: config.encode().into(),
            authority: SigningKey::from_seed(&authority_seed()).id().as_bytes().to_vec().into(),
            signing_key: signing_seed().expose().to_vec().into(),
            index_key: index_key().expose().to_vec().into(),
            catalog: catalog().1.as_bytes().to_vec().into(),
            recipients: vec![public_key.as_bytes().to_vec().into()],
            dedup_secret: Some(dedup_secret().expose().to_vec().into()),
            private_key: Some(private_key.expose().to_vec().into()),
            catalog_key: Some(catalog().0.expose().to_vec().into()),
            authority_key: Some(authority_seed().expose().to_vec().into()),
            audit: audit().1.as_bytes().to_vec().into(),
            audit_key: Some(audit().0.expose().to_vec().into()),
            earlier: Vec::new(),
        };
        let salt = [0x44; 16];
        let PasswordCost { memory_kib, passes, lanes } = COST;
        let header = Header::new(repository()).encode(Magic::Key);
        let sealed = seal(card_key().expose(), 0xab, &header, &key_record.certificate);
        let SealedKey { encapsulated, ciphertext } = (given.card)(&header);
        let card = SealedTo { encapsulated, ciphertext, sealed: &sealed }.encode();
        let bundle_key = password_key(&Password::new(PASSWORD.to_vec()), &salt, COST).expect("hashed");
        let SealedKey { encapsulated, ciphertext } = (given.escrow)(&header);
        let protection = Protection::Password { memory_kib, passes, lanes, salt };
        let outer = encode_outer(repository(), &protection, &card, &(encapsulated, ciphertext));
        let bundle = [&outer[..], &seal(bundle_key.expose(), 0xa0, &outer, &key_record.encode())].concat();

        let packed = [&[1], &given.frame[..]].concat();
        let chunks =
            [raw_chunk(&dedup_secret(), 0xa1, b"sheaf"), chunk(&dedup_secret(), 0xa2, &file_content(), &packed)];
        let entry = |chunk: &Chunk| TreeEntry { key: chunk.key.clone(), span: chunk.entry.plain_length.into() };
        let node = TreeNode { level: 0, entries: chunks.iter().map(entry).collect() };
        let node = (node.clone(), raw_chunk(&dedup_secret(), 0xa3, &node.encode()));
        let map =
            raw_chunk(&dedup_secret(), 0xa4, &map_records().iter().flat_map(MapRecord::encode).collect::<Vec<_>>());
        let ids: Vec<ChunkId> = [&chunks[0], &chunks[1], &node.1, &map].map(|chunk| chunk.entry.id).to_vec();
        let ids: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
        let references = raw_chunk(&derive::reference_secret(&index_key()), 0xa5, &ids);

        let packs = [
            pack(PackKind::Data, 0xa6, &[&chunks[0], &chunks[1]]),
            pack(PackKind::Meta, 0xa7, &[&node.1, &map, &references]),
        ];
        let indexed = |pack: &[u8], kind, chunks: &[&Chunk]| IndexedPack {
            id: derive::object_id(pack),
            kind,
            size: pack.len() as u64,
            entries: chunks.iter().map(|chunk| chunk.entry).collect(),
        };
        let segment = IndexSegment {
            supersedes: vec![ObjectId::new([0x99; 32])],
            packs: vec![
                indexed(&packs[0], PackKind::Data, &[&chunks[0], &chunks[1]]),
                indexed(&packs[1], PackKind::Meta, &[&node.1, &map, &references]),
            ],
        };
        let header = Header::new(repository()).encode(Magic::Index);
        let segment_key = derive::record_key(&index_key(), RecordKind::IndexSegment);
        let index = [&header[..], &seal(segment_key.expose(), 0xa8, &header, &segment.encode())].concat();
        let index = signed(&index, Purpose::IndexSegment, 0xad, given.index_maker);

        let operator = OperatorRecord {
            stick: "ana".to_owned(),
            time_ms: TIME_MS,
            utc_offset_s: 3600,
            time_zone: Some("Europe/Vienna".to_owned()),
            host: "desk".to_owned(),
            tags: vec!["weekly".to_owned()],
            size: 16_384,
            references: TreeRoot::new(0, &entry(&references)),
            tool: "sheaf 0.1.0".to_owned(),
            counts: Counts {
                bytes_read: 16_384,
                bytes_new: 4101,
                bytes_stored: chunks.iter().map(|chunk| u64::from(chunk.entry.sealed_length)).sum(),
                chunks: 2,
                chunks_new: 2,
                unreadable: 0,
                bytes_kept: 4101,
                duration_ms: 12,
                bytes_other: 4101,
                bytes_zero: 12_283,
                ..Counts::default()
            },
            origin: None,
        };
        let private = PrivateRecord {
            data: TreeRoot::new(1, &TreeEntry { key: node.1.key.clone(), span: node.0.span() }),
            map: TreeRoot::new(0, &entry(&map)),
            disk: DiskFacts {
                sector_size: 512,
                source: "/dev/sdb".to_owned(),
                label: Some("Ana's stick".to_owned()),
                ..DiskFacts::default()
            },
            operator: operator.clone(),
            maker: certificate().encode().into(),
        };
        let header = Header::new(repository());
        let associated = header.encode(Magic::Snapshot);
        let sealed = seal(operator_key().expose(), 0xa9, &associated, &operator.encode());
        let SealedKey { encapsulated, ciphertext } = (given.operator)(&associated);
        let sealed = SealedTo { encapsulated, ciphertext, sealed: &sealed }.encode();
        let bound = snapshot::encode_bound(&header, &sealed);
        let recipient_aad = *derive::object_id(&bound).as_bytes();
        let slot = (given.slot)(&recipient_aad);
        let sealed = seal(content_key().expose(), 0xaa, &recipient_aad, &private.encode());
        let snapshot = snapshot::encode(&bound, &[slot], &sealed);
        let snapshot = signed(&snapshot, Purpose::Snapshot, 0xac, given.snapshot_maker);
        let chain = audit::encode_chain(&Header::new(repository()), &[], 1);
        let facts = audit_facts(&derive::object_id(&snapshot)).encode();
        let key = derive::record_key(&index_key(), RecordKind::AuditFacts);
        let bound = [&chain[..], &seal(key.expose(), 0xb0, derive::object_id(&chain).as_bytes(), &facts)].concat();
        let associated = derive::object_id(&bound);
        let record = audit_record().encode();
        let sealed = seal(maker_certificate_key().expose(), 0xae, associated.as_bytes(), &record);
        let SealedKey { encapsulated, ciphertext } = (given.audit)(associated.as_bytes());
        let body = SealedTo { encapsulated, ciphertext, sealed: &sealed }.encode();
        let audit = signed(&[&bound[..], &body].concat(), Purpose::AuditEntry, 0xaf, given.audit_maker);

        let retirement = retirement(segment.packs[0].id, derive::object_id(&index));
        let header = Header::new(repository()).encode(Magic::Retired);
        let key = derive::record_key(&index_key(), RecordKind::Retirement);
        let retired = [&header[..], &seal(key.expose(), 0xb0, &header, &retirement.encode())].concat();
        let retired = signed(&retired, Purpose::Retirement, 0xb1, given.retired_maker);

        let nonce = [0xdd; 32];
        let sealed = seal(holder_key().expose(), 0xb2, &nonce, &holder_record().encode());
        let SealedKey { encapsulated, ciphertext } = (given.holder)(&nonce);
        let holder = SealedTo { encapsulated, ciphertext, sealed: &sealed }.encode();
        let session_record = session_record(&derive::object_id(&retired), holder);
        let header = Header::new(repository()).encode(Magic::Session);
        let key = derive::record_key(&index_key(), RecordKind::Session);
        let session = [&header[..], &seal(key.expose(), 0xb3, &header, &session_record.encode())].concat();
        Self {
            config,
            key_record,
            bundle,
            chunks,
            node,
            map,
            references,
            packs,
            segment,
            index,
            operator,
            private,
            snapshot,
            audit,
            retirement,
            retired,
            session_record,
            session,
            packed,
            recipient_aad,
        }
    }

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

    /// The bytes of the disk map.
    pub(crate) fn map_bytes(&self) -> Vec<u8> {
        map_records().iter().flat_map(MapRecord::encode).collect()
    }
}
