//! What a folder shows: safe names, each once, that are found by name.
//!
//! Always true here:
//! - No two entries have the same name. A name that Linux takes and that stands in the folder once is shown as it is.
//! - The order, and with it an entry's position, is that of the folder each time it is listed.
//! - A name is found as it is written; only where none is, one that differs in the case of letters alone, and only if there is but one.

use super::names::{self, Unique};
use std::hash::{BuildHasher, RandomState};

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown<T> {
    /// The name that is shown.
    pub(super) name: Box<str>,
    /// What it names.
    pub(super) what: T,
}

/// The entries of a folder.
#[derive(Debug)]
pub(super) struct Listing<T> {
    entries: Vec<Shown<T>>,
    /// Hashes of names, in order, with the position of the entry.
    exact: Vec<(u64, u32)>,
    /// Hashes of names without case, in order, with the position of the entry.
    folded: Vec<(u64, u32)>,
    hasher: RandomState,
}

impl<T> Listing<T> {
    /// What is shown of a folder of a volume, whose names may be anything. Those that name nothing are left out and counted.
    pub(super) fn of_volume(entries: impl IntoIterator<Item = (String, T)>) -> (Self, usize) {
        let mut unique = Unique::default();
        let mut left_out = 0;
        let mut shown = Vec::new();
        let mut again = Vec::new();
        for (name, what) in entries {
            let Some(safe) = names::inside(&name) else {
                left_out += 1;
                continue;
            };
            // Names that are shown as they are come first, so that no other one takes theirs.
            if *safe != *name || !unique.take(&safe) {
                again.push((shown.len(), safe.clone().into_owned()));
            }
            shown.push(Shown { name: safe.into(), what });
        }
        for (position, safe) in again {
            if let Some(entry) = shown.get_mut(position) {
                entry.name = unique.give(&safe).into();
            }
        }
        (Self::new(shown), left_out)
    }

    /// A folder that the mount makes: whose names are safe, and each there once.
    pub(super) fn new(entries: Vec<Shown<T>>) -> Self {
        let hasher = RandomState::new();
        // A folder has at most 4 Mi entries (`MOST_ENTRIES`), and a list of snapshots is in memory: positions fit.
        let positions = || entries.iter().zip(0_u32..);
        let mut exact: Vec<_> = positions().map(|(entry, at)| (hasher.hash_one(&*entry.name), at)).collect();
        let mut folded: Vec<_> = positions().map(|(entry, at)| (hasher.hash_one(fold(&entry.name)), at)).collect();
        exact.sort_unstable();
        folded.sort_unstable();
        Self { entries, exact, folded, hasher }
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> &[Shown<T>] {
        &self.entries
    }

    /// The entry with this name, the case of letters counted.
    pub(super) fn exact(&self, name: &str) -> Option<&Shown<T>> {
        self.with_hash(&self.exact, self.hasher.hash_one(name)).find(|entry| &*entry.name == name)
    }

    /// The entry with this name, or the only one that differs from it in the case of letters alone.
    pub(super) fn find(&self, name: &str) -> Option<&Shown<T>> {
        self.exact(name).or_else(|| {
            let folded = fold(name);
            let hash = self.hasher.hash_one(&folded);
            let mut found = self.with_hash(&self.folded, hash).filter(|entry| fold(&entry.name) == folded);
            found.next().filter(|_| found.next().is_none())
        })
    }

    fn with_hash<'a>(&'a self, order: &'a [(u64, u32)], hash: u64) -> impl Iterator<Item = &'a Shown<T>> {
        let first = order.partition_point(|(other, _)| *other < hash);
        let same = order.iter().skip(first).take_while(move |(other, _)| *other == hash);
        same.filter_map(|(_, at)| self.entries.get(*at as usize))
    }
}

/// A name without the case of its letters: near to what Windows takes for the same, which keeps a table of its own on each volume.
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing<usize> {
        Listing::of_volume(names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), at))).0
    }

    fn shown(names: &[&str]) -> Vec<String> {
        listing(names).entries().iter().map(|entry| entry.name.to_string()).collect()
    }

    fn found(names: &[&str], name: &str) -> Option<usize> {
        listing(names).find(name).map(|entry| entry.what)
    }

    #[test]
    fn names_are_safe_and_each_is_there_once() {
        assert_eq!(shown(&["b", "..", "a/b", "", ".", "c\0"]), ["b", "a\u{fffd}b", "c\u{fffd}"]);
        assert_eq!(Listing::of_volume(["..", "", "."].map(|name| (name.to_owned(), 0))).1, 3);
        assert_eq!(shown(&["x.txt", "x.txt", "x-2.txt", "x.txt"]), ["x.txt", "x-3.txt", "x-2.txt", "x-4.txt"]);
        // One that is shown as it is keeps its name, though one that had to be changed stands before it.
        assert_eq!(shown(&["a/b", "a\u{fffd}b"]), ["a\u{fffd}b-2", "a\u{fffd}b"]);
        let long = "n".repeat(300);
        let both = shown(&[&long, &long]);
        assert!(both[0] != both[1] && both.iter().all(|name| name.len() <= names::LONGEST), "{both:?}");
    }

    #[test]
    fn names_are_found_as_they_are_written_and_else_without_case_if_there_is_but_one() {
        let names = ["Users", "readme", "README", "Grüße", "Σίσυφος"];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(found(&names, name), Some(at));
        }
        assert_eq!(found(&names, "users"), Some(0));
        assert_eq!(found(&names, "USERS"), Some(0));
        assert_eq!(found(&names, "Readme"), None);
        assert_eq!(found(&names, "GRÜßE"), Some(3));
        assert_eq!(found(&names, "ΣΊΣΥΦΟΣ"), Some(4));
        assert_eq!(found(&names, "nothing"), None);
        assert_eq!(listing(&names).exact("users"), None);
        assert_eq!(found(&[], ""), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_names_a_folder_has_each_entry_is_reached(
            given in proptest::collection::vec("[aA/\0.2-]{0,4}|a{254,258}(-2)?(\\.b)?|\\PC{0,90}", 0..60),
        ) {
            let (listing, left_out) = Listing::of_volume(given.iter().cloned().zip(0_usize..));
            assert_eq!(listing.entries().len() + left_out, given.len());
            for entry in listing.entries() {
                assert!(!matches!(&*entry.name, "" | "." | "..") && entry.name.len() <= names::LONGEST, "{}", entry.name);
                assert!(!entry.name.contains(['/', '\0']), "{}", entry.name);
                assert_eq!(listing.find(&entry.name).map(|found| found.what), Some(entry.what));
                let is_first = given.iter().position(|name| **name == *entry.name).is_none_or(|at| at == entry.what);
                assert!(is_first, "{} is the name of another", entry.name);
            }
        }
    }

    #[test]
    fn a_large_folder_is_searched_quickly() {
        let names: Vec<String> = (0..200_000).map(|number| format!("File {number}.txt")).collect();
        let (listing, _) = Listing::of_volume(names.iter().cloned().zip(0_usize..));
        for number in (0..200_000).step_by(7) {
            assert_eq!(listing.find(&format!("file {number}.TXT")).map(|entry| entry.what), Some(number));
        }
    }
}
