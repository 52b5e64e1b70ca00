//! Layouts: the reference time `Mon Jan 2 15:04:05 MST 2006` as an example of what to print.

use super::GoTime;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// An element of a layout that stands for a part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    MonthNumber {
        padded: bool,
    },
    LongWeekday,
    Weekday,
    Day {
        pad: Pad,
    },
    DayOfYear {
        pad: Pad,
    },
    Hour,
    Hour12 {
        padded: bool,
    },
    Minute {
        padded: bool,
    },
    Second {
        padded: bool,
    },
    LongYear,
    Year,
    UpperHalf,
    LowerHalf,
    ZoneName,
    /// An offset; `zulu` prints UTC as `Z`.
    Offset {
        zulu: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// Digits after a point or comma; `exact` keeps zeros at the end.
    Fraction {
        digits: usize,
        exact: bool,
        comma: bool,
    },
}

/// How a number of too few digits is filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pad {
    None,
    Space,
    Zero,
}

const ELEMENTS: &[(&str, Element)] = &[
    ("January", Element::LongMonth),
    ("Jan", Element::Month),
    ("Monday", Element::LongWeekday),
    ("Mon", Element::Weekday),
    ("MST", Element::ZoneName),
    ("002", Element::DayOfYear { pad: Pad::Zero }),
    ("01", Element::MonthNumber { padded: true }),
    ("02", Element::Day { pad: Pad::Zero }),
    ("03", Element::Hour12 { padded: true }),
    ("04", Element::Minute { padded: true }),
    ("05", Element::Second { padded: true }),
    ("06", Element::Year),
    ("15", Element::Hour),
    ("1", Element::MonthNumber { padded: false }),
    ("2006", Element::LongYear),
    ("2", Element::Day { pad: Pad::None }),
    ("__2", Element::DayOfYear { pad: Pad::Space }),
    ("_2", Element::Day { pad: Pad::Space }),
    ("3", Element::Hour12 { padded: false }),
    ("4", Element::Minute { padded: false }),
    ("5", Element::Second { padded: false }),
    ("PM", Element::UpperHalf),
    ("pm", Element::LowerHalf),
    ("-070000", Element::Offset { zulu: false, colon: false, minutes: true, seconds: true }),
    ("-07:00:00", Element::Offset { zulu: false, colon: true, minutes: true, seconds: true }),
    ("-0700", Element::Offset { zulu: false, colon: false, minutes: true, seconds: false }),
    ("-07:00", Element::Offset { zulu: false, colon: true, minutes: true, seconds: false }),
    ("-07", Element::Offset { zulu: false, colon: false, minutes: false, seconds: false }),
    ("Z070000", Element::Offset { zulu: true, colon: false, minutes: true, seconds: true }),
    ("Z07:00:00", Element::Offset { zulu: true, colon: true, minutes: true, seconds: true }),
    ("Z0700", Element::Offset { zulu: true, colon: false, minutes: true, seconds: false }),
    ("Z07:00", Element::Offset { zulu: true, colon: true, minutes: true, seconds: false }),
    ("Z07", Element::Offset { zulu: true, colon: false, minutes: false, seconds: false }),
];

/// The first element of a layout: what is before it, the element, and what is after it.
pub(super) fn next_element(layout: &str) -> Option<(&str, Element, &str)> {
    layout.char_indices().find_map(|(at, _)| {
        let rest = &layout[at..];
        // `_2006` is an underscore and a year.
        if rest.starts_with("_2006") {
            return None;
        }
        let (length, element) = element_at(rest)?;
        Some((&layout[..at], element, &rest[length..]))
    })
}

fn element_at(rest: &str) -> Option<(usize, Element)> {
    if let Some(after) = rest.strip_prefix(['.', ',']) {
        let digit = after.chars().next().filter(|c| matches!(c, '0' | '9'))?;
        let digits = after.bytes().take_while(|byte| char::from(*byte) == digit).count();
        if after[digits..].starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let element = Element::Fraction { digits, exact: digit == '0', comma: rest.starts_with(',') };
        return Some((digits + 1, element));
    }
    let (text, element) =
        ELEMENTS.iter().filter(|(text, _)| rest.starts_with(text)).max_by_key(|(text, _)| text.len())?;
    // `Jan` begins no longer word.
    let is_word = *text == "Jan" && rest[3..].starts_with(|c: char| c.is_ascii_lowercase());
    (!is_word).then_some((text.len(), *element))
}

pub(super) fn format(time: &GoTime, layout: &str) -> String {
    let mut out = String::with_capacity(layout.len() + 8);
    let mut rest = layout;
    while let Some((before, element, after)) = next_element(rest) {
        out.push_str(before);
        print(time, element, &mut out);
        rest = after;
    }
    out + rest
}

fn print(time: &GoTime, element: Element, out: &mut String) {
    let civil = time.civil();
    let number = |value: i64, width: usize, pad: Pad| match pad {
        Pad::None => value.to_string(),
        Pad::Space => format!("{value:>width$}"),
        Pad::Zero => format!("{value:0width$}"),
    };
    let padded = |value: i8, padded: bool| number(value.into(), 2, if padded { Pad::Zero } else { Pad::None });
    let month = MONTHS[(civil.month() - 1) as usize % 12];
    let weekday = DAYS[civil.weekday().to_sunday_zero_offset() as usize % 7];
    let text = match element {
        Element::LongMonth => month.to_string(),
        Element::Month => month[..3].to_string(),
        Element::MonthNumber { padded: fill } => padded(civil.month(), fill),
        Element::LongWeekday => weekday.to_string(),
        Element::Weekday => weekday[..3].to_string(),
        Element::Day { pad } => number(civil.day().into(), 2, pad),
        Element::DayOfYear { pad } => number(civil.date().day_of_year().into(), 3, pad),
        Element::Hour => padded(civil.hour(), true),
        Element::Hour12 { padded: fill } => padded((civil.hour() + 11) % 12 + 1, fill),
        Element::Minute { padded: fill } => padded(civil.minute(), fill),
        Element::Second { padded: fill } => padded(civil.second(), fill),
        Element::LongYear => number(civil.year().into(), 4, Pad::Zero),
        Element::Year => number(i64::from(civil.year()).rem_euclid(100), 2, Pad::Zero),
        Element::UpperHalf => (if civil.hour() >= 12 { "PM" } else { "AM" }).to_string(),
        Element::LowerHalf => (if civil.hour() >= 12 { "pm" } else { "am" }).to_string(),
        Element::ZoneName => match time.abbreviation() {
            name if name.is_empty() => {
                let minutes = time.offset_seconds() % 3600 != 0;
                offset(time, Element::Offset { zulu: false, colon: false, minutes, seconds: false })
            }
            name => name,
        },
        Element::Offset { .. } => offset(time, element),
        Element::Fraction { digits, exact, comma } => {
            let all = format!("{:09}", civil.subsec_nanosecond());
            let mut shown = all[..digits.min(9)].to_string();
            shown.extend(std::iter::repeat_n('0', digits.saturating_sub(9)));
            let shown = if exact { &shown } else { shown.trim_end_matches('0') };
            let point = if comma { "," } else { "." };
            if shown.is_empty() { String::new() } else { format!("{point}{shown}") }
        }
    };
    out.push_str(&text);
}

fn offset(time: &GoTime, element: Element) -> String {
    let Element::Offset { zulu, colon, minutes, seconds } = element else { return String::new() };
    let total = time.offset_seconds();
    if zulu && total == 0 {
        return "Z".into();
    }
    let sign = if total < 0 { '-' } else { '+' };
    let (total, colon) = (total.unsigned_abs(), if colon { ":" } else { "" });
    let mut out = format!("{sign}{:02}", total / 3600);
    if minutes {
        out.push_str(&format!("{colon}{:02}", total / 60 % 60));
    }
    if seconds {
        out.push_str(&format!("{colon}{:02}", total % 60));
    }
    out
}
