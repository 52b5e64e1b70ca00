//! `rules`, `alerts` and `alertmanagers`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pharos_gocompat::strconv::GoFloat;
use pharos_model::{Labels, Matcher};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::respond;
use crate::Api;
use crate::error::ApiError;
use crate::params::Params;
use crate::services::{Alert, Rule, RuleGroup};
use crate::viewer::Viewer;

/// Handles `GET /api/v1/rules`.
pub(super) async fn rules(State(api): State<Arc<Api>>, viewer: Viewer, params: Params) -> Response {
    let selection = match Selection::read(&params) {
        Ok(selection) => selection,
        Err(error) => return error.into_response(),
    };
    let rules = api.services.rules(&viewer.tenant).await;
    match selection.page(&rules.groups) {
        Ok(page) => respond::success_with_warnings(page, &rules.warnings),
        Err(error) => error.into_response(),
    }
}

/// Handles `GET /api/v1/alerts`.
pub(super) async fn alerts(State(api): State<Arc<Api>>, viewer: Viewer) -> Response {
    let rules = api.services.rules(&viewer.tenant).await;
    let alerting = rules.groups.iter().flat_map(|group| &group.rules).filter_map(|rule| rule.alerting.as_ref());
    let alerts: Vec<AlertJson<'_>> = alerting.flat_map(|rule| &rule.alerts).map(AlertJson::new).collect();
    respond::success_with_warnings(json!({"alerts": alerts}), &rules.warnings)
}

/// Handles `GET /api/v1/alertmanagers`.
pub(super) async fn alertmanagers(State(api): State<Arc<Api>>) -> Response {
    let known = api.services.alertmanagers().await;
    let urls = |urls: Vec<String>| urls.into_iter().map(|url| json!({"url": url})).collect::<Vec<_>>();
    respond::success(json!({"activeAlertmanagers": urls(known.active), "droppedAlertmanagers": urls(known.dropped)}))
}

/// Which rules a request asks for.
struct Selection {
    alerting: bool,
    recording: bool,
    with_alerts: bool,
    rules: BTreeSet<String>,
    groups: BTreeSet<String>,
    files: BTreeSet<String>,
    /// A rule must match all matchers of one of these sets. Without sets, all rules match.
    matchers: Vec<Vec<Matcher>>,
    /// The most groups of a page.
    limit: Option<usize>,
    /// The first group of the page.
    token: Option<String>,
}

impl Selection {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let matchers = params.selectors()?;
        let kind = params.get("type").unwrap_or("").to_lowercase();
        if !["", "alert", "record"].contains(&kind.as_str()) {
            return Err(ApiError::parameter("type", format!("not supported value {kind:?}")));
        }
        let with_alerts = match params.get("exclude_alerts").unwrap_or("false").to_lowercase().as_str() {
            "1" | "t" | "true" => false,
            "0" | "f" | "false" => true,
            other => {
                let reason =
                    format!("error converting exclude_alerts: strconv.ParseBool: parsing {other:?}: invalid syntax");
                return Err(ApiError::parameter("exclude_alerts", reason));
            }
        };
        let token = params.get("group_next_token").map(str::to_string);
        let limit = match params.get("group_limit").map(str::parse::<i32>) {
            None if token.is_some() => {
                let reason = "group_limit needs to be present in order to paginate over the groups";
                return Err(ApiError::parameter("group_next_token", reason));
            }
            None => None,
            Some(Err(_)) => return Err(ApiError::parameter("group_limit", "group_limit needs to be a valid number")),
            Some(Ok(..=0)) => {
                return Err(ApiError::parameter("group_limit", "group_limit needs to be greater than 0"));
            }
            Some(Ok(limit)) => Some(limit as usize),
        };
        let set = |name| params.all(name).map(str::to_string).collect();
        Ok(Selection {
            alerting: kind != "record",
            recording: kind != "alert",
            with_alerts,
            rules: set("rule_name[]"),
            groups: set("rule_group[]"),
            files: set("file[]"),
            matchers,
            limit,
            token,
        })
    }

    fn has_rule(&self, rule: &Rule) -> bool {
        let is_wanted_kind = if rule.alerting.is_some() { self.alerting } else { self.recording };
        let is_named = self.rules.is_empty() || self.rules.contains(&rule.name);
        let matches = |set: &Vec<Matcher>| set.iter().all(|m| m.matches(rule.labels.get(&m.name).unwrap_or("")));
        is_wanted_kind && is_named && (self.matchers.is_empty() || self.matchers.iter().any(matches))
    }

    fn has_group(&self, group: &RuleGroup) -> bool {
        (self.groups.is_empty() || self.groups.contains(&group.name))
            && (self.files.is_empty() || self.files.contains(&group.file))
    }

    /// The groups of one page, without those that have no rule that was asked for.
    fn page<'a>(&self, groups: &'a [RuleGroup]) -> Result<Page<'a>, ApiError> {
        let first = match &self.token {
            None => 0,
            Some(token) => groups.iter().position(|group| token_of(group) == *token).ok_or_else(|| {
                let reason = format!("invalid group_next_token '{token}'. were rule groups changed?");
                ApiError::parameter("group_next_token", reason)
            })?,
        };
        let mut page = Page { groups: Vec::new(), next: None };
        for group in groups.iter().skip(first).filter(|group| self.has_group(group)) {
            let rules = group.rules.iter().filter(|rule| self.has_rule(rule));
            let rules: Vec<RuleJson<'_>> = rules.map(|rule| RuleJson::new(rule, self.with_alerts)).collect();
            if rules.is_empty() {
                continue;
            }
            if self.limit == Some(page.groups.len()) {
                page.next = Some(token_of(group));
                break;
            }
            page.groups.push(GroupJson::new(group, rules));
        }
        Ok(page)
    }
}

/// What a client sends to continue at a group.
fn token_of(group: &RuleGroup) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{};{}", group.file, group.name).as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize)]
struct Page<'a> {
    groups: Vec<GroupJson<'a>>,
    #[serde(rename = "groupNextToken", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupJson<'a> {
    name: &'a str,
    file: &'a str,
    rules: Vec<RuleJson<'a>>,
    interval: Seconds,
    limit: usize,
    evaluation_time: Seconds,
    last_evaluation: Time,
}

impl<'a> GroupJson<'a> {
    fn new(group: &'a RuleGroup, rules: Vec<RuleJson<'a>>) -> Self {
        GroupJson {
            name: &group.name,
            file: &group.file,
            rules,
            interval: Seconds::of_ms(group.interval_ms),
            limit: group.limit,
            evaluation_time: Seconds(group.evaluation_seconds),
            last_evaluation: Time(group.last_evaluation_ms),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum RuleJson<'a> {
    Alerting(AlertingJson<'a>),
    Recording(RecordingJson<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertingJson<'a> {
    state: &'a str,
    name: &'a str,
    query: &'a str,
    duration: Seconds,
    keep_firing_for: Seconds,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<String, String>,
    alerts: Option<Vec<AlertJson<'a>>>,
    health: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    last_error: &'a str,
    evaluation_time: Seconds,
    last_evaluation: Time,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordingJson<'a> {
    name: &'a str,
    query: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    health: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    last_error: &'a str,
    evaluation_time: Seconds,
    last_evaluation: Time,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<'a> RuleJson<'a> {
    fn new(rule: &'a Rule, with_alerts: bool) -> Self {
        let Rule { name, query, labels, health, last_error, .. } = rule;
        let labels = map(labels);
        let (evaluation_time, last_evaluation) = (Seconds(rule.evaluation_seconds), Time(rule.last_evaluation_ms));
        let Some(alerting) = &rule.alerting else {
            let kind = "recording";
            let rule =
                RecordingJson { name, query, labels, health, last_error, evaluation_time, last_evaluation, kind };
            return RuleJson::Recording(rule);
        };
        RuleJson::Alerting(AlertingJson {
            state: &alerting.state,
            name,
            query,
            duration: Seconds::of_ms(alerting.hold_ms),
            keep_firing_for: Seconds::of_ms(alerting.keep_firing_ms),
            labels,
            annotations: &alerting.annotations,
            alerts: with_alerts.then(|| alerting.alerts.iter().map(AlertJson::new).collect()),
            health,
            last_error,
            evaluation_time,
            last_evaluation,
            kind: "alerting",
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertJson<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<String, String>,
    state: &'a str,
    active_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_since: Option<Time>,
    value: String,
}

impl<'a> AlertJson<'a> {
    fn new(alert: &'a Alert) -> Self {
        AlertJson {
            labels: map(&alert.labels),
            annotations: &alert.annotations,
            state: &alert.state,
            active_at: Time(Some(alert.active_at_ms)),
            keep_firing_since: alert.keep_firing_since_ms.map(|ms| Time(Some(ms))),
            value: exponential(alert.value),
        }
    }
}

fn map(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().collect()
}

/// A float as Go prints it with the verb `e`: `2.5e+00`.
fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return GoFloat(value).to_string();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Seconds, without a fraction if they are whole, as Go writes them.
#[derive(Clone, Copy)]
struct Seconds(f64);

impl Seconds {
    fn of_ms(ms: i64) -> Self {
        Seconds(ms as f64 / 1000.0)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            whole if whole.fract() == 0.0 && whole.abs() < 1e15 => serializer.serialize_i64(whole as i64),
            other => serializer.serialize_f64(other),
        }
    }
}

/// A time in milliseconds since the epoch, written in the format of RFC 3339. `None` is Go's zero time.
struct Time(Option<i64>);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(time) => serializer.collect_str(&time),
            None => serializer.serialize_str("0001-01-01T00:00:00Z"),
        }
    }
}

#[cfg(test)]
mod tests;
