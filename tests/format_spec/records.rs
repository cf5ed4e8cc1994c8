//! snapshot.md, audit.md, retired.md and session.md.

use super::markdown::chapters;
use super::opening::{open_with, verified};
use super::{examples, shown};
use sheaf::crypto::aead;
use sheaf::crypto::derive::{self, RecordKind};
use sheaf::crypto::sign::Purpose;
use sheaf::format::audit::{AuditFacts, AuditObject, AuditRecord};
use sheaf::format::keys::KeyRecord;
use sheaf::format::object::{Magic, SealedObject};
use sheaf::format::retired::Retirement;
use sheaf::format::session::{HolderRecord, SessionKind, SessionRecord};
use sheaf::format::signature::SignatureBlock;
use sheaf::format::snapshot::{OperatorRecord, PrivateRecord};

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
