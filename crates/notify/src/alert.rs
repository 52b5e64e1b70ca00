//! An alert as Alertmanager keeps it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What identifies the alert.
    pub labels: BTreeMap<String, String>,
    /// What explains it.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// From when on it is resolved; `None` while nobody knows.
    pub ends_at: Option<Timestamp>,
    /// When the newest information about it arrived.
    pub updated_at: Timestamp,
    /// Where its expression can be seen.
    pub generator_url: String,
    /// Whether `ends_at` is the resolve timeout, rather than what the sender said.
    pub timed_out: bool,
}

/// Whether an alert, or a group of alerts, fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It fires; at least one of the group does.
    Firing,
    /// It is resolved; all of the group are.
    Resolved,
}

impl Status {
    /// The status of a group at a moment. An empty group is resolved.
    pub fn of_group(alerts: &[Alert], now: Timestamp) -> Self {
        let fires = alerts.iter().any(|alert| alert.status(now) == Status::Firing);
        if fires { Status::Firing } else { Status::Resolved }
    }

    /// The name in templates and payloads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        }
    }
}

/// The identity of a set of labels. It prints as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of labels: FNV-1a with 64 bits over names and values, each followed by the byte 0xff.
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let bytes = labels.iter().flat_map(|(name, value)| [name, value]).flat_map(|text| text.bytes().chain([0xff]));
        Fingerprint(bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Alert {
    /// The identity of the alert.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.labels)
    }

    /// The status at a moment.
    pub fn status(&self, now: Timestamp) -> Status {
        match self.ends_at {
            Some(end) if end <= now => Status::Resolved,
            _ => Status::Firing,
        }
    }
}

#[cfg(test)]
mod tests;
