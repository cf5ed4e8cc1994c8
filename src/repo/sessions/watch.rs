//! For how long this machine has seen a lease unchanged: what tells the session of another machine that is dead from one that lives.
//!
//! Always true here:
//! - Only this machine's clock counts, and only the time between two looks of this machine. A lease that is seen for the first time is
//!   fresh, whatever its holder's clock says.
//! - A clock that went back makes every lease fresh again: a session is never taken for dead early because of that.
//! - What is remembered can be deleted at any time; then everything is waited for anew.

use crate::ids::ObjectId;
use crate::repo::remembered;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// How long a lease that nobody renews lasts, in milliseconds.
pub const LEASE_MS: i64 = 60 * 60 * 1000;

const MAGIC: &[u8; 8] = b"SHEAFses";

/// Leases, and since when they were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    /// When the last look was, in milliseconds since 1970-01-01 UTC by this machine's clock.
    looked_ms: i64,
    seen: BTreeMap<ObjectId, i64>,
}

impl Watch {
    /// Notes which leases are there now.
    pub fn look(&mut self, now_ms: i64, leases: &BTreeSet<ObjectId>) {
        if now_ms < self.looked_ms {
            self.seen.clear();
        }
        self.looked_ms = now_ms;
        self.seen.retain(|id, _| leases.contains(id));
        for id in leases {
            self.seen.entry(*id).or_insert(now_ms);
        }
    }

    /// True where the lease has been there unchanged for longer than leases last.
    pub fn has_expired(&self, lease: &ObjectId) -> bool {
        self.seen.get(lease).is_some_and(|since| self.looked_ms.saturating_sub(*since) > LEASE_MS)
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("seen")
    }

    /// What was remembered in this folder; nothing where there is nothing that reads.
    pub fn load(folder: &Path) -> Self {
        remembered::load(&Self::path(folder), Self::decode)
    }

    /// Remembers it in this folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        remembered::save(&Self::path(folder), &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        remembered::encode(MAGIC, |writer| {
            writer.bytes(&self.looked_ms.to_le_bytes());
            for (id, since) in &self.seen {
                writer.bytes(id.as_bytes()).bytes(&since.to_le_bytes());
            }
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = remembered::content(MAGIC, bytes)?;
        let mut watch = Self { looked_ms: i64::from_le_bytes(reader.array("looked").ok()?), seen: BTreeMap::new() };
        while reader.left() > 0 {
            let id = ObjectId::new(reader.array("lease").ok()?);
            watch.seen.insert(id, i64::from_le_bytes(reader.array("since").ok()?));
        }
        Some(watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ObjectId = ObjectId::new([1; 32]);
    const B: ObjectId = ObjectId::new([2; 32]);

    #[test]
    fn a_lease_expires_when_it_was_seen_unchanged_for_longer_than_it_lasts() {
        let (only_a, both) = (BTreeSet::from([A]), BTreeSet::from([A, B]));
        let mut watch = Watch::default();
        watch.look(1_000, &only_a);
        watch.look(1_000 + LEASE_MS, &both);
        assert!(!watch.has_expired(&A) && !watch.has_expired(&B));
        watch.look(1_001 + LEASE_MS, &both);
        assert!(watch.has_expired(&A) && !watch.has_expired(&B));
        // Renewed: another object.
        watch.look(1_002 + LEASE_MS, &BTreeSet::from([B]));
        watch.look(1_003 + LEASE_MS, &both);
        assert!(!watch.has_expired(&A));
    }

    #[test]
    fn a_clock_that_goes_back_makes_every_lease_fresh() {
        let leases = BTreeSet::from([A]);
        let mut watch = Watch::default();
        watch.look(10 * LEASE_MS, &leases);
        watch.look(5 * LEASE_MS, &leases);
        watch.look(6 * LEASE_MS, &leases);
        assert!(!watch.has_expired(&A));
        watch.look(6 * LEASE_MS + 1, &leases);
        assert!(watch.has_expired(&A));
    }

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Watch::load(folder.path()), Watch::default());
        let mut watch = Watch::default();
        watch.look(-5, &BTreeSet::from([A, B]));
        watch.save(folder.path()).expect("saved");
        assert_eq!(Watch::load(folder.path()), watch);
        let bytes = watch.encode();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(Watch::decode(&changed).is_none() && Watch::decode(&bytes[..position]).is_none(), "{position}");
        }
    }
}
