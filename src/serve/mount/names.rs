//! Names that Linux takes, made of names that anybody chose.
//!
//! Always true here:
//! - A name that is given out is neither empty nor `.` nor `..`, has no `/` and no NUL, and has at most [`LONGEST`] bytes.
//! - The same name gives the same safe one, whatever stands beside it; only [`Unique`] looks at the others.
//! - No two names that one [`Unique`] gives out are the same, and giving out n of them takes time in proportion to n.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The most bytes of a file's name (`NAME_MAX` in Linux).
pub(super) const LONGEST: usize = 255;

/// What stands where a character cannot: it is seen, and no file's name has it for another reason than that it was no text.
const REPLACEMENT: char = '\u{fffd}';

/// Bytes that a name which is changed has left for marks: `~` and 16 digits, and `-` and up to 20.
const ROOM: usize = 48;

/// An ending of more bytes than this, its dot counted, is no ending.
const LONGEST_ENDING: usize = 17;

/// The name in a folder of a volume, or `None` where it names nothing: no entry of a folder is `.`, `..` or nothing at all.
pub(super) fn inside(name: &str) -> Option<Cow<'_, str>> {
    if matches!(name, "" | "." | "..") {
        return None;
    }
    let is_bad = |character: char| matches!(character, '/' | '\0');
    let name = match name.contains(is_bad) {
        true => Cow::Owned(name.replace(is_bad, "\u{fffd}")),
        false => Cow::Borrowed(name),
    };
    Some(shortened(name))
}

/// The name of a folder or file that the mount makes: without control characters as well, and never nothing.
pub(super) fn outside(name: &str) -> String {
    let shown: String = name.chars().map(|c| if c == '/' || c.is_control() { REPLACEMENT } else { c }).collect();
    match shown.as_str() {
        "" => "unnamed".to_owned(),
        "." => "\u{fffd}".to_owned(),
        ".." => "\u{fffd}\u{fffd}".to_owned(),
        _ => shortened(Cow::Owned(shown)).into_owned(),
    }
}

/// A name that is too long, cut before its ending, with a hash of all of it in between.
fn shortened(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.len() <= LONGEST {
        return name;
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    let (stem, ending) = parts(&name);
    Cow::Owned(format!("{stem}~{}{ending}", hash.get(..16).unwrap_or_default()))
}

/// A name's stem and ending, the stem cut where there would not be [`ROOM`] bytes for marks between them.
fn parts(name: &str) -> (&str, &str) {
    let (stem, ending) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= LONGEST_ENDING => name.split_at(dot),
        _ => (name, ""),
    };
    let most = LONGEST - ROOM - ending.len();
    (stem.get(..stem.floor_char_boundary(most)).unwrap_or_default(), ending)
}

/// Gives out names of one folder, each once.
#[derive(Debug, Default)]
pub(super) struct Unique {
    taken: HashSet<Box<str>>,
    /// For what stands before and behind a number: the number to try next.
    next: HashMap<(Box<str>, Box<str>), u64>,
}

impl Unique {
    /// Takes the name as it is; false where it is taken.
    pub(super) fn take(&mut self, name: &str) -> bool {
        !self.taken.contains(name) && self.taken.insert(name.into())
    }

    /// The name, or one with `-2`, `-3` … before its ending.
    pub(super) fn give(&mut self, name: &str) -> String {
        if self.take(name) {
            return name.to_owned();
        }
        let (stem, ending) = parts(name);
        self.number(stem, ending)
    }

    /// The name, or one with `-2`, `-3` … behind all of it.
    pub(super) fn give_folder(&mut self, name: &str) -> String {
        if self.take(name) {
            return name.to_owned();
        }
        self.number(name.get(..name.floor_char_boundary(LONGEST - ROOM)).unwrap_or_default(), "")
    }

    fn number(&mut self, stem: &str, ending: &str) -> String {
        let start = self.next.get(&(stem.into(), ending.into())).copied().unwrap_or(2);
        for number in start..u64::MAX {
            let given = format!("{stem}-{number}{ending}");
            if self.take(&given) {
                self.next.insert((stem.into(), ending.into()), number + 1);
                return given;
            }
        }
        // There is no memory for so many names.
        String::from("unnamed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_volume_lose_what_linux_cannot_have_and_nothing_else() {
        let shown = |name| inside(name).map(Cow::into_owned);
        assert_eq!(shown("Résumé final.docx").as_deref(), Some("Résumé final.docx"));
        assert_eq!(shown("a/b\0c").as_deref(), Some("a\u{fffd}b\u{fffd}c"));
        assert_eq!(shown("../../etc/passwd").as_deref(), Some("..\u{fffd}..\u{fffd}etc\u{fffd}passwd"));
        assert_eq!(shown("line\nbreak").as_deref(), Some("line\nbreak"));
        assert_eq!([shown(""), shown("."), shown("..")], [None, None, None]);
        assert_eq!(shown("...").as_deref(), Some("..."));
        assert_eq!(shown("/").as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn long_names_keep_their_ending_and_stay_apart() {
        let long = format!("{}.docx", "ä".repeat(200));
        let other = format!("{}b.docx", "ä".repeat(199));
        let (long, other) = (inside(&long).unwrap(), inside(&other).unwrap());
        assert!(long.len() <= LONGEST && long.len() > 200 && long.ends_with(".docx") && long.contains('~'), "{long}");
        assert_ne!(long, other);
        assert_eq!(inside(&long).unwrap(), long);
        let exact = "x".repeat(LONGEST);
        assert_eq!(inside(&exact).unwrap(), exact);
        for hard in [format!("a.{}", "b".repeat(400)), format!("{}/", "x".repeat(300)), "ä.€".repeat(99)] {
            assert!(inside(&hard).unwrap().len() <= LONGEST, "{hard}");
        }
    }

    #[test]
    fn names_of_sticks_are_always_something_to_type() {
        assert_eq!(outside("oak 7"), "oak 7");
        assert_eq!(outside(""), "unnamed");
        assert_eq!(outside(".."), "\u{fffd}\u{fffd}");
        assert_eq!(outside("a/b\n\u{7f}\0"), "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}");
        assert!(outside(&"oak".repeat(100)).len() <= LONGEST);
    }

    #[test]
    fn names_that_are_wanted_twice_get_numbers() {
        let mut names = Unique::default();
        assert!(names.take("a-2.txt"));
        assert_eq!(names.give("a.txt"), "a.txt");
        assert_eq!(names.give("a.txt"), "a-3.txt");
        assert_eq!(names.give("a.txt"), "a-4.txt");
        assert!(!names.take("a-3.txt"));
        assert_eq!(names.give(".profile"), ".profile");
        assert_eq!(names.give(".profile"), ".profile-2");
        assert_eq!([names.give_folder("18.04.11"), names.give_folder("18.04.11")], ["18.04.11", "18.04.11-2"]);
        let long = "y".repeat(LONGEST);
        assert_eq!(names.give(&long), long);
        assert!(names.give(&long).ends_with("yy-2") && names.give_folder(&long).ends_with("yy-3"));
    }

    #[test]
    fn a_folder_of_one_name_alone_takes_no_longer_than_another() {
        let mut names = Unique::default();
        let given: HashSet<String> = (0..100_000).map(|_| names.give("same")).collect();
        assert_eq!(given.len(), 100_000);
        assert!(given.contains("same-100000"));
        // Nor one of names that become the same when they are cut to make room for a number.
        let mut names = Unique::default();
        for number in 0..20_000 {
            let long = format!("{}{number:05}", "z".repeat(250));
            assert_eq!(names.give(&long), long);
            assert_eq!(names.give(&long), format!("{}-{}", "z".repeat(207), number + 2));
        }
    }
}
