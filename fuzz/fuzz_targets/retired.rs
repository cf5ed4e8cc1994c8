//! A retirement: the signature behind it, the object, and the table that is sealed in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::object::{HEADER_LENGTH, Magic, SealedObject};
use sheaf::format::retired::Retirement;
use sheaf::format::signature::SignatureBlock;

fuzz_target!(|data: &[u8]| {
    if let Ok((signed, block)) = SignatureBlock::split(data) {
        assert_eq!([signed, &block.encode()].concat(), data);
        if let Ok(object) = SealedObject::decode(Magic::Retired, signed) {
            assert_eq!(object.sealed, &signed[HEADER_LENGTH..]);
        }
    }
    if let Ok(retirement) = Retirement::decode(data) {
        // This structure has one encoding only.
        assert_eq!(retirement.encode(), data);
        let Retirement { time_ms, packs, segments } = retirement.clone();
        assert_eq!(Retirement::new(time_ms, packs, segments), retirement);
    }
});
