//! Go's `time.Time`: a moment in a location, and the layouts by which it is printed and read.

mod layout;
mod read;

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use read::parse_time;

/// A moment in a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoTime {
    moment: Timestamp,
    zone: TimeZone,
}

/// The layout of RFC 3339 with nanoseconds, which JSON has.
pub const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

/// The seconds from Go's zero time to the Unix epoch.
const ZERO_SECONDS: i64 = -62_135_596_800;

impl GoTime {
    /// A moment in UTC.
    pub fn utc(moment: Timestamp) -> Self {
        GoTime { moment, zone: TimeZone::UTC }
    }

    /// Go's zero time, the beginning of the year 1.
    pub fn zero() -> Self {
        GoTime::utc(Timestamp::from_second(ZERO_SECONDS).unwrap_or(Timestamp::MIN))
    }

    /// Whether this is Go's zero time.
    pub fn is_zero(&self) -> bool {
        self.moment.as_second() == ZERO_SECONDS && self.moment.subsec_nanosecond() == 0
    }

    /// The moment.
    pub fn moment(&self) -> Timestamp {
        self.moment
    }

    /// The same moment in the location `name`; `UTC` and the empty name are UTC.
    ///
    /// # Errors
    /// The time zone database has no such location.
    pub fn in_location(&self, name: &str) -> Result<Self, String> {
        let zone = match name {
            "" | "UTC" => TimeZone::UTC,
            "Local" => TimeZone::system(),
            name => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}"))?,
        };
        Ok(GoTime { moment: self.moment, zone })
    }

    /// The moment later by nanoseconds, in the same location.
    pub fn plus(&self, ns: i64) -> Self {
        let moment = self.moment.checked_add(jiff::SignedDuration::from_nanos(ns));
        GoTime { moment: moment.unwrap_or(self.moment), zone: self.zone.clone() }
    }

    /// Prints the time in a layout, as `Format` does.
    pub fn format(&self, layout: &str) -> String {
        layout::format(self, layout)
    }

    /// The time at a date and time of day in the same location; `None` if there is none.
    pub fn at(&self, civil: jiff::civil::DateTime) -> Option<Self> {
        let moment = self.zone.to_ambiguous_timestamp(civil).compatible().ok()?;
        Some(GoTime { moment, zone: self.zone.clone() })
    }

    /// The date and the time of day.
    pub fn civil(&self) -> jiff::civil::DateTime {
        self.zone.to_offset(self.moment).to_datetime(self.moment)
    }

    /// The seconds east of UTC.
    pub(crate) fn offset_seconds(&self) -> i32 {
        self.zone.to_offset(self.moment).seconds()
    }

    /// The short name of the location's time; empty if it has none.
    pub(crate) fn abbreviation(&self) -> String {
        if self.zone == TimeZone::UTC {
            return "UTC".into();
        }
        let name = self.zone.to_offset_info(self.moment).abbreviation().to_string();
        if name.starts_with(['+', '-']) { String::new() } else { name }
    }
}

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

#[cfg(test)]
mod tests;
