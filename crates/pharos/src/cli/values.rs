//! Values of flags in Prometheus's notation: durations, sizes, counts and listen addresses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use pharos_config::ByteSize;
use pharos_gocompat::parse_duration;

/// Parses `2h`, `1m30s`, `100ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let ms = parse_duration(text)?;
    u64::try_from(ms).map(Duration::from_millis).map_err(|_| format!("negative duration {text:?}"))
}

/// Like [`duration`], but refuses zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0s".into()),
        positive => Ok(positive),
    }
}

/// Parses a count. Accepts `5e7`, because Prometheus prints defaults that way.
pub(super) fn count(text: &str) -> Result<u64, String> {
    if let Ok(count) = text.parse::<u64>() {
        return Ok(count);
    }
    match text.parse::<f64>() {
        Ok(float) if float >= 0.0 && float.fract() == 0.0 && float < 9e15 => Ok(float as u64),
        _ => Err(format!("not a whole number: {text:?}")),
    }
}

/// Like [`count`], but refuses zero.
pub(super) fn positive_count(text: &str) -> Result<u64, String> {
    match count(text)? {
        0 => Err("must be at least 1".into()),
        positive => Ok(positive),
    }
}

/// Parses a size such as `512MB`. Units are powers of 1024.
pub(super) fn byte_size(text: &str) -> Result<ByteSize, String> {
    ByteSize::parse(text)
        .map_err(|_| format!("not a size: {text:?} (expected a number and a unit: B, KB, MB, GB, TB, PB, EB)"))
}

/// An address to listen on: `host:port`, `[::1]:port`, or `:port` for all addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// A host name or an IP address without brackets.
    pub host: String,
    /// The port; 0 lets the system choose one.
    pub port: u16,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("no port: expected host:port")?;
        let port = port.parse().map_err(|_| format!("bad port {port:?}"))?;
        let unbracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match unbracketed {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(v6) => return Err(format!("bad IPv6 address {v6:?}")),
            None if host.contains(':') => return Err("an IPv6 address needs brackets: [::1]:9090".into()),
            None if host.is_empty() => "0.0.0.0",
            None => host,
        };
        Ok(ListenAddress { host: host.to_string(), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_parsed_and_printed() {
        for (text, printed) in [
            (":9090", "0.0.0.0:9090"),
            ("localhost:0", "localhost:0"),
            ("[::1]:9090", "[::1]:9090"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), printed);
        }
        for bad in ["", "9090", "::1:9090", "a:65536", "a:-1", "[x]:1"] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        assert_eq!(count("5e7"), Ok(50_000_000));
        assert_eq!(count("0"), Ok(0));
        for bad in ["", "-1", "1.5", "1e99", "NaN", "inf"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        assert!(positive_count("0").is_err() && positive_duration("0s").is_err());
        assert!(byte_size("512MB").is_ok() && byte_size("5").is_err());
    }
}
