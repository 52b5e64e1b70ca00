//! The format of a federated page, negotiated as Prometheus does: protobuf or text, and how it writes names that old readers
//! do not know.

use std::borrow::Cow;
use std::fmt::Write as _;

use axum::http::{HeaderMap, header};
use pharos_model::labels::is_legacy_metric_name;

/// How names are written that do not have the classic form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaping {
    /// As they are, in quotes.
    AllowUtf8,
    /// Each other character becomes `_`.
    Underscores,
    /// Dots become `_dot_`, underscores and other characters two underscores.
    Dots,
    /// `U__`, with the code of each other character between underscores, which can be undone.
    Values,
}

const SCHEMES: [(&str, Escaping); 4] = [
    ("allow-utf-8", Escaping::AllowUtf8),
    ("underscores", Escaping::Underscores),
    ("dots", Escaping::Dots),
    ("values", Escaping::Values),
];

/// A format and the escaping of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Length-delimited protobuf messages instead of text.
    pub(super) is_protobuf: bool,
    pub(super) escaping: Escaping,
}

/// A clause of the header `Accept`.
struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    weight: f64,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        let pair =
            |part: &'a str| part.split_once('=').map(|(name, value)| (name.trim(), value.trim().trim_matches('"')));
        let parameters: Vec<_> = parts.filter_map(pair).collect();
        let mut clause = Clause { media, parameters, weight: 1.0 };
        clause.weight = clause.parameter("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
        clause
    }

    fn parameter(&self, wanted: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
    }

    fn is_protobuf(&self) -> bool {
        self.media.eq_ignore_ascii_case("application/vnd.google.protobuf")
            && self.parameter("proto") == Some("io.prometheus.client.MetricFamily")
            && self.parameter("encoding") == Some("delimited")
    }

    fn is_text(&self) -> bool {
        self.media.eq_ignore_ascii_case("text/plain") && matches!(self.parameter("version"), None | Some("" | "0.0.4"))
    }
}

impl Format {
    /// The most wanted format that the client accepts; text if there is none. Names are only written in quotes for clients
    /// that ask for it.
    pub(super) fn negotiate(headers: &HeaderMap) -> Self {
        let accept: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut clauses: Vec<_> = accept.iter().flat_map(|value| value.split(',')).map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let mut format = Format { is_protobuf: false, escaping: Escaping::Underscores };
        for clause in clauses {
            let named = clause.parameter("escaping").and_then(|name| SCHEMES.iter().find(|(n, _)| *n == name));
            format.escaping = named.map_or(format.escaping, |(_, escaping)| *escaping);
            format.is_protobuf = clause.is_protobuf();
            if format.is_protobuf || clause.is_text() {
                break;
            }
        }
        format
    }

    /// The value of `Content-Type`.
    pub(super) fn content_type(self) -> String {
        let escaping = SCHEMES.iter().find(|(_, scheme)| *scheme == self.escaping).map_or("", |(name, _)| name);
        match self.is_protobuf {
            true => format!(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping={escaping}"
            ),
            false => format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}"),
        }
    }
}

impl Escaping {
    /// The name of a metric or label, escaped unless it has the classic form.
    pub(super) fn name(self, name: &str) -> Cow<'_, str> {
        if self == Escaping::AllowUtf8 || name.is_empty() || is_legacy_metric_name(name) {
            return name.into();
        }
        let mut escaped = String::with_capacity(2 * name.len());
        if self == Escaping::Values {
            escaped.push_str("U__");
        }
        for (i, c) in name.chars().enumerate() {
            let is_plain = c.is_ascii_alphabetic() || c == '_' || c == ':' || (i > 0 && c.is_ascii_digit());
            match (self, c) {
                (Escaping::Dots | Escaping::Values, '_') => escaped.push_str("__"),
                (_, c) if is_plain => escaped.push(c),
                (Escaping::Dots, '.') => escaped.push_str("_dot_"),
                (Escaping::Dots, _) => escaped.push_str("__"),
                (Escaping::Values, c) => {
                    // Writing to a string cannot fail.
                    let _infallible = write!(escaped, "_{:x}_", u32::from(c));
                }
                _ => escaped.push('_'),
            }
        }
        escaped.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &str) -> (bool, Escaping) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let format = Format::negotiate(&headers);
        (format.is_protobuf, format.escaping)
    }

    #[test]
    fn protobuf_is_sent_to_clients_that_prefer_it() {
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        assert_eq!(negotiated(PROTOBUF), (true, Escaping::Underscores));
        assert_eq!(negotiated(&format!("text/plain;q=0.5,{PROTOBUF};q=0.6")), (true, Escaping::Underscores));
        assert_eq!(negotiated(&format!("{PROTOBUF};q=0.4,text/plain;q=0.5")), (false, Escaping::Underscores));
        for other in ["*/*", "application/vnd.google.protobuf", &PROTOBUF.replace("delimited", "text")] {
            assert_eq!(negotiated(other), (false, Escaping::Underscores), "{other}");
        }
    }

    #[test]
    fn names_are_written_as_the_client_asks() {
        assert_eq!(negotiated("text/plain;version=1.0.0;escaping=allow-utf-8"), (false, Escaping::AllowUtf8));
        assert_eq!(negotiated("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), (false, Escaping::Underscores));
        assert_eq!(negotiated("text/plain;escaping=dots, text/plain;escaping=values;q=0.9"), (false, Escaping::Dots));
        assert_eq!(negotiated("text/plain;escaping=unknown"), (false, Escaping::Underscores));
    }

    #[test]
    fn names_without_the_classic_form_are_escaped() {
        for (scheme, expected) in [
            (Escaping::AllowUtf8, "http.a_b/é"),
            (Escaping::Underscores, "http_a_b__"),
            (Escaping::Dots, "http_dot_a__b____"),
            (Escaping::Values, "U__http_2e_a__b_2f__e9_"),
        ] {
            assert_eq!(scheme.name("http.a_b/é"), expected);
            assert_eq!(scheme.name("a_b:c"), "a_b:c");
        }
    }
}
