//! Who can repair what.

use super::{Fixture, Scene, plan_by};
use crate::common::CHEAP;
use sheaf::crypto::password::Password;
use sheaf::format::certificate::Role;
use sheaf::names::ObjectKind;
use sheaf::ops::monitor::Silent;
use sheaf::ops::repair::Step;
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::RepoError;
use sheaf::repo::bundles::{self, Lock};
use sheaf::repo::keyring::{Action, NewKey};
use sheaf::storage::sim::SimStorage;

fn with_key(medium: &SimStorage, role: Role) -> Fixture {
    let admin = Fixture::open(medium.clone());
    let password = Password::new(role.name().as_bytes().to_vec());
    let new = NewKey { role, label: role.name().to_owned(), created_ms: 1, owner: None };
    bundles::add(&admin.repository().expect("an admin"), &new, Lock::Password(&password, CHEAP)).expect("a key");
    admin.with_password(password)
}

#[test]
fn only_operators_and_admins_repair() {
    let scene = Scene::new();
    for role in [Role::Depositor, Role::Owner, Role::Auditor] {
        let medium = scene.medium();
        let machine = with_key(&medium, role);
        let error =
            plan_by(&machine.repository().expect("it opens"), &machine, Vec::new(), false).expect_err("refused");
        assert!(matches!(error, OpsError::Repo(RepoError::KeyLacks { action: Action::Repair, .. })), "{error}");
    }
}

#[test]
fn an_operator_lists_packs_again_and_leaves_data_that_it_cannot_prove() {
    let scene = Scene::new();
    let medium = scene.medium();
    let machine = with_key(&medium, Role::Operator);
    let data = scene.named("red data");
    let mut bytes = scene.objects[&data].clone();
    bytes[1000] ^= 1;
    medium.overwrite(data, bytes.clone());
    let index = scene.named("red index");
    medium.overwrite(index, b"rubbish".to_vec());
    let operator = machine.repository().expect("it opens");
    let error = plan_by(&operator, &machine, scene.red(), false).expect_err("ids need the dedup secret");
    assert!(matches!(error, OpsError::Repo(RepoError::KeyLacks { action: Action::Store, .. })), "{error}");
    let plan = plan_by(&operator, &machine, Vec::new(), false).expect("a plan");
    assert!(plan.steps().iter().all(|step| !matches!(step, Step::Salvage { .. })), "{:?}", plan.steps());
    assert!(
        plan.notes.iter().any(|note| note.contains(&data.to_string()) && note.contains("admin")),
        "{:?}",
        plan.notes
    );
    let report = plan.apply(&Silent, &Cancel::default()).expect("applied");
    assert_eq!(medium.peek(data), Some(bytes), "it stays where it is");
    assert!(report.remaining.iter().any(|finding| finding.object == data), "{:?}", report.remaining);
    assert!(report.broken.iter().all(|broken| broken.losses.is_none()), "an operator reads no disk");
    // An admin believes the segment that the operator made, and does the rest.
    let admin = Fixture::open(medium.clone());
    assert!(medium.names(ObjectKind::Index).len() >= 2 && !medium.names(ObjectKind::Index).contains(&index));
    let report = super::repair(&medium, &admin, scene.red(), "the admin");
    assert!(report.remaining.is_empty(), "{:?}", report.remaining);
    scene.assert_whole(&admin, "operator, then admin");
}
