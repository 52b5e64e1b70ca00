//! The URL of a request, read by the rules of Go's `net/url` rather than those of browsers: a host is taken literally, even if
//! it ends in a number, and a path is sent as it is.

use http::HeaderValue;
use http::uri::PathAndQuery;

/// The parts of a URL that a request needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RequestUrl {
    pub(super) is_https: bool,
    /// A name or an address, without brackets and zone.
    pub(super) host: String,
    /// The interface of a link-local address; empty if there is none.
    pub(super) zone: String,
    pub(super) port: u16,
    /// What the `Host` header says.
    pub(super) authority: String,
    /// The path and query.
    pub(super) target: PathAndQuery,
    /// User name and password, decoded.
    pub(super) user: Option<(String, String)>,
}

impl RequestUrl {
    /// Reads a URL. The error is Go's.
    pub(super) fn parse(url: &str) -> Result<RequestUrl, String> {
        let url = url.split_once('#').map_or(url, |(url, _)| url);
        if url.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".into());
        }
        let (scheme, rest) = url.split_once("://").ok_or("unsupported protocol scheme \"\"")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(format!("unsupported protocol scheme {other:?}")),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let (host, zone, port) = split_host(authority)?;
        if host.is_empty() {
            return Err("http: no Host in request URL".into());
        }
        let host = if host.is_ascii() {
            host
        } else {
            url::Host::parse(&host).map_err(|e| format!("invalid host {host:?}: {e}"))?.to_string()
        };
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = if port.is_empty() { bracketed } else { format!("{bracketed}:{port}") };
        let default = if is_https { 443 } else { 80 };
        let number = || port.parse().map_err(|_| format!("dial tcp: address {port}: invalid port"));
        Ok(RequestUrl {
            is_https,
            host,
            zone,
            port: if port.is_empty() { default } else { number()? },
            authority,
            target: parse_target(target)?,
            user: user.map(|user| {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                (decoded(name), decoded(password))
            }),
        })
    }

    /// The host, in brackets if it needs them, and the port.
    pub(super) fn host_and_port(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The URL that a redirect names.
    pub(super) fn join(&self, location: &str) -> Result<RequestUrl, String> {
        let scheme = if self.is_https { "https" } else { "http" };
        if has_scheme(location) {
            return RequestUrl::parse(location)?.without_dots();
        }
        if let Some(rest) = location.strip_prefix("//") {
            return RequestUrl::parse(&format!("{scheme}://{rest}"))?.without_dots();
        }
        let location = location.split_once('#').map_or(location, |(location, _)| location);
        let target = match location {
            query if query.starts_with('?') => format!("{}{query}", self.target.path()),
            "" => self.target.to_string(),
            absolute if absolute.starts_with('/') => absolute.to_string(),
            relative => format!("{}/{relative}", self.target.path().rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        RequestUrl { target: parse_target(&target)?, ..self.clone() }.without_dots()
    }

    /// The URL with the `.` and `..` of its path resolved.
    fn without_dots(self) -> Result<RequestUrl, String> {
        let target = self
            .target
            .query()
            .map_or_else(|| resolved(self.target.path()), |query| format!("{}?{query}", resolved(self.target.path())));
        Ok(RequestUrl { target: parse_target(&target)?, ..self })
    }

    /// What a request to `next`, to which this one was redirected, says about where it comes from. Pages read over TLS are not
    /// told to other servers in the clear.
    pub(super) fn referer_for(&self, next: &RequestUrl) -> Option<HeaderValue> {
        let scheme = if self.is_https { "https" } else { "http" };
        let is_kept = !self.is_https || next.is_https;
        is_kept.then(|| HeaderValue::try_from(format!("{scheme}://{}{}", self.authority, self.target)).ok()).flatten()
    }

    /// Whether a request that began at `first` may send its credentials here: to the same host or one below it, on any port.
    pub(super) fn may_have_credentials_of(&self, first: &RequestUrl) -> bool {
        let (host, first) = (self.host.to_ascii_lowercase(), first.host.to_ascii_lowercase());
        let is_name = first.parse::<std::net::IpAddr>().is_err();
        host == first || (is_name && host.strip_suffix(&first).is_some_and(|above| above.ends_with('.')))
    }
}

/// Whether a URL is absolute. A relative one may have `://` in its path or query.
fn has_scheme(url: &str) -> bool {
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    url.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(is_scheme_byte))
}

/// The path and query of a request. Bytes that cannot be sent as they are are escaped.
fn parse_target(target: &str) -> Result<PathAndQuery, String> {
    let mut escaped = String::with_capacity(target.len() + 1);
    if !target.starts_with('/') {
        escaped.push('/');
    }
    for byte in target.bytes() {
        match byte {
            b' ' | b'<' | b'>' | b'`' | 0x80.. => escaped.push_str(&format!("%{byte:02X}")),
            _ => escaped.push(char::from(byte)),
        }
    }
    let path = escaped.split_once('?').map_or(escaped.as_str(), |(path, _)| path);
    for (at, _) in path.match_indices('%') {
        let escape = path.get(at..at + 3).unwrap_or(&path[at..]);
        if escape.len() < 3 || !escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("invalid URL escape {escape:?}"));
        }
    }
    PathAndQuery::try_from(escaped).map_err(|e| format!("invalid path {target:?}: {e}"))
}

/// A path without `.` and `..`.
fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            ".." => {
                kept.pop();
            }
            "." => {}
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// The host, zone and port of an authority.
fn split_host(authority: &str) -> Result<(String, String, String), String> {
    let (host, zone, colon_port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inside, port) = rest.rsplit_once(']').ok_or("missing ']' in host")?;
            match inside.split_once("%25") {
                Some((host, zone)) => (decoded_host(host)?, decoded(zone), port),
                None => (decoded_host(inside)?, String::new(), port),
            }
        }
        None => {
            let (host, port) = authority.split_at(authority.rfind(':').unwrap_or(authority.len()));
            (decoded_host(host)?, String::new(), port)
        }
    };
    match colon_port.strip_prefix(':') {
        None if colon_port.is_empty() => Ok((host, zone, String::new())),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, zone, port.to_string())),
        _ => Err(format!("invalid port {colon_port:?} after host")),
    }
}

/// A host in which only characters beyond ASCII may be escaped.
fn decoded_host(host: &str) -> Result<String, String> {
    if let Some(bad) = host.bytes().find(|byte| matches!(byte, b' ' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')) {
        return Err(format!("invalid character {:?} in host name", char::from(bad)));
    }
    for (at, _) in host.match_indices('%') {
        let escape = host.get(at..at + 3).unwrap_or(&host[at..]);
        if !matches!(escape.as_bytes(), [b'%', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', _]) {
            return Err(format!("invalid URL escape {escape:?}"));
        }
    }
    Ok(decoded(host))
}

/// A text with its escapes decoded. Those that are malformed stay.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
