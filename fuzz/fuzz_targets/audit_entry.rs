//! An audit entry: the signature behind it, the object, and the record that is sealed in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::audit::{AuditFacts, AuditObject, AuditRecord, EntryKind, FACTS_LENGTH, encode_chain};
use sheaf::format::signature::SignatureBlock;

fuzz_target!(|data: &[u8]| {
    if let Ok((signed, block)) = SignatureBlock::split(data) {
        assert_eq!([signed, &block.encode()].concat(), data);
    }
    let data = SignatureBlock::split(data).map_or(data, |(signed, _)| signed);
    if let Ok(object) = AuditObject::decode(data) {
        assert_eq!([object.bound, &object.body.encode()].concat(), data);
        assert_eq!([object.chain, object.facts].concat(), object.bound);
        assert_eq!(object.facts.len(), FACTS_LENGTH + 32 * usize::from(object.subjects));
        if object.header.optional_features == 0 {
            assert_eq!(encode_chain(&object.header, &object.previous, object.subjects), object.chain);
        }
    }
    let subjects = u16::try_from(data.len().saturating_sub(9) / 32).unwrap_or(u16::MAX);
    if let Ok(facts) = AuditFacts::decode(data, subjects) {
        // A kind that nobody knows is other.
        let bytes = facts.encode();
        assert_eq!(bytes[1..], data[1..]);
        assert!(bytes[0] == data[0] || facts.kind == EntryKind::Other);
    }
    if let Ok(record) = AuditRecord::decode(data) {
        assert_eq!(AuditRecord::decode(&record.encode()), Ok(record));
    }
});
