//! Request parameters from POST forms and query strings. Times and durations parse as in Prometheus.

mod form;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::Method;
use pharos_gocompat::parse_duration;
use pharos_model::{Hold, Matcher, Purpose, TimeRange};
use pharos_promql::syntax;

use self::form::FormType;
use crate::error::{ApiError, ErrorKind};
use crate::{Api, tenant_of};

/// Maximum size of a form, bytes.
const MAX_FORM_BYTES: usize = 10 << 20;
/// Maximum number of parameters, as in Go.
const MAX_PARAMETERS: usize = 10_000;

/// How often the text of a parameter is held while its request is handled: in the body, decoded, in the registry of queries and in
/// logs.
const COPIES: usize = 4;

/// The parameters of a request. Those of the form precede those of the query string, as in Go's `Request.Form`. Their memory, and
/// that of what is parsed from them, is drawn from the account of memory until they are dropped.
#[derive(Clone, Debug, Default)]
pub struct Params {
    values: Vec<(String, String)>,
    hold: Option<Arc<Hold>>,
}

impl Params {
    /// Parses URL-encoded parameters such as `a=b&c=d`.
    pub fn parse(text: &[u8]) -> Self {
        Params { values: url::form_urlencoded::parse(text).into_owned().collect(), hold: None }
    }

    /// Draws memory for what is made of the parameters.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn draw(&self, bytes: usize) -> Result<(), ApiError> {
        Ok(self.hold.as_ref().map_or(Ok(()), |hold| hold.draw(bytes as u64))?)
    }

    /// Returns the first value of a parameter. An empty value counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Returns whether a parameter is `true`. An absent parameter is `false`.
    ///
    /// # Errors
    /// The value is neither `true` nor `false`.
    pub fn switch(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::parameter(name, "must be true or false")),
        }
    }

    /// Returns all values of a parameter, including empty ones.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Parses an optional time parameter. Returns milliseconds since the epoch.
    pub fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let invalid = |e| ApiError::parameter(name, format!("invalid time value for '{name}': {e}"));
        self.get(name).map(|text| parse_time(text).map_err(invalid)).transpose()
    }

    /// Parses a required time parameter. Returns milliseconds since the epoch.
    ///
    /// # Errors
    /// The parameter is absent or not a time.
    pub fn required_time(&self, name: &str) -> Result<i64, ApiError> {
        parse_time(self.get(name).unwrap_or("")).map_err(|e| ApiError::parameter(name, e))
    }

    /// Parses an optional duration parameter. Returns milliseconds.
    pub fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|text| parse_seconds_or_duration(text).map_err(|e| ApiError::parameter(name, e))).transpose()
    }

    /// Parses the parameter `timeout`. A negative timeout becomes zero.
    pub fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        Ok(self.duration("timeout")?.map(|ms| Duration::from_millis(ms.max(0) as u64)))
    }

    /// Parses the parameter `lookback_delta`, which limits how far back an instant selector looks. Returns
    /// milliseconds. Zero and less stand for the default.
    pub fn lookback_delta(&self) -> Result<Option<i64>, ApiError> {
        let invalid = |e| ApiError::bad_data(format!("error parsing lookback delta duration: {e}"));
        let given = self.get("lookback_delta").map(|text| parse_seconds_or_duration(text).map_err(invalid));
        Ok(given.transpose()?.filter(|ms| *ms > 0))
    }

    /// Parses the range from `start` to `end`, which is empty when `end` is before `start`. An absent parameter leaves
    /// its side unbounded, as do the bounds of time of Go's client.
    ///
    /// # Errors
    /// A time is invalid.
    pub fn range(&self) -> Result<TimeRange, ApiError> {
        let start = self.time("start")?.filter(|start| *start > MIN_TIME_MS);
        let end = self.time("end")?.filter(|end| *end < MAX_TIME_MS);
        Ok(TimeRange::new(start.unwrap_or(TimeRange::ALL.start), end.unwrap_or(TimeRange::ALL.end)))
    }

    /// As [`Params::range`], but refuses an empty range.
    ///
    /// # Errors
    /// A time is invalid, or `end` is before `start`.
    pub fn nonempty_range(&self) -> Result<TimeRange, ApiError> {
        let range = self.range()?;
        if range.is_empty() {
            return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
        }
        Ok(range)
    }

    /// Parses the parameter `limit`. Returns 0, which means no limit, if it is absent.
    pub fn limit(&self) -> Result<usize, ApiError> {
        self.count("limit")
    }

    /// Parses a parameter as a non-negative number. Returns 0 if it is absent.
    pub fn count(&self, name: &str) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else { return Ok(0) };
        let number: i64 = text
            .parse()
            .map_err(|_| ApiError::parameter(name, format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?;
        usize::try_from(number).map_err(|_| ApiError::parameter(name, "limit must be non-negative"))
    }

    /// Parses a parameter as an upper bound. Returns `None` if it is absent or negative.
    pub fn bound(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: i64 = text.parse().map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
        Ok(usize::try_from(number).ok())
    }

    /// Like [`Params::selectors`], but errors name the parameter.
    pub fn matchers(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        self.selectors().map_err(|error| match error.kind {
            ErrorKind::BadData => ApiError::parameter("match[]", error),
            _ => error,
        })
    }

    /// Parses the distinct selectors of `match[]`.
    ///
    /// # Errors
    /// A selector is invalid or matches everything, the regular expressions are too long in total, or there is no room for them.
    pub fn selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let selector = |text| {
            let matchers = syntax::parse_metric_selector(text).map_err(|e| ApiError::bad_data(e.to_string()))?;
            match matchers.iter().all(Matcher::matches_empty) {
                true => Err(ApiError::bad_data("match[] must contain at least one non-empty matcher")),
                false => Ok(matchers),
            }
        };
        let mut regex_bytes = 0;
        let mut selectors = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for text in self.all("match[]").filter(|text| seen.insert(*text)) {
            let matchers = selector(text)?;
            let compiled = matchers.iter().map(Matcher::regex_bytes).sum();
            self.draw(compiled)?;
            regex_bytes += compiled;
            if regex_bytes > syntax::MAX_REGEX_BYTES {
                let most = syntax::MAX_REGEX_BYTES;
                let text = format!("the regular expressions of match[] may take more than {most} bytes together");
                return Err(ApiError::bad_data(text));
            }
            selectors.push(matchers);
        }
        Ok(selectors)
    }
}

/// Checks the number of parameters before they are decoded, because each takes much more memory than its text.
///
/// # Errors
/// There are more than [`MAX_PARAMETERS`].
fn check_count(encoded: &[u8]) -> Result<(), String> {
    match memchr::memchr_iter(b'&', encoded).nth(MAX_PARAMETERS - 1) {
        Some(_) => Err(too_many()),
        None => Ok(()),
    }
}

fn too_many() -> String {
    format!("there are more than {MAX_PARAMETERS} parameters")
}

impl FromRequest<Arc<Api>> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let query = request.uri().query().unwrap_or("").as_bytes().to_vec();
        // As in Go, other methods have no form.
        let has_form = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        let form_type = FormType::of(request.headers()).filter(|_| has_form);
        let hold = api.memory.open(&tenant_of(request.headers())?, Purpose::Query);
        let mut params = Params::default();
        if let Some(form_type) = form_type {
            let invalid = |e: String| ApiError::bad_data(format!("error parsing form values: {e}"));
            let body =
                crate::body::read(request.into_body(), MAX_FORM_BYTES, &hold).await.map_err(|error| {
                    match error.kind {
                        ErrorKind::BadData => invalid(error.message),
                        _ => error,
                    }
                })?;
            hold.draw((body.len() * (COPIES - 1)) as u64)?;
            params.values = form_type.read(&body).map_err(invalid)?;
        }
        check_count(&query).map_err(ApiError::bad_data)?;
        params.values.extend(Params::parse(&query).values);
        params.hold = Some(Arc::new(hold));
        Ok(params)
    }
}

/// The latest time, milliseconds. Later ones, such as the greatest time of Go's client, count as this one, so that sums
/// and differences of times do not overflow.
const MAX_TIME_MS: i64 = 9_223_372_036_854_774;
/// The earliest time, milliseconds.
const MIN_TIME_MS: i64 = -MAX_TIME_MS;
/// The least time of Go's client in RFC 3339, whose year has more digits than that format allows.
const GO_MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
/// The greatest time of Go's client.
const GO_MAX_TIME: &str = "292277025-08-18T07:12:54.999999999Z";
/// The seconds of these two times, without their sign.
const GO_MAX_SECONDS: f64 = 9_223_309_901_257_974.0;

/// Parses a time, which is either seconds since the epoch with decimals or RFC 3339. Returns milliseconds.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let time = match (text, parse_number(text)) {
        (GO_MIN_TIME, _) => Some(MIN_TIME_MS),
        (GO_MAX_TIME, _) => Some(MAX_TIME_MS),
        (_, Some(seconds)) => (seconds.abs() <= GO_MAX_SECONDS).then(|| milliseconds(seconds)),
        (_, None) => rfc3339(text),
    };
    time.ok_or_else(|| format!("cannot parse {text:?} to a valid timestamp"))
}

/// Converts seconds to milliseconds. Rounds the fraction to milliseconds before it truncates nanoseconds, like
/// Prometheus.
fn milliseconds(seconds: f64) -> i64 {
    let seconds = seconds.clamp(MIN_TIME_MS as f64 / 1000.0, MAX_TIME_MS as f64 / 1000.0);
    let fraction = (seconds.fract() * 1000.0).round() / 1000.0;
    let nanoseconds = (fraction * 1e9) as i64;
    seconds.trunc() as i64 * 1000 + nanoseconds.div_euclid(1_000_000)
}

/// Parses the only form that Go accepts: `2006-01-02T15:04:05`, optional decimals, then `Z` or an offset like `+07:00`.
fn rfc3339(text: &str) -> Option<i64> {
    let shape = |at: usize, b: u8| match at {
        4 | 7 => b == b'-',
        10 => b == b'T',
        13 | 16 => b == b':',
        _ => b.is_ascii_digit(),
    };
    let (local, rest) = text.split_at_checked(19)?;
    if !local.bytes().enumerate().all(|(at, b)| shape(at, b)) || &local[17..] == "60" {
        return None;
    }
    let local: jiff::civil::DateTime = local.parse().ok()?;
    let (decimals, zone) = rest.split_at(rest.find(['Z', '+', '-'])?);
    let digits = match decimals {
        "" => "",
        _ => decimals.strip_prefix(['.', ',']).filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))?,
    };
    let ms = digits.bytes().chain(*b"000").take(3).fold(0, |ms, b| ms * 10 + i64::from(b - b'0'));
    let offset = match zone.as_bytes() {
        b"Z" => 0,
        [sign, h @ ..] if h.len() == 5 && h[2] == b':' => {
            let (hours, minutes): (i64, i64) = (zone[1..3].parse().ok()?, zone[4..].parse().ok()?);
            let is_plain = [h[0], h[1], h[3], h[4]].iter().all(u8::is_ascii_digit) && hours <= 24 && minutes < 60;
            is_plain.then_some(if *sign == b'-' { -1 } else { 1 } * (hours * 60 + minutes))?
        }
        _ => return None,
    };
    let days = i64::from((local.date() - jiff::civil::date(1970, 1, 1)).get_days());
    let clock = i64::from(local.hour()) * 3600 + i64::from(local.minute()) * 60 + i64::from(local.second());
    Some((days * 86_400 + clock - offset * 60) * 1000 + ms)
}

/// Parses a duration, which is either seconds with decimals or units such as `1h30m`. Returns milliseconds.
pub fn parse_seconds_or_duration(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_number(text) {
        let ms = seconds * 1000.0;
        if !ms.is_finite() || ms.abs() > MAX_TIME_MS as f64 {
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
        assert_eq!((parse_time("1.0025"), parse_time("1700000000.0005")), (Ok(1002), Ok(1_700_000_000_000)));
        assert_eq!(parse_time("9999-12-31T23:59:59Z"), Ok(253_402_300_799_000));
        assert_eq!(parse_time("2023-11-14T22:33:20.1234567891-01:30"), Ok(1_700_006_600_123));
        assert_eq!(parse_time("1969-12-31T23:59:59.5Z"), Ok(-500));
        for other in [
            "2023-11-14 22:33:00Z",
            "2023-11-14T22:33Z",
            "2023-11-14t22:33:00z",
            "2023-11-14T22:33:00+01",
            "2023-11-14T22:33:60Z",
            "2023-11-14T22:33:00Z[UTC]",
            "2023-11-14T22:33:00.Z",
            "2023-02-29T22:33:00Z",
            "2023-11-14T22:33:00+é:0",
        ] {
            assert!(parse_time(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_bounds_of_time_of_gos_client_are_taken() {
        for (text, ms) in [(GO_MIN_TIME, MIN_TIME_MS), (GO_MAX_TIME, MAX_TIME_MS)] {
            assert_eq!(parse_time(text), Ok(ms));
        }
        for (text, ms) in [("-9223309901257974", MIN_TIME_MS), ("9223309901257974", MAX_TIME_MS)] {
            assert!((parse_time(text).unwrap() - ms).abs() <= 1000, "{text}");
            assert_eq!(parse_time(&text.replace("974", "974.999999999")), parse_time(text));
        }
        assert!(parse_time("9223309901257980").is_err());
        let all = Params::parse(format!("start={GO_MIN_TIME}&end={GO_MAX_TIME}").as_bytes());
        assert_eq!(all.range().unwrap(), TimeRange::ALL);
    }

    #[test]
    fn an_end_before_the_start_is_an_empty_range() {
        let params = Params::parse(b"start=2&end=1");
        assert!(params.range().unwrap().is_empty());
        assert!(params.nonempty_range().is_err());
    }

    #[test]
    fn a_lookback_of_zero_is_the_default() {
        let lookback = |text: &str| Params::parse(text.as_bytes()).lookback_delta().unwrap();
        assert_eq!(lookback("lookback_delta=0"), None);
        assert_eq!(lookback("lookback_delta=-60"), None);
        assert_eq!(lookback("lookback_delta=1m"), Some(60_000));
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
