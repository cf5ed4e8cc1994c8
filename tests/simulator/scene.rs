//! One schedule: from a seed to what happened, and whether everything that must hold holds.
//!
//! Always true behind every schedule:
//! - each snapshot that was committed and that nobody began to forget is there, and restores bit for bit; so does every other that is there;
//! - a check finds nothing;
//! - two prunes by a machine that has waited for dead leases leave no lease, no retirement, no pack without a needed chunk, and all of the above.

use crate::actors::{Actor, Machine, back_up, back_up_into, forget_calmly, machine, open, prune, read};
use crate::arbiter::Chance;
use crate::common::{CHEAP, chain, folder, password, small_config};
use crate::disks;
use crate::world::{Climate, Process, Step, World, set_clock};
use sheaf::crypto::randomness;
use sheaf::format::session::SessionKind;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::check::{Depth, Finding, check as check_repository};
use sheaf::ops::monitor::Silent;
use sheaf::ops::prune::{MaxUnused, PruneOptions};
use sheaf::ops::{Cancel, OpsError};
use sheaf::repo::open::{InitOptions, Repository};
use sheaf::repo::sessions::LEASE_MS;
use sheaf::storage::Storage;
use sheaf::storage::sim::SimStorage;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// What happened.
pub(crate) struct Outcome {
    pub steps: Vec<Step>,
    pub violation: Option<String>,
}

const ALL: PruneOptions = PruneOptions { max_unused: MaxUnused::Bytes(0), max_repack: None };
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The objects of an empty repository; the same in every schedule.
fn empty() -> &'static BTreeMap<ObjectName, Vec<u8>> {
    static EMPTY: OnceLock<BTreeMap<ObjectName, Vec<u8>>> = OnceLock::new();
    EMPTY.get_or_init(|| {
        randomness::set(Some([7; 32]));
        let medium = SimStorage::new();
        let mut config = small_config();
        config.pack_size = 32 << 10;
        let options = InitOptions { config, label: "test".to_owned(), cost: CHEAP };
        Repository::init(Arc::new(medium.clone()), options, &password()).expect("a repository");
        medium.objects()
    })
}

/// Checks the repository's structure.
pub(crate) fn check(storage: Arc<dyn Storage>, folder: &Path) -> Result<Vec<Finding>, OpsError> {
    let repository = Arc::new(Repository::open(storage)?.unlock(&password())?);
    let scratch = folder.join("check");
    let report = check_repository(&repository, &scratch, None, Depth::Structure, &Silent, &Cancel::default())?;
    Ok(report.findings)
}

/// Runs the schedule of a seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let mut chance = Chance::new(seed);
    let actors = 2 + usize::try_from(chance.below(4)).expect("small");
    let climate = Climate {
        faults: [0, 60, 25, 12][usize::try_from(chance.below(4)).expect("small")],
        step_ms: [1, 20_000, 600_000][usize::try_from(chance.below(3)).expect("small")],
    };
    let world = World::new(empty().clone(), actors, chance.next(), climate);
    let folder = folder();
    let clock = |chance: &mut Chance| i64::try_from(chance.below(20)).expect("small") * DAY_MS - 10 * DAY_MS;
    let mut machines: Vec<Machine> =
        (0..actors).map(|number| machine(folder.path(), number, clock(&mut chance))).collect();
    // Something is there before.
    set_clock(&world, 0);
    randomness::set(Some(chance.bytes()));
    for number in 0..1 + chance.below(4) {
        let disk = usize::try_from(chance.below(disks().len() as u64)).expect("small");
        let at = usize::try_from(number).expect("small") % machines.len();
        let process = Process::new(&world, None);
        let store = open(&process, &machines[at], SessionKind::Writes).expect("nothing happens yet");
        if chance.one_in(3) {
            // Another one stores the same at the same time, so that it is there twice.
            let other = &machines[(at + 1) % machines.len()];
            back_up(&Process::new(&world, None), other, disk).expect("nothing happens yet");
        }
        let made = back_up_into(&store, &process, disk).expect("nothing happens yet");
        if chance.one_in(2) {
            // What nobody needs, and whoever stores the same relies on.
            forget_calmly(&world, made);
        }
    }
    let prunes = chance.one_in(3);
    let violation = std::thread::scope(|scope| {
        let running: Vec<_> = machines
            .drain(..)
            .enumerate()
            .map(|(number, machine)| {
                let actor =
                    Actor { number, world: Arc::clone(&world), machine, chance: Chance::new(chance.next()), prunes };
                let world = Arc::clone(&world);
                scope.spawn(move || {
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| actor.run())).unwrap_or_else(|panic| {
                        world.arbiter.end(number);
                        let text = panic.downcast_ref::<String>().cloned();
                        Err(format!("panicked: {}", text.unwrap_or_else(|| "?".to_owned())))
                    })
                })
            })
            .collect();
        running.into_iter().filter_map(|actor| actor.join().expect("caught").err()).next()
    });
    let violation = violation.or_else(|| aftermath(&world, folder.path(), &mut chance).err());
    randomness::set(None);
    let steps = std::mem::take(&mut world.state().steps);
    Outcome { steps, violation }
}

/// What must hold when the storm is over.
fn aftermath(world: &Arc<World>, folder: &Path, chance: &mut Chance) -> Result<(), String> {
    world.calm();
    set_clock(world, 0);
    randomness::set(Some(chance.bytes()));
    let survivor = machine(folder, usize::MAX, 0);
    // What was never promised, since its session was lost and its process died before it could see that, is taken away as a person would.
    let unsure: Vec<_> = world.state().snapshots.iter().filter(|(_, made)| !made.counts).map(|(id, _)| *id).collect();
    for id in unsure {
        forget_calmly(world, id);
    }
    all_restore(world, &survivor, "behind the storm")?;
    let pruned = |when: &str| {
        let process = Process::new(world, None);
        prune(&process, &survivor, ALL).map_err(|error| format!("{when}: pruning failed: {}", chain(&error)))
    };
    pruned("the first prune")?;
    world.state().time_ms += LEASE_MS + 1;
    pruned("the prune behind the leases")?;
    pruned("the last prune")?;
    all_restore(world, &survivor, "pruned")?;
    let findings = check(Arc::new(Process::new(world, None)), folder).map_err(|error| chain(&error))?;
    if !findings.is_empty() {
        return Err(format!("a check finds {findings:#?}"));
    }
    let left: Vec<String> = world
        .state()
        .objects
        .keys()
        .filter(|name| matches!(name.kind(), ObjectKind::Session | ObjectKind::Retired))
        .map(|name| name.path())
        .collect();
    if !left.is_empty() {
        return Err(format!("{left:?} stay for ever"));
    }
    let store = open(&Process::new(world, None), &survivor, SessionKind::Prunes).map_err(|error| chain(&error))?;
    let surroundings = sheaf::ops::prune::Surroundings { sessions: None, now_ms: crate::world::now_ms };
    let cancel = Cancel::default();
    let plan =
        sheaf::ops::prune::Prune::plan(&store, ALL, surroundings, &Silent, &cancel).map_err(|error| chain(&error))?;
    let plan = plan.planned();
    if plan.delete.packs + plan.waiting.packs + plan.unreadable.packs + plan.unreadable_kept + plan.unlisted_kept > 0 {
        return Err(format!("packs stay that nobody needs: {plan:?}"));
    }
    Ok(())
}

/// Every snapshot restores, and none is gone that nobody forgot.
fn all_restore(world: &Arc<World>, machine: &Machine, when: &str) -> Result<(), String> {
    let store = open(&Process::new(world, None), machine, SessionKind::Reads).map_err(|error| chain(&error))?;
    let made = world.state().snapshots.clone();
    for (id, committed) in made {
        let name = ObjectName::new(ObjectKind::Snapshot, id);
        let is_there = world.state().objects.contains_key(&name);
        if !is_there && committed.forgotten {
            continue;
        }
        if !is_there {
            return Err(format!("{when}: snapshot {} is gone, and nobody forgot it", id.short()));
        }
        match read(&store, id) {
            Ok(bytes) if bytes == disks()[committed.disk] => {}
            Ok(_) => return Err(format!("{when}: snapshot {} restores to other bytes", id.short())),
            Err(error) => return Err(format!("{when}: snapshot {} is lost: {}", id.short(), chain(&error))),
        }
    }
    Ok(())
}
