//! The calendar: dates and times of day in UTC.

/// A moment in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Astronomical year.
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
    /// 0 to 23.
    pub(crate) hour: i64,
    /// 0 to 59.
    pub(crate) minute: i64,
    /// 0 to 59.
    pub(crate) second: i64,
    /// Days since 1970-01-01.
    days: i64,
}

/// The first second of the calendar.
const FIRST_SECOND: i128 = -9_223_372_028_741_760_000;

impl Moment {
    /// The moment `seconds` after the Unix epoch. As in Go, seconds before the year -292277022400 wrap around to the far future.
    pub(crate) fn at_seconds(seconds: i64) -> Self {
        let mut seconds = i128::from(seconds);
        if seconds < FIRST_SECOND {
            seconds += 1 << 64;
        }
        let (days, of_day) = (seconds.div_euclid(86_400) as i64, seconds.rem_euclid(86_400) as i64);
        // Years start in March, so that the leap day is the last day of a year. An era has 400 years.
        let from_march = days + 719_468;
        let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Moment {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            days,
        }
    }

    /// 0 for Sunday to 6.
    pub(crate) fn weekday(&self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    fn is_leap(&self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    /// The number of days in the month, 28 to 31.
    pub(crate) fn days_in_month(&self) -> i64 {
        match self.month {
            2 => 28 + i64::from(self.is_leap()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// 1 to 366.
    pub(crate) fn day_of_year(&self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        BEFORE[(self.month - 1) as usize] + self.day + i64::from(self.month > 2 && self.is_leap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: i64) -> [i64; 3] {
        let Moment { year, month, day, .. } = Moment::at_seconds(seconds);
        [year, month, day]
    }

    fn time(seconds: i64) -> [i64; 3] {
        let Moment { hour, minute, second, .. } = Moment::at_seconds(seconds);
        [hour, minute, second]
    }

    #[test]
    fn the_epoch_was_a_thursday() {
        assert_eq!(date(0), [1970, 1, 1]);
        assert_eq!(Moment::at_seconds(0).weekday(), 4);
        assert_eq!(Moment::at_seconds(0).day_of_year(), 1);
    }

    #[test]
    fn a_leap_day_is_the_sixtieth_day() {
        let leap_day = Moment::at_seconds(951_782_400);
        assert_eq!(date(951_782_400), [2000, 2, 29]);
        assert_eq!(leap_day.day_of_year(), 60);
        assert_eq!(leap_day.weekday(), 2);
        assert_eq!(leap_day.days_in_month(), 29);
    }

    #[test]
    fn a_leap_year_has_366_days() {
        assert_eq!(Moment::at_seconds(978_220_800).day_of_year(), 366);
        assert_eq!(Moment::at_seconds(1_009_756_800).day_of_year(), 365);
    }

    #[test]
    fn centuries_are_leap_years_only_every_400_years() {
        assert_eq!(Moment::at_seconds(-2_206_310_400).days_in_month(), 28);
        assert_eq!(Moment::at_seconds(951_782_400).days_in_month(), 29);
    }

    #[test]
    fn the_second_before_the_epoch_is_the_last_of_1969() {
        assert_eq!(date(-1), [1969, 12, 31]);
        assert_eq!(time(-1), [23, 59, 59]);
    }

    #[test]
    fn the_ends_of_the_range_of_seconds_have_a_date() {
        Moment::at_seconds(i64::MIN / 2);
        assert_eq!(date(i64::MIN), [292_277_026_596, 12, 4]);
        assert_eq!(time(i64::MIN), [15, 30, 8]);
    }
}
