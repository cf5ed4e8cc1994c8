//! Everything in the example repository, made from what is fixed and what the chapters show.

use super::{
    COST, Chunk, PASSWORD, TIME_MS, audit, audit_facts, audit_record, authority_seed, card_key, catalog, certificate,
    chunk, content_key, dedup_secret, file_content, holder_key, holder_record, index_key, maker_certificate_key,
    map_records, operator_key, pack, raw_chunk, recipient, repository, retirement, seal, session_record, signed,
    signing_seed,
};
use sheaf::crypto::derive::{self, RecordKind};
use sheaf::crypto::password::{Password, PasswordCost, password_key};
use sheaf::crypto::recipient::SealedKey;
use sheaf::crypto::sign::{Purpose, SigningKey};
use sheaf::format::config::{Chunking, Config, ConfigRecord};
use sheaf::format::index::{IndexSegment, IndexedPack};
use sheaf::format::keys::{KeyRecord, Protection, encode_outer};
use sheaf::format::manifest::MapRecord;
use sheaf::format::object::{Header, Magic, SealedTo};
use sheaf::format::pack::PackKind;
use sheaf::format::retired::Retirement;
use sheaf::format::session::SessionRecord;
use sheaf::format::snapshot::{self, Counts, DiskFacts, OperatorRecord, PrivateRecord, RecipientSlot};
use sheaf::format::tree::{TreeEntry, TreeNode, TreeRoot};
use sheaf::ids::{ChunkId, ObjectId};

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
    pub(super) packed: Vec<u8>,
    pub(super) recipient_aad: [u8; 32],
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

    /// The bytes of the disk map.
    pub(crate) fn map_bytes(&self) -> Vec<u8> {
        map_records().iter().flat_map(MapRecord::encode).collect()
    }
}
