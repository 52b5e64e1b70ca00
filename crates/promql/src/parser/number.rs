//! Numbers and durations: what their text means, and how durations are printed.

use pharos_model::labels::GoQuoted;

/// The value of a number as Go reads it: an integer of any base first, then a decimal fraction.
pub(super) fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(integer) = parse_integer(text) {
        return Ok(integer as f64);
    }
    let failed = |why| Err(format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", GoQuoted(text)));
    if text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("nan") {
        return Ok(if text.eq_ignore_ascii_case("inf") { f64::INFINITY } else { f64::NAN });
    }
    if !underscores_separate_digits(text) {
        return failed("invalid syntax");
    }
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_infinite() => failed("value out of range"),
        Ok(value) => Ok(value),
        Err(_) => failed("invalid syntax"),
    }
}

/// An integer with the prefixes of Go: `0x`, and `0` for octal. (`0b` and `0o` are no tokens.)
fn parse_integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if digits.contains('_') {
        return i64::from_str_radix(&digits.replace('_', ""), base).ok();
    }
    i64::from_str_radix(digits, base).ok()
}

/// Whether each underscore stands between two digits, or between the base's prefix and a digit.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(at, _)| {
        let before = at.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(b'_');
        let behind = bytes.get(at + 1).copied().unwrap_or(b'_');
        let prefix = at == 2 && bytes[0] == b'0' && matches!(before, b'x' | b'X');
        (before.is_ascii_hexdigit() || prefix) && behind.is_ascii_hexdigit()
    })
}

/// Units of durations from the largest to the smallest, with their milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Nanoseconds of a duration such as `1h30m`: units from the largest to the smallest, each once at most.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("not a valid duration string: {}", GoQuoted(text));
    let (mut rest, mut total, mut next_unit) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(|b| !b.is_ascii_digit()).count();
        let (unit, behind) = rest.split_at(letters);
        if unit.is_empty() {
            return Err(invalid());
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {} in duration {}", GoQuoted(unit), GoQuoted(text)));
        };
        if index < next_unit {
            return Err(invalid());
        }
        next_unit = index + 1;
        let part = number.checked_mul(UNITS[index].1).and_then(|ms| ms.checked_mul(1_000_000));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or_else(|| "duration out of range".to_string())?;
        rest = behind;
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// Seconds of nanoseconds, rounded once for the whole and once for the fraction as Go does.
pub(super) fn seconds(nanoseconds: i64) -> f64 {
    (nanoseconds / 1_000_000_000) as f64 + (nanoseconds % 1_000_000_000) as f64 / 1e9
}

/// Nanoseconds that a duration of centuries may lose as a number of seconds.
const LOST_IN_SECONDS: i64 = 2000;

/// Whole milliseconds of seconds; a part of one is cut off, unless all but two microseconds of it are there.
pub(super) fn milliseconds(seconds: f64) -> i64 {
    let nanoseconds = (seconds * 1e9).round() as i64;
    nanoseconds.saturating_add(nanoseconds.signum() * LOST_IN_SECONDS) / 1_000_000
}

/// Prints milliseconds as Prometheus prints a duration: years and weeks only when nothing remains.
pub(super) fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_string();
    }
    let mut text = String::from(if ms < 0 { "-" } else { "" });
    let mut rest = ms.unsigned_abs();
    for (index, (name, unit)) in UNITS.iter().enumerate() {
        let exact_only = index < 2;
        if rest >= *unit && (!exact_only || rest.is_multiple_of(*unit)) {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("0755", 493.0),
            ("089", 89.0),
            ("0x1_F", 31.0),
            ("0X_1f", 31.0),
            ("1_000.5_0", 1000.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-400", 0.0),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("iNf", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert!(parse_number("NAN").unwrap().is_nan());
        for (text, why) in [("1e", "invalid syntax"), ("0x", "invalid syntax"), ("1e999", "value out of range")] {
            assert!(parse_number(text).unwrap_err().ends_with(why), "{text}");
        }
    }

    #[test]
    fn durations_have_falling_units_that_fit() {
        assert_eq!(parse_duration("1d1h1ms"), Ok(90_000_001_000_000));
        assert_eq!(parse_duration("5hs").unwrap_err(), "unknown unit \"hs\" in duration \"5hs\"");
        assert_eq!(parse_duration("1m1h").unwrap_err(), "not a valid duration string: \"1m1h\"");
        assert_eq!(parse_duration("293y").unwrap_err(), "duration out of range");
        assert_eq!(
            parse_duration("99999999999999999999s").unwrap_err(),
            "not a valid duration string: \"99999999999999999999s\""
        );
    }

    #[test]
    fn only_years_and_weeks_must_divide() {
        for (ms, text) in
            [(0, "0s"), (90_061_001, "1d1h1m1s1ms"), (-60_000, "-1m"), (604_800_000, "1w"), (691_200_000, "8d")]
        {
            assert_eq!(format_duration(ms), text);
        }
    }

    proptest! {
        #[test]
        fn printed_durations_parse_back(ms in 0i64..9_000_000_000_000) {
            let nanoseconds = parse_duration(&format_duration(ms)).unwrap();
            prop_assert_eq!(nanoseconds, ms * 1_000_000);
            prop_assert_eq!(milliseconds(seconds(nanoseconds)), ms);
        }
    }
}
