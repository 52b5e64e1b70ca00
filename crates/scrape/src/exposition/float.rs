//! Numbers of the text formats, with the meaning that Go's parser gives them.

use pharos_model::sample::NORMAL_NAN;

/// Parses a value. Not-a-number becomes the ordinary NaN, so that nobody can send a stale marker by accident.
pub(crate) fn parse_value(text: &str) -> Result<f64, String> {
    if let Some(number) = parse_small_integer(text.as_bytes()) {
        return Ok(number);
    }
    let invalid = || format!("invalid number {:?}", excerpt(text));
    let value: f64 = text.parse().map_err(|_| invalid())?;
    let digits = text.trim_start_matches(['+', '-']);
    let is_word = digits.starts_with(|c: char| c.is_ascii_alphabetic());
    if value.is_nan() {
        // Go takes no sign before NaN.
        return if digits.len() == text.len() { Ok(NORMAL_NAN) } else { Err(invalid()) };
    }
    if value.is_infinite() && !is_word {
        return Err(format!("number {:?} is out of range", excerpt(text)));
    }
    Ok(value)
}

/// Most values are whole numbers of few digits.
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

/// Parses a timestamp in seconds, with a fraction, into milliseconds.
pub(crate) fn parse_seconds(text: &str) -> Result<i64, String> {
    let seconds = parse_value(text)?;
    if !seconds.is_finite() {
        return Err(format!("invalid timestamp {:?}", excerpt(text)));
    }
    seconds_to_millis(seconds).ok_or_else(|| format!("timestamp {:?} is out of range", excerpt(text)))
}

/// Milliseconds, towards zero; `None` outside of what fits.
pub(crate) fn seconds_to_millis(seconds: f64) -> Option<i64> {
    let ms = seconds * 1000.0;
    (ms.abs() < 9.2e18).then_some(ms as i64)
}

/// The beginning of a text, for messages.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_go_reads_them() {
        for (text, value) in [
            ("0", 0.0),
            ("123456789012345", 123_456_789_012_345.0),
            ("1e3", 1000.0),
            ("-1.5E-2", -0.015),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            (".5", 0.5),
            ("1.", 1.0),
            ("12345678901234567890", 12_345_678_901_234_567_890.0),
        ] {
            assert_eq!(parse_value(text), Ok(value), "{text}");
        }
        assert_eq!(parse_value("nan").unwrap().to_bits(), NORMAL_NAN.to_bits());
        for bad in ["", "-", "1_000", "0x1p-2", "0x10", "1e400", "-nan", "12a", "1,5", "١"] {
            assert!(parse_value(bad).is_err(), "{bad}");
        }
    }
}
