//! A log and snapshots that were never stored: what a plan is made from, written down.
//!
//! Always true here: an entry stands behind those that it names, as in a log that was read; ids are numbers.

use sheaf::format::audit::EntryKind;
use sheaf::format::certificate::{Certificate, Role};
use sheaf::format::snapshot::{Counts, OperatorRecord};
use sheaf::format::tree::TreeRoot;
use sheaf::ids::{KeyId, ObjectId, RepositoryId};
use sheaf::ops::forget::place::Odd;
use sheaf::ops::forget::policy::Policy;
use sheaf::ops::forget::{ForgetPlan, ForgetRequest, GroupBy, Keep, Seen};
use sheaf::repo::audit::{Entry, Log};
use sheaf::repo::snapshots::Snapshot;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;
/// A midnight, when every repository here was made.
pub(crate) const START: i64 = 1_795_046_400_000;

/// The hour of a day since the start.
pub(crate) const fn at(day: i64, hour: i64) -> i64 {
    START + day * DAY + hour * HOUR
}

pub(crate) fn key(number: u8, role: Role) -> Certificate {
    Certificate {
        key: KeyId::new([number; 32]),
        role,
        label: format!("{role} {number}"),
        created_ms: START,
        owner: None,
        repository: RepositoryId::new([0; 16]),
    }
}

/// The key on a stick, which others have as well.
pub(crate) fn stolen() -> Certificate {
    key(1, Role::Depositor)
}

pub(crate) fn operator() -> Certificate {
    key(2, Role::Operator)
}

/// A repository as an operator sees it.
pub(crate) struct Model {
    pub(crate) seen: Seen,
    count: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            seen: Seen { snapshots: Vec::new(), damaged: Vec::new(), log: Log::default(), created_ms: START },
            count: 0,
        }
    }

    fn id(&mut self) -> ObjectId {
        self.count += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        ObjectId::new(bytes)
    }

    /// The entries that nobody follows.
    pub(crate) fn heads(&self) -> Vec<ObjectId> {
        let followed: BTreeSet<ObjectId> =
            self.seen.log.entries.iter().flat_map(|entry| entry.previous.clone()).collect();
        self.seen.log.entries.iter().map(|entry| entry.id).filter(|id| !followed.contains(id)).collect()
    }

    /// A snapshot of which no entry tells.
    pub(crate) fn snapshot(&mut self, maker: &Certificate, stick: &str, time_ms: i64) -> ObjectId {
        let id = self.id();
        let record = OperatorRecord {
            stick: stick.to_owned(),
            time_ms,
            utc_offset_s: 0,
            time_zone: None,
            host: "desk".to_owned(),
            tags: Vec::new(),
            size: 1,
            references: TreeRoot::EMPTY,
            origin: None,
            tool: String::new(),
            counts: Counts::default(),
        };
        self.seen.snapshots.push(Snapshot { id, record, maker: maker.clone() });
        id
    }

    /// An entry that names these as previous.
    pub(crate) fn entry(
        &mut self,
        by: &Certificate,
        kind: EntryKind,
        time_ms: i64,
        subjects: &[ObjectId],
        previous: &[ObjectId],
    ) -> ObjectId {
        let id = self.id();
        let (previous, subjects) = (previous.to_vec(), subjects.to_vec());
        let entry = Entry { id, previous, key: by.key, maker: Some(by.clone()), kind, time_ms, subjects, record: None };
        self.seen.log.entries.push(entry);
        id
    }

    /// An entry of somebody who hides nothing.
    pub(crate) fn tell(&mut self, by: &Certificate, kind: EntryKind, time_ms: i64, subjects: &[ObjectId]) -> ObjectId {
        let heads = self.heads();
        self.entry(by, kind, time_ms, subjects, &heads)
    }

    /// A backup as it should be.
    pub(crate) fn backup(&mut self, maker: &Certificate, stick: &str, time_ms: i64) -> ObjectId {
        let id = self.snapshot(maker, stick, time_ms);
        self.tell(maker, EntryKind::Backup, time_ms, &[id]);
        id
    }

    /// A good backup of `ana` at 20:00 on each of these days, and what an operator writes at 21:00.
    pub(crate) fn days(&mut self, days: std::ops::Range<i64>) -> Vec<ObjectId> {
        days.map(|day| {
            let id = self.backup(&stolen(), "ana", at(day, 20));
            self.tell(&operator(), EntryKind::Forgotten, at(day, 21), &[]);
            id
        })
        .collect()
    }

    pub(crate) fn set_offset(&mut self, id: ObjectId, utc_offset_s: i32) {
        let snapshot = self.seen.snapshots.iter_mut().find(|snapshot| snapshot.id == id).expect("there");
        snapshot.record.utc_offset_s = utc_offset_s;
    }

    pub(crate) fn request(policy: &Policy, now_ms: i64) -> ForgetRequest {
        ForgetRequest::Policy {
            policy: policy.clone(),
            stick: None,
            tags: Vec::new(),
            group_by: GroupBy { stick: true, host: false, tags: false },
            now_ms,
            allow_gaps: false,
        }
    }

    /// What a policy says: each snapshot with why it stays.
    pub(crate) fn judge(&mut self, policy: &Policy, now_ms: i64) -> BTreeMap<ObjectId, Vec<Keep>> {
        // As a listing has them.
        self.seen.snapshots.sort_by_key(|snapshot| (snapshot.record.time_ms, snapshot.id));
        let plan = ForgetPlan::make(&self.seen, &Self::request(policy, now_ms)).expect("a plan");
        let judged: BTreeMap<_, _> =
            plan.groups.into_iter().flat_map(|group| group.snapshots).map(|one| (one.snapshot.id, one.keep)).collect();
        assert_eq!(judged.len(), self.seen.snapshots.len(), "each is judged once");
        judged
    }

    pub(crate) fn kept(&mut self, policy: &Policy, now_ms: i64) -> BTreeSet<ObjectId> {
        self.judge(policy, now_ms).into_iter().filter(|(_, keep)| !keep.is_empty()).map(|(id, _)| id).collect()
    }

    pub(crate) fn odd(&mut self, id: ObjectId, now_ms: i64) -> Option<Odd> {
        let judged = self.judge(&Policy { last: 1, ..Policy::default() }, now_ms);
        judged[&id].iter().find_map(|keep| if let Keep::Odd(odd) = keep { Some(*odd) } else { None })
    }
}
