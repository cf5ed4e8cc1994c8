//! The 128-bit identifiers of VHDX files.
//!
//! Always true here: the bytes are in the order of the file, where the first three groups of the text form are
//! little-endian ([MS-DTYP] §2.3.4.2); so two GUIDs are equal when their bytes are.

/// A GUID, as its 16 bytes stand in the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 16]);

/// Which byte of the file each pair of digits in the text form is.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// No identifier.
    pub const ZERO: Self = Self([0; 16]);

    /// From the digits of the text form, read as one number.
    pub(super) const fn new(digits: u128) -> Self {
        let text = digits.to_be_bytes();
        let mut bytes = [0; 16];
        let mut pair = 0;
        while pair < 16 {
            bytes[TEXT_ORDER[pair]] = text[pair];
            pair += 1;
        }
        Self(bytes)
    }

    /// From the text form, with or without braces, in any case; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
        let groups: Vec<&str> = bare.split('-').collect();
        let is_right = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
            && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
        is_right.then(|| u128::from_str_radix(&groups.concat(), 16).ok().map(Self::new))?
    }
}

impl std::fmt::Display for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (pair, byte) in TEXT_ORDER.iter().enumerate() {
            if matches!(pair, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[*byte])?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_in_their_own_orders() {
        let guid = Guid::new(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
        assert_eq!(guid.0[..8], [0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42]);
        assert_eq!(guid.to_string(), "2dc27766-f623-4200-9d64-115e9bfd4a08");
        assert_eq!(Guid::parse("{2DC27766-F623-4200-9D64-115E9BFD4A08}"), Some(guid));
        assert_eq!(Guid::parse(&guid.to_string()), Some(guid));
    }

    #[test]
    fn what_is_no_guid_is_none() {
        for text in [
            "",
            "{}",
            "{2DC27766-F623-4200-9D64-115E9BFD4A08",
            "2DC27766-F623-4200-9D64-115E9BFD4A0",
            "2DC27766-F623-4200-9D64-115E9BFD4A0g",
            "2DC27766F6234200-9D64-115E-9BFD-4A080000",
            "+DC27766-F623-4200-9D64-115E9BFD4A08",
        ] {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
    }
}
