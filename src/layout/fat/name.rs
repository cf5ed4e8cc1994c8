//! Names of files: the long ones, which stand in parts in front of an entry, and the short ones of old programs.
//!
//! Always true here: a long name that is told has all its parts, in order, and they belong to the entry behind them. A short name is
//! never without meaning: what is not ASCII is read as code page 437, for a volume does not say which one was meant.
//!
//! Structures: Microsoft FAT specification 1.03, "FAT Long Directory Entries". A name that does not check out is a leftover of a
//! program that knows nothing of long names; the entry has its short name then.

use super::entry::{ENTRY, Entry};
use crate::layout::field::{u8_at, u16_at};

/// The parts that a name has at most, and the units of UTF-16 in all of them without the NUL.
const MOST_PARTS: u8 = 20;
const MOST_UNITS: usize = 255;
/// The mark of the last part of a name, which comes first.
const LAST: u8 = 0x40;
/// Where the units of a part are.
const PLACES: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Puts the parts of a long name together.
#[derive(Debug, Default)]
pub(super) struct LongName {
    /// From the last part on.
    parts: Vec<[u16; PLACES.len()]>,
    /// The number of the part that came last, or 0: number 1 is the last one that comes.
    number: u8,
    checksum: u8,
}

impl LongName {
    /// Forgets what came.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.number = 0;
    }

    /// Takes a part. One that does not go with those before ends them.
    pub(super) fn take(&mut self, part: &[u8; ENTRY]) {
        let (order, checksum) = (u8_at(part, 0), u8_at(part, 13));
        let number = order & !LAST;
        if order & LAST != 0 {
            self.clear();
            self.checksum = checksum;
        } else if self.number != number.saturating_add(1) || self.checksum != checksum {
            return self.clear();
        }
        if !(1..=MOST_PARTS).contains(&number) {
            return self.clear();
        }
        self.number = number;
        self.parts.push(PLACES.map(|place| u16_at(part, place)));
    }

    /// The name of the entry behind the parts, when they are all there and its own. Begins anew.
    pub(super) fn finish(&mut self, entry: &Entry) -> Option<String> {
        let is_whole = self.number == 1 && self.checksum == checksum(&entry.short_name());
        let units = self.parts.iter().rev().flatten().copied().take_while(|unit| *unit != 0);
        let units: Vec<u16> = units.take(MOST_UNITS + 1).collect();
        self.clear();
        (is_whole && (1..=MOST_UNITS).contains(&units.len())).then(|| String::from_utf16_lossy(&units))
    }
}

/// What each part of a long name says of the short one.
fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The short name as text: `NAME.EXT`, in the case that is meant.
pub(super) fn short_name(entry: &Entry) -> String {
    let mut bytes = entry.short_name();
    // The first byte of a name has a meaning of its own where it is 0xe5.
    if bytes.first() == Some(&5) {
        bytes[0] = 0xe5;
    }
    let (name, extension) = bytes.split_at(8);
    let mut text = part(name, entry.case() & 8 != 0);
    let extension = part(extension, entry.case() & 16 != 0);
    if !extension.is_empty() {
        text.push('.');
        text.push_str(&extension);
    }
    text
}

/// One of the two parts, without the blanks behind it.
fn part(bytes: &[u8], is_lower: bool) -> String {
    let length = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    let upper = bytes.iter().take(length).map(|byte| match byte.checked_sub(0x80) {
        None => char::from(*byte),
        Some(index) => CODE_PAGE_437.get(usize::from(index)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
    });
    if is_lower { upper.flat_map(char::to_lowercase).collect() } else { upper.collect() }
}

/// The upper half of code page 437.
#[rustfmt::skip]
const CODE_PAGE_437: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å',
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ',
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»',
    '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐',
    '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧',
    '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀',
    'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩',
    '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];
