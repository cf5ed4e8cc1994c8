//! Forget: letting snapshots go, by name or by a policy. What they alone needed takes room until it is pruned.
//!
//! Always true here:
//! - [`ForgetPlan::make`] changes nothing and looks at nothing but what it is given; [`ForgetPlan::apply`] deletes what the plan says.
//! - A policy drops a snapshot only because of others of its group, by the same key, whose times the audit log bears out ([`place`]). What
//!   is odd, what is pinned and what cannot be read goes by name alone.
//! - The log says `forget` before the first object goes, and that they are gone after the last: in between each may be there or not, and a
//!   snapshot that is gone without such an entry was taken by somebody else.
//! - No stick is left without a snapshot unless that was asked for.

pub mod place;
pub mod policy;

use super::{Cancel, OpsError};
use crate::format::audit::EntryKind;
use crate::format::certificate::Certificate;
use crate::ids::{KeyId, ObjectId};
use crate::names::{ObjectKind, ObjectName};
use crate::repo::RepoError;
use crate::repo::audit::{self, Log, Order, Pins};
use crate::repo::keyring::Action;
use crate::repo::open::Repository;
use crate::repo::snapshots::{self, Snapshot};
use jiff::Timestamp;
use place::{Odd, Places, TOLERANCE_MS};
use policy::{Dated, Policy};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// What is known of a repository's snapshots.
#[derive(Debug)]
pub struct Seen {
    /// Those that can be read, oldest first by what they say.
    pub snapshots: Vec<Snapshot>,
    /// Those that cannot.
    pub damaged: Vec<ObjectName>,
    /// The audit log.
    pub log: Log,
    /// When the repository was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
}

impl Seen {
    /// Reads all snapshots and the log. `cache` is the folder that remembers what this machine has seen of it.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`] for a key that may not forget; [`RepoError::Storage`].
    pub fn gather(repository: &Repository, cache: Option<&Path>) -> Result<Self, RepoError> {
        repository.keys().require(Action::ForgetSnapshots)?;
        // The log after the snapshots: a snapshot that is seen is told of, unless its writer is just about to.
        let list = snapshots::list(repository)?;
        let log = audit::read_all(repository, cache)?;
        let damaged = list.damaged.into_iter().map(|(name, _)| name).collect();
        Ok(Self { snapshots: list.snapshots, damaged, log, created_ms: repository.config().record.created_ms })
    }
}

/// What snapshots have in common that count against each other, beside the key that made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// The stick.
    pub stick: bool,
    /// The machine.
    pub host: bool,
    /// All tags.
    pub tags: bool,
}

/// What is to be forgotten.
#[derive(Debug, Clone)]
pub enum ForgetRequest {
    /// These, each a unique prefix of an id; a damaged one by its whole id.
    Named {
        /// The names.
        names: Vec<String>,
        /// Pinned ones as well.
        allow_pinned: bool,
    },
    /// What a policy does not keep.
    Policy {
        /// The policy.
        policy: Policy,
        /// Only of this stick.
        stick: Option<String>,
        /// Only those that have all of these tags.
        tags: Vec<String>,
        /// How they are grouped.
        group_by: GroupBy,
        /// The time now, in milliseconds since 1970-01-01 UTC.
        now_ms: i64,
        /// Also where entries of the log are gone, that may have told of pins.
        allow_gaps: bool,
    },
}

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// A rule of the policy.
    Rule(String),
    /// It is pinned.
    Pinned,
    /// Its time is not to be believed, so that it does not count.
    Odd(Odd),
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => f.write_str(rule),
            Self::Pinned => f.write_str("pinned"),
            Self::Odd(odd) => write!(f, "odd: {odd}"),
        }
    }
}

/// A snapshot, and why it stays; where nothing is said it goes.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Why it stays.
    pub keep: Vec<Keep>,
}

/// Snapshots that count against each other.
#[derive(Debug, Clone)]
pub struct Group {
    /// Their stick, where they are grouped by that.
    pub stick: Option<String>,
    /// Their machine.
    pub host: Option<String>,
    /// Their tags.
    pub tags: Option<Vec<String>>,
    /// The key that made them.
    pub maker: Certificate,
    /// The snapshots, oldest first.
    pub snapshots: Vec<Judged>,
}

/// What will be forgotten, and why the rest is not.
#[derive(Debug, Default)]
pub struct ForgetPlan {
    /// What the policy says.
    pub groups: Vec<Group>,
    /// What was named.
    pub named: Vec<Snapshot>,
    /// What was named and cannot be read.
    pub damaged: Vec<ObjectName>,
    /// Sticks that would have no snapshot left.
    pub emptied: BTreeSet<String>,
}

/// Writes to the audit log what is done with which snapshots.
pub type Tell<'a> = dyn FnMut(EntryKind, &[ObjectId]) -> Result<(), RepoError> + 'a;

impl ForgetPlan {
    /// Plans.
    ///
    /// # Errors
    /// [`OpsError::ForgetPinned`], [`OpsError::ForgetDamaged`], [`RepoError::NoSuchSnapshot`], [`RepoError::AmbiguousSnapshot`] for names;
    /// [`OpsError::ForgetClock`], [`OpsError::ForgetLog`] for a policy.
    pub fn make(seen: &Seen, request: &ForgetRequest) -> Result<Self, OpsError> {
        let mut plan = Self::default();
        let pins = Pins::of(&seen.log, &Order::of(&seen.log));
        match request {
            ForgetRequest::Named { names, allow_pinned } => plan.name(seen, &pins, names, *allow_pinned)?,
            ForgetRequest::Policy { policy, stick, tags, group_by, now_ms, allow_gaps } => {
                let places = Places::of(seen, *now_ms);
                believe(seen, &places, *now_ms, *allow_gaps)?;
                let is_chosen = |snapshot: &&Snapshot| {
                    stick.as_ref().is_none_or(|stick| *stick == snapshot.record.stick)
                        && tags.iter().all(|tag| snapshot.record.tags.contains(tag))
                };
                let mut groups: BTreeMap<_, Vec<&Snapshot>> = BTreeMap::new();
                for snapshot in seen.snapshots.iter().filter(is_chosen) {
                    groups.entry(common(snapshot, *group_by)).or_default().push(snapshot);
                }
                for ((stick, host, tags, _), snapshots) in groups {
                    let Some(maker) = snapshots.first().map(|snapshot| snapshot.maker.clone()) else { continue };
                    let snapshots = judge(&places, &pins, policy, &snapshots, *now_ms);
                    plan.groups.push(Group { stick, host, tags, maker, snapshots });
                }
            }
        }
        let gone: BTreeSet<ObjectId> = plan.dropped().map(|snapshot| snapshot.id).collect();
        let left = seen.snapshots.iter().filter(|snapshot| !gone.contains(&snapshot.id));
        let left: BTreeSet<&String> = left.map(|snapshot| &snapshot.record.stick).collect();
        let sticks: BTreeSet<String> = plan.dropped().map(|snapshot| snapshot.record.stick.clone()).collect();
        plan.emptied = sticks.into_iter().filter(|stick| !left.contains(stick)).collect();
        Ok(plan)
    }

    fn name(&mut self, seen: &Seen, pins: &Pins, names: &[String], allow_pinned: bool) -> Result<(), OpsError> {
        let mut pinned = BTreeSet::new();
        for name in names {
            let lower = name.to_ascii_lowercase();
            let is_meant = |id: ObjectId| !lower.is_empty() && id.to_string().starts_with(&lower);
            let found: Vec<&Snapshot> = seen.snapshots.iter().filter(|snapshot| is_meant(snapshot.id)).collect();
            let damaged = seen.damaged.iter().filter_map(|name| Some((*name, name.id()?)));
            let damaged: Vec<(ObjectName, ObjectId)> = damaged.filter(|(_, id)| is_meant(*id)).collect();
            match (found.as_slice(), damaged.as_slice()) {
                ([], []) => return Err(RepoError::NoSuchSnapshot { name: name.clone() }.into()),
                ([snapshot], []) => {
                    if pins.holds(&snapshot.id, &snapshot.maker.key) {
                        pinned.insert(snapshot.id);
                    }
                    if self.named.iter().all(|other| other.id != snapshot.id) {
                        self.named.push((*snapshot).clone());
                    }
                }
                ([], [(object, id)]) => {
                    if id.to_string() != lower {
                        return Err(OpsError::ForgetDamaged { object: *object });
                    }
                    if pins.holds_for_all(id) {
                        pinned.insert(*id);
                    }
                    if !self.damaged.contains(object) {
                        self.damaged.push(*object);
                    }
                }
                _ => {
                    let ids = found.iter().map(|snapshot| snapshot.id).chain(damaged.iter().map(|(_, id)| *id));
                    let candidates = ids.map(|id| id.to_string()[..12].to_owned()).collect();
                    return Err(RepoError::AmbiguousSnapshot { name: name.clone(), candidates }.into());
                }
            }
        }
        if allow_pinned || pinned.is_empty() { Ok(()) } else { Err(OpsError::ForgetPinned { snapshots: pinned }) }
    }

    /// The snapshots that go, as far as they can be read.
    pub fn dropped(&self) -> impl Iterator<Item = &Snapshot> {
        let by_policy = self.groups.iter().flat_map(|group| &group.snapshots).filter(|judged| judged.keep.is_empty());
        self.named.iter().chain(by_policy.map(|judged| &judged.snapshot))
    }

    /// The objects that go.
    pub fn objects(&self) -> Vec<ObjectId> {
        let damaged = self.damaged.iter().filter_map(|name| name.id());
        self.dropped().map(|snapshot| snapshot.id).chain(damaged).collect()
    }

    /// Refuses a plan that leaves a stick without a snapshot, unless that is allowed.
    ///
    /// # Errors
    /// [`OpsError::ForgetLast`].
    pub fn allow(&self, allow_last: bool) -> Result<(), OpsError> {
        if allow_last || self.emptied.is_empty() {
            return Ok(());
        }
        Err(OpsError::ForgetLast { sticks: self.emptied.clone() })
    }

    /// Deletes. `tell` writes to the audit log: what is going to be deleted, before, and what was, after; a plan that drops nothing is
    /// told as well, since each entry of an operator dates what comes before and behind it. Gives the number of snapshots that went.
    ///
    /// # Errors
    /// [`RepoError::KeyLacks`]; [`OpsError::ForgetLast`]; the error of `tell`, before which nothing is deleted; of storage and
    /// [`OpsError::Interrupted`], after which the log tells what went until then.
    pub fn apply(
        &self,
        repository: &Repository,
        allow_last: bool,
        cancel: &Cancel,
        tell: &mut Tell<'_>,
    ) -> Result<usize, OpsError> {
        repository.keys().require(Action::ForgetSnapshots)?;
        self.allow(allow_last)?;
        let objects = self.objects();
        if !objects.is_empty() {
            tell(EntryKind::Forget, &objects)?;
        }
        let mut gone = Vec::with_capacity(objects.len());
        let result = objects.iter().try_for_each(|id| {
            cancel.check()?;
            repository.storage().delete(ObjectName::new(ObjectKind::Snapshot, *id)).map_err(RepoError::from)?;
            gone.push(*id);
            Ok::<(), OpsError>(())
        });
        let told = tell(EntryKind::Forgotten, &gone);
        result?;
        told?;
        Ok(gone.len())
    }
}

/// What a snapshot has in common with those that count against it. Always the key: what one key makes never counts against another's.
type Common = (Option<String>, Option<String>, Option<Vec<String>>, KeyId);

fn common(snapshot: &Snapshot, by: GroupBy) -> Common {
    let record = &snapshot.record;
    let stick = by.stick.then(|| record.stick.clone());
    let tags = by.tags.then(|| {
        let sorted: BTreeSet<&String> = record.tags.iter().collect();
        sorted.into_iter().cloned().collect()
    });
    (stick, by.host.then(|| record.host.clone()), tags, snapshot.maker.key)
}

/// Refuses to apply a policy by a clock, or a log, that cannot be right.
fn believe(seen: &Seen, places: &Places<'_>, now_ms: i64, allow_gaps: bool) -> Result<(), OpsError> {
    let known_ms = places.newest_known();
    if now_ms < known_ms.saturating_sub(TOLERANCE_MS) {
        return Err(OpsError::ForgetClock { now_ms, known_ms });
    }
    match seen.log.lost.first() {
        Some(first) if !allow_gaps => Err(OpsError::ForgetLog { first: *first, count: seen.log.lost.len() }),
        _ => Ok(()),
    }
}

/// What becomes of the snapshots of one group, oldest first.
fn judge(places: &Places<'_>, pins: &Pins, policy: &Policy, group: &[&Snapshot], now_ms: i64) -> Vec<Judged> {
    let mut keep: Vec<Vec<Keep>> =
        places.odd(group).into_iter().map(|odd| odd.map(Keep::Odd).into_iter().collect()).collect();
    let mut counting = Vec::new();
    for (index, (snapshot, keep)) in group.iter().zip(&keep).enumerate() {
        // What counts has a date.
        let time = Timestamp::from_millisecond(snapshot.record.time_ms.min(now_ms));
        if let (true, Ok(time)) = (keep.is_empty(), time) {
            let record = &snapshot.record;
            counting.push((index, Dated { time, utc_offset_s: record.utc_offset_s, tags: &record.tags }));
        }
    }
    let dated: Vec<Dated<'_>> = counting.iter().map(|(_, dated)| *dated).collect();
    for ((index, _), reasons) in counting.iter().zip(policy.judge(&dated)) {
        keep.get_mut(*index).into_iter().for_each(|keep| keep.extend(reasons.iter().cloned().map(Keep::Rule)));
    }
    let judged = group.iter().zip(keep).map(|(snapshot, mut keep)| {
        if pins.holds(&snapshot.id, &snapshot.maker.key) {
            keep.push(Keep::Pinned);
        }
        Judged { snapshot: (*snapshot).clone(), keep }
    });
    judged.collect()
}
