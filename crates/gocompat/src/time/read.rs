//! Reads a time in a layout, as `time.Parse` does.

use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};

use super::GoTime;
use super::layout::{DAYS, Element, MONTHS, next_element};
use crate::strconv::GoQuoted;

/// The parts of a time that were read.
struct Parts {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    is_afternoon: Option<bool>,
    offset: Option<i32>,
}

/// Reads a time in a layout. A time without a zone is in UTC.
///
/// # Errors
/// The text does not follow the layout, or the time does not exist. The message is Go's.
pub fn parse_time(layout: &str, text: &str) -> Result<GoTime, String> {
    let mut parts = Parts {
        year: 0,
        month: None,
        day: None,
        day_of_year: None,
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
        is_afternoon: None,
        offset: None,
    };
    let quoted = |text: &str| GoQuoted(text).to_string();
    let fault = |rest: &str, element: &str| {
        let (text, layout) = (quoted(text), quoted(layout));
        format!("parsing time {text} as {layout}: cannot parse {} as {}", quoted(rest), quoted(element))
    };
    let (mut rest, mut layout_rest) = (text, layout);
    loop {
        let Some((before, element, after)) = next_element(layout_rest) else {
            let Some(extra) = rest.strip_prefix(layout_rest) else { return Err(fault(rest, layout_rest)) };
            if !extra.is_empty() {
                return Err(format!("parsing time {}: extra text: {}", quoted(text), quoted(extra)));
            }
            break;
        };
        rest = rest.strip_prefix(before).ok_or_else(|| fault(rest, before))?;
        let shown = &layout_rest[before.len()..layout_rest.len() - after.len()];
        rest = parts.read(element, rest).ok_or_else(|| fault(rest, shown))?;
        // Digits after the seconds need no element of their own.
        if matches!(element, Element::Second { .. }) && rest.starts_with(['.', ',']) {
            let has_own = next_element(after)
                .is_some_and(|(before, next, _)| before.is_empty() && matches!(next, Element::Fraction { .. }));
            if !has_own && let Some((nanosecond, behind)) = fraction(rest) {
                parts.nanosecond = nanosecond;
                rest = behind;
            }
        }
        layout_rest = after;
    }
    let part = if matches!(parts.month, Some(1..=12) | None) { "day" } else { "month" };
    parts.time().ok_or_else(|| format!("parsing time {}: {part} out of range", quoted(text)))
}

/// Between `least` and `most` digits, and what is behind them.
fn digits(text: &str, least: usize, most: usize) -> Option<(i32, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if length < least {
        return None;
    }
    Some((text[..length].parse().ok()?, &text[length..]))
}

/// Digits after a point or comma as nanoseconds, and what is behind them.
fn fraction(text: &str) -> Option<(i32, &str)> {
    let after = text.strip_prefix(['.', ','])?;
    let length = after.bytes().take_while(u8::is_ascii_digit).count();
    let nanoseconds: String = after[..length].chars().chain(std::iter::repeat('0')).take(9).collect();
    (length > 0).then_some(())?;
    Some((nanoseconds.parse().ok()?, &after[length..]))
}

/// The index of the name that a text begins with, in any case, and what is behind it.
fn name<'a>(text: &'a str, names: &[&str], length: Option<usize>) -> Option<(usize, &'a str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = &name[..length.unwrap_or(name.len())];
        let begin = text.get(..name.len())?;
        begin.eq_ignore_ascii_case(name).then(|| (index, &text[name.len()..]))
    })
}

impl Parts {
    /// Reads an element from the beginning of a text and returns what is behind it.
    fn read<'a>(&mut self, element: Element, text: &'a str) -> Option<&'a str> {
        let number = |least: usize, most: usize, range: std::ops::RangeInclusive<i32>| {
            digits(text, least, most).filter(|(value, _)| range.contains(value))
        };
        let least = |padded: bool| if padded { 2 } else { 1 };
        match element {
            Element::LongMonth | Element::Month => {
                let length = (element == Element::Month).then_some(3);
                let (index, rest) = name(text, &MONTHS, length)?;
                self.month = Some(index as i8 + 1);
                Some(rest)
            }
            Element::MonthNumber { padded } => {
                let (month, rest) = digits(text, least(padded), 2)?;
                self.month = Some(month as i8);
                Some(rest)
            }
            Element::LongWeekday | Element::Weekday => {
                let length = (element == Element::Weekday).then_some(3);
                name(text, &DAYS, length).map(|(_, rest)| rest)
            }
            Element::Day { pad } => {
                let text = if pad == super::layout::Pad::Space { text.trim_start_matches(' ') } else { text };
                let (day, rest) = digits(text, least(pad == super::layout::Pad::Zero), 2)?;
                self.day = Some(day as i8);
                Some(rest)
            }
            Element::DayOfYear { .. } => {
                let (day, rest) = digits(text.trim_start_matches(' '), 1, 3)?;
                self.day_of_year = Some(day as i16);
                Some(rest)
            }
            Element::Hour => number(1, 2, 0..=23).map(|(hour, rest)| {
                self.hour = hour as i8;
                rest
            }),
            Element::Hour12 { padded } => number(least(padded), 2, 0..=12).map(|(hour, rest)| {
                self.hour = hour as i8;
                rest
            }),
            Element::Minute { padded } => number(least(padded), 2, 0..=59).map(|(minute, rest)| {
                self.minute = minute as i8;
                rest
            }),
            Element::Second { padded } => number(least(padded), 2, 0..=59).map(|(second, rest)| {
                self.second = second as i8;
                rest
            }),
            Element::LongYear => digits(text, 4, 4).map(|(year, rest)| {
                self.year = year as i16;
                rest
            }),
            Element::Year => digits(text, 2, 2).map(|(year, rest)| {
                self.year = if year >= 69 { 1900 } else { 2000 } + year as i16;
                rest
            }),
            Element::UpperHalf | Element::LowerHalf => {
                let names = if element == Element::UpperHalf { ["AM", "PM"] } else { ["am", "pm"] };
                let half = names.iter().position(|name| text.starts_with(name))?;
                self.is_afternoon = Some(half == 1);
                Some(&text[2..])
            }
            Element::ZoneName => {
                let length = text.bytes().take_while(u8::is_ascii_uppercase).count();
                let is_name = (3..=5).contains(&length);
                if is_name && &text[..length] == "UTC" {
                    self.offset = Some(0);
                }
                is_name.then(|| &text[length..])
            }
            Element::Offset { .. } => self.read_offset(element, text),
            Element::Fraction { .. } => match fraction(text) {
                Some((nanosecond, rest)) => {
                    self.nanosecond = nanosecond;
                    Some(rest)
                }
                None => matches!(element, Element::Fraction { exact: false, .. }).then_some(text),
            },
        }
    }

    fn read_offset<'a>(&mut self, element: Element, text: &'a str) -> Option<&'a str> {
        let Element::Offset { zulu, colon, minutes, seconds } = element else { return None };
        if let Some(rest) = text.strip_prefix('Z').filter(|_| zulu) {
            self.offset = Some(0);
            return Some(rest);
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (mut total, mut rest) = digits(&text[1..], 2, 2).map(|(hours, rest)| (hours * 3600, rest))?;
        for (_, unit) in [(minutes, 60), (seconds, 1)].into_iter().filter(|(is_there, _)| *is_there) {
            rest = if colon { rest.strip_prefix(':')? } else { rest };
            let (value, behind) = digits(rest, 2, 2)?;
            total += value * unit;
            rest = behind;
        }
        self.offset = Some(sign * total);
        Some(rest)
    }

    fn time(self) -> Option<GoTime> {
        let date = match self.day_of_year {
            Some(day) => {
                Date::new(self.year, 1, 1).ok()?.checked_add(jiff::Span::new().days(i64::from(day) - 1)).ok()?
            }
            None => Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?,
        };
        let hour = match self.is_afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let time = Time::new(hour, self.minute, self.second, self.nanosecond).ok()?;
        let offset = Offset::from_seconds(self.offset.unwrap_or(0)).ok()?;
        let zone = if offset.seconds() == 0 { TimeZone::UTC } else { TimeZone::fixed(offset) };
        Some(GoTime { moment: offset.to_timestamp(date.to_datetime(time)).ok()?, zone })
    }
}
