//! Which proxy a request takes, by the rules of Go's client.
//!
//! A proxy of the configuration serves all requests, or all that `no_proxy` does not name. With exceptions, and with proxies of the
//! environment, requests to the local machine never take one.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use pharos_config::{ConfigError, ProxyConfig};

use crate::url::RequestUrl;

/// The port of a SOCKS proxy whose URL names none.
const SOCKS_PORT: u16 = 1080;

/// The proxies of a client.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    of_http: Option<Result<Proxy, String>>,
    of_https: Option<Result<Proxy, String>>,
    /// `None` if there are no exceptions at all.
    exceptions: Option<Vec<Exception>>,
    connect_headers: HeaderMap,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    pub(crate) url: RequestUrl,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    /// HTTP, perhaps over TLS.
    Http,
    /// SOCKS 5.
    Socks5,
}

/// Servers that are reached without a proxy.
#[derive(Debug, PartialEq)]
enum Exception {
    All,
    /// Addresses with this many leading bits in common.
    Range(IpAddr, u32),
    /// An address, on any port or on one.
    Address(IpAddr, String),
    /// A domain that begins with a dot: names below it, and perhaps the domain itself, on any port or on one.
    Domain {
        suffix: String,
        with_itself: bool,
        port: String,
    },
}

impl Proxies {
    /// The proxies of a section. Those of the environment are read now.
    pub(crate) fn new(config: &ProxyConfig) -> Result<Self, ConfigError> {
        let connect_headers = connect_headers(config)?;
        if config.from_environment {
            let variable = |name: &str| {
                let value = |name: String| std::env::var(name).ok().filter(|value| !value.is_empty());
                value(name.to_string()).or_else(|| value(name.to_ascii_lowercase()))
            };
            let proxy = |name| variable(name).map(|url| Proxy::parse(&with_scheme(&url)));
            return Ok(Proxies {
                of_http: proxy("HTTP_PROXY"),
                of_https: proxy("HTTPS_PROXY"),
                exceptions: Some(exceptions(&variable("NO_PROXY").unwrap_or_default())),
                connect_headers,
            });
        }
        if config.url.is_empty() {
            return Ok(Proxies::default());
        }
        let proxy = Proxy::parse(&config.url);
        let exceptions = (!config.no_proxy.is_empty()).then(|| exceptions(&config.no_proxy));
        Ok(Proxies { of_http: Some(proxy.clone()), of_https: Some(proxy), exceptions, connect_headers })
    }

    /// The proxy that a request to a URL takes.
    pub(crate) fn of(&self, url: &RequestUrl) -> Result<Option<&Proxy>, String> {
        let proxy = if url.is_https { &self.of_https } else { &self.of_http };
        let Some(proxy) = proxy.as_ref().filter(|_| !self.excepts(url)) else { return Ok(None) };
        proxy.as_ref().map(Some).map_err(|error| format!("invalid proxy: {error}"))
    }

    /// The headers of requests for a tunnel.
    pub(crate) fn connect_headers(&self) -> HeaderMap {
        self.connect_headers.clone()
    }

    fn excepts(&self, url: &RequestUrl) -> bool {
        let Some(exceptions) = &self.exceptions else { return false };
        let host = url.host.to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let is_local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let port = url.port.to_string();
        is_local || exceptions.iter().any(|exception| exception.covers(&host, address, &port))
    }
}

impl Proxy {
    fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("its URL has no scheme")?;
        let parse = |scheme| RequestUrl::parse(&format!("{scheme}://{rest}"));
        match scheme.to_ascii_lowercase().as_str() {
            "http" => Ok(Proxy { kind: ProxyKind::Http, url: parse("http")? }),
            "https" => Ok(Proxy { kind: ProxyKind::Http, url: parse("https")? }),
            "socks5" | "socks5h" => {
                let mut url = parse("http")?;
                if !url.authority.ends_with(&format!(":{}", url.port)) {
                    url.port = SOCKS_PORT;
                }
                Ok(Proxy { kind: ProxyKind::Socks5, url })
            }
            other => Err(format!("unsupported scheme {other:?}")),
        }
    }
}

/// In the environment, a proxy without a scheme speaks HTTP.
fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_string() } else { format!("http://{url}") }
}

fn connect_headers(config: &ProxyConfig) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (name, values) in &config.connect_header {
        let invalid = || ConfigError::new(format!("proxy_connect_header: invalid header {name:?}"));
        let parsed = HeaderName::try_from(name).map_err(|_| invalid())?;
        for value in values {
            headers.append(&parsed, HeaderValue::try_from(value.reveal()).map_err(|_| invalid())?);
        }
    }
    Ok(headers)
}

/// Reads a list of exceptions. Like Go, ignores items that it does not understand.
fn exceptions(list: &str) -> Vec<Exception> {
    let items = list.split(',').map(|item| item.trim().to_ascii_lowercase());
    items.filter_map(|item| Exception::parse(&item)).collect()
}

impl Exception {
    fn parse(item: &str) -> Option<Self> {
        if item == "*" {
            return Some(Exception::All);
        }
        if let Some((address, bits)) = item.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Exception::Range(address, bits));
        }
        let (host, port) = split_port(item);
        if let Ok(address) = host.parse() {
            return Some(Exception::Address(address, port));
        }
        let domain = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&host);
        match domain.strip_prefix('.') {
            None if domain.is_empty() => None,
            None => Some(Exception::Domain { suffix: format!(".{domain}"), with_itself: true, port }),
            Some(_) => Some(Exception::Domain { suffix: domain.to_string(), with_itself: false, port }),
        }
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, at_port: &str) -> bool {
        let is_port = |port: &String| port.is_empty() || port == at_port;
        match self {
            Exception::All => true,
            Exception::Range(range, bits) => address.is_some_and(|address| {
                let shift = width(*range) - bits;
                let leading = |address| number(address).checked_shr(shift).unwrap_or(0);
                width(address) == width(*range) && leading(address) == leading(*range)
            }),
            Exception::Address(excepted, port) => address == Some(*excepted) && is_port(port),
            Exception::Domain { suffix, with_itself, port } => {
                (host.ends_with(suffix) || *with_itself && Some(host) == suffix.strip_prefix('.')) && is_port(port)
            }
        }
    }
}

/// A host without brackets, and its port, which may be empty.
fn split_port(item: &str) -> (String, String) {
    if let Some((host, rest)) = item.strip_prefix('[').and_then(|item| item.split_once(']')) {
        return (host.to_string(), rest.strip_prefix(':').unwrap_or("").to_string());
    }
    match item.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host.to_string(), port.to_string()),
        _ => (item.to_string(), String::new()),
    }
}

/// The bits of addresses of a family.
fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str, no_proxy: &str) -> Proxies {
        let config = ProxyConfig { url: url.into(), no_proxy: no_proxy.into(), ..ProxyConfig::default() };
        Proxies::new(&config).unwrap()
    }

    fn takes_proxy(proxies: &Proxies, url: &str) -> bool {
        proxies.of(&RequestUrl::parse(url).unwrap()).unwrap().is_some()
    }

    #[test]
    fn without_exceptions_even_the_local_machine_is_reached_by_the_proxy() {
        let proxies = with("http://proxy:3128", "");
        assert!(takes_proxy(&proxies, "http://localhost/") && takes_proxy(&proxies, "https://a.example:8443/"));
        assert!(!takes_proxy(&with("http://proxy:3128", "x"), "http://localhost/"));
        assert!(!takes_proxy(&with("http://proxy:3128", "x"), "http://127.0.0.9:80/"));
        assert!(!takes_proxy(&with("", ""), "http://a/"));
    }

    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        for (no_proxy, url, takes) in [
            ("*", "http://a.example/", false),
            ("example.com", "http://example.com/", false),
            ("example.com", "http://below.example.com/", false),
            ("example.com", "http://notexample.com/", true),
            (".example.com", "http://example.com/", true),
            (".example.com", "http://Below.Example.com/", false),
            ("*.example.com", "http://below.example.com/", false),
            ("other, example.com:8080", "http://example.com:8080/", false),
            ("example.com:8080", "http://example.com/", true),
            ("10.0.0.0/8", "http://10.255.0.1/", false),
            ("10.0.0.0/8", "http://11.0.0.1/", true),
            ("10.0.0.0/33", "http://10.0.0.1/", true),
            ("0.0.0.0/0", "http://11.0.0.1/", false),
            ("0.0.0.0/0", "http://[2001:db8::1]/", true),
            ("2001:db8::/32", "http://[2001:db8:1::1]/", false),
            ("192.0.2.1", "http://192.0.2.1:9100/", false),
            ("192.0.2.1:9100", "http://192.0.2.1:9101/", true),
            ("[2001:db8::1]:80", "http://[2001:db8::1]/", false),
            ("2001:db8::1", "http://[2001:db8::1]/", false),
            (",,", "http://a.example/", true),
        ] {
            assert_eq!(takes_proxy(&with("http://proxy", no_proxy), url), takes, "{no_proxy} {url}");
        }
    }

    #[test]
    fn proxies_speak_http_or_socks() {
        let proxy = |url| Proxy::parse(url).map(|proxy| (proxy.kind, proxy.url.port));
        assert_eq!(proxy("http://proxy"), Ok((ProxyKind::Http, 80)));
        assert_eq!(proxy("https://proxy"), Ok((ProxyKind::Http, 443)));
        assert_eq!(proxy("socks5://proxy"), Ok((ProxyKind::Socks5, 1080)));
        assert_eq!(proxy("SOCKS5://u:p@proxy:80"), Ok((ProxyKind::Socks5, 80)));
        assert_eq!(proxy("ftp://proxy"), Err("unsupported scheme \"ftp\"".into()));
        assert_eq!(proxy(&with_scheme("proxy:3128")), Ok((ProxyKind::Http, 3128)));
        let error = with("ftp://proxy", "").of(&RequestUrl::parse("http://a/").unwrap()).unwrap_err();
        assert_eq!(error, "invalid proxy: unsupported scheme \"ftp\"");
    }
}
