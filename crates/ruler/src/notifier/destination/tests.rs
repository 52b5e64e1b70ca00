use std::collections::BTreeMap;

use pharos_model::Labels;
use prometheus::Registry;
use tokio::sync::Semaphore;

use super::*;
use crate::notifier::NotifierConfig;
use crate::notifier::metrics::NotifierMetrics;

/// Keeps the bodies that it gets. Each request needs a permit.
struct Received {
    bodies: Mutex<Vec<String>>,
    permits: Semaphore,
    fails: Mutex<bool>,
}

impl Received {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Received { bodies: Mutex::default(), permits: Semaphore::new(permits), fails: Mutex::new(false) })
    }

    /// The names of the alerts of each request.
    fn names(&self) -> Vec<String> {
        let names = |body: &String| {
            let parts = body.split("\"alertname\":\"").skip(1);
            parts.map(|part| part.split('"').next().unwrap()).collect::<Vec<_>>().join(" ")
        };
        self.bodies.lock().iter().map(names).collect()
    }
}

#[async_trait]
impl Post for Received {
    async fn post(&self, _: &str, body: Bytes) -> Result<(), String> {
        self.permits.acquire().await.unwrap().forget();
        self.bodies.lock().push(String::from_utf8(body.to_vec()).unwrap());
        if *self.fails.lock() { Err("refused".into()) } else { Ok(()) }
    }
}

fn start(received: &Arc<Received>, queue_capacity: usize, drain: bool, registry: &Registry) -> Destination {
    let config = NotifierConfig { queue_capacity, batch_size: 2, drain };
    let metrics = NotifierMetrics::new(registry, queue_capacity).unwrap();
    let shared = Arc::new(Shared { config, metrics, clock: Arc::new(pharos_model::SystemClock::new()) });
    Destination::start("http://am", received.clone(), shared)
}

fn alerts(names: &[&str]) -> Vec<Arc<OutgoingAlert>> {
    let alert = |name: &&str| {
        Arc::new(OutgoingAlert {
            labels: Labels::from_pairs([("alertname", *name)]),
            annotations: BTreeMap::new(),
            starts_at_ms: 0,
            ends_at_ms: 0,
            generator_url: String::new(),
        })
    };
    names.iter().map(alert).collect()
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

fn metric(registry: &Registry, name: &str) -> f64 {
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let start = format!("prometheus_notifications_{name}{{alertmanager=\"http://am\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).map_or(-1.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn alerts_are_sent_in_batches() {
    let (received, registry) = (Received::new(10), Registry::new());
    let destination = start(&received, 10, true, &registry);
    destination.add(&alerts(&["A", "B", "C"]));
    until(|| received.bodies.lock().len() == 2).await;
    assert_eq!(received.names(), ["A B", "C"]);
    until(|| metric(&registry, "sent_total") == 3.0).await;
    destination.end().await;
    assert_eq!(metric(&registry, "sent_total"), -1.0, "an Alertmanager that is gone has no metrics");
}

#[tokio::test]
async fn the_oldest_alerts_are_dropped_when_the_queue_is_full() {
    let (received, registry) = (Received::new(0), Registry::new());
    let destination = start(&received, 3, true, &registry);
    destination.add(&alerts(&["A", "B", "C", "D"]));
    assert_eq!(metric(&registry, "dropped_total"), 1.0);
    assert_eq!(metric(&registry, "queue_length"), 3.0);
    received.permits.add_permits(10);
    until(|| received.bodies.lock().len() == 2).await;
    assert_eq!(received.names(), ["B C", "D"]);
    destination.end().await;
}

#[tokio::test]
async fn alerts_that_wait_are_sent_at_the_end() {
    let (received, registry) = (Received::new(0), Registry::new());
    let destination = start(&received, 10, true, &registry);
    destination.add(&alerts(&["A", "B", "C"]));
    let ended = tokio::spawn(destination.end());
    received.permits.add_permits(10);
    ended.await.unwrap();
    assert_eq!(received.names(), ["A B", "C"]);
}

#[tokio::test]
async fn alerts_that_wait_are_dropped_at_the_end_if_nothing_is_drained() {
    let (received, registry) = (Received::new(0), Registry::new());
    let destination = start(&received, 10, false, &registry);
    destination.add(&alerts(&["A", "B", "C"]));
    let mut end = Box::pin(destination.end());
    tokio::select! {
        biased;
        () = &mut end => panic!("it ends before its task does"),
        () = std::future::ready(()) => {}
    }
    received.permits.add_permits(10);
    end.await;
    assert!(received.names().len() < 2, "{:?}", received.names());
}

#[tokio::test]
async fn a_server_that_refuses_loses_the_batch_and_ends_the_draining() {
    let (received, registry) = (Received::new(10), Registry::new());
    *received.fails.lock() = true;
    let destination = start(&received, 10, true, &registry);
    destination.add(&alerts(&["A"]));
    until(|| metric(&registry, "dropped_total") == 1.0).await;
    assert_eq!(metric(&registry, "errors_total"), 1.0);
    destination.end().await;
}
