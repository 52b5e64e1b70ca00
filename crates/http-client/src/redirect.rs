//! Redirects, followed as Go's client follows them.
//!
//! Credentials go along to any port of the host that the request was meant for, and to its subdomains. Once a redirect has
//! left that host, they stay behind, even if a later one returns to it.

use reqwest::header::{
    AUTHORIZATION, COOKIE, HeaderName, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE,
};
use reqwest::{Response, StatusCode, Url};

use crate::HttpError;

const MAX_REDIRECTS: usize = 10;

/// A request on the way from its first URL to the one that answers.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) url: Url,
    /// The host of the first URL.
    host: String,
    /// Whether some redirect has left that host.
    pub(crate) has_left_host: bool,
    redirects: usize,
}

impl Hop {
    /// The first request.
    pub(crate) fn first(url: &str) -> Result<Self, HttpError> {
        let parsed = Url::parse(url).map_err(|e| HttpError::Failed(format!("Get {url:?}: {e}")))?;
        let host = parsed.host_str().unwrap_or_default().to_string();
        Ok(Hop { url: parsed, host, has_left_host: false, redirects: 0 })
    }

    /// The request that a response redirects to; `None` when it does not redirect.
    pub(crate) fn next(&self, response: &Response) -> Result<Option<Self>, HttpError> {
        use StatusCode as S;
        let redirects = [S::MOVED_PERMANENTLY, S::FOUND, S::SEE_OTHER, S::TEMPORARY_REDIRECT, S::PERMANENT_REDIRECT];
        if !redirects.contains(&response.status()) {
            return Ok(None);
        }
        let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
        let failed = |what: String| HttpError::Failed(format!("Get {:?}: {what}", self.url.as_str()));
        if self.redirects >= MAX_REDIRECTS {
            return Err(failed(format!("stopped after {MAX_REDIRECTS} redirects")));
        }
        let location = String::from_utf8_lossy(location.as_bytes());
        let url = self.url.join(&location).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let url = url.ok_or_else(|| failed(format!("cannot follow the redirect to {location:?}")))?;
        let is_same_host = is_domain_or_subdomain(url.host_str().unwrap_or_default(), &self.host);
        Ok(Some(Hop {
            has_left_host: self.has_left_host || !is_same_host,
            url,
            host: self.host.clone(),
            redirects: self.redirects + 1,
        }))
    }
}

/// Whether a header only goes to the host that it was configured for.
pub(crate) fn is_sensitive(name: &str) -> bool {
    let sensitive: [HeaderName; 5] = [AUTHORIZATION, COOKIE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE];
    name.eq_ignore_ascii_case("cookie2") || sensitive.iter().any(|header| name.eq_ignore_ascii_case(header.as_str()))
}

/// Whether a host is another one or a subdomain of it. Addresses have no subdomains.
fn is_domain_or_subdomain(host: &str, parent: &str) -> bool {
    let is_address = || host.contains(':') || host.parse::<std::net::Ipv4Addr>().is_ok();
    host == parent || (!is_address() && host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_belong_to_their_domain() {
        assert!(is_domain_or_subdomain("a.example.com", "example.com"));
        assert!(!is_domain_or_subdomain("notexample.com", "example.com"));
        assert!(!is_domain_or_subdomain("example.com", "a.example.com"));
        assert!(!is_domain_or_subdomain("1.2.3.4", "3.4"));
    }
}
