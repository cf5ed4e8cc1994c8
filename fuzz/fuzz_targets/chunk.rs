//! A packed chunk, as it is when its seal is open: whatever it claims, it unpacks to exactly the recorded length or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sheaf::chunk::compress::{Compressor, Decompressor};

fuzz_target!(|data: &[u8]| {
    let Some((length, packed)) = data.split_first_chunk::<2>() else { return };
    let mut plain = vec![0; usize::from(u16::from_le_bytes(*length))];
    let mut unpacker = Decompressor::new().expect("memory");
    if unpacker.unpack(packed, &mut plain).is_ok() && !plain.is_empty() {
        let mut again = Vec::new();
        Compressor::new(1).expect("memory").pack(&plain, &mut again);
        let mut back = vec![0; plain.len()];
        unpacker.unpack(&again, &mut back).expect("what was packed unpacks");
        assert_eq!(back, plain);
    }
});
