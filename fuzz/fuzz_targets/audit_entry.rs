//! An audit entry: the signature behind it, the object, and the record that is sealed in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::audit::{AuditObject, AuditRecord, encode_bound};
use sheaf::format::signature::SignatureBlock;

fuzz_target!(|data: &[u8]| {
    if let Ok((signed, block)) = SignatureBlock::split(data) {
        assert_eq!([signed, &block.encode()].concat(), data);
    }
    let data = SignatureBlock::split(data).map_or(data, |(signed, _)| signed);
    if let Ok(object) = AuditObject::decode(data) {
        assert_eq!([object.bound, &object.body.encode()].concat(), data);
        if object.header.optional_features == 0 {
            assert_eq!(encode_bound(&object.header, &object.previous), object.bound);
        }
    }
    if let Ok(record) = AuditRecord::decode(data) {
        assert_eq!(AuditRecord::decode(&record.encode()), Ok(record));
    }
});
