//! The value of number and duration tokens.

use pharos_gocompat::GoQuoted;
use pharos_gocompat::strconv::{parse_float, parse_int};

/// The value of a number as Prometheus reads it: an integer of any base first, then a float.
pub(super) fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(integer) = parse_int(text) {
        return Ok(integer as f64);
    }
    parse_float(text)
        .map_err(|why| format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", GoQuoted(text)))
}

/// Seconds of milliseconds, rounded once for the whole and once for the fraction as Go does.
pub(super) fn seconds(milliseconds: i64) -> f64 {
    (milliseconds / 1000) as f64 + (milliseconds % 1000) as f64 / 1e3
}

/// Nanoseconds that a duration of centuries may lose as a number of seconds.
const LOST_IN_SECONDS: i64 = 2000;

/// Whole milliseconds of seconds; a part of one is cut off, unless all but two microseconds of it are there.
pub(super) fn milliseconds(seconds: f64) -> i64 {
    let nanoseconds = (seconds * 1e9).round() as i64;
    nanoseconds.saturating_add(nanoseconds.signum() * LOST_IN_SECONDS) / 1_000_000
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

    proptest! {
        #[test]
        fn seconds_turn_back_into_milliseconds(ms in 0i64..9_000_000_000_000) {
            prop_assert_eq!(milliseconds(seconds(ms)), ms);
        }
    }
}
