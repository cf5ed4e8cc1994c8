//! The config: what every program must know before it has a key (format-spec/config.md).
//!
//! Always true here:
//! - It is written once and never again. It carries its own checksum against accidents; against forgery, every
//!   key bundle holds a sealed copy of its bytes.
//! - Parameters that decode are within the limits of this program; nothing downstream checks them again.

use super::object::{Header, Magic};
use super::{FormatError, decode_record, encode_record};
use crate::codec::Reader;
use crate::ids::RepositoryId;
use minicbor::{Decode, Encode};

const STRUCTURE: &str = "config";
const CHECKSUM_LENGTH: usize = 32;
/// The largest config that is read, in bytes.
pub const MAX_LENGTH: usize = 64 << 10;

/// Chunking by FastCDC, 2020 variant, as the crate `fastcdc` 5.0.0 computes it.
pub const CHUNKER_FASTCDC_2020: u8 = 1;

/// How streams are cut into chunks. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Chunking {
    /// The algorithm: 1 is FastCDC 2020.
    #[n(0)]
    pub algorithm: u8,
    /// The smallest chunk but the last of a run; even.
    #[n(1)]
    pub min: u32,
    /// The size aimed at; even.
    #[n(2)]
    pub average: u32,
    /// The largest chunk; even.
    #[n(3)]
    pub max: u32,
    /// Normalisation level, 0 to 3.
    #[n(4)]
    pub normalization: u8,
}

impl Chunking {
    /// The largest chunk that any repository may have.
    pub const MAX: u32 = 8 << 20;
    /// The smallest minimum.
    pub const MIN: u32 = 256;
    /// The largest minimum, average and smallest maximum for which FastCDC 2020 is defined: its table of masks ends
    /// there, and the crate reads beyond it for a larger average.
    pub const LARGEST_MIN: u32 = 1 << 20;
    /// See [`Self::LARGEST_MIN`].
    pub const LARGEST_AVERAGE: u32 = 4 << 20;
    /// See [`Self::LARGEST_MIN`].
    pub const SMALLEST_MAX: u32 = 1024;

    /// What `init` takes unless it is told otherwise; `benches/RESULTS.md` has the curve.
    pub const DEFAULT: Self = Self::with_average(64 << 10);

    /// The sizes that go with an average in bytes: half of it at least, four times as much at most. An average of 4 KiB to
    /// 2 MiB that is a multiple of 4 passes [`Chunking::check`].
    pub const fn with_average(average: u32) -> Self {
        Self { algorithm: CHUNKER_FASTCDC_2020, min: average / 2, average, max: average * 4, normalization: 1 }
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// [`FormatError::Field`].
    pub fn check(&self) -> Result<(), FormatError> {
        let field = |field, expected, found: u32| Err(FormatError::field(STRUCTURE, field, expected, found.into()));
        match *self {
            Self { algorithm, .. } if algorithm != CHUNKER_FASTCDC_2020 => {
                field("chunker algorithm", "1 (FastCDC 2020)", algorithm.into())
            }
            Self { min, .. } if !(Self::MIN..=Self::LARGEST_MIN).contains(&min) || min % 2 == 1 => {
                field("chunk minimum", "even, 256 to 1048576", min)
            }
            Self { max, .. } if !(Self::SMALLEST_MAX..=Self::MAX).contains(&max) || max % 2 == 1 => {
                field("chunk maximum", "even, 1024 to 8388608", max)
            }
            Self { min, average, max, .. } if average % 2 == 1 || average <= min || average >= max => {
                field("chunk average", "even and between minimum and maximum", average)
            }
            Self { average, .. } if average > Self::LARGEST_AVERAGE => {
                field("chunk average", "at most 4194304", average)
            }
            Self { normalization, .. } if normalization > 3 => field("normalization", "0 to 3", normalization.into()),
            _ => Ok(()),
        }
    }
}

/// The config of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The repository's id.
    pub repository: RepositoryId,
    /// Everything else.
    pub record: ConfigRecord,
}

/// The part of the config that may grow.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ConfigRecord {
    /// When the repository was made, in milliseconds since 1970-01-01 UTC.
    #[n(0)]
    pub created_ms: i64,
    /// How streams are cut.
    #[n(1)]
    pub chunking: Chunking,
    /// The size at which a pack is closed, in bytes.
    #[n(2)]
    pub pack_size: u32,
    /// The zstd level for new chunks.
    #[n(3)]
    pub compression_level: i8,
    /// Parity, in data sectors for each parity sector: 2 to 62; 0 is none.
    #[n(4)]
    pub parity: u16,
    /// The program that made the repository.
    #[n(5)]
    pub tool: String,
}

impl ConfigRecord {
    /// The parity that costs about this many percent of what it protects, as far as the limits go; none for 0.
    pub fn parity_of_percent(percent: u8) -> u16 {
        match u16::from(percent) {
            0 => 0,
            percent => ((100 + percent / 2) / percent).clamp(Config::LEAST_PARITY_RATIO, Config::LARGEST_PARITY_RATIO),
        }
    }
}

impl Config {
    /// The largest pack that any repository may aim at, in bytes.
    pub const MAX_PACK_SIZE: u32 = 256 << 20;
    /// What `init` takes, in bytes.
    pub const DEFAULT_PACK_SIZE: u32 = 64 << 20;
    /// The smallest number of data sectors for each parity sector: the most parity.
    pub const LEAST_PARITY_RATIO: u16 = 2;
    /// The largest number of data sectors for each parity sector: the least parity.
    pub const LARGEST_PARITY_RATIO: u16 = 62;
    /// The parity that `init` makes: about 3 %.
    pub const DEFAULT_PARITY_RATIO: u16 = 33;

    /// The config's bytes: header, record, checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Header::new(self.repository).encode(Magic::Config).to_vec();
        bytes.extend_from_slice(&encode_record(&self.record));
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads a config.
    ///
    /// # Errors
    /// [`FormatError`]: the checksum, an unknown version or feature, a parameter outside of its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let header = Header::decode(Magic::Config, &mut reader)?;
        let body = reader.rest();
        let (record, checksum) =
            body.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(FormatError::Checksum { structure: STRUCTURE })?;
        let covered = &bytes[..bytes.len() - CHECKSUM_LENGTH];
        if blake3::hash(covered).as_bytes() != checksum {
            return Err(FormatError::Checksum { structure: STRUCTURE });
        }
        let record: ConfigRecord = decode_record(STRUCTURE, record)?;
        record.chunking.check()?;
        let field = |field, expected, found| Err(FormatError::field(STRUCTURE, field, expected, found));
        if record.pack_size < record.chunking.max || record.pack_size > Self::MAX_PACK_SIZE {
            return field("pack size", "between the chunk maximum and 268435456", record.pack_size.into());
        }
        if !(1..=22).contains(&record.compression_level) {
            return field("compression level", "1 to 22", record.compression_level.unsigned_abs().into());
        }
        if record.parity != 0 && !(Self::LEAST_PARITY_RATIO..=Self::LARGEST_PARITY_RATIO).contains(&record.parity) {
            return field("parity", "0, or 2 to 62", record.parity.into());
        }
        Ok(Self { repository: header.repository, record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            repository: RepositoryId::new([9; 16]),
            record: ConfigRecord {
                created_ms: 1_795_000_000_000,
                chunking: Chunking::DEFAULT,
                pack_size: Config::DEFAULT_PACK_SIZE,
                compression_level: 3,
                parity: 0,
                tool: "sheaf 0.1.0".to_owned(),
            },
        }
    }

    #[test]
    fn round_trips() {
        assert_eq!(Config::decode(&config().encode()), Ok(config()));
    }

    #[test]
    fn every_ratio_of_parity_within_the_limits_is_legal() {
        for parity in std::iter::once(0).chain(Config::LEAST_PARITY_RATIO..=Config::LARGEST_PARITY_RATIO) {
            let mut config = config();
            config.record.parity = parity;
            assert_eq!(Config::decode(&config.encode()), Ok(config));
        }
        let percents =
            [(0, 0), (1, 62), (2, 50), (3, Config::DEFAULT_PARITY_RATIO), (7, 14), (30, 3), (50, 2), (100, 2)];
        for (percent, ratio) in percents {
            assert_eq!(ConfigRecord::parity_of_percent(percent), ratio, "{percent} %");
        }
    }

    #[test]
    fn every_average_that_init_offers_is_legal() {
        for kib in [4, 5, 64, 1000, 2048] {
            assert_eq!(Chunking::with_average(kib << 10).check(), Ok(()), "{kib} KiB");
        }
    }

    #[test]
    fn any_flipped_bit_and_any_truncation_is_refused() {
        let bytes = config().encode();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Config::decode(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Config::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn the_chunker_takes_every_parameter_at_its_limit() {
        for (min, average, max) in [(256, 258, 1024), (1 << 20, 4 << 20, 8 << 20), (256, 4 << 20, 8 << 20)] {
            for normalization in 0..=3_u8 {
                let chunking = Chunking { min, average, max, normalization, ..Chunking::DEFAULT };
                chunking.check().expect("within the limits");
                let level = match normalization {
                    0 => fastcdc::v2020::Normalization::Level0,
                    1 => fastcdc::v2020::Normalization::Level1,
                    2 => fastcdc::v2020::Normalization::Level2,
                    _ => fastcdc::v2020::Normalization::Level3,
                };
                let (min, average, max) = (min as usize, average as usize, max as usize);
                let chunker = fastcdc::v2020::FastCDC::with_level(&[0; 4096], min, average, max, level);
                assert_eq!(chunker.map(|chunk| chunk.length).sum::<usize>(), 4096);
            }
        }
    }

    #[test]
    fn parameters_outside_of_their_limits_are_refused() {
        let spoil: [fn(&mut ConfigRecord); 12] = [
            |c| (c.chunking.min, c.chunking.average) = ((1 << 20) + 2, 2 << 20),
            |c| (c.chunking.average, c.chunking.max) = ((4 << 20) + 2, 8 << 20),
            |c| (c.chunking.min, c.chunking.average, c.chunking.max) = (256, 258, 1022),
            |c| c.chunking.algorithm = 2,
            |c| c.chunking.min = 33,
            |c| c.chunking.average = c.chunking.max,
            |c| c.chunking.max = 16 << 20,
            |c| c.chunking.normalization = 4,
            |c| c.pack_size = 1,
            |c| c.compression_level = 0,
            |c| c.parity = 1,
            |c| c.parity = 63,
        ];
        for (case, spoil) in spoil.into_iter().enumerate() {
            let mut config = config();
            config.record.pack_size = Config::MAX_PACK_SIZE;
            spoil(&mut config.record);
            assert!(matches!(Config::decode(&config.encode()), Err(FormatError::Field { .. })), "case {case}");
        }
    }
}
