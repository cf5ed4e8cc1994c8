//! An opened index segment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::index::IndexSegment;

fuzz_target!(|data: &[u8]| {
    if let Ok(segment) = IndexSegment::decode(data) {
        // This structure has one encoding only.
        assert_eq!(segment.encode(), data);
        assert!(segment.chunk_count() <= data.len() / 40);
    }
});
