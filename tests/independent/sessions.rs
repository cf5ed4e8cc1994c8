//! What the other reader sees of sessions and retirements, and that it reads what is condemned.
//!
//! Always true here: sessions and retirements are those that the program makes. The binary leaves none behind, so the library holds them.

use super::{PASSWORD, World, assert_same, noise};
use serde_json::{Value, json};
use sheaf::crypto::password::Password;
use sheaf::format::retired::Retirement;
use sheaf::format::session::{HolderRecord, SessionKind};
use sheaf::ids::{ObjectId, to_hex};
use sheaf::names::ObjectKind;
use sheaf::repo::open::Repository;
use sheaf::repo::retired;
use sheaf::repo::sessions::Session;
use sheaf::storage::local::LocalStorage;
use std::ffi::OsStr;
use std::fs;
use std::sync::Arc;

const ADMIN: &[(&str, &str)] = &[("SHEAF_PASSWORD", PASSWORD)];

/// What the other reader prints of sessions and retirements.
fn running(world: &World) -> Result<Vec<Value>, String> {
    let printed = world.ask_another(ADMIN, &[OsStr::new("--running")])?;
    Ok(printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn another_reader_sees_who_is_there_and_reads_what_is_condemned() {
    let Some(world) = World::new(&[]) else { return };
    let disk = noise(50_000, 1);
    fs::write(world.path("small.img"), &disk).unwrap();
    let snapshot = world.backup("small.img", &["--layout", "none"]);
    assert_eq!(running(&world), Ok(Vec::new()), "the binary has gone");

    let storage = Arc::new(LocalStorage::open(&world.path("repo")).unwrap());
    let repository = Repository::open(storage).unwrap().unlock(&Password::new(PASSWORD.as_bytes().to_vec())).unwrap();
    let repository = Arc::new(repository);
    let ids = |kind| -> Vec<ObjectId> {
        let listed = repository.storage().list(kind).unwrap();
        listed.iter().filter_map(|object| object.name.id()).collect()
    };
    let retirement = Retirement::new(77, ids(ObjectKind::Pack), ids(ObjectKind::Index));
    assert!(retirement.packs.len() >= 2 && !retirement.segments.is_empty(), "{retirement:?}");
    let holder =
        |process| HolderRecord { host: "desk".to_owned(), process, command: "backup".to_owned(), began_ms: -12 };
    let before = Session::begin(&repository, SessionKind::Reads, &holder(1), None).unwrap();
    let id = retired::publish(&repository, &retirement).unwrap().to_string();
    let after = Session::begin(&repository, SessionKind::Writes, &holder(u32::MAX), None).unwrap();

    let lease = |session: &Session, renewal, kind, known: &[&str], process| {
        json!({"session": to_hex(session.nonce()), "renewal": renewal, "kind": kind, "known": known,
            "host": "desk", "process": process, "command": "backup", "began": -12})
    };
    let text = |ids: &[ObjectId]| ids.iter().map(ObjectId::to_string).collect::<Vec<_>>();
    let (packs, segments) = (text(&retirement.packs), text(&retirement.segments));
    let expected = [
        lease(&before, 0, 2, &[], 1),
        lease(&after, 1, 1, &[&id], u32::MAX),
        json!({"retirement": id, "time": 77, "packs": packs, "segments": segments}),
    ];
    let found = running(&world).unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    for line in expected {
        assert!(found.contains(&line), "{line} is not in {found:?}");
    }
    // All packs are condemned, and all are there.
    assert_same(&world.read_by_another(&snapshot).unwrap(), &disk, "what is condemned");
    drop((before, after));
    assert_eq!(running(&world).unwrap().len(), 1, "the sessions have ended");
}
