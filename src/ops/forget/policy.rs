//! Which snapshots of a group a policy keeps, and why.
//!
//! Always true here:
//! - Nothing is kept or dropped here but by its time and its tags: whether the time may be believed is asked before ([`super::place`]).
//! - A snapshot is judged in its own local time: the times of all others are read in its zone. So one that claims an odd zone is read oddly
//!   itself, and changes nothing for the others; and where all zones are the same, or change with the season, these are the buckets that
//!   people know.
//! - Of several with one and the same time none is newer: they stay or go together, and count once.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Span, Timestamp};
use std::fmt;
use std::str::FromStr;

/// The furthest that a zone lies from UTC, in seconds; one that claims to lie further is read as UTC.
const MAX_OFFSET_S: i32 = 14 * 3600;
/// Zones are read to the quarter of an hour.
const QUARTER_S: i32 = 900;

/// What to keep. Zero keeps nothing by that rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// So many of the newest.
    pub last: u32,
    /// The newest of each hour, for so many hours that have snapshots.
    pub hourly: u32,
    /// The newest of each day.
    pub daily: u32,
    /// The newest of each ISO week, which begins on a Monday.
    pub weekly: u32,
    /// The newest of each month.
    pub monthly: u32,
    /// The newest of each year.
    pub yearly: u32,
    /// All that were made within this time before the newest one.
    pub within: Option<Duration>,
    /// All that have one of these tags.
    pub tags: Vec<String>,
}

impl Policy {
    /// True for a policy without a rule, which would keep nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A time such as `2y5m7d3h`: years, months, days and hours of the calendar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Duration {
    /// Years.
    pub years: u16,
    /// Months.
    pub months: u16,
    /// Days.
    pub days: u16,
    /// Hours.
    pub hours: u16,
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a time such as 30d or 2y5m7d3h was expected".to_owned();
        let mut found = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at_checked(digits).ok_or_else(wrong)?;
            let number = number.parse().map_err(|_| wrong())?;
            let unit = behind.chars().next().ok_or_else(wrong)?;
            let place = match unit {
                'y' => &mut found.years,
                'm' => &mut found.months,
                'd' => &mut found.days,
                'h' => &mut found.hours,
                _ => return Err(wrong()),
            };
            if std::mem::replace(place, number) != 0 {
                return Err(wrong());
            }
            rest = behind.get(1..).ok_or_else(wrong)?;
        }
        if found == Self::default() { Err(wrong()) } else { Ok(found) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A snapshot as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Dated<'a> {
    /// When it was made.
    pub time: Timestamp,
    /// What its local time differs from UTC by, as it says, in seconds.
    pub utc_offset_s: i32,
    /// Its tags.
    pub tags: &'a [String],
}

impl Dated<'_> {
    /// The zone that it is judged in.
    fn zone(&self) -> Offset {
        let is_possible = (-MAX_OFFSET_S..=MAX_OFFSET_S).contains(&self.utc_offset_s);
        let seconds = if is_possible { self.utc_offset_s.div_euclid(QUARTER_S) * QUARTER_S } else { 0 };
        Offset::from_seconds(seconds).unwrap_or(Offset::UTC)
    }
}

/// A rule that keeps the newest of each bucket.
struct Rule {
    name: &'static str,
    keep: u32,
    /// The bucket of a local time. Later times have no smaller ones.
    bucket: fn(DateTime) -> i64,
}

impl Policy {
    fn rules(&self) -> [Rule; 5] {
        let rule = |name, keep, bucket| Rule { name, keep, bucket };
        [
            rule("hourly snapshot", self.hourly, |time| day(time) * 100 + i64::from(time.hour())),
            rule("daily snapshot", self.daily, day),
            rule("weekly snapshot", self.weekly, |time| {
                let week = time.date().iso_week_date();
                i64::from(week.year()) * 100 + i64::from(week.week())
            }),
            rule("monthly snapshot", self.monthly, |time| i64::from(time.year()) * 100 + i64::from(time.month())),
            rule("yearly snapshot", self.yearly, |time| i64::from(time.year())),
        ]
    }

    /// Why each of these is kept; one for which nothing is said is not. They are those of one group that count.
    pub fn judge(&self, snapshots: &[Dated<'_>]) -> Vec<Vec<String>> {
        let mut reasons = vec![Vec::new(); snapshots.len()];
        let mut newest_first: Vec<usize> = (0..snapshots.len()).collect();
        newest_first.sort_by_key(|index| std::cmp::Reverse(snapshots.get(*index).map(|snapshot| snapshot.time)));
        let newest_first: Vec<(usize, Dated<'_>)> =
            newest_first.into_iter().filter_map(|index| Some((index, *snapshots.get(index)?))).collect();
        let moment = |snapshot: &Dated<'_>| snapshot.time.as_millisecond();
        keep_buckets(&newest_first, self.last, moment, |_| true, "last snapshot", &mut reasons);
        let mut zones: Vec<Offset> = snapshots.iter().map(Dated::zone).collect();
        zones.sort_unstable();
        zones.dedup();
        for zone in zones {
            let is_own = |snapshot: &Dated<'_>| snapshot.zone() == zone;
            for Rule { name, keep, bucket } in self.rules() {
                let bucket = |snapshot: &Dated<'_>| bucket(zone.to_datetime(snapshot.time));
                keep_buckets(&newest_first, keep, bucket, is_own, name, &mut reasons);
            }
            let newest = newest_first.first().map(|(_, newest)| zone.to_datetime(newest.time));
            if let (Some(within), Some(newest)) = (self.within, newest) {
                // Longer than time is kept: everything is within.
                let span = Span::new()
                    .try_years(within.years)
                    .and_then(|span| span.try_months(within.months))
                    .and_then(|span| span.try_days(within.days))
                    .and_then(|span| span.try_hours(within.hours));
                let from = span.and_then(|span| newest.checked_sub(span)).unwrap_or(DateTime::MIN);
                let kept = newest_first.iter().filter(|(_, one)| is_own(one) && zone.to_datetime(one.time) >= from);
                kept.for_each(|(index, _)| add(&mut reasons, *index, &format!("within {within}")));
            }
        }
        for (index, snapshot) in newest_first {
            for tag in self.tags.iter().filter(|tag| snapshot.tags.contains(tag)) {
                add(&mut reasons, index, &format!("tag {tag}"));
            }
        }
        reasons
    }
}

fn day(time: DateTime) -> i64 {
    (i64::from(time.year()) * 100 + i64::from(time.month())) * 100 + i64::from(time.day())
}

fn add(reasons: &mut [Vec<String>], index: usize, reason: &str) {
    reasons.get_mut(index).into_iter().for_each(|reasons| reasons.push(reason.to_owned()));
}

/// Keeps what is newest in its bucket, for the first buckets. Of those that are not judged now only the buckets count.
fn keep_buckets<'a>(
    newest_first: &[(usize, Dated<'a>)],
    keep: u32,
    bucket: impl Fn(&Dated<'a>) -> i64,
    is_judged: impl Fn(&Dated<'a>) -> bool,
    name: &str,
    reasons: &mut [Vec<String>],
) {
    let (mut count, mut last) = (0, None);
    for moment in newest_first.chunk_by(|(_, one), (_, next)| one.time == next.time) {
        let Some((_, first)) = moment.first() else { continue };
        let bucket = Some(bucket(first));
        if count >= keep {
            return;
        }
        if bucket != last {
            let judged = moment.iter().filter(|(_, snapshot)| is_judged(snapshot));
            judged.for_each(|(index, _)| add(reasons, *index, name));
            (count, last) = (count + 1, bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of snapshots at these local times, oldest first, as their places.
    fn kept(policy: &Policy, times: &[&str]) -> Vec<usize> {
        let dates: Vec<(Timestamp, i32)> = times.iter().map(|text| moment(text)).collect();
        let dated: Vec<Dated<'_>> = dates
            .iter()
            .map(|(time, utc_offset_s)| Dated { time: *time, utc_offset_s: *utc_offset_s, tags: &[] })
            .collect();
        let reasons = policy.judge(&dated);
        (0..times.len()).filter(|index| !reasons[*index].is_empty()).collect()
    }

    /// `2026-03-28 01:30+01:00`, as an instant and an offset in seconds.
    fn moment(text: &str) -> (Timestamp, i32) {
        let (local, zone) = text.split_at(16);
        let time: Timestamp = format!("{}:00{zone}", local.replace(' ', "T")).parse().expect("a time");
        let sign = if zone.starts_with('-') { -1 } else { 1 };
        let number = |range: std::ops::Range<usize>| zone[range].parse::<i32>().expect("digits");
        (time, sign * (number(1..3) * 3600 + number(4..6) * 60))
    }

    #[test]
    fn the_newest_of_each_bucket_stays_and_empty_buckets_do_not_count() {
        let times = [
            "2025-12-30 10:00+00:00",
            "2026-01-05 10:00+00:00",
            "2026-01-05 10:40+00:00",
            "2026-01-05 11:10+00:00",
            "2026-01-09 08:00+00:00",
            "2026-02-01 08:00+00:00",
        ];
        let with = |change: fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            kept(&policy, &times)
        };
        assert_eq!(with(|policy| policy.last = 2), [4, 5]);
        assert_eq!(with(|policy| policy.hourly = 4), [2, 3, 4, 5]);
        assert_eq!(with(|policy| policy.daily = 3), [3, 4, 5]);
        assert_eq!(with(|policy| policy.daily = 100), [0, 3, 4, 5]);
        assert_eq!(with(|policy| policy.weekly = 2), [4, 5]);
        assert_eq!(with(|policy| policy.monthly = 2), [4, 5]);
        assert_eq!(with(|policy| policy.yearly = 2), [0, 5]);
        assert_eq!(with(|policy| policy.within = "26d22h".parse().ok()), [1, 2, 3, 4, 5]);
        assert_eq!(with(|policy| policy.within = "26d21h".parse().ok()), [3, 4, 5]);
        assert_eq!(with(|policy| policy.within = "1m".parse().ok()), [1, 2, 3, 4, 5]);
        assert_eq!(with(|_| ()), Vec::<usize>::new());
        let all = Policy { last: 1, daily: 2, yearly: 2, ..Policy::default() };
        assert_eq!(kept(&all, &times), [0, 4, 5]);
    }

    #[test]
    fn weeks_are_iso_weeks_at_the_end_of_a_year() {
        // 2026-01-01 is a Thursday: its week began in 2025. 2027-01-03 is a Sunday of week 53 of 2026.
        let times = [
            "2025-12-28 23:00+00:00",
            "2025-12-29 01:00+00:00",
            "2026-01-01 09:00+00:00",
            "2026-01-04 23:00+00:00",
            "2026-01-05 00:30+00:00",
            "2026-12-31 12:00+00:00",
            "2027-01-03 12:00+00:00",
            "2027-01-04 12:00+00:00",
        ];
        assert_eq!(kept(&Policy { weekly: 100, ..Policy::default() }, &times), [0, 3, 4, 6, 7]);
        assert_eq!(kept(&Policy { yearly: 100, ..Policy::default() }, &times), [1, 5, 7]);
    }

    #[test]
    fn days_and_hours_are_local_also_where_the_clock_is_changed() {
        // Summer time begins: 01:59+01:00 is followed by 03:00+02:00. And it ends: 02:59+02:00 is followed by 02:00+01:00.
        let spring =
            ["2026-03-29 01:50+01:00", "2026-03-29 03:10+02:00", "2026-03-29 23:30+02:00", "2026-03-30 00:10+02:00"];
        assert_eq!(kept(&Policy { daily: 9, ..Policy::default() }, &spring), [2, 3]);
        assert_eq!(kept(&Policy { hourly: 9, ..Policy::default() }, &spring), [0, 1, 2, 3]);
        let autumn =
            ["2026-10-24 23:30+02:00", "2026-10-25 02:40+02:00", "2026-10-25 02:10+01:00", "2026-10-25 23:30+01:00"];
        assert_eq!(kept(&Policy { daily: 9, ..Policy::default() }, &autumn), [0, 3]);
        assert_eq!(kept(&Policy { hourly: 9, ..Policy::default() }, &autumn), [0, 1, 2, 3]);
        // The same instant is another day elsewhere.
        let times = ["2026-05-01 23:00-05:00", "2026-05-02 08:00-05:00"];
        assert_eq!(kept(&Policy { daily: 9, ..Policy::default() }, &times), [0, 1]);
        let times = ["2026-05-02 04:00+00:00", "2026-05-02 13:00+00:00"];
        assert_eq!(kept(&Policy { daily: 9, ..Policy::default() }, &times), [1]);
    }

    #[test]
    fn an_odd_zone_changes_nothing_for_others() {
        let day = ["2026-05-01 10:00+00:00", "2026-05-02 10:00+00:00", "2026-05-03 10:00+00:00"].map(moment);
        let policy = Policy { daily: 3, hourly: 3, monthly: 2, ..Policy::default() };
        let dated = |(time, utc_offset_s): (Timestamp, i32)| Dated { time, utc_offset_s, tags: &[] };
        let mut all: Vec<Dated<'_>> = day.map(dated).to_vec();
        let alone = policy.judge(&all);
        // Sixty, all of them made at the minute of the newest, in sixty zones.
        all.extend((0..60).map(|at| Dated { utc_offset_s: (at - 30) * 1800, ..dated(day[2]) }));
        all.extend([i32::MIN, i32::MAX].map(|utc_offset_s| Dated { utc_offset_s, ..dated(day[2]) }));
        assert_eq!(policy.judge(&all)[..3], alone[..]);
        assert_eq!(alone.iter().filter(|reasons| !reasons.is_empty()).count(), 3);
    }

    #[test]
    fn equal_times_stay_together_and_count_once() {
        let times =
            ["2026-05-01 10:00+00:00", "2026-05-02 10:00+00:00", "2026-05-02 10:00+00:00", "2026-05-02 10:00+00:00"];
        assert_eq!(kept(&Policy { last: 2, ..Policy::default() }, &times), [0, 1, 2, 3]);
        assert_eq!(kept(&Policy { daily: 1, ..Policy::default() }, &times), [1, 2, 3]);
    }

    #[test]
    fn tags_keep_and_durations_are_read() {
        let tags = ["office".to_owned()];
        let time = moment("2026-05-01 10:00+00:00").0;
        let tagged = Dated { time, utc_offset_s: 0, tags: &tags };
        let policy = Policy { tags: vec!["office".to_owned(), "home".to_owned()], ..Policy::default() };
        assert_eq!(policy.judge(&[tagged, Dated { tags: &[], ..tagged }]), [vec!["tag office".to_owned()], vec![]]);
        let read = |text: &str| text.parse::<Duration>();
        assert_eq!(read("2y5m7d3h"), Ok(Duration { years: 2, months: 5, days: 7, hours: 3 }));
        assert_eq!(read("30d").map(|within| within.to_string()), Ok("30d".to_owned()));
        for wrong in ["", "d", "3", "3x", "1d2d", "-1d", "0d", "99999d", "3ü", "1 d"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // The longest there is keeps all.
        let longest = Policy { within: read("65535y").ok(), ..Policy::default() };
        assert_eq!(kept(&longest, &["1970-01-01 00:00+00:00", "2026-05-02 13:00+00:00"]), [0, 1]);
    }
}
