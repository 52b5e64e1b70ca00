//! Request parameters: from the query string and, of a POST, the form; times and durations as Prometheus reads them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use pharos_model::duration::parse_duration;
use pharos_model::{Matcher, TimeRange};
use pharos_promql::parser;

use crate::error::ApiError;

/// Largest form that is read, bytes.
const MAX_FORM_BYTES: usize = 10 << 20;

/// The parameters of a request, form before query string, as Go's `Request.Form` has them.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Parses `a=b&c=d`.
    pub fn parse(text: &[u8]) -> Self {
        Params(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether a parameter says `true`; it may say `false` or be absent.
    pub fn switch(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::parameter(name, "must be true or false")),
        }
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A time in milliseconds.
    pub fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|text| parse_time(text).map_err(|e| ApiError::parameter(name, e))).transpose()
    }

    /// A time in milliseconds that must be there.
    pub fn required_time(&self, name: &str) -> Result<i64, ApiError> {
        self.time(name)?.ok_or_else(|| ApiError::parameter(name, "cannot parse \"\" to a valid timestamp"))
    }

    /// A duration in milliseconds.
    pub fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|text| parse_seconds_or_duration(text).map_err(|e| ApiError::parameter(name, e))).transpose()
    }

    /// `start` and `end`, all of time when they are absent.
    pub fn range(&self) -> Result<TimeRange, ApiError> {
        let range = TimeRange::new(
            self.time("start")?.unwrap_or(TimeRange::ALL.start),
            self.time("end")?.unwrap_or(TimeRange::ALL.end),
        );
        if range.is_empty() {
            return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
        }
        Ok(range)
    }

    /// `limit`, 0 for none.
    pub fn limit(&self) -> Result<usize, ApiError> {
        self.count("limit")
    }

    /// A number that may not be negative, 0 when it is absent.
    pub fn count(&self, name: &str) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else { return Ok(0) };
        let number: i64 = text
            .parse()
            .map_err(|_| ApiError::parameter(name, format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?;
        usize::try_from(number).map_err(|_| ApiError::parameter(name, "limit must be non-negative"))
    }

    /// The selectors of `match[]`.
    pub fn matchers(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        self.all("match[]")
            .map(|text| {
                let matchers = parser::parse_metric_selector(text).map_err(|e| ApiError::parameter("match[]", e))?;
                if matchers.iter().all(Matcher::matches_empty) {
                    let reason = "match[] must contain at least one non-empty matcher";
                    return Err(ApiError::parameter("match[]", reason));
                }
                Ok(matchers)
            })
            .collect()
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let query = request.uri().query().unwrap_or("").as_bytes().to_vec();
        let is_form = request.method() == Method::POST
            && request
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|v| v.to_str().ok())
                .is_some_and(|v| v.starts_with("application/x-www-form-urlencoded"));
        let form: Bytes = if is_form {
            axum::body::to_bytes(request.into_body(), MAX_FORM_BYTES)
                .await
                .map_err(|e| ApiError::bad_data(format!("error parsing form values: {e}")))?
        } else {
            Bytes::new()
        };
        let mut params = Params::parse(&form);
        params.0.extend(Params::parse(&query).0);
        Ok(params)
    }
}

/// The earliest and latest times that parse; Prometheus's Go times end there, so that nothing overflows.
const MAX_TIME_MS: f64 = 9_223_372_036_854_774.0;

/// Reads a time: seconds since the epoch with decimals, or RFC 3339. Returns milliseconds.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_number(text) {
        let ms = (seconds * 1000.0).round();
        if ms.is_finite() && ms.abs() <= MAX_TIME_MS {
            return Ok(ms as i64);
        }
    } else if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    Err(format!("cannot parse {text:?} to a valid timestamp"))
}

/// Reads a duration: seconds with decimals, or `1h30m`. Returns milliseconds.
pub fn parse_seconds_or_duration(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_number(text) {
        let ms = seconds * 1000.0;
        if !ms.is_finite() || ms.abs() > MAX_TIME_MS {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok(ms as i64);
    }
    parse_duration(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
}

fn parse_number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc3339() {
        assert_eq!(parse_time("1435781430.781"), Ok(1_435_781_430_781));
        assert_eq!(parse_time("-0.5"), Ok(-500));
        assert_eq!(parse_time("2015-07-01T20:10:51.781Z"), Ok(1_435_781_451_781));
        assert_eq!(parse_time("2015-07-01T22:10:51.781+02:00"), Ok(1_435_781_451_781));
        assert_eq!(parse_time("foo"), Err("cannot parse \"foo\" to a valid timestamp".into()));
        assert!(parse_time("1e300").is_err() && parse_time("NaN").is_err());
    }

    #[test]
    fn durations_are_seconds_or_prometheus_durations() {
        assert_eq!(parse_seconds_or_duration("1.5"), Ok(1500));
        assert_eq!(parse_seconds_or_duration("1h30m"), Ok(5_400_000));
        assert!(parse_seconds_or_duration("1e99").unwrap_err().contains("overflows"));
        assert_eq!(parse_seconds_or_duration("x"), Err("cannot parse \"x\" to a valid duration".into()));
    }

    #[test]
    fn matchers_must_not_match_everything() {
        let params = Params::parse(b"match%5B%5D=up&match[]={job=~%22.*%22}");
        let error = params.matchers().unwrap_err();
        assert_eq!(error.message, "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher");
        assert_eq!(Params::parse(b"match%5B%5D=up").matchers().unwrap().len(), 1);
    }
}
