//! Pruning: what no snapshot needs goes, what one needs stays, whatever else happens at the same time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod beside;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod sessions;
mod space;

use common::Fixture;
use sheaf::format::session::SessionKind;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::monitor::Silent;
use sheaf::ops::prune::{MaxUnused, Prune, PruneOptions, PrunePlan, PruneReport, Surroundings};
use sheaf::ops::session::prepare;
use sheaf::ops::{Cancel, OpsError};
use sheaf::storage::sim::SimStorage;

/// Everything that is unused goes.
const ALL: PruneOptions = PruneOptions { max_unused: MaxUnused::Bytes(0), max_repack: None };

/// A clock that stands still: leases do not expire.
fn no_clock() -> i64 {
    0
}

fn surroundings(machine: &Fixture) -> Surroundings {
    let id = machine.repository().expect("a repository").id();
    Surroundings { sessions: Some(sheaf::repo::sessions::folder(&machine.cache(), id)), now_ms: no_clock }
}

/// Prunes, and gives what was planned and what was done.
fn prune_with(machine: &Fixture, options: PruneOptions) -> Result<(PrunePlan, PruneReport), OpsError> {
    let (store, _) = prepare(machine.repository()?, SessionKind::Prunes, "prune", &machine.cache(), &Silent)?;
    let cancel = Cancel::default();
    let prune = Prune::plan(&store, options, surroundings(machine), &Silent, &cancel)?;
    let plan = prune.planned().clone();
    Ok((plan, prune.apply()?))
}

fn prune(machine: &Fixture) -> (PrunePlan, PruneReport) {
    prune_with(machine, ALL).unwrap_or_else(|error| panic!("{}", common::chain(&error)))
}

/// Takes a snapshot away, as forgetting does.
fn forget(medium: &SimStorage, snapshot: ObjectId) {
    medium.remove(ObjectName::new(ObjectKind::Snapshot, snapshot)).expect("the snapshot");
}

/// Nothing is left but what is needed: no lease, no retirement, no pack without a segment.
fn assert_tidy(medium: &SimStorage, machine: &Fixture, when: &str) {
    assert_eq!(medium.names(ObjectKind::Session), [], "{when}: leases are left");
    assert_eq!(medium.names(ObjectKind::Retired), [], "{when}: retirements are left");
    let listed: Vec<ObjectName> = machine.listed_packs().into_keys().collect();
    assert_eq!(listed, medium.names(ObjectKind::Pack), "{when}: listed packs are those that are there");
    assert_eq!(machine.packs().stored_twice(), 0, "{when}");
}
