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

/// Prints nanoseconds as Go's `time.Duration` does: `1h2m3.5s`, `250ms`.
pub fn go_duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let total = ns.unsigned_abs();
    if total == 0 {
        return "0s".into();
    }
    if total < 1_000_000_000 {
        let (scale, unit) = match total {
            0..1_000 => (1.0, "ns"),
            1_000..1_000_000 => (1e3, "µs"),
            _ => (1e6, "ms"),
        };
        return format!("{sign}{}{unit}", total as f64 / scale);
    }
    let fraction = total % 1_000_000_000;
    let seconds = total / 1_000_000_000 % 60;
    let minutes = total / 60_000_000_000 % 60;
    let hours = total / 3_600_000_000_000;
    let digits = format!("{fraction:09}");
    let digits = digits.trim_end_matches('0');
    let seconds = if digits.is_empty() { format!("{seconds}s") } else { format!("{seconds}.{digits}s") };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, _) => format!("{sign}{minutes}m{seconds}"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
}

/// Parses a duration as Go's `time.ParseDuration` does, such as `1h15m30.918s` or `-1.5h`. Returns nanoseconds.
///
/// # Errors
/// The text is not a duration, or it is longer than 292 years.
pub fn parse_go_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", GoQuoted(text));
    let (is_negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') || whole.len() > 19 {
            return Err(invalid());
        }
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(|b| *b != b'.' && !b.is_ascii_digit()).count();
        let unit = &rest[..letters];
        let scale: i128 = match unit {
            "" => return Err(format!("time: missing unit in duration {}", GoQuoted(text))),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {} in duration {}", GoQuoted(unit), GoQuoted(text))),
        };
        rest = &rest[letters..];
        // Digits beyond a tenth of a nanosecond of an hour change nothing.
        let fraction = &fraction[..fraction.len().min(14)];
        let part = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<i128>().map_err(|_| invalid()) };
        total += part(whole)? * scale + part(fraction)? * scale / 10i128.pow(fraction.len() as u32);
    }
    i64::try_from(if is_negative { -total } else { total }).map_err(|_| invalid())
}

#[cfg(test)]
mod tests;
