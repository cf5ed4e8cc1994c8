//! What `check` says of parity.

use super::{Scene, changed};
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::{CheckReport, Depth, FindingKind};

fn findings(report: &CheckReport) -> Vec<(FindingKind, ObjectName, Option<bool>)> {
    report.findings.iter().map(|finding| (finding.kind, finding.object, finding.mendable)).collect()
}

fn of_kind(scene: &Scene, kind: ObjectKind) -> ObjectName {
    scene.medium.names(kind)[0]
}

#[test]
fn a_damaged_object_is_said_to_be_mendable_where_it_is() {
    let scene = Scene::new(33);
    for (kind, finding) in [
        (ObjectKind::Pack, FindingKind::PackDamaged),
        (ObjectKind::Index, FindingKind::IndexDamaged),
        (ObjectKind::Snapshot, FindingKind::SnapshotDamaged),
    ] {
        let name = of_kind(&scene, kind);
        let bytes = &scene.objects[&name];
        let length = bytes.len() as u64;
        scene.medium.overwrite(name, changed(bytes, length / 2..length / 2 + 1));
        let found = findings(&scene.machine.check(Depth::Data(100)).unwrap());
        assert!(found.contains(&(finding, name, Some(true))), "{found:?}");
        // All of it, and its parity: nothing mends it then.
        scene.medium.overwrite(name, changed(bytes, 0..length));
        scene.medium.remove(name.parity().unwrap());
        let found = findings(&scene.machine.check(Depth::Data(100)).unwrap());
        let of_object: Vec<_> = found.iter().filter(|(_, object, _)| *object == name).collect();
        assert!(!of_object.is_empty() && of_object.iter().all(|(.., mendable)| *mendable == Some(false)), "{found:?}");
        scene.undo(name);
    }
    assert!(scene.machine.check(Depth::Data(100)).unwrap().is_ok());
}

#[test]
fn damaged_parity_is_found_by_reading_and_its_size_by_listing() {
    let scene = Scene::new(33);
    let name = of_kind(&scene, ObjectKind::Pack);
    let parity = name.parity().unwrap();
    let stored = &scene.objects[&parity];
    let middle = stored.len() as u64 / 2;
    scene.medium.overwrite(parity, changed(stored, middle..middle + 1));
    assert!(scene.machine.check(Depth::Structure).unwrap().is_ok(), "it is not read");
    let report = scene.machine.check(Depth::Data(100)).unwrap();
    assert_eq!(findings(&report), [(FindingKind::ParityDamaged, parity, Some(true))]);
    assert_eq!(report.parity_read, scene.medium.names(ObjectKind::Parity).len());
    scene.medium.overwrite(parity, stored[..stored.len() - 1].to_vec());
    let report = scene.machine.check(Depth::Structure).unwrap();
    assert_eq!(findings(&report), [(FindingKind::ParityDamaged, parity, Some(true))]);
}

#[test]
fn missing_parity_is_counted_and_no_finding() {
    let scene = Scene::new(33);
    scene.medium.remove(of_kind(&scene, ObjectKind::Pack).parity().unwrap());
    scene.medium.remove(ObjectName::CONFIG.parity().unwrap());
    for depth in [Depth::Structure, Depth::Data(100)] {
        let report = scene.machine.check(depth).unwrap();
        assert!(report.is_ok(), "{:?}", report.findings);
        assert_eq!(report.without_parity, 2);
    }
}

#[test]
fn an_object_that_is_gone_is_known_by_its_parity() {
    let scene = Scene::new(33);
    let name = of_kind(&scene, ObjectKind::Snapshot);
    scene.medium.remove(name);
    let found = findings(&scene.machine.check(Depth::Structure).unwrap());
    assert_eq!(found, [(FindingKind::ObjectMissing, name, Some(true))]);
    // A snapshot that was deleted as one deletes leaves no trace.
    scene.undo(name);
    scene.machine.repository().unwrap().storage().delete(name).unwrap();
    assert!(scene.machine.check(Depth::Structure).unwrap().is_ok());
}

#[test]
fn without_parity_nothing_is_said_of_it() {
    let medium = sheaf::storage::sim::SimStorage::new();
    let machine = crate::common::Fixture::make(medium.clone());
    machine.backup("red", &crate::common::sources::noise(1, 100_000)).unwrap();
    // The largest holds content. In another, lists of the snapshot would be damaged as well.
    let packs = medium.names(ObjectKind::Pack).into_iter().map(|name| (name, medium.peek(name).unwrap()));
    let (name, bytes) = packs.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    medium.overwrite(name, changed(&bytes, 100..101));
    let report = machine.check(Depth::Data(100)).unwrap();
    assert_eq!(findings(&report), [(FindingKind::PackDamaged, name, None)]);
    assert_eq!((report.without_parity, report.parity_read), (0, 0));
}
