//! The config, which each key bundle holds as well.

use super::{Fixture, Scene, open, repair};
use crate::common::{PASSWORD, chain, small_config};
use sheaf::crypto::password::Password;
use sheaf::format::config::Config;
use sheaf::ids::RepositoryId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::repo::RepoError;
use sheaf::repo::bundles::Credential;
use sheaf::repo::keyring::Action;
use sheaf::repo::open::Repository;
use sheaf::storage::sim::SimStorage;
use std::sync::Arc;

#[test]
fn it_comes_back_from_a_key_bundle_whatever_became_of_it() {
    let scene = Scene::new();
    let good = &scene.objects[&ObjectName::CONFIG];
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let foreign = Config { repository: RepositoryId::new([9; 16]), record: small_config() }.encode();
    let cases: [Option<Vec<u8>>; 6] = [
        None,
        Some(Vec::new()),
        Some(flipped),
        Some([&good[..], &[0]].concat()),
        Some(foreign),
        Some(good[..9].to_vec()),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let when = format!("case {number}");
        let medium = scene.medium();
        match case {
            Some(bytes) => medium.overwrite(ObjectName::CONFIG, bytes),
            None => _ = medium.remove(ObjectName::CONFIG),
        }
        let machine = Fixture::open(medium.clone());
        machine.repository().expect_err("it does not open as it is");
        let report = repair(&medium, &machine, Vec::new(), &when);
        assert!(report.remaining.is_empty(), "{when}");
        assert_eq!(medium.peek(ObjectName::CONFIG).as_ref(), Some(good), "{when}");
        scene.assert_whole(&machine, &when);
    }
    let medium = scene.medium();
    medium.fail_reads(ObjectName::CONFIG);
    let machine = Fixture::open(medium.clone());
    repair(&medium, &machine, Vec::new(), "unreadable");
    scene.assert_whole(&machine, "unreadable");
}

fn recover(medium: &SimStorage, word: &str) -> Result<Repository, RepoError> {
    let credential = Credential::Password(Password::new(word.as_bytes().to_vec()));
    Repository::recover(Arc::new(medium.clone()), &credential, Action::Repair)
}

#[test]
fn without_a_bundle_that_opens_it_does_not_and_that_is_said() {
    let scene = Scene::new();
    let medium = scene.medium();
    medium.remove(ObjectName::CONFIG);
    assert!(matches!(recover(&medium, "wrong"), Err(RepoError::WrongPassword { .. })));
    for name in medium.names(ObjectKind::Key) {
        medium.remove(name);
    }
    assert!(matches!(recover(&medium, PASSWORD), Err(RepoError::ConfigMissing { .. })));
    medium.overwrite(scene.named("own key"), b"rubbish".to_vec());
    assert!(matches!(recover(&medium, PASSWORD), Err(RepoError::NoUsableKey { .. })));
}

#[test]
fn a_bundle_that_a_dead_init_left_with_the_same_password_does_not_win() {
    let scene = Scene::new();
    let medium = scene.medium();
    let other = SimStorage::new();
    Fixture::make(other.clone());
    for name in other.names(ObjectKind::Key) {
        medium.overwrite(name, other.peek(name).expect("there"));
    }
    medium.remove(ObjectName::CONFIG);
    assert_eq!(open(&medium).config_bytes(), scene.objects[&ObjectName::CONFIG]);
    // With nothing of either there is no telling.
    for name in medium.names(ObjectKind::Pack).into_iter().chain(medium.names(ObjectKind::Index)) {
        medium.remove(name);
    }
    medium.names(ObjectKind::Snapshot).into_iter().for_each(|name| _ = medium.remove(name));
    let error = recover(&medium, PASSWORD).expect_err("either could be meant");
    assert!(matches!(error, RepoError::ConfigMissing { .. }), "{}", chain(&error));
}
