//! Logs of ended queries: slow ones go to the log of the server, all of them to `global.query_log_file` in Prometheus's format.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pharos_promql::QueryStats;
use pharos_querier::registry::ActiveQuery;
use serde_json::{Value, json};

use crate::error::ApiError;

/// A query that has ended.
pub struct Ended<'a> {
    /// The query.
    pub query: &'a ActiveQuery,
    /// When it ended, milliseconds since the epoch.
    pub now_ms: i64,
    /// How long it took, including the wait for a permit.
    pub duration: Duration,
    /// How long it waited for a permit.
    pub queued: Duration,
    /// Its statistics; `None` when it failed.
    pub stats: Option<&'a QueryStats>,
    /// Number of series in the answer.
    pub result_series: usize,
    /// The error that it failed with.
    pub error: Option<&'a ApiError>,
    /// The client that sent it.
    pub client: &'a Client,
}

/// The client of a request, as the query log shows it.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The remote address of the connection.
    pub address: Option<IpAddr>,
    /// `GET` or `POST`.
    pub method: String,
    /// The path of the request, with its prefix.
    pub path: String,
}

/// Writes a slow query to the log of the server.
pub fn slow(ended: &Ended<'_>) {
    let (start, end, step) = ended.query.start.times.as_range();
    let budget = &ended.query.start.budget;
    let (bytes_read, requests) = budget.reads();
    tracing::warn!(
        tenant = %ended.query.start.tenant,
        endpoint = ended.query.start.endpoint,
        query = %ended.query.start.text,
        start = %seconds(start),
        end = %seconds(end),
        step = %seconds(step),
        steps = ended.query.start.times.steps(),
        duration_seconds = ended.duration.as_secs_f64(),
        queue_seconds = ended.queued.as_secs_f64(),
        series = ended.stats.map_or(0, |stats| stats.series),
        result_series = ended.result_series,
        samples_read = ended.query.samples_read(),
        peak_samples = ended.stats.map_or(0, |stats| stats.peak_samples),
        peak_bytes = budget.peak_bytes(),
        bytes_read,
        requests,
        error = ended.error.map_or("", |error| error.message.as_str()),
        "slow query"
    );
}

fn seconds(ms: i64) -> String {
    let mut text = Vec::new();
    crate::json::time(&mut text, ms);
    String::from_utf8(text).unwrap_or_default()
}

/// The file of `global.query_log_file`.
#[derive(Debug, Default)]
pub struct QueryLog {
    open: Mutex<Option<(PathBuf, File)>>,
}

impl QueryLog {
    /// Writes to this file from now on, or to none. The file is reopened even if it is the same one, so that it can be rotated.
    ///
    /// # Errors
    /// The file cannot be opened; the previous one stays in use.
    pub fn set(&self, file: Option<&Path>) -> Result<(), String> {
        let opened = match file {
            Some(path) => {
                let opened = File::options().create(true).append(true).open(path);
                let opened = opened.map_err(|error| format!("query log {}: {error}", path.display()))?;
                Some((path.to_path_buf(), opened))
            }
            None => None,
        };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    /// Whether queries are logged to a file.
    pub fn is_on(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Writes a line. Blocks.
    pub fn write(&self, ended: &Ended<'_>) {
        let mut line = line(ended).to_string();
        line.push('\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, file)) = open.as_mut()
            && let Err(error) = file.write_all(line.as_bytes())
        {
            tracing::warn!(file = %path.display(), %error, "writing to the query log failed; the entry is lost");
        }
    }
}

fn line(ended: &Ended<'_>) -> Value {
    let (start, end, step) = ended.query.start.times.as_range();
    let client = ended.client;
    let mut line = json!({
        "time": rfc3339(ended.now_ms),
        "level": "INFO",
        "source": "query log",
        "msg": "promql query logged",
        "params": {"query": ended.query.start.text, "start": rfc3339(start), "end": rfc3339(end), "step": step / 1000},
        "stats": ended.stats.map_or(Value::Null, |stats| stats_json(stats, ended.queued, false)),
        "httpRequest": {
            "clientIP": client.address.map_or(String::new(), |address| address.to_string()),
            "method": client.method,
            "path": client.path,
        },
        "tenant": ended.query.start.tenant.as_str(),
    });
    if let Some(error) = ended.error {
        line["error"] = error.message.clone().into();
    }
    line
}

/// Formats milliseconds since the epoch as RFC 3339 with three decimals.
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| format!("{t:.3}"))
}

/// Milliseconds as a number of seconds.
fn whole_or_fraction(ms: i64) -> Value {
    if ms % 1000 == 0 { (ms / 1000).into() } else { (ms as f64 / 1000.0).into() }
}

/// The statistics of a query as Prometheus shows them for `stats`, with those of each step if `by_step`.
pub fn stats_json(stats: &QueryStats, queued: Duration, by_step: bool) -> Value {
    let timings = &stats.timings;
    let mut samples = json!({
        "totalQueryableSamples": stats.queryable_samples,
        "samplesRead": stats.samples_read,
        "peakSamples": stats.peak_samples,
    });
    if by_step {
        let steps = stats.queryable_samples_per_step.iter();
        let steps: Vec<Value> = steps.map(|(t, n)| json!([whole_or_fraction(*t), n])).collect();
        samples["totalQueryableSamplesPerStep"] = steps.into();
    }
    json!({
        "timings": {
            "evalTotalTime": timings.eval_total.as_secs_f64(),
            "resultSortTime": timings.result_sort.as_secs_f64(),
            "queryPreparationTime": timings.preparation.as_secs_f64(),
            "innerEvalTime": timings.inner_eval.as_secs_f64(),
            "execQueueTime": queued.as_secs_f64(),
            "execTotalTime": (timings.exec_total + queued).as_secs_f64(),
        },
        "samples": samples,
    })
}

/// The address of a request's connection, which the listener adds to it.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Client {
            address: parts.extensions.get::<ClientAddress>().map(|address| address.0),
            method: parts.method.to_string(),
            // The router of the API sees what follows this.
            path: format!("/api/v1{}", parts.uri.path()),
        })
    }
}
