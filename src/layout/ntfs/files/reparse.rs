//! Reparse points: what a file or folder stands for.
//!
//! Always true here: what was taken lies inside of the data, which is small; what does not is as if it were not there.
//!
//! Structure: [MS-FSCC] §2.1.2.1 (tags), §2.1.2.2 and §2.1.2.3 (buffers), §2.1.2.4 (symbolic links), §2.1.2.5 (mount points).

use super::node::Node;
use crate::layout::LayoutError;
use crate::layout::files::Link;
use crate::layout::ntfs::attribute::REPARSE_POINT;
use crate::layout::ntfs::field::{part, u16_at, u32_at};

/// The most bytes of a reparse point ([MS-FSCC] §2.1.2: 16 KiB, with the header in front).
const MOST_BYTES: u64 = (16 << 10) + 24;
/// Bytes of the header, without the GUID of those that are not Microsoft's.
const HEADER: usize = 8;
const GUID: usize = 16;
/// The bit of tags that are Microsoft's.
const IS_MICROSOFT: u32 = 1 << 31;
const SYMBOLIC_LINK: u32 = 0xa000_000c;
const MOUNT_POINT: u32 = 0xa000_0003;
/// A symbolic link is meant from where it is.
const IS_RELATIVE: u32 = 1;

/// The reparse point of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reparse {
    /// What kind of one it is.
    pub(super) tag: u32,
    data: Vec<u8>,
}

impl Reparse {
    /// That of a node, where it has one that can be believed.
    ///
    /// # Errors
    /// [`LayoutError`]: it cannot be read, or its attribute contradicts itself.
    pub(super) fn of(node: &Node<'_>) -> Result<Option<Self>, LayoutError> {
        let Some(found) = node.attribute(REPARSE_POINT, &[])? else { return Ok(None) };
        Ok(node.small("a reparse point", &found, MOST_BYTES)?.and_then(|bytes| Self::parse(&bytes)))
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let tag = u32_at(bytes, 0)?;
        let length = usize::from(u16_at(bytes, 4)?);
        let start = if tag & IS_MICROSOFT == 0 { HEADER + GUID } else { HEADER };
        let data = part(bytes, start, length).unwrap_or_default().to_vec();
        Some(Self { tag, data })
    }

    /// The data behind the header.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// The link that it is.
    pub(super) fn link(&self) -> Option<Link> {
        let data = &*self.data;
        let is_junction = self.tag == MOUNT_POINT;
        let (is_relative, names) = match self.tag {
            MOUNT_POINT => (false, data.get(8..)?),
            SYMBOLIC_LINK => (u32_at(data, 8)? & IS_RELATIVE != 0, data.get(12..)?),
            _ => return None,
        };
        let name = |at: usize| {
            let (start, length) = (u16_at(data, at)?, u16_at(data, at + 2)?);
            Some(part(names, start.into(), length.into())?).filter(|name| !name.is_empty())
        };
        // The second name is for eyes; the first one leads.
        let target = name(0).or_else(|| name(4))?;
        Some(Link { target: text(target), is_relative, is_junction })
    }
}

/// Text in UTF-16. What is no text becomes U+FFFD.
pub(super) fn text(utf16: &[u8]) -> String {
    let units = utf16.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn symbolic(substitute: &str, print: &str, flags: u32) -> Vec<u8> {
        let (substitute, print) = (utf16(substitute), utf16(print));
        let mut bytes = SYMBOLIC_LINK.to_le_bytes().to_vec();
        bytes.extend((12 + substitute.len() as u16 + print.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        // The name for eyes comes first, as Windows writes it.
        bytes.extend((print.len() as u16).to_le_bytes());
        bytes.extend((substitute.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend((print.len() as u16).to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend([print, substitute].concat());
        bytes
    }

    fn link(bytes: &[u8]) -> Option<Link> {
        Reparse::parse(bytes)?.link()
    }

    #[test]
    fn the_substitute_name_leads() {
        let found = link(&symbolic(r"\??\C:\Users", r"C:\Users", 0)).expect("a link");
        assert_eq!((&*found.target, found.is_relative, found.is_junction), (r"\??\C:\Users", false, false));
        let found = link(&symbolic(r"..\a", "print", 1)).expect("a link");
        assert_eq!((&*found.target, found.is_relative), (r"..\a", true));
        assert_eq!(link(&symbolic("", r"C:\x", 0)).expect("a link").target, r"C:\x");
        assert_eq!(link(&symbolic("", "", 0)), None);
    }

    #[test]
    fn a_junction_has_no_flags() {
        let mut bytes = symbolic(r"\??\D:\", "", 0);
        bytes[..4].copy_from_slice(&MOUNT_POINT.to_le_bytes());
        bytes.drain(16..20);
        bytes[4] -= 4;
        let found = link(&bytes).expect("a link");
        assert_eq!((&*found.target, found.is_relative, found.is_junction), (r"\??\D:\", false, true));
    }

    #[test]
    fn whatever_one_byte_says_the_name_lies_inside() {
        let sound = symbolic(r"\??\C:\", "C", 0);
        for at in 0..sound.len() {
            for value in 0..=255 {
                let mut bytes = sound.clone();
                bytes[at] = value;
                let _ = link(&bytes);
            }
            let _ = link(&sound[..at]);
        }
        assert_eq!(Reparse::parse(&[1, 0, 0, 0, 9, 0, 0, 0]), Some(Reparse { tag: 1, data: Vec::new() }));
        assert_eq!(text(&[0, 0xd8, b'x', 0]), "\u{fffd}x");
    }
}
