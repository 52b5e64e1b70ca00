//! Intervals of time in which a route is muted or active: parts of days, days of the week, of the month and of the year, in
//! a location.

mod parse;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// An interval. A moment is in it if it is in one range of each kind that is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeInterval {
    /// Parts of the day.
    #[serde(deserialize_with = "parse::list", skip_serializing_if = "Option::is_none")]
    pub times: Option<Vec<DayPart>>,
    /// Days of the week, 0 is Sunday. A range may go around the end of the week.
    #[serde(with = "parse::weekdays", skip_serializing_if = "Option::is_none")]
    pub weekdays: Option<Vec<Range>>,
    /// Days of the month; negative ones count from its end.
    #[serde(with = "parse::days_of_month", skip_serializing_if = "Option::is_none")]
    pub days_of_month: Option<Vec<Range>>,
    /// Months from 1 to 12.
    #[serde(with = "parse::months", skip_serializing_if = "Option::is_none")]
    pub months: Option<Vec<Range>>,
    /// Years.
    #[serde(with = "parse::years", skip_serializing_if = "Option::is_none")]
    pub years: Option<Vec<Range>>,
    /// The location whose clocks count (default: UTC).
    #[serde(with = "parse::location", skip_serializing_if = "Option::is_none")]
    pub location: Option<TimeZone>,
}

/// A part of a day in minutes since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayPart {
    /// The first minute.
    pub start: i32,
    /// The first minute behind it.
    pub end: i32,
}

/// A range with both its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub first: i32,
    /// The last one.
    pub last: i32,
}

impl Range {
    fn contains(self, number: i32) -> bool {
        self.first <= number && number <= self.last
    }
}

impl TimeInterval {
    /// Whether a moment is in the interval.
    pub fn contains(&self, moment: Timestamp) -> bool {
        let zone = self.location.clone().unwrap_or(TimeZone::UTC);
        let local = moment.to_zoned(zone);
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let weekday = i32::from(local.weekday().to_sunday_zero_offset());
        let (day, days) = (i32::from(local.day()), i32::from(local.days_in_month()));
        let is_in_day_part = |part: DayPart| part.start <= minute && minute < part.end;
        let is_weekday = |range: Range| match range.first <= range.last {
            true => range.contains(weekday),
            false => weekday >= range.first || weekday <= range.last,
        };
        let is_day = |range: Range| {
            let from_start = |day: i32| if day < 0 { days + day + 1 } else { day };
            let (first, last) = (from_start(range.first), from_start(range.last));
            // Days that a month lacks are not moved into it.
            first <= days && first.max(-days) <= day && day <= last.min(days)
        };
        is_in(&self.times, is_in_day_part)
            && is_in(&self.weekdays, is_weekday)
            && is_in(&self.days_of_month, is_day)
            && is_in(&self.months, |range| range.contains(i32::from(local.month())))
            && is_in(&self.years, |range| range.contains(i32::from(local.year())))
    }
}

/// Whether a moment is in one of the ranges. Without a list there is no condition.
fn is_in<R: Copy>(ranges: &Option<Vec<R>>, contains: impl Fn(R) -> bool) -> bool {
    ranges.as_ref().is_none_or(|ranges| ranges.iter().any(|range| contains(*range)))
}

#[cfg(test)]
mod tests;
