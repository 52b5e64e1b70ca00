//! `silences` and `silence/{id}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::json::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use pharos_model::MatchOp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::params::{self, Pairs};
use super::{Api, ApiError, time};
use crate::matcher::Matcher;
use crate::silences::{Silence, SilenceState};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownMatcher<'s> {
    is_equal: bool,
    is_regex: bool,
    name: &'s str,
    value: &'s str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSilence<'s> {
    id: &'s str,
    status: Value,
    updated_at: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'s BTreeMap<String, String>,
    comment: &'s str,
    created_by: &'s str,
    ends_at: String,
    matchers: Vec<ShownMatcher<'s>>,
    starts_at: String,
}

fn show(silence: &Silence, now: Timestamp) -> Result<ShownSilence<'_>, ApiError> {
    if silence.matcher_sets.len() > 1 {
        let reason =
            format!("silence '{}' has multiple matcher sets which is not supported by this API version", silence.id);
        return Err(ApiError::Internal(reason));
    }
    let matchers = silence.matcher_sets.iter().flatten().map(|matcher| ShownMatcher {
        is_equal: matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex),
        is_regex: matches!(matcher.op(), MatchOp::Regex | MatchOp::NotRegex),
        name: matcher.name(),
        value: matcher.value(),
    });
    Ok(ShownSilence {
        id: &silence.id,
        status: json!({"state": silence.state(now).as_str()}),
        updated_at: time::print(Some(silence.updated_at)),
        annotations: &silence.annotations,
        comment: &silence.comment,
        created_by: &silence.created_by,
        ends_at: time::print(Some(silence.ends_at)),
        matchers: matchers.collect(),
        starts_at: time::print(Some(silence.starts_at)),
    })
}

/// Whether a silence has all matchers of a filter.
fn has_matchers(silence: &Silence, wanted: &[Matcher]) -> bool {
    silence.matcher_sets.iter().any(|set| wanted.iter().all(|matcher| set.contains(matcher)))
}

/// All silences: active ones that end first, pending ones that start first, expired ones that ended last.
pub(super) async fn list(State(api): State<Arc<Api>>, Pairs { 0: pairs }: Pairs) -> Result<Response, ApiError> {
    let wanted = params::matchers(&pairs, "filter", api.engine.settings.syntax).map_err(ApiError::BadRequest)?;
    let mut states = Vec::new();
    for (name, state) in
        [("active", SilenceState::Active), ("expired", SilenceState::Expired), ("pending", SilenceState::Pending)]
    {
        states.extend(params::switch(&pairs, name)?.then_some(state));
    }
    let now = api.engine.now();
    let mut silences =
        api.engine.silences(|silence| states.contains(&silence.state(now)) && has_matchers(silence, &wanted));
    silences.sort_by(|a, b| {
        let state = a.state(now);
        state.cmp(&b.state(now)).then_with(|| match state {
            SilenceState::Active => a.ends_at.cmp(&b.ends_at),
            SilenceState::Pending => a.starts_at.cmp(&b.starts_at),
            SilenceState::Expired => b.ends_at.cmp(&a.ends_at),
        })
    });
    let shown = silences.iter().map(|silence| show(silence, now)).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(shown).into_response())
}

/// Checks the id in a path.
fn check_id(id: &str) -> Result<(), ApiError> {
    let is_uuid = id.len() == 36
        && id
            .char_indices()
            .all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { c.is_ascii_hexdigit() });
    if is_uuid { Ok(()) } else { Err(ApiError::type_of("silenceID", "path", "uuid", id)) }
}

/// One silence.
pub(super) async fn get(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    check_id(&id)?;
    let silence = api.engine.silence(&id).ok_or(ApiError::NotFound(None))?;
    Ok(Json(show(&silence, api.engine.now())?).into_response())
}

/// Expires a silence.
pub(super) async fn delete(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    check_id(&id)?;
    match api.engine.expire_silence(&id).await.map_err(ApiError::from) {
        Ok(()) => Ok(StatusCode::OK),
        Err(ApiError::NotFound(_)) => Err(ApiError::NotFound(None)),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    is_equal: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedSilence {
    id: Option<String>,
    matchers: Option<Vec<PostedMatcher>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl PostedSilence {
    /// What is missing.
    fn failures(&self) -> Vec<String> {
        let required = [
            ("comment", self.comment.is_some()),
            ("createdBy", self.created_by.is_some()),
            ("endsAt", self.ends_at.is_some()),
            ("matchers", self.matchers.is_some()),
            ("startsAt", self.starts_at.is_some()),
        ];
        let missing = required.into_iter().filter(|(_, is_given)| !is_given);
        let mut failures: Vec<String> = missing.map(|(name, _)| format!("{name} in body is required")).collect();
        if self.matchers.as_ref().is_some_and(Vec::is_empty) {
            failures.push("matchers in body should have at least 1 items".into());
        }
        for (position, matcher) in self.matchers.iter().flatten().enumerate() {
            let required = [
                ("isRegex", matcher.is_regex.is_some()),
                ("name", matcher.name.is_some()),
                ("value", matcher.value.is_some()),
            ];
            let missing = required.into_iter().filter(|(_, is_given)| !is_given);
            failures.extend(missing.map(|(name, _)| format!("matchers.{position}.{name} in body is required")));
        }
        failures
    }
}

/// Creates or changes a silence.
pub(super) async fn post(State(api): State<Arc<Api>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let posted: PostedSilence = serde_json::from_slice(&body)
        .map_err(|error| ApiError::Unreadable(format!("parsing silence body from \"\" failed, because {error}")))?;
    let failures = posted.failures();
    if !failures.is_empty() {
        return Err(ApiError::validation(&failures));
    }
    let draft = draft(posted, api.engine.now())?;
    let id = api.engine.set_silence(draft).await?;
    Ok(Json(json!({"silenceID": id})))
}

/// The silence that a request asks for.
fn draft(posted: PostedSilence, now: Timestamp) -> Result<Silence, ApiError> {
    let mut matchers = Vec::new();
    for (position, posted) in posted.matchers.unwrap_or_default().into_iter().enumerate() {
        let op = match (posted.is_equal.unwrap_or(true), posted.is_regex.unwrap_or(false)) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        };
        let (name, value) = (posted.name.unwrap_or_default(), posted.value.unwrap_or_default());
        let matcher = Matcher::new(op, &name, &value).map_err(|error| {
            ApiError::BadRequest(format!(
                "invalid silence: invalid label matcher {position} in set 0: invalid regular expression {value:?}: {error}"
            ))
        });
        matchers.push(matcher?);
    }
    let read = |text: Option<String>| {
        let read = time::parse(text.as_deref().unwrap_or_default());
        read.map_err(|error| ApiError::Unreadable(format!("parsing silence body from \"\" failed, because {error}")))
    };
    let (starts_at, ends_at) = (read(posted.starts_at)?, read(posted.ends_at)?);
    // A time that is none is before all others.
    if starts_at >= ends_at {
        return Err(ApiError::BadRequest("Failed to create silence: start time must be before end time".into()));
    }
    let ends_at = ends_at.unwrap_or(now);
    if ends_at < now {
        return Err(ApiError::BadRequest("Failed to create silence: end time can't be in the past".into()));
    }
    Ok(Silence {
        id: posted.id.unwrap_or_default(),
        matcher_sets: vec![matchers],
        starts_at: starts_at.unwrap_or(now),
        ends_at,
        updated_at: now,
        created_by: posted.created_by.unwrap_or_default(),
        comment: posted.comment.unwrap_or_default(),
        annotations: posted.annotations.unwrap_or_default(),
        expires_at: ends_at,
    })
}
