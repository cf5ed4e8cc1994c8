//! The name of an object on storage: a path that parses is exactly the path of what it parses to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::names::ObjectName;

fuzz_target!(|data: &[u8]| {
    let Ok(path) = std::str::from_utf8(data) else { return };
    if let Some(name) = ObjectName::parse(path) {
        assert_eq!(name.path(), path);
    }
});
