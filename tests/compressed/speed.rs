//! How fast it is, for those who ask.
//!
//!     cargo test --release --test compressed -- --ignored --nocapture

use super::{Codec, Codecs, golden, wim};
use std::time::{Duration, Instant};

/// Decompresses these again and again for two seconds, and prints how much came out.
fn measure(codec: Codec, what: &str, chunks: &[(Vec<u8>, usize)]) {
    let mut codecs = Codecs::new();
    let mut out = vec![0; chunks.iter().map(|chunk| chunk.1).max().unwrap_or(0)];
    let (start, mut filled) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        for (input, length) in chunks {
            filled += codecs.run(codec, std::hint::black_box(input), &mut out[..*length]).expect("sound");
        }
    }
    let speed = filled as f64 / 1e6 / start.elapsed().as_secs_f64();
    let (from, to) = chunks.iter().fold((0, 0), |(from, to), (input, length)| (from + input.len(), to + length));
    eprintln!("{codec:?}, {what}: {to} bytes from {from}, {speed:.0} MB/s");
}

#[test]
#[ignore = "it prints how fast it is, and checks nothing"]
fn speed() {
    for name in ["text.lznt1", "calls.lznt1", "mixed.lznt1", "stored.lznt1"] {
        measure(Codec::Lznt1, name, &[golden::vector(name)]);
    }
    for (codec, name, chunk) in
        [(Codec::Xpress, "xpress", 4096), (Codec::Xpress, "xpress", 16384), (Codec::Lzx, "lzx", 32768)]
    {
        let Some(chunks) = wim::compressed_chunks(name, chunk) else { return };
        measure(codec, &format!("code and text, chunks of {chunk}"), &chunks);
    }
}
