//! The cylinders, heads and sectors that a VHD's footer tells an ATA controller ("Appendix: CHS Calculation").
//!
//! Always true here: a geometry says nothing about the disk's size. The size field does; a geometry rounds down, and ends
//! at 127.5 GB.

/// A disk's geometry, as in the footer's field of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads, which are tracks of a cylinder.
    pub heads: u8,
    /// Sectors of 512 bytes of a track.
    pub sectors_per_track: u8,
}

/// The sectors of the largest geometry: 65,535 cylinders, 16 heads, 255 sectors.
const MAX_SECTORS: u64 = 65_535 * 16 * 255;
/// From here on the specification takes tracks of 255 sectors.
const LONG_TRACKS: u64 = 65_535 * 16 * 63;

impl Geometry {
    /// The geometry that the specification computes for a disk of this many sectors.
    pub fn of(sectors: u64) -> Self {
        let sectors = sectors.min(MAX_SECTORS);
        if sectors >= LONG_TRACKS {
            return Self::with(sectors, 16, 255);
        }
        let tracks = sectors / 17;
        let heads = tracks.div_ceil(1024).max(4);
        if tracks < heads * 1024 && heads <= 16 {
            return Self::with(sectors, heads, 17);
        }
        if sectors / 31 < 16 * 1024 { Self::with(sectors, 16, 31) } else { Self::with(sectors, 16, 63) }
    }

    /// `heads` is at most 16 here, and the cylinders of at most [`MAX_SECTORS`] fit their field.
    fn with(sectors: u64, heads: u64, sectors_per_track: u8) -> Self {
        let cylinders = sectors / u64::from(sectors_per_track) / heads;
        Self {
            cylinders: u16::try_from(cylinders).unwrap_or(u16::MAX),
            heads: u8::try_from(heads).unwrap_or(u8::MAX),
            sectors_per_track,
        }
    }

    /// As in the footer's field, read as a number: cylinders, heads, sectors from the highest bits on ("Disk Geometry").
    pub const fn to_field(self) -> u32 {
        (self.cylinders as u32) << 16 | (self.heads as u32) << 8 | self.sectors_per_track as u32
    }

    /// From the footer's field, read as a number.
    pub const fn from_field(field: u32) -> Self {
        let [high, low, heads, sectors_per_track] = field.to_be_bytes();
        Self { cylinders: u16::from_be_bytes([high, low]), heads, sectors_per_track }
    }

    /// The sectors that the geometry reaches, each of 512 bytes.
    pub fn sectors(&self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors_per_track)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The appendix word for word, to hold the other form of it against.
    fn appendix(mut total: u64) -> (u64, u64, u64) {
        if total > 65535 * 16 * 255 {
            total = 65535 * 16 * 255;
        }
        let (mut heads, mut track, mut cylinders_times_heads);
        if total >= 65535 * 16 * 63 {
            track = 255;
            heads = 16;
            cylinders_times_heads = total / track;
        } else {
            track = 17;
            cylinders_times_heads = total / track;
            heads = cylinders_times_heads.div_ceil(1024);
            if heads < 4 {
                heads = 4;
            }
            if cylinders_times_heads >= heads * 1024 || heads > 16 {
                track = 31;
                heads = 16;
                cylinders_times_heads = total / track;
            }
            if cylinders_times_heads >= heads * 1024 {
                track = 63;
                heads = 16;
                cylinders_times_heads = total / track;
            }
        }
        (cylinders_times_heads / heads, heads, track)
    }

    #[test]
    fn the_geometry_is_the_appendix_s() {
        let borders =
            [0, 1, 17 * 4 * 1024, 17 * 16 * 1024, 31 * 16 * 1024, 65_535 * 16 * 63, 65_535 * 16 * 255, 1 << 32];
        let near = borders.iter().flat_map(|border| border - 70_u64.min(*border)..border + 70);
        let spread = (0..200_000).map(|i| i * 21_013);
        for sectors in near.chain(spread) {
            let geometry = Geometry::of(sectors);
            let found = (geometry.cylinders.into(), geometry.heads.into(), geometry.sectors_per_track.into());
            assert_eq!(found, appendix(sectors), "{sectors}");
            assert!(geometry.sectors() <= sectors);
        }
    }
}
