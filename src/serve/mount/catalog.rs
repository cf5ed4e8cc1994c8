//! The list of snapshots as folders: by the name of the stick and the time, and by id.
//!
//! Always true here:
//! - Names are safe, and each is there once in its folder. They depend on the list alone, not on its order.
//! - Only entries whose id is 64 hex digits are shown, and each id once.

use super::names::{self, Unique};
use super::shelf::ShelfEntry;
use crate::layout::files::Moment;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Digits of an id that a name must have to stand for it.
const FEWEST_DIGITS: usize = 8;

/// A snapshot of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Its id: 64 hex digits.
    pub(super) id: Arc<str>,
    /// When it was made.
    pub(super) when: Moment,
}

/// A stick that has snapshots.
#[derive(Debug)]
pub(super) struct Stick {
    /// The name, as the list has it.
    pub(super) name: Arc<str>,
    /// The name of its folder.
    pub(super) folder: String,
    /// Its snapshots, the oldest first, with the names of their folders: the local time.
    pub(super) snapshots: Vec<(String, Arc<Snapshot>)>,
}

/// All snapshots at one time.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// In the order of their names.
    pub(super) sticks: Vec<Stick>,
    /// In the order of their ids.
    pub(super) ids: Vec<Arc<Snapshot>>,
    /// The positions of sticks by the names of their folders.
    folders: HashMap<String, usize>,
}

impl Catalog {
    /// The folders of a list.
    pub(super) fn new(mut list: Vec<ShelfEntry>) -> Self {
        list.retain(|entry| is_id(&entry.id));
        list.sort_by(|one, other| (one.unix_ms, &one.id).cmp(&(other.unix_ms, &other.id)));
        let mut by_stick: BTreeMap<String, Vec<(String, Arc<Snapshot>)>> = BTreeMap::new();
        let mut ids: BTreeMap<Arc<str>, Arc<Snapshot>> = BTreeMap::new();
        for entry in list {
            let id: Arc<str> = entry.id.into();
            if ids.contains_key(&id) {
                continue;
            }
            let snapshot = Arc::new(Snapshot { id: Arc::clone(&id), when: moment(entry.unix_ms) });
            let time = time_name(entry.unix_ms, entry.utc_offset_s);
            by_stick.entry(entry.stick).or_default().push((time, Arc::clone(&snapshot)));
            ids.insert(id, snapshot);
        }
        let mut folders = Unique::default();
        let named = |(name, snapshots): (String, Vec<(String, Arc<Snapshot>)>)| {
            let mut times = Unique::default();
            let snapshots =
                snapshots.into_iter().map(|(time, snapshot)| (times.give_folder(&time), snapshot)).collect();
            Stick { folder: folders.give_folder(&names::outside(&name)), name: name.into(), snapshots }
        };
        let sticks: Vec<Stick> = by_stick.into_iter().map(named).collect();
        let folders = sticks.iter().zip(0..).map(|(stick, at)| (stick.folder.clone(), at)).collect();
        Self { sticks, ids: ids.into_values().collect(), folders }
    }

    /// The stick whose folder has this name.
    pub(super) fn in_folder(&self, folder: &str) -> Option<&Stick> {
        self.folders.get(folder).and_then(|at| self.sticks.get(*at))
    }

    /// The stick of this name, as the list has it.
    pub(super) fn stick(&self, name: &str) -> Option<&Stick> {
        let at = self.sticks.binary_search_by(|stick| (*stick.name).cmp(name)).ok()?;
        self.sticks.get(at)
    }

    /// The snapshot whose id this is, or the only one whose id begins with it: with 8 digits or more.
    pub(super) fn snapshot(&self, digits: &str) -> Option<&Arc<Snapshot>> {
        if digits.len() < FEWEST_DIGITS {
            return None;
        }
        let digits = digits.to_ascii_lowercase();
        let first = self.ids.partition_point(|snapshot| *snapshot.id < *digits);
        let mut found = self.ids.iter().skip(first).take_while(|snapshot| snapshot.id.starts_with(&digits));
        found.next().filter(|_| found.next().is_none())
    }

    /// The newest snapshot's time, of a stick or of all.
    pub(super) fn newest<'a>(snapshots: impl IntoIterator<Item = &'a Arc<Snapshot>>) -> Moment {
        snapshots.into_iter().map(|snapshot| snapshot.when).max().unwrap_or_default()
    }
}

fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn moment(unix_ms: i64) -> Moment {
    Moment { seconds: unix_ms.div_euclid(1000), nanoseconds: unix_ms.rem_euclid(1000) as u32 * 1_000_000 }
}

/// A time as a name: local where the snapshot was made, and without the colons that some programs take for something else.
fn time_name(unix_ms: i64, utc_offset_s: i32) -> String {
    let Ok(moment) = jiff::Timestamp::from_millisecond(unix_ms) else { return format!("{unix_ms}-ms") };
    let offset = jiff::tz::Offset::from_seconds(utc_offset_s).unwrap_or(jiff::tz::Offset::UTC);
    offset.to_datetime(moment).strftime("%Y-%m-%dT%H.%M.%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, stick: &str, unix_ms: i64, utc_offset_s: i32) -> ShelfEntry {
        ShelfEntry { id: format!("{id:0<64}"), stick: stick.to_owned(), unix_ms, utc_offset_s }
    }

    fn folders(catalog: &Catalog) -> Vec<String> {
        let times =
            |stick: &Stick| stick.snapshots.iter().map(|(time, _)| format!("{}/{time}", stick.folder)).collect();
        catalog.sticks.iter().flat_map::<Vec<String>, _>(times).collect()
    }

    #[test]
    fn times_are_local_and_names_safe_and_unique() {
        let at = 1_772_471_051_000; // 2026-03-02 17:04:11 UTC
        let mut list = vec![
            entry("1", "oak 7", at, 3600),
            entry("2", "oak 7", at + 999, 3600),
            entry("3", "oak 7", at - 1000, -18_000),
            entry("4", "a/b", at, 0),
            entry("5", "a\0b", at, 0),
            entry("6", "..", i64::MAX, i32::MAX),
            entry("7", "", -1, i32::MAX),
        ];
        let shown = [
            "unnamed/1969-12-31T23.59.59",
            "\u{fffd}\u{fffd}/9223372036854775807-ms",
            "a\u{fffd}b/2026-03-02T17.04.11",
            "a\u{fffd}b-2/2026-03-02T17.04.11",
            "oak 7/2026-03-02T12.04.10",
            "oak 7/2026-03-02T18.04.11",
            "oak 7/2026-03-02T18.04.11-2",
        ];
        let sorted = |catalog: &Catalog| {
            let mut folders = folders(catalog);
            folders.sort();
            folders
        };
        let mut expected: Vec<String> = shown.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        assert_eq!(sorted(&Catalog::new(list.clone())), expected);
        list.reverse();
        let catalog = Catalog::new(list);
        assert_eq!(sorted(&catalog), expected);
        let oak = catalog.stick("oak 7").expect("there");
        assert_eq!(*oak.snapshots.last().unwrap().1.id, format!("{:0<64}", "2"));
        assert_eq!(catalog.stick("oak").map(|stick| &stick.folder), None);
        assert_eq!(catalog.in_folder("a\u{fffd}b").map(|stick| &*stick.name), Some("a\0b"));
        assert_eq!(moment(-1), Moment { seconds: -1, nanoseconds: 999_000_000 });
    }

    #[test]
    fn ids_are_found_by_their_beginnings() {
        let catalog = Catalog::new(vec![
            entry("aaaaaaaa1", "s", 0, 0),
            entry("aaaaaaaa2", "s", 0, 0),
            entry("aaaaaaaa2", "s", 5, 0),
            entry("bbbbbbbb", "s", 0, 0),
            ShelfEntry { id: "../../etc".to_owned(), ..entry("c", "s", 0, 0) },
        ]);
        let found =
            |digits: &str| catalog.snapshot(digits).map(|snapshot| snapshot.id.trim_end_matches('0').to_owned());
        assert_eq!(catalog.ids.len(), 3);
        assert_eq!(found("aaaaaaaa"), None);
        assert_eq!(found("aaaaaaaa1").as_deref(), Some("aaaaaaaa1"));
        assert_eq!(found("BBBBBBBB").as_deref(), Some("bbbbbbbb"));
        assert_eq!(found("bbbbbbb"), None);
        assert_eq!(found("bbbbbbbbb"), None);
        assert_eq!(found(&format!("{:0<64}", "bbbbbbbb")).as_deref(), Some("bbbbbbbb"));
        assert_eq!(found(&format!("{:0<65}", "bbbbbbbb")), None);
        assert_eq!(found("é".repeat(8).as_str()), None);
    }
}
