//! Numbers of the text formats, read and written as Go does.

use pharos_model::sample::NORMAL_NAN;

/// Parses a value. Any NaN becomes the ordinary one, so that a body cannot contain a stale marker.
pub(crate) fn parse_value(text: &str) -> Result<f64, String> {
    if let Some(number) = parse_small_integer(text.as_bytes()) {
        return Ok(number);
    }
    let invalid = || format!("invalid number {:?}", excerpt(text));
    let value: f64 = text.parse().map_err(|_| invalid())?;
    let digits = text.trim_start_matches(['+', '-']);
    let is_word = digits.starts_with(|c: char| c.is_ascii_alphabetic());
    if value.is_nan() {
        // Go accepts no sign before NaN.
        return if digits.len() == text.len() { Ok(NORMAL_NAN) } else { Err(invalid()) };
    }
    if value.is_infinite() && !is_word {
        return Err(format!("number {:?} is out of range", excerpt(text)));
    }
    Ok(value)
}

/// The fast path: most values are short whole numbers.
fn parse_small_integer(digits: &[u8]) -> Option<f64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let mut number = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(number as f64)
}

/// Parses a timestamp in seconds, possibly with a fraction, into milliseconds. One that is out of range becomes the last
/// possible one, which no store takes.
pub(crate) fn parse_seconds(text: &str) -> Result<i64, String> {
    let seconds = parse_value(text)?;
    if !seconds.is_finite() {
        return Err(format!("invalid timestamp {:?}", excerpt(text)));
    }
    Ok(seconds_to_millis(seconds).unwrap_or(i64::MAX))
}

/// Milliseconds, rounded towards zero; `None` when they do not fit.
pub(crate) fn seconds_to_millis(seconds: f64) -> Option<i64> {
    let ms = seconds * 1000.0;
    (ms.abs() < 9.2e18).then_some(ms as i64)
}

/// The start of a text, for error messages.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
