//! Dates and times as DOS had them. FAT and exFAT have them in common.
//!
//! Always true here: a moment that is told is one of the calendar, from 1980 to 2107.
//!
//! Structures: Microsoft FAT specification 1.03, "Date and Time Formats"; Microsoft exFAT specification, section 7.4.8.

use crate::layout::files::Moment;

/// The moment of a date and a time, as if both were in UTC; `None` where there is no such date or time. `hundredths` are 0 to 199, for
/// the seconds are even; other ones are left out.
pub(in crate::layout) fn moment(date: u16, time: u16, hundredths: u8) -> Option<Moment> {
    let (year, month, day) = (1980 + u32::from(date >> 9), usize::from(date >> 5 & 15), u32::from(date & 31));
    let (hour, minute, second) = (u32::from(time >> 11), u32::from(time >> 5 & 63), u32::from(time & 31) * 2);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (before, from) = lengths.split_at_checked(month.checked_sub(1)?)?;
    if day == 0 || day > *from.first()? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years = year - 1;
    // Days from 0001-01-01 on; 719162 of them are before 1970-01-01.
    let days = years * 365 + years / 4 - years / 100 + years / 400 + before.iter().sum::<u32>() + day - 1 - 719_162;
    let hundredths = if hundredths < 200 { u32::from(hundredths) } else { 0 };
    let seconds = hour * 3600 + minute * 60 + second + hundredths / 100;
    Some(Moment { seconds: i64::from(days) * 86_400 + i64::from(seconds), nanoseconds: hundredths % 100 * 10_000_000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn date(year: u16, month: u16, day: u16) -> u16 {
        (year - 1980) << 9 | month << 5 | day
    }

    const fn time(hour: u16, minute: u16, second: u16) -> u16 {
        hour << 11 | minute << 5 | (second / 2)
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        // From `date -u -d … +%s`.
        for (date, time, hundredths, seconds, nanoseconds) in [
            (date(1980, 1, 1), 0, 0, 315_532_800, 0),
            (date(2000, 2, 29), time(23, 59, 58), 199, 951_868_799, 990_000_000),
            (date(2000, 3, 1), 0, 200, 951_868_800, 0),
            (date(2100, 2, 28), time(12, 0, 0), 50, 4_107_499_200, 500_000_000),
            (date(2100, 3, 1), time(12, 0, 0), 0, 4_107_585_600, 0),
            (date(2107, 12, 31), time(23, 59, 58), 0, 4_354_819_198, 0),
        ] {
            assert_eq!(moment(date, time, hundredths), Some(Moment { seconds, nanoseconds }));
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for wrong in [0, date(2001, 0, 1), date(2001, 13, 1), date(2001, 1, 0), date(2001, 2, 29), date(2100, 2, 29)] {
            assert_eq!(moment(wrong, 0, 0), None, "{wrong:#x}");
        }
        for wrong in [time(24, 0, 0), time(0, 60, 0), time(0, 0, 60)] {
            assert_eq!(moment(date(2001, 1, 1), wrong, 0), None, "{wrong:#x}");
        }
    }
}
