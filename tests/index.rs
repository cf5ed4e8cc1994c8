//! The local index: built from segments and packs alone, true whatever happens to them, and disposable.
//!
//! Always true here: packs are real ones (sealed by the packer), their chunks are noise; nothing is read from them but
//! their listings.

#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

use sheaf::crypto::password::{Password, PasswordCost};
use sheaf::format::config::{Chunking, ConfigRecord};
use sheaf::format::index::{IndexSegment, IndexedPack};
use sheaf::format::pack::{PackEntry, PackKind};
use sheaf::ids::{ChunkId, ObjectId};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::repo::RepoError;
use sheaf::repo::index::Index;
use sheaf::repo::open::{InitOptions, Repository};
use sheaf::repo::packer::Packer;
use sheaf::repo::segments;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

struct Fixture {
    storage: SimStorage,
    repository: Repository,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let storage = SimStorage::new();
        let options = InitOptions {
            config: ConfigRecord {
                created_ms: 0,
                chunking: Chunking::DEFAULT,
                pack_size: 64 << 20,
                compression_level: 3,
                parity: 0,
                tool: "test".to_owned(),
            },
            label: "test".to_owned(),
            cost: PasswordCost { memory_kib: 64, passes: 1, lanes: 1 },
        };
        let password = Password::new(b"x".to_vec());
        let repository = Repository::init(Arc::new(storage.clone()), options, &password).expect("made");
        Self { storage, repository, folder: tempfile::tempdir().expect("a folder") }
    }

    fn index(&self) -> Arc<Index> {
        Arc::new(Index::open(self.folder.path()).expect("opens"))
    }

    /// Stores a pack of `count` chunks whose ids follow from `salt`.
    fn pack(&self, salt: u32, count: u32) -> IndexedPack {
        let mut packer = Packer::new(self.repository.id(), PackKind::Data, 64 << 20, Vec::new());
        for number in 0..count {
            let entry = PackEntry { id: id(salt, number), sealed_length: 40, plain_length: 100 };
            packer.add(entry, &[7; 40]);
        }
        let finished = packer.finish(self.repository.keys()).expect("sealed").expect("not empty");
        finished.store(&self.storage).expect("stored");
        finished.indexed
    }

    fn publish(&self, packs: &[&IndexedPack]) -> ObjectId {
        let packs = packs.iter().map(|pack| (*pack).clone()).collect();
        segments::publish(&self.repository, &IndexSegment { supersedes: Vec::new(), packs }).expect("published")
    }
}

fn id(salt: u32, number: u32) -> ChunkId {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&salt.to_le_bytes());
    ChunkId::new(*blake3::keyed_hash(&seed, &number.to_le_bytes()).as_bytes())
}

fn knows(index: &Arc<Index>, salt: u32, count: u32) -> bool {
    (0..count).all(|number| index.contains(&id(salt, number)).expect("answers"))
}

#[test]
fn a_sync_finds_what_segments_list_and_only_that() {
    let fixture = Fixture::new();
    let pack = fixture.pack(1, 100);
    fixture.publish(&[&pack]);
    let index = fixture.index();
    let report = index.sync(&fixture.repository).expect("synced");
    assert_eq!((report.segments_new, report.adopted, report.rebuilt), (1, 0, false));
    assert!(knows(&index, 1, 100));
    assert!(!index.contains(&id(2, 0)).expect("answers"));
    let location = index.reader().expect("reader").locate(&id(1, 3)).expect("there");
    assert_eq!((location.pack, location.offset.0), (pack.id, 64 + 3 * 40));
    let report = index.sync(&fixture.repository).expect("synced");
    assert_eq!(report.segments_new, 0, "a second sync reads nothing");
}

#[test]
fn a_pack_that_no_segment_lists_is_adopted_until_one_does() {
    let fixture = Fixture::new();
    let pack = fixture.pack(1, 10);
    let index = fixture.index();
    assert_eq!(index.sync(&fixture.repository).expect("synced").adopted, 1);
    assert!(knows(&index, 1, 10));
    assert!(index.adopted().expect("answers").contains(&pack.id));
    fixture.publish(&[&pack]);
    index.sync(&fixture.repository).expect("synced");
    assert!(index.adopted().expect("answers").is_empty());
    assert!(knows(&index, 1, 10));
}

#[test]
fn chunks_of_a_pack_that_is_gone_count_as_absent_so_that_a_backup_stores_them_again() {
    let fixture = Fixture::new();
    let (lost, kept) = (fixture.pack(1, 10), fixture.pack(2, 10));
    fixture.publish(&[&lost, &kept]);
    let index = fixture.index();
    index.sync(&fixture.repository).expect("synced");
    let bytes = fixture.storage.remove(ObjectName::pack(lost.id)).expect("was there");
    let report = index.sync(&fixture.repository).expect("synced");
    assert_eq!((report.rebuilt, report.missing_packs.as_slice()), (true, &[lost.id][..]));
    assert!(!index.contains(&id(1, 0)).expect("answers"));
    assert!(knows(&index, 2, 10));
    let error = index.reader().expect("reader").locate(&id(1, 0)).expect_err("gone");
    assert!(matches!(error, RepoError::ChunkMissing { .. }));
    assert!(
        !index.sync(&fixture.repository).expect("synced").rebuilt,
        "what is known to be gone is not found out again"
    );
    fixture.storage.overwrite(ObjectName::pack(lost.id), bytes);
    index.sync(&fixture.repository).expect("synced");
    assert!(knows(&index, 1, 10), "a pack that was put back is used again");
}

#[test]
fn a_pack_of_another_size_is_as_good_as_gone() {
    let fixture = Fixture::new();
    let pack = fixture.pack(1, 10);
    fixture.publish(&[&pack]);
    let name = ObjectName::pack(pack.id);
    let mut bytes = fixture.storage.peek(name).expect("there");
    bytes.truncate(bytes.len() - 1);
    fixture.storage.overwrite(name, bytes);
    let index = fixture.index();
    let report = index.sync(&fixture.repository).expect("synced");
    assert_eq!(report.missing_packs, [pack.id]);
    assert!(!index.contains(&id(1, 0)).expect("answers"));
}

#[test]
fn a_damaged_segment_is_reported_and_its_packs_are_read_instead() {
    let fixture = Fixture::new();
    let pack = fixture.pack(1, 10);
    let segment = fixture.publish(&[&pack]);
    let name = ObjectName::new(ObjectKind::Index, segment);
    let mut bytes = fixture.storage.peek(name).expect("there");
    bytes[60] ^= 1;
    fixture.storage.overwrite(name, bytes);
    let index = fixture.index();
    let report = index.sync(&fixture.repository).expect("synced");
    assert_eq!(report.damaged.len(), 1);
    assert!(matches!(report.damaged[0].1, RepoError::NameMismatch { .. }));
    assert!(knows(&index, 1, 10));
}

#[test]
fn a_segment_that_went_away_makes_the_index_anew() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.pack(1, 10), fixture.pack(2, 10));
    let segment = fixture.publish(&[&one]);
    fixture.publish(&[&two]);
    let index = fixture.index();
    index.sync(&fixture.repository).expect("synced");
    fixture.storage.remove(ObjectName::new(ObjectKind::Index, segment));
    fixture.storage.remove(ObjectName::pack(one.id));
    assert!(index.sync(&fixture.repository).expect("synced").rebuilt);
    assert!(!index.contains(&id(1, 0)).expect("answers"));
    assert!(knows(&index, 2, 10));
}

#[test]
fn the_filter_never_denies_a_chunk_however_segments_come() {
    let fixture = Fixture::new();
    let index = fixture.index();
    let sizes = [1, 2, 3, 500, 1, 1, 1, 1, 1, 1, 1, 40, 2000, 7, 7, 7, 7, 7, 7, 7, 7, 7, 300];
    for (salt, count) in (0..).zip(sizes) {
        let pack = fixture.pack(salt, count);
        fixture.publish(&[&pack]);
        index.sync(&fixture.repository).expect("synced");
        for (salt, count) in (0..=salt).zip(sizes) {
            assert!(knows(&index, salt, count), "pack {salt} of {count} chunks");
        }
    }
    let total: u32 = sizes.iter().sum();
    assert_eq!(index.chunk_count().expect("answers"), u64::from(total));
    let wrong = (0..10_000).filter(|number| index.may_contain(&id(9999, *number))).count();
    assert!(wrong < 1000, "the filter lets {wrong} of 10000 strangers through");
    drop(index);
    let index = fixture.index();
    assert!((0..).zip(sizes).all(|(salt, count)| knows(&index, salt, count)), "after opening again");
}

#[test]
fn a_chunk_in_two_packs_is_found_when_either_is_gone() {
    for victim in 0..2 {
        let fixture = Fixture::new();
        let one = fixture.pack(1, 10);
        // The same chunks in another pack: a second, different chunk makes its bytes differ.
        let mut packer = Packer::new(fixture.repository.id(), PackKind::Data, 64 << 20, Vec::new());
        for number in (0..10).rev() {
            packer.add(PackEntry { id: id(1, number), sealed_length: 40, plain_length: 100 }, &[8; 40]);
        }
        let two = packer.finish(fixture.repository.keys()).expect("sealed").expect("not empty");
        two.store(&fixture.storage).expect("stored");
        fixture.publish(&[&one]);
        fixture.publish(&[&two.indexed]);
        let index = fixture.index();
        index.sync(&fixture.repository).expect("synced");
        let gone = if victim == 0 { one.id } else { two.indexed.id };
        fixture.storage.remove(ObjectName::pack(gone));
        index.sync(&fixture.repository).expect("synced");
        let found = index.reader().expect("reader").locate(&id(1, 5)).expect("in the other pack");
        assert_ne!(found.pack, gone);
    }
}

#[test]
fn a_database_that_is_no_database_is_made_anew() {
    let fixture = Fixture::new();
    let pack = fixture.pack(1, 10);
    fixture.publish(&[&pack]);
    let index = fixture.index();
    index.sync(&fixture.repository).expect("synced");
    let path = index.path().to_owned();
    drop(index);
    let whole = std::fs::read(&path).expect("a file");
    let spoiled: [Vec<u8>; 4] =
        [vec![], b"not a database".to_vec(), vec![0xff; 1 << 16], whole[..whole.len() / 2].to_vec()];
    for bytes in spoiled {
        std::fs::write(&path, bytes).expect("written");
        let index = fixture.index();
        index.sync(&fixture.repository).expect("synced");
        assert!(knows(&index, 1, 10));
    }
}

#[test]
fn a_database_with_flipped_bytes_gives_an_error_or_an_answer_but_no_panic() {
    let fixture = Fixture::new();
    let pack = fixture.pack(1, 200);
    fixture.publish(&[&pack]);
    let index = fixture.index();
    index.sync(&fixture.repository).expect("synced");
    let path = index.path().to_owned();
    drop(index);
    let whole = std::fs::read(&path).expect("a file");
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for at in used.iter().step_by(used.len().div_ceil(300)) {
        let mut bytes = whole.clone();
        bytes[*at] ^= 0xff;
        std::fs::write(&path, bytes).expect("written");
        let Ok(index) = Index::open(fixture.folder.path()).map(Arc::new) else { continue };
        _ = index.sync(&fixture.repository);
        for number in 0..200 {
            _ = index.contains(&id(1, number));
            _ = index.reader().and_then(|reader| reader.locate(&id(1, number)));
        }
    }
}
