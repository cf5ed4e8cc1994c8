//! Somebody has the key on a stick, and wants the good snapshots of that stick gone: by adding others, since he can do nothing else.
//!
//! Always true here: the good ones are of `ana`, at 20:00 each day, by the very key that the attacker has. What would be kept without his
//! is kept with them.

use super::model::{DAY, HOUR, Model, START, at, key, operator, stolen};
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use proptest::{collection, option};
use sheaf::format::audit::EntryKind;
use sheaf::format::certificate::Role;
use sheaf::ids::ObjectId;
use sheaf::ops::forget::Keep;
use sheaf::ops::forget::place::Odd;
use sheaf::ops::forget::policy::Policy;
use std::collections::BTreeSet;

/// Policies that an attack must be harmless to.
fn policies() -> Vec<Policy> {
    let none = Policy::default();
    vec![
        Policy { last: 3, ..none.clone() },
        Policy { daily: 7, ..none.clone() },
        Policy { hourly: 5, weekly: 2, ..none.clone() },
        Policy { monthly: 2, yearly: 1, ..none.clone() },
        Policy { within: "3d".parse().ok(), ..none },
    ]
}

/// Ten good days, then an attack, then an operator who forgets on day 11. Gives the model and the attacker's snapshots.
fn attacked(attack: impl Fn(&mut Model, &[ObjectId]) -> Vec<ObjectId>) -> (Model, Vec<ObjectId>) {
    let mut calm = Model::new();
    let good = calm.days(0..10);
    let mut model = Model::new();
    assert_eq!(model.days(0..10), good);
    let bogus = attack(&mut model, &good);
    let now = at(10, 12);
    for policy in policies() {
        let (without, with) = (calm.kept(&policy, now), model.kept(&policy, now));
        assert!(without.is_subset(&with), "{policy:?} drops {:?}", without.difference(&with).collect::<Vec<_>>());
    }
    (model, bogus)
}

fn all_odd(attack: impl Fn(&mut Model, &[ObjectId]) -> Vec<ObjectId>, wanted: &[Odd]) {
    let (mut model, bogus) = attacked(attack);
    for id in bogus {
        let found = model.odd(id, at(10, 12));
        assert!(found.is_some_and(|odd| wanted.contains(&odd)), "{found:?} in place of {wanted:?}");
    }
}

#[test]
fn times_in_the_future() {
    let attack = |model: &mut Model, _: &[ObjectId]| {
        [at(12, 0), at(400, 0), i64::MAX].map(|time| model.backup(&stolen(), "ana", time)).to_vec()
    };
    all_odd(attack, &[Odd::Future]);
}

#[test]
fn times_in_days_that_have_a_good_one() {
    // Later on each day than the good one, made on day 10; by somebody who hides nothing, and by one who hides it all.
    for hide in [false, true] {
        let attack = |model: &mut Model, _: &[ObjectId]| {
            let bogus = (0..9).map(|day| {
                let id = model.snapshot(&stolen(), "ana", at(day, 23));
                let heads = if hide { Vec::new() } else { model.heads() };
                model.entry(&stolen(), EntryKind::Backup, at(day, 23), &[id], &heads);
                id
            });
            bogus.collect()
        };
        all_odd(attack, &[Odd::OutOfOrder, Odd::OutOfPlace]);
    }
}

/// Nothing of the stick is newer than what the attacker claims: what the operator wrote since tells all the same.
#[test]
fn times_of_days_since_the_last_good_one() {
    let mut calm = Model::new();
    calm.days(0..3);
    let run = |model: &mut Model, from: i64, to: i64| {
        (from..to).for_each(|day| _ = model.tell(&operator(), EntryKind::Forgotten, at(day, 21), &[]));
    };
    run(&mut calm, 3, 30);
    let mut model = Model::new();
    let good = model.days(0..3);
    let fork = model.heads();
    run(&mut model, 3, 30);
    let mut bogus = vec![model.backup(&stolen(), "ana", at(2, 23))];
    for day in 2..28 {
        let id = model.snapshot(&stolen(), "ana", at(day, 23));
        model.entry(&stolen(), EntryKind::Backup, at(day, 23), &[id], &fork);
        bogus.push(id);
    }
    let now = at(30, 12);
    for policy in policies() {
        assert!(calm.kept(&policy, now).is_subset(&model.kept(&policy, now)), "{policy:?}");
    }
    assert!(bogus.iter().all(|id| model.odd(*id, now) == Some(Odd::OutOfPlace)));
    assert!(good.iter().all(|id| model.odd(*id, now).is_none()));
}

#[test]
fn times_before_everything() {
    let attack = |model: &mut Model, _: &[ObjectId]| {
        [0, -1, i64::MIN + 1, i64::MIN, at(-2, 0)].map(|time| model.backup(&stolen(), "ana", time)).to_vec()
    };
    all_odd(attack, &[Odd::OutOfOrder, Odd::OutOfPlace, Odd::NoDate]);
}

#[test]
fn no_entry_or_that_of_another_key() {
    let attack = |model: &mut Model, _: &[ObjectId]| {
        let made = (0..10).map(|day| model.snapshot(&stolen(), "ana", at(day, 23))).collect::<Vec<_>>();
        // A friend, and one who keeps the repository, name them; the maker has to.
        model.tell(&key(7, Role::Owner), EntryKind::Backup, at(10, 1), &made[..5]);
        model.tell(&operator(), EntryKind::Backup, at(10, 1), &made[..5]);
        model.tell(&stolen(), EntryKind::Pin, at(10, 1), &[]);
        made
    };
    all_odd(attack, &[Odd::NotLogged]);
}

/// He names the good ones once more, behind his own and beside everything: that makes them odd at most.
#[test]
fn entries_that_name_what_others_made() {
    for hide in [false, true] {
        let attack = |model: &mut Model, good: &[ObjectId]| {
            let bogus: Vec<ObjectId> = (0..9).map(|day| model.snapshot(&stolen(), "ana", at(day, 23))).collect();
            model.entry(&stolen(), EntryKind::Backup, at(0, 0), &bogus, &[]);
            let heads = if hide { Vec::new() } else { model.heads() };
            model.entry(&stolen(), EntryKind::Backup, at(10, 0), good, &heads);
            let both: Vec<ObjectId> = bogus.iter().zip(good).flat_map(|(bogus, good)| [*bogus, *good]).collect();
            model.tell(&stolen(), EntryKind::Backup, at(10, 0), &both);
            bogus
        };
        all_odd(attack, &[Odd::OutOfOrder, Odd::OutOfPlace]);
    }
    // Another key's are not touched at all.
    let mut model = Model::new();
    let good = model.days(0..10);
    let thief = key(3, Role::Depositor);
    model.tell(&thief, EntryKind::Backup, at(10, 0), &good);
    model.entry(&thief, EntryKind::Backup, at(10, 0), &good, &[]);
    assert!(good.iter().all(|id| model.odd(*id, at(10, 12)).is_none()));
}

#[test]
fn another_key_under_the_same_name() {
    let thief = key(3, Role::Owner);
    let attack = |model: &mut Model, _: &[ObjectId]| {
        let claimed = (0..200).map(|hour| START + hour * HOUR).chain([at(10, 1); 5]);
        claimed.map(|time| model.backup(&thief, "ana", time)).collect()
    };
    let (mut model, _) = attacked(attack);
    let plan = model.judge(&Policy { last: 3, ..Policy::default() }, at(10, 12));
    assert_eq!(plan.len(), 215);
}

#[test]
fn thousands_that_are_all_odd() {
    let attack = |model: &mut Model, good: &[ObjectId]| {
        let fork = model.seen.log.entries[3].id;
        let bogus: Vec<ObjectId> = (0..3000).map(|at| model.snapshot(&stolen(), "ana", START + at * 280_000)).collect();
        for part in bogus.chunks(10) {
            model.entry(&stolen(), EntryKind::Backup, START, part, &[fork]);
        }
        assert_eq!(good.len(), 10);
        bogus
    };
    let (mut model, bogus) = attacked(attack);
    let judged = model.judge(&Policy { daily: 3, ..Policy::default() }, at(10, 12));
    assert!(bogus.iter().all(|id| matches!(judged[id].as_slice(), [Keep::Odd(_)])));
}

#[test]
fn the_time_of_a_good_one_to_the_millisecond() {
    let attack = |model: &mut Model, _: &[ObjectId]| {
        let (now, fork) = (at(9, 20), model.seen.log.entries[17].id);
        let open = model.backup(&stolen(), "ana", now);
        let hidden = model.snapshot(&stolen(), "ana", now);
        model.entry(&stolen(), EntryKind::Backup, now, &[hidden], &[fork]);
        for offset in [-50_400, 50_400, i32::MIN, i32::MAX] {
            let id = model.backup(&stolen(), "ana", now);
            model.set_offset(id, offset);
        }
        vec![open, hidden]
    };
    attacked(attack);
}

/// A time ahead, told early, so that what came behind it looks late: those are kept, and the attacker's own is found where an operator
/// wrote since.
#[test]
fn a_time_ahead_of_what_follows() {
    for keeps in [true, false] {
        let (mut calm, mut model) = (Model::new(), Model::new());
        let now = at(20, 12);
        let mut bogus = None;
        for day in 0..20 {
            for one in [&mut calm, &mut model] {
                one.backup(&stolen(), "ana", at(day, 20));
                if keeps {
                    one.tell(&operator(), EntryKind::Forgotten, at(day, 21), &[]);
                }
            }
            if day == 5 {
                // The ids of both stay the same.
                bogus = Some(model.backup(&stolen(), "ana", at(15, 23)));
                calm.snapshot(&key(9, Role::Owner), "other", at(5, 23));
                calm.tell(&key(9, Role::Owner), EntryKind::Other, at(5, 23), &[]);
            }
        }
        for policy in policies() {
            let without: BTreeSet<ObjectId> = calm.kept(&policy, now);
            let with = model.kept(&policy, now);
            let lost: Vec<_> = without.difference(&with).filter(|id| Some(**id) != bogus).collect();
            assert!(lost.is_empty(), "{policy:?} drops {lost:?}");
        }
        assert_eq!(model.odd(bogus.expect("made"), now), keeps.then_some(Odd::OutOfPlace));
    }
}

/// A bogus snapshot.
#[derive(Debug, Clone)]
struct Bogus {
    /// When it is really made: the hour since the start.
    hour: i64,
    claim: i64,
    offset: i32,
    /// How much of the log its entry hides; `None` where there is no entry.
    hide: Option<usize>,
    names_good: bool,
}

fn bogus() -> impl Strategy<Value = Bogus> {
    let claim = proptest::prop_oneof![
        6 => START - 3 * DAY..START + 20 * DAY,
        1 => proptest::prelude::any::<i64>(),
        1 => proptest::sample::select(vec![0, -1, i64::MIN, i64::MAX, START]),
        2 => (0_i64..14).prop_map(|day| at(day, 20)),
        2 => (0_i64..14).prop_map(|day| at(day, 23)),
    ];
    let offset = proptest::prop_oneof![3 => 0..1, 1 => -60_000..60_000];
    (0_i64..14 * 24, claim, offset, option::weighted(0.9, 0_usize..30), proptest::bool::weighted(0.3))
        .prop_map(|(hour, claim, offset, hide, names_good)| Bogus { hour, claim, offset, hide, names_good })
}

fn policy() -> impl Strategy<Value = Policy> {
    let rule = || 0_u32..6;
    (rule(), rule(), rule(), rule(), rule(), option::of(1_u16..9)).prop_map(
        |(last, hourly, daily, weekly, monthly, days)| {
            let within = days.and_then(|days| format!("{days}d").parse().ok());
            Policy { last, hourly, daily, weekly, monthly, within, ..Policy::default() }
        },
    )
}

/// Fourteen good days with an operator each day, and what an attacker adds by this key. Gives the good ones.
fn play(model: &mut Model, attacker: &sheaf::format::certificate::Certificate, bogus: &[Bogus]) -> Vec<ObjectId> {
    // Ids of good ones do not depend on the attacker.
    let good: Vec<ObjectId> = (0..14).map(|day| model.snapshot(&stolen(), "ana", at(day, 20))).collect();
    for hour in 0..14 * 24 {
        for one in bogus.iter().filter(|one| one.hour == hour) {
            let id = model.snapshot(attacker, "ana", one.claim);
            model.set_offset(id, one.offset);
            let Some(hide) = one.hide else { continue };
            let entries = &model.seen.log.entries;
            let previous = match (hide, entries.len().checked_sub(hide)) {
                (0, _) => model.heads(),
                (_, Some(at)) => entries.get(at).map(|entry| entry.id).into_iter().collect(),
                _ => Vec::new(),
            };
            let mut subjects = vec![id];
            if one.names_good {
                subjects.extend(&good[..usize::try_from(hour / 24).expect("small")]);
            }
            model.entry(attacker, EntryKind::Backup, one.claim, &subjects, &previous);
        }
        let day = hour / 24;
        if hour % 24 == 20 {
            model.tell(&stolen(), EntryKind::Backup, at(day, 20), &[good[usize::try_from(day).expect("small")]]);
        }
        if hour % 24 == 21 {
            model.tell(&operator(), EntryKind::Forgotten, at(day, 21), &[]);
        }
    }
    good
}

/// Less than a day in the future, and more than a day behind the operator's entry that follows: it does not count as made now.
#[test]
fn a_time_ahead_of_now_has_to_fit_its_place_as_well() {
    let (mut calm, mut model) = (Model::new(), Model::new());
    let now = at(14, 6);
    play(&mut calm, &stolen(), &[]);
    let bogus = Bogus { hour: 12 * 24 + 22, claim: at(14, 22) + 1, offset: 0, hide: Some(0), names_good: false };
    play(&mut model, &stolen(), &[bogus]);
    let policy = Policy { within: "1d".parse().ok(), ..Policy::default() };
    let (without, with) = (calm.kept(&policy, now), model.kept(&policy, now));
    assert!(without.is_subset(&with), "{without:?}, {with:?}");
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..proptest::test_runner::Config::with_cases(300) })]

    #[test]
    fn whatever_is_added_with_odd_times_drops_nothing(all in collection::vec(bogus(), 0..40), policy in policy()) {
        let odd: Vec<Bogus> = all.into_iter().filter(|one| one.claim.saturating_sub(START + one.hour * HOUR).unsigned_abs() > 2 * DAY as u64).collect();
        let (mut calm, mut model) = (Model::new(), Model::new());
        let now = at(14, 6);
        let good = play(&mut calm, &stolen(), &[]);
        prop_assert_eq!(&play(&mut model, &stolen(), &odd), &good);
        let (without, with) = (calm.kept(&policy, now), model.kept(&policy, now));
        prop_assert!(without.is_subset(&with), "{:?} dropped", without.difference(&with));
    }

    #[test]
    fn whatever_another_key_adds_changes_nothing(all in collection::vec(bogus(), 0..40), policy in policy()) {
        let (mut calm, mut model) = (Model::new(), Model::new());
        let now = at(14, 6);
        let good: BTreeSet<ObjectId> = play(&mut calm, &stolen(), &[]).into_iter().collect();
        play(&mut model, &key(3, Role::Depositor), &all);
        let of_good: BTreeSet<ObjectId> = model.kept(&policy, now).intersection(&good).copied().collect();
        prop_assert_eq!(calm.kept(&policy, now), of_good);
    }
}
