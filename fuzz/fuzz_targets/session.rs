//! A session: the lease, and the two records that are sealed in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::object::{HEADER_LENGTH, Magic, SealedObject, SealedTo};
use sheaf::format::session::{HolderRecord, SessionRecord};

fuzz_target!(|data: &[u8]| {
    if let Ok(object) = SealedObject::decode(Magic::Session, data) {
        assert_eq!(object.sealed, &data[HEADER_LENGTH..]);
        if object.header.optional_features == 0 {
            assert_eq!(object.header.encode(Magic::Session), data[..HEADER_LENGTH]);
        }
    }
    if let Ok(record) = SessionRecord::decode(data) {
        // What is known has no other form than ids that rise.
        assert_eq!(record.known().count() * 32, record.known.len());
        assert!(record.known().is_sorted());
        if let Ok(holder) = SealedTo::decode("holder", &record.holder) {
            assert_eq!(holder.encode(), record.holder[..]);
        }
        assert_eq!(SessionRecord::decode(&record.encode()), Ok(record));
    }
    if let Ok(record) = HolderRecord::decode(data) {
        assert_eq!(HolderRecord::decode(&record.encode()), Ok(record));
    }
});
