//! A hive of the registry: the way down to a key by its name, and some of its values.
//!
//! Always true here:
//! - What does not check out is as if it were not there: a base block whose checksum is wrong makes no hive, and a cell that is
//!   free, or does not lie inside of the bins as a whole, holds nothing.
//! - There is no way in circles. Lists of keys are one or two levels deep, and keys are gone down to by names that are given.
//! - What is read is bounded: [`MOST_READ`] of one hive, and of each value its first [`MOST_DATA`] bytes.
//! - Changes that are only in the logs beside a hive are not seen: a hive that was in use when its stick was pulled says what it
//!   said a little earlier.
//!
//! Structures: M. Suhanov, "Windows registry file format specification"; the sections that are named below are its. The library
//! libregf describes the same in "Windows NT Registry File (REGF) format specification".

use crate::disk::{DiskOffset, ReadAt};
use crate::layout::field::{array_at, u16_at, u32_at, utf16};

/// Bytes that are read of one hive; each read counts as [`LEAST_READ`] at least. A sound hive takes some 100 KiB.
const MOST_READ: u64 = 4 << 20;
/// What a short read counts as, in bytes: a sector.
const LEAST_READ: u64 = 512;
/// The most bytes of a value that are looked at.
const MOST_DATA: usize = 512;
/// The most values of a key that are looked at.
const MOST_VALUES: u32 = 4096;
/// Longer data does not lie in one cell; section "Big data".
const BIG_DATA: u32 = 16344;
/// Bytes before the bins; section "Base block".
const BASE_BLOCK: usize = 4096;

/// Bytes from the start of the hive bins data. All offsets in a hive count from there; that of nothing is 0xFFFFFFFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CellOffset(u32);

/// A key's lists; section "Key node".
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    subkeys: CellOffset,
    values: CellOffset,
    value_count: u32,
}

/// What a value says; section "Data types".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `REG_SZ` or `REG_EXPAND_SZ`, up to its first NUL.
    Text(String),
    /// `REG_DWORD`.
    Number(u32),
}

/// A hive whose base block is sound.
pub(super) struct Hive<'f> {
    file: &'f dyn ReadAt,
    /// Bytes of the bins; the file has them.
    bins: u64,
    root: CellOffset,
    /// How much may still be read, in bytes.
    left: u64,
}

impl<'f> Hive<'f> {
    /// Opens a file; `None` where it is no hive.
    pub(super) fn open(file: &'f dyn ReadAt) -> Option<Self> {
        let mut block = vec![0; BASE_BLOCK];
        file.read_at(DiskOffset(0), &mut block).ok()?;
        let sealed = block.first_chunk::<508>()?;
        // Major and minor version, the type of a primary file, and the format of memory.
        let is_known = u32_at(&block, 20) == 1
            && (3..=6).contains(&u32_at(&block, 24))
            && u32_at(&block, 28) == 0
            && u32_at(&block, 32) == 1;
        if !block.starts_with(b"regf") || !is_known || checksum(sealed) != u32_at(&block, 508) {
            return None;
        }
        let bins = u64::from(u32_at(&block, 40)).min(file.size() - BASE_BLOCK as u64);
        Some(Self { file, bins, root: CellOffset(u32_at(&block, 36)), left: MOST_READ })
    }

    /// The key to which names lead from the root, whatever their case.
    pub(super) fn key(&mut self, names: &[&str]) -> Option<Key> {
        let root = self.cell(self.root, 76)?;
        let mut key = Key::parse(&root)?;
        for name in names {
            key = self.subkey(key, name)?;
        }
        Some(key)
    }

    /// Those of the values with these names that there are, whatever the case of their names. Each name is told once.
    pub(super) fn values<'n>(&mut self, key: Key, names: &[&'n str]) -> Vec<(&'n str, Value)> {
        let mut found: Vec<(&str, Value)> = Vec::new();
        // Section "Key values list".
        let size = key.value_count.min(MOST_VALUES) as usize * 4;
        let Some(list) = self.cell(key.values, size) else { return found };
        let longest = names.iter().map(|name| name.len()).max().unwrap_or_default();
        for offset in list.as_chunks::<4>().0 {
            // Section "Key value".
            let Some(cell) = self.cell(CellOffset(u32::from_le_bytes(*offset)), 20 + 2 * longest) else { continue };
            let name = Name::parse(&cell, 2, 20, u16_at(&cell, 16) & 1 != 0);
            let Some(wanted) = names.iter().find(|wanted| name.is(wanted)).copied() else { continue };
            if !cell.starts_with(b"vk") || found.iter().any(|(name, _)| *name == wanted) {
                continue;
            }
            if let Some(value) = self.value(&cell) {
                found.push((wanted, value));
            }
        }
        found
    }

    /// What the cell of a value leads to; sections "Data size" and "Data types".
    fn value(&mut self, cell: &[u8]) -> Option<Value> {
        let (size, kind) = (u32_at(cell, 4), u32_at(cell, 12));
        let is_inside = size >> 31 != 0;
        let length = size & (u32::MAX >> 1);
        if length > if is_inside { 4 } else { BIG_DATA } {
            return None;
        }
        let most = usize::try_from(length).ok()?.min(MOST_DATA);
        let mut data = match is_inside {
            true => array_at::<4>(cell, 8).to_vec(),
            false => self.cell(CellOffset(u32_at(cell, 8)), most)?,
        };
        data.truncate(most);
        match kind {
            1 | 2 => utf16(&data).map(Value::Text),
            4 => <[u8; 4]>::try_from(data).ok().map(|bytes| Value::Number(u32::from_le_bytes(bytes))),
            _ => None,
        }
    }

    fn subkey(&mut self, key: Key, name: &str) -> Option<Key> {
        let (kind, elements) = self.list(key.subkeys)?;
        if &kind != b"ri" {
            return self.among(kind, &elements, name);
        }
        // Section "Index root": its elements are lists that are no index roots.
        elements.as_chunks::<4>().0.iter().find_map(|offset| {
            let (kind, elements) = self.list(CellOffset(u32::from_le_bytes(*offset)))?;
            self.among(kind, &elements, name)
        })
    }

    /// A list of keys or of such lists: its signature, and its elements as far as its cell has them.
    fn list(&mut self, at: CellOffset) -> Option<([u8; 2], Vec<u8>)> {
        let head = self.cell(at, 4)?;
        let kind = array_at(&head, 0);
        let element = match &kind {
            b"lf" | b"lh" => 8,
            b"li" | b"ri" => 4,
            _ => return None,
        };
        let mut list = self.cell(at, 4 + usize::from(u16_at(&head, 2)) * element)?;
        list.drain(..list.len().min(4));
        Some((kind, list))
    }

    /// The key of a name in a list whose elements lead to keys. Hints are believed, as Windows believes them: thousands of keys
    /// that are something else are not read.
    fn among(&mut self, kind: [u8; 2], elements: &[u8], name: &str) -> Option<Key> {
        let with_hints =
            elements.as_chunks::<8>().0.iter().map(|element| (u32_at(element, 0), array_at::<4>(element, 4)));
        let fits: Vec<u32> = match &kind {
            // Section "Hash leaf".
            b"lh" => {
                let hash = name.bytes().map(|byte| byte.to_ascii_uppercase());
                let hash = hash.fold(0_u32, |hash, byte| hash.wrapping_mul(37).wrapping_add(byte.into()));
                with_hints.filter(|(_, hint)| *hint == hash.to_le_bytes()).map(|(offset, _)| offset).collect()
            }
            // Section "Fast leaf": the first four characters, or a NUL where they say nothing.
            b"lf" => {
                let mut start = [0; 4];
                start.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
                let is_it = |hint: &[u8; 4]| hint.starts_with(&[0]) || hint.eq_ignore_ascii_case(&start);
                with_hints.filter(|(_, hint)| is_it(hint)).map(|(offset, _)| offset).collect()
            }
            // Section "Index leaf".
            b"li" => elements.as_chunks::<4>().0.iter().map(|offset| u32::from_le_bytes(*offset)).collect(),
            _ => return None,
        };
        fits.into_iter().find_map(|offset| {
            let cell = self.cell(CellOffset(offset), 76 + 2 * name.len())?;
            let is_latin = u16_at(&cell, 2) & 0x20 != 0;
            Key::parse(&cell).filter(|_| Name::parse(&cell, 72, 76, is_latin).is(name))
        })
    }

    /// The first bytes of a cell's data, at most as many as are asked for; section "Cell".
    fn cell(&mut self, at: CellOffset, most: usize) -> Option<Vec<u8>> {
        let room = self.bins.checked_sub(at.0.into()).filter(|room| *room >= 8 && at.0.is_multiple_of(8))?;
        let length = room.min(most as u64 + 4);
        self.left = self.left.checked_sub(length.max(LEAST_READ))?;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.file.read_at(DiskOffset(BASE_BLOCK as u64 + u64::from(at.0)), &mut bytes).ok()?;
        // Negative in a cell that is in use.
        let size = i32::from_le_bytes(array_at(&bytes, 0));
        let whole = size.unsigned_abs();
        if size >= 0 || !whole.is_multiple_of(8) || u64::from(whole) > room {
            return None;
        }
        bytes.truncate(usize::try_from(whole).ok()?);
        bytes.drain(..4);
        Some(bytes)
    }
}

impl Key {
    fn parse(cell: &[u8]) -> Option<Self> {
        (cell.starts_with(b"nk") && cell.len() >= 76).then(|| Self {
            subkeys: CellOffset(u32_at(cell, 28)),
            values: CellOffset(u32_at(cell, 40)),
            value_count: u32_at(cell, 36),
        })
    }
}

/// A name as it stands in a cell; `None` where the cell, or what was read of it, ends before it.
struct Name<'c> {
    bytes: Option<&'c [u8]>,
    /// A byte for each character, whose code it is; else UTF-16.
    is_latin: bool,
}

impl<'c> Name<'c> {
    fn parse(cell: &'c [u8], length_at: usize, at: usize, is_latin: bool) -> Self {
        let length = usize::from(u16_at(cell, length_at));
        Self { bytes: cell.get(at..).and_then(|rest| rest.get(..length)), is_latin }
    }

    /// Whether it is this name, which is ASCII.
    fn is(&self, name: &str) -> bool {
        match self.bytes {
            None => false,
            Some(bytes) if self.is_latin => bytes.eq_ignore_ascii_case(name.as_bytes()),
            Some(bytes) => {
                let same = |(unit, byte): (&[u8; 2], u8)| unit[1] == 0 && unit[0].eq_ignore_ascii_case(&byte);
                bytes.len() == 2 * name.len() && bytes.as_chunks::<2>().0.iter().zip(name.bytes()).all(same)
            }
        }
    }
}

/// The exclusive or of the block's words; 0 and all ones stand for something else. Section "Base block", note 2.
fn checksum(sealed: &[u8; 508]) -> u32 {
    match sealed.as_chunks::<4>().0.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word)) {
        u32::MAX => u32::MAX - 1,
        0 => 1,
        sum => sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checksums_stand_for_others() {
        let mut block = [0; 508];
        assert_eq!(checksum(&block), 1);
        block[4] = 5;
        block[8..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(checksum(&block), 0xffff_fffa);
        block[4] = 0;
        assert_eq!(checksum(&block), 0xffff_fffe);
    }

    #[test]
    fn names_are_the_same_in_any_case_and_in_both_forms() {
        let name = |bytes: &'static [u8], is_latin| Name { bytes: Some(bytes), is_latin };
        assert!(name(b"uBr", true).is("UBR") && name(b"u\0B\0r\0", false).is("UBR"));
        assert!(!name(b"UB", true).is("UBR") && !name(b"U\0B\0r\x01", false).is("UBR"));
        assert!(!name(b"U\0B\0R\0R\0", false).is("UBR") && !name(b"U\0B\0R", false).is("UBR"));
        assert!(!Name::parse(&[0, 0, 9, 0, b'U'], 2, 4, true).is("U"));
    }
}
