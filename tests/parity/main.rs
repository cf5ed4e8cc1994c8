//! Parity: what is promised is mended to identical bytes, what goes beyond it is told exactly, and nothing needs a key.
//!
//! The scene is a repository with objects of every kind and of many sizes: less than a sector, a few sectors, one codeword, several.
//! [`matrix`] loses runs of the objects, [`sidecars`] damages their parity as well, [`storage`] stops writers between the two,
//! [`checks`] asks `check`, [`reading`] reads what is damaged, and [`hostile`] gives parity objects that nobody made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod hostile;
mod matrix;
mod reading;
mod sidecars;
mod speed;
mod storage;

use common::sources::noise;
use common::{Fixture, small_config};
use sheaf::format::config::ConfigRecord;
use sheaf::format::parity::Layout;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::storage::sim::SimStorage;
use std::collections::BTreeMap;
use std::ops::Range;

/// Packs of 256 KiB, and this much parity.
fn config(ratio: u16) -> ConfigRecord {
    ConfigRecord { parity: ratio, pack_size: 256 << 10, ..small_config() }
}

/// A repository with parity, and what is in it.
struct Scene {
    ratio: u16,
    medium: SimStorage,
    machine: Fixture,
    /// Every object, parity objects as well.
    objects: BTreeMap<ObjectName, Vec<u8>>,
    snapshot: ObjectId,
    disk: Vec<u8>,
}

impl Scene {
    fn new(ratio: u16) -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make_with(medium.clone(), config(ratio));
        let disk = noise(1, 500_000);
        let snapshot = machine.backup("red", &disk).expect("a backup").snapshot;
        let objects = medium.objects();
        Self { ratio, medium, machine, objects, snapshot, disk }
    }

    /// The objects that have parity, with how they are cut.
    fn covered(&self) -> Vec<(ObjectName, &Vec<u8>, Layout)> {
        let covered: Vec<_> = self
            .objects
            .iter()
            .filter(|(name, _)| name.kind().has_parity())
            .map(|(name, bytes)| (*name, bytes, Layout::new(bytes.len() as u64, self.ratio).expect("a layout")))
            .collect();
        for kind in [ObjectKind::Config, ObjectKind::Key, ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot] {
            assert!(covered.iter().any(|(name, ..)| name.kind() == kind), "no {kind:?}");
        }
        covered
    }

    /// Makes everything as it was.
    fn undo(&self, name: ObjectName) {
        for name in [Some(name), name.parity()].into_iter().flatten() {
            self.medium.heal_reads(name);
            self.medium.overwrite(name, self.objects[&name].clone());
        }
    }
}

/// Ranges of the sectors that are lost, one behind the other made one.
fn runs(layout: &Layout, sectors: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for sector in sectors {
        let start = sector * u64::from(layout.sector_length());
        let end = (start + u64::from(layout.sector_length())).min(layout.length());
        match runs.last_mut().filter(|last| last.end == start) {
            Some(last) => last.end = end,
            None => runs.push(start..end),
        }
    }
    runs
}

/// The sectors that a range touches.
fn touched(layout: &Layout, run: &Range<u64>) -> Range<u64> {
    let length = u64::from(layout.sector_length());
    run.start / length..run.end.div_ceil(length)
}

/// Of lost sectors those whose codeword has lost more than it can.
fn beyond(layout: &Layout, lost: &[u64]) -> Vec<u64> {
    let words = u64::from(layout.codewords());
    let of_word = |word: u64| lost.iter().filter(|sector| **sector % words == word).count();
    lost.iter().copied().filter(|sector| of_word(sector % words) > usize::from(layout.parity_sectors())).collect()
}

/// The bytes with a range of them changed, every one.
fn changed(bytes: &[u8], range: Range<u64>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[range.start as usize..range.end as usize].iter_mut().for_each(|byte| *byte ^= 0x5a);
    bytes
}
