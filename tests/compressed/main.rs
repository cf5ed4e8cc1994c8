//! What others compressed, decompressed: stored vectors, WIM files of wimlib, and a volume that ntfs-3g wrote.
//!
//! Always true here: whatever one of them stores is held against the bytes that went in, to the last one.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

mod golden;
mod ntfs;
mod speed;
mod wim;

use sheaf::layout::compressed::{CompressedError, Lzx, Xpress, lznt1};
use std::process::Command;

/// A codec, by the ending of a stored vector's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Codec {
    Lznt1,
    Xpress,
    Lzx,
}

impl Codec {
    fn of(ending: &str) -> Option<Self> {
        [("lznt1", Self::Lznt1), ("xpress", Self::Xpress), ("lzx", Self::Lzx)]
            .into_iter()
            .find(|(own, _)| *own == ending)
            .map(|(_, codec)| codec)
    }
}

/// All codecs, with tables that are used again and again.
struct Codecs(Xpress, Lzx);

impl Codecs {
    fn new() -> Self {
        Self(Xpress::new(), Lzx::new())
    }

    /// Decompresses into a buffer, and returns how much of it was filled.
    fn run(&mut self, codec: Codec, input: &[u8], out: &mut [u8]) -> Result<usize, CompressedError> {
        match codec {
            Codec::Lznt1 => lznt1(input, out),
            Codec::Xpress => self.0.decompress(input, out).map(|()| out.len()),
            Codec::Lzx => self.1.decompress(input, out).map(|()| out.len()),
        }
    }
}

/// Bytes without order, the same for one seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Text, zeros, noise, and machine code of this program, in pieces of many lengths.
fn mixture(seed: u64, length: usize) -> Vec<u8> {
    let (text, code) = (include_bytes!("main.rs").as_slice(), code());
    let mut all = Vec::new();
    for choice in noise(seed, 4096).chunks_exact(4).cycle() {
        let (count, from) = (usize::from(choice[1]) * 8 + 1, usize::from(choice[2]) * 100);
        match choice[0] % 5 {
            0 => all.extend(text.iter().cycle().skip(from).take(count)),
            1 => all.extend(code.iter().cycle().skip(from * 10).take(count)),
            2 => all.resize(all.len() + count, 0),
            3 => all.extend(noise(choice[2].into(), count / 4)),
            _ => all.resize(all.len() + count, choice[3]),
        }
        if all.len() >= length {
            break;
        }
    }
    all.truncate(length);
    all
}

/// A part of this program. Where the machine's code is that of x86, it has calls.
fn code() -> Vec<u8> {
    let program = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
    let from = program.len() / 3;
    program[from..program.len().min(from + 300_000)].to_vec()
}

/// Runs a program and gives what it printed; `None`, and a word about it, where it is not installed or fails.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    match Command::new(program).args(arguments).env("PATH", paths).env("LC_ALL", "C").output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            eprintln!("skipped: `{program}`: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            eprintln!("skipped: `{program}` does not run here: {error}");
            None
        }
    }
}
