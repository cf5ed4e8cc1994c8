//! The config. The checksum is made right first, since the fuzzer cannot guess a hash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::crypto::derive::object_id;
use sheaf::format::config::Config;

fuzz_target!(|data: &[u8]| {
    let covered = &data[..data.len().saturating_sub(32)];
    let bytes = [covered, object_id(covered).as_bytes()].concat();
    if let Ok(config) = Config::decode(&bytes) {
        assert_eq!(Config::decode(&config.encode()), Ok(config));
    }
});
