//! The checksum of headers, region tables and log entries: CRC-32C ([MS-VHDX] §2.2.2, §2.2.3.1, §2.3.1.1).
//!
//! Always true here: in all three structures the checksum is the four bytes behind a signature of four bytes, and is
//! computed as if those bytes were zeros.

/// The Castagnoli polynomial, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Where the checksum stands in every structure that has one, in bytes from its start.
const CHECKSUM: usize = 4;

/// `TABLES[k][b]` is the effect of a byte `b` that is followed by `k` zero bytes. 8 KiB: a log is at most some
/// megabytes, so nothing faster than eight bytes at a time is worth a dependency.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[behind - 1][byte];
            tables[behind][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

/// A CRC-32C over bytes that come in pieces.
#[derive(Debug, Clone, Copy)]
pub struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32c {
    /// Adds the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for word in words {
            let word = u64::from_le_bytes(*word) ^ u64::from(crc);
            crc = 0;
            for (behind, table) in TABLES.iter().rev().enumerate() {
                crc ^= table[(word >> (8 * behind)) as usize & 0xff];
            }
        }
        for byte in rest {
            crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
        }
        self.0 = crc;
    }

    /// The checksum of all bytes so far.
    pub const fn value(self) -> u32 {
        !self.0
    }
}

/// The CRC-32C of a structure, with its checksum field taken as zeros. A structure has at least 8 bytes.
pub fn checksum(structure: &[u8]) -> u32 {
    let mut crc = Crc32c::default();
    crc.update(&structure[..CHECKSUM]);
    crc.update(&[0; 4]);
    crc.update(&structure[CHECKSUM + 4..]);
    crc.value()
}

/// The checksum that a structure carries.
pub(super) fn stored(structure: &[u8]) -> u32 {
    super::field::u32_at(structure, CHECKSUM)
}

/// Writes the checksum into a structure of at least 8 bytes.
pub fn seal(structure: &mut [u8]) {
    let checksum = checksum(structure);
    super::field::put(structure, CHECKSUM, &checksum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc32c(bytes: &[u8]) -> u32 {
        let mut crc = Crc32c::default();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn the_vectors_of_rfc_3720_hold() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(&(0..32).rev().collect::<Vec<u8>>()), 0x113f_db5c);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        for cut in [0, 1, 7, 8, 9, 500, 999, 1000] {
            let mut crc = Crc32c::default();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.value(), crc32c(&bytes), "{cut}");
        }
    }

    #[test]
    fn a_sealed_structure_carries_its_checksum() {
        let mut bytes = b"head....the rest".to_vec();
        seal(&mut bytes);
        assert_eq!(stored(&bytes), checksum(&bytes));
        bytes[15] ^= 1;
        assert_ne!(stored(&bytes), checksum(&bytes));
    }
}
