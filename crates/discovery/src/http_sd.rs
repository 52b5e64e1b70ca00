//! Targets from an HTTP server that answers with target groups as JSON. When it fails, the last targets stay.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::Labels;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use tokio::sync::watch;

use super::{Found, group_labels};
use crate::metrics::DiscoveryMetrics;
use pharos_config::{HttpSdConfig, TargetGroup};
use pharos_http_client::HttpClient;

/// Largest answer, bytes.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
const REFRESH_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Publishes what the server says until nobody listens.
pub(super) async fn run(
    config: HttpSdConfig,
    client: HttpClient,
    metrics: DiscoveryMetrics,
    publish: watch::Sender<Found>,
) {
    let interval = config.refresh_interval.as_duration().max(Duration::from_millis(100));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = publish.closed() => return,
        }
        match fetch(&config, &client, interval).await {
            Ok(targets) => {
                publish.send_if_modified(|found| {
                    let is_same = found.as_deref() == Some(&targets);
                    if !is_same {
                        *found = Some(Arc::new(targets));
                    }
                    !is_same
                });
            }
            Err(error) => {
                metrics.failures.with_label_values(&["http"]).inc();
                tracing::error!(url = config.url, error, "unable to refresh target groups");
            }
        }
    }
}

async fn fetch(config: &HttpSdConfig, client: &HttpClient, timeout: Duration) -> Result<Vec<Labels>, String> {
    let mut headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
    if let Ok(seconds) = HeaderValue::try_from(config.refresh_interval.as_secs_f64().to_string()) {
        headers.push((REFRESH_HEADER, seconds));
    }
    let mut body = Vec::new();
    let answer =
        client.get(&config.url, &headers, timeout, MAX_ANSWER_BYTES, &mut body).await.map_err(|e| e.to_string())?;
    let media_type = answer.content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(format!("unsupported content type {:?}", answer.content_type));
    }
    let groups: Vec<Option<TargetGroup>> = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
    let mut targets = Vec::new();
    for (number, group) in groups.into_iter().enumerate() {
        let group = group.ok_or_else(|| format!("nil target group item found (index {number})"))?;
        group.check_labels().map_err(|e| e.to_string())?;
        targets.extend(group_labels(&group, &[("__meta_url", &config.url)]));
    }
    Ok(targets)
}
