//! Values of fields that are neither texts nor numbers.

use std::fmt;
use std::time::Duration;

use pharos_gocompat::{GoQuoted, go_duration, parse_go_duration};
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A duration in Go's syntax, such as `1m30s` or `1.5h`. A bare number counts nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoDuration(i64);

impl GoDuration {
    /// Makes a duration of seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        GoDuration(seconds * 1_000_000_000)
    }

    /// The duration; `None` if it is zero or negative, which stands for a value that is not set.
    pub fn positive(self) -> Option<Duration> {
        u64::try_from(self.0).ok().filter(|ns| *ns > 0).map(Duration::from_nanos)
    }

    /// The whole seconds.
    pub const fn seconds(self) -> i64 {
        self.0 / 1_000_000_000
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&go_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 30s")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<GoDuration, E> {
                match text.parse() {
                    Ok(ns) => Ok(GoDuration(ns)),
                    Err(_) => parse_go_duration(text).map(GoDuration).map_err(E::custom),
                }
            }

            fn visit_i64<E>(self, ns: i64) -> Result<GoDuration, E> {
                Ok(GoDuration(ns))
            }

            fn visit_u64<E: serde::de::Error>(self, ns: u64) -> Result<GoDuration, E> {
                i64::try_from(ns).map(GoDuration).map_err(|_| E::custom("duration out of range"))
            }
        }

        deserializer.deserialize_str(Scalar)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An address, `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPort {
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: String,
}

impl HostPort {
    fn parse(text: &str) -> Result<Self, String> {
        let missing = || format!("address {text}: missing port in address");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) =
                    rest.split_once(']').ok_or_else(|| format!("address {text}: missing ']' in address"))?;
                (host, after.strip_prefix(':').ok_or_else(missing)?)
            }
            None => text.rsplit_once(':').ok_or_else(missing)?,
        };
        if host.contains(':') && !text.starts_with('[') {
            return Err(format!("address {text}: too many colons in address"));
        }
        if port.is_empty() {
            return Err(format!("address {}: port cannot be empty", GoQuoted(text)));
        }
        Ok(HostPort { host: host.to_string(), port: port.to_string() })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        HostPort::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads an address; an empty one is none.
pub(crate) fn maybe_host_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HostPort>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) {
        Some(text) => HostPort::parse(&text).map(Some).map_err(D::Error::custom),
        None => Ok(None),
    }
}
