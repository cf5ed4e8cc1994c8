//! Packing a chunk's bytes: one byte that names the compression, then the bytes (format-spec/chunk.md).
//!
//! Always true here:
//! - A packed chunk is at most one byte longer than the chunk.
//! - Unpacking writes into a buffer of exactly the recorded length; a zstd frame that claims more does not get it.

use super::ChunkError;

/// The bytes are stored as they are.
pub const STORED: u8 = 0;
/// The bytes are one zstd frame (RFC 8878).
pub const ZSTD: u8 = 1;

/// Packs chunks; holds zstd's working memory, so that one is kept for each thread.
pub struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    /// A compressor of this zstd level.
    ///
    /// # Errors
    /// [`ChunkError::Zstd`] when there is no memory for it.
    pub fn new(level: i32) -> Result<Self, ChunkError> {
        zstd::bulk::Compressor::new(level).map(Self).map_err(|error| ChunkError::Zstd(error.to_string()))
    }

    /// Appends the packed form of `plain` to `out`.
    ///
    /// Where zstd saves less than 3 % the bytes are stored as they are, which makes reading them cheaper.
    pub fn pack(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let worth = plain.len() - plain.len() / 32;
        out.push(ZSTD);
        out.resize(start + 1 + worth, 0);
        // With too little room zstd gives up; that is what tells that it would not be worth it.
        match self.0.compress_to_buffer(plain, &mut out[start + 1..]) {
            Ok(length) if length < plain.len() => out.truncate(start + 1 + length),
            _ => {
                out.truncate(start);
                out.push(STORED);
                out.extend_from_slice(plain);
            }
        }
    }
}

/// Unpacks chunks; holds zstd's working memory.
pub struct Decompressor(zstd::bulk::Decompressor<'static>);

impl Decompressor {
    /// A decompressor.
    ///
    /// # Errors
    /// [`ChunkError::Zstd`] when there is no memory for it.
    pub fn new() -> Result<Self, ChunkError> {
        zstd::bulk::Decompressor::new().map(Self).map_err(|error| ChunkError::Zstd(error.to_string()))
    }

    /// Unpacks into `plain`, which has the recorded length.
    ///
    /// # Errors
    /// [`ChunkError`]; `plain` is then unspecified.
    pub fn unpack(&mut self, packed: &[u8], plain: &mut [u8]) -> Result<(), ChunkError> {
        let expected = plain.len();
        let found = match packed.split_first() {
            None => return Err(ChunkError::Empty),
            Some((&STORED, bytes)) => {
                if bytes.len() == expected {
                    plain.copy_from_slice(bytes);
                }
                bytes.len()
            }
            Some((&ZSTD, frame)) => {
                self.0.decompress_to_buffer(frame, plain).map_err(|error| ChunkError::Zstd(error.to_string()))?
            }
            Some((&found, _)) => return Err(ChunkError::Compression { found }),
        };
        if found == expected { Ok(()) } else { Err(ChunkError::Length { expected, found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(plain: &[u8]) -> Vec<u8> {
        let mut packed = vec![9, 9];
        Compressor::new(3).expect("memory").pack(plain, &mut packed);
        let mut back = vec![0; plain.len()];
        Decompressor::new().expect("memory").unpack(&packed[2..], &mut back).expect("unpacks");
        assert_eq!(back, plain);
        packed.split_off(2)
    }

    #[test]
    fn what_compresses_is_compressed_and_the_rest_is_stored() {
        assert_eq!(round_trip(&[7; 5000])[0], ZSTD);
        let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let packed = round_trip(&noise);
        assert!(packed.len() <= noise.len() + 1);
        assert_eq!(round_trip(&[1]), [STORED, 1]);
    }

    #[test]
    fn a_frame_that_is_not_what_was_recorded_is_refused() {
        let mut packed = Vec::new();
        Compressor::new(3).expect("memory").pack(&[7; 5000], &mut packed);
        let mut unpacker = Decompressor::new().expect("memory");
        assert!(matches!(unpacker.unpack(&packed, &mut [0; 4999]), Err(ChunkError::Zstd(_))));
        assert_eq!(unpacker.unpack(&packed, &mut [0; 5001]), Err(ChunkError::Length { expected: 5001, found: 5000 }));
        assert_eq!(unpacker.unpack(&[], &mut []), Err(ChunkError::Empty));
        assert_eq!(unpacker.unpack(&[7, 1], &mut [0]), Err(ChunkError::Compression { found: 7 }));
        assert_eq!(unpacker.unpack(&[0, 1, 2], &mut [0]), Err(ChunkError::Length { expected: 1, found: 2 }));
        for length in 1..packed.len() {
            assert!(unpacker.unpack(&packed[..length], &mut [0; 5000]).is_err());
        }
    }
}
