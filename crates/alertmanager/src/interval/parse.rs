//! Ranges of time as the configuration writes them: `monday:friday`, `-5:-1`, `09:00`.

use std::fmt;

use jiff::tz::TimeZone;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use super::{DayPart, Range};

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A scalar as text, also if it looks like a number.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a range")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_str(AnyScalar)
    }
}

/// Reads a list that may be null.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Option::deserialize(deserializer)
}

fn ranges<'de, D: Deserializer<'de>>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<Range, String>,
) -> Result<Option<Vec<Range>>, D::Error> {
    let Some(texts) = list::<D, Text>(deserializer)? else { return Ok(None) };
    let parsed = texts.iter().map(|text| parse(&text.0.to_lowercase()).map_err(D::Error::custom));
    parsed.collect::<Result<_, _>>().map(Some)
}

fn print<S: Serializer>(
    ranges: &Option<Vec<Range>>,
    serializer: S,
    name: impl Fn(i32) -> String,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    for range in ranges.iter().flatten() {
        match range.first == range.last {
            true => list.serialize_element(&name(range.first))?,
            false => list.serialize_element(&format!("{}:{}", name(range.first), name(range.last)))?,
        }
    }
    list.end()
}

/// Splits `first:last`; a single member is both.
fn range(text: &str, member: impl Fn(&str) -> Result<i32, String>) -> Result<Range, String> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [one] => member(one).map(|one| Range { first: one, last: one }),
        [first, last] => Ok(Range { first: member(first)?, last: member(last)? }),
        _ => Err(format!("couldn't parse range {text}, invalid format")),
    }
}

fn number(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn name(names: &[&str], index: i32) -> String {
    usize::try_from(index).ok().and_then(|index| names.get(index)).map_or(index.to_string(), ToString::to_string)
}

/// Days of the week.
pub(super) mod weekdays {
    use super::*;

    fn parse(text: &str) -> Result<Range, String> {
        range(text, |day| {
            let index = WEEKDAYS.iter().position(|name| *name == day);
            index.map(|index| index as i32).ok_or_else(|| format!("{day} is not a valid weekday"))
        })
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Range>>, D::Error> {
        ranges(d, parse)
    }

    pub(in super::super) fn serialize<S: Serializer>(days: &Option<Vec<Range>>, s: S) -> Result<S::Ok, S::Error> {
        print(days, s, |day| name(&WEEKDAYS, day))
    }
}

/// Days of the month.
pub(super) mod days_of_month {
    use super::*;

    /// Days that every month has.
    const SHORTEST: i32 = 28;

    fn parse(text: &str) -> Result<Range, String> {
        let Range { first, last } = range(text, number)?;
        if let Some(day) = [first, last].into_iter().find(|day| *day == 0 || day.abs() > 31) {
            return Err(format!("{day} is not a valid day of the month: out of range"));
        }
        if first < 0 && last > 0 {
            return Err("end day must be negative if start day is negative".into());
        }
        let from_start = |day: i32| if day < 0 { SHORTEST + day } else { day };
        if from_start(first) > from_start(last) {
            return Err(format!("end day {last} is always before start day {first}"));
        }
        Ok(Range { first, last })
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Range>>, D::Error> {
        ranges(d, parse)
    }

    pub(in super::super) fn serialize<S: Serializer>(days: &Option<Vec<Range>>, s: S) -> Result<S::Ok, S::Error> {
        print(days, s, |day| day.to_string())
    }
}

/// Months.
pub(super) mod months {
    use super::*;

    fn parse(text: &str) -> Result<Range, String> {
        let found = range(text, |month| match MONTHS.iter().position(|name| *name == month) {
            Some(index) => Ok(index as i32 + 1),
            None => month.parse().map_err(|_| format!("{month} is not a valid month")),
        })?;
        if [found.first, found.last].iter().any(|month| !(1..=12).contains(month)) {
            return Err(format!("{text} is not a valid month: out of range"));
        }
        if found.first > found.last {
            let (first, last) = (name(&MONTHS, found.first - 1), name(&MONTHS, found.last - 1));
            return Err(format!("end month {last} is before start month {first}"));
        }
        Ok(found)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Range>>, D::Error> {
        ranges(d, parse)
    }

    pub(in super::super) fn serialize<S: Serializer>(months: &Option<Vec<Range>>, s: S) -> Result<S::Ok, S::Error> {
        print(months, s, |month| month.to_string())
    }
}

/// Years.
pub(super) mod years {
    use super::*;

    fn parse(text: &str) -> Result<Range, String> {
        let found = range(text, number)?;
        if found.first > found.last {
            return Err(format!("end year {} is before start year {}", found.last, found.first));
        }
        Ok(found)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Range>>, D::Error> {
        ranges(d, parse)
    }

    pub(in super::super) fn serialize<S: Serializer>(years: &Option<Vec<Range>>, s: S) -> Result<S::Ok, S::Error> {
        print(years, s, |year| year.to_string())
    }
}

/// Locations by their names in the time zone database.
pub(super) mod location {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<TimeZone>, D::Error> {
        let Some(name) = Option::<String>::deserialize(d)? else { return Ok(None) };
        let zone = match name.as_str() {
            "" | "UTC" => Ok(TimeZone::UTC),
            "Local" => Ok(TimeZone::system()),
            name => TimeZone::get(name),
        };
        zone.map(Some).map_err(|_| D::Error::custom(format!("unknown time zone {name}")))
    }

    pub(in super::super) fn serialize<S: Serializer>(zone: &Option<TimeZone>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(zone.as_ref().and_then(TimeZone::iana_name).unwrap_or("UTC"))
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WrittenPart {
    #[serde(default)]
    start_time: String,
    #[serde(default)]
    end_time: String,
}

impl<'de> Deserialize<'de> for DayPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenPart::deserialize(deserializer)?;
        if written.start_time.is_empty() || written.end_time.is_empty() {
            return Err(D::Error::custom("both start and end times must be provided"));
        }
        let start = minutes(&written.start_time).map_err(D::Error::custom)?;
        let end = minutes(&written.end_time).map_err(D::Error::custom)?;
        if start >= end {
            return Err(D::Error::custom("start time cannot be equal or greater than end time"));
        }
        Ok(DayPart { start, end })
    }
}

impl Serialize for DayPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |minute: i32| format!("{:02}:{:02}", minute / 60, minute % 60);
        WrittenPart { start_time: text(self.start), end_time: text(self.end) }.serialize(serializer)
    }
}

/// The minutes since midnight of `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Result<i32, String> {
    let invalid = || format!("couldn't parse timestamp {text}, invalid format");
    let (hour, minute) = text.split_once(':').ok_or_else(invalid)?;
    let is_two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !is_two_digits(hour) || !is_two_digits(minute) {
        return Err(invalid());
    }
    match (hour.parse().map_err(|_| invalid())?, minute.parse().map_err(|_| invalid())?) {
        (24, 0) => Ok(24 * 60),
        (hour @ 0..24, minute @ 0..60) => Ok(hour * 60 + minute),
        _ => Err(invalid()),
    }
}
