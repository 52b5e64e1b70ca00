//! Targets from an HTTP server that answers with target groups as JSON. When a request fails, the previous targets stay.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HeaderName, HeaderValue};
use pharos_config::{HttpSdConfig, TargetGroup, masked_url};
use pharos_http_client::HttpClient;
use pharos_model::Labels;
use tokio::sync::watch;

use crate::group::{DiscoveredTargets, checked_labels};
use crate::metrics::DiscoveryMetrics;

/// The limit on a response, bytes.
const MAX_RESPONSE_BYTES: u64 = 256 << 20;
const MIN_REFRESH_INTERVAL: Duration = Duration::from_millis(100);
const REFRESH_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Publishes the targets that the server lists until nobody listens.
pub(super) async fn run(
    config: HttpSdConfig,
    client: HttpClient,
    metrics: DiscoveryMetrics,
    publish: watch::Sender<DiscoveredTargets>,
) {
    let interval = config.refresh_interval.as_duration().max(MIN_REFRESH_INTERVAL);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = publish.closed() => return,
        }
        match fetch(&config, &client, interval).await {
            Ok(targets) => {
                publish.send_if_modified(|published| {
                    let is_changed = published.as_deref() != Some(&targets);
                    if is_changed {
                        *published = Some(Arc::new(targets));
                    }
                    is_changed
                });
            }
            Err(error) => {
                metrics.failures.with_label_values(&["http"]).inc();
                tracing::error!(
                    url = %masked_url(&config.url),
                    error,
                    "could not refresh target groups; keeping the previous targets"
                );
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
    let response = client
        .get(&config.url, &headers, timeout, MAX_RESPONSE_BYTES, None, &mut body)
        .await
        .map_err(|e| e.to_string())?;
    let media_type = response.content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(format!("unsupported content type {:?}", response.content_type));
    }
    let groups: Vec<Option<TargetGroup>> = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
    checked_labels(groups, &[("__meta_url", &masked_url(&config.url))])
}

#[cfg(test)]
mod tests;
