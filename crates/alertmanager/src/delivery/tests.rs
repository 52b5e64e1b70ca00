use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use pharos_model::SystemClock;
use serde_json::Value;
use tokio::sync::watch;

use super::*;
use crate::engine::Settings;
use crate::metrics::Metrics;
use crate::replicas::Alone;
use crate::silences::Silence;
use crate::{Config, Syntax};

/// A webhook that keeps what it got.
#[derive(Clone, Default)]
struct Webhook {
    received: Arc<Mutex<Vec<Value>>>,
    /// How many requests are refused first.
    refusals: Arc<AtomicUsize>,
    arrived: Arc<tokio::sync::Notify>,
}

impl Webhook {
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let webhook = self.clone();
        let take = async move |body: String| {
            let is_refused =
                webhook.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
            if is_refused {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            webhook.received.lock().push(serde_json::from_str(&body).unwrap());
            webhook.arrived.notify_one();
            StatusCode::OK
        };
        let router = Router::new().route("/", post(take));
        tokio::spawn(async move { axum_serve(listener, router).await });
        format!("http://{address}/")
    }

    /// Waits for this many notifications.
    async fn wait_for(&self, count: usize) -> Vec<Value> {
        loop {
            let arrived = self.arrived.notified();
            if self.received.lock().len() >= count {
                return self.received.lock().clone();
            }
            arrived.await;
        }
    }
}

async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    axum::serve(listener, router).await.unwrap();
}

/// An engine that runs with a webhook as its only receiver.
struct World {
    engine: Arc<Engine>,
    _stop: watch::Sender<bool>,
    _folder: Option<tempfile::TempDir>,
}

const FAST: &str = "group_by: [alertname], group_wait: 1ms, group_interval: 50ms, repeat_interval: 1h";

impl World {
    async fn start(webhook: &Webhook, folder: &Path, route: &str, more: &str) -> World {
        let metrics = Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        let engine =
            Engine::open(Settings::of_test(folder), metrics, Arc::new(Alone), Arc::new(SystemClock::new())).unwrap();
        let url = webhook.listen().await;
        let text = format!(
            "route: {{receiver: team, {route}}}\nreceivers: [{{name: team, webhook_configs: [{{url: '{url}'}}]}}]\n{more}"
        );
        let config = Config::parse(&text, Path::new("alertmanager.yml"), Syntax::Both).unwrap();
        engine.activate(Active::build(config, "http://am").unwrap());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(crate::run::run(engine.clone(), stopped));
        World { engine, _stop: stop, _folder: None }
    }

    async fn new(webhook: &Webhook, route: &str, more: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let world = World::start(webhook, folder.path(), route, more).await;
        World { _folder: Some(folder), ..world }
    }

    fn put(&self, labels: &[(&str, &str)], is_firing: bool) {
        let now = self.engine.now();
        let end = Duration::from_secs(60);
        self.engine.put(vec![Alert {
            labels: labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            annotations: BTreeMap::new(),
            starts_at: now - Duration::from_secs(10),
            ends_at: Some(if is_firing { now + end } else { now }),
            updated_at: now,
            generator_url: String::new(),
            timed_out: false,
        }]);
    }
}

fn names(notification: &Value) -> Vec<(String, String)> {
    let alerts = notification["alerts"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    alerts.map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["status"]))).collect()
}

#[tokio::test]
async fn an_alert_is_announced_once_and_its_resolution_once() {
    let webhook = Webhook::default();
    let world = World::new(&webhook, FAST, "").await;
    world.put(&[("alertname", "a")], true);
    let got = webhook.wait_for(1).await;
    assert_eq!(names(&got[0]), [("a".into(), "firing".into())]);
    assert_eq!(got[0]["groupKey"], "{}:{alertname=\"a\"}");
    world.put(&[("alertname", "a")], false);
    let got = webhook.wait_for(2).await;
    assert_eq!((got.len(), names(&got[1])), (2, vec![("a".into(), "resolved".into())]));
}

#[tokio::test]
async fn an_attempt_that_failed_is_repeated() {
    let webhook = Webhook::default();
    webhook.refusals.store(1, Ordering::Relaxed);
    let world = World::new(&webhook, FAST, "").await;
    world.put(&[("alertname", "a")], true);
    assert_eq!(webhook.wait_for(1).await.len(), 1);
    let requests = world.engine.metrics.requests.with_label_values(&["webhook"]);
    // The second one is counted after the webhook has answered.
    while requests.get() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.engine.metrics.requests_failed.with_label_values(&["webhook"]).get(), 1);
}

#[tokio::test]
async fn silenced_and_inhibited_alerts_are_not_announced() {
    let webhook = Webhook::default();
    let rules = "inhibit_rules: [{source_matchers: [severity=critical], target_matchers: [severity=warning]}]\n";
    let world = World::new(&webhook, "group_wait: 100ms, group_interval: 1h", rules).await;
    let now = world.engine.now();
    let silence = Silence {
        id: String::new(),
        matcher_sets: vec![Syntax::Both.matchers("alertname=b", "test").unwrap()],
        starts_at: now,
        ends_at: now + Duration::from_secs(60),
        updated_at: now,
        created_by: String::new(),
        comment: String::new(),
        annotations: BTreeMap::new(),
        expires_at: now,
    };
    world.engine.set_silence(silence).await.unwrap();
    world.put(&[("alertname", "c"), ("severity", "warning")], true);
    world.put(&[("alertname", "b")], true);
    world.put(&[("alertname", "a"), ("severity", "critical")], true);
    let got = webhook.wait_for(1).await;
    // The first flush may have had the first alerts only, all of which are muted later.
    let announced: Vec<String> = got.iter().flat_map(names).map(|(name, _)| name).collect();
    assert!(announced.contains(&"a".to_string()) || announced == ["c"], "{announced:?}");
    assert!(!announced.contains(&"b".to_string()), "{announced:?}");
}

#[tokio::test]
async fn a_route_is_muted_outside_of_its_active_times() {
    let webhook = Webhook::default();
    let never = "time_intervals: [{name: never, time_intervals: [{years: ['1999']}]}]\n";
    let route = format!("{FAST}, routes: [{{matchers: [alertname=a], active_time_intervals: [never]}}]");
    let world = World::new(&webhook, &route, never).await;
    world.put(&[("alertname", "a")], true);
    world.put(&[("alertname", "b")], true);
    let got = webhook.wait_for(1).await;
    assert_eq!(names(&got[0]), [("b".into(), "firing".into())]);
    let suppressed = world.engine.metrics.suppressed.with_label_values(&["active_time_interval"]);
    while suppressed.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(webhook.received.lock().len(), 1);
}

#[tokio::test]
async fn what_was_announced_is_not_announced_again_after_a_restart() {
    let webhook = Webhook::default();
    let folder = tempfile::tempdir().unwrap();
    let first = World::start(&webhook, folder.path(), FAST, "").await;
    first.put(&[("alertname", "a")], true);
    webhook.wait_for(1).await;
    // The entry is written after the webhook has answered. The process is killed then: no snapshot is written.
    let entries = || std::fs::metadata(folder.path().join("nflog.journal")).unwrap().len();
    while entries() == 0 {
        tokio::task::yield_now().await;
    }
    let second = World::start(&webhook, folder.path(), FAST, "").await;
    second.put(&[("alertname", "a")], true);
    second.put(&[("alertname", "z")], true);
    let got = webhook.wait_for(2).await;
    assert_eq!(names(&got[1]), [("z".into(), "firing".into())]);
}

#[test]
fn hashes_are_those_of_alertmanager() {
    let labels = [("alertname", "a"), ("b", "c")].map(|(name, value)| (name.to_string(), value.to_string()));
    let now = Timestamp::UNIX_EPOCH;
    let alert = Alert {
        labels: labels.into(),
        annotations: BTreeMap::new(),
        starts_at: now,
        ends_at: None,
        updated_at: now,
        generator_url: String::new(),
        timed_out: false,
    };
    // Computed by Alertmanager's own hash library.
    assert_eq!(hash(&alert), 0x5c18_f883_90fc_bc39);
}
