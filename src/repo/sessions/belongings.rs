//! Whose an index segment may be: which writers were there when this machine first saw it.
//!
//! A writer lists packs before its snapshot is there, and until then nobody seems to need them. A prune that condemned them would have to
//! write them anew when the snapshot comes, all that was backed up so far.
//!
//! Always true here:
//! - A segment of a writer that still runs is known as one that may be its own: the lease is there before the segment is, and sessions are
//!   listed behind segments.
//! - What is remembered only makes a prune take less. It can be deleted at any time; then every segment may be that of whoever writes now.

use super::list::Listed;
use crate::format::session::SessionKind;
use crate::ids::ObjectId;
use crate::repo::remembered;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SHEAFseg";

/// Segments with the writers that each may belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belongings {
    writers: BTreeMap<ObjectId, BTreeSet<[u8; 32]>>,
}

/// What tells a session from others, as far as it can be read.
fn identity(session: &Listed) -> Option<[u8; 32]> {
    session.nonce.or_else(|| session.name.id().map(|lease| *lease.as_bytes()))
}

impl Belongings {
    /// Notes which segments are there now, and the sessions that are there behind that.
    pub fn look(&mut self, segments: &BTreeSet<ObjectId>, sessions: &[Listed]) {
        let writes = |session: &&Listed| session.kind != Some(SessionKind::Reads);
        let alive: BTreeSet<[u8; 32]> = sessions.iter().filter(writes).filter_map(identity).collect();
        self.writers.retain(|segment, _| segments.contains(segment));
        for segment in segments {
            self.writers
                .entry(*segment)
                .and_modify(|writers| writers.retain(|writer| alive.contains(writer)))
                .or_insert_with(|| alive.clone());
        }
    }

    /// True where the segment may be that of a writer that was there at the last look.
    pub fn may_be_a_writers(&self, segment: &ObjectId) -> bool {
        self.writers.get(segment).is_some_and(|writers| !writers.is_empty())
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("segments")
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
            for (segment, writers) in &self.writers {
                writer.bytes(segment.as_bytes()).u32(u32::try_from(writers.len()).unwrap_or(u32::MAX));
                writers.iter().for_each(|session| _ = writer.bytes(session));
            }
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = remembered::content(MAGIC, bytes)?;
        let mut this = Self::default();
        while reader.left() > 0 {
            let segment = ObjectId::new(reader.array("segment").ok()?);
            let count = reader.u32("writers").ok()?;
            this.writers.insert(segment, reader.table::<32>(count, "writers").ok()?.iter().copied().collect());
        }
        Some(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ObjectKind, ObjectName};

    const G: ObjectId = ObjectId::new([1; 32]);
    const H: ObjectId = ObjectId::new([2; 32]);

    fn session(byte: u8, kind: SessionKind) -> Listed {
        let name = ObjectName::new(ObjectKind::Session, ObjectId::new([byte; 32]));
        Listed { name, nonce: Some([byte; 32]), kind: Some(kind), known: BTreeSet::new(), holder: None }
    }

    #[test]
    fn a_segment_may_be_that_of_a_writer_that_was_there_when_it_was_first_seen_and_still_is() {
        let [a, b] = [7, 8].map(|byte| session(byte, SessionKind::Writes));
        let reader = session(9, SessionKind::Reads);
        let mut belongings = Belongings::default();
        belongings.look(&BTreeSet::from([G]), &[a.clone(), reader.clone()]);
        assert!(belongings.may_be_a_writers(&G));
        belongings.look(&BTreeSet::from([G, H]), &[a, b.clone()]);
        assert!(belongings.may_be_a_writers(&G) && belongings.may_be_a_writers(&H));
        belongings.look(&BTreeSet::from([G, H]), &[b, reader.clone()]);
        assert!(!belongings.may_be_a_writers(&G), "its writer has ended, and the other came later");
        assert!(belongings.may_be_a_writers(&H));
        belongings.look(&BTreeSet::from([G, H]), std::slice::from_ref(&reader));
        assert!(!belongings.may_be_a_writers(&H), "who reads lists nothing");
    }

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Belongings::load(folder.path()), Belongings::default());
        let mut belongings = Belongings::default();
        belongings.look(&BTreeSet::from([G]), &[session(7, SessionKind::Writes)]);
        belongings.look(&BTreeSet::from([G, H]), &[]);
        belongings.look(&BTreeSet::from([G, H, ObjectId::new([3; 32])]), &[session(8, SessionKind::Writes)]);
        belongings.save(folder.path()).expect("saved");
        assert_eq!(Belongings::load(folder.path()), belongings);
        let bytes = belongings.encode();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(Belongings::decode(&changed).is_none() && Belongings::decode(&bytes[..position]).is_none());
        }
    }
}
