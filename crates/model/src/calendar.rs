//! Parts of a date: month, ISO weekday, hour; proleptic Gregorian, UTC.

pub const MICROSECONDS_A_DAY: i64 = 86_400_000_000;
const MICROSECONDS_AN_HOUR: i64 = 3_600_000_000;
/// Days from 0000-03-01 to 2000-01-01: years that begin in March have the leap day at their end.
const MARCH_ERA: i64 = 730_425;
const DAYS_IN_400_YEARS: i64 = 146_097;

#[inline]
pub fn day_of(microseconds: i64) -> i64 {
    microseconds.div_euclid(MICROSECONDS_A_DAY)
}

/// 0 to 23.
#[inline]
pub fn hour_of(microseconds: i64) -> i64 {
    microseconds.rem_euclid(MICROSECONDS_A_DAY) / MICROSECONDS_AN_HOUR
}

/// 1 (Monday) to 7; 2000-01-01 was a Saturday.
#[inline]
pub fn weekday_of(days: i64) -> i64 {
    (days + 5).rem_euclid(7) + 1
}

/// 1 to 12.
#[inline]
pub fn month_of(days: i64) -> i64 {
    let of_era = (days + MARCH_ERA).rem_euclid(DAYS_IN_400_YEARS);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    }
}

/// Days from 2000-01-01 to a date of the years 1 to 9999; None where there is no such date.
pub fn days_of(year: u32, month: u32, day: u32) -> Option<i32> {
    const LENGTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = *LENGTHS.get(month.checked_sub(1)? as usize)? + u32::from(month == 2 && leap);
    if !(1..=9_999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March.
    let (year, from_march) = if month > 2 { (i64::from(year), month - 3) } else { (i64::from(year) - 1, month + 9) };
    let of_year = i64::from((153 * from_march + 2) / 5 + day - 1);
    Some((365 * year + year / 4 - year / 100 + year / 400 + of_year - MARCH_ERA) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_leap(year: i64) -> bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    #[test]
    fn months_and_weekdays_follow_the_calendar_day_by_day() {
        // A walk from 2000-01-01 in both directions over more than the 400 years after which the calendar repeats.
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let length = |year, month: usize| lengths[month] + i64::from(month == 1 && is_leap(year));
        let (mut day, mut year) = (0i64, 2000i64);
        while year < 2450 {
            for month in 0..12 {
                for of_month in 0..length(year, month) {
                    assert_eq!(month_of(day), month as i64 + 1, "day {day}");
                    assert_eq!(days_of(year as u32, month as u32 + 1, of_month as u32 + 1), Some(day as i32));
                    day += 1;
                }
            }
            year += 1;
        }
        let (mut day, mut year) = (-1i64, 1999i64);
        while year > -450 {
            for month in (0..12).rev() {
                for _ in 0..length(year, month) {
                    assert_eq!(month_of(day), month as i64 + 1, "day {day}");
                    day -= 1;
                }
            }
            year -= 1;
        }
        assert_eq!([weekday_of(0), weekday_of(1), weekday_of(2), weekday_of(-1)], [6, 7, 1, 5]);
    }

    #[test]
    fn hours_and_days_round_down_before_the_epoch_too() {
        assert_eq!((day_of(-1), hour_of(-1)), (-1, 23));
        assert_eq!((day_of(0), hour_of(0)), (0, 0));
        assert_eq!((day_of(MICROSECONDS_A_DAY), hour_of(MICROSECONDS_A_DAY - 1)), (1, 23));
    }

    #[test]
    fn the_ends_of_the_range_are_no_trouble() {
        for micros in [i64::MIN, i64::MAX] {
            assert!((1..=12).contains(&month_of(day_of(micros))));
            assert!((1..=7).contains(&weekday_of(day_of(micros))));
            assert!((0..24).contains(&hour_of(micros)));
        }
        for days in [i32::MIN, i32::MAX] {
            assert!((1..=12).contains(&month_of(i64::from(days))));
        }
    }
}
