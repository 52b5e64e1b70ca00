//! Scalars of the configuration, read and printed as Prometheus does: durations, byte sizes, secrets and URLs.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use pharos_gocompat::{format_duration, parse_duration};
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A duration such as `1h30m` or `15s`, in whole milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PromDuration(u64);

impl PromDuration {
    /// Makes a duration of milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        PromDuration(ms)
    }

    /// Makes a duration of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        PromDuration(seconds * 1000)
    }

    /// Parses a duration in Prometheus's syntax, such as `1h30m`, `15s`, `100ms` or `0`.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_duration(text).map(|ms| PromDuration(ms.unsigned_abs()))
    }

    /// The duration in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The duration in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The duration as the standard library's type.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Whether the duration is zero, which stands for a value that is not set.
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl From<PromDuration> for Duration {
    fn from(duration: PromDuration) -> Self {
        duration.as_duration()
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(ScalarText)?;
        PromDuration::parse(&text).map_err(D::Error::custom)
    }
}

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of bytes such as `512KB`, `1MiB` or `1.5GB`. Every unit is a power of 1024, with or without `i`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ByteSize(pub u64);

const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

impl ByteSize {
    /// Parses a sequence of numbers with units. Only `0` needs no unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("units: invalid {text}");
        let body = text.strip_prefix('+').unwrap_or(text);
        if body == "0" {
            return Ok(ByteSize(0));
        }
        if body.is_empty() || body.starts_with('-') {
            return Err(invalid());
        }
        let mut rest = body;
        let mut total = 0.0f64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
            let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
            let scale = unit_scale(&rest[..letters])
                .ok_or_else(|| format!("units: unknown unit {} in {text}", &rest[..letters]))?;
            total += number * scale;
            rest = &rest[letters..];
        }
        if total >= i64::MAX as f64 {
            return Err("units: overflow parsing unit".to_string());
        }
        Ok(ByteSize(total as u64))
    }

    /// Whether the size is zero, which stands for a value that is not set.
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

fn unit_scale(unit: &str) -> Option<f64> {
    if unit == "B" {
        return Some(1.0);
    }
    let prefix = unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B'))?;
    let power = PREFIXES.iter().skip(1).position(|p| *p == prefix)? + 1;
    Some(1024f64.powi(power as i32))
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        for (power, prefix) in PREFIXES.iter().enumerate().rev() {
            let part = (self.0 >> (10 * power)) & 1023;
            if part != 0 {
                write!(f, "{part}{prefix}{}", if power == 0 { "B" } else { "iB" })?;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(ScalarText)?;
        ByteSize::parse(&text).map_err(D::Error::custom)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Accepts a scalar as text, whether the file format calls it a string or a number.
struct ScalarText;

impl Visitor<'_> for ScalarText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_string())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

/// A password or token. Printing and serialising it yields `<secret>`.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, Hash)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret text, for the request that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the secret is empty, which stands for a value that is not set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<secret>")
    }
}

/// A URL with `xxxxx` in place of its password, for logs, errors and labels.
pub fn masked_url(url: &str) -> Cow<'_, str> {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    let Some(at) = url[begin..end].rfind('@').map(|at| begin + at) else { return url.into() };
    match url[begin..at].find(':').map(|colon| begin + colon) {
        Some(colon) => format!("{}:xxxxx{}", &url[..colon], &url[at..]).into(),
        None => url.into(),
    }
}

/// Serialises a URL as [`masked_url`] shows it.
pub fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&masked_url(url))
}

/// Serialises an optional URL as [`without_password`] does.
pub(crate) fn maybe_without_password<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match url {
        Some(url) => without_password(url, serializer),
        None => serializer.serialize_none(),
    }
}

/// Whether a count is zero.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Reads a count as Go's YAML library does: `1e3` and `1000.0` are whole numbers, too.
pub(crate) fn count<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Count;

    impl serde::de::Visitor<'_> for Count {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a non-negative integer")
        }

        fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
        }

        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<u64, E> {
            match value.fract() == 0.0 && (0.0..9e15).contains(&value) {
                true => Ok(value as u64),
                false => Err(E::invalid_value(serde::de::Unexpected::Float(value), &self)),
            }
        }
    }

    deserializer.deserialize_any(Count)
}

#[cfg(test)]
mod tests;
