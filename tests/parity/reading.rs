//! Reading what is damaged: as parity mends it, in memory, and with everything left as it is.

use super::matrix::Loss;
use super::{Scene, changed};
use crate::common::{Fixture, chain};
use sheaf::disk::{DiskOffset, ReadAt};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::repo::parity::{MendingStorage, Teller};
use sheaf::repo::snapshots;
use sheaf::repo::view::SnapshotDisk;
use std::error::Error;
use std::sync::{Arc, Mutex};

/// Reads the whole disk as somebody who is new to the repository and mends what he meets; with what he was told.
fn read(scene: &Scene) -> (Result<Vec<u8>, String>, Vec<String>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let tell: Teller = Arc::new(move |line| hears.lock().unwrap().push(line.to_owned()));
    let reads = || -> Result<Vec<u8>, Box<dyn Error>> {
        let machine = Fixture::open(MendingStorage::new(Arc::new(scene.medium.clone()), Arc::clone(&tell)));
        let store = machine.store()?.mending(Arc::clone(&tell));
        let snapshot = snapshots::read(&store.repository, scene.snapshot)?;
        let disk = SnapshotDisk::open(store, snapshot)?;
        let mut bytes = vec![0; scene.disk.len()];
        disk.read_at(DiskOffset(0), &mut bytes)?;
        Ok(bytes)
    };
    let bytes = reads().map_err(|error| chain(&*error));
    let told = told.lock().unwrap().clone();
    (bytes, told)
}

#[test]
fn whatever_parity_can_mend_is_read_as_it_was_and_told_of_once() {
    let scene = Scene::new(33);
    assert_eq!(read(&scene).1, [""; 0]);
    for (name, _, layout) in scene.covered() {
        let (promise, length) = (layout.promise(), layout.length());
        for run in [0..1, length / 2..(length / 2 + promise).min(length), length - promise..length] {
            for loss in [Loss::Changed, Loss::Unreadable, Loss::CutOff] {
                if loss == Loss::CutOff && run.end != length {
                    continue;
                }
                let case = format!("{name}, {run:?} {loss:?}");
                loss.happen(&scene, name, &run);
                let before = scene.medium.objects();
                let (bytes, told) = read(&scene);
                assert!(bytes.expect(&case) == scene.disk, "{case}");
                // Where each chunk of a pack is whole, nobody has to mend it; nobody needs the log to read a disk.
                let expected =
                    format!("{name} is damaged, and is read as its parity mends it; `sheaf repair` mends it for good");
                let may_be_silent = matches!(name.kind(), ObjectKind::Pack | ObjectKind::Audit);
                assert!(told == [expected] || may_be_silent && told.is_empty(), "{case}: {told:?}");
                assert_eq!(scene.medium.objects(), before, "{case}");
                scene.undo(name);
            }
        }
    }
}

#[test]
fn what_parity_cannot_mend_is_damage() {
    let scene = Scene::new(33);
    let packs = scene.medium.names(ObjectKind::Pack);
    let size = |name: &ObjectName| scene.objects[name].len();
    let name = *packs.iter().max_by_key(|name| size(name)).expect("a pack");
    let bytes = &scene.objects[&name];
    scene.medium.overwrite(name, changed(bytes, 0..bytes.len() as u64 / 2));
    let (read_back, told) = read(&scene);
    let error = read_back.expect_err("half of the pack is gone");
    assert!(error.contains(&format!("in {name} is damaged")), "{error}");
    assert_eq!(told, [format!("{name} is damaged, and its parity does not mend all of it; what is left is read")]);
}

#[test]
fn what_was_deleted_does_not_come_back_from_its_parity() {
    let scene = Scene::new(2);
    let name = ObjectName::new(ObjectKind::Snapshot, scene.snapshot);
    scene.medium.remove(name);
    let (bytes, told) = read(&scene);
    let error = bytes.expect_err("it is not there");
    assert!(error.contains(&name.to_string()), "{error}");
    assert_eq!(told, [""; 0]);
}
