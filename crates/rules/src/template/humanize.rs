//! Numbers in the forms that people read: `humanize`, `humanize1024`, `humanizeDuration`, `humanizePercentage` and
//! `humanizeTimestamp`.
//!
//! Each keeps four significant digits, as Prometheus does.

use pharos_gocompat::strconv::{GoFloat, format_general};

use super::objects::time;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// Divides by `base` until the number is below it; returns the unit that makes up for that.
fn scale_down(mut value: f64, base: f64, units: &[&'static str]) -> (f64, &'static str) {
    let mut unit = "";
    for next in units {
        if value.abs() < base {
            break;
        }
        unit = next;
        value /= base;
    }
    (value, unit)
}

/// Multiplies by 1000 until the number is at least 1; returns the unit that makes up for that.
fn scale_up(mut value: f64) -> (f64, &'static str) {
    let mut unit = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        unit = next;
        value *= 1000.0;
    }
    (value, unit)
}

/// `1234567` is `1.235M`.
pub(super) fn decimal(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_general(value, 4);
    }
    let (value, unit) = if value.abs() >= 1.0 { scale_down(value, 1000.0, &LARGE) } else { scale_up(value) };
    format_general(value, 4) + unit
}

/// `1048576` is `1Mi`.
pub(super) fn binary(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return format_general(value, 4);
    }
    let (value, unit) = scale_down(value, 1024.0, &LARGE_BINARY);
    format_general(value, 4) + unit
}

/// Prints seconds: `3725` is `1h 2m 5s`.
pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return format_general(value, 4);
    }
    if value == 0.0 {
        return format_general(value, 4) + "s";
    }
    if value.abs() < 1.0 {
        let (value, unit) = scale_up(value);
        return format!("{}{unit}s", format_general(value, 4));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let days = whole / 86_400;
    let hours = whole / 3600 % 24;
    let minutes = whole / 60 % 60;
    let seconds = whole % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", format_general(value.abs(), 4)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// `0.1234` is `12.34%`.
pub(super) fn percentage(value: f64) -> String {
    format_general(value * 100.0, 4) + "%"
}

/// Prints seconds since the epoch as a time.
pub(super) fn timestamp(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Ok(format_general(value, 4));
    }
    nanoseconds(value).map(time)
}

/// Converts seconds since the epoch to nanoseconds.
///
/// # Errors
/// The time does not fit.
pub(super) fn nanoseconds(value: f64) -> Result<i64, String> {
    if !value.is_finite() {
        return Err("value is NaN or Inf".into());
    }
    let ns = value * 1e9;
    if ns > i64::MAX as f64 || ns < i64::MIN as f64 {
        let value = GoFloat(value);
        return Err(format!("{value} cannot be represented as a nanoseconds timestamp since it overflows int64"));
    }
    // Prometheus's times are whole milliseconds.
    Ok((ns as i64).div_euclid(1_000_000) * 1_000_000)
}
