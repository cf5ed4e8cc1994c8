//! Whether the time that a snapshot claims is to be believed: its place in the audit log must bear it out.
//!
//! A snapshot's time is the word of whoever made it. A policy that believed it could be made to drop good snapshots: by others that claim
//! to be of the future, or of a little later in the same day, week or month as a good one. So a snapshot *counts* only where all that is
//! certain fits its time, and everything else is *odd*: it is kept, it fills no bucket, and no other goes because of it. What an odd time
//! can do is to be kept.
//!
//! What is certain is the order of the log ([`Order`]): entries that are behind one another, by hashes. A snapshot was there when an entry
//! named it, and so before whatever is behind that entry. "Behind" can be proven and "not behind" cannot, since whoever writes an entry
//! can hide what he has seen; so doubt counts against the one in question, and never against those that it would push out.
//!
//! Always true here:
//! - The entries that place a snapshot are those that its own maker signed. Nobody places another key's snapshots.
//! - Of a snapshot that counts, the time is not before that of any other one of its group that counts and does not certainly come behind
//!   it. So one that was made later and claims to be older than what was there is odd, whatever its entry names or hides.
//! - It lies between what operators and admins wrote before and behind it, within [`TOLERANCE_MS`]. Their clocks are trusted, because
//!   they may forget whatever they like anyway. What an admin made itself is believed in this, for the same reason: copies have old times.
//! - One more odd snapshot makes others odd at most. It never makes one count that did not.

use super::Seen;
use crate::format::audit::EntryKind;
use crate::format::certificate::Role;
use crate::ids::ObjectId;
use crate::repo::audit::{Forgotten, Order};
use crate::repo::snapshots::Snapshot;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// What the clocks of two machines may differ by, in milliseconds: a day.
pub const TOLERANCE_MS: i64 = 24 * 3600 * 1000;

/// Why a snapshot does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Odd {
    /// No entry of the log by its own maker says that it was made.
    NotLogged,
    /// It was forgotten, and is back.
    Returned,
    /// Its time is more than a day in the future.
    Future,
    /// Its time is in no year that a calendar has.
    NoDate,
    /// What operators and admins wrote before or behind it says another time.
    OutOfPlace,
    /// Another snapshot of the group is newer and does not come behind it.
    OutOfOrder,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLogged => "not in the audit log",
            Self::Returned => "was forgotten and is back",
            Self::Future => "time in the future",
            Self::NoDate => "no such time",
            Self::OutOfPlace => "time does not fit its place in the log",
            Self::OutOfOrder => "out of order",
        })
    }
}

/// A place of a snapshot: an entry that tells of it, and where in that.
type Told = (usize, usize);

/// All that is certain of the times of snapshots.
pub(super) struct Places<'a> {
    order: Order,
    told: BTreeMap<ObjectId, Vec<Told>>,
    /// Entries of operators and admins with their times, the newest first.
    keepers: Vec<(usize, i64)>,
    forgotten: Forgotten,
    seen: &'a Seen,
    now_ms: i64,
}

/// A snapshot while it is looked at.
struct Member<'a> {
    index: usize,
    /// The time that it claims, but not later than now.
    time_ms: i64,
    told: Vec<Told>,
    snapshot: &'a Snapshot,
}

impl<'a> Places<'a> {
    pub(super) fn of(seen: &'a Seen, now_ms: i64) -> Self {
        let mut told: BTreeMap<ObjectId, Vec<Told>> = BTreeMap::new();
        let backups = seen.log.entries.iter().enumerate().filter(|(_, entry)| entry.kind == EntryKind::Backup);
        for (place, entry) in backups {
            let subjects = entry.subjects.iter().enumerate();
            subjects.for_each(|(at, id)| told.entry(*id).or_default().push((place, at)));
        }
        let forgotten = Forgotten::of(&seen.log);
        Self { order: Order::of(&seen.log), told, keepers: keepers(seen), forgotten, seen, now_ms }
    }

    /// The time that counts of the newest entry of an operator or admin, or of the repository itself.
    pub(super) fn newest_known(&self) -> i64 {
        self.keepers.first().map_or(self.seen.created_ms, |(_, time)| *time)
    }

    /// What is odd about each of these, which are of one group and one maker.
    pub(super) fn odd(&self, group: &[&Snapshot]) -> Vec<Option<Odd>> {
        let mut odd = vec![None; group.len()];
        let mut members = Vec::new();
        for (index, snapshot) in group.iter().enumerate() {
            match self.member(index, snapshot) {
                Ok(member) => members.push(member),
                Err(reason) => set(&mut odd, index, reason),
            }
        }
        let mut counting = Vec::with_capacity(members.len());
        while !members.is_empty() {
            let rest = members.split_off(members.len().min(Order::GROUP));
            let out = self.out_of_place(&members);
            for (bit, member) in std::mem::replace(&mut members, rest).into_iter().enumerate() {
                if out & (1 << bit) != 0 {
                    set(&mut odd, member.index, Odd::OutOfPlace);
                } else {
                    counting.push(member);
                }
            }
        }
        // The newest first.
        counting.sort_by_key(|member| (std::cmp::Reverse(member.time_ms), member.index));
        for part in counting.chunks(Order::GROUP) {
            let out = self.out_of_order(part, &counting);
            for (_, member) in part.iter().enumerate().filter(|(bit, _)| out & (1 << bit) != 0) {
                set(&mut odd, member.index, Odd::OutOfOrder);
            }
        }
        odd
    }

    /// What can be said of a snapshot without a look at others.
    fn member(&self, index: usize, snapshot: &'a Snapshot) -> Result<Member<'a>, Odd> {
        let claimed_ms = snapshot.record.time_ms;
        if self.forgotten.is_gone(&snapshot.id) {
            return Err(Odd::Returned);
        }
        if claimed_ms > self.now_ms.saturating_add(TOLERANCE_MS) {
            return Err(Odd::Future);
        }
        Timestamp::from_millisecond(claimed_ms).map_err(|_| Odd::NoDate)?;
        let by_maker = |place: usize| self.seen.log.entries.get(place).is_some_and(|e| e.key == snapshot.maker.key);
        let told = self.told.get(&snapshot.id).into_iter().flatten().copied();
        let told: Vec<Told> = told.filter(|(place, _)| by_maker(*place)).collect();
        if told.is_empty() {
            return Err(Odd::NotLogged);
        }
        Ok(Member { index, time_ms: claimed_ms.min(self.now_ms), told, snapshot })
    }

    /// The bits of those whose time does not lie between what operators and admins wrote before and behind them.
    fn out_of_place(&self, members: &[Member<'_>]) -> u64 {
        let behind = self.order.behind(marks(members));
        let seen_by = |place: usize| behind.get(place).copied().unwrap_or_default();
        let mut out = 0;
        let mut check = |bits: u64, is_out: &dyn Fn(i64) -> bool| {
            for (bit, member) in members.iter().enumerate() {
                let believed = member.snapshot.maker.role == Role::Admin;
                // Its place has to bear out what it claims, also where that is ahead of now.
                if bits & (1 << bit) != 0 && !believed && is_out(member.snapshot.record.time_ms) {
                    out |= 1 << bit;
                }
            }
        };
        let all = if members.len() < Order::GROUP { (1 << members.len()) - 1 } else { u64::MAX };
        // Not before the newest that is not behind it, and not before the repository was made.
        let before = |known: i64| move |time: i64| time < known.saturating_sub(TOLERANCE_MS);
        check(all, &before(self.seen.created_ms));
        let mut open = all;
        for (place, known) in &self.keepers {
            let found = open & !seen_by(*place);
            check(found, &before(*known));
            open &= !found;
            if open == 0 {
                break;
            }
        }
        // Not behind the oldest that is behind it.
        let mut open = all;
        for (place, known) in self.keepers.iter().rev() {
            let found = open & seen_by(*place);
            check(found, &|time| time > known.saturating_add(TOLERANCE_MS));
            open &= !found;
            if open == 0 {
                break;
            }
        }
        out
    }

    /// The bits of those of a part for which there is a newer one among all, newest first, that is not certainly behind it.
    fn out_of_order(&self, part: &[Member<'_>], all: &[Member<'_>]) -> u64 {
        let behind = self.order.behind(marks(part));
        let mut within: BTreeMap<usize, Vec<(usize, u64)>> = BTreeMap::new();
        for (bit, member) in part.iter().enumerate() {
            member.told.iter().for_each(|(place, at)| within.entry(*place).or_default().push((*at, 1 << bit)));
        }
        // What comes before an entry, and before what it names in this place.
        let before = |(place, at): &Told| {
            let earlier = within.get(place).into_iter().flatten().filter(|(other, _)| other < at);
            earlier.fold(behind.get(*place).copied().unwrap_or_default(), |bits, (_, bit)| bits | bit)
        };
        // Those that all newer ones are behind. Every entry of the newer one must be: somebody may name it once more, later.
        let (mut followed, mut out) = (u64::MAX, 0);
        let mut newer = all.iter().peekable();
        for (bit, member) in part.iter().enumerate() {
            while let Some(other) = newer.next_if(|other| other.time_ms > member.time_ms) {
                followed &= other.told.iter().map(before).fold(u64::MAX, |all, bits| all & bits);
            }
            if followed & (1 << bit) == 0 {
                out |= 1 << bit;
            }
        }
        out
    }
}

fn set(odd: &mut [Option<Odd>], index: usize, reason: Odd) {
    odd.get_mut(index).into_iter().for_each(|odd| *odd = Some(reason));
}

fn marks(members: &[Member<'_>]) -> impl Iterator<Item = (usize, u64)> {
    members.iter().enumerate().flat_map(|(bit, member)| member.told.iter().map(move |(place, _)| (*place, 1 << bit)))
}

/// The entries of operators and admins with the times that count, the newest first: a time is not before that of one that it follows,
/// so that a clock that was once behind is set right by the one before.
fn keepers(seen: &Seen) -> Vec<(usize, i64)> {
    let mut newest: BTreeMap<ObjectId, i64> = BTreeMap::new();
    let mut keepers = Vec::new();
    for (place, entry) in seen.log.entries.iter().enumerate() {
        let before = entry.previous.iter().filter_map(|id| newest.get(id)).max().copied().unwrap_or(seen.created_ms);
        let time = if entry.is_keepers() { before.max(entry.time_ms) } else { before };
        newest.insert(entry.id, time);
        if entry.is_keepers() {
            keepers.push((place, time));
        }
    }
    keepers.sort_by_key(|(place, time)| std::cmp::Reverse((*time, *place)));
    keepers
}
