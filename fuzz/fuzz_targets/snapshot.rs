//! A snapshot: the signature behind it, the object, and the two records that are sealed in it with their tree roots.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::object::SealedTo;
use sheaf::format::signature::SignatureBlock;
use sheaf::format::snapshot::{OperatorRecord, PrivateRecord, SnapshotObject, encode, encode_bound};

fuzz_target!(|data: &[u8]| {
    if let Ok((signed, block)) = SignatureBlock::split(data) {
        assert_eq!([signed, &block.encode()].concat(), data);
    }
    let data = SignatureBlock::split(data).map_or(data, |(signed, _)| signed);
    if let Ok(object) = SnapshotObject::decode(data) {
        // This structure has one encoding only.
        assert_eq!(encode(object.bound, &object.recipients, object.private), data);
        if let Ok(part) = SealedTo::decode("operator part", object.operator) {
            assert_eq!(part.encode(), object.operator);
        }
        if object.header.optional_features == 0 {
            assert_eq!(encode_bound(&object.header, object.operator), object.bound);
        }
    }
    if let Ok(record) = OperatorRecord::decode(data) {
        assert_eq!(OperatorRecord::decode(&record.encode()), Ok(record));
    }
    if let Ok(record) = PrivateRecord::decode(data) {
        assert_eq!(PrivateRecord::decode(&record.encode()), Ok(record));
    }
});
