//! A check beside others that forget and prune: what went away by the rules is no finding, and what was lost is one.

use super::common::Fixture;
use super::common::interposed::{Interposed, Moment};
use super::common::sources::noise;
use super::{forget, prune};
use sheaf::format::retired::Retirement;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::{Depth, Finding, FindingKind};
use sheaf::repo::retired;
use sheaf::storage::sim::SimStorage;

/// Two snapshots that have half of their bytes in common; one of them is still needed.
struct Scene {
    medium: SimStorage,
    machine: Fixture,
    going: ObjectId,
    kept: (ObjectId, Vec<u8>),
}

impl Scene {
    fn new() -> Self {
        let medium = SimStorage::new();
        let machine = Fixture::make(medium.another_process());
        let common = noise(1, 150_000);
        let going = machine.backup("going", &[common.clone(), noise(2, 150_000)].concat()).expect("a backup").snapshot;
        let disk = [noise(3, 150_000), common].concat();
        let kept = (machine.backup("kept", &disk).expect("a backup").snapshot, disk);
        Self { medium, machine, going, kept }
    }

    /// What a check finds, beside which something happens at a moment; behind it the repository is sound.
    fn check(&self, depth: Depth, moment: Moment, deed: impl FnOnce() + Send + 'static) -> Vec<Finding> {
        let storage = Interposed::new(&self.medium, moment, deed);
        self.machine.after_a_restart(storage).check(depth).expect("checks").findings
    }

    fn assert_kept(&self) {
        self.machine
            .after_a_restart(self.medium.another_process())
            .assert_sound(&[(self.kept.0, &self.kept.1)], "behind");
    }
}

const DEPTHS: [Depth; 2] = [Depth::Structure, Depth::Data(100)];
const MOMENTS: [ObjectKind; 5] =
    [ObjectKind::Snapshot, ObjectKind::Retired, ObjectKind::Index, ObjectKind::Pack, ObjectKind::Audit];

#[test]
fn a_snapshot_that_is_forgotten_during_a_check_is_no_finding() {
    for (depth, kind) in DEPTHS.into_iter().flat_map(|depth| MOMENTS.map(|kind| (depth, kind))) {
        let scene = Scene::new();
        let (medium, going) = (scene.medium.clone(), scene.going);
        let findings = scene.check(depth, Moment::Listed(kind), move || forget(&medium, going));
        assert!(findings.is_empty(), "{depth:?}, {kind:?}: {findings:#?}");
        scene.assert_kept();
    }
}

#[test]
fn packs_that_go_and_chunks_that_move_during_a_check_are_no_finding() {
    for (depth, kind) in DEPTHS.into_iter().flat_map(|depth| MOMENTS.map(|kind| (depth, kind))) {
        let scene = Scene::new();
        forget(&scene.medium, scene.going);
        // Everything is condemned, as by prunes whose writers have committed since: what is needed is written anew.
        let packs = scene.medium.names(ObjectKind::Pack).into_iter().filter_map(ObjectName::id).collect();
        let repository = scene.machine.repository().expect("opens");
        retired::publish(&repository, &Retirement::new(1, packs, vec![])).expect("condemned");
        let other = scene.machine.after_a_restart(scene.medium.another_process());
        let findings = scene.check(depth, Moment::Listed(kind), move || {
            let (_, report) = prune(&other);
            // At the first moment the check has not said yet that it knows the retirement, and is waited for.
            assert!(report.deleted.packs > 3 || kind == ObjectKind::Retired, "{report:?}");
        });
        assert!(findings.is_empty(), "{depth:?}, {kind:?}: {findings:#?}");
        scene.assert_kept();
    }
}

#[test]
fn a_pack_that_is_lost_during_a_check_is_found_whatever_else_goes() {
    for (depth, kind) in
        DEPTHS.into_iter().flat_map(|depth| [ObjectKind::Snapshot, ObjectKind::Pack].map(|kind| (depth, kind)))
    {
        let scene = Scene::new();
        let (medium, going) = (scene.medium.clone(), scene.going);
        let needed = scene.medium.names(ObjectKind::Pack);
        let findings = scene.check(depth, Moment::Listed(kind), move || {
            forget(&medium, going);
            needed.into_iter().for_each(|pack| drop(medium.remove(pack)));
        });
        let kept: Vec<_> = findings.iter().filter(|finding| finding.snapshots.contains(&scene.kept.0)).collect();
        assert!(
            kept.iter().any(|finding| finding.kind == FindingKind::PackMissing),
            "{depth:?}, {kind:?}: {findings:#?}"
        );
    }
}
