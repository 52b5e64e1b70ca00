//! Durations as Prometheus writes them: `1h30m`, `15s`, `100ms`, `2w`.

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Parses a duration into milliseconds. Units come in falling order, each at most once; `0` needs none.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let bad = || format!("not a valid duration string: {:?}", text.chars().take(64).collect::<String>());
    if text.is_empty() {
        return Err("empty duration string".into());
    }
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut total, mut next_unit) = (text, 0i64, 0usize);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let at = UNITS.iter().skip(next_unit).position(|(name, _)| *name == unit).ok_or_else(bad)? + next_unit;
        let number: i64 = number.parse().map_err(|_| bad())?;
        let part = number.checked_mul(UNITS[at].1);
        total = part
            .and_then(|p| total.checked_add(p))
            .filter(|t| *t <= i64::MAX / 1_000_000)
            .ok_or("duration out of range")?;
        next_unit = at + 1;
        rest = &rest[digits + letters..];
    }
    Ok(total)
}

/// Prints milliseconds as Prometheus's `model.Duration` does: years and weeks only when they divide exactly.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut out = String::from(if ms < 0 { "-" } else { "" });
    let mut rest = ms.unsigned_abs();
    for (index, (name, unit)) in UNITS.iter().enumerate() {
        let unit = *unit as u64;
        let exact_only = index < 2;
        if rest >= unit && (!exact_only || rest.is_multiple_of(unit)) {
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
