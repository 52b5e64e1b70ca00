//! Times as the API reads and writes them.

use jiff::Timestamp;

/// The time that stands for none.
const ZERO: &str = "0001-01-01T00:00:00.000Z";

/// A time in milliseconds: `2026-11-30T20:00:00.000Z`.
pub(super) fn print(time: Option<Timestamp>) -> String {
    time.map_or_else(|| ZERO.to_string(), |time| format!("{time:.3}"))
}

/// Reads a time in RFC 3339, also without seconds or offset. The year 1 and an empty text stand for none.
pub(super) fn parse(text: &str) -> Result<Option<Timestamp>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let with_offset = text.parse::<Timestamp>();
    let time = with_offset.or_else(|error| {
        let local = text.parse::<jiff::civil::DateTime>().map_err(|_| error)?;
        local.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    let time = time.map_err(|_| format!("parsing time {text:?} as RFC 3339 failed"))?;
    Ok(Some(time).filter(|time| print(Some(*time)) != ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, printed) in [
            ("2026-11-30T20:00:00.123456789Z", "2026-11-30T20:00:00.123Z"),
            ("2026-11-30T22:00:00+02:00", "2026-11-30T20:00:00.000Z"),
            ("2026-11-30T20:00:00", "2026-11-30T20:00:00.000Z"),
            ("0001-01-01T00:00:00.000Z", ZERO),
            ("", ZERO),
        ] {
            assert_eq!(parse(text).map(print), Ok(printed.to_string()), "{text}");
        }
        assert!(parse("yesterday").is_err());
    }
}
