//! The HTTP client of all commands: a tenant's view of a server.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use url::form_urlencoded;

use crate::error::Error;

/// The longest wait for a response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How much of an unexpected response is quoted in an error, characters.
const MAX_QUOTED: usize = 300;

/// A server as one tenant sees it.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: Client,
    url: String,
    tenant: Option<String>,
}

/// The result of a query: series with their points.
#[derive(Deserialize, Debug)]
pub(crate) struct Answer {
    data: Data,
}

#[derive(Deserialize, Debug)]
struct Data {
    result: serde_json::Value,
}

/// A series of an answer. An instant query gives `value`, a range query and a range selector give `values`.
#[derive(Deserialize, Debug, Default, PartialEq)]
#[serde(default)]
pub(crate) struct Row {
    pub(crate) metric: std::collections::BTreeMap<String, String>,
    value: Option<Point>,
    values: Vec<Point>,
}

/// Time in seconds, and the value as text.
type Point = (f64, String);

impl Api {
    /// Connects when the first request is sent. `connections` is how many idle ones are kept.
    pub(crate) fn new(url: &str, tenant: Option<String>, connections: usize) -> Result<Self, Error> {
        // An error means that a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().pool_max_idle_per_host(connections).timeout(REQUEST_TIMEOUT);
        Ok(Api { client: client.build().map_err(Error::Client)?, url: url.to_string(), tenant })
    }

    /// A POST to the server's URL followed by `path`.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        let request = self.client.post(self.address(path));
        match &self.tenant {
            Some(tenant) => request.header("x-scope-orgid", tenant),
            None => request,
        }
    }

    /// Posts a form and returns the body. Any status but success is an error.
    pub(crate) async fn form(&self, path: &str, fields: &[(&str, String)]) -> Result<Bytes, Error> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self
            .post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cache-control", "no-store")
            .body(body);
        let failed = |source| Error::Request { url: self.address(path), source };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        if !status.is_success() {
            return Err(Error::Status { url: self.address(path), status, body: quote(&body) });
        }
        Ok(body)
    }

    /// Decodes the answer to a query at `path`.
    pub(crate) fn rows(&self, path: &str, body: &[u8]) -> Result<Vec<Row>, Error> {
        rows(body).map_err(|source| Error::Response { url: self.address(path), source })
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// The series of an answer; none when it is a scalar or a string.
fn rows(body: &[u8]) -> serde_json::Result<Vec<Row>> {
    let Answer { data } = serde_json::from_slice(body)?;
    let serde_json::Value::Array(rows) = data.result else { return Ok(Vec::new()) };
    // A scalar and a string are arrays too: one point instead of series.
    if rows.iter().any(|row| !row.is_object()) {
        return Ok(Vec::new());
    }
    rows.into_iter().map(serde_json::from_value).collect()
}

impl Row {
    /// All points: time in milliseconds, and the value. Unreadable values are not a number.
    pub(crate) fn points(&self) -> impl Iterator<Item = (i64, f64)> {
        let point = |(seconds, value): &Point| ((seconds * 1000.0).round() as i64, value.parse().unwrap_or(f64::NAN));
        self.value.iter().chain(&self.values).map(point)
    }
}

/// The beginning of a body, for an error.
pub(crate) fn quote(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(MAX_QUOTED).collect()
}

/// Whether the same request may succeed later.
pub(crate) fn is_retryable(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || !status.is_client_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_read_with_labels_and_points() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"a":"b"},"values":[[1.5,"1"],[2,"+Inf"]]}]}}"#;
        let found = rows(body).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].metric["a"], "b");
        assert_eq!(found[0].points().collect::<Vec<_>>(), [(1500, 1.0), (2000, f64::INFINITY)]);
    }

    #[test]
    fn a_vector_has_one_point_per_series() {
        let found = rows(br#"{"data":{"result":[{"metric":{},"value":[1,"2"]}]}}"#).unwrap();
        assert_eq!(found[0].points().collect::<Vec<_>>(), [(1000, 2.0)]);
    }

    #[test]
    fn a_scalar_has_no_series() {
        assert_eq!(rows(br#"{"data":{"result":[1,"2"]}}"#).unwrap(), []);
    }

    #[test]
    fn an_answer_without_data_is_an_error() {
        assert!(rows(br#"{"status":"error"}"#).is_err());
        assert!(rows(b"<html>").is_err());
    }

    #[test]
    fn an_unreadable_value_is_not_a_number() {
        let row = Row { value: Some((1.0, "many".to_string())), ..Row::default() };
        assert!(row.points().all(|(_, value)| value.is_nan()));
    }

    #[test]
    fn only_client_errors_are_final() {
        for (status, retryable) in [(400, false), (404, false), (413, false), (429, true), (500, true), (503, true)] {
            assert_eq!(is_retryable(StatusCode::from_u16(status).unwrap()), retryable, "{status}");
        }
    }

    #[test]
    fn a_quoted_body_is_cut_at_a_character() {
        assert_eq!(quote("é".repeat(400).as_bytes()).chars().count(), MAX_QUOTED);
    }
}
