//! The first bytes of any disk: its identity, and what it seems to hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::image::facts::content;
use sheaf::layout::identify;

fuzz_target!(|data: &[u8]| {
    let disk = data.to_vec();
    let identity = identify(&disk).expect("a vector is readable").to_string();
    assert!(identity == "none" || identity.len() == 12 || identity.len() == 40, "{identity}");
    content(&disk).expect("a vector is readable");
});
