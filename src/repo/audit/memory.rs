//! What this machine has seen of the audit log: a file beside the local indexes.
//!
//! Always true here:
//! - It holds ids alone. It can be deleted at any time: the machine then takes the log as it finds it, once.
//! - A file that does not read is as good as none. It is replaced whole, never changed in place.

use crate::ids::{ObjectId, RepositoryId};
use crate::repo::remembered;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Entries with those that each follows.
pub(super) type Links = BTreeMap<ObjectId, Vec<ObjectId>>;

const MAGIC: &[u8; 8] = b"SHEAFaud";

/// The file of one repository below the cache folder.
pub(super) fn path(cache: &Path, repository: RepositoryId) -> PathBuf {
    cache.join("audit").join(repository.to_string())
}

fn decode(bytes: &[u8]) -> Option<Links> {
    let mut reader = remembered::content(MAGIC, bytes)?;
    let mut links = Links::new();
    let count = reader.u64("count").ok()?;
    for _ in 0..count {
        let id = ObjectId::new(reader.array("entry").ok()?);
        let previous = reader.u16("previous").ok()?;
        let previous = reader.table::<32>(previous.into(), "previous").ok()?;
        links.insert(id, previous.iter().map(|id| ObjectId::new(*id)).collect());
    }
    reader.finish().ok()?;
    Some(links)
}

/// What was seen; nothing where nothing is remembered.
pub(super) fn load(path: &Path) -> Links {
    remembered::load(path, decode)
}

/// Remembers these entries.
pub(super) fn save(path: &Path, links: &Links) -> io::Result<()> {
    let bytes = remembered::encode(MAGIC, |writer| {
        writer.u64(links.len() as u64);
        for (id, previous) in links {
            writer.bytes(id.as_bytes()).u16(u16::try_from(previous.len()).unwrap_or(u16::MAX));
            previous.iter().for_each(|id| _ = writer.bytes(id.as_bytes()));
        }
    });
    remembered::save(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path(), RepositoryId::new([1; 16]));
        assert!(load(&path).is_empty());
        let [a, b] = [ObjectId::new([1; 32]), ObjectId::new([2; 32])];
        let links = Links::from([(a, vec![]), (b, vec![a])]);
        save(&path, &links).expect("saved");
        assert_eq!(load(&path), links);
        let mut bytes = std::fs::read(&path).expect("there");
        for position in 0..bytes.len() {
            bytes[position] ^= 1;
            assert!(decode(&bytes).is_none(), "{position}");
            bytes[position] ^= 1;
            assert!(decode(&bytes[..position]).is_none(), "{position}");
        }
    }
}
