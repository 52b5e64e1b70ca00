//! Durations: as Prometheus writes them (`1h30m`, `2w`) and as Go does (`1h30m0.5s`).

use crate::strconv::GoQuoted;

/// Units from the largest to the smallest, with their milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Parses a duration such as `1h30m` into milliseconds, as Prometheus's `model.ParseDuration` does: units from the
/// largest to the smallest, each once at most. A bare `0` needs no unit.
///
/// # Errors
/// The text is not a duration, or it is longer than 292 years.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    match text {
        "" => return Err("empty duration string".into()),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {}", GoQuoted(text));
    let out_of_range = || "duration out of range".to_string();
    let mut rest = text;
    let mut total = 0u64;
    let mut next_unit = 0;
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
        let part = number.checked_mul(UNITS[index].1).ok_or_else(out_of_range)?;
        total = total.checked_add(part).filter(|ms| *ms <= MAX_MS).ok_or_else(out_of_range)?;
        rest = behind;
    }
    i64::try_from(total).map_err(|_| out_of_range())
}

/// The longest duration: Go counts nanoseconds in an `int64`.
const MAX_MS: u64 = i64::MAX as u64 / 1_000_000;

/// Prints milliseconds as Prometheus's `model.Duration` does: years and weeks only when they divide exactly.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut out = String::from(if ms < 0 { "-" } else { "" });
    let mut rest = ms.unsigned_abs();
    for (index, (name, unit)) in UNITS.iter().enumerate() {
        let exact_only = index < 2;
        if rest >= *unit && (!exact_only || rest.is_multiple_of(*unit)) {
            out.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prometheus_examples() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("324ms", 324),
            ("3s", 3000),
            ("1h30m", 5_400_000),
            ("4d1h", 349_200_000),
            ("3w2d1h", 1_990_800_000),
            ("10y", 315_360_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for bad in ["", "1", "1y1m1d", "-1w", "1.5d", "d", "294y1000000000000000000w", "1s1s", "0b"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(format_duration(5_400_000), "1h30m");
        assert_eq!(format_duration(8 * 86_400_000), "8d");
        assert_eq!(format_duration(7 * 86_400_000), "1w");
        assert_eq!(format_duration(90_061_000), "1d1h1m1s");
    }

    proptest! {
        #[test]
        fn printed_durations_parse_back(ms in 0i64..4_000_000_000_000) {
            prop_assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
        }
    }
}
