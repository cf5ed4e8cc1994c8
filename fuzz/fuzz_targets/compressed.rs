//! The decompressors of what Windows compressed: any bytes give output or an error, and the same ones again give the same.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | modulo 3: LZNT1, XPRESS, LZX; divided by 3: how much output is asked for, see [`SIZES`] |
//! | the rest | the input |
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use sheaf::layout::compressed::{CompressedError, Lzx, Xpress, lznt1};

/// How many bytes of output are asked for. Some are those of the seeds.
const SIZES: [usize; 14] = [600, 2500, 3000, 6000, 9192, 32768, 0, 1, 20, 300, 4096, 8192, 65536, 200_000];

/// What one call says: the output, or the error in words.
fn said(result: Result<usize, CompressedError>, out: &[u8]) -> Result<&[u8], String> {
    match result {
        Ok(length) => Ok(out.get(..length).expect("no more than was asked for")),
        Err(error) => Err(error.to_string()),
    }
}

thread_local! {
    /// Decompressors that saw other inputs before.
    static USED: RefCell<(Xpress, Lzx)> = const { RefCell::new((Xpress::new(), Lzx::new())) };
}

fuzz_target!(|data: &[u8]| {
    let Some((choices, input)) = data.split_first() else { return };
    let size = SIZES[usize::from(choices / 3) % SIZES.len()];
    let run = |xpress: &mut Xpress, lzx: &mut Lzx, out: &mut [u8]| match choices % 3 {
        0 => lznt1(input, out),
        1 => xpress.decompress(input, out).map(|()| out.len()),
        _ => lzx.decompress(input, out).map(|()| out.len()),
    };
    // What was in the buffers and in the tables must not matter.
    let (mut first, mut second) = (vec![0; size], vec![0xff; size]);
    let first_result = USED.with_borrow_mut(|(xpress, lzx)| run(xpress, lzx, &mut first));
    let second_result = run(&mut Xpress::new(), &mut Lzx::new(), &mut second);
    assert_eq!(said(first_result, &first), said(second_result, &second));
});
