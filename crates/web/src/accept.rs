//! What a client accepts, by its request's headers.

use axum::http::header::{ACCEPT, ACCEPT_ENCODING, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName};

/// The items of a header that may appear several times, without their parameters, and whether one has `q=0`.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'a str, bool)> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let is_refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0));
        (name, is_refused)
    })
}

/// Whether a client asks for HTML by name, as browsers do.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    items(headers, &ACCEPT).any(|(item, is_refused)| item.eq_ignore_ascii_case("text/html") && !is_refused)
}

/// Whether a client can read gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    items(headers, &ACCEPT_ENCODING).any(|(item, is_refused)| item.eq_ignore_ascii_case("gzip") && !is_refused)
}

/// Whether a client has the version with this tag.
pub(crate) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let weak = |tag: &str| tag.trim_start_matches("W/").to_string();
    items(headers, &IF_NONE_MATCH).any(|(item, _)| item == "*" || weak(item) == weak(tag))
}
