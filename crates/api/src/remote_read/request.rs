//! Decodes remote-read requests: their selections and the response formats that they accept.

use pharos_model::{Labels, MatchOp, Matcher, SelectRequest, TimeRange};
use pharos_promql::syntax::MAX_REGEX_BYTES;
use pharos_transport::prometheus::label_matcher::Type;
use pharos_transport::prometheus::read_request::ResponseType;
use pharos_transport::prometheus::{LabelMatcher, Query, ReadRequest};
use prost::Message;

use super::ReadError;

/// Maximum size of a request, bytes, decompressed and, because snappy hardly makes anything longer, also compressed. Requests
/// hold only matchers.
pub(crate) const MAX_REQUEST_BYTES: usize = 2 << 20;

/// Decompresses and decodes a request.
pub(super) fn decode(body: &[u8]) -> Result<ReadRequest, ReadError> {
    let bad = |error: snap::Error| ReadError::BadRequest(format!("snappy: corrupt input: {error}"));
    let declared = snap::raw::decompress_len(body).map_err(bad)?;
    if declared > MAX_REQUEST_BYTES {
        let text = format!("decoded size {declared} exceeds the {MAX_REQUEST_BYTES} bytes limit");
        return Err(ReadError::BadRequest(text));
    }
    let request = snap::raw::Decoder::new().decompress_vec(body).map_err(bad)?;
    ReadRequest::decode(&request[..]).map_err(|error| ReadError::BadRequest(format!("proto: {error}")))
}

/// Returns the first supported response type that the sender accepts. Defaults to samples if it names none.
pub(super) fn response_type(request: &ReadRequest) -> Result<ResponseType, ReadError> {
    let accepted = &request.accepted_response_types;
    if accepted.is_empty() {
        return Ok(ResponseType::Samples);
    }
    accepted.iter().find_map(|number| ResponseType::try_from(*number).ok()).ok_or_else(|| {
        ReadError::BadRequest(format!(
            "server does not support any of the requested response types: {:?}; supported: SAMPLES, STREAMED_XOR_CHUNKS",
            accepted.iter().take(16).collect::<Vec<_>>()
        ))
    })
}

/// Builds the selection of a query. Stored series lack external labels, so a matcher for the value of an external label
/// becomes a matcher for its absence.
pub(super) fn selection(query: &Query, external: &Labels, max_series: usize) -> Result<SelectRequest, ReadError> {
    let mut matchers = Vec::with_capacity(query.matchers.len());
    let mut regex_bytes = 0;
    for matcher in &query.matchers {
        let matcher = to_matcher(matcher, external)?;
        regex_bytes += matcher.regex_bytes();
        if regex_bytes > MAX_REGEX_BYTES {
            let text =
                format!("the regular expressions of a query may take no more than {MAX_REGEX_BYTES} bytes together");
            return Err(ReadError::BadRequest(text));
        }
        matchers.push(matcher);
    }
    let range = TimeRange::new(query.start_timestamp_ms, query.end_timestamp_ms);
    Ok(SelectRequest { matchers, range, max_series })
}

fn to_matcher(matcher: &LabelMatcher, external: &Labels) -> Result<Matcher, ReadError> {
    let op = match Type::try_from(matcher.r#type) {
        Ok(Type::Eq) => MatchOp::Equal,
        Ok(Type::Neq) => MatchOp::NotEqual,
        Ok(Type::Re) => MatchOp::Regex,
        Ok(Type::Nre) => MatchOp::NotRegex,
        Err(_) => return Err(ReadError::BadRequest("invalid matcher type".into())),
    };
    let is_external = op == MatchOp::Equal && external.get(&matcher.name) == Some(&matcher.value);
    let value = if is_external { "" } else { &matcher.value };
    Matcher::new(op, &matcher.name, value).map_err(|error| ReadError::BadRequest(error.to_string()))
}
