//! A key bundle: the outer part, and the record that is sealed in it. Costs may be anything here; no password is hashed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::keys::{KeyRecord, OUTER_LENGTH, Protection, SealedBundle, encode_outer};

fuzz_target!(|data: &[u8]| {
    if let Ok(bundle) = SealedBundle::decode(data) {
        assert_eq!((bundle.outer.len(), bundle.outer.len() + bundle.sealed.len()), (OUTER_LENGTH, data.len()));
        let again = [&encode_outer(bundle.repository, &bundle.protection), bundle.sealed].concat();
        let again = SealedBundle::decode(&again).expect("decodes again");
        assert_eq!(
            (again.repository, again.protection, again.sealed),
            (bundle.repository, bundle.protection, bundle.sealed)
        );
        let Protection::Password { memory_kib, passes, lanes, .. } = bundle.protection;
        let _ = sheaf::crypto::password::PasswordCost { memory_kib, passes, lanes }.check();
    }
    if let Ok(record) = KeyRecord::decode(data) {
        assert_eq!(KeyRecord::decode(&record.encode()), Ok(record));
    }
});
