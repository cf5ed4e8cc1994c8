//! Forgetting: what a policy keeps and drops, and what a plan does to a repository.
//!
//! Always true here: nothing looks at the clock; it is always the time that a test says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod attacks;
#[path = "../common/mod.rs"]
mod common;
mod model;
mod stored;

use model::{DAY, Model, START, at, key, operator, stolen};
use sheaf::format::audit::EntryKind;
use sheaf::format::certificate::Role;
use sheaf::ids::ObjectId;
use sheaf::names::{ObjectKind, ObjectName};
use sheaf::ops::OpsError;
use sheaf::ops::forget::place::Odd;
use sheaf::ops::forget::policy::Policy;
use sheaf::ops::forget::{ForgetPlan, ForgetRequest, GroupBy, Keep};
use sheaf::repo::RepoError;
use std::collections::BTreeSet;

fn last(count: u32) -> Policy {
    Policy { last: count, ..Policy::default() }
}

fn named(model: &Model, names: &[String], allow_pinned: bool) -> Result<ForgetPlan, OpsError> {
    ForgetPlan::make(&model.seen, &ForgetRequest::Named { names: names.to_vec(), allow_pinned })
}

#[test]
fn honest_snapshots_are_kept_by_the_rules_that_people_know() {
    let mut model = Model::new();
    let good = model.days(0..40);
    let now = at(40, 8);
    let policy = Policy { daily: 7, weekly: 3, ..Policy::default() };
    let judged = model.judge(&policy, now);
    let day = |day: usize| judged[&good[day]].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    // The start is a Thursday, 2026-11-19: Sundays are the days 3, 10, 17, 24, 31 and 38.
    assert_eq!(
        (day(39), day(38), day(37)),
        ("daily snapshot, weekly snapshot".into(), "daily snapshot, weekly snapshot".into(), "daily snapshot".into())
    );
    assert_eq!(
        (day(33), day(32), day(31), day(30)),
        ("daily snapshot".into(), String::new(), "weekly snapshot".into(), String::new())
    );
    assert_eq!(judged.values().filter(|keep| !keep.is_empty()).count(), 8);
    assert!(good.iter().all(|id| model.odd(*id, now).is_none()));
}

#[test]
fn groups_are_by_what_is_asked_for_and_always_by_the_key() {
    let mut model = Model::new();
    for hour in 0..3 {
        for (maker, stick) in [(1, "ana"), (1, "ben"), (3, "ana")] {
            model.backup(&key(maker, Role::Depositor), stick, at(0, hour));
        }
    }
    assert_eq!(model.kept(&last(1), at(1, 0)).len(), 3);
    let group_by = GroupBy { stick: false, host: true, tags: true };
    let ForgetRequest::Policy { policy, now_ms, .. } = Model::request(&last(1), at(1, 0)) else { panic!("a policy") };
    let request = |stick: Option<&str>| ForgetRequest::Policy {
        policy: policy.clone(),
        stick: stick.map(str::to_owned),
        tags: Vec::new(),
        group_by,
        now_ms,
        allow_gaps: false,
    };
    let plan = ForgetPlan::make(&model.seen, &request(None)).expect("a plan");
    let kept: Vec<usize> =
        plan.groups.iter().map(|group| group.snapshots.iter().filter(|one| !one.keep.is_empty()).count()).collect();
    // Those of two sticks at the same hours stay together.
    assert_eq!(kept, [2, 1]);
    assert!(plan.groups.iter().all(|group| group.stick.is_none() && group.host.as_deref() == Some("desk")));
    let plan = ForgetPlan::make(&model.seen, &request(Some("ben"))).expect("a plan");
    assert_eq!((plan.groups.len(), plan.dropped().count()), (1, 2));
}

#[test]
fn a_clock_that_is_wrong_drops_nothing() {
    let mut model = Model::new();
    model.days(0..10);
    let plan = |now: i64| ForgetPlan::make(&model.seen, &Model::request(&last(1), now));
    assert!(plan(at(8, 22)).is_ok(), "within a day of what the operator wrote");
    let error = plan(at(8, 20)).expect_err("a day and an hour before");
    assert!(
        matches!(error, OpsError::ForgetClock { now_ms, known_ms } if now_ms == at(8, 20) && known_ms == at(9, 21))
    );
    assert!(
        error.to_string().contains("2026-11-27T20:00:00Z") && error.to_string().contains("2026-11-28T21:00:00Z"),
        "{error}"
    );
    for now in [i64::MIN, 0, START - 2 * DAY] {
        assert!(matches!(
            ForgetPlan::make(&Model::new().seen, &Model::request(&last(1), now)),
            Err(OpsError::ForgetClock { .. })
        ));
    }
    // A depositor's word on the time is none.
    model.tell(&stolen(), EntryKind::Other, i64::MAX, &[]);
    assert!(ForgetPlan::make(&model.seen, &Model::request(&last(1), at(10, 0))).is_ok());
    // Far ahead, everything is old, and still only others drop one.
    assert_eq!(model.kept(&last(3), i64::MAX).len(), 3);
}

/// An operator whose clock was once far behind: what is certain is that it was no earlier than what he followed.
#[test]
fn a_keeper_whose_clock_was_behind_harms_nobody() {
    let mut model = Model::new();
    let mut good = model.days(0..3);
    model.tell(&operator(), EntryKind::Other, 0, &[]);
    good.extend(model.days(3..6));
    assert!(good.iter().all(|id| model.odd(*id, at(6, 0)).is_none()));
}

#[test]
fn a_log_with_gaps_drops_nothing_by_a_policy_unless_that_is_asked_for() {
    let mut model = Model::new();
    let good = model.days(0..3);
    model.seen.log.lost = BTreeSet::from([ObjectId::new([9; 32])]);
    let error = ForgetPlan::make(&model.seen, &Model::request(&last(1), at(3, 0))).expect_err("gaps");
    assert!(matches!(error, OpsError::ForgetLog { count: 1, .. }), "{error}");
    let ForgetRequest::Policy { policy, stick, tags, group_by, now_ms, .. } = Model::request(&last(1), at(3, 0)) else {
        panic!("a policy")
    };
    let request = ForgetRequest::Policy { policy, stick, tags, group_by, now_ms, allow_gaps: true };
    assert_eq!(ForgetPlan::make(&model.seen, &request).expect("a plan").dropped().count(), 2);
    assert_eq!(named(&model, &[good[0].to_string()], false).expect("a plan").objects(), [good[0]]);
}

#[test]
fn the_time_of_what_an_admin_made_is_believed_as_far_as_its_order() {
    let mut model = Model::new();
    model.days(0..10);
    let admin = key(5, Role::Admin);
    // Copies of what another repository had, oldest first, told of one by one and together.
    let mut copies: Vec<ObjectId> = (0..5).map(|day| model.backup(&admin, "ana", at(day - 90, 0))).collect();
    let together: Vec<ObjectId> = (5..9).map(|day| model.snapshot(&admin, "ana", at(day - 90, 0))).collect();
    model.tell(&admin, EntryKind::Backup, at(10, 0), &together);
    copies.extend(together);
    assert!(copies.iter().all(|id| model.odd(*id, at(10, 12)).is_none()));
    let older = model.backup(&admin, "ana", at(-100, 0));
    assert_eq!(model.odd(older, at(10, 12)), Some(Odd::OutOfOrder));
    let by_depositor = model.backup(&stolen(), "ben", at(-90, 0));
    assert_eq!(model.odd(by_depositor, at(10, 12)), Some(Odd::OutOfPlace));
}

#[test]
fn pins_hold_until_who_may_takes_them_away() {
    let judge = |pins: &dyn Fn(&mut Model, ObjectId)| {
        let mut model = Model::new();
        let good = model.days(0..3);
        pins(&mut model, good[0]);
        model.judge(&last(1), at(4, 0))[&good[0]] == [Keep::Pinned]
    };
    let (pin, unpin) = (EntryKind::Pin, EntryKind::Unpin);
    let by = |who: Role| key(4, who);
    for role in [Role::Operator, Role::Admin] {
        assert!(judge(&|model, id| _ = model.tell(&by(role), pin, 0, &[id])), "{role}");
    }
    for role in [Role::Depositor, Role::Owner, Role::Auditor] {
        assert!(!judge(&|model, id| _ = model.tell(&by(role), pin, 0, &[id])), "another's key, {role}");
    }
    assert!(judge(&|model, id| _ = model.tell(&stolen(), pin, 0, &[id])), "its maker's");
    assert!(!judge(&|_, _| ()));
    // The last one counts, from those who may; where neither is behind the other, the pin.
    let all: [(&[(Role, EntryKind)], bool); 4] = [
        (&[(Role::Operator, pin), (Role::Admin, unpin)], false),
        (&[(Role::Operator, pin), (Role::Owner, unpin)], true),
        (&[(Role::Operator, unpin), (Role::Admin, pin)], true),
        (&[(Role::Operator, pin), (Role::Admin, unpin), (Role::Operator, pin)], true),
    ];
    for (told, holds) in all {
        let tell =
            |model: &mut Model, id| told.iter().for_each(|(role, kind)| _ = model.tell(&by(*role), *kind, 0, &[id]));
        assert_eq!(judge(&tell), holds, "{told:?}");
    }
    assert!(!judge(&|model, id| {
        model.tell(&stolen(), pin, 0, &[id]);
        model.tell(&by(Role::Operator), unpin, 0, &[id]);
    }));
    assert!(judge(&|model, id| {
        let heads = model.heads();
        model.entry(&by(Role::Operator), pin, 0, &[id], &heads);
        model.entry(&by(Role::Admin), unpin, 0, &[id], &heads);
    }));
    assert!(!judge(&|model, id| {
        for _ in 0..130 {
            model.tell(&by(Role::Operator), pin, 0, &[id]);
        }
        model.tell(&by(Role::Admin), unpin, 0, &[id]);
    }));
}

#[test]
fn names_are_unique_prefixes_and_pinned_or_damaged_ones_are_guarded() {
    let mut model = Model::new();
    let good = model.days(0..3);
    let damaged = ObjectId::new([0xee; 32]);
    model.seen.damaged.push(ObjectName::new(ObjectKind::Snapshot, damaged));
    let name = |id: &ObjectId| id.to_string();
    let plan = named(&model, &[name(&good[0])[..16].to_owned(), name(&good[0])], false).expect("named twice");
    assert_eq!((plan.objects(), plan.emptied.len()), (vec![good[0]], 0));
    for (text, is_expected) in [
        (
            "00",
            (|error| matches!(error, OpsError::Repo(RepoError::AmbiguousSnapshot { candidates, .. }) if candidates.len() == 3))
                as fn(&OpsError) -> bool,
        ),
        ("ab", |error| matches!(error, OpsError::Repo(RepoError::NoSuchSnapshot { .. }))),
        ("", |error| matches!(error, OpsError::Repo(RepoError::NoSuchSnapshot { .. }))),
        ("latest", |error| matches!(error, OpsError::Repo(RepoError::NoSuchSnapshot { .. }))),
        ("eeee", |error| matches!(error, OpsError::ForgetDamaged { .. })),
    ] {
        let error = named(&model, &[text.to_owned()], false).expect_err(text);
        assert!(is_expected(&error), "{text}: {error}");
    }
    assert_eq!(named(&model, &[name(&damaged).to_uppercase()], false).expect("by its whole id").objects(), [damaged]);
    model.tell(&operator(), EntryKind::Pin, 0, &[good[1], damaged]);
    for id in [good[1], damaged] {
        let error = named(&model, &[name(&id)], false).expect_err("pinned");
        assert!(matches!(error, OpsError::ForgetPinned { snapshots } if snapshots == BTreeSet::from([id])));
        assert_eq!(named(&model, &[name(&id)], true).expect("asked for").objects(), [id]);
    }
    let plan = named(&model, &good.iter().map(name).collect::<Vec<_>>(), true).expect("a plan");
    assert_eq!(plan.emptied, BTreeSet::from(["ana".to_owned()]));
    assert!(matches!(plan.allow(false), Err(OpsError::ForgetLast { .. })) && plan.allow(true).is_ok());
    // One of them that somebody else made is one.
    model.backup(&key(8, Role::Owner), "ana", at(3, 0));
    assert!(named(&model, &good.iter().map(name).collect::<Vec<_>>(), true).expect("a plan").allow(false).is_ok());
    // A policy of tags alone may drop all.
    let mut model = Model::new();
    model.days(0..3);
    let plan = ForgetPlan::make(
        &model.seen,
        &Model::request(&Policy { tags: vec!["none".to_owned()], ..Policy::default() }, at(4, 0)),
    );
    assert!(!plan.expect("a plan").emptied.is_empty());
}
