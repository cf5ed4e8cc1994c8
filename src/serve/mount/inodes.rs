//! The numbers under which the kernel knows files and folders.
//!
//! Always true here:
//! - What the kernel holds is in the table, and nothing else is: memory is bounded by what the kernel has looked up and not forgotten.
//! - Two things that are held at the same time have two numbers. The same thing gets the same number again after it was forgotten,
//!   unless another one that is held has it: the number is a hash of what it is.
//! - Number 1 is the folder at the top and is always there; 0 means nothing and is never given.

use std::collections::HashMap;

/// The number of the folder at the top (`FUSE_ROOT_ID`).
pub(super) const TOP: u64 = 1;

/// What a thing is, as a hash: two things with the same key are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u128);

impl Key {
    /// The key of the folder at the top.
    pub(super) const TOP: Self = Self(TOP as u128);

    /// A key of a kind of thing, and what tells it from others of its kind.
    pub(super) fn of(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [kind.as_bytes()].iter().chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(u128::from_le_bytes(bytes))
    }

    /// A key of something in a folder, by its path: the folder's key, the name, and what is there.
    pub(super) fn below(self, name: &str, what: &[u8]) -> Self {
        Self::of("below", &[&self.0.to_le_bytes(), name.as_bytes(), what])
    }

    const fn number(self) -> u64 {
        self.0 as u64
    }
}

/// Something that the kernel holds.
#[derive(Debug)]
struct Held<T> {
    key: Key,
    what: T,
    /// How often its number was given to the kernel, less how often the kernel has given it back.
    count: u64,
}

/// All that the kernel holds.
#[derive(Debug)]
pub(super) struct Table<T> {
    held: HashMap<u64, Held<T>>,
}

impl<T: Clone> Table<T> {
    /// A table with the top folder alone.
    pub(super) fn new(top: T) -> Self {
        Self { held: HashMap::from([(TOP, Held { key: Key::TOP, what: top, count: 1 })]) }
    }

    /// What has this number; none where the kernel does not hold it.
    pub(super) fn get(&self, number: u64) -> Option<T> {
        self.held.get(&number).map(|held| held.what.clone())
    }

    /// The number of a thing, which the kernel is about to be given once more.
    pub(super) fn hold(&mut self, key: Key, what: T) -> u64 {
        let number = self.find(key);
        let held = self.held.entry(number).or_insert(Held { key, what, count: 0 });
        held.count = held.count.saturating_add(1);
        number
    }

    /// The number that a thing has or would get now. The kernel is not given it.
    pub(super) fn find(&self, key: Key) -> u64 {
        let mut number = key.number();
        loop {
            match self.held.get(&number) {
                Some(held) if held.key == key => return number,
                None if number > TOP => return number,
                _ => number = number.wrapping_add(1),
            }
        }
    }

    /// The kernel gives a number back that it was given `count` times. The folder at the top stays.
    pub(super) fn forget(&mut self, number: u64, count: u64) {
        let Some(held) = self.held.get_mut(&number) else { return };
        held.count = held.count.saturating_sub(count);
        if held.count == 0 && number != TOP {
            self.held.remove(&number);
        }
    }

    /// How many things are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_go_when_they_were_given_back_as_often_as_given() {
        let mut table = Table::new("top");
        let key = Key::of("file", &[b"a"]);
        let number = table.hold(key, "a");
        assert_eq!(table.hold(key, "a"), number);
        assert_eq!(table.find(key), number);
        table.forget(number, 1);
        assert_eq!(table.get(number), Some("a"));
        table.forget(number, 1);
        assert_eq!((table.get(number), table.len()), (None, 1));
        assert_eq!(table.hold(key, "a"), number);
        table.forget(number, u64::MAX);
        table.forget(number, 1);
        table.forget(TOP, u64::MAX);
        assert_eq!((table.get(TOP), table.len()), (Some("top"), 1));
    }

    #[test]
    fn things_whose_numbers_would_be_the_same_get_two() {
        let mut table = Table::new("top");
        let same = |high: u128| Key(high << 64 | 77);
        let (first, second) = (table.hold(same(1), "first"), table.hold(same(2), "second"));
        assert_eq!((first, second), (77, 78));
        assert_eq!((table.get(first), table.get(second)), (Some("first"), Some("second")));
        table.forget(first, 1);
        assert_eq!(table.get(second), Some("second"));
    }

    #[test]
    fn the_numbers_that_mean_something_else_are_not_given() {
        let mut table = Table::new("top");
        assert_eq!(table.hold(Key(0), "zero"), 2);
        assert_eq!(table.hold(Key(1 << 64 | 1), "one"), 3);
        assert_eq!(table.hold(Key(1 << 64 | u128::from(u64::MAX)), "last"), u64::MAX);
        assert_eq!(table.hold(Key(2 << 64 | u128::from(u64::MAX)), "behind the last"), 4);
    }

    #[test]
    fn keys_tell_parts_from_each_other() {
        assert_ne!(Key::of("a", &[b"bc", b"d"]), Key::of("a", &[b"b", b"cd"]));
        assert_ne!(Key::of("a", &[b"b"]), Key::of("ab", &[b""]));
        let top = Key::of("top", &[]);
        assert_ne!(top.below("a", b"").below("b", b""), top.below("b", b"").below("a", b""));
    }
}
