//! A key bundle: what stands before its record, the record that is sealed in it, and the certificate on its card. Costs may be anything
//! here; no password is hashed. Printed keys are read as well.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::crypto::printed;
use sheaf::format::certificate::SignedCertificate;
use sheaf::format::keys::{KeyRecord, Protection, SealedBundle, encode_outer};

fuzz_target!(|data: &[u8]| {
    if let Ok(bundle) = SealedBundle::decode(data) {
        assert_eq!(bundle.outer.len() + bundle.sealed.len(), data.len());
        let again = [&encode_outer(bundle.repository, &bundle.protection, bundle.card), bundle.sealed].concat();
        let again = SealedBundle::decode(&again).expect("decodes again");
        assert_eq!(
            (again.repository, again.protection, again.card, again.sealed),
            (bundle.repository, bundle.protection, bundle.card, bundle.sealed)
        );
        if let Protection::Password { memory_kib, passes, lanes, .. } = bundle.protection {
            let _ = sheaf::crypto::password::PasswordCost { memory_kib, passes, lanes }.check();
        }
    }
    if let Ok(record) = KeyRecord::decode(data) {
        assert_eq!(KeyRecord::decode(&record.encode()), Ok(record));
    }
    if let Ok(signed) = SignedCertificate::decode(data) {
        assert_eq!(SignedCertificate::decode(&signed.encode()), Ok(signed.clone()));
        if let Ok(certificate) = signed.certificate() {
            let again = SignedCertificate { record: certificate.encode().into(), ..signed };
            assert_eq!(again.certificate(), Ok(certificate));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(key) = printed::read_secret(text) {
            assert_eq!(printed::read_secret(&printed::secret(&key)), Ok(key));
        }
    }
});
