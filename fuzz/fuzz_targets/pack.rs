//! The parts of a pack: header, footer, and the listing that its trailer seals.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::format::pack::{
    Footer, check_body, decode_header, decode_listing, encode_header, encode_listing, with_offsets,
};

fuzz_target!(|data: &[u8]| {
    if let Ok((repository, kind)) = decode_header(data) {
        assert_eq!(decode_header(&encode_header(repository, kind)), Ok((repository, kind)));
    }
    let footer = data.last_chunk().and_then(|bytes| Footer::decode(bytes, data.len() as u64).ok());
    if let Some(footer) = footer {
        assert_eq!(Footer::decode(&footer.encode(), data.len() as u64), Ok(footer));
    }
    if let Ok(entries) = decode_listing(data) {
        // This structure has one encoding only.
        assert_eq!(encode_listing(&entries), data);
        let end = with_offsets(&entries).last().map_or(64, |(offset, entry)| offset.0 + u64::from(entry.sealed_length));
        let footer = Footer { body_length: end, trailer_length: 0, parity_length: 0 };
        assert_eq!(check_body(&entries, &footer), Ok(()));
    }
});
