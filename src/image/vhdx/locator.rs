//! The parent locator: the names under which a differencing disk knows its parent ([MS-VHDX] §2.6.2.6).
//!
//! Always true here: only the keys that are known are read as text, so that a table whose entries all point at the same
//! long text costs no more than its own length. Nothing is done with a path here; who looks for the file decides which may
//! be used.

use super::super::container::{FileOffset, ParentHint};
use super::Guid;
use super::error::VhdxError;
use super::field::{guid_at, u16_at, u32_at};

/// The only type of locator that the specification knows (§2.6.2.6.3).
const VHDX_LOCATOR: Guid = Guid::new(0xb04aefb7_d19e_4a81_b789_25b8e9445913);
const HEADER_LENGTH: usize = 20;
const KEY_VALUE_COUNT: usize = 18;
const ENTRY_LENGTH: usize = 12;
const VALUE_OFFSET: usize = 4;
const KEY_LENGTH: usize = 8;
const VALUE_LENGTH: usize = 10;

const LINKAGE: &str = "parent_linkage";
const LINKAGE_2: &str = "parent_linkage2";
/// The keys of paths, in the order in which they are to be tried.
const PATHS: [&str; 3] = ["relative_path", "volume_path", "absolute_win32_path"];

/// Which file the parent is, and where it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Locator {
    /// The parent's data identity; while a child is merged into its parent there may be a second one (§2.6.2.6.3).
    pub(super) linkage: Guid,
    pub(super) linkage_2: Option<Guid>,
    /// The paths, best first.
    pub(super) paths: Vec<String>,
}

impl Locator {
    /// Takes the item apart.
    ///
    /// # Errors
    /// [`VhdxError::Wrong`].
    pub(super) fn decode(item: &[u8], at: FileOffset) -> Result<Self, VhdxError> {
        if item.len() < HEADER_LENGTH {
            let expected = format_args!("{HEADER_LENGTH} bytes or more");
            return Err(VhdxError::wrong("the parent locator", at, expected, item.len()));
        }
        let kind = guid_at(item, 0);
        if kind != VHDX_LOCATOR {
            return Err(VhdxError::wrong("the type of the parent locator", at, VHDX_LOCATOR, kind));
        }
        let count = usize::from(u16_at(item, KEY_VALUE_COUNT));
        let entries = item[HEADER_LENGTH..].as_chunks::<ENTRY_LENGTH>().0;
        if count > entries.len() {
            let field = FileOffset(at.0 + KEY_VALUE_COUNT as u64);
            let expected = format_args!("at most {}, for which there is room", entries.len());
            return Err(VhdxError::wrong("the number of keys in the parent locator", field, expected, count));
        }
        // The linkages, then the paths.
        let mut values: [Option<(String, FileOffset)>; 5] = Default::default();
        for (index, entry) in entries.iter().take(count).enumerate() {
            let entry_at = at.0 + (HEADER_LENGTH + index * ENTRY_LENGTH) as u64;
            let text = |what, offset_field: usize, length_field: usize| {
                let (offset, length) = (u32_at(entry, offset_field), u16_at(entry, length_field));
                bytes_of(item, offset, length).ok_or_else(|| {
                    let field = FileOffset(entry_at + offset_field as u64);
                    let expected = format_args!("{length} bytes of UTF-16, at least 2, in the item's {}", item.len());
                    VhdxError::wrong(what, field, expected, format_args!("them at {offset}"))
                })
            };
            let key = text("a key of the parent locator", 0, KEY_LENGTH)?;
            let known = [LINKAGE, LINKAGE_2].iter().chain(&PATHS);
            let Some(slot) = known.zip(&mut values).find_map(|(known, slot)| is_text(key, known).then_some(slot))
            else {
                continue;
            };
            let value = text("a value of the parent locator", VALUE_OFFSET, VALUE_LENGTH)?;
            let value_at = FileOffset(at.0 + u64::from(u32_at(entry, VALUE_OFFSET)));
            let units = value.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
            let Ok(value) = char::decode_utf16(units).collect::<Result<String, _>>() else {
                return Err(VhdxError::wrong("a value of the parent locator", value_at, "UTF-16", "something else"));
            };
            if slot.replace((value, value_at)).is_some() {
                let (field, expected) = (FileOffset(entry_at), "each key once");
                return Err(VhdxError::wrong(
                    "a key of the parent locator",
                    field,
                    expected,
                    "one for the second time",
                ));
            }
        }
        let [linkage, linkage_2, paths @ ..] = values;
        let Some(linkage) = linkage else {
            let expected = format_args!("the key {LINKAGE}");
            return Err(VhdxError::wrong("the parent locator", at, expected, "none"));
        };
        let paths: Vec<String> = paths.into_iter().flatten().map(|(path, _)| path).collect();
        if paths.is_empty() {
            let expected = format_args!("one of the keys {}", PATHS.join(", "));
            return Err(VhdxError::wrong("the parent locator", at, expected, "none"));
        }
        Ok(Self {
            linkage: linkage_guid(&linkage)?,
            linkage_2: linkage_2.as_ref().map(linkage_guid).transpose()?,
            paths,
        })
    }

    /// Whether a file with this data identity is the parent.
    pub(super) fn names(&self, data_write: Guid) -> bool {
        data_write == self.linkage || Some(data_write) == self.linkage_2
    }

    /// What to look for.
    pub(super) fn hint(&self) -> ParentHint {
        ParentHint { paths: self.paths.clone(), identifier: self.linkage.0 }
    }
}

/// The bytes of a text in the item; `None` when they are not all there, or are no whole units.
fn bytes_of(item: &[u8], offset: u32, length: u16) -> Option<&[u8]> {
    let (start, length) = (usize::try_from(offset).ok()?, usize::from(length));
    let bytes = item.get(start..start.checked_add(length)?)?;
    (start > 0 && length > 0 && length.is_multiple_of(2)).then_some(bytes)
}

/// Whether UTF-16 bytes are this text.
fn is_text(bytes: &[u8], text: &str) -> bool {
    bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).eq(text.encode_utf16())
}

fn linkage_guid((text, at): &(String, FileOffset)) -> Result<Guid, VhdxError> {
    Guid::parse(text).ok_or_else(|| {
        let found: String = text.chars().take(64).collect();
        VhdxError::wrong("the identity of the parent", *at, "a GUID in braces", format_args!("{found:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "{83ed0ec3-24c8-49a6-a959-5e4bf1288bfb}";

    /// A locator of these keys and values.
    fn item(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut item = VHDX_LOCATOR.0.to_vec();
        item.extend([0, 0]);
        item.extend((pairs.len() as u16).to_le_bytes());
        let mut texts = Vec::new();
        let base = HEADER_LENGTH + pairs.len() * ENTRY_LENGTH;
        for (key, value) in pairs {
            let mut place = |text: &str| {
                let at = (base + texts.len()) as u32;
                texts.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
                (at.to_le_bytes(), ((base + texts.len()) as u32 - at) as u16)
            };
            let (key, value) = (place(key), place(value));
            item.extend(key.0);
            item.extend(value.0);
            item.extend(key.1.to_le_bytes());
            item.extend(value.1.to_le_bytes());
        }
        item.extend(texts);
        item
    }

    fn decode(pairs: &[(&str, &str)]) -> Result<Locator, String> {
        Locator::decode(&item(pairs), FileOffset(1000)).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_come_in_the_order_in_which_they_are_tried() {
        let locator = decode(&[
            ("absolute_win32_path", r"\\?\d:\parent.vhdx"),
            ("what else", "is not read"),
            ("relative_path", r"..\parent ü.vhdx"),
            (LINKAGE, ID),
        ])
        .expect("sound");
        assert_eq!(locator.paths, [r"..\parent ü.vhdx", r"\\?\d:\parent.vhdx"]);
        assert_eq!(locator.linkage.to_string(), ID[1..37]);
        assert!(locator.names(locator.linkage) && !locator.names(Guid::ZERO));
        assert_eq!(locator.hint().identifier, locator.linkage.0);
        let other = ID.replace("83ed", "aaaa");
        let locator = decode(&[(LINKAGE, ID), (LINKAGE_2, &other), (PATHS[1], "x")]).expect("sound");
        assert!(Guid::parse(&other).is_some_and(|other| locator.names(other)));
    }

    #[test]
    fn what_is_missing_or_double_or_no_text_is_refused() {
        for (pairs, expected) in [
            (&[(PATHS[0], "x")][..], "expected the key parent_linkage"),
            (&[(LINKAGE, ID)], "expected one of the keys relative_path"),
            (&[(LINKAGE, ID), (LINKAGE, ID)], "expected each key once"),
            (&[(LINKAGE, "x"), (PATHS[0], "x")], "a GUID in braces, found \"x\""),
            (&[(LINKAGE, "")], "a value of the parent locator at offset 1024"),
        ] {
            let error = decode(pairs).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        let sound = item(&[(LINKAGE, ID), (PATHS[0], "x")]);
        for length in 0..sound.len() {
            assert!(Locator::decode(&sound[..length], FileOffset(0)).is_err(), "{length}");
        }
        let mut surrogate = sound;
        let last = surrogate.len() - 2;
        surrogate[last..].copy_from_slice(&0xd800_u16.to_le_bytes());
        assert!(Locator::decode(&surrogate, FileOffset(0)).is_err());
    }
}
